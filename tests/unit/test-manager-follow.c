/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(): masks published, acknowledged, shown and taken back. */
#include "test-manager-fixture.h"

#include "daemon/status.h"
#include <errno.h>
#include <jansson.h>
#include <math.h>

#define MASK_GPU GPU "gating = cu\n"
/* Without a guard, which would answer a request in danger by the whole card. */
#define MASK_MODEL MODEL "policy = resource\n"
#define MASKED	   DAEMON MASK_GPU MASK_MODEL

static int apply_mask(void *userdata, const struct cofris_directive *d)
{
	struct fixture *f = userdata;
	int answer = f->applies;

	if (answer < 0)
		return answer;
	f->mask_bits = d->cu_mask_bits;
	f->mask_word = d->cu_mask[0];
	return answer;
}

static struct cofris_channel *open_follower_that(struct fixture *f, uint32_t reports)
{
	struct cofris_channel *worker;
	char path[128];
	struct cofris_options options = {
		.size = sizeof(options),
		.model = "resnet50",
		.instance = "follower",
		.socket_path = path,
		.slots = 1,
		.devices = both_cards,
		.n_devices = 1,
		.follows = COFRIS_FOLLOWS_CU_MASK,
		.reports = reports,
		.apply = apply_mask,
		.userdata = f,
	};

	(void)snprintf(path, sizeof(path), "%s/worker.sock", f->root);
	assert_int_equal(cofris_open(&options, &worker), 0);
	return worker;
}

static struct cofris_channel *open_follower(struct fixture *f)
{
	return open_follower_that(f, 0);
}

static void start_follower(struct fixture *f, const char *config, int applies)
{
	f->mask_surface = true;
	f->applies = applies;
	start(f, config);
	f->worker = open_follower(f);
}

/* A value of the document below gpus[0], the path in jansson's words; the caller decrefs. */
static json_t *shown(struct fixture *f, const char *list, size_t index, const char *key)
{
	_cleanup_(freep) char *text = status_json(f->manager);
	json_t *root, *value;

	assert_non_null(text);
	root = json_loads(text, 0, NULL);
	assert_non_null(root);
	value = json_object_get(json_array_get(json_object_get(root, "gpus"), 0), list);
	value = json_incref(json_object_get(json_array_get(value, index), key));
	json_decref(root);
	return value;
}

static bool shows_text(struct fixture *f, const char *list, size_t index, const char *key,
		       const char *expected)
{
	json_t *value = shown(f, list, index, key);
	const char *text = json_string_value(value);
	bool same = expected ? text && strcmp(text, expected) == 0 : json_is_null(value);

	json_decref(value);
	return same;
}

static bool shows_alone(struct fixture *f, size_t worker, const char *expected)
{
	return shows_text(f, "worker_list", worker, "clock_alone", expected);
}

/* CUs of a worker's wanted or acknowledged directive; -1 for none. */
static json_int_t shown_cus(struct fixture *f, size_t worker, const char *which)
{
	json_t *value = shown(f, "worker_list", worker, which);
	json_int_t cus =
		json_is_object(value) ? json_integer_value(json_object_get(value, "cus")) : -1;

	json_decref(value);
	return cus;
}

/* Whether status and table say that the clock-alone table is in force, and the power is its. */
static bool by_clock_alone(struct fixture *f)
{
	const struct model_table *tables = &unit(f)->plan->tables[0];
	const struct governor_decision *d = &unit(f)->decision;
	_cleanup_(freep) char *text = status_table_json(f->manager, "resnet50");
	json_t *root = json_loads(text, 0, NULL), *table, *value;
	bool shown_alone = d->models[0].clock_alone;

	table = json_array_get(json_object_get(root, "tables"), 0);
	assert_int_equal(json_is_true(json_object_get(table, "clock_alone")), shown_alone);
	assert_int_equal(
		json_integer_value(
			json_object_get(json_array_get(json_object_get(table, "rows"), 0), "cus")),
		cu_shape_cus((shown_alone ? tables->clock_table : tables->table)->rows[0].shape));
	json_decref(root);
	value = shown(f, "models", 0, "clock_alone");
	assert_int_equal(json_is_true(value), shown_alone);
	json_decref(value);
	if (shown_alone && d->models[0].row < UINT32_MAX)
		assert_true(d->predicted_power_w ==
			    tables->clock_table->rows[d->models[0].row].power_w);
	return shown_alone;
}

static void test_a_mask_is_published_acknowledged_and_shown(void **state)
{
	struct fixture *f = *state;
	json_t *wanted, *acknowledged, *value;

	start_follower(f, MASKED, 3);
	RUN_UNTIL(f, shown_cus(f, 0, "acknowledged") == 30);
	assert_int_equal(f->mask_bits, 60);
	assert_int_equal(f->mask_word, 0x33333333);
	wanted = shown(f, "worker_list", 0, "wanted");
	acknowledged = shown(f, "worker_list", 0, "acknowledged");
	assert_true(json_equal(wanted, acknowledged));
	assert_string_equal(json_string_value(json_object_get(wanted, "shape")), "2x15");
	value = json_object_get(wanted, "mask");
	assert_int_equal(json_array_size(value), 2);
	assert_string_equal(json_string_value(json_array_get(value, 0)), "0x33333333");
	assert_string_equal(json_string_value(json_array_get(value, 1)), "0x03333333");
	json_decref(wanted);
	json_decref(acknowledged);
	value = shown(f, "worker_list", 0, "queues_changed");
	assert_int_equal(json_integer_value(value), 3);
	json_decref(value);
	value = shown(f, "worker_list", 0, "pid");
	assert_int_equal(json_integer_value(value), getpid());
	json_decref(value);
	assert_true(shows_text(f, "worker_list", 0, "model", "resnet50"));
	assert_true(shows_text(f, "worker_list", 0, "instance", "follower"));
	assert_true(shows_alone(f, 0, NULL));
	assert_false(by_clock_alone(f));
	assert_true(shows_text(f, "models", 0, "masks_off", NULL));
	assert_true(unit_model_acknowledged(unit(f), 0));
	/* Clock and CUs are the policy's: the clock stays. */
	assert_int_equal(f->actuator.last_set.max_mhz, 1725);
}

/* As libcofris-hsa.so in a process that nobody counts for, and then that counts for itself. */
static void test_a_follower_alone_is_missing_input_and_no_zero_demand(void **state)
{
	struct fixture *f = *state;
	struct cofris_channel *counting;
	json_t *value;

	f->mask_surface = true;
	f->applies = 1;
	start(f, MASKED);
	f->worker = open_follower_that(f, COFRIS_REPORTS_NO_REQUESTS);
	RUN_UNTIL(f, unit(f) && unit(f)->decided &&
			     unit(f)->input.models[0].state == GOVERNOR_INPUT_MISSING);
	run_decisions(f, 5);
	assert_int_equal(unit(f)->input.models[0].state, GOVERNOR_INPUT_MISSING);
	assert_int_equal(unit(f)->input.models[0].workers, 1);
	assert_true(shows_text(f, "models", 0, "input", "missing-input"));
	assert_int_equal(shown_cus(f, 0, "wanted"), 60);

	counting = open_worker(f, both_cards, 1);
	RUN_UNTIL(f, unit(f)->input.models[0].state == GOVERNOR_INPUT_OK);
	assert_int_equal(unit(f)->input.models[0].workers, 1);
	/* One process, so the follower's masks are those of the queues that serve. */
	RUN_UNTIL(f, shown_cus(f, 0, "acknowledged") == 30);
	assert_true(unit(f)->input.models[0].mask_follows);
	/* What only counts has no CUs to show. */
	value = shown(f, "worker_list", 1, "wanted");
	assert_true(json_integer_value(json_object_get(value, "epoch")) > 0);
	assert_true(json_is_null(json_object_get(value, "cus")));
	assert_true(json_is_null(json_object_get(value, "shape")));
	json_decref(value);
	assert_int_equal(unit(f)->input.models[0].state, GOVERNOR_INPUT_OK);
	cofris_close(counting);
	RUN_UNTIL(f, unit(f)->input.models[0].state == GOVERNOR_INPUT_MISSING);
	RUN_UNTIL(f, shown_cus(f, 0, "acknowledged") == 60);
}

static void test_a_worker_that_never_acknowledges_is_governed_by_clock_alone(void **state)
{
	struct fixture *f = *state;

	start_follower(f, MASKED, -EIO);
	RUN_UNTIL(f, shown_cus(f, 0, "wanted") == 30);
	assert_int_equal(shown_cus(f, 0, "acknowledged"), -1);
	RUN_UNTIL(f, shows_alone(f, 0, "has not acknowledged 3 times"));
	/* All CUs are wanted for it from then on, and nothing is awaited of it. */
	RUN_UNTIL(f, shown_cus(f, 0, "wanted") == 60);
	run_decisions(f, 5);
	assert_int_equal(shown_cus(f, 0, "wanted"), 60);
	assert_int_equal(shown_cus(f, 0, "acknowledged"), -1);
	assert_int_equal(cu_shape_cus(unit(f)->decision.models[0].shape), 0);
	/* It has confirmed no mask, so it is under none. */
	assert_true(by_clock_alone(f));
}

/* Under a mask that it confirmed before it fell silent it may be still. */
static void test_one_that_falls_silent_under_a_mask_keeps_the_clock_that_goes_with_it(void **state)
{
	struct fixture *f = *state;

	start_follower(f, MASKED, 1);
	RUN_UNTIL(f, shown_cus(f, 0, "acknowledged") == 30);
	f->applies = -EIO;
	/* More than half the card can serve. */
	for (unsigned int i = 0; i < 30; i++)
		(void)cofris_begin(f->worker, 1);
	RUN_UNTIL(f, shows_alone(f, 0, "has not acknowledged 3 times"));
	RUN_UNTIL(f, unit(f)->input.models[0].mask_unknown &&
			     unit(f)->decision.models[0].row < UINT32_MAX);
	assert_false(unit(f)->input.models[0].mask_follows);
	assert_false(unit(f)->decision.models[0].clock_alone);
	assert_int_equal(cu_shape_cus(unit(f)->decision.models[0].shape), 0);
	assert_true(isnan(unit(f)->decision.predicted_power_w));
	assert_int_equal(shown_cus(f, 0, "acknowledged"), 30);
}

static void test_a_worker_that_follows_no_masks_is_governed_by_clock_alone(void **state)
{
	struct fixture *f = *state;

	f->mask_surface = true;
	start(f, MASKED);
	start_worker(f);
	RUN_UNTIL(f, unit(f) && unit(f)->decided && unit_workers(unit(f)) == 1);
	run_decisions(f, 5);
	assert_true(shows_alone(f, 0, "does not follow masks"));
	assert_int_equal(shown_cus(f, 0, "wanted"), 60);
	assert_int_equal(cu_shape_cus(unit(f)->decision.models[0].shape), 0);
	assert_true(by_clock_alone(f));
}

/* The counting connection and the one that masks the queues are of one process. */
static void test_a_process_is_masked_by_any_of_its_connections(void **state)
{
	struct fixture *f = *state;

	f->mask_surface = true;
	start(f, MASKED);
	start_worker(f);
	f->other_worker = open_follower(f);
	RUN_UNTIL(f, unit(f) && unit_workers(unit(f)) == 2);
	RUN_UNTIL(f, f->mask_bits == 60);
	assert_true(shows_alone(f, 0, NULL));
	assert_true(shows_alone(f, 1, NULL));
	/* The other one gone, nobody masks its queues. */
	f->other_worker = cofris_close(f->other_worker);
	RUN_UNTIL(f, unit_workers(unit(f)) == 1 && shows_alone(f, 0, "does not follow masks"));
}

/* Its HSA tool has the first card alone. */
static void test_a_process_is_masked_only_on_the_cards_where_it_follows(void **state)
{
	struct fixture *f = *state;
	const struct unit *first, *second;

	f->mask_surface = true;
	f->applies = 1;
	f->actuator.second = &f->second;
	start(f, MASKED "[gpu " OTHER_BDF "]\ngating = cu\n");
	RUN_UNTIL(f, f->manager->ready && unit(f) && TAILQ_NEXT(unit(f), entry));
	first = unit(f);
	second = TAILQ_NEXT(first, entry);
	f->worker = open_worker(f, both_cards, 2);
	/* Each connects on a thread of its own, and the status lists them as they came. */
	RUN_UNTIL(f, unit_workers(first) == 1 && unit_workers(second) == 1);
	f->other_worker = open_follower_that(f, COFRIS_REPORTS_NO_REQUESTS);
	RUN_UNTIL(f, unit_workers(first) == 2 && unit_workers(second) == 1 &&
			     first->input.models[0].mask_follows);
	run_decisions(f, 5);
	assert_true(first->input.models[0].mask_follows);
	assert_int_equal(second->input.models[0].workers, 1);
	assert_false(second->input.models[0].mask_follows);
	/* They are one clock group, so what the second needs the first has as well. */
	assert_int_equal(f->mask_bits, 0);
	assert_int_equal(shown_cus(f, 1, "wanted"), 60);
}

static void test_masks_switched_off_and_on_at_a_reload(void **state)
{
	struct fixture *f = *state;

	start_follower(f, MASKED "cu_mask = off\n", 1);
	RUN_UNTIL(f, unit(f) && unit(f)->decided && unit_workers(unit(f)) == 1);
	run_decisions(f, 5);
	assert_true(shows_alone(f, 0, "cu_mask = off"));
	assert_true(shows_text(f, "models", 0, "masks_off", "cu_mask = off"));
	assert_int_equal(f->mask_bits, 0);
	reload(f, MASKED);
	RUN_UNTIL(f, f->mask_bits == 60 && shows_alone(f, 0, NULL));
	reload(f, MASKED "cu_mask = off\n");
	RUN_UNTIL(f, f->mask_bits == 0 && shown_cus(f, 0, "acknowledged") == 60);
}

#define CLOCK_ALONE DAEMON MASK_GPU MODEL "policy = frequency\n"

/* Whether the limit has been lowered; fails if that was before the wider mask was confirmed, or
 * given up on. */
static bool lowered_after_widening(struct fixture *f)
{
	if (f->actuator.asked_set.max_mhz != 925)
		return false;
	assert_true(shown_cus(f, 0, "acknowledged") == 60 ||
		    shows_alone(f, 0, "has not acknowledged 3 times"));
	return true;
}

/* Likewise for a narrower mask and the higher limit. */
static bool narrowed_after_raising(struct fixture *f)
{
	if (shown_cus(f, 0, "wanted") != 30)
		return false;
	assert_int_equal(f->actuator.last_set.max_mhz, 1725);
	return true;
}

static void test_clock_and_masks_change_in_the_order_that_keeps_capacity(void **state)
{
	struct fixture *f = *state;

	start_follower(f, MASKED, 1);
	RUN_UNTIL(f, shown_cus(f, 0, "acknowledged") == 30);
	for (unsigned int i = 0; i < 3; i++) {
		reload(f, CLOCK_ALONE);
		RUN_UNTIL(f, lowered_after_widening(f));
		RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
		assert_int_equal(f->mask_bits, 0);
		reload(f, MASKED);
		RUN_UNTIL(f, narrowed_after_raising(f));
		RUN_UNTIL(f, shown_cus(f, 0, "acknowledged") == 30);
	}
	/* One that does not answer holds the lower clock up until it is given up on. */
	f->applies = -EIO;
	reload(f, CLOCK_ALONE);
	RUN_UNTIL(f, shown_cus(f, 0, "wanted") == 60);
	assert_int_equal(f->actuator.asked_set.max_mhz, 1725);
	RUN_UNTIL(f, lowered_after_widening(f));
	assert_true(shows_alone(f, 0, "has not acknowledged 3 times"));
	assert_int_equal(f->mask_bits, 60);
}

static void test_a_model_stalled_under_its_mask_has_all_cus_until_a_reload(void **state)
{
	static const char *const why = "stalled under a partial mask: off until reload";
	struct fixture *f = *state;

	start_follower(f, MASKED, 1);
	RUN_UNTIL(f, f->mask_bits == 60);
	(void)cofris_begin(f->worker, 1); /* and it never ends */
	RUN_UNTIL(f, unit(f)->input.models[0].in_flight == 1);
	run_decisions(f, 20);
	assert_false(f->manager->masks_stalled[0]);
	assert_int_equal(f->mask_bits, 60);
	RUN_UNTIL(f, f->manager->masks_stalled[0]);
	assert_true(unit(f)->input.models[0].in_flight == 1);
	RUN_UNTIL(f, f->mask_bits == 0 && shown_cus(f, 0, "acknowledged") == 60);
	assert_true(shows_alone(f, 0, why));
	assert_true(shows_text(f, "models", 0, "masks_off", why));
	run_decisions(f, 10);
	assert_int_equal(f->mask_bits, 0);
	reload(f, MASKED);
	RUN_UNTIL(f, f->mask_bits == 60 && shows_alone(f, 0, NULL));
}

static void test_what_is_modelled_is_called_so(void **state)
{
	struct fixture *f = *state;
	json_t *root, *table;

	for (unsigned int modelled = 0; modelled < 2; modelled++) {
		_cleanup_(freep) char *status = NULL, *text = NULL;

		if (modelled)
			reload(f, MASKED);
		else
			start(f, DAEMON GPU MASK_MODEL);
		RUN_UNTIL(f, unit(f) && unit(f)->plan && unit(f)->plan->tables[0].table);
		text = status_table_json(f->manager, "resnet50");
		root = json_loads(text, 0, NULL);
		table = json_array_get(json_object_get(root, "tables"), 0);
		assert_int_equal(json_is_true(json_object_get(table, "modelled")), modelled);
		assert_int_equal(json_is_true(json_object_get(
					 json_array_get(json_object_get(table, "rows"), 0),
					 "modelled")),
				 modelled);
		json_decref(root);
		status = status_json(f->manager);
		root = json_loads(status, 0, NULL);
		assert_int_equal(json_is_true(json_object_get(
					 json_array_get(json_object_get(root, "gpus"), 0),
					 "predicted_power_modelled")),
				 modelled);
		json_decref(root);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_mask_is_published_acknowledged_and_shown),
		CASE(test_a_follower_alone_is_missing_input_and_no_zero_demand),
		CASE(test_a_worker_that_never_acknowledges_is_governed_by_clock_alone),
		CASE(test_one_that_falls_silent_under_a_mask_keeps_the_clock_that_goes_with_it),
		CASE(test_a_worker_that_follows_no_masks_is_governed_by_clock_alone),
		CASE(test_a_process_is_masked_by_any_of_its_connections),
		CASE(test_a_process_is_masked_only_on_the_cards_where_it_follows),
		CASE(test_masks_switched_off_and_on_at_a_reload),
		CASE(test_clock_and_masks_change_in_the_order_that_keeps_capacity),
		CASE(test_a_model_stalled_under_its_mask_has_all_cus_until_a_reload),
		CASE(test_what_is_modelled_is_called_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
