/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of one run, against its pair under maximum. */
#include "replay/measures.h"
#include "base/macros.h"
#include "base/select.h"
#include "base/units.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define WINDOW_NS	    (10 * NSEC_PER_SEC)
#define WINDOW_MIN_REQUESTS 20
#define WINDOW_CONFIDENCE   0.99

/* Requests from here on count: arrivals ascend. */
static uint32_t first_counted(const struct measures_options *o)
{
	uint32_t low = 0, high = o->n_arrivals;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (o->arrival_ns[middle] < o->warm_up_ns)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* An unfinished request's latency is longer than any SLO. */
static bool is_late(const struct measures_options *o, const struct simulation_result *r, uint32_t i)
{
	return r->latency_ns[i] > o->slo_ns;
}

uint32_t binomial_quantile(uint32_t n, double p, double q)
{
	double log_odds, log_term, sum = 0;

	if (p <= 0 || n == 0)
		return 0;
	if (p >= 1)
		return n;
	/* By logarithms: the first terms of a large n are too small for a double. */
	log_odds = log(p) - log1p(-p);
	log_term = n * log1p(-p);
	for (uint32_t k = 0; k < n; k++) {
		sum += exp(log_term);
		if (sum >= q)
			return k;
		log_term += log((double)(n - k) / (k + 1)) + log_odds;
	}
	return n;
}

/* ---- windows ---- */

struct window {
	uint32_t n, late, late_under_maximum;
};

struct windows {
	const struct measures_options *options;
	uint32_t n, excess_bad;
	struct window last; /* complete, but for what may have to join it at the end */
	bool has_last;
};

static void judge(struct windows *all, const struct window *w)
{
	uint32_t most =
		binomial_quantile(w->n, 1 - all->options->percentile / 100.0, WINDOW_CONFIDENCE);

	all->n++;
	if (w->late > most && w->late_under_maximum <= most)
		all->excess_bad++;
}

static void join(struct window *w, const struct window *other)
{
	w->n += other->n;
	w->late += other->late;
	w->late_under_maximum += other->late_under_maximum;
}

/* A window of few requests goes on into the next one; the last has none, and joins the one before
 * it. */
static void end_window(struct windows *all, struct window *w)
{
	if (w->n < WINDOW_MIN_REQUESTS)
		return;
	if (all->has_last)
		judge(all, &all->last);
	all->last = *w;
	all->has_last = true;
	*w = (struct window){0};
}

static void end_windows(struct windows *all, const struct window *w)
{
	join(&all->last, w);
	if (all->last.n > 0)
		judge(all, &all->last);
}

static void take_windows(const struct measures_options *o, const struct simulation_result *run,
			 const struct simulation_result *maximum, struct measures *ret)
{
	uint64_t end_ns = o->warm_up_ns + WINDOW_NS;
	struct windows all = {.options = o};
	struct window w = {0};

	for (uint32_t i = first_counted(o); i < o->n_arrivals; i++) {
		if (o->arrival_ns[i] >= end_ns) {
			end_window(&all, &w);
			end_ns += (o->arrival_ns[i] - end_ns) / WINDOW_NS * WINDOW_NS + WINDOW_NS;
		}
		w.n++;
		w.late += is_late(o, run, i);
		w.late_under_maximum += is_late(o, maximum, i);
	}
	end_window(&all, &w);
	end_windows(&all, &w);
	ret->windows = all.n;
	ret->excess_bad_windows = all.excess_bad;
}

/* ---- latencies ---- */

DEFINE_SELECT_KTH(uint64_t, select_kth)

/* The smallest latency that at least so many percent of the requests do not exceed. An unfinished
 * request has none: a quantile that falls on one does not exist. */
static double quantile_ms(uint64_t *latencies, uint32_t n, uint32_t percent)
{
	uint32_t k = (uint32_t)(((uint64_t)n * percent + 99) / 100);

	if (n == 0)
		return NAN;
	k = MAX(k, 1u) - 1;
	(void)select_kth(latencies, n, k);
	return latencies[k] == REQUEST_UNFINISHED ? NAN : (double)latencies[k] * 1e-6;
}

static int take_latencies(const uint64_t *latency_ns, uint32_t n, struct measures *ret)
{
	_cleanup_(freep) uint64_t *work = malloc(MAX(n, 1u) * sizeof(*work));

	if (!work)
		return -ENOMEM;
	if (n > 0)
		memcpy(work, latency_ns, n * sizeof(*work));
	ret->p50_ms = quantile_ms(work, n, 50);
	ret->p95_ms = quantile_ms(work, n, 95);
	ret->p99_ms = quantile_ms(work, n, 99);
	return 0;
}

double measures_excess_late(const struct measures_options *o, const struct simulation_result *run,
			    const struct simulation_result *maximum)
{
	uint32_t first = first_counted(o), excess = 0;

	for (uint32_t i = first; i < o->n_arrivals; i++)
		excess += is_late(o, run, i) && !is_late(o, maximum, i);
	return first < o->n_arrivals ? (double)excess / (o->n_arrivals - first) : 0;
}

static double attainment(const struct measures_options *o, const struct simulation_result *run)
{
	uint32_t first = first_counted(o), late = 0;

	for (uint32_t i = first; i < o->n_arrivals; i++)
		late += is_late(o, run, i);
	return first < o->n_arrivals ? 1 - (double)late / (o->n_arrivals - first) : 1;
}

/* NaN where there is nothing to divide by. */
static double ratio(double a, double b)
{
	return b > 0 ? a / b : NAN;
}

int measures_take(const struct measures_options *o, const struct simulation_result *run,
		  const struct simulation_result *maximum, struct measures *ret)
{
	uint32_t first = first_counted(o);
	struct measures m = {
		.requests = o->n_arrivals - first,
		.mean_power_w = ratio(run->energy_j, run->length_s),
		.energy_j = run->energy_j,
		.energy_per_request_j = ratio(run->energy_j, (double)run->completed),
		.idle_energy_pct = 100 * ratio(run->idle_energy_j, run->energy_j),
		.request_attainment_pct = 100 * attainment(o, run),
		.excess_late_pct = 100 * measures_excess_late(o, run, maximum),
		.changes = (double)run->changes,
		.mean_sclk_mhz = run->mean_sclk_mhz,
		.mean_cus = run->mean_cus,
		.mean_batch = run->mean_batch,
	};
	int r;

	r = take_latencies(run->latency_ns + first, m.requests, &m);
	if (r < 0)
		return r;
	take_windows(o, run, maximum, &m);
	*ret = m;
	return 0;
}
