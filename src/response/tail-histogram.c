/* SPDX-License-Identifier: Apache-2.0 */
#include "response/tail-histogram.h"
#include <math.h>

#define BEYOND_NS 1e17f

struct position {
	uint32_t bin, below;
};

static float bin_start(const struct tail_histogram *h, uint32_t bin)
{
	uint32_t bits = (h->first + bin) << TAIL_BIN_SHIFT;
	float x;

	memcpy(&x, &bits, sizeof(x));
	return x;
}

/* From where the last, smaller one was found. */
static float value_from(const struct tail_histogram *h, uint32_t rank, struct position *p)
{
	float low, part;

	while (p->bin < TAIL_BINS - 1 && p->below + h->count[p->bin] <= rank)
		p->below += h->count[p->bin++];
	if (p->bin == TAIL_BINS - 1)
		return BEYOND_NS;
	low = bin_start(h, p->bin);
	part = ((float)(rank - p->below) + 0.5f) / h->count[p->bin];
	return low + part * (bin_start(h, p->bin + 1) - low);
}

void tail_histogram_start(struct tail_histogram *h, double median_service_ns)
{
	float lowest_ns = (float)(median_service_ns / 4);

	memset(h, 0, sizeof(*h));
	memcpy(&h->first, &lowest_ns, sizeof(h->first));
	h->first >>= TAIL_BIN_SHIFT;
}

void tail_histogram_add_all(struct tail_histogram *h, const float *sojourn_ns, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		tail_histogram_add(h, sojourn_ns[i]);
}

double tail_histogram_value(const struct tail_histogram *h, uint32_t rank)
{
	return (double)value_from(h, rank, &(struct position){0});
}

void tail_histogram_survival(const struct tail_histogram *h, uint32_t n, struct tail_survival *ret)
{
	struct position p = {0};

	for (int i = 0; i < TAIL_SHARES; i++)
		ret->ns[i] = value_from(h, n - (uint32_t)lround(tail_shares[i] * n), &p);
}
