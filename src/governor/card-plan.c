/* SPDX-License-Identifier: Apache-2.0 */
/* All models of a card together: over its clocks the search at each, and over who gives way if not
 * all SLOs can be held. */
#include "governor/card-plan.h"
#include "base/units.h"
#include "governor/card-plan-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* What it counts if the model that gives way first does, twice as much for each after it, so that
 * no number of those outweighs the next; and what it counts if it is not served at all. All are far
 * from power, and from each other. */
#define GIVES_WAY_W 1e6
#define UNSERVED_W  1e4

/* Models from which on SEs are given out in fifths, and the parts before. */
#define FEW_MODELS 4
#define PARTS_FEW  16
#define PARTS_MANY 5

/* The least that a model's options of a clock can need. */
struct least {
	double own_w, busy, cus;
};

struct planning {
	const struct card_plan_request *request;
	struct plan_rooms rooms;
	double cap_w;
	uint32_t n;
	struct plan_model models[CARD_PLAN_MAX_MODELS]; /* by name */
	uint32_t heavy[CARD_PLAN_MAX_MODELS];		/* those with the most load first */
	struct least least[SURFACE_MAX_LEVELS][CARD_PLAN_MAX_MODELS];
	uint32_t level; /* of the best */
	struct plan_search search;
	struct plan_list lists[CARD_PLAN_MAX_MODELS];
};

/* ---- the card ---- */

static struct plan_rooms rooms_of(const struct cu_topology *t, uint32_t n)
{
	uint32_t n_xcc = MAX(t->n_xcc, 1u), n_se = t->n_se / n_xcc;
	struct plan_rooms rooms = {
		.n_xcc = n_xcc,
		.n_se = n_se,
		.se_cus = cu_shape_full(t).cus_per_se,
	};
	uint32_t most = MIN((uint32_t)PARTS_FEW, PLAN_MAX_UNITS / n_se);

	rooms.parts = MIN(rooms.se_cus, n <= FEW_MODELS ? most : MIN(most, (uint32_t)PARTS_MANY));
	/* Parts are rounded down to CUs, so that those of an SE are never more than it has. */
	for (uint32_t cus = 1, parts = 1; cus <= rooms.se_cus; cus++) {
		while (rooms.se_cus * parts / rooms.parts < cus)
			parts++;
		rooms.parts_for[cus] = (uint8_t)parts;
	}
	return rooms;
}

/* The means of what the menus say, in the order of their names, as sums depend on it. */
static bool clock_of(const struct planning *p, uint32_t level, struct plan_clock *ret)
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

static int check(const struct card_plan_request *q)
{
	const struct cu_topology *t = &q->card->topology;

	if (q->n == 0 || q->n > CARD_PLAN_MAX_MODELS || q->card->n_levels == 0 ||
	    cu_topology_check(t) < 0)
		return -EINVAL;
	for (uint32_t i = 0; i < q->n; i++) {
		const struct response_menu *m = q->models[i].menu;

		if (!m || m->n_options == 0 || m->n_rates == 0 || m->n_cus != cu_topology_cus(t) ||
		    m->n_se != t->n_se || m->gating != q->models[0].menu->gating)
			return -EINVAL;
	}
	return 0;
}

/* By name, so that the order in which they are asked for has no part in the result. */
static bool comes_before(const struct plan_model *a, const struct plan_model *b)
{
	int r = strcmp(a->menu->model, b->menu->model);

	if (r != 0)
		return r < 0;
	if (a->asked->priority != b->asked->priority)
		return a->asked->priority < b->asked->priority;
	if (a->asked->limit_ns != b->asked->limit_ns)
		return a->asked->limit_ns < b->asked->limit_ns;
	return a->rate_rps < b->rate_rps;
}

static double share_of_card(const struct plan_model *m)
{
	return m->rate_rps / m->menu->options[m->menu->baseline].capacity_rps;
}

static void order_heavy(struct planning *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		uint32_t at = i;

		for (; at > 0 &&
		       share_of_card(&p->models[p->heavy[at - 1]]) < share_of_card(&p->models[i]);
		     at--)
			p->heavy[at] = p->heavy[at - 1];
		p->heavy[at] = i;
	}
}

static int begin(const struct card_plan_request *q, struct planning *p)
{
	double power_factor = q->power_factor > 0 ? q->power_factor : 1, load = 0;
	int r = check(q);

	if (r < 0)
		return r;
	p->request = q;
	p->n = q->n;
	p->rooms = rooms_of(&q->card->topology, q->n);
	p->cap_w = INFINITY;
	if (q->power_cap_uw > 0)
		p->cap_w = (double)q->power_cap_uw / (double)UW_PER_W / power_factor;
	for (uint32_t i = 0; i < q->n; i++) {
		struct plan_model m;
		uint32_t at = i;

		plan_model_init(q, i, &m);
		if (q->n > 1 && !m.asked->may_mask)
			return -ENOSPC;
		for (; at > 0 && comes_before(&m, &p->models[at - 1]); at--)
			p->models[at] = p->models[at - 1];
		p->models[at] = m;
	}
	for (uint32_t i = 0; i < p->n; i++)
		load += p->models[i].load;
	for (uint32_t i = 0; i < p->n; i++)
		p->models[i].others_load = p->n > 1 ? load - p->models[i].load : 0;
	order_heavy(p);
	return 0;
}

/* ---- one clock after the other ---- */

static bool least_of(const struct planning *p, uint32_t i, uint32_t level, struct least *ret)
{
	const struct plan_model *m = &p->models[i];
	const struct response_menu *menu = m->menu;
	double energy_j = INFINITY, capacity_rps = 0;
	uint32_t first, end, cus = UINT32_MAX;

	plan_clock_options(menu, m->clocks[level], &first, &end);
	for (uint32_t option = first; option < end; option++) {
		const struct menu_option *o = &menu->options[option];

		if (o->capacity_rps < m->rate_rps && !m->may_give_way)
			continue;
		energy_j = MIN(energy_j, o->energy_j);
		capacity_rps = MAX(capacity_rps, o->capacity_rps);
		cus = MIN(cus, cu_shape_cus(o->shape));
	}
	if (cus == UINT32_MAX)
		return false;
	*ret = (struct least){m->rate_rps * energy_j, m->rate_rps / capacity_rps, cus};
	/* A model that gives way may be served nothing. */
	if (m->may_give_way)
		*ret = (struct least){MIN(ret->own_w, 0.0), 0, cus};
	return true;
}

/* From below, for all plans at this clock. */
static double bound_w(const struct planning *p, const struct plan_clock *clock,
		      const struct least *least)
{
	double own_w = 0, idle_share = 1, cus = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		own_w += least[i].own_w;
		idle_share *= 1 - MIN(least[i].busy, 1.0);
		cus += least[i].cus;
	}
	if (cus > clock->most_cus)
		return INFINITY;
	if (!clock->adds_up)
		cus = clock->always_cus;
	/* Less than what more CUs are worth. */
	return clock->idle_w + (1 - idle_share) * (clock->uncore_w + cus * clock->cu_w) + own_w -
	       1e-2;
}

/* From options alone: many clocks need no more. */
static double level_bound_w(struct planning *p, uint32_t level)
{
	struct plan_clock clock;

	if (!clock_of(p, level, &clock))
		return INFINITY;
	for (uint32_t i = 0; i < p->n; i++)
		if (!least_of(p, i, level, &p->least[level][i]))
			return INFINITY;
	return bound_w(p, &clock, p->least[level]);
}

/* The least units, and what else a list says of its model's least. */
static uint32_t least_in_list(const struct plan_list *l, struct least *ret)
{
	uint32_t units = UINT32_MAX;
	double idle_share = 0;

	for (uint32_t i = 0; i < l->n; i++) {
		units = MIN(units, (uint32_t)l->choices[i].units);
		idle_share = MAX(idle_share, l->choices[i].idle_share);
	}
	ret->own_w = l->least_w;
	ret->busy = 1 - idle_share;
	return units;
}

/* Points of a rate lie far apart: asked for all at once, they arrive together. */
static void prefetch(const struct plan_model *m, uint32_t first, uint32_t end)
{
	const struct response_menu *menu = m->menu;

	for (uint32_t option = first; option < end && m->row < menu->n_rates; option++) {
		const struct menu_point *p = response_menu_point(menu, option, m->row);

		if (menu->options[option].capacity_rps < m->rate_rps)
			continue;
		__builtin_prefetch(p);
		__builtin_prefetch((const char *)(p + 1) - 1);
	}
}

static void fill_list(struct planning *p, uint32_t i, uint32_t level)
{
	const struct plan_model *m = &p->models[i];
	struct plan_list *l = &p->lists[i];
	uint32_t first, end;

	l->n = 0;
	l->least_w = INFINITY;
	l->capped = isfinite(p->cap_w);
	plan_clock_options(m->menu, m->clocks[level], &first, &end);
	prefetch(m, first, end);
	for (uint32_t option = first; option < end; option++) {
		struct plan_choice c;

		if (plan_evaluate(p->request, &p->rooms, m, option, &c))
			plan_list_add(l, &c);
	}
}

/* False: there is no plan at this clock, or none better than the best so far, which the models with
 * the most load tell soonest. */
static bool fill_lists(struct planning *p, uint32_t level)
{
	uint32_t left = p->rooms.n_se * p->rooms.parts;

	for (uint32_t k = 0; k < p->n; k++) {
		uint32_t i = p->heavy[k], units;

		fill_list(p, i, level);
		if (p->lists[i].n == 0)
			return false;
		units = least_in_list(&p->lists[i], &p->least[level][i]);
		if (units > left ||
		    bound_w(p, &p->search.clock, p->least[level]) >= p->search.best_w - PLAN_SAME_W)
			return false;
		left -= units;
	}
	return true;
}

static void search_level(struct planning *p, uint32_t level)
{
	struct plan_search *s = &p->search;
	double before_w = s->best_w;

	if (!clock_of(p, level, &s->clock) || !fill_lists(p, level))
		return;
	plan_search_clock(s);
	if (s->best_w < before_w)
		p->level = level;
}

/* What was good is likely to be: a good plan at first leaves less to look at. */
static void start_in_force(const struct planning *p, uint32_t *order)
{
	const struct plan_model *m = &p->models[0];
	uint32_t n_levels = p->request->card->n_levels, option = m->asked->in_force, i = 0, level;

	if (option >= m->menu->n_options)
		return;
	while (i < n_levels && m->clocks[order[i]] != m->menu->options[option].clock)
		i++;
	if (i == n_levels)
		return;
	level = order[i];
	memmove(order + 1, order, i * sizeof(*order));
	order[0] = level;
}

/* The best plan for those who give way and those who do not; false if there is none. */
static bool solve(struct planning *p)
{
	uint32_t order[SURFACE_MAX_LEVELS], n_levels = p->request->card->n_levels;
	double bounds_w[SURFACE_MAX_LEVELS];

	for (uint32_t level = 0; level < n_levels; level++) {
		uint32_t at = level;

		bounds_w[level] = level_bound_w(p, level);
		for (; at > 0 && bounds_w[order[at - 1]] > bounds_w[level]; at--)
			order[at] = order[at - 1];
		order[at] = level;
	}
	start_in_force(p, order);
	p->search.rooms = p->rooms;
	p->search.cap_w = p->cap_w;
	p->search.n = p->n;
	p->search.lists = p->lists;
	p->search.branches = 0;
	p->search.found = false;
	p->search.best_w = INFINITY;
	for (uint32_t i = 0; i < n_levels; i++)
		if (bounds_w[order[i]] < p->search.best_w - PLAN_SAME_W)
			search_level(p, order[i]);
	return p->search.found;
}

/* ---- who gives way ---- */

static void order_sacrifice(const struct planning *p, uint32_t ret[CARD_PLAN_MAX_MODELS])
{
	for (uint32_t i = 0; i < p->n; i++) {
		const struct plan_model *m = &p->models[i];
		uint32_t at = i;

		for (; at > 0; at--) {
			const struct plan_model *o = &p->models[ret[at - 1]];

			if (o->asked->priority < m->asked->priority ||
			    (o->asked->priority == m->asked->priority &&
			     share_of_card(o) >= share_of_card(m)))
				break;
			ret[at] = ret[at - 1];
		}
		ret[at] = i;
	}
}

static bool solve_by_sacrifice(struct planning *p)
{
	uint32_t order[CARD_PLAN_MAX_MODELS];
	double gives_way_w = GIVES_WAY_W;

	if (solve(p))
		return true;
	order_sacrifice(p, order);
	for (uint32_t i = 0; i < p->n; i++, gives_way_w *= 2) {
		struct plan_model *m = &p->models[order[i]];

		m->may_give_way = true;
		m->gives_way_w = gives_way_w;
		m->unserved_w = UNSERVED_W * (i + 1);
	}
	if (solve(p))
		return true;
	/* Nothing is inside the cap: as near as can be. */
	for (uint32_t i = 0; i < p->n; i++)
		p->models[i].gives_way_w = p->models[i].unserved_w = 0;
	p->cap_w = INFINITY;
	return solve(p);
}

/* ---- the plan ---- */

static void fill_plan(const struct planning *p, const struct plan_choice *choices, uint32_t level,
		      const struct plan_clock *clock, struct card_plan *ret)
{
	*ret = (struct card_plan){
		.fits = p->request->power_cap_uw == 0 || isfinite(p->cap_w),
		.max_mhz = p->request->card->level_mhz[level],
		.power_w = plan_power_w(clock, choices, p->n),
		.cost_w = plan_cost_w(clock, choices, p->n),
	};
	for (uint32_t i = 0; i < p->n; i++) {
		const struct plan_model *m = &p->models[i];
		const struct plan_choice *c = &choices[i];
		bool holds = (double)c->tail_ns <= m->asked->limit_ns;
		uint32_t row = MIN(m->row, m->menu->n_rates - 1);

		ret->models[m->index] = (struct card_plan_choice){
			.option = c->option,
			.tail_ns = c->tail_ns,
			.wait_ns = response_menu_point(m->menu, c->option, row)->wait_ns,
			.capacity_rps = m->menu->options[c->option].capacity_rps / c->factor,
			.gives_way = !holds,
		};
		ret->fits &= holds;
	}
}

/* What is in force, if it is a plan, at one level of the card's. */
static bool find_in_force(const struct planning *p, struct plan_choice *ret_choices,
			  uint32_t *ret_level)
{
	const struct governor_config *card = p->request->card;
	uint32_t level = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		const struct plan_model *m = &p->models[i];
		uint32_t option = m->asked->in_force;

		if (option >= m->menu->n_options)
			return false;
		while (i == 0 && level + 1 < card->n_levels &&
		       m->clocks[level] != m->menu->options[option].clock)
			level++;
		if (m->clocks[level] != m->menu->options[option].clock ||
		    !plan_evaluate(p->request, &p->rooms, m, option, &ret_choices[i]))
			return false;
	}
	*ret_level = level;
	return p->n == 1 || plan_packs(&p->rooms, ret_choices, p->n);
}

static bool stays(const struct planning *p, double best_w, struct plan_choice *ret_choices,
		  uint32_t *ret_level, struct plan_clock *ret_clock)
{
	return find_in_force(p, ret_choices, ret_level) && clock_of(p, *ret_level, ret_clock) &&
	       plan_cost_w(ret_clock, ret_choices, p->n) <= best_w + CARD_PLAN_TIE_W &&
	       plan_power_w(ret_clock, ret_choices, p->n) <= p->cap_w;
}

/* By a limit on the tail alone, as the table: among ties more CUs, then less power. */
static void prefer_cus(struct planning *p, struct plan_clock *ret_clock)
{
	const struct plan_model *m = &p->models[0];
	double best_w = p->search.best_w;

	for (uint32_t i = 0; i < m->menu->n_options; i++) {
		const struct cu_shape present = m->menu->options[p->search.best[0].option].shape;
		const struct menu_option *o = &m->menu->options[i];
		struct plan_clock clock;
		struct plan_choice c;
		uint32_t level = 0;
		double cost_w;

		while (level + 1 < p->request->card->n_levels && m->clocks[level] != o->clock)
			level++;
		if (m->clocks[level] != o->clock || !clock_of(p, level, &clock) ||
		    !plan_evaluate(p->request, &p->rooms, m, i, &c) ||
		    plan_power_w(&clock, &c, 1) > p->cap_w)
			continue;
		cost_w = plan_cost_w(&clock, &c, 1);
		if (cost_w >= best_w + CARD_PLAN_TIE_W ||
		    cu_shape_cus(o->shape) < cu_shape_cus(present))
			continue;
		if (cu_shape_cus(o->shape) == cu_shape_cus(present) && cost_w >= p->search.best_w)
			continue;
		p->search.best[0] = c;
		p->search.best_w = cost_w;
		p->level = level;
		*ret_clock = clock;
	}
}

/* ---- without masks ---- */

struct shared {
	bool found;
	uint32_t level;
	struct plan_clock clock;
	double cost_w;
	struct plan_choice choices[CARD_PLAN_MAX_MODELS];
};

static bool shared_in_force(const struct planning *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		const struct plan_model *m = &p->models[i];

		if (m->asked->in_force >= m->menu->n_options ||
		    !m->menu->options[m->asked->in_force].full)
			return false;
	}
	return true;
}

/* Without masks a change costs nothing but the clock's, so there are no ties. */
static void solve_shared(const struct planning *p, struct shared *ret)
{
	ret->found = false;
	ret->cost_w = INFINITY;
	for (uint32_t level = 0; level < p->request->card->n_levels; level++) {
		struct plan_choice choices[CARD_PLAN_MAX_MODELS];
		struct plan_clock clock;
		double cost_w;

		if (!clock_of(p, level, &clock) ||
		    !plan_shared(p->request, p->models, p->n, level, &clock, choices) ||
		    plan_power_w(&clock, choices, p->n) > p->cap_w)
			continue;
		cost_w = plan_cost_w(&clock, choices, p->n);
		if (cost_w >= ret->cost_w)
			continue;
		*ret = (struct shared){true, level, clock, cost_w};
		memcpy(ret->choices, choices, p->n * sizeof(*choices));
	}
}

/* What is in force has to be beaten by more than a tie. */
static bool beats(const struct planning *p, const struct shared *s)
{
	return s->cost_w <=
	       p->search.best_w + (shared_in_force(p) ? CARD_PLAN_TIE_W : -CARD_PLAN_TIE_W);
}

int card_plan_make(const struct card_plan_request *request, struct card_plan *ret)
{
	struct plan_choice choices[CARD_PLAN_MAX_MODELS];
	struct shared shared = {.found = false};
	struct plan_clock clock;
	struct planning p;
	uint32_t level;
	int r;

	r = begin(request, &p);
	if (r < 0)
		return r;
	if (request->may_share && p.n > 1)
		solve_shared(&p, &shared);
	if (shared.found && (!solve(&p) || beats(&p, &shared))) {
		fill_plan(&p, shared.choices, shared.level, &shared.clock, ret);
		return 0;
	}
	if (!shared.found && !solve_by_sacrifice(&p))
		return -ENOSPC;
	if (stays(&p, p.search.best_w, choices, &level, &clock)) {
		fill_plan(&p, choices, level, &clock, ret);
		return 0;
	}
	(void)clock_of(&p, p.level, &clock);
	if (p.n == 1 && request->models[0].late_cost <= 0)
		prefer_cus(&p, &clock);
	fill_plan(&p, p.search.best, p.level, &clock, ret);
	return 0;
}

double card_plan_power_w(const struct card_plan_request *request, const uint32_t *options)
{
	struct plan_choice choices[CARD_PLAN_MAX_MODELS];
	struct card_plan_request q = *request;
	struct plan_clock clock;
	struct planning p;
	uint32_t level;

	for (uint32_t i = 0; i < request->n && i < CARD_PLAN_MAX_MODELS; i++) {
		q.models[i].in_force = options[i];
		q.models[i].limit_ns = INFINITY;
	}
	if (begin(&q, &p) < 0 || !find_in_force(&p, choices, &level) ||
	    !clock_of(&p, level, &clock))
		return NAN;
	for (uint32_t i = 0; i < p.n; i++)
		if (isinf(choices[i].tail_ns))
			return NAN;
	return plan_power_w(&clock, choices, p.n);
}
