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

static void set_tail(const struct tail_rate *t, struct menu_point *ret)
{
	ret->tail_ns = (float)t->upper_ns;
	ret->survival = t->survival;
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

/* False: of an option that does not wait for batches. */
static bool set_batch(const struct menu_building *b, uint32_t option, uint32_t rate,
		      struct menu_point *ret)
{
	double rate_rps = b->menu->rate_rps[rate];
	struct tail_batch t;

	if (!candidate_batch(&b->question, b->menu->options[option].cell, rate_rps, true, &t))
		return false;
	ret->tail_ns = (float)t.upper_ns;
	ret->wait_ns = (float)t.wait_ns;
	ret->survival = t.survival;
	set_power(b, option, rate_rps, ret);
	return true;
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

static bool is_beyond(const struct menu_building *b, const struct menu_point *p, uint32_t rate,
		      uint32_t chosen)
{
	return (double)p->tail_ns > MENU_TAIL_KEPT * (double)b->menu->slo_ns && rate >= chosen;
}

/* The rates from *rate on, as many as there are lanes. */
static int explore_lanes(const struct menu_building *b, uint32_t option, uint32_t n, uint32_t *rate,
			 struct menu_point *points)
{
	struct tail_rate lanes[TAIL_LANES];
	uint32_t at[TAIL_LANES], k = 0;
	int r;

	for (; *rate < n && k < TAIL_LANES; *rate = next_rate(b, option, *rate, n)) {
		lanes[k].rate_rps = b->menu->rate_rps[*rate];
		at[k++] = *rate;
	}
	r = tail_explore_rates(b->tails->lab, cell_of(b, option), b->options->percentile, lanes, k);
	for (uint32_t i = 0; r == 0 && i < k; i++) {
		set_tail(&lanes[i], &points[at[i]]);
		set_power(b, option, lanes[i].rate_rps, &points[at[i]]);
	}
	return r;
}

/* Of n rates, as far as tails are kept; returns how many are. Tails rise with the rate: beyond the
 * first that is too long there is nothing to find. */
static int explore(const struct menu_building *b, uint32_t option, uint32_t n,
		   struct menu_point *points)
{
	uint32_t chosen = rates_chosen(b, option), explored = 0;

	for (uint32_t i = 0; i < n; i = next_rate(b, option, i, n)) {
		int r = 0;

		if (set_smaller(b, option, i, &points[i]) || set_batch(b, option, i, &points[i]))
			explored = next_rate(b, option, i, n);
		else if (i == explored)
			r = explore_lanes(b, option, n, &explored, points);
		if (r < 0)
			return r;
		if (is_beyond(b, &points[i], i, chosen))
			return (int)i;
	}
	return (int)n;
}

static int add_tails(const struct menu_building *b, uint32_t option, uint32_t sustained,
		     struct menu_point *points)
{
	int n = explore(b, option, sustained, points);

	set_gaps(b, (uint32_t)MAX(n, 0), points);
	for (int i = 0; i < n; i++)
		set_known(b, option, (uint32_t)i, &points[i]);
	return n;
}

int menu_add_points(const struct menu_building *b, uint32_t option)
{
	const struct response_menu *m = b->menu;
	struct menu_point *points = m->points + (size_t)option * m->n_rates;
	uint32_t sustained = rates_sustained(b, option);
	int n = (int)sustained;

	if (b->options->service_only)
		for (uint32_t i = 0; i < sustained; i++) {
			set_service_alone(b, cell_of(b, option), &points[i]);
			set_power(b, option, m->rate_rps[i], &points[i]);
		}
	else
		n = add_tails(b, option, sustained, points);
	for (uint32_t i = (uint32_t)MAX(n, 0); i < m->n_rates; i++)
		points[i] = menu_point_unsustained;
	return MIN(n, 0);
}
