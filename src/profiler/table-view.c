/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "profiler/options.h"
#include <errno.h>
#include <jansson.h>
#include <libsmartcols.h>
#include <math.h>
#include <string.h>

static const char *const gating_names[] = {"none", "se", "cu"};

static const char *row_note(const struct table_row *row)
{
	if (row->flags & TABLE_ROW_BASELINE)
		return "baseline: nothing else holds the SLO";
	return row->flags & TABLE_ROW_MODELLED ? "modelled" : "";
}

/* A table's columns: how a row's value is printed for people, and for programs. */
struct column {
	const char *title, *key;
	const char *format;
	double (*value)(const struct table_row *row);
};

static double value_rate(const struct table_row *row)
{
	return row->rate_rps;
}

static double value_clock(const struct table_row *row)
{
	return row->max_mhz;
}

static double value_cus(const struct table_row *row)
{
	return cu_shape_cus(row->shape);
}

static double value_ses(const struct table_row *row)
{
	return row->shape.n_se;
}

static double value_batch(const struct table_row *row)
{
	return row->batch;
}

static double value_power(const struct table_row *row)
{
	return row->power_w;
}

static double value_tail(const struct table_row *row)
{
	return row->tail_ns / 1e6;
}

static double value_upper(const struct table_row *row)
{
	return row->tail_upper_ns / 1e6;
}

static double value_service(const struct table_row *row)
{
	return row->service_ns / 1e6;
}

static const struct column columns[] = {
	{"UP TO /s", "rate_rps", "%.1f", value_rate},
	{"MHz", "max_mhz", "%.0f", value_clock},
	{"CUs", "cus", "%.0f", value_cus},
	{"SEs", "ses", "%.0f", value_ses},
	{"BATCH", "batch", "%.0f", value_batch},
	{"W", "power_w", "%.1f", value_power},
	{"TAIL ms", "tail_ms", "%.2f", value_tail},
	{"AT MOST", "tail_upper_ms", "%.2f", value_upper},
	{"SERVICE", "service_ms", "%.2f", value_service},
};

static int fill_line(struct libscols_line *line, const struct table_row *row)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(columns) && r == 0; i++) {
		char text[32];

		(void)snprintf(text, sizeof(text), columns[i].format, columns[i].value(row));
		r = scols_line_set_data(line, i, text);
	}
	return r ? r : scols_line_set_data(line, ARRAY_SIZE(columns), row_note(row));
}

static int fill_table(struct libscols_table *table, const struct response_table *t)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		if (!scols_table_new_column(table, columns[i].title, 0, SCOLS_FL_RIGHT))
			return -ENOMEM;
	if (!scols_table_new_column(table, "", 0, 0))
		return -ENOMEM;
	for (uint32_t i = 0; i < t->n_rows && r == 0; i++) {
		struct libscols_line *line = scols_table_new_line(table, NULL);

		r = line ? fill_line(line, &t->rows[i]) : -ENOMEM;
	}
	return r;
}

/* Of the levels at which it was measured; the table takes the line between them. */
static void print_powers(const char *what, const struct surface *s, const double *power_w)
{
	const char *between = "";

	(void)printf("%s: ", what);
	for (uint32_t i = 0; i < s->n_levels; i++) {
		if (isnan(power_w[i]))
			continue;
		(void)printf("%s%.1f W at %u MHz", between, power_w[i], s->level_mhz[i]);
		between = ", ";
	}
	(void)puts(*between ? "" : "not measured");
}

static int print_text(const struct surface *s, const struct response_table *t)
{
	struct libscols_table *table = scols_new_table();
	int r;

	if (!table)
		return -ENOMEM;
	(void)printf("%s%s: p%u within %.3f ms (T0 %.3f ms), R %.1f requests/s, overload above "
		     "%.1f, idle %.1f W%s%s\n",
		     t->model, t->simulated ? " (simulated)" : "", t->percentile,
		     (double)t->slo_ns / 1e6, (double)t->t0_ns / 1e6, t->rated_rps, t->overload_rps,
		     t->idle_power_w,
		     t->gating == TABLE_GATING_NONE ? "" : ", power modelled for gating = ",
		     t->gating == TABLE_GATING_NONE ? "" : gating_names[t->gating]);
	print_powers("idle", s, s->idle_power_w);
	print_powers("active idle", s, s->active_idle_power_w);
	r = fill_table(table, t);
	if (r == 0)
		r = scols_print_table(table);
	scols_unref_table(table);
	return r;
}

static json_t *row_json(const struct table_row *row)
{
	json_t *object = json_object();

	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		double value = columns[i].value(row);

		(void)json_object_set_new(object, columns[i].key,
					  strcmp(columns[i].format, "%.0f") == 0
						  ? json_integer((json_int_t)value)
						  : json_real(value));
	}
	(void)json_object_set_new(object, "baseline",
				  json_boolean(row->flags & TABLE_ROW_BASELINE));
	return object;
}

static json_t *power_json(double power_w)
{
	return isnan(power_w) ? json_null() : json_real(power_w);
}

static json_t *levels_json(const struct surface *s)
{
	json_t *levels = json_array();

	for (uint32_t i = 0; i < s->n_levels; i++)
		(void)json_array_append_new(
			levels, json_pack("{s:i, s:o, s:o}", "mhz", (int)s->level_mhz[i], "idle_w",
					  power_json(s->idle_power_w[i]), "active_idle_w",
					  power_json(s->active_idle_power_w[i])));
	return levels;
}

static int print_json(const struct surface *s, const struct response_table *t)
{
	json_t *rows = json_array(), *object;
	int r;

	for (uint32_t i = 0; i < t->n_rows; i++)
		(void)json_array_append_new(rows, row_json(&t->rows[i]));
	object = json_pack("{s:s, s:b, s:s, s:b, s:i, s:f, s:f, s:f, s:f, s:f, s:o, s:o, s:o}",
			   "model", t->model, "simulated", t->simulated, "gating",
			   gating_names[t->gating], "modelled", t->gating != TABLE_GATING_NONE,
			   "percentile", (int)t->percentile, "slo_ms", (double)t->slo_ns / 1e6,
			   "t0_ms", (double)t->t0_ns / 1e6, "rated_rps", t->rated_rps,
			   "overload_rps", t->overload_rps, "idle_power_w", t->idle_power_w,
			   "levels", levels_json(s), "baseline", row_json(&t->baseline), "rows",
			   rows);
	if (!object)
		return -ENOMEM;
	r = json_dumpf(object, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	(void)putchar('\n');
	json_decref(object);
	return r;
}

int table_view(const struct profile_options *o)
{
	_cleanup_(surface_freep) struct surface *s = NULL;
	_cleanup_(freep) struct response_table *t = NULL;
	struct table_options options = profile_table_options(o);
	struct surface_error error = {0};
	int r;

	r = surface_load(o->table_file, &s, &error);
	if (r < 0 && error.line)
		return log_error_errno(r, "%s:%u: %s", o->table_file, error.line, error.text);
	if (r < 0)
		return log_error_errno(r, "%s: %s", o->table_file, error.text);
	if (options.percentile == 0)
		options.percentile = s->percentile;
	options.max_batch = MAX(options.max_batch, s->baseline_batch);
	r = response_table_derive(s, &options, &t, &error);
	if (r < 0)
		return log_error_errno(r, "%s: %s", o->table_file, error.text);
	r = o->json ? print_json(s, t) : print_text(s, t);
	if (r == 0 && fflush(stdout) != 0)
		r = -errno;
	return r < 0 ? log_error_errno(r, "Cannot print: %m") : 0;
}
