/* SPDX-License-Identifier: Apache-2.0 */
/* What each option of a menu does at each rate. */
#include "response/menu-internal.h"

static const struct surface_cell *cell_of(const struct menu_building *b, uint32_t option)
{
	return &b->surface->cells[b->menu->options[option].cell];
}

const struct menu_point menu_point_unsustained = {
	.tail_ns = INFINITY,
	.busy = 1,
	.power_w = INFINITY,
	.survival = {{INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY,
		      INFINITY, INFINITY, INFINITY}},
};

static void set_power(const struct menu_building *b, uint32_t option, double rate_rps,
		      struct menu_point *ret)
{
	struct candidate at_rate = b->candidates[option];
	double busy;

	candidate_refine_power(&b->question, &at_rate, rate_rps, &busy);
	ret->busy = (float)busy;
	ret->power_w = (float)at_rate.power_w;
}

/* Nothing queues. */
static void set_service_alone(const struct menu_building *b, const struct surface_cell *c,
			      struct menu_point *ret)
{
	ret->tail_ns = c->service_ns[b->options->percentile];
	for (int i = 0; i < TAIL_SHARES; i++)
		ret->survival.ns[i] = quantile_at(c->service_ns, (float)((SURFACE_QUANTILES - 1) *
									 (1 - tail_shares[i])));
}

/* At a rate at which nothing fills it, an option does what the next smaller batch does. */
static bool set_smaller(const struct menu_building *b, uint32_t option, uint32_t rate,
			struct menu_point *ret)
{
	const struct response_menu *m = b->menu;
	const struct menu_option *o = &m->options[option];

	if (m->rate_rps[rate] >= b->candidates[option].fills_from_rps)
		return false;
	for (uint32_t i = option; i-- > 0;)
		if (m->options[i].clock == o->clock &&
		    cu_shape_equal(m->options[i].shape, o->shape) &&
		    m->options[i].batch < o->batch) {
			*ret = *response_menu_point(m, i, rate);
			return !isinf(ret->tail_ns);
		}
	return false;
}

static float between(float before, float after, float part)
{
	return before + part * (after - before);
}

/* Straight between those that were simulated: tails bend upwards, so it is rather too long. */
static void set_between(const struct menu_building *b, uint32_t before, uint32_t rate,
			uint32_t after, struct menu_point *points)
{
	const struct menu_point *x = &points[before], *y = &points[after];
	const double *rates = b->menu->rate_rps;
	float part = (float)((rates[rate] - rates[before]) / (rates[after] - rates[before]));

	points[rate].tail_ns = between(x->tail_ns, y->tail_ns, part);
	points[rate].wait_ns = between(x->wait_ns, y->wait_ns, part);
	points[rate].busy = between(x->busy, y->busy, part);
	points[rate].power_w = between(x->power_w, y->power_w, part);
	for (int i = 0; i < TAIL_SHARES; i++)
		points[rate].survival.ns[i] = between(x->survival.ns[i], y->survival.ns[i], part);
}

/* Rates that were not simulated have no tail yet. */
static void set_gaps(const struct menu_building *b, uint32_t n, struct menu_point *points)
{
	uint32_t before = 0, after = 0;

	for (uint32_t i = 1; i < n; i++) {
		if (points[i].tail_ns > 0) {
			before = i;
			continue;
		}
		for (after = MAX(after, i + 1); points[after].tail_ns <= 0;)
			after++;
		set_between(b, before, i, after, points);
	}
}

/* What the table has asked stands as it was told. */
static void set_known(const struct menu_building *b, uint32_t option, uint32_t rate,
		      struct menu_point *ret)
{
	const struct tail_trace *t =
		tail_trace_known(b->tails, b->menu->options[option].cell, b->menu->rate_rps[rate],
				 b->options->percentile);

	if (t && t->batch.slo_ns == b->question.slo_ns) {
		if (t->batch.upper_ns > 0)
			ret->tail_ns = (float)t->batch.upper_ns;
		ret->wait_ns = (float)t->batch.wait_ns;
		ret->survival = t->batch.survival;
		set_power(b, option, b->menu->rate_rps[rate], ret);
		return;
	}
	if (t && t->n == TAIL_REPLICATIONS)
		ret->tail_ns = (float)t->upper_ns;
	if (t && t->has_survival)
		ret->survival = t->survival;
}

/* How many rates have to be there because the table chose it. */
static uint32_t rates_chosen(const struct menu_building *b, uint32_t option)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->table->n_rows; i++)
		if (b->table->rows[i].cell == b->menu->options[option].cell)
			n = i + 1;
	return n;
}

static uint32_t rates_sustained(const struct menu_building *b, uint32_t option)
{
	uint32_t n = 0;

	while (n < b->menu->n_rates && candidate_sustains(cell_of(b, option), b->menu->rate_rps[n]))
		n++;
	return n;
}

/* Every other rate and the last one of n; of batches, which take long and are smooth, every fourth.
 */
static uint32_t next_rate(const struct menu_building *b, uint32_t option, uint32_t rate, uint32_t n)
{
	uint32_t next = rate + (b->menu->options[option].batch > b->baseline->batch ? 4 : 2);

	return rate + 1 < n ? MIN(next, n - 1) : n;
}

/* ---- what is simulated of an option ---- */

/* Of the rates at which batches were simulated, from the last one down, and the first. */
#define BOUND_EVERY 4

struct exploration {
	const struct menu_building *b;
	uint32_t option, n; /* rates: that it sustains, then those that are kept */
	struct menu_point *points;
	bool batches;			     /* are waited for */
	uint32_t n_own, own[TABLE_MAX_ROWS]; /* rates that were simulated, ascending */
	double factors[TABLE_MAX_ROWS];	     /* of these: how far the bound is above the tail; 0:
					      * not known */
};

static void add_own(struct exploration *x, uint32_t rate, double tail_ns,
		    const struct tail_survival *survival, double upper_ns)
{
	struct menu_point *p = &x->points[rate];

	p->tail_ns = (float)tail_ns;
	p->survival = *survival;
	set_power(x->b, x->option, x->b->menu->rate_rps[rate], p);
	x->own[x->n_own] = rate;
	x->factors[x->n_own++] = upper_ns / tail_ns;
}

/* False: of an option that does not wait for batches. */
static bool explore_batch(struct exploration *x, uint32_t rate)
{
	struct tail_batch t;

	if (!candidate_batch(&x->b->question, x->b->menu->options[x->option].cell,
			     x->b->menu->rate_rps[rate], x->n_own == 0, &t))
		return false;
	x->points[rate].wait_ns = (float)t.wait_ns;
	x->batches = true;
	add_own(x, rate, t.tail_ns, &t.survival, t.upper_ns);
	return true;
}

/* The rates from this one on, as many as there are lanes. */
static void explore_lanes(struct exploration *x, uint32_t rate)
{
	const struct menu_building *b = x->b;
	struct tail_rate lanes[TAIL_LANES];
	uint32_t at[TAIL_LANES], k = 0;

	for (; rate < x->n && k < TAIL_LANES; rate = next_rate(b, x->option, rate, x->n)) {
		lanes[k].rate_rps = b->menu->rate_rps[rate];
		at[k++] = rate;
	}
	tail_explore_rates(b->tails->lab, b->options->percentile, lanes, k);
	for (uint32_t i = 0; i < k; i++)
		add_own(x, at[i], lanes[i].tail_ns, &lanes[i].survival, 0);
}

static bool is_beyond(const struct exploration *x, uint32_t rate, uint32_t chosen)
{
	return (double)x->points[rate].tail_ns > MENU_TAIL_KEPT * (double)x->b->menu->slo_ns &&
	       rate >= chosen;
}

/* As far as tails are kept. They rise with the rate: beyond the first that is too long there is
 * nothing to find. */
static void explore_tails(struct exploration *x)
{
	uint32_t chosen = rates_chosen(x->b, x->option);

	for (uint32_t i = 0; i < x->n; i = next_rate(x->b, x->option, i, x->n)) {
		bool known = x->n_own > 0 && i <= x->own[x->n_own - 1];

		if (!known && !set_smaller(x->b, x->option, i, &x->points[i]) &&
		    !explore_batch(x, i)) {
			if (x->n_own == 0)
				tail_take_cell(x->b->tails->lab, cell_of(x->b, x->option));
			explore_lanes(x, i);
		}
		if (is_beyond(x, i, chosen))
			x->n = i;
	}
	/* The first that is too long still has a line leading to it. */
	while (x->n_own > 0 && x->own[x->n_own - 1] > x->n)
		x->n_own--;
}

/* ---- bounds: of a few rates; in between they are straight ---- */

static void bound_batches(struct exploration *x)
{
	uint32_t cell = x->b->menu->options[x->option].cell;

	for (uint32_t i = x->n_own; i > 1; i -= MIN(i, (uint32_t)BOUND_EVERY)) {
		double rate_rps = x->b->menu->rate_rps[x->own[i - 1]];
		struct tail_batch t;

		(void)candidate_batch(&x->b->question, cell, rate_rps, true, &t);
		x->factors[i - 1] = t.upper_ns / t.tail_ns;
	}
}

static void bound_lanes(struct exploration *x)
{
	const struct menu_building *b = x->b;
	uint32_t at[TAIL_BOUNDS], n = MIN(x->n_own, (uint32_t)TAIL_BOUNDS);
	struct tail_rate rates[TAIL_BOUNDS];
	double factors[TAIL_BOUNDS];

	for (uint32_t k = 0; k < n; k++) {
		at[k] = n > 1 ? k * (x->n_own - 1) / (n - 1) : 0;
		rates[k].rate_rps = b->menu->rate_rps[x->own[at[k]]];
		rates[k].survival = x->points[x->own[at[k]]].survival;
	}
	tail_bound_rates(b->tails->lab, b->options->percentile, rates, n, factors);
	for (uint32_t k = 0; k < n; k++)
		x->factors[at[k]] = factors[k];
}

static void bound_tails(struct exploration *x)
{
	const double *rates = x->b->menu->rate_rps;
	uint32_t before = 0, after = 0;

	if (x->n_own == 0)
		return;
	if (x->batches)
		bound_batches(x);
	else
		bound_lanes(x);
	for (uint32_t i = 0; i < x->n_own; i++) {
		double first = rates[x->own[before]], part;

		if (x->factors[i] <= 0) {
			for (after = MAX(after, i + 1); x->factors[after] <= 0;)
				after++;
			part = (rates[x->own[i]] - first) / (rates[x->own[after]] - first);
			x->factors[i] = (1 - part) * x->factors[before] + part * x->factors[after];
		}
		x->points[x->own[i]].tail_ns *= (float)x->factors[i];
		before = i;
	}
}

static void add_tails(struct exploration *x)
{
	explore_tails(x);
	bound_tails(x);
	set_gaps(x->b, x->n, x->points);
	for (uint32_t i = 0; i < x->n; i++)
		set_known(x->b, x->option, i, &x->points[i]);
}

void menu_add_points(const struct menu_building *b, uint32_t option)
{
	const struct response_menu *m = b->menu;
	struct exploration x = {
		.b = b,
		.option = option,
		.n = rates_sustained(b, option),
		.points = m->points + (size_t)option * m->n_rates,
	};

	if (b->options->service_only)
		for (uint32_t i = 0; i < x.n; i++) {
			set_service_alone(b, cell_of(b, option), &x.points[i]);
			set_power(b, option, m->rate_rps[i], &x.points[i]);
		}
	else
		add_tails(&x);
	for (uint32_t i = x.n; i < m->n_rates; i++)
		x.points[i] = menu_point_unsustained;
}
