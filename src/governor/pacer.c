/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/pacer.h"
#include "base/macros.h"
#include "base/units.h"
#include "governor/planner.h"
#include <string.h>

/* A fall is believed after 1.5 s at least; two seconds more let the estimate settle, so that one
 * step goes where several would. */
#define DWELL_QUICK_NS (UINT64_C(2) * NSEC_PER_SEC)
/* Two falls a minute by chance, and the rises between them, stay within four changes a minute. */
#define DWELL_SLOW_NS (UINT64_C(30) * NSEC_PER_SEC)
/* A mask change preempts every queue on the card; it has to repay within ten seconds, so what does
 * not last that long is not worth one. */
#define DWELL_MASK_NS (UINT64_C(10) * NSEC_PER_SEC)
/* Below this (measures: a tie) nothing repays a mask change. */
#define MASK_MIN_SAVING_W 1.0
/* As long as the longest window over which a fall is detected (16 intervals of 0.5 s). */
#define SETTLE_NS (UINT64_C(8) * NSEC_PER_SEC)
/* PACER_CHANGES within it are enough. */
#define CHANGES_PERIOD_NS (UINT64_C(60) * NSEC_PER_SEC)
/* Long enough to drain any queue that the SLO allows at B. */
#define BOOST_HOLD_NS (UINT64_C(2) * NSEC_PER_SEC)
/* A second boost within a minute is hardly chance: its cause gets time to pass. */
#define BOOST_AGAIN_NS	    (UINT64_C(60) * NSEC_PER_SEC)
#define BOOST_HOLD_AGAIN_NS (UINT64_C(30) * NSEC_PER_SEC)
/* What was in danger at a row is likely to be again: within the SLO's quantile a table may promise
 * one late request in twenty, and each costs two changes. */
#define MARGIN_NS  (UINT64_C(120) * NSEC_PER_SEC)
#define MARGIN_MAX 4

void pacer_init(struct pacer *p)
{
	*p = (struct pacer){.row = PACER_ROW_BASELINE};
}

void pacer_expect_change(struct pacer *p, uint64_t now_ns)
{
	p->settled_ns = now_ns + SETTLE_NS;
	p->quick = true;
	/* Changes before it belong to another load. */
	p->n_changes = 0;
	/* What was wanted before the change says nothing about what will be. */
	p->peak = 0;
}

static void take(struct pacer *p, const struct response_table *t, uint64_t now_ns, uint32_t row)
{
	bool change = p->started && !planner_same(t, row, p->row);

	p->started = true;
	p->row = row;
	p->waiting = p->boosting = false;
	/* While an estimate settles, its changes are the load's. */
	if (!change || now_ns < p->settled_ns)
		return;
	memmove(p->change_ns + 1, p->change_ns, sizeof(p->change_ns) - sizeof(p->change_ns[0]));
	p->change_ns[0] = now_ns;
	p->n_changes = MIN(p->n_changes + 1, (uint32_t)PACER_CHANGES);
}

static bool may_fall(const struct pacer *p, uint64_t now_ns)
{
	if (p->boosting && now_ns < p->boost_until_ns)
		return false;
	return p->quick || p->n_changes < PACER_CHANGES ||
	       now_ns - p->change_ns[PACER_CHANGES - 1] >= CHANGES_PERIOD_NS;
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
static uint64_t dwell_ns(const struct pacer *p, const struct response_table *t)
{
	const struct table_row *present = planner_row(t, p->row), *lower = planner_row(t, p->peak);
	uint64_t dwell = p->boosting || p->quick ? DWELL_QUICK_NS : DWELL_SLOW_NS;

	if (cu_shape_equal(present->shape, lower->shape))
		return dwell;
	/* From B the clock falls too, and its power at that rate is not in the table. */
	if (p->row != PACER_ROW_BASELINE && saving_w(t, present, lower) < MASK_MIN_SAVING_W)
		return UINT64_MAX;
	return MAX(dwell, DWELL_MASK_NS);
}

/* row, raised by n configurations. Nothing needs a margin at idle. */
static uint32_t raised(const struct response_table *t, uint32_t row, uint32_t n)
{
	for (; n > 0 && row > 0 && row < t->n_rows; n--) {
		uint32_t from = row;

		while (row < t->n_rows && planner_same(t, row, from))
			row++;
	}
	return row < t->n_rows ? row : PACER_ROW_BASELINE;
}

static void follow(struct pacer *p, const struct response_table *t, uint64_t now_ns, uint32_t want)
{
	if (!p->started || want >= p->row || planner_same(t, want, p->row)) {
		take(p, t, now_ns, want);
	} else if (!p->waiting) {
		p->waiting = true;
		p->waiting_ns = now_ns;
		p->quick = now_ns < p->settled_ns;
		p->peak = want;
	} else {
		p->peak = MAX(p->peak, want);
	}
}

uint32_t pacer_step(struct pacer *p, const struct response_table *t, uint64_t now_ns, uint32_t want,
		    bool *ret_dwelling)
{
	uint32_t target = want;

	if (now_ns < p->margin_until_ns)
		target = raised(t, want, p->margin);
	else
		p->margin = 0;
	follow(p, t, now_ns, target);
	if (p->waiting && may_fall(p, now_ns) && now_ns - p->waiting_ns >= dwell_ns(p, t))
		take(p, t, now_ns, p->peak);
	*ret_dwelling = p->row > want && !planner_same(t, want, p->row);
	return p->row;
}

void pacer_force_baseline(struct pacer *p, uint64_t now_ns)
{
	p->started = true;
	p->row = PACER_ROW_BASELINE;
	p->boosting = false;
	pacer_expect_change(p, now_ns);
}

void pacer_boost(struct pacer *p, const struct response_table *t, uint64_t now_ns, uint32_t want)
{
	uint64_t hold_ns = BOOST_HOLD_NS;

	if (p->started && p->row < t->n_rows && want <= p->row) {
		if (p->boosted && now_ns - p->boosted_ns < BOOST_AGAIN_NS)
			hold_ns = BOOST_HOLD_AGAIN_NS;
		p->margin = MIN(p->margin + 1, (uint32_t)MARGIN_MAX);
		p->margin_until_ns = now_ns + MARGIN_NS;
		p->boosted = true;
		p->boosted_ns = now_ns;
	}
	take(p, t, now_ns, PACER_ROW_BASELINE);
	p->boost_until_ns = MAX(p->boost_until_ns, now_ns + hold_ns);
	p->boosting = true;
}
