/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/planner.h"
#include "base/units.h"

/* Levels within 2 % are one (surface_check_card()). */
#define LEVEL_TOLERANCE_PERCENT 2

uint32_t planner_lookup(const struct response_table *t, double demand_rps)
{
	const struct table_row *row = response_table_lookup(t, demand_rps);

	return row ? (uint32_t)(row - t->rows) : PACER_ROW_BASELINE;
}

const struct table_row *planner_row(const struct response_table *t, uint32_t row)
{
	return row < t->n_rows ? &t->rows[row] : &t->baseline;
}

bool planner_same(const struct response_table *t, uint32_t a, uint32_t b)
{
	const struct table_row *x = planner_row(t, a), *y = planner_row(t, b);

	return x->max_mhz == y->max_mhz && cu_shape_equal(x->shape, y->shape) &&
	       x->batch == y->batch;
}

uint32_t planner_with_own_batch(const struct response_table *t, uint32_t row)
{
	for (; row < t->n_rows; row++)
		if (t->rows[row].batch == t->baseline.batch)
			return row;
	return PACER_ROW_BASELINE;
}

static bool inside(const struct table_row *row, uint64_t cap_uw)
{
	return row->power_w * (double)UW_PER_W <= (double)cap_uw;
}

uint32_t planner_inside_cap(const struct response_table *t, uint32_t row, uint64_t cap_uw)
{
	if (cap_uw == 0 || inside(planner_row(t, row), cap_uw))
		return row;
	/* Power does not grow evenly from row to row, so a higher one may be inside. */
	for (uint32_t i = t->n_rows; i > 0; i--)
		if (inside(&t->rows[i - 1], cap_uw))
			return i - 1;
	return 0;
}

uint32_t planner_level_for_mhz(const struct governor_config *c, uint32_t mhz)
{
	for (uint32_t i = 0; i < c->n_levels; i++)
		if ((uint64_t)c->level_mhz[i] * (100 + LEVEL_TOLERANCE_PERCENT) >=
		    (uint64_t)mhz * 100)
			return c->level_mhz[i];
	return c->level_mhz[c->n_levels - 1];
}

uint32_t planner_level_mhz(const struct governor_config *c, const struct response_table *t,
			   uint32_t row)
{
	return row < t->n_rows ? planner_level_for_mhz(c, t->rows[row].max_mhz)
			       : c->level_mhz[c->n_levels - 1];
}
