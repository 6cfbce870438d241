/* SPDX-License-Identifier: Apache-2.0 */
/* Boosts: B on top of the row that the pacer holds, for as long as a queue needs it.
 *
 *	row of the pacer  ----------------------------------------------
 *	wait at a start         ^ too long: the worker wakes the daemon
 *	in force          ------+BBBBBBBBBBBB+--------------------------
 *	waiting                  1 2 1 1 0  |0
 *	                                 `--' two service times
 *
 * It begins with the worker's wake or when the oldest request is in danger, ten times a second at
 * most, and ends when nothing has waited for two service times; until then the governor is asked
 * again every service time or so. Where the worker does not report starts, it ends two service
 * times after as many requests have ended as were there when it began.
 *
 * Whoever wakes costs energy, so a wake has to be borne out by what the same worker counts: that
 * something started, and that the time waited was spent on executing. Of one that contradicts
 * itself again and again wakes count no more, until the last of the model's workers has left. */
#pragma once

#include "governor/governor.h"

struct boost {
	bool on;
	uint64_t began_ns; /* the last one; 0: none yet */
	uint64_t empty_ns; /* since when nothing waits; 0: something does */
	uint64_t behind;   /* requests of then that have not ended; only where starts are unknown */
	uint64_t busy_ns;  /* executed since the last wake */
	uint32_t doubts;
	bool woke; /* a wake has been seen */
	bool disbelieved;
};

struct boost_view {
	const struct governor_model_input *in;
	uint64_t now_ns, interval_ns;
	uint64_t wait_ns;      /* from which the worker wakes; UINT64_MAX: no boost is of use */
	double service_ns;     /* at full speed */
	double row_service_ns; /* of the row underneath */
	bool danger;	       /* by the age of the oldest request */
	bool may_begin;
};

void boost_init(struct boost *b);
/* Whoever was doubted has left. */
void boost_forgive(struct boost *b);
/* true while B is wanted. Where it is, *ret_again_ns is when to ask again; UINT64_MAX: the next
 * poll. */
bool boost_step(struct boost *b, const struct boost_view *v, uint64_t *ret_again_ns);
