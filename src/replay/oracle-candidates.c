/* SPDX-License-Identifier: Apache-2.0 */
/* Of all configurations of a card those that can be the best at something. */
#include "base/macros.h"
#include "replay/oracle-internal.h"
#include <errno.h>
#include <math.h>

#define MAX_BATCH_STEPS 16 /* 1, 2, 4 ... */

struct listing {
	const struct costs *costs;
	uint32_t n_levels, n_shapes, n_batches, batches[MAX_BATCH_STEPS];
};

static void list_batches(struct listing *l, uint32_t max_batch)
{
	for (uint32_t b = 1; b < max_batch && l->n_batches < MAX_BATCH_STEPS - 1; b *= 2)
		l->batches[l->n_batches++] = b;
	l->batches[l->n_batches++] = max_batch;
}

static void fill(const struct listing *l, uint32_t level, uint32_t shape, double *ns,
		 double *dynamic_w)
{
	uint32_t max_batch = l->batches[l->n_batches - 1];

	for (uint32_t n = 1; n <= max_batch; n++) {
		ns[n - 1] = costs_get(l->costs, level, shape, n).ns;
		dynamic_w[n - 1] =
			costs_busy_w(l->costs, level, shape, n) - costs_idle_w(l->costs, level);
	}
}

/* No slower and no dearer in anything; of equals the first stays. */
static bool beats(const struct oracle_candidate *a, const struct oracle_candidate *b)
{
	bool better = a->idle_w < b->idle_w || a < b;

	if (a->configuration.batch != b->configuration.batch || a->idle_w > b->idle_w)
		return false;
	for (uint32_t n = 1; n <= a->configuration.batch; n++) {
		double a_j = oracle_dynamic_j(a, n), b_j = oracle_dynamic_j(b, n);

		if (a->ns[n - 1] > b->ns[n - 1] || a_j > b_j)
			return false;
		better = better || a->ns[n - 1] < b->ns[n - 1] || a_j < b_j;
	}
	return better;
}

static bool is_beaten(const struct oracle_candidate *all, uint32_t n, uint32_t i)
{
	for (uint32_t j = 0; j < n; j++)
		if (j != i && beats(&all[j], &all[i]))
			return true;
	return false;
}

/* Those that nothing beats, in their order. */
static int prune(struct oracle_candidates *c)
{
	_cleanup_(freep) bool *beaten = calloc(c->n, sizeof(*beaten));
	uint32_t n = 0;

	if (!beaten)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->n; i++)
		beaten[i] = is_beaten(c->all, c->n, i);
	for (uint32_t i = 0; i < c->n; i++)
		if (!beaten[i])
			c->all[n++] = c->all[i];
	c->n = n;
	return 0;
}

static void list(struct oracle_candidates *c, const struct listing *l)
{
	uint32_t max_batch = l->batches[l->n_batches - 1];
	double *values = c->values;

	for (uint32_t level = 0; level < l->n_levels; level++)
		for (uint32_t shape = 0; shape < l->n_shapes; shape++) {
			fill(l, level, shape, values, values + max_batch);
			for (uint32_t b = 0; b < l->n_batches; b++)
				c->all[c->n++] = (struct oracle_candidate){
					.configuration = {.level = (uint16_t)level,
							  .shape = (uint16_t)shape,
							  .batch = (uint16_t)l->batches[b]},
					.idle_w = costs_idle_w(l->costs, level),
					.ns = values,
					.dynamic_w = values + max_batch,
				};
			values += 2 * (size_t)max_batch;
		}
}

static void find_extremes(struct oracle_candidates *c)
{
	c->least_j = INFINITY;
	for (uint32_t i = 0; i < c->n; i++) {
		const struct oracle_candidate *k = &c->all[i];

		if (k->ns[0] < c->all[c->fastest].ns[0])
			c->fastest = i;
		for (uint32_t n = 1; n <= k->configuration.batch; n++)
			c->least_j = fmin(c->least_j, oracle_dynamic_j(k, n) / n);
	}
}

int oracle_candidates_new(const struct costs *costs, uint32_t n_levels, uint32_t max_batch,
			  struct oracle_candidates **ret)
{
	_cleanup_(oracle_candidates_freep) struct oracle_candidates *c = calloc(1, sizeof(*c));
	struct listing l = {.costs = costs, .n_levels = n_levels};
	size_t cells;
	int r;

	if (!c)
		return -ENOMEM;
	list_batches(&l, MAX(max_batch, 1u));
	(void)costs_shapes(costs, &l.n_shapes);
	cells = (size_t)n_levels * l.n_shapes;
	c->all = calloc(cells * l.n_batches, sizeof(*c->all));
	c->values = calloc(cells * 2 * MAX(max_batch, 1u), sizeof(*c->values));
	if (!c->all || !c->values)
		return -ENOMEM;
	list(c, &l);
	c->maximum = c->all[c->n - l.n_batches];
	r = prune(c);
	if (r < 0)
		return r;
	find_extremes(c);
	*ret = TAKE_PTR(c);
	return 0;
}

struct oracle_candidates *oracle_candidates_free(struct oracle_candidates *c)
{
	if (!c)
		return NULL;
	free(c->all);
	free(c->values);
	free(c);
	return NULL;
}
