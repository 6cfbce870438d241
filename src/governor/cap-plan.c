/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/cap-plan.h"
#include "base/units.h"
#include <math.h>

/* What a mask that gates nothing has to be worth. */
#define TIE_W	  1.0
#define TIE_SHARE 0.01
/* Hardly more power than the least. */
#define NEAREST 0.05
/* Below the cap: power differs from batch to batch by a few percent, and grows with the card's
 * heat. What is not in force has to be further below, as each cell was measured to half a percent
 * or so and the factor was learnt of another; then nothing that was left for being above is tried
 * again by chance. */
#define MARGIN_IN_FORCE 0.03
#define MARGIN		0.045
/* Where so many executions pass between two looks, what they differ by averages out, and what was
 * learnt of them is known better. */
#define AVERAGED	10.0
#define MARGIN_AVERAGED 0.025

static double margin(const struct cap_question *q, uint32_t option)
{
	double service_ns = q->service_factor * q->menu->options[option].service_ns;

	if (q->poll_ns > 0 && AVERAGED * service_ns <= (double)q->poll_ns)
		return MARGIN_AVERAGED;
	return option == q->in_force ? MARGIN_IN_FORCE : MARGIN;
}

bool cap_plan_inside(const struct cap_question *q, uint32_t option)
{
	return response_menu_busy_w(q->menu, option) * q->power_factor * (1 + margin(q, option)) *
		       (double)UW_PER_W <=
	       (double)q->cap_uw;
}

uint32_t cap_plan_option_of(const struct response_menu *m, uint32_t cell)
{
	uint32_t option = response_menu_from(m, 0, offsetof(struct menu_option, cell), cell);

	return option < m->n_options && m->options[option].cell == cell ? option : UINT32_MAX;
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

/* One way to choose: the option of least cost among those that pass; cost() is INFINITY for what is
 * out of question. */
struct choosing {
	const struct cap_question *q;
	uint32_t rate;
	double limit_w; /* of may_draw() */
	bool (*passes)(const struct choosing *c, uint32_t option);
	double (*cost)(const struct choosing *c, uint32_t option);
	double tie_w, tie_share; /* what a mask that gates nothing has to be worth */
};

static bool is_inside(const struct choosing *c, uint32_t option)
{
	return cap_plan_inside(c->q, option);
}

static bool in_mean(const struct choosing *c, uint32_t option)
{
	const struct menu_point *p = response_menu_point(c->q->menu, option, c->rate);

	return (double)p->power_w * c->q->power_factor * (1 + MARGIN_IN_FORCE) * (double)UW_PER_W <=
	       (double)c->q->cap_uw;
}

static bool may_draw(const struct choosing *c, uint32_t option)
{
	return response_menu_busy_w(c->q->menu, option) <= c->limit_w;
}

/* W: what it draws at the rate, and what is late there. */
static double cost_at_rate(const struct choosing *c, uint32_t option)
{
	const struct response_menu *m = c->q->menu;
	const struct menu_point *p = response_menu_point(m, option, c->rate);
	double late_w;

	if (isinf(p->tail_ns))
		return INFINITY;
	late_w = c->q->late_cost * response_menu_busy_w(m, m->baseline) / m->rated_rps *
		 m->rate_rps[c->rate] *
		 response_menu_late(p, (double)m->slo_ns / c->q->service_factor);
	return (double)p->power_w * c->q->power_factor + late_w;
}

static double lack(const struct choosing *c, uint32_t option)
{
	return -c->q->menu->options[option].capacity_rps;
}

static double draw(const struct choosing *c, uint32_t option)
{
	return response_menu_busy_w(c->q->menu, option);
}

static double with_tie(const struct choosing *c, uint32_t option, double cost)
{
	if (c->q->menu->options[option].full || c->q->menu->gating != TABLE_GATING_NONE)
		return cost;
	return cost + c->tie_w + c->tie_share * fabs(cost);
}

/* The first of equal ones; UINT32_MAX: none. */
static uint32_t least(const struct choosing *c)
{
	uint32_t best = UINT32_MAX;
	double least_cost = INFINITY;

	for (uint32_t i = 0; i < c->q->menu->n_options; i++) {
		double cost;

		if (!response_menu_may_choose(c->q->menu, i, c->q->may_mask, c->q->may_batch) ||
		    (c->passes && !c->passes(c, i)))
			continue;
		cost = with_tie(c, i, c->cost(c, i));
		if (cost < least_cost) {
			least_cost = cost;
			best = i;
		}
	}
	return best;
}

static uint32_t at_rate(const struct cap_question *q,
			bool (*passes)(const struct choosing *c, uint32_t option))
{
	const struct choosing c = {q, rate_of(q), 0, passes, cost_at_rate, TIE_W, 0};

	return c.rate < q->menu->n_rates ? least(&c) : UINT32_MAX;
}

static uint32_t most_throughput(const struct cap_question *q)
{
	const struct choosing c = {q, 0, 0, is_inside, lack, 0, TIE_SHARE};

	return least(&c);
}

/* B may always be chosen, so there is one. */
static uint32_t nearest_above(const struct cap_question *q)
{
	struct choosing c = {q, 0, 0, NULL, draw, 0, TIE_SHARE};
	double cap_w = (double)q->cap_uw / (double)UW_PER_W / q->power_factor;
	double least_w = response_menu_busy_w(q->menu, least(&c));

	/* Inside, but for the margin. */
	c.limit_w = least_w <= cap_w ? cap_w : least_w * (1 + NEAREST);
	c.passes = may_draw;
	c.cost = lack;
	return least(&c);
}

void cap_plan_choose(const struct cap_question *q, struct cap_choice *ret)
{
	const struct response_menu *m = q->menu;
	struct cap_choice c = {.tail_ns = INFINITY};
	const struct menu_point *p;

	c.option = at_rate(q, is_inside);
	c.sustained = c.inside = c.option != UINT32_MAX;
	if (!c.inside) {
		c.option = most_throughput(q);
		c.inside = c.option != UINT32_MAX;
	}
	if (!c.inside) {
		c.option = at_rate(q, in_mean);
		c.sustained = c.in_mean = c.option != UINT32_MAX;
	}
	if (c.option == UINT32_MAX)
		c.option = nearest_above(q);
	c.power_w = response_menu_busy_w(m, c.option) * q->power_factor;
	if (c.sustained) {
		p = response_menu_point(m, c.option, rate_of(q));
		c.power_w = (double)p->power_w * q->power_factor;
		c.tail_ns = (double)p->tail_ns * q->service_factor;
		c.wait_ns = (double)p->wait_ns;
	}
	*ret = c;
}
