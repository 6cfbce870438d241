/* SPDX-License-Identifier: Apache-2.0 */
/* INI files by libinih, with what Debian's build of it lacks: line numbers, an error instead of a
 * silent cut for long lines, and errors for broken section lines and continuation lines. */
#pragma once

#include <stdio.h>

#define INI_LINE_MAX 190 /* bytes without the newline; libinih cuts at 197 without a word */

struct ini_error {
	unsigned int line; /* 1-based; 0: about the file as a whole */
	char text[256];
};

/* Called for each "key = value" row, and once with key == NULL for each section line. section is
 * "" before the first. Strings live for the call only. Returns 0 to go on, or a negative errno
 * after filling error->text (the line is filled in by the caller). */
typedef int (*ini_row_fn)(void *userdata, unsigned int line, const char *section, const char *key,
			  const char *value, struct ini_error *error);

/* Parses the whole stream. Returns 0, or the first negative errno (-EBADMSG for text that is not
 * INI, -EIO for a read error, or the callback's) with *ret_error filled. */
int ini_file_parse(FILE *file, ini_row_fn row, void *userdata, struct ini_error *ret_error);

/* Fills error->text and returns r. */
int ini_error_set(struct ini_error *error, int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
