/* SPDX-License-Identifier: Apache-2.0 */
#include "load/load-curve.h"
#include "base/parse.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define LINE_MAX_BYTES 128

struct reader {
	struct load_curve *curve;
	uint32_t capacity;
	bool seen_header;
	struct load_curve_error *error;
};

_printf_(3, 4) static int fail(struct load_curve_error *e, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(e->text, sizeof(e->text), format, ap);
	va_end(ap);
	return r;
}

static int append(struct reader *rd, struct load_point p)
{
	struct load_curve *c = rd->curve;

	if (c->n == LOAD_CURVE_MAX_POINTS)
		return fail(rd->error, -EFBIG, "more than %d points", LOAD_CURVE_MAX_POINTS);
	if (c->n == rd->capacity) {
		uint32_t capacity = MAX(rd->capacity * 2, 64u);
		struct load_point *points = realloc(c->points, capacity * sizeof(*points));

		if (!points)
			return fail(rd->error, -ENOMEM, "out of memory");
		c->points = points;
		rd->capacity = capacity;
	}
	c->points[c->n++] = p;
	return 0;
}

static int read_point(struct reader *rd, char *line)
{
	const struct load_curve *c = rd->curve;
	char *comma = strchr(line, ',');
	struct load_point p;

	if (!comma)
		return fail(rd->error, -EBADMSG, "expected 't_s,load', found no comma");
	*comma = '\0';
	if (parse_double(line, &p.t_s) < 0 || p.t_s > LOAD_CURVE_MAX_S)
		return fail(rd->error, -EBADMSG, "t_s '%.40s' is not a time in seconds", line);
	if (parse_double(comma + 1, &p.load) < 0 || p.load < 0 || p.load > LOAD_CURVE_MAX_LOAD)
		return fail(rd->error, -EBADMSG, "load '%.40s' is not a number from 0 to %g",
			    comma + 1, LOAD_CURVE_MAX_LOAD);
	if (c->n == 0 && p.t_s != 0)
		return fail(rd->error, -EBADMSG, "the first point must be at t_s 0, not %g", p.t_s);
	if (c->n > 0 && p.t_s <= c->points[c->n - 1].t_s)
		return fail(rd->error, -EBADMSG, "t_s %g does not come after %g", p.t_s,
			    c->points[c->n - 1].t_s);
	return append(rd, p);
}

static int read_line(struct reader *rd, char *line)
{
	if (line[0] == '\0' || line[0] == '#')
		return 0;
	if (rd->seen_header)
		return read_point(rd, line);
	if (strcmp(line, "t_s,load") != 0)
		return fail(rd->error, -EBADMSG, "expected the header 't_s,load', found '%.40s'",
			    line);
	rd->seen_header = true;
	return 0;
}

/* One line without its end; bytes that no text file has are refused here, so that the parsers
 * see plain strings. Returns 1, 0 at the end of the file, or a negative errno. */
static int next_line(FILE *f, char line[static LINE_MAX_BYTES], struct load_curve_error *e)
{
	size_t n = 0;
	int c;

	while ((c = getc(f)) != EOF && c != '\n') {
		if (c == '\0' || (c < ' ' && c != '\r' && c != '\t'))
			return fail(e, -EBADMSG, "byte 0x%02x does not belong in a text file", c);
		if (n == LINE_MAX_BYTES - 1)
			return fail(e, -EBADMSG, "longer than %d bytes", LINE_MAX_BYTES - 1);
		line[n++] = (char)c;
	}
	if (ferror(f))
		return fail(e, -EIO, "cannot be read");
	if (c == EOF && n == 0)
		return 0;
	if (n > 0 && line[n - 1] == '\r')
		n--;
	line[n] = '\0';
	return 1;
}

int load_curve_read(FILE *f, struct load_curve **ret, struct load_curve_error *ret_error)
{
	_cleanup_(load_curve_freep) struct load_curve *c = calloc(1, sizeof(*c));
	struct reader rd = {.curve = c, .error = ret_error};
	char line[LINE_MAX_BYTES];
	int r;

	*ret_error = (struct load_curve_error){0};
	if (!c)
		return fail(ret_error, -ENOMEM, "out of memory");
	for (;;) {
		ret_error->line++;
		r = next_line(f, line, ret_error);
		if (r == 0)
			break;
		if (r > 0)
			r = read_line(&rd, line);
		if (r < 0)
			return r;
	}
	ret_error->line = 0;
	if (c->n < 2)
		return fail(ret_error, -EBADMSG, "a curve needs two points or more, found %u",
			    c->n);
	*ret = TAKE_PTR(c);
	return 0;
}

int load_curve_load(const char *path, struct load_curve **ret, struct load_curve_error *ret_error)
{
	_cleanup_(fclosep) FILE *f = fopen(path, "re");

	if (!f) {
		int r = -errno;

		*ret_error = (struct load_curve_error){0};
		return fail(ret_error, r, "%s", strerror(-r));
	}
	return load_curve_read(f, ret, ret_error);
}

int load_curve_constant(double duration_s, struct load_curve **ret)
{
	_cleanup_(load_curve_freep) struct load_curve *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->points = calloc(2, sizeof(*c->points));
	if (!c->points)
		return -ENOMEM;
	c->points[0] = (struct load_point){0, 1};
	c->points[1] = (struct load_point){duration_s, 1};
	c->n = 2;
	*ret = TAKE_PTR(c);
	return 0;
}

struct load_curve *load_curve_free(struct load_curve *c)
{
	if (c)
		free(c->points);
	free(c);
	return NULL;
}
