/* SPDX-License-Identifier: Apache-2.0 */
/* One model's part of a step: its demand, or why that is not known; what its policy wants; and what
 * guard, pacer, cap and workers make of it. */
#include "base/units.h"
#include "governor/governor-internal.h"
#include "governor/guard.h"
#include "governor/planner.h"
#include <math.h>

/* Estimate. */

bool governor_is_active(const struct governor_model_input *in)
{
	return in->state != GOVERNOR_NO_WORKER;
}

/* Why the demand of an active model is not known, or GOVERNOR_REASON_NONE. */
static enum governor_reason doubt(const struct governor_input *input,
				  const struct governor_model_input *in)
{
	if (in->state != GOVERNOR_INPUT_OK || input->interval_ns == 0)
		return GOVERNOR_REASON_MISSING_INPUT;
	return in->whole_interval ? GOVERNOR_REASON_NONE : GOVERNOR_REASON_FIRST_INTERVAL;
}

static void forget(struct model *m)
{
	demand_init(&m->keen, &demand_keen);
	demand_init(&m->sure, &demand_sure);
	constancy_init(&m->constancy);
	m->arrivals = m->counted_ns = 0;
	m->polled = m->polled_ns = 0;
}

const struct demand *governor_model_demand(const struct model *m)
{
	/* What is not known to move has the wider margin: after a start, too. */
	return m->pacer.steady || !constancy_known(&m->constancy) ? &m->sure : &m->keen;
}

void governor_model_reset(struct model *m)
{
	forget(m);
	pacer_init(&m->pacer);
	boost_init(&m->boost);
	late_test_init(&m->late_test);
	stretch_init(&m->stretch);
	m->rate_rps = 0;
	m->doubted = m->in_force = false;
	m->plan = (struct policy_plan){.row = PACER_ROW_BASELINE};
	m->state = (union policy_state){0};
}

/* Demand is learnt of whole polls, whatever looks there were between them, and of several where
 * they are shorter than this: the bound of a count in a short time is far above any rate. */
#define LEARN_MIN_NS (500 * NSEC_PER_MSEC)

/* What counts as whole: the last poll of it may be a little early. */
static uint64_t learn_length_ns(uint64_t poll_ns)
{
	uint64_t n = poll_ns > 0 ? (LEARN_MIN_NS + poll_ns - 1) / poll_ns : 0;

	return n * poll_ns - poll_ns / 4;
}

/* A step away from a constant load leads to another one, as far as is known: what was counted
 * before it does not say that demand moves. */
static enum demand_change note_change(struct model *m, enum demand_change change)
{
	if (change != DEMAND_SAME && m->pacer.steady)
		constancy_init(&m->constancy);
	return change;
}

/* The rate of the poll that has just ended, whatever looks there were in it. */
static void measure(struct model *m, const struct governor_input *input,
		    const struct governor_model_input *in, uint64_t poll_ns)
{
	m->polled += MIN(in->arrivals, UINT64_MAX - m->polled);
	m->polled_ns += MIN(input->interval_ns, UINT64_MAX - m->polled_ns);
	if (input->early || m->polled_ns < poll_ns / 4 * 3)
		return;
	m->rate_rps = (double)m->polled * (double)NSEC_PER_SEC / (double)m->polled_ns;
	m->polled = m->polled_ns = 0;
}

static enum demand_change learn(struct model *m, const struct governor_input *input,
				const struct governor_model_input *in, uint64_t poll_ns)
{
	uint64_t n, length_ns;

	m->arrivals += MIN(in->arrivals, UINT64_MAX - m->arrivals);
	m->counted_ns += MIN(input->interval_ns, UINT64_MAX - m->counted_ns);
	n = m->arrivals;
	length_ns = m->counted_ns;
	if (input->early || length_ns < learn_length_ns(poll_ns)) {
		if (demand_update_early(&m->sure, n, length_ns) == DEMAND_SAME)
			return DEMAND_SAME;
		m->keen = m->sure;
		m->keen.kind = &demand_keen;
		m->arrivals = m->counted_ns = 0;
		return note_change(m, DEMAND_ROSE);
	}
	m->arrivals = m->counted_ns = 0;
	constancy_add(&m->constancy, (double)n, (double)length_ns / (double)NSEC_PER_SEC);
	(void)demand_update(&m->keen, n, length_ns);
	return note_change(m, demand_update(&m->sure, n, length_ns));
}

/* Whether the interval was under a plan by demand, boosts included. */
static bool was_planned(const struct governor *g, uint32_t i)
{
	enum governor_reason was = g->previous.models[i].reason;

	if (!g->models[i].policy->guarded || !g->config.models[i].table || !g->decided ||
	    g->previous.action != GOVERNOR_SET)
		return false;
	/* Under a cap a boost is what fits inside: what is late then was not planned to be. */
	if (was == GOVERNOR_REASON_BACKLOG)
		return g->config.power_cap_uw == 0;
	return was >= GOVERNOR_REASON_LATE;
}

static void count_late(struct governor *g, uint32_t i, const struct governor_input *input,
		       bool known)
{
	const struct response_table *t = g->config.models[i].table;
	struct late_test *l = &g->models[i].late_test;

	if (known && was_planned(g, i))
		late_test_update(l, &input->models[i], input->early, t->slo_ns, t->percentile);
	else if (!input->early)
		late_test_pass(l);
}

void governor_model_estimate(struct governor *g, uint32_t i, const struct governor_input *input)
{
	const struct governor_model_input *in = &input->models[i];
	struct model *m = &g->models[i];
	enum governor_reason why;

	if (!governor_is_active(in)) {
		governor_model_reset(m);
		return;
	}
	why = doubt(input, in);
	/* One that is alone and has just come is nobody whom anything is known of. */
	if (in->workers == 1 && !in->whole_interval) {
		boost_forgive(&m->boost);
		late_test_forgive(&m->late_test);
	}
	/* Another set of workers may have another demand: the past is not theirs. */
	if (why == GOVERNOR_REASON_FIRST_INTERVAL) {
		forget(m);
		m->rate_rps =
			(double)in->arrivals * (double)NSEC_PER_SEC / (double)input->interval_ns;
	}
	if (why == GOVERNOR_REASON_NONE)
		measure(m, input, in, g->config.poll_ns);
	if (why == GOVERNOR_REASON_NONE && learn(m, input, in, g->config.poll_ns) != DEMAND_SAME)
		pacer_expect_change(&m->pacer, input->now_ns);
	count_late(g, i, input, why == GOVERNOR_REASON_NONE);
	if (why == GOVERNOR_REASON_NONE && m->doubted)
		pacer_end_doubt(&m->pacer, input->now_ns);
	m->pacer.steady = constancy_holds(&m->constancy);
	demand_expect_dispersion(&m->sure,
				 m->pacer.steady ? constancy_dispersion(&m->constancy) : 1);
	m->doubted = why != GOVERNOR_REASON_NONE || !demand_known(&m->keen);
}

/* Decide. */

static bool may_mask(const struct governor_model_config *c, const struct governor_model_input *in)
{
	return c->use_mask && in->mask_follows;
}

const struct response_table *governor_table(const struct governor *g, uint32_t model,
					    bool clock_alone)
{
	const struct governor_model_config *c;
	const struct factored *f;

	if (model >= g->config.n_models)
		return NULL;
	c = &g->config.models[model];
	f = g->models[model].factored;
	if (clock_alone && c->clock_table)
		return f ? &f->clock_table : c->clock_table;
	return f ? &f->table : c->table;
}

/* Under a mask that nobody can lift, the clock that goes with a mask is the better guess. */
const struct response_table *governor_model_table(const struct governor *g, uint32_t i,
						  const struct governor_model_input *in)
{
	return governor_table(g, i, !may_mask(&g->config.models[i], in) && !in->mask_unknown);
}

void governor_model_describe(const struct governor *g, uint32_t i,
			     const struct governor_model_input *in, uint32_t row,
			     struct governor_model_decision *d)
{
	const struct governor_model_config *config = &g->config.models[i];
	const struct response_table *t = governor_model_table(g, i, in);
	const struct table_row *r;

	d->row = row;
	d->boost_wait_ns = UINT64_MAX;
	if (!t)
		return;
	d->clock_alone = config->clock_table && !may_mask(config, in) && !in->mask_unknown;
	r = planner_row(t, row);
	if (row != PACER_ROW_BASELINE && may_mask(config, in) &&
	    !cu_shape_equal(r->shape, g->full_shape))
		d->shape = r->shape;
	if (in->batch_follows) {
		d->max_batch = r->batch;
		d->max_wait_ns = (uint64_t)r->wait_ns;
	}
	d->tail_ns = r->tail_ns;
}

static void policy_view_fill(struct governor *g, uint32_t i, const struct response_table *t,
			     const struct governor_input *input, struct policy_view *ret)
{
	struct model *m = &g->models[i];
	const struct demand *demand = governor_model_demand(m);
	/* A card that is so much slower than its profile serves what its profile's card serves at a
	 * rate so much higher. Where a factor is planned for, the table has it. */
	double slowness = m->factored ? 1 : self_check_slowness(&m->check.check);

	*ret = (struct policy_view){
		.table = t,
		.rate_rps = m->rate_rps,
		.mean_rps = demand_mean_rps(demand) * slowness,
		.upper_rps = demand_upper_rps(demand) * slowness,
		.bound_rps = demand_bound_rps(demand) * slowness,
		.now_ns = input->now_ns,
		.in = &input->models[i],
		.power_max_uw = input->power_max_uw,
		.power_cap_uw = g->config.power_cap_uw,
		.n_levels = g->config.n_levels,
		.max_batch = MAX(g->config.models[i].max_batch, 1u),
		.in_force = m->in_force && input->models[i].acknowledged,
		.state = &m->state,
	};
	ret->upper_rps *= late_test_raise(&m->late_test);
	ret->bound_rps *= late_test_raise(&m->late_test);
	if (!m->asked)
		return;
	ret->rate_rps = m->asked_rps;
	ret->mean_rps = ret->upper_rps = ret->bound_rps = m->asked_rps * slowness;
}

enum governor_reason governor_first_reason(enum governor_reason a, enum governor_reason b)
{
	return a == GOVERNOR_REASON_NONE || (b != GOVERNOR_REASON_NONE && b < a) ? b : a;
}

/* What the policy wants, doubt and an operator's hold included. */
struct policy_plan governor_model_want(struct governor *g, uint32_t i,
				       const struct response_table *t,
				       const struct governor_input *input)
{
	const struct policy *policy = g->models[i].policy;
	enum governor_reason why = doubt(input, &input->models[i]);
	struct policy_plan plan = {0};
	struct policy_view view;

	/* Between polls a first one has not ended. */
	if (why == GOVERNOR_REASON_NONE && policy->estimates && !g->models[i].asked &&
	    !demand_known(&g->models[i].keen))
		why = GOVERNOR_REASON_FIRST_INTERVAL;
	if (why == GOVERNOR_REASON_NONE && input->models[i].held)
		why = GOVERNOR_REASON_HELD_RATED;
	policy_view_fill(g, i, t, input, &view);
	if (policy->orders && why != GOVERNOR_REASON_NONE)
		return (struct policy_plan){PACER_ROW_BASELINE, view.bound_rps, why};
	policy->plan(&view, &plan);
	if (!g->models[i].asked && late_test_raise(&g->models[i].late_test) > 1)
		plan.reason = governor_first_reason(plan.reason, GOVERNOR_REASON_LATE);
	if (!policy->estimates || why == GOVERNOR_REASON_NONE)
		return plan;
	/* What is asked for anyway is not the hold's doing. */
	if (why == GOVERNOR_REASON_HELD_RATED && plan.demand_rps >= t->rated_rps)
		return plan;
	plan.demand_rps = MAX(plan.demand_rps, t->rated_rps);
	plan.row = MAX(plan.row, planner_lookup(t, t->rated_rps));
	plan.reason = governor_first_reason(plan.reason, why);
	return plan;
}

/* ---- boosts ---- */

/* B on top of the row that the pacer holds, or not. */
static bool model_boosts(struct governor *g, uint32_t i, const struct response_table *t,
			 const struct governor_input *input, uint64_t *ret_again_ns)
{
	struct model *m = &g->models[i];
	const struct table_row *r = planner_row(t, m->pacer.row);
	const struct boost_from from = {
		.max_mhz = planner_level_mhz(&g->config, t, m->pacer.row),
		.slo_ns = (double)t->slo_ns,
		.service_ns = r->service_ns,
		.fast_ns = t->baseline.service_ns,
		.factor = m->factored ? m->planned_factor : 1,
		.wait_ns = guard_boost_wait_ns(t, m->pacer.row, /* switch_ns= */ 0),
		.is_known = t->baseline.workers == 1 && r->batch == t->baseline.batch,
	};
	bool was_on = m->boost.on, on;

	governor_boost_watch(g, input);
	on = governor_boost_model(g, i, input, &from, ret_again_ns);
	if (on && !was_on)
		governor_boost_begins(g, i, input, &from);
	if (!on && was_on)
		governor_boost_ends(g, input->now_ns);
	pacer_boost(&m->pacer, input->now_ns, on);
	return on;
}

/* Of the row underneath, so that a boost does not go with a new directive. */
static uint64_t model_boost_wait_ns(const struct governor *g, const struct model *m,
				    const struct response_table *t, uint64_t now_ns, uint32_t row)
{
	if (m->boost.disbelieved)
		return UINT64_MAX;
	return guard_boost_wait_ns(t, m->pacer.boosting ? m->pacer.row : row,
				   governor_switch_ns(g, now_ns));
}

/* The row to run: the wanted one, held by the pacer and raised by a boost. */
static void model_pace(struct governor *g, uint32_t i, const struct response_table *t,
		       const struct governor_input *input, struct policy_plan *plan,
		       uint64_t *ret_again_ns)
{
	struct model *m = &g->models[i];
	bool dwelling;

	if (!m->policy->paced)
		return;
	m->pacer.together = false;
	plan->row = pacer_step(&m->pacer, t, input->now_ns, plan->row, &dwelling);
	if (dwelling)
		plan->reason = governor_first_reason(plan->reason, GOVERNOR_REASON_DWELL);
	if (m->policy->guarded && !g->config.models[i].never_boosts &&
	    model_boosts(g, i, t, input, ret_again_ns)) {
		plan->row = PACER_ROW_BASELINE;
		plan->reason = governor_first_reason(plan->reason, GOVERNOR_REASON_BACKLOG);
	}
}

uint32_t governor_full_speed_mhz(const struct governor *g,
				 const struct governor_model_config *model, double *ret_power_w)
{
	const struct governor_config *c = &g->config;
	/* All CUs, whoever follows: their power counts, not that of a masked row. */
	const struct response_table *t = model->clock_table ? model->clock_table : model->table;
	uint32_t row, mhz;

	if (governor_cap_full_speed(g, (uint32_t)(model - c->models), &mhz, ret_power_w))
		return mhz;
	if (!t)
		return c->level_mhz[c->n_levels - 1];
	row = planner_inside_cap(t, PACER_ROW_BASELINE, c->power_cap_uw);
	*ret_power_w = planner_row(t, row)->power_w;
	return planner_level_mhz(c, t, row);
}

/* A level or a batch beyond the table: nothing is predicted of it. */
static void model_order(struct governor *g, uint32_t i, const struct governor_input *input,
			const struct policy_plan *plan, struct governor_decision *ret)
{
	const struct governor_model_input *in = &input->models[i];
	struct governor_model_decision *d = &ret->models[i];
	struct model *m = &g->models[i];
	uint32_t limit_mhz;
	double power_w = NAN;

	governor_model_describe(g, i, in, PACER_ROW_BASELINE, d);
	d->tail_ns = NAN;
	if (plan->batch > 0 && in->batch_follows)
		d->max_batch = plan->batch;
	d->demand_rps = plan->demand_rps;
	d->reason = plan->reason;
	ret->max_mhz = g->config.level_mhz[plan->level];
	limit_mhz = governor_full_speed_mhz(g, &g->config.models[i], &power_w);
	/* A policy of batches holds the cap by itself. */
	if (!m->policy->batches && ret->max_mhz > limit_mhz) {
		ret->max_mhz = limit_mhz;
		d->reason = governor_first_reason(d->reason, GOVERNOR_REASON_POWER_CAP);
	}
	ret->reason = d->reason;
	m->in_force = true;
}

void governor_model_decide(struct governor *g, uint32_t i, const struct governor_input *input,
			   struct governor_decision *ret)
{
	const struct governor_model_input *in = &input->models[i];
	const struct response_table *t = governor_model_table(g, i, in);
	struct governor_model_decision *d = &ret->models[i];
	struct model *m = &g->models[i];
	struct policy_plan plan;
	uint32_t row;

	/* What is no more than a look at a queue is nothing to the policies without a guard; a
	 * hold that has come or gone is more. */
	if (!input->early || m->policy->guarded || m->plan.reason == GOVERNOR_REASON_NONE ||
	    in->held != (m->plan.reason == GOVERNOR_REASON_HELD_RATED))
		m->plan = governor_model_want(g, i, t, input);
	plan = m->plan;
	m->in_force = false;
	if (plan.ordered) {
		model_order(g, i, input, &plan, ret);
		return;
	}
	ret->max_mhz = g->config.level_mhz[g->config.n_levels - 1];
	if (t) {
		model_pace(g, i, t, input, &plan, &ret->again_ns);
		if (!in->batch_follows && plan.row != PACER_ROW_BASELINE)
			plan.row = planner_with_own_batch(t, plan.row);
		if (governor_cap_plan(g, i, t, input, &plan, ret)) {
			d->demand_rps = plan.demand_rps;
			d->reason = ret->reason = plan.reason;
			return;
		}
		row = planner_inside_cap(t, plan.row, g->config.power_cap_uw);
		if (row != plan.row)
			plan.reason = governor_first_reason(plan.reason, GOVERNOR_REASON_POWER_CAP);
		plan.row = row;
		ret->max_mhz = planner_level_mhz(&g->config, t, row);
		ret->predicted_power_w = planner_row(t, row)->power_w;
	}
	d->demand_rps = plan.demand_rps;
	d->reason = plan.reason;
	governor_model_describe(g, i, in, plan.row, d);
	/* A row's power is that under its mask. */
	if (t && plan.row != PACER_ROW_BASELINE && cu_shape_cus(d->shape) == 0 &&
	    !cu_shape_equal(planner_row(t, plan.row)->shape, g->full_shape))
		ret->predicted_power_w = NAN;
	if (t && m->policy->guarded && !g->config.models[i].never_boosts)
		d->boost_wait_ns = model_boost_wait_ns(g, m, t, input->now_ns, plan.row);
	ret->reason = plan.reason;
}
