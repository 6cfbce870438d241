/* SPDX-License-Identifier: Apache-2.0 */
/* What a menu must give to one who looks for a single model on a card that is as its profile: the
 * table's rows. Chosen here by the rules in table.h, apart from the code that made the table. */
#pragma once

#include "response/menu-table.h"
#include "test-surface-fixture.h"

struct lookup {
	const struct surface *surface;
	const struct table_options *options;
	const struct response_table *table;
	const struct response_menu *menu;
	uint32_t row, last; /* last: the option of the row before, or UINT32_MAX */
};

static inline const struct surface_cell *lookup_cell(const struct lookup *l, uint32_t option)
{
	return &l->surface->cells[l->menu->options[option].cell];
}

static inline uint32_t lookup_option(const struct lookup *l, uint32_t cell)
{
	uint32_t i = 0;

	while (i < l->menu->n_options && l->menu->options[i].cell != cell)
		i++;
	assert_true(i < l->menu->n_options);
	return i;
}

/* By the parts that a planner adds up. */
static inline double lookup_power_w(const struct lookup *l, uint32_t option)
{
	const struct menu_option *o = &l->menu->options[option];
	const struct menu_clock *c = &l->menu->clocks[o->clock];
	double rate_rps = l->menu->rate_rps[l->row], u = rate_rps / o->capacity_rps;
	uint32_t cus = l->menu->n_cus;

	if (!o->full && l->menu->gating == TABLE_GATING_CU)
		cus = cu_shape_cus(o->shape);
	if (!o->full && l->menu->gating == TABLE_GATING_SE)
		cus = l->menu->n_cus * o->shape.n_se / l->menu->n_se;
	return c->idle_w + u * (c->uncore_w + cus * c->cu_w) + rate_rps * o->energy_j;
}

static inline double lookup_tie_w(const struct lookup *l, uint32_t a, uint32_t b)
{
	double se_w = 0;

	for (int i = 0; i < 2; i++) {
		uint32_t option = i ? b : a;
		const struct surface_cell *c = lookup_cell(l, option);
		double u = l->menu->rate_rps[l->row] / c->capacity_rps;
		double above_w = lookup_power_w(l, option) -
				 l->menu->clocks[l->menu->options[option].clock].idle_w;

		se_w = hypot(se_w,
			     hypot(u * c->power_se, above_w * c->capacity_se / c->capacity_rps));
	}
	return MAX(1.0, 2 * se_w);
}

static inline double lookup_late(const struct lookup *l, uint32_t option)
{
	return response_menu_late(response_menu_point(l->menu, option, l->row),
				  (double)l->menu->slo_ns);
}

static inline double lookup_late_cost_w(const struct lookup *l, uint32_t option)
{
	const struct surface_cell *b = surface_baseline(l->surface);
	double load = l->menu->rate_rps[l->row] / l->menu->rated_rps;

	return l->options->late_cost * b->power_w * load * lookup_late(l, option);
}

/* Of what a row is chosen by. */
static inline double lookup_cost_w(const struct lookup *l, uint32_t option)
{
	double limit_ns = l->options->headroom * (double)l->menu->slo_ns;
	float tail_ns = response_menu_point(l->menu, option, l->row)->tail_ns;

	if (isinf(tail_ns) || (l->options->late_cost <= 0 && (double)tail_ns > limit_ns))
		return INFINITY;
	if (l->options->late_cost > 0 && lookup_late(l, option) > 1 - l->menu->percentile / 100.0)
		return INFINITY;
	return lookup_power_w(l, option) + lookup_late_cost_w(l, option);
}

static inline bool lookup_no_rival(const struct lookup *l, uint32_t full, uint32_t option)
{
	if (full == UINT32_MAX || l->menu->options[option].full)
		return false;
	return lookup_cost_w(l, full) - lookup_cost_w(l, option) < lookup_tie_w(l, full, option);
}

static inline uint32_t lookup_least(const struct lookup *l, bool full_only, uint32_t full)
{
	uint32_t best = UINT32_MAX;

	for (uint32_t i = 0; i < l->menu->n_options; i++) {
		if ((full_only && !l->menu->options[i].full) || lookup_no_rival(l, full, i) ||
		    isinf(lookup_cost_w(l, i)))
			continue;
		if (best == UINT32_MAX || lookup_cost_w(l, i) < lookup_cost_w(l, best))
			best = i;
	}
	return best;
}

static inline bool lookup_prefers(const struct lookup *l, uint32_t a, uint32_t b)
{
	uint32_t cus_a = cu_shape_cus(l->menu->options[a].shape);
	uint32_t cus_b = cu_shape_cus(l->menu->options[b].shape);

	if (cus_a != cus_b)
		return cus_a > cus_b;
	if ((a == l->last) != (b == l->last))
		return a == l->last;
	return lookup_cost_w(l, a) < lookup_cost_w(l, b);
}

/* UINT32_MAX: nothing holds. */
static inline uint32_t lookup_choose(const struct lookup *l)
{
	uint32_t full = UINT32_MAX, best, chosen;

	if (l->options->gating == TABLE_GATING_NONE)
		full = lookup_least(l, /* full_only= */ true, UINT32_MAX);
	best = chosen = lookup_least(l, /* full_only= */ false, full);
	if (best == UINT32_MAX || l->options->late_cost > 0)
		return best;
	for (uint32_t i = 0; i < l->menu->n_options; i++)
		if (!isinf(lookup_cost_w(l, i)) && !lookup_no_rival(l, full, i) &&
		    lookup_cost_w(l, i) - lookup_cost_w(l, best) < lookup_tie_w(l, i, best) &&
		    lookup_prefers(l, i, chosen))
			chosen = i;
	return chosen;
}

static inline void lookup_check(struct lookup *l)
{
	const struct table_row *row = &l->table->rows[l->row];
	uint32_t of_row = lookup_option(l, row->cell);
	const struct menu_point *p = response_menu_point(l->menu, of_row, l->row);
	uint32_t chosen;

	assert_true(l->menu->rate_rps[l->row] == row->rate_rps);
	assert_true(fabs(lookup_power_w(l, of_row) - row->power_w) < 1e-9 * row->power_w);
	assert_true(fabs((double)p->power_w - row->power_w) < 1e-6 * row->power_w);
	assert_true(p->tail_ns == (float)row->tail_upper_ns);
	assert_true(p->survival.at[3] <= p->survival.at[4]);
	/* Row 0 also has a step to survive. */
	if (l->row == 0) {
		l->last = row->flags & TABLE_ROW_BASELINE ? UINT32_MAX : of_row;
		return;
	}
	chosen = lookup_choose(l);
	l->last = chosen;
	if (chosen == UINT32_MAX)
		assert_true(row->flags & TABLE_ROW_BASELINE);
	else if (l->menu->options[chosen].cell != row->cell)
		fail_msg("row %u: cell %u at %.9g W, the menu has cell %u at %.9g W", l->row,
			 row->cell, lookup_cost_w(l, of_row), l->menu->options[chosen].cell,
			 lookup_cost_w(l, chosen));
}

/* ---- of a card with other service times ---- */

static inline double lookup_late_by(const struct menu_point *p,
				    const struct tail_survival *survival, double limit_ns)
{
	return isinf(p->tail_ns) ? 1 : tail_late(survival, limit_ns);
}

/* W; INFINITY: more is late than may be. */
static inline double lookup_cost_at(const struct lookup *l, uint32_t option, double rate_rps,
				    double factor)
{
	const struct response_menu *m = l->menu;
	struct tail_survival survival, of_b, of_profiled;
	struct menu_point p, b, profiled;
	double late, more;

	menu_point_at(m, option, rate_rps * factor, &p, &survival);
	menu_point_at(m, m->baseline, rate_rps * factor, &b, &of_b);
	menu_point_at(m, m->baseline, rate_rps, &profiled, &of_profiled);
	late = lookup_late_by(&p, &survival, (double)m->slo_ns / factor);
	more = lookup_late_by(&b, &of_b, (double)m->slo_ns / factor) -
	       lookup_late_by(&profiled, &of_profiled, (double)m->slo_ns);
	if (isinf(p.tail_ns) || late > 1 - m->percentile / 100.0 + fmax(more, 0))
		return INFINITY;
	return (double)p.power_w + l->options->late_cost * response_menu_busy_w(m, m->baseline) *
					   late * rate_rps * factor / m->rated_rps;
}

/* Nothing costs less than what the row has, but for masks that are not worth their trouble. */
static inline void lookup_check_row_at(const struct lookup *l, const struct table_row *row,
				       double factor)
{
	double least_w = INFINITY, full_w = INFINITY, cost_w, tie_w;
	uint32_t of_row = lookup_option(l, row->cell);

	for (uint32_t i = 0; i < l->menu->n_options; i++) {
		cost_w = lookup_cost_at(l, i, row->rate_rps, factor);
		least_w = fmin(least_w, cost_w);
		if (l->menu->options[i].full)
			full_w = fmin(full_w, cost_w);
	}
	assert_true(!isinf(least_w) == !(row->flags & TABLE_ROW_BASELINE));
	if (isinf(least_w)) {
		assert_int_equal(of_row, l->menu->baseline);
		return;
	}
	cost_w = lookup_cost_at(l, of_row, row->rate_rps, factor);
	tie_w = l->menu->gating == TABLE_GATING_NONE ? 1.0 : 0;
	if (l->menu->options[of_row].full)
		assert_true(cost_w <= full_w && cost_w <= least_w + tie_w);
	else
		assert_true(cost_w <= least_w && cost_w <= full_w - tie_w);
	assert_true(row->tail_ns <= row->tail_upper_ns);
	assert_true(fabs(row->service_ns - factor * l->menu->options[of_row].service_ns) < 1e-3);
}

static inline void lookup_check_factor(const struct lookup *l, double factor)
{
	const struct menu_table_options o = {factor, l->options->late_cost, false};
	const struct menu_table_options alone = {factor, l->options->late_cost, true};
	struct response_table t, clock;

	menu_table(l->menu, l->table, &o, &t);
	menu_table(l->menu, l->table, &alone, &clock);
	assert_true(fabs(t.overload_rps * factor - l->table->overload_rps) < 1e-6);
	assert_true(fabs(t.baseline.service_ns - factor * l->table->baseline.service_ns) < 1e-3);
	for (uint32_t i = 0; i < t.n_rows; i++) {
		assert_true(t.rows[i].rate_rps == l->table->rows[i].rate_rps);
		assert_true(l->menu->options[lookup_option(l, clock.rows[i].cell)].full);
		/* A step on a slower card is survived by what is as fast as row 0 was. */
		if (i == 0 && !(t.rows[0].flags & TABLE_ROW_BASELINE))
			assert_true(t.rows[0].service_ns <=
				    l->table->rows[0].service_ns * 1.05 * (1 + 1e-6));
		if (i > 0)
			lookup_check_row_at(l, &t.rows[i], factor);
	}
}

/* As good as 1, but not taken for it: the menu leads to the very rows. */
static inline void lookup_check_same(const struct lookup *l)
{
	const struct menu_table_options same = {1, l->options->late_cost, false};
	const struct menu_table_options o = {1 + 1e-12, l->options->late_cost, false};
	struct response_table t;

	menu_table(l->menu, l->table, &same, &t);
	assert_memory_equal(&t, l->table, sizeof(t));
	menu_table(l->menu, l->table, &o, &t);
	for (uint32_t i = 1; i < t.n_rows; i++) {
		const struct table_row *row = &l->table->rows[i];

		assert_int_equal(t.rows[i].cell, row->cell);
		assert_int_equal(t.rows[i].flags, row->flags);
		assert_true(fabs(t.rows[i].power_w - row->power_w) < 1e-6 * row->power_w);
		assert_true(fabs(t.rows[i].tail_upper_ns - row->tail_upper_ns) <
			    1e-6 * row->tail_upper_ns);
		assert_true(fabs(t.rows[i].tail_ns - row->tail_ns) < 0.05 * row->tail_ns);
	}
}

/* Derives both and compares all rows. */
static inline void lookup_check_surface(const struct surface *s, const struct table_options *o)
{
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	_cleanup_(freep) struct response_table *table = NULL;
	_cleanup_(freep) struct response_menu *menu = NULL;
	struct surface_error error = {0};
	struct lookup l;

	assert_int_equal(response_tails_new(s, o->seed, &tails), 0);
	assert_int_equal(response_table_derive_from(tails, o, &table, &error), 0);
	assert_int_equal(response_menu_derive(tails, o, table, &menu, &error), 0);
	assert_int_equal(menu->n_rates, table->n_rows);
	l = (struct lookup){s, o, table, menu, .last = UINT32_MAX};
	for (; l.row < table->n_rows; l.row++)
		lookup_check(&l);
	if (o->late_cost <= 0)
		return;
	lookup_check_same(&l);
	for (int i = 0; i < 6; i++)
		lookup_check_factor(&l, 0.8 + 0.1 * (i + i / 2));
}
