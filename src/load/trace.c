/* SPDX-License-Identifier: Apache-2.0 */
#include "load/trace.h"
#include "base/units.h"
#include "load/arrivals.h"
#include "load/text-line.h"
#include "load/trace-formats.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#define LINE_MAX_BYTES 4096 /* SWIM's jobs may name their input files */

static const struct trace_format_ops *const formats[] = {
	&trace_swim,
	&trace_azure_llm,
	&trace_rate,
	&trace_requests,
};

int trace_fail(struct trace_error *e, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(e->text, sizeof(e->text), format, ap);
	va_end(ap);
	return r;
}

const char *trace_format_name(enum trace_format f)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (formats[i]->format == f)
			return formats[i]->name;
	return "guess";
}

int trace_format_parse(const char *name, enum trace_format *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (strcmp(formats[i]->name, name) == 0) {
			*ret = formats[i]->format;
			return 0;
		}
	return -EINVAL;
}

static const struct trace_format_ops *find_format(enum trace_format wanted, const char *line)
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
		if (wanted == TRACE_GUESS ? formats[i]->looks_like(line)
					  : formats[i]->format == wanted)
			return formats[i];
	return NULL;
}

static int check_options(const struct trace_options *o, struct trace_error *e)
{
	if (!(o->duration_s >= 0 && o->duration_s <= LOAD_CURVE_MAX_S))
		return trace_fail(e, -EINVAL, "duration %g s: expected up to %g", o->duration_s,
				  LOAD_CURVE_MAX_S);
	if (!(o->start_s >= 0 && o->start_s <= TRACE_MAX_SPAN_S) ||
	    !(o->span_s >= 0 && o->span_s <= TRACE_MAX_SPAN_S))
		return trace_fail(e, -EINVAL, "start %g s, span %g s: expected 0 to %g", o->start_s,
				  o->span_s, TRACE_MAX_SPAN_S);
	return 0;
}

/* What the format adds to the options. */
static int check_for_format(const struct trace_format_ops *ops, struct trace_options *o,
			    struct trace_error *e)
{
	if (!ops->binned) {
		if (o->smoothing_k > 0 || o->start_s > 0 || o->span_s > 0)
			return trace_fail(
				e, -EINVAL,
				"a %s trace is taken as it is: no smoothing, start or span",
				ops->name);
		return 0;
	}
	if (o->duration_s == 0)
		o->duration_s = TRACE_DEFAULT_DURATION_S;
	if (o->smoothing_k == 0)
		o->smoothing_k = TRACE_DEFAULT_SMOOTHING;
	if (o->span_s == 0 && ops->span_s > 0)
		o->span_s = MAX(ops->span_s - o->start_s, 0);
	if (ceil(o->duration_s) > TRACE_MAX_BINS)
		return trace_fail(e, -EINVAL, "duration %g s: expected up to %u", o->duration_s,
				  TRACE_MAX_BINS);
	if (o->smoothing_k % 2 == 0 || o->smoothing_k > TRACE_MAX_BINS)
		return trace_fail(e, -EINVAL, "smoothing over %u bins: expected an odd number",
				  o->smoothing_k);
	if (ops->span_s > 0 && o->span_s == 0)
		return trace_fail(e, -EINVAL, "start %g s is beyond the trace's %g s", o->start_s,
				  ops->span_s);
	return 0;
}

static int begin(struct trace_reader *rd, const struct trace_format_ops *ops,
		 struct trace_options *o)
{
	int r;

	r = check_for_format(ops, o, rd->error);
	if (r < 0)
		return r;
	rd->trace->format = ops->format;
	if (ops->binned &&
	    trace_bins_init(&rd->bins, o->start_s, o->span_s, (uint32_t)ceil(o->duration_s)) < 0)
		return trace_fail(rd->error, -ENOMEM, "out of memory");
	return 0;
}

static bool is_skipped(const char *line)
{
	return line[0] == '\0' || line[0] == '#';
}

static int read_all(FILE *f, struct trace_reader *rd, struct trace_options *o)
{
	char line[LINE_MAX_BYTES], problem[TEXT_LINE_PROBLEM_MAX];
	const struct trace_format_ops *ops = NULL;
	int r;

	for (;;) {
		rd->error->line++;
		r = text_line_next(f, line, sizeof(line), problem);
		if (r < 0)
			return trace_fail(rd->error, r, "%s", problem);
		if (r == 0)
			break;
		if (is_skipped(line))
			continue;
		if (!ops) {
			ops = find_format(o->format, line);
			if (!ops)
				return trace_fail(
					rd->error, -EBADMSG,
					"neither swim, azure-llm, rate nor requests begins "
					"with '%.60s'",
					line);
			r = begin(rd, ops, o);
			if (r < 0)
				return r;
		}
		r = ops->line(rd, line);
		if (r < 0)
			return r;
	}
	rd->error->line = 0;
	if (!ops || rd->trace->n_lines == 0)
		return trace_fail(rd->error, -EBADMSG, "the trace is empty");
	return ops->end(rd);
}

static double curve_mean(const struct load_curve *c)
{
	double area = 0;

	for (uint32_t i = 1; i < c->n; i++)
		area += (c->points[i].load + c->points[i - 1].load) / 2 *
			(c->points[i].t_s - c->points[i - 1].t_s);
	return area / c->points[c->n - 1].t_s;
}

int trace_read(FILE *f, const struct trace_options *o, struct trace **ret,
	       struct trace_error *ret_error)
{
	_cleanup_(trace_freep) struct trace *t = calloc(1, sizeof(*t));
	struct trace_options options = *o;
	struct trace_reader rd = {.options = &options, .trace = t, .error = ret_error};
	int r;

	*ret_error = (struct trace_error){0};
	if (!t)
		return trace_fail(ret_error, -ENOMEM, "out of memory");
	t->mean_load = NAN;
	r = check_options(o, ret_error);
	if (r == 0)
		r = read_all(f, &rd, &options);
	trace_bins_done(&rd.bins);
	load_curve_reader_free(rd.curve);
	if (r < 0)
		return r;
	if (t->smoothing_k > 0)
		t->mean_load = curve_mean(t->curve);
	*ret = TAKE_PTR(t);
	return 0;
}

int trace_load(const char *path, const struct trace_options *o, struct trace **ret,
	       struct trace_error *ret_error)
{
	_cleanup_(fclosep) FILE *f = fopen(path, "re");

	if (!f) {
		int r = -errno;

		*ret_error = (struct trace_error){0};
		return trace_fail(ret_error, r, "%s", strerror(-r));
	}
	return trace_read(f, o, ret, ret_error);
}

struct trace *trace_free(struct trace *t)
{
	if (t) {
		load_curve_free(t->curve);
		free(t->request_ns);
	}
	free(t);
	return NULL;
}

int trace_arrivals(const struct trace *t, double rated_rps, uint64_t seed, uint64_t **ret,
		   uint32_t *ret_n)
{
	_cleanup_(freep) uint64_t *list = NULL;
	struct arrivals a;
	uint64_t offset_ns;
	size_t n = 0, room = 0;

	if (t->request_ns) {
		list = malloc(MAX(t->n_requests, 1u) * sizeof(*list));
		if (!list)
			return -ENOMEM;
		memcpy(list, t->request_ns, t->n_requests * sizeof(*list));
		*ret = TAKE_PTR(list);
		*ret_n = t->n_requests;
		return 0;
	}
	a = arrivals_make(t->curve, seed, t->absolute ? 1 : rated_rps, /* compression= */ 1,
			  (uint64_t)(t->duration_s * (double)NSEC_PER_SEC));
	while (arrivals_next(&a, &offset_ns)) {
		if (n == TRACE_MAX_REQUESTS)
			return -EFBIG;
		if (n == room) {
			uint64_t *grown;

			room = MAX(2 * room, (size_t)4096);
			grown = realloc(list, room * sizeof(*list));
			if (!grown)
				return -ENOMEM;
			list = grown;
		}
		list[n++] = offset_ns;
	}
	if (!list) {
		list = malloc(sizeof(*list));
		if (!list)
			return -ENOMEM;
	}
	*ret = TAKE_PTR(list);
	*ret_n = (uint32_t)n;
	return 0;
}
