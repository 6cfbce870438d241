/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/record-format.h"
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

struct output {
	char *buffer;
	size_t size, length;
	int r;
};

static void _printf_(2, 3) put(struct output *o, const char *format, ...)
{
	va_list ap;
	int n;

	if (o->r < 0)
		return;
	va_start(ap, format);
	n = vsnprintf(o->buffer + o->length, o->size - o->length, format, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= o->size - o->length)
		o->r = -ENOSPC;
	else
		o->length += (size_t)n;
}

/* 17 digits come back as the same double, 9 as the same float. The locale's radix, of whatever
 * bytes, becomes a point.
 */
static void put_digits(struct output *o, double value, int digits)
{
	char text[64];
	size_t n = 0;

	if (isnan(value)) {
		put(o, " nan");
		return;
	}
	(void)snprintf(text, sizeof(text), "%.*g", digits, value);
	for (const char *p = text; *p; p++) {
		bool radix = !strchr("0123456789+-einf", *p);

		if (!radix || n == 0 || text[n - 1] != '.')
			text[n++] = radix ? '.' : *p;
	}
	text[n] = '\0';
	put(o, " %s", text);
}

static void put_double(struct output *o, double value)
{
	put_digits(o, value, 17);
}

static uint64_t integer(const struct record_field *f, const void *p)
{
	switch (f->type) {
	case RECORD_U16:
		return *(const uint16_t *)p;
	case RECORD_U64:
		return *(const uint64_t *)p;
	case RECORD_BOOL:
		return *(const bool *)p;
	default:
		return *(const uint32_t *)p;
	}
}

/* Enums have the size of an int, and none here is negative. */
static void put_name(struct output *o, const struct record_field *f, unsigned int value)
{
	put(o, " %s", value < f->max ? f->name_of(value) : "unknown");
}

static void put_field(struct output *o, const struct record_field *f, const void *object)
{
	const void *p = (const char *)object + f->offset;

	switch (f->type) {
	case RECORD_DOUBLE:
	case RECORD_FINITE:
	case RECORD_POWER:
	case RECORD_SIGNED:
		put_double(o, *(const double *)p);
		break;
	case RECORD_FLOAT:
		put_digits(o, (double)*(const float *)p, 9);
		break;
	case RECORD_MODEL_NAME:
		if (!model_name_is_valid(p))
			o->r = o->r < 0 ? o->r : -EINVAL;
		put(o, " %s", (const char *)p);
		break;
	case RECORD_NAME:
		put_name(o, f, *(const unsigned int *)p);
		break;
	default:
		put(o, " %" PRIu64, integer(f, p));
	}
}

static void put_fields(struct output *o, const struct record_line *line, const void *object)
{
	for (unsigned int i = 0; i < line->n_fields; i++)
		put_field(o, &line->fields[i], object);
	put(o, "\n");
}

static int finish(const struct output *o)
{
	return o->r < 0 ? o->r : (int)o->length;
}

int record_format_start(char *buffer, size_t size)
{
	struct output o = {buffer, size};

	put(&o, "cofris-record %d\n", RECORD_VERSION);
	return finish(&o);
}

static void put_card(struct output *o, uint32_t card, const char *bdf, bool inherit,
		     const struct governor_config *c)
{
	const struct cu_topology *t = &c->topology;

	put(o, "card %" PRIu32 " %s %d %" PRIu64 " %" PRIu64 " %" PRIu32, card, bdf ? bdf : "-",
	    inherit, c->poll_ns, c->power_cap_uw, c->n_levels);
	for (uint32_t i = 0; i < c->n_levels; i++)
		put(o, " %" PRIu32, c->level_mhz[i]);
	put(o, " %" PRIu32 " %" PRIu32 " %" PRIu32 " %d", t->n_se, t->n_sh_per_se, t->n_xcc,
	    t->wgp_pairs);
	for (uint32_t se = 0; se < MIN(t->n_se, (uint32_t)CU_MAX_SE); se++)
		for (uint32_t sh = 0; sh < MIN(t->n_sh_per_se, (uint32_t)CU_MAX_SH); sh++)
			put(o, " %u", t->active[se][sh]);
	put(o, " %" PRIu32 "\n", c->n_models);
}

static void put_table(struct output *o, uint32_t card, uint32_t index,
		      const struct response_table *t)
{
	put(o, "table %" PRIu32 " %" PRIu32, card, index);
	put_fields(o, &record_line_table, t);
	for (uint32_t i = 0; i <= t->n_rows; i++) {
		put(o, "row %" PRIu32 " %" PRIu32 " %" PRIu32, card, index, i);
		put_fields(o, &record_line_row, i < t->n_rows ? &t->rows[i] : &t->baseline);
	}
}

/* The models' tables by number: first those in force with masks, then those without. */
static const struct response_table *table_at(const struct governor_config *c, uint32_t index)
{
	return index < c->n_models ? c->models[index].table
				   : c->models[index - c->n_models].clock_table;
}

/* The first number with the same table; a table is written there. */
static uint32_t table_index(const struct governor_config *c, uint32_t index)
{
	uint32_t i = 0;

	while (table_at(c, i) != table_at(c, index))
		i++;
	return i;
}

static void put_reference(struct output *o, const struct governor_config *c, uint32_t index)
{
	if (table_at(c, index))
		put(o, " %" PRIu32, table_index(c, index));
	else
		put(o, " -");
}

static void put_model(struct output *o, uint32_t card, uint32_t index,
		      const struct governor_config *c)
{
	const struct governor_model_config *m = &c->models[index];

	if (!model_name_is_valid(m->name))
		o->r = o->r < 0 ? o->r : -EINVAL;
	put(o, "model %" PRIu32 " %" PRIu32 " %s %s %" PRIu32 " %d %" PRIu32, card, index, m->name,
	    m->policy, m->priority, m->use_mask, m->max_batch);
	put_reference(o, c, index);
	put_reference(o, c, c->n_models + index);
	put_double(o, m->headroom);
	put_double(o, m->late_cost);
	put(o, "\n");
}

int record_format_config(char *buffer, size_t size, uint32_t card, const char *bdf, bool inherit,
			 const struct governor_config *config)
{
	struct output o = {buffer, size};

	put_card(&o, card, bdf, inherit, config);
	for (uint32_t i = 0; i < 2 * config->n_models; i++)
		if (table_at(config, i) && table_index(config, i) == i)
			put_table(&o, card, i, table_at(config, i));
	for (uint32_t i = 0; i < config->n_models; i++)
		put_model(&o, card, i, config);
	return finish(&o);
}

int record_format_ready(char *buffer, size_t size, uint32_t card)
{
	struct output o = {buffer, size};

	put(&o, "ready %" PRIu32 "\n", card);
	return finish(&o);
}

static void put_menu_start(struct output *o, uint32_t card, uint32_t model,
			   const struct response_menu *m)
{
	put(o, "menu %" PRIu32 " %" PRIu32, card, model);
	put_fields(o, &record_line_menu, m);
	put(o, "rates %" PRIu32 " %" PRIu32, card, model);
	for (uint32_t i = 0; i < m->n_rates; i++)
		put_double(o, m->rate_rps[i]);
	put(o, "\n");
	for (uint32_t i = 0; i < m->n_clocks; i++) {
		put(o, "clock %" PRIu32 " %" PRIu32 " %" PRIu32, card, model, i);
		put_fields(o, &record_line_clock, &m->clocks[i]);
	}
}

static void put_option(struct output *o, uint32_t card, uint32_t model,
		       const struct response_menu *m, uint32_t option)
{
	uint32_t n = m->n_rates;

	while (n > 0 && isinf(response_menu_point(m, option, n - 1)->tail_ns))
		n--;
	put(o, "option %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32, card, model, option, n);
	put_fields(o, &record_line_option, &m->options[option]);
	for (uint32_t i = 0; i < n; i++) {
		put(o, "point %" PRIu32 " %" PRIu32 " %" PRIu32 " %" PRIu32, card, model, option,
		    i);
		put_fields(o, &record_line_point, response_menu_point(m, option, i));
	}
}

int record_format_menu(char *buffer, size_t size, uint32_t card, uint32_t model,
		       const struct response_menu *menu, uint32_t piece)
{
	struct output o = {buffer, size};

	if (piece == 0)
		put_menu_start(&o, card, model, menu);
	else
		put_option(&o, card, model, menu, piece - 1);
	return finish(&o);
}

int record_format_input(char *buffer, size_t size, uint32_t card, uint32_t n_models,
			const struct governor_input *input)
{
	struct output o = {buffer, size};

	put(&o, "input %" PRIu32, card);
	put_fields(&o, &record_line_input, input);
	for (uint32_t i = 0; i < n_models; i++) {
		put(&o, "in %" PRIu32 " %" PRIu32, card, i);
		put_fields(&o, &record_line_in, &input->models[i]);
	}
	return finish(&o);
}

int record_format_decision(char *buffer, size_t size, uint32_t card,
			   const struct governor_decision *decision)
{
	struct output o = {buffer, size};

	put(&o, "decision %" PRIu32, card);
	put_fields(&o, &record_line_decision, decision);
	for (uint32_t i = 0; i < decision->n_models; i++) {
		put(&o, "out %" PRIu32 " %" PRIu32, card, i);
		put_fields(&o, &record_line_out, &decision->models[i]);
	}
	return finish(&o);
}
