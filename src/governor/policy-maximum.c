/* SPDX-License-Identifier: Apache-2.0 */
/* Highest clock limit, all CUs, whatever the demand: the papers' baseline. */
#include "governor/planner.h"
#include "governor/policy.h"

static void plan(const struct policy_view *view, struct policy_plan *ret)
{
	ret->demand_rps = view->bound_rps;
	ret->row = PACER_ROW_BASELINE;
	ret->reason = GOVERNOR_REASON_POLICY;
}

const struct policy policy_maximum = {
	.name = "maximum",
	.plan = plan,
};
