/* SPDX-License-Identifier: Apache-2.0 */
/* The CoFRIS runtime as published (section III.B): every 0.5 s the incoming rate is looked up in
 * the table and the frequency and the compute units found there are set. No bound, no dwell, no
 * feedback. For comparison. */
#include "governor/planner.h"
#include "governor/policy.h"

void policy_plan_published(const struct policy_view *view, struct policy_plan *ret)
{
	const struct response_table *t = view->table;

	ret->demand_rps = view->rate_rps;
	ret->row = planner_lookup(t, view->rate_rps);
	if (ret->row == PACER_ROW_BASELINE)
		ret->reason = GOVERNOR_REASON_OVERLOAD;
	else
		ret->reason = ret->row == 0 ? GOVERNOR_REASON_IDLE : GOVERNOR_REASON_DEMAND;
}

const struct policy policy_coordinated = {
	.name = "coordinated",
	.needs_table = true,
	.estimates = true,
	.plan = policy_plan_published,
};
