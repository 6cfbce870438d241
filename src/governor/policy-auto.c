/* SPDX-License-Identifier: Apache-2.0 */
/* The driver's own power management: the card is left as found. The ungoverned side of every
 * comparison. */
#include "governor/planner.h"
#include "governor/policy.h"

static void plan(const struct policy_view *view, struct policy_plan *ret)
{
	ret->demand_rps = view->bound_rps;
	ret->row = PACER_ROW_BASELINE;
	ret->reason = GOVERNOR_REASON_POLICY;
}

const struct policy policy_auto = {
	.name = "auto",
	.never_writes = true,
	.plan = plan,
};
