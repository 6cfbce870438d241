/* SPDX-License-Identifier: Apache-2.0 */
/* The planner: for all models of a card together, one clock limit, and a shape and a batch for
 * each, so that every model is inside its SLO at its demand and the plan has the least cost:
 * predicted power, and what is late at late_cost (table.h). Pure, bounded, no allocation; takes
 * some 100 KiB of stack.
 *
 * Power of several models on disjoint masks, u_i being the share of the time that one is busy:
 *
 *	idle + (1 - prod(1 - u_i)) (uncore + ungated CUs of all masks * cu) + sum rate_i * energy_i
 *
 * where idle, uncore and cu are the means of what the menus say of that clock. Masks lie apart
 * where there is room, so with gated shader engines those that are not gated are as many as the
 * shapes have together, or all.
 *
 * Who shares memory is slowed down by what all want of it above what there is. A model loads it,
 * whatever its mask, for load_j = rate_j * bound time of a request under B, and option o of model i
 * draws the part draw_o = bound time under B / bound time under o while it waits for memory, so
 * its services take
 *
 *	1 + bound_share_o * max(0, draw_o + sum of the others' load_j - 1)
 *
 * times as long, and it is planned for as on a card that is slower by that much.
 *
 * With one model the whole card is there, and what is chosen is what the table chooses. With more,
 * each has its own mask, and an SE is given out in parts: by single CUs up to four models (by
 * sixteenths where an SE has more CUs than that), by fifths beyond, on cards of many SEs by as many
 * as make 160 on the card. A shape takes the least number of parts that hold it. What can be packed
 * cu_masks_pack() decides, of parts. CUs that an SE has more than the smallest one are left out.
 *
 * With may_share all models on all CUs, without masks, is a plan as well, for services that the
 * others make longer (card-plan-shared.c). It is taken where it costs less than masks apart, and
 * before a model gives way; where one of several models may not be masked it is the only plan.
 *
 * Exact: no other choice of these has less cost; where it is the same, more CUs are taken. What is
 * in force stays in force while nothing beats it by more than CARD_PLAN_TIE_W. Beyond
 * PLAN_MAX_BRANCHES (some 20 ms) the best so far is taken, models may give way that need not, and
 * the plan says that it is not exact. No plan of the cards known without gated CUs comes near.
 *
 * Under a power cap: among the plans inside it the one of least cost if one holds all SLOs.
 * If none does, models give way in the order of their priority, the least important first, equal
 * ones by the largest share of the card, and no more of them than have to: a model that gives way
 * is planned at the most throughput that what is left allows. Where not even that is inside the
 * cap, at the least power. */
#pragma once

#include "governor/governor.h"
#include "response/menu.h"

#define CARD_PLAN_MAX_MODELS 8 /* beyond it: full speed */
#define CARD_PLAN_TIE_W	     1.0

struct card_plan_model {
	const struct response_menu *menu;
	double demand_rps; /* bound of the next interval; above the menu's last rate: overload */
	double factor;	   /* service time over the profile's, 1 */
	double limit_ns;   /* the tail has to be within: SLO, or headroom * SLO */
	double late_cost;  /* of table_options; 0: power alone */
	double share;	   /* of others' busy time on the same CUs that its services last longer */
	uint32_t priority; /* larger is more important */
	bool may_mask, may_batch;
	uint32_t in_force; /* option, or UINT32_MAX */
	/* An option's, at the profile's speed; 0: any. What has less is chosen only where not all
	 * SLOs can be held else: of more demand for a model nothing less is to come for it. */
	double least_capacity_rps;
};

struct card_plan_request {
	const struct governor_config *card; /* levels and topology */
	uint64_t power_cap_uw;		    /* 0: none */
	double power_factor;		    /* measured power over predicted, 1; for the cap */
	bool may_share;			    /* all models on all CUs is a plan, too */
	uint32_t n;
	struct card_plan_model models[CARD_PLAN_MAX_MODELS];
};

struct card_plan_choice {
	uint32_t option;		       /* of the model's menu */
	double tail_ns, wait_ns, capacity_rps; /* by the factor and the others' bandwidth */
	bool gives_way;			       /* not inside its SLO by plan */
};

struct card_plan {
	bool fits;  /* every model is inside its SLO, and the card inside its cap */
	bool exact; /* nothing else costs less */
	uint32_t max_mhz;
	double power_w; /* predicted */
	double cost_w;	/* power, and what is late */
	struct card_plan_choice models[CARD_PLAN_MAX_MODELS];
};

/* What is kept between plans of one card, as mostly one model's demand has changed. On a card of
 * nine clocks some 55 KB a model and 16 B an option; half of the former is only touched where a
 * model gives way. The same plan comes of any, or none; the first one reads all points of the
 * clocks in question, which takes a millisecond. */
struct card_planner;
struct card_planner_size {
	uint32_t n_models;  /* planned for at once, from the first on */
	uint32_t n_levels;  /* the card's */
	uint32_t n_options; /* of the largest menu */
};
/* Of what is beyond the size nothing is kept. 0, -EINVAL for a size of none or options that no menu
 * has, or -ENOMEM. */
int card_planner_new(const struct card_planner_size *size, struct card_planner **ret);
struct card_planner *card_planner_free(struct card_planner *k);
DEFINE_CLEANUP(struct card_planner *, card_planner_free)

/* kept: of earlier plans of the same card; NULL: none. 0; -EINVAL for n of 0 or above the limit, or
 * menus of other cards; -ENOSPC where there is no plan (a model that may not be masked beside
 * another, and not all CUs for all either): the whole card at full speed is what is left. */
int card_plan_make(const struct card_plan_request *request, struct card_planner *kept,
		   struct card_plan *ret);
/* Predicted power of given options at these demands, W; NaN if one cannot sustain its demand, or if
 * they are not all of one clock. */
double card_plan_power_w(const struct card_plan_request *request, const uint32_t *options);
