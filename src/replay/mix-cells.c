/* SPDX-License-Identifier: Apache-2.0 */
/* What one model does of a card, and to its requests, in each configuration at each rate: Lindley's
 * recursion over requests and services drawn once, so that neighbours differ by what they are. */
#include "base/macros.h"
#include "replay/mix-internal.h"
#include <errno.h>

#define DRAWS 16384 /* requests; a lateness of 0.1 % is 16 of them */

#define MAX_BUSY 0.98 /* above it a queue grows without end */

/* Steps of stretch: a request that takes 3 % longer. */
#define STRETCH_STEP 1.03
#define STRETCHES    64

struct mix_cells {
	struct mix_cells_options options;
	uint32_t n_levels, n_shapes;
	struct plant_level levels[PLANT_MAX_LEVELS];
	float gap[DRAWS], factor[DRAWS];
	struct plant_cost *part; /* of each size up to the batch, of the cell in work */
	/* By rate, level and shape, and for the last shape, all CUs, by stretch. awake < 0: not yet
	 * worked out. */
	struct mix_cell *apart, *stretched;
};

int mix_cells_new(const struct mix_cells_options *o, struct mix_cells **ret)
{
	const struct truth *t = o->truth;
	struct mix_cells *c = calloc(1, sizeof(*c));
	size_t n_apart, n_stretched;

	if (!c)
		return -ENOMEM;
	c->options = *o;
	c->n_levels = t->device.n_levels;
	(void)costs_shapes(o->costs, &c->n_shapes);
	n_apart = (size_t)(o->n_rates + 1) * c->n_levels * c->n_shapes;
	n_stretched = (size_t)(o->n_rates + 1) * c->n_levels * STRETCHES;
	c->apart = malloc(n_apart * sizeof(*c->apart));
	c->stretched = malloc(n_stretched * sizeof(*c->stretched));
	c->part = calloc(o->batch + 1, sizeof(*c->part));
	if (!c->apart || !c->stretched || !c->part) {
		(void)mix_cells_free(c);
		return -ENOMEM;
	}
	for (size_t i = 0; i < n_apart; i++)
		c->apart[i].awake = -1;
	for (size_t i = 0; i < n_stretched; i++)
		c->stretched[i].awake = -1;
	for (uint32_t l = 0; l < c->n_levels; l++)
		c->levels[l] = plant_level_of(&t->device, l);
	for (uint32_t i = 0; i < DRAWS; i++) {
		c->gap[i] = (float)plant_exponential(o->seed, i);
		c->factor[i] = (float)plant_jitter(o->seed, i, t->jitter_sigma, t->stall_p,
						   t->stall_factor);
	}
	*ret = c;
	return 0;
}

struct mix_cells *mix_cells_free(struct mix_cells *c)
{
	if (!c)
		return NULL;
	free(c->apart);
	free(c->stretched);
	free(c->part);
	free(c);
	return NULL;
}

/* Summed over the draws. */
struct served {
	double ns, busy_ns, awake_ns, flop, bytes;
	uint32_t late;
};

/* First in, first out, by one server, in batches of what is there when it is free. */
static struct served serve(const struct mix_cells *c, double gap_ns, double stretch)
{
	double slo_ns = (double)c->options.slo_ns, arrival_ns = 0, free_ns = 0;
	struct served s = {0};
	uint32_t i = 0;

	while (i < DRAWS) {
		double start_ns, first_ns = arrival_ns + gap_ns * c->gap[i], next_ns = first_ns;
		const struct plant_cost *cost;
		uint32_t n = 0, first = i;
		double service_ns;

		start_ns = fmax(free_ns, first_ns);
		do {
			arrival_ns = next_ns;
			i++;
			n++;
			if (i < DRAWS)
				next_ns = arrival_ns + gap_ns * c->gap[i];
		} while (i < DRAWS && n < c->options.batch && next_ns <= start_ns);
		cost = &c->part[n];
		service_ns = cost->ns * c->factor[first] * stretch;
		free_ns = start_ns + service_ns;
		s.busy_ns += service_ns;
		s.awake_ns += cost->uncore_ns * c->factor[first];
		s.flop += cost->flop;
		s.bytes += cost->bytes;
		/* The others of a batch have come later. */
		next_ns = first_ns;
		for (uint32_t j = 0; j < n; j++) {
			s.late += free_ns - next_ns > slo_ns;
			if (j + 1 < n)
				next_ns += gap_ns * c->gap[first + j + 1];
		}
	}
	s.ns = fmax(arrival_ns, free_ns);
	return s;
}

static struct mix_cell work_out(struct mix_cells *c, uint32_t rate, uint32_t level, uint32_t shape,
				double stretch)
{
	const struct mix_cells_options *o = &c->options;
	const struct plant_device *d = &o->truth->device;
	struct served s;
	double busy;

	if (rate == 0)
		return (struct mix_cell){0};
	for (uint32_t n = 1; n <= o->batch; n++)
		c->part[n] = costs_get(o->costs, level, shape, n);
	s = serve(c, 1e9 / (rate * o->step_rps), stretch);
	busy = s.busy_ns / s.ns;
	if (busy > MAX_BUSY)
		return (struct mix_cell){.busy = 1, .awake = 1, .work_w = 1e6f, .late = 1};
	return (struct mix_cell){
		.busy = (float)busy,
		.awake = (float)(s.awake_ns / s.ns),
		.work_w = (float)((s.flop * d->pj_per_flop * c->levels[level].v2 +
				   s.bytes * d->pj_per_byte) /
				  s.ns * 1e-3),
		.late = (float)s.late / DRAWS,
	};
}

const struct mix_cell *mix_cells_get(struct mix_cells *c, uint32_t rate, uint32_t level,
				     uint32_t shape, double stretch)
{
	uint32_t steps = 0;
	size_t at = (size_t)rate * c->n_levels + level;
	struct mix_cell *cell;

	if (stretch > 1)
		steps = (uint32_t)fmin(lround(log(stretch) / log(STRETCH_STEP)), STRETCHES - 1);
	cell = steps > 0 ? &c->stretched[at * STRETCHES + steps]
			 : &c->apart[at * c->n_shapes + shape];
	if (cell->awake < 0)
		*cell = work_out(c, rate, level, shape, pow(STRETCH_STEP, steps));
	return cell;
}
