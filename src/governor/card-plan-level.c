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

static bool may_pack(const struct planning *p, const struct plan_least *least)
{
	uint32_t units = 0, halves = 0, thirds = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		units += least[i].units;
		halves += least[i].halves;
		thirds += least[i].thirds;
	}
	return units <= p->rooms.n_se * p->rooms.parts && halves <= p->rooms.n_se &&
	       thirds <= 2 * p->rooms.n_se;
}

/* False: there is no plan at this clock, or none better than the best so far, which the models with
 * the most load tell soonest. */
static bool may_be_best(struct planning *p, uint32_t level, struct plan_least *least)
{
	for (uint32_t k = 0; k < p->n; k++) {
		uint32_t i = p->heavy[k];

		if (!plan_kept_least(p, i, level, &least[i]) || !may_pack(p, least) ||
		    plan_bound_w(p, &p->search.clock, least) >= p->search.best_w - PLAN_SAME_W)
			return false;
	}
	return true;
}

static void search_level(struct planning *p, uint32_t level, const struct plan_clock *clock,
			 struct plan_least *least)
{
	struct plan_search *s = &p->search;
	double before_w = s->best_w;

	s->clock = *clock;
	if (!may_be_best(p, level, least))
		return;
	for (uint32_t i = 0; i < p->n; i++)
		plan_kept_list(p, i, level);
	plan_search_clock(s);
	if (s->best_w < before_w)
		p->level = level;
}

/* ---- all clocks ---- */

/* What a clock's bound is of, in the order in which that costs more. */
enum depth { ROUGH, STEPS, OPTIONS, ROOM, SEARCHED };

/* A clock whose plans are still in question. */
struct level {
	double bound_w; /* INFINITY: no more */
	enum depth depth;
	struct plan_clock clock;
	struct plan_least least[CARD_PLAN_MAX_MODELS];
};

static void begin_level(struct planning *p, uint32_t level, struct level *ret)
{
	bool known = true;

	ret->bound_w = INFINITY;
	ret->depth = ROUGH;
	if (!plan_clock_of(p, level, &ret->clock))
		return;
	ret->bound_w = -INFINITY;
	for (uint32_t i = 0; i < p->n; i++)
		known &= plan_kept_rough(p, i, level, &ret->least[i]);
	if (known)
		ret->bound_w = plan_bound_w(p, &ret->clock, ret->least);
}

/* Those who give way at least: what one counts is more than all that come before it. */
static double bound_sacrifice_w(const struct planning *p, const struct plan_steps *const *steps,
				const struct plan_least *needs)
{
	double bound_w = 0, below_w = INFINITY;
	int left = (int)(p->rooms.n_se * p->rooms.parts);

	for (uint32_t i = 0; i < p->n; i++)
		left -= steps[i]->any_units;
	for (uint32_t k = 0; k < p->n; k++) {
		uint32_t next = p->n;
		int more;

		for (uint32_t i = 0; i < p->n; i++)
			if (p->models[i].gives_way_w < below_w &&
			    (next == p->n ||
			     p->models[i].gives_way_w > p->models[next].gives_way_w))
				next = i;
		if (next == p->n)
			break;
		below_w = p->models[next].gives_way_w;
		more = (int)needs[next].units - steps[next]->any_units;
		if (needs[next].units < UINT8_MAX && more <= left)
			left -= more;
		else
			bound_w += below_w;
	}
	return left < 0 ? INFINITY : bound_w;
}

static double bound_steps_w(struct planning *p, uint32_t level, struct level *l)
{
	const struct plan_steps *steps[CARD_PLAN_MAX_MODELS];
	struct plan_least needs[CARD_PLAN_MAX_MODELS];
	bool give_way = p->models[0].may_give_way;

	for (uint32_t k = 0; k < p->n; k++) {
		uint32_t i = p->heavy[k];

		steps[i] = plan_kept_steps(p, i, level);
		if (!steps[i])
			return l->bound_w;
		needs[i] = l->least[i];
		plan_steps_need(&p->models[i], steps[i], &needs[i]);
		if (!give_way && needs[i].units == UINT8_MAX)
			return INFINITY;
	}
	if (give_way)
		return bound_sacrifice_w(p, steps, needs);
	return may_pack(p, needs) ? l->bound_w : INFINITY;
}

/* Until it is ruled out, which the models with the most load tell soonest. */
static double bound_options_w(struct planning *p, uint32_t level, struct level *l)
{
	double bound_w = l->bound_w;

	for (uint32_t k = 0; k < p->n && bound_w < p->search.best_w - PLAN_SAME_W; k++) {
		uint32_t i = p->heavy[k];
		struct plan_bound in;
		const struct plan_bound *bound = plan_kept_bound(p, i, level, &in);

		l->least[i] = bound->least;
		if (!bound->any || !may_pack(p, l->least))
			return INFINITY;
		bound_w = plan_bound_w(p, &l->clock, l->least);
	}
	return bound_w;
}

/* A step further with a level. */
static void go_on(struct planning *p, uint32_t level, struct level *l)
{
	double bound_w = INFINITY;

	l->depth++;
	if (l->depth == STEPS)
		bound_w = bound_steps_w(p, level, l);
	else if (l->depth == OPTIONS)
		bound_w = bound_options_w(p, level, l);
	else if (l->depth == ROOM)
		bound_w = plan_bound_in_room_w(p, level, &l->clock, l->least);
	else
		search_level(p, level, &l->clock, l->least);
	l->bound_w = MAX(l->bound_w, bound_w);
}

/* The next to go on with; n: all others can only be worse than the best so far. */
static uint32_t next_level(const struct planning *p, const struct level *levels)
{
	uint32_t n = p->request->card->n_levels, next = n;
	/* Bounds know nothing of a cap: what gives way under one is found soonest at low clocks. */
	bool upwards = p->models[0].may_give_way && isfinite(p->cap_w);
	double least_w = p->search.best_w - PLAN_SAME_W;

	for (uint32_t i = 0; i < n && !(upwards && next < n); i++)
		if (levels[i].bound_w < least_w) {
			least_w = levels[i].bound_w;
			next = i;
		}
	return next;
}

bool plan_solve(struct planning *p, double below_w)
{
	struct level levels[SURFACE_MAX_LEVELS];
	uint32_t n = p->request->card->n_levels, next;

	plan_kept_begin(p);
	for (uint32_t level = 0; level < n; level++)
		begin_level(p, level, &levels[level]);
	p->search.rooms = p->rooms;
	p->search.cap_w = p->cap_w;
	p->search.n = p->n;
	p->search.lists = p->lists;
	p->search.found = false;
	p->search.best_w = below_w;
	for (next = next_level(p, levels); next < n; next = next_level(p, levels))
		go_on(p, next, &levels[next]);
	return p->search.found;
}
