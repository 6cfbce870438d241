/* SPDX-License-Identifier: Apache-2.0 */
/* Which share of a configuration's requests outlives a latency: a distribution of sojourns, kept by
 * the latencies that certain shares of them exceed. The tail of a queue falls off exponentially, so
 * between two of them the logarithm of the share is taken to be straight. */
#pragma once

#define TAIL_SHARES 10
extern const double tail_shares[TAIL_SHARES]; /* 0.5 ... 0.0005 */

struct tail_survival {
	float ns[TAIL_SHARES]; /* the latency that tail_shares[i] of the requests exceed; ascending
				*/
};

/* The share of requests that take longer than limit_ns, 0 .. 1. Beyond the last share it goes on as
 * between the last two. */
double tail_late(const struct tail_survival *s, double limit_ns);
/* The other way round: the latency that a share of the requests exceeds. */
double tail_latency_ns(const struct tail_survival *s, double share);
