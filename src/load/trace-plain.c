/* SPDX-License-Identifier: Apache-2.0 */
/* Load curves and lists of requests: taken as they are. */
#include "base/parse.h"
#include "base/units.h"
#include "load/trace-formats.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* ---- load curves ---- */

static bool is_rate(const char *line)
{
	return strcmp(line, "t_s,load") == 0 || strcmp(line, "t_s,rps") == 0;
}

static int rate_line(struct trace_reader *rd, char *line)
{
	struct load_curve_error e;
	int r;

	if (!rd->curve && load_curve_reader_new(&rd->curve) < 0)
		return trace_fail(rd->error, -ENOMEM, "out of memory");
	r = load_curve_reader_line(rd->curve, line, &e);
	if (r < 0)
		return trace_fail(rd->error, r, "%s", e.text);
	rd->trace->n_lines += rd->seen_header;
	rd->seen_header = true;
	return 0;
}

/* Time mean of the curve up to end_s. */
static double mean_load(const struct load_curve *c, double end_s)
{
	double area = 0;

	for (uint32_t i = 1; i < c->n && c->points[i - 1].t_s < end_s; i++) {
		const struct load_point *p = &c->points[i - 1];
		double length_s = p[1].t_s - p[0].t_s, part_s = MIN(end_s - p[0].t_s, length_s);
		double last = p[0].load + (p[1].load - p[0].load) * part_s / length_s;

		area += (p[0].load + last) / 2 * part_s;
	}
	return area / end_s;
}

static int rate_end(struct trace_reader *rd)
{
	struct trace *t = rd->trace;
	struct load_curve_error e;
	double curve_s;
	int r;

	if (!rd->curve)
		return trace_fail(rd->error, -EBADMSG, "empty");
	r = load_curve_reader_finish(rd->curve, &t->curve, &e);
	if (r < 0)
		return trace_fail(rd->error, r, "%s", e.text);
	curve_s = t->curve->points[t->curve->n - 1].t_s;
	t->absolute = t->curve->absolute;
	t->duration_s =
		rd->options->duration_s > 0 ? MIN(rd->options->duration_s, curve_s) : curve_s;
	t->mean_load = t->absolute ? NAN : mean_load(t->curve, t->duration_s);
	return 0;
}

const struct trace_format_ops trace_rate = {
	.format = TRACE_RATE,
	.name = "rate",
	.looks_like = is_rate,
	.line = rate_line,
	.end = rate_end,
};

/* ---- requests ---- */

static bool is_requests(const char *line)
{
	return strcmp(line, "t_s") == 0;
}

static int append(struct trace_reader *rd, uint64_t ns)
{
	struct trace *t = rd->trace;

	if (t->n_requests == TRACE_MAX_REQUESTS)
		return trace_fail(rd->error, -EFBIG,
				  "more than %u requests; a shorter duration takes fewer",
				  TRACE_MAX_REQUESTS);
	if (t->n_requests == rd->room) {
		uint32_t room = MAX(2 * rd->room, 1024u);
		uint64_t *grown = realloc(t->request_ns, room * sizeof(*grown));

		if (!grown)
			return trace_fail(rd->error, -ENOMEM, "out of memory");
		t->request_ns = grown;
		rd->room = room;
	}
	t->request_ns[t->n_requests++] = ns;
	return 0;
}

static int requests_line(struct trace_reader *rd, char *line)
{
	double duration_s = rd->options->duration_s, t_s;

	if (!rd->seen_header) {
		if (!is_requests(line))
			return trace_fail(rd->error, -EBADMSG,
					  "expected the header 't_s', found '%.60s'", line);
		rd->seen_header = true;
		return 0;
	}
	if (parse_double(line, &t_s) < 0 || t_s < 0 || t_s > TRACE_MAX_SPAN_S)
		return trace_fail(rd->error, -EBADMSG,
				  "t_s '%.40s' is not a time in seconds from 0 to %g", line,
				  TRACE_MAX_SPAN_S);
	if (t_s < rd->last_s)
		return trace_fail(rd->error, -EBADMSG, "not in order: %.9g s comes after %.9g s",
				  t_s, rd->last_s);
	rd->last_s = t_s;
	rd->trace->n_lines++;
	if (duration_s > 0 && t_s >= duration_s)
		return 0;
	return append(rd, (uint64_t)llround(t_s * (double)NSEC_PER_SEC));
}

static int requests_end(struct trace_reader *rd)
{
	struct trace *t = rd->trace;

	if (t->n_requests == 0)
		return trace_fail(rd->error, -EBADMSG, "no request in the time that was asked for");
	t->duration_s = rd->options->duration_s > 0 ? rd->options->duration_s
						    : nextafter(rd->last_s, INFINITY);
	return 0;
}

const struct trace_format_ops trace_requests = {
	.format = TRACE_REQUESTS,
	.name = "requests",
	.looks_like = is_requests,
	.line = requests_line,
	.end = requests_end,
};
