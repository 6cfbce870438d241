/* SPDX-License-Identifier: Apache-2.0 */
/* RS of the CoFRIS paper: the published rule over the CUs alone, at the highest clock limit. For
 * comparison. */
#include "governor/policy.h"

const struct policy policy_resource = {
	.name = "resource",
	.needs_table = true,
	.estimates = true,
	.fixed_clock = true,
	.plan = policy_plan_published,
};
