/* SPDX-License-Identifier: Apache-2.0 */
#include "load/text-line.h"
#include <errno.h>
#include <stdbool.h>

static bool is_text(int c)
{
	return (c >= ' ' && c != 0x7f) || c == '\r' || c == '\t';
}

int text_line_next(FILE *f, char *line, size_t size, char problem[TEXT_LINE_PROBLEM_MAX])
{
	size_t n = 0;
	int c;

	errno = 0;
	while ((c = getc_unlocked(f)) != EOF && c != '\n') {
		if (!is_text(c)) {
			(void)snprintf(problem, TEXT_LINE_PROBLEM_MAX,
				       "byte 0x%02x does not belong in a text file", c);
			return -EBADMSG;
		}
		if (n == size - 1) {
			(void)snprintf(problem, TEXT_LINE_PROBLEM_MAX, "longer than %zu bytes",
				       size - 1);
			return -EBADMSG;
		}
		line[n++] = (char)c;
	}
	if (ferror(f)) {
		int r = errno > 0 ? -errno : -EIO;

		(void)snprintf(problem, TEXT_LINE_PROBLEM_MAX, "cannot be read");
		return r;
	}
	if (c == EOF && n == 0)
		return 0;
	if (n > 0 && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	return 1;
}
