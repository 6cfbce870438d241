/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/show.h"
#include "base/macros.h"
#include "ctl/columns.h"
#include <errno.h>
#include <string.h>

/* "2x15", or "all" where there is no mask. */
static char *cell_mask(const json_t *o, const char *key)
{
	const json_t *directive = json_object_get(o, key);

	/* No shape: the masks are another connection's. */
	if (!json_is_object(directive) || json_is_null(json_object_get(directive, "shape")))
		return strdup("-");
	if (!json_is_array(json_object_get(directive, "mask")))
		return strdup("all");
	return strdup(text_of(directive, "shape"));
}

/* ns in microseconds. */
static char *cell_us(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);
	char *text;

	if (!json_is_number(value))
		return strdup("-");
	return asprintf(&text, "%.0f", json_number_value(value) / 1000) < 0 ? NULL : text;
}

/* With why, and until when, where there is more to say: "quarantined (reset, 8 s)". */
static char *cell_state(const json_t *o, const char *key)
{
	const char *reason = json_string_value(json_object_get(o, "state_reason"));
	const json_t *retry = json_object_get(o, "retry_s");
	char *text;
	int r;

	if (!reason || !*reason)
		return cell_text(o, key);
	if (json_is_number(retry))
		r = asprintf(&text, "%s (%s, %.0f s)", text_of(o, key), reason,
			     json_number_value(retry));
	else
		r = asprintf(&text, "%s (%s)", text_of(o, key), reason);
	return r < 0 ? NULL : text;
}

static const struct column gpu_columns[] = {
	{"GPU", "bdf", cell_text, 0},
	{"STATE", "state", cell_state, 0},
	{"LIMIT MHZ", "max_mhz", cell_integer, SCOLS_FL_RIGHT},
	{"MHZ", "sclk_mhz", cell_integer, SCOLS_FL_RIGHT},
	{"POWER W", "power_w", cell_number, SCOLS_FL_RIGHT},
	{"BUSY %", "busy_percent", cell_integer, SCOLS_FL_RIGHT},
	{"VERIFIED", "verified", cell_text, 0},
};

static const struct column model_columns[] = {
	{"MODEL", "name", cell_text, 0},
	{"WORKERS", "workers", cell_integer, SCOLS_FL_RIGHT},
	{"RPS", "rate_rps", cell_number, SCOLS_FL_RIGHT},
	{"FOR RPS", "demand_rps", cell_number, SCOLS_FL_RIGHT},
	{"CUS", "cus", cell_integer, SCOLS_FL_RIGHT},
	{"P95 MS", "p95_ms", cell_number, SCOLS_FL_RIGHT},
	{"SLO MS", "slo_ms", cell_number, SCOLS_FL_RIGHT},
	{"REASON", "reason", cell_text, 0},
};

static const struct column worker_columns[] = {
	{"WORKER", "instance", cell_text, 0},
	{"PID", "pid", cell_integer, SCOLS_FL_RIGHT},
	{"MODEL", "model", cell_text, 0},
	{"FOLLOWS", "follows", cell_list, 0},
	{"CUS WANTED", "wanted", cell_mask, SCOLS_FL_RIGHT},
	{"CUS", "acknowledged", cell_mask, SCOLS_FL_RIGHT},
	{"QUEUES", "queues_changed", cell_integer, SCOLS_FL_RIGHT},
	{"TOOK US", "apply_ns", cell_us, SCOLS_FL_RIGHT},
	{"CLOCK ALONE", "clock_alone", cell_text, 0},
	{"DOUBT", "doubt", cell_text, 0},
};

static int print_workers(const json_t *gpus)
{
	_cleanup_(columns_unref) struct libscols_table *t = scols_new_table();
	const json_t *gpu;
	size_t i;
	int r;

	if (!t)
		return -ENOMEM;
	r = columns_add(t, worker_columns, ARRAY_SIZE(worker_columns));
	json_array_foreach(gpus, i, gpu) if (r >= 0) r =
		columns_lines(t, worker_columns, ARRAY_SIZE(worker_columns),
			      json_object_get(gpu, "worker_list"));
	if (r < 0 || scols_table_get_nlines(t) == 0)
		return r;
	(void)putchar('\n');
	return scols_print_table(t);
}

static int add_gpu(struct libscols_table *t, const json_t *gpu)
{
	const json_t *models = json_object_get(gpu, "models"), *model;
	size_t n = MAX(json_array_size(models), (size_t)1);
	struct libscols_line *line;
	int r;

	for (size_t i = 0; i < n; i++) {
		line = scols_table_new_line(t, NULL);
		if (!line)
			return -ENOMEM;
		if (i == 0) {
			r = columns_fill(line, gpu_columns, ARRAY_SIZE(gpu_columns), 0, gpu);
			if (r < 0)
				return r;
		}
		model = json_array_get(models, i);
		if (!model)
			continue;
		r = columns_fill(line, model_columns, ARRAY_SIZE(model_columns),
				 ARRAY_SIZE(gpu_columns), model);
		if (r < 0)
			return r;
	}
	return 0;
}

static void print_group(const json_t *gpu)
{
	const char *bdf = text_of(gpu, "bdf");
	const json_t *group = json_object_get(gpu, "group");

	if (json_array_size(group) == 0)
		return;
	(void)printf("%s: one clock with", bdf);
	for (size_t i = 0; i < json_array_size(group); i++) {
		const char *other = json_string_value(json_array_get(group, i));

		if (other && strcmp(other, bdf) != 0)
			(void)printf(" %s", other);
	}
	(void)printf("\n");
}

static double number_of(const json_t *o, const char *key)
{
	return json_number_value(json_object_get(o, key));
}

/* Profiles that do not describe the card. */
static void print_stale(const json_t *gpu, const json_t *model)
{
	const json_t *s;
	size_t i;

	json_array_foreach(json_object_get(model, "self_check"), i,
			   s) if (json_is_true(json_object_get(s, "stale")))(void)
		printf("%s: model %s: stale profile: %s %.2f (%.2f to %.2f) times "
		       "the profile's for %.0f min: cofris-profile --model %s\n",
		       text_of(gpu, "bdf"), text_of(model, "name"), text_of(s, "subject"),
		       number_of(s, "ratio"), number_of(s, "low"), number_of(s, "high"),
		       number_of(s, "stale_for_s") / 60, text_of(model, "name"));
}

static void print_ignored(const json_t *gpu, const json_t *model, const char *key, const char *what)
{
	const json_t *who = json_object_get(model, key);

	if (!json_is_object(who))
		return;
	(void)printf("%s: model %s: %s", text_of(gpu, "bdf"), text_of(model, "name"), what);
	if (json_is_integer(json_object_get(who, "pid")))
		(void)printf(": pid %d (%s)", (int)number_of(who, "pid"), text_of(who, "instance"));
	(void)putchar('\n');
}

/* What needs attention, in words, below the table. */
static void print_remarks(const json_t *gpu)
{
	const json_t *flag, *model, *owner = json_object_get(gpu, "owner");
	size_t i;

	if (json_is_true(json_object_get(gpu, "simulated")))
		(void)printf("%s: simulated card\n", text_of(gpu, "bdf"));
	if (json_is_object(owner))
		(void)printf("%s: claimed by %s (pid %d)\n", text_of(gpu, "bdf"),
			     text_of(owner, "comm"),
			     (int)json_integer_value(json_object_get(owner, "pid")));
	if (json_is_true(json_object_get(gpu, "predicted_power_modelled")))
		(void)printf("%s: gating = %s, so predicted power is modelled, not measured\n",
			     text_of(gpu, "bdf"), text_of(gpu, "gating"));
	print_group(gpu);
	json_array_foreach(json_object_get(gpu, "flags"), i, flag)(void)
		printf("%s: %s\n", text_of(gpu, "bdf"), json_string_value(flag));
	json_array_foreach(json_object_get(gpu, "models"), i, model)
	{
		if (json_is_string(json_object_get(model, "table_error")))
			(void)printf("%s: model %s: full speed, no table: %s\n",
				     text_of(gpu, "bdf"), text_of(model, "name"),
				     text_of(model, "table_error"));
		if (json_is_string(json_object_get(model, "masks_off")))
			(void)printf("%s: model %s: by clock alone: %s\n", text_of(gpu, "bdf"),
				     text_of(model, "name"), text_of(model, "masks_off"));
		print_ignored(gpu, model, "wakes_ignored",
			      "no boosts at a worker's wake: its counts contradict them");
		print_ignored(gpu, model, "late_ignored",
			      "late requests count no more: latencies contradict them");
		print_stale(gpu, model);
	}
}

int show_status(const json_t *status)
{
	_cleanup_(columns_unref) struct libscols_table *t = scols_new_table();
	const json_t *gpus = json_object_get(status, "gpus"), *gpu;
	size_t i;
	int r;

	if (!t)
		return -ENOMEM;
	r = columns_add(t, gpu_columns, ARRAY_SIZE(gpu_columns));
	if (r >= 0)
		r = columns_add(t, model_columns, ARRAY_SIZE(model_columns));
	json_array_foreach(gpus, i, gpu) if (r >= 0) r = add_gpu(t, gpu);
	if (r < 0)
		return r;
	(void)printf("cofrisd %s: %s\n", text_of(status, "version"), text_of(status, "status"));
	if (json_is_string(json_object_get(status, "config_error")))
		(void)printf("configuration not loaded, the old one is in force: %s\n",
			     text_of(status, "config_error"));
	if (json_array_size(gpus) > 0)
		r = scols_print_table(t);
	if (r >= 0)
		r = print_workers(gpus);
	if (r >= 0)
		r = show_orders(status);
	json_array_foreach(gpus, i, gpu) print_remarks(gpu);
	return r;
}

static const struct column row_columns[] = {
	{"UP TO RPS", "rate_rps", cell_number, SCOLS_FL_RIGHT},
	{"LIMIT MHZ", "max_mhz", cell_integer, SCOLS_FL_RIGHT},
	{"CUS", "cus", cell_integer, SCOLS_FL_RIGHT},
	{"SES X CUS", "shape", cell_text, SCOLS_FL_RIGHT},
	{"BATCH", "batch", cell_integer, SCOLS_FL_RIGHT},
	{"POWER W", "power_w", cell_number, SCOLS_FL_RIGHT},
	{"TAIL MS", "tail_ms", cell_number, SCOLS_FL_RIGHT},
	{"AT MOST", "tail_upper_ms", cell_number, SCOLS_FL_RIGHT},
	{"MODELLED", "modelled", cell_mark, 0},
};

static void print_table_header(const json_t *table)
{
	_cleanup_(freep) char *slo = cell_number(table, "slo_ms");
	_cleanup_(freep) char *rated = cell_number(table, "rated_rps");
	_cleanup_(freep) char *overload = cell_number(table, "overload_rps");
	_cleanup_(freep) char *percentile = cell_integer(table, "percentile");

	(void)printf("%s: %s%s\n", text_of(table, "bdf"), text_of(table, "surface"),
		     json_is_true(json_object_get(table, "simulated")) ? " (simulated)" : "");
	(void)printf("SLO %s ms at p%s, rated %s rps, overload above %s rps, gating %s%s\n",
		     slo ? slo : "-", percentile ? percentile : "-", rated ? rated : "-",
		     overload ? overload : "-", text_of(table, "gating"),
		     json_is_true(json_object_get(table, "modelled"))
			     ? " (power modelled, not measured)"
			     : "");
	if (json_is_true(json_object_get(table, "clock_alone")))
		(void)puts("clock alone: not all of its workers follow masks");
}

static int show_one_table(const json_t *table)
{
	_cleanup_(columns_unref) struct libscols_table *t = scols_new_table();
	int r;

	if (json_is_string(json_object_get(table, "error"))) {
		(void)printf("%s: no table: %s\n", text_of(table, "bdf"), text_of(table, "error"));
		return 0;
	}
	if (!t)
		return -ENOMEM;
	r = columns_add(t, row_columns, ARRAY_SIZE(row_columns));
	if (r >= 0)
		r = columns_lines(t, row_columns, ARRAY_SIZE(row_columns),
				  json_object_get(table, "rows"));
	if (r < 0)
		return r;
	print_table_header(table);
	return scols_print_table(t);
}

int show_table(const json_t *tables)
{
	const json_t *table, *array = json_object_get(tables, "tables");
	size_t i;
	int r = 0;

	if (json_array_size(array) == 0)
		(void)puts("no governed card yet");
	json_array_foreach(array, i, table)
	{
		r = show_one_table(table);
		if (r < 0)
			break;
	}
	return r;
}

/* "off" where an order takes the configuration's cap away. */
static char *cell_order(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);

	if (json_is_number(value) && json_number_value(value) <= 0)
		return strdup("off");
	return cell_number(o, key);
}

static char *cell_s(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);
	char *text;

	if (!json_is_number(value))
		return strdup("-");
	return asprintf(&text, "%.1f", json_number_value(value) / 1000) < 0 ? NULL : text;
}

static const struct column cap_columns[] = {
	{"GPU", "bdf", cell_text, 0},
	{"CONFIG W", "configured_w", cell_number, SCOLS_FL_RIGHT},
	{"ORDER W", "ordered_w", cell_order, SCOLS_FL_RIGHT},
	{"IN FORCE W", "in_force_w", cell_number, SCOLS_FL_RIGHT},
	{"FROM W", "min_w", cell_number, SCOLS_FL_RIGHT},
	{"TO W", "max_w", cell_number, SCOLS_FL_RIGHT},
	{"POWER W", "power_w", cell_number, SCOLS_FL_RIGHT},
	{"WATCHED S", "watched_ms", cell_s, SCOLS_FL_RIGHT},
	{"ABOVE MS", "over_ms", cell_integer, SCOLS_FL_RIGHT},
	{"AT MOST W", "over_most_w", cell_number, SCOLS_FL_RIGHT},
	{"MEAN W", "over_mean_w", cell_number, SCOLS_FL_RIGHT},
};

int show_caps(const json_t *caps)
{
	_cleanup_(columns_unref) struct libscols_table *t = scols_new_table();
	const json_t *cards = json_object_get(caps, "gpus");
	int r;

	if (!t)
		return -ENOMEM;
	if (json_array_size(cards) == 0) {
		(void)puts("no governed card yet");
		return 0;
	}
	r = columns_add(t, cap_columns, ARRAY_SIZE(cap_columns));
	if (r >= 0)
		r = columns_lines(t, cap_columns, ARRAY_SIZE(cap_columns), cards);
	return r < 0 ? r : scols_print_table(t);
}

int show_each_gpu(const json_t *root, int (*print)(const json_t *gpu))
{
	const json_t *gpu, *gpus = json_object_get(root, "gpus");
	size_t i;
	int r = 0;

	if (json_array_size(gpus) == 0)
		(void)puts("no governed card yet");
	json_array_foreach(gpus, i, gpu)
	{
		if (i > 0)
			(void)puts("");
		r = print(gpu);
		if (r < 0)
			break;
	}
	return r;
}
