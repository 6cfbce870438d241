/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(): what holds and pauses are to cards and workers, and what is left of
 * them after a restart. */
#include "test-manager-fixture.h"

#include "daemon/status.h"
#include <jansson.h>
#include <sys/stat.h>

/* A card that needs full speed for nothing. */
#define CALM DAEMON GPU MODEL PROMPT

static void keep_pauses(struct fixture *f)
{
	static char path[160];

	(void)snprintf(path, sizeof(path), "%s/daemon/pauses", f->root);
	f->options.pauses_file = path;
}

static uint32_t hold(struct fixture *f, enum hold_level level, const char *subject)
{
	struct hold h = {.level = level, .uid = 1000, .pid = 1, .comm = "test"};
	uint32_t cookie;

	(void)snprintf(h.subject, sizeof(h.subject), "%s", subject);
	assert_int_equal(manager_hold(f->manager, &h, &cookie), 0);
	return cookie;
}

static void release(struct fixture *f, uint32_t cookie)
{
	manager_release(f->manager, cookie, "was released");
}

static int keep(struct fixture *f, const char *gpu, uint64_t until_usec)
{
	struct pause p = {.since_usec = manager_wall_usec(f->manager), .until_usec = until_usec};

	(void)snprintf(p.gpu, sizeof(p.gpu), "%s", gpu);
	return manager_keep_pause(f->manager, &p);
}

static enum governor_reason reason(struct fixture *f)
{
	return unit(f)->decision.reason;
}

static json_t *status(struct fixture *f)
{
	_cleanup_(freep) char *text = status_json(f->manager);
	json_t *root = json_loads(text, 0, NULL);

	assert_non_null(root);
	return root;
}

static void restart(struct fixture *f)
{
	fake_unlisten(&f->actuator);
	f->manager = manager_free(f->manager);
	f->actuator.claimed = false;
	memset(f->actuator.counts, 0, sizeof(f->actuator.counts));
	start(f, CALM);
}

/* Neither a claim nor a setting over so many decisions. */
static void check_left_alone(struct fixture *f, uint32_t decisions)
{
	uint32_t claims = f->actuator.counts[ACTUATOR_CLAIM];
	uint32_t sets = f->actuator.counts[ACTUATOR_SET];

	run_decisions(f, decisions);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], claims);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], sets);
	assert_int_equal(unit(f)->claim, UNIT_FREE);
	assert_true(unit_is(unit(f), "yielding", "paused"));
}

static void test_a_pause_gives_the_card_back_and_leaves_it_alone(void **state)
{
	struct fixture *f = *state;
	uint64_t number, tick_ns;
	uint32_t cookie;

	start_governed(f, CALM);
	RUN_UNTIL(f, !unit(f)->input.early && sequence_settled(unit(f)->sequence));
	number = unit(f)->decision.number;
	tick_ns = f->manager->last_tick_ns;
	cookie = hold(f, HOLD_PAUSE, BDF);
	/* At once: without a turn of the loop, so without a tick. */
	assert_int_equal(unit(f)->decision.number, number + 1);
	assert_int_equal(reason(f), GOVERNOR_REASON_PAUSED);
	assert_int_equal(f->manager->last_tick_ns, tick_ns);
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_RELEASE] == 1 && unit(f)->claim == UNIT_FREE);
	check_left_alone(f, 5);
	assert_non_null(strstr(f->manager->status, "1 paused"));
	release(f, cookie);
	assert_int_not_equal(reason(f), GOVERNOR_REASON_PAUSED);
	RUN_UNTIL(f, f->actuator.claimed && f->actuator.last_set.max_mhz == 925);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 2);
}

static void test_the_strongest_order_wins(void **state)
{
	struct fixture *f = *state;
	uint32_t full, rated, paused;

	start_governed(f, CALM);
	rated = hold(f, HOLD_RATED, "*");
	assert_int_equal(reason(f), GOVERNOR_REASON_HELD_RATED);
	full = hold(f, HOLD_FULL_SPEED, "resnet50");
	assert_int_equal(reason(f), GOVERNOR_REASON_HOLD);
	assert_int_equal(unit(f)->decision.max_mhz, 1725);
	paused = hold(f, HOLD_PAUSE, "*");
	assert_int_equal(reason(f), GOVERNOR_REASON_PAUSED);
	assert_int_equal(unit(f)->decision.action, GOVERNOR_RELEASE);
	release(f, paused);
	assert_int_equal(reason(f), GOVERNOR_REASON_HOLD);
	release(f, full);
	assert_int_equal(reason(f), GOVERNOR_REASON_HELD_RATED);
	release(f, rated);
	assert_int_not_equal(reason(f), GOVERNOR_REASON_HELD_RATED);
}

static void test_a_hold_is_for_cards_that_its_model_has_a_worker_on(void **state)
{
	struct fixture *f = *state;
	uint32_t cookie;

	start_governed(f, DAEMON GPU MODEL PROMPT "[model other]\nslo = 100ms\n");
	cookie = hold(f, HOLD_FULL_SPEED, "other");
	run_decisions(f, 2);
	assert_int_not_equal(reason(f), GOVERNOR_REASON_HOLD);
	release(f, cookie);
	(void)hold(f, HOLD_FULL_SPEED, "resnet50");
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 1725);
	/* A worker that leaves takes nothing with it but its card. */
	f->worker = cofris_close(f->worker);
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_RELEASE] == 1);
	assert_int_equal(f->manager->holds.n, 1);
	start_worker(f);
	RUN_UNTIL(f, reason(f) == GOVERNOR_REASON_HOLD);
}

static void test_a_hold_outlives_a_reload_by_the_name_of_its_model(void **state)
{
	struct fixture *f = *state;

	start_governed(f, CALM);
	(void)hold(f, HOLD_FULL_SPEED, "resnet50");
	reload(f, DAEMON GPU "[model first]\nslo = 100ms\n" MODEL PROMPT);
	run_decisions(f, 2);
	assert_int_equal(reason(f), GOVERNOR_REASON_HOLD);
}

static void test_the_bus_takes_with_it_what_was_held_by_it(void **state)
{
	struct fixture *f = *state;

	start_governed(f, CALM);
	(void)hold(f, HOLD_FULL_SPEED, "*");
	(void)hold(f, HOLD_PAUSE, BDF);
	manager_release_holds(f->manager);
	assert_int_equal(f->manager->holds.n, 0);
	assert_int_not_equal(reason(f), GOVERNOR_REASON_PAUSED);
	assert_int_not_equal(reason(f), GOVERNOR_REASON_HOLD);
}

static void test_a_kept_pause_outlives_the_daemon_and_nothing_is_written(void **state)
{
	struct fixture *f = *state;

	keep_pauses(f);
	start_governed(f, CALM);
	assert_int_equal(keep(f, BDF, 0), 0);
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_RELEASE] == 1 && unit(f)->claim == UNIT_FREE);
	restart(f);
	RUN_UNTIL(f, unit(f) && unit(f)->plan && unit_workers(unit(f)) > 0);
	assert_true(unit_paused(unit(f)));
	check_left_alone(f, 5);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_RELEASE], 0);
	assert_int_equal(manager_resume(f->manager, BDF), 0);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
	restart(f);
	RUN_UNTIL(f, unit(f) && unit(f)->plan);
	assert_false(unit_paused(unit(f)));
}

static void test_resume_ends_every_pause_of_the_card(void **state)
{
	struct fixture *f = *state;

	keep_pauses(f);
	start_governed(f, CALM);
	(void)hold(f, HOLD_FULL_SPEED, "*");
	(void)hold(f, HOLD_PAUSE, BDF);
	(void)hold(f, HOLD_PAUSE, BDF);
	assert_int_equal(keep(f, BDF, 0), 0);
	assert_int_equal(manager_resume(f->manager, OTHER_BDF), 0);
	assert_true(unit_paused(unit(f)));
	assert_true(manager_has_pause_of(f->manager, BDF));
	assert_false(manager_has_pause_of(f->manager, "*"));
	assert_int_equal(manager_resume(f->manager, BDF), 0);
	assert_false(unit_paused(unit(f)));
	assert_int_equal(f->manager->holds.n, 1);
	(void)hold(f, HOLD_PAUSE, "*");
	(void)hold(f, HOLD_PAUSE, BDF);
	assert_int_equal(manager_resume(f->manager, "*"), 0);
	assert_int_equal(f->manager->holds.n, 1);
}

static void test_a_pause_ends_with_its_time(void **state)
{
	struct fixture *f = *state;
	uint64_t until_usec;
	json_t *root;
	double left_s;

	keep_pauses(f);
	start_governed(f, CALM);
	until_usec = manager_wall_usec(f->manager) + 700000;
	assert_int_equal(keep(f, "*", until_usec), 0);
	root = status(f);
	assert_int_equal(json_unpack(root, "{s:[{s:f}!]}", "pauses", "left_s", &left_s), 0);
	assert_true(left_s > 0 && left_s <= 0.7);
	json_decref(root);
	RUN_UNTIL(f, !unit_paused(unit(f)));
	assert_true(manager_wall_usec(f->manager) >= until_usec);
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_CLAIM] == 2);
	/* It has also gone from the file. */
	restart(f);
	assert_int_equal(f->manager->pauses.n, 0);
}

static void test_what_was_over_before_the_start_pauses_nothing(void **state)
{
	struct fixture *f = *state;
	struct pauses p = {.n = 2, .entries = {{BDF, 0, 1, 2, "over"}, {"*", 0, 1, 0, "not over"}}};

	keep_pauses(f);
	assert_int_equal(pauses_save(f->options.pauses_file, &p), 0);
	start(f, CALM);
	assert_int_equal(f->manager->pauses.n, 1);
	assert_string_equal(f->manager->pauses.entries[0].reason, "not over");
}

/* end: of the text; NULL: there is none. */
static void check_pauses_error(const struct fixture *f, const char *end)
{
	_cleanup_(freep) char *text = status_json(f->manager);
	json_t *root = json_loads(text, 0, NULL), *error = json_object_get(root, "pauses_error");

	assert_non_null(error);
	assert_int_equal(json_is_null(error), !end);
	if (end)
		assert_non_null(strstr(json_string_value(error), end));
	json_decref(root);
}

static void test_a_file_that_is_not_believed_is_set_aside(void **state)
{
	struct fixture *f = *state;
	char aside[176];
	struct stat st;

	keep_pauses(f);
	(void)snprintf(aside, sizeof(aside), "%s/daemon", f->root);
	assert_int_equal(mkdir(aside, 0700), 0);
	write_text(f->options.pauses_file, "cofris-pauses 1\n* 0 1 0 good\n* 0 1 0 twice\n");
	start(f, CALM);
	assert_int_equal(f->manager->pauses.n, 0);
	assert_int_equal(stat(f->options.pauses_file, &st), -1);
	(void)snprintf(aside, sizeof(aside), "%s.bad", f->options.pauses_file);
	assert_int_equal(stat(aside, &st), 0);
	/* The status says so until pauses are ordered anew. */
	check_pauses_error(f, "/daemon/pauses:3: no line of a pause");
	assert_int_equal(manager_resume(f->manager, BDF), 0);
	check_pauses_error(f, NULL);
	assert_int_equal(rename(aside, f->options.pauses_file), 0);
	restart(f);
	check_pauses_error(f, "/daemon/pauses:3: no line of a pause");
	assert_int_equal(keep(f, "*", 0), 0);
	check_pauses_error(f, NULL);
	restart(f);
	assert_int_equal(f->manager->pauses.n, 1);
	check_pauses_error(f, NULL);
}

/* A pause that would be forgotten is none, and one that cannot be forgotten goes on. */
static void test_what_cannot_be_written_is_not_so(void **state)
{
	struct fixture *f = *state;
	char folder[160];

	start_governed(f, CALM);
	assert_int_equal(keep(f, BDF, 0), -ENOENT);
	assert_false(unit_paused(unit(f)));
	keep_pauses(f);
	f->manager->options.pauses_file = f->options.pauses_file;
	assert_int_equal(keep(f, BDF, 0), 0);
	/* Even root cannot make a file in what is no folder. */
	(void)snprintf(folder, sizeof(folder), "%s/daemon", f->root);
	assert_int_equal(unlink(f->options.pauses_file), 0);
	assert_int_equal(rmdir(folder), 0);
	write_text(folder, "");
	assert_int_equal(manager_resume(f->manager, BDF), -ENOTDIR);
	assert_true(unit_paused(unit(f)));
	assert_int_equal(keep(f, "*", 0), -ENOTDIR);
	assert_int_equal(f->manager->pauses.n, 1);
}

static void test_the_status_tells_of_orders(void **state)
{
	struct fixture *f = *state;
	const char *model, *level, *gpu;
	json_t *root;
	int cookie, uid, persistent;

	keep_pauses(f);
	start_governed(f, CALM);
	(void)hold(f, HOLD_RATED, "resnet50");
	assert_int_equal(keep(f, BDF, 0), 0);
	(void)hold(f, HOLD_PAUSE, "*");
	root = status(f);
	assert_int_equal(json_unpack(root, "{s:[{s:i, s:s, s:s, s:i, s:i, s:s}!]}", "holds",
				     "cookie", &cookie, "model", &model, "level", &level, "uid",
				     &uid, "pid", &(int){0}, "comm", &gpu),
			 0);
	assert_string_equal(model, "resnet50");
	assert_string_equal(level, "rated");
	assert_int_equal(uid, 1000);
	assert_string_equal(gpu, "test");
	assert_int_equal(json_array_size(json_object_get(root, "pauses")), 2);
	assert_int_equal(json_unpack(root, "{s:[{s:s, s:b, s:n}, {s:s, s:b, s:i}]}", "pauses",
				     "gpu", &gpu, "persistent", &persistent, "left_s", "gpu",
				     &model, "persistent", &uid, "cookie", &cookie),
			 0);
	assert_string_equal(gpu, BDF);
	assert_true(persistent);
	assert_string_equal(model, "*");
	assert_false(uid);
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_pause_gives_the_card_back_and_leaves_it_alone),
		CASE(test_the_strongest_order_wins),
		CASE(test_a_hold_is_for_cards_that_its_model_has_a_worker_on),
		CASE(test_a_hold_outlives_a_reload_by_the_name_of_its_model),
		CASE(test_the_bus_takes_with_it_what_was_held_by_it),
		CASE(test_a_kept_pause_outlives_the_daemon_and_nothing_is_written),
		CASE(test_resume_ends_every_pause_of_the_card),
		CASE(test_a_pause_ends_with_its_time),
		CASE(test_what_was_over_before_the_start_pauses_nothing),
		CASE(test_a_file_that_is_not_believed_is_set_aside),
		CASE(test_what_cannot_be_written_is_not_so),
		CASE(test_the_status_tells_of_orders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
