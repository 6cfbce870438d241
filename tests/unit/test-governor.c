/* SPDX-License-Identifier: Apache-2.0 */
/* The governor in virtual time: scenarios with a queue, the table of precedence, determinism. */
#include "governor-bench.h"
#include "governor/demand.h"
#include "governor/policy.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define TOP_MHZ 1725
#define B	UINT32_MAX

static struct bench *bench_new(double rated_rps, uint64_t seed, double rate_rps)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	assert_int_equal(bench_init(b, rated_rps, seed, rate_rps), 0);
	return b;
}

static void bench_end(struct bench *b)
{
	governor_free(b->governor);
	free(b);
}

static void run(struct bench *b, double seconds)
{
	for (double t = 0; t < seconds; t += 0.5)
		bench_step(b);
}

/* A step with the input as it stands: no queue. */
static void step(struct bench *b)
{
	b->input.now_ns += b->config.poll_ns;
	b->input.interval_ns = b->config.poll_ns;
	governor_step(b->governor, &b->input, &b->decision);
}

static struct governor_model_input active_input(uint64_t arrivals)
{
	return (struct governor_model_input){.state = GOVERNOR_INPUT_OK,
					     .workers = 1,
					     .arrivals = arrivals,
					     .whole_interval = true,
					     .mask_follows = true,
					     .batch_follows = true};
}

#define assert_reason(found, expected)                                                             \
	assert_string_equal(governor_reason_name(found), governor_reason_name(expected))

static void test_an_idle_worker_stands_at_row_0_within_60_s(void **state)
{
	struct bench *b = bench_new(100, 1, 80);

	(void)state;
	run(b, 20);
	assert_true(b->decision.models[0].row > 20);
	bench_queue_rate(&b->queue, 0);
	run(b, 60);
	assert_int_equal(b->decision.action, GOVERNOR_SET);
	assert_int_equal(b->decision.models[0].row, 0);
	assert_int_equal(b->decision.max_mhz, 700);
	assert_reason(b->decision.reason, GOVERNOR_REASON_IDLE);
	bench_end(b);
}

/* One request in an interval is more than R then; that alone is no reason for full speed. */
static void test_a_model_of_few_requests_a_second_rests_at_its_rated_row(void **state)
{
	static const double rates_rps[] = {0, 0.3, 0.8};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rates_rps); i++) {
		struct bench *b = bench_new(1.5, 1, rates_rps[i]);
		unsigned int rested = 0;

		run(b, 60);
		for (unsigned int j = 0; j < 600; j++) {
			bench_step(b);
			rested += b->decision.models[0].row == 0;
		}
		assert_true(rested > 500);
		assert_true(b->table.rows[0].max_mhz < TOP_MHZ);
		bench_end(b);
	}
}

static void test_the_first_interval_of_a_worker_counts_as_rated_rate(void **state)
{
	struct bench *b = bench_new(100, 1, 0);

	(void)state;
	b->input.models[0] = active_input(0);
	b->input.models[0].whole_interval = false;
	step(b);
	assert_reason(b->decision.reason, GOVERNOR_REASON_FIRST_INTERVAL);
	assert_true(b->decision.models[0].demand_rps >= 100);
	assert_true(b->table.rows[b->decision.models[0].row].rate_rps >= 100);
	bench_end(b);
}

static void test_missing_input_counts_as_rated_rate_and_never_as_zero(void **state)
{
	struct bench *b = bench_new(100, 1, 10);
	double measured_rps;

	(void)state;
	run(b, 30);
	measured_rps = b->decision.models[0].rate_rps;
	b->input.models[0] = (struct governor_model_input){.state = GOVERNOR_INPUT_MISSING};
	for (unsigned int i = 0; i < 240; i++) {
		step(b);
		assert_reason(b->decision.reason, GOVERNOR_REASON_MISSING_INPUT);
		assert_true(b->decision.models[0].demand_rps >= 100);
		assert_true(b->table.rows[b->decision.models[0].row].rate_rps >= 100);
		assert_true(b->decision.models[0].rate_rps == measured_rps);
	}
	/* And is forgotten soon after it is back. */
	run(b, 10);
	assert_true(b->decision.models[0].demand_rps < 50);
	assert_int_equal(b->decision.max_mhz, 700);
	bench_end(b);
}

static void test_a_held_model_counts_with_its_rated_rate_and_is_learnt_of(void **state _unused_)
{
	struct bench *b = bench_new(100, 1, 10);

	run(b, 30);
	for (unsigned int i = 0; i < 60; i++) {
		b->input.models[0] = active_input(5);
		b->input.models[0].held = true;
		step(b);
		assert_reason(b->decision.reason, GOVERNOR_REASON_HELD_RATED);
		assert_true(b->decision.models[0].demand_rps == 100);
		assert_true(b->table.rows[b->decision.models[0].row].rate_rps >= 100);
		assert_true(b->decision.models[0].rate_rps == 10);
	}
	/* More demand than that is followed, and told by its own name. */
	for (unsigned int i = 0; i < 10; i++) {
		b->input.models[0] = active_input(200);
		b->input.models[0].held = true;
		step(b);
	}
	assert_reason(b->decision.reason, GOVERNOR_REASON_OVERLOAD);
	/* Also of what is held between polls, and the past is not forgotten. */
	run(b, 60);
	b->input.models[0].held = true;
	b->input.early = true;
	step(b);
	assert_reason(b->decision.reason, GOVERNOR_REASON_HELD_RATED);
	b->input.early = false;
	run(b, 60);
	assert_true(b->decision.models[0].demand_rps < 50);
	assert_int_equal(b->decision.max_mhz, 700);
	bench_end(b);
}

static void test_an_interval_of_no_length_is_missing_input(void **state)
{
	struct bench *b = bench_new(100, 1, 10);

	(void)state;
	b->input.models[0] = active_input(5);
	b->input.interval_ns = 0;
	governor_step(b->governor, &b->input, &b->decision);
	assert_reason(b->decision.reason, GOVERNOR_REASON_MISSING_INPUT);
	bench_end(b);
}

static void test_no_worker_releases_the_card_in_the_same_step(void **state)
{
	struct bench *b = bench_new(100, 1, 50);

	(void)state;
	run(b, 10);
	assert_int_equal(b->decision.action, GOVERNOR_SET);
	memset(&b->input.models[0], 0, sizeof(b->input.models[0]));
	step(b);
	assert_int_equal(b->decision.action, GOVERNOR_RELEASE);
	assert_reason(b->decision.reason, GOVERNOR_REASON_NO_WORKER);
	assert_true(b->decision.changed);
	step(b);
	assert_false(b->decision.changed);
	bench_end(b);
}

static void test_a_step_of_load_is_followed_in_the_next_decision(void **state)
{
	struct bench *b = bench_new(1000, 2, 100);

	(void)state;
	run(b, 30);
	assert_int_equal(b->decision.max_mhz, 700);
	bench_queue_rate(&b->queue, 900);
	bench_step(b);
	assert_true(b->decision.max_mhz >= 1485);
	/* Overshoot and boost go, the load's own row stays. */
	run(b, 150);
	assert_true(b->decision.max_mhz < TOP_MHZ);
	assert_true(b->decision.models[0].demand_rps > 900);
	assert_true(b->decision.models[0].demand_rps < 1050);
	bench_end(b);
}

static void test_after_a_burst_it_comes_down_again(void **state)
{
	struct bench *b = bench_new(200, 3, 50);

	(void)state;
	run(b, 60);
	assert_int_equal(b->decision.max_mhz, 700);
	bench_queue_rate(&b->queue, 200);
	run(b, 3);
	assert_int_equal(b->decision.max_mhz, TOP_MHZ);
	bench_queue_rate(&b->queue, 50);
	run(b, 1.5);
	assert_true(b->decision.max_mhz > 700);
	run(b, 18.5);
	assert_int_equal(b->decision.max_mhz, 700);
	bench_end(b);
}

static void test_overload_runs_at_full_speed_and_says_so(void **state)
{
	struct bench *b = bench_new(200, 4, 100);

	(void)state;
	run(b, 20);
	bench_queue_rate(&b->queue, 400);
	run(b, 5);
	for (unsigned int i = 0; i < 20; i++) {
		bench_step(b);
		assert_reason(b->decision.reason, GOVERNOR_REASON_OVERLOAD);
		assert_int_equal(b->decision.models[0].row, B);
		assert_int_equal(b->decision.max_mhz, TOP_MHZ);
		assert_int_equal(b->decision.models[0].shape.n_se, 0);
		assert_true(b->decision.models[0].boost_wait_ns == UINT64_MAX);
	}
	bench_end(b);
}

static void check_changes(double rated_rps, double load, uint64_t seed)
{
	enum { SECONDS = 420, STEPS = 2 * SECONDS, MINUTE = 120 };
	struct bench *b = bench_new(rated_rps, seed, load * rated_rps);
	static uint32_t changed[STEPS];
	unsigned int recent = 0;

	for (unsigned int j = 0; j < STEPS; j++) {
		bench_step(b);
		changed[j] = b->changes;
		if (j < MINUTE)
			continue;
		recent += changed[j];
		if (j >= 2 * MINUTE)
			recent -= changed[j - MINUTE];
		if (recent > 4)
			fail_msg("R = %g/s, load %g, seed %u: %u changes in a minute", rated_rps,
				 load, (unsigned int)seed, recent);
	}
	bench_end(b);
}

static void test_constant_load_changes_at_most_four_times_a_minute(void **state)
{
	/* Where many come most of the time goes into their queue, and least is left to chance. */
	static const struct {
		double rated_rps;
		uint64_t seeds;
	} cases[] = {{6.5, 4}, {20, 4}, {100, 4}, {1000, 4}, {5000, 1}};

	(void)state;
	print_message("seeds 1 to 4\n");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (unsigned int j = 1; j <= 20; j++)
			for (uint64_t seed = 1; seed <= cases[i].seeds; seed++)
				check_changes(cases[i].rated_rps, 0.06 * j, seed);
}

/* What the boosts, the bound and the pacer are for: no more than the table's own 5 %, and far
 * below full speed where the load is low. */
static void test_constant_load_is_served_in_time_below_full_speed(void **state)
{
	static const double loads[] = {0.1, 0.3, 0.5, 0.7};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		struct bench *b = bench_new(500, 77, loads[i] * 500);
		double mean_mhz = 0;

		run(b, 30);
		b->queue.total = b->queue.total_late = 0;
		for (unsigned int j = 0; j < 600; j++) {
			bench_step(b);
			mean_mhz += b->decision.max_mhz / 600.0;
		}
		assert_true((double)b->queue.total_late < 0.02 * (double)b->queue.total);
		if (mean_mhz >= 1000 + 800 * loads[i])
			fail_msg("load %g: mean clock %g MHz", loads[i], mean_mhz);
		bench_end(b);
	}
}

/* A count of requests of a Poisson process. */
static uint64_t arrivals(double mean, uint64_t *seed)
{
	uint64_t n = 0;

	for (double t = -log(bench_uniform(seed)); t < mean; t -= log(bench_uniform(seed)))
		n++;
	return n;
}

/* Five polls of a tenth of a second say what one of half a second does, and a rise sooner. */
static void test_shorter_polls_know_the_demand_as_well(void **state)
{
	struct bench *often = bench_new(1000, 1, 0), *seldom = bench_new(1000, 1, 0);
	uint64_t seed = 9;

	(void)state;
	print_message("seed 9\n");
	governor_free(often->governor);
	often->config.poll_ns = 100 * NSEC_PER_MSEC;
	assert_int_equal(governor_new(&often->config, &often->governor), 0);
	for (unsigned int i = 0; i < 240; i++) {
		uint64_t sum = 0;

		for (unsigned int j = 0; j < 5; j++) {
			often->input.models[0] = active_input(arrivals(30, &seed));
			sum += often->input.models[0].arrivals;
			step(often);
		}
		seldom->input.models[0] = active_input(sum);
		step(seldom);
		assert_true(often->decision.models[0].demand_rps ==
			    seldom->decision.models[0].demand_rps);
	}
	assert_true(often->decision.max_mhz < TOP_MHZ);
	assert_int_equal(often->decision.max_mhz, seldom->decision.max_mhz);
	often->input.models[0] = active_input(100);
	step(often);
	assert_true(often->decision.models[0].demand_rps > 900);
	bench_end(often);
	bench_end(seldom);
}

static void step_to(struct bench *b, struct demand *sure, double mean, uint64_t *seed)
{
	uint64_t n = arrivals(mean, seed);

	b->input.models[0] = active_input(n);
	step(b);
	demand_update(sure, n, b->config.poll_ns);
}

/* A step from one constant load to another is no sign of a load that moves: the margin stays wide,
 * and with it the rows are those of that load from the beginning. Where it did move, a step is one
 * more move. */
static void test_a_step_from_constant_load_keeps_the_wide_margin(void **state)
{
	struct bench *b = bench_new(1000, 1, 0);
	struct demand sure;
	uint64_t seed = 3;

	(void)state;
	print_message("seed 3\n");
	demand_init(&sure, &demand_sure);
	for (unsigned int i = 0; i < 200; i++)
		step_to(b, &sure, 5, &seed);
	for (unsigned int i = 0; i < 200; i++) {
		step_to(b, &sure, 250, &seed);
		assert_true(b->decision.models[0].demand_rps == demand_bound_rps(&sure));
	}
	for (unsigned int i = 0; i < 200; i++)
		step_to(b, &sure, i / 16 % 2 ? 150 : 250, &seed);
	for (unsigned int i = 0; i < 100; i++) {
		step_to(b, &sure, 400, &seed);
		assert_true(b->decision.models[0].demand_rps < demand_bound_rps(&sure));
	}
	bench_end(b);
}

static void test_going_down_waits_and_going_up_does_not(void **state)
{
	struct bench *b = bench_new(1000, 1, 0);

	(void)state;
	for (unsigned int i = 0; i < 60; i++) {
		b->input.models[0] = active_input(450);
		step(b);
	}
	uint32_t high_mhz = b->decision.max_mhz;

	b->input.models[0] = active_input(200);
	for (unsigned int i = 0; i < 2; i++) {
		step(b);
		assert_int_equal(b->decision.max_mhz, high_mhz);
		assert_false(b->decision.changed);
	}
	for (unsigned int i = 0; i < 8; i++)
		step(b);
	assert_true(b->decision.max_mhz < high_mhz);
	b->input.models[0] = active_input(450);
	step(b);
	assert_true(b->decision.max_mhz >= high_mhz);
	bench_end(b);
}

static void test_a_waiting_row_says_dwell(void **state)
{
	struct bench *b = bench_new(1000, 1, 0);
	unsigned int dwelled = 0;

	(void)state;
	for (unsigned int i = 0; i < 60; i++) {
		b->input.models[0] = active_input(450);
		step(b);
	}
	for (unsigned int i = 0; i < 20; i++) {
		b->input.models[0] = active_input(100);
		step(b);
		dwelled += b->decision.reason == GOVERNOR_REASON_DWELL;
	}
	assert_in_range(dwelled, 1, 15);
	bench_end(b);
}

static void test_an_old_request_raises_to_full_speed_for_a_while(void **state)
{
	struct bench *b = bench_new(1000, 1, 0);
	unsigned int steps = 0;

	(void)state;
	for (unsigned int i = 0; i < 60; i++) {
		b->input.models[0] = active_input(100);
		step(b);
	}
	uint64_t service_ns = (uint64_t)b->table.rows[b->decision.models[0].row].service_ns;

	b->input.models[0].in_flight = 3;
	b->input.models[0].oldest_age_ns = b->table.slo_ns - service_ns - 1000;
	step(b);
	assert_int_equal(b->decision.max_mhz, 700);
	b->input.models[0].oldest_age_ns = b->table.slo_ns - service_ns + 1000;
	step(b);
	assert_reason(b->decision.reason, GOVERNOR_REASON_BACKLOG);
	assert_int_equal(b->decision.max_mhz, TOP_MHZ);
	b->input.models[0].oldest_age_ns = 0;
	do {
		step(b);
		steps++;
	} while (b->decision.max_mhz == TOP_MHZ);
	/* Nothing waits, and two services take less than a poll. */
	assert_int_equal(steps, 2);
	assert_int_equal(b->decision.max_mhz, 700);
	assert_reason(b->decision.reason, GOVERNOR_REASON_DEMAND);
	bench_end(b);
}

static void test_a_longer_observed_service_time_brings_danger_nearer(void **state)
{
	struct bench *b = bench_new(1000, 1, 0);

	(void)state;
	for (unsigned int i = 0; i < 60; i++) {
		b->input.models[0] = active_input(100);
		step(b);
	}
	b->input.models[0].oldest_age_ns = b->table.slo_ns / 2;
	step(b);
	assert_int_not_equal(b->decision.reason, GOVERNOR_REASON_BACKLOG);
	b->input.models[0].executions = 10;
	b->input.models[0].busy_ns = 10 * (b->table.slo_ns * 3 / 4);
	step(b);
	assert_reason(b->decision.reason, GOVERNOR_REASON_BACKLOG);
	bench_end(b);
}

/* In services at full speed. */
static double room_at(unsigned int arrivals_per_poll, double *ret_slack)
{
	struct bench *b = bench_new(1000, 1, 0);
	const struct table_row *row;
	double fastest_ns = b->table.baseline.service_ns, room;

	b->input.models[0] = active_input(arrivals_per_poll);
	for (unsigned int i = 0; i < 20; i++)
		step(b);
	row = &b->table.rows[b->decision.models[0].row];
	assert_true(b->decision.models[0].boost_wait_ns < b->table.slo_ns);
	*ret_slack = ((double)b->table.slo_ns - row->service_ns) / fastest_ns;
	room = *ret_slack - (double)b->decision.models[0].boost_wait_ns / fastest_ns;
	bench_end(b);
	return room;
}

static void test_boost_wait_leaves_room_for_services_at_full_speed(void **state)
{
	double slack, room;

	(void)state;
	assert_true(fabs(room_at(280, &slack) - 1) < 1e-3);
	/* A burst may come where there was little load, but not at the cost of any wait. */
	room = room_at(50, &slack);
	assert_true(room > 1.5 && room <= 3 && room <= slack / 2 + 1e-3);
	assert_true(room_at(0, &slack) >= room);
}

/* Precedence: each row sets its flags, and everything below it as well. */
static void test_reasons_follow_the_order_of_precedence(void **state)
{
	static const struct {
		uint32_t flag;
		enum governor_input_state input;
		enum governor_action action;
		enum governor_reason reason;
	} rows[] = {
		{GOVERNOR_CARD_PAUSED, GOVERNOR_INPUT_OK, GOVERNOR_RELEASE, GOVERNOR_REASON_PAUSED},
		{GOVERNOR_CARD_ADOPTED, GOVERNOR_INPUT_OK, GOVERNOR_HOLD, GOVERNOR_REASON_ADOPTED},
		{GOVERNOR_CARD_HOLD_FULL, GOVERNOR_INPUT_OK, GOVERNOR_SET, GOVERNOR_REASON_HOLD},
		{GOVERNOR_CARD_SENSORS_LOST, GOVERNOR_INPUT_OK, GOVERNOR_SET,
		 GOVERNOR_REASON_SENSORS_LOST},
		{GOVERNOR_CARD_READBACK_FAILED, GOVERNOR_INPUT_OK, GOVERNOR_SET,
		 GOVERNOR_REASON_READBACK_FAILED},
		{GOVERNOR_CARD_FOREIGN_LOAD, GOVERNOR_INPUT_OK, GOVERNOR_SET,
		 GOVERNOR_REASON_FOREIGN_LOAD},
		{GOVERNOR_CARD_FOREIGN_TABLE, GOVERNOR_INPUT_OK, GOVERNOR_SET,
		 GOVERNOR_REASON_FOREIGN_TABLE},
		{0, GOVERNOR_INPUT_MISSING, GOVERNOR_SET, GOVERNOR_REASON_MISSING_INPUT},
	};
	struct bench *b = bench_new(100, 1, 1);

	(void)state;
	run(b, 60);
	assert_reason(b->decision.reason, GOVERNOR_REASON_IDLE);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		b->input.flags = 0;
		b->input.models[0] = active_input(2);
		for (size_t j = i; j < ARRAY_SIZE(rows); j++) {
			b->input.flags |= rows[j].flag;
			if (rows[j].input != GOVERNOR_INPUT_OK)
				b->input.models[0].state = rows[j].input;
		}
		b->input.applied_max_mhz = 1000;
		step(b);
		assert_reason(b->decision.reason, rows[i].reason);
		assert_int_equal(b->decision.action, rows[i].action);
		if (rows[i].action == GOVERNOR_SET && rows[i].flag != 0)
			assert_int_equal(b->decision.max_mhz, TOP_MHZ);
		if (rows[i].action == GOVERNOR_HOLD)
			assert_int_equal(b->decision.max_mhz, 1000);
		assert_int_equal(b->decision.models[0].shape.n_se, 0);
	}
	bench_end(b);
}

static void test_an_adopted_setting_is_held_while_no_worker_is_back(void **state)
{
	struct bench *b = bench_new(100, 1, 5);

	(void)state;
	b->input.flags = GOVERNOR_CARD_ADOPTED;
	b->input.applied_max_mhz = 1200;
	step(b);
	assert_int_equal(b->decision.action, GOVERNOR_HOLD);
	b->input.flags = 0;
	step(b);
	assert_int_equal(b->decision.action, GOVERNOR_RELEASE);
	bench_end(b);
}

static void test_full_speed_for_a_doubt_ends_soon_after_it(void **state)
{
	struct bench *b = bench_new(100, 1, 10);

	(void)state;
	run(b, 30);
	assert_int_equal(b->decision.max_mhz, 700);
	b->input.flags = GOVERNOR_CARD_FOREIGN_LOAD;
	run(b, 60);
	assert_int_equal(b->decision.max_mhz, TOP_MHZ);
	b->input.flags = 0;
	run(b, 5);
	assert_int_equal(b->decision.max_mhz, 700);
	bench_end(b);
}

static void test_several_active_models_run_at_full_speed(void **state)
{
	struct bench *b = bench_new(100, 1, 10);
	struct governor_model_config *second = &b->config.models[1];

	(void)state;
	governor_free(b->governor);
	b->config.n_models = 2;
	*second = b->config.models[0];
	(void)snprintf(second->name, sizeof(second->name), "other");
	assert_int_equal(governor_new(&b->config, &b->governor), 0);
	b->input.models[0] = b->input.models[1] = active_input(2);
	for (unsigned int i = 0; i < 10; i++)
		step(b);
	assert_reason(b->decision.reason, GOVERNOR_REASON_SEVERAL_MODELS);
	assert_int_equal(b->decision.max_mhz, TOP_MHZ);
	assert_true(isnan(b->decision.predicted_power_w));
	assert_true(b->decision.models[1].demand_rps > 4);
	/* The other leaves: the one that stays is planned for. */
	memset(&b->input.models[1], 0, sizeof(b->input.models[1]));
	for (unsigned int i = 0; i < 10; i++)
		step(b);
	assert_int_equal(b->decision.max_mhz, 700);
	assert_reason(b->decision.models[1].reason, GOVERNOR_REASON_NO_WORKER);
	bench_end(b);
}

static void test_a_model_without_a_table_runs_at_full_speed(void **state)
{
	struct bench *b = bench_new(100, 1, 10);

	(void)state;
	governor_free(b->governor);
	b->config.models[0].table = NULL;
	assert_int_equal(governor_new(&b->config, &b->governor), 0);
	run(b, 5);
	assert_reason(b->decision.reason, GOVERNOR_REASON_NO_TABLE);
	assert_int_equal(b->decision.max_mhz, TOP_MHZ);
	bench_end(b);
}

static struct bench *bench_with_policy(const char *policy, double rate_rps)
{
	struct bench *b = bench_new(100, 1, rate_rps);

	governor_free(b->governor);
	b->config.models[0].policy = policy;
	assert_int_equal(governor_new(&b->config, &b->governor), 0);
	return b;
}

static void test_policy_maximum_never_leaves_full_speed(void **state)
{
	struct bench *b = bench_with_policy("maximum", 5);

	(void)state;
	run(b, 60);
	assert_int_equal(b->decision.action, GOVERNOR_SET);
	assert_int_equal(b->decision.max_mhz, TOP_MHZ);
	assert_reason(b->decision.reason, GOVERNOR_REASON_POLICY);
	bench_end(b);
}

static void test_policy_auto_never_writes(void **state)
{
	struct bench *b = bench_with_policy("auto", 50);

	(void)state;
	for (unsigned int i = 0; i < 60; i++) {
		b->input.flags =
			i % 2 ? GOVERNOR_CARD_FOREIGN_LOAD | GOVERNOR_CARD_SENSORS_LOST : 0;
		bench_step(b);
		assert_int_equal(b->decision.action, GOVERNOR_RELEASE);
	}
	/* But an operator's hold is an order. */
	b->input.flags = GOVERNOR_CARD_HOLD_FULL;
	bench_step(b);
	assert_int_equal(b->decision.action, GOVERNOR_SET);
	bench_end(b);
}

static void test_published_policies_look_up_each_interval(void **state)
{
	static const char *const names[] = {"coordinated", "frequency", "resource"};
	static const uint64_t arrivals[] = {10, 45, 10, 45, 0, 30};

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
		struct bench *b = bench_with_policy(names[k], 0);

		for (size_t i = 0; i < ARRAY_SIZE(arrivals); i++) {
			const struct table_row *row =
				response_table_lookup(&b->table, 2.0 * (double)arrivals[i]);

			b->input.models[0] = active_input(arrivals[i]);
			step(b);
			assert_ptr_equal(&b->table.rows[b->decision.models[0].row], row);
			assert_int_equal(b->decision.max_mhz, row->max_mhz);
			assert_true(b->decision.models[0].boost_wait_ns == UINT64_MAX);
		}
		bench_end(b);
	}
}

static void test_a_policy_of_one_knob_asks_for_a_table_of_that_knob(void **state)
{
	static const struct {
		const char *name;
		bool clock, mask;
	} cases[] = {
		{"cofris", true, true},	     {"coordinated", true, true},
		{"frequency", true, false},  {"resource", false, true},
		{"maximum", true, true},     {"auto", true, true},
		{"adapter", true, false},    {"adapter-tail", true, false},
		{"batchsizer", true, false}, {"batchsizer-fixed", true, false},
		{"dvfs", true, false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct table_options o = TABLE_OPTIONS_DEFAULT, none = TABLE_OPTIONS_DEFAULT;

		assert_non_null(policy_find(cases[i].name));
		assert_string_equal(policy_name((unsigned int)i), cases[i].name);
		policy_restrict(policy_find(cases[i].name), &o);
		assert_int_equal(o.free_clock, cases[i].clock);
		assert_int_equal(o.free_mask, cases[i].mask);
		/* What is not free before is not made free. */
		none.free_clock = none.free_mask = false;
		policy_restrict(policy_find(cases[i].name), &none);
		assert_false(none.free_clock || none.free_mask);
	}
	assert_null(policy_name(ARRAY_SIZE(cases)));
}

/* The row's clock and shape, whatever they are: with a table of one knob the other never moves. */
static void test_frequency_never_masks_and_resource_never_lowers_the_clock(void **state)
{
	static const struct {
		const char *name;
		uint32_t mhz;
		struct cu_shape shape;
	} cases[] = {{"frequency", 1000, {4, 15}}, {"resource", TOP_MHZ, {2, 8}}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench *b = bench_with_policy(cases[i].name, 0);
		bool whole = cu_shape_equal(cases[i].shape, (struct cu_shape){4, 15});

		for (uint32_t k = 0; k < b->table.n_rows; k++) {
			b->table.rows[k].max_mhz = cases[i].mhz;
			b->table.rows[k].shape = cases[i].shape;
		}
		b->input.models[0] = active_input(20);
		step(b);
		assert_int_equal(b->decision.max_mhz, cases[i].mhz);
		assert_true(cu_shape_equal(b->decision.models[0].shape,
					   whole ? (struct cu_shape){0} : cases[i].shape));
		bench_end(b);
	}
}

static void test_a_power_cap_bounds_every_plan(void **state)
{
	struct bench *b = bench_new(100, 1, 90);

	(void)state;
	governor_free(b->governor);
	b->config.power_cap_uw = 110 * UW_PER_W;
	assert_int_equal(governor_new(&b->config, &b->governor), 0);
	for (unsigned int i = 0; i < 60; i++) {
		b->input.flags = i >= 50 ? GOVERNOR_CARD_FOREIGN_LOAD : 0;
		bench_step(b);
		assert_int_equal(b->decision.power_cap_uw, 110 * UW_PER_W);
		assert_true(b->decision.predicted_power_w <= 110);
		assert_true(b->decision.max_mhz < TOP_MHZ);
		if (i > 2 && i < 50)
			assert_true(b->decision.reason <= GOVERNOR_REASON_POWER_CAP);
	}
	/* The operator's hold outranks it. */
	b->input.flags = GOVERNOR_CARD_HOLD_FULL;
	bench_step(b);
	assert_int_equal(b->decision.max_mhz, TOP_MHZ);
	bench_end(b);
}

static void test_a_throttled_card_is_lowered_until_service_time_grows(void **state)
{
	struct bench *b = bench_with_policy("maximum", 0);
	/* The firmware holds it at 1350 whatever is asked for. */
	static const uint32_t expected_mhz[] = {1680, 1560, 1485, 1350, 1200, 1350, 1350, 1350};

	(void)state;
	b->input.models[0] = active_input(10);
	step(b);
	b->input.flags = GOVERNOR_CARD_THROTTLED;
	for (size_t i = 0; i < ARRAY_SIZE(expected_mhz); i++) {
		uint32_t mhz = MIN(b->decision.max_mhz, 1350u);

		b->input.models[0].executions = 10;
		b->input.models[0].busy_ns = 10 * (uint64_t)bench_service_ns(7e6, mhz);
		step(b);
		assert_int_equal(b->decision.max_mhz, expected_mhz[i]);
		assert_reason(b->decision.reason, GOVERNOR_REASON_THROTTLED);
	}
	/* Cool again: one level every five seconds. */
	b->input.flags = 0;
	for (unsigned int i = 0; i < 9; i++) {
		step(b);
		assert_int_equal(b->decision.max_mhz, 1350);
	}
	step(b);
	assert_int_equal(b->decision.max_mhz, 1485);
	for (unsigned int i = 0; i < 30; i++)
		step(b);
	assert_int_equal(b->decision.max_mhz, TOP_MHZ);
	assert_reason(b->decision.reason, GOVERNOR_REASON_POLICY);
	bench_end(b);
}

static void narrow_rows(struct response_table *t)
{
	for (uint32_t i = 0; i < t->n_rows / 2; i++) {
		t->rows[i].shape = (struct cu_shape){2, 10};
		t->rows[i].power_w -= 5;
	}
}

static void test_masks_go_only_to_workers_that_follow_and_models_that_allow(void **state)
{
	static const struct {
		bool use_mask, follows;
		uint16_t n_se;
	} rows[] = {{true, true, 2}, {false, true, 0}, {true, false, 0}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct bench *b = bench_new(100, 1, 0);

		narrow_rows(&b->table);
		governor_free(b->governor);
		b->config.models[0].use_mask = rows[i].use_mask;
		assert_int_equal(governor_new(&b->config, &b->governor), 0);
		b->input.models[0] = active_input(5);
		b->input.models[0].mask_follows = rows[i].follows;
		for (unsigned int j = 0; j < 30; j++)
			step(b);
		assert_int_equal(b->decision.models[0].shape.n_se, rows[i].n_se);
		/* The row's power is that under its mask, so not known without it. */
		assert_int_equal(isnan(b->decision.predicted_power_w) != 0, rows[i].n_se == 0);
		bench_end(b);
	}
}

static void test_a_narrower_mask_is_taken_once_the_fall_is_sure(void **state)
{
	struct bench *b = bench_new(100, 1, 0);
	unsigned int steps = 0;

	(void)state;
	narrow_rows(&b->table);
	for (unsigned int i = 0; i < 60; i++) {
		b->input.models[0] = active_input(45);
		step(b);
	}
	do {
		b->input.models[0] = active_input(5);
		step(b);
		assert_true(++steps < 60);
	} while (b->decision.models[0].shape.n_se == 0);
	assert_in_range(steps, 3, 10);
	bench_end(b);
}

static void test_a_mask_change_that_saves_nothing_is_not_made(void **state)
{
	struct bench *b = bench_new(100, 1, 0);

	(void)state;
	/* Half of the rows ask for fewer CUs at the same clock and power. */
	for (uint32_t i = 0; i < b->table.n_rows; i++) {
		b->table.rows[i].max_mhz = 1000;
		b->table.rows[i].power_w = b->table.idle_power_w + b->table.rows[i].rate_rps;
		if (i < b->table.n_rows / 2)
			b->table.rows[i].shape = (struct cu_shape){2, 10};
	}
	for (unsigned int i = 0; i < 200; i++) {
		b->input.models[0] = active_input(i < 60 ? 40 : 5);
		step(b);
		assert_int_equal(b->decision.models[0].shape.n_se, 0);
	}
	bench_end(b);
}

static void test_batches_that_workers_cannot_follow_are_not_planned_for(void **state)
{
	struct bench *b = bench_new(100, 1, 0);

	(void)state;
	for (uint32_t i = 0; i < 10; i++)
		b->table.rows[i].batch = 4;
	b->input.models[0] = active_input(5);
	for (unsigned int i = 0; i < 30; i++)
		step(b);
	assert_int_equal(b->decision.models[0].max_batch, 4);
	b->input.models[0].batch_follows = false;
	step(b);
	assert_int_equal(b->decision.models[0].max_batch, 0);
	assert_int_equal(b->table.rows[b->decision.models[0].row].batch, 1);
	bench_end(b);
}

static void test_clocks_are_levels_of_the_card(void **state)
{
	struct bench *b = bench_new(100, 1, 0);

	(void)state;
	/* Two per cent off is the same level, more is rounded up. */
	for (uint32_t i = 0; i < b->table.n_rows; i++)
		b->table.rows[i].max_mhz = i < 20 ? 712 : 830;
	b->input.models[0] = active_input(1);
	for (unsigned int i = 0; i < 10; i++)
		step(b);
	assert_int_equal(b->decision.max_mhz, 700);
	b->input.models[0] = active_input(45);
	for (unsigned int i = 0; i < 120; i++)
		step(b);
	assert_int_equal(b->decision.max_mhz, 1000);
	bench_end(b);
}

static void test_a_reload_keeps_demand_row_and_number(void **state)
{
	struct bench *b = bench_new(1000, 1, 500);
	struct governor *old = b->governor;
	struct governor_decision before;

	(void)state;
	run(b, 120);
	before = b->decision;
	(void)snprintf(b->config.models[1].name, sizeof(b->config.models[1].name), "model");
	b->config.models[1] = b->config.models[0];
	(void)snprintf(b->config.models[0].name, sizeof(b->config.models[0].name), "new");
	b->config.n_models = 2;
	assert_int_equal(governor_new(&b->config, &b->governor), 0);
	governor_inherit(b->governor, old);
	governor_free(old);
	bench_queue_run(&b->queue, 5e8, &b->input.models[1]);
	memset(&b->input.models[0], 0, sizeof(b->input.models[0]));
	step(b);
	assert_int_equal(b->decision.number, before.number + 1);
	assert_int_equal(b->decision.max_mhz, before.max_mhz);
	assert_true(fabs(b->decision.models[1].demand_rps - before.models[0].demand_rps) < 30);
	bench_end(b);
}

static void random_model_input(struct governor_model_input *in, uint64_t *seed)
{
	double u = bench_uniform(seed);

	memset(in, 0, sizeof(*in));
	in->state = u < 0.3   ? GOVERNOR_NO_WORKER
		    : u < 0.9 ? GOVERNOR_INPUT_OK
			      : GOVERNOR_INPUT_MISSING;
	in->workers = (uint32_t)(4 * bench_uniform(seed));
	in->arrivals = (uint64_t)(80 * bench_uniform(seed));
	in->completions = in->arrivals;
	in->in_flight = (uint64_t)(5 * bench_uniform(seed));
	in->oldest_age_ns = (uint64_t)(5e7 * bench_uniform(seed));
	in->busy_ns = (uint64_t)(4e8 * bench_uniform(seed));
	in->executions = (uint64_t)(60 * bench_uniform(seed));
	in->whole_interval = bench_uniform(seed) < 0.9;
	in->mask_follows = bench_uniform(seed) < 0.8;
	in->batch_follows = bench_uniform(seed) < 0.8;
	in->acknowledged = bench_uniform(seed) < 0.8;
}

static void test_two_governors_give_the_same_bytes(void **state)
{
	struct bench *b = bench_new(100, 1, 0);
	struct governor *other = NULL;
	struct governor_decision first, second;
	uint64_t seed = 123;

	(void)state;
	print_message("seed 123\n");
	governor_free(b->governor);
	narrow_rows(&b->table);
	b->config.n_models = 3;
	b->config.power_cap_uw = 150 * UW_PER_W;
	b->config.models[2] = b->config.models[1] = b->config.models[0];
	b->config.models[1].policy = "coordinated";
	b->config.models[2].policy = "maximum";
	assert_int_equal(governor_new(&b->config, &b->governor), 0);
	assert_int_equal(governor_new(&b->config, &other), 0);
	for (unsigned int i = 0; i < 20000; i++) {
		uint64_t bits = (uint64_t)(4096 * bench_uniform(&seed));

		b->input.now_ns += b->input.interval_ns = (uint64_t)(1e9 * bench_uniform(&seed));
		b->input.flags = bits & (bits >> 4) & 0xff;
		for (unsigned int j = 0; j < 3; j++)
			random_model_input(&b->input.models[j], &seed);
		/* Neither may depend on what the result held before. */
		memset(&first, 0xaa, sizeof(first));
		memset(&second, 0x55, sizeof(second));
		governor_step(b->governor, &b->input, &first);
		governor_step(other, &b->input, &second);
		assert_memory_equal(&first, &second, sizeof(first));
		if (first.action == GOVERNOR_SET)
			assert_in_range(first.max_mhz, 700, TOP_MHZ);
		assert_true(first.reason > GOVERNOR_REASON_NONE &&
			    first.reason < GOVERNOR_REASON_MAX);
	}
	governor_free(other);
	bench_end(b);
}

static void test_configurations_without_sense_are_refused(void **state)
{
	struct response_table table;
	struct governor_config good, c;
	struct governor *g = NULL;

	(void)state;
	bench_table(&table, 100);
	bench_config(&good, &table);
#define REFUSED(change)                                                                            \
	do {                                                                                       \
		c = good;                                                                          \
		change;                                                                            \
		assert_int_equal(governor_new(&c, &g), -EINVAL);                                   \
		assert_null(g);                                                                    \
	} while (0)
	REFUSED(c.n_levels = 0);
	REFUSED(c.n_levels = SURFACE_MAX_LEVELS + 1);
	REFUSED(c.level_mhz[3] = c.level_mhz[2]);
	REFUSED(c.level_mhz[0] = 0);
	REFUSED(c.n_models = GOVERNOR_MAX_MODELS + 1);
	REFUSED(c.models[0].policy = "fastest");
	REFUSED(c.models[0].policy = NULL);
	REFUSED(table.n_rows = 0);
	REFUSED(table.n_rows = TABLE_MAX_ROWS + 1);
#undef REFUSED
}

static void test_every_reason_has_its_own_name(void **state)
{
	(void)state;
	for (int i = 0; i < GOVERNOR_REASON_MAX; i++)
		for (int j = 0; j < i; j++)
			assert_string_not_equal(governor_reason_name(i), governor_reason_name(j));
	assert_string_equal(governor_reason_name(GOVERNOR_REASON_MAX), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_idle_worker_stands_at_row_0_within_60_s),
		cmocka_unit_test(test_a_model_of_few_requests_a_second_rests_at_its_rated_row),
		cmocka_unit_test(test_the_first_interval_of_a_worker_counts_as_rated_rate),
		cmocka_unit_test(test_missing_input_counts_as_rated_rate_and_never_as_zero),
		cmocka_unit_test(test_a_held_model_counts_with_its_rated_rate_and_is_learnt_of),
		cmocka_unit_test(test_an_interval_of_no_length_is_missing_input),
		cmocka_unit_test(test_no_worker_releases_the_card_in_the_same_step),
		cmocka_unit_test(test_a_step_of_load_is_followed_in_the_next_decision),
		cmocka_unit_test(test_after_a_burst_it_comes_down_again),
		cmocka_unit_test(test_overload_runs_at_full_speed_and_says_so),
		cmocka_unit_test(test_constant_load_changes_at_most_four_times_a_minute),
		cmocka_unit_test(test_constant_load_is_served_in_time_below_full_speed),
		cmocka_unit_test(test_shorter_polls_know_the_demand_as_well),
		cmocka_unit_test(test_a_step_from_constant_load_keeps_the_wide_margin),
		cmocka_unit_test(test_going_down_waits_and_going_up_does_not),
		cmocka_unit_test(test_a_waiting_row_says_dwell),
		cmocka_unit_test(test_an_old_request_raises_to_full_speed_for_a_while),
		cmocka_unit_test(test_a_longer_observed_service_time_brings_danger_nearer),
		cmocka_unit_test(test_boost_wait_leaves_room_for_services_at_full_speed),
		cmocka_unit_test(test_reasons_follow_the_order_of_precedence),
		cmocka_unit_test(test_an_adopted_setting_is_held_while_no_worker_is_back),
		cmocka_unit_test(test_full_speed_for_a_doubt_ends_soon_after_it),
		cmocka_unit_test(test_several_active_models_run_at_full_speed),
		cmocka_unit_test(test_a_model_without_a_table_runs_at_full_speed),
		cmocka_unit_test(test_policy_maximum_never_leaves_full_speed),
		cmocka_unit_test(test_policy_auto_never_writes),
		cmocka_unit_test(test_published_policies_look_up_each_interval),
		cmocka_unit_test(test_a_policy_of_one_knob_asks_for_a_table_of_that_knob),
		cmocka_unit_test(test_frequency_never_masks_and_resource_never_lowers_the_clock),
		cmocka_unit_test(test_a_power_cap_bounds_every_plan),
		cmocka_unit_test(test_a_throttled_card_is_lowered_until_service_time_grows),
		cmocka_unit_test(test_masks_go_only_to_workers_that_follow_and_models_that_allow),
		cmocka_unit_test(test_a_narrower_mask_is_taken_once_the_fall_is_sure),
		cmocka_unit_test(test_a_mask_change_that_saves_nothing_is_not_made),
		cmocka_unit_test(test_batches_that_workers_cannot_follow_are_not_planned_for),
		cmocka_unit_test(test_clocks_are_levels_of_the_card),
		cmocka_unit_test(test_a_reload_keeps_demand_row_and_number),
		cmocka_unit_test(test_two_governors_give_the_same_bytes),
		cmocka_unit_test(test_configurations_without_sense_are_refused),
		cmocka_unit_test(test_every_reason_has_its_own_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
