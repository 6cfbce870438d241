/* SPDX-License-Identifier: Apache-2.0 */
/* Which cells of a surface may be chosen, and what they draw. */
#include "response/table-internal.h"
#include <errno.h>
#include <math.h>

uint32_t table_gated_cus(const struct surface *s, struct cu_shape shape, enum table_gating gating)
{
	switch (gating) {
	case TABLE_GATING_SE:
		return s->n_cus - s->n_cus * shape.n_se / s->n_se;
	case TABLE_GATING_CU:
		return s->n_cus - cu_shape_cus(shape);
	default:
		return 0;
	}
}

struct collection {
	const struct surface *surface;
	const struct surface_cell *baseline;
	const struct table_options *options;
	struct surface_error *error;
};

/* As the paper models it: measured power minus the active-idle power of each CU that is off. */
static int busy_power(const struct collection *k, const struct surface_cell *c, bool full,
		      double idle_w, double *ret_w)
{
	const struct surface *s = k->surface;
	double active_idle_w;

	if (full || k->options->gating == TABLE_GATING_NONE) {
		*ret_w = c->power_w;
		return 0;
	}
	active_idle_w = table_level_power(s, s->active_idle_power_w, c->max_mhz);
	if (isnan(active_idle_w))
		return table_refuse(
			k->error, -EINVAL,
			"power gating cannot be modelled: the surface has no active-idle power");
	*ret_w = MAX(c->power_w - table_gated_cus(s, c->shape, k->options->gating) *
					  MAX(active_idle_w - idle_w, 0.0) / s->n_cus,
		     idle_w);
	return 0;
}

static bool may_be_chosen(const struct collection *k, const struct surface_cell *c, bool full)
{
	if (c == k->baseline)
		return true;
	/* The number of workers is the server's own; nobody can set it. */
	return !(c->flags & SURFACE_NEVER_CHOSEN) && c->batch <= k->options->max_batch &&
	       c->workers == k->baseline->workers && (full || k->options->free_mask) &&
	       (c->max_mhz == k->baseline->max_mhz || k->options->free_clock);
}

/* 1 if the cell is a candidate. */
static int collect(const struct collection *k, uint32_t cell, struct candidate *ret)
{
	const struct surface *s = k->surface;
	const struct surface_cell *c = &s->cells[cell];
	struct candidate new = {.cell = cell};
	int r;

	new.full = cu_shape_equal(c->shape, k->baseline->shape);
	if (!may_be_chosen(k, c, new.full))
		return 0;
	new.idle_w = table_level_power(s, s->idle_power_w, c->max_mhz);
	if (isnan(new.idle_w))
		return table_refuse(k->error, -EINVAL, "the surface has no idle power");
	r = busy_power(k, c, new.full, new.idle_w, &new.busy_w);
	if (r < 0)
		return r;
	*ret = new;
	return 1;
}

int candidates_collect(const struct surface *s, const struct table_options *o,
		       struct candidate **ret, uint32_t *ret_n, struct surface_error *error)
{
	_cleanup_(freep) struct candidate *candidates = NULL;
	struct collection k = {s, surface_baseline(s), o, error};
	uint32_t n = 0;

	if (!k.baseline)
		return table_refuse(error, -EBADMSG, "the surface has no baseline");
	candidates = calloc(s->n_cells, sizeof(*candidates));
	if (!candidates)
		return table_refuse(error, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < s->n_cells; i++) {
		int r = collect(&k, i, &candidates[n]);

		if (r < 0)
			return r;
		n += (uint32_t)r;
	}
	*ret = TAKE_PTR(candidates);
	*ret_n = n;
	return 0;
}

bool candidate_sustains(const struct surface_cell *cell, double rate_rps)
{
	return rate_rps <= TABLE_MAX_UTILISATION * cell->capacity_rps * (1 + TABLE_RATE_TOLERANCE);
}

void candidate_set_power(const struct surface_cell *cell, struct candidate *c, double rate_rps)
{
	double load = rate_rps / cell->capacity_rps, above_idle_w = c->busy_w - c->idle_w;

	c->power_w = c->idle_w + load * above_idle_w;
	c->power_se_w =
		load * hypot(cell->power_se, above_idle_w * cell->capacity_se / cell->capacity_rps);
}
