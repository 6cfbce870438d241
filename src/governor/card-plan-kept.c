/* SPDX-License-Identifier: Apache-2.0 */
/* What each model may choose at each clock: lists of choices none of which is worse than another.
 * They are what a plan mostly costs, and they are the same as long as the same is asked of the
 * model and the others want as much memory, rounded up: mostly one model's demand has moved. What
 * is kept is never seen in a result. */
#include "base/units.h"
#include "governor/card-plan-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define KEPT_LEVELS  16 /* above it lists are made anew each time */
#define KEPT_CHOICES 32 /* likewise longer ones */
#define AT_ONCE	     64 /* options that are looked at before they are weighed */

/* What a list depends on, beside the card. */
struct question {
	struct card_plan_model asked; /* without in_force and share, which it does not depend on */
	struct plan_rooms rooms;
	uint32_t n; /* of models, no more than whether it is alone, and rooms */
	uint32_t row;
	double others_load, least_capacity_rps;
	bool capped, may_give_way;
	double gives_way_w, unserved_w;
	uint8_t clocks[SURFACE_MAX_LEVELS];
};

struct kept_list {
	struct plan_least least; /* of n > 0 */
	double least_w;
	uint32_t n;
	struct plan_choice choices[KEPT_CHOICES];
};

struct kept_model {
	struct question question;
	uint32_t bounded, filled; /* by level */
	bool any[KEPT_LEVELS];	  /* bounds: there may be choices */
	struct plan_least bounds[KEPT_LEVELS];
	struct kept_list lists[KEPT_LEVELS];
};

struct card_planner {
	struct kept_model models[CARD_PLAN_MAX_MODELS];
};

int card_planner_new(struct card_planner **ret)
{
	struct card_planner *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	*ret = k;
	return 0;
}

struct card_planner *card_planner_free(struct card_planner *k)
{
	free(k);
	return NULL;
}

static void ask(const struct planning *p, uint32_t i, struct question *ret)
{
	const struct plan_model *m = &p->models[i];

	/* Also the padding, as questions are compared as bytes. */
	memset(ret, 0, sizeof(*ret));
	ret->asked.menu = m->menu;
	ret->asked.demand_rps = m->asked->demand_rps;
	ret->asked.factor = m->asked->factor;
	ret->asked.limit_ns = m->asked->limit_ns;
	ret->asked.late_cost = m->asked->late_cost;
	ret->asked.may_mask = m->asked->may_mask;
	ret->asked.may_batch = m->asked->may_batch;
	memcpy(&ret->rooms, &p->rooms, sizeof(p->rooms));
	ret->n = p->n > 1;
	ret->least_capacity_rps = m->least_capacity_rps;
	ret->row = m->row;
	ret->others_load = m->others_load;
	ret->capped = isfinite(p->cap_w);
	ret->may_give_way = m->may_give_way;
	ret->gives_way_w = m->gives_way_w;
	ret->unserved_w = m->unserved_w;
	memcpy(ret->clocks, m->clocks, sizeof(m->clocks));
}

void plan_kept_begin(struct planning *p)
{
	for (uint32_t i = 0; p->kept && i < p->n; i++) {
		struct kept_model *k = &p->kept->models[p->models[i].index];
		struct question question;

		ask(p, i, &question);
		if (memcmp(&question, &k->question, sizeof(question)) == 0)
			continue;
		memcpy(&k->question, &question, sizeof(question));
		k->bounded = k->filled = 0;
	}
}

static struct kept_model *kept_of(struct planning *p, uint32_t i, uint32_t level)
{
	return p->kept && level < KEPT_LEVELS ? &p->kept->models[p->models[i].index] : NULL;
}

static bool is_filled(const struct kept_model *k, uint32_t level)
{
	return k && k->filled >> level & 1;
}

/* ---- bounds ---- */

static bool bound_of(const struct planning *p, uint32_t i, uint32_t level, struct plan_least *ret)
{
	const struct plan_model *m = &p->models[i];
	const struct response_menu *menu = m->menu;
	double energy_j = INFINITY, capacity_rps = 0, cus_s = INFINITY;
	uint32_t clock = m->clocks[level], cus = UINT32_MAX;

	for (uint32_t option = m->first[clock]; option < m->first[clock + 1]; option++) {
		const struct menu_option *o = &menu->options[option];
		uint32_t own_cus = cu_shape_cus(o->shape);

		if ((o->capacity_rps < m->rate_rps && !m->may_give_way) || (o->full && p->n > 1))
			continue;
		energy_j = MIN(energy_j, o->energy_j);
		capacity_rps = MAX(capacity_rps, o->capacity_rps);
		cus_s = MIN(cus_s, own_cus / o->capacity_rps);
		cus = MIN(cus, own_cus);
	}
	if (cus == UINT32_MAX)
		return false;
	/* Less than what more CUs are worth. */
	*ret = (struct plan_least){.cost_w = m->rate_rps * energy_j - 1e-3,
				   .busy = MIN(m->rate_rps / capacity_rps, 1.0),
				   .work = m->rate_rps * cus_s / menu->n_cus,
				   .cus = cus,
				   .taken_cus = cus};
	/* A model that gives way may be served nothing. */
	if (m->may_give_way) {
		ret->cost_w = MIN(ret->cost_w, 0.0);
		ret->busy = ret->work = 0;
	}
	return true;
}

bool plan_kept_bound(struct planning *p, uint32_t i, uint32_t level, struct plan_least *ret)
{
	struct kept_model *k = kept_of(p, i, level);

	if (is_filled(k, level)) {
		*ret = k->lists[level].least;
		return k->lists[level].n > 0;
	}
	if (!k)
		return bound_of(p, i, level, ret);
	if (!(k->bounded >> level & 1)) {
		k->any[level] = bound_of(p, i, level, &k->bounds[level]);
		k->bounded |= UINT32_C(1) << level;
	}
	*ret = k->bounds[level];
	return k->any[level];
}

/* ---- lists ---- */

static uint32_t look_at_all(const struct planning *p, const struct plan_model *m, uint32_t first,
			    uint32_t end, struct plan_candidate *ret)
{
	uint32_t n = 0;

	for (uint32_t option = first; option < end; option++) {
		const struct menu_point *point;

		if (!plan_look_at(p->request, &p->rooms, m, option, &ret[n]))
			continue;
		point = ret[n++].point;
		if (!point)
			continue;
		__builtin_prefetch(point);
		__builtin_prefetch((const char *)(point + 1) - 1);
	}
	return n;
}

static void fill(struct planning *p, uint32_t i, uint32_t level)
{
	const struct plan_model *m = &p->models[i];
	struct plan_list *l = &p->lists[i];
	uint32_t end = m->first[m->clocks[level] + 1], next;

	l->n = 0;
	l->least_w = INFINITY;
	l->capped = isfinite(p->cap_w);
	for (uint32_t option = m->first[m->clocks[level]]; option < end; option = next) {
		struct plan_candidate candidates[AT_ONCE];
		uint32_t n;

		next = MIN(option + AT_ONCE, end);
		n = look_at_all(p, m, option, next, candidates);
		for (uint32_t j = 0; j < n; j++)
			if (plan_weigh(p->request, m, &candidates[j]))
				plan_list_add(l, &candidates[j].choice);
	}
	for (uint32_t j = 0; j < l->n; j++)
		l->choices[j].neg_log = -log(l->choices[j].idle_share);
}

static struct plan_least least_in(const struct plan_rooms *rooms, const struct plan_list *l)
{
	struct plan_least least = {.cost_w = l->least_w,
				   .busy = 1,
				   .cus = INFINITY,
				   .work = INFINITY,
				   .units = UINT32_MAX,
				   .halves = UINT32_MAX,
				   .thirds = UINT32_MAX};

	for (uint32_t i = 0; i < l->n; i++) {
		const struct plan_choice *c = &l->choices[i];

		least.busy = MIN(least.busy, 1 - c->idle_share);
		least.work = MIN(least.work, (1 - c->idle_share) * c->units);
		least.cus = MIN(least.cus, (double)c->ungated_cus);
		least.units = MIN(least.units, (uint32_t)c->units);
		least.halves = MIN(least.halves, (uint32_t)c->halves);
		least.thirds = MIN(least.thirds, (uint32_t)c->thirds);
	}
	least.work /= rooms->n_se * rooms->parts;
	return least;
}

bool plan_kept_least(struct planning *p, uint32_t i, uint32_t level, struct plan_least *ret)
{
	struct kept_model *k = kept_of(p, i, level);
	struct plan_list *l = &p->lists[i];
	struct kept_list *to;

	if (is_filled(k, level)) {
		*ret = k->lists[level].least;
		return k->lists[level].n > 0;
	}
	fill(p, i, level);
	*ret = least_in(&p->rooms, l);
	if (!k || l->n > KEPT_CHOICES)
		return l->n > 0;
	to = &k->lists[level];
	to->least = *ret;
	to->least_w = l->least_w;
	to->n = l->n;
	memcpy(to->choices, l->choices, l->n * sizeof(l->choices[0]));
	k->filled |= UINT32_C(1) << level;
	return l->n > 0;
}

void plan_kept_list(struct planning *p, uint32_t i, uint32_t level)
{
	const struct kept_model *k = kept_of(p, i, level);
	struct plan_list *l = &p->lists[i];

	/* Otherwise it was filled here, just now. */
	if (!is_filled(k, level))
		return;
	l->capped = isfinite(p->cap_w);
	l->least_w = k->lists[level].least_w;
	l->n = k->lists[level].n;
	memcpy(l->choices, k->lists[level].choices, l->n * sizeof(l->choices[0]));
}
