/* SPDX-License-Identifier: Apache-2.0 */
/* What a request costs, and what a CU draws, as functions of clock and mask. */
#include "plant/plant.h"
#include <math.h>

static uint32_t top_mhz(const struct plant_device *d)
{
	return d->level_mhz[d->n_levels - 1];
}

double plant_voltage_mv(const struct plant_device *d, uint32_t sclk_mhz)
{
	const uint32_t *mhz = d->level_mhz;
	uint32_t i = 1;

	if (sclk_mhz <= mhz[0])
		return d->level_mv[0];
	if (sclk_mhz >= top_mhz(d))
		return d->level_mv[d->n_levels - 1];
	while (mhz[i] < sclk_mhz)
		i++;
	return d->level_mv[i - 1] + (d->level_mv[i] - d->level_mv[i - 1]) *
					    (sclk_mhz - mhz[i - 1]) / (mhz[i] - mhz[i - 1]);
}

double plant_cu_active_idle_w(const struct plant_device *d, uint32_t sclk_mhz)
{
	double v = plant_voltage_mv(d, sclk_mhz) / d->level_mv[d->n_levels - 1];
	double f = (double)sclk_mhz / top_mhz(d);

	return d->cu_active_idle_w * v * v * (d->cu_clock_share * f + 1 - d->cu_clock_share);
}

static bool shape_is_full(const struct plant_device *d, struct cu_shape shape)
{
	return cu_shape_cus(shape) == 0 || cu_shape_equal(shape, cu_shape_full(&d->topology));
}

static uint32_t shape_cus(const struct plant_device *d, struct cu_shape shape)
{
	return shape_is_full(d, shape) ? cu_topology_cus(&d->topology) : cu_shape_cus(shape);
}

uint32_t plant_ungated_cus(const struct plant_device *d, enum plant_gating gating,
			   struct cu_shape shape)
{
	uint32_t all = cu_topology_cus(&d->topology), in_used_ses;

	if (shape_is_full(d, shape))
		return all;
	in_used_ses = (uint32_t)lround((double)all * shape.n_se / d->topology.n_se);
	if (gating == PLANT_GATING_CU)
		return cu_shape_cus(shape);
	if (gating == PLANT_GATING_SE)
		return in_used_ses;
	if (shape.n_se * 2 > d->topology.n_se)
		return all;
	return all - (uint32_t)lround(d->half_card_saving * (all - in_used_ses));
}

uint32_t plant_ungated_cus_of_mask(const struct plant_device *d, enum plant_gating gating,
				   const struct cu_mask *mask)
{
	const struct cu_topology *t = &d->topology;
	uint32_t cus[CU_MAX_SE], in_mask = 0, in_used_ses = 0;

	cu_mask_per_se(t, mask->words, CU_MASK_WORDS, cus);
	for (uint32_t se = 0; se < t->n_se; se++) {
		in_mask += cus[se];
		in_used_ses += cus[se] > 0 ? cu_topology_se_cus(t, se) : 0;
	}
	if (gating == PLANT_GATING_CU)
		return in_mask;
	if (gating == PLANT_GATING_SE)
		return in_used_ses;
	return plant_ungated_cus(d, gating, cu_mask_effective_shape(t, mask->words, CU_MASK_WORDS));
}

static double drawn_bytes_per_ns(const struct plant_device *d, uint32_t sclk_mhz,
				 struct cu_shape shape)
{
	return shape_cus(d, shape) * d->cu_gbps * sclk_mhz / top_mhz(d);
}

/* Workgroups that the busiest CU gets: dealt round-robin over the SEs, then over the SE's CUs. */
static double busiest(const struct plant_device *d, struct cu_shape shape, double workgroups)
{
	struct cu_shape used = shape_is_full(d, shape) ? cu_shape_full(&d->topology) : shape;

	return ceil(ceil(workgroups / used.n_se) / used.cus_per_se);
}

struct plant_execution plant_launch_execution(const struct plant_device *d,
					      const struct plant_launch *l, uint32_t sclk_mhz,
					      struct cu_shape shape)
{
	double cu_flop_per_ns = d->flop_per_clock_cu * d->efficiency * sclk_mhz * 1e-3;
	double drawn = drawn_bytes_per_ns(d, sclk_mhz, shape);
	double most = busiest(d, shape, l->workgroups);

	return (struct plant_execution){
		.compute_ns = most * l->flop_per_workgroup / cu_flop_per_ns,
		.bytes_per_ns = fmin(d->memory_gbps, drawn),
		.drawn_bytes_per_ns = drawn,
		.busiest = most,
	};
}

static double execution_ns(const struct plant_execution *e, double bytes)
{
	return fmax(e->compute_ns, bytes / e->bytes_per_ns);
}

static double launch_ns(const struct plant_device *d, double execution)
{
	return fmax(d->launch_us * 1e3, execution + d->dispatch_us * 1e3);
}

double plant_launch_ns(const struct plant_device *d, const struct plant_launch *l,
		       uint32_t sclk_mhz, struct cu_shape shape)
{
	struct plant_execution e = plant_launch_execution(d, l, sclk_mhz, shape);

	return launch_ns(d, execution_ns(&e, l->bytes));
}

struct plant_launch plant_kernel_launch(const struct plant_kernel *k, uint32_t batch)
{
	return (struct plant_launch){
		.workgroups = (double)k->workgroups * batch,
		.flop_per_workgroup = k->flop / k->workgroups,
		.bytes = k->fixed_bytes + (k->bytes - k->fixed_bytes) * batch,
	};
}

struct plant_cost plant_request_cost(const struct plant_device *d, const struct plant_model *m,
				     uint32_t sclk_mhz, struct cu_shape shape, uint32_t batch)
{
	double cu_ns = 0;
	struct plant_cost cost = {0};

	for (uint32_t i = 0; i < m->n_kernels; i++) {
		const struct plant_kernel *k = &m->kernels[i];
		struct plant_launch l = plant_kernel_launch(k, batch);
		struct plant_execution e = plant_launch_execution(d, &l, sclk_mhz, shape);
		double execution = execution_ns(&e, l.bytes), ns = launch_ns(d, execution);

		cost.ns += k->count * ns;
		cost.uncore_ns += k->count * fmin(ns, l.bytes / d->uncore_gbps);
		cost.flop += k->count * k->flop * batch;
		cost.bytes += k->count * l.bytes;
		cu_ns += k->count * execution * l.workgroups / e.busiest;
	}
	cost.busy_cus = cu_ns / cost.ns;
	return cost;
}
