/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

static const char *log_name = "cofris";
static int log_max_level = LOG_INFO;
static int log_to_journal;

void log_init(const char *name, int max_level)
{
	log_name = name;
	log_max_level = max_level;
	log_to_journal = getenv("JOURNAL_STREAM") != NULL;
}

static void log_va(int level, const char *format, va_list ap) _printf_(2, 0);

static void log_va(int level, const char *format, va_list ap)
{
	char line[1024];
	int saved = errno, n;

	if (level > log_max_level)
		return;
	n = vsnprintf(line, sizeof(line), format, ap);
	if (n < 0)
		return;
	/* One write per line, so that lines of several threads do not mix. */
	if (log_to_journal)
		(void)dprintf(STDERR_FILENO, "<%d>%s\n", level, line);
	else
		(void)dprintf(STDERR_FILENO, "%s: %s\n", log_name, line);
	errno = saved;
}

void log_message(int level, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	log_va(level, format, ap);
	va_end(ap);
}

int log_errno(int level, int r, const char *format, ...)
{
	va_list ap;

	errno = abs(r);
	va_start(ap, format);
	log_va(level, format, ap);
	va_end(ap);
	return r;
}
