/* SPDX-License-Identifier: Apache-2.0 */
/* What a candidate does with the requests at a rate: tail, lateness, planned wait, and the power
 * that follows from the batches which really come. */
#include "response/table-internal.h"
#include <math.h>

/* Batches vary around their mean: a larger one gains little while that is this part of the way to
 * the smaller one's size. */
#define FILLED 0.5

static const struct surface_cell *cell_of(const struct tail_question *q, uint32_t cell)
{
	return &q->tails->surface->cells[cell];
}

/* The baseline takes what waits; only what is chosen for less power can wait for more. */
static bool is_batched(const struct tail_question *q, const struct surface_cell *c)
{
	return c->batch > 1 && c != q->baseline && !q->options->service_only;
}

/* Of the service alone: what a request takes once it is served, at any rate. */
static double service_tail_ns(const struct tail_question *q, uint32_t cell)
{
	return cell_of(q, cell)->service_ns[q->options->percentile];
}

static bool is_part(const struct surface_cell *c, const struct surface_cell *of)
{
	return c == of ||
	       (c->max_mhz == of->max_mhz && cu_shape_equal(c->shape, of->shape) &&
		c->workers == of->workers && c->batch < of->batch && !(c->flags & SURFACE_STRUCK));
}

/* By ascending batch; of too many the smallest. */
static void find_sizes(const struct surface *s, const struct surface_cell *of,
		       struct tail_sizes *ret)
{
	ret->n = 0;
	for (uint32_t i = 0; i < s->n_cells; i++) {
		const struct surface_cell *c = &s->cells[i];
		uint32_t k = ret->n;

		if (!is_part(c, of))
			continue;
		if (k == TAIL_MAX_SIZES) {
			if (c->batch < ret->cells[0]->batch)
				continue;
			for (k = 0; k + 1 < ret->n; k++)
				ret->cells[k] = ret->cells[k + 1];
		} else {
			ret->n++;
		}
		for (; k > 0 && ret->cells[k - 1]->batch > c->batch; k--)
			ret->cells[k] = ret->cells[k - 1];
		ret->cells[k] = c;
	}
}

static struct tail_trace *trace_of(const struct tail_question *q, uint32_t cell, double rate_rps,
				   struct tail_trace *unkept)
{
	struct tail_trace *t = tail_trace_of(q->tails, cell, rate_rps, q->options->percentile);

	return t ? t : unkept;
}

/* What is kept is of one SLO. */
static const struct tail_batch *batch_of(const struct tail_question *q, uint32_t cell,
					 double rate_rps, bool bounded, struct tail_trace *t)
{
	bool known = t->batch.slo_ns == q->slo_ns;
	struct tail_sizes sizes;

	if (known && (!bounded || t->batch.upper_ns > 0))
		return &t->batch;
	find_sizes(q->tails->surface, cell_of(q, cell), &sizes);
	if (known)
		tail_bound_batch(q->tails->lab, &sizes, rate_rps, q->options->percentile,
				 &t->batch);
	else
		tail_explore_batch(q->tails->lab, &sizes, rate_rps, q->options->percentile,
				   q->slo_ns, bounded, &t->batch);
	return &t->batch;
}

void candidate_find_sizes(const struct tail_question *q, uint32_t cell, struct tail_sizes *ret)
{
	ret->n = 0;
	if (is_batched(q, cell_of(q, cell)))
		find_sizes(q->tails->surface, cell_of(q, cell), ret);
}

double candidate_fills_from_rps(const struct tail_question *q, uint32_t cell)
{
	const struct surface_cell *c = cell_of(q, cell);
	struct tail_sizes sizes;

	if (!is_batched(q, c))
		return 0;
	find_sizes(q->tails->surface, c, &sizes);
	if (sizes.n < 2)
		return 0;
	return FILLED * (sizes.cells[sizes.n - 2]->batch - 1) * 1e9 /
	       (q->slo_ns / 2 + tail_mean_service_ns(c));
}

bool candidate_is_within(const struct tail_question *q, uint32_t cell, double rate_rps,
			 double limit_ns)
{
	struct tail_trace unkept = {0}, *t;

	if (q->options->service_only)
		return service_tail_ns(q, cell) <= limit_ns;
	if (service_tail_ns(q, cell) > limit_ns && !is_batched(q, cell_of(q, cell)))
		return false;
	t = trace_of(q, cell, rate_rps, &unkept);
	if (is_batched(q, cell_of(q, cell)))
		return batch_of(q, cell, rate_rps, true, t)->upper_ns <= limit_ns;
	return tail_within(q->tails->lab, cell_of(q, cell), rate_rps, q->options->percentile,
			   limit_ns, t);
}

void candidate_tail(const struct tail_question *q, uint32_t cell, double rate_rps,
		    struct candidate_tail *ret)
{
	struct tail_trace unkept = {0}, *t;
	const struct tail_batch *b;

	*ret = (struct candidate_tail){0};
	if (q->options->service_only) {
		ret->tail_ns = ret->upper_ns = service_tail_ns(q, cell);
		return;
	}
	t = trace_of(q, cell, rate_rps, &unkept);
	if (is_batched(q, cell_of(q, cell))) {
		b = batch_of(q, cell, rate_rps, true, t);
		*ret = (struct candidate_tail){b->tail_ns, b->upper_ns, b->wait_ns};
		return;
	}
	tail_estimate(q->tails->lab, cell_of(q, cell), rate_rps, q->options->percentile, t);
	*ret = (struct candidate_tail){t->tail_ns, t->upper_ns, 0};
}

/* Whoever is asked about now is likely to be asked about at the next rates. */
static const struct tail_survival *survival_of(const struct tail_question *q, uint32_t cell,
					       double rate_rps, struct tail_trace *first)
{
	struct tail_rate rates[TAIL_LANES] = {{.rate_rps = rate_rps}};
	struct tail_trace *traces[TAIL_LANES] = {first}, unkept;
	uint32_t n = 1;

	if (first->has_survival)
		return &first->survival;
	for (uint32_t i = 0; i < q->n_ahead && n < TAIL_LANES; i++) {
		if (q->ahead_rps[i] <= rate_rps ||
		    !candidate_sustains(cell_of(q, cell), q->ahead_rps[i]))
			continue;
		traces[n] = trace_of(q, cell, q->ahead_rps[i], &unkept);
		rates[n].rate_rps = q->ahead_rps[i];
		n += traces[n] != &unkept && !traces[n]->has_survival;
	}
	tail_take_cell(q->tails->lab, cell_of(q, cell));
	tail_explore_rates(q->tails->lab, q->options->percentile, rates, n);
	for (uint32_t i = 0; i < n; i++) {
		traces[i]->survival = rates[i].survival;
		traces[i]->has_survival = true;
	}
	return &first->survival;
}

double candidate_late(const struct tail_question *q, uint32_t cell, double rate_rps)
{
	struct tail_trace unkept = {0}, *t = trace_of(q, cell, rate_rps, &unkept);

	if (is_batched(q, cell_of(q, cell)))
		return tail_late(&batch_of(q, cell, rate_rps, false, t)->survival, q->slo_ns);
	return tail_late(survival_of(q, cell, rate_rps, t), q->slo_ns);
}

bool candidate_batch(const struct tail_question *q, uint32_t cell, double rate_rps, bool bounded,
		     struct tail_batch *ret)
{
	struct tail_trace unkept = {0}, *t;

	if (!is_batched(q, cell_of(q, cell)))
		return false;
	t = trace_of(q, cell, rate_rps, &unkept);
	*ret = *batch_of(q, cell, rate_rps, bounded, t);
	return true;
}

void candidate_set_power_of(const struct tail_question *q, struct candidate *c, double rate_rps,
			    const struct tail_sizes *sizes, const double *share, double *ret_busy)
{
	const struct surface_cell *own = cell_of(q, c->cell);
	double power_w = c->idle_w, busy = 0;

	candidate_set_power(own, c, rate_rps);
	*ret_busy = MIN(rate_rps / own->capacity_rps, 1.0);
	if (sizes->n == 0)
		return;
	for (uint32_t k = 0; k < sizes->n; k++) {
		/* What gating takes away is the same for all of a shape and clock. */
		double busy_w = MAX(sizes->cells[k]->power_w + c->busy_w - own->power_w, c->idle_w);

		power_w += share[k] * (busy_w - c->idle_w);
		busy += share[k];
	}
	c->power_w = MAX(c->power_w, power_w);
	c->drew_w = c->power_w - c->idle_w;
	*ret_busy = MIN(MAX(*ret_busy, busy), 1.0);
}

void candidate_refine_power(const struct tail_question *q, struct candidate *c, double rate_rps,
			    double *ret_busy)
{
	struct tail_sizes sizes = {0};
	struct tail_batch b;

	if (candidate_batch(q, c->cell, rate_rps, false, &b))
		find_sizes(q->tails->surface, cell_of(q, c->cell), &sizes);
	candidate_set_power_of(q, c, rate_rps, &sizes, b.share, ret_busy);
}
