/* SPDX-License-Identifier: Apache-2.0 */
/* Late counts: what they have planned for, how surely, and that lies do not. */
#include "governor-bench.h"
#include "governor/late-test.h"
#include "support/cmocka-includes.h"

#define SEED   UINT64_C(20)
#define SLO_NS (20 * NSEC_PER_MSEC)

/* Half a second of n requests; the others took half of the SLO. */
static struct governor_model_input interval(uint64_t n, uint64_t late)
{
	return (struct governor_model_input){
		.state = GOVERNOR_INPUT_OK,
		.workers = 1,
		.whole_interval = true,
		.arrivals = n,
		.completions = n,
		.late = late,
		.sojourn_ns = (n - late) * SLO_NS / 2 + late * (SLO_NS + 1),
	};
}

static void feed(struct late_test *l, uint64_t n, uint64_t late, uint32_t times)
{
	struct governor_model_input in = interval(n, late);

	for (uint32_t i = 0; i < times; i++)
		late_test_update(l, &in, /* early= */ false, SLO_NS, 95);
}

static void test_what_is_surely_too_late_is_planned_for(void **state)
{
	struct late_test l;

	(void)state;
	late_test_init(&l);
	assert_true(late_test_raise(&l) == 1);
	/* A tenth of a hundred a second: less than half a minute. */
	feed(&l, 50, 5, 48);
	assert_true(fabs(late_test_raise(&l) - 1.1) < 1e-12);
	feed(&l, 50, 5, 150);
	assert_true(fabs(late_test_raise(&l) - 1.3) < 1e-12);
}

static void test_it_ends_once_little_is_late(void **state)
{
	struct late_test l;
	uint32_t n = 0;

	(void)state;
	late_test_init(&l);
	feed(&l, 50, 5, 100);
	assert_true(late_test_raise(&l) > 1.1);
	for (; late_test_raise(&l) > 1; n++) {
		feed(&l, 50, 0, 1);
		assert_in_range(n, 0, 400);
	}
	assert_true(n > 100);
}

/* Clusters of twenty-five as often as planned: hours of a hundred requests a second. */
static void test_chance_passes_for_it_hardly_ever(void **state)
{
	uint64_t seed = SEED;
	uint32_t raised = 0;
	struct late_test l;

	(void)state;
	print_message("seed %lu\n", SEED);
	late_test_init(&l);
	for (uint32_t i = 0; i < 10 * 7200; i++) {
		uint64_t late = 0;

		for (uint32_t k = 0; k < 10; k++)
			late += bench_uniform(&seed) < 0.002 ? 25 : 0;
		feed(&l, 50, MIN(late, UINT64_C(50)), 1);
		raised += late_test_raise(&l) > 1;
	}
	print_message("planned for more in %u of 72000 intervals\n", raised);
	assert_true(raised < 720);
}

static void test_late_counts_that_latencies_contradict_raise_nothing(void **state)
{
	struct governor_model_input in = interval(50, 0);
	struct late_test l;

	(void)state;
	late_test_init(&l);
	in.late = 50;
	for (uint32_t i = 0; i < 1000; i++) {
		late_test_update(&l, &in, false, SLO_NS, 95);
		assert_true(late_test_raise(&l) == 1);
	}
	assert_true(l.disbelieved);
	/* Nor is whoever did so believed later. */
	feed(&l, 50, 10, 100);
	assert_true(late_test_raise(&l) == 1);

	late_test_init(&l);
	in = interval(50, 50);
	in.late = UINT64_MAX;
	for (uint32_t i = 0; i < 100; i++)
		late_test_update(&l, &in, false, SLO_NS, 95);
	assert_true(late_test_raise(&l) == 1 && isfinite(l.sum));
}

static void test_one_contradiction_is_forgiven(void **state)
{
	struct governor_model_input in = interval(50, 0);
	struct late_test l;

	(void)state;
	late_test_init(&l);
	in.late = 2;
	for (uint32_t i = 0; i < 100; i++) {
		in.sojourn_ns = SLO_NS;
		late_test_update(&l, &in, false, SLO_NS, 95);
		feed(&l, 50, 1, 1);
	}
	assert_false(l.disbelieved);
}

/* Looks at wakes know no latencies: those of the poll stand for them. */
static void test_looks_between_polls_count_with_the_poll(void **state)
{
	struct governor_model_input look = interval(5, 5), poll = interval(40, 1);
	struct late_test l, whole;

	(void)state;
	look.sojourn_ns = 0;
	/* Of 50 that end in a poll, 11 late. */
	poll.sojourn_ns = 40 * (39 * SLO_NS / 2 + 11 * (SLO_NS + 1)) / 50;
	late_test_init(&l);
	late_test_init(&whole);
	for (uint32_t i = 0; i < 10; i++) {
		double sum = l.sum;

		late_test_update(&l, &look, /* early= */ true, SLO_NS, 95);
		late_test_update(&l, &look, /* early= */ true, SLO_NS, 95);
		assert_true(l.sum == sum && l.doubts == 0);
		late_test_update(&l, &poll, /* early= */ false, SLO_NS, 95);
		feed(&whole, 50, 11, 1);
		assert_true(l.sum == whole.sum && l.doubts == 0);
	}
	/* What is wrong with them is found then. */
	look.late = 1000;
	for (uint32_t i = 0; i < 10; i++) {
		late_test_update(&l, &look, /* early= */ true, SLO_NS, 95);
		assert_false(l.disbelieved);
		late_test_update(&l, &poll, /* early= */ false, SLO_NS, 95);
	}
	assert_true(l.disbelieved);
}

/* Nothing is left of the looks before a poll that was not of the plan, or in which none ended. */
static void test_looks_do_not_count_with_another_poll(void **state)
{
	struct governor_model_input look = interval(5, 5), none = interval(0, 0);
	struct late_test l, whole;

	(void)state;
	look.sojourn_ns = 0;
	late_test_init(&l);
	late_test_init(&whole);
	for (uint32_t i = 0; i < 100; i++) {
		late_test_update(&l, &look, /* early= */ true, SLO_NS, 95);
		/* Between two looks none need have ended. */
		late_test_update(&l, &none, /* early= */ true, SLO_NS, 95);
		assert_int_equal(l.completions, 5);
		if (i % 2 == 0)
			late_test_update(&l, &none, /* early= */ false, SLO_NS, 95);
		else
			late_test_pass(&l);
		feed(&l, 5, 0, 1);
		feed(&whole, 5, 0, 1);
		assert_true(l.sum == whole.sum && l.doubts == 0);
	}
}

static void test_failures_are_no_lies(void **state)
{
	struct governor_model_input in = interval(50, 0);
	struct late_test l;

	(void)state;
	late_test_init(&l);
	in.failures = in.late = 100;
	for (uint32_t i = 0; i < 1000; i++)
		late_test_update(&l, &in, false, SLO_NS, 95);
	assert_true(l.doubts == 0 && late_test_raise(&l) == 1);
}

static void test_whoever_comes_after_a_liar_is_believed(void **state)
{
	struct governor_model_input in = interval(50, 0);
	struct late_test l;

	(void)state;
	late_test_init(&l);
	in.late = 50;
	for (uint32_t i = 0; i < 10; i++)
		late_test_update(&l, &in, false, SLO_NS, 95);
	assert_true(l.disbelieved);
	late_test_forgive(&l);
	feed(&l, 50, 10, 100);
	assert_true(late_test_raise(&l) > 1);
}

/* Late whatever is planned for, and latencies that bear it out: it is not for ever. */
static void test_what_does_not_help_is_given_up(void **state)
{
	struct late_test l;

	(void)state;
	late_test_init(&l);
	feed(&l, 50, 50, 100);
	assert_true(late_test_raise(&l) == 1);
	feed(&l, 50, 50, 1000);
	assert_true(late_test_raise(&l) == 1);
	/* Until it has been well for a while. */
	feed(&l, 50, 0, 200);
	feed(&l, 50, 5, 100);
	assert_true(late_test_raise(&l) > 1);
}

/* ---- in the governor ---- */

static void step(struct bench *b, uint64_t n, uint64_t late, bool borne_out)
{
	struct governor_model_input in = {
		.state = GOVERNOR_INPUT_OK,
		.workers = 1,
		.arrivals = n,
		.starts = n,
		.completions = n,
		.late = late,
		.sojourn_ns = borne_out ? n * b->table.slo_ns : n,
		.whole_interval = true,
		.mask_follows = true,
		.batch_follows = true,
		.acknowledged = true,
	};

	b->input.models[0] = in;
	b->input.now_ns += b->config.poll_ns;
	b->input.interval_ns = b->config.poll_ns;
	governor_step(b->governor, &b->input, &b->decision);
}

/* A queue that is looked at, and then polls that do not count: one without counts, or full speed.
 */
static void test_the_governor_drops_looks_whose_latencies_it_passes_over(void **state)
{
	struct bench *b = malloc(sizeof(*b));
	uint32_t looks = 0;

	(void)state;
	assert_non_null(b);
	assert_int_equal(bench_init(b, 1000, SEED, 0), 0);
	for (uint32_t round = 0; round < 30; round++) {
		for (uint32_t i = 0; i < 50; i++)
			step(b, 100, 0, true);
		assert_int_equal(b->decision.reason, GOVERNOR_REASON_DEMAND);
		b->input.early = true;
		b->input.models[0].sojourn_ns = 0;
		b->input.models[0].arrivals = b->input.models[0].starts = 20;
		b->input.models[0].completions = b->input.models[0].late = 20;
		b->input.interval_ns = b->config.poll_ns / 4;
		b->input.now_ns += b->input.interval_ns;
		governor_step(b->governor, &b->input, &b->decision);
		looks += governor_late_test(b->governor, 0)->completions == 20;
		b->input.early = false;
		b->input.models[0].state = GOVERNOR_INPUT_MISSING;
		b->input.now_ns += b->config.poll_ns;
		governor_step(b->governor, &b->input, &b->decision);
		step(b, 100, 0, false);
		step(b, 100, 0, false);
		assert_int_equal(governor_late_test(b->governor, 0)->doubts, 0);
	}
	assert_int_equal(looks, 30);
	governor_free(b->governor);
	free(b);
}

static void test_the_governor_plans_for_more_and_says_why(void **state)
{
	struct bench *b = malloc(sizeof(*b));
	double demand_rps;
	uint32_t i;

	(void)state;
	assert_non_null(b);
	assert_int_equal(bench_init(b, 1000, SEED, 0), 0);
	for (i = 0; i < 200; i++)
		step(b, 100, 0, true);
	assert_int_equal(b->decision.reason, GOVERNOR_REASON_DEMAND);
	demand_rps = b->decision.models[0].demand_rps;
	for (i = 0; i < 40; i++)
		step(b, 100, 20, true);
	assert_int_equal(b->decision.reason, GOVERNOR_REASON_LATE);
	assert_true(fabs(b->decision.models[0].demand_rps / demand_rps - 1.3) < 0.01);
	for (i = 0; i < 400; i++)
		step(b, 100, 0, true);
	assert_int_equal(b->decision.reason, GOVERNOR_REASON_DEMAND);
	assert_true(fabs(b->decision.models[0].demand_rps / demand_rps - 1) < 0.01);
	/* A lie. */
	for (i = 0; i < 100; i++) {
		step(b, 100, 100, false);
		assert_int_not_equal(b->decision.reason, GOVERNOR_REASON_LATE);
	}
	governor_free(b->governor);
	free(b);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_surely_too_late_is_planned_for),
		cmocka_unit_test(test_it_ends_once_little_is_late),
		cmocka_unit_test(test_chance_passes_for_it_hardly_ever),
		cmocka_unit_test(test_late_counts_that_latencies_contradict_raise_nothing),
		cmocka_unit_test(test_one_contradiction_is_forgiven),
		cmocka_unit_test(test_looks_between_polls_count_with_the_poll),
		cmocka_unit_test(test_looks_do_not_count_with_another_poll),
		cmocka_unit_test(test_failures_are_no_lies),
		cmocka_unit_test(test_whoever_comes_after_a_liar_is_believed),
		cmocka_unit_test(test_what_does_not_help_is_given_up),
		cmocka_unit_test(test_the_governor_plans_for_more_and_says_why),
		cmocka_unit_test(test_the_governor_drops_looks_whose_latencies_it_passes_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
