/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(): the documents that say why. */
#include "test-manager-fixture.h"

#include "daemon/status.h"
#include <jansson.h>
#include <math.h>
#include <string.h>

static json_t *load(char *text)
{
	json_t *root;

	assert_non_null(text);
	root = json_loads(text, 0, NULL);
	free(text);
	assert_non_null(root);
	assert_int_equal(json_integer_value(json_object_get(root, "schema")), STATUS_SCHEMA);
	return root;
}

static json_t *explain(struct fixture *f, uint32_t model, double rps)
{
	return load(status_explain_json(f->manager, NULL, model, rps));
}

static json_t *gpu_of(json_t *root)
{
	return json_array_get(json_object_get(root, "gpus"), 0);
}

static json_t *model_of(json_t *root)
{
	return json_array_get(json_object_get(gpu_of(root), "models"), 0);
}

static const char *text(json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static uint32_t chosen(json_t *model)
{
	json_t *candidate;
	uint32_t n = 0;
	size_t i;

	json_array_foreach(json_object_get(model, "candidates"), i, candidate) n +=
		strcmp(text(candidate, "verdict"), "chosen") == 0;
	return n;
}

static void test_the_present_is_what_is_in_force(void **state)
{
	struct fixture *f = *state;
	json_t *root, *model, *in_force;

	start_governed(f, STANDARD);
	root = explain(f, UINT32_MAX, NAN);
	model = model_of(root);
	assert_true(json_is_null(json_object_get(root, "rps")));
	assert_string_equal(text(gpu_of(root), "bdf"), BDF);
	assert_true(json_is_number(json_object_get(gpu_of(root), "since_s")));
	assert_string_equal(text(model, "name"), "resnet50");
	assert_string_equal(text(model, "from"), "menu");
	assert_int_equal(chosen(model), 1);
	in_force = json_object_get(model, "in_force");
	assert_int_equal(json_integer_value(json_object_get(in_force, "max_mhz")),
			 unit(f)->decision.max_mhz);
	assert_string_equal(text(in_force, "reason"),
			    governor_reason_name(unit(f)->decision.models[0].reason));
	assert_true(json_number_value(json_object_get(model, "slo_ms")) == 100);
	json_decref(root);
}

static void test_another_demand_is_planned_for_without_a_worker(void **state)
{
	struct fixture *f = *state;
	json_t *root, *model;

	start(f, STANDARD);
	RUN_UNTIL(f, f->manager->cards_known && unit(f) && unit(f)->plan);
	/* Nobody is there to explain. */
	root = explain(f, UINT32_MAX, NAN);
	assert_int_equal(json_array_size(json_object_get(gpu_of(root), "models")), 0);
	json_decref(root);
	root = explain(f, 0, 1);
	model = model_of(root);
	assert_true(json_is_true(json_object_get(model, "worker_presumed")));
	assert_true(json_is_true(json_object_get(model, "what_if")));
	assert_true(json_number_value(json_object_get(model, "demand_rps")) == 1);
	assert_int_equal(chosen(model), 1);
	json_decref(root);
	root = explain(f, 0, 1e9);
	assert_string_equal(text(json_object_get(model_of(root), "choice"), "reason"), "overload");
	json_decref(root);
	/* And nothing has come of it. */
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
}

static void test_the_last_decisions_come_in_order(void **state)
{
	struct fixture *f = *state;
	json_t *root, *decisions, *first, *last;

	start_governed(f, STANDARD);
	run_decisions(f, 3);
	root = load(status_decisions_json(f->manager, unit(f), UINT32_MAX, 3));
	decisions = json_object_get(gpu_of(root), "decisions");
	assert_int_equal(json_array_size(decisions), 3);
	first = json_array_get(decisions, 0);
	last = json_array_get(decisions, 2);
	assert_int_equal(json_integer_value(json_object_get(last, "number")),
			 unit(f)->decision.number);
	assert_int_equal(json_integer_value(json_object_get(first, "number")),
			 unit(f)->decision.number - 2);
	assert_true(json_number_value(json_object_get(first, "age_s")) >
		    json_number_value(json_object_get(last, "age_s")));
	assert_string_equal(text(last, "reason"), governor_reason_name(unit(f)->decision.reason));
	assert_string_equal(text(json_array_get(json_object_get(last, "models"), 0), "name"),
			    "resnet50");
	json_decref(root);
	/* Of another model there is nothing, and there are never more than there were. */
	root = load(status_decisions_json(f->manager, NULL, 1, STATUS_MAX_DECISIONS));
	decisions = json_object_get(gpu_of(root), "decisions");
	assert_int_equal(json_array_size(decisions), unit(f)->decision.number);
	last = json_array_get(decisions, json_array_size(decisions) - 1);
	assert_int_equal(json_array_size(json_object_get(last, "models")), 0);
	json_decref(root);
}

/* Whoever asks for all of them holds up the loop no longer than for so many. */
static void test_one_answer_has_room_for_so_many_decisions(void **state)
{
	struct fixture *f = *state;
	struct governor_decision d = {0};
	struct governor_input in = {0};
	json_t *root, *decisions;

	start(f, STANDARD "[model vgg19]\n");
	RUN_UNTIL(f, unit(f) && unit(f)->plan);
	in.models[0].state = in.models[1].state = GOVERNOR_INPUT_OK;
	for (uint32_t i = 0; i < 2 * STATUS_MAX_DECISIONS; i++) {
		d.number = i;
		ring_push(unit(f)->plan->ring, &in, &d);
	}
	root = load(status_decisions_json(f->manager, NULL, UINT32_MAX, STATUS_MAX_DECISIONS));
	decisions = json_object_get(gpu_of(root), "decisions");
	assert_int_equal(json_array_size(decisions), STATUS_MAX_DECISIONS / 2);
	assert_int_equal(json_integer_value(json_object_get(
				 json_array_get(decisions, STATUS_MAX_DECISIONS / 2 - 1),
				 "number")),
			 2 * STATUS_MAX_DECISIONS - 1);
	json_decref(root);
	/* About one model there is room for twice as many. */
	root = load(status_decisions_json(f->manager, NULL, 1, STATUS_MAX_DECISIONS));
	decisions = json_object_get(gpu_of(root), "decisions");
	assert_int_equal(json_array_size(decisions), STATUS_MAX_DECISIONS);
	json_decref(root);
}

/* The old plan's input is not read by the new plan's models. */
static void test_a_reload_with_other_models(void **state)
{
	struct fixture *f = *state;
	json_t *root;

	start_governed(f, STANDARD);
	reload(f, DAEMON GPU "[model other]\nslo = 100ms\n" MODEL);
	root = explain(f, 1, 1);
	assert_string_equal(text(model_of(root), "name"), "resnet50");
	assert_int_equal(chosen(model_of(root)), 1);
	json_decref(root);
	run_decisions(f, 2);
	root = explain(f, UINT32_MAX, NAN);
	assert_string_equal(text(model_of(root), "name"), "resnet50");
	json_decref(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_the_present_is_what_is_in_force),
		CASE(test_another_demand_is_planned_for_without_a_worker),
		CASE(test_the_last_decisions_come_in_order),
		CASE(test_one_answer_has_room_for_so_many_decisions),
		CASE(test_a_reload_with_other_models),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
