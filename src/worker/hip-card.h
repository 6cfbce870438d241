/* SPDX-License-Identifier: Apache-2.0 */
/* What a card's own files tell about it; nothing is written to them. */
#pragma once

#include "base/parse.h"
#include "cu-mask/cu-mask.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct hip_card {
	char bdf[PCI_BDF_LENGTH + 1];
	bool simulated;
	uint32_t n_cus; /* 0: the card does not tell, and the topology is not known */
	struct cu_topology topology;

	struct gpu_sysfs *files; /* NULL: none */
	pthread_mutex_t lock;	 /* guards files, and what follows */
	uint64_t read_ns;
	uint32_t sclk_mhz;
};

/* A card is simulated if its folder is not on a sysfs, or where cofris-sim has started this. Only
 * -ENOMEM is an error: a card may well be used without its files. */
int hip_card_init(const char *bdf, struct hip_card *ret);
void hip_card_deinit(struct hip_card *c);
/* Core clock, at most a tenth of a second old (a real card takes its time to answer); 0 if unknown.
 * Thread-safe. */
uint32_t hip_card_sclk_mhz(struct hip_card *c, uint64_t now_ns);
