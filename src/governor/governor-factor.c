/* SPDX-License-Identifier: Apache-2.0 */
/* A model's factor on service times: from which intervals it is learnt, and the tables that are
 * planned by because of it. While the model is alone on its card what counts is what counts for the
 * self-check (governor-check.h), beside others what these tell of each other (co-run.h). */
#include "base/units.h"
#include "governor/governor-internal.h"
#include "governor/planner.h"
#include "response/menu-table.h"
#include <math.h>

#define BESIDE_STEP 0.015

/* Rows that count on boosts: the share of requests that may be late without them. More was tried,
 * and gains nothing: what boosts draw is in the cost of what is late. */
#define LATE_WITH_BOOSTS 0.2
/* Of the SLO, the time of a clock change up to which they do, and go on to. */
#define SWITCH_MAX  0.25
#define SWITCH_KEPT 0.33

bool governor_factor_applies(const struct governor_model_config *c)
{
	const struct policy *policy = policy_find(c->policy);

	return policy->plans && policy->by_cost && c->menu && c->table && c->late_cost > 0;
}

static void make_tables(struct governor *g, uint32_t i)
{
	const struct governor_model_config *c = &g->config.models[i];
	struct model *m = &g->models[i];
	struct menu_table_options o = {
		.factor = m->planned_factor,
		.late_cost = c->late_cost,
		.late_max = m->late_max,
	};

	menu_table(c->menu, c->table, &o, &m->factored->table);
	o.full_only = true;
	if (c->clock_table)
		menu_table(c->menu, c->clock_table, &o, &m->factored->clock_table);
}

/* Whether boosts come while they still help: with a clock that takes longer than a quarter of the
 * SLO rows that count on them gain nothing. Before the time is known it is taken to be short: it
 * takes such rows to make it known. Nobody counts on wakes that were never seen, nor where more is
 * late than anything explains. */
static double late_max(const struct governor *g, uint32_t i)
{
	const struct governor_model_config *c = &g->config.models[i];
	const struct model *m = &g->models[i];
	double limit_ns = (double)c->table->slo_ns * (m->late_max > 0 ? SWITCH_KEPT : SWITCH_MAX);

	if (!m->policy->guarded || c->never_boosts || !m->boost.woke || m->boost.disbelieved ||
	    late_test_raise(&m->late_test) > 1 || switch_time_ns(&g->switch_time) > limit_ns)
		return 0;
	return LATE_WITH_BOOSTS;
}

/* A stale profile widens the margin: what is planned for is then at least the self-check's bound.
 * Returns whether there are other tables now. */
static bool plan(struct governor *g, uint32_t i)
{
	struct model *m = &g->models[i];
	double slowness = self_check_slowness(&m->check.check);
	double least = slowness > 1 ? slowness : SERVICE_FACTOR_MIN;
	double factor = service_factor_plan(&m->service_factor, least);
	double late = late_max(g, i);

	if (factor == m->planned_factor && late == m->late_max)
		return false;
	m->planned_factor = factor;
	m->late_max = late;
	make_tables(g, i);
	return true;
}

void governor_factor_init(struct governor *g, uint32_t i, struct factored *room)
{
	struct model *m = &g->models[i];

	m->factored = room;
	m->planned_factor = 1;
	if (!room)
		return;
	make_tables(g, i);
	(void)plan(g, i);
}

void governor_factor_inherit(struct governor *g, uint32_t i, struct factored *room, bool same)
{
	if (!same) {
		service_factor_init(&g->models[i].service_factor);
		g->models[i].co_run = (struct co_run){0};
		g->models[i].change_beside = 0;
	}
	governor_factor_init(g, i, room);
}

/* ---- each step ---- */

static void learn(struct model *m, const struct governor_input *input, bool alone)
{
	const struct self_check_sample *counted = &m->check.counted;
	struct service_factor_look look = {
		.passed_s = (double)input->interval_ns / (double)NSEC_PER_SEC,
	};
	double factor, services;

	if (alone) {
		look.services = counted->services;
		look.observed_ns = counted->observed_ns;
		look.expected_ns = counted->expected_ns;
	} else if (co_run_look(&m->co_run, &factor, &services)) {
		look.services = look.expected_ns = services;
		look.observed_ns = services * factor;
	}
	service_factor_update(&m->service_factor, &look);
}

/* Only the faster card counts: what is predicted of models that share all CUs errs to the safe side
 * by more than a slow card is slow, and would leave no plan but masks, or none at all. In steps, as
 * each makes a new plan for all. */
static void round_beside(struct model *m)
{
	double change = MIN(service_factor_get(&m->service_factor) - 1, 0.0);

	if (fabs(change - m->change_beside) > BESIDE_STEP)
		m->change_beside = change;
}

/* Other tables may have another configuration in the row that is held. */
static void follow(struct governor *g, uint32_t i, const struct governor_input *input, bool alone)
{
	struct model *m = &g->models[i];
	const struct response_table *t = governor_model_table(g, i, &input->models[i]);
	struct table_row before = *planner_row(t, m->pacer.row);
	const struct table_row *now;

	/* What several do together is planned by menus, and changes are counted there. */
	if (!plan(g, i) || !alone)
		return;
	now = planner_row(t, m->pacer.row);
	if (now->max_mhz != before.max_mhz || now->batch != before.batch ||
	    !cu_shape_equal(now->shape, before.shape))
		pacer_add_change(&m->pacer, input->now_ns);
}

void governor_factor_step(struct governor *g, const struct governor_input *input, uint32_t only)
{
	for (uint32_t i = 0; i < g->config.n_models; i++) {
		learn(&g->models[i], input, i == only);
		round_beside(&g->models[i]);
		/* A look at a queue is urgent. */
		if (g->models[i].factored && !input->early)
			follow(g, i, input, i == only);
	}
}

void governor_factor_describe(const struct governor *g, struct governor_decision *ret)
{
	for (uint32_t i = 0; i < g->config.n_models; i++) {
		ret->models[i].service_factor = service_factor_get(&g->models[i].service_factor);
		ret->models[i].planned_factor = g->models[i].planned_factor;
	}
}

double governor_factor_beside_others(const struct governor *g, uint32_t i)
{
	return g->models[i].factored ? 1 + g->models[i].change_beside : 1;
}
