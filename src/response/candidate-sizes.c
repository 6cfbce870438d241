/* SPDX-License-Identifier: Apache-2.0 */
/* What batches can save at most. Most candidates with batches look cheap as long as all are taken
 * to be full, and turn out not to be once they are simulated, which takes a while.
 *
 * A batch starts when the one before has ended and its first request has waited as long as is
 * planned, so in the mean it holds no more than that first one and who comes in the longer of a
 * service and the wait. Of all mixtures of sizes with that mean, what the best one draws is a
 * bound. Another is what it drew at a lower rate: when more comes no batch starts later. */
#include "response/table-internal.h"
#include <math.h>

/* For the scatter of what is simulated. */
#define MARGIN	    1.05
#define DRAWN_AGAIN 0.98

void candidate_set_sizes(const struct tail_question *q, struct candidate *c)
{
	const struct surface_cell *own = &q->tails->surface->cells[c->cell];
	struct candidate_sizes *s = &c->sizes;
	struct tail_sizes sizes;
	double least_j = INFINITY;

	candidate_find_sizes(q, c->cell, &sizes);
	s->n = sizes.n;
	/* Longer than half the SLO nobody waits. */
	s->apart_ns = q->slo_ns / 2;
	for (uint32_t k = sizes.n; k-- > 0;) {
		const struct surface_cell *cell = sizes.cells[k];
		double busy_w = MAX(cell->power_w + c->busy_w - own->power_w, c->idle_w);

		least_j = MIN(least_j, (busy_w - c->idle_w) * cell->batch / cell->capacity_rps);
		s->batch[k] = cell->batch;
		s->energy_j[k] = least_j;
		s->apart_ns = MAX(s->apart_ns, tail_mean_service_ns(cell));
	}
}

/* Of executions of which each holds mean requests, the energy of those of two sizes. */
static double mixed_j(const struct candidate_sizes *s, uint32_t a, uint32_t b, double mean)
{
	/* The smallest is also what a single request takes. */
	double from = a > 0 ? s->batch[a] : 1, part = (mean - from) / (s->batch[b] - from);

	return s->energy_j[a] + part * (s->energy_j[b] - s->energy_j[a]);
}

/* Per request. */
static double least_j(const struct candidate_sizes *s, double mean)
{
	double least = INFINITY;

	for (uint32_t a = 0; a < s->n; a++) {
		if (a > 0 && s->batch[a] > mean)
			break;
		if (s->batch[a] <= mean)
			least = MIN(least, s->energy_j[a] / s->batch[a]);
		else
			least = MIN(least, s->energy_j[a] / mean);
		for (uint32_t b = a; b < s->n; b++)
			if (s->batch[b] > mean)
				least = MIN(least, mixed_j(s, a, b, mean) / mean);
	}
	return least;
}

void candidate_set_least_power(const struct tail_question *q, struct candidate *c, double rate_rps)
{
	const struct candidate_sizes *s = &c->sizes;
	double mean = 1 + MARGIN * rate_rps * s->apart_ns * 1e-9;

	candidate_set_power(&q->tails->surface->cells[c->cell], c, rate_rps);
	if (s->n == 0)
		return;
	c->power_w = MAX(c->power_w, c->idle_w + DRAWN_AGAIN * c->drew_w);
	if (mean < s->batch[s->n - 1])
		c->power_w = MAX(c->power_w, c->idle_w + rate_rps * least_j(s, mean));
}
