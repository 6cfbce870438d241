/* SPDX-License-Identifier: Apache-2.0 */
/* FS of the CoFRIS paper: the published rule over the clock alone, with all CUs. For comparison. */
#include "governor/policy.h"

const struct policy policy_frequency = {
	.name = "frequency",
	.needs_table = true,
	.estimates = true,
	.fixed_mask = true,
	.plan = policy_plan_published,
};
