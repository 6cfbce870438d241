/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/cap-plan.h"
#include "base/units.h"
#include <math.h>

/* What a mask that gates nothing has to be worth. */
#define TIE_W	  1.0
#define TIE_SHARE 0.01
/* Below the cap: power differs from batch to batch by a few percent, and grows with the card's
 * heat. What is not in force has to be further below, as each cell was measured to half a percent
 * or so and the factor was learnt of another; then nothing that was left for being above is tried
 * again by chance. */
#define MARGIN_IN_FORCE 0.03
#define MARGIN		0.045

static uint32_t ungated_cus(const struct response_menu *m, const struct menu_option *o)
{
	if (o->full || m->gating == TABLE_GATING_NONE)
		return m->n_cus;
	return m->gating == TABLE_GATING_CU ? cu_shape_cus(o->shape)
					    : m->n_cus * o->shape.n_se / m->n_se;
}

double cap_plan_busy_w(const struct response_menu *m, uint32_t option)
{
	const struct menu_option *o = &m->options[option];
	const struct menu_clock *c = &m->clocks[o->clock];

	return c->idle_w + c->uncore_w + ungated_cus(m, o) * c->cu_w +
	       o->capacity_rps * o->energy_j;
}

bool cap_plan_inside(const struct cap_question *q, uint32_t option)
{
	double margin = option == q->in_force ? MARGIN_IN_FORCE : MARGIN;

	return cap_plan_busy_w(q->menu, option) * q->power_factor * (1 + margin) *
		       (double)UW_PER_W <=
	       (double)q->cap_uw;
}

uint32_t cap_plan_option_of(const struct response_menu *m, uint32_t cell)
{
	uint32_t low = 0, high = m->n_options;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (m->options[middle].cell < cell)
			low = middle + 1;
		else
			high = middle;
	}
	return low < m->n_options && m->options[low].cell == cell ? low : UINT32_MAX;
}

static bool may_choose(const struct cap_question *q, uint32_t option)
{
	const struct menu_option *o = &q->menu->options[option];

	return (o->full || q->may_mask) &&
	       (q->may_batch || o->batch == q->menu->options[q->menu->baseline].batch);
}

/* The first rate that holds the demand; n_rates beyond the last. */
static uint32_t rate_of(const struct cap_question *q)
{
	double rps = q->demand_rps * q->service_factor;
	uint32_t i = 0;

	while (i < q->menu->n_rates && q->menu->rate_rps[i] < rps)
		i++;
	return i;
}

/* What is worse about it: W at a rate, or throughput that is lacking. INFINITY: out of question. */
static double cost_at(const struct cap_question *q, uint32_t option, uint32_t rate)
{
	const struct response_menu *m = q->menu;
	const struct menu_point *p = response_menu_point(m, option, rate);
	double late_w;

	if (isinf(p->tail_ns))
		return INFINITY;
	late_w = q->late_cost * cap_plan_busy_w(m, m->baseline) / m->rated_rps * m->rate_rps[rate] *
		 response_menu_late(p, (double)m->slo_ns / q->service_factor);
	return (double)p->power_w * q->power_factor + late_w;
}

static double lack(const struct cap_question *q, uint32_t option, uint32_t rate _unused_)
{
	return -q->menu->options[option].capacity_rps;
}

static double draw(const struct cap_question *q, uint32_t option, uint32_t rate _unused_)
{
	return cap_plan_busy_w(q->menu, option);
}

static double mask_penalty(const struct cap_question *q, uint32_t option, bool by_rate, double cost)
{
	if (q->menu->options[option].full || q->menu->gating != TABLE_GATING_NONE)
		return cost;
	return cost + (by_rate ? TIE_W : TIE_SHARE * fabs(cost));
}

/* The least by cost(); the first of equal ones. UINT32_MAX: none. */
static uint32_t least(const struct cap_question *q, uint32_t rate, bool inside,
		      double (*cost)(const struct cap_question *q, uint32_t option, uint32_t rate))
{
	uint32_t best = UINT32_MAX;
	double least_cost = INFINITY;

	for (uint32_t i = 0; i < q->menu->n_options; i++) {
		double c;

		if (!may_choose(q, i) || (inside && !cap_plan_inside(q, i)))
			continue;
		c = mask_penalty(q, i, cost == cost_at, cost(q, i, rate));
		if (c < least_cost) {
			least_cost = c;
			best = i;
		}
	}
	return best;
}

void cap_plan_choose(const struct cap_question *q, struct cap_choice *ret)
{
	const struct response_menu *m = q->menu;
	uint32_t rate = rate_of(q), option = UINT32_MAX;
	struct cap_choice c = {.tail_ns = INFINITY};

	if (rate < m->n_rates)
		option = least(q, rate, /* inside= */ true, cost_at);
	c.sustained = option != UINT32_MAX;
	if (!c.sustained)
		option = least(q, 0, /* inside= */ true, lack);
	c.inside = option != UINT32_MAX;
	if (!c.inside)
		option = least(q, 0, /* inside= */ false, draw);
	c.option = option;
	if (c.sustained) {
		const struct menu_point *p = response_menu_point(m, option, rate);

		c.power_w = (double)p->power_w * q->power_factor;
		c.tail_ns = (double)p->tail_ns * q->service_factor;
		c.wait_ns = (double)p->wait_ns;
	} else {
		c.power_w = cap_plan_busy_w(m, option) * q->power_factor;
	}
	*ret = c;
}
