/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/report-internal.h"
#include <errno.h>
#include <libsmartcols.h>
#include <math.h>
#include <string.h>

const struct report_column report_result_columns[] = {
	{"model", "model", "", -1},
	{"policy", "policy", "", -1},
	{"slo_ms", "SLO ms", "the objective for this model's latency, ms", 2},
	{"rated_rps", "R /s", "rated rate R, requests/s", 1},
	{"requests", "requests", "that arrived after the warm-up of 30 s", 0},
	{"mean_power_w", "W", "mean power of the card, idle included, W", 1},
	{"power_vs_auto", "vs auto", "that power relative to the driver's own DPM", 3},
	{"power_vs_maximum", "vs max", "relative to the highest clock on all CUs", 3},
	{"energy_per_request_j", "J/req", "energy over completed requests, J", 3},
	{"idle_energy_pct", "idle %", "share of energy while nothing was executing, %", 1},
	{"p50_ms", "p50 ms", "median latency, ms", 2},
	{"p95_ms", "p95 ms", "95th percentile of latency, ms", 2},
	{"p99_ms", "p99 ms", "99th percentile of latency, ms", 2},
	{"request_attainment_pct", "in time %", "requests that ended within the SLO, %", 2},
	{"excess_late_pct", "excess %",
	 "excess lateness: late here and on time under maximum, % of requests", 3},
	{"excess_bad_windows", "bad win", "windows of 10 s that are bad here, not under maximum",
	 0},
	{"changes", "changes", "of clock, mask or batch", 0},
	{"mean_sclk_mhz", "MHz", "mean clock, MHz", 0},
	{"mean_cus", "CUs", "mean compute units", 1},
	{"mean_batch", "batch", "mean executed batch", 2},
	{"regret_pct", "regret %", "energy beyond the oracle's at equal excess lateness, %", 1},
	{"missed_pct", "missed %", "of what the oracle saves against auto, this share is left, %",
	 1},
	{"power_vs_auto_range", "vs auto of cards", "its lowest and highest over the service cards",
	 3},
};
const size_t report_n_result_columns = ARRAY_SIZE(report_result_columns);

const struct report_column report_mean_columns[] = {
	{"policy", "policy", "", -1},
	{"power_vs_auto", "vs auto", "geometric mean of power over the models", 3},
	{"power_vs_maximum", "vs max", "geometric mean of power over the models", 3},
	{"regret_pct", "regret %", "of the same energies", 1},
	{"missed_pct", "missed %", "of the same energies", 1},
	{"reaches", "reaches", "gets to excess lateness 0.3 % at some headroom", -1},
	{"headroom_there", "at headroom", "where it does", 2},
	{"power_vs_auto_there", "vs auto there", "power there", 3},
	{"power_vs_auto_range", "vs auto of cards", "lowest and highest over the service cards", 3},
};
const size_t report_n_mean_columns = ARRAY_SIZE(report_mean_columns);

static void clean(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
}

void report_show(const json_t *value, int decimals, char ret[REPORT_VALUE_MAX])
{
	const char *word = "-";

	if (json_is_number(json_object_get(value, "low"))) {
		(void)snprintf(ret, REPORT_VALUE_MAX, "%.*f..%.*f", MAX(decimals, 0),
			       report_number(value, "low"), MAX(decimals, 0),
			       report_number(value, "high"));
		return;
	}
	if (json_is_number(value)) {
		(void)snprintf(ret, REPORT_VALUE_MAX, "%.*f", MAX(decimals, 0),
			       json_number_value(value));
		return;
	}
	if (json_is_string(value))
		word = json_string_value(value);
	else if (json_is_boolean(value))
		word = json_is_true(value) ? "yes" : "no";
	(void)snprintf(ret, REPORT_VALUE_MAX, "%s", word);
	clean(ret);
}

const char *report_means_are(const json_t *object)
{
	return strcmp(report_string(object, "latency_notion"), "service") == 0
		       ? ""
		       : " at an excess lateness of at most 0.3 %, where a policy gets there";
}

const char *report_string(const json_t *object, const char *key)
{
	const char *s = json_string_value(json_object_get(object, key));

	return s ? s : "";
}

double report_number(const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);

	return json_is_number(value) ? json_number_value(value) : NAN;
}

static int fill_line(struct libscols_line *line, const json_t *row,
		     const struct report_column *columns, size_t n)
{
	char text[REPORT_VALUE_MAX];
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		report_show(json_object_get(row, columns[i].key), columns[i].decimals, text);
		r = scols_line_set_data(line, i, text);
	}
	return r;
}

static int fill_table(struct libscols_table *table, const json_t *rows,
		      const struct report_column *columns, size_t n)
{
	const json_t *row;
	size_t i;
	int r = 0;

	for (i = 0; i < n; i++)
		if (!scols_table_new_column(table, columns[i].title, 0,
					    columns[i].decimals < 0 ? 0 : SCOLS_FL_RIGHT))
			return -ENOMEM;
	json_array_foreach(rows, i, row)
	{
		struct libscols_line *line = scols_table_new_line(table, NULL);

		r = line ? fill_line(line, row, columns, n) : -ENOMEM;
		if (r < 0)
			break;
	}
	return r;
}

int report_print_table(const json_t *rows, const struct report_column *columns, size_t n, FILE *f)
{
	struct libscols_table *table = scols_new_table();
	int r;

	if (!table)
		return -ENOMEM;
	/* Whole, also where a terminal has to wrap them. */
	r = scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
	if (r == 0)
		r = scols_table_set_stream(table, f);
	if (r == 0)
		r = fill_table(table, rows, columns, n);
	if (r == 0)
		r = scols_print_table(table);
	scols_unref_table(table);
	return r;
}

/* Key by key what was computed, "simulated" first. */
void report_print_set_up(const json_t *o, FILE *f)
{
	char name[REPORT_VALUE_MAX], k[REPORT_VALUE_MAX], load[REPORT_VALUE_MAX];
	const char *gating = report_string(o, "gating");

	report_show(json_object_get(o, "trace"), -1, name);
	report_show(json_object_get(o, "smoothing_k"), 0, k);
	report_show(json_object_get(o, "mean_load"), 3, load);
	(void)fprintf(f,
		      "Simulated: %s, %.0f service card(s) of %.0f parameter set(s), gating %s%s\n",
		      report_string(o, "device"), report_number(o, "service_cards"),
		      report_number(o, "ensemble"), gating,
		      json_is_true(json_object_get(o, "modelled")) ? " (modelled)" : "");
	(void)fprintf(f, "%s (%s), %g s, smoothing k %s, mean load %s (%s), seed %.0f\n", name,
		      report_string(o, "trace_format"), report_number(o, "duration_s"), k, load,
		      report_string(o, "load_definition"), report_number(o, "seed"));
	(void)fprintf(f, "SLO %s of p%.0f %s, headroom %g, clock changes in %g ms\n\n",
		      report_string(o, "slo"), report_number(o, "percentile"),
		      report_string(o, "latency_notion"), report_number(o, "headroom"),
		      report_number(o, "switch_ms"));
}

int report_text(const json_t *object, FILE *f)
{
	int r;

	report_print_set_up(object, f);
	r = report_print_table(json_object_get(object, "results"), report_result_columns,
			       report_n_result_columns, f);
	if (r < 0)
		return r;
	(void)fprintf(f, "\nGeometric means%s\n", report_means_are(object));
	r = report_print_table(json_object_get(object, "geomean"), report_mean_columns,
			       report_n_mean_columns, f);
	return r < 0 ? r : ferror(f) ? -EIO : 0;
}
