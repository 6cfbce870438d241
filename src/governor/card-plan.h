/* SPDX-License-Identifier: Apache-2.0 */
/* The planner: for all models of a card together, one clock limit, and a shape and a batch for
 * each, so that every model is inside its SLO at its demand and the card takes the least power that
 * is predicted. Pure, bounded, no allocation.
 *
 * Exact: no other choice within the menus has less predicted power. Ties (TIE_W) go to what is in
 * force, then to more CUs.
 *
 * Under a power cap: among the plans inside it the one of least power if one holds all SLOs.
 * If none does, models give way in the order of their priority, the least important first, equal
 * ones by the largest share of the card: a model that gives way is planned at the most throughput
 * that what is left allows. */
#pragma once

#include "governor/governor.h"
#include "response/menu.h"

#define CARD_PLAN_MAX_MODELS 8 /* beyond it: full speed */

struct card_plan_model {
	const struct response_menu *menu;
	double demand_rps; /* bound of the next interval; above the menu's last rate: overload */
	double factor;	   /* service time over the profile's, 1 */
	double limit_ns;   /* the tail has to be within: headroom * SLO */
	uint32_t priority; /* larger is more important */
	bool may_mask, may_batch;
	uint32_t in_force; /* option, or UINT32_MAX */
};

struct card_plan_request {
	const struct governor_config *card; /* levels and topology */
	uint64_t power_cap_uw;		    /* 0: none */
	double power_factor;		    /* measured power over predicted, 1 */
	uint32_t n;
	struct card_plan_model models[CARD_PLAN_MAX_MODELS];
};

struct card_plan_choice {
	uint32_t option;		       /* of the model's menu */
	double tail_ns, wait_ns, capacity_rps; /* by the factor and the others' bandwidth */
	bool gives_way;			       /* not inside its SLO by plan */
};

struct card_plan {
	bool fits; /* every model is inside its SLO, and the card inside its cap */
	uint32_t max_mhz;
	double power_w;
	struct card_plan_choice models[CARD_PLAN_MAX_MODELS];
	uint32_t considered; /* plans looked at, for those who ask why */
};

/* 0; -EINVAL for n of 0 or above the limit, or menus of other cards; -ENOSPC where masks cannot be
 * had for all (a model that may not be masked beside another): the whole card at full speed is what
 * is left. */
int card_plan_make(const struct card_plan_request *request, struct card_plan *ret);
/* Predicted power of given options at these demands, W; NaN if one cannot sustain its demand. */
double card_plan_power_w(const struct card_plan_request *request, const uint32_t *options);
