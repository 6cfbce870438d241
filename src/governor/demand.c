/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/demand.h"
#include "base/macros.h"
#include "base/units.h"
#include <math.h>
#include <string.h>

/* Long enough that at constant load the mean wanders by less than a table step (at half of R = 100
 * requests/s: 1.3 against 2.5); steps do not wait for it, they are detected. */
#define MEMORY_S 30.0
/* A mean of no counts at all is not zero; half a count is Jeffreys' prior for a Poisson rate. */
#define PRIOR_COUNT 0.5
/* Above it the rounding to whole requests is a small part of the bound. */
#define EXACT_MEAN_MAX 12.0
/* A pause of one interval is no fall: the window's lowest count is left out of the comparison. */
#define FALL_MIN_S	   1.5
#define FALL_MIN_INTERVALS 4
/* Estimated from a minute of counts the dispersion of a Poisson process strays up to half above 1;
 * only what is beyond that widens the bound. */
#define DISPERSION_SLACK 0.5
/* One surprising count (the first of a rise) must not widen the bound for the next minute. */
#define DISPERSION_TERM_MAX 9.0

/* Early looks are taken where requests clump, so a few in a short time are what is to be expected.
 */
#define EARLY_COUNT_MIN 20.0

const struct demand_kind demand_sure = {.change_z = 4.5, .bound_z = 1.8, .bound_p = 0.964};
const struct demand_kind demand_keen = {.change_z = 2.5, .bound_z = 0.7, .bound_p = 0.758};

void demand_init(struct demand *d, const struct demand_kind *kind)
{
	*d = (struct demand){.kind = kind, .dispersion = 1, .least_dispersion = 1};
}

void demand_expect_dispersion(struct demand *d, double dispersion)
{
	d->least_dispersion = MAX(dispersion, 1.0);
}

bool demand_known(const struct demand *d)
{
	return d->n_history > 0;
}

double demand_mean_rps(const struct demand *d)
{
	return d->exposure_s > 0 ? (d->count + PRIOR_COUNT) / d->exposure_s : 0;
}

static double widening(const struct demand *d)
{
	return MAX(d->least_dispersion, d->dispersion - DISPERSION_SLACK);
}

/* Variance of a count over a window of window_s, given a mean learnt over the exposure. */
static double prediction_variance(const struct demand *d, double mean, double window_s)
{
	return widening(d) * mean * (1 + window_s / d->exposure_s);
}

/* The least count that a Poisson variable of this mean exceeds in fewer than 1 - p cases. */
static double poisson_quantile(double mean, double p)
{
	double term = exp(-mean), sum = term, k = 0;

	while (sum < p) {
		k++;
		term *= mean / k;
		sum += term;
	}
	return k;
}

double demand_bound_rps(const struct demand *d)
{
	double mean, bound;

	if (!demand_known(d))
		return 0;
	mean = demand_mean_rps(d) * d->interval_s;
	/* (z^2 - 1) / 6 is the Cornish-Fisher term of the Poisson distribution's skew. */
	bound = mean + d->kind->bound_z * sqrt(prediction_variance(d, mean, d->interval_s)) +
		(d->kind->bound_z * d->kind->bound_z - 1) / 6;
	/* Requests come whole: at low means what lies between two counts is no bound. */
	if (mean < EXACT_MEAN_MAX)
		bound = MAX(bound, poisson_quantile(mean, d->kind->bound_p));
	return MAX(bound, 1.0) / d->interval_s;
}

double demand_upper_rps(const struct demand *d)
{
	double mean_rps = demand_mean_rps(d);

	if (!demand_known(d))
		return 0;
	return mean_rps + d->kind->bound_z * sqrt(widening(d) * mean_rps / d->exposure_s);
}

static void history_keep(struct demand *d, uint32_t n)
{
	uint32_t drop = d->n_history - n;

	memmove(d->history_count, d->history_count + drop, n * sizeof(d->history_count[0]));
	memmove(d->history_s, d->history_s + drop, n * sizeof(d->history_s[0]));
	d->n_history = n;
}

static void history_add(struct demand *d, double count, double interval_s)
{
	if (d->n_history == DEMAND_HISTORY)
		history_keep(d, DEMAND_HISTORY - 1);
	d->history_count[d->n_history] = count;
	d->history_s[d->n_history] = interval_s;
	d->n_history++;
}

/* The last n intervals together, and the one with the lowest count among them. */
struct window {
	uint32_t n;
	double count, length_s;
	double least_count, least_s;
};

static void window_extend(const struct demand *d, uint32_t n, struct window *w)
{
	for (; w->n < n; w->n++) {
		uint32_t i = d->n_history - 1 - w->n;

		w->count += d->history_count[i];
		w->length_s += d->history_s[i];
		if (w->n == 0 || d->history_count[i] < w->least_count) {
			w->least_count = d->history_count[i];
			w->least_s = d->history_s[i];
		}
	}
}

static bool is_rise(const struct demand *d, double count, double length_s)
{
	double mean = demand_mean_rps(d) * length_s;

	return count > mean + d->kind->change_z * sqrt(prediction_variance(d, mean, length_s)) +
			       d->kind->change_z * d->kind->change_z / 6 * widening(d);
}

static bool is_fall(const struct demand *d, double count, double length_s)
{
	double mean = demand_mean_rps(d) * length_s;

	return count < mean - d->kind->change_z * sqrt(prediction_variance(d, mean, length_s));
}

/* Whether chance explains the window, given the mean. */
static enum demand_change judge(const struct demand *d, const struct window *w)
{
	if (is_rise(d, w->count, w->length_s))
		return DEMAND_ROSE;
	if (w->n < FALL_MIN_INTERVALS || w->length_s < FALL_MIN_S)
		return DEMAND_SAME;
	return is_fall(d, w->count - w->least_count, w->length_s - w->least_s) ? DEMAND_FELL
									       : DEMAND_SAME;
}

/* Windows of the last 1, 2, 4, ... intervals; the shortest with a change replaces the past. */
static enum demand_change detect(struct demand *d)
{
	struct window w = {0};

	for (uint32_t n = 1; n <= d->n_history; n *= 2) {
		enum demand_change change;

		window_extend(d, n, &w);
		change = judge(d, &w);
		if (change == DEMAND_SAME)
			continue;
		d->count = w.count;
		d->exposure_s = w.length_s;
		/* Older counts are of another rate and would look like a change back. */
		history_keep(d, n);
		return change;
	}
	return DEMAND_SAME;
}

static void learn(struct demand *d, double count, double interval_s)
{
	double keep = exp(-interval_s / MEMORY_S);
	double mean = demand_mean_rps(d) * interval_s;
	double term = (count - mean) * (count - mean) / mean;

	d->dispersion = keep * d->dispersion + (1 - keep) * MIN(term, DISPERSION_TERM_MAX);
	d->count = keep * d->count + count;
	d->exposure_s = keep * d->exposure_s + interval_s;
}

enum demand_change demand_update(struct demand *d, uint64_t arrivals, uint64_t interval_ns)
{
	double count = (double)arrivals;
	double interval_s = (double)interval_ns / (double)NSEC_PER_SEC;
	bool first = !demand_known(d);
	enum demand_change change;

	if (interval_ns == 0)
		return DEMAND_SAME;
	d->interval_s = interval_s;
	history_add(d, count, interval_s);
	if (first) {
		d->count = count;
		d->exposure_s = interval_s;
		return DEMAND_FIRST;
	}
	change = detect(d);
	if (change == DEMAND_SAME)
		learn(d, count, interval_s);
	return change;
}

enum demand_change demand_update_early(struct demand *d, uint64_t arrivals, uint64_t length_ns)
{
	double count = (double)arrivals;
	double length_s = (double)length_ns / (double)NSEC_PER_SEC;

	if (!demand_known(d) || length_ns == 0 || count < EARLY_COUNT_MIN ||
	    !is_rise(d, count, length_s))
		return DEMAND_SAME;
	d->count = count;
	d->exposure_s = length_s;
	history_keep(d, 0);
	history_add(d, count, length_s);
	return DEMAND_ROSE;
}
