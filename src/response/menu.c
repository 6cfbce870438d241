/* SPDX-License-Identifier: Apache-2.0 */
#include "response/menu-internal.h"
#include <errno.h>
#include <string.h>

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
static double uncore_and_work_w(const struct menu_building *b, const struct menu_clock *clock,
				const struct surface_cell *c)
{
	return c->power_w - clock->idle_w - b->surface->n_cus * clock->cu_w;
}

/* Shapes do the same requests at other rates: what does not grow with the rate is the uncore's. No
 * request gives energy back, which bounds it. */
static double fit_uncore_w(const struct menu_building *b, const struct menu_clock *clock)
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

static double active_cu_w(const struct menu_building *b, const struct menu_clock *clock)
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

static int add_clock(struct menu_building *b, const struct candidate *c)
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
static double energy_j(const struct menu_building *b, const struct menu_clock *clock,
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
static double bound_share(const struct menu_building *b, const struct surface_cell *of)
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

static int add_options(struct menu_building *b, uint32_t n)
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

static bool is_chosen(const struct response_table *t, uint32_t cell)
{
	for (uint32_t i = 0; i < t->n_rows; i++)
		if (t->rows[i].cell == cell)
			return true;
	return false;
}

/* Whether a never does better than b, which waits for fewer. */
static bool is_dominated(const struct surface_cell *cells, const struct candidate *a,
			 const struct candidate *b)
{
	const struct surface_cell *x = &cells[a->cell], *y = &cells[b->cell];

	return y->batch < x->batch && y->max_mhz == x->max_mhz &&
	       cu_shape_equal(x->shape, y->shape) && y->capacity_rps >= x->capacity_rps &&
	       (b->busy_w - b->idle_w) / y->capacity_rps <=
		       (a->busy_w - a->idle_w) / x->capacity_rps;
}

/* Of n candidates those that an option is worth; returns their number. */
static uint32_t leave_out(const struct menu_building *b, struct candidate *candidates, uint32_t n)
{
	const struct surface_cell *cells = b->surface->cells;
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n; i++) {
		bool dominated = false;

		for (uint32_t k = 0; k < kept; k++)
			dominated =
				dominated || is_dominated(cells, &candidates[i], &candidates[k]);
		if (dominated && &cells[candidates[i].cell] != b->baseline &&
		    !is_chosen(b->table, candidates[i].cell))
			continue;
		candidates[kept] = candidates[i];
		candidates[kept].fills_from_rps =
			candidate_fills_from_rps(&b->question, candidates[i].cell);
		kept++;
	}
	return kept;
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

static uint32_t points_kept(const struct response_menu *m, uint32_t option)
{
	uint32_t n = m->n_rates;

	while (n > 0 && isinf(response_menu_point(m, option, n - 1)->tail_ns))
		n--;
	return n;
}

int response_menu_trim(struct response_menu **m)
{
	const struct response_menu *from = *m;
	struct response_menu *to;
	size_t options = from->n_options * sizeof(*from->options), n = 0, points;

	for (uint32_t i = 0; i < from->n_options; i++)
		n += points_kept(from, i);
	points = n * sizeof(*from->points);
	to = malloc(sizeof(*to) + options + points + (from->n_options + 1) * sizeof(uint32_t));
	if (!to)
		return -ENOMEM;
	*to = *from;
	to->options = (struct menu_option *)(to + 1);
	to->points = (struct menu_point *)(to->options + to->n_options);
	to->first_point = (uint32_t *)(to->points + n);
	memcpy(to->options, from->options, options);
	to->first_point[0] = 0;
	for (uint32_t i = 0; i < to->n_options; i++) {
		uint32_t kept = points_kept(from, i), first = to->first_point[i];

		memcpy(&to->points[first], response_menu_point(from, i, 0),
		       kept * sizeof(*to->points));
		to->first_point[i + 1] = first + kept;
	}
	free(*m);
	*m = to;
	return 0;
}

static void set_objective(const struct menu_building *b, struct response_menu *ret)
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
	struct menu_building b = {
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
	n = leave_out(&b, candidates, n);
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
	if (menu_add_points(&b) < 0 || response_menu_trim(&m) < 0)
		return table_refuse(ret_error, -ENOMEM, "out of memory");
	*ret = TAKE_PTR(m);
	return 0;
}

/* ---- asked of a menu ---- */

static uint32_t ungated_cus(const struct response_menu *m, const struct menu_option *o)
{
	if (o->full || m->gating == TABLE_GATING_NONE)
		return m->n_cus;
	return m->gating == TABLE_GATING_CU ? cu_shape_cus(o->shape)
					    : m->n_cus * o->shape.n_se / m->n_se;
}

double response_menu_busy_w(const struct response_menu *m, uint32_t option)
{
	const struct menu_option *o = &m->options[option];
	const struct menu_clock *c = &m->clocks[o->clock];

	return c->idle_w + c->uncore_w + ungated_cus(m, o) * c->cu_w +
	       o->capacity_rps * o->energy_j;
}
