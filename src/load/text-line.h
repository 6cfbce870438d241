/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of a text file that may come from anywhere, one after the other and in bounded memory. */
#pragma once

#include <stddef.h>
#include <stdio.h>

#define TEXT_LINE_PROBLEM_MAX 80

/* One line without its end ("\n" or "\r\n"; the last one needs none). Bytes that no text file has
 * are refused, so that parsers see plain strings. Returns 1; 0 at the end of the file; -EBADMSG for
 * a line that does not fit or holds such a byte, or the errno of reading, with problem filled. */
int text_line_next(FILE *f, char *line, size_t size, char problem[TEXT_LINE_PROBLEM_MAX]);
