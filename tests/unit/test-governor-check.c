/* SPDX-License-Identifier: Apache-2.0 */
/* What the governor's self-check learns from, and what it does not: a governed queue on a card that
 * is a quarter slower and hungrier than its table says, with something else the matter or not. */
#include "governor-bench.h"
#include "governor/self-check.h"
#include "support/cmocka-includes.h"

#define SEED	UINT64_C(17)
#define SLOWER	1.25
#define HOTTER	1.25
#define BOTH	(GOVERNOR_STALE_POWER | GOVERNOR_STALE_SERVICE)
#define MINUTES 120

/* Beside the model: another that never runs unless the test says so. */
static struct bench bench;
static struct response_table scaled;

/* What is wrong in each interval. */
typedef void (*disturb_fn)(uint32_t step, struct governor_input *input);

static int begin(void **state)
{
	(void)state;
	assert_int_equal(bench_init(&bench, 200, SEED, 100), 0);
	governor_free(bench.governor);
	bench.config.n_models = 2;
	bench.config.models[1] = bench.config.models[0];
	(void)snprintf(bench.config.models[1].name, sizeof(bench.config.models[1].name), "other");
	assert_int_equal(governor_new(&bench.config, &bench.governor), 0);
	bench.queue.fastest_ns *= SLOWER;
	return 0;
}

static int tell_seed(void **state)
{
	(void)state;
	print_message("seed %lu\n", SEED);
	return 0;
}

static int end(void **state)
{
	(void)state;
	bench.governor = governor_free(bench.governor);
	return 0;
}

/* As the sensor shows it between two intervals: at that moment it is busy or not. */
static uint64_t reading_uw(uint64_t *seed, double busy)
{
	double w = 20 + (bench_uniform(seed) < busy) * (bench_busy_w(bench.queue.mhz) - 20);

	return (uint64_t)(round(HOTTER * w) * (double)UW_PER_W);
}

static void run(uint32_t minutes, disturb_fn disturb)
{
	uint64_t seed = SEED;
	double before = 0;

	for (uint32_t i = 0; i < minutes * 120; i++) {
		struct governor_input *in = &bench.input;
		double busy;

		in->flags = 0;
		in->early = false;
		in->power_cap_uw = 0;
		in->models[1] = (struct governor_model_input){0};
		bench_queue_run(&bench.queue, (double)bench.config.poll_ns, &in->models[0]);
		busy = fmin((double)in->models[0].busy_ns / (double)bench.config.poll_ns, 1);
		in->power_uw = reading_uw(&seed, (before + busy) / 2);
		before = busy;
		in->now_ns += bench.config.poll_ns;
		in->interval_ns = bench.config.poll_ns;
		in->applied_max_mhz = bench.decision.max_mhz;
		if (disturb)
			disturb(i, in);
		governor_step(bench.governor, in, &bench.decision);
		bench.queue.mhz =
			bench.decision.action == GOVERNOR_SET ? bench.decision.max_mhz : 1725;
	}
}

static const struct self_check_series *series(uint32_t subject)
{
	return &governor_self_check(bench.governor, 0)->series[subject];
}

static void test_a_drifted_card_is_found_and_by_how_much(void **state)
{
	(void)state;
	run(MINUTES, NULL);
	assert_int_equal(bench.decision.models[0].stale, BOTH);
	assert_int_equal(bench.decision.models[1].stale, 0);
	assert_true(fabs(series(SELF_CHECK_SERVICE)->ratio - SLOWER) < 0.01);
	/* A table does not say how much of a request's energy comes with its time. */
	assert_true(fabs(series(SELF_CHECK_POWER)->ratio - HOTTER) < 0.15);
	assert_null(governor_self_check(bench.governor, 2));
}

static void test_a_stale_slower_profile_widens_the_margin(void **state)
{
	double before_rps;

	(void)state;
	run(5, NULL);
	assert_int_equal(bench.decision.models[0].stale, 0);
	before_rps = bench.decision.models[0].demand_rps;
	run(MINUTES, NULL);
	assert_true(bench.decision.models[0].demand_rps > 1.1 * before_rps);
}

/* ---- what counts ---- */

static void throttles(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->flags = GOVERNOR_CARD_THROTTLED;
}

static void has_foreign_load(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->flags = GOVERNOR_CARD_FOREIGN_LOAD;
}

static void is_held(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->flags = GOVERNOR_CARD_HOLD_FULL;
}

static void does_not_acknowledge(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->models[0].acknowledged = false;
}

static void acknowledges_now_and_then(uint32_t step, struct governor_input *input)
{
	input->models[0].acknowledged = step % 2;
}

static void runs_at_another_clock(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->applied_max_mhz += 1;
}

static void reports_nothing(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->models[0].state = GOVERNOR_INPUT_MISSING;
}

static void begins_anew(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->models[0].whole_interval = false;
}

static void fails_requests(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->models[0].failures = 1;
}

static void has_two_workers(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->models[0].workers = 2;
}

static void shares_the_card(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->models[1] = (struct governor_model_input){.state = GOVERNOR_INPUT_OK,
							 .workers = 1,
							 .whole_interval = true,
							 .acknowledged = true};
}

/* The oldest request is in danger: boosts. */
static void is_in_danger(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->models[0].oldest_age_ns = bench.table.slo_ns;
}

/* Far beyond what it can serve. */
static void is_overloaded(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->models[0].arrivals = 100000;
}

static void makes_batches_of_its_own(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->models[0].executions /= 2;
}

static void is_at_its_cap(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->power_cap_uw = 10 * UW_PER_W;
}

static void test_what_is_disturbed_teaches_nothing(void **state)
{
	static const struct {
		const char *what;
		disturb_fn disturb;
	} rows[] = {
		{"throttles", throttles},
		{"foreign load", has_foreign_load},
		{"held", is_held},
		{"not acknowledged", does_not_acknowledge},
		{"acknowledged now and then", acknowledges_now_and_then},
		{"another clock", runs_at_another_clock},
		{"missing", reports_nothing},
		{"not whole", begins_anew},
		{"failures", fails_requests},
		{"two workers", has_two_workers},
		{"shared card", shares_the_card},
		{"boosts", is_in_danger},
		{"overload", is_overloaded},
		{"own batches", makes_batches_of_its_own},
		{"at its cap", is_at_its_cap},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		begin(state);
		run(MINUTES, rows[i].disturb);
		if (series(SELF_CHECK_SERVICE)->n > 0 || series(SELF_CHECK_POWER)->n > 0 ||
		    bench.decision.models[0].stale != 0)
			fail_msg("%s: learnt %u, %u blocks", rows[i].what,
				 series(SELF_CHECK_SERVICE)->n, series(SELF_CHECK_POWER)->n);
		end(state);
	}
	begin(state);
}

static void wakes(uint32_t step, struct governor_input *input)
{
	input->early = step % 2;
	input->models[0].woken = step % 2;
}

static void test_readings_of_early_steps_do_not_count(void **state)
{
	(void)state;
	run(MINUTES, wakes);
	assert_int_equal(series(SELF_CHECK_POWER)->n, 0);
	assert_int_equal(bench.decision.models[0].stale, GOVERNOR_STALE_SERVICE);
}

static void reads_no_power(uint32_t step, struct governor_input *input)
{
	(void)step;
	input->power_uw = 0;
}

static void test_without_a_sensor_service_times_are_still_checked(void **state)
{
	(void)state;
	run(MINUTES, reads_no_power);
	assert_int_equal(series(SELF_CHECK_POWER)->n, 0);
	assert_int_equal(bench.decision.models[0].stale, GOVERNOR_STALE_SERVICE);
}

/* ---- a reload ---- */

static void reload(const struct response_table *table)
{
	struct governor *g;

	bench.config.models[0].table = table;
	assert_int_equal(governor_new(&bench.config, &g), 0);
	governor_inherit(g, bench.governor);
	governor_free(bench.governor);
	bench.governor = g;
}

static void test_a_reload_keeps_what_is_known_of_the_same_profile_alone(void **state)
{
	(void)state;
	run(MINUTES, NULL);
	assert_int_equal(bench.decision.models[0].stale, BOTH);
	/* Another objective. */
	scaled = bench.table;
	scaled.slo_ns *= 2;
	reload(&scaled);
	run(1, NULL);
	assert_int_equal(bench.decision.models[0].stale, BOTH);
	/* Profiled again. */
	bench_table(&bench.table, 200 / SLOWER);
	reload(&bench.table);
	run(1, NULL);
	assert_int_equal(bench.decision.models[0].stale, 0);
	run(30, reads_no_power);
	assert_int_equal(bench.decision.models[0].stale, 0);
	assert_true(series(SELF_CHECK_SERVICE)->known);
	assert_true(fabs(series(SELF_CHECK_SERVICE)->ratio - 1) < 0.01);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_drifted_card_is_found_and_by_how_much, begin,
						end),
		cmocka_unit_test_setup_teardown(test_a_stale_slower_profile_widens_the_margin,
						begin, end),
		cmocka_unit_test_teardown(test_what_is_disturbed_teaches_nothing, end),
		cmocka_unit_test_setup_teardown(test_readings_of_early_steps_do_not_count, begin,
						end),
		cmocka_unit_test_setup_teardown(
			test_without_a_sensor_service_times_are_still_checked, begin, end),
		cmocka_unit_test_setup_teardown(
			test_a_reload_keeps_what_is_known_of_the_same_profile_alone, begin, end),
	};

	return cmocka_run_group_tests(tests, tell_seed, NULL);
}
