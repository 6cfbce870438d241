/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs of SWIM and requests of Azure's LLM traces: times, to be counted in bins. */
#include "base/parse.h"
#include "load/trace-formats.h"
#include <errno.h>
#include <math.h>
#include <string.h>
#include <time.h>

#define SWIM_DAY_S    86400.0
#define AZURE_HEADER  "TIMESTAMP,ContextTokens,GeneratedTokens"
#define AZURE_COLUMNS 3

static int count(struct trace_reader *rd, double t_s)
{
	if (t_s < rd->last_s)
		return trace_fail(rd->error, -EBADMSG, "not in order: %.3f s comes after %.3f s",
				  t_s, rd->last_s);
	rd->last_s = t_s;
	rd->trace->n_lines++;
	trace_bins_add(&rd->bins, t_s);
	return 0;
}

static int end(struct trace_reader *rd)
{
	const struct trace_options *o = rd->options;
	uint32_t n = (uint32_t)ceil(o->duration_s);

	rd->trace->duration_s = o->duration_s;
	rd->trace->smoothing_k = o->smoothing_k;
	return trace_bins_curve(&rd->bins, n, o->duration_s, o->smoothing_k, &rd->trace->curve,
				&rd->trace->bin_s, rd->error);
}

/* The field, NUL-terminated in its line, and the rest behind it; NULL if there is none. */
static char *take_field(char **rest, char separator)
{
	char *field = *rest, *stop;

	if (!field)
		return NULL;
	stop = strchr(field, separator);
	if (stop)
		*stop++ = '\0';
	*rest = stop;
	return field;
}

/* ---- SWIM ---- */

static bool is_swim(const char *line)
{
	return strncmp(line, "job", 3) == 0 && strchr(line, '\t');
}

static int swim_line(struct trace_reader *rd, char *line)
{
	char *rest = line, *submit;
	double t_s;

	(void)take_field(&rest, '\t');
	submit = take_field(&rest, '\t');
	if (!submit)
		return trace_fail(rd->error, -EBADMSG,
				  "expected 'job<TAB>submit time<TAB>...', found no tab");
	if (parse_double(submit, &t_s) < 0 || t_s < 0 || t_s > TRACE_MAX_SPAN_S)
		return trace_fail(rd->error, -EBADMSG,
				  "submit time '%.40s' is not a time in seconds from 0 to %g",
				  submit, TRACE_MAX_SPAN_S);
	return count(rd, t_s);
}

const struct trace_format_ops trace_swim = {
	.format = TRACE_SWIM,
	.name = "swim",
	.binned = true,
	.span_s = SWIM_DAY_S,
	.looks_like = is_swim,
	.line = swim_line,
	.end = end,
};

/* ---- Azure ---- */

static bool is_azure(const char *line)
{
	return strcmp(line, AZURE_HEADER) == 0;
}

/* "2023-11-16 18:17:03.9799600", as UTC; also without the fraction. */
static int parse_timestamp(const char *text, double *ret_s)
{
	double fraction = 0;
	const char *rest;
	struct tm tm = {0};

	rest = strptime(text, "%Y-%m-%d %H:%M:%S", &tm);
	if (!rest)
		return -EINVAL;
	if (*rest == '.') {
		char digits[32];

		if (strlen(rest) < 2 || strlen(rest) > sizeof(digits) - 2 ||
		    strspn(rest + 1, "0123456789") != strlen(rest + 1))
			return -EINVAL;
		(void)snprintf(digits, sizeof(digits), "0%s", rest);
		if (parse_double(digits, &fraction) < 0)
			return -EINVAL;
	} else if (*rest) {
		return -EINVAL;
	}
	*ret_s = (double)timegm(&tm) + fraction;
	return 0;
}

static int azure_line(struct trace_reader *rd, char *line)
{
	char *rest = line, *stamp;
	uint64_t tokens;
	double t_s;

	if (!rd->seen_header) {
		if (!is_azure(line))
			return trace_fail(rd->error, -EBADMSG,
					  "expected the header '%s', found '%.60s'", AZURE_HEADER,
					  line);
		rd->seen_header = true;
		return 0;
	}
	stamp = take_field(&rest, ',');
	if (parse_timestamp(stamp, &t_s) < 0)
		return trace_fail(
			rd->error, -EBADMSG,
			"TIMESTAMP '%.40s' is not a time like 2023-11-16 18:17:03.9799600", stamp);
	for (unsigned int i = 1; i < AZURE_COLUMNS; i++) {
		const char *field = take_field(&rest, ',');

		if (!field || parse_u64(field, &tokens) < 0)
			return trace_fail(rd->error, -EBADMSG,
					  "%s '%.40s' is not a number of tokens",
					  i == 1 ? "ContextTokens" : "GeneratedTokens",
					  field ? field : "");
	}
	if (rest)
		return trace_fail(rd->error, -EBADMSG, "expected %d columns, found more",
				  AZURE_COLUMNS);
	if (rd->trace->n_lines == 0)
		rd->origin_s = t_s;
	if (t_s - rd->origin_s > TRACE_MAX_SPAN_S)
		return trace_fail(rd->error, -EBADMSG, "more than %g s after the first line",
				  TRACE_MAX_SPAN_S);
	return count(rd, t_s - rd->origin_s);
}

const struct trace_format_ops trace_azure_llm = {
	.format = TRACE_AZURE_LLM,
	.name = "azure-llm",
	.binned = true,
	.looks_like = is_azure,
	.line = azure_line,
	.end = end,
};
