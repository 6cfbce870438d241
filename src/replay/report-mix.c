/* SPDX-License-Identifier: Apache-2.0 */
/* Mixes for a terminal: a row for each policy on each mix, and one for each model of it. */
#include "replay/report-internal.h"
#include <errno.h>

static const struct report_column card_columns[] = {
	{"mix", "mix", "", -1},
	{"policy", "policy", "", -1},
	{"mean_power_w", "W", "", 1},
	{"power_vs_auto", "vs auto", "", 3},
	{"power_vs_maximum", "vs max", "", 3},
	{"vs_exhaustive", "vs exhaustive", "", 3},
	{"vs_masks", "vs masks", "", 3},
	{"excess_late_pct", "excess %", "", 3},
	{"worst_excess_late_pct", "worst %", "", 3},
	{"worst_starved_slos", "starved SLOs", "", 1},
	{"mean_sclk_mhz", "MHz", "", 0},
	{"changes", "changes", "", 0},
};

static const struct report_column model_columns[] = {
	{"mix", "mix", "", -1},
	{"policy", "policy", "", -1},
	{"model", "model", "", -1},
	{"slo_ms", "SLO ms", "", 2},
	{"load_rps", "load 1 /s", "", 1},
	{"requests", "requests", "", 0},
	{"request_attainment_pct", "in time %", "", 2},
	{"excess_late_pct", "excess %", "", 3},
	{"p95_ms", "p95 ms", "", 2},
	{"p99_ms", "p99 ms", "", 2},
	{"starved_ms", "starved ms", "", 1},
	{"mean_cus", "CUs", "", 1},
	{"mean_batch", "batch", "", 2},
};

/* The rows' models, each with its row's mix and policy; NULL if there is no memory. */
static json_t *models_of(const json_t *rows)
{
	json_t *all = json_array();
	const json_t *row;
	size_t i, j;
	json_t *model;

	json_array_foreach(rows, i, row)
	{
		json_array_foreach(json_object_get(row, "models"), j, model)
		{
			json_t *copy = json_copy(model);

			if (!all || !copy ||
			    json_object_set(copy, "mix", json_object_get(row, "mix")) < 0 ||
			    json_object_set(copy, "policy", json_object_get(row, "policy")) < 0 ||
			    json_array_append(all, copy) < 0) {
				json_decref(copy);
				json_decref(all);
				return NULL;
			}
			json_decref(copy);
		}
	}
	return all;
}

int report_mix_text(const json_t *object, FILE *f)
{
	const json_t *rows = json_object_get(object, "mixes");
	json_t *models;
	int r;

	report_print_set_up(object, f);
	r = report_print_table(rows, card_columns, ARRAY_SIZE(card_columns), f);
	if (r < 0)
		return r;
	models = models_of(rows);
	if (!models)
		return -ENOMEM;
	(void)fputs("\nTheir models\n", f);
	r = report_print_table(models, model_columns, ARRAY_SIZE(model_columns), f);
	json_decref(models);
	return r < 0 ? r : ferror(f) ? -EIO : 0;
}
