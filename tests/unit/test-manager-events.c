/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(): a card that fails is left alone for a while, and then tried again.
 */
#include "test-manager-fixture.h"

#include "gpu/gpu.h"
#include <errno.h>

static void test_a_card_that_was_reset_is_given_back_and_tried_again(void **state)
{
	static const int errors[] = {-EPERM, -ENODEV};
	struct fixture *f = *state;

	start_governed(f, STANDARD PROMPT);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		uint32_t claims;

		f->actuator.set_error = errors[i];
		RUN_UNTIL(f, unit_is(unit(f), "quarantined", "reset"));
		RUN_UNTIL(f, unit(f)->claim == UNIT_FREE);
		f->actuator.set_error = 0;
		claims = f->actuator.counts[ACTUATOR_CLAIM];
		assert_int_equal(unit(f)->machine.pause_ns, (i + 1) * NSEC_PER_SEC);
		RUN_UNTIL(f, unit_is(unit(f), "governed", "") || unit(f)->claim != UNIT_FREE);
		assert_true(manager_now_ns(f->manager) >= unit(f)->machine.retry_ns);
		RUN_UNTIL(f,
			  unit_is(unit(f), "governed", "") && f->actuator.last_set.max_mhz == 925);
		assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], claims + 1);
	}
}

static void test_a_claim_that_fails_is_not_repeated_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t begin_ns;

	f->actuator.claim_error = -EIO;
	start(f, STANDARD);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit_is(unit(f), "quarantined", "claim-failed"));
	begin_ns = manager_now_ns(f->manager);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
	/* After one second, and then after two more. */
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_CLAIM] == 3);
	assert_true(manager_now_ns(f->manager) - begin_ns >= 2900 * NSEC_PER_MSEC);
	f->actuator.claim_error = 0;
	RUN_UNTIL(f, unit_is(unit(f), "governed", ""));
}

static void test_an_actuator_that_dies_of_a_request_has_it_counted(void **state)
{
	struct fixture *f = *state;
	uint32_t sets;

	start_governed(f, STANDARD PROMPT);
	f->actuator.mute = true;
	sets = f->actuator.counts[ACTUATOR_SET];
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_SET] > sets);
	fake_unlisten(&f->actuator);
	RUN_UNTIL(f, unit_is(unit(f), "quarantined", "no-answer"));
	f->actuator.mute = false;
	fake_listen(f);
	RUN_UNTIL(f, unit_is(unit(f), "governed", "") && f->actuator.last_set.max_mhz == 925);
}

static struct unit *other(const struct fixture *f)
{
	return manager_find_unit(f->manager, OTHER_BDF);
}

static void test_an_actuator_that_gives_up_on_one_card_is_not_the_others_fault(void **state)
{
	struct fixture *f = *state;
	uint32_t sets;

	f->actuator.second = &f->second;
	start(f, DAEMON "[gpu *]\n" MODEL PROMPT);
	start_worker(f);
	f->other_worker = open_worker(f, &both_cards[1], 1);
	RUN_UNTIL(f, unit(f) && other(f) && unit_is(unit(f), "governed", "") &&
			     unit_is(other(f), "governed", ""));
	/* The other card's request waits for its turn. */
	f->second.mute = true;
	sets = f->second.counts[ACTUATOR_SET];
	RUN_UNTIL(f, f->second.counts[ACTUATOR_SET] > sets);
	f->actuator.set_error = -EPERM;
	RUN_UNTIL(f, unit(f)->machine.retry_ns > 0);
	assert_true(other(f)->in_flight);
	fake_unlisten(&f->actuator);
	RUN_UNTIL(f, f->manager->actuator_error < 0);
	assert_int_equal(other(f)->machine.retry_ns, 0);
	assert_true(unit_is(other(f), "probing", "no-actuator"));
}

static void test_an_actuator_that_goes_between_requests_is_nobodys_fault(void **state)
{
	struct fixture *f = *state;

	start_governed(f, STANDARD PROMPT);
	RUN_UNTIL(f, !unit(f)->in_flight);
	fake_unlisten(&f->actuator);
	RUN_UNTIL(f, unit_is(unit(f), "probing", "no-actuator"));
	assert_int_equal(unit(f)->machine.retry_ns, 0);
	fake_listen(f);
	RUN_UNTIL(f, unit_is(unit(f), "governed", ""));
	assert_int_equal(unit(f)->machine.retry_ns, 0);
}

static void test_memory_errors_mean_full_speed(void **state)
{
	struct fixture *f = *state;

	f->actuator.fields |= GPU_HAS_RAS;
	f->actuator.state.ras_uncorrectable = 7;
	start_governed(f, STANDARD PROMPT);
	/* Those of before the daemon's start are no news. */
	assert_true(unit_is(unit(f), "governed", ""));
	f->actuator.state.ras_uncorrectable = 8;
	RUN_UNTIL(f, unit_is(unit(f), "degraded", "ras"));
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 1725);
	/* A driver loaded anew counts from 0. */
	f->actuator.state.ras_uncorrectable = 0;
	run_decisions(f, 5);
	assert_true(unit_is(unit(f), "degraded", "ras"));
	f->actuator.state.ras_uncorrectable = 1;
	RUN_UNTIL(f, unit_is(unit(f), "quarantined", "ras"));
	RUN_UNTIL(f, unit(f)->claim == UNIT_FREE);
}

static void test_drift_has_its_state(void **state)
{
	struct fixture *f = *state;

	start_governed(f, DAEMON GPU "on_drift = reassert\n" MODEL PROMPT);
	f->actuator.verified = ACTUATOR_DRIFT;
	RUN_UNTIL(f, unit_is(unit(f), "degraded", "drift"));
	f->actuator.verified = ACTUATOR_UNVERIFIED;
	RUN_UNTIL(f, unit_is(unit(f), "governed", ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_card_that_was_reset_is_given_back_and_tried_again),
		CASE(test_a_claim_that_fails_is_not_repeated_at_once),
		CASE(test_an_actuator_that_dies_of_a_request_has_it_counted),
		CASE(test_an_actuator_that_gives_up_on_one_card_is_not_the_others_fault),
		CASE(test_an_actuator_that_goes_between_requests_is_nobodys_fault),
		CASE(test_memory_errors_mean_full_speed),
		CASE(test_drift_has_its_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
