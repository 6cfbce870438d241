/* SPDX-License-Identifier: Apache-2.0 */
/* Boosts: when they begin and end, and whose wakes are believed. */
#include "base/units.h"
#include "governor-bench.h"
#include "governor/boost.h"
#include "support/cmocka-includes.h"

#define MS	   NSEC_PER_MSEC
#define SERVICE_NS (10 * MS)
#define UNREPORTED UINT64_MAX

/* A worker with one request executing, that waits up to 40 ms. */
struct scene {
	struct boost b;
	struct governor_model_input in;
	struct boost_view v;
	uint64_t again_ns;
};

static struct scene scene_new(void)
{
	struct scene s = {.in = {.state = GOVERNOR_INPUT_OK, .workers = 1, .in_flight = 1},
			  .v = {.now_ns = NSEC_PER_SEC,
				.interval_ns = 100 * MS,
				.wait_ns = 40 * MS,
				.service_ns = SERVICE_NS,
				.row_service_ns = 2 * SERVICE_NS,
				.may_begin = true}};

	boost_init(&s.b);
	return s;
}

static bool step(struct scene *s, uint64_t after_ns)
{
	s->v.now_ns += after_ns;
	s->v.in = &s->in;
	return boost_step(&s->b, &s->v, &s->again_ns);
}

/* A wake behind a queue: what waited did so behind an execution as long as its wait. */
static bool wake(struct scene *s, uint64_t after_ns)
{
	bool on;

	s->in.woken = true;
	s->in.starts = s->in.completions = s->in.executions = 2;
	s->in.busy_ns = 2 * SERVICE_NS;
	s->in.waiting = 1;
	s->in.in_flight = 2;
	on = step(s, after_ns);
	s->in = (struct governor_model_input){.state = GOVERNOR_INPUT_OK, .workers = 1};
	return on;
}

/* A wake of one that says itself that nothing started and nothing waits. */
static bool lie(struct scene *s, uint64_t after_ns)
{
	bool on;

	s->in.woken = true;
	on = step(s, after_ns);
	s->in.woken = false;
	return on;
}

/* Nothing waits any more, for long enough. */
static void end(struct scene *s)
{
	for (int i = 0; step(s, SERVICE_NS); i++)
		assert_true(i < 4);
}

static void test_it_ends_when_nothing_has_waited_for_two_services(void **state)
{
	struct scene s = scene_new();

	(void)state;
	assert_true(wake(&s, 0));
	s.in.waiting = 1;
	for (int i = 0; i < 50; i++)
		assert_true(step(&s, SERVICE_NS));
	s.in.waiting = 0;
	assert_true(step(&s, SERVICE_NS));
	assert_true(step(&s, SERVICE_NS));
	/* Somebody waits again: the time begins anew. */
	s.in.waiting = 1;
	assert_true(step(&s, SERVICE_NS - 1));
	s.in.waiting = 0;
	assert_true(step(&s, 1));
	assert_true(step(&s, 2 * SERVICE_NS - 1));
	assert_false(step(&s, 1));
}

static void test_it_is_looked_at_every_service_time_and_no_longer_than_two_seconds(void **state)
{
	struct scene s = scene_new();

	(void)state;
	assert_true(wake(&s, 0));
	assert_int_equal(s.again_ns, s.v.now_ns + SERVICE_NS);
	s.in.waiting = 1;
	s.v.service_ns = 1e3;
	assert_true(step(&s, MS));
	assert_int_equal(s.again_ns, s.v.now_ns + 5 * MS);
	s.v.service_ns = 1e12;
	assert_true(step(&s, MS));
	assert_int_equal(s.again_ns, s.v.now_ns + 100 * MS);
	assert_true(step(&s, 2 * NSEC_PER_SEC));
	assert_int_equal(s.again_ns, UINT64_MAX);
	s.in.waiting = 0;
	s.v.service_ns = SERVICE_NS;
	end(&s);
	assert_int_equal(s.again_ns, UINT64_MAX);
}

static void test_it_begins_ten_times_a_second_at_most(void **state)
{
	struct scene s = scene_new();
	uint32_t n = 0;

	(void)state;
	for (uint64_t t = 0; t < NSEC_PER_SEC; t += MS) {
		bool was = s.b.on;

		n += wake(&s, MS) && !was;
		/* As short as one can be. */
		s.b.on = false;
	}
	assert_in_range(n, 9, 10);
}

static void test_nobody_boosts_where_nothing_is_gained_or_none_may_begin(void **state)
{
	struct scene s = scene_new();

	(void)state;
	s.v.may_begin = false;
	assert_false(wake(&s, 0));
	s.v.may_begin = true;
	assert_true(wake(&s, 200 * MS));
	s.v.wait_ns = UINT64_MAX;
	assert_false(wake(&s, 200 * MS));
	assert_false(s.b.on);
	assert_int_equal(s.again_ns, UINT64_MAX);
	/* Nor is a wake from there a contradiction: it may be under way when the clock is raised.
	 */
	for (int i = 0; i < 100; i++)
		assert_false(lie(&s, 200 * MS));
	assert_int_equal(s.b.doubts, 0);
}

static void test_starts_that_are_not_reported_end_it_by_what_was_there(void **state)
{
	struct scene s = scene_new();

	(void)state;
	s.in.woken = true;
	s.in.waiting = UNREPORTED;
	s.in.in_flight = 5;
	assert_true(step(&s, 0));
	s.in.woken = false;
	/* Others have come, which it is not for; four of the five end. */
	s.in.in_flight = 50;
	s.in.completions = 3;
	assert_true(step(&s, SERVICE_NS));
	s.in.completions = 0;
	s.in.failures = 1;
	assert_true(step(&s, SERVICE_NS));
	s.in.failures = 0;
	for (int i = 0; i < 20; i++)
		assert_true(step(&s, SERVICE_NS));
	/* The fifth, and two service times. */
	s.in.completions = 1;
	assert_true(step(&s, SERVICE_NS));
	s.in.completions = 0;
	assert_true(step(&s, 2 * SERVICE_NS - 1));
	assert_false(step(&s, 1));
}

static void test_more_ended_than_were_there_is_no_wrap(void **state)
{
	struct scene s = scene_new();

	(void)state;
	s.in.woken = true;
	s.in.waiting = UNREPORTED;
	s.in.in_flight = 2;
	assert_true(step(&s, 0));
	s.in.woken = false;
	s.in.completions = UINT64_MAX;
	s.in.failures = UINT64_MAX;
	assert_true(step(&s, SERVICE_NS));
	assert_int_equal(s.b.behind, 0);
	assert_false(step(&s, 2 * SERVICE_NS));
}

static void test_a_wake_without_reported_starts_is_borne_out_by_any_request(void **state)
{
	static const struct {
		uint64_t in_flight, completions;
		uint32_t doubts;
	} cases[] = {{0, 0, 1}, {1, 0, 0}, {0, 1, 0}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scene s = scene_new();

		s.in.woken = true;
		s.in.waiting = UNREPORTED;
		s.in.in_flight = cases[i].in_flight;
		s.in.completions = cases[i].completions;
		(void)step(&s, 0);
		assert_int_equal(s.b.doubts, cases[i].doubts);
	}
}

static void test_after_ten_contradictions_wakes_count_no_more(void **state)
{
	struct scene s = scene_new();

	(void)state;
	for (int i = 0; i < 9; i++) {
		assert_true(lie(&s, 200 * MS));
		end(&s);
	}
	assert_false(s.b.disbelieved);
	assert_false(lie(&s, 200 * MS));
	assert_true(s.b.disbelieved);
	/* Also true ones, as nobody can tell. */
	for (int i = 0; i < 100; i++)
		assert_false(wake(&s, 200 * MS));
	assert_true(s.b.disbelieved);
	/* The age of the oldest request is the daemon's own measurement. */
	s.v.danger = true;
	assert_true(step(&s, 200 * MS));
}

static void test_a_wait_that_nothing_was_executed_in_is_a_contradiction(void **state)
{
	struct scene s = scene_new();

	(void)state;
	s.in.woken = true;
	s.in.starts = s.in.waiting = 1;
	s.v.wait_ns = 40 * MS;
	s.v.row_service_ns = 0;
	s.in.busy_ns = 20 * MS - 1;
	assert_true(step(&s, 0));
	assert_int_equal(s.b.doubts, 1);
	s.in = (struct governor_model_input){.state = GOVERNOR_INPUT_OK, .workers = 1};
	end(&s);
	s.in.woken = true;
	s.in.starts = s.in.waiting = 1;
	s.in.busy_ns = 20 * MS;
	assert_true(step(&s, 200 * MS));
	assert_int_equal(s.b.doubts, 0);
}

static void test_wakes_that_are_borne_out_make_up_for_those_that_are_not(void **state)
{
	struct scene s = scene_new();

	(void)state;
	for (int i = 0; i < 500; i++) {
		assert_true(lie(&s, 200 * MS));
		end(&s);
		assert_true(wake(&s, 200 * MS));
		end(&s);
	}
	assert_false(s.b.disbelieved);
	assert_true(s.b.doubts <= 1);
}

/* ---- in the governor ---- */

static void govern(struct bench *b, bool woken)
{
	b->input.now_ns += b->config.poll_ns;
	b->input.interval_ns = b->config.poll_ns;
	b->input.models[0].woken = woken;
	governor_step(b->governor, &b->input, &b->decision);
}

/* Ten wakes for nothing. */
static void lie_until_ignored(struct bench *b)
{
	uint32_t lies = 0;

	assert_true(b->decision.models[0].boost_wait_ns != UINT64_MAX);
	while (b->decision.models[0].boost_wait_ns != UINT64_MAX && lies < 100) {
		govern(b, true);
		lies++;
		for (int i = 0; i < 4; i++)
			govern(b, false);
	}
	assert_int_equal(lies, 10);
}

static void test_fresh_workers_are_believed_again(void **state)
{
	const struct governor_model_input idle = {.state = GOVERNOR_INPUT_OK,
						  .workers = 1,
						  .whole_interval = true,
						  .acknowledged = true};
	struct bench *b = calloc(1, sizeof(*b));

	(void)state;
	assert_non_null(b);
	assert_int_equal(bench_init(b, 100, 1, 0), 0);
	b->input.models[0] = idle;
	for (int i = 0; i < 120; i++)
		govern(b, false);
	lie_until_ignored(b);
	/* One who joins them is taken for one of them. */
	b->input.models[0].workers = 2;
	b->input.models[0].whole_interval = false;
	govern(b, false);
	b->input.models[0].whole_interval = true;
	for (int i = 0; i < 120; i++)
		govern(b, false);
	assert_true(b->decision.models[0].boost_wait_ns == UINT64_MAX);
	/* All have left. */
	b->input.models[0] = (struct governor_model_input){.state = GOVERNOR_NO_WORKER};
	govern(b, false);
	b->input.models[0] = idle;
	b->input.models[0].whole_interval = false;
	govern(b, false);
	b->input.models[0].whole_interval = true;
	for (int i = 0; i < 120; i++)
		govern(b, false);
	lie_until_ignored(b);
	/* Or one has taken the last one's place between two polls. */
	b->input.models[0].whole_interval = false;
	govern(b, false);
	b->input.models[0].whole_interval = true;
	for (int i = 0; i < 120; i++)
		govern(b, false);
	assert_true(b->decision.models[0].boost_wait_ns != UINT64_MAX);
	governor_free(b->governor);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_ends_when_nothing_has_waited_for_two_services),
		cmocka_unit_test(
			test_it_is_looked_at_every_service_time_and_no_longer_than_two_seconds),
		cmocka_unit_test(test_it_begins_ten_times_a_second_at_most),
		cmocka_unit_test(test_nobody_boosts_where_nothing_is_gained_or_none_may_begin),
		cmocka_unit_test(test_starts_that_are_not_reported_end_it_by_what_was_there),
		cmocka_unit_test(test_more_ended_than_were_there_is_no_wrap),
		cmocka_unit_test(test_a_wake_without_reported_starts_is_borne_out_by_any_request),
		cmocka_unit_test(test_after_ten_contradictions_wakes_count_no_more),
		cmocka_unit_test(test_a_wait_that_nothing_was_executed_in_is_a_contradiction),
		cmocka_unit_test(test_wakes_that_are_borne_out_make_up_for_those_that_are_not),
		cmocka_unit_test(test_fresh_workers_are_believed_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
