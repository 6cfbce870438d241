/* SPDX-License-Identifier: Apache-2.0 */
/* Several models on a card: where all of them can be planned for by menu and follow masks, the
 * planner chooses for all together. Demands are held before the plan, not configurations after it,
 * as what one model wants moves the others; and the plan is only made again when one has changed.
 * In danger the clock goes up for all at once, and the masks stay. */
#include "base/units.h"
#include "governor/governor-internal.h"
#include "governor/guard.h"
#include "governor/planner.h"
#include <math.h>
#include <string.h>

/* As the pacer's: a mask change has to repay within ten seconds, and at constant load the estimate
 * wanders, which thirty seconds let pass. */
#define HOLD_QUICK_NS (UINT64_C(10) * NSEC_PER_SEC)
#define HOLD_SLOW_NS  (UINT64_C(30) * NSEC_PER_SEC)
/* A fall below this part of the rate is no wandering. */
#define FALL 0.7
/* Long enough to drain any queue that an SLO allows at the highest clock. */
#define BOOST_NS (UINT64_C(2) * NSEC_PER_SEC)

void several_hold(struct several_hold *h, const struct response_table *t, uint64_t now_ns,
		  uint32_t want)
{
	uint64_t dwell_ns;

	if (!h->started || want >= h->row) {
		*h = (struct several_hold){.started = true, .row = want};
		return;
	}
	if (!h->waiting) {
		h->waiting = true;
		h->waiting_ns = now_ns;
		h->peak = want;
	}
	h->peak = MAX(h->peak, want);
	dwell_ns = planner_row(t, h->peak)->rate_rps < FALL * planner_row(t, h->row)->rate_rps
			   ? HOLD_QUICK_NS
			   : HOLD_SLOW_NS;
	if (now_ns - h->waiting_ns >= dwell_ns)
		*h = (struct several_hold){.started = true, .row = h->peak};
}

bool governor_several_can(const struct governor *g, const struct governor_input *input)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < g->config.n_models; i++) {
		const struct governor_model_config *c = &g->config.models[i];
		const struct governor_model_input *in = &input->models[i];

		if (!governor_is_active(in))
			continue;
		if (++n > CARD_PLAN_MAX_MODELS || !g->models[i].policy->plans || !c->menu ||
		    !c->table || !c->use_mask || !in->mask_follows || in->mask_unknown)
			return false;
	}
	return n > 1;
}

/* ---- what is asked ---- */

/* The row that is planned for. Beyond the table counts as its last, unless it is by the mean. */
static uint32_t row_to_plan(struct governor *g, uint32_t i, const struct governor_input *input,
			    struct policy_plan *plan)
{
	const struct response_table *t = g->config.models[i].table;
	struct several_hold *h = &g->several.holds[i];
	uint32_t want = plan->row;

	if (want >= t->n_rows && plan->reason != GOVERNOR_REASON_OVERLOAD)
		want = t->n_rows - 1;
	if (g->models[i].asked)
		return want;
	several_hold(h, t, input->now_ns, want);
	if (h->row > want)
		plan->reason = governor_first_reason(plan->reason, GOVERNOR_REASON_DWELL);
	return h->row;
}

static double rate_of(const struct response_table *t, uint32_t row, double demand_rps)
{
	return row < t->n_rows ? t->rows[row].rate_rps : MAX(demand_rps, t->overload_rps * 1.01);
}

static struct card_plan_model ask_for(const struct governor *g, uint32_t i,
				      const struct governor_input *input, double demand_rps)
{
	const struct governor_model_config *c = &g->config.models[i];
	double headroom = c->late_cost > 0 ? 1 : governor_model_headroom(c);

	return (struct card_plan_model){
		.menu = c->menu,
		.demand_rps = demand_rps,
		.factor = 1,
		.limit_ns = headroom * (double)c->menu->slo_ns,
		.late_cost = c->late_cost,
		.priority = c->priority,
		.may_mask = true,
		.may_batch = input->models[i].batch_follows,
		.in_force = UINT32_MAX,
	};
}

static bool same_model(const struct card_plan_model *a, const struct card_plan_model *b)
{
	return a->menu == b->menu && a->demand_rps == b->demand_rps && a->factor == b->factor &&
	       a->limit_ns == b->limit_ns && a->late_cost == b->late_cost &&
	       a->priority == b->priority && a->may_batch == b->may_batch;
}

static bool same_request(const struct card_plan_request *a, const struct card_plan_request *b)
{
	if (a->n != b->n || a->power_cap_uw != b->power_cap_uw ||
	    a->power_factor != b->power_factor)
		return false;
	for (uint32_t i = 0; i < a->n; i++)
		if (!same_model(&a->models[i], &b->models[i]))
			return false;
	return true;
}

static bool plan_together(struct governor *g, struct card_plan_request *q, const uint32_t *models)
{
	struct several *s = &g->several;
	bool same_models = s->n == q->n && memcmp(s->models, models, q->n * sizeof(*models)) == 0;
	struct card_plan plan;

	if (s->planned && same_models && same_request(&s->asked, q))
		return true;
	for (uint32_t i = 0; s->planned && same_models && i < q->n; i++)
		q->models[i].in_force = s->plan.models[i].option;
	s->planned = card_plan_make(q, &plan) >= 0;
	if (!s->planned)
		return false;
	s->plan = plan;
	s->asked = *q;
	s->n = q->n;
	memcpy(s->models, models, q->n * sizeof(*models));
	return true;
}

/* ---- boosts ---- */

static double top_service_ns(const struct response_menu *m, const struct menu_option *o)
{
	double least_ns = o->service_ns;

	for (uint32_t i = 0; i < m->n_options; i++)
		if (m->options[i].clock == m->n_clocks - 1 && m->options[i].batch == o->batch &&
		    cu_shape_equal(m->options[i].shape, o->shape))
			least_ns = m->options[i].service_ns;
	return least_ns;
}

/* See guard_boost_wait_ns(): here a boost is the highest clock under the same mask. */
static uint64_t boost_wait_ns(const struct governor *g, uint32_t i, uint32_t option)
{
	const struct response_menu *m = g->config.models[i].menu;
	const struct menu_option *o = &m->options[option];

	/* What is inside the cap at the highest clock is not known under these masks. */
	if (o->clock == m->n_clocks - 1 || g->config.power_cap_uw > 0)
		return UINT64_MAX;
	return guard_wait_ns((double)m->slo_ns, o->service_ns, top_service_ns(m, o),
			     /* switch_ns= */ 0);
}

static bool is_in_danger(const struct response_menu *m, uint32_t option,
			 const struct governor_model_input *in)
{
	return in->state == GOVERNOR_INPUT_OK && in->oldest_age_ns > 0 &&
	       (double)in->oldest_age_ns + m->options[option].service_ns > (double)m->slo_ns;
}

static void boost(struct governor *g, const struct governor_input *input,
		  struct governor_decision *ret)
{
	struct several *s = &g->several;

	if (g->config.power_cap_uw > 0) {
		s->boosting = false;
		return;
	}
	for (uint32_t i = 0; i < s->n; i++) {
		struct governor_model_decision *d = &ret->models[s->models[i]];
		const struct governor_model_input *in = &input->models[s->models[i]];

		if (!in->woken &&
		    !is_in_danger(s->asked.models[i].menu, s->plan.models[i].option, in))
			continue;
		s->boosting = true;
		s->boost_until_ns = input->now_ns + BOOST_NS;
		d->reason = governor_first_reason(d->reason, GOVERNOR_REASON_BACKLOG);
	}
	s->boosting = s->boosting && input->now_ns < s->boost_until_ns;
	if (!s->boosting)
		return;
	ret->max_mhz = g->config.level_mhz[g->config.n_levels - 1];
	ret->predicted_power_w = NAN;
	ret->reason = governor_first_reason(ret->reason, GOVERNOR_REASON_BACKLOG);
}

/* ---- the decision ---- */

static void describe(struct governor *g, uint32_t k, const struct governor_input *input,
		     struct governor_decision *ret)
{
	const struct several *s = &g->several;
	const struct card_plan_choice *c = &s->plan.models[k];
	uint32_t i = s->models[k];
	const struct menu_option *o = &g->config.models[i].menu->options[c->option];
	struct governor_model_decision *d = &ret->models[i];

	d->shape = o->full ? (struct cu_shape){0, 0} : o->shape;
	if (input->models[i].batch_follows) {
		d->max_batch = o->batch;
		d->max_wait_ns = c->wait_ns > 0 ? (uint64_t)c->wait_ns : 0;
	}
	d->boost_wait_ns = boost_wait_ns(g, i, c->option);
	d->tail_ns = isinf(c->tail_ns) ? NAN : c->tail_ns;
	if (c->gives_way)
		d->reason = governor_first_reason(d->reason, GOVERNOR_REASON_GIVES_WAY);
	ret->reason = governor_first_reason(ret->reason, d->reason);
}

bool governor_several_decide(struct governor *g, const struct governor_input *input,
			     struct governor_decision *ret)
{
	struct card_plan_request q = {.card = &g->config,
				      .power_cap_uw = g->config.power_cap_uw,
				      .power_factor = 1,
				      .may_share = true};
	uint32_t models[CARD_PLAN_MAX_MODELS];

	for (uint32_t i = 0; i < g->config.n_models; i++) {
		const struct response_table *t = g->config.models[i].table;
		struct governor_model_decision *d = &ret->models[i];
		struct policy_plan plan;

		if (!governor_is_active(&input->models[i])) {
			g->several.holds[i] = (struct several_hold){0};
			continue;
		}
		plan = governor_model_want(g, i, t, input);
		d->row = row_to_plan(g, i, input, &plan);
		d->demand_rps = plan.demand_rps;
		d->reason = plan.reason;
		g->models[i].in_force = false;
		q.power_factor = MAX(q.power_factor, cap_factor_get(&g->models[i].cap_factor));
		models[q.n] = i;
		q.models[q.n++] = ask_for(g, i, input, rate_of(t, d->row, plan.demand_rps));
	}
	if (!plan_together(g, &q, models))
		return false;
	ret->max_mhz = g->several.plan.max_mhz;
	ret->predicted_power_w = g->several.plan.power_w;
	for (uint32_t k = 0; k < q.n; k++)
		describe(g, k, input, ret);
	boost(g, input, ret);
	return true;
}
