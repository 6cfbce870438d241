/* SPDX-License-Identifier: Apache-2.0 */
/* Every form of an evaluation that was made up. */
#include "replay/report-internal.h"
#include "support/cmocka-includes.h"
#include "support/made-up-evaluation.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* What print writes about an object; for free(). */
static char *printed(int (*print)(const json_t *object, FILE *f), const json_t *object)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	assert_non_null(f);
	assert_int_equal(print(object, f), 0);
	(void)fclose(f);
	return text;
}

static int print_html(const json_t *object, FILE *f)
{
	json_t *others[] = {(json_t *)object};

	return report_html(&(const struct figures){0}, object, others, 1, f);
}

/* "a,b,c" of an object. */
static void join_keys(json_t *object, char *ret, size_t size)
{
	const char *key;
	json_t *value;

	*ret = '\0';
	json_object_foreach(object, key, value)
	{
		size_t n = strlen(ret);

		assert_non_null(value);
		(void)snprintf(ret + n, size - n, "%s%s", n ? "," : "", key);
	}
}

static bool begins_with(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static void test_keys_come_in_their_order(void **state)
{
	_cleanup_(made_up_freep) struct made_up *m = made_up_new(2, 2, false);
	_cleanup_(json_decrefp) json_t *object = report_json(made_up_evaluation(m));
	json_t *results = json_object_get(object, "results");
	char keys[1024];

	(void)state;
	join_keys(object, keys, sizeof(keys));
	assert_true(begins_with(
		keys, "schema,simulated,trace,smoothing_k,mean_load,load_definition,"
		      "latency_notion,seed,duration_s,gating,slo,switch_ms,service_cards,results,"
		      "geomean,"));
	assert_int_equal(json_array_size(results), 20);
	join_keys(json_array_get(results, 0), keys, sizeof(keys));
	assert_true(begins_with(
		keys, "model,policy,slo_ms,rated_rps,requests,mean_power_w,power_vs_auto,"
		      "power_vs_maximum,energy_per_request_j,idle_energy_pct,p50_ms,p95_ms,p99_ms,"
		      "request_attainment_pct,excess_late_pct,excess_bad_windows,changes,"
		      "mean_sclk_mhz,mean_cus,mean_batch,regret_pct,missed_pct,"));
	join_keys(json_array_get(json_object_get(object, "geomean"), 0), keys, sizeof(keys));
	assert_true(begins_with(
		keys, "policy,power_vs_auto,power_vs_maximum,regret_pct,missed_pct,reaches,"));
}

static void test_values_are_those_of_the_evaluation(void **state)
{
	_cleanup_(made_up_freep) struct made_up *m = made_up_new(2, 2, false);
	_cleanup_(json_decrefp) json_t *object = NULL, *row;

	(void)state;
	made_up_trace(m)->mean_load = 0.123456789;
	made_up_row(m, 1)->power_vs_maximum = 1;
	made_up_row(m, 1)->m.mean_power_w = -1e-320; /* nothing */
	made_up_row(m, 1)->m.p99_ms = INFINITY;
	object = report_json(made_up_evaluation(m));
	assert_true(report_number(object, "mean_load") == 0.123457);
	assert_string_equal(report_string(object, "slo"), "2.0x");
	assert_string_equal(report_string(object, "trace"), "day.tsv");
	assert_string_equal(report_string(object, "load_definition"),
			    "1 = rated rate R = 0.7 C(B)");
	assert_true(json_is_true(json_object_get(object, "simulated")));
	assert_true(json_is_false(json_object_get(object, "modelled")));
	assert_true(report_number(object, "reaches_at_excess_late_pct") == 0.3);
	row = json_array_get(json_object_get(object, "results"), 1);
	assert_string_equal(report_string(row, "model"), "albert");
	assert_string_equal(report_string(row, "policy"), "maximum");
	assert_int_equal(json_integer_value(json_object_get(row, "requests")), 100000);
	assert_true(report_number(row, "idle_energy_pct") == 0.333333);
	assert_true(json_is_null(json_object_get(row, "p99_ms")));
	/* Of the oracle itself. */
	row = json_array_get(json_object_get(object, "results"), 8);
	assert_string_equal(report_string(row, "policy"), "oracle");
	assert_true(json_is_null(json_object_get(row, "regret_pct")));
	assert_int_equal(json_array_size(json_object_get(row, "curve")), 1);
}

static void test_set_ups_are_told_apart(void **state)
{
	_cleanup_(made_up_freep) struct made_up *m = made_up_new(1, 2, false);
	struct evaluation_options *o = made_up_options(m);
	static const struct {
		double factor;
		uint64_t ns;
		const char *slo;
	} rows[] = {
		{2, 0, "2.0x"},	       {1.25, 0, "1.25x"},    {10, 0, "10.0x"},
		{0, 20000000, "20ms"}, {0, 1500000, "1.5ms"}, {0, 100, "0.0001ms"},
	};
	json_t *object;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		o->slo_factor = rows[i].factor;
		o->slo_ns = rows[i].ns;
		object = report_json(made_up_evaluation(m));
		assert_string_equal(report_string(object, "slo"), rows[i].slo);
		json_decref(object);
	}
	o->gating = PLANT_GATING_CU;
	o->latency = LATENCY_SERVICE;
	o->switch_ms = -1;
	made_up_trace(m)->smoothing_k = 0;
	object = report_json(made_up_evaluation(m));
	assert_string_equal(report_string(object, "gating"), "cu");
	assert_true(json_is_true(json_object_get(object, "modelled")));
	assert_string_equal(report_string(object, "latency_notion"), "service");
	assert_string_equal(report_string(object, "load_definition"),
			    "1 = capacity C(B), as in the paper");
	assert_true(report_number(object, "switch_ms") == o->device->switch_ms);
	assert_true(json_is_null(json_object_get(object, "smoothing_k")));
	json_decref(object);
}

/* Sums in another order end in other bits. */
static void test_the_last_bits_do_not_change_the_bytes(void **state)
{
	_cleanup_(made_up_freep) struct made_up *a = made_up_new(2, 2, false);
	_cleanup_(made_up_freep) struct made_up *b = made_up_new(2, 2, false);
	int (*const forms[])(const json_t *, FILE *) = {report_dump, report_text, report_csv,
							print_html};
	_cleanup_(json_decrefp) json_t *of_a = NULL, *of_b = NULL;

	(void)state;
	made_up_row(b, 3)->m.p95_ms *= 1 + 1e-14;
	made_up_row(b, 4)->m.energy_j *= 1 - 1e-14;
	made_up_trace(b)->mean_load *= 1 + 1e-15;
	of_a = report_json(made_up_evaluation(a));
	of_b = report_json(made_up_evaluation(b));
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		_cleanup_(freep) char *x = printed(forms[i], of_a);
		_cleanup_(freep) char *y = printed(forms[i], of_b);

		assert_string_equal(x, y);
	}
}

static void test_json_is_one_line_with_rounded_numbers(void **state)
{
	_cleanup_(made_up_freep) struct made_up *m = made_up_new(1, 2, false);
	_cleanup_(json_decrefp) json_t *object = report_json(made_up_evaluation(m));
	_cleanup_(json_decrefp) json_t *again = NULL;
	_cleanup_(freep) char *text = printed(report_dump, object);

	(void)state;
	assert_true(begins_with(
		text, "{\"schema\": 1, \"simulated\": true, \"trace\": \"day.tsv\", "
		      "\"smoothing_k\": 11, \"mean_load\": 0.412346, \"load_definition\": \"1 = "
		      "rated rate R = 0.7 C(B)\", \"latency_notion\": \"sojourn\", \"seed\": 1, "
		      "\"duration_s\": 900.0, \"gating\": \"none\", \"slo\": \"2.0x\", "
		      "\"switch_ms\": 5.0, \"service_cards\": 3, \"results\": [{\"model\": "
		      "\"albert\", \"policy\": \"auto\", \"slo_ms\": 10.0, \"rated_rps\": 250.0, "
		      "\"requests\": 100000, \"mean_power_w\": 120.0, \"power_vs_auto\": 1.0, "
		      "\"power_vs_maximum\": 0.961538, "));
	assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	again = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_true(json_equal(object, again));
}

static void test_csv_has_a_row_for_each_result(void **state)
{
	_cleanup_(made_up_freep) struct made_up *m = made_up_new(2, 2, false);
	_cleanup_(json_decrefp) json_t *object = report_json(made_up_evaluation(m));
	_cleanup_(freep) char *text = printed(report_csv, object);
	char *rest = text, *line;
	size_t n = 0, commas = 0;

	(void)state;
	assert_true(begins_with(text, "slo,gating,latency_notion,switch_ms,seed,model,policy,"
				      "slo_ms,rated_rps,requests,mean_power_w,"));
	assert_non_null(strstr(text, ",power_vs_auto_range_low,power_vs_auto_range_high,"));
	while ((line = strsep(&rest, "\n")) && *line) {
		size_t here = 0;

		for (const char *p = line; *p; p++)
			here += *p == ',';
		if (n == 0)
			commas = here;
		if (n == 1)
			assert_true(begins_with(line, "2.0x,none,sojourn,5,1,albert,auto,10,250,"
						      "100000,120,1,0.961538,"));
		assert_int_equal(here, commas);
		n++;
	}
	assert_int_equal(n, 21);
}

static void test_the_terminal_is_told_what_is_simulated_and_what_modelled(void **state)
{
	_cleanup_(made_up_freep) struct made_up *m = made_up_new(2, 2, false);
	_cleanup_(json_decrefp) json_t *object = report_json(made_up_evaluation(m)), *gated = NULL;
	_cleanup_(freep) char *text = printed(report_text, object), *modelled = NULL;

	(void)state;
	assert_true(begins_with(text, "Simulated: mi50, 3 service card(s) of 2 parameter set(s), "
				      "gating none\nday.tsv (swim), 900 s, smoothing k 11, mean "
				      "load 0.412 (1 = rated rate R = 0.7 C(B)), seed 1\nSLO 2.0x "
				      "of p95 sojourn, headroom 0.9, clock changes in 5 ms\n\n"));
	assert_null(strstr(text, "modelled"));
	assert_non_null(strstr(text,
			       "\nGeometric means at an excess lateness of at most 0.3 %, where a "
			       "policy gets there\n"));
	made_up_options(m)->gating = PLANT_GATING_SE;
	gated = report_json(made_up_evaluation(m));
	modelled = printed(report_text, gated);
	assert_non_null(strstr(modelled, "gating se (modelled)\n"));
}

static void test_hostile_names_stay_text(void **state)
{
	_cleanup_(made_up_freep) struct made_up *m = made_up_new(2, 2, true);
	_cleanup_(json_decrefp) json_t *object = report_json(made_up_evaluation(m));
	_cleanup_(freep) char *json = printed(report_dump, object);
	_cleanup_(freep) char *csv = printed(report_csv, object);
	_cleanup_(freep) char *text = printed(report_text, object);
	_cleanup_(freep) char *html = printed(print_html, object);

	(void)state;
	/* The byte that is no UTF-8 is replaced, all else kept. */
	assert_string_equal(report_string(object, "trace"),
			    "a\"</script><img src='http://x/y'>\n`id`,\x1b[31m?.csv");
	assert_string_equal(report_string(json_array_get(json_object_get(object, "results"), 10),
					  "model"),
			    MADE_UP_HOSTILE_MODEL);
	assert_non_null(strstr(json, "\"<b>'\\\"`id`$(id)\\\\,&\\n\""));
	assert_non_null(strstr(csv, ",\"<b>'\"\"`id`$(id)\\,&\n\",auto,"));
	assert_null(strchr(text, '\x1b'));
	assert_null(strchr(html, '\x1b'));
	assert_null(strstr(html, "<img"));
	assert_null(strstr(html, "<script"));
	assert_null(strstr(html, "</script"));
	assert_null(strstr(html, "<b>"));
	assert_non_null(strstr(html, "<td class=\"text\">&lt;b&gt;&#39;&quot;`id`$(id)\\,&amp;?"
				     "</td>"));
}

/* Outside of single quotes gnuplot runs what stands in back-quotes. */
static void test_a_script_quotes_every_name(void **state)
{
	_cleanup_(made_up_freep) struct made_up *m = made_up_new(2, 2, true);
	_cleanup_(json_decrefp) json_t *object = report_json(made_up_evaluation(m));
	_cleanup_(freep) char *text = NULL;
	struct figures *figures = calloc(1, sizeof(*figures));
	struct plot_script script = {
		.figures = figures,
		.evaluation = made_up_evaluation(m),
		.object = object,
		.others = &object,
		.n_others = 1,
	};
	bool quoted = false;
	size_t size, inside = 0;

	(void)state;
	script.out = open_memstream(&text, &size);
	assert_int_equal(report_script(&script), 0);
	(void)fclose(script.out);
	for (const char *p = text; *p; p++) {
		if (*p == '\'')
			quoted = !quoted;
		else if (*p == '\n')
			assert_false(quoted);
		else if (*p == '`' || *p == '"')
			assert_true(quoted);
		inside += *p == '`' && quoted;
	}
	assert_true(inside >= 4); /* the name is there */
	/* power, slo, tail, curves, and two for each model */
	assert_int_equal(figures->n, 8);
	figures_free(figures);
}

static void test_gnuplot_is_looked_for_on_the_path(void **state)
{
	_cleanup_(freep) char *path = strdup(getenv("PATH"));

	(void)state;
	(void)setenv("PATH", "/nowhere:" COFRIS_SOURCE_DIR, 1);
	assert_false(report_has_gnuplot());
	(void)setenv("PATH", path, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_come_in_their_order),
		cmocka_unit_test(test_values_are_those_of_the_evaluation),
		cmocka_unit_test(test_set_ups_are_told_apart),
		cmocka_unit_test(test_the_last_bits_do_not_change_the_bytes),
		cmocka_unit_test(test_json_is_one_line_with_rounded_numbers),
		cmocka_unit_test(test_csv_has_a_row_for_each_result),
		cmocka_unit_test(test_the_terminal_is_told_what_is_simulated_and_what_modelled),
		cmocka_unit_test(test_hostile_names_stay_text),
		cmocka_unit_test(test_a_script_quotes_every_name),
		cmocka_unit_test(test_gnuplot_is_looked_for_on_the_path),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
