/* SPDX-License-Identifier: Apache-2.0 */
#include "base/progress.h"
#include "base/units.h"
#include <stdarg.h>
#include <sys/ioctl.h>

#define BAR_WIDTH	24
#define DEFAULT_COLUMNS 80

struct progress progress_start(FILE *out, uint32_t total, uint64_t now_ns)
{
	return (struct progress){
		.out = out,
		.start_ns = now_ns,
		.total = total,
		.terminal = isatty(fileno(out)) == 1,
	};
}

static uint64_t seconds_left(const struct progress *p, uint64_t now_ns)
{
	double spent = (double)(now_ns - p->start_ns) / (double)NSEC_PER_SEC;

	return (uint64_t)(spent * (p->total - p->done) / p->done + 0.5);
}

/* A line that wraps could not be cleared again. */
static int columns(const struct progress *p)
{
	struct winsize size;

	if (ioctl(fileno(p->out), TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return DEFAULT_COLUMNS;
	return size.ws_col;
}

static void print_bar(const struct progress *p, uint64_t now_ns, const char *text)
{
	char bar[BAR_WIDTH + 1] = {0}, line[256];
	uint32_t filled = p->done * BAR_WIDTH / p->total;
	uint64_t left = seconds_left(p, now_ns);

	for (uint32_t i = 0; i < BAR_WIDTH; i++)
		bar[i] = i < filled ? '#' : '.';
	(void)snprintf(line, sizeof(line), "[%s] %u/%u, %u:%02u left  %s", bar, p->done, p->total,
		       (unsigned int)(left / 60), (unsigned int)(left % 60), text);
	(void)fprintf(p->out, PROGRESS_CLEAR "%.*s", columns(p) - 1, line);
}

void progress_step(struct progress *p, uint64_t now_ns, const char *format, ...)
{
	char text[160];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	p->done++;
	/* More to do than was known at the start, as after a failed verification. */
	p->total = MAX(p->total, p->done);
	if (p->terminal)
		print_bar(p, now_ns, text);
	else
		(void)fprintf(p->out, "[%u/%u, %us left] %s\n", p->done, p->total,
			      (unsigned int)seconds_left(p, now_ns), text);
}

void progress_note(struct progress *p, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (p->terminal)
		(void)fputs(PROGRESS_CLEAR, p->out);
	(void)vfprintf(p->out, format, ap);
	(void)fputc('\n', p->out);
	va_end(ap);
}

void progress_end(struct progress *p)
{
	if (p->terminal)
		(void)fputs(PROGRESS_CLEAR, p->out);
}
