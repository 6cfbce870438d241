/* SPDX-License-Identifier: Apache-2.0 */
/* What was simulated of a surface, kept for further questions. */
#include "response/table.h"
#include "response/tail.h"
#include <errno.h>

struct tail_series {
	double rate_rps;
	uint32_t percentile;
	struct tail_trace **by_cell; /* NULL: not asked for yet */
};

int response_tails_new(const struct surface *s, uint64_t seed, struct response_tails **ret)
{
	_cleanup_(response_tails_freep) struct response_tails *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->surface = s;
	t->lab = tail_lab_new(seed);
	if (!t->lab)
		return -ENOMEM;
	*ret = TAKE_PTR(t);
	return 0;
}

struct response_tails *response_tails_free(struct response_tails *t)
{
	if (!t)
		return NULL;
	for (uint32_t i = 0; i < t->n_series; i++) {
		for (uint32_t cell = 0; cell < t->surface->n_cells; cell++)
			free(t->series[i].by_cell[cell]);
		free(t->series[i].by_cell);
	}
	free(t->series);
	(void)tail_lab_free(t->lab);
	free(t);
	return NULL;
}

static bool is_series(const struct tail_series *s, double rate_rps, uint32_t percentile)
{
	return s->rate_rps == rate_rps && s->percentile == percentile;
}

static struct tail_series *add_series(struct response_tails *t, double rate_rps,
				      uint32_t percentile)
{
	struct tail_series *series;

	series = reallocarray(t->series, (size_t)t->n_series + 1, sizeof(*series));
	if (!series)
		return NULL;
	t->series = series;
	series += t->n_series;
	*series = (struct tail_series){.rate_rps = rate_rps, .percentile = percentile};
	series->by_cell = calloc(t->surface->n_cells, sizeof(struct tail_trace *));
	if (!series->by_cell)
		return NULL;
	t->last = t->n_series++;
	return series;
}

/* Most questions are about the rate of the one before. */
static struct tail_series *known_series(struct response_tails *t, double rate_rps,
					uint32_t percentile)
{
	for (uint32_t i = 0; i < t->n_series; i++) {
		uint32_t at = (t->last + i) % t->n_series;

		if (is_series(&t->series[at], rate_rps, percentile)) {
			t->last = at;
			return &t->series[at];
		}
	}
	return NULL;
}

static struct tail_series *find_series(struct response_tails *t, double rate_rps,
				       uint32_t percentile)
{
	struct tail_series *s = known_series(t, rate_rps, percentile);

	return s ? s : add_series(t, rate_rps, percentile);
}

const struct tail_trace *tail_trace_known(struct response_tails *t, uint32_t cell, double rate_rps,
					  uint32_t percentile)
{
	struct tail_series *s = known_series(t, rate_rps, percentile);

	return s ? s->by_cell[cell] : NULL;
}

struct tail_trace *tail_trace_of(struct response_tails *t, uint32_t cell, double rate_rps,
				 uint32_t percentile)
{
	struct tail_series *s = find_series(t, rate_rps, percentile);

	if (s && !s->by_cell[cell])
		s->by_cell[cell] = calloc(1, sizeof(*s->by_cell[cell]));
	return s ? s->by_cell[cell] : NULL;
}

int response_tail(const struct surface_cell *c, double rate_rps, uint32_t percentile, uint64_t seed,
		  double *ret_tail_ns, double *ret_upper_ns)
{
	_cleanup_(tail_lab_freep) struct tail_lab *lab = NULL;
	struct tail_trace t = {0};

	if (!(rate_rps > 0) || percentile < 1 || percentile > 99)
		return -EINVAL;
	if (rate_rps > TABLE_MAX_UTILISATION * c->capacity_rps)
		return -EDOM;
	lab = tail_lab_new(seed);
	if (!lab)
		return -ENOMEM;
	tail_estimate(lab, c, rate_rps, percentile, &t);
	*ret_tail_ns = t.tail_ns;
	*ret_upper_ns = t.upper_ns;
	return 0;
}
