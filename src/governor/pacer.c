/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/pacer.h"
#include "base/macros.h"
#include "base/units.h"
#include "governor/planner.h"

/* A fall is believed after 1.5 s at least; two intervals more let the estimate settle, so that one
 * step goes where two would. */
#define DWELL_QUICK_NS (UINT64_C(1) * NSEC_PER_SEC)
/* Two falls a minute by chance, and the rises between them, stay within four changes a minute. */
#define DWELL_SLOW_NS (UINT64_C(30) * NSEC_PER_SEC)
/* A mask change preempts every queue on the card; it has to repay within ten seconds, so what does
 * not last that long is not worth one. */
#define DWELL_MASK_NS (UINT64_C(10) * NSEC_PER_SEC)
/* Below this (measures: a tie) nothing repays a mask change. */
#define MASK_MIN_SAVING_W 1.0
/* As long as the longest window over which a fall is detected (16 intervals of 0.5 s). */
#define QUICK_PERIOD_NS (UINT64_C(8) * NSEC_PER_SEC)
/* Long enough to drain any queue that the SLO allows at B; doubled each time the configuration
 * gets into danger again soon after, because then it is too low for this load. */
#define BOOST_HOLD_MIN_NS (UINT64_C(2) * NSEC_PER_SEC)
#define BOOST_HOLD_MAX_NS (UINT64_C(64) * NSEC_PER_SEC)
/* A boost this long after the end of the one before says nothing about it. */
#define BOOST_FORGET_NS (UINT64_C(60) * NSEC_PER_SEC)

void pacer_init(struct pacer *p)
{
	*p = (struct pacer){.row = PACER_ROW_BASELINE};
}

void pacer_expect_change(struct pacer *p, uint64_t now_ns)
{
	p->quick = true;
	p->quick_until_ns = now_ns + QUICK_PERIOD_NS;
	/* What was wanted before the change says nothing about what will be. */
	p->waiting = false;
}

static void take(struct pacer *p, uint32_t row)
{
	p->row = row;
	p->waiting = false;
}

/* The power of the present configuration at the lower row's rate, less that row's. Power falls
 * with the utilisation towards idle; the table has the idle power at the highest limit alone. */
static double saving_w(const struct response_table *t, const struct table_row *present,
		       const struct table_row *lower)
{
	double share = present->rate_rps > 0 ? lower->rate_rps / present->rate_rps : 0;

	return t->idle_power_w + share * (present->power_w - t->idle_power_w) - lower->power_w;
}

/* How long the lower row must have been wanted; UINT64_MAX if it is not worth the change. */
static uint64_t dwell_ns(const struct pacer *p, const struct response_table *t, uint64_t now_ns)
{
	const struct table_row *present = planner_row(t, p->row), *lower = planner_row(t, p->peak);
	uint64_t dwell = p->quick && now_ns < p->quick_until_ns ? DWELL_QUICK_NS : DWELL_SLOW_NS;

	if (cu_shape_equal(present->shape, lower->shape))
		return dwell;
	/* From B the clock falls too, and its power at that rate is not in the table. */
	if (p->row != PACER_ROW_BASELINE && saving_w(t, present, lower) < MASK_MIN_SAVING_W)
		return UINT64_MAX;
	return MAX(dwell, DWELL_MASK_NS);
}

uint32_t pacer_step(struct pacer *p, const struct response_table *t, uint64_t now_ns, uint32_t want,
		    bool *ret_dwelling)
{
	bool boosting = p->boosted && now_ns < p->boost_until_ns;

	if (!p->started && !boosting) {
		p->started = true;
		take(p, want);
	} else if (want >= p->row || planner_same(t, want, p->row)) {
		take(p, want);
	} else if (!p->waiting) {
		p->waiting = true;
		p->waiting_ns = now_ns;
		p->peak = want;
	} else {
		p->peak = MAX(p->peak, want);
	}

	if (p->waiting && !boosting) {
		uint64_t dwell = dwell_ns(p, t, now_ns);

		if (now_ns - p->waiting_ns >= dwell)
			take(p, p->peak);
	}
	*ret_dwelling = p->row > want && !planner_same(t, want, p->row);
	return p->row;
}

void pacer_force_baseline(struct pacer *p, uint64_t now_ns)
{
	p->started = true;
	take(p, PACER_ROW_BASELINE);
	pacer_expect_change(p, now_ns);
}

void pacer_boost(struct pacer *p, uint64_t now_ns)
{
	if (p->row != PACER_ROW_BASELINE || !p->started) {
		bool again = p->boosted && now_ns < p->boost_until_ns + BOOST_FORGET_NS;

		p->boost_hold_ns =
			again ? MIN(2 * p->boost_hold_ns, BOOST_HOLD_MAX_NS) : BOOST_HOLD_MIN_NS;
	}
	p->boosted = true;
	p->boost_until_ns = now_ns + p->boost_hold_ns;
	pacer_force_baseline(p, now_ns);
	p->quick_until_ns = p->boost_until_ns + QUICK_PERIOD_NS;
}
