/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(): reloads, a predecessor's setting, and stops. */
#include "test-manager-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

static void test_a_bad_reload_keeps_everything(void **state)
{
	struct fixture *f = *state;
	const struct unit_plan *plan;
	const struct config *config;
	char why[CONFIG_TEXT_MAX];

	start_claimed(f, STANDARD);
	config = f->manager->config;
	plan = unit(f)->plan;
	write_text(f->config, STANDARD "polcy = cofris\n");
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "cofris.conf:6: unknown key 'polcy', did you mean 'policy'?"));
	assert_ptr_equal(f->manager->config, config);
	assert_ptr_equal(unit(f)->plan, plan);
	assert_int_equal(f->manager->config_error.line, 6);
	write_text(f->config, DAEMON GPU "[model resnet50]\nsurface = /nonexistent.csv\n");
	assert_true(manager_reload(f->manager, why, sizeof(why)) < 0);
	assert_non_null(strstr(why, "/nonexistent.csv"));
	assert_ptr_equal(unit(f)->plan, plan);
	write_text(f->config, STANDARD);
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	assert_string_equal(f->manager->config_error.text, "");
	assert_true(unit_is(unit(f), "governed", ""));
}

static void test_a_reload_that_disables_a_card_gives_it_back(void **state)
{
	struct fixture *f = *state;
	char why[CONFIG_TEXT_MAX];

	start_claimed(f, STANDARD);
	/* What a section says itself is above [gpu *]. */
	write_text(f->config, DAEMON GPU "enabled = yes\n[gpu *]\nenabled = no\n" MODEL);
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	run_decisions(f, 3);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 0);
	write_text(f->config, DAEMON GPU "enabled = no\n" MODEL);
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_RELEASE] >= 1);
	assert_null(unit(f));
	assert_int_equal(f->manager->n_sessions, 0);
}

static void test_a_reload_to_observe_gives_the_card_back(void **state)
{
	struct fixture *f = *state;
	char why[CONFIG_TEXT_MAX];
	uint32_t sets;

	start_claimed(f, STANDARD);
	write_text(f->config, DAEMON "mode = observe\n" GPU MODEL);
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	RUN_UNTIL(f, unit(f)->claim == UNIT_FREE);
	sets = f->actuator.counts[ACTUATOR_SET];
	run_decisions(f, 5);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], sets);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 1);
}

static void test_a_reload_without_the_model_hangs_its_workers_up(void **state)
{
	struct fixture *f = *state;
	char why[CONFIG_TEXT_MAX];

	start_claimed(f, STANDARD);
	write_text(f->config, DAEMON GPU "[model vgg19]\n");
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	assert_int_equal(unit_workers(unit(f)), 0);
	RUN_UNTIL(f, unit(f)->claim == UNIT_FREE);
}

/* As after a crash: the connection comes from the service manager's store, with a setting. */
static void start_adopted(struct fixture *f)
{
	struct fake_actuator *a = &f->actuator;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	write_text(f->config, STANDARD);
	write_surface(f);
	f->options.actuator_fd = fds[0];
	assert_int_equal(manager_new(&f->options, &f->manager), 0);
	a->claimed = true;
	a->state.max_mhz = 925;
	fake_serve(f, fds[1]);
	assert_int_equal(manager_start(f->manager), 0);
	RUN_UNTIL(f, unit(f) && unit(f)->claim == UNIT_CLAIMED);
}

static void test_a_predecessors_setting_is_held_until_its_workers_are_back(void **state)
{
	struct fixture *f = *state;

	start_adopted(f);
	assert_int_equal(f->actuator.counts[ACTUATOR_ADOPT], 1);
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_SET] >= 3);
	assert_int_equal(f->actuator.last_set.max_mhz, 925);
	assert_false(unit(f)->decided);
	start_worker(f);
	RUN_UNTIL(f, unit(f)->decided);
	assert_int_equal(unit(f)->decision.action, GOVERNOR_HOLD);
	assert_int_equal(unit(f)->decision.reason, GOVERNOR_REASON_ADOPTED);
	assert_int_equal(f->actuator.last_set.max_mhz, 925);
	RUN_UNTIL(f, unit(f)->decision.action == GOVERNOR_SET);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 0);
}

static void test_a_predecessors_setting_is_given_back_if_no_worker_comes(void **state)
{
	struct fixture *f = *state;

	start_adopted(f);
	RUN_UNTIL(f, unit(f)->claim == UNIT_FREE);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 1);
}

static void test_a_predecessors_setting_on_a_card_in_trouble_is_given_back_at_once(void **state)
{
	struct fixture *f = *state;
	uint32_t sets;

	start_adopted(f);
	RUN_UNTIL(f, !unit(f)->in_flight);
	sets = f->actuator.counts[ACTUATOR_SET];
	unit_event(unit(f), CARD_EVENT_RESET);
	assert_true(unit_left_alone(unit(f)));
	RUN_UNTIL(f, unit(f)->claim == UNIT_FREE);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], sets);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 1);
}

/* As many models take to derive; the loop's time stands still meanwhile. */
static int reload_for_long(sd_event_source *s _unused_, void *userdata)
{
	struct fixture *f = userdata;
	uint64_t until_ns = monotonic_ns() + 2100 * NSEC_PER_MSEC;

	while (monotonic_ns() < until_ns)
		;
	reload(f, STANDARD);
	return 0;
}

static void test_a_reload_that_takes_long_does_not_lose_the_actuator(void **state)
{
	struct fixture *f = *state;
	sd_event_source *busy = NULL;
	uint32_t lists;

	start_claimed(f, STANDARD);
	lists = f->actuator.counts[ACTUATOR_LIST];
	assert_true(sd_event_add_defer(f->manager->event, &busy, reload_for_long, f) >= 0);
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_LIST] > lists);
	run_decisions(f, 3);
	sd_event_source_unref(busy);
	assert_int_equal(f->manager->actuator_error, 0);
	assert_int_equal(unit(f)->claim, UNIT_CLAIMED);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
	assert_int_equal(f->actuator.counts[ACTUATOR_LIST], lists + 1);
}

static void test_reloads_without_a_pause_put_off_no_tick(void **state)
{
	struct fixture *f = *state;
	uint64_t decisions;

	start_claimed(f, STANDARD);
	decisions = unit(f)->decision.number;
	/* Each comes sooner than an interval after the last. */
	RUN_UNTIL(f, (reload(f, STANDARD), unit(f)->decision.number >= decisions + 10));
	assert_int_equal(unit(f)->claim, UNIT_CLAIMED);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 1);
}

static void test_a_term_signal_gives_the_card_back_and_exits(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	assert_true(raise(SIGTERM) == 0);
	RUN_UNTIL(f, f->exited);
	assert_int_equal(f->exit_code, 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 1);
}

static void test_a_stop_does_not_wait_for_a_dead_actuator(void **state)
{
	struct fixture *f = *state;

	start_claimed(f, STANDARD);
	f->actuator.mute = true;
	assert_true(raise(SIGTERM) == 0);
	RUN_UNTIL(f, f->exited);
	assert_int_equal(f->exit_code, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_bad_reload_keeps_everything),
		CASE(test_a_reload_that_disables_a_card_gives_it_back),
		CASE(test_a_reload_to_observe_gives_the_card_back),
		CASE(test_a_reload_without_the_model_hangs_its_workers_up),
		CASE(test_a_predecessors_setting_is_held_until_its_workers_are_back),
		CASE(test_a_predecessors_setting_is_given_back_if_no_worker_comes),
		CASE(test_a_predecessors_setting_on_a_card_in_trouble_is_given_back_at_once),
		CASE(test_a_reload_that_takes_long_does_not_lose_the_actuator),
		CASE(test_reloads_without_a_pause_put_off_no_tick),
		CASE(test_a_term_signal_gives_the_card_back_and_exits),
		CASE(test_a_stop_does_not_wait_for_a_dead_actuator),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
