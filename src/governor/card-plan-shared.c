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

/* What is busy depends on how slow it is, and the other way round; it grows to where it stays. */
#define ROUNDS 6

struct company {
	const struct card_plan_request *request;
	const struct plan_model *models;
	uint32_t n;
	double busy[CARD_PLAN_MAX_MODELS]; /* of the choices so far */
};

static double stretch(const struct company *c, uint32_t i)
{
	double sum = 1;

	for (uint32_t j = 0; j < c->n; j++)
		if (j != i)
			sum += c->models[i].asked->share * c->busy[j];
	return sum;
}

/* The cheapest full option of model i at this clock, by what it costs with the card on while it
 * works. */
static bool choose(const struct company *c, uint32_t i, uint32_t level, const struct plan_clock *k,
		   double stretched, struct plan_choice *ret)
{
	const struct plan_model *m = &c->models[i];
	double least_w = INFINITY;
	uint32_t first, end;

	plan_clock_options(m->menu, m->clocks[level], &first, &end);
	for (uint32_t option = first; option < end; option++) {
		struct plan_choice choice;
		double cost_w;

		if (!plan_evaluate_shared(c->request, m, option, stretched, &choice))
			continue;
		cost_w = choice.cost_w +
			 (1 - choice.idle_share) * (k->uncore_w + k->most_cus * k->cu_w);
		if (cost_w >= least_w)
			continue;
		least_w = cost_w;
		*ret = choice;
	}
	return isfinite(least_w);
}

bool plan_shared(const struct card_plan_request *q, const struct plan_model *models, uint32_t n,
		 uint32_t level, const struct plan_clock *clock, struct plan_choice *ret)
{
	struct company c = {.request = q, .models = models, .n = n};

	for (int round = 0; round < ROUNDS; round++) {
		double busy[CARD_PLAN_MAX_MODELS];

		for (uint32_t i = 0; i < n; i++) {
			if (!choose(&c, i, level, clock, stretch(&c, i), &ret[i]))
				return false;
			busy[i] = 1 - ret[i].idle_share;
		}
		for (uint32_t i = 0; i < n; i++)
			c.busy[i] = busy[i];
	}
	return true;
}
