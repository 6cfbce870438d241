/* SPDX-License-Identifier: Apache-2.0 */
/* Which options are simulated, and between which of these the others are. */
#include "response/menu-curves.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* Services may be so far from the line: at the quantiles below; the longest one scatters. */
#define NEAR 0.03
/* Whoever does not wait has no length but its own. Of those that do one is so much slower than the
 * other at most: what they wait is not straight for ever. Beyond both ends goes a small part. */
#define APART	1.5
#define OUTSIDE 0.1F
/* Bounds of few samples are no good for fewer still. */
#define FEWER	4.0
#define NEAREST 48

static const struct {
	uint32_t at;
	double weight;
} quantiles[] = {{50, 1}, {90, 1}, {95, 1}, {99, 1}, {100, 0.25}};

struct menu_curves {
	const struct menu_building *b;
	uint32_t n;
	struct curve **curves;	      /* [n] */
	struct curve_source *sources; /* [option] */
};

struct entry {
	uint32_t option, batch;
	bool waits;
	double service_ns;
};

static const struct surface_cell *cell_of(const struct menu_building *b, uint32_t option)
{
	return &b->surface->cells[b->menu->options[option].cell];
}

/* ---- what is near ---- */

/* Of the services of one size, the part by which they are off the line. */
static double service_off(const struct surface_cell *a, const struct surface_cell *b,
			  const struct curve_source *s, const struct surface_cell *c)
{
	double worst = 0;

	for (size_t i = 0; i < ARRAY_SIZE(quantiles); i++) {
		uint32_t q = quantiles[i].at;
		double at_a = (double)a->service_ns[q], at_b = (double)b->service_ns[q];
		double line = (double)s->scale * (at_a + (double)s->part * (at_b - at_a));

		worst = MAX(worst, quantiles[i].weight * fabs(line / (double)c->service_ns[q] - 1));
	}
	return worst;
}

static double off(const struct curve_source *s, const struct surface_cell *c,
		  const struct tail_sizes *sizes)
{
	double worst = service_off(s->a->cell, s->b->cell, s, c);

	for (uint32_t k = 0; k + 1 < sizes->n; k++)
		worst = MAX(worst, service_off(s->a->sizes.cells[k], s->b->sizes.cells[k], s,
					       sizes->cells[k]));
	return worst;
}

static bool is_alike(const struct curve *x, const struct surface_cell *c,
		     const struct tail_sizes *sizes)
{
	if (x->cell->batch != c->batch || x->cell->workers != c->workers ||
	    x->sizes.n != sizes->n || x->cell->samples > FEWER * c->samples)
		return false;
	for (uint32_t k = 0; k < sizes->n; k++)
		if (x->sizes.cells[k]->batch != sizes->cells[k]->batch)
			return false;
	return true;
}

struct search {
	const struct menu_curves *curves;
	const struct surface_cell *cell;
	struct tail_sizes sizes;
	double service_ns;
	double least_off;
	struct curve_source best;
};

static void consider(struct search *s, const struct curve *a, const struct curve *b)
{
	double a_ns = a->service_ns, b_ns = b->service_ns, is;
	struct curve_source new = {a, b, 0, 1};

	if (s->sizes.n == 0)
		new.scale = (float)(s->service_ns / a_ns);
	else if (a != b)
		new.part = (float)((s->service_ns - a_ns) / (b_ns - a_ns));
	if (b_ns > APART * a_ns || new.part < -OUTSIDE || new.part > 1 + OUTSIDE)
		return;
	is = off(&new, s->cell, &s->sizes);
	if (is < s->least_off) {
		s->least_off = is;
		s->best = new;
	}
}

/* Those of a similar length first: most are found among the last few. */
static bool find(struct search *s)
{
	const struct curve *near[NEAREST];
	uint32_t n = 0;

	for (uint32_t i = s->curves->n; i-- > 0 && n < NEAREST;) {
		const struct curve *x = s->curves->curves[i];
		double slower = x->service_ns / s->service_ns;

		if (!is_alike(x, s->cell, &s->sizes))
			continue;
		if (s->sizes.n == 0 || (slower < APART && slower * APART > 1))
			near[n++] = x;
	}
	for (uint32_t i = 0; i < n; i++) {
		consider(s, near[i], near[i]);
		for (uint32_t k = 0; s->sizes.n > 0 && k < n; k++)
			if (near[k]->service_ns > near[i]->service_ns)
				consider(s, near[i], near[k]);
	}
	return s->least_off < NEAR;
}

/* ---- all of them ---- */

/* The last rate that the table chose it for. */
static double chosen_rps(const struct menu_building *b, uint32_t option)
{
	uint32_t n = menu_rates_chosen(b, option);

	return n > 0 ? b->menu->rate_rps[n - 1] : 0;
}

static int simulate(struct menu_curves *c, uint32_t option)
{
	const struct menu_building *b = c->b;
	struct curve *new = calloc(1, sizeof(*new));

	if (!new)
		return -ENOMEM;
	c->curves[c->n++] = new;
	new->option = option;
	new->cell = cell_of(b, option);
	new->service_ns = b->menu->options[option].service_ns;
	curve_simulate(b, curve_load(new->cell, chosen_rps(b, option)), new);
	c->sources[option] = (struct curve_source){new, new, 0, 1};
	return 0;
}

/* A sojourn is no shorter than the service of the fewest. */
static bool is_hopeless(const struct menu_curves *c, uint32_t option)
{
	const struct menu_building *b = c->b;
	const struct surface_cell *least = cell_of(b, option);
	struct tail_sizes sizes;

	candidate_find_sizes(&b->question, b->menu->options[option].cell, &sizes);
	if (sizes.n > 0)
		least = sizes.cells[0];
	return (double)least->service_ns[b->options->percentile] >
	       MENU_TAIL_KEPT * (double)b->menu->slo_ns;
}

static int add(struct menu_curves *c, uint32_t option)
{
	const struct menu_building *b = c->b;
	struct search s = {.curves = c, .cell = cell_of(b, option), .least_off = INFINITY};

	/* What the table knows of it is to go on without a step. */
	if (option == b->menu->baseline || menu_rates_chosen(b, option) > 0)
		return simulate(c, option);
	if (is_hopeless(c, option))
		return 0;
	candidate_find_sizes(&b->question, b->menu->options[option].cell, &s.sizes);
	s.service_ns = b->menu->options[option].service_ns;
	if (!find(&s))
		return simulate(c, option);
	c->sources[option] = s.best;
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->batch != y->batch)
		return x->batch < y->batch ? -1 : 1;
	if (x->waits != y->waits)
		return x->waits ? 1 : -1;
	if (x->service_ns != y->service_ns)
		return x->service_ns < y->service_ns ? -1 : 1;
	return x->option < y->option ? -1 : 1;
}

/* The ends first, then what is in the middle of what has been: most are between two others. */
static int add_all(struct menu_curves *c, const struct entry *entries, uint32_t n)
{
	uint32_t stride = 1;
	int r;

	while (stride < n)
		stride *= 2;
	r = add(c, entries[n - 1].option);
	if (r == 0 && n > 1)
		r = add(c, entries[0].option);
	for (; r == 0 && stride > 0; stride /= 2)
		for (uint32_t i = stride; r == 0 && i + 1 < n; i += 2 * stride)
			r = add(c, entries[i].option);
	return r;
}

static int add_classes(struct menu_curves *c, struct entry *entries, uint32_t n)
{
	uint32_t end;

	for (uint32_t i = 0; i < n; i++) {
		const struct surface_cell *cell = cell_of(c->b, i);
		struct tail_sizes sizes;

		candidate_find_sizes(&c->b->question, c->b->menu->options[i].cell, &sizes);
		entries[i] = (struct entry){i, cell->batch, sizes.n > 0,
					    c->b->menu->options[i].service_ns};
	}
	qsort(entries, n, sizeof(*entries), compare_entries);
	for (uint32_t i = 0; i < n; i = end) {
		int r;

		for (end = i + 1; end < n && entries[end].batch == entries[i].batch &&
				  entries[end].waits == entries[i].waits;)
			end++;
		r = add_all(c, &entries[i], end - i);
		if (r < 0)
			return r;
	}
	return 0;
}

int menu_curves_new(const struct menu_building *b, struct menu_curves **ret)
{
	_cleanup_(menu_curves_freep) struct menu_curves *c = calloc(1, sizeof(*c));
	_cleanup_(freep) struct entry *entries = NULL;
	uint32_t n = b->menu->n_options;
	int r;

	entries = calloc(n, sizeof(*entries));
	if (!c || !entries)
		return -ENOMEM;
	c->b = b;
	c->curves = calloc(n, sizeof(*c->curves));
	c->sources = calloc(n, sizeof(*c->sources));
	if (!c->curves || !c->sources)
		return -ENOMEM;
	r = add_classes(c, entries, n);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(c);
	return 0;
}

struct menu_curves *menu_curves_free(struct menu_curves *c)
{
	if (!c)
		return NULL;
	for (uint32_t i = 0; i < c->n; i++)
		free(c->curves[i]);
	free(c->curves);
	free(c->sources);
	free(c);
	return NULL;
}

const struct curve_source *menu_curves_source(const struct menu_curves *c, uint32_t option)
{
	return c->sources[option].a ? &c->sources[option] : NULL;
}
