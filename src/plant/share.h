/* SPDX-License-Identifier: Apache-2.0 */
/* How kernels that run at the same time share a card: what each of them takes then. Pure.
 *
 *   CUs     on each CU a kernel gets w / (sum of all w there), w the wave slots it holds. An SE
 *           gives it the sum of its shares over the SE's CUs in its mask; as workgroups are dealt
 *           round-robin over the SEs, its rate is the least of these sums over its SEs, divided by
 *           the fewest CUs that its mask has in one of them. Alone the rate is 1.
 *   memory  in proportion to what each would move if it had the memory to itself, once that is
 *           more than the card can.
 *
 * With rate r and memory b its time is max(launch, max(compute / r, bytes / b) + dispatch): what a
 * launch costs in any case is not shared.
 *
 * Source: the fair scheduling of waves over the slots of a SIMD (AMD, "Vega" ISA, chapter 2), and
 * the dealing of workgroups over SEs of src/cu-mask. That waves of equal rights get equal parts of
 * a CU whatever they do is assumed. */
#pragma once

#include "plant/plant.h"

#define PLANT_MAX_CUS	 (32 * CU_MASK_WORDS)
#define PLANT_WAVE_SLOTS 40 /* of a CU, if a kernel's registers and LDS allow: 4 SIMDs x 10 */

/* The card's CUs by mask bit. */
struct plant_cus {
	const struct plant_device *device;
	uint32_t n;
	uint8_t se[PLANT_MAX_CUS];
};
/* The device must outlive it. */
void plant_cus_init(struct plant_cus *c, const struct plant_device *d);

/* The rate of a kernel that holds held wave slots on the CUs of its mask, where total (its own part
 * load included) is held by all. The mask must have a CU. */
double plant_cu_rate(const struct plant_cus *c, const struct cu_mask *mask, double held,
		     double load, const double total[PLANT_MAX_CUS]);

struct plant_running {
	struct plant_launch launch;
	const struct cu_mask *mask;   /* must outlive this */
	double workgroup_waves;	      /* waves of one workgroup, at least 1 */
	double slots;		      /* wave slots of a CU that it can fill at most */
	struct cu_shape shape;	      /* of the mask, by plant_running_init() */
	double load;		      /* wave slots it holds on a CU of its mask, on the mean */
	double held;		      /* ... and on the CUs that have one of its workgroups */
	double rate, ns, demand_gbps; /* by plant_share() */
};
/* Fills what follows from launch, mask, waves and slots. Again after a change of the mask. */
void plant_running_init(const struct plant_cus *c, struct plant_running *k);

/* What each of n kernels takes from its start to its end at this clock, were all to go on as they
 * are: k->ns, INFINITY for a mask without a CU. other_load: of whoever else runs, wave slots by CU
 * (NULL: nobody), and other_gbps the memory they ask for. */
void plant_share(const struct plant_cus *c, uint32_t sclk_mhz, struct plant_running *const *k,
		 uint32_t n, const double *other_load, double other_gbps);
