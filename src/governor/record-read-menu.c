/* SPDX-License-Identifier: Apache-2.0 */
/* Menus of a record. What a governor goes by without looking is made sure of here: indices, rates
 * that are the table's, curves that ascend. */
#include "governor/record-cursor.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct menu_reading {
	struct record_reader *reader;
	uint32_t card, model;
	struct response_menu *menu;
	struct record_error *error;
};

/* The next line of this menu. */
static int expect(const struct menu_reading *m, const char *keyword, struct record_cursor *ret)
{
	int r = record_expect_config(m->reader, keyword, m->card, ret, m->error);

	if (r < 0)
		return r;
	record_take_index(ret, "model", m->model);
	return ret->r;
}

static int bad(const struct menu_reading *m, const char *what)
{
	return record_refuse(m->error, m->reader->line, -EBADMSG, "%s", what);
}

static int read_rates(const struct menu_reading *m, const struct response_table *t)
{
	struct record_cursor c;
	int r = expect(m, "rates", &c);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < m->menu->n_rates; i++)
		m->menu->rate_rps[i] = record_take_finite(&c, "rate");
	r = record_take_end(&c);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < m->menu->n_rates; i++)
		if (m->menu->rate_rps[i] != t->rows[i].rate_rps)
			return bad(m, "the rates are not those of the table");
	return 0;
}

static int read_clocks(const struct menu_reading *m)
{
	for (uint32_t i = 0; i < m->menu->n_clocks; i++) {
		struct menu_clock *clock = &m->menu->clocks[i];
		struct record_cursor c;
		int r = expect(m, "clock", &c);

		if (r < 0)
			return r;
		record_take_index(&c, "clock", i);
		r = record_take_fields(&c, &record_line_clock, clock);
		if (r < 0)
			return r;
		if (i > 0 && clock->max_mhz <= clock[-1].max_mhz)
			return bad(m, "clocks do not ascend");
	}
	return 0;
}

static int read_point(const struct menu_reading *m, uint32_t option, uint32_t rate)
{
	struct menu_point *p = &m->menu->points[(size_t)option * m->menu->n_rates + rate];
	struct record_cursor c;
	int r = expect(m, "point", &c);

	if (r < 0)
		return r;
	record_take_index(&c, "option", option);
	record_take_index(&c, "point", rate);
	r = record_take_fields(&c, &record_line_point, p);
	if (r < 0)
		return r;
	for (int i = 1; i < TAIL_SHARES; i++)
		if (p->survival.at[i] < p->survival.at[i - 1])
			return bad(m, "a survival curve that does not ascend");
	return 0;
}

static int read_option(const struct menu_reading *m, uint32_t i)
{
	struct menu_option *o = &m->menu->options[i];
	struct record_cursor c;
	uint32_t n_points;
	int r = expect(m, "option", &c);

	if (r < 0)
		return r;
	record_take_index(&c, "option", i);
	n_points = record_take_u32(&c, "n_points", m->menu->n_rates);
	r = record_take_fields(&c, &record_line_option, o);
	if (r < 0)
		return r;
	if (o->clock >= m->menu->n_clocks || o->batch == 0 || !(o->capacity_rps > 0) ||
	    !(o->service_ns > 0) || o->bound_share > 1)
		return bad(m, "an option without a clock, batch, capacity or service time");
	for (uint32_t rate = 0; rate < m->menu->n_rates; rate++) {
		if (rate < n_points)
			r = read_point(m, i, rate);
		else
			m->menu->points[(size_t)i * m->menu->n_rates + rate] =
				menu_point_unsustained;
		if (r < 0)
			return r;
	}
	return 0;
}

/* The first line, into a menu with room for the rest. */
static int read_start(struct menu_reading *m, struct record_cursor *c,
		      const struct response_table *t, uint32_t *points)
{
	struct response_menu start = {0}, *new;
	uint32_t room;
	int r = record_take_fields(c, &record_line_menu, &start);

	if (r < 0)
		return r;
	if (!t || start.n_rates != t->n_rows)
		return bad(m, "a menu with other rates than the model's table");
	if (start.n_clocks == 0 || start.baseline >= start.n_options || start.n_se == 0 ||
	    start.n_cus == 0 || start.percentile == 0)
		return bad(m, "a menu without clocks, baseline, CUs or percentile");
	room = start.n_options * start.n_rates;
	if (room > RECORD_MAX_POINTS - *points)
		return bad(m, "more points than menus may have");
	*points += room;
	new = response_menu_new(start.n_options, start.n_rates);
	if (!new)
		return record_refuse(m->error, m->reader->line, -ENOMEM, "out of memory");
	start.options = new->options;
	start.points = new->points;
	*new = start;
	m->menu = new;
	return 0;
}

int record_read_menu(struct record_reader *reader, uint32_t card, struct record_cursor *c,
		     struct record_config *config, uint32_t *points, struct record_error *error)
{
	struct menu_reading m = {.reader = reader, .card = card, .error = error};
	struct governor_model_config *of;
	int r;

	m.model = record_take_u32(c, "model", GOVERNOR_MAX_MODELS - 1);
	if (c->r == 0 && (m.model >= config->config.n_models || config->menus[m.model]))
		CURSOR_REFUSE(c, "the menu of model %" PRIu32 " is beyond them or given twice",
			      m.model);
	if (c->r < 0)
		return c->r;
	of = &config->config.models[m.model];
	r = read_start(&m, c, of->table, points);
	if (r < 0)
		return r;
	config->menus[m.model] = m.menu;
	r = read_rates(&m, of->table);
	if (r == 0)
		r = read_clocks(&m);
	for (uint32_t i = 0; r == 0 && i < m.menu->n_options; i++)
		r = read_option(&m, i);
	of->menu = m.menu;
	return r;
}
