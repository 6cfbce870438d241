/* SPDX-License-Identifier: Apache-2.0 */
/* Up at once, down slowly. Holds one model's row of the table: a higher row is taken in the same
 * step, a lower one only after it (and nothing above it) has been wanted for a dwell time. How long
 * that is depends on why: after a change of demand that chance does not explain, or after a doubt
 * has cleared, it is short; for the wandering of an estimate at constant load it is long, which is
 * what keeps the changes per minute few. Rows with the same configuration cost nothing to move
 * between. */
#pragma once

#include "response/table.h"
#include <stdbool.h>
#include <stdint.h>

/* Stands for the baseline configuration B: above all rows. */
#define PACER_ROW_BASELINE UINT32_MAX

struct pacer {
	bool started;
	uint32_t row;
	bool waiting;	     /* a lower row has been wanted since: */
	uint64_t waiting_ns; /* monotonic time */
	uint32_t peak;	     /* the highest wanted since then */
	bool quick;	     /* until quick_until_ns the short dwell is enough */
	uint64_t quick_until_ns;
	bool boosted;
	uint64_t boost_hold_ns, boost_until_ns;
};

void pacer_init(struct pacer *p);
/* A real change of demand, or the end of a doubt: what is wanted now may be taken soon. */
void pacer_expect_change(struct pacer *p, uint64_t now_ns);
/* The row to run, given the row wanted. Sets *ret_dwelling if it is higher than wanted. */
uint32_t pacer_step(struct pacer *p, const struct response_table *t, uint64_t now_ns, uint32_t want,
		    bool *ret_dwelling);
/* B for now, by the guard: queued requests are in danger. Repeated boosts hold B longer. */
void pacer_boost(struct pacer *p, uint64_t now_ns);
/* B for now, for another reason than demand. */
void pacer_force_baseline(struct pacer *p, uint64_t now_ns);
