/* SPDX-License-Identifier: Apache-2.0 */
/* What names a simulated card and its machine, for the files in sysfs and for the simulated driver
 * alike: a program that looks at both must find the same card. */
#pragma once

#include "sim/sim-card.h"
#include <stdint.h>

#define SIM_HOST_CORES	       16
#define SIM_FIRST_RENDER_MINOR 128
#define SIM_FIRST_SIMD_ID      UINT32_C(0x80001000)
/* KFD's capability word (HSA_CAPABILITY in hsakmttypes.h) of a gfx9 card: rings of a power of two
 * below 4 GiB, four watch points, 64-bit doorbells, ECC with its events; no SVM. */
#define SIM_CAPABILITY                                                                             \
	(1u << 3 | 1u << 4 | 1u << 7 | 2u << 8 | 2u << 12 | 1u << 20 | 1u << 21 | 1u << 22 |       \
	 1u << 26)

/* Not 0, which means that the card has none. */
uint64_t sim_unique_id(uint32_t index);
/* Bus, device and function as KFD writes them: 0000:43:00.0 is 0x4300. 0 for no address. */
uint32_t sim_location_id(const char *bdf);
/* "gfx90a" is 90010: major, minor and stepping in two decimal digits each. */
uint32_t sim_gfx_target_version(const char *gfx);
