/* SPDX-License-Identifier: Apache-2.0 */
#include "response/table-internal.h"
#include "response/tail.h"
#include <errno.h>
#include <math.h>

#define ROW0_REQUESTS	3.0 /* per poll interval */
#define ROW0_STEP	0.5 /* of R, that row 0 must survive */
#define TIE_MIN_W	1.0
#define TIE_ERRORS	2.0
#define ABOVE_RATED_MAX (TABLE_MAX_ROWS - TABLE_STEPS - 1)

struct derivation {
	const struct surface *surface;
	const struct surface_cell *baseline;
	struct table_options options;
	struct response_tails *tails;
	struct tail_question question;
	struct response_table *table;
	struct surface_error *error;
	struct candidate *candidates, **by_power;
	uint32_t n_candidates;
	double limit_ns;	     /* headroom x SLO */
	const struct candidate *row; /* choice of the row before */
};

static const struct surface_cell *cell_of(const struct derivation *d, const struct candidate *c)
{
	return &d->surface->cells[c->cell];
}

static bool is_tie(const struct candidate *a, const struct candidate *b)
{
	double noise_w = TIE_ERRORS * hypot(a->power_se_w, b->power_se_w);

	return fabs(a->power_w - b->power_w) < MAX(TIE_MIN_W, noise_w);
}

static int compare_power(const void *a, const void *b)
{
	const struct candidate *x = *(const struct candidate *const *)a;
	const struct candidate *y = *(const struct candidate *const *)b;

	if (x->power_w != y->power_w)
		return x->power_w < y->power_w ? -1 : 1;
	return (x->cell > y->cell) - (x->cell < y->cell);
}

/* Sorts those that can serve the rate by their power at it; returns their number. */
static uint32_t sort_by_power(struct derivation *d, double rate_rps)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < d->n_candidates; i++) {
		struct candidate *c = &d->candidates[i];

		if (c->infeasible || rate_rps < c->fills_from_rps ||
		    !candidate_sustains(cell_of(d, c), rate_rps))
			continue;
		candidate_set_least_power(&d->question, c, rate_rps);
		d->by_power[n++] = c;
	}
	qsort(d->by_power, n, sizeof(struct candidate *), compare_power);
	return n;
}

struct request {
	double rate_rps;
	double step_rps; /* a step to be survived, or 0 */
};

/* And draws less than below_w, which takes less time to find out. */
static bool is_feasible(struct derivation *d, struct candidate *c, const struct request *q,
			double below_w)
{
	const struct surface_cell *cell = cell_of(d, c);
	double busy;

	/* Nothing fills a batch when nearly nothing comes, and a step finds it waiting. */
	if (c->infeasible || (q->step_rps > 0 && cell->batch > d->baseline->batch))
		return false;
	candidate_refine_power(&d->question, c, q->rate_rps, &busy);
	if (c->power_w >= below_w)
		return false;
	if (!candidate_is_within(&d->question, c->cell, q->rate_rps, d->limit_ns)) {
		/* One that waits waits less at higher rates. */
		c->infeasible = cell->batch == 1;
		return false;
	}
	if (q->step_rps <= 0 || d->options.service_only)
		return true;
	return step_is_survived(d->tails->lab, cell, d->baseline, q->step_rps,
				(double)d->options.poll_ns + d->surface->settle_ms * 1e6,
				d->options.percentile, (double)d->table->slo_ns);
}

static bool no_rival(const struct candidate *full, const struct candidate *c)
{
	return full && !c->full && (c->power_w >= full->power_w || is_tie(full, c));
}

/* The cheapest that is feasible, of the whole card only or of all that are worth a mask. */
static struct candidate *cheapest(struct derivation *d, uint32_t n, const struct request *q,
				  bool full_only, const struct candidate *full)
{
	struct candidate *best = NULL;

	for (uint32_t i = 0; i < n; i++) {
		struct candidate *c = d->by_power[i];

		if (best && c->power_w >= best->power_w)
			continue;
		/* What is feasible may turn out to draw more. */
		if ((c->full || !full_only) && !no_rival(full, c) &&
		    is_feasible(d, c, q, best ? best->power_w : INFINITY) && !no_rival(full, c))
			best = c;
	}
	return best;
}

/* Among ties: more CUs, then the row before, then less power. */
static bool is_preferred(const struct derivation *d, const struct candidate *a,
			 const struct candidate *b)
{
	uint32_t cus_a = cu_shape_cus(cell_of(d, a)->shape);
	uint32_t cus_b = cu_shape_cus(cell_of(d, b)->shape);

	if (cus_a != cus_b)
		return cus_a > cus_b;
	if ((a == d->row) != (b == d->row))
		return a == d->row;
	return compare_power(&a, &b) < 0;
}

/* The choice for a rate, or NULL. */
static struct candidate *choose(struct derivation *d, const struct request *q)
{
	struct candidate *full = NULL, *best, *chosen;
	uint32_t n;

	n = sort_by_power(d, q->rate_rps);
	/* A mask that gates nothing must be worth its trouble against leaving it alone. */
	if (d->options.gating == TABLE_GATING_NONE)
		full = cheapest(d, n, q, /* full_only= */ true, NULL);
	best = chosen = cheapest(d, n, q, /* full_only= */ false, full);
	for (uint32_t i = 0; i < n && best; i++) {
		struct candidate *c = d->by_power[i];

		if (c != best && is_tie(best, c) && !no_rival(full, c) &&
		    is_preferred(d, c, chosen) && is_feasible(d, c, q, INFINITY) &&
		    is_tie(best, c) && !no_rival(full, c) && is_preferred(d, c, chosen))
			chosen = c;
	}
	return chosen;
}

static const struct candidate *baseline_candidate(const struct derivation *d)
{
	for (uint32_t i = 0; i < d->n_candidates; i++)
		if (cell_of(d, &d->candidates[i]) == d->baseline)
			return &d->candidates[i];
	return NULL; /* not reached: the baseline may always be chosen */
}

static bool is_worth_a_mask(const struct candidate *full, const struct candidate *c)
{
	double noise_w = TIE_ERRORS * hypot(full->power_se_w, c->power_se_w);

	return full->cost_w - c->cost_w >= MAX(TIE_MIN_W, noise_w);
}

/* The least cost among n by ascending power, of the whole card only or also of masks that beat it;
 * or NULL. */
static struct candidate *least_cost(struct derivation *d, uint32_t n, double rate_rps,
				    bool full_only, const struct candidate *full)
{
	const struct response_table *t = d->table;
	double late_w =
		d->options.late_cost * baseline_candidate(d)->busy_w * rate_rps / t->rated_rps;
	double allowed = 1 - d->options.percentile / 100.0, busy, late;
	struct candidate *best = NULL;

	for (uint32_t i = 0; i < n; i++) {
		struct candidate *c = d->by_power[i];

		if (best && c->power_w >= best->cost_w)
			continue;
		if (full_only && !c->full)
			continue;
		candidate_refine_power(&d->question, c, rate_rps, &busy);
		late = candidate_late(&d->question, c->cell, rate_rps);
		if (late > allowed)
			continue;
		c->cost_w = c->power_w + late_w * late;
		if ((!best || c->cost_w < best->cost_w) &&
		    (c->full || !full || is_worth_a_mask(full, c)))
			best = c;
	}
	return best;
}

static struct candidate *choose_by_cost(struct derivation *d, double rate_rps)
{
	uint32_t n = sort_by_power(d, rate_rps);
	struct candidate *full = NULL;

	if (d->options.gating == TABLE_GATING_NONE)
		full = least_cost(d, n, rate_rps, /* full_only= */ true, NULL);
	return least_cost(d, n, rate_rps, /* full_only= */ false, full);
}

static void fill_row(struct derivation *d, const struct candidate *c, double rate_rps,
		     uint32_t flags, struct table_row *ret)
{
	const struct surface_cell *cell = cell_of(d, c);
	struct candidate at_rate = *c;
	struct candidate_tail tail;
	double busy;

	candidate_refine_power(&d->question, &at_rate, rate_rps, &busy);
	candidate_tail(&d->question, c->cell, rate_rps, &tail);
	/* Member by member: the same options must give the same bytes, padding included. */
	ret->rate_rps = rate_rps;
	ret->cell = c->cell;
	ret->max_mhz = cell->max_mhz;
	ret->shape = cell->shape;
	ret->batch = cell->batch;
	ret->workers = cell->workers;
	ret->power_w = at_rate.power_w;
	ret->service_ns = tail_mean_service_ns(cell);
	ret->flags = flags;
	if (d->options.gating != TABLE_GATING_NONE)
		ret->flags |= TABLE_ROW_MODELLED;
	ret->tail_ns = tail.tail_ns;
	ret->tail_upper_ns = tail.upper_ns;
	ret->wait_ns = tail.wait_ns;
}

static void add_row(struct derivation *d, double rate_rps, double step_rps)
{
	const struct request q = {.rate_rps = rate_rps, .step_rps = step_rps};
	bool by_cost = d->options.late_cost > 0 && step_rps <= 0 && !d->options.service_only;
	const struct candidate *c = by_cost ? choose_by_cost(d, rate_rps) : choose(d, &q);
	struct response_table *t = d->table;

	fill_row(d, c ? c : baseline_candidate(d), rate_rps, c ? 0 : TABLE_ROW_BASELINE,
		 &t->rows[t->n_rows++]);
	d->row = c;
}

/* Rows 1 .. 40 up to R, then steps of the same size up to the overload rate, or larger ones where
 * R is so small that they would be too many. Those that row 0 covers are left out. */
static uint32_t rates_of_rows(const struct response_table *t, double row0_rps, double *ret)
{
	double last_rps = MIN(t->rated_rps, t->overload_rps), above = t->overload_rps - last_rps;
	uint32_t n = 0, n_above;

	for (uint32_t i = 1; i <= TABLE_STEPS; i++)
		if (last_rps * i / TABLE_STEPS > row0_rps * (1 + TABLE_RATE_TOLERANCE))
			ret[n++] = last_rps * i / TABLE_STEPS;
	n_above = (uint32_t)CLAMP(ceil(above / (last_rps / TABLE_STEPS) - TABLE_RATE_TOLERANCE),
				  0.0, (double)ABOVE_RATED_MAX);
	for (uint32_t i = 1; i <= n_above; i++)
		ret[n++] = i == n_above
				   ? t->overload_rps
				   : last_rps + MAX(above / n_above, last_rps / TABLE_STEPS) * i;
	return n;
}

static void add_rows(struct derivation *d, double row0_rps)
{
	double rates_rps[TABLE_MAX_ROWS];
	uint32_t n = rates_of_rows(d->table, row0_rps, rates_rps);

	for (uint32_t i = 0; i < n; i++) {
		d->question.ahead_rps = &rates_rps[i + 1];
		d->question.n_ahead = n - i - 1;
		add_row(d, rates_rps[i], 0);
	}
	d->question.n_ahead = 0;
}

static uint32_t baseline_cell(const struct derivation *d)
{
	return (uint32_t)(d->baseline - d->surface->cells);
}

/* T0 of another rate or percentile than the surface's own, or of the service alone. */
static int set_t0(struct derivation *d, double *t0_ns)
{
	const struct table_options *o = &d->options;
	const struct surface *s = d->surface;
	struct response_table *t = d->table;
	struct candidate_tail tail;

	candidate_tail(&d->question, baseline_cell(d), MIN(t->rated_rps, t->overload_rps), &tail);
	*t0_ns = s->t0_ns;
	if (o->service_only)
		*t0_ns = tail.tail_ns;
	else if (t->rated_rps == s->rated_rps && o->percentile == s->percentile)
		return 0;
	else if (t->rated_rps <= t->overload_rps)
		*t0_ns = tail.tail_ns;
	else if (o->slo_ns == 0)
		return table_refuse(d->error, -EINVAL,
				    "rated rate %g is above %g, which the card can serve: an SLO "
				    "factor has no meaning",
				    t->rated_rps, t->overload_rps);
	return 0;
}

static int set_objective(struct derivation *d)
{
	const struct table_options *o = &d->options;
	struct response_table *t = d->table;
	double t0_ns;
	int r;

	t->rated_rps = o->service_only ? d->baseline->capacity_rps : d->surface->rated_rps;
	if (o->rated_rps > 0)
		t->rated_rps = o->rated_rps;
	t->overload_rps = TABLE_MAX_UTILISATION * d->baseline->capacity_rps;
	r = set_t0(d, &t0_ns);
	if (r < 0)
		return r;
	t->t0_ns = (uint64_t)llround(t0_ns);
	t->slo_ns = o->slo_ns ? o->slo_ns : (uint64_t)llround(o->slo_factor * t0_ns);
	d->question.slo_ns = (double)t->slo_ns;
	d->limit_ns = o->headroom * (double)t->slo_ns;
	return 0;
}

static int derive(struct derivation *d)
{
	struct response_table *t = d->table;
	struct candidate_tail tail;
	double row0_rps;
	int r;

	r = set_objective(d);
	if (r < 0)
		return r;
	r = candidates_collect(d->surface, &d->options, &d->candidates, &d->n_candidates, d->error);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < d->n_candidates; i++) {
		d->candidates[i].fills_from_rps =
			candidate_fills_from_rps(&d->question, d->candidates[i].cell);
		candidate_set_sizes(&d->question, &d->candidates[i]);
	}
	d->by_power = calloc(MAX(d->n_candidates, 1u), sizeof(struct candidate *));
	if (!d->by_power)
		return table_refuse(d->error, -ENOMEM, "out of memory");
	row0_rps = MIN(ROW0_REQUESTS * 1e9 / (double)d->options.poll_ns,
		       MIN(t->rated_rps, t->overload_rps));
	candidate_tail(&d->question, baseline_cell(d), row0_rps, &tail);
	if (tail.tail_ns > (double)t->slo_ns)
		return table_refuse(
			d->error, -EDOM,
			"the SLO of %.3f ms cannot be met: the whole card at the highest clock "
			"needs %.3f ms",
			(double)t->slo_ns / 1e6, tail.tail_ns / 1e6);
	t->idle_power_w = baseline_candidate(d)->idle_w;
	add_row(d, row0_rps, ROW0_STEP * t->rated_rps);
	add_rows(d, row0_rps);
	fill_row(d, baseline_candidate(d), t->overload_rps, 0, &t->baseline);
	return 0;
}

int response_table_derive_from(struct response_tails *tails, const struct table_options *o,
			       struct response_table **ret, struct surface_error *ret_error)
{
	_cleanup_(freep) struct response_table *t = NULL;
	const struct surface *s = tails->surface;
	struct derivation d = {.surface = s, .options = *o, .tails = tails, .error = ret_error};
	int r;

	r = table_check_options(o, ret_error);
	if (r < 0)
		return r;
	if (o->seed != tails->lab->seed)
		return table_refuse(ret_error, -EINVAL, "the tails are of another seed");
	d.baseline = surface_baseline(s);
	if (!d.baseline)
		return table_refuse(ret_error, -EBADMSG, "the surface has no baseline");
	d.question = (struct tail_question){tails, &d.options, d.baseline};
	t = calloc(1, sizeof(*t));
	if (!t)
		return table_refuse(ret_error, -ENOMEM, "out of memory");
	(void)snprintf(t->model, sizeof(t->model), "%s", s->model);
	t->simulated = s->simulated;
	t->gating = o->gating;
	t->percentile = o->percentile;
	d.table = t;
	r = derive(&d);
	free(d.candidates);
	free(d.by_power);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(t);
	return 0;
}

int response_table_derive(const struct surface *s, const struct table_options *o,
			  struct response_table **ret, struct surface_error *ret_error)
{
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	int r;

	r = response_tails_new(s, o->seed, &tails);
	if (r < 0)
		return table_refuse(ret_error, r, "out of memory");
	return response_table_derive_from(tails, o, ret, ret_error);
}

const struct table_row *response_table_lookup(const struct response_table *t, double demand_rps)
{
	for (uint32_t i = 0; i < t->n_rows; i++)
		if (t->rows[i].rate_rps >= demand_rps)
			return &t->rows[i];
	return NULL;
}
