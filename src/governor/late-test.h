/* SPDX-License-Identifier: Apache-2.0 */
/* A sequential test on late counts: whether more is late than is planned for, whatever the reason
 * (bursts that no estimate of demand shows, a profile that is wrong otherwise than by a factor).
 *
 *	log likelihood of "as late as the SLO's percentile allows"
 *	over that of "as late as planned", a fifth of it
 *	      |- - - - - - - - - -.- - - - - -   surely too late: planned for a tenth more
 *	      |              . . |
 *	    0 |. .  . .  . .     |o
 *	      |    .                 . .
 *	      |- - - - - - - - - - - - - - . -   surely not: a tenth less again
 *
 * Requests are late together, as one queue makes them, so that forty of them count as one: with
 * fewer a burst now and then passes for a plan that is wrong. Nothing is planned for beyond three
 * tenths more, and where that does not help either, lateness is none of the demand's: nothing is
 * added then until it has been surely little.
 *
 * Late counts cost energy, so they have to be borne out by the latencies that the same worker
 * counts; of one that contradicts itself again and again they count no more, until the last of
 * the model's workers has left. */
#pragma once

#include "governor/governor.h"

#define LATE_TEST_STEPS_MAX 3

struct late_test {
	double sum;
	uint32_t steps, in_vain;
	uint64_t late,
		completions; /* of looks since the last poll, whose latencies are not known */
	uint32_t doubts;
	bool useless, disbelieved;
};

void late_test_init(struct late_test *l);
/* Whoever was doubted has left. */
void late_test_forgive(struct late_test *l);
/* An interval of the plan's own: what was decided for another reason says nothing about it. One
 * that ended early may come without latencies; those of the poll stand for it. */
void late_test_update(struct late_test *l, const struct governor_model_input *in, bool early,
		      uint64_t slo_ns, uint32_t percentile);
/* A poll that says nothing of the plan: its latencies were those of the looks before it, and those
 * of a later one would contradict what is true. */
void late_test_pass(struct late_test *l);
/* How many times the demand is to be planned for: 1 to 1.3. */
double late_test_raise(const struct late_test *l);
