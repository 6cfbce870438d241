/* SPDX-License-Identifier: Apache-2.0 */
/* A plan for all models of a card together: with masks or without, or as it is. */
#include "governor/card-plan.h"
#include "base/units.h"
#include "governor/card-plan-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* Models from which on SEs are given out in fifths, and the parts before. */
#define FEW_MODELS 4
#define PARTS_FEW  16
#define PARTS_MANY 5

/* Sums of loads are not exact. */
#define LOAD_TOLERANCE 1e-9

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
	rooms.grain = n_se * rooms.parts > PLAN_FEW_UNITS ? n_se : 1;
	rooms.cells = n_se * rooms.parts / rooms.grain;
	/* Parts are rounded down to CUs, so that those of an SE are never more than it has. */
	for (uint32_t cus = 1, parts = 1; cus <= rooms.se_cus; cus++) {
		while (rooms.se_cus * parts / rooms.parts < cus)
			parts++;
		rooms.parts_for[cus] = (uint8_t)parts;
	}
	return rooms;
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

static void order_heavy(struct planning *p)
{
	for (uint32_t i = 0; i < p->n; i++) {
		uint32_t at = i;

		for (; at > 0 && plan_share_of_card(&p->models[p->heavy[at - 1]]) <
					 plan_share_of_card(&p->models[i]);
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
	p->masks = true;
	p->search.branches = 0;
	p->rooms = rooms_of(&q->card->topology, q->n);
	p->cap_w = INFINITY;
	if (q->power_cap_uw > 0)
		p->cap_w = (double)q->power_cap_uw / (double)UW_PER_W / power_factor;
	for (uint32_t i = 0; i < q->n; i++) {
		struct plan_model m;
		uint32_t at = i;

		plan_model_init(q, i, &m);
		p->masks &= q->n == 1 || m.asked->may_mask;
		for (; at > 0 && comes_before(&m, &p->models[at - 1]); at--)
			p->models[at] = p->models[at - 1];
		p->models[at] = m;
	}
	for (uint32_t i = 0; i < p->n; i++)
		load += p->models[i].load;
	for (uint32_t i = 0; i < p->n; i++) {
		double others = p->n > 1 ? load - p->models[i].load : 0;

		p->models[i].others_load =
			ceil(others * PLAN_LOAD_STEPS - LOAD_TOLERANCE) / PLAN_LOAD_STEPS;
	}
	order_heavy(p);
	return 0;
}

/* ---- the plan ---- */

static void fill_plan(const struct planning *p, const struct plan_found *f, struct card_plan *ret)
{
	*ret = (struct card_plan){
		.fits = p->request->power_cap_uw == 0 || isfinite(p->cap_w),
		.exact = p->search.branches <= PLAN_MAX_BRANCHES,
		.max_mhz = p->request->card->level_mhz[f->level],
		.power_w = plan_power_w(&f->clock, f->choices, p->n),
		.cost_w = plan_cost_w(&f->clock, f->choices, p->n),
	};
	for (uint32_t i = 0; i < p->n; i++) {
		const struct plan_model *m = &p->models[i];
		const struct plan_choice *c = &f->choices[i];
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

/* ---- what is in force ---- */

/* The options in force, if they are a plan but for the cap, at one level of the card's. */
static bool find_options(const struct planning *p, struct plan_found *ret)
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
		    !plan_evaluate(p->request, &p->rooms, m, option, &ret->choices[i]))
			return false;
	}
	ret->level = level;
	if (!plan_clock_of(p, level, &ret->clock))
		return false;
	ret->cost_w = plan_cost_w(&ret->clock, ret->choices, p->n);
	return p->n == 1 || plan_packs(&p->rooms, ret->choices, p->n);
}

static void find_in_force(const struct planning *p, struct plan_found *ret)
{
	ret->found = p->masks && find_options(p, ret) &&
		     plan_power_w(&ret->clock, ret->choices, p->n) <= p->cap_w;
}

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

/* ---- choosing ---- */

/* By a limit on the tail alone, as the table: among ties more CUs, then less power. */
static void prefer_cus(const struct planning *p, struct plan_found *f)
{
	const struct plan_model *m = &p->models[0];
	double best_w = f->cost_w;

	for (uint32_t i = 0; i < m->menu->n_options; i++) {
		const struct cu_shape present = m->menu->options[f->choices[0].option].shape;
		const struct menu_option *o = &m->menu->options[i];
		struct plan_clock clock;
		struct plan_choice c;
		uint32_t level = 0;
		double cost_w;

		while (level + 1 < p->request->card->n_levels && m->clocks[level] != o->clock)
			level++;
		if (m->clocks[level] != o->clock || !plan_clock_of(p, level, &clock) ||
		    !plan_evaluate(p->request, &p->rooms, m, i, &c) ||
		    plan_power_w(&clock, &c, 1) > p->cap_w)
			continue;
		cost_w = plan_cost_w(&clock, &c, 1);
		if (cost_w >= best_w + CARD_PLAN_TIE_W ||
		    cu_shape_cus(o->shape) < cu_shape_cus(present))
			continue;
		if (cu_shape_cus(o->shape) == cu_shape_cus(present) && cost_w >= f->cost_w)
			continue;
		*f = (struct plan_found){true, level, clock, cost_w, {c}};
	}
}

/* The best masks that beat what is in force by more than a tie, or what is in force. */
static void solve(struct planning *p, double below_w, struct plan_found *ret)
{
	find_in_force(p, ret);
	if (ret->found)
		below_w = MIN(below_w, ret->cost_w - CARD_PLAN_TIE_W);
	if (!p->masks || !plan_solve(p, below_w))
		return;
	*ret = (struct plan_found){true, p->level, {0}, p->search.best_w, {{0}}};
	(void)plan_clock_of(p, p->level, &ret->clock);
	memcpy(ret->choices, p->search.best, p->n * sizeof(ret->choices[0]));
	if (p->n == 1 && p->models[0].asked->late_cost <= 0)
		prefer_cus(p, ret);
}

/* With masks or without; false if not all SLOs can be held inside the cap. */
static bool find_fitting(struct planning *p, struct plan_found *ret)
{
	struct plan_found shared = {.found = false};
	double below_w = INFINITY;

	if (p->request->may_share && p->n > 1)
		plan_shared(p, &shared);
	if (shared.found)
		below_w = shared.cost_w - (shared_in_force(p) ? CARD_PLAN_TIE_W : 0);
	solve(p, below_w, ret);
	/* What was searched is below it; what is in force need not be. */
	if (shared.found && (!ret->found || ret->cost_w > shared.cost_w + CARD_PLAN_TIE_W))
		*ret = shared;
	return ret->found;
}

/* Whether anything was asked of capacities that is asked no more. */
static bool let_capacities_go(struct planning *p)
{
	bool asked = false;

	for (uint32_t i = 0; i < p->n; i++) {
		asked |= p->models[i].asked->least_capacity_rps > 0;
		p->models[i].least_capacity_rps = 0;
	}
	return asked;
}

int card_plan_make(const struct card_plan_request *request, struct card_planner *kept,
		   struct card_plan *ret)
{
	struct plan_found found;
	struct planning p;
	int r;

	r = begin(request, &p);
	if (r < 0)
		return r;
	p.kept = kept;
	if (!find_fitting(&p, &found) && !(let_capacities_go(&p) && find_fitting(&p, &found))) {
		plan_let_give_way(&p);
		solve(&p, INFINITY, &found);
	}
	if (!found.found) {
		plan_let_cap_go(&p);
		solve(&p, INFINITY, &found);
	}
	if (!found.found)
		return -ENOSPC;
	fill_plan(&p, &found, ret);
	return 0;
}

double card_plan_power_w(const struct card_plan_request *request, const uint32_t *options)
{
	struct card_plan_request q = *request;
	struct plan_found found;
	struct planning p;

	for (uint32_t i = 0; i < request->n && i < CARD_PLAN_MAX_MODELS; i++) {
		q.models[i].in_force = options[i];
		q.models[i].limit_ns = INFINITY;
	}
	if (begin(&q, &p) < 0 || !p.masks || !find_options(&p, &found))
		return NAN;
	for (uint32_t i = 0; i < p.n; i++)
		if (isinf(found.choices[i].tail_ns))
			return NAN;
	return plan_power_w(&found.clock, found.choices, p.n);
}
