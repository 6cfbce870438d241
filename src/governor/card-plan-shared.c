/* SPDX-License-Identifier: Apache-2.0 */
/* The plan without masks: all models on all CUs. Masks apart make each model's work last longer,
 * and uncore and CUs on meanwhile; sharing all of them, models only wait for each other while they
 * run at the same time. Services take
 *
 *	1 + share * sum of the others' u_j
 *
 * times as long, u_j being the share of the time that one is busy in this company, and share the
 * model's own (stretch.h). */
#include "governor/card-plan-internal.h"
#include <math.h>
#include <string.h>

/* What is busy depends on how slow it is, and the other way round; it grows to where it stays. */
#define ROUNDS 6

struct company {
	const struct planning *p;
	uint32_t level;
	struct plan_clock clock;
	uint32_t first[CARD_PLAN_MAX_MODELS], end[CARD_PLAN_MAX_MODELS]; /* full options */
	double busy[CARD_PLAN_MAX_MODELS];				 /* of the choices so far */
	struct plan_choice choices[CARD_PLAN_MAX_MODELS];
};

static double stretch(const struct company *c, uint32_t i)
{
	double sum = 1;

	for (uint32_t j = 0; j < c->p->n; j++)
		if (j != i)
			sum += c->p->models[i].asked->share * c->busy[j];
	return sum;
}

/* Those of a clock that are full stand together, mostly at its end. */
static void find_full(struct company *c, uint32_t i)
{
	const struct plan_model *m = &c->p->models[i];
	uint32_t first = m->first[m->clocks[c->level]], end = m->first[m->clocks[c->level] + 1];

	while (end > first && !m->menu->options[end - 1].full)
		end--;
	c->end[i] = c->first[i] = end;
	while (c->first[i] > first && m->menu->options[c->first[i] - 1].full)
		c->first[i]--;
}

/* The cheapest full option of model i at this clock, by what it costs with the card on while it
 * works. */
static bool choose(struct company *c, uint32_t i)
{
	const struct plan_clock *k = &c->clock;
	double least_w = INFINITY, stretched = stretch(c, i);

	for (uint32_t option = c->first[i]; option < c->end[i]; option++) {
		struct plan_choice choice;
		double cost_w;

		if (!plan_evaluate_shared(c->p->request, &c->p->models[i], option, stretched,
					  &choice))
			continue;
		cost_w = choice.cost_w +
			 (1 - choice.idle_share) * (k->uncore_w + k->most_cus * k->cu_w);
		if (cost_w >= least_w)
			continue;
		least_w = cost_w;
		c->choices[i] = choice;
	}
	return isfinite(least_w);
}

/* At a level of the card's, if it costs less than below_w: company makes nothing cheaper. False if
 * a model is not inside its SLO so. */
static bool share(struct company *c, double below_w)
{
	uint32_t n = c->p->n;
	bool settled = false;

	for (uint32_t i = 0; i < n; i++) {
		c->busy[i] = 0;
		find_full(c, i);
	}
	for (int round = 0; round < ROUNDS && !settled; round++) {
		for (uint32_t i = 0; i < n; i++)
			if (!choose(c, i))
				return false;
		settled = true;
		for (uint32_t i = 0; i < n; i++) {
			double busy = 1 - c->choices[i].idle_share;

			settled &= busy == c->busy[i];
			c->busy[i] = busy;
		}
		if (plan_cost_w(&c->clock, c->choices, n) >= below_w)
			return false;
	}
	return true;
}

/* Without masks a change costs nothing but the clock's, so there are no ties. */
void plan_shared(const struct planning *p, struct plan_found *ret)
{
	ret->found = false;
	ret->cost_w = INFINITY;
	for (uint32_t level = 0; level < p->request->card->n_levels; level++) {
		struct company c = {.p = p, .level = level};

		if (!plan_clock_of(p, level, &c.clock) || !share(&c, ret->cost_w) ||
		    plan_power_w(&c.clock, c.choices, p->n) > p->cap_w)
			continue;
		*ret = (struct plan_found){
			true, level, c.clock, plan_cost_w(&c.clock, c.choices, p->n), {{0}}};
		memcpy(ret->choices, c.choices, p->n * sizeof(c.choices[0]));
	}
}
