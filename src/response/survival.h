/* SPDX-License-Identifier: Apache-2.0 */
/* Which share of a configuration's requests outlives a latency: a distribution of sojourns, kept by
 * the latencies that certain shares of them exceed. The tail of a queue falls off exponentially, so
 * between two of them the logarithm of the share is taken to be straight. */
#pragma once

#include <stdint.h>
#include <string.h>

#define TAIL_SHARES 10
extern const double tail_shares[TAIL_SHARES]; /* 0.5 ... 0.0005 */

struct tail_survival {
	float ns[TAIL_SHARES]; /* the latency that tail_shares[i] of the requests exceed; ascending
				*/
};

/* The same in less room, from 0.26 us to 18 min: a float's exponent and the first bits of its
 * mantissa, which is within 0.03 %. */
struct tail_packed {
	uint16_t at[TAIL_SHARES];
};
#define TAIL_PACKED_SHIFT 12
#define TAIL_PACKED_FROM  UINT32_C(0x43800000) /* 256 */

void tail_pack(const struct tail_survival *s, struct tail_packed *ret);

static inline void tail_unpack(const struct tail_packed *p, struct tail_survival *ret)
{
	uint32_t bits[TAIL_SHARES];

	for (int i = 0; i < TAIL_SHARES; i++)
		bits[i] = TAIL_PACKED_FROM + ((uint32_t)p->at[i] << TAIL_PACKED_SHIFT);
	memcpy(ret->ns, bits, sizeof(bits));
}

/* The share of requests that take longer than limit_ns, 0 .. 1. Beyond the last share it goes on as
 * between the last two. */
double tail_late(const struct tail_survival *s, double limit_ns);
/* The other way round: the latency that a share of the requests exceeds. */
double tail_latency_ns(const struct tail_survival *s, double share);
