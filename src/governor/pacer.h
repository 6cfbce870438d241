/* SPDX-License-Identifier: Apache-2.0 */
/* Up at once, down slowly. Holds one model's row of the table: a higher row is taken in the same
 * step, a lower one only after it (and nothing above it) has been wanted for a dwell time. How long
 * that is depends on why: after a change of demand that chance does not explain, or after a doubt
 * has cleared, it is short; for the wandering of an estimate at constant load it is long, which is
 * what keeps the changes per minute few. At constant load going down is also what has to wait when
 * there were three changes within a minute, so that with the rise that may follow there are four.
 * Rows with the same configuration cost nothing to move between. */
#pragma once

#include "response/table.h"
#include <stdbool.h>
#include <stdint.h>

/* Stands for the baseline configuration B: above all rows. */
#define PACER_ROW_BASELINE UINT32_MAX

#define PACER_CHANGES 3

struct pacer {
	bool started;
	uint32_t row;
	/* A lower row has been wanted since waiting_ns, and none above peak; quick: the short
	 * dwell is enough for it. */
	bool waiting, quick;
	uint64_t waiting_ns;
	uint32_t peak;
	uint64_t settled_ns; /* until then the estimate settles after a change */
	uint32_t n_changes;
	uint64_t change_ns[PACER_CHANGES]; /* the last ones, newest first */
	bool boosting;			   /* B is in force because of a boost */
	uint64_t boost_until_ns;
	bool boosted; /* there was a boost that was the row's fault, at: */
	uint64_t boosted_ns;
	uint32_t margin; /* configurations above the row wanted, until margin_until_ns */
	uint64_t margin_until_ns;
};

void pacer_init(struct pacer *p);
/* Demand has changed, or a doubt about it has ended: what is wanted from now on may be taken soon,
 * and as often as it takes until the estimate has settled. */
void pacer_expect_change(struct pacer *p, uint64_t now_ns);
/* The row to run, given the row wanted. Sets *ret_dwelling if it is higher than wanted. */
uint32_t pacer_step(struct pacer *p, const struct response_table *t, uint64_t now_ns, uint32_t want,
		    bool *ret_dwelling);
/* B for now, by the guard: queued requests are in danger. For some time after, each row wanted is
 * raised by one configuration, and once more for each boost that follows all the same; but not if a
 * higher row is wanted anyway, because then the rise has filled the queue and not the row. */
void pacer_boost(struct pacer *p, const struct response_table *t, uint64_t now_ns, uint32_t want);
/* B for now, for another reason than demand. */
void pacer_force_baseline(struct pacer *p, uint64_t now_ns);
