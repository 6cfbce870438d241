/* SPDX-License-Identifier: Apache-2.0 */
#include "load/load-curve.h"
#include "base/parse.h"
#include "load/text-line.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define LINE_MAX_BYTES 128

struct load_curve_reader {
	struct load_curve *curve;
	uint32_t capacity;
	bool seen_header;
	struct load_curve_error *error; /* of the call */
};

_printf_(3, 4) static int fail(struct load_curve_error *e, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(e->text, sizeof(e->text), format, ap);
	va_end(ap);
	return r;
}

static int append(struct load_curve_reader *rd, struct load_point p)
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

static int read_point(struct load_curve_reader *rd, char *line)
{
	const struct load_curve *c = rd->curve;
	const char *what = c->absolute ? "rps" : "load";
	double most = c->absolute ? LOAD_CURVE_MAX_RPS : LOAD_CURVE_MAX_LOAD;
	char *comma = strchr(line, ',');
	struct load_point p;

	if (!comma)
		return fail(rd->error, -EBADMSG, "expected 't_s,%s', found no comma", what);
	*comma = '\0';
	if (parse_double(line, &p.t_s) < 0 || p.t_s > LOAD_CURVE_MAX_S)
		return fail(rd->error, -EBADMSG, "t_s '%.40s' is not a time in seconds", line);
	if (parse_double(comma + 1, &p.load) < 0 || p.load < 0 || p.load > most)
		return fail(rd->error, -EBADMSG, "%s '%.40s' is not a number from 0 to %g", what,
			    comma + 1, most);
	if (c->n == 0 && p.t_s != 0)
		return fail(rd->error, -EBADMSG, "the first point must be at t_s 0, not %g", p.t_s);
	if (c->n > 0 && p.t_s <= c->points[c->n - 1].t_s)
		return fail(rd->error, -EBADMSG, "t_s %g does not come after %g", p.t_s,
			    c->points[c->n - 1].t_s);
	return append(rd, p);
}

static int read_line(struct load_curve_reader *rd, char *line)
{
	if (line[0] == '\0' || line[0] == '#')
		return 0;
	if (rd->seen_header)
		return read_point(rd, line);
	rd->curve->absolute = strcmp(line, "t_s,rps") == 0;
	if (!rd->curve->absolute && strcmp(line, "t_s,load") != 0)
		return fail(rd->error, -EBADMSG,
			    "expected the header 't_s,load' or 't_s,rps', found '%.40s'", line);
	rd->seen_header = true;
	return 0;
}

int load_curve_reader_new(struct load_curve_reader **ret)
{
	_cleanup_(load_curve_reader_freep) struct load_curve_reader *rd = calloc(1, sizeof(*rd));

	if (!rd)
		return -ENOMEM;
	rd->curve = calloc(1, sizeof(*rd->curve));
	if (!rd->curve)
		return -ENOMEM;
	*ret = TAKE_PTR(rd);
	return 0;
}

struct load_curve_reader *load_curve_reader_free(struct load_curve_reader *rd)
{
	if (rd)
		load_curve_free(rd->curve);
	free(rd);
	return NULL;
}

int load_curve_reader_line(struct load_curve_reader *rd, char *line,
			   struct load_curve_error *ret_error)
{
	rd->error = ret_error;
	return read_line(rd, line);
}

int load_curve_reader_finish(struct load_curve_reader *rd, struct load_curve **ret,
			     struct load_curve_error *ret_error)
{
	ret_error->line = 0;
	if (rd->curve->n < 2)
		return fail(ret_error, -EBADMSG, "a curve needs two points or more, found %u",
			    rd->curve->n);
	*ret = TAKE_PTR(rd->curve);
	return 0;
}

int load_curve_read(FILE *f, struct load_curve **ret, struct load_curve_error *ret_error)
{
	_cleanup_(load_curve_reader_freep) struct load_curve_reader *rd = NULL;
	char line[LINE_MAX_BYTES], problem[TEXT_LINE_PROBLEM_MAX];
	int r;

	*ret_error = (struct load_curve_error){0};
	if (load_curve_reader_new(&rd) < 0)
		return fail(ret_error, -ENOMEM, "out of memory");
	for (;;) {
		ret_error->line++;
		r = text_line_next(f, line, sizeof(line), problem);
		if (r == 0)
			return load_curve_reader_finish(rd, ret, ret_error);
		if (r < 0)
			return fail(ret_error, r, "%s", problem);
		r = load_curve_reader_line(rd, line, ret_error);
		if (r < 0)
			return r;
	}
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
