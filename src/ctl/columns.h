/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of JSON objects: a line for each object, a column for each of its keys. */
#pragma once

#include <jansson.h>
#include <libsmartcols.h>
#include <stddef.h>

/* One column: its title, the key of its value and how to print it. */
struct column {
	const char *title, *key;
	char *(*cell)(const json_t *object, const char *key);
	int flags;
};

/* For _cleanup_(). */
void columns_unref(struct libscols_table **t);
/* 0 or -ENOMEM, as the others. */
int columns_add(struct libscols_table *t, const struct column *columns, size_t n);
/* Fills the cells of columns from first on; the line has as many cells as the table. */
int columns_fill(struct libscols_line *line, const struct column *columns, size_t n, size_t first,
		 const json_t *object);
/* Lines of columns, one for each object of the array. */
int columns_lines(struct libscols_table *t, const struct column *columns, size_t n,
		  const json_t *array);

/* "-" where it is no string. */
const char *text_of(const json_t *o, const char *key);
/* Cells; what is not known is "-". */
char *cell_text(const json_t *o, const char *key);
/* The parts of an array of texts. */
char *cell_list(const json_t *o, const char *key);
char *cell_integer(const json_t *o, const char *key);
/* Three significant digits and at least the whole number: 0.123, 12.3, 1234. */
char *cell_number(const json_t *o, const char *key);
char *cell_mark(const json_t *o, const char *key);
