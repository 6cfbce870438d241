/* SPDX-License-Identifier: Apache-2.0 */
/* State of reading one surface file, and the parsing of its single values. Internal to
 * src/response. */
#pragma once

#include "response/surface-format.h"

struct numbered_cell {
	struct surface_cell cell;
	unsigned int line;
};

struct reader {
	FILE *file;
	struct surface *surface;
	struct surface_error *error;
	struct numbered_cell *cells;
	uint32_t n_cells, n_loads, room_cells, room_loads;
	size_t bytes;
	unsigned int line;
	bool in_rows;
	uint64_t seen; /* bit per header field */
	uint32_t n_powers[2];
	char text[SURFACE_LINE_MAX + 1];
};

/* Fills the reader's error, if it has one, and returns code. */
int surface_reader_fail(struct reader *r, int code, unsigned int line, const char *format, ...)
	_printf_(4, 5);

#define bad(reader, ...)      surface_reader_fail(reader, -EBADMSG, (reader)->line, __VA_ARGS__)
#define bad_file(reader, ...) surface_reader_fail(reader, -EBADMSG, 0, __VA_ARGS__)

/* Parses a value (taking the text apart) into its member of base. 0 or -EBADMSG. */
int surface_reader_field(struct reader *r, const struct field *f, char *text, void *base);
/* The columns of a row behind its name, into *ret. */
int surface_reader_columns(struct reader *r, const struct row_format *format, char *text,
			   void *ret);
