/* SPDX-License-Identifier: Apache-2.0 */
/* Sojourns counted in bins, which is much faster than to put them in order. Bins are those of the
 * floats themselves: an octave has 128 by the mantissa's highest bits, and values are straight
 * inside one. The lowest is a quarter of the median service, of which no share that matters is
 * below; what is beyond the highest, a thousand times as much, counts as beyond everything. */
#pragma once

#include "response/survival.h"
#include <stdint.h>
#include <string.h>

#define TAIL_BIN_SHIFT 16
#define TAIL_BINS      (12 << (23 - TAIL_BIN_SHIFT))

struct tail_histogram {
	uint32_t first; /* bin, as a float's highest bits */
	uint16_t count[TAIL_BINS];
};

/* Of a float's bits, if it is not negative. */
static inline int32_t tail_histogram_bin(uint32_t first, int32_t bits)
{
	int32_t bin = (bits >> TAIL_BIN_SHIFT) - (int32_t)first;

	bin = bin > 0 ? bin : 0;
	return bin < TAIL_BINS - 1 ? bin : TAIL_BINS - 1;
}

static inline void tail_histogram_add(struct tail_histogram *h, float sojourn_ns)
{
	int32_t bits;

	memcpy(&bits, &sojourn_ns, sizeof(bits));
	h->count[tail_histogram_bin(h->first, bits)]++;
}

void tail_histogram_start(struct tail_histogram *h, double median_service_ns);
void tail_histogram_add_all(struct tail_histogram *h, const float *sojourn_ns, uint32_t n);
/* Of n values: the latency that so many of them do not exceed, and the survival curve. */
double tail_histogram_value(const struct tail_histogram *h, uint32_t rank);
void tail_histogram_survival(const struct tail_histogram *h, uint32_t n, struct tail_survival *ret);
