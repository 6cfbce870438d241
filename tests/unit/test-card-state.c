/* SPDX-License-Identifier: Apache-2.0 */
/* A card's state machine as tables: what holds, and what has happened. */
#include "base/macros.h"
#include "base/units.h"
#include "daemon/card-state.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <string.h>

#define NOW_NS (1000 * NSEC_PER_SEC)

/* A card that is there, taken and has a worker; each row below changes something of it. */
#define OURS .present = true, .workers = true, .claimed = true

static void test_each_fact_has_its_state(void **state _unused_)
{
	static const struct {
		struct card_facts facts;
		const char *state, *reason;
		uint64_t retry_ns;
	} rows[] = {
		{{OURS}, "governed", "", 0},
		{{.present = true, .claimed = true}, "governed", "idle", 0},
		{{.present = true}, "governed", "idle", 0},
		/* An old refusal does not matter while nobody needs the card. */
		{{.present = true, .claim_error = -EBUSY}, "governed", "idle", 0},
		{{.present = true, .workers = true}, "probing", "", 0},
		{{.present = true, .workers = true, .claim_error = -EAGAIN}, "probing", "", 0},
		{{.unlisted = true}, "probing", "", 0},
		{{.unreachable = true}, "probing", "no-actuator", 0},
		{{OURS, .unreachable = true}, "probing", "no-actuator", 0},
		{{0}, "absent", "", 0},
		{{.workers = true, .sensors_lost = true}, "absent", "", 0},
		{{OURS, .simulated_refused = true}, "yielding", "simulated-refused", 0},
		{{OURS, .no_clock_control = true}, "yielding", "no-clock-control", 0},
		{{OURS, .observe = true}, "yielding", "observe", 0},
		{{OURS, .paused = true}, "yielding", "paused", 0},
		{{OURS, .drift_yields = true}, "yielding", "drift", 0},
		{{OURS, .paused = true, .observe = true, .drift = true}, "yielding", "observe", 0},
		{{.present = true, .workers = true, .claim_error = -EHOSTDOWN, .claim_after_ns = 7},
		 "held-by-other",
		 "manual",
		 7},
		{{.present = true, .workers = true, .claim_error = -EBUSY, .claim_after_ns = 7},
		 "held-by-other",
		 "busy",
		 7},
		{{OURS, .sensors_lost = true}, "degraded", "sensors-lost", 0},
		{{OURS, .readback_failed = true}, "degraded", "readback-failed", 0},
		{{OURS, .drift = true}, "degraded", "drift", 0},
		{{OURS, .drift = true, .readback_failed = true}, "degraded", "drift", 0},
		{{OURS, .foreign_load = true}, "degraded", "foreign-load", 0},
		{{OURS, .foreign_table = true}, "degraded", "foreign-table", 0},
		{{OURS, .foreign_table = true, .foreign_load = true, .sensors_lost = true},
		 "degraded",
		 "sensors-lost",
		 0},
	};
	struct card_machine c = {0};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct card_situation s;

		card_machine_judge(&c, &rows[i].facts, NOW_NS, &s);
		if (strcmp(card_state_name(s.state), rows[i].state) != 0 ||
		    strcmp(card_reason_name(s.reason), rows[i].reason) != 0)
			fail_msg("row %zu: %s (%s)", i, card_state_name(s.state),
				 card_reason_name(s.reason));
		assert_int_equal(s.retry_ns, rows[i].retry_ns);
	}
}

static void test_every_state_and_reason_has_a_name_of_its_own(void **state _unused_)
{
	for (int i = 0; i < CARD_STATES; i++)
		for (int k = 0; k < i; k++)
			assert_string_not_equal(card_state_name((enum card_state)i),
						card_state_name((enum card_state)k));
	for (int i = 0; i < CARD_REASONS; i++)
		for (int k = 0; k < i; k++)
			assert_string_not_equal(card_reason_name((enum card_reason)i),
						card_reason_name((enum card_reason)k));
}

static void assert_situation(const struct card_machine *c, uint64_t now_ns, const char *state,
			     const char *reason)
{
	static const struct card_facts ours = {OURS};
	struct card_situation s;

	card_machine_judge(c, &ours, now_ns, &s);
	assert_string_equal(card_state_name(s.state), state);
	assert_string_equal(card_reason_name(s.reason), reason);
}

static void test_each_failure_is_a_quarantine(void **state _unused_)
{
	static const struct {
		enum card_event event;
		const char *reason;
	} rows[] = {
		{CARD_EVENT_RESET, "reset"},
		{CARD_EVENT_WEDGED, "wedged"},
		{CARD_EVENT_NO_ANSWER, "no-answer"},
		{CARD_EVENT_CLAIM_FAILED, "claim-failed"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct card_facts facts = {.present = true, .workers = true};
		struct card_machine c = {0};
		struct card_situation s;

		card_machine_note(&c, rows[i].event, NOW_NS);
		card_machine_judge(&c, &facts, NOW_NS, &s);
		assert_int_equal(s.state, CARD_QUARANTINED);
		assert_string_equal(card_reason_name(s.reason), rows[i].reason);
		assert_int_equal(s.retry_ns, NOW_NS + NSEC_PER_SEC);
		assert_true(card_machine_is_quarantined(&c, s.retry_ns - 1));
		/* Then it is tried again. */
		assert_false(card_machine_is_quarantined(&c, s.retry_ns));
		card_machine_judge(&c, &facts, s.retry_ns, &s);
		assert_int_equal(s.state, CARD_PROBING);
		assert_situation(&c, NOW_NS + NSEC_PER_SEC, "governed", "");
	}
}

static void test_what_is_yielded_or_gone_is_not_quarantined(void **state _unused_)
{
	struct card_facts paused = {OURS, .paused = true}, gone = {0};
	struct card_facts unreachable = {OURS, .unreachable = true};
	struct card_machine c = {0};
	struct card_situation s;

	card_machine_note(&c, CARD_EVENT_RESET, NOW_NS);
	card_machine_judge(&c, &paused, NOW_NS, &s);
	assert_int_equal(s.state, CARD_YIELDING);
	card_machine_judge(&c, &gone, NOW_NS, &s);
	assert_int_equal(s.state, CARD_ABSENT);
	/* The actuator that gave up on it is gone, too. */
	card_machine_judge(&c, &unreachable, NOW_NS, &s);
	assert_int_equal(s.state, CARD_QUARANTINED);
}

static void test_the_pause_doubles_up_to_a_minute(void **state _unused_)
{
	static const uint32_t seconds[] = {1, 2, 4, 8, 16, 32, 60, 60};
	struct card_machine c = {0};
	uint64_t now_ns = NOW_NS;

	for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
		card_machine_note(&c, CARD_EVENT_NO_ANSWER, now_ns);
		assert_int_equal(c.retry_ns, now_ns + seconds[i] * NSEC_PER_SEC);
		now_ns = c.retry_ns + NSEC_PER_SEC;
	}
	/* Good for five minutes, but for a moment: still the longest. */
	now_ns = c.retry_ns + CARD_GOOD_NS - 1;
	card_machine_note(&c, CARD_EVENT_NO_ANSWER, now_ns);
	assert_int_equal(c.retry_ns, now_ns + 60 * NSEC_PER_SEC);
	now_ns = c.retry_ns + CARD_GOOD_NS;
	card_machine_note(&c, CARD_EVENT_NO_ANSWER, now_ns);
	assert_int_equal(c.retry_ns, now_ns + NSEC_PER_SEC);
}

static void test_one_incident_is_one_quarantine(void **state _unused_)
{
	struct card_machine c = {0};

	card_machine_note(&c, CARD_EVENT_NO_ANSWER, NOW_NS);
	card_machine_note(&c, CARD_EVENT_RESET, NOW_NS + NSEC_PER_MSEC);
	assert_int_equal(c.retry_ns, NOW_NS + NSEC_PER_SEC);
	assert_situation(&c, NOW_NS + NSEC_PER_MSEC, "quarantined", "no-answer");
	card_machine_note(&c, CARD_EVENT_WEDGED, NOW_NS + 2 * NSEC_PER_MSEC);
	assert_int_equal(c.retry_ns, NOW_NS + NSEC_PER_SEC);
	assert_situation(&c, NOW_NS + 2 * NSEC_PER_MSEC, "quarantined", "wedged");
	card_machine_note(&c, CARD_EVENT_RESET, NOW_NS + 3 * NSEC_PER_MSEC);
	assert_situation(&c, NOW_NS + 3 * NSEC_PER_MSEC, "quarantined", "wedged");
}

static void test_a_driver_bound_anew_ends_the_wait_but_not_the_back_off(void **state _unused_)
{
	struct card_machine c = {0};

	/* Without a quarantine it is nothing. */
	card_machine_note(&c, CARD_EVENT_BOUND, NOW_NS);
	assert_int_equal(c.retry_ns, 0);
	card_machine_note(&c, CARD_EVENT_WEDGED, NOW_NS);
	card_machine_note(&c, CARD_EVENT_BOUND, NOW_NS + NSEC_PER_MSEC);
	assert_situation(&c, NOW_NS + NSEC_PER_MSEC, "governed", "");
	card_machine_note(&c, CARD_EVENT_WEDGED, NOW_NS + 2 * NSEC_PER_MSEC);
	assert_int_equal(c.retry_ns, NOW_NS + 2 * NSEC_PER_MSEC + 2 * NSEC_PER_SEC);
	/* Long after, it does not make an old quarantine a new one. */
	card_machine_note(&c, CARD_EVENT_BOUND, NOW_NS + 2 * CARD_GOOD_NS);
	card_machine_note(&c, CARD_EVENT_WEDGED, NOW_NS + 2 * CARD_GOOD_NS);
	assert_int_equal(c.pause_ns, CARD_PAUSE_FIRST_NS);
}

static void test_memory_errors_degrade_and_again_quarantine(void **state _unused_)
{
	struct card_machine c = {0};
	uint64_t now_ns = NOW_NS;

	card_machine_note(&c, CARD_EVENT_RAS, now_ns);
	assert_true(card_machine_is_faulty(&c, now_ns));
	assert_situation(&c, now_ns, "degraded", "ras");
	assert_situation(&c, now_ns + CARD_RAS_NS - 1, "degraded", "ras");
	assert_situation(&c, now_ns + CARD_RAS_NS, "governed", "");
	now_ns += CARD_RAS_NS;
	card_machine_note(&c, CARD_EVENT_RAS, now_ns);
	assert_situation(&c, now_ns, "degraded", "ras");
	card_machine_note(&c, CARD_EVENT_RAS, now_ns + 1);
	assert_situation(&c, now_ns + 1, "quarantined", "ras");
	/* Tried again at full speed. */
	assert_situation(&c, now_ns + 1 + CARD_PAUSE_FIRST_NS, "degraded", "ras");
	assert_situation(&c, now_ns + 1 + CARD_RAS_NS, "governed", "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_fact_has_its_state),
		cmocka_unit_test(test_every_state_and_reason_has_a_name_of_its_own),
		cmocka_unit_test(test_each_failure_is_a_quarantine),
		cmocka_unit_test(test_what_is_yielded_or_gone_is_not_quarantined),
		cmocka_unit_test(test_the_pause_doubles_up_to_a_minute),
		cmocka_unit_test(test_one_incident_is_one_quarantine),
		cmocka_unit_test(test_a_driver_bound_anew_ends_the_wait_but_not_the_back_off),
		cmocka_unit_test(test_memory_errors_degrade_and_again_quarantine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
