/* SPDX-License-Identifier: Apache-2.0 */
/* Results as CSV (RFC 4180 but for the line ends): the columns that tell evaluations apart, then
 * every key of a row but its curve. A range comes as KEY_low and KEY_high. */
#include "replay/report-internal.h"
#include <errno.h>
#include <string.h>

static const char *const set_up_keys[] = {"slo", "gating", "latency_notion", "switch_ms", "seed"};

static void print_string(const char *s, FILE *f)
{
	if (!strpbrk(s, ",\"\r\n")) {
		(void)fputs(s, f);
		return;
	}
	(void)fputc('"', f);
	for (; *s; s++) {
		if (*s == '"')
			(void)fputc('"', f);
		(void)fputc(*s, f);
	}
	(void)fputc('"', f);
}

/* null is an empty field. */
static void print_value(const json_t *value, FILE *f)
{
	if (json_is_string(value))
		print_string(json_string_value(value), f);
	else if (json_is_integer(value))
		(void)fprintf(f, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else if (json_is_real(value))
		(void)fprintf(f, "%.*g", REPORT_DIGITS, json_real_value(value));
	else if (json_is_boolean(value))
		(void)fputs(json_is_true(value) ? "true" : "false", f);
}

static void print_names(const json_t *row, FILE *f)
{
	const char *key;
	json_t *value;

	for (size_t i = 0; i < ARRAY_SIZE(set_up_keys); i++)
		(void)fprintf(f, "%s%s", i ? "," : "", set_up_keys[i]);
	json_object_foreach((json_t *)row, key, value)
	{
		if (json_is_array(value))
			continue;
		if (json_is_object(value))
			(void)fprintf(f, ",%s_low,%s_high", key, key);
		else
			(void)fprintf(f, ",%s", key);
	}
	(void)fputc('\n', f);
}

static void print_row(const json_t *object, const json_t *row, FILE *f)
{
	const char *key;
	json_t *value;

	for (size_t i = 0; i < ARRAY_SIZE(set_up_keys); i++) {
		if (i > 0)
			(void)fputc(',', f);
		print_value(json_object_get(object, set_up_keys[i]), f);
	}
	json_object_foreach((json_t *)row, key, value)
	{
		if (json_is_array(value))
			continue;
		(void)fputc(',', f);
		if (json_is_object(value)) {
			print_value(json_object_get(value, "low"), f);
			(void)fputc(',', f);
			print_value(json_object_get(value, "high"), f);
		} else {
			print_value(value, f);
		}
	}
	(void)fputc('\n', f);
}

int report_csv_rows(const json_t *object, bool header, FILE *f)
{
	const json_t *rows = json_object_get(object, "results"), *row;
	size_t i;

	if (header && json_array_size(rows) > 0)
		print_names(json_array_get(rows, 0), f);
	json_array_foreach(rows, i, row)
	{
		print_row(object, row, f);
	}
	return ferror(f) ? -EIO : 0;
}

int report_csv(const json_t *object, FILE *f)
{
	return report_csv_rows(object, true, f);
}
