/* SPDX-License-Identifier: Apache-2.0 */
/* The estimate of demand against Poisson arrivals: coverage of the bound, rises and falls. */
#include "governor-bench.h"
#include "governor/demand.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define INTERVAL_NS (500 * NSEC_PER_MSEC)

/* By exponential gaps, counted. */
static uint64_t poisson_counted(double mean, uint64_t *seed)
{
	double left = exp(-mean);
	uint64_t n = 0;

	for (double p = bench_uniform(seed); p > left; p *= bench_uniform(seed))
		n++;
	return n;
}

/* Exact for any mean, and quick for large ones: Hoermann's transformed rejection (PTRS, 1993). */
static uint64_t poisson(double mean, uint64_t *seed)
{
	double b = 0.931 + 2.53 * sqrt(mean), a = -0.059 + 0.02483 * b;
	double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4), likely = 0.9277 - 3.6224 / (b - 2);

	if (mean < 10)
		return poisson_counted(mean, seed);
	for (;;) {
		double u = bench_uniform(seed) - 0.5, v = bench_uniform(seed);
		double s = 0.5 - fabs(u), n = floor((2 * a / s + b) * u + mean + 0.43);

		if (s >= 0.07 && v <= likely)
			return (uint64_t)n;
		if (n >= 0 && (s >= 0.013 || v <= s) &&
		    log(v * inverse_alpha / (a / (s * s) + b)) <=
			    n * log(mean) - mean - lgamma(n + 1))
			return (uint64_t)n;
	}
}

static void test_bound_covers_the_next_count_in_95_percent(void **state)
{
	static const double rates_rps[] = {0.5, 1,   2,	  4,   8,    16,   32,
					   64,	128, 256, 512, 1000, 2000, 5000};
	static const uint64_t intervals_ns[] = {100 * NSEC_PER_MSEC, INTERVAL_NS, 5 * NSEC_PER_SEC};

	(void)state;
	print_message("seed 11\n");
	for (size_t i = 0; i < ARRAY_SIZE(rates_rps) * ARRAY_SIZE(intervals_ns); i++) {
		double rate_rps = rates_rps[i % ARRAY_SIZE(rates_rps)];
		uint64_t interval_ns = intervals_ns[i / ARRAY_SIZE(rates_rps)];
		double interval_s = (double)interval_ns / 1e9;
		unsigned int covered = 0, trials = 10000;
		uint64_t seed = 11;
		struct demand d;

		demand_init(&d, &demand_sure);
		for (unsigned int j = 0; j < trials + 1; j++) {
			uint64_t count = poisson(rate_rps * interval_s, &seed);

			if (j > 0)
				covered +=
					(double)count <= demand_bound_rps(&d) * interval_s + 1e-9;
			demand_update(&d, count, interval_ns);
		}
		if (covered < 0.95 * trials)
			fail_msg("%g/s, interval %g s: covered %g %%", rate_rps, interval_s,
				 100.0 * covered / trials);
		/* Nor is it bought with a bound that is far off. */
		assert_true(demand_bound_rps(&d) * interval_s <
			    rate_rps * interval_s + 3 * sqrt(rate_rps * interval_s) + 3);
	}
}

static void test_the_mean_comes_close_to_the_rate(void **state)
{
	static const double rates_rps[] = {2, 20, 200, 2000};
	uint64_t seed = 5;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rates_rps); i++) {
		double sigma_rps = sqrt(rates_rps[i] / 30);
		struct demand d;

		demand_init(&d, &demand_sure);
		for (unsigned int j = 0; j < 240; j++)
			demand_update(&d, poisson(rates_rps[i] / 2, &seed), INTERVAL_NS);
		assert_true(fabs(demand_mean_rps(&d) - rates_rps[i]) < 4 * sigma_rps);
	}
}

static void feed(struct demand *d, double rate_rps, unsigned int intervals, uint64_t *seed)
{
	for (unsigned int i = 0; i < intervals; i++)
		demand_update(d, poisson(rate_rps / 2, seed), INTERVAL_NS);
}

static void test_a_doubled_rate_shows_after_one_interval(void **state)
{
	static const double rates_rps[] = {200, 1000, 5000};
	uint64_t seed = 3;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rates_rps); i++) {
		struct demand d;

		demand_init(&d, &demand_sure);
		feed(&d, rates_rps[i], 120, &seed);
		assert_int_equal(demand_update(&d, (uint64_t)rates_rps[i], INTERVAL_NS),
				 DEMAND_ROSE);
		assert_true(demand_bound_rps(&d) >= 2 * rates_rps[i]);
	}
}

static void test_a_fall_is_not_believed_in_its_first_second_but_within_four(void **state)
{
	struct demand d;
	uint64_t seed = 9;
	unsigned int n = 0;

	(void)state;
	demand_init(&d, &demand_sure);
	feed(&d, 400, 120, &seed);
	/* A pause of one interval: the bound stays. */
	assert_int_equal(demand_update(&d, 0, INTERVAL_NS), DEMAND_SAME);
	assert_true(demand_bound_rps(&d) > 390);
	feed(&d, 400, 120, &seed);
	while (demand_bound_rps(&d) > 150) {
		feed(&d, 100, 1, &seed);
		n++;
	}
	assert_in_range(n, 3, 8);
}

static void test_idle_is_below_three_requests_an_interval(void **state)
{
	struct demand d;

	(void)state;
	demand_init(&d, &demand_sure);
	assert_int_equal(demand_update(&d, 0, INTERVAL_NS), DEMAND_FIRST);
	/* What row 0 sustains by definition. */
	assert_true(demand_bound_rps(&d) <= 6);
	for (unsigned int i = 0; i < 120; i++)
		assert_int_equal(demand_update(&d, 0, INTERVAL_NS), DEMAND_SAME);
	assert_true(demand_bound_rps(&d) <= 2);
}

/* ---- early counts ---- */

static const struct demand_kind *const kinds[] = {&demand_sure, &demand_keen};

static void test_a_short_count_that_chance_explains_changes_nothing(void **state)
{
	uint64_t seed = 6;

	(void)state;
	print_message("seed 6\n");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct demand d, before;

		demand_init(&d, kinds[i]);
		/* Nothing to hold it against. */
		assert_int_equal(demand_update_early(&d, 1000, INTERVAL_NS), DEMAND_SAME);
		assert_false(demand_known(&d));
		feed(&d, 400, 120, &seed);
		before = d;
		/* A tenth of a second: 40 are to be expected. */
		assert_int_equal(demand_update_early(&d, 40, INTERVAL_NS / 5), DEMAND_SAME);
		assert_int_equal(demand_update_early(&d, 50, INTERVAL_NS / 5), DEMAND_SAME);
		/* Nor are few requests at once a rise, be the time as short as it likes. */
		assert_int_equal(demand_update_early(&d, 19, 1), DEMAND_SAME);
		assert_int_equal(demand_update_early(&d, 1000, 0), DEMAND_SAME);
		/* And no pause is a fall. */
		assert_int_equal(demand_update_early(&d, 0, INTERVAL_NS), DEMAND_SAME);
		assert_memory_equal(&d, &before, sizeof(d));
	}
}

static void test_chance_rarely_passes_for_an_early_rise(void **state)
{
	enum { LOOKS = 20000 };
	static const double most[] = {0.001, 0.02}; /* of the looks */
	uint64_t seed = 7;

	(void)state;
	print_message("seed 7\n");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		uint32_t rises = 0;
		struct demand d, learnt;

		demand_init(&learnt, kinds[i]);
		feed(&learnt, 400, 120, &seed);
		for (uint32_t k = 0; k < LOOKS; k++) {
			d = learnt;
			rises += demand_update_early(&d, poisson(80, &seed), INTERVAL_NS / 5 * 2) ==
				 DEMAND_ROSE;
		}
		if (rises > most[i] * LOOKS)
			fail_msg("%u rises in %d looks", rises, LOOKS);
	}
}

static void test_an_early_rise_counts_alone(void **state)
{
	uint64_t seed = 8;

	(void)state;
	print_message("seed 8\n");
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct demand d;

		demand_init(&d, kinds[i]);
		feed(&d, 100, 120, &seed);
		/* 200 requests in 0.2 s. */
		assert_int_equal(demand_update_early(&d, 200, 200 * NSEC_PER_MSEC), DEMAND_ROSE);
		assert_int_equal(d.n_history, 1);
		assert_true(fabs(demand_mean_rps(&d) - 1000) < 5);
		assert_true(demand_bound_rps(&d) > 1000);
		/* Its exposure is its length: a whole interval soon outweighs it. */
		assert_true(fabs(d.exposure_s - 0.2) < 1e-9);
		assert_int_equal(demand_update(&d, 490, INTERVAL_NS), DEMAND_SAME);
		assert_true(fabs(demand_mean_rps(&d) - 690 / 0.7) < 10);
		/* What was before it is forgotten: the old rate is a fall, seen as any other. */
		for (uint32_t k = 0; demand_bound_rps(&d) > 200; k++) {
			feed(&d, 100, 1, &seed);
			assert_true(k < 8);
		}
	}
}

static void test_clumped_arrivals_widen_the_bound(void **state)
{
	struct demand single, clumped;
	uint64_t seed = 4, other = 4;

	(void)state;
	demand_init(&single, &demand_sure);
	demand_init(&clumped, &demand_sure);
	for (unsigned int i = 0; i < 120; i++) {
		demand_update(&single, poisson(50, &seed), INTERVAL_NS);
		demand_update(&clumped, 5 * poisson(10, &other), INTERVAL_NS);
	}
	assert_true(clumped.dispersion > 2);
	assert_true(demand_bound_rps(&clumped) > demand_bound_rps(&single) + 10);
}

static void test_an_interval_of_no_length_changes_nothing(void **state)
{
	struct demand d, before;

	(void)state;
	demand_init(&d, &demand_sure);
	assert_false(demand_known(&d));
	assert_true(demand_bound_rps(&d) == 0);
	assert_int_equal(demand_update(&d, 100, 0), DEMAND_SAME);
	assert_false(demand_known(&d));
	demand_update(&d, 100, INTERVAL_NS);
	before = d;
	demand_update(&d, 100, 0);
	assert_memory_equal(&d, &before, sizeof(d));
}

static void test_absurd_counts_stay_finite(void **state)
{
	static const uint64_t counts[] = {0, UINT64_MAX, 1, UINT64_MAX, UINT64_MAX, 0};
	static const uint64_t intervals_ns[] = {1, 1000000, UINT64_MAX};
	struct demand d;

	(void)state;
	demand_init(&d, &demand_sure);
	for (size_t i = 0; i < 60; i++) {
		demand_update(&d, counts[i % 6], intervals_ns[i % 3]);
		assert_true(isfinite(demand_bound_rps(&d)));
		assert_true(demand_bound_rps(&d) >= 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bound_covers_the_next_count_in_95_percent),
		cmocka_unit_test(test_the_mean_comes_close_to_the_rate),
		cmocka_unit_test(test_a_doubled_rate_shows_after_one_interval),
		cmocka_unit_test(test_a_fall_is_not_believed_in_its_first_second_but_within_four),
		cmocka_unit_test(test_idle_is_below_three_requests_an_interval),
		cmocka_unit_test(test_a_short_count_that_chance_explains_changes_nothing),
		cmocka_unit_test(test_chance_rarely_passes_for_an_early_rise),
		cmocka_unit_test(test_an_early_rise_counts_alone),
		cmocka_unit_test(test_clumped_arrivals_widen_the_bound),
		cmocka_unit_test(test_an_interval_of_no_length_changes_nothing),
		cmocka_unit_test(test_absurd_counts_stay_finite),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
