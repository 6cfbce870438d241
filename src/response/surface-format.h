/* SPDX-License-Identifier: Apache-2.0 */
/* The surface file as tables that reader and writer share: a line per "# key = value" of the
 * header, a column per value of a "cell" or "load" row. Internal to src/response. */
#pragma once

#include "response/surface.h"
#include <stddef.h>

#define SURFACE_MAGIC	 "cofris-surface"
#define SURFACE_LINE_MAX 4096 /* bytes without the newline; the longest row has some 2000 */
#define SURFACE_UNKNOWN	 "-"  /* an unknown power, and no flags */

enum field_kind {
	FIELD_U32,
	FIELD_U16,
	FIELD_DOUBLE,
	FIELD_TEXT,	 /* max: the bytes it may have */
	FIELD_WORD,	 /* always ->word */
	FIELD_SOURCE,	 /* measured or simulated */
	FIELD_LEVELS,	 /* level_mhz, and n_levels by their number */
	FIELD_POWERS,	 /* one for each level, or "-" */
	FIELD_COLUMNS,	 /* the names of ->columns */
	FIELD_FLAGS,	 /* joined by '+', or "-" */
	FIELD_QUANTILES, /* SURFACE_QUANTILES columns */
};

struct field {
	const char *name;
	enum field_kind kind;
	bool whole_file_only; /* may lack; written once the number of rows is known */
	size_t offset;
	double min, max;
	const char *word;
	const struct row_format *columns;
};

struct row_format {
	const char *name; /* first column */
	const struct field *fields;
	unsigned int n_fields, n_columns; /* n_columns without the name */
};

extern const struct field surface_header_fields[];
extern const unsigned int surface_n_header_fields;
extern const struct row_format surface_cell_format, surface_load_format;

struct surface_flag_name {
	uint32_t flag;
	const char *name;
};
extern const struct surface_flag_name surface_flag_names[3];

/* The names of a row's columns, joined by commas; 101 quantiles are one name. */
void row_format_columns(const struct row_format *format, char *ret, size_t size);
/* Printable ASCII: what survives one line of text, a terminal and a bus. */
bool surface_text_is_plain(const char *s);
