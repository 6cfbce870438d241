/* SPDX-License-Identifier: Apache-2.0 */
/* Standard errors against series whose truth is known, quantiles against exact ones. */
#include "profiler/stats.h"
#include "support/cmocka-includes.h"

#include <math.h>
#include <stdlib.h>

#define SEED 20240531u

static uint64_t random_state;

/* SplitMix64 */
static double uniform(void)
{
	uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return ((double)((z ^ z >> 31) >> 12) + 0.5) * 0x1p-52;
}

static double normal(void)
{
	return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform());
}

static int seed(void **state)
{
	(void)state;
	random_state = SEED;
	print_message("seed %u\n", SEED);
	return 0;
}

static void test_batch_means_of_a_worked_example(void **state)
{
	const double values[] = {1, 2, 99, 3}, weights[] = {1, 1, 0, 2};
	struct estimate e = batch_means(values, weights, 4);

	(void)state;
	assert_true(fabs(e.mean - 2.25) < 1e-12);
	/* Squares: 1.5625 + 0.0625 + 2 * 0.5625 = 2.75; over 2 degrees and a weight of 4. */
	assert_true(fabs(e.se - sqrt(2.75 / 2 / 4)) < 1e-12);
}

static void test_batch_means_of_one_or_no_batch(void **state)
{
	const double values[] = {7, 8}, one[] = {3, 0}, none[] = {0, 0};

	(void)state;
	assert_true(batch_means(values, one, 2).mean == 7);
	assert_true(batch_means(values, one, 2).se == 0);
	assert_true(isnan(batch_means(values, none, 2).mean));
}

/* An autoregressive series: neighbours are alike, so single values would promise too much. */
static void test_bounds_from_batch_means_hold_the_truth_of_a_correlated_series(void **state)
{
	enum { RUNS = 400, BATCHES = 12, LENGTH = 60 };
	int held = 0;

	(void)state;
	for (int run = 0; run < RUNS; run++) {
		double values[BATCHES], weights[BATCHES], x = 0;
		struct estimate e;

		for (int b = 0; b < BATCHES; b++) {
			double sum = 0;

			for (int i = 0; i < LENGTH; i++)
				sum += x = 0.7 * x + normal();
			values[b] = 5 + sum / LENGTH;
			weights[b] = LENGTH;
		}
		e = batch_means(values, weights, BATCHES);
		held += fabs(e.mean - 5) <= student_95(BATCHES - 1) * e.se;
	}
	/* 95 % of 400 but for what is left of the correlation. */
	assert_in_range(held, 360, 395);
}

static void test_student_quantiles(void **state)
{
	static const struct {
		uint32_t degrees;
		double value;
	} known[] = {{1, 12.706}, {5, 2.571}, {11, 2.201}, {16, 2.120}, {30, 2.042}, {120, 1.980}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		assert_true(fabs(student_95(known[i].degrees) - known[i].value) < 0.003);
	assert_true(isinf(student_95(0)));
}

static void test_thirds(void **state)
{
	(void)state;
	assert_true(thirds_agree((const double[]){100, 105, 95}, 0.1));
	assert_false(thirds_agree((const double[]){100, 100, 60}, 0.1));
	assert_false(thirds_agree((const double[]){0, 10, 10}, 0.1));
	assert_false(thirds_agree((const double[]){NAN, 10, 10}, 0.1));
}

static void test_a_stale_sensor_counts_only_what_it_measured_anew(void **state)
{
	struct readings often = {0}, seldom = {0};

	(void)state;
	/* The same sensor, new each 100 ms, read at 10 Hz and at 100 Hz. */
	for (int i = 0; i < 1000; i++) {
		double value = i / 10 % 2 ? 102 : 100;

		readings_add(&often, value, i * 0.01);
		if (i % 10 == 0)
			readings_add(&seldom, value, i * 0.01);
	}
	assert_int_equal(often.n, 1000);
	assert_int_equal(often.n_changed, 100);
	assert_int_equal(seldom.n_changed, 100);
	assert_true(fabs(readings_mean(&often, 1).mean - 101) < 1e-9);
	assert_true(fabs(readings_mean(&often, 1).se - readings_mean(&seldom, 1).se) < 1e-9);
	assert_true(fabs(readings_hz(&often) - 10) < 0.2);
	assert_true(often.step == 2);
}

static void test_a_steady_reading_is_known_to_its_rounding(void **state)
{
	struct readings r = {0};

	(void)state;
	for (int i = 0; i < 50; i++)
		readings_add(&r, 150, i);
	assert_true(readings_mean(&r, 1).mean == 150);
	assert_true(fabs(readings_mean(&r, 1).se - sqrt(1 / 12.0)) < 1e-12);
	assert_true(readings_hz(&r) == 0);
	r = (struct readings){0};
	assert_true(isnan(readings_mean(&r, 1).mean));
}

/* Power as a firmware filters it: neighbouring readings are alike. */
static void test_errors_of_correlated_readings_are_not_too_small(void **state)
{
	static const struct {
		double correlation; /* of neighbours, as exp(-10 ms / filter) */
		int length;
		double low, high; /* of the error told over the true one */
	} cases[] = {
		{0.0, 100, 0.85, 1.15}, {0.37, 100, 0.85, 1.15}, {0.7, 100, 0.8, 1.15},
		{0.7, 300, 0.85, 1.15}, {0.9, 300, 0.75, 1.15},
	};
	enum { RUNS = 2000 };

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
		double phi = cases[k].correlation, squares = 0, told = 0, ratio;
		int held = 0;

		for (int run = 0; run < RUNS; run++) {
			struct readings r = {0};
			double x = normal();
			struct estimate e;

			for (int i = 0; i < cases[k].length; i++) {
				x = phi * x + sqrt(1 - phi * phi) * normal();
				readings_add(&r, 150 + 2 * x, i * 0.01);
			}
			e = readings_mean(&r, 0);
			squares += (e.mean - 150) * (e.mean - 150) / RUNS;
			told += e.se * e.se / RUNS;
			held += fabs(e.mean - 150) <= 2.2 * e.se;
		}
		ratio = sqrt(told / squares);
		print_message(
			"correlation %.2f, %d readings: %.2f of the true error, %.1f %% held\n",
			phi, cases[k].length, ratio, 100.0 * held / RUNS);
		assert_true(ratio > cases[k].low && ratio < cases[k].high);
		assert_true(held > 0.88 * RUNS);
	}
}

/* New each 0.5 s, read at 100 Hz for 3 s: batches of a sixth of a second hold no new reading. */
static void test_errors_of_a_stale_sensor_are_not_too_small(void **state)
{
	enum { RUNS = 2000 };
	double squares = 0, told = 0;

	(void)state;
	for (int run = 0; run < RUNS; run++) {
		struct readings r = {0};
		double x = 0;
		struct estimate e;

		for (int i = 0; i < 300; i++) {
			if (i % 50 == 0)
				x = normal();
			readings_add(&r, 150 + 2 * x, i * 0.01);
		}
		e = readings_mean(&r, 0);
		squares += (e.mean - 150) * (e.mean - 150) / RUNS;
		told += e.se * e.se / RUNS;
	}
	print_message("%.2f of the true error\n", sqrt(told / squares));
	assert_true(told / squares > 0.8 * 0.8 && told / squares < 1.2 * 1.2);
}

static void test_batches_of_readings_cover_them_all(void **state)
{
	struct readings r = {0};

	(void)state;
	for (int n = 1; n <= 1000; n++) {
		double sum = 0;
		uint32_t covered = 0;

		readings_add(&r, n * n, n);
		for (uint32_t i = 0; i < r.n_batches; i++) {
			sum += r.batch_sum[i];
			covered += i + 1 < r.n_batches ? r.batch_length : r.in_last;
		}
		assert_int_equal(covered, n);
		assert_true(sum == r.sum);
		assert_in_range(r.n_batches, n < 9 ? n : 9, 16);
	}
}

static void test_large_readings_keep_their_spread(void **state)
{
	struct readings r = {0};

	(void)state;
	for (int i = 0; i < 1000; i++)
		readings_add(&r, 1e9 + i % 2, i);
	assert_true(fabs(readings_mean(&r, 1).se - sqrt((0.25 + 1 / 12.0) / 1000)) < 1e-6);
}

static void test_power_settles_once_readings_agree(void **state)
{
	static const struct {
		double last_w[SETTLED_READINGS];
		uint32_t n;
		bool settled;
	} cases[] = {
		{{50, 50, 50}, 2, false},      {{50, 50, 50}, 3, true},
		{{50, 52.9, 50}, 9, true},     {{50, 53.1, 50}, 9, false},
		{{200, 205.9, 200}, 9, true},  {{200, 206.5, 200}, 9, false},
		{{206.5, 200, 200}, 9, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(power_is_settled(cases[i].last_w, cases[i].n), cases[i].settled);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void test_quantiles_of_a_histogram_are_near_the_exact_ones(void **state)
{
	enum { N = 20000 };
	static double exact[N];
	static struct channel_histogram h;
	float q[SURFACE_QUANTILES];
	double sum = 0, mean = 0;

	(void)state;
	h = (struct channel_histogram){0};
	for (int i = 0; i < N; i++) {
		exact[i] = 2.8e6 * exp(0.05 * normal());
		sum += exact[i];
		h.buckets[channel_histogram_bucket((uint64_t)exact[i])]++;
		h.count++;
	}
	qsort(exact, N, sizeof(*exact), compare);
	assert_true(histogram_quantiles(&h, sum / N, q));
	for (int i = 1; i < SURFACE_QUANTILES - 1; i++) {
		double e = exact[i * (N - 1) / (SURFACE_QUANTILES - 1)];

		assert_true(fabs(q[i] / e - 1) < 0.012);
		assert_true(q[i] >= q[i - 1]);
		mean += q[i];
	}
	mean = (mean + (q[0] + q[SURFACE_QUANTILES - 1]) / 2) / (SURFACE_QUANTILES - 1);
	assert_true(fabs(mean / (sum / N) - 1) < 1e-5);
}

static void test_an_empty_histogram_has_no_quantiles(void **state)
{
	static const struct channel_histogram h;
	float q[SURFACE_QUANTILES];

	(void)state;
	assert_false(histogram_quantiles(&h, 1, q));
	assert_true(histogram_quantile(&h, 0.5) == 0);
}

static void test_histograms_add(void **state)
{
	static struct channel_histogram a, b;

	(void)state;
	a = b = (struct channel_histogram){0};
	a.buckets[3] = a.count = 5;
	b.buckets[3] = 1;
	b.buckets[9] = 2;
	b.count = 3;
	histogram_add(&a, &b);
	assert_int_equal(a.count, 8);
	assert_int_equal(a.buckets[3], 6);
	assert_int_equal(a.buckets[9], 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batch_means_of_a_worked_example),
		cmocka_unit_test(test_batch_means_of_one_or_no_batch),
		cmocka_unit_test_setup(
			test_bounds_from_batch_means_hold_the_truth_of_a_correlated_series, seed),
		cmocka_unit_test(test_student_quantiles),
		cmocka_unit_test(test_thirds),
		cmocka_unit_test(test_a_stale_sensor_counts_only_what_it_measured_anew),
		cmocka_unit_test(test_a_steady_reading_is_known_to_its_rounding),
		cmocka_unit_test_setup(test_errors_of_correlated_readings_are_not_too_small, seed),
		cmocka_unit_test_setup(test_errors_of_a_stale_sensor_are_not_too_small, seed),
		cmocka_unit_test(test_batches_of_readings_cover_them_all),
		cmocka_unit_test(test_large_readings_keep_their_spread),
		cmocka_unit_test_setup(test_quantiles_of_a_histogram_are_near_the_exact_ones, seed),
		cmocka_unit_test(test_power_settles_once_readings_agree),
		cmocka_unit_test(test_an_empty_histogram_has_no_quantiles),
		cmocka_unit_test(test_histograms_add),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
