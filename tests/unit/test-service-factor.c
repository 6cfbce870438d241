/* SPDX-License-Identifier: Apache-2.0 */
/* The factor on service times: how fast it is found and how sure, what moves it and what does not.
 */
#include "governor-bench.h"
#include "governor/service-factor.h"
#include "support/cmocka-includes.h"
#include <math.h>

#define SEED UINT64_C(31)

static struct service_factor factor;

static int begin(void **state _unused_)
{
	service_factor_init(&factor);
	return 0;
}

/* Half a second with so many services, at a ratio. */
static void look(double services, double ratio)
{
	const struct service_factor_look l = {0.5, services, services * ratio * 5e6,
					      services * 5e6};

	service_factor_update(&factor, &l);
}

static void pass(double seconds)
{
	const struct service_factor_look l = {.passed_s = seconds};

	service_factor_update(&factor, &l);
}

static double get(void)
{
	return service_factor_get(&factor);
}

static double error(void)
{
	return service_factor_error(&factor);
}

static void test_it_starts_wide_and_narrows(void **state _unused_)
{
	double before;

	assert_true(get() == 1);
	assert_false(service_factor_known(&factor));
	assert_true(error() == SERVICE_FACTOR_PRIOR_ERROR);
	assert_true(fabs(service_factor_plan(&factor, 0) - 1.04) < 1e-9);
	before = error();
	for (int i = 0; i < 20; i++) {
		look(30, 1);
		assert_true(error() < before);
		before = error();
	}
	assert_true(service_factor_known(&factor));
	assert_true(error() < 0.015);
	assert_true(service_factor_plan(&factor, 0) < 1.03);
}

static void test_another_card_is_found_within_a_minute(void **state _unused_)
{
	static const double cards[] = {0.85, 0.9, 1.1, 1.15, 1.3};

	for (size_t k = 0; k < ARRAY_SIZE(cards); k++) {
		service_factor_init(&factor);
		/* A sixth of what the slowest of the models serves at half load. */
		for (int i = 0; i < 120; i++)
			look(3, cards[k]);
		assert_true(fabs(get() - cards[k]) < 0.03);
		assert_true(fabs(get() - cards[k]) < 2 * error() + 0.1 * fabs(cards[k] - 1));
	}
}

static void test_a_card_that_changes_is_followed(void **state _unused_)
{
	for (int i = 0; i < 1200; i++)
		look(30, 1);
	assert_true(fabs(get() - 1) < 1e-9);
	for (int i = 0; i < 240; i++)
		look(30, 1.15);
	assert_true(fabs(get() - 1.15) < 0.01);
}

static void test_one_look_moves_it_by_a_step_at_most(void **state _unused_)
{
	static const double ratios[] = {1e-9, 0.5, 0.9, 1.2, 2, 1e12};

	for (size_t k = 0; k < ARRAY_SIZE(ratios); k++) {
		double before = 1, wide;

		service_factor_init(&factor);
		wide = error();
		look(1e6, ratios[k]);
		assert_true(fabs(get() - before) <= 0.03 + 1e-12);
		/* What jumps is no more certain. */
		assert_true(error() >= wide);
		for (int i = 0; i < 1000; i++)
			look(1e6, ratios[k]);
		assert_true(get() >= SERVICE_FACTOR_MIN && get() <= SERVICE_FACTOR_MAX);
	}
}

static void test_few_services_wait_for_more(void **state _unused_)
{
	for (int i = 0; i < 7; i++)
		look(1, 1.1);
	assert_true(get() == 1);
	look(1, 1.1);
	assert_true(get() > 1);
	/* And say less than many. */
	assert_true(get() < 1.02);
}

static void test_time_widens_it_to_a_bound(void **state _unused_)
{
	double narrow;

	for (int i = 0; i < 200; i++)
		look(30, 1);
	narrow = error();
	pass(60);
	assert_true(error() > narrow && error() < 0.02);
	pass(86400);
	assert_true(fabs(error() - 0.02) < 1e-12);
	assert_true(get() == 1);
	/* It is not a start that has to be waited for. */
	service_factor_init(&factor);
	pass(86400);
	assert_true(error() == SERVICE_FACTOR_PRIOR_ERROR);
}

/* Found at once, not with the patience of one that is sure. */
static void test_what_contradicts_it_again_and_again_is_believed(void **state _unused_)
{
	double sure;

	for (int i = 0; i < 1200; i++)
		look(60, 0.7);
	sure = error();
	look(60, 1.1);
	assert_true(error() <= sure && get() < 0.72);
	for (int i = 0; i < 19; i++)
		look(60, 1.1);
	assert_true(fabs(get() - 1.1) < 0.03);
	/* One that lies off to either side in turn is chance. */
	for (int i = 0; i < 200; i++)
		look(60, 1.1);
	for (int i = 0; i < 40; i++) {
		look(60, i % 2 ? 1.25 : 0.95);
		assert_true(error() < 0.02);
	}
	assert_true(fabs(get() - 1.1) < 0.02);
}

/* Services that differ by as much as is presumed of them. */
static void test_chance_moves_it_by_little(void **state _unused_)
{
	double sum = 0, squares = 0;
	uint64_t seed = SEED;
	uint32_t n = 0;

	print_message("seed %lu\n", SEED);
	for (int i = 0; i < 1200; i++) {
		double total = 0;

		for (int k = 0; k < 15; k++)
			total += 1 + 0.25 * sqrt(12) * (bench_uniform(&seed) - 0.5);
		look(15, total / 15);
		if (i < 120)
			continue;
		sum += get();
		squares += get() * get();
		n++;
		assert_true(fabs(get() - 1) < 0.03);
	}
	assert_true(sqrt(squares / n - sum / n * (sum / n)) < 0.015);
}

static void test_what_is_no_number_counts_for_nothing(void **state _unused_)
{
	static const double bad[] = {NAN, INFINITY, -INFINITY, -1, 0};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct service_factor_look looks[] = {
			{0.5, bad[i], 1e9, 1e9},
			{0.5, 100, bad[i], 1e9},
			{0.5, 100, 1e9, bad[i]},
			{bad[i], 0, 0, 0},
		};

		for (size_t k = 0; k < ARRAY_SIZE(looks); k++)
			service_factor_update(&factor, &looks[k]);
	}
	assert_true(get() == 1);
	assert_true(error() == SERVICE_FACTOR_PRIOR_ERROR);
}

static void test_plans_move_in_steps_and_not_back_and_forth(void **state _unused_)
{
	double before, now;
	uint32_t moves = 0;

	for (int i = 0; i < 200; i++)
		look(30, 1);
	before = service_factor_plan(&factor, 0);
	/* Around the middle of a step. */
	for (int i = 0; i < 4000; i++) {
		look(30, 1.01 - error() + (i / 40 % 2 ? 0.004 : -0.004));
		now = service_factor_plan(&factor, 0);
		assert_true(fabs(now / SERVICE_FACTOR_STEP - round(now / SERVICE_FACTOR_STEP)) <
			    1e-9);
		moves += now != before;
		before = now;
	}
	assert_true(moves <= 1);
	assert_true(service_factor_plan(&factor, 1.2) >= 1.2 - SERVICE_FACTOR_STEP);
	assert_true(service_factor_plan(&factor, 9) <= SERVICE_FACTOR_MAX);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_it_starts_wide_and_narrows, begin),
		cmocka_unit_test_setup(test_another_card_is_found_within_a_minute, begin),
		cmocka_unit_test_setup(test_a_card_that_changes_is_followed, begin),
		cmocka_unit_test_setup(test_one_look_moves_it_by_a_step_at_most, begin),
		cmocka_unit_test_setup(test_few_services_wait_for_more, begin),
		cmocka_unit_test_setup(test_time_widens_it_to_a_bound, begin),
		cmocka_unit_test_setup(test_what_contradicts_it_again_and_again_is_believed, begin),
		cmocka_unit_test_setup(test_chance_moves_it_by_little, begin),
		cmocka_unit_test_setup(test_what_is_no_number_counts_for_nothing, begin),
		cmocka_unit_test_setup(test_plans_move_in_steps_and_not_back_and_forth, begin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
