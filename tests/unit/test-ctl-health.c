/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts on status documents. */
#include "base/macros.h"
#include "ctl/health.h"
#include "support/cmocka-includes.h"
#include <string.h>

#define BDF "0000:43:00.0"

static json_t *parse(const char *text)
{
	json_error_t error;
	json_t *root = json_loads(text, 0, &error);

	if (!root)
		fail_msg("%s: %s", text, error.text);
	return root;
}

/* Over a document in which all is well; each is "{}" or what differs, of one card and one model. */
static json_t *status_with(const char *daemon, const char *gpu, const char *model)
{
	json_t *status =
		parse("{\"schema\": 1, \"actuator\": \"connected\", \"config_error\": null,"
		      " \"simulated\": false, \"pauses\": [], \"holds\": []}");
	json_t *card =
		parse("{\"bdf\": \"" BDF "\", \"state\": \"governed\", \"state_reason\": \"\","
		      " \"flags\": [], \"verified\": \"verified\", \"worker_list\": []}");
	json_t *m = parse("{\"name\": \"vgg19\", \"workers\": 1, \"input\": \"ok\","
			  " \"table_error\": null, \"masks_off\": null, \"stale\": [],"
			  " \"percentile\": 99, \"slo_ms\": 20.0, \"tail_ms\": 12.5,"
			  " \"reason\": \"demand\"}");
	json_t *differs;

	differs = parse(model);
	(void)json_object_update(m, differs);
	json_decref(differs);
	differs = parse(gpu);
	(void)json_object_set_new(card, "models", json_pack("[o]", m));
	(void)json_object_update(card, differs);
	json_decref(differs);
	differs = parse(daemon);
	(void)json_object_set_new(status, "gpus", json_pack("[o]", card));
	(void)json_object_update(status, differs);
	json_decref(differs);
	return status;
}

static void test_each_trouble_has_its_verdict(void **state _unused_)
{
	static const struct {
		const char *daemon, *gpu, *model;
		enum health verdict;
		const char *text; /* of the first reason; NULL: there is none */
	} cases[] = {
		{"{}", "{}", "{}", HEALTH_GOOD, NULL},
		{"{\"actuator\": \"Connection refused\"}", "{}", "{}", HEALTH_CRITICAL,
		 "no actuator: Connection refused"},
		{"{\"config_error\": \"/etc/cofris.conf:3: bad\"}", "{}", "{}", HEALTH_WARNING,
		 "configuration not loaded: /etc/cofris.conf:3: bad"},
		{"{\"pauses\": [{\"gpu\": \"*\", \"uid\": 0, \"reason\": \"fan\"}]}", "{}", "{}",
		 HEALTH_WARNING, "paused: * by uid 0: fan"},
		{"{\"pauses_error\": \"/x/pauses:2: no line of a pause\"}", "{}", "{}",
		 HEALTH_WARNING, "pauses are lost: /x/pauses:2: no line of a pause"},
		{"{\"pauses_error\": null}", "{}", "{}", HEALTH_GOOD, NULL},
		/* An operator asked for speed: nothing is wrong. */
		{"{\"holds\": [{\"model\": \"*\", \"uid\": 0}]}", "{}", "{}", HEALTH_GOOD, NULL},
		{"{\"gpus\": []}", "{}", "{}", HEALTH_GOOD, NULL},
		{"{}", "{\"state_reason\": \"idle\"}", "{}", HEALTH_GOOD, NULL},
		{"{}", "{\"state\": \"probing\"}", "{}", HEALTH_GOOD, NULL},
		{"{}", "{\"state\": \"yielding\", \"state_reason\": \"observe\"}", "{}",
		 HEALTH_GOOD, NULL},
		{"{}", "{\"state\": \"yielding\", \"state_reason\": \"paused\"}", "{}",
		 HEALTH_WARNING, "yielding: paused"},
		{"{}", "{\"state\": \"held-by-other\", \"state_reason\": \"manual\"}", "{}",
		 HEALTH_WARNING, "held-by-other: manual"},
		{"{}", "{\"state\": \"degraded\", \"state_reason\": \"foreign-load\"}", "{}",
		 HEALTH_WARNING, "degraded: foreign-load"},
		{"{}", "{\"state\": \"degraded\", \"state_reason\": \"ras\"}", "{}",
		 HEALTH_CRITICAL, "degraded: ras"},
		{"{}", "{\"state\": \"absent\"}", "{}", HEALTH_CRITICAL, "absent"},
		{"{}", "{\"state\": \"quarantined\", \"state_reason\": \"reset\", \"retry_s\": 8}",
		 "{}", HEALTH_CRITICAL, "quarantined: reset, tried again in 8 s"},
		{"{}", "{\"state\": \"of-tomorrow\"}", "{}", HEALTH_WARNING, "of-tomorrow"},
		{"{}", "{\"flags\": [\"adopted\", \"throttled\"]}", "{}", HEALTH_WARNING,
		 "throttled"},
		{"{}", "{\"flags\": [\"foreign-load\"]}", "{}", HEALTH_WARNING, "foreign-load"},
		{"{}", "{\"flags\": [\"adopted\"]}", "{}", HEALTH_GOOD, NULL},
		{"{}", "{\"verified\": \"drift\"}", "{}", HEALTH_WARNING,
		 "its clock is not as set"},
		{"{}",
		 "{\"worker_list\": [{\"instance\": \"a\", \"pid\": 7, \"doubt\": \"does not "
		 "report\"}]}",
		 "{}", HEALTH_WARNING, "worker a (pid 7) is not believed: does not report"},
		{"{}", "{\"worker_list\": [{\"instance\": \"a\", \"pid\": 7, \"doubt\": null}]}",
		 "{}", HEALTH_GOOD, NULL},
		{"{}", "{}", "{\"table_error\": \"no surface\"}", HEALTH_WARNING,
		 "full speed, no table: no surface"},
		/* Nobody needs it. */
		{"{}", "{}", "{\"table_error\": \"no surface\", \"workers\": 0}", HEALTH_GOOD,
		 NULL},
		{"{}", "{}", "{\"input\": \"missing-input\"}", HEALTH_WARNING,
		 "its workers do not report"},
		{"{}", "{}", "{\"masks_off\": \"cu_mask = off\"}", HEALTH_GOOD, NULL},
		{"{}", "{}", "{\"masks_off\": \"stalled under a partial mask: off until reload\"}",
		 HEALTH_WARNING, "no masks: stalled under a partial mask: off until reload"},
		{"{}", "{}", "{\"stale\": [\"power\"]}", HEALTH_WARNING, "stale profile: power"},
		{"{}", "{}", "{\"reason\": \"overload\", \"tail_ms\": 90}", HEALTH_WARNING,
		 "more requests than it can serve in time"},
		{"{}", "{}", "{\"tail_ms\": 24.9}", HEALTH_GOOD, NULL},
		{"{}", "{}", "{\"tail_ms\": 25.1}", HEALTH_WARNING,
		 "p99 is 25.1 ms, the objective 20 ms"},
		{"{}", "{}", "{\"tail_ms\": null}", HEALTH_GOOD, NULL},
		/* The worst stands first. */
		{"{\"config_error\": \"x\"}", "{\"state\": \"absent\"}", "{}", HEALTH_CRITICAL,
		 "absent"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		json_t *status = status_with(cases[i].daemon, cases[i].gpu, cases[i].model);
		json_t *document = health_document(status);
		const json_t *first = json_array_get(json_object_get(document, "reasons"), 0);
		const char *text = json_string_value(json_object_get(first, "text"));

		assert_int_equal(json_integer_value(json_object_get(document, "schema")), 1);
		if (health_of(document) != cases[i].verdict || !text != !cases[i].text ||
		    (text && strcmp(text, cases[i].text) != 0))
			fail_msg("case %zu: verdict %d, %s", i, (int)health_of(document),
				 text ? text : "no reason");
		json_decref(document);
		json_decref(status);
	}
}

static void test_a_reason_names_card_and_model(void **state _unused_)
{
	json_t *status = status_with("{}", "{}", "{\"stale\": [\"power\"]}");
	json_t *document = health_document(status);
	const json_t *reason = json_array_get(json_object_get(document, "reasons"), 0);

	assert_string_equal(json_string_value(json_object_get(reason, "gpu")), BDF);
	assert_string_equal(json_string_value(json_object_get(reason, "model")), "vgg19");
	assert_string_equal(json_string_value(json_object_get(reason, "severity")), "warning");
	assert_string_equal(json_string_value(json_object_get(document, "summary")),
			    "1 card governed");
	json_decref(document);
	json_decref(status);
}

/* A daemon of another version may say anything. */
static void test_documents_of_other_types_are_survived(void **state _unused_)
{
	static const char *const documents[] = {
		"{}",
		"{\"gpus\": 1, \"pauses\": \"x\", \"actuator\": 3, \"config_error\": []}",
		"{\"gpus\": [1, null, \"x\", {}], \"pauses\": [1]}",
		"{\"gpus\": [{\"models\": [3, {\"workers\": 1}], \"flags\": [1]}]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(documents); i++) {
		json_t *status = parse(documents[i]), *document = health_document(status);

		assert_non_null(document);
		assert_int_equal(health_of(document), HEALTH_CRITICAL); /* no actuator */
		json_decref(document);
		json_decref(status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_trouble_has_its_verdict),
		cmocka_unit_test(test_a_reason_names_card_and_model),
		cmocka_unit_test(test_documents_of_other_types_are_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
