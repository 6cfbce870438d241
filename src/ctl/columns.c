/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/columns.h"
#include "base/macros.h"
#include <errno.h>
#include <math.h>
#include <string.h>

void columns_unref(struct libscols_table **t)
{
	scols_unref_table(*t);
}

const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "-";
}

char *cell_text(const json_t *o, const char *key)
{
	return strdup(text_of(o, key));
}

char *cell_list(const json_t *o, const char *key)
{
	const json_t *array = json_object_get(o, key), *part;
	char text[128] = "";
	size_t i;

	json_array_foreach(array, i, part)
	{
		size_t n = strlen(text);

		(void)snprintf(text + n, sizeof(text) - n, "%s%s", i > 0 ? "," : "",
			       json_is_string(part) ? json_string_value(part) : "?");
	}
	return strdup(text[0] ? text : "-");
}

char *cell_integer(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);
	char *text;

	if (!json_is_number(value))
		return strdup("-");
	return asprintf(&text, "%.0f", json_number_value(value)) < 0 ? NULL : text;
}

char *cell_number(const json_t *o, const char *key)
{
	const json_t *value = json_object_get(o, key);
	double x = json_number_value(value);
	char *text;
	int digits = fabs(x) >= 100 ? 0 : fabs(x) >= 10 ? 1 : 2;

	if (!json_is_number(value))
		return strdup("-");
	return asprintf(&text, "%.*f", digits, x) < 0 ? NULL : text;
}

char *cell_mark(const json_t *o, const char *key)
{
	return strdup(json_is_true(json_object_get(o, key)) ? "yes" : "");
}

int columns_add(struct libscols_table *t, const struct column *columns, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!scols_table_new_column(t, columns[i].title, 0, columns[i].flags))
			return -ENOMEM;
	return 0;
}

int columns_fill(struct libscols_line *line, const struct column *columns, size_t n, size_t first,
		 const json_t *object)
{
	for (size_t i = 0; i < n; i++) {
		char *text = columns[i].cell(object, columns[i].key);

		if (!text || scols_line_refer_data(line, first + i, text) != 0) {
			free(text);
			return -ENOMEM;
		}
	}
	return 0;
}

int columns_lines(struct libscols_table *t, const struct column *columns, size_t n,
		  const json_t *array)
{
	const json_t *object;
	size_t i;

	json_array_foreach(array, i, object)
	{
		struct libscols_line *line = scols_table_new_line(t, NULL);
		int r = line ? columns_fill(line, columns, n, 0, object) : -ENOMEM;

		if (r < 0)
			return r;
	}
	return 0;
}
