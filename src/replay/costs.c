/* SPDX-License-Identifier: Apache-2.0 */
/* Times and powers of executions, memoised. What one costs is the sum over its launches at their
 * own rates, so nothing of that is lost here; test-replay-costs steps a card launch by launch to
 * hold it against. */
#include "base/macros.h"
#include "replay/costs-internal.h"
#include <errno.h>

#define MAX_SHAPES 1024

static struct cell compute(const struct costs *c, uint32_t level, uint32_t shape, uint32_t batch)
{
	struct cell cell;
	struct plant_rates rates = {.busy_share = 1, .ungated_cus = c->ungated[shape]};

	cell.cost = plant_request_cost(&c->device, &c->model, c->device.level_mhz[level],
				       c->shapes[shape], batch);
	rates.flop = cell.cost.flop / cell.cost.ns;
	rates.bytes = cell.cost.bytes / cell.cost.ns;
	rates.uncore_share = cell.cost.uncore_ns / cell.cost.ns;
	cell.busy_w = plant_power_w(&c->device, &c->levels[level], &rates, /* kelvin= */ 0) *
		      c->card.power_factor;
	return cell;
}

static const struct cell *find(const struct costs *c, uint32_t level, uint32_t shape,
			       uint32_t batch)
{
	const struct cell *cells = &c->cells[((size_t)level * c->n_shapes + shape) * c->n_batches];

	if (batch <= c->n_batches && c->batches[batch - 1] == batch)
		return &cells[batch - 1];
	for (uint32_t i = 0; i < c->n_batches; i++)
		if (c->batches[i] == batch)
			return &cells[i];
	return NULL;
}

static struct cell get(const struct costs *c, uint32_t level, uint32_t shape, uint32_t batch)
{
	const struct cell *cell = find(c, level, shape, batch);

	return cell ? *cell : compute(c, level, shape, batch);
}

/* Every term of a launch's time in proportion. */
static void slow_down(struct plant_device *d, double factor)
{
	d->efficiency /= factor;
	d->memory_gbps /= factor;
	d->cu_gbps /= factor;
	d->dispatch_us *= factor;
	d->launch_us *= factor;
}

static bool batches_are_valid(const struct costs_options *o)
{
	if (o->n_batches == 0 || o->n_batches > COSTS_MAX_BATCHES || o->batches[0] != 1 ||
	    o->batches[o->n_batches - 1] > PLANT_MAX_BATCH)
		return false;
	for (uint32_t i = 1; i < o->n_batches; i++)
		if (o->batches[i] <= o->batches[i - 1])
			return false;
	return true;
}

static void choose_batches(struct costs *c, const struct costs_options *o)
{
	uint32_t largest = o->batches[o->n_batches - 1];
	bool all = largest <= ALL_PARTS;

	c->n_batches = all ? largest : o->n_batches;
	for (uint32_t i = 0; i < c->n_batches; i++)
		c->batches[i] = all ? i + 1 : o->batches[i];
}

static int fill_shapes(struct costs *c)
{
	struct cu_shape shapes[MAX_SHAPES];
	int n = cu_shapes(&c->device.topology, shapes, MAX_SHAPES);

	if (n <= 0)
		return n < 0 ? n : -EINVAL;
	c->n_shapes = (uint32_t)n;
	c->shapes = calloc(c->n_shapes, sizeof(*c->shapes));
	c->ungated = calloc(c->n_shapes, sizeof(*c->ungated));
	if (!c->shapes || !c->ungated)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->n_shapes; i++) {
		c->shapes[i] = shapes[i];
		c->ungated[i] = plant_ungated_cus(&c->device, c->card.gating, shapes[i]);
	}
	return 0;
}

static int fill_cells(struct costs *c)
{
	uint32_t n_levels = c->device.n_levels;
	struct cell *cell;

	for (uint32_t l = 0; l < n_levels; l++)
		c->levels[l] = plant_level_of(&c->device, l);
	if (n_levels == 0 || c->n_batches == 0)
		return -EINVAL;
	cell = c->cells = calloc((size_t)n_levels * c->n_shapes * c->n_batches, sizeof(*c->cells));
	if (!cell)
		return -ENOMEM;
	for (uint32_t l = 0; l < n_levels; l++)
		for (uint32_t s = 0; s < c->n_shapes; s++)
			for (uint32_t b = 0; b < c->n_batches; b++)
				*cell++ = compute(c, l, s, c->batches[b]);
	return 0;
}

static int fill(struct costs *c, const struct truth *t, const struct plant_model *m,
		const struct costs_options *o)
{
	int r;

	c->device = t->device;
	slow_down(&c->device, t->card.time_factor);
	c->card = t->card;
	c->model = *m;
	choose_batches(c, o);
	r = fill_shapes(c);
	return r == 0 ? fill_cells(c) : r;
}

int costs_new(const struct truth *t, const struct plant_model *m, const struct costs_options *o,
	      struct costs **ret)
{
	struct costs *c;
	int r;

	if (!batches_are_valid(o))
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	r = fill(c, t, m, o);
	if (r < 0)
		(void)costs_free(c);
	else
		*ret = c;
	return r;
}

struct costs *costs_free(struct costs *c)
{
	if (!c)
		return NULL;
	free(c->shapes);
	free(c->ungated);
	free(c->cells);
	free(c);
	return NULL;
}

const struct cu_shape *costs_shapes(const struct costs *c, uint32_t *ret_n)
{
	*ret_n = c->n_shapes;
	return c->shapes;
}

int costs_shape_index(const struct costs *c, struct cu_shape shape)
{
	if (cu_shape_cus(shape) == 0)
		return (int)c->n_shapes - 1;
	for (uint32_t i = 0; i < c->n_shapes; i++)
		if (cu_shape_equal(c->shapes[i], shape))
			return (int)i;
	return -1;
}

struct plant_cost costs_get(const struct costs *c, uint32_t level, uint32_t shape, uint32_t batch)
{
	return get(c, level, shape, batch).cost;
}

double costs_busy_w(const struct costs *c, uint32_t level, uint32_t shape, uint32_t batch)
{
	return get(c, level, shape, batch).busy_w;
}

double costs_idle_w(const struct costs *c, uint32_t level)
{
	const struct plant_rates idle = {0};

	return plant_power_w(&c->device, &c->levels[level], &idle, /* kelvin= */ 0) *
	       c->card.power_factor;
}
