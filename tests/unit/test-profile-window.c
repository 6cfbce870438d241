/* SPDX-License-Identifier: Apache-2.0 */
/* What a closed-loop window says of a cell, made of services that are known. */
#include "gpu/gpu.h"
#include "profiler/window.h"
#include "support/cmocka-includes.h"

#include <errno.h>
#include <math.h>

#define PART_NS	   UINT64_C(100000000)
#define SERVICE_NS 2000000.0

static const struct estimate power = {200, 0.5};

struct fixture {
	struct window w;
	struct surface_cell cell;
};

/* One slot, busy all the time: 50 services of 2 ms in each part of 100 ms. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	for (uint32_t i = 0; i <= WINDOW_PARTS; i++) {
		f->w.at_ns[i] = i * PART_NS;
		f->w.sample[i].completions = 1000 + 50 * i;
		f->w.sample[i].busy_ns = (uint64_t)(SERVICE_NS * 50 * i);
	}
	f->w.histogram.count = 600;
	f->w.histogram.buckets[channel_histogram_bucket((uint64_t)SERVICE_NS)] = 600;
	for (int i = 0; i < 100; i++)
		sensor_span_add(&f->w.sensors,
				&(struct actuator_state){
					.fields = GPU_HAS_POWER | GPU_HAS_SCLK | GPU_HAS_TEMP |
						  GPU_HAS_THROTTLE,
					.power_uw = 200000000,
					.sclk_mhz = 1725,
					.temp_mc = 61000,
				},
				i * 0.01);
	f->cell =
		(struct surface_cell){.max_mhz = 1725, .shape = {4, 15}, .batch = 1, .workers = 1};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static int fill(struct fixture *f)
{
	return window_cell(&f->w, /* has_starts= */ true, power, &f->cell);
}

static void test_a_gapless_window_gives_the_services_own_capacity(void **state)
{
	struct fixture *f = *state;
	const struct surface_cell *c = &f->cell;

	/* Two threads that wake up late make the count uneven; it is not what counts. */
	f->w.sample[WINDOW_PARTS].completions--;
	f->w.sample[WINDOW_PARTS].busy_ns -= (uint64_t)SERVICE_NS;
	assert_int_equal(fill(f), 0);
	assert_true(fabs(c->capacity_rps - 500) < 1e-6);
	assert_true(c->capacity_se < 1e-6);
	assert_true(c->power_w == 200 && c->power_se == 0.5);
	assert_true(fabs(c->energy_j - 0.4) < 1e-9);
	assert_true(c->mean_mhz == 1725 && fabs(c->temp_c - 61) < 1e-9);
	assert_int_equal(c->samples, 599);
	assert_int_equal(c->flags, 0);
	assert_true(fabs(c->service_ns[50] / SERVICE_NS - 1) < 0.02);
}

static void test_gaps_between_services_take_capacity_away(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i <= WINDOW_PARTS; i++)
		f->w.at_ns[i] = i * PART_NS * 5 / 4;
	assert_int_equal(fill(f), 0);
	assert_true(fabs(f->cell.capacity_rps - 400) < 1e-6);
}

static void test_without_starts_completions_give_the_capacity(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = 0; i <= WINDOW_PARTS; i++)
		f->w.sample[i].busy_ns = 0;
	assert_int_equal(window_cell(&f->w, /* has_starts= */ false, power, &f->cell), 0);
	assert_true(fabs(f->cell.capacity_rps - 500) < 1e-6);
}

static void test_several_slots_and_batches_multiply(void **state)
{
	struct fixture *f = *state;

	/* Four slots of batches of 8: each request takes an eighth of 16 ms. */
	f->cell.workers = 4;
	f->cell.batch = 8;
	for (uint32_t i = 0; i <= WINDOW_PARTS; i++)
		f->w.sample[i].completions = 200 * i;
	for (uint32_t i = 0; i <= WINDOW_PARTS; i++)
		f->w.sample[i].busy_ns = (uint64_t)(SERVICE_NS * 200 * i);
	f->w.histogram.buckets[channel_histogram_bucket(16000000)] = 300;
	f->w.histogram.buckets[channel_histogram_bucket((uint64_t)SERVICE_NS)] = 0;
	f->w.histogram.count = 300;
	assert_int_equal(fill(f), 0);
	assert_true(fabs(f->cell.capacity_rps - 2000) < 1e-6);
	assert_true(fabs(f->cell.service_ns[50] / 16e6 - 1) < 0.02);
	assert_int_equal(f->cell.samples, 300);
}

static void test_windows_that_say_nothing_are_errors(void **state)
{
	struct fixture *f = *state;
	const struct window good = f->w;

	f->w.sample[WINDOW_PARTS].failures = 1;
	assert_int_equal(fill(f), -EIO);
	f->w = good;
	f->w.histogram = (struct channel_histogram){0};
	assert_int_equal(fill(f), -ENODATA);
	f->w = good;
	for (uint32_t i = 0; i <= WINDOW_PARTS; i++)
		f->w.sample[i].completions = 7;
	assert_int_equal(fill(f), -ENODATA);
	/* A worker that says its services take no time. */
	f->w = good;
	for (uint32_t i = 0; i <= WINDOW_PARTS; i++)
		f->w.sample[i].busy_ns = 0;
	assert_int_equal(fill(f), -ENODATA);
	f->w = good;
	assert_int_equal(fill(f), 0);
}

static void test_a_window_of_different_thirds_is_unstable(void **state)
{
	struct fixture *f = *state;

	for (uint32_t i = WINDOW_PARTS / 3 + 1; i <= WINDOW_PARTS; i++)
		f->w.at_ns[i] += (i - WINDOW_PARTS / 3) * PART_NS / 2;
	assert_int_equal(fill(f), 0);
	assert_int_equal(f->cell.flags, SURFACE_UNSTABLE);
}

static void test_a_clock_below_its_limit_is_throttled(void **state)
{
	struct fixture *f = *state;

	f->cell.max_mhz = 1800;
	assert_int_equal(fill(f), 0);
	assert_int_equal(f->cell.flags, SURFACE_THROTTLED);
}

static void add_readings(struct fixture *f, int n, uint32_t throttle, uint32_t verified)
{
	for (int i = 0; i < n; i++)
		sensor_span_add(&f->w.sensors,
				&(struct actuator_state){.fields = GPU_HAS_THROTTLE,
							 .throttle = throttle,
							 .verified = verified},
				1 + i * 0.01);
}

static void test_throttling_counts_from_a_tenth_of_the_readings(void **state)
{
	struct fixture *f = *state;

	add_readings(f, 10, 1, ACTUATOR_UNVERIFIED);
	assert_int_equal(fill(f), 0);
	assert_int_equal(f->cell.flags, 0);
	add_readings(f, 10, 1, ACTUATOR_UNVERIFIED);
	assert_int_equal(fill(f), 0);
	assert_int_equal(f->cell.flags, SURFACE_THROTTLED);
}

static void test_one_reading_of_drift_is_enough(void **state)
{
	struct fixture *f = *state;

	add_readings(f, 1, 0, ACTUATOR_DRIFT);
	assert_int_equal(fill(f), 0);
	assert_int_equal(f->cell.flags, SURFACE_UNSTABLE);
}

static void test_sensors_that_a_card_lacks_are_left_out(void **state)
{
	struct fixture *f = *state;

	f->w.sensors = (struct sensor_span){0};
	add_readings(f, 5, 0, ACTUATOR_UNVERIFIED);
	assert_int_equal(f->w.sensors.n, 5);
	assert_int_equal(f->w.sensors.power_w.n, 0);
	assert_int_equal(fill(f), 0);
	/* Nothing is known but the limit. */
	assert_true(f->cell.mean_mhz == 1725 && f->cell.temp_c == 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_gapless_window_gives_the_services_own_capacity),
		TEST(test_gaps_between_services_take_capacity_away),
		TEST(test_without_starts_completions_give_the_capacity),
		TEST(test_several_slots_and_batches_multiply),
		TEST(test_windows_that_say_nothing_are_errors),
		TEST(test_a_window_of_different_thirds_is_unstable),
		TEST(test_a_clock_below_its_limit_is_throttled),
		TEST(test_throttling_counts_from_a_tenth_of_the_readings),
		TEST(test_one_reading_of_drift_is_enough),
		TEST(test_sensors_that_a_card_lacks_are_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
