/* SPDX-License-Identifier: Apache-2.0 */
/* The policies: which row of a model's table is wanted, given its demand. One row of the table in
 * policy.c each; what holds for all of them (doubt, power cap, throttling, precedence) is not here.
 */
#pragma once

#include "governor/governor.h"

struct policy_view {
	const struct response_table *table;    /* NULL only for policies without needs_table */
	double rate_rps;		       /* arrivals of the last interval over its length */
	double mean_rps, upper_rps, bound_rps; /* the estimate (demand.h) */
};

struct policy_plan {
	uint32_t row; /* PACER_ROW_BASELINE: B */
	double demand_rps;
	enum governor_reason reason;
};

struct policy {
	const char *name;
	bool never_writes; /* the card stays as found */
	bool needs_table;
	bool estimates;		      /* doubts about its input raise its demand to R */
	bool paced;		      /* goes down slowly */
	bool guarded;		      /* a queue in danger raises it to B */
	bool fixed_clock, fixed_mask; /* its table has cells of the highest clock, or of all CUs,
				       * alone: policy_restrict() */
	void (*plan)(const struct policy_view *view, struct policy_plan *ret);
};

/* NULL for an unknown name. */
const struct policy *policy_find(const char *name);
/* Names by index, for texts; NULL beyond the last. */
const char *policy_name(unsigned int i);

/* Takes away from the options of a model's table what its policy leaves alone. */
void policy_restrict(const struct policy *p, struct table_options *o);

/* The published runtime's rule: the row for the rate just measured. */
void policy_plan_published(const struct policy_view *view, struct policy_plan *ret);

extern const struct policy policy_cofris, policy_coordinated, policy_frequency, policy_resource,
	policy_maximum, policy_auto;
