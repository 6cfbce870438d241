/* SPDX-License-Identifier: Apache-2.0 */
/* Under a power cap: which option of a menu, for a model alone on its card. Pure, bounded, no
 * allocation.
 *
 * An option is inside the cap if it is even while it works without a pause, in full batches: no
 * burst, and nothing that a mean hides, then takes the card above it. Among those inside that
 * sustain the demand it is the one of least cost (table.h: power, and what is late), which is the
 * least power where the SLO is held without doubt. Where none sustains the demand it is the one of
 * the most throughput, whatever is late.
 *
 * A cap below all options' power can still be held in the mean, by pauses: where none is inside, it
 * is the one of least cost whose mean power at the demand is; and where there is none, the one of
 * the most throughput among those inside by less than a margin, or of hardly more than the least
 * power.
 *
 * A mask that gates nothing has to be worth more than a tie, as in the table. */
#pragma once

#include "response/menu.h"

struct cap_question {
	const struct response_menu *menu;
	double demand_rps;     /* INFINITY: all that can be had */
	double service_factor; /* service time over the profile's, 1 */
	double power_factor;   /* measured power over predicted, 1 */
	double late_cost;      /* TABLE_LATE_COST */
	uint64_t cap_uw;
	uint64_t poll_ns; /* between two readings; 0: unknown */
	bool may_mask, may_batch;
	uint32_t in_force; /* option; UINT32_MAX: none, or unknown */
};

struct cap_choice {
	uint32_t option;
	bool inside;	/* the cap, always */
	bool in_mean;	/* only in the mean */
	bool sustained; /* the demand */
	double power_w; /* at the demand, corrected; busy without a pause if it is not sustained */
	double tail_ns, wait_ns; /* INFINITY and 0 if it is not sustained */
};

void cap_plan_choose(const struct cap_question *q, struct cap_choice *ret);
/* Whether the option is inside the cap, by a margin. One whose executions are long has to be
 * further inside if it is not in force: what the factor was learnt of is another option. */
bool cap_plan_inside(const struct cap_question *q, uint32_t option);
/* The option of a surface's cell; UINT32_MAX if it is none. */
uint32_t cap_plan_option_of(const struct response_menu *m, uint32_t cell);
