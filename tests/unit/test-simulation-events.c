/* SPDX-License-Identifier: Apache-2.0 */
/* Disturbances in a simulation: what each does to card and worker, and what the governor is told.
 * Each input of governor_step() is kept. */
#include "simulation-fixture.h"
#include <errno.h>

#define TOP	  8
#define MAX_STEPS 256
#define RATE	  100.0

static struct {
	uint32_t n, max_mhz; /* max_mhz: ordered; 0: what the governor wants */
	struct governor_input inputs[MAX_STEPS];
	struct governor_decision decisions[MAX_STEPS];
} seen;

void __real_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);
void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);

void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret)
{
	__real_governor_step(g, input, ret);
	if (seen.max_mhz > 0 && ret->action == GOVERNOR_SET)
		ret->max_mhz = seen.max_mhz;
	assert_true(seen.n < MAX_STEPS);
	seen.inputs[seen.n] = *input;
	seen.decisions[seen.n++] = *ret;
}

static struct governor_config config;

static int load(void **state)
{
	(void)state;
	return fixture_load_model(COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini");
}

static int begin(void **state)
{
	const struct plant_device *d = &fixture.truth.device;

	fixture_begin(state);
	fixture_steady_clock();
	memset(&seen, 0, sizeof(seen));
	memset(&config, 0, sizeof(config));
	config.poll_ns = fixture.options.poll_ns;
	config.n_levels = d->n_levels;
	memcpy(config.level_mhz, d->level_mhz, d->n_levels * sizeof(d->level_mhz[0]));
	config.topology = d->topology;
	config.n_models = 1;
	(void)snprintf(config.models[0].name, sizeof(config.models[0].name), "model");
	config.models[0].policy = "maximum";
	config.models[0].max_batch = 1;
	config.models[0].priority = 100;
	config.models[0].use_mask = true;
	fixture.options.governor = &config;
	fixture.options.trace_ticks = true;
	fixture_make_costs(1);
	fixture_poisson(RATE);
	return 0;
}

/* From 3 to 6 of 10 s. */
static void run_with(struct simulation_event e)
{
	e.from_ns = e.from_ns > 0 ? e.from_ns : 3 * SEC;
	e.until_ns = e.until_ns > 0 ? e.until_ns : 6 * SEC;
	fixture.options.events = &e;
	fixture.options.n_events = 1;
	fixture_run(0);
	fixture.options.events = NULL;
}

/* The step's place in time: before, while, after. */
static int place(uint32_t step, uint64_t from_ns, uint64_t until_ns)
{
	uint64_t now_ns = seen.inputs[step].now_ns;

	return now_ns <= from_ns ? -1 : now_ns > until_ns;
}

static double mhz_at(double t_s)
{
	const struct simulation_result *r = &fixture.result;

	for (uint32_t i = 0; i < r->n_ticks; i++)
		if (fabs((double)r->ticks[i].t_s - t_s) < 1e-3)
			return (double)r->ticks[i].sclk_mhz;
	fail_msg("no tick at %g s", t_s);
	return NAN;
}

/* ---- the card ---- */

static void test_the_firmware_holds_the_clock_and_says_so(void **state)
{
	const uint32_t *mhz = fixture.truth.device.level_mhz;

	(void)state;
	run_with((struct simulation_event){.kind = SIMULATION_THROTTLE, .level = 2});
	for (uint32_t i = 0; i < seen.n; i++) {
		bool throttled = seen.inputs[i].flags & GOVERNOR_CARD_THROTTLED;

		/* What a step knows was read at the end of the one before. */
		assert_int_equal(throttled, seen.inputs[i].now_ns > 3 * SEC &&
						    seen.inputs[i].now_ns <= 6 * SEC);
	}
	assert_close("before", mhz_at(2), mhz[TOP], 0.5);
	assert_close("while", mhz_at(4), mhz[2], 0.5);
	assert_close("after", mhz_at(7), mhz[TOP], 0.5);
}

static void test_the_firmware_says_nothing(void **state)
{
	(void)state;
	run_with(
		(struct simulation_event){.kind = SIMULATION_THROTTLE, .level = 2, .silent = true});
	for (uint32_t i = 0; i < seen.n; i++)
		assert_int_equal(seen.inputs[i].flags, 0);
	assert_close("while", mhz_at(4), fixture.truth.device.level_mhz[2], 0.5);
}

static void test_a_lower_limit_is_no_throttling(void **state)
{
	(void)state;
	seen.max_mhz = fixture.truth.device.level_mhz[1];
	run_with((struct simulation_event){.kind = SIMULATION_THROTTLE, .level = 2});
	for (uint32_t i = 0; i < seen.n; i++)
		assert_int_equal(seen.inputs[i].flags, 0);
	assert_close("while", mhz_at(4), fixture.truth.device.level_mhz[1], 0.5);
}

static void test_heat_takes_clock(void **state)
{
	uint32_t throttled = 0;

	(void)state;
	/* What the governor makes of it is not the question. */
	seen.max_mhz = fixture.truth.device.level_mhz[TOP];
	run_with((struct simulation_event){.kind = SIMULATION_HOT, .kelvin = 85});
	for (uint32_t i = 0; i < seen.n; i++)
		throttled += (seen.inputs[i].flags & GOVERNOR_CARD_THROTTLED) != 0;
	assert_in_range(throttled, 3, 6);
	assert_true(mhz_at(5) < 0.9 * fixture.truth.device.level_mhz[TOP]);
	assert_close("after", mhz_at(8), fixture.truth.device.level_mhz[TOP], 0.5);
}

static void test_old_readings(void **state)
{
	static struct governor_input fresh[MAX_STEPS];

	(void)state;
	run_with(
		(struct simulation_event){.kind = SIMULATION_THROTTLE, .level = 2, .silent = true});
	memcpy(fresh, seen.inputs, sizeof(fresh));
	seen.n = 0;
	/* A poll older than they are anyway. */
	run_with((struct simulation_event){.kind = SIMULATION_STALE_SENSORS, .age_ns = 500 * MS});
	for (uint32_t i = 8; i < 12; i++) {
		assert_int_equal(seen.inputs[i].flags, 0);
		assert_true(seen.inputs[i].power_uw > 0);
	}
	assert_int_equal(seen.inputs[4].power_uw, fresh[4].power_uw);
	/* The first one that is read old is the one before. */
	assert_int_equal(seen.inputs[6].power_uw, seen.inputs[5].power_uw);
}

static void test_a_card_that_does_not_answer(void **state)
{
	uint32_t lost = 0;

	(void)state;
	run_with((struct simulation_event){.kind = SIMULATION_SENSORS_LOST});
	for (uint32_t i = 0; i < seen.n; i++) {
		if (!(seen.inputs[i].flags & GOVERNOR_CARD_SENSORS_LOST))
			continue;
		lost++;
		/* After a second of patience; what was read last is kept. */
		assert_true(seen.inputs[i].now_ns > 4 * SEC && seen.inputs[i].now_ns <= 6 * SEC);
		assert_int_equal(seen.inputs[i].power_uw, seen.inputs[i - 1].power_uw);
	}
	assert_int_equal(lost, 4);
}

static void test_clocks_that_do_not_take_leave_the_baseline(void **state)
{
	bool failed = false;

	(void)state;
	seen.max_mhz = fixture.truth.device.level_mhz[1];
	run_with((struct simulation_event){.kind = SIMULATION_READBACK_FAILED,
					   .from_ns = 100 * MS,
					   .until_ns = 3 * SEC});
	for (uint32_t i = 0; i < seen.n; i++)
		failed |= (seen.inputs[i].flags & GOVERNOR_CARD_READBACK_FAILED) != 0;
	assert_true(failed);
	assert_close("while", mhz_at(2), fixture.truth.device.level_mhz[TOP], 0.5);
	assert_close("after", mhz_at(5), fixture.truth.device.level_mhz[1], 0.5);
	assert_false(seen.inputs[seen.n - 1].flags & GOVERNOR_CARD_READBACK_FAILED);
}

/* ---- the worker ---- */

static void test_invalid_samples_are_missing_and_come_back_with_all_there_was(void **state)
{
	uint64_t arrivals = 0;

	(void)state;
	run_with((struct simulation_event){.kind = SIMULATION_INPUT_MISSING});
	for (uint32_t i = 0; i < seen.n; i++) {
		const struct governor_model_input *in = &seen.inputs[i].models[0];
		bool missing = seen.inputs[i].now_ns >= 3 * SEC && seen.inputs[i].now_ns < 6 * SEC;

		assert_int_equal(in->state, missing ? GOVERNOR_INPUT_MISSING : GOVERNOR_INPUT_OK);
		if (missing)
			assert_int_equal(in->arrivals, 0);
		arrivals += in->arrivals;
	}
	assert_in_range(arrivals, fixture.result.n - 100, fixture.result.n);
	for (uint32_t i = 0; i < fixture.result.n; i++)
		assert_true(fixture.result.latency_ns[i] != REQUEST_UNFINISHED);
}

static void test_a_worker_dies_and_another_one_takes_what_has_waited(void **state)
{
	uint32_t failed = 0, waited = 0;

	(void)state;
	run_with((struct simulation_event){.kind = SIMULATION_WORKER_RESTART});
	for (uint32_t i = 0; i < seen.n; i++) {
		const struct governor_model_input *in = &seen.inputs[i].models[0];
		uint64_t now_ns = seen.inputs[i].now_ns;
		bool gone = now_ns >= 3 * SEC && now_ns < 6 * SEC;

		assert_int_equal(in->state, gone ? GOVERNOR_NO_WORKER : GOVERNOR_INPUT_OK);
		assert_true(in->in_flight < 1000 && in->arrivals < 1000);
		if (!gone && i > 0)
			assert_true(in->whole_interval ==
					    !(now_ns == 6 * SEC || now_ns == 6500 * MS) ||
				    now_ns == 6500 * MS);
	}
	for (uint32_t i = 0; i < fixture.result.n; i++) {
		uint64_t at_ns = fixture.arrivals[i], ns = fixture.result.latency_ns[i];

		failed += ns == REQUEST_UNFINISHED;
		if (at_ns < 3 * SEC || at_ns >= 6 * SEC || ns == REQUEST_UNFINISHED)
			continue;
		waited++;
		assert_true(at_ns + ns > 6 * SEC);
	}
	assert_true(failed <= 1);
	assert_in_range(waited, 250, 350);
	assert_true(fixture.result.starved_ns > 2900 * MS);
}

static void test_lies(void **state)
{
	static struct governor_input true_inputs[MAX_STEPS];
	uint32_t n, lied = 0;

	(void)state;
	fixture.options.slo_ns = 20 * MS;
	fixture_run(0);
	n = seen.n;
	memcpy(true_inputs, seen.inputs, sizeof(true_inputs));
	seen.n = 0;
	run_with((struct simulation_event){
		.kind = SIMULATION_LIES,
		.lies = SIMULATION_LIE_ALL_LATE | SIMULATION_LIE_SERVICE,
		.service_factor = 3,
	});
	assert_int_equal(seen.n, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct governor_model_input *in = &seen.inputs[i].models[0],
						  *truth = &true_inputs[i].models[0];

		if (in->busy_ns != truth->busy_ns) {
			lied++;
			assert_int_equal(in->late, in->completions);
			assert_int_equal(in->busy_ns, 3 * truth->busy_ns);
		} else {
			assert_int_equal(in->late, truth->late);
		}
		assert_int_equal(in->arrivals, truth->arrivals);
		assert_int_equal(in->completions, truth->completions);
		assert_int_equal(in->waiting, truth->waiting);
		assert_int_equal(in->sojourn_ns, truth->sojourn_ns);
	}
	assert_int_equal(lied, 6);
	/* Lies change nothing of what happens under a policy that does not listen. */
	assert_true(fixture.result.late < 10);
}

/* ---- the configuration ---- */

static void test_a_configuration_is_loaded_anew(void **state)
{
	struct governor_config capped = config;
	uint32_t changes = 0;

	(void)state;
	capped.power_cap_uw = 100 * UINT64_C(1000000);
	run_with((struct simulation_event){.kind = SIMULATION_RELOAD, .governor = &capped});
	for (uint32_t i = 0; i < seen.n; i++) {
		const struct governor_decision *d = &seen.decisions[i];

		assert_int_equal(d->number, i + 1);
		assert_int_equal(d->power_cap_uw,
				 place(i, 3 * SEC - 1, 100 * SEC) < 0 ? 0 : capped.power_cap_uw);
		changes += i > 0 && d->power_cap_uw != seen.decisions[i - 1].power_cap_uw;
	}
	assert_int_equal(changes, 1);
	assert_true(fixture.result.over_cap_s > 0);
}

/* ---- options ---- */

static void test_bad_events_are_refused(void **state)
{
	const struct governor_config two = {.n_models = 2};
	const struct {
		struct simulation_event e[2];
		uint32_t n;
	} bad[] = {
		{{{SIMULATION_SENSORS_LOST, 5, 5}}, 1},
		{{{SIMULATION_EVENT_KINDS, 5, 6}}, 1},
		{{{SIMULATION_HOT, 5, 6}}, 1},
		{{{SIMULATION_HOT, 5, 6, .kelvin = NAN}}, 1},
		{{{SIMULATION_THROTTLE, 5, 6, .level = 99}}, 1},
		{{{SIMULATION_STALE_SENSORS, 5, 6}}, 1},
		{{{SIMULATION_LIES, 5, 6}}, 1},
		{{{SIMULATION_LIES, 5, 6, .lies = SIMULATION_LIE_SERVICE}}, 1},
		{{{SIMULATION_RELOAD, 5, 6}}, 1},
		{{{SIMULATION_RELOAD, 5, 6, .governor = &two}}, 1},
		{{{SIMULATION_INPUT_MISSING, 5, 6, .model = 1}}, 1},
		{{{SIMULATION_SENSORS_LOST, 5, 8}, {SIMULATION_SENSORS_LOST, 7, 9}}, 2},
		{{{SIMULATION_SENSORS_LOST, 5, 8}}, SIMULATION_MAX_EVENTS + 1},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_(simulation_freep) struct simulation *s = NULL;

		fixture.options.events = bad[i].e;
		fixture.options.n_events = bad[i].n;
		assert_int_equal(simulation_new(&fixture.options, &s), -EINVAL);
		assert_null(s);
	}
	fixture.options.n_events = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, fixture_end)
		TEST(test_the_firmware_holds_the_clock_and_says_so),
		TEST(test_the_firmware_says_nothing),
		TEST(test_a_lower_limit_is_no_throttling),
		TEST(test_heat_takes_clock),
		TEST(test_old_readings),
		TEST(test_a_card_that_does_not_answer),
		TEST(test_clocks_that_do_not_take_leave_the_baseline),
		TEST(test_invalid_samples_are_missing_and_come_back_with_all_there_was),
		TEST(test_a_worker_dies_and_another_one_takes_what_has_waited),
		TEST(test_lies),
		TEST(test_a_configuration_is_loaded_anew),
		TEST(test_bad_events_are_refused),
#undef TEST
	};

	return cmocka_run_group_tests(tests, load, fixture_unload);
}
