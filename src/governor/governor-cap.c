/* SPDX-License-Identifier: Apache-2.0 */
/* One model's part of a power cap, where its menu is at hand: what is chosen instead of a plan that
 * is not inside, and what the card's power is learnt to be. */
#include "base/units.h"
#include "governor/cap-plan.h"
#include "governor/governor-internal.h"
#include "governor/guard.h"
#include "governor/planner.h"
#include <math.h>

static void learn(struct governor *g, uint32_t i, const struct governor_input *input)
{
	const struct response_menu *menu = g->config.models[i].menu;
	const struct governor_model_input *in = &input->models[i];
	struct model *m = &g->models[i];
	struct cap_factor_input now = {
		.option = m->option,
		.held = in->state == GOVERNOR_INPUT_OK && in->acknowledged,
		.saturated = in->oldest_age_ns >= input->interval_ns,
		.interval_ns = input->interval_ns,
		.busy_ns = in->busy_ns,
		.executions = in->executions,
		.completions = in->completions,
		.cap_uw = g->config.power_cap_uw,
	};
	const struct menu_option *o;

	if (!menu || input->early || input->interval_ns == 0)
		return;
	if (m->option < menu->n_options && !(input->flags & GOVERNOR_CARD_THROTTLED)) {
		o = &menu->options[m->option];
		now.power_uw = input->power_uw;
		now.batch = o->batch;
		now.idle_w = menu->clocks[o->clock].idle_w;
		now.busy_w = response_menu_busy_w(menu, m->option);
	}
	cap_factor_update(&m->cap_factor, &now);
}

void governor_cap_learn(struct governor *g, const struct governor_input *input, uint32_t only)
{
	if (only < g->config.n_models)
		learn(g, only, input);
}

static struct cap_question question(const struct governor *g, uint32_t i, double demand_rps)
{
	double late_cost = g->config.models[i].late_cost;

	return (struct cap_question){
		.menu = g->config.models[i].menu,
		.demand_rps = demand_rps,
		.service_factor = g->models[i].planned_factor,
		.power_factor = cap_factor_get(&g->models[i].cap_factor),
		.late_cost = late_cost > 0 ? late_cost : TABLE_LATE_COST,
		.cap_uw = g->config.power_cap_uw,
		.poll_ns = g->config.poll_ns,
		.in_force = g->models[i].option_before,
	};
}

/* A wait that the most that can be had inside the cap would still make good. */
static uint64_t boost_wait_ns(const struct cap_question *q, const struct cap_choice *choice)
{
	const struct response_menu *m = q->menu;
	struct cap_question most = *q;
	struct cap_choice boost;
	double slo_ns = (double)m->slo_ns,
	       service_ns = q->service_factor * m->options[choice->option].service_ns;

	most.demand_rps = INFINITY;
	cap_plan_choose(&most, &boost);
	if (boost.option == choice->option || slo_ns <= service_ns)
		return UINT64_MAX;
	return guard_wait_ns(slo_ns, service_ns,
			     q->service_factor * m->options[boost.option].service_ns,
			     /* switch_ns= */ 0);
}

static void take(struct governor *g, uint32_t i, const struct governor_model_input *in,
		 const struct cap_choice *choice, struct governor_decision *ret)
{
	const struct response_menu *menu = g->config.models[i].menu;
	const struct menu_option *o = &menu->options[choice->option];
	struct governor_model_decision *d = &ret->models[i];

	governor_model_describe(g, i, in, PACER_ROW_BASELINE, d);
	d->shape = o->full ? (struct cu_shape){0} : o->shape;
	if (in->batch_follows)
		d->max_batch = o->batch;
	d->max_wait_ns = choice->wait_ns > 0 ? (uint64_t)choice->wait_ns : 0;
	d->tail_ns = isinf(choice->tail_ns) ? NAN : choice->tail_ns;
	ret->max_mhz = planner_level_for_mhz(&g->config, menu->clocks[o->clock].max_mhz);
	ret->predicted_power_w = choice->power_w;
	g->models[i].option = choice->option;
}

/* The worker takes a larger batch or mask sooner than the card a lower clock, and both together may
 * be above the cap: then the clock goes first, and the rest in the next step. */
static void clock_first(struct governor *g, uint32_t i, bool may_mask,
			struct governor_decision *ret)
{
	const struct governor_decision *before = &g->previous;
	const struct response_menu *menu = g->config.models[i].menu;
	struct governor_model_decision *d = &ret->models[i];
	bool known = g->decided && before->action == GOVERNOR_SET;
	uint32_t batch = known ? before->models[i].max_batch : 0;
	struct cu_shape shape = known ? before->models[i].shape : (struct cu_shape){0};
	uint32_t top_mhz = g->config.level_mhz[g->config.n_levels - 1];

	if (batch == 0)
		batch = menu->options[menu->baseline].batch;
	if ((known ? before->max_mhz : top_mhz) <= ret->max_mhz)
		return;
	if (d->max_batch > batch) {
		d->max_batch = batch;
		g->models[i].option = UINT32_MAX;
	}
	/* Where masks are no longer followed there is nothing that could be kept. */
	if (may_mask && cu_shape_cus(shape) > 0 &&
	    (cu_shape_cus(d->shape) == 0 || cu_shape_cus(d->shape) > cu_shape_cus(shape))) {
		d->shape = shape;
		g->models[i].option = UINT32_MAX;
	}
}

bool governor_cap_plan(struct governor *g, uint32_t i, const struct response_table *t,
		       const struct governor_input *input, struct policy_plan *plan,
		       struct governor_decision *ret)
{
	const struct governor_model_config *config = &g->config.models[i];
	const struct governor_model_input *in = &input->models[i];
	struct model *m = &g->models[i];
	bool beyond = plan->row >= t->n_rows;
	struct cap_question q;
	struct cap_choice choice;

	if (!config->menu || !m->policy->by_cost)
		return false;
	m->option = cap_plan_option_of(config->menu, planner_row(t, plan->row)->cell);
	if (g->config.power_cap_uw == 0)
		return false;
	q = question(g, i, beyond ? INFINITY : t->rows[plan->row].rate_rps);
	q.may_mask = config->use_mask && in->mask_follows;
	q.may_batch = in->batch_follows;
	if (!beyond && m->option != UINT32_MAX && cap_plan_inside(&q, m->option))
		return false;
	cap_plan_choose(&q, &choice);
	if (!beyond || choice.option != config->menu->baseline)
		plan->reason = governor_first_reason(plan->reason, GOVERNOR_REASON_POWER_CAP);
	take(g, i, in, &choice, ret);
	clock_first(g, i, q.may_mask, ret);
	if (choice.sustained)
		ret->models[i].boost_wait_ns = boost_wait_ns(&q, &choice);
	return true;
}

bool governor_cap_full_speed(const struct governor *g, uint32_t i, uint32_t *ret_mhz,
			     double *ret_power_w)
{
	const struct response_menu *menu = g->config.models[i].menu;
	struct cap_question q;
	struct cap_choice choice;

	if (!menu || g->config.power_cap_uw == 0)
		return false;
	q = question(g, i, INFINITY);
	cap_plan_choose(&q, &choice);
	*ret_mhz = planner_level_for_mhz(&g->config,
					 menu->clocks[menu->options[choice.option].clock].max_mhz);
	*ret_power_w = choice.power_w;
	return true;
}
