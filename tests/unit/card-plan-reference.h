/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the planner of several models, a search through everything written apart from it by
 * card-plan.h, and what holds of every plan. */
#pragma once

#include "card-plan-menus.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

static const uint32_t level_mhz[] = {700, 809, 1000, 1200, 1350, 1485, 1560, 1680, 1725};

struct setup {
	struct governor_config card;
	struct response_menu *menus[CARD_PLAN_MAX_MODELS];
	struct card_plan_request q;
};

static inline struct menu_recipe recipe(const struct setup *s, uint32_t i, double scale)
{
	static const char *const names[] = {"h", "c", "e", "a", "g", "b", "f", "d"};

	return (struct menu_recipe){
		.topology = s->card.topology,
		.n_levels = s->card.n_levels,
		.level_mhz = s->card.level_mhz,
		.n_rates = 20,
		.n_batches = 1,
		.work_ns = 2e6 * scale,
		.memory_ns = 0.3e6 * scale,
		.launch_ns = 0.2e6 * scale,
		.slo_factor = 2,
		.seed = i + 1,
		.name = names[i],
	};
}

static inline void set_card(struct setup *s, struct cu_topology topology, uint32_t n_levels)
{
	memset(s, 0, sizeof(*s));
	s->card.topology = topology;
	s->card.n_levels = n_levels;
	memcpy(s->card.level_mhz, level_mhz + ARRAY_SIZE(level_mhz) - n_levels,
	       n_levels * sizeof(level_mhz[0]));
	s->q.card = &s->card;
	s->q.power_factor = 1;
}

static inline struct card_plan_model *add(struct setup *s, const struct menu_recipe *r,
					  double demand_rps)
{
	struct card_plan_model *m = &s->q.models[s->q.n];

	s->menus[s->q.n] = menus_new(r);
	*m = (struct card_plan_model){
		.menu = s->menus[s->q.n],
		.demand_rps = demand_rps,
		.factor = 1,
		.limit_ns = (double)s->menus[s->q.n]->slo_ns,
		.late_cost = 7,
		.share = 0.6,
		.priority = 100,
		.may_mask = true,
		.may_batch = true,
		.in_force = UINT32_MAX,
	};
	s->q.n++;
	return m;
}

static inline void end(struct setup *s)
{
	for (uint32_t i = 0; i < s->q.n; i++)
		free(s->menus[i]);
}

/* An MI50 with n models, each loaded so that together they take the share given of the card. */
static inline void mi50(struct setup *s, uint32_t n, double share)
{
	set_card(s, cu_topology_even(4, 15), 9);
	for (uint32_t i = 0; i < n; i++) {
		struct menu_recipe r = recipe(s, i, 1 + 0.37 * i);

		/* Small models, that a small part of a card is enough for. */
		r.work_ns /= 2;
		r.launch_ns *= 4;
		(void)add(s, &r, 0);
		s->q.models[i].demand_rps = s->menus[i]->rated_rps * share / n;
	}
}

/* ---- the reference ---- */

static inline uint32_t row_of(const struct response_menu *m, double rate_rps)
{
	uint32_t row = 0;

	while (row < m->n_rates && m->rate_rps[row] < rate_rps * (1 - 1e-9))
		row++;
	return row;
}

static inline double memory_ns(const struct menu_option *o)
{
	return o->service_ns * o->bound_share / o->batch;
}

static inline double load_of(const struct card_plan_model *m)
{
	const struct response_menu *menu = m->menu;
	uint32_t row = row_of(menu, m->demand_rps * m->factor);

	assert_true(row < menu->n_rates);
	return fmin(menu->rate_rps[row] * memory_ns(&menu->options[menu->baseline]) / 1e9, 1);
}

struct part {
	bool may;
	double own_w, late_w, idle_share;
};

#define REFERENCE_OPTIONS 640
struct reference {
	const struct card_plan_request *q;
	uint32_t options[CARD_PLAN_MAX_MODELS];
	struct part parts_of[CARD_PLAN_MAX_MODELS][REFERENCE_OPTIONS];
	struct cu_topology parts;
	double best_w;
};

static inline struct cu_topology parts_of(const struct card_plan_request *q)
{
	const struct cu_topology *t = &q->card->topology;
	uint32_t n_se = t->n_se / t->n_xcc, cus = cu_shape_full(t).cus_per_se;
	uint32_t most = MIN(16u, 160 / n_se);

	return cu_topology_even(n_se, MIN(cus, q->n <= 4 ? most : MIN(most, 5u)));
}

static inline bool packs(const struct reference *r)
{
	const struct cu_topology *t = &r->q->card->topology;
	uint32_t cus = cu_shape_full(t).cus_per_se, n_parts = cu_topology_se_cus(&r->parts, 0);
	struct cu_shape shapes[CARD_PLAN_MAX_MODELS];
	struct cu_mask masks[CARD_PLAN_MAX_MODELS];

	for (uint32_t i = 0; i < r->q->n; i++) {
		struct cu_shape s = r->q->models[i].menu->options[r->options[i]].shape;
		uint32_t parts = 1;

		while (parts <= n_parts && cus * parts / n_parts < s.cus_per_se)
			parts++;
		if (parts > n_parts || s.n_se % t->n_xcc != 0)
			return false;
		shapes[i] = (struct cu_shape){(uint16_t)(s.n_se / t->n_xcc), (uint16_t)parts};
	}
	return cu_masks_pack(&r->parts, shapes, r->q->n, 0, masks) == 0;
}

/* What an option adds, or that it is none. */
static inline struct part part_of(const struct card_plan_request *q, uint32_t i, uint32_t option,
				  double others_load)
{
	const struct card_plan_model *m = &q->models[i];
	const struct response_menu *menu = m->menu;
	const struct menu_option *o = &menu->options[option], *b = &menu->options[menu->baseline];
	const struct menu_clock *top = &menu->clocks[b->clock];
	double excess = fmin(memory_ns(b) / memory_ns(o), 1) + others_load - 1;
	double factor = m->factor * (excess > 0 ? 1 + o->bound_share * excess : 1);
	double rate_rps = menu->rate_rps[row_of(menu, m->demand_rps * m->factor)];
	double busy_w = top->idle_w + top->uncore_w + menu->n_cus * top->cu_w +
			b->capacity_rps * b->energy_j;
	uint32_t row = row_of(menu, m->demand_rps * factor);
	const struct menu_point *p;

	if (o->full || row == menu->n_rates || (!m->may_batch && o->batch != b->batch))
		return (struct part){0};
	p = response_menu_point(menu, option, row);
	return (struct part){
		.may = (double)(float)(p->tail_ns * factor) <= m->limit_ns,
		.own_w = rate_rps * o->energy_j,
		.late_w = m->late_cost * busy_w * rate_rps / menu->rated_rps *
			  response_menu_late(p, (double)menu->slo_ns / factor),
		.idle_share = 1 - (double)p->busy,
	};
}

/* Cost of the options in hand, and *ret_power_w. */
static inline double reference_cost_w(const struct reference *r, double *ret_power_w)
{
	const struct card_plan_request *q = r->q;
	uint32_t n_cus = cu_topology_cus(&q->card->topology);
	double own_w = 0, late_w = 0, idle_share = 1, idle_w = 0, uncore_w = 0, cu_w = 0, cus = 0;

	for (uint32_t i = 0; i < q->n; i++) {
		const struct response_menu *menu = q->models[i].menu;
		const struct menu_option *o = &menu->options[r->options[i]];
		const struct menu_clock *c = &menu->clocks[o->clock];
		const struct part *part = &r->parts_of[i][r->options[i]];

		own_w += part->own_w;
		late_w += part->late_w;
		idle_share *= part->idle_share;
		idle_w += c->idle_w / q->n;
		uncore_w += c->uncore_w / q->n;
		cu_w += c->cu_w / q->n;
		if (menu->gating == TABLE_GATING_CU)
			cus += cu_shape_cus(o->shape);
		else if (menu->gating == TABLE_GATING_SE)
			cus = fmin(cus + (double)n_cus * o->shape.n_se / menu->n_se, n_cus);
		else
			cus = n_cus;
	}
	*ret_power_w = idle_w + (1 - idle_share) * (uncore_w + cus * cu_w) + own_w;
	return *ret_power_w + late_w;
}

/* One clock for all: the menus of these tests have the same ones. */
static inline void reference_search(struct reference *r, uint32_t i, uint32_t clock)
{
	const struct card_plan_request *q = r->q;
	double power_w, cost_w;

	if (i == q->n) {
		cost_w = reference_cost_w(r, &power_w);
		if (!(cost_w < r->best_w) ||
		    (q->power_cap_uw > 0 &&
		     power_w * q->power_factor > (double)q->power_cap_uw / 1e6) ||
		    !packs(r))
			return;
		r->best_w = cost_w;
		return;
	}
	for (uint32_t o = 0; o < q->models[i].menu->n_options; o++)
		if (q->models[i].menu->options[o].clock == clock && r->parts_of[i][o].may) {
			r->options[i] = o;
			reference_search(r, i + 1, clock);
		}
}

static inline double reference_best_w(const struct card_plan_request *q)
{
	static struct reference r;
	double load = 0;

	r.q = q;
	r.parts = parts_of(q);
	r.best_w = INFINITY;
	for (uint32_t i = 0; i < q->n; i++)
		load += load_of(&q->models[i]);
	for (uint32_t i = 0; i < q->n; i++) {
		assert_true(q->models[i].menu->n_options <= REFERENCE_OPTIONS);
		for (uint32_t o = 0; o < q->models[i].menu->n_options; o++)
			r.parts_of[i][o] =
				part_of(q, i, o,
					ceil((load - load_of(&q->models[i])) * 32 - 1e-9) / 32);
	}
	for (uint32_t clock = 0; clock < q->card->n_levels; clock++)
		reference_search(&r, 0, clock);
	return r.best_w;
}

/* ---- every plan ---- */

/* Masks as they go to the card: of the shapes, on its own topology, disjoint. */
static inline void assert_masks(const struct card_plan_request *q, const struct card_plan *p)
{
	const struct cu_topology *t = &q->card->topology;
	struct cu_shape shapes[CARD_PLAN_MAX_MODELS];
	struct cu_mask masks[CARD_PLAN_MAX_MODELS];

	for (uint32_t i = 0; i < q->n; i++) {
		const struct response_menu *m = q->models[i].menu;

		assert_true(p->models[i].option < m->n_options);
		assert_int_equal(m->clocks[m->options[p->models[i].option].clock].max_mhz,
				 p->max_mhz);
		shapes[i] = m->options[p->models[i].option].shape;
	}
	if (q->n == 1)
		return;
	assert_int_equal(cu_masks_pack(t, shapes, q->n, 0, masks), 0);
	for (uint32_t i = 0; i < q->n; i++)
		for (uint32_t j = 0; j < i; j++)
			for (uint32_t w = 0; w < CU_MASK_WORDS; w++)
				assert_int_equal(masks[i].words[w] & masks[j].words[w], 0);
}

static inline void assert_holds(const struct card_plan_request *q, const struct card_plan *p)
{
	uint32_t options[CARD_PLAN_MAX_MODELS];
	double power_w;

	assert_masks(q, p);
	for (uint32_t i = 0; i < q->n; i++) {
		options[i] = p->models[i].option;
		assert_int_equal(p->models[i].gives_way,
				 !(p->models[i].tail_ns <= q->models[i].limit_ns));
		if (!p->models[i].gives_way)
			assert_true(p->models[i].capacity_rps * TABLE_MAX_UTILISATION *
					    (1 + 1e-6) >=
				    q->models[i].demand_rps);
	}
	if (!p->fits)
		return;
	power_w = card_plan_power_w(q, options);
	assert_true(fabs(power_w - p->power_w) < 1e-6);
	if (q->power_cap_uw > 0)
		assert_true(p->power_w * q->power_factor <= (double)q->power_cap_uw / 1e6 + 1e-9);
}
