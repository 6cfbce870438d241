/* SPDX-License-Identifier: Apache-2.0 */
/* OpenMetrics text made of a status document. */
#include "base/macros.h"
#include "ctl/metrics.h"
#include "support/cmocka-includes.h"
#include <string.h>

static const char status_text[] =
	"{\"schema\": 1, \"version\": \"0.1\", \"mode\": \"govern\", \"actuator\": \"connected\","
	" \"workers\": 2, \"holds\": [{}],"
	" \"models\": [{\"name\": \"a\", \"requests\": 12000000, \"late\": 3}], \"gpus\": "
	"[{\"bdf\": \"0000:43:00.0\", \"simulated\": "
	"true,"
	"  \"state\": \"governed\", \"sclk_mhz\": 1032, \"max_mhz\": null, \"power_w\": 88.25,"
	"  \"temperature_c\": 45.5, \"busy_percent\": 37, \"decisions\": 12,"
	"  \"cap\": {\"wanted_w\": 150, \"watched_ms\": 1500, \"over_ms\": 20},"
	"  \"models\": [{\"name\": \"a\\\"b\\\\c\\nd\", \"workers\": 1, \"percentile\": 99,"
	"   \"rate_rps\": 40, \"capacity_rps\": 196, \"slo_ms\": 20, \"tail_ms\": 12.5}]}]}";

static char *text_of(const char *status)
{
	json_error_t error;
	json_t *root = json_loads(status, 0, &error), *document;
	char *text = NULL;
	size_t size;
	FILE *file;

	if (!root)
		fail_msg("%s", error.text);
	document = metrics_document(root);
	assert_non_null(document);
	file = open_memstream(&text, &size);
	assert_non_null(file);
	metrics_write(document, file);
	assert_int_equal(fclose(file), 0);
	json_decref(document);
	json_decref(root);
	return text;
}

static void test_values_are_in_base_units(void **state _unused_)
{
	static const char *const lines[] = {
		"\n# TYPE cofris_gpu_clock_hertz gauge\n# UNIT cofris_gpu_clock_hertz hertz\n"
		"# HELP cofris_gpu_clock_hertz Core clock.\n"
		"cofris_gpu_clock_hertz{gpu=\"0000:43:00.0\",simulated=\"true\"} 1032000000\n",
		"\ncofris_gpu_power_watts{gpu=\"0000:43:00.0\",simulated=\"true\"} 88.25\n",
		"\ncofris_gpu_temperature_celsius{gpu=\"0000:43:00.0\",simulated=\"true\"} 45.5\n",
		"\ncofris_gpu_busy_ratio{gpu=\"0000:43:00.0\",simulated=\"true\"} 0.37\n",
		"\n# TYPE cofris_gpu_decisions counter\n",
		"\ncofris_gpu_decisions_total{gpu=\"0000:43:00.0\",simulated=\"true\"} 12\n",
		"\ncofris_gpu_capped_seconds_total{gpu=\"0000:43:00.0\",simulated=\"true\"} 1.5\n",
		"cofris_gpu_state{gpu=\"0000:43:00.0\",simulated=\"true\",state=\"governed\"} 1\n",
		"\ncofris_gpu_state{gpu=\"0000:43:00.0\",simulated=\"true\",state=\"absent\"} 0\n",
		"\ncofris_holds 1\n",
		"\n# TYPE cofris_model_requests counter\n",
		"\ncofris_model_requests_total{model=\"a\"} 12000000\n",
		"\ncofris_model_late_total{model=\"a\"} 3\n",
		"\ncofris_pauses 0\n",
		"cofris_build_info{version=\"0.1\",mode=\"govern\"} 1\n",
	};
	_cleanup_(freep) char *text = text_of(status_text);

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		if (!strstr(text, lines[i]))
			fail_msg("no '%s' in\n%s", lines[i], text);
}

static void test_labels_are_escaped(void **state _unused_)
{
	_cleanup_(freep) char *text = text_of(status_text);

	assert_non_null(strstr(text, "cofris_model_latency_seconds{gpu=\"0000:43:00.0\","
				     "simulated=\"true\",model=\"a\\\"b\\\\c\\nd\","
				     "percentile=\"99\"} 0.0125\n"));
}

static void test_what_is_not_known_is_left_out(void **state _unused_)
{
	_cleanup_(freep) char *text = text_of(status_text);
	_cleanup_(freep) char *bare = text_of("{\"gpus\": [{\"models\": [{}, 3]}, null]}");

	assert_null(strstr(text, "clock_limit"));
	assert_null(strstr(text, "predicted"));
	assert_null(strstr(bare, "cofris_model"));
	assert_null(strstr(bare, "watts"));
	assert_non_null(strstr(bare, "cofris_actuator_connected 0\n"));
}

static void test_each_family_stands_once_and_the_text_ends(void **state _unused_)
{
	_cleanup_(freep) char *text = text_of(status_text);
	static const char end[] = "\n# EOF\n";
	unsigned int n = 0;

	assert_string_equal(text + strlen(text) - strlen(end), end);
	for (const char *type = text; (type = strstr(type, "# TYPE ")); type += 7) {
		const char *name = strchr(type + 2, ' ');
		_cleanup_(freep) char *line = strndup(type, strcspn(type, "\n"));
		char *again;

		assert_non_null(name);
		again = strstr(type + 1, line);
		assert_null(again);
		n++;
	}
	assert_true(n > 15);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values_are_in_base_units),
		cmocka_unit_test(test_labels_are_escaped),
		cmocka_unit_test(test_what_is_not_known_is_left_out),
		cmocka_unit_test(test_each_family_stands_once_and_the_text_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
