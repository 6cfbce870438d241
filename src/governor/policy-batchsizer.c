/* SPDX-License-Identifier: Apache-2.0 */
/* BatchSizer: the batch size as the only knob, at the highest clock with all CUs, for the most
 * throughput inside a power cap. As published with all its defects, and with them repaired; what
 * they are is in batch-search.h. For comparison. It knows no objective of latency.
 *
 * As published it decides after 10 batches on their highest power; here after the first interval
 * that completes 10 of them.
 *
 * dvfs is what the paper compares it with: the same search over the levels of the clock, at one
 * batch, which is max_batch here. */
#include "governor/pacer.h"
#include "governor/policy.h"

static void search(const struct policy_view *view, uint32_t repairs, uint32_t n,
		   struct policy_plan *ret)
{
	struct batch_search *s = &view->state->batch;

	ret->demand_rps = view->bound_rps;
	ret->row = PACER_ROW_BASELINE;
	ret->reason = GOVERNOR_REASON_POLICY;
	/* Nothing to hold, or nothing to hold it with: a card may lack a cap of its own, and a
	 * worker may keep to its own batch. */
	if (view->power_cap_uw == 0 || view->max_batch <= 1 || !view->in->batch_follows)
		return;
	batch_search_limit(s, repairs, n, view->power_cap_uw);
	if (view->in_force)
		batch_search_feed(s, repairs, view->in->executions, view->power_max_uw);
	if (s->infeasible)
		ret->reason = GOVERNOR_REASON_POWER_CAP;
	ret->ordered = true;
	ret->level = view->n_levels - 1;
	ret->batch = batch_search_size(s);
}

static void plan_published(const struct policy_view *view, struct policy_plan *ret)
{
	search(view, 0, batch_search_count(view->max_batch), ret);
}

static void plan_repaired(const struct policy_view *view, struct policy_plan *ret)
{
	search(view, BATCH_SEARCH_REPAIRED, batch_search_count(view->max_batch), ret);
}

/* The number found is that of a level. Repaired, as the search has to be the knob's only handicap.
 */
static void plan_dvfs(const struct policy_view *view, struct policy_plan *ret)
{
	search(view, BATCH_SEARCH_REPAIRED, view->n_levels, ret);
	if (!ret->ordered)
		return;
	ret->level = MIN(view->state->batch.current, view->n_levels) - 1;
	ret->batch = view->max_batch;
}

const struct policy policy_batchsizer = {
	.name = "batchsizer",
	.orders = true,
	.batches = true,
	.fixed_mask = true,
	.plan = plan_published,
};

const struct policy policy_batchsizer_fixed = {
	.name = "batchsizer-fixed",
	.orders = true,
	.batches = true,
	.fixed_mask = true,
	.plan = plan_repaired,
};

const struct policy policy_dvfs = {
	.name = "dvfs",
	.orders = true,
	.batches = true,
	.fixed_mask = true,
	.plan = plan_dvfs,
};
