/* SPDX-License-Identifier: Apache-2.0 */
/* The fields of the record's lines as tables, so that writing and reading cannot differ. */
#pragma once

#include "governor/record.h"

enum record_type {
	RECORD_U16,
	RECORD_U32,
	RECORD_U64,
	RECORD_BOOL,
	RECORD_DOUBLE,	   /* NaN and infinities too */
	RECORD_FINITE,	   /* 0 .. RECORD_FINITE_MAX */
	RECORD_POWER,	   /* the same, or NaN: unknown */
	RECORD_SIGNED,	   /* the same of either sign */
	RECORD_FLOAT,	   /* a float in the range of RECORD_FINITE */
	RECORD_MODEL_NAME, /* char[MODEL_NAME_MAX + 1] */
	RECORD_NAME,	   /* an enum, by its name */
};

/* Beyond any time in ns or rate, and still exact enough to become an integer. */
#define RECORD_FINITE_MAX 1e18

struct record_field {
	const char *name; /* for refusals */
	enum record_type type;
	size_t offset;
	uint64_t max;				/* of integers; number of names of RECORD_NAME */
	const char *(*name_of)(unsigned int i); /* RECORD_NAME */
};

struct record_line {
	const char *keyword;
	const struct record_field *fields;
	unsigned int n_fields;
};

extern const struct record_line record_line_table, record_line_row, record_line_menu,
	record_line_clock, record_line_option, record_line_point, record_line_input, record_line_in,
	record_line_decision, record_line_out;

#define RECORD_MHZ_MAX 1000000
