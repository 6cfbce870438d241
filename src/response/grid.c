/* SPDX-License-Identifier: Apache-2.0 */
#include "response/grid.h"
#include "base/macros.h"
#include <errno.h>

#define SAME_LEVEL	  1.02
#define MAX_SHAPES	  1024
#define MAX_LEVELS	  64
#define QUICK_MASK_LEVELS 3 /* clocks at which a quick sweep measures parts of the card */

/* These parts, in per cent: whole SEs, and two shapes with all SEs or all but one in use, as the
 * least power under gating is seldom at whole SEs. */
static const uint32_t quick_parts[] = {25, 50, 60, 75, 87};

uint32_t grid_levels(const uint32_t *level_mhz, uint32_t n, uint32_t *ret)
{
	uint32_t kept = 0, lowest = 0;

	for (uint32_t i = 0; i < n; i++) {
		if (kept > 0 && level_mhz[i] <= SAME_LEVEL * lowest)
			kept--;
		else
			lowest = level_mhz[i];
		ret[kept++] = level_mhz[i];
	}
	return kept;
}

uint32_t grid_spread(uint32_t n, uint32_t max, uint32_t *ret)
{
	uint32_t picks = MIN(n, max);

	for (uint32_t i = 0; i < picks; i++)
		ret[i] = n - 1 - (n - 1) * i / MAX(picks - 1, 1u);
	return picks;
}

/* The shape with the number of CUs nearest to n. */
static struct cu_shape nearest_shape(const struct cu_shape *shapes, uint32_t n_shapes, double n)
{
	struct cu_shape best = shapes[0];

	for (uint32_t i = 1; i < n_shapes; i++) {
		double d = cu_shape_cus(shapes[i]) - n, d_best = cu_shape_cus(best) - n;

		if (d * d < d_best * d_best)
			best = shapes[i];
	}
	return best;
}

/* Thins the shapes out to some parts of the card, ascending and different. */
static uint32_t coarse_shapes(struct cu_shape *shapes, uint32_t n)
{
	struct cu_shape whole = shapes[n - 1], picked[ARRAY_SIZE(quick_parts) + 1];
	uint32_t n_picked = 0;

	for (uint32_t i = 0; i < ARRAY_SIZE(quick_parts); i++) {
		double part = cu_shape_cus(whole) * quick_parts[i] / 100.0;
		struct cu_shape s = nearest_shape(shapes, n, part);

		if (cu_shape_equal(s, whole) ||
		    (n_picked > 0 && cu_shape_equal(s, picked[n_picked - 1])))
			continue;
		picked[n_picked++] = s;
	}
	picked[n_picked++] = whole;
	for (uint32_t i = 0; i < n_picked; i++)
		shapes[i] = picked[i];
	return n_picked;
}

/* Whether a quick sweep measures parts of the card at level i of n: at the ends and between. */
static bool is_mask_level(uint32_t i, uint32_t n)
{
	for (uint32_t k = 0; k < QUICK_MASK_LEVELS; k++)
		if (i == (n - 1) * k / (QUICK_MASK_LEVELS - 1))
			return true;
	return false;
}

int grid_plan(const struct grid_options *o, struct grid_cell **ret)
{
	struct cu_shape shapes[MAX_SHAPES];
	uint32_t levels[MAX_LEVELS], n_levels, n = 0;
	struct grid_cell *cells;
	int n_shapes;

	if (o->n_levels == 0 || o->n_levels > MAX_LEVELS || o->n_batches == 0)
		return -EINVAL;
	n_levels = grid_levels(o->level_mhz, o->n_levels, levels);
	n_shapes = cu_shapes(o->topology, shapes, MAX_SHAPES);
	if (n_shapes <= 0)
		return n_shapes < 0 ? n_shapes : -EINVAL;
	if (!o->masks) {
		shapes[0] = shapes[n_shapes - 1];
		n_shapes = 1;
	} else if (o->kind == GRID_QUICK) {
		n_shapes = (int)coarse_shapes(shapes, (uint32_t)n_shapes);
	}
	cells = calloc((size_t)n_levels * (uint32_t)n_shapes * o->n_batches, sizeof(*cells));
	if (!cells)
		return -ENOMEM;
	for (uint32_t l = n_levels; l-- > 0;)
		for (uint32_t s = (uint32_t)n_shapes; s-- > 0;) {
			bool whole = s == (uint32_t)n_shapes - 1;

			if (o->kind == GRID_QUICK && !whole && !is_mask_level(l, n_levels))
				continue;
			for (uint32_t b = 0; b < o->n_batches; b++)
				cells[n++] =
					(struct grid_cell){levels[l], shapes[s], o->batches[b]};
		}
	*ret = cells;
	return (int)n;
}
