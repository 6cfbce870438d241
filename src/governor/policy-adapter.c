/* SPDX-License-Identifier: Apache-2.0 */
/* ADAPter (Tonkovic-Capin, Poovaya, Kumar, Sanghavi): the clock by feedback from latency alone. For
 * comparison, with what it does in use:
 *
 * - Each response moves an average of latency - target, by a tenth. Here the target is the SLO.
 * - Every 10 s: one level up if the average is positive, one down if it is negative, without a dead
 *   band. So it settles where the mean latency is the SLO, and goes to and fro there, with a large
 *   share of the requests late.
 * - The average is not begun anew after a step, and without traffic it stays what it was and goes
 *   on stepping, to one end or the other.
 * - It begins at the 7th of 13 levels, here the level of that rank on the card, and writes it with
 *   the first step; until then the card's whole range is open.
 *
 * It pins the clock, where a limit is set here: under load that is the same.
 *
 * The governor sees intervals, not responses. n responses of mean latency L count as n responses of
 * latency L: ema_n = 0.9^n ema + (1 - 0.9^n) (L - target). That is exact for equal latencies.
 *
 * adapter-tail is what that idea takes to hold a tail: the highest p95 of an interval since the
 * last step, up above 0.95 SLO, down below 0.75 SLO (a level of these cards changes latency by 5 to
 * 15 %, so the band is wider than one step), each second, and no step while nothing ended. It is
 * the p95 whatever percentile the SLO has. */
#include "base/units.h"
#include "governor/pacer.h"
#include "governor/policy.h"
#include <math.h>

#define PERIOD_NS      (10 * NSEC_PER_SEC)
#define TAIL_PERIOD_NS NSEC_PER_SEC
#define KEPT	       0.9 /* of the average by each response */
#define TAIL_UP	       0.95
#define TAIL_DOWN      0.75
/* The first level: the seventh of 13. */
#define FIRST_INDEX 6
#define LAST_INDEX  12

/* Whether a step is due. The first call only begins. */
static bool due(const struct policy_view *view, uint64_t period_ns)
{
	union policy_state *s = view->state;

	if (!s->adapter.begun) {
		s->adapter.begun = true;
		s->adapter.stepped_ns = view->now_ns;
		s->adapter.level =
			((view->n_levels - 1) * FIRST_INDEX + LAST_INDEX / 2) / LAST_INDEX;
		return false;
	}
	if (view->now_ns - s->adapter.stepped_ns < period_ns)
		return false;
	s->adapter.stepped_ns = view->now_ns;
	s->adapter.started = true;
	return true;
}

static void step(const struct policy_view *view, int direction)
{
	union policy_state *s = view->state;
	uint32_t top = view->n_levels - 1;

	/* A reload may find the card with fewer levels. */
	s->adapter.level = MIN(s->adapter.level, top);
	if (direction > 0 && s->adapter.level < top)
		s->adapter.level++;
	else if (direction < 0 && s->adapter.level > 0)
		s->adapter.level--;
}

static void order(const struct policy_view *view, struct policy_plan *ret)
{
	const union policy_state *s = view->state;

	ret->demand_rps = view->bound_rps;
	ret->row = PACER_ROW_BASELINE;
	ret->reason = GOVERNOR_REASON_POLICY;
	ret->ordered = true;
	ret->level =
		s->adapter.started ? MIN(s->adapter.level, view->n_levels - 1) : view->n_levels - 1;
}

static void fold_responses(const struct policy_view *view)
{
	double n = (double)view->in->completions, kept;
	double *ema_ns = &view->state->adapter.ema_ns;

	if (n == 0 || view->in->sojourn_ns == 0)
		return;
	kept = pow(KEPT, n);
	*ema_ns = kept * *ema_ns +
		  (1 - kept) * ((double)view->in->sojourn_ns / n - (double)view->table->slo_ns);
}

static void plan_mean(const struct policy_view *view, struct policy_plan *ret)
{
	double ema_ns;

	fold_responses(view);
	ema_ns = view->state->adapter.ema_ns;
	if (due(view, PERIOD_NS))
		step(view, (ema_ns > 0) - (ema_ns < 0));
	order(view, ret);
}

static void plan_tail(const struct policy_view *view, struct policy_plan *ret)
{
	uint64_t *p95_ns = &view->state->adapter.p95_ns;
	double share;

	*p95_ns = MAX(*p95_ns, view->in->sojourn_p95_ns);
	if (due(view, TAIL_PERIOD_NS)) {
		share = (double)*p95_ns / (double)view->table->slo_ns;
		if (*p95_ns > 0)
			step(view, (share > TAIL_UP) - (share < TAIL_DOWN));
		*p95_ns = 0;
	}
	order(view, ret);
}

const struct policy policy_adapter = {
	.name = "adapter",
	.needs_table = true,
	.orders = true,
	.fixed_mask = true,
	.plan = plan_mean,
};

const struct policy policy_adapter_tail = {
	.name = "adapter-tail",
	.needs_table = true,
	.orders = true,
	.fixed_mask = true,
	.plan = plan_tail,
};
