/* SPDX-License-Identifier: Apache-2.0 */
/* The default: clock and mask together from the table, for the upper bound of the next interval's
 * demand. */
#include "governor/planner.h"
#include "governor/policy.h"

static void plan(const struct policy_view *view, struct policy_plan *ret)
{
	const struct response_table *t = view->table;

	ret->demand_rps = view->bound_rps;
	ret->row = planner_lookup(t, view->bound_rps);
	/* At low counts the bound may leave the table while the rate does not: that is B, but no
	 * overload. */
	if (view->mean_rps > t->overload_rps)
		ret->reason = GOVERNOR_REASON_OVERLOAD;
	else
		ret->reason = ret->row == 0 ? GOVERNOR_REASON_IDLE : GOVERNOR_REASON_DEMAND;
}

const struct policy policy_cofris = {
	.name = "cofris",
	.needs_table = true,
	.estimates = true,
	.paced = true,
	.guarded = true,
	.plan = plan,
};
