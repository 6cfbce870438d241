/* SPDX-License-Identifier: Apache-2.0 */
/* Figures of runs that are made up request by request. */
#include "base/macros.h"
#include "base/units.h"
#include "plant/plant.h"
#include "replay/measures.h"
#include "support/cmocka-includes.h"
#include <math.h>
#include <string.h>

#define MAX_REQUESTS 20000
#define SLO_NS	     (20 * NSEC_PER_MSEC)
#define ON_TIME_NS   (10 * NSEC_PER_MSEC)
#define LATE_NS	     (30 * NSEC_PER_MSEC)
#define SEED	     UINT64_C(20240817)

/* One set of arrivals, and two runs of it. */
static struct fixture {
	uint64_t arrival_ns[MAX_REQUESTS], run_ns[MAX_REQUESTS], maximum_ns[MAX_REQUESTS];
	struct measures_options options;
	struct simulation_result run, maximum;
} f;

static int reset(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	f.options = (struct measures_options){
		.arrival_ns = f.arrival_ns,
		.warm_up_ns = 30 * NSEC_PER_SEC,
		.slo_ns = SLO_NS,
		.percentile = 95,
	};
	f.run.latency_ns = f.run_ns;
	f.maximum.latency_ns = f.maximum_ns;
	f.run.length_s = 1;
	return 0;
}

static uint32_t add(double t_s, uint64_t latency_ns, uint64_t maximum_ns)
{
	uint32_t i = f.options.n_arrivals++;

	assert_true(i < MAX_REQUESTS);
	f.arrival_ns[i] = (uint64_t)llround(t_s * 1e9);
	f.run_ns[i] = latency_ns;
	f.maximum_ns[i] = maximum_ns;
	f.run.n = f.maximum.n = f.options.n_arrivals;
	return i;
}

/* n of them, evenly over [from_s, to_s), of which the first ones are late. */
static void add_many(double from_s, double to_s, uint32_t n, uint32_t late,
		     uint32_t late_under_maximum)
{
	for (uint32_t i = 0; i < n; i++)
		add(from_s + (to_s - from_s) * i / n, i < late ? LATE_NS : ON_TIME_NS,
		    i < late_under_maximum ? LATE_NS : ON_TIME_NS);
}

static struct measures take(void)
{
	struct measures m;

	assert_int_equal(measures_take(&f.options, &f.run, &f.maximum, &m), 0);
	return m;
}

static void assert_near(double a, double b)
{
	assert_true(fabs(a - b) <= 1e-12 * fmax(1, fabs(b)));
}

static void nothing_before_warm_up_counts(void **state)
{
	struct measures m;

	(void)state;
	add_many(0, 29.999, 100, 100, 0);
	add_many(30, 40, 40, 1, 0);
	m = take();
	assert_int_equal(m.requests, 40);
	assert_near(m.request_attainment_pct, 97.5);
	assert_near(m.excess_late_pct, 2.5);
	assert_near(m.p99_ms, 30);
	assert_near(m.p95_ms, 10);
}

static void late_is_after_the_slo_or_never(void **state)
{
	struct measures m;

	(void)state;
	add(31, SLO_NS, ON_TIME_NS);
	add(32, SLO_NS + 1, ON_TIME_NS);
	add(33, REQUEST_UNFINISHED, ON_TIME_NS);
	add(34, REQUEST_UNFINISHED, REQUEST_UNFINISHED);
	add(35, ON_TIME_NS, LATE_NS);
	m = take();
	assert_near(m.request_attainment_pct, 40);
	/* Late under maximum as well is no excess, and on time here is no credit. */
	assert_near(m.excess_late_pct, 40);
	assert_near(measures_excess_late(&f.options, &f.run, &f.maximum), 0.4);
	assert_near(measures_excess_late(&f.options, &f.maximum, &f.maximum), 0);
	assert_true(isnan(m.p95_ms) && isnan(m.p99_ms));
	assert_near(m.p50_ms, 20.000001);
}

static void no_request_is_no_lateness(void **state)
{
	struct measures m;

	(void)state;
	add_many(0, 30, 10, 10, 0);
	m = take();
	assert_int_equal(m.requests, 0);
	assert_int_equal(m.windows, 0);
	assert_near(m.request_attainment_pct, 100);
	assert_near(m.excess_late_pct, 0);
	assert_true(isnan(m.p50_ms) && isnan(m.energy_per_request_j));
}

static void energy_is_per_completed_request(void **state)
{
	struct measures m;

	(void)state;
	add_many(30, 40, 40, 0, 0);
	f.run.energy_j = 5000;
	f.run.idle_energy_j = 1250;
	f.run.length_s = 50;
	f.run.completed = 25;
	f.run.changes = 7;
	m = take();
	assert_near(m.mean_power_w, 100);
	assert_near(m.energy_per_request_j, 200);
	assert_near(m.idle_energy_pct, 25);
	assert_near(m.changes, 7);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void quantiles_are_those_of_sorted_latencies(void **state)
{
	_cleanup_(freep) uint64_t *sorted = calloc(MAX_REQUESTS, sizeof(*sorted));
	const uint32_t percents[] = {50, 95, 99};

	assert_non_null(sorted);
	for (uint32_t run = 0; run < 60; run++) {
		uint32_t n = 1 + (uint32_t)(plant_uniform(SEED, run) * (run < 40 ? 30 : 3000));
		/* Few different values: many ties. */
		double values = run % 3 == 0 ? 5 : 1e6;
		struct measures m;

		(void)reset(state);
		for (uint32_t i = 0; i < n; i++) {
			double u = plant_uniform(plant_hash(SEED, run), i);

			sorted[i] = NSEC_PER_USEC * (1 + (uint64_t)(u * values));
			add(30 + 0.01 * i, sorted[i], ON_TIME_NS);
		}
		qsort(sorted, n, sizeof(*sorted), compare);
		m = take();
		for (size_t p = 0; p < ARRAY_SIZE(percents); p++) {
			double of_run[] = {m.p50_ms, m.p95_ms, m.p99_ms};
			uint32_t rank = (uint32_t)ceil(n * percents[p] / 100.0 - 1e-9);

			if (fabs(of_run[p] - (double)sorted[rank - 1] * 1e-6) > 1e-9)
				fail_msg("seed %llu, run %u of %u requests: p%u is %.6f ms",
					 (unsigned long long)SEED, run, n, percents[p], of_run[p]);
		}
	}
}

/* ---- windows ---- */

/* 40 requests at 5 %: 99 % of all windows have at most 6 late ones (the sum up to 5 is 0.986). */
static void windows_are_judged_by_chance(void **state)
{
	static const struct {
		uint32_t late, late_under_maximum, excess_bad;
	} cases[] = {
		{0, 0, 0}, {6, 0, 0}, {7, 0, 1}, {7, 6, 1}, {7, 7, 0}, {40, 40, 0}, {6, 7, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct measures m;

		(void)reset(state);
		add_many(30, 40, 40, cases[i].late, cases[i].late_under_maximum);
		add_many(40, 50, 40, 0, 0);
		m = take();
		assert_int_equal(m.windows, 2);
		assert_int_equal(m.excess_bad_windows, cases[i].excess_bad);
	}
}

static void short_windows_join_the_next(void **state)
{
	static const struct {
		uint32_t n[5]; /* requests in five times ten seconds */
		uint32_t windows;
	} cases[] = {
		{{20, 20, 20, 20, 20}, 5}, {{19, 1, 20, 20, 20}, 4}, {{19, 19, 19, 19, 20}, 3},
		{{5, 5, 5, 5, 5}, 1},	   {{20, 20, 20, 20, 1}, 4}, {{20, 0, 0, 0, 20}, 2},
		{{0, 0, 1, 0, 0}, 1},	   {{0, 0, 0, 0, 0}, 0},     {{20, 10, 5, 4, 0}, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct measures m;

		(void)reset(state);
		for (uint32_t w = 0; w < 5; w++)
			add_many(30 + 10 * w, 40 + 10 * w, cases[i].n[w], 0, 0);
		m = take();
		if (m.windows != cases[i].windows)
			fail_msg("case %zu: %u windows", i, m.windows);
	}
}

/* What joins is judged with it: 3 of 30 is not bad, 3 of the last 5 alone would be. */
static void joined_requests_count_together(void **state)
{
	struct measures m;

	(void)state;
	add_many(30, 40, 25, 0, 0);
	add_many(40, 50, 5, 3, 0);
	m = take();
	assert_int_equal(m.windows, 1);
	assert_int_equal(m.excess_bad_windows, 0);
}

static void binomial_quantiles_are_exact(void **state)
{
	static const struct {
		uint32_t n;
		double p, q;
		uint32_t k;
	} cases[] = {
		{0, 0.05, 0.99, 0},  {1, 0.05, 0.94, 0},     {1, 0.05, 0.96, 1},
		{20, 0.05, 0.99, 4}, {40, 0.05, 0.99, 6},    {100, 0.05, 0.99, 11},
		{10, 0.5, 0.5, 5},   {1000, 0.05, 0.99, 67}, {100, 0.01, 0.99, 4},
		{100, 0, 0.99, 0},   {100, 1, 0.99, 100},    {5, 0.05, 1.5, 5},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t k = binomial_quantile(cases[i].n, cases[i].p, cases[i].q);

		if (k != cases[i].k)
			fail_msg("case %zu: %u", i, k);
	}
}

/* The definition, summed another way: from the mean outwards with lgamma. */
static double tail_sum(uint32_t n, double p, uint32_t k)
{
	double sum = 0;

	for (uint32_t i = 0; i <= k; i++)
		sum += exp(lgamma(n + 1.0) - lgamma(i + 1.0) - lgamma(n - i + 1.0) + i * log(p) +
			   (n - i) * log1p(-p));
	return sum;
}

static void binomial_quantiles_hold_their_definition(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < 200; i++) {
		uint32_t n = 1 + (uint32_t)(plant_uniform(SEED, 3 * i) * (i < 150 ? 400 : 30000));
		double p = 0.01 + 0.3 * plant_uniform(SEED, 3 * i + 1);
		double q = 0.9 + 0.0999 * plant_uniform(SEED, 3 * i + 2);
		uint32_t k = binomial_quantile(n, p, q);

		if (tail_sum(n, p, k) < q - 1e-9 || (k > 0 && tail_sum(n, p, k - 1) >= q + 1e-9))
			fail_msg("seed %llu: %u at n = %u, p = %.4f, q = %.4f",
				 (unsigned long long)SEED, k, n, p, q);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(nothing_before_warm_up_counts, reset),
		cmocka_unit_test_setup(late_is_after_the_slo_or_never, reset),
		cmocka_unit_test_setup(no_request_is_no_lateness, reset),
		cmocka_unit_test_setup(energy_is_per_completed_request, reset),
		cmocka_unit_test_setup(quantiles_are_those_of_sorted_latencies, reset),
		cmocka_unit_test_setup(windows_are_judged_by_chance, reset),
		cmocka_unit_test_setup(short_windows_join_the_next, reset),
		cmocka_unit_test_setup(joined_requests_count_together, reset),
		cmocka_unit_test(binomial_quantiles_are_exact),
		cmocka_unit_test(binomial_quantiles_hold_their_definition),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
