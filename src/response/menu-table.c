/* SPDX-License-Identifier: Apache-2.0 */
#include "response/menu-table.h"
#include <math.h>

#define RATE_TOLERANCE 1e-9
#define TIE_W	       1.0 /* as the table's least */
#define ROW0_ROOM      0.05

/* ---- between rates ---- */

/* On the straight line from one rate of the menu to the next. */
struct place {
	uint32_t before, after; /* n_rates: beyond the last */
	float part;
};

static struct place place_of(const struct response_menu *m, double rate_rps)
{
	struct place p = {0};
	double before_rps, after_rps;

	while (p.after < m->n_rates && m->rate_rps[p.after] < rate_rps * (1 - RATE_TOLERANCE))
		p.after++;
	p.before = p.after;
	if (p.after == 0 || p.after == m->n_rates)
		return p;
	before_rps = m->rate_rps[p.after - 1];
	after_rps = m->rate_rps[p.after];
	if (rate_rps >= after_rps * (1 - RATE_TOLERANCE))
		return p;
	p.before--;
	p.part = (float)((rate_rps - before_rps) / (after_rps - before_rps));
	return p;
}

static float between(float before, float after, float part)
{
	return before + part * (after - before);
}

static bool is_sustained(const struct response_menu *m, uint32_t option, const struct place *at)
{
	return at->after < m->n_rates && !isinf(response_menu_point(m, option, at->after)->tail_ns);
}

static double power_at(const struct response_menu *m, uint32_t option, const struct place *at)
{
	return between(response_menu_point(m, option, at->before)->power_w,
		       response_menu_point(m, option, at->after)->power_w, at->part);
}

static void survival_at(const struct response_menu *m, uint32_t option, const struct place *at,
			struct tail_survival *ret)
{
	const struct menu_point *x = response_menu_point(m, option, at->before);
	const struct menu_point *y = response_menu_point(m, option, at->after);
	struct tail_survival other;

	tail_unpack(&x->survival, ret);
	if (x == y)
		return;
	tail_unpack(&y->survival, &other);
	for (int i = 0; i < TAIL_SHARES; i++)
		ret->ns[i] = between(ret->ns[i], other.ns[i], at->part);
}

static void point_at(const struct response_menu *m, uint32_t option, const struct place *at,
		     struct menu_point *ret, struct tail_survival *ret_survival)
{
	const struct menu_point *x, *y;

	if (!is_sustained(m, option, at)) {
		*ret = menu_point_unsustained;
		tail_unpack(&ret->survival, ret_survival);
		return;
	}
	x = response_menu_point(m, option, at->before);
	y = response_menu_point(m, option, at->after);
	ret->tail_ns = between(x->tail_ns, y->tail_ns, at->part);
	ret->wait_ns = between(x->wait_ns, y->wait_ns, at->part);
	ret->busy = between(x->busy, y->busy, at->part);
	ret->power_w = between(x->power_w, y->power_w, at->part);
	survival_at(m, option, at, ret_survival);
	tail_pack(ret_survival, &ret->survival);
}

void menu_point_at(const struct response_menu *m, uint32_t option, double rate_rps,
		   struct menu_point *ret, struct tail_survival *ret_survival)
{
	const struct place at = place_of(m, rate_rps);

	point_at(m, option, &at, ret, ret_survival);
}

/* ---- what is chosen ---- */

struct best {
	uint32_t option; /* UINT32_MAX: none */
	double cost_w, power_w;
};

struct row_search {
	struct place at;
	double late_w;	/* if all is late */
	double allowed; /* share that may be late */
	struct best full, masked;
};

struct search {
	const struct response_menu *menu;
	const struct response_table *table;
	const struct menu_table_options *options;
	double limit_ns; /* SLO / factor */
	double allowed;	 /* share that may be late, by the percentile */
	uint32_t n_rows;
	struct row_search rows[TABLE_MAX_ROWS];
};

static bool is_less(const struct best *a, const struct best *b)
{
	return a->cost_w < b->cost_w || (a->cost_w == b->cost_w && a->power_w < b->power_w);
}

/* The table's own row 0 has been seen to survive a step, with some room; others have to be as fast.
 */
static bool is_fast_enough(const struct search *s, const struct menu_option *o)
{
	const struct table_row *row0 = &s->table->rows[0];
	double room = o->cell == row0->cell ? ROW0_ROOM : RATE_TOLERANCE;

	return o->service_ns * s->options->factor <= row0->service_ns * (1 + room);
}

/* Row 0 is by power, of what is fast enough and within the limit. */
static void consider_row0(const struct search *s, uint32_t option, struct row_search *r,
			  struct best *best)
{
	const struct response_menu *m = s->menu;
	const struct menu_option *o = &m->options[option];
	struct best new = {option, 0, 0};
	struct tail_survival survival;

	if (o->batch > m->options[m->baseline].batch || !is_fast_enough(s, o))
		return;
	new.cost_w = new.power_w = power_at(m, option, &r->at);
	survival_at(m, option, &r->at, &survival);
	if (is_less(&new, best) && tail_late(&survival, s->limit_ns) <= r->allowed)
		*best = new;
}

static void consider(const struct search *s, uint32_t option, struct row_search *r,
		     struct best *best)
{
	struct best new = {option, 0, power_at(s->menu, option, &r->at)};
	struct tail_survival survival;
	double late;

	/* What is late is never less than nothing: most options need no more than this. */
	if (new.power_w >= best->cost_w)
		return;
	survival_at(s->menu, option, &r->at, &survival);
	late = tail_late(&survival, s->limit_ns);
	new.cost_w = new.power_w + r->late_w *late;
	if (late <= r->allowed && is_less(&new, best))
		*best = new;
}

static void search_rows(struct search *s)
{
	const struct response_menu *m = s->menu;

	for (uint32_t i = 0; i < m->n_options; i++) {
		bool full = m->options[i].full;

		for (uint32_t row = 0; row < s->n_rows && (full || !s->options->full_only); row++) {
			struct row_search *r = &s->rows[row];
			struct best *best = full ? &r->full : &r->masked;

			/* Higher rates are no more sustained than this one. */
			if (!is_sustained(m, i, &r->at))
				break;
			if (row == 0)
				consider_row0(s, i, r, best);
			else
				consider(s, i, r, best);
		}
	}
}

/* Without gating a mask must be worth more than a tie. */
static uint32_t choice(const struct search *s, const struct row_search *r)
{
	double worth_w = s->menu->gating == TABLE_GATING_NONE ? TIE_W : 0;

	if (r->full.option == UINT32_MAX)
		return r->masked.option;
	if (r->masked.option == UINT32_MAX || r->full.cost_w - r->masked.cost_w < worth_w)
		return r->full.option;
	return is_less(&r->masked, &r->full) ? r->masked.option : r->full.option;
}

/* ---- rows ---- */

static void set_row(const struct search *s, const struct row_search *r, struct table_row *row)
{
	const struct response_menu *m = s->menu;
	double f = s->options->factor;
	uint32_t option = choice(s, r), chosen = option == UINT32_MAX ? m->baseline : option;
	const struct menu_option *o = &m->options[chosen];
	struct place last = {m->n_rates - 1, m->n_rates - 1, 0};
	struct tail_survival survival;
	struct menu_point p;

	/* Beyond what this card can do, B is as at the most that the profile's can. */
	point_at(m, chosen, r->at.after < m->n_rates ? &r->at : &last, &p, &survival);
	row->cell = o->cell;
	row->max_mhz = m->clocks[o->clock].max_mhz;
	row->shape = o->shape;
	row->batch = o->batch;
	row->service_ns = f * o->service_ns;
	/* A wait is planned for the SLO, and no longer on a faster card. */
	row->wait_ns = MIN(f, 1.0) * (double)p.wait_ns;
	row->flags = (row->flags & ~(uint32_t)TABLE_ROW_BASELINE) |
		     (option == UINT32_MAX ? TABLE_ROW_BASELINE : 0u);
	/* Nor does the menu keep what is far beyond the SLO. */
	if (isinf(p.tail_ns)) {
		row->power_w = s->table->baseline.power_w;
		row->tail_ns = f * s->table->baseline.tail_ns;
		row->tail_upper_ns = f * s->table->baseline.tail_upper_ns;
		return;
	}
	row->power_w = (double)p.power_w;
	row->tail_upper_ns = f * (double)p.tail_ns;
	row->tail_ns = MIN(f * tail_latency_ns(&survival, s->allowed), row->tail_upper_ns);
}

static void set_baseline(const struct search *s, struct response_table *ret)
{
	double f = s->options->factor;

	ret->overload_rps = s->table->overload_rps / f;
	ret->baseline.rate_rps = s->table->baseline.rate_rps / f;
	ret->baseline.service_ns *= f;
	ret->baseline.tail_ns *= f;
	ret->baseline.tail_upper_ns *= f;
}

static double late_at(const struct response_menu *m, uint32_t option, double rate_rps,
		      double limit_ns)
{
	struct tail_survival survival;
	struct menu_point p;

	menu_point_at(m, option, rate_rps, &p, &survival);
	return isinf(p.tail_ns) ? 1 : tail_late(&survival, limit_ns);
}

/* What B is late on this card beyond what it is on the profile's is none of our choice, and full
 * speed does not help it. */
static double allowed_at(const struct search *s, double rate_rps)
{
	const struct response_menu *m = s->menu;
	double here = late_at(m, m->baseline, s->options->factor * rate_rps, s->limit_ns);
	double there = late_at(m, m->baseline, rate_rps, (double)m->slo_ns);

	return s->allowed + MAX(here - there, 0.0);
}

void menu_table(const struct response_menu *m, const struct response_table *table,
		const struct menu_table_options *o, struct response_table *ret)
{
	double late_w = o->late_cost * response_menu_busy_w(m, m->baseline) / m->rated_rps;
	struct search s = {
		.menu = m,
		.table = table,
		.options = o,
		.limit_ns = (double)m->slo_ns / o->factor,
		.allowed = 1 - m->percentile / 100.0,
		.n_rows = table->n_rows,
	};

	*ret = *table;
	if (o->factor == 1 && o->late_max <= s.allowed)
		return;
	for (uint32_t i = 0; i < s.n_rows; i++) {
		double rate_rps = o->factor * table->rows[i].rate_rps;
		struct best none = {UINT32_MAX, INFINITY, INFINITY};

		s.rows[i] = (struct row_search){
			.at = place_of(m, rate_rps),
			.late_w = late_w * rate_rps,
			.allowed = MAX(allowed_at(&s, table->rows[i].rate_rps),
				       i > 0 ? o->late_max : 0),
			.full = none,
			.masked = none,
		};
	}
	search_rows(&s);
	for (uint32_t i = 0; i < s.n_rows; i++)
		set_row(&s, &s.rows[i], &ret->rows[i]);
	set_baseline(&s, ret);
}
