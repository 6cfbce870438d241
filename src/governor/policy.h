/* SPDX-License-Identifier: Apache-2.0 */
/* The policies: which row of a model's table is wanted, given its demand, or what else is ordered
 * of the card. One row of the table in policy.c each; what holds for all of them (doubt, power cap,
 * throttling, precedence) is not here. */
#pragma once

#include "governor/batch-search.h"
#include "governor/governor.h"

/* What a policy remembers of one model; all zero at first, and again once no worker is left. */
union policy_state {
	struct {
		bool begun, started; /* asked at all; has taken its first step */
		uint64_t stepped_ns; /* the last one, or when it began */
		uint32_t level;
		double ema_ns;	 /* of latency - target */
		uint64_t p95_ns; /* highest of an interval since the last step */
	} adapter;
	struct batch_search batch;
};

struct policy_view {
	const struct response_table *table;    /* NULL only for policies without needs_table */
	double rate_rps;		       /* arrivals of the last interval over its length */
	double mean_rps, upper_rps, bound_rps; /* the estimate (demand.h) */

	uint64_t now_ns;
	const struct governor_model_input *in; /* of the interval that has just ended */
	uint64_t power_max_uw;		       /* likewise; 0 unknown */
	uint64_t power_cap_uw;		       /* the operator's; 0: none */
	uint32_t n_levels, max_batch;
	bool in_force; /* what it ordered in the last step held in that interval */
	union policy_state *state;
};

struct policy_plan {
	uint32_t row; /* PACER_ROW_BASELINE: B */
	double demand_rps;
	enum governor_reason reason;
	/* Instead of the row: B, but at this level of the card's and with this batch (0: B's). */
	bool ordered;
	uint32_t level, batch;
};

struct policy {
	const char *name;
	bool never_writes; /* the card stays as found */
	bool needs_table;
	bool estimates; /* doubts about its input raise its demand to R */
	bool orders;	/* not rows: doubts about its input are B, and it is not asked */
	bool batches;	/* what it orders, a batch too, is what keeps power inside the cap: it needs
			 * a cap and a max_batch above 1 */
	bool paced;	/* goes down slowly */
	bool guarded;	/* a queue in danger raises it to B */
	bool fixed_clock, fixed_mask; /* its table has cells of the highest clock, or of all CUs,
				       * alone: policy_restrict() */
	bool plans;		      /* chooses from a menu */
	bool by_cost; /* its table weighs lateness against power: policy_restrict() */
	void (*plan)(const struct policy_view *view, struct policy_plan *ret);
};

/* NULL for an unknown name. */
const struct policy *policy_find(const char *name);
/* Names by index, for texts; NULL beyond the last. */
const char *policy_name(unsigned int i);
/* Whether the name is one that only cofris-replay knows, because it takes knowledge of the future.
 */
bool policy_is_clairvoyant(const char *name);

/* Takes away from the options of a model's table what its policy leaves alone, and says what a late
 * request costs there. */
void policy_restrict(const struct policy *p, struct table_options *o);

/* The published runtime's rule: the row for the rate just measured. */
void policy_plan_published(const struct policy_view *view, struct policy_plan *ret);

extern const struct policy policy_cofris, policy_coordinated, policy_frequency, policy_resource,
	policy_maximum, policy_auto, policy_adapter, policy_adapter_tail, policy_batchsizer,
	policy_batchsizer_fixed, policy_dvfs;
