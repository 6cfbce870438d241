/* SPDX-License-Identifier: Apache-2.0 */
#include "response/survival.h"
#include <math.h>

const double tail_shares[TAIL_SHARES] = {0.5,  0.2,   0.1,   0.05,  0.02,
					 0.01, 0.005, 0.002, 0.001, 0.0005};

/* Of the logarithm, from each share to the next. */
static const double steps[TAIL_SHARES - 1] = {
	-0.916290731874155,  -0.6931471805599453, -0.6931471805599453,
	-0.9162907318741551, -0.6931471805599453, -0.6931471805599453,
	-0.916290731874155,  -0.6931471805599453, -0.6931471805599453,
};

/* On the straight line through points i and i + 1. */
static double on_line(const struct tail_survival *s, int i, double limit_ns)
{
	double length = s->ns[i + 1] - (double)s->ns[i];

	/* Nothing lies between them: what takes longer than both is not known to exist. */
	if (length <= 0)
		return 0;
	return tail_shares[i] * exp(steps[i] * (limit_ns - s->ns[i]) / length);
}

double tail_late(const struct tail_survival *s, double limit_ns)
{
	int i = 0;

	if (limit_ns < s->ns[0])
		return limit_ns > 0 ? 1 - (1 - tail_shares[0]) * limit_ns / s->ns[0] : 1;
	while (i < TAIL_SHARES - 2 && limit_ns >= s->ns[i + 1])
		i++;
	return on_line(s, i, limit_ns);
}

double tail_latency_ns(const struct tail_survival *s, double share)
{
	int i = 0;
	double part;

	if (share >= tail_shares[0])
		return s->ns[0] * (1 - share) / (1 - tail_shares[0]);
	while (i < TAIL_SHARES - 2 && share <= tail_shares[i + 1])
		i++;
	part = log(share / tail_shares[i]) / log(tail_shares[i + 1] / tail_shares[i]);
	return s->ns[i] + part * ((double)s->ns[i + 1] - s->ns[i]);
}

void tail_pack(const struct tail_survival *s, struct tail_packed *ret)
{
	for (int i = 0; i < TAIL_SHARES; i++) {
		uint32_t bits, half = UINT32_C(1) << (TAIL_PACKED_SHIFT - 1);

		memcpy(&bits, &s->ns[i], sizeof(bits));
		/* Not for NaN and what is less than nothing: sojourns are neither. */
		bits = bits > TAIL_PACKED_FROM
			       ? (bits - TAIL_PACKED_FROM + half) >> TAIL_PACKED_SHIFT
			       : 0;
		ret->at[i] = (uint16_t)(bits < UINT16_MAX ? bits : UINT16_MAX);
	}
}
