/* SPDX-License-Identifier: Apache-2.0 */
/* One cell at several rates at once. A queue is a chain of additions that each wait for the one
 * before, so several side by side take hardly longer than one; and a histogram is filled much
 * faster than values are put in order. Sojourns follow from each other in single precision: they
 * start anew with each busy period, so nothing adds up. */
#include "response/tail-histogram.h"
#include "response/tail.h"
#include <math.h>
#include <string.h>

#define ALL  (TAIL_REPLICATIONS * TAIL_REQUESTS)
#define HALF (TAIL_LANES / 2)
/* Requests that are served before they are counted: near a processor they have room with the
 * histograms. */
#define BLOCK (TAIL_REQUESTS / 5)

_Static_assert(TAIL_REQUESTS <= TAIL_WARM_UP, "a replication finds room");
_Static_assert(ALL <= UINT16_MAX, "a bin holds them all");
_Static_assert(TAIL_BOUNDS == HALF, "each has a lane as measured and one as measured again");

typedef float half_of_lanes __attribute__((vector_size(HALF * sizeof(float))));
typedef int32_t half_of_masks __attribute__((vector_size(HALF * sizeof(int32_t))));

struct lanes {
	struct tail_lab *lab;
	const struct surface_cell *cell;
	bool used[TAIL_LANES];
	half_of_lanes unit_ns[2];
	/* Of a single one: what the last request waited, and its service. */
	half_of_lanes wait_ns[2];
	float service_ns[2];
	struct servers servers[TAIL_LANES];
};

static bool is_single(const struct surface_cell *c)
{
	return c->workers <= 1 && c->batch == 1;
}

void tail_take_cell(struct tail_lab *lab, const struct surface_cell *c)
{
	lab->cell = c;
	for (uint32_t i = 0; is_single(c) && i < TAIL_DRAWS; i++)
		lab->service_ns[i] = quantile_at(c->service_ns, lab->service[i]);
}

static void start(struct tail_lab *lab, struct lanes *ret)
{
	*ret = (struct lanes){.lab = lab, .cell = lab->cell};
}

static void use_lane(struct lanes *l, uint32_t lane, double rate_rps)
{
	l->used[lane] = true;
	l->unit_ns[lane / HALF][lane % HALF] = (float)(1e9 / rate_rps);
	l->servers[lane].n = CLAMP(l->cell->workers, 1u, (uint32_t)SURFACE_MAX_WORKERS);
}

static inline half_of_lanes positive(half_of_lanes x)
{
	return (half_of_lanes)((half_of_masks)x & (x > 0));
}

/* All lanes: those that are not used serve along, which costs nothing. From one wait to the next
 * the way is kept as short as it can be. */
static inline void serve_singly(struct lanes *l, const float *upper, uint32_t from, uint32_t end)
{
	half_of_lanes a = l->wait_ns[0], b = l->wait_ns[1];
	const half_of_lanes unit_a = l->unit_ns[0], unit_b = l->unit_ns[1];
	float service_ns = l->service_ns[0], upper_ns = l->service_ns[1];
	const float *gap = l->lab->gap, *position = l->lab->service, *own = l->lab->service_ns;
	float(*lanes)[TAIL_LANES] = l->lab->lanes;

	for (uint32_t i = from; i < end; i++) {
		half_of_lanes rest_a = service_ns - gap[i] * unit_a;
		half_of_lanes rest_b = upper_ns - gap[i] * unit_b;
		half_of_lanes sojourn_a, sojourn_b;

		service_ns = own[i];
		upper_ns = upper ? quantile_at(upper, position[i]) : service_ns;
		a = positive(a + rest_a);
		b = positive(b + rest_b);
		sojourn_a = a + service_ns;
		sojourn_b = b + upper_ns;
		memcpy(&lanes[i - from][0], &sojourn_a, sizeof(sojourn_a));
		memcpy(&lanes[i - from][HALF], &sojourn_b, sizeof(sojourn_b));
	}
	l->wait_ns[0] = a;
	l->wait_ns[1] = b;
	l->service_ns[0] = service_ns;
	l->service_ns[1] = upper_ns;
}

/* Requests from .. end, to the lab's lanes. The upper half of these may have quantiles of its own;
 * NULL: all have the same. */
static void serve(struct lanes *l, const float *upper, uint32_t from, uint32_t end)
{
	float *sojourn = l->lab->sojourn;

	if (is_single(l->cell) && upper) {
		serve_singly(l, upper, from, end);
		return;
	}
	if (is_single(l->cell)) {
		serve_singly(l, NULL, from, end);
		return;
	}
	for (uint32_t k = 0; k < TAIL_LANES; k++) {
		if (!l->used[k])
			continue;
		tail_serve(l->lab, &l->servers[k], upper && k >= HALF ? upper : l->cell->service_ns,
			   l->cell->batch, (double)l->unit_ns[k / HALF][k % HALF], from, end,
			   sojourn);
		for (uint32_t i = 0; i < end - from; i++)
			l->lab->lanes[i][k] = sojourn[i];
	}
}

static void count_one(const struct tail_lab *lab, struct tail_histogram *h)
{
	for (uint32_t i = 0; i < BLOCK; i++)
		tail_histogram_add(h, lab->lanes[i][0]);
}

static void count_all(const struct tail_lab *lab, struct tail_histogram *h)
{
	for (uint32_t i = 0; i < BLOCK; i++) {
		int32_t bins[TAIL_LANES];

		memcpy(bins, lab->lanes[i], sizeof(bins));
		for (uint32_t k = 0; k < TAIL_LANES; k++)
			bins[k] = tail_histogram_bin(h[0].first, bins[k]);
		for (uint32_t k = 0; k < TAIL_LANES; k++)
			h[k].count[bins[k]]++;
	}
}

void tail_explore_rates(struct tail_lab *lab, uint32_t percentile, struct tail_rate *rates,
			uint32_t n)
{
	const struct surface_cell *c = lab->cell;
	struct tail_histogram h[TAIL_LANES];
	struct lanes l;

	start(lab, &l);
	for (uint32_t k = 0; k < n; k++)
		use_lane(&l, k, rates[k].rate_rps);
	for (uint32_t k = 0; k < TAIL_LANES; k++)
		tail_histogram_start(&h[k], (double)c->service_ns[SURFACE_QUANTILES / 2]);
	serve(&l, NULL, 0, TAIL_WARM_UP);
	for (uint32_t from = TAIL_WARM_UP; from < TAIL_DRAWS; from += BLOCK) {
		serve(&l, NULL, from, from + BLOCK);
		if (n == 1)
			count_one(lab, h);
		else
			count_all(lab, h);
	}
	for (uint32_t k = 0; k < n; k++) {
		tail_histogram_survival(&h[k], ALL, &rates[k].survival);
		rates[k].tail_ns = tail_histogram_value(&h[k], ALL * percentile / 100);
	}
}

/* ---- bounds ---- */

/* A latency that probably enough of them exceed. */
static float guess_below(const struct tail_survival *s, uint32_t percentile)
{
	int i = TAIL_SHARES;

	while (i-- > 0)
		if (tail_shares[i] >= 1.7 * (1 - percentile / 100.0))
			return s->ns[i];
	return -INFINITY;
}

void tail_bound_rates(struct tail_lab *lab, uint32_t percentile, const struct tail_rate *rates,
		      uint32_t n, double *ret_factors)
{
	const struct surface_cell *c = lab->cell;
	const struct tail_resampled *again = tail_resampled_of(lab, MAX(c->samples, 1u));
	struct moments tails[HALF] = {0}, changes[HALF] = {0};
	struct lanes l;

	start(lab, &l);
	for (uint32_t k = 0; k < n; k++) {
		use_lane(&l, k, rates[k].rate_rps);
		use_lane(&l, HALF + k, rates[k].rate_rps);
	}
	serve(&l, NULL, 0, TAIL_WARM_UP);
	for (uint32_t r = 0; r < TAIL_REPLICATIONS; r++) {
		uint32_t from = TAIL_WARM_UP + r * TAIL_REQUESTS;
		float quantiles[SURFACE_QUANTILES];

		for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
			quantiles[q] = quantile_at(c->service_ns, again->at[r][q]);
		serve(&l, quantiles, from, from + TAIL_REQUESTS);
		for (uint32_t k = 0; k < n; k++) {
			float guess = guess_below(&rates[k].survival, percentile);
			double tail = log(tail_of_lane(lab, k, guess, percentile));
			double other = log(tail_of_lane(lab, HALF + k, guess, percentile));

			moments_add(&tails[k], tail);
			moments_add(&changes[k], other - tail);
		}
	}
	for (uint32_t k = 0; k < n; k++)
		ret_factors[k] = tail_bound_factor(&tails[k], &changes[k], MAX(c->samples, 1u));
}
