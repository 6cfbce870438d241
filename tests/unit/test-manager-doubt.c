/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(): any doubt about the card means full speed. */
#include "test-manager-fixture.h"

#include "gpu/gpu.h"
#include <errno.h>
#include <signal.h>

static void test_a_limit_that_does_not_read_back_means_full_speed(void **state)
{
	struct fixture *f = *state;

	start_governed(f, STANDARD PROMPT);
	f->actuator.set_reads_back_mhz = 1200;
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 1725);
	assert_true(unit(f)->input.flags & GOVERNOR_CARD_READBACK_FAILED);
	f->actuator.set_reads_back_mhz = 0;
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
}

static void test_a_refused_limit_means_full_speed(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	f->actuator.set_error = -EIO;
	RUN_UNTIL(f, unit(f)->input.flags & GOVERNOR_CARD_READBACK_FAILED);
	RUN_UNTIL(f, unit(f)->decision.max_mhz == 1725);
	assert_int_equal(unit(f)->decision.reason, GOVERNOR_REASON_READBACK_FAILED);
	/* At most a setting and a renewal with each decision. */
	f->actuator.counts[ACTUATOR_SET] = 0;
	run_decisions(f, 10);
	assert_true(f->actuator.counts[ACTUATOR_SET] <= 22);
}

static void test_a_lost_claim_is_made_again(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	f->actuator.set_error = -EACCES;
	RUN_UNTIL(f, unit(f)->claim != UNIT_CLAIMED);
	f->actuator.set_error = 0;
	RUN_UNTIL(f, unit(f)->claim == UNIT_CLAIMED && f->actuator.last_set.max_mhz > 0);
	assert_true(f->actuator.counts[ACTUATOR_CLAIM] >= 2);
}

static void test_no_answer_means_sensors_lost(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	f->actuator.mute = true;
	RUN_UNTIL(f, unit(f)->input.flags & GOVERNOR_CARD_SENSORS_LOST);
	RUN_UNTIL(f, unit(f)->decision.max_mhz == 1725);
	f->actuator.mute = false;
	RUN_UNTIL(f, !(unit(f)->input.flags & GOVERNOR_CARD_SENSORS_LOST));
}

static void test_a_sensor_that_vanishes_is_lost(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	f->actuator.fields = GPU_HAS_SCLK | GPU_HAS_BUSY;
	RUN_UNTIL(f, unit(f)->decision.reason == GOVERNOR_REASON_SENSORS_LOST);
	assert_int_equal(unit(f)->input.power_uw, 0);
}

static void test_a_card_that_never_had_a_sensor_is_governed(void **state)
{
	struct fixture *f = *state;

	f->actuator.fields = GPU_HAS_SCLK;
	start_claimed(f, STANDARD);
	run_decisions(f, 15);
	assert_int_equal(unit(f)->input.flags, 0);
}

static void test_heat_throttles_and_a_power_limit_does_not(void **state)
{
	struct fixture *f = *state;

	f->actuator.fields |= GPU_HAS_THROTTLE;
	f->actuator.throttle = 1u << 13; /* PPT */
	start_claimed(f, STANDARD);
	run_decisions(f, 3);
	assert_int_equal(unit(f)->input.flags, 0);
	f->actuator.throttle |= 1u << 2; /* hot spot */
	RUN_UNTIL(f, unit(f)->input.flags == GOVERNOR_CARD_THROTTLED);
}

static void test_foreign_load_means_full_speed_unless_ignored(void **state)
{
	struct fixture *f = *state;

	f->actuator.foreign_pid = 1;
	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit(f)->decision.reason == GOVERNOR_REASON_FOREIGN_LOAD);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 1725);
	/* The setting is read with the next reload. */
	write_text(f->config, DAEMON GPU "on_foreign_load = ignore\n" MODEL PROMPT);
	assert_true(raise(SIGHUP) == 0);
	RUN_UNTIL(f, unit(f)->config.on_foreign_load == CONFIG_FOREIGN_IGNORE);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
}

static void test_the_workers_own_process_is_not_foreign(void **state)
{
	struct fixture *f = *state;

	f->actuator.foreign_pid = getpid();
	start_claimed(f, STANDARD);
	run_decisions(f, 15);
	assert_int_equal(unit(f)->input.flags, 0);
}

static void test_drift_is_answered_as_configured(void **state)
{
	struct fixture *f = *state;

	start_governed(f, DAEMON GPU "on_drift = alert\n" MODEL PROMPT);
	f->actuator.verified = ACTUATOR_DRIFT;
	run_decisions(f, 10);
	assert_int_equal(unit(f)->input.flags, 0);
	write_text(f->config, DAEMON GPU "on_drift = reassert\n" MODEL PROMPT);
	assert_true(raise(SIGHUP) == 0);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 1725);
	assert_true(unit(f)->input.flags & GOVERNOR_CARD_READBACK_FAILED);
	/* Written anew, although the actuator believes that it stands. */
	assert_int_equal(f->actuator.last_set.take_over, 1);
	write_text(f->config, DAEMON GPU "on_drift = yield\n" MODEL PROMPT);
	assert_true(raise(SIGHUP) == 0);
	RUN_UNTIL(f, unit_is(unit(f), "yielding", "drift") && unit(f)->claim == UNIT_FREE);
	run_decisions(f, 5);
	assert_int_equal(unit(f)->claim, UNIT_FREE);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_limit_that_does_not_read_back_means_full_speed),
		CASE(test_a_refused_limit_means_full_speed),
		CASE(test_a_lost_claim_is_made_again),
		CASE(test_no_answer_means_sensors_lost),
		CASE(test_a_sensor_that_vanishes_is_lost),
		CASE(test_a_card_that_never_had_a_sensor_is_governed),
		CASE(test_heat_throttles_and_a_power_limit_does_not),
		CASE(test_foreign_load_means_full_speed_unless_ignored),
		CASE(test_the_workers_own_process_is_not_foreign),
		CASE(test_drift_is_answered_as_configured),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
