/* SPDX-License-Identifier: Apache-2.0 */
/* What a card draws, from what it does. */
#include "plant/plant.h"
#include <math.h>

struct plant_level plant_level_of(const struct plant_device *d, uint32_t level)
{
	double v = d->level_mv[level] / d->level_mv[d->n_levels - 1];
	double cu_w = plant_cu_active_idle_w(d, d->level_mhz[level]), between_w = 0;

	if (level > d->dpm_idle_level)
		between_w =
			d->idle_active_share * (d->uncore_w + cu_topology_cus(&d->topology) * cu_w);
	return (struct plant_level){.cu_w = cu_w, .v2 = v * v, .between_w = between_w};
}

/* Of the time, that memory and fabric are awake: kernels that hardly touch the memory let them
 * sleep. So empty ones draw the CUs' active-idle power alone, which is what the paper's P_CU, their
 * power above idle over the number of CUs, takes it for. */
static double uncore_share(const struct plant_device *d, const struct plant_rates *a)
{
	double share = a->uncore_share > 0 ? a->uncore_share : a->bytes / d->uncore_gbps;

	return fmin(a->busy_share, share);
}

double plant_power_w(const struct plant_device *d, const struct plant_level *l,
		     const struct plant_rates *a, double kelvin)
{
	double power_w = d->idle_w + (1 - a->busy_share) * l->between_w;

	power_w += uncore_share(d, a) * d->uncore_w + a->ungated_cus * l->cu_w;
	/* pJ per ns is mW. */
	power_w += (a->flop * d->pj_per_flop * l->v2 + a->bytes * d->pj_per_byte) * 1e-3;
	power_w += d->leakage_w_per_k * l->v2 * fmax(0, kelvin);
	return power_w;
}

double plant_idle_c(const struct plant_device *d)
{
	return d->ambient_c + d->idle_w * d->thermal_ohm_k_per_w;
}
