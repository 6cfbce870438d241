/* SPDX-License-Identifier: Apache-2.0 */
/* The best masks at any clock: those that can be the best by their bounds are searched, the most
 * promising first, so that most of the others need not be. */
#include "governor/card-plan-internal.h"
#include <math.h>
#include <string.h>

/* The means of what the menus say, in the order of their names, as sums depend on it. */
bool plan_clock_of(const struct planning *p, uint32_t level, struct plan_clock *ret)
{
	const struct response_menu *first = p->models[0].menu;

	*ret = (struct plan_clock){.most_cus = first->n_cus};
	for (uint32_t i = 0; i < p->n; i++) {
		const struct plan_model *m = &p->models[i];
		const struct menu_clock *c;

		if (m->clocks[level] == PLAN_NO_CLOCK)
			return false;
		c = &m->menu->clocks[m->clocks[level]];
		ret->idle_w += c->idle_w / p->n;
		ret->uncore_w += c->uncore_w / p->n;
		ret->cu_w += c->cu_w / p->n;
	}
	ret->adds_up = first->gating == TABLE_GATING_CU;
	ret->always_cus = first->gating == TABLE_GATING_NONE ? first->n_cus : 0;
	return true;
}

/* The share of the time that one of them is busy, at least. Beside what each would be with the most
 * CUs, a model that is busy for u_i has s_i of the card, u_i s_i no less than its work w_i, and the
 * s_i together are no more than 1: so the sum of u_i is no less than the square of the sum of
 * sqrt(w_i), and the product of 1 - u_i no more than exp(-sum of u_i). */
static double least_busy(const struct planning *p, const struct plan_least *least)
{
	double idle_share = 1, roots = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		idle_share *= 1 - least[i].busy;
		roots += sqrt(least[i].work);
	}
	return p->n > 1 ? MAX(1 - idle_share, 1 - exp(-roots * roots)) : 1 - idle_share;
}

/* From below, for all plans at this clock. */
static double bound_w(const struct planning *p, const struct plan_clock *clock,
		      const struct plan_least *least)
{
	double cost_w = 0, cus = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		cost_w += least[i].cost_w;
		cus += least[i].cus;
	}
	cus = clock->adds_up ? cus : clock->always_cus;
	return clock->idle_w + least_busy(p, least) * (clock->uncore_w + cus * clock->cu_w) +
	       cost_w;
}

static bool may_pack(const struct planning *p, const struct plan_least *least)
{
	uint32_t units = 0, halves = 0, thirds = 0, cus = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		units += least[i].units;
		halves += least[i].halves;
		thirds += least[i].thirds;
		cus += least[i].taken_cus;
	}
	return cus <= p->models[0].menu->n_cus && units <= p->rooms.n_se * p->rooms.parts &&
	       halves <= p->rooms.n_se && thirds <= 2 * p->rooms.n_se;
}

/* Mostly from options alone: many clocks need no more. */
static double level_bound_w(struct planning *p, uint32_t level, struct plan_least *ret_least)
{
	struct plan_clock clock;

	if (!plan_clock_of(p, level, &clock))
		return INFINITY;
	for (uint32_t i = 0; i < p->n; i++)
		if (!plan_kept_bound(p, i, level, &ret_least[i]))
			return INFINITY;
	return may_pack(p, ret_least) ? bound_w(p, &clock, ret_least) : INFINITY;
}

/* False: there is no plan at this clock, or none better than the best so far, which the models with
 * the most load tell soonest. */
static bool may_be_best(struct planning *p, uint32_t level, struct plan_least *least)
{
	for (uint32_t k = 0; k < p->n; k++) {
		uint32_t i = p->heavy[k];

		if (!plan_kept_least(p, i, level, &least[i]) || !may_pack(p, least) ||
		    bound_w(p, &p->search.clock, least) >= p->search.best_w - PLAN_SAME_W)
			return false;
	}
	return true;
}

static void search_level(struct planning *p, uint32_t level, struct plan_least *least)
{
	struct plan_search *s = &p->search;
	double before_w = s->best_w;

	if (!plan_clock_of(p, level, &s->clock) || !may_be_best(p, level, least))
		return;
	for (uint32_t i = 0; i < p->n; i++)
		plan_kept_list(p, i, level);
	plan_search_clock(s);
	if (s->best_w < before_w)
		p->level = level;
}

bool plan_solve(struct planning *p, double below_w)
{
	struct plan_least least[SURFACE_MAX_LEVELS][CARD_PLAN_MAX_MODELS];
	uint32_t order[SURFACE_MAX_LEVELS], n_levels = p->request->card->n_levels;
	double bounds_w[SURFACE_MAX_LEVELS];

	plan_kept_begin(p);
	for (uint32_t level = 0; level < n_levels; level++) {
		uint32_t at = level;

		bounds_w[level] = level_bound_w(p, level, least[level]);
		for (; at > 0 && bounds_w[order[at - 1]] > bounds_w[level]; at--)
			order[at] = order[at - 1];
		order[at] = level;
	}
	p->search.rooms = p->rooms;
	p->search.cap_w = p->cap_w;
	p->search.n = p->n;
	p->search.lists = p->lists;
	p->search.found = false;
	p->search.best_w = below_w;
	for (uint32_t i = 0; i < n_levels; i++)
		if (bounds_w[order[i]] < p->search.best_w - PLAN_SAME_W)
			search_level(p, order[i], least[order[i]]);
	return p->search.found;
}
