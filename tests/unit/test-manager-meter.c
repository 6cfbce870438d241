/* SPDX-License-Identifier: Apache-2.0 */
/* From a worker's cumulative samples to the governor's input. */
#include "base/macros.h"
#include "base/units.h"
#include "daemon/meter.h"
#include "support/cmocka-includes.h"
#include <errno.h>

#define POLL (500 * NSEC_PER_MSEC)

static struct governor_model_input fresh(void)
{
	return (struct governor_model_input){.whole_interval = true,
					     .mask_follows = true,
					     .batch_follows = true};
}

static struct channel_sample sample(uint64_t beat, uint64_t arrivals, uint64_t completions)
{
	return (struct channel_sample){.beat = beat,
				       .arrivals = arrivals,
				       .completions = completions};
}

/* One step: a sample, and what it adds to an input. */
static struct governor_model_input step(struct meter *m, uint64_t now_ns, struct channel_sample s)
{
	struct governor_model_input in = fresh();

	meter_feed(m, now_ns, 0, &s);
	meter_add_to(m, now_ns, POLL, &in);
	meter_next_interval(m, now_ns, /* early= */ false);
	return in;
}

static void test_counts_are_those_of_the_interval(void **state _unused_)
{
	struct governor_model_input in;
	struct meter m;

	meter_init(&m, 0, /* starts= */ true);
	in = step(&m, POLL, sample(1, 100, 90));
	assert_int_equal(in.arrivals, 100);
	assert_int_equal(in.in_flight, 10);
	in = step(&m, 2 * POLL, sample(2, 130, 125));
	assert_int_equal(in.arrivals, 30);
	assert_int_equal(in.completions, 35);
	assert_int_equal(in.in_flight, 5);
	assert_int_equal(in.state, GOVERNOR_INPUT_OK);
	in = step(&m, 3 * POLL, sample(3, 130, 130));
	assert_int_equal(in.arrivals, 0);
	assert_int_equal(in.in_flight, 0);
	assert_int_equal(in.state, GOVERNOR_INPUT_OK);
}

static void test_every_counter_is_carried(void **state _unused_)
{
	struct channel_sample s = {.beat = 1,
				   .arrivals = 64,
				   .starts = 32,
				   .completions = 16,
				   .failures = 8,
				   .late = 4,
				   .batches = 2,
				   .busy_ns = 77};
	struct governor_model_input in;
	struct meter m;

	meter_init(&m, 0, /* starts= */ true);
	in = step(&m, POLL, s);
	assert_int_equal(in.starts, 32);
	assert_int_equal(in.failures, 8);
	assert_int_equal(in.late, 4);
	assert_int_equal(in.executions, 2);
	assert_int_equal(in.busy_ns, 77);
	assert_int_equal(in.in_flight, 64 - 16 - 8);
}

static void test_the_first_interval_is_not_whole(void **state _unused_)
{
	struct meter m;

	meter_init(&m, 0, /* starts= */ true);
	assert_false(step(&m, POLL, sample(1, 0, 0)).whole_interval);
	assert_true(step(&m, 2 * POLL, sample(2, 0, 0)).whole_interval);
}

static void test_an_old_beat_is_missing_input(void **state _unused_)
{
	static const struct {
		uint64_t age_ns, poll_ns;
		bool missing;
	} cases[] = {
		{0, POLL, false},
		{NSEC_PER_SEC, POLL, false},
		{NSEC_PER_SEC + 1, POLL, true},
		{NSEC_PER_SEC, 100 * NSEC_PER_MSEC, false},
		{NSEC_PER_SEC + 1, 100 * NSEC_PER_MSEC, true},
		{4 * NSEC_PER_SEC, 2 * NSEC_PER_SEC, false},
		{4 * NSEC_PER_SEC + 1, 2 * NSEC_PER_SEC, true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct channel_sample s = sample(7, 0, 0);
		struct meter m;

		meter_init(&m, 0, /* starts= */ true);
		meter_feed(&m, 1000, 0, &s);
		/* The same beat again does not make it younger. */
		meter_feed(&m, 1000 + cases[i].age_ns, 0, &s);
		assert_int_equal(meter_missing(&m, 1000 + cases[i].age_ns, cases[i].poll_ns),
				 cases[i].missing);
	}
}

static void test_a_worker_that_never_beats_is_missing_after_a_second(void **state _unused_)
{
	struct meter m;

	meter_init(&m, 5 * NSEC_PER_SEC, /* starts= */ true);
	assert_false(meter_missing(&m, 6 * NSEC_PER_SEC, POLL));
	assert_true(meter_missing(&m, 6 * NSEC_PER_SEC + 1, POLL));
}

static void test_an_invalid_sample_is_missing_input_for_its_interval(void **state _unused_)
{
	struct governor_model_input in = fresh();
	struct meter m;

	meter_init(&m, 0, /* starts= */ true);
	(void)step(&m, POLL, sample(1, 10, 10));
	meter_feed(&m, 2 * POLL, -EBADMSG, NULL);
	meter_add_to(&m, 2 * POLL, POLL, &in);
	assert_int_equal(in.state, GOVERNOR_INPUT_MISSING);
	/* The last good one stays the base: nothing is counted twice or lost. */
	assert_int_equal(in.arrivals, 0);
	meter_next_interval(&m, 2 * POLL, /* early= */ false);
	in = step(&m, 3 * POLL, sample(2, 25, 20));
	assert_int_equal(in.state, GOVERNOR_INPUT_OK);
	assert_int_equal(in.arrivals, 15);
}

static void test_one_missing_worker_makes_its_model_missing(void **state _unused_)
{
	/* In either order. */
	for (int order = 0; order < 2; order++) {
		struct governor_model_input in = fresh();
		struct meter good, bad;
		struct channel_sample s = sample(1, 10, 0);

		meter_init(&good, 0, /* starts= */ true);
		meter_init(&bad, 0, /* starts= */ true);
		meter_feed(&good, POLL, 0, &s);
		meter_feed(&bad, POLL, -EBADMSG, NULL);
		meter_add_to(order ? &good : &bad, POLL, POLL, &in);
		meter_add_to(order ? &bad : &good, POLL, POLL, &in);
		assert_int_equal(in.state, GOVERNOR_INPUT_MISSING);
		assert_int_equal(in.workers, 2);
		assert_int_equal(in.arrivals, 10);
	}
}

static void test_workers_of_a_model_add_up(void **state _unused_)
{
	struct governor_model_input in = fresh();
	struct meter a, b;
	struct channel_sample sa = sample(1, 100, 60), sb = sample(1, 7, 7);

	meter_init(&a, 0, /* starts= */ true);
	meter_init(&b, 0, /* starts= */ true);
	meter_feed(&a, POLL, 0, &sa);
	meter_feed(&b, POLL, 0, &sb);
	meter_add_to(&a, POLL, POLL, &in);
	meter_add_to(&b, POLL, POLL, &in);
	assert_int_equal(in.workers, 2);
	assert_int_equal(in.arrivals, 107);
	assert_int_equal(in.completions, 67);
	assert_int_equal(in.in_flight, 40);
	assert_int_equal(in.state, GOVERNOR_INPUT_OK);
	assert_false(in.whole_interval);
}

static void test_the_oldest_age_is_a_lower_bound(void **state _unused_)
{
	struct meter m;

	meter_init(&m, 0, /* starts= */ true);
	/* Ten arrive in the first interval and five of them end in the second. */
	assert_int_equal(step(&m, POLL, sample(1, 10, 0)).oldest_age_ns, 0);
	assert_int_equal(step(&m, 2 * POLL, sample(2, 20, 5)).oldest_age_ns, POLL);
	/* All of the first ten have ended; one of the next ten is at least one interval old. */
	assert_int_equal(step(&m, 3 * POLL, sample(3, 20, 19)).oldest_age_ns, POLL);
	assert_int_equal(step(&m, 4 * POLL, sample(4, 20, 19)).oldest_age_ns, 2 * POLL);
	assert_int_equal(step(&m, 5 * POLL, sample(5, 20, 20)).oldest_age_ns, 0);
}

static void test_failures_end_a_request_too(void **state _unused_)
{
	struct channel_sample s = sample(2, 10, 4);
	struct meter m;

	meter_init(&m, 0, /* starts= */ true);
	(void)step(&m, POLL, sample(1, 10, 0));
	s.failures = 6;
	assert_int_equal(step(&m, 2 * POLL, s).oldest_age_ns, 0);
}

static void test_a_request_older_than_the_history_keeps_the_oldest_age(void **state _unused_)
{
	struct meter m;
	uint64_t age_ns = 0;

	meter_init(&m, 0, /* starts= */ true);
	for (uint64_t i = 1; i <= 2 * METER_HISTORY; i++)
		age_ns = step(&m, i * POLL, sample(i, 1, 0)).oldest_age_ns;
	assert_int_equal(age_ns, METER_HISTORY * POLL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts_are_those_of_the_interval),
		cmocka_unit_test(test_every_counter_is_carried),
		cmocka_unit_test(test_the_first_interval_is_not_whole),
		cmocka_unit_test(test_an_old_beat_is_missing_input),
		cmocka_unit_test(test_a_worker_that_never_beats_is_missing_after_a_second),
		cmocka_unit_test(test_an_invalid_sample_is_missing_input_for_its_interval),
		cmocka_unit_test(test_one_missing_worker_makes_its_model_missing),
		cmocka_unit_test(test_workers_of_a_model_add_up),
		cmocka_unit_test(test_the_oldest_age_is_a_lower_bound),
		cmocka_unit_test(test_failures_end_a_request_too),
		cmocka_unit_test(test_a_request_older_than_the_history_keeps_the_oldest_age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
