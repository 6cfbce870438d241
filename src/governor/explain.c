/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"
#include "governor/explain-internal.h"
#include "governor/planner.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* A worker that could follow everything, for a question about a model without one. */
static void presume_worker(struct governor_model_input *in)
{
	*in = (struct governor_model_input){
		.workers = 1,
		.mask_follows = true,
		.batch_follows = true,
		.acknowledged = true,
	};
}

/* The input of an ordinary interval in which so many requests came. */
static void ask_for(struct governor *g, struct governor_input *input, uint32_t model, double rps)
{
	struct governor_model_input *in = &input->models[model];

	if (input->interval_ns == 0)
		input->interval_ns = g->config.poll_ns;
	in->state = GOVERNOR_INPUT_OK;
	in->whole_interval = true;
	in->held = false;
	g->models[model].asked = true;
	g->models[model].asked_rps = rps;
}

/* Nothing waits, nothing is in danger, and the card is cool and at its lowest clock, from which
 * everything may follow at once. */
static void calm(struct governor *g, struct governor_input *input)
{
	g->decided = true;
	g->previous.action = GOVERNOR_SET;
	g->previous.max_mhz = g->config.level_mhz[0];
	input->early = false;
	input->flags &= ~(uint32_t)GOVERNOR_CARD_THROTTLED;
	g->thermal = (struct thermal){0};
	g->several.boosting = false;
	for (uint32_t i = 0; i < g->config.n_models; i++) {
		struct governor_model_input *in = &input->models[i];
		bool steady; /* which estimate holds is no matter of waiting */

		in->woken = false;
		in->oldest_age_ns = in->in_flight = 0;
		if (in->waiting != UINT64_MAX)
			in->waiting = 0;
		boost_init(&g->models[i].boost);
		steady = g->models[i].pacer.steady;
		pacer_init(&g->models[i].pacer);
		g->models[i].pacer.steady = steady;
	}
}

static struct explain_setting setting_of(const struct governor *g,
					 const struct governor_decision *d, uint32_t model)
{
	const struct governor_model_decision *m = &d->models[model];
	bool full = cu_shape_cus(m->shape) == 0 || cu_shape_equal(m->shape, g->full_shape);

	return (struct explain_setting){
		.action = d->action,
		.max_mhz = d->max_mhz,
		.shape = full ? g->full_shape : m->shape,
		.full = full,
		.max_batch = m->max_batch,
		.max_wait_ns = m->max_wait_ns,
		.row = m->row,
		.power_w = d->predicted_power_w,
		.tail_ns = m->tail_ns,
		.reason = m->reason,
		.card_reason = d->reason,
	};
}

/* Rows of one configuration differ in what a batch waits for; no row is changed for that. */
static bool settings_differ(const struct explain_setting *a, const struct explain_setting *b)
{
	if (a->action != b->action)
		return true;
	return a->action == GOVERNOR_SET &&
	       (a->max_mhz != b->max_mhz || !cu_shape_equal(a->shape, b->shape) ||
		a->max_batch != b->max_batch);
}

/* Under a cap the clock falls before a batch or a mask grows. */
static bool clock_goes_first(const struct explain_setting *in_force,
			     const struct explain_setting *choice)
{
	return in_force->reason == GOVERNOR_REASON_POWER_CAP &&
	       in_force->max_mhz == choice->max_mhz &&
	       (in_force->max_batch < choice->max_batch ||
		cu_shape_cus(in_force->shape) < cu_shape_cus(choice->shape));
}

/* By what is in force, as a doubt may be told before it: only heat takes a clock below what is
 * wanted, and all else that holds goes up. */
static enum governor_reason held_by(const struct governor_explanation *e)
{
	if (!e->differs || e->what_if)
		return GOVERNOR_REASON_NONE;
	if (e->in_force.reason == GOVERNOR_REASON_BACKLOG ||
	    e->in_force.card_reason == GOVERNOR_REASON_BACKLOG)
		return GOVERNOR_REASON_BACKLOG;
	if (clock_goes_first(&e->in_force, &e->choice))
		return GOVERNOR_REASON_POWER_CAP;
	return e->in_force.card_reason == GOVERNOR_REASON_THROTTLED ||
			       e->in_force.max_mhz < e->choice.max_mhz
		       ? GOVERNOR_REASON_THROTTLED
		       : GOVERNOR_REASON_DWELL;
}

static void set_objective(const struct governor *g, const struct response_table *t,
			  struct governor_explanation *ret)
{
	const struct governor_model_config *c = &g->config.models[ret->model];

	ret->headroom = governor_model_headroom(c);
	ret->late_cost = c->late_cost;
	ret->power_cap_uw = g->config.power_cap_uw;
	ret->factor = g->models[ret->model].planned_factor;
	ret->poll_ns = g->config.poll_ns;
	ret->power_factor = cap_factor_get(&g->models[ret->model].cap_factor);
	ret->row_rps = ret->slo_ns = ret->limit_ns = NAN;
	if (!t)
		return;
	ret->percentile = t->percentile;
	ret->slo_ns = (double)t->slo_ns;
	ret->limit_ns = ret->headroom * ret->slo_ns;
	if (ret->choice.action == GOVERNOR_SET && ret->choice.row < t->n_rows)
		ret->row_rps = t->rows[ret->choice.row].rate_rps;
}

static uint32_t active_models(const struct governor *g, const struct governor_input *input)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < g->config.n_models; i++)
		n += governor_is_active(&input->models[i]);
	return n;
}

int governor_explain(const struct governor *g, const struct governor_input *input, uint32_t model,
		     double rps, struct governor_explanation *ret)
{
	struct governor_explanation e = {.model = model, .what_if = !isnan(rps)};
	struct explain_question q = {.g = g};
	struct governor_decision decision;
	struct governor_input calmed;
	struct governor trial;

	if (model >= g->config.n_models || (e.what_if && !(rps >= 0 && isfinite(rps))))
		return -EINVAL;
	if (!e.what_if && !g->decided)
		return -ENODATA;
	trial = *g;
	calmed = *input;
	e.presumed = e.what_if && !governor_is_active(&calmed.models[model]);
	if (e.presumed)
		presume_worker(&calmed.models[model]);
	if (e.what_if)
		ask_for(&trial, &calmed, model, rps);
	calm(&trial, &calmed);
	governor_decide(&trial, &calmed, &decision);

	e.decided = g->decided;
	e.rate_rps = g->models[model].rate_rps;
	e.demand_rps = e.what_if ? rps : decision.models[model].demand_rps;
	e.stale = decision.models[model].stale;
	e.choice = setting_of(g, &decision, model);
	if (e.decided)
		e.in_force = setting_of(g, &g->previous, model);
	e.differs = e.decided && settings_differ(&e.choice, &e.in_force);
	e.held = held_by(&e);
	q.config = &g->config.models[model];
	q.in = &calmed.models[model];
	q.table = governor_model_table(g, model, q.in);
	q.n_active = active_models(g, &calmed);
	set_objective(g, q.table, &e);
	explain_candidates(&q, &e);
	*ret = e;
	return 0;
}
