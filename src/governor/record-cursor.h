/* SPDX-License-Identifier: Apache-2.0 */
/* Reading a record's lines. Everything in them is hostile until taken through a cursor, whose first
 * refusal sticks: later takes give 0 and leave the text of the first. */
#pragma once

#include "governor/record-format.h"

struct record_reader {
	FILE *file;
	unsigned int line;
	bool configured[RECORD_MAX_CARDS];
	uint32_t n_models[RECORD_MAX_CARDS];
	char line_text[RECORD_LINE_MAX + 1];
	size_t text_length;
	char text[RECORD_STEP_BYTES_MAX + 1];
};

struct record_cursor {
	char *rest; /* NULL after the last field */
	unsigned int line;
	int r;
	struct record_error *error;
};

int _printf_(4, 5)
	record_refuse(struct record_error *e, unsigned int line, int r, const char *format, ...);

#define CURSOR_REFUSE(c, ...)                                                                      \
	do {                                                                                       \
		if ((c)->r == 0)                                                                   \
			(c)->r = record_refuse((c)->error, (c)->line, -EBADMSG, __VA_ARGS__);      \
	} while (0)

const char *record_take_text(struct record_cursor *c, const char *what);
uint64_t record_take_u64(struct record_cursor *c, const char *what, uint64_t max);
uint32_t record_take_u32(struct record_cursor *c, const char *what, uint32_t max);
double record_take_finite(struct record_cursor *c, const char *what);
void record_take_model_name(struct record_cursor *c, const char *what,
			    char ret[MODEL_NAME_MAX + 1]);
/* An index that has to be the one expected: records have no gaps and no order of their own. */
void record_take_index(struct record_cursor *c, const char *what, uint32_t expected);
/* The first refusal, or that of text after the last field. */
int record_take_end(struct record_cursor *c);
/* All of a line's fields, and its end. */
int record_take_fields(struct record_cursor *c, const struct record_line *line, void *object);

/* Reads a line, without its newline, into line_text. 1, 0 at the end of the file, or an error. */
int record_read_line(struct record_reader *r, struct record_error *error);
/* Appends the line read to the item's text, before a cursor cuts it up. */
int record_keep_text(struct record_reader *r, struct record_error *error);
/* The next line, which has to begin with keyword, then the card's number. */
int record_expect(struct record_reader *r, const char *keyword, uint32_t card,
		  struct record_cursor *ret, struct record_error *error);
/* The same in a configuration, whose text is not kept: it is as long as its tables. */
int record_expect_config(struct record_reader *r, const char *keyword, uint32_t card,
			 struct record_cursor *ret, struct record_error *error);

/* After the models, beginning with the line that c is in: the menu of one of them. Adds to points
 * what all menus of the configuration take room for. */
int record_read_menu(struct record_reader *r, uint32_t card, struct record_cursor *c,
		     struct record_config *config, uint32_t *points, struct record_error *error);
