/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration that executes batches, by the rule of the workers: a batch starts when a server
 * is free and either it is full or its oldest request has waited for the planned time. A part of a
 * batch takes as long as the smallest batch that was measured and holds it.
 *
 * There are many such configurations, so at low load, where the scatter is small, fewer requests
 * are simulated than of single ones. */
#include "response/tail-histogram.h"
#include "response/tail.h"
#include <math.h>
#include <string.h>

#define LOW_LOAD     0.65
#define LOW_REQUESTS (TAIL_REQUESTS / 4)
#define LOW_WARM_UP  (TAIL_WARM_UP / 2)

struct batching {
	struct tail_lab *lab;
	const struct tail_sizes *sizes;
	uint32_t requests, warm_up, end; /* requests: in each replication */
	double unit_ns, wait_ns;
	/* [size][replication], or all of a size the same. */
	float resampled[TAIL_MAX_SIZES][TAIL_REPLICATIONS][SURFACE_QUANTILES];
	bool is_resampled;
	uint32_t executions[TAIL_MAX_SIZES];
};

static uint32_t size_of(const struct tail_sizes *s, uint32_t n)
{
	uint32_t i = 0;

	while (i + 1 < s->n && s->cells[i]->batch < n)
		i++;
	return i;
}

static double service_ns(const struct batching *b, uint32_t size, uint32_t request)
{
	float position = b->lab->service[request];

	if (!b->is_resampled || request < b->warm_up)
		return quantile_at(b->sizes->cells[size]->service_ns, position);
	return quantile_at(b->resampled[size][(request - b->warm_up) / b->requests], position);
}

static double arrival_ns(const struct batching *b, uint32_t request)
{
	return b->lab->arrival[request] * b->unit_ns;
}

/* Into lab->sojourn, without the warm-up. */
static void serve(struct batching *b)
{
	const struct surface_cell *own = b->sizes->cells[b->sizes->n - 1];
	struct servers s = {.n = CLAMP(own->workers, 1u, (uint32_t)SURFACE_MAX_WORKERS)};

	memset(b->executions, 0, sizeof(b->executions));
	for (uint32_t i = 0; i < b->end;) {
		/* Nothing comes after the last one: it need not be waited for. */
		double full_ns = arrival_ns(b, MIN(i + own->batch, b->end) - 1);
		double latest_ns = MIN(full_ns, arrival_ns(b, i) + b->wait_ns), done_ns;
		struct service take;
		uint32_t size;

		/* Nobody comes between latest_ns and now who would not have been waited for. */
		take = servers_take(&s, b->lab->arrival, b->unit_ns, i, TAIL_DRAWS, 1);
		take.start_ns = MAX(take.start_ns, latest_ns);
		while (take.n < own->batch && i + take.n < b->end &&
		       arrival_ns(b, i + take.n) <= take.start_ns)
			take.n++;
		size = size_of(b->sizes, take.n);
		done_ns = take.start_ns + service_ns(b, size, i);
		s.free_at_ns[take.server] = done_ns;
		b->executions[size] += i >= b->warm_up;
		for (; take.n > 0; take.n--, i++)
			if (i >= b->warm_up)
				b->lab->sojourn[i - b->warm_up] =
					(float)(done_ns - arrival_ns(b, i));
	}
}

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
		ret[r] = log(tail_of(b->lab, b->lab->sojourn + (size_t)r * b->requests,
				     (int)b->requests, percentile));
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

	ret->lab = lab;
	ret->sizes = sizes;
	ret->requests = low ? LOW_REQUESTS : TAIL_REQUESTS;
	ret->warm_up = low ? LOW_WARM_UP : TAIL_WARM_UP;
	ret->end = ret->warm_up + TAIL_REPLICATIONS * ret->requests;
	/* What was drawn is of mean 1 over all draws only. */
	ret->unit_ns = 1e9 / rate_rps * ret->end / lab->arrival[ret->end - 1];
	ret->wait_ns = wait_ns;
	ret->is_resampled = false;
}

static void count(const struct batching *b, struct tail_histogram *ret)
{
	tail_histogram_start(ret, (double)b->sizes->cells[0]->service_ns[SURFACE_QUANTILES / 2]);
	tail_histogram_add_all(ret, b->lab->sojourn, counted(b));
}

/* The sojourns of a run are still there. */
static void set_bound(struct batching *b, uint32_t percentile, struct tail_batch *t)
{
	double samples = MAX(b->sizes->cells[b->sizes->n - 1]->samples, 1u);
	double tails[TAIL_REPLICATIONS], again[TAIL_REPLICATIONS];

	log_tails(b, percentile, tails);
	resample(b);
	serve(b);
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
	serve(&b);
	count(&b, &h);
	*ret = (struct tail_batch){.slo_ns = slo_ns};
	ret->wait_ns = b.wait_ns = MAX((slo_ns - tail_histogram_value(&h, rank)) / 2, 0.0);
	if (b.wait_ns > 0) {
		serve(&b);
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
	serve(&b);
	set_bound(&b, percentile, t);
}
