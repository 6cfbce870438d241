/* SPDX-License-Identifier: Apache-2.0 */
#include "plant/share.h"
#include <math.h>
#include <string.h>

static bool mask_has(const struct cu_mask *m, uint32_t bit)
{
	return m->words[bit / 32] >> (bit % 32) & 1;
}

void plant_cus_init(struct plant_cus *c, const struct plant_device *d)
{
	memset(c, 0, sizeof(*c));
	c->device = d;
	c->n = MIN(cu_topology_cus(&d->topology), (uint32_t)PLANT_MAX_CUS);
	for (uint32_t bit = 0; bit < c->n; bit++) {
		uint32_t words[CU_MASK_WORDS] = {0}, per_se[CU_MAX_SE];

		words[bit / 32] = UINT32_C(1) << (bit % 32);
		cu_mask_per_se(&d->topology, words, CU_MASK_WORDS, per_se);
		for (uint32_t se = 0; se < CU_MAX_SE; se++)
			if (per_se[se])
				c->se[bit] = (uint8_t)se;
	}
}

void plant_running_init(const struct plant_cus *c, struct plant_running *k)
{
	const struct cu_topology *t = &c->device->topology;
	struct plant_execution e;
	uint32_t cus = 0;

	for (uint32_t bit = 0; bit < c->n; bit++)
		cus += mask_has(k->mask, bit);
	k->shape = cu_mask_effective_shape(t, k->mask->words, CU_MASK_WORDS);
	k->load = k->held = 0;
	if (cus == 0)
		return;
	e = plant_launch_execution(c->device, &k->launch, c->device->level_mhz[0], k->shape);
	k->load = fmin(k->slots, k->workgroup_waves * k->launch.workgroups / cus);
	k->held = fmin(k->slots, k->workgroup_waves * e.busiest);
}

double plant_cu_rate(const struct plant_cus *c, const struct cu_mask *mask, double held,
		     double load, const double total[PLANT_MAX_CUS])
{
	double per_se[CU_MAX_SE] = {0}, least = INFINITY;
	uint32_t cus[CU_MAX_SE] = {0}, fewest = UINT32_MAX;

	for (uint32_t bit = 0; bit < c->n; bit++) {
		if (!mask_has(mask, bit))
			continue;
		cus[c->se[bit]]++;
		per_se[c->se[bit]] += held / (held + fmax(0, total[bit] - load));
	}
	for (uint32_t se = 0; se < CU_MAX_SE; se++)
		if (cus[se] > 0) {
			least = fmin(least, per_se[se]);
			fewest = MIN(fewest, cus[se]);
		}
	return least / fewest;
}

static double time_ns(const struct plant_device *d, const struct plant_running *k,
		      const struct plant_execution *e, double bytes_per_ns)
{
	double execution = fmax(e->compute_ns / k->rate, k->launch.bytes / bytes_per_ns);

	return fmax(d->launch_us * 1e3, execution + d->dispatch_us * 1e3);
}

static double alone_bytes_per_ns(const struct plant_device *d, const struct plant_running *k,
				 const struct plant_execution *e)
{
	return fmin(d->memory_gbps, e->drawn_bytes_per_ns * k->rate);
}

static void add_loads(const struct plant_cus *c, struct plant_running *const *k, uint32_t n,
		      double total[PLANT_MAX_CUS])
{
	for (uint32_t i = 0; i < n; i++)
		for (uint32_t bit = 0; bit < c->n; bit++)
			if (mask_has(k[i]->mask, bit))
				total[bit] += k[i]->load;
}

void plant_share(const struct plant_cus *c, uint32_t sclk_mhz, struct plant_running *const *k,
		 uint32_t n, const double *other_load, double other_gbps)
{
	const struct plant_device *d = c->device;
	double total[PLANT_MAX_CUS] = {0}, gbps = other_gbps;
	bool alone = n == 1 && !other_load;

	if (other_load)
		memcpy(total, other_load, c->n * sizeof(*total));
	if (!alone)
		add_loads(c, k, n, total);
	for (uint32_t i = 0; i < n; i++) {
		struct plant_execution e;

		k[i]->ns = INFINITY;
		k[i]->rate = k[i]->demand_gbps = 0;
		if (cu_shape_cus(k[i]->shape) == 0)
			continue;
		e = plant_launch_execution(d, &k[i]->launch, sclk_mhz, k[i]->shape);
		k[i]->rate = 1;
		if (!alone)
			k[i]->rate = plant_cu_rate(c, k[i]->mask, k[i]->held, k[i]->load, total);
		k[i]->ns = time_ns(d, k[i], &e, alone_bytes_per_ns(d, k[i], &e));
		k[i]->demand_gbps = k[i]->launch.bytes / k[i]->ns;
		gbps += k[i]->demand_gbps;
	}
	if (gbps <= d->memory_gbps)
		return;
	for (uint32_t i = 0; i < n; i++) {
		struct plant_execution e;
		double part = k[i]->demand_gbps * d->memory_gbps / gbps;

		if (cu_shape_cus(k[i]->shape) == 0 || k[i]->launch.bytes == 0)
			continue;
		e = plant_launch_execution(d, &k[i]->launch, sclk_mhz, k[i]->shape);
		k[i]->ns = time_ns(d, k[i], &e, fmin(part, alone_bytes_per_ns(d, k[i], &e)));
	}
}
