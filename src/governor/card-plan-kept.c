/* SPDX-License-Identifier: Apache-2.0 */
/* What each model may choose at each clock: lists of choices none of which is worse than another.
 * They are what a plan mostly costs, and they are the same as long as the same is asked of the
 * model and the others want as much memory, rounded up: mostly one model's demand has moved. What
 * is kept is never seen in a result. */
#include "base/units.h"
#include "governor/card-plan-internal.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Options are told from each other by a factor that is lower by this, and anew where it is no more
 * that, or lower by too much. */
#define FACTOR_BELOW	 0.97
#define FACTOR_FAR_BELOW 0.9
#define KEPT_LEVELS	 16 /* above it lists are made anew each time */
#define KEPT_CHOICES	 32 /* likewise longer ones */

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

/* What options depend on. */
struct kept_for {
	const struct response_menu *menu;
	double limit_ns;
	bool may_mask, may_batch, alone;
	struct plan_rooms rooms;
};

/* Of a clock, whatever the demand. */
struct kept_clock {
	struct plan_rough rough;
	struct plan_steps steps;
};

/* Of a clock, for a question. */
struct kept_answer {
	struct plan_bound bound;
	struct kept_list list;
};

/* All that is kept for a question. */
struct kept_answers {
	struct question question;
	uint32_t bounded, filled;   /* by level */
	struct kept_answer *levels; /* [n_levels] */
};

struct kept_model {
	struct kept_for kept_for;
	double factor;			/* of the options' rows: no more than any asked for since */
	uint32_t rough, known;		/* by level: these; options and steps */
	struct kept_clock *levels;	/* [n_levels] */
	struct plan_option *options;	/* [n_options] */
	struct kept_answers answers[2]; /* of a model that must not give way; that may */
};

struct card_planner {
	struct card_planner_size size;
	/* Of all models, one after the other. */
	struct kept_clock *clocks;
	struct kept_answer *answers;
	struct plan_option *options;
	struct kept_model models[];
};

static void share_out(struct card_planner *k)
{
	const struct card_planner_size *size = &k->size;

	for (size_t i = 0; i < size->n_models; i++) {
		struct kept_model *m = &k->models[i];

		m->levels = &k->clocks[i * size->n_levels];
		m->options = &k->options[i * size->n_options];
		/* Few are ever asked for by models that give way: apart, so that no memory is
		 * touched for them. */
		m->answers[0].levels = &k->answers[i * size->n_levels];
		m->answers[1].levels = &k->answers[(size->n_models + i) * size->n_levels];
	}
}

int card_planner_new(const struct card_planner_size *size, struct card_planner **ret)
{
	_cleanup_(card_planner_freep) struct card_planner *k = NULL;
	size_t n_models = MIN(size->n_models, (uint32_t)CARD_PLAN_MAX_MODELS), n_clocks;

	if (size->n_models == 0 || size->n_levels == 0 || size->n_options == 0 ||
	    size->n_options > MENU_MAX_OPTIONS)
		return -EINVAL;
	k = calloc(1, sizeof(*k) + n_models * sizeof(k->models[0]));
	if (!k)
		return -ENOMEM;
	k->size = (struct card_planner_size){
		.n_models = (uint32_t)n_models,
		.n_levels = MIN(size->n_levels, (uint32_t)KEPT_LEVELS),
		.n_options = size->n_options,
	};
	n_clocks = n_models * k->size.n_levels;
	k->clocks = calloc(n_clocks, sizeof(*k->clocks));
	k->answers = calloc(ARRAY_SIZE(k->models[0].answers) * n_clocks, sizeof(*k->answers));
	k->options = calloc(n_models * k->size.n_options, sizeof(*k->options));
	if (!k->clocks || !k->answers || !k->options)
		return -ENOMEM;
	share_out(k);
	*ret = TAKE_PTR(k);
	return 0;
}

struct card_planner *card_planner_free(struct card_planner *k)
{
	if (!k)
		return NULL;
	free(k->clocks);
	free(k->answers);
	free(k->options);
	free(k);
	return NULL;
}

/* NULL: nothing is kept of this model. */
static struct kept_model *kept_of_model(const struct planning *p, uint32_t i)
{
	const struct plan_model *m = &p->models[i];
	const struct card_planner_size *size;

	if (!p->kept)
		return NULL;
	size = &p->kept->size;
	return m->index < size->n_models && m->menu->n_options <= size->n_options
		       ? &p->kept->models[m->index]
		       : NULL;
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

static void ask_of_options(const struct planning *p, const struct plan_model *m,
			   struct kept_model *k)
{
	struct kept_for now;

	memset(&now, 0, sizeof(now));
	now.menu = m->menu;
	now.limit_ns = m->asked->limit_ns;
	now.may_mask = m->asked->may_mask;
	now.may_batch = m->asked->may_batch;
	now.alone = p->n == 1;
	memcpy(&now.rooms, &p->rooms, sizeof(p->rooms));
	if (memcmp(&now, &k->kept_for, sizeof(now)) == 0 && m->factor >= k->factor &&
	    m->factor * FACTOR_FAR_BELOW <= k->factor)
		return;
	memcpy(&k->kept_for, &now, sizeof(now));
	k->factor = m->factor * FACTOR_BELOW;
	k->rough = k->known = 0;
}

void plan_kept_begin(struct planning *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		const struct plan_model *m = &p->models[i];
		struct kept_model *k = kept_of_model(p, i);
		struct kept_answers *answers;
		struct question question;

		if (!k)
			continue;
		answers = &k->answers[m->may_give_way];
		ask_of_options(p, m, k);
		ask(p, i, &question);
		if (memcmp(&question, &answers->question, sizeof(question)) == 0)
			continue;
		memcpy(&answers->question, &question, sizeof(question));
		answers->bounded = answers->filled = 0;
	}
}

/* NULL: nothing is kept of this level. */
static struct kept_model *kept_of(const struct planning *p, uint32_t i, uint32_t level)
{
	return p->kept && level < p->kept->size.n_levels ? kept_of_model(p, i) : NULL;
}

static struct kept_answers *answers_of(const struct planning *p, uint32_t i, struct kept_model *k)
{
	return k ? &k->answers[p->models[i].may_give_way] : NULL;
}

static bool is_filled(const struct kept_answers *a, uint32_t level)
{
	return a && a->filled >> level & 1;
}

/* ---- bounds ---- */

bool plan_kept_rough(struct planning *p, uint32_t i, uint32_t level, struct plan_least *ret)
{
	struct kept_model *k = kept_of(p, i, level);

	*ret = (struct plan_least){.cost_w = -INFINITY};
	if (!k)
		return false;
	if (!(k->rough >> level & 1)) {
		plan_rough_of(p, i, level, &k->levels[level].rough);
		k->rough |= UINT32_C(1) << level;
	}
	*ret = plan_rough_least(&p->models[i], &k->levels[level].rough);
	return true;
}

/* The points of all rates are read, so only of clocks that are in question. */
static const struct plan_option *know_options(const struct planning *p, uint32_t i, uint32_t level,
					      struct kept_model *k)
{
	const struct plan_model *m = &p->models[i];
	uint32_t end = m->first[m->clocks[level] + 1];

	if (k->known >> level & 1)
		return k->options;
	k->known |= UINT32_C(1) << level;
	for (uint32_t option = m->first[m->clocks[level]]; option < end; option++) {
		plan_option_init(p->request, &p->rooms, m, option, &k->options[option]);
		if (k->options[option].may)
			k->options[option].rows = plan_rows_of(m, option, k->factor);
	}
	plan_steps_of(m, level, k->options, &k->levels[level].steps);
	return k->options;
}

const struct plan_steps *plan_kept_steps(struct planning *p, uint32_t i, uint32_t level)
{
	struct kept_model *k = kept_of(p, i, level);

	if (!k)
		return NULL;
	(void)know_options(p, i, level, k);
	return &k->levels[level].steps;
}

const struct plan_bound *plan_kept_bound(struct planning *p, uint32_t i, uint32_t level,
					 struct plan_bound *in)
{
	struct kept_model *k = kept_of(p, i, level);
	struct kept_answers *a = answers_of(p, i, k);

	if (!a) {
		plan_bound_of(p, i, level, NULL, in);
		return in;
	}
	if (!(a->bounded >> level & 1)) {
		plan_bound_of(p, i, level, know_options(p, i, level, k), &a->levels[level].bound);
		a->bounded |= UINT32_C(1) << level;
	}
	return &a->levels[level].bound;
}

/* ---- lists ---- */

static void ask_for_points(const struct plan_candidate *candidates, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const struct menu_point *point = candidates[i].point;

		if (!point)
			continue;
		__builtin_prefetch(point);
		__builtin_prefetch((const char *)(point + 1) - 1);
	}
}

static void fill(struct planning *p, uint32_t i, uint32_t level, const struct plan_option *options)
{
	const struct plan_model *m = &p->models[i];
	struct plan_list *l = &p->lists[i];
	uint32_t end = m->first[m->clocks[level] + 1], next;

	l->n = 0;
	l->least_w = INFINITY;
	l->capped = isfinite(p->cap_w);
	for (uint32_t option = m->first[m->clocks[level]]; option < end; option = next) {
		struct plan_candidate candidates[PLAN_AT_ONCE];
		uint32_t n = plan_look_at(p, m, options, option, end, candidates, &next);

		ask_for_points(candidates, n);
		for (uint32_t j = 0; j < n; j++)
			if (plan_weigh(p->request, m, &candidates[j]))
				plan_list_add(l, &candidates[j].choice);
	}
	for (uint32_t j = 0; j < l->n; j++)
		l->choices[j].neg_log = -log(l->choices[j].idle_share);
}

const struct plan_least plan_least_none = {
	.cost_w = INFINITY,
	.busy = 1,
	.cus = INFINITY,
	.work = INFINITY,
	.units = UINT32_MAX,
	.halves = UINT32_MAX,
	.thirds = UINT32_MAX,
};

static struct plan_least least_in(const struct plan_rooms *rooms, const struct plan_list *l)
{
	struct plan_least least = plan_least_none;

	least.cost_w = l->least_w;
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
	struct kept_answers *a = answers_of(p, i, k);
	struct plan_list *l = &p->lists[i];
	struct kept_list *to;

	if (is_filled(a, level)) {
		*ret = a->levels[level].list.least;
		return a->levels[level].list.n > 0;
	}
	fill(p, i, level, k ? know_options(p, i, level, k) : NULL);
	*ret = least_in(&p->rooms, l);
	if (!a || l->n > KEPT_CHOICES)
		return l->n > 0;
	to = &a->levels[level].list;
	to->least = *ret;
	to->least_w = l->least_w;
	to->n = l->n;
	memcpy(to->choices, l->choices, l->n * sizeof(l->choices[0]));
	a->filled |= UINT32_C(1) << level;
	return l->n > 0;
}

void plan_kept_list(struct planning *p, uint32_t i, uint32_t level)
{
	const struct kept_answers *a = answers_of(p, i, kept_of(p, i, level));
	struct plan_list *l = &p->lists[i];

	/* Otherwise it was filled here, just now. */
	if (!is_filled(a, level))
		return;
	l->capped = isfinite(p->cap_w);
	l->least_w = a->levels[level].list.least_w;
	l->n = a->levels[level].list.n;
	memcpy(l->choices, a->levels[level].list.choices, l->n * sizeof(l->choices[0]));
}
