/* SPDX-License-Identifier: Apache-2.0 */
/* What is learnt of a card's power: from what, how fast, and from what not. */
#include "base/macros.h"
#include "base/units.h"
#include "governor/cap-factor.h"
#include "support/cmocka-includes.h"
#include <math.h>

#define POLL_NS (100 * NSEC_PER_MSEC)
#define BUSY_W	150.0
#define IDLE_W	50.0

/* Ten batches an interval, busy for the share of it, at a power that is factor times the profile's.
 */
static struct cap_factor_input interval(double share, double factor)
{
	return (struct cap_factor_input){
		.option = 3,
		.held = true,
		.interval_ns = POLL_NS,
		.busy_ns = (uint64_t)(share * (double)POLL_NS),
		.executions = 10,
		.completions = 80,
		.batch = 8,
		.power_uw = (uint64_t)(factor * (IDLE_W + share * (BUSY_W - IDLE_W)) *
				       (double)UW_PER_W),
		.idle_w = IDLE_W,
		.busy_w = BUSY_W,
	};
}

static void run(struct cap_factor *f, const struct cap_factor_input *in, double seconds)
{
	for (double t = 0; t < seconds; t += 0.1)
		cap_factor_update(f, in);
}

static void test_it_rises_in_seconds_and_falls_in_half_a_minute(void **state _unused_)
{
	struct cap_factor f = {0};
	struct cap_factor_input high = interval(1, 1.1), low = interval(0.95, 0.95);

	assert_true(cap_factor_get(&f) == 1);
	run(&f, &high, 20);
	assert_true(fabs(cap_factor_get(&f) - 1.1) < 0.005);
	run(&f, &low, 4);
	assert_true(cap_factor_get(&f) > 1.07);
	run(&f, &low, 30);
	assert_true(cap_factor_get(&f) < 1.02);
	run(&f, &low, 200);
	assert_true(fabs(cap_factor_get(&f) - 0.95) < 0.005);
}

/* What it starts with was never measured: a card that draws less is believed in some seconds, by
 * the mean of what there is, and not by the lowest of it. */
static void test_the_first_readings_are_believed_at_once(void **state _unused_)
{
	struct cap_factor f = {0};
	struct cap_factor_input low = interval(0.95, 0.9), lower = interval(0.95, 0.8);

	run(&f, &low, 9);
	assert_true(cap_factor_get(&f) < 0.93 && cap_factor_get(&f) > 0.9);
	run(&f, &low, 60);
	assert_true(fabs(cap_factor_get(&f) - 0.9) < 0.002);
	run(&f, &lower, 2);
	assert_true(cap_factor_get(&f) > 0.89);
}

static void test_above_the_cap_it_does_not_wait_for_a_window(void **state _unused_)
{
	struct cap_factor f = {0};
	struct cap_factor_input in = interval(1, 1.1);

	in.cap_uw = 160 * UW_PER_W;
	for (unsigned int i = 0; i < 9; i++)
		cap_factor_update(&f, &in);
	assert_true(cap_factor_get(&f) == 1); /* not settled */
	run(&f, &in, 0.9);
	assert_true(cap_factor_get(&f) > 1.09);
}

/* The second of polls of half a second, as two of them are a second; never the first, however long
 * it was, as it began with the option before; and one that was not held counts for nothing. */
static void test_the_interval_after_an_order_counts_but_is_not_learnt_from(void **state _unused_)
{
	struct cap_factor f = {0};
	struct cap_factor_input in = interval(1, 1.1);

	in.cap_uw = 160 * UW_PER_W;
	in.interval_ns = NSEC_PER_SEC / 2;
	cap_factor_update(&f, &in);
	assert_true(cap_factor_get(&f) == 1);
	cap_factor_update(&f, &in);
	assert_true(cap_factor_get(&f) > 1.05);

	f = (struct cap_factor){0};
	in.interval_ns = 5 * NSEC_PER_SEC;
	in.busy_ns = in.interval_ns;
	cap_factor_update(&f, &in);
	assert_true(cap_factor_get(&f) == 1);
	cap_factor_update(&f, &in);
	assert_true(cap_factor_get(&f) > 1.05);

	f = (struct cap_factor){0};
	in.interval_ns = NSEC_PER_SEC / 2;
	for (unsigned int i = 0; i < 40; i++) {
		in.held = i % 2 == 0;
		cap_factor_update(&f, &in);
		assert_true(cap_factor_get(&f) == 1);
	}
}

static void test_what_tells_nothing_is_not_learnt_from(void **state _unused_)
{
	struct cap_factor_input cases[6];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		cases[i] = interval(0.95, 1.2);
	cases[0].held = false;
	cases[1].option = UINT32_MAX;
	cases[2].power_uw = 0;
	cases[3] = interval(0.8, 1.2);
	cases[4].busy_w = NAN;
	cases[5] = interval(0.95, 0.7); /* partly filled, so it draws less anyway */
	cases[5].completions = 20;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cap_factor f = {0};

		run(&f, &cases[i], 60);
		if (cap_factor_get(&f) != 1)
			fail_msg("case %zu: %.3f", i, cap_factor_get(&f));
	}
}

/* Until sensors have forgotten the option before. */
static void test_an_option_is_learnt_from_after_a_second(void **state _unused_)
{
	struct cap_factor f = {0};
	struct cap_factor_input in = interval(0.8, 1.3);

	for (unsigned int i = 0; i < 600; i++) {
		in.option = i / 9 % 2;
		cap_factor_update(&f, &in);
	}
	assert_true(cap_factor_get(&f) == 1);
}

/* Batches that end in every third interval, and the sensor shows them all the time. */
static void test_long_batches_do_not_look_like_idle_time(void **state _unused_)
{
	struct cap_factor f = {0};
	struct cap_factor_input in = interval(1, 1);

	for (unsigned int i = 0; i < 3000; i++) {
		bool ends = i % 3 == 2;

		in.executions = ends;
		in.completions = ends ? 8 : 0;
		in.busy_ns = ends ? 3 * POLL_NS : 0;
		cap_factor_update(&f, &in);
		assert_true(fabs(cap_factor_get(&f) - 1) < 0.05);
	}
}

static void test_it_is_bounded(void **state _unused_)
{
	struct cap_factor f = {0};
	struct cap_factor_input in = interval(1, 100);

	run(&f, &in, 60);
	assert_true(cap_factor_get(&f) == CAP_FACTOR_MAX);
	in = interval(1, 0.01);
	run(&f, &in, 10000);
	assert_true(cap_factor_get(&f) == CAP_FACTOR_MIN);
}

/* A sensor that shows a moment shows a busy one, in a window that was not all busy. */
static void test_a_busy_moment_is_not_more_than_was_known(void **state _unused_)
{
	struct cap_factor f = {0};
	struct cap_factor_input in = interval(0.92, 1);

	in.power_uw = (uint64_t)(BUSY_W * (double)UW_PER_W);
	run(&f, &in, 600);
	assert_true(cap_factor_get(&f) == 1);
	in.power_uw = (uint64_t)(1.1 * BUSY_W * (double)UW_PER_W);
	run(&f, &in, 60);
	assert_true(fabs(cap_factor_get(&f) - 1.1) < 0.005);
}

/* It need not be counted how much of the time was busy, and either way takes a second or two. */
static void test_while_a_queue_waits_each_reading_tells(void **state _unused_)
{
	struct cap_factor f = {0};
	struct cap_factor_input low = interval(1, 0.95), high = interval(1, 1.05);

	low.saturated = high.saturated = true;
	low.busy_ns = high.busy_ns = POLL_NS / 2; /* what has not ended is not counted yet */
	run(&f, &low, 0.85);
	assert_true(cap_factor_get(&f) == 1); /* not settled */
	run(&f, &low, 1);
	assert_true(fabs(cap_factor_get(&f) - 0.95) < 0.005);
	run(&f, &high, 2);
	assert_true(fabs(cap_factor_get(&f) - 1.05) < 0.005);
	run(&f, &low, 1);
	assert_true(cap_factor_get(&f) > 1);

	/* Few executions, or batches that are not full: by windows, as ever. */
	for (int i = 0; i < 2; i++) {
		f = (struct cap_factor){0};
		low.executions = i == 0 ? 9 : 10;
		low.completions = i == 0 ? 72 : 70;
		run(&f, &low, 10);
		assert_true(cap_factor_get(&f) == 1);
	}
}

/* The hardware that holds the cap itself lowers the clock by far more than is needed, at times. */
static void test_what_the_hardware_takes_is_not_the_option(void **state _unused_)
{
	struct cap_factor f = {0};
	struct cap_factor_input in = interval(1, 0.85);

	in.saturated = true;
	in.busy_ns = POLL_NS / 2;
	run(&f, &in, 10);
	assert_true(cap_factor_get(&f) == 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_rises_in_seconds_and_falls_in_half_a_minute),
		cmocka_unit_test(test_the_first_readings_are_believed_at_once),
		cmocka_unit_test(test_above_the_cap_it_does_not_wait_for_a_window),
		cmocka_unit_test(test_the_interval_after_an_order_counts_but_is_not_learnt_from),
		cmocka_unit_test(test_what_tells_nothing_is_not_learnt_from),
		cmocka_unit_test(test_an_option_is_learnt_from_after_a_second),
		cmocka_unit_test(test_long_batches_do_not_look_like_idle_time),
		cmocka_unit_test(test_a_busy_moment_is_not_more_than_was_known),
		cmocka_unit_test(test_while_a_queue_waits_each_reading_tells),
		cmocka_unit_test(test_what_the_hardware_takes_is_not_the_option),
		cmocka_unit_test(test_it_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
