/* SPDX-License-Identifier: Apache-2.0 */
/* How long after a higher clock has been ordered services are really faster, measured from the
 * services themselves. No sensor says it, and on one card it is 1 ms, on another 200.
 *
 *	services   |--slow--|--slow--|-slow|fast-|-fast-|
 *	           ^ ordered            ^ in force
 *	           |<-- switch time -->|
 *
 * While a boost lasts there is always work, so what n executions after the order took is
 *
 *	busy = old + new,   n = old / slow + new / fast,   old = (busy - n fast) / (1 - fast / slow)
 *
 * with slow and fast the service times before and after, and old the time spent at the old speed.
 * It is summed up to where two executions in a row were rather fast than slow: later ones know
 * nothing of it. A boost that ends before was shorter than the switch time, and says that much. The
 * estimate is the median of the last ones, with these counted as what they are (Kaplan and Meier):
 * where boosts end before they are felt, the estimate says at least how long they were.
 *
 * What comes at once counts as arrived: where a boost also lifts a mask, the time is less than the
 * clock's own. Reports that contradict time itself are dropped, and no estimate is above a second.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SWITCH_TIME_SAMPLES    15
#define SWITCH_TIME_LEAST      3 /* samples, before it is known */
#define SWITCH_TIME_DEFAULT_NS 5e6
#define SWITCH_TIME_MAX_NS     1e9

struct switch_sample {
	double ns;
	bool at_least;
};

struct switch_time {
	/* since the order that is being watched */
	bool watching, felt;
	uint64_t lowered_ns; /* after one that was felt a lower clock was ordered; 0: never */
	uint64_t ordered_ns, seen_ns; /* seen: what had ended by then has been told */
	double slow_ns, fast_ns;
	double before_ns;		 /* that the execution under way had run, on average */
	double busy_ns, executions;	 /* up to the last two executions or more */
	double last_ns, last_executions; /* since then */

	uint32_t n, next;
	struct switch_sample samples[SWITCH_TIME_SAMPLES];
};

void switch_time_init(struct switch_time *s);
/* A higher clock is ordered now; service times are the card's. Ignored where these are too close
 * to tell apart, and soon after one that was felt, as the lower clock may not be in force yet.
 * prompt: as an execution began; else in the midst of one. */
void switch_time_order(struct switch_time *s, uint64_t now_ns, double slow_ns, double fast_ns,
		       bool prompt);
/* What has ended in the next interval. */
void switch_time_executions(struct switch_time *s, uint64_t now_ns, uint64_t interval_ns,
			    uint64_t busy_ns, uint64_t executions);
/* A lower clock is ordered. */
void switch_time_end(struct switch_time *s, uint64_t now_ns);
/* From here on services tell nothing: until then it had not come. */
void switch_time_stop(struct switch_time *s);
/* Something else has changed: the watch has come to nothing. */
void switch_time_drop(struct switch_time *s);
bool switch_time_known(const struct switch_time *s);
/* The default while it is not known. */
double switch_time_ns(const struct switch_time *s);
