/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(): an operator's power cap, and the time above one. */
#include "test-manager-fixture.h"

#include "daemon/status.h"
#include <errno.h>
#include <jansson.h>

#define W(w)   ((uint64_t)(w)*UW_PER_W)
#define CAPPED DAEMON GPU "power_cap = 200W\n" MODEL

static int order(struct fixture *f, const char *bdf, uint64_t uw, char why[128])
{
	why[0] = '\0';
	return manager_order_cap(f->manager, bdf, uw, why, 128);
}

static double cap_number(struct fixture *f, const char *key)
{
	_cleanup_(freep) char *text = status_json(f->manager);
	json_t *root = json_loads(text, 0, NULL), *value;
	double number;

	assert_non_null(root);
	value = json_object_get(json_object_get(json_array_get(json_object_get(root, "gpus"), 0),
						"cap"),
				key);
	number = json_is_number(value) ? json_number_value(value) : -1;
	json_decref(root);
	return number;
}

static void test_an_order_reaches_the_actuator_and_is_taken_back(void **state)
{
	struct fixture *f = *state;
	uint64_t number;
	char why[128];

	start_claimed(f, CAPPED);
	assert_int_equal(f->actuator.last_set.power_cap_uw, W(200));
	assert_int_equal(order(f, BDF, W(100), why), 0);
	number = unit(f)->decision.number;
	run_decisions(f, 1);
	/* Within one step, and what the governor has learnt goes on. */
	assert_int_equal(unit(f)->decision.number, number + 1);
	assert_int_equal(unit(f)->decision.power_cap_uw, W(100));
	RUN_UNTIL(f, f->actuator.last_set.power_cap_uw == W(100));
	assert_int_equal(order(f, "*", UNIT_CAP_NONE, why), 0);
	RUN_UNTIL(f, f->actuator.last_set.power_cap_uw == 0);
	assert_int_equal(order(f, "*", UNIT_CAP_CONFIG, why), 0);
	RUN_UNTIL(f, f->actuator.last_set.power_cap_uw == W(200));
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 0);
}

/* There is no turn of the daemon's loop in it, so no tick. */
static void check_obeyed(struct fixture *f, uint64_t cap_uw, uint64_t number_before)
{
	const struct unit *u = unit(f);

	assert_true(u->input.early);
	assert_int_equal(u->decision.number, number_before + 1);
	assert_int_equal(u->decision.power_cap_uw, cap_uw);
	assert_int_equal(sequence_clock_sent(u->sequence).power_cap_uw, cap_uw);
}

static void test_a_cap_is_obeyed_at_once(void **state)
{
	struct fixture *f = *state;
	uint64_t number, tick_ns;
	char why[128];

	start_claimed(f, CAPPED);
	RUN_UNTIL(f, !unit(f)->input.early && sequence_settled(unit(f)->sequence));
	number = unit(f)->decision.number;
	tick_ns = f->manager->last_tick_ns;
	assert_int_equal(order(f, BDF, W(100), why), 0);
	check_obeyed(f, W(100), number);
	assert_int_equal(f->manager->last_tick_ns, tick_ns);
	RUN_UNTIL(f, f->actuator.last_set.power_cap_uw == W(100));
	assert_int_equal(order(f, BDF, UNIT_CAP_CONFIG, why), 0);
	RUN_UNTIL(f, f->actuator.last_set.power_cap_uw == W(200) && !unit(f)->input.early);

	number = unit(f)->decision.number;
	tick_ns = f->manager->last_tick_ns;
	reload(f, DAEMON GPU "power_cap = 150W\n" MODEL);
	check_obeyed(f, W(150), number);
	assert_int_equal(f->manager->last_tick_ns, tick_ns);
	RUN_UNTIL(f, f->actuator.last_set.power_cap_uw == W(150) && !unit(f)->input.early);

	/* What is no cap waits for the tick. */
	number = unit(f)->decision.number;
	reload(f, DAEMON GPU "power_cap = 150W\n" MODEL "max_batch = 2\n");
	assert_int_equal(unit(f)->decision.number, number);
}

/* What comes and goes with a reload has no decision yet that could be brought forward. */
static void test_a_cap_for_a_card_that_waits_comes_with_the_tick(void **state)
{
	struct fixture *f = *state;
	char why[128];

	start(f, CAPPED);
	RUN_UNTIL(f, unit(f) && unit(f)->ever_present);
	assert_int_equal(order(f, BDF, W(100), why), 0);
	reload(f, DAEMON GPU "power_cap = 150W\n" MODEL);
	start_worker(f);
	RUN_UNTIL(f, f->actuator.last_set.power_cap_uw == W(100));
}

static void test_what_cannot_be_obeyed_is_refused(void **state)
{
	struct fixture *f = *state;
	char why[128];

	start_claimed(f, CAPPED);
	assert_int_equal(order(f, BDF, W(49), why), -ERANGE);
	assert_string_equal(why, BDF " takes a power cap from 50 W to 300 W");
	assert_int_equal(order(f, "*", W(301), why), -ERANGE);
	assert_int_equal(order(f, BDF, UINT64_MAX - 1, why), -ERANGE);
	assert_int_equal(order(f, OTHER_BDF, W(100), why), -ENODEV);
	assert_string_equal(why, "no governed card " OTHER_BDF);
	assert_int_equal(order(f, "", UNIT_CAP_NONE, why), -ENODEV);
	unit(f)->card.can_cap_power = false;
	assert_int_equal(order(f, BDF, W(100), why), -EOPNOTSUPP);
	assert_string_equal(why, BDF " takes no power cap");
	assert_int_equal(unit(f)->cap_order_uw, UNIT_CAP_CONFIG);
}

static void test_an_order_outlives_a_reload(void **state)
{
	struct fixture *f = *state;
	char why[128];

	start_claimed(f, CAPPED);
	assert_int_equal(order(f, BDF, W(100), why), 0);
	reload(f, DAEMON GPU "power_cap = 150W\n" MODEL);
	RUN_UNTIL(f, f->actuator.last_set.power_cap_uw == W(100));
	assert_true(cap_number(f, "configured_w") == 150);
	assert_true(cap_number(f, "ordered_w") == 100);
	assert_true(cap_number(f, "wanted_w") == 100);
	assert_int_equal(order(f, BDF, UNIT_CAP_CONFIG, why), 0);
	RUN_UNTIL(f, f->actuator.last_set.power_cap_uw == W(150));
	assert_true(cap_number(f, "ordered_w") == -1);
	assert_true(cap_number(f, "min_w") == 50);
	assert_true(cap_number(f, "max_w") == 300);
}

/* The fake's sensor shows 80 W. */
static void test_time_above_the_cap_is_counted(void **state)
{
	struct fixture *f = *state;
	char why[128];
	double over_ms;

	start_claimed(f, CAPPED);
	RUN_UNTIL(f, unit(f)->cap_watch.watched_ns > 0);
	assert_true(cap_number(f, "over_ms") == 0);
	assert_int_equal(order(f, BDF, W(60), why), 0);
	RUN_UNTIL(f, unit(f)->cap_watch.over_ns > 0);
	assert_true(cap_number(f, "over_most_w") == 20);
	assert_true(cap_number(f, "over_mean_w") == 20);
	assert_int_equal(order(f, BDF, UNIT_CAP_NONE, why), 0);
	RUN_UNTIL(f, unit_cap_in_force_uw(unit(f)) == 0);
	over_ms = cap_number(f, "over_ms");
	assert_true(over_ms > 0);
	run_decisions(f, 3);
	assert_true(cap_number(f, "over_ms") == over_ms);
	assert_true(cap_number(f, "in_force_w") == -1);
}

static void test_a_cap_outside_the_range_of_the_card_is_taken_to_the_nearest(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, DAEMON GPU "power_cap = 20W\n" MODEL);
	assert_int_equal(f->actuator.last_set.power_cap_uw, W(50));
	assert_true(cap_number(f, "configured_w") == 20);
	assert_true(cap_number(f, "wanted_w") == 50);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_an_order_reaches_the_actuator_and_is_taken_back),
		CASE(test_a_cap_is_obeyed_at_once),
		CASE(test_a_cap_for_a_card_that_waits_comes_with_the_tick),
		CASE(test_what_cannot_be_obeyed_is_refused),
		CASE(test_an_order_outlives_a_reload),
		CASE(test_time_above_the_cap_is_counted),
		CASE(test_a_cap_outside_the_range_of_the_card_is_taken_to_the_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
