/* SPDX-License-Identifier: Apache-2.0 */
/* The curve of least energy against excess lateness, one schedule for each mu, and the way along it
 * to the lateness asked for. Each schedule is run like any other policy: energy and lateness are
 * those of the simulation, not of the search. */
#include "base/macros.h"
#include "replay/oracle-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* J for each request late in excess. A request takes some 0.01 to 100 J: at the low end lateness
 * costs nothing, at the high end energy is nothing against it, and sums of it still have their last
 * mJ. */
#define MU_LOW	1e-6
#define MU_HIGH 1e7
/* Closer together (by the logarithm) no schedule differs that matters. */
#define MU_STEP 0.03

struct point {
	double log_mu;
	bool mixed;
	struct measures measures;
};

struct oracle {
	struct oracle_options options;
	struct oracle_candidates *candidates;
	struct oracle_search *search; /* one of the two */
	struct oracle_rate *rate;
	struct configuration *schedule, *other;
	uint32_t n_ticks;
	uint32_t n, size;
	struct point *points; /* ascending in mu, so descending in lateness */
};

static int new_search(struct oracle *o)
{
	struct oracle_work work = {
		.candidates = o->candidates,
		.options = &o->options,
		.n_ticks = o->n_ticks,
	};

	if (o->options.rate_only)
		return oracle_rate_new(&work, &o->rate);
	return oracle_search_new(&work, &o->search);
}

int oracle_new(const struct oracle_options *options, struct oracle **ret)
{
	_cleanup_(oracle_freep) struct oracle *o = calloc(1, sizeof(*o));
	const struct simulation_options *run = &options->run;
	int r;

	if (!o)
		return -ENOMEM;
	o->options = *options;
	o->n_ticks = (uint32_t)((run->duration_ns + run->drain_limit_ns + run->poll_ns - 1) /
				run->poll_ns);
	o->schedule = calloc(o->n_ticks, sizeof(*o->schedule));
	o->other = calloc(o->n_ticks, sizeof(*o->other));
	if (!o->schedule || !o->other)
		return -ENOMEM;
	o->options.run.governor = NULL;
	o->options.run.schedule = o->schedule;
	o->options.run.n_schedule = o->n_ticks;
	r = oracle_candidates_new(run->costs, run->truth->device.n_levels, options->max_batch,
				  &o->candidates);
	if (r < 0)
		return r;
	r = new_search(o);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(o);
	return 0;
}

struct oracle *oracle_free(struct oracle *o)
{
	if (!o)
		return NULL;
	oracle_candidates_free(o->candidates);
	oracle_search_free(o->search);
	oracle_rate_free(o->rate);
	free(o->schedule);
	free(o->other);
	free(o->points);
	free(o);
	return NULL;
}

static int run_schedule(struct oracle *o, struct measures *ret)
{
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	struct simulation_result result = {0};
	uint64_t drained_ns;
	int r;

	r = simulation_new(&o->options.run, &s);
	if (r < 0)
		return r;
	drained_ns = simulation_run(s);
	r = simulation_finish(s, MAX(drained_ns, o->options.end_ns), &result);
	if (r >= 0)
		r = measures_take(&o->options.measures, &result, o->options.maximum, ret);
	simulation_result_done(&result);
	return r;
}

static int insert(struct oracle *o, uint32_t i, const struct point *p)
{
	if (o->n == o->size) {
		uint32_t size = MAX(2 * o->size, 32u);
		struct point *points = realloc(o->points, size * sizeof(*points));

		if (!points)
			return -ENOMEM;
		o->points = points;
		o->size = size;
	}
	memmove(&o->points[i + 1], &o->points[i], (o->n - i) * sizeof(*o->points));
	o->points[i] = *p;
	o->n++;
	return 0;
}

static void find_schedule(struct oracle *o, double log_mu, struct configuration *ret)
{
	if (o->rate)
		oracle_rate_run(o->rate, exp(log_mu), ret);
	else
		oracle_search_run(o->search, exp(log_mu), ret);
}

static const struct point *pure_below(const struct oracle *o, uint32_t i)
{
	while (o->points[--i].mixed)
		;
	return &o->points[i];
}

static const struct point *pure_above(const struct oracle *o, uint32_t i)
{
	while (o->points[i].mixed)
		i++;
	return &o->points[i];
}

/* Computes the point for mu, as the i-th. Where it lies between two that are as close as makes a
 * difference, it is one of them up to some tick, and then the other: many ticks may change at the
 * same mu, and then no mu gives what lies between. */
static int compute(struct oracle *o, uint32_t i, double log_mu)
{
	struct point p = {.log_mu = log_mu};
	double low = -INFINITY, high = INFINITY;
	int r;

	if (i > 0 && i < o->n) {
		low = pure_below(o, i)->log_mu;
		high = pure_above(o, i)->log_mu;
	}
	p.mixed = high - low < MU_STEP;
	find_schedule(o, p.mixed ? high : log_mu, o->schedule);
	if (p.mixed) {
		uint32_t first = (uint32_t)lround((log_mu - low) / (high - low) * o->n_ticks);

		find_schedule(o, low, o->other);
		for (uint32_t t = first; t < o->n_ticks; t++)
			o->schedule[t] = o->other[t];
	}
	r = run_schedule(o, &p.measures);
	return r < 0 ? r : insert(o, i, &p);
}

static double lateness(const struct oracle *o, uint32_t i)
{
	return o->points[i].measures.excess_late_pct;
}

/* Number of the first point that is not later than asked for; o->n if all are. */
static uint32_t first_within(const struct oracle *o, double excess_late_pct)
{
	uint32_t i = 0;

	while (i < o->n && lateness(o, i) > excess_late_pct)
		i++;
	return i;
}

/* Both ends of the curve. */
static int begin(struct oracle *o)
{
	int r;

	if (o->n > 0)
		return 0;
	r = compute(o, 0, log(MU_LOW));
	return r < 0 ? r : compute(o, 1, log(MU_HIGH));
}

static double one_request_pct(const struct oracle *o)
{
	return 100.0 / MAX(o->points[0].measures.requests, 1u);
}

/* Whether point i, the first that is not too late, and the one before it are as near as they need
 * to be. Where next to no lateness is asked for, any large mu would do, but the smallest is
 * wanted. */
static bool is_found(const struct oracle *o, uint32_t i, double excess_late_pct)
{
	double gap = o->points[i].log_mu - o->points[i - 1].log_mu;

	if (lateness(o, i - 1) <= excess_late_pct + ORACLE_TOLERANCE_PCT)
		return true;
	if (lateness(o, i) >= excess_late_pct - ORACLE_TOLERANCE_PCT)
		return excess_late_pct > ORACLE_TOLERANCE_PCT || gap < MU_STEP;
	/* Nothing lies between: not a request, or not a tick. */
	return lateness(o, i - 1) - lateness(o, i) <= 1.01 * one_request_pct(o) ||
	       gap < MU_STEP / o->n_ticks;
}

/* The nearer of the two, but none that is too late: where the curve has a gap, its lower side. */
static uint32_t choose(const struct oracle *o, uint32_t i, double excess_late_pct)
{
	double above;

	if (i == 0 || i == o->n)
		return MIN(i, o->n - 1);
	above = lateness(o, i - 1) - excess_late_pct;
	return above <= ORACLE_TOLERANCE_PCT && above < excess_late_pct - lateness(o, i) ? i - 1
											 : i;
}

int oracle_at(struct oracle *o, double excess_late_pct, struct measures *ret, double *ret_mu_j)
{
	const struct point *p;
	uint32_t i;
	int r;

	r = begin(o);
	if (r < 0)
		return r;
	for (;;) {
		i = first_within(o, excess_late_pct);
		/* Beyond an end, or there. */
		if (i == 0 || i == o->n || is_found(o, i, excess_late_pct))
			break;
		r = compute(o, i, (o->points[i - 1].log_mu + o->points[i].log_mu) / 2);
		if (r < 0)
			return r;
	}
	p = &o->points[choose(o, i, excess_late_pct)];
	*ret = p->measures;
	*ret_mu_j = exp(p->log_mu);
	return 0;
}
