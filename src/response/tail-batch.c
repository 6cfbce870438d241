/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration that executes batches, by the rule of the workers: a batch starts when a server
 * is free and either it is full or its oldest request has waited for the planned time. A part of a
 * batch takes as long as the smallest batch that was measured and holds it.
 *
 * There are many such configurations, so at low load, where the scatter is small, fewer requests
 * are simulated than of single ones. */
#include "response/tail-batch.h"
#include "response/tail-histogram.h"
#include <math.h>
#include <string.h>

#define LOW_LOAD     0.65
#define LOW_REQUESTS (TAIL_REQUESTS / 4)
#define LOW_WARM_UP  (TAIL_WARM_UP / 2)

static void resample(struct batching *b)
{
	for (uint32_t k = 0; k < b->sizes->n; k++) {
		const struct surface_cell *c = b->sizes->cells[k];
		const struct tail_resampled *again = tail_resampled_of(b->lab, MAX(c->samples, 1u));

		for (uint32_t r = 0; r < TAIL_REPLICATIONS; r++)
			for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
				b->resampled[k][r][q] = quantile_at(c->service_ns, again->at[r][q]);
	}
	b->is_resampled = true;
}

static void log_tails(struct batching *b, uint32_t percentile, double *ret)
{
	for (uint32_t r = 0; r < TAIL_REPLICATIONS; r++)
		ret[r] =
			log(tail_of(b->lab, batching_sojourns(b, r), (int)b->requests, percentile));
}

static double bound_factor(const double *tails, const double *again, double samples)
{
	struct moments tail = {0}, change = {0};

	for (uint32_t r = 0; r < TAIL_REPLICATIONS; r++) {
		moments_add(&tail, tails[r]);
		moments_add(&change, again[r] - tails[r]);
	}
	return tail_bound_factor(&tail, &change, samples);
}

/* Of each size, the part of the time that it executes, as capacities say: full batches alone give
 * rate / capacity. */
static void set_shares(const struct batching *b, double rate_rps, struct tail_batch *ret)
{
	for (uint32_t k = 0; k < b->sizes->n; k++) {
		const struct surface_cell *c = b->sizes->cells[k];

		ret->share[k] = rate_rps * b->executions[k] / (b->end - b->warm_up) * c->batch /
				c->capacity_rps;
	}
}

static uint32_t counted(const struct batching *b)
{
	return b->end - b->warm_up;
}

static void start(struct tail_lab *lab, const struct tail_sizes *sizes, double rate_rps,
		  double wait_ns, struct batching *ret)
{
	bool low = rate_rps < LOW_LOAD * sizes->cells[sizes->n - 1]->capacity_rps;
	double unit_ns;

	ret->lab = lab;
	ret->sizes = sizes;
	ret->requests = low ? LOW_REQUESTS : TAIL_REQUESTS;
	ret->warm_up = low ? LOW_WARM_UP : TAIL_WARM_UP;
	ret->end = ret->warm_up + TAIL_REPLICATIONS * ret->requests;
	/* What was drawn is of mean 1 over all draws only. */
	unit_ns = 1e9 / rate_rps * ret->end / lab->arrival[ret->end - 1];
	for (uint32_t i = 0; i < ret->end; i++)
		lab->arrival_ns[i] = lab->arrival[i] * unit_ns;
	ret->arrival_ns = lab->arrival_ns;
	ret->wait_ns = wait_ns;
	ret->is_resampled = false;
}

static void count(const struct batching *b, struct tail_histogram *ret)
{
	tail_histogram_start(ret, (double)b->sizes->cells[0]->service_ns[SURFACE_QUANTILES / 2]);
	for (uint32_t r = 0; r < TAIL_REPLICATIONS; r++)
		tail_histogram_add_all(ret, batching_sojourns(b, r), b->requests);
}

/* The sojourns of a run are still there. */
static void set_bound(struct batching *b, uint32_t percentile, struct tail_batch *t)
{
	double samples = MAX(b->sizes->cells[b->sizes->n - 1]->samples, 1u);
	double tails[TAIL_REPLICATIONS], again[TAIL_REPLICATIONS];

	log_tails(b, percentile, tails);
	resample(b);
	batching_serve(b);
	log_tails(b, percentile, again);
	t->upper_ns = t->tail_ns * bound_factor(tails, again, samples);
}

void tail_explore_batch(struct tail_lab *lab, const struct tail_sizes *sizes, double rate_rps,
			uint32_t percentile, double slo_ns, bool bounded, struct tail_batch *ret)
{
	struct tail_histogram h;
	struct batching b;
	uint32_t rank;

	start(lab, sizes, rate_rps, 0, &b);
	rank = counted(&b) * percentile / 100;
	batching_serve(&b);
	count(&b, &h);
	*ret = (struct tail_batch){.slo_ns = slo_ns};
	ret->wait_ns = b.wait_ns = MAX((slo_ns - tail_histogram_value(&h, rank)) / 2, 0.0);
	if (b.wait_ns > 0) {
		batching_serve(&b);
		count(&b, &h);
	}
	set_shares(&b, rate_rps, ret);
	ret->tail_ns = tail_histogram_value(&h, rank);
	tail_histogram_survival(&h, counted(&b), &ret->survival);
	if (bounded)
		set_bound(&b, percentile, ret);
}

void tail_bound_batch(struct tail_lab *lab, const struct tail_sizes *sizes, double rate_rps,
		      uint32_t percentile, struct tail_batch *t)
{
	struct batching b;

	start(lab, sizes, rate_rps, t->wait_ns, &b);
	batching_serve(&b);
	set_bound(&b, percentile, t);
}
