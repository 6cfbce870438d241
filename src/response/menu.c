/* SPDX-License-Identifier: Apache-2.0 */
#include "response/menu.h"
#include "response/table-internal.h"
#include "response/tail.h"
#include <errno.h>
#include <string.h>

struct building {
	const struct surface *surface;
	const struct surface_cell *baseline;
	const struct table_options *options;
	const struct response_table *table;
	struct response_tails *tails;
	struct tail_question question;
	const struct candidate *candidates; /* [option] */
	struct response_menu *menu;
};

static const struct surface_cell *cell_of(const struct building *b, uint32_t option)
{
	return &b->surface->cells[b->menu->options[option].cell];
}

/* Least squares: y = a + b x. */
struct line {
	double n, x, y, xx, xy;
};

static void line_add(struct line *l, double x, double y)
{
	l->n++;
	l->x += x;
	l->y += y;
	l->xx += x * x;
	l->xy += x * y;
}

/* The line's a; NaN where the points are of one x alone. */
static double line_start(const struct line *l)
{
	double spread = l->xx - l->x * l->x / l->n;

	if (!(spread > 1e-9 * l->xx))
		return NAN;
	return (l->y - (l->xy - l->x * l->y / l->n) / spread * l->x) / l->n;
}

/* ---- power ---- */

/* Busy power above idle and the CUs' own, as measured: what is left is uncore + capacity * energy.
 */
static double uncore_and_work_w(const struct building *b, const struct menu_clock *clock,
				const struct surface_cell *c)
{
	return c->power_w - clock->idle_w - b->surface->n_cus * clock->cu_w;
}

/* Shapes do the same requests at other rates: what does not grow with the rate is the uncore's. No
 * request gives energy back, which bounds it. */
static double fit_uncore_w(const struct building *b, const struct menu_clock *clock)
{
	double most_w = INFINITY, uncore_w;
	struct line line = {0};

	for (uint32_t i = 0; i < b->surface->n_cells; i++) {
		const struct surface_cell *c = &b->surface->cells[i];

		if (c->max_mhz != clock->max_mhz || c->batch != b->baseline->batch ||
		    c->workers != b->baseline->workers || c->flags & SURFACE_NEVER_CHOSEN)
			continue;
		line_add(&line, c->capacity_rps, uncore_and_work_w(b, clock, c));
		most_w = MIN(most_w, uncore_and_work_w(b, clock, c));
	}
	if (line.n < 3)
		return 0;
	uncore_w = line_start(&line);
	return isnan(uncore_w) ? 0 : CLAMP(uncore_w, 0.0, MAX(most_w, 0.0));
}

static double active_cu_w(const struct building *b, const struct menu_clock *clock)
{
	const struct surface *s = b->surface;
	double active_idle_w = table_level_power(s, s->active_idle_power_w, clock->max_mhz);

	return isnan(active_idle_w) ? 0 : MAX(active_idle_w - clock->idle_w, 0.0) / s->n_cus;
}

/* Where the clock is among the ascending ones, or would have to be. */
static uint32_t clock_at(const struct response_menu *m, uint32_t max_mhz)
{
	uint32_t i = 0;

	while (i < m->n_clocks && m->clocks[i].max_mhz < max_mhz)
		i++;
	return i;
}

static int add_clock(struct building *b, const struct candidate *c)
{
	uint32_t max_mhz = b->surface->cells[c->cell].max_mhz;
	struct response_menu *m = b->menu;
	uint32_t at = clock_at(m, max_mhz);
	struct menu_clock *clock = &m->clocks[at];

	if (at < m->n_clocks && clock->max_mhz == max_mhz)
		return 0;
	if (m->n_clocks == ARRAY_SIZE(m->clocks))
		return -E2BIG;
	memmove(clock + 1, clock, (m->n_clocks++ - at) * sizeof(*clock));
	*clock = (struct menu_clock){.max_mhz = max_mhz, .idle_w = c->idle_w};
	clock->cu_w = active_cu_w(b, clock);
	clock->uncore_w = fit_uncore_w(b, clock);
	return 0;
}

/* What is left of the table's busy power, so that both say the same of full batches. */
static double energy_j(const struct building *b, const struct menu_clock *clock,
		       const struct candidate *c)
{
	const struct surface_cell *cell = &b->surface->cells[c->cell];
	uint32_t cus = b->surface->n_cus -
		       (c->full ? 0 : table_gated_cus(b->surface, cell->shape, b->menu->gating));
	double work_w = c->busy_w - clock->idle_w - clock->uncore_w - cus * clock->cu_w;

	return work_w / cell->capacity_rps;
}

/* ---- options ---- */

/* Service time over clocks is fixed + work / clock. With one clock alone nothing is known to
 * shorten it. */
static double bound_share(const struct building *b, const struct surface_cell *of)
{
	struct line line = {0};
	double fixed_ns;

	for (uint32_t i = 0; i < b->surface->n_cells; i++) {
		const struct surface_cell *c = &b->surface->cells[i];

		if (cu_shape_equal(c->shape, of->shape) && c->batch == of->batch &&
		    c->workers == of->workers && !(c->flags & SURFACE_NEVER_CHOSEN))
			line_add(&line, 1.0 / MAX(c->mean_mhz, 1.0), tail_mean_service_ns(c));
	}
	fixed_ns = line.n < 2 ? NAN : line_start(&line);
	return isnan(fixed_ns) ? 1 : CLAMP(fixed_ns / tail_mean_service_ns(of), 0.0, 1.0);
}

static int add_options(struct building *b, uint32_t n)
{
	struct response_menu *m = b->menu;

	for (uint32_t i = 0; i < n; i++)
		if (add_clock(b, &b->candidates[i]) < 0)
			return -E2BIG;
	for (uint32_t i = 0; i < n; i++) {
		const struct candidate *c = &b->candidates[i];
		const struct surface_cell *cell = &b->surface->cells[c->cell];
		uint32_t clock = clock_at(m, cell->max_mhz);

		if (cell == b->baseline)
			m->baseline = i;
		m->options[i] = (struct menu_option){
			.cell = c->cell,
			.clock = clock,
			.shape = cell->shape,
			.full = c->full,
			.batch = cell->batch,
			.capacity_rps = cell->capacity_rps,
			.service_ns = tail_mean_service_ns(cell),
			.energy_j = energy_j(b, &m->clocks[clock], c),
			.bound_share = bound_share(b, cell),
		};
	}
	return 0;
}

/* ---- points ---- */

const struct menu_point menu_point_unsustained = {
	.tail_ns = INFINITY,
	.busy = 1,
	.power_w = INFINITY,
	.survival = {{INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY, INFINITY,
		      INFINITY, INFINITY, INFINITY}},
};

static void set_power(const struct building *b, uint32_t option, double rate_rps,
		      struct menu_point *ret)
{
	struct candidate at_rate = b->candidates[option];
	double busy;

	candidate_refine_power(&b->question, &at_rate, rate_rps, &busy);
	ret->busy = (float)busy;
	ret->power_w = (float)at_rate.power_w;
}

/* Nothing queues. */
static void set_service_alone(const struct building *b, const struct surface_cell *c,
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

/* False: of an option that does not wait for batches. */
static bool set_batch(const struct building *b, uint32_t option, uint32_t rate,
		      struct menu_point *ret)
{
	double rate_rps = b->menu->rate_rps[rate];
	struct tail_batch t;

	if (!candidate_batch(&b->question, b->menu->options[option].cell, rate_rps, &t))
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
static void set_between(const struct building *b, uint32_t rate, const struct menu_point *before,
			const struct menu_point *after, struct menu_point *ret)
{
	const double *rates = b->menu->rate_rps + rate;
	float part = (float)((rates[0] - rates[-1]) / (rates[1] - rates[-1]));

	ret->tail_ns = between(before->tail_ns, after->tail_ns, part);
	ret->wait_ns = between(before->wait_ns, after->wait_ns, part);
	ret->busy = between(before->busy, after->busy, part);
	ret->power_w = between(before->power_w, after->power_w, part);
	for (int i = 0; i < TAIL_SHARES; i++)
		ret->survival.ns[i] = between(before->survival.ns[i], after->survival.ns[i], part);
}

/* What the table has asked stands as it was told. */
static void set_known(const struct building *b, uint32_t option, uint32_t rate,
		      struct menu_point *ret)
{
	const struct tail_trace *t =
		tail_trace_known(b->tails, b->menu->options[option].cell, b->menu->rate_rps[rate],
				 b->options->percentile);

	if (t && t->batch.slo_ns == b->question.slo_ns) {
		(void)set_batch(b, option, rate, ret);
		return;
	}
	if (t && t->n == TAIL_REPLICATIONS)
		ret->tail_ns = (float)t->upper_ns;
	if (t && t->has_survival)
		ret->survival = t->survival;
}

/* How many rates have to be there because the table chose it. */
static uint32_t rates_chosen(const struct building *b, uint32_t option)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->table->n_rows; i++)
		if (b->table->rows[i].cell == b->menu->options[option].cell)
			n = i + 1;
	return n;
}

static uint32_t rates_sustained(const struct building *b, uint32_t option)
{
	uint32_t n = 0;

	while (n < b->menu->n_rates && candidate_sustains(cell_of(b, option), b->menu->rate_rps[n]))
		n++;
	return n;
}

/* Every other rate and the last one of n. */
static uint32_t next_rate(uint32_t rate, uint32_t n)
{
	return rate + 2 == n ? rate + 1 : rate + 2;
}

static bool is_beyond(const struct building *b, const struct menu_point *p, uint32_t rate,
		      uint32_t chosen)
{
	return (double)p->tail_ns > MENU_TAIL_KEPT * (double)b->menu->slo_ns && rate >= chosen;
}

/* The rates from *rate on, as many as there are lanes. */
static int explore_lanes(const struct building *b, uint32_t option, uint32_t n, uint32_t *rate,
			 struct menu_point *points)
{
	struct tail_rate lanes[TAIL_LANES];
	uint32_t at[TAIL_LANES], k = 0;
	int r;

	for (; *rate < n && k < TAIL_LANES; *rate = next_rate(*rate, n)) {
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
static int explore(const struct building *b, uint32_t option, uint32_t n, struct menu_point *points)
{
	uint32_t chosen = rates_chosen(b, option), explored = 0;

	for (uint32_t i = 0; i < n; i = next_rate(i, n)) {
		int r = 0;

		if (set_batch(b, option, i, &points[i]))
			explored = next_rate(i, n);
		else if (i == explored)
			r = explore_lanes(b, option, n, &explored, points);
		if (r < 0)
			return r;
		if (is_beyond(b, &points[i], i, chosen))
			return (int)i;
	}
	return (int)n;
}

static int add_tails(const struct building *b, uint32_t option, uint32_t sustained,
		     struct menu_point *points)
{
	int n = explore(b, option, sustained, points);

	for (int i = 1; i < n; i += 2)
		if (points[i].tail_ns <= 0)
			set_between(b, (uint32_t)i, &points[i - 1], &points[i + 1], &points[i]);
	for (int i = 0; i < n; i++)
		set_known(b, option, (uint32_t)i, &points[i]);
	return n;
}

static int add_points(const struct building *b, uint32_t option)
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

/* ---- all of it ---- */

struct response_menu *response_menu_new(uint32_t n_options, uint32_t n_rates)
{
	size_t options = n_options * sizeof(struct menu_option);
	size_t points = (size_t)n_options * n_rates * sizeof(struct menu_point);
	struct response_menu *m = calloc(1, sizeof(*m) + options + points);

	if (!m)
		return NULL;
	m->n_rates = n_rates;
	m->n_options = n_options;
	m->options = (struct menu_option *)(m + 1);
	m->points = (struct menu_point *)(m->options + n_options);
	return m;
}

static void set_objective(const struct building *b, struct response_menu *ret)
{
	const struct response_table *t = b->table;

	(void)snprintf(ret->model, sizeof(ret->model), "%s", t->model);
	ret->simulated = t->simulated;
	ret->gating = t->gating;
	ret->slo_ns = t->slo_ns;
	ret->t0_ns = t->t0_ns;
	ret->percentile = t->percentile;
	ret->rated_rps = t->rated_rps;
	ret->overload_rps = t->overload_rps;
	ret->n_cus = b->surface->n_cus;
	ret->n_se = b->surface->n_se;
	ret->row0_cell = t->rows[0].cell;
	for (uint32_t i = 0; i < t->n_rows; i++)
		ret->rate_rps[i] = t->rows[i].rate_rps;
}

int response_menu_derive(struct response_tails *t, const struct table_options *o,
			 const struct response_table *table, struct response_menu **ret,
			 struct surface_error *ret_error)
{
	_cleanup_(freep) struct candidate *candidates = NULL;
	_cleanup_(freep) struct response_menu *m = NULL;
	struct building b = {
		.surface = t->surface,
		.baseline = surface_baseline(t->surface),
		.options = o,
		.table = table,
		.tails = t,
		.question = {t, o, surface_baseline(t->surface), (double)table->slo_ns},
	};
	uint32_t n = 0;
	int r;

	r = table_check_options(o, ret_error);
	if (r < 0)
		return r;
	if (o->seed != t->lab->seed)
		return table_refuse(ret_error, -EINVAL, "the tails are of another seed");
	r = candidates_collect(t->surface, o, &candidates, &n, ret_error);
	if (r < 0)
		return r;
	if (n > MENU_MAX_OPTIONS)
		return table_refuse(ret_error, -E2BIG, "%u options are more than %u", n,
				    MENU_MAX_OPTIONS);
	m = response_menu_new(n, table->n_rows);
	if (!m)
		return table_refuse(ret_error, -ENOMEM, "out of memory");
	b.candidates = candidates;
	b.menu = m;
	set_objective(&b, m);
	if (add_options(&b, n) < 0)
		return table_refuse(ret_error, -E2BIG, "too many clocks");
	for (uint32_t i = 0; i < n; i++)
		if (add_points(&b, i) < 0)
			return table_refuse(ret_error, -ENOMEM, "out of memory");
	*ret = TAKE_PTR(m);
	return 0;
}
