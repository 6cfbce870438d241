/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(): what is claimed, governed and given back. */
#include "test-manager-fixture.h"

#include "daemon/status.h"
#include <jansson.h>

static void test_a_worker_brings_a_claim_and_a_limit_with_a_lease(void **state)
{
	struct fixture *f = *state;

	start(f, STANDARD);
	RUN_UNTIL(f, f->manager->ready);
	run_decisions(f, 3);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
	assert_true(unit_is(unit(f), "governed", "idle"));
	start_worker(f);
	/* An idle worker ends in the cheapest configuration. */
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
	assert_int_equal(f->actuator.last_set.min_mhz, 925);
	assert_int_equal(f->actuator.last_set.lease_ms, 2000);
	assert_int_equal(f->actuator.last_set.power_cap_uw, 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
	assert_true(unit_is(unit(f), "governed", ""));
	assert_int_equal(f->actuator.writes_to_other, 0);
}

static void test_the_lease_is_renewed_each_tick(void **state)
{
	struct fixture *f = *state;
	uint32_t sets;

	start_claimed(f, STANDARD);
	sets = f->actuator.counts[ACTUATOR_SET];
	run_decisions(f, 5);
	assert_true(f->actuator.counts[ACTUATOR_SET] >= sets + 4);
}

static void test_the_last_worker_gone_releases_within_two_ticks(void **state)
{
	struct fixture *f = *state;
	uint64_t number;

	start_claimed(f, STANDARD);
	f->worker = cofris_close(f->worker);
	number = unit(f)->decision.number;
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_RELEASE] == 1);
	assert_true(unit(f)->decision.number <= number + 2);
	RUN_UNTIL(f, unit_is(unit(f), "governed", "idle"));
	run_decisions(f, 3);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 1);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
}

static void test_observe_decides_and_writes_nothing(void **state)
{
	struct fixture *f = *state;

	start(f, DAEMON "mode = observe\n" GPU MODEL);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_workers(unit(f)) == 1);
	run_decisions(f, 10);
	assert_true(unit_is(unit(f), "yielding", "observe"));
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
	assert_true(f->actuator.counts[ACTUATOR_SENSORS] > 5);
	assert_int_equal(unit(f)->decision.action, GOVERNOR_SET);
}

static void test_without_an_enabled_section_nothing_is_claimed(void **state)
{
	static const char *const configs[] = {
		DAEMON MODEL,
		DAEMON "[gpu " OTHER_BDF "]\n" MODEL,
		DAEMON "[gpu *]\n[gpu " BDF "]\nenabled = no\n" MODEL,
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
		uint64_t until_ns;

		start(f, configs[i]);
		start_worker(f);
		RUN_UNTIL(f, f->manager->ready);
		until_ns = monotonic_ns() + 500 * NSEC_PER_MSEC;
		while (monotonic_ns() < until_ns)
			turn(f);
		assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
		assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
		assert_null(manager_find_unit(f->manager, BDF));
		f->worker = cofris_close(f->worker);
		fake_unlisten(&f->actuator);
		f->manager = manager_free(f->manager);
	}
}

static void test_without_a_model_it_runs_and_says_so(void **state)
{
	struct fixture *f = *state;

	start(f, DAEMON GPU);
	RUN_UNTIL(f, f->manager->ready);
	assert_string_equal(f->manager->status, "no [model] section: nothing to govern");
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
}

static void test_a_card_found_in_manual_is_left_alone(void **state)
{
	struct fixture *f = *state;

	f->actuator.claim_error = -EHOSTDOWN;
	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_is(unit(f), "held-by-other", "manual"));
	run_decisions(f, 10);
	/* Asked again every 10 s, not with every tick. */
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
}

static void test_the_owner_of_a_claimed_card_is_shown(void **state)
{
	struct fixture *f = *state;
	json_t *root;
	char *text;

	f->actuator.claim_error = -EBUSY;
	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_is(unit(f), "held-by-other", "busy"));
	text = status_json(f->manager);
	root = json_loads(text, 0, NULL);
	free(text);
	assert_non_null(root);
	assert_string_equal(
		json_string_value(json_object_get(
			json_object_get(json_array_get(json_object_get(root, "gpus"), 0), "owner"),
			"comm")),
		"other");
	json_decref(root);
}

static void test_a_simulated_card_needs_leave(void **state)
{
	struct fixture *f = *state;

	f->actuator.simulated = true;
	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_workers(unit(f)) == 1);
	run_decisions(f, 5);
	assert_true(unit_is(unit(f), "yielding", "simulated-refused"));
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
	assert_non_null(strstr(f->manager->status, "governing 0"));
}

static void test_a_card_without_clock_control_is_not_claimed(void **state)
{
	struct fixture *f = *state;

	f->actuator.no_clock_control = true;
	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_workers(unit(f)) == 1);
	run_decisions(f, 5);
	assert_true(unit_is(unit(f), "yielding", "no-clock-control"));
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
}

static void test_a_missing_surface_means_full_speed(void **state)
{
	struct fixture *f = *state;

	start(f, DAEMON GPU "[model resnet50]\nsurface = /nonexistent.csv\n");
	start_worker(f);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 1725);
	run_decisions(f, 10);
	assert_int_equal(f->actuator.last_set.max_mhz, 1725);
	assert_null(unit(f)->plan->tables[0].table);
	assert_non_null(strstr(unit(f)->plan->tables[0].why, "/nonexistent.csv"));
}

static void test_an_actuator_that_comes_back_is_used_again(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	fake_unlisten(&f->actuator);
	RUN_UNTIL(f, f->manager->actuator_error < 0);
	RUN_UNTIL(f, strstr(f->manager->status, "no actuator at"));
	assert_int_equal(unit(f)->claim, UNIT_FREE);
	f->actuator.counts[ACTUATOR_CLAIM] = 0;
	f->actuator.last_set.max_mhz = 0;
	fake_listen(f);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz > 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
}

static void test_without_an_actuator_it_is_ready_and_says_so(void **state)
{
	struct fixture *f = *state;

	write_text(f->config, STANDARD);
	assert_int_equal(manager_new(&f->options, &f->manager), 0);
	assert_int_equal(manager_start(f->manager), 0);
	RUN_UNTIL(f, f->manager->ready);
	assert_non_null(strstr(f->manager->status, "no actuator at"));
}

static void test_the_operators_cap_goes_with_each_setting(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, DAEMON GPU "power_cap = 1000W\n" MODEL);
	/* Taken to the nearest that the card allows. */
	assert_int_equal(f->actuator.last_set.power_cap_uw, 300000000);
}

/* Until four fifths of an interval after the tick was due. */
static int be_busy(sd_event_source *source _unused_, void *userdata)
{
	struct fixture *f = userdata;
	uint64_t due_us = 0;

	assert_true(sd_event_source_get_time(f->manager->tick, &due_us) >= 0);
	while (monotonic_ns() < due_us * NSEC_PER_USEC + 80 * NSEC_PER_MSEC)
		;
	return 0;
}

/* One request in a fifth of an interval is five times the rate. */
static void test_after_a_late_tick_no_interval_is_short(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	for (unsigned int i = 0; i < 5; i++) {
		sd_event_source *busy = NULL;

		assert_true(sd_event_add_defer(f->manager->event, &busy, be_busy, f) >= 0);
		run_decisions(f, 1);
		/* The tick before may have been half an interval late, no more. */
		assert_true(unit(f)->input.interval_ns >= 129 * NSEC_PER_MSEC);
		run_decisions(f, 1);
		assert_true(unit(f)->input.interval_ns >= 49 * NSEC_PER_MSEC);
		sd_event_source_unref(busy);
	}
}

/* A request that has waited for a second when it starts. */
static struct cofris_request start_late(struct fixture *f)
{
	struct cofris_request r = cofris_begin_at(f->worker, 1, monotonic_ns() - NSEC_PER_SEC);

	cofris_start(f->worker, &r, 1);
	return r;
}

static void test_a_wake_is_a_step_of_its_card_alone(void **state)
{
	struct fixture *f = *state;
	struct cofris_request late;
	struct unit *other;

	f->reports = COFRIS_REPORTS_STARTS;
	f->actuator.second = &f->second;
	start_governed(f, DAEMON GPU "[gpu " OTHER_BDF "]\n" MODEL);
	other = TAILQ_NEXT(unit(f), entry);
	/* The worker has to know from which wait it is to wake. */
	RUN_UNTIL(f, unit(f)->decision.models[0].boost_wait_ns != UINT64_MAX &&
			     unit_model_acknowledged(unit(f), 0));
	run_decisions(f, 3);
	late = start_late(f);
	RUN_UNTIL(f, unit(f)->input.early);
	assert_true(unit(f)->input.models[0].woken);
	assert_int_equal(unit(f)->input.models[0].starts, 1);
	assert_int_equal(unit(f)->input.models[0].waiting, 0);
	assert_int_equal(unit(f)->decision.reason, GOVERNOR_REASON_BACKLOG);
	assert_int_equal(unit(f)->decision.max_mhz, 1725);
	assert_true(unit(f)->decision.again_ns != UINT64_MAX);
	/* The other card's interval goes on. */
	assert_true(unit(f)->stepped_ns > f->manager->last_tick_ns);
	assert_int_equal(other->stepped_ns, f->manager->last_tick_ns);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 1725);
	cofris_end(f->worker, &late, COFRIS_OK);
	/* Nothing waits, so it ends by looks between ticks, or at the next tick. */
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
}

static void test_the_governor_gets_latency_and_the_highest_power(void **state)
{
	struct fixture *f = *state;
	const struct governor_model_input *in;
	uint64_t before_ns, longest_ns;
	double mean_ns;

	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_workers(unit(f)) == 1);
	run_decisions(f, 3);
	in = &unit(f)->input.models[0];
	assert_int_equal(in->sojourn_ns, 0);
	assert_int_equal(in->sojourn_p95_ns, 0);
	before_ns = monotonic_ns();
	for (unsigned int i = 0; i < 20; i++) {
		struct cofris_request r =
			cofris_begin_at(f->worker, 1, before_ns - 5 * NSEC_PER_SEC);

		cofris_end(f->worker, &r, COFRIS_OK);
	}
	longest_ns = 5 * NSEC_PER_SEC + monotonic_ns() - before_ns;
	RUN_UNTIL(f, in->sojourn_ns > 0);
	mean_ns = (double)in->sojourn_ns / (double)in->completions;
	/* To half a bucket, and a whole one. */
	assert_true(mean_ns >= 5e9 * 63 / 64 && mean_ns <= (double)longest_ns * 65 / 64);
	assert_true(in->sojourn_p95_ns >= 5 * NSEC_PER_SEC &&
		    (double)in->sojourn_p95_ns <= (double)longest_ns * 33 / 32);
	RUN_UNTIL(f, in->sojourn_ns == 0);
	/* A reading counts for the interval in which it came. */
	RUN_UNTIL(f, unit(f)->input.power_max_uw == 80 * UW_PER_W);
	f->actuator.mute = true;
	RUN_UNTIL(f, unit(f)->input.power_max_uw == 0);
	assert_int_equal(unit(f)->input.power_uw, 80 * UW_PER_W);
}

/* Serves a request and returns the batch that is ordered. */
static uint32_t serve_one(struct cofris_channel *worker)
{
	struct cofris_request r = cofris_begin(worker, 1);
	struct cofris_directive d;

	cofris_start(worker, &r, 1);
	cofris_end(worker, &r, COFRIS_OK);
	(void)cofris_directive(worker, 0, &d);
	return d.max_batch;
}

/* 80 W are less than 0.8 of the cap. */
static void test_batchsizer_orders_a_worker_that_follows_larger_batches(void **state)
{
	struct fixture *f = *state;
	char path[128];
	struct cofris_options options = {
		.size = sizeof(options),
		.model = "resnet50",
		.socket_path = path,
		.devices = both_cards,
		.n_devices = 1,
		.slots = 1,
		.follows = COFRIS_FOLLOWS_BATCH,
		.reports = COFRIS_REPORTS_STARTS,
	};

	start(f,
	      DAEMON GPU "power_cap = 225W\n" MODEL "policy = batchsizer-fixed\nmax_batch = 16\n");
	(void)snprintf(path, sizeof(path), "%s/worker.sock", f->root);
	assert_int_equal(cofris_open(&options, &f->worker), 0);
	RUN_UNTIL(f, serve_one(f->worker) == 16);
	assert_int_equal(f->actuator.last_set.max_mhz, 1725);
	assert_int_equal(f->actuator.last_set.power_cap_uw, 225 * UW_PER_W);
	assert_int_equal(unit(f)->decision.models[0].max_batch, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_worker_brings_a_claim_and_a_limit_with_a_lease),
		CASE(test_the_lease_is_renewed_each_tick),
		CASE(test_the_last_worker_gone_releases_within_two_ticks),
		CASE(test_observe_decides_and_writes_nothing),
		CASE(test_without_an_enabled_section_nothing_is_claimed),
		CASE(test_without_a_model_it_runs_and_says_so),
		CASE(test_a_card_found_in_manual_is_left_alone),
		CASE(test_the_owner_of_a_claimed_card_is_shown),
		CASE(test_a_simulated_card_needs_leave),
		CASE(test_a_card_without_clock_control_is_not_claimed),
		CASE(test_a_missing_surface_means_full_speed),
		CASE(test_an_actuator_that_comes_back_is_used_again),
		CASE(test_without_an_actuator_it_is_ready_and_says_so),
		CASE(test_the_operators_cap_goes_with_each_setting),
		CASE(test_after_a_late_tick_no_interval_is_short),
		CASE(test_the_governor_gets_latency_and_the_highest_power),
		CASE(test_batchsizer_orders_a_worker_that_follows_larger_batches),
		CASE(test_a_wake_is_a_step_of_its_card_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
