/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/governor-check.h"
#include "base/units.h"
#include "governor/cap-plan.h"
#include "governor/governor-internal.h"
#include "governor/planner.h"
#include <math.h>

/* Intervals in a row. In the first of a configuration it may have been acknowledged late, and the
 * sensor is read between two. */
#define STEADY_FOR_SERVICE 2
#define STEADY_FOR_POWER   3
#define WHOLE_FOR_POWER	   2
/* Shares of what a poll or a full batch would be. */
#define WHOLE_POLL 0.9
#define LONG_POLL  2.0
#define FULL_BATCH 0.02
/* Nearer to its cap a card lowers its own clock. */
#define NEAR_CAP 0.98

/* ---- what is predicted ---- */

static bool option_is(const struct governor *g, const struct response_menu *m, uint32_t option,
		      const struct check_configuration *c)
{
	const struct menu_option *o = &m->options[option];

	return o->batch == c->batch && cu_shape_equal(o->shape, c->shape) &&
	       planner_level_for_mhz(&g->config, m->clocks[o->clock].max_mhz) == c->max_mhz;
}

static void predict_by_menu(const struct governor *g, const struct response_menu *m,
			    const struct check_configuration *c, struct check_prediction *ret)
{
	for (uint32_t i = 0; i < m->n_options; i++) {
		const struct menu_option *o = &m->options[i];
		double idle_w = m->clocks[o->clock].idle_w;

		if (!option_is(g, m, i, c))
			continue;
		*ret = (struct check_prediction){
			.idle_w = idle_w,
			.active_w =
				response_menu_busy_w(m, i) - idle_w - o->capacity_rps * o->energy_j,
			.energy_j = o->energy_j,
			.service_ns = o->service_ns,
			.batch = o->batch,
		};
		return;
	}
}

/* A row has power at its rate alone. How much of that comes with the time and how much with each
 * request it does not say; on a slower card these differ, so half of it is taken to be either's. */
static void predict_by_row(const struct response_table *t, const struct table_row *r,
			   struct check_prediction *ret)
{
	double request_ns = r->service_ns / MAX(r->batch, 1u);
	double above_w =
		(r->power_w - t->idle_power_w) / (r->rate_rps * request_ns / (double)NSEC_PER_SEC);

	*ret = (struct check_prediction){
		.idle_w = t->idle_power_w,
		.active_w = above_w / 2,
		.energy_j = above_w / 2 * request_ns / (double)NSEC_PER_SEC,
		.service_ns = r->service_ns,
		.batch = r->batch,
	};
}

static bool row_is(const struct governor *g, const struct response_table *t, uint32_t row,
		   const struct check_configuration *c)
{
	const struct table_row *r = planner_row(t, row);

	return r->batch == c->batch && cu_shape_equal(r->shape, c->shape) &&
	       planner_level_mhz(&g->config, t, row) == c->max_mhz;
}

static void predict(const struct governor *g, uint32_t i, const struct check_configuration *c,
		    struct check_prediction *ret)
{
	const struct governor_model_decision *d = &g->previous.models[i];
	const struct governor_model_config *m = &g->config.models[i];
	const struct response_table *t = d->clock_alone ? m->clock_table : m->table;

	*ret = (struct check_prediction){0};
	/* Services side by side stretch each other by how many there are. */
	if (!t || t->baseline.workers != 1)
		return;
	if (m->menu)
		predict_by_menu(g, m->menu, c, ret);
	else if (row_is(g, t, d->row, c))
		predict_by_row(t, planner_row(t, d->row), ret);
	/* What CUs that are off would save is modelled, and no card does it. */
	if (t->gating != TABLE_GATING_NONE && !cu_shape_equal(c->shape, g->full_shape))
		ret->energy_j = NAN;
}

/* ---- which intervals count ---- */

static struct check_configuration ordered(const struct governor *g, uint32_t i,
					  const struct governor_model_input *in)
{
	const struct governor_model_decision *d = &g->previous.models[i];
	const struct response_table *t = g->config.models[i].table;
	struct check_configuration c = {g->previous.max_mhz, d->max_batch, d->shape};

	if (cu_shape_cus(c.shape) == 0)
		c.shape = g->full_shape;
	if (t && (c.batch == 0 || !in->batch_follows))
		c.batch = t->baseline.batch;
	return c;
}

static bool configuration_equal(const struct check_configuration *a,
				const struct check_configuration *b)
{
	return a->max_mhz == b->max_mhz && a->batch == b->batch &&
	       cu_shape_equal(a->shape, b->shape);
}

/* Whether the last decision was one by demand, as the profile has it. */
static bool was_planned(const struct governor *g, uint32_t i)
{
	const struct governor_decision *d = &g->previous;

	if (!g->decided || d->action != GOVERNOR_SET || d->reason == GOVERNOR_REASON_THROTTLED)
		return false;
	switch (d->models[i].reason) {
	case GOVERNOR_REASON_POWER_CAP:
	case GOVERNOR_REASON_LATE:
	case GOVERNOR_REASON_DWELL:
	case GOVERNOR_REASON_IDLE:
	case GOVERNOR_REASON_DEMAND:
	case GOVERNOR_REASON_POLICY:
		return true;
	default:
		return false;
	}
}

/* From poll to poll: an early step's moment is chosen by the queue, and so would be its reading. */
static bool was_whole_poll(const struct governor *g, const struct governor_input *input,
			   const struct governor_model_input *in)
{
	double poll_ns = (double)g->config.poll_ns, interval_ns = (double)input->interval_ns;

	return !input->early && !in->woken && interval_ns >= WHOLE_POLL * poll_ns &&
	       interval_ns <= LONG_POLL * poll_ns;
}

static bool was_undisturbed(const struct governor *g, const struct governor_input *input,
			    const struct governor_model_input *in)
{
	return input->flags == 0 && input->interval_ns > 0 &&
	       input->applied_max_mhz == g->previous.max_mhz && in->state == GOVERNOR_INPUT_OK &&
	       in->workers == 1 && in->whole_interval && in->acknowledged && !in->mask_unknown &&
	       in->failures == 0;
}

/* Counts the intervals of one configuration without anything between them. */
static void follow(struct governor *g, uint32_t i, const struct governor_input *input)
{
	struct governor_check *k = &g->models[i].check;
	const struct governor_model_input *in = &input->models[i];
	struct check_configuration now;

	if (!was_planned(g, i) || !was_undisturbed(g, input, in)) {
		k->n_steady = 0;
		return;
	}
	now = ordered(g, i, in);
	if (k->n_steady == 0 || !configuration_equal(&now, &k->configuration)) {
		k->configuration = now;
		k->n_steady = 0;
		predict(g, i, &now, &k->prediction);
	}
	k->n_steady = MIN(k->n_steady + 1, UINT32_C(1000));
	k->n_whole = was_whole_poll(g, input, in) ? MIN(k->n_whole + 1, UINT32_C(1000)) : 0;
}

static bool is_near_cap(const struct governor_input *input, const struct check_prediction *p)
{
	double busy_w = p->idle_w + p->active_w +
			p->energy_j * p->batch * (double)NSEC_PER_SEC / p->service_ns;

	return input->power_cap_uw > 0 &&
	       busy_w * (double)UW_PER_W > NEAR_CAP * (double)input->power_cap_uw;
}

static bool batches_were_full(const struct governor_model_input *in, uint32_t batch)
{
	double full = (double)in->executions * batch;

	return fabs((double)in->completions - full) <= FULL_BATCH * full + batch;
}

/* ---- the interval ---- */

static void add_service(const struct governor_check *k, const struct governor_input *input,
			const struct governor_model_input *in, struct self_check_sample *sample)
{
	if (k->n_steady < STEADY_FOR_SERVICE || in->executions == 0)
		return;
	sample->service_s = (double)input->interval_ns / (double)NSEC_PER_SEC;
	sample->services = (double)in->executions;
	sample->observed_ns = (double)in->busy_ns;
	sample->expected_ns = (double)in->executions * k->prediction.service_ns;
}

static void add_power(struct governor_check *k, const struct governor_input *input,
		      const struct governor_model_input *in, struct self_check_sample *sample)
{
	const struct check_prediction *p = &k->prediction;
	double interval_s = (double)input->interval_ns / (double)NSEC_PER_SEC;
	double busy = MIN((double)in->busy_ns / (double)input->interval_ns, 1.0);
	double predicted_w =
		p->idle_w + busy * p->active_w + (double)in->completions / interval_s * p->energy_j;

	if (k->n_steady >= STEADY_FOR_POWER && k->n_whole >= WHOLE_FOR_POWER &&
	    input->power_uw > 0) {
		sample->power_s = interval_s;
		sample->busy = (busy + k->before_busy) / 2;
		sample->measured_w = (double)input->power_uw / (double)UW_PER_W;
		sample->predicted_w = (predicted_w + k->before_w) / 2;
	}
	k->before_w = predicted_w;
	k->before_busy = busy;
}

static void check_model(struct governor *g, uint32_t i, const struct governor_input *input)
{
	struct self_check_sample sample = {.now_ns = input->now_ns};
	const struct governor_model_input *in = &input->models[i];
	struct governor_check *k = &g->models[i].check;

	k->counted = sample;
	follow(g, i, input);
	if (k->n_steady == 0 || k->prediction.batch == 0)
		return;
	if (is_near_cap(input, &k->prediction) || !batches_were_full(in, k->prediction.batch)) {
		k->n_steady = 0;
		return;
	}
	add_service(k, input, in, &sample);
	add_power(k, input, in, &sample);
	k->counted = sample;
	self_check_feed(&k->check, &sample);
}

void governor_check_step(struct governor *g, const struct governor_input *input, uint32_t only)
{
	for (uint32_t i = 0; i < g->config.n_models; i++) {
		if (i == only)
			check_model(g, i, input);
		else
			g->models[i].check.n_steady = 0;
	}
}

void governor_check_describe(const struct governor *g, struct governor_decision *ret)
{
	for (uint32_t i = 0; i < g->config.n_models; i++)
		ret->models[i].stale = self_check_stale(&g->models[i].check.check);
}

/* Tables of one profile for any objective have this in common. */
bool governor_same_profile(const struct response_table *a, const struct response_table *b)
{
	return a && b && a->baseline.service_ns == b->baseline.service_ns &&
	       a->idle_power_w == b->idle_power_w;
}

void governor_check_inherit(struct governor_check *k, const struct response_table *old,
			    const struct response_table *table)
{
	k->n_steady = 0;
	if (!governor_same_profile(old, table))
		self_check_init(&k->check);
}

const struct self_check *governor_self_check(const struct governor *g, uint32_t model)
{
	return model < g->config.n_models ? &g->models[model].check.check : NULL;
}
