/* SPDX-License-Identifier: Apache-2.0 */
/* The default: clock and mask together from the table, for the upper bound of the next interval's
 * demand. */
#include "governor/planner.h"
#include "governor/policy.h"

/* At low counts the bound of a single interval may lie above R while the rate surely does not. What
 * R is sized for includes Poisson arrivals at R, so R is then enough. */
static double demand_rps(const struct policy_view *view)
{
	if (view->upper_rps <= view->table->rated_rps)
		return MIN(view->bound_rps, view->table->rated_rps);
	return view->bound_rps;
}

static void plan(const struct policy_view *view, struct policy_plan *ret)
{
	const struct response_table *t = view->table;

	ret->demand_rps = demand_rps(view);
	ret->row = planner_lookup(t, ret->demand_rps);
	/* Likewise a bound beyond the table is B, but no overload while the rate is inside. */
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
	.plans = true,
	.by_cost = true,
	.plan = plan,
};
