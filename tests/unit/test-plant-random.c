/* SPDX-License-Identifier: Apache-2.0 */
/* The variates: functions of (seed, index) alone, with the moments that their names promise. */
#include "base/macros.h"
#include "plant/plant.h"
#include "support/cmocka-includes.h"
#include <math.h>

#define SEED  UINT64_C(20231029)
#define DRAWS 200000

static int print_seed(void **state)
{
	(void)state;
	print_message("seed %llu\n", (unsigned long long)SEED);
	return 0;
}

/* Fails if the mean of the draws is further than five standard errors from what it should be. */
static void assert_mean(double sum, double sum_of_squares, double expected)
{
	double mean = sum / DRAWS;
	double error = sqrt((sum_of_squares / DRAWS - mean * mean) / DRAWS);

	if (!(fabs(mean - expected) <= 5 * error))
		fail_msg("mean %g +- %g, expected %g", mean, error, expected);
}

static void test_the_same_seed_and_index_give_the_same_value(void **state)
{
	(void)state;
	for (uint64_t n = 0; n < 1000; n++) {
		assert_int_equal(plant_hash(SEED, n), plant_hash(SEED, n));
		assert_true(plant_jitter(SEED, n, 0.05, 0.1, 1.5) ==
			    plant_jitter(SEED, n, 0.05, 0.1, 1.5));
	}
}

static void test_other_seeds_and_indices_give_other_values(void **state)
{
	(void)state;
	for (uint64_t n = 0; n < 1000; n++) {
		assert_true(plant_hash(SEED, n) != plant_hash(SEED, n + 1));
		assert_true(plant_hash(SEED, n) != plant_hash(SEED + 1, n));
		/* Neighbouring seeds are no shifted copies of each other. */
		assert_true(plant_hash(SEED, n + 1) != plant_hash(SEED + 1, n));
	}
}

static void test_uniforms_stay_inside_0_and_1_and_fill_it_evenly(void **state)
{
	uint32_t tenths[10] = {0};
	double sum = 0, squares = 0;

	(void)state;
	for (uint64_t n = 0; n < DRAWS; n++) {
		double u = plant_uniform(SEED, n);

		assert_true(u > 0 && u < 1);
		tenths[(int)(u * 10)]++;
		sum += u;
		squares += u * u;
	}
	assert_mean(sum, squares, 0.5);
	/* Five standard deviations of Bin(DRAWS, 0.1). */
	for (int i = 0; i < 10; i++)
		assert_true(fabs(tenths[i] - DRAWS / 10.) < 5 * sqrt(DRAWS * 0.09));
}

static void test_exponentials_have_mean_1_and_no_memory(void **state)
{
	double sum = 0, squares = 0;
	uint32_t above_1 = 0, above_2 = 0;

	(void)state;
	for (uint64_t n = 0; n < DRAWS; n++) {
		double e = plant_exponential(SEED, n);

		assert_true(e > 0 && isfinite(e));
		sum += e;
		squares += e * e;
		above_1 += e > 1;
		above_2 += e > 2;
	}
	assert_mean(sum, squares, 1);
	assert_true(fabs((double)above_2 / above_1 - exp(-1)) < 0.01);
}

static void test_jitter_has_mean_1_and_the_given_spread(void **state)
{
	static const double sigmas[] = {0.01, 0.02, 0.05, 0.3};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(sigmas); i++) {
		double sum = 0, squares = 0, logs = 0, spread;

		for (uint64_t n = 0; n < DRAWS; n++) {
			double j = plant_jitter(SEED, n, sigmas[i], 0, 1);

			sum += j;
			squares += j * j;
			logs += pow(log(j) + sigmas[i] * sigmas[i] / 2, 2);
		}
		assert_mean(sum, squares, 1);
		spread = sqrt(logs / DRAWS);
		assert_true(fabs(spread / sigmas[i] - 1) < 0.01);
	}
}

static void test_without_spread_and_stalls_jitter_is_1(void **state)
{
	(void)state;
	for (uint64_t n = 0; n < 1000; n++)
		assert_true(plant_jitter(SEED, n, 0, 0, 2) == 1);
}

static void test_stalls_come_as_often_as_asked_and_change_nothing_else(void **state)
{
	uint32_t stalled = 0;

	(void)state;
	for (uint64_t n = 0; n < DRAWS; n++) {
		double plain = plant_jitter(SEED, n, 0.02, 0, 1.5);
		double with_stalls = plant_jitter(SEED, n, 0.02, 0.002, 1.5);

		if (with_stalls == plain)
			continue;
		assert_true(with_stalls == plain * 1.5);
		stalled++;
	}
	assert_true(fabs(stalled - DRAWS * 0.002) < 5 * sqrt(DRAWS * 0.002));
}

static void test_jitter_and_arrivals_of_one_seed_do_not_go_together(void **state)
{
	double sum = 0, squares = 0;

	(void)state;
	for (uint64_t n = 0; n < DRAWS; n++) {
		double product =
			(plant_exponential(SEED, n) - 1) * (plant_jitter(SEED, n, 0.05, 0, 1) - 1);

		sum += product;
		squares += product * product;
	}
	assert_mean(sum, squares, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_same_seed_and_index_give_the_same_value),
		cmocka_unit_test(test_other_seeds_and_indices_give_other_values),
		cmocka_unit_test(test_uniforms_stay_inside_0_and_1_and_fill_it_evenly),
		cmocka_unit_test(test_exponentials_have_mean_1_and_no_memory),
		cmocka_unit_test(test_jitter_has_mean_1_and_the_given_spread),
		cmocka_unit_test(test_without_spread_and_stalls_jitter_is_1),
		cmocka_unit_test(test_stalls_come_as_often_as_asked_and_change_nothing_else),
		cmocka_unit_test(test_jitter_and_arrivals_of_one_seed_do_not_go_together),
	};

	return cmocka_run_group_tests(tests, print_seed, NULL);
}
