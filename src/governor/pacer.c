/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/pacer.h"
#include "base/macros.h"
#include "base/units.h"
#include "governor/planner.h"
#include <string.h>

/* Where demand moves a lower row is taken once it would have saved so much. */
#define DWELL_MOVING_J 3.0
#define DWELL_MIN_W    2.0
/* What chance made a change of goes on falling for a while: one step goes where several would. */
#define DWELL_SETTLE_NS (UINT64_C(4) * NSEC_PER_SEC)
/* Two falls a minute by chance, and the rises between them, stay within four changes a minute. */
#define DWELL_STEADY_NS (UINT64_C(30) * NSEC_PER_SEC)
/* A mask change stalls the card for some 55 us, some 10 mJ: repaid within the least dwell. */
#define MASK_MIN_SAVING_W 0.01
/* As long as the longest window over which a fall is detected (16 intervals of 0.5 s). */
#define SETTLE_NS (UINT64_C(8) * NSEC_PER_SEC)
/* Long enough for the first counts to be more than one. */
#define DOUBT_NS	  (UINT64_C(2) * NSEC_PER_SEC)
#define CHANGES_PERIOD_NS (UINT64_C(60) * NSEC_PER_SEC)

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

void pacer_end_doubt(struct pacer *p, uint64_t now_ns)
{
	pacer_expect_change(p, now_ns);
	p->held_ns = now_ns + DOUBT_NS;
}

static void count_change(struct pacer *p, uint64_t now_ns)
{
	/* While an estimate settles, its changes are the load's. */
	if (now_ns < p->settled_ns)
		return;
	memmove(p->change_ns + 1, p->change_ns, sizeof(p->change_ns) - sizeof(p->change_ns[0]));
	p->change_ns[0] = now_ns;
	p->n_changes = MIN(p->n_changes + 1, (uint32_t)PACER_CHANGES);
}

static bool is_same(const struct pacer *p, const struct response_table *t, uint32_t a, uint32_t b)
{
	return !p->together && planner_same(t, a, b);
}

static void take(struct pacer *p, const struct response_table *t, uint64_t now_ns, uint32_t row)
{
	/* Under a boost nobody sees it. */
	bool change = p->started && !p->boosting && !p->together && !planner_same(t, row, p->row);

	p->started = true;
	p->row = row;
	p->waiting = false;
	if (change)
		count_change(p, now_ns);
}

static uint32_t recent_changes(const struct pacer *p, uint64_t now_ns)
{
	uint32_t n = 0;

	while (n < p->n_changes && now_ns - p->change_ns[n] < CHANGES_PERIOD_NS)
		n++;
	return n;
}

static bool may_fall(const struct pacer *p, uint64_t now_ns)
{
	if (now_ns < p->held_ns)
		return false;
	return p->quick || !p->steady || recent_changes(p, now_ns) + 3 <= PACER_CHANGES;
}

/* The power of the present configuration at the lower row's rate, less that row's. Power falls
 * with the utilisation towards idle; the table has the idle power at the highest limit alone. */
static double saving_w(const struct response_table *t, const struct table_row *present,
		       const struct table_row *lower)
{
	double share = present->rate_rps > 0 ? lower->rate_rps / present->rate_rps : 0;

	return t->idle_power_w + share * (present->power_w - t->idle_power_w) - lower->power_w;
}

/* How long the lower row must have been wanted; UINT64_MAX if it is not worth the change. A mask
 * change preempts every queue on the card. */
static uint64_t dwell_ns(const struct pacer *p, const struct response_table *t)
{
	const struct table_row *present = planner_row(t, p->row), *lower = planner_row(t, p->peak);
	double saving = saving_w(t, present, lower);

	if (!p->together && !cu_shape_equal(present->shape, lower->shape) &&
	    saving < MASK_MIN_SAVING_W)
		return UINT64_MAX;
	if (p->steady)
		return p->quick ? DWELL_SETTLE_NS : DWELL_STEADY_NS;
	return (uint64_t)(DWELL_MOVING_J / MAX(saving, DWELL_MIN_W) * (double)NSEC_PER_SEC);
}

static void follow(struct pacer *p, const struct response_table *t, uint64_t now_ns, uint32_t want)
{
	if (!p->started || want >= p->row || is_same(p, t, want, p->row)) {
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
	follow(p, t, now_ns, want);
	if (p->waiting && may_fall(p, now_ns) && now_ns - p->waiting_ns >= dwell_ns(p, t))
		take(p, t, now_ns, p->peak);
	*ret_dwelling = p->row > want && !is_same(p, t, want, p->row);
	return p->row;
}

void pacer_force_baseline(struct pacer *p, uint64_t now_ns)
{
	p->started = true;
	p->row = PACER_ROW_BASELINE;
	p->boosting = false;
	pacer_expect_change(p, now_ns);
}

void pacer_add_change(struct pacer *p, uint64_t now_ns)
{
	if (p->started && !p->boosting)
		count_change(p, now_ns);
}

bool pacer_may_boost(const struct pacer *p, uint64_t now_ns)
{
	return !p->steady || recent_changes(p, now_ns) + 3 <= PACER_CHANGES;
}

void pacer_boost(struct pacer *p, uint64_t now_ns, bool on)
{
	if (p->boosting != on)
		count_change(p, now_ns);
	p->boosting = on;
}
