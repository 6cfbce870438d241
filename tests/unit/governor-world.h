/* SPDX-License-Identifier: Apache-2.0 */
/* Random cards with random models on them, for properties that hold for all: topology, levels, a
 * menu, and the tables that follow from it. */
#pragma once

#include "governor-bench.h"
#include "support/cmocka-includes.h"

#define WORLD_MODELS  3
#define WORLD_LEVELS  6
#define WORLD_SHAPES  6
#define WORLD_OPTIONS (WORLD_LEVELS * WORLD_SHAPES)
#define WORLD_RATES   20

struct world_model {
	struct response_menu menu;
	struct menu_option options[WORLD_OPTIONS];
	struct menu_point points[WORLD_OPTIONS * WORLD_RATES];
	struct response_table table, clock_table;
};

struct world {
	uint32_t n_shapes;
	struct cu_shape shapes[WORLD_SHAPES]; /* the last one is the whole card */
	double baseline_w;
	struct world_model models[WORLD_MODELS];
	struct governor_config config;
};

static inline uint32_t world_below(uint64_t *seed, uint32_t n)
{
	return (uint32_t)(bench_uniform(seed) * n);
}

static inline double world_between(uint64_t *seed, double low, double high)
{
	return low + (high - low) * bench_uniform(seed);
}

static inline void world_card(struct world *w, uint64_t *seed)
{
	struct governor_config *c = &w->config;
	struct cu_shape all[256];
	int n;

	c->poll_ns = 500 * NSEC_PER_MSEC;
	c->topology = cu_topology_even(1 + world_below(seed, 8), 2 + world_below(seed, 14));
	c->n_levels = WORLD_LEVELS;
	for (uint32_t i = 0; i < c->n_levels; i++)
		c->level_mhz[i] = 500 + 250 * i + world_below(seed, 200);
	n = cu_shapes(&c->topology, all, ARRAY_SIZE(all));
	assert_true(n > 0);
	/* Some of them, ascending; the last one is the whole card. */
	for (int i = 0; i < n && w->n_shapes < WORLD_SHAPES; i++)
		if (i == n - 1 || (w->n_shapes + 1 < WORLD_SHAPES &&
				   bench_uniform(seed) < WORLD_SHAPES / (double)n))
			w->shapes[w->n_shapes++] = all[i];
}

static inline double world_busy_w(const struct response_menu *m, uint32_t option)
{
	const struct menu_option *o = &m->options[option];
	const struct menu_clock *c = &m->clocks[o->clock];
	uint32_t cus = m->gating == TABLE_GATING_CU ? cu_shape_cus(o->shape) : m->n_cus;

	return c->idle_w + c->uncore_w + cus * c->cu_w + o->capacity_rps * o->energy_j;
}

static inline void world_point(struct world_model *m, uint32_t option, uint32_t rate)
{
	const struct menu_option *o = &m->options[option];
	double rps = m->menu.rate_rps[rate], u = rps / o->capacity_rps;
	double idle_w = m->menu.clocks[o->clock].idle_w;
	struct menu_point *p = &m->points[option * WORLD_RATES + rate];
	struct tail_survival survival;

	*p = menu_point_unsustained;
	if (u > TABLE_MAX_UTILISATION)
		return;
	p->tail_ns = (float)(o->service_ns * (1 + 1.5 * u / (1 - u)));
	p->busy = (float)u;
	p->power_w = (float)(idle_w + u * (world_busy_w(&m->menu, option) - idle_w));
	for (int i = 0; i < TAIL_SHARES; i++)
		survival.ns[i] = p->tail_ns * (0.5F + 0.12F * (float)i);
	tail_pack(&survival, &p->survival);
}

/* Clock and CUs give throughput and take power, each model by another measure. */
static inline void world_menu(struct world *w, struct world_model *m, uint64_t *seed)
{
	const struct governor_config *c = &w->config;
	double top_rps = exp(world_between(seed, log(5), log(2000)));
	double bound = bench_uniform(seed), few = world_between(seed, 0.2, 1);
	double cu_w = world_between(seed, 0.2, 2), joule = world_between(seed, 5, 80) / top_rps;
	uint32_t top_mhz = c->level_mhz[c->n_levels - 1], n_cus = cu_topology_cus(&c->topology);
	struct response_menu *r = &m->menu;

	*r = (struct response_menu){.gating = bench_uniform(seed) < 0.5 ? TABLE_GATING_NONE
									: TABLE_GATING_CU,
				    .percentile = 95,
				    .n_cus = n_cus,
				    .n_se = c->topology.n_se,
				    .n_rates = WORLD_RATES,
				    .n_clocks = c->n_levels,
				    .n_options = c->n_levels * w->n_shapes,
				    .options = m->options,
				    .points = m->points};
	r->rated_rps = 0.7 * top_rps;
	r->overload_rps = TABLE_MAX_UTILISATION * top_rps;
	r->t0_ns = (uint64_t)(1e9 / top_rps * (1 + 1.5 * 0.7 / 0.3));
	r->slo_ns = (uint64_t)((double)r->t0_ns * world_between(seed, 1.15, 3));
	for (uint32_t i = 0; i < WORLD_RATES; i++)
		r->rate_rps[i] = r->overload_rps * (i + 1) / WORLD_RATES;
	for (uint32_t i = 0; i < c->n_levels; i++)
		r->clocks[i] = (struct menu_clock){
			.max_mhz = c->level_mhz[i],
			.idle_w = 15,
			.cu_w = cu_w * c->level_mhz[i] / top_mhz,
			.uncore_w = 10,
		};
	for (uint32_t i = 0; i < r->n_options; i++) {
		struct menu_option *o = &m->options[i];
		uint32_t clock = i / w->n_shapes, shape = i % w->n_shapes;
		double share = (double)cu_shape_cus(w->shapes[shape]) / n_cus;
		double slower = bound + (1 - bound) * top_mhz / c->level_mhz[clock];

		*o = (struct menu_option){
			.cell = i,
			.clock = clock,
			.shape = w->shapes[shape],
			.full = shape == w->n_shapes - 1,
			.batch = 1,
			.capacity_rps = top_rps / slower * pow(share, few),
			.energy_j = joule,
			.bound_share = bound,
		};
		o->service_ns = 1e9 / o->capacity_rps;
	}
	r->baseline = r->n_options - 1;
	for (uint32_t i = 0; i < r->n_options; i++)
		for (uint32_t k = 0; k < WORLD_RATES; k++)
			world_point(m, i, k);
}

/* The least power within the SLO. */
static inline uint32_t world_least(const struct world_model *m, uint32_t rate, bool masks)
{
	uint32_t best = m->menu.baseline;
	float least_w = INFINITY;

	for (uint32_t i = 0; i < m->menu.n_options; i++) {
		const struct menu_point *p = &m->points[i * WORLD_RATES + rate];

		if ((!masks && !m->options[i].full) ||
		    (double)p->tail_ns > 0.9 * (double)m->menu.slo_ns || p->power_w >= least_w)
			continue;
		best = i;
		least_w = p->power_w;
	}
	return best;
}

static inline void world_row(const struct world_model *m, uint32_t option, uint32_t rate,
			     struct table_row *ret)
{
	const struct menu_option *o = &m->options[option];
	const struct menu_point *p = &m->points[option * WORLD_RATES + rate];

	*ret = (struct table_row){
		.rate_rps = m->menu.rate_rps[rate],
		.cell = o->cell,
		.max_mhz = m->menu.clocks[o->clock].max_mhz,
		.shape = o->shape,
		.batch = 1,
		.workers = 1,
		.power_w = (double)p->power_w,
		.tail_ns = (double)p->tail_ns,
		.tail_upper_ns = (double)p->tail_ns,
		.service_ns = o->service_ns,
	};
}

static inline void world_table(const struct world_model *m, bool masks, struct response_table *t)
{
	const struct response_menu *r = &m->menu;

	memset(t, 0, sizeof(*t));
	(void)snprintf(t->model, sizeof(t->model), "model");
	t->gating = r->gating;
	t->percentile = r->percentile;
	t->t0_ns = r->t0_ns;
	t->slo_ns = r->slo_ns;
	t->rated_rps = r->rated_rps;
	t->overload_rps = r->overload_rps;
	t->idle_power_w = 15;
	t->n_rows = WORLD_RATES;
	for (uint32_t i = 0; i < WORLD_RATES; i++)
		world_row(m, world_least(m, i, masks), i, &t->rows[i]);
	world_row(m, r->baseline, WORLD_RATES - 1, &t->baseline);
	t->baseline.power_w = world_busy_w(r, r->baseline);
	t->baseline.flags = TABLE_ROW_BASELINE;
}

static inline void world_model(struct world *w, uint32_t i, uint64_t *seed)
{
	struct governor_model_config *c = &w->config.models[i];
	struct world_model *m = &w->models[i];

	world_menu(w, m, seed);
	world_table(m, /* masks= */ true, &m->table);
	world_table(m, /* masks= */ false, &m->clock_table);
	m->menu.row0_cell = m->table.rows[0].cell;
	(void)snprintf(c->name, sizeof(c->name), "model%u", i);
	c->table = &m->table;
	c->clock_table = &m->clock_table;
	c->menu = bench_uniform(seed) < 0.8 ? &m->menu : NULL;
	c->headroom = 0.9;
	c->late_cost = bench_uniform(seed) < 0.5 ? TABLE_LATE_COST : 0;
	c->policy = "cofris";
	c->max_batch = 1;
	c->priority = 1 + world_below(seed, 200);
	c->use_mask = bench_uniform(seed) < 0.8;
}

/* n_models of them; capped or not, by chance. */
static inline void world_new(struct world *w, uint64_t *seed, uint32_t n_models, bool capped)
{
	memset(w, 0, sizeof(*w));
	world_card(w, seed);
	w->config.n_models = n_models;
	for (uint32_t i = 0; i < n_models; i++)
		world_model(w, i, seed);
	w->baseline_w = world_busy_w(&w->models[0].menu, w->models[0].menu.baseline);
	if (capped)
		w->config.power_cap_uw =
			(uint64_t)(world_between(seed, 0.2, 1.2) * w->baseline_w * 1e6);
}
