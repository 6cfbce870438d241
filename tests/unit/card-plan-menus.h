/* SPDX-License-Identifier: Apache-2.0 */
/* Menus made by formula, of cards of any size: services that compute on CUs and wait for memory,
 * queues with an exponential tail. */
#pragma once

#include "governor-bench.h"
#include "governor/card-plan.h"
#include <stdio.h>

#define MENUS_MAX_SHAPES 256

struct menu_recipe {
	struct cu_topology topology;
	uint32_t n_levels;
	const uint32_t *level_mhz;
	enum table_gating gating;
	uint32_t n_rates;
	uint32_t n_batches; /* 1, 2, 4, ... */
	double work_ns;	    /* on all CUs at the highest clock */
	double memory_ns, launch_ns;
	double slo_factor;
	double noise; /* of energy, capacity and tails, as a factor */
	uint64_t seed;
	const char *name;
};

static inline double menus_noise(const struct menu_recipe *r, uint64_t *seed)
{
	return 1 + r->noise * (2 * bench_uniform(seed) - 1);
}

static inline void menus_option(const struct menu_recipe *r, struct response_menu *m,
				uint32_t clock, struct cu_shape shape, uint32_t batch,
				uint64_t *seed)
{
	double mhz = m->clocks[clock].max_mhz, top = r->level_mhz[r->n_levels - 1];
	double part = (double)cu_shape_cus(shape) / m->n_cus;
	double memory_ns = r->memory_ns * fmax(1, 0.5 / part),
	       fixed_ns = memory_ns + r->launch_ns / batch;
	double each_ns = r->work_ns / part * top / mhz + fixed_ns;
	double volt = 0.7 + 0.4 * mhz / top;

	m->options[m->n_options] = (struct menu_option){
		.cell = m->n_options,
		.clock = clock,
		.shape = shape,
		.full = cu_shape_equal(shape, cu_shape_full(&r->topology)),
		.batch = batch,
		.capacity_rps = 1e9 / each_ns * menus_noise(r, seed),
		.service_ns = each_ns * batch,
		.energy_j = (80 * r->work_ns * volt * volt + 20 * r->memory_ns) / 1e9 *
			    (1 - 0.02 * log2(batch)) * menus_noise(r, seed),
		.bound_share = fixed_ns / each_ns,
	};
	if (clock == m->n_clocks - 1 && batch == 1 && m->options[m->n_options].full)
		m->baseline = m->n_options;
	m->n_options++;
}

/* Rates rise, so do tails. */
static inline void menus_points(const struct menu_recipe *r, struct response_menu *m,
				uint32_t option, uint64_t *seed)
{
	const struct menu_option *o = &m->options[option];
	const struct menu_clock *c = &m->clocks[o->clock];
	double noise = menus_noise(r, seed), cus = m->n_cus;

	if (m->gating == TABLE_GATING_CU && !o->full)
		cus = cu_shape_cus(o->shape);
	if (m->gating == TABLE_GATING_SE && !o->full)
		cus = (double)m->n_cus * o->shape.n_se / m->n_se;
	for (uint32_t i = 0; i < m->n_rates; i++) {
		struct menu_point *p = &m->points[(size_t)option * m->n_rates + i];
		double u = m->rate_rps[i] / o->capacity_rps, wait_ns;
		struct tail_survival survival;

		*p = menu_point_unsustained;
		if (u > TABLE_MAX_UTILISATION)
			continue;
		wait_ns = 0.5 * u / (1 - u) * o->service_ns * noise;
		p->tail_ns = (float)(o->service_ns + 3 * wait_ns);
		if (p->tail_ns > MENU_TAIL_KEPT * (double)m->slo_ns) {
			p->tail_ns = INFINITY;
			continue;
		}
		for (unsigned int j = 0; j < TAIL_SHARES; j++)
			survival.ns[j] =
				(float)(o->service_ns * 1.02 - wait_ns * log(tail_shares[j]));
		tail_pack(&survival, &p->survival);
		p->busy = (float)u;
		p->power_w = (float)(c->idle_w + u * (c->uncore_w + cus * c->cu_w) +
				     m->rate_rps[i] * o->energy_j);
	}
}

static inline struct response_menu *menus_new(const struct menu_recipe *r)
{
	struct cu_shape shapes[MENUS_MAX_SHAPES];
	int n_shapes = cu_shapes(&r->topology, shapes, MENUS_MAX_SHAPES);
	uint32_t n_options = r->n_levels * (uint32_t)n_shapes * r->n_batches;
	double top_ns = r->work_ns + r->memory_ns + r->launch_ns;
	uint64_t seed = r->seed;
	struct response_menu *m =
		calloc(1, sizeof(*m) + n_options * (sizeof(struct menu_option) +
						    r->n_rates * sizeof(struct menu_point)));

	if (!m)
		abort();
	m->options = (struct menu_option *)(m + 1);
	m->points = (struct menu_point *)(m->options + n_options);
	(void)snprintf(m->model, sizeof(m->model), "%s", r->name);
	m->gating = r->gating;
	m->percentile = 95;
	m->rated_rps = 0.7e9 / top_ns;
	m->overload_rps = 0.95e9 / top_ns;
	m->t0_ns = (uint64_t)(top_ns * 4.5);
	m->slo_ns = (uint64_t)(top_ns * 4.5 * r->slo_factor);
	m->n_cus = cu_topology_cus(&r->topology);
	m->n_se = r->topology.n_se;
	m->n_rates = r->n_rates;
	for (uint32_t i = 0; i < r->n_rates; i++)
		m->rate_rps[i] = m->overload_rps * (i + 1) / r->n_rates;
	m->n_clocks = r->n_levels;
	for (uint32_t i = 0; i < r->n_levels; i++) {
		double v = r->level_mhz[i] / (double)r->level_mhz[r->n_levels - 1];

		m->clocks[i] = (struct menu_clock){
			.max_mhz = r->level_mhz[i],
			.idle_w = 18 + 2 * v,
			.cu_w = r->gating ? (0.2 + 0.4 * v * v) * menus_noise(r, &seed) : 0.3 * v,
			.uncore_w = (10 + 15 * v) * menus_noise(r, &seed),
		};
	}
	for (uint32_t clock = 0; clock < r->n_levels; clock++)
		for (int i = 0; i < n_shapes; i++)
			for (uint32_t j = 0; j < r->n_batches; j++)
				menus_option(r, m, clock, shapes[i], 1u << j, &seed);
	for (uint32_t i = 0; i < m->n_options; i++)
		menus_points(r, m, i, &seed);
	m->row0_cell = m->baseline;
	return m;
}

/* The table that goes with a menu, of the whole card alone. */
static inline struct response_table *menus_table(const struct response_menu *m)
{
	struct response_table *t = calloc(1, sizeof(*t));

	if (!t)
		abort();
	memcpy(t->model, m->model, sizeof(t->model));
	t->percentile = m->percentile;
	t->t0_ns = m->t0_ns;
	t->slo_ns = m->slo_ns;
	t->rated_rps = m->rated_rps;
	t->overload_rps = m->overload_rps;
	t->idle_power_w = m->clocks[m->n_clocks - 1].idle_w;
	for (uint32_t i = 0; i <= m->n_rates; i++) {
		struct table_row *row = i < m->n_rates ? &t->rows[i] : &t->baseline;
		uint32_t rate = MIN(i, m->n_rates - 1), option = m->baseline;

		for (uint32_t o = m->n_options; o-- > 0 && i < m->n_rates;)
			if (m->options[o].full && m->options[o].batch == 1 &&
			    response_menu_point(m, o, rate)->tail_ns <= (float)m->slo_ns)
				option = o;
		row->rate_rps = m->rate_rps[rate];
		row->cell = m->options[option].cell;
		row->max_mhz = m->clocks[m->options[option].clock].max_mhz;
		row->shape = m->options[option].shape;
		row->batch = row->workers = 1;
		row->power_w = response_menu_point(m, option, rate)->power_w;
		row->tail_ns = row->tail_upper_ns = response_menu_point(m, option, rate)->tail_ns;
		row->service_ns = m->options[option].service_ns;
	}
	t->n_rows = m->n_rates;
	t->baseline.flags = TABLE_ROW_BASELINE;
	return t;
}
