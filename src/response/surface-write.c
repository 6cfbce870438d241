/* SPDX-License-Identifier: Apache-2.0 */
/* Writer of surface files: what it writes, the reader takes and gives back bit by bit. What the
 * reader would not take (a NaN, a line break in a name) is refused here already. */
#include "response/surface-format.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* Enough digits to read back as the same value; quantiles are floats, which have 9. */
static int write_number(FILE *f, double value, bool single)
{
	char text[40];

	if (!isfinite(value))
		return -EINVAL;
	(void)snprintf(text, sizeof(text), "%.*g", single ? 9 : 15, value);
	if (!single && strtod(text, NULL) != value)
		(void)snprintf(text, sizeof(text), "%.17g", value);
	(void)fputs(text, f);
	return 0;
}

static int write_text(FILE *f, const char *text, size_t max)
{
	if (strnlen(text, max + 1) > max || !surface_text_is_plain(text))
		return -EINVAL;
	(void)fputs(text, f);
	return 0;
}

static int write_powers(FILE *f, const double *power_w, uint32_t n)
{
	int r = 0;

	for (uint32_t i = 0; i < n && r >= 0; i++) {
		(void)fputs(i ? " " : "", f);
		if (isnan(power_w[i]))
			(void)fputs(SURFACE_UNKNOWN, f);
		else
			r = write_number(f, power_w[i], /* single= */ false);
	}
	return r;
}

static void write_flags(FILE *f, uint32_t flags)
{
	const char *separator = "";

	for (unsigned int i = 0; i < ARRAY_SIZE(surface_flag_names); i++) {
		if (!(flags & surface_flag_names[i].flag))
			continue;
		(void)fprintf(f, "%s%s", separator, surface_flag_names[i].name);
		separator = "+";
	}
	if (!*separator)
		(void)fputs(SURFACE_UNKNOWN, f);
}

static int write_quantiles(FILE *f, const float *quantiles)
{
	int r = 0;

	for (unsigned int i = 0; i < SURFACE_QUANTILES && r >= 0; i++) {
		(void)fputs(i ? "," : "", f);
		r = write_number(f, quantiles[i], /* single= */ true);
	}
	return r;
}

static void write_levels(FILE *f, const struct surface *s)
{
	for (uint32_t i = 0; i < s->n_levels; i++)
		(void)fprintf(f, "%s%u", i ? " " : "", s->level_mhz[i]);
}

static void write_columns(FILE *f, const struct row_format *format)
{
	char names[SURFACE_LINE_MAX];

	row_format_columns(format, names, sizeof(names));
	(void)fputs(names, f);
}

static int write_field(FILE *f, const struct field *field, const void *base)
{
	const void *value = (const char *)base + field->offset;

	switch (field->kind) {
	case FIELD_U32:
		(void)fprintf(f, "%u", *(const uint32_t *)value);
		return 0;
	case FIELD_U16:
		(void)fprintf(f, "%u", *(const uint16_t *)value);
		return 0;
	case FIELD_DOUBLE:
		return write_number(f, *(const double *)value, /* single= */ false);
	case FIELD_TEXT:
		return write_text(f, value, (size_t)field->max);
	case FIELD_WORD:
		(void)fputs(field->word, f);
		return 0;
	case FIELD_SOURCE:
		(void)fputs(*(const bool *)value ? "simulated" : "measured", f);
		return 0;
	case FIELD_LEVELS:
		write_levels(f, base);
		return 0;
	case FIELD_POWERS:
		return write_powers(f, value, ((const struct surface *)base)->n_levels);
	case FIELD_COLUMNS:
		write_columns(f, field->columns);
		return 0;
	case FIELD_FLAGS:
		write_flags(f, *(const uint32_t *)value);
		return 0;
	case FIELD_QUANTILES:
		return write_quantiles(f, value);
	}
	return -EINVAL;
}

static int stream_state(FILE *f)
{
	return ferror(f) ? -(errno > 0 ? errno : EIO) : 0;
}

static int write_header(FILE *f, const struct surface *s, bool whole)
{
	if (s->n_levels > SURFACE_MAX_LEVELS)
		return -EINVAL;
	(void)fprintf(f, "# " SURFACE_MAGIC " = %u\n", SURFACE_FORMAT_VERSION);
	for (unsigned int i = 0; i < surface_n_header_fields; i++) {
		const struct field *field = &surface_header_fields[i];
		int r;

		if (field->whole_file_only && !whole)
			continue;
		(void)fprintf(f, "# %s = ", field->name);
		r = write_field(f, field, s);
		if (r < 0)
			return r;
		(void)fputc('\n', f);
	}
	return stream_state(f);
}

static int write_row(FILE *f, const struct row_format *format, const void *row)
{
	(void)fputs(format->name, f);
	for (unsigned int i = 0; i < format->n_fields; i++) {
		int r;

		(void)fputc(',', f);
		r = write_field(f, &format->fields[i], row);
		if (r < 0)
			return r;
	}
	(void)fputc('\n', f);
	return stream_state(f);
}

int surface_write_header(FILE *f, const struct surface *s)
{
	return write_header(f, s, /* whole= */ false);
}

int surface_write_cell(FILE *f, const struct surface_cell *c)
{
	return write_row(f, &surface_cell_format, c);
}

int surface_write_load(FILE *f, const struct surface_load *l)
{
	return write_row(f, &surface_load_format, l);
}

int surface_write(FILE *f, const struct surface *s)
{
	int r;

	r = write_header(f, s, /* whole= */ true);
	for (uint32_t i = 0; i < s->n_cells && r >= 0; i++)
		r = surface_write_cell(f, &s->cells[i]);
	for (uint32_t i = 0; i < s->n_loads && r >= 0; i++)
		r = surface_write_load(f, &s->loads[i]);
	if (r < 0)
		return r;
	return fflush(f) == 0 ? 0 : -errno;
}
