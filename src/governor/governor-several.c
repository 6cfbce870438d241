/* SPDX-License-Identifier: Apache-2.0 */
/* Several models on a card: where all of them can be planned for by menu the planner chooses for
 * all together, and where one does not follow masks, for all without. Demands are held before the
 * plan, not configurations after it, as what one model wants moves the others; and the plan is only
 * made again when one has changed. In danger the clock goes up for all at once, and the masks stay.
 */
#include "base/units.h"
#include "governor/governor-internal.h"
#include "governor/guard.h"
#include "governor/planner.h"
#include <math.h>
#include <string.h>

bool governor_several_can(const struct governor *g, const struct governor_input *input)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < g->config.n_models; i++) {
		const struct governor_model_config *c = &g->config.models[i];
		const struct governor_model_input *in = &input->models[i];

		if (!governor_is_active(in))
			continue;
		if (++n > CARD_PLAN_MAX_MODELS || !g->models[i].policy->plans || !c->menu ||
		    !c->table || in->mask_unknown)
			return false;
	}
	return n > 1;
}

/* ---- what is learnt ---- */

/* Whether all ran without masks, each alone in its batches, as planned and all the time. */
static bool ran_on_all_cus(const struct governor *g, const struct governor_input *input)
{
	const struct several *s = &g->several;

	if (!s->planned || s->boosting || input->early || input->flags != 0 ||
	    input->interval_ns / 4 < g->config.poll_ns / 5 || g->previous.action != GOVERNOR_SET ||
	    g->previous.max_mhz != s->plan.max_mhz || input->applied_max_mhz != g->previous.max_mhz)
		return false;
	for (uint32_t k = 0; k < s->n; k++) {
		const struct governor_model_input *in = &input->models[s->models[k]];
		const struct response_menu *menu = s->asked.models[k].menu;
		uint32_t option = s->plan.models[k].option;

		/* After a reload the menu may be another one. */
		if (!menu || option >= menu->n_options || !menu->options[option].full ||
		    menu->options[option].batch != 1 || in->workers != 1 ||
		    in->state != GOVERNOR_INPUT_OK || !in->whole_interval || !in->acknowledged)
			return false;
	}
	return true;
}

/* In shares of the interval: what a model was busy, and what its requests that came would have been
 * alone. */
struct share {
	double busy, work;
};

static struct share share_of(const struct governor_input *input,
			     const struct governor_model_input *in, double alone_ns)
{
	double interval_ns = (double)input->interval_ns;

	return (struct share){
		.busy = MIN((double)in->busy_ns / interval_ns, 1.0),
		.work = (double)in->arrivals * alone_ns / interval_ns,
	};
}

static double alone_ns(const struct several *s, uint32_t k)
{
	return s->asked.models[k].menu->options[s->plan.models[k].option].service_ns;
}

static void learn_beside(const struct several *s, uint32_t k, struct model *m,
			 const struct governor_input *input, const struct share *others)
{
	const struct governor_model_input *in = &input->models[s->models[k]];
	double interval_s = (double)input->interval_ns / (double)NSEC_PER_SEC;
	double services = (double)in->executions, ratio;
	const struct service_factor *f = &m->service_factor;

	if (in->executions == 0)
		return;
	ratio = (double)in->busy_ns / (services * alone_ns(s, k));
	stretch_learn(&m->stretch, interval_s, services, others->busy, ratio,
		      service_factor_known(f) ? service_factor_get(f) : 0);
	/* In the first of a clock that may have come late. */
	if (s->n_ran > 1)
		co_run_add(&m->co_run, interval_s, services, others->work, ratio);
}

void governor_several_learn(struct governor *g, const struct governor_input *input)
{
	struct share shares[CARD_PLAN_MAX_MODELS], all = {0};
	struct several *s = &g->several;

	if (!ran_on_all_cus(g, input)) {
		s->n_ran = 0;
		return;
	}
	s->n_ran = s->ran_mhz == s->plan.max_mhz ? MIN(s->n_ran + 1, UINT32_C(1000)) : 1;
	s->ran_mhz = s->plan.max_mhz;
	for (uint32_t k = 0; k < s->n; k++) {
		shares[k] = share_of(input, &input->models[s->models[k]], alone_ns(s, k));
		all.busy += shares[k].busy;
		all.work += shares[k].work;
	}
	for (uint32_t k = 0; k < s->n; k++) {
		const struct share others = {all.busy - shares[k].busy, all.work - shares[k].work};

		learn_beside(s, k, &g->models[s->models[k]], input, &others);
	}
}

/* ---- what is asked ---- */

/* The row that is planned for. Beyond the table counts as its last, unless it is by the mean. */
static uint32_t row_to_plan(struct governor *g, uint32_t i, const struct governor_input *input,
			    struct policy_plan *plan)
{
	const struct response_table *t = g->config.models[i].table;
	struct pacer *p = &g->models[i].pacer;
	uint32_t want = plan->row, row;
	bool dwelling;

	if (want >= t->n_rows && plan->reason != GOVERNOR_REASON_OVERLOAD)
		want = t->n_rows - 1;
	p->together = true;
	/* Full speed for another reason than demand was no demand, and overload has ended. */
	if (p->row >= t->n_rows && want < t->n_rows) {
		p->started &= g->several.planned;
		p->row = t->n_rows - 1;
	}
	row = pacer_step(p, t, input->now_ns, want, &dwelling);
	if (dwelling)
		plan->reason = governor_first_reason(plan->reason, GOVERNOR_REASON_DWELL);
	return row;
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
		.factor = governor_factor_beside_others(g, i),
		.limit_ns = headroom * (double)c->menu->slo_ns,
		.late_cost = c->late_cost,
		.share = g->models[i].stretch.share,
		.priority = c->priority,
		.may_mask = c->use_mask && input->models[i].mask_follows,
		.may_batch = input->models[i].batch_follows,
		.in_force = UINT32_MAX,
	};
}

static bool same_model(const struct card_plan_model *a, const struct card_plan_model *b)
{
	return a->menu == b->menu && a->demand_rps == b->demand_rps && a->factor == b->factor &&
	       a->limit_ns == b->limit_ns && a->late_cost == b->late_cost && a->share == b->share &&
	       a->priority == b->priority && a->may_mask == b->may_mask &&
	       a->may_batch == b->may_batch;
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

static bool same_configurations(const struct card_plan *a, const struct card_plan *b, uint32_t n)
{
	uint32_t i = 0;

	while (i < n && a->models[i].option == b->models[i].option)
		i++;
	return i == n;
}

static void follow_on(struct card_plan_model *m, const struct card_plan_model *before,
		      uint32_t option)
{
	m->in_force = option;
	if (m->menu == before->menu && option < m->menu->n_options &&
	    m->demand_rps > before->demand_rps)
		m->least_capacity_rps = m->menu->options[option].capacity_rps;
}

static bool plan_together(struct governor *g, struct card_plan_request *q, const uint32_t *models,
			  uint64_t now_ns)
{
	struct several *s = &g->several;
	bool same_models = s->n == q->n && memcmp(s->models, models, q->n * sizeof(*models)) == 0;
	struct card_plan plan;

	if (s->planned && same_models && same_request(&s->asked, q))
		return true;
	for (uint32_t i = 0; s->planned && same_models && i < q->n; i++)
		follow_on(&q->models[i], &s->asked.models[i], s->plan.models[i].option);
	s->planned = card_plan_make(q, g->planner, &plan) >= 0;
	if (!s->planned)
		return false;
	if (!same_models || !same_configurations(&s->plan, &plan, q->n))
		for (uint32_t i = 0; i < q->n; i++)
			pacer_add_change(&g->models[models[i]].pacer, now_ns);
	/* Under another mask services take another time. */
	if (!same_models || !same_configurations(&s->plan, &plan, q->n))
		switch_time_drop(&g->switch_time);
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

/* The highest clock under the same mask. */
static struct boost_from boost_above(const struct governor *g, uint32_t k)
{
	const struct several *s = &g->several;
	const struct governor_model_config *c = &g->config.models[s->models[k]];
	const struct menu_option *o = &c->menu->options[s->plan.models[k].option];
	double factor = s->asked.models[k].factor;

	return (struct boost_from){
		.max_mhz = s->plan.max_mhz,
		.slo_ns = (double)c->menu->slo_ns,
		.service_ns = factor * o->service_ns,
		.fast_ns = factor * top_service_ns(c->menu, o),
		.factor = factor,
		.is_known = c->table->baseline.workers == 1 && o->batch == c->table->baseline.batch,
	};
}

/* See guard_boost_wait_ns(). */
static uint64_t boost_wait_ns(const struct governor *g, uint32_t k, const struct boost_from *from,
			      double switch_ns)
{
	const struct several *s = &g->several;
	const struct governor_model_config *c = &g->config.models[s->models[k]];
	const struct menu_option *o = &c->menu->options[s->plan.models[k].option];

	/* What is inside the cap at the highest clock is not known under these masks. */
	if (c->never_boosts || o->clock == c->menu->n_clocks - 1 || g->config.power_cap_uw > 0)
		return UINT64_MAX;
	return guard_wait_ns(from->slo_ns, from->service_ns, from->fast_ns, switch_ns);
}

/* Returns the first that wants one, or as many as there are. */
static uint32_t decide_boosts(struct governor *g, const struct governor_input *input,
			      struct boost_from *from, struct governor_decision *ret)
{
	const struct several *s = &g->several;
	uint32_t first = s->n;

	for (uint32_t k = 0; k < s->n; k++) {
		struct governor_model_decision *d = &ret->models[s->models[k]];
		uint64_t again_ns;

		from[k] = boost_above(g, k);
		from[k].wait_ns = boost_wait_ns(g, k, &from[k], /* switch_ns= */ 0);
		if (!governor_boost_model(g, s->models[k], input, &from[k], &again_ns))
			continue;
		first = MIN(first, k);
		ret->again_ns = MIN(ret->again_ns, again_ns);
		d->reason = governor_first_reason(d->reason, GOVERNOR_REASON_BACKLOG);
	}
	return first;
}

static void boost(struct governor *g, const struct governor_input *input,
		  struct governor_decision *ret)
{
	struct boost_from from[CARD_PLAN_MAX_MODELS];
	struct several *s = &g->several;
	bool was_on = false;
	uint32_t first;

	for (uint32_t k = 0; k < s->n; k++)
		was_on |= g->models[s->models[k]].boost.on;
	governor_boost_watch(g, input);
	first = decide_boosts(g, input, from, ret);
	s->boosting = first < s->n;
	if (s->boosting && !was_on)
		governor_boost_begins(g, s->models[first], input, &from[first]);
	if (!s->boosting && was_on)
		governor_boost_ends(g, input->now_ns);
	for (uint32_t k = 0; k < s->n; k++)
		pacer_boost(&g->models[s->models[k]].pacer, input->now_ns, s->boosting);
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
	const struct boost_from from = boost_above(g, k);
	struct governor_model_decision *d = &ret->models[i];

	d->shape = o->full ? (struct cu_shape){0, 0} : o->shape;
	if (input->models[i].batch_follows) {
		d->max_batch = o->batch;
		d->max_wait_ns = c->wait_ns > 0 ? (uint64_t)c->wait_ns : 0;
	}
	d->boost_wait_ns = UINT64_MAX;
	if (!g->models[i].boost.disbelieved)
		d->boost_wait_ns = boost_wait_ns(g, k, &from, governor_switch_ns(g, input->now_ns));
	d->tail_ns = isinf(c->tail_ns) ? NAN : c->tail_ns;
	if (c->gives_way)
		d->reason = governor_first_reason(d->reason, GOVERNOR_REASON_GIVES_WAY);
	ret->reason = governor_first_reason(ret->reason, d->reason);
}

/* Whether a model would be left with a few CUs without being less important, because of too much
 * load or of a demand that nobody has seen, and why: all have all CUs then, at full speed. Masks
 * apart leave CUs idle whenever one has nothing to do, which is what too much load can do without.
 */
static enum governor_reason gives_way_to_an_equal(const struct governor *g,
						  const struct governor_decision *d)
{
	enum governor_reason why = GOVERNOR_REASON_OVERLOAD;
	const struct several *s = &g->several;

	if (s->plan.fits || g->config.power_cap_uw > 0)
		return GOVERNOR_REASON_NONE;
	for (uint32_t k = 0; k < s->n; k++) {
		enum governor_reason its = d->models[s->models[k]].reason;

		if (s->asked.models[k].priority != s->asked.models[0].priority)
			return GOVERNOR_REASON_NONE;
		if (its == GOVERNOR_REASON_MISSING_INPUT || its == GOVERNOR_REASON_FIRST_INTERVAL ||
		    its == GOVERNOR_REASON_HELD_RATED)
			why = governor_first_reason(why, its);
	}
	return why;
}

int governor_several_init(struct governor *g)
{
	struct card_planner_size size = {.n_levels = g->config.n_levels};

	for (uint32_t i = 0; i < g->config.n_models; i++) {
		const struct response_menu *m = g->config.models[i].menu;

		if (!m)
			continue;
		size.n_models++;
		size.n_options = MAX(size.n_options, m->n_options);
	}
	return size.n_models > 1 ? card_planner_new(&size, &g->planner) : 0;
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

		if (!governor_is_active(&input->models[i]))
			continue;
		plan = governor_model_want(g, i, t, input);
		d->row = row_to_plan(g, i, input, &plan);
		d->demand_rps = plan.demand_rps;
		d->reason = plan.reason;
		g->models[i].in_force = false;
		q.power_factor = MAX(q.power_factor, cap_factor_get(&g->models[i].cap_factor));
		models[q.n] = i;
		q.models[q.n++] = ask_for(g, i, input, rate_of(t, d->row, plan.demand_rps));
	}
	if (!plan_together(g, &q, models, input->now_ns))
		return false;
	ret->reason = gives_way_to_an_equal(g, ret);
	if (ret->reason != GOVERNOR_REASON_NONE)
		return false;
	ret->max_mhz = g->several.plan.max_mhz;
	ret->predicted_power_w = g->several.plan.power_w;
	for (uint32_t k = 0; k < q.n; k++)
		describe(g, k, input, ret);
	boost(g, input, ret);
	return true;
}
