/* SPDX-License-Identifier: Apache-2.0 */
/* What operators have ordered, and whether the cards are as ordered. */
#include "base/macros.h"
#include "ctl/columns.h"
#include "ctl/show.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* "1 h 30 min", "45 s"; or "-". */
static char *cell_time(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);
	double s = round(json_number_value(value));
	char *text;
	int r;

	if (!json_is_number(value))
		return strdup("-");
	if (s < 120)
		r = asprintf(&text, "%.0f s", s);
	else if (s < 7200)
		r = asprintf(&text, "%.0f min", floor(s / 60));
	else
		r = asprintf(&text, "%.0f h %.0f min", floor(s / 3600), floor(fmod(s, 3600) / 60));
	return r < 0 ? NULL : text;
}

/* A pause that is tracked ends with who ordered it, a kept one with its time or by resume. */
static char *cell_end(const json_t *o, const char *key)
{
	char *left;

	if (json_is_number(json_object_get(o, key))) {
		_cleanup_(freep) char *time = cell_time(o, key);

		return time && asprintf(&left, "in %s", time) >= 0 ? left : NULL;
	}
	return strdup(json_is_true(json_object_get(o, "persistent")) ? "by resume"
								     : "with its owner");
}

static const struct column hold_columns[] = {
	{"HOLD", "model", cell_text, 0},
	{"LEVEL", "level", cell_text, 0},
	{"FOR", "since_s", cell_time, SCOLS_FL_RIGHT},
	{"BY", "comm", cell_text, 0},
	{"PID", "pid", cell_integer, SCOLS_FL_RIGHT},
	{"UID", "uid", cell_integer, SCOLS_FL_RIGHT},
	{"REASON", "reason", cell_text, 0},
};

static const struct column pause_columns[] = {
	{"PAUSE", "gpu", cell_text, 0},	    {"FOR", "since_s", cell_time, SCOLS_FL_RIGHT},
	{"ENDS", "left_s", cell_end, 0},    {"UID", "uid", cell_integer, SCOLS_FL_RIGHT},
	{"REASON", "reason", cell_text, 0},
};

static int print_array(const json_t *array, const struct column *columns, size_t n)
{
	_cleanup_(columns_unref) struct libscols_table *t = NULL;
	int r;

	if (json_array_size(array) == 0)
		return 0;
	t = scols_new_table();
	if (!t)
		return -ENOMEM;
	r = columns_add(t, columns, n);
	if (r >= 0)
		r = columns_lines(t, columns, n, array);
	if (r < 0)
		return r;
	(void)putchar('\n');
	return scols_print_table(t);
}

int show_orders(const json_t *status)
{
	int r = print_array(json_object_get(status, "holds"), hold_columns,
			    ARRAY_SIZE(hold_columns));

	return r < 0 ? r
		     : print_array(json_object_get(status, "pauses"), pause_columns,
				   ARRAY_SIZE(pause_columns));
}

/* Of any type. */
static char *cell_any(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);

	if (!value || json_is_null(value))
		return strdup("-");
	return json_is_string(value) ? strdup(json_string_value(value))
				     : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
}

static char *cell_verdict(const json_t *o, const char *key)
{
	return strdup(json_is_true(json_object_get(o, key)) ? "ok" : "DIFFERS");
}

/* "mask of resnet50 (pid 7)" of what is about a worker. */
static char *cell_what(const json_t *o, const char *key)
{
	char *text;

	if (!json_is_string(json_object_get(o, "model")))
		return cell_text(o, key);
	return asprintf(&text, "%s of %s (pid %.0f)", text_of(o, key), text_of(o, "model"),
			json_number_value(json_object_get(o, "pid"))) < 0
		       ? NULL
		       : text;
}

static const struct column check_columns[] = {
	{"CHECK", "what", cell_what, 0},
	{"WANTED", "wanted", cell_any, 0},
	{"FOUND", "found", cell_any, 0},
	{"", "ok", cell_verdict, 0},
};

static int print_checks(const json_t *gpu)
{
	_cleanup_(columns_unref) struct libscols_table *t = scols_new_table();
	const json_t *checks = json_object_get(gpu, "checks");
	int r;

	if (!t)
		return -ENOMEM;
	(void)printf("%s: %s\n", text_of(gpu, "bdf"),
		     json_is_true(json_object_get(gpu, "ok")) ? "as it should be"
							      : "NOT as it should be");
	if (json_is_string(json_object_get(gpu, "error")))
		(void)printf("not read: %s\n", text_of(gpu, "error"));
	if (json_array_size(checks) == 0)
		return 0;
	r = columns_add(t, check_columns, ARRAY_SIZE(check_columns));
	if (r >= 0)
		r = columns_lines(t, check_columns, ARRAY_SIZE(check_columns), checks);
	return r < 0 ? r : scols_print_table(t);
}

int show_verification(const json_t *verification)
{
	return show_each_gpu(verification, print_checks);
}
