/* SPDX-License-Identifier: Apache-2.0 */
/* Stands in for the device half of the simulated thunk: it keeps what it was told. */
#pragma once

#include "sim/hsakmt/hsakmt.h"

struct fake_queue {
	struct device_queue_options options;
	uint32_t mask[32], mask_bits;
	uint32_t percentage, priority;
	bool live;
};

/* The queues in the order in which they were made, of all cards. */
const struct fake_queue *fake_queue(uint32_t index);
uint32_t fake_queues_live(void);
uint64_t fake_vram(uint32_t card);
/* Bytes of memory that this card was told to let go of. */
uint64_t fake_withdrawn(uint32_t card);
uint32_t fake_devices_open(void), fake_devices_forgotten(void);
/* What device_new() of this card returns from now on. */
void fake_refuse(uint32_t card, int r);
