/* SPDX-License-Identifier: Apache-2.0 */
/* Poisson arrivals at the rate of a load curve, by rescaling time: request i comes when the
 * integral of the rate reaches the sum of the first i+1 exponential variates. A pure function of
 * (seed, curve, rate), so paired runs see the same arrivals whatever happens to the requests. */
#pragma once

#include "load/load-curve.h"
#include <stdbool.h>
#include <stdint.h>

struct arrivals {
	const struct load_curve *curve; /* borrowed */
	uint64_t seed;
	double rated_rps;   /* rate at load 1 */
	double compression; /* the curve is played this many times faster */
	uint64_t end_ns;    /* no arrival from here on */
	/* where the walk stands */
	uint64_t number; /* of the next request */
	uint32_t segment;
	double area; /* expected arrivals up to the start of the segment */
	double sum;  /* of the variates so far */
};

/* curve must outlive the result. duration_ns: earliest end, 0 for the curve's own. */
struct arrivals arrivals_make(const struct load_curve *curve, uint64_t seed, double rated_rps,
			      double compression, uint64_t duration_ns);
/* The next request's offset from the start of the run. Returns false at the end. */
bool arrivals_next(struct arrivals *a, uint64_t *ret_offset_ns);
