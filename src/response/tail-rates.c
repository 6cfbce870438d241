/* SPDX-License-Identifier: Apache-2.0 */
/* One cell at several rates at once. A queue is a chain of additions that each wait for the one
 * before, so several side by side take hardly longer than one; and a histogram is filled much
 * faster than values are put in order. */
#include "response/tail-histogram.h"
#include "response/tail.h"
#include <errno.h>
#include <math.h>

#define ALL (TAIL_REPLICATIONS * TAIL_REQUESTS)

_Static_assert(ALL <= UINT16_MAX, "a bin holds them all");

struct lanes {
	const struct tail_lab *lab;
	const struct surface_cell *cell;
	uint32_t n;
	double unit_ns[TAIL_LANES];
	struct servers servers[TAIL_LANES];
};

/* One server and no batches, in all lanes: those beyond n serve along, which costs nothing. */
static void serve_singly(struct lanes *l, const float *quantiles, uint32_t from, uint32_t end,
			 float (*ret)[TAIL_LANES])
{
	double free_at_ns[TAIL_LANES];

	for (uint32_t k = 0; k < TAIL_LANES; k++)
		free_at_ns[k] = l->servers[k].free_at_ns[0];
	for (uint32_t i = from; i < end; i++) {
		double service_ns = quantile_at(quantiles, l->lab->service[i]);
		double arrival = l->lab->arrival[i];

		for (uint32_t k = 0; k < TAIL_LANES; k++) {
			double arrival_ns = arrival * l->unit_ns[k], free_ns = free_at_ns[k];

			free_ns = (free_ns > arrival_ns ? free_ns : arrival_ns) + service_ns;
			free_at_ns[k] = free_ns;
			ret[i - from][k] = (float)(free_ns - arrival_ns);
		}
	}
	for (uint32_t k = 0; k < TAIL_LANES; k++)
		l->servers[k].free_at_ns[0] = free_at_ns[k];
}

static void serve(struct lanes *l, const float *quantiles, uint32_t from, uint32_t end,
		  float (*ret)[TAIL_LANES])
{
	float sojourn[MAX(TAIL_REQUESTS, TAIL_WARM_UP)];

	if (l->cell->workers <= 1 && l->cell->batch == 1) {
		serve_singly(l, quantiles, from, end, ret);
		return;
	}
	for (uint32_t k = 0; k < l->n; k++) {
		tail_serve(l->lab, &l->servers[k], quantiles, l->cell->batch, l->unit_ns[k], from,
			   end, sojourn);
		for (uint32_t i = 0; i < end - from; i++)
			ret[i][k] = sojourn[i];
	}
}

static void count(struct tail_histogram *h, const float (*sojourn)[TAIL_LANES], uint32_t lanes)
{
	for (uint32_t i = 0; i < TAIL_REQUESTS; i++)
		for (uint32_t k = 0; k < lanes; k++)
			tail_histogram_add(&h[k], sojourn[i][k]);
}

/* ---- the bound, from the first and the last rate ---- */

struct end {
	uint32_t lane;
	struct servers resampled;
	struct moments tail, change;
};

static double log_tail(struct tail_lab *lab, uint32_t percentile)
{
	return log(tail_of(lab, lab->sojourn, TAIL_REQUESTS, percentile));
}

/* Replication r, as it was served, and as if the profile had been measured again. */
static void compare(struct tail_lab *lab, const struct lanes *l, uint32_t percentile, uint32_t r,
		    const float (*sojourn)[TAIL_LANES], struct end *end)
{
	const struct tail_resampled *again = tail_resampled_of(lab, MAX(l->cell->samples, 1u));
	uint32_t from = TAIL_WARM_UP + r * TAIL_REQUESTS;
	float quantiles[SURFACE_QUANTILES];
	double tail;

	for (uint32_t i = 0; i < TAIL_REQUESTS; i++)
		lab->sojourn[i] = sojourn[i][end->lane];
	tail = log_tail(lab, percentile);
	moments_add(&end->tail, tail);
	for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
		quantiles[q] = quantile_at(l->cell->service_ns, again->at[r][q]);
	tail_serve(lab, &end->resampled, quantiles, l->cell->batch, l->unit_ns[end->lane], from,
		   from + TAIL_REQUESTS, lab->sojourn);
	moments_add(&end->change, log_tail(lab, percentile) - tail);
}

static void set_bounds(const struct lanes *l, const struct end ends[2], struct tail_rate *rates)
{
	double samples = MAX(l->cell->samples, 1u), factor[2];
	double first_rps = rates[0].rate_rps, width_rps = rates[l->n - 1].rate_rps - first_rps;

	for (int i = 0; i < 2; i++)
		factor[i] = tail_bound_factor(&ends[i].tail, &ends[i].change, samples);
	for (uint32_t k = 0; k < l->n; k++) {
		double part = k > 0 ? (rates[k].rate_rps - first_rps) / width_rps : 0;

		rates[k].upper_ns = rates[k].tail_ns * (factor[0] + part * (factor[1] - factor[0]));
	}
}

static void start(const struct tail_lab *lab, const struct surface_cell *c,
		  const struct tail_rate *rates, uint32_t n, struct lanes *ret)
{
	*ret = (struct lanes){.lab = lab, .cell = c, .n = n};
	for (uint32_t k = 0; k < TAIL_LANES; k++) {
		ret->unit_ns[k] = 1e9 / rates[MIN(k, n - 1)].rate_rps;
		ret->servers[k].n = CLAMP(c->workers, 1u, (uint32_t)SURFACE_MAX_WORKERS);
	}
}

int tail_explore_rates(struct tail_lab *lab, const struct surface_cell *c, uint32_t percentile,
		       struct tail_rate *rates, uint32_t n)
{
	_cleanup_(freep) float(*sojourn)[TAIL_LANES] = NULL;
	_cleanup_(freep) struct tail_histogram *h = NULL;
	struct end ends[2] = {{.lane = 0}, {.lane = n - 1}};
	struct lanes lanes;

	h = calloc(n, sizeof(*h));
	sojourn = calloc(MAX(TAIL_REQUESTS, TAIL_WARM_UP), sizeof(*sojourn));
	if (!h || !sojourn)
		return -ENOMEM;
	for (uint32_t k = 0; k < n; k++)
		tail_histogram_start(&h[k], (double)c->service_ns[SURFACE_QUANTILES / 2]);
	start(lab, c, rates, n, &lanes);
	serve(&lanes, c->service_ns, 0, TAIL_WARM_UP, sojourn);
	for (int i = 0; i < 2; i++)
		ends[i].resampled = lanes.servers[ends[i].lane];
	for (uint32_t r = 0; r < TAIL_REPLICATIONS; r++) {
		uint32_t from = TAIL_WARM_UP + r * TAIL_REQUESTS;

		serve(&lanes, c->service_ns, from, from + TAIL_REQUESTS, sojourn);
		count(h, sojourn, n);
		for (int i = 0; i < 2; i++)
			compare(lab, &lanes, percentile, r, sojourn, &ends[i]);
	}
	for (uint32_t k = 0; k < n; k++) {
		tail_histogram_survival(&h[k], ALL, &rates[k].survival);
		rates[k].tail_ns = tail_histogram_value(&h[k], ALL * percentile / 100);
	}
	set_bounds(&lanes, ends, rates);
	return 0;
}
