/* SPDX-License-Identifier: Apache-2.0 */
/* Single values of a surface file: every number has a range, every text a length. */
#include "response/surface-reader.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

int surface_reader_fail(struct reader *r, int code, unsigned int line, const char *format, ...)
{
	va_list ap;

	if (!r->error)
		return code;
	r->error->line = line;
	va_start(ap, format);
	(void)vsnprintf(r->error->text, sizeof(r->error->text), format, ap);
	va_end(ap);
	return code;
}

static int parse_ranged(struct reader *r, const struct field *f, const char *text, bool whole,
			double *ret)
{
	double value = 0;
	uint32_t u = 0;
	int e;

	e = whole ? parse_u32(text, &u) : parse_double(text, &value);
	if (whole)
		value = u;
	if (e < 0 || value < f->min || value > f->max)
		return bad(r, "%s: expected a %s from %.15g to %.15g, got '%.40s'", f->name,
			   whole ? "whole number" : "finite number", f->min, f->max, text);
	*ret = value;
	return 0;
}

static int parse_text(struct reader *r, const struct field *f, const char *text, char *ret)
{
	size_t length = strlen(text);

	if (length > (size_t)f->max)
		return bad(r, "%s: expected at most %.0f bytes, got %zu", f->name, f->max, length);
	memcpy(ret, text, length + 1);
	return 0;
}

static int parse_word(struct reader *r, const struct field *f, const char *text)
{
	if (strcmp(text, f->word) != 0)
		return bad(r, "%s: expected '%s', got '%.40s'", f->name, f->word, text);
	return 0;
}

static int parse_source(struct reader *r, const struct field *f, const char *text, bool *ret)
{
	bool simulated = strcmp(text, "simulated") == 0;

	if (!simulated && strcmp(text, "measured") != 0)
		return bad(r, "%s: expected measured or simulated, got '%.40s'", f->name, text);
	*ret = simulated;
	return 0;
}

static int parse_columns(struct reader *r, const struct field *f, const char *text)
{
	char expected[SURFACE_LINE_MAX];

	row_format_columns(f->columns, expected, sizeof(expected));
	if (strcmp(text, expected) != 0)
		return bad(r, "%s: expected '%.180s'", f->name, expected);
	return 0;
}

static int parse_levels(struct reader *r, const struct field *f, char *text)
{
	struct surface *s = r->surface;
	double value = 0;
	char *word;
	int e;

	s->n_levels = 0;
	while ((word = strsep(&text, " "))) {
		if (s->n_levels >= SURFACE_MAX_LEVELS)
			return bad(r, "%s: more than %u levels", f->name, SURFACE_MAX_LEVELS);
		e = parse_ranged(r, f, word, /* whole= */ true, &value);
		if (e < 0)
			return e;
		if (s->n_levels > 0 && value <= s->level_mhz[s->n_levels - 1])
			return bad(r, "%s: expected ascending levels, got %s after %u", f->name,
				   word, s->level_mhz[s->n_levels - 1]);
		s->level_mhz[s->n_levels++] = (uint32_t)value;
	}
	return 0;
}

static int parse_powers(struct reader *r, const struct field *f, char *text, double *ret,
			uint32_t *ret_n)
{
	uint32_t n = 0;
	char *word;
	int e;

	while ((word = strsep(&text, " "))) {
		if (n >= SURFACE_MAX_LEVELS)
			return bad(r, "%s: more than %u powers", f->name, SURFACE_MAX_LEVELS);
		ret[n] = NAN;
		if (strcmp(word, SURFACE_UNKNOWN) != 0) {
			e = parse_ranged(r, f, word, /* whole= */ false, &ret[n]);
			if (e < 0)
				return e;
		}
		n++;
	}
	*ret_n = n;
	return 0;
}

static int parse_flags(struct reader *r, const struct field *f, char *text, uint32_t *ret)
{
	uint32_t flags = 0;
	char *word;

	if (strcmp(text, SURFACE_UNKNOWN) == 0)
		return 0;
	while ((word = strsep(&text, "+"))) {
		uint32_t flag = 0;

		for (unsigned int i = 0; i < ARRAY_SIZE(surface_flag_names); i++)
			if (strcmp(word, surface_flag_names[i].name) == 0)
				flag = surface_flag_names[i].flag;
		if (!flag || flags & flag)
			return bad(r, "%s: expected '-' or throttled+unstable+struck, got '%.40s'",
				   f->name, word);
		flags |= flag;
	}
	*ret = flags;
	return 0;
}

int surface_reader_field(struct reader *r, const struct field *f, char *text, void *base)
{
	void *target = (char *)base + f->offset;
	double value = 0;
	int e;

	switch (f->kind) {
	case FIELD_TEXT:
		return parse_text(r, f, text, target);
	case FIELD_WORD:
		return parse_word(r, f, text);
	case FIELD_SOURCE:
		return parse_source(r, f, text, target);
	case FIELD_COLUMNS:
		return parse_columns(r, f, text);
	case FIELD_LEVELS:
		return parse_levels(r, f, text);
	case FIELD_POWERS:
		return parse_powers(r, f, text, target,
				    &r->n_powers[target != r->surface->idle_power_w]);
	case FIELD_FLAGS:
		return parse_flags(r, f, text, target);
	default:
		break;
	}
	e = parse_ranged(r, f, text, f->kind == FIELD_U32 || f->kind == FIELD_U16, &value);
	if (e < 0)
		return e;
	if (f->kind == FIELD_U32)
		*(uint32_t *)target = (uint32_t)value;
	else if (f->kind == FIELD_U16)
		*(uint16_t *)target = (uint16_t)value;
	else
		*(double *)target = value;
	return 0;
}

/* The caller has counted the columns, so strsep() has one to give. */
static int parse_quantiles(struct reader *r, const struct field *f, char **text, float *ret)
{
	for (unsigned int i = 0; i < SURFACE_QUANTILES; i++) {
		double value = 0;
		int e;

		e = parse_ranged(r, f, strsep(text, ","), /* whole= */ false, &value);
		if (e < 0)
			return e;
		ret[i] = (float)value;
		if (i > 0 && ret[i] < ret[i - 1])
			return bad(r, "%s: quantile %u (%.9g) is below quantile %u (%.9g)", f->name,
				   i, ret[i], i - 1, ret[i - 1]);
	}
	return 0;
}

int surface_reader_columns(struct reader *r, const struct row_format *format, char *text, void *ret)
{
	unsigned int n = 1;
	int e = 0;

	for (const char *p = text; *p; p++)
		n += *p == ',';
	if (n != format->n_columns)
		return bad(r, "%s row: expected %u columns behind '%s', got %u", format->name,
			   format->n_columns, format->name, n);
	for (unsigned int i = 0; i < format->n_fields && e >= 0; i++) {
		const struct field *f = &format->fields[i];

		if (f->kind == FIELD_QUANTILES)
			e = parse_quantiles(r, f, &text, (float *)((char *)ret + f->offset));
		else
			e = surface_reader_field(r, f, strsep(&text, ","), ret);
	}
	return e;
}
