/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/record-cursor.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

int record_refuse(struct record_error *e, unsigned int line, int r, const char *format, ...)
{
	va_list ap;

	e->line = line;
	va_start(ap, format);
	(void)vsnprintf(e->text, sizeof(e->text), format, ap);
	va_end(ap);
	return r;
}

const char *record_take_text(struct record_cursor *c, const char *what)
{
	char *field = c->rest, *end;

	if (c->r < 0)
		return "";
	if (!field || !*field || *field == ' ') {
		CURSOR_REFUSE(c, "field '%s' is missing", what);
		return "";
	}
	end = strchr(field, ' ');
	if (end)
		*end++ = '\0';
	c->rest = end;
	return field;
}

uint64_t record_take_u64(struct record_cursor *c, const char *what, uint64_t max)
{
	const char *text = record_take_text(c, what);
	uint64_t value = 0;

	if (c->r < 0)
		return 0;
	if (parse_u64(text, &value) < 0 || value > max) {
		CURSOR_REFUSE(c, "%s = '%.40s': expected an integer up to %" PRIu64, what, text,
			      max);
		return 0;
	}
	return value;
}

uint32_t record_take_u32(struct record_cursor *c, const char *what, uint32_t max)
{
	return (uint32_t)record_take_u64(c, what, max);
}

static double take_double(struct record_cursor *c, const struct record_field *f)
{
	const char *text = record_take_text(c, f->name);
	double value = 0, least = f->type == RECORD_SIGNED ? -RECORD_FINITE_MAX : 0;

	if (c->r < 0)
		return 0;
	if ((f->type == RECORD_DOUBLE || f->type == RECORD_POWER) && strcmp(text, "nan") == 0)
		return NAN;
	if (f->type == RECORD_DOUBLE && strcmp(text, "inf") == 0)
		return INFINITY;
	if (f->type == RECORD_DOUBLE && strcmp(text, "-inf") == 0)
		return -INFINITY;
	if (parse_double(text, &value) < 0 ||
	    (f->type != RECORD_DOUBLE && !(value >= least && value <= RECORD_FINITE_MAX))) {
		CURSOR_REFUSE(c, "%s = '%.40s': expected a number%s", f->name, text,
			      f->type == RECORD_DOUBLE	 ? ""
			      : f->type == RECORD_SIGNED ? " from -1e18 to 1e18"
							 : " from 0 to 1e18");
		return 0;
	}
	return value;
}

double record_take_finite(struct record_cursor *c, const char *what)
{
	const struct record_field field = {.name = what, .type = RECORD_FINITE};

	return take_double(c, &field);
}

static unsigned int take_name(struct record_cursor *c, const struct record_field *f)
{
	const char *text = record_take_text(c, f->name);

	for (unsigned int i = 0; i < f->max; i++)
		if (strcmp(text, f->name_of(i)) == 0)
			return i;
	CURSOR_REFUSE(c, "%s = '%.40s': not a name that is known", f->name, text);
	return 0;
}

void record_take_model_name(struct record_cursor *c, const char *what, char ret[MODEL_NAME_MAX + 1])
{
	const char *text = record_take_text(c, what);

	if (c->r == 0 && !model_name_is_valid(text))
		CURSOR_REFUSE(c, "%s = '%.40s': not a model's name", what, text);
	if (c->r == 0)
		(void)snprintf(ret, MODEL_NAME_MAX + 1, "%s", text);
}

static void take_field(struct record_cursor *c, const struct record_field *f, void *object)
{
	void *p = (char *)object + f->offset;

	switch (f->type) {
	case RECORD_U16:
		*(uint16_t *)p = (uint16_t)record_take_u64(c, f->name, f->max);
		break;
	case RECORD_U32:
		*(uint32_t *)p = record_take_u32(c, f->name, (uint32_t)f->max);
		break;
	case RECORD_U64:
		*(uint64_t *)p = record_take_u64(c, f->name, f->max);
		break;
	case RECORD_BOOL:
		*(bool *)p = record_take_u64(c, f->name, 1);
		break;
	case RECORD_DOUBLE:
	case RECORD_FINITE:
	case RECORD_POWER:
	case RECORD_SIGNED:
		*(double *)p = take_double(c, f);
		break;
	case RECORD_FLOAT:
		*(float *)p = (float)take_double(c, f);
		break;
	case RECORD_MODEL_NAME:
		record_take_model_name(c, f->name, p);
		break;
	case RECORD_NAME:
		*(unsigned int *)p = take_name(c, f);
		break;
	}
}

int record_take_end(struct record_cursor *c)
{
	if (c->rest)
		CURSOR_REFUSE(c, "text after the last field: '%.40s'", c->rest);
	return c->r;
}

int record_take_fields(struct record_cursor *c, const struct record_line *line, void *object)
{
	for (unsigned int i = 0; i < line->n_fields; i++)
		take_field(c, &line->fields[i], object);
	return record_take_end(c);
}

void record_take_index(struct record_cursor *c, const char *what, uint32_t expected)
{
	uint32_t value = record_take_u32(c, what, UINT32_MAX);

	if (c->r == 0 && value != expected)
		CURSOR_REFUSE(c, "%s %" PRIu32 ": expected %" PRIu32, what, value, expected);
}

int record_read_line(struct record_reader *r, struct record_error *error)
{
	size_t n;

	errno = 0;
	if (!fgets(r->line_text, sizeof(r->line_text), r->file)) {
		if (ferror(r->file))
			return record_refuse(error, r->line, errno ? -errno : -EIO,
					     "cannot be read");
		return 0;
	}
	r->line++;
	n = strlen(r->line_text);
	if (n == 0 || r->line_text[n - 1] != '\n')
		return record_refuse(error, r->line, -EBADMSG,
				     "line is cut off, holds a NUL, or is longer than %d bytes",
				     RECORD_LINE_MAX - 1);
	r->line_text[n - 1] = '\0';
	return 1;
}

int record_keep_text(struct record_reader *r, struct record_error *error)
{
	size_t n = strlen(r->line_text);

	if (r->text_length + n + 1 >= sizeof(r->text))
		return record_refuse(error, r->line, -EBADMSG, "more text than a step can have");
	memcpy(r->text + r->text_length, r->line_text, n);
	r->text[r->text_length + n] = '\n';
	r->text_length += n + 1;
	r->text[r->text_length] = '\0';
	return 0;
}

int record_expect(struct record_reader *r, const char *keyword, uint32_t card,
		  struct record_cursor *ret, struct record_error *error)
{
	int n = record_read_line(r, error);
	const char *found;

	if (n < 0)
		return n;
	if (n == 0)
		return record_refuse(error, r->line, -EBADMSG,
				     "the file ends where '%s' is expected", keyword);
	n = record_keep_text(r, error);
	if (n < 0)
		return n;
	*ret = (struct record_cursor){r->line_text, r->line, 0, error};
	found = record_take_text(ret, "keyword");
	if (ret->r == 0 && strcmp(found, keyword) != 0)
		CURSOR_REFUSE(ret, "'%.20s': expected '%s'", found, keyword);
	record_take_index(ret, "card", card);
	return ret->r;
}

int record_expect_config(struct record_reader *r, const char *keyword, uint32_t card,
			 struct record_cursor *ret, struct record_error *error)
{
	r->text_length = 0;
	return record_expect(r, keyword, card, ret, error);
}
