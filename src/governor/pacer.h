/* SPDX-License-Identifier: Apache-2.0 */
/* Up at once, down slowly. Holds one model's row of the table: a higher row is taken in the same
 * step, a lower one only after it (and nothing above it) has been wanted for a dwell time. How long
 * that is depends on the load. Where demand moves, it is the shorter the more going down saves.
 * Where demand is constant, what is wanted is the wandering of an estimate, and the dwell is long,
 * which is what keeps the changes per minute few: going down waits while there were two within a
 * minute, so that with two rises that may follow there are four, and so does a boost, which is two
 * changes. What a row is late without boosts has been planned for. Rows with the same
 * configuration cost nothing to move between. */
#pragma once

#include "response/table.h"
#include <stdbool.h>
#include <stdint.h>

/* Stands for the baseline configuration B: above all rows. */
#define PACER_ROW_BASELINE UINT32_MAX

#define PACER_CHANGES 4

struct pacer {
	bool started;
	uint32_t row;
	/* A lower row has been wanted since waiting_ns, and none above peak; quick: the short
	 * dwell is enough for it. */
	bool waiting, quick;
	uint64_t waiting_ns;
	uint32_t peak;
	uint64_t settled_ns; /* until then the estimate settles after a change */
	uint64_t held_ns;    /* nothing falls until then */
	bool steady;	     /* demand is constant; told by the owner */
	/* Planned for with other models, told by the owner: the same configuration of the table may
	 * be another one of the plan, which is what changes by pacer_add_change(). */
	bool together;
	uint32_t n_changes;
	uint64_t change_ns[PACER_CHANGES]; /* the last ones, newest first */
	bool boosting;			   /* B is in force on top of the row */
};

void pacer_init(struct pacer *p);
/* Demand has changed, or a doubt about it has ended: what is wanted from now on may be taken soon,
 * and as often as it takes until the estimate has settled. */
void pacer_expect_change(struct pacer *p, uint64_t now_ns);
/* Likewise, but what a doubt has raised stays for two seconds. */
void pacer_end_doubt(struct pacer *p, uint64_t now_ns);
/* The row to run, given the row wanted. Sets *ret_dwelling if it is higher than wanted. */
uint32_t pacer_step(struct pacer *p, const struct response_table *t, uint64_t now_ns, uint32_t want,
		    bool *ret_dwelling);
/* B is in force on top of the row, or no more. */
bool pacer_may_boost(const struct pacer *p, uint64_t now_ns);
void pacer_boost(struct pacer *p, uint64_t now_ns, bool on);
/* The row's configuration has become another one, or what is planned for all models together. */
void pacer_add_change(struct pacer *p, uint64_t now_ns);
/* B for now, for another reason than demand. */
void pacer_force_baseline(struct pacer *p, uint64_t now_ns);
