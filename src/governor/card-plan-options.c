/* SPDX-License-Identifier: Apache-2.0 */
/* What an option of a model means at the demand in hand. */
#include "governor/card-plan-internal.h"
#include <math.h>
#include <string.h>

#define RATE_TOLERANCE 1e-9
/* Of a model that gives way: no logarithm of nothing. */
#define MOST_BUSY 0.999
/* Fewer CUs at the same cost are no gain. Far below anything that costs are known to. */
#define CU_WORTH_W 1e-6

static const struct menu_option *baseline(const struct response_menu *m)
{
	return &m->options[m->baseline];
}

/* The first rate from row on that holds rate_rps; n_rates: none. */
static uint32_t row_from(const struct response_menu *m, uint32_t row, double rate_rps)
{
	while (row < m->n_rates && m->rate_rps[row] < rate_rps * (1 - RATE_TOLERANCE))
		row++;
	return row;
}

static double bound_ns(const struct menu_option *o)
{
	return o->service_ns * o->bound_share / MAX(o->batch, 1u);
}

static double demand_rps(const struct card_plan_model *m)
{
	return m->demand_rps > 0 ? m->demand_rps : 0;
}

static double factor(const struct card_plan_model *m)
{
	return m->factor > 0 ? m->factor : 1;
}

/* Levels within 2 % are one, see planner_level_mhz(). */
static void match_clocks(const struct governor_config *card, struct plan_model *m)
{
	memset(m->clocks, PLAN_NO_CLOCK, sizeof(m->clocks));
	for (uint32_t clock = 0, level = 0; clock < m->menu->n_clocks; clock++) {
		uint64_t mhz = m->menu->clocks[clock].max_mhz;

		while (level + 1 < card->n_levels &&
		       (uint64_t)card->level_mhz[level] * 102 < mhz * 100)
			level++;
		m->clocks[level] = (uint8_t)clock;
	}
}

static bool may_choose(const struct card_plan_model *m, uint32_t option)
{
	return response_menu_may_choose(m->menu, option, m->may_mask, m->may_batch);
}

/* Cells are sorted by clock first. */
static void find_clocks(struct plan_model *m)
{
	const struct response_menu *menu = m->menu;

	for (uint32_t clock = 0; clock <= menu->n_clocks; clock++) {
		uint32_t low = clock > 0 ? m->first[clock - 1] : 0, high = menu->n_options;

		while (low < high) {
			uint32_t middle = low + (high - low) / 2;

			if (menu->options[middle].clock < clock)
				low = middle + 1;
			else
				high = middle;
		}
		m->first[clock] = (uint16_t)low;
	}
}

/* At the lowest rate load may rise at once. Beside others a boost of the clock has to do. */
static void set_row0(const struct card_plan_request *q, struct plan_model *m)
{
	const struct response_menu *menu = m->menu;

	m->only = UINT32_MAX;
	if (q->n > 1 || m->row > 0)
		return;
	for (uint32_t i = 0; i < menu->n_options; i++) {
		if (menu->options[i].cell != menu->row0_cell)
			continue;
		m->least_capacity_rps = MAX(m->least_capacity_rps, menu->options[i].capacity_rps);
		if (may_choose(m->asked, i))
			m->only = i;
	}
}

void plan_model_init(const struct card_plan_request *q, uint32_t index, struct plan_model *ret)
{
	const struct card_plan_model *asked = &q->models[index];
	const struct response_menu *menu = asked->menu;
	double wanted_rps = demand_rps(asked) * factor(asked);

	*ret = (struct plan_model){.asked = asked, .menu = menu, .index = index};
	ret->least_capacity_rps = asked->least_capacity_rps;
	ret->row = row_from(menu, 0, wanted_rps);
	ret->rate_rps = ret->row < menu->n_rates ? menu->rate_rps[ret->row] : wanted_rps;
	ret->bound_ns = bound_ns(baseline(menu));
	ret->load = MIN(ret->rate_rps * ret->bound_ns / 1e9, 1.0);
	ret->late_w = asked->late_cost * response_menu_busy_w(menu, menu->baseline) *
		      ret->rate_rps / menu->rated_rps;
	match_clocks(q->card, ret);
	find_clocks(ret);
	set_row0(q, ret);
}

/* How much longer its services take because of the others. */
static double stretch(const struct plan_model *m, const struct menu_option *o)
{
	double own_ns = bound_ns(o), draw, excess;

	if (m->others_load <= 0 || own_ns <= 0)
		return 1;
	draw = MIN(m->bound_ns / own_ns, 1.0);
	excess = draw + m->others_load - 1;
	return excess > 0 ? 1 + o->bound_share * excess : 1;
}

static bool set_room(const struct plan_rooms *rooms, const struct menu_option *o,
		     struct plan_choice *c)
{
	uint32_t n_se = o->shape.n_se, parts;

	if (rooms->n_xcc > 1) {
		if (n_se % rooms->n_xcc != 0)
			return false;
		n_se /= rooms->n_xcc;
	}
	if (o->full || cu_shape_cus(o->shape) == 0 || n_se > rooms->n_se ||
	    o->shape.cus_per_se > rooms->se_cus)
		return false;
	parts = rooms->parts_for[o->shape.cus_per_se];
	c->n_se = (uint8_t)n_se;
	c->parts = (uint8_t)parts;
	c->units = (uint16_t)(n_se * parts);
	c->halves = (uint8_t)(2 * parts > rooms->parts ? n_se : 0);
	c->thirds = (uint8_t)(n_se * ((3 * parts > rooms->parts) + (3 * parts > 2 * rooms->parts)));
	return true;
}

static void set_power(const struct plan_model *m, const struct menu_option *o, double busy,
		      double rate_rps, struct plan_choice *c)
{
	busy = CLAMP(busy, 0.0, MOST_BUSY);
	c->idle_share = 1 - busy;
	c->own_w = rate_rps * o->energy_j;
	switch (m->menu->gating) {
	case TABLE_GATING_CU:
		c->ungated_cus = o->full ? m->menu->n_cus : cu_shape_cus(o->shape);
		break;
	case TABLE_GATING_SE:
		c->ungated_cus = (double)m->menu->n_cus * o->shape.n_se / m->menu->n_se;
		break;
	default:
		c->ungated_cus = 0;
	}
}

/* A model that gives way gets what throughput there is, and then what little lateness. */
static void set_what_is_left(const struct plan_model *m, const struct menu_option *o,
			     const struct menu_point *p, struct plan_choice *c)
{
	double most_rps = TABLE_MAX_UTILISATION * o->capacity_rps / c->factor;
	double rate_rps = m->rate_rps / factor(m->asked);
	double served_rps = MIN(rate_rps, most_rps);
	double unserved = rate_rps > 0 ? 1 - served_rps / rate_rps : 0;
	double late = p ? response_menu_late(p, m->asked->limit_ns / c->factor) : 1;

	set_power(m, o, served_rps * c->factor / o->capacity_rps, served_rps * factor(m->asked), c);
	c->cost_w = c->own_w + m->gives_way_w + m->unserved_w * unserved;
	if (m->gives_way_w > 0)
		c->cost_w +=
			late * response_menu_busy_w(m->menu, m->menu->baseline) * TABLE_LATE_COST;
}

/* The room that it takes is set already. */
static bool evaluate(const struct card_plan_request *q, const struct plan_model *m, uint32_t option,
		     double stretched, struct plan_choice *ret)
{
	const struct menu_option *o = &m->menu->options[option];
	const struct menu_point *p = NULL;
	uint32_t row;

	if (!m->may_give_way && ((m->only != UINT32_MAX && m->only != option) ||
				 o->capacity_rps < m->least_capacity_rps))
		return false;
	if (!m->may_give_way && m->rate_rps * stretched > o->capacity_rps)
		return false;
	ret->option = option;
	ret->factor = factor(m->asked) * stretched;
	row = stretched > 1 ? row_from(m->menu, m->row, demand_rps(m->asked) * ret->factor)
			    : m->row;
	if (row < m->menu->n_rates)
		p = response_menu_point(m->menu, option, row);
	ret->tail_ns = p ? (float)(p->tail_ns * ret->factor) : INFINITY;
	if (isinf(ret->tail_ns) || ret->tail_ns > m->asked->limit_ns) {
		if (!m->may_give_way)
			return false;
		set_what_is_left(m, o, p, ret);
	} else {
		set_power(m, o, p->busy, m->rate_rps, ret);
		ret->cost_w = ret->own_w;
		if (m->late_w > 0 && !(m->may_give_way && m->gives_way_w <= 0))
			ret->cost_w += m->late_w *
				       response_menu_late(p, (double)m->menu->slo_ns / ret->factor);
	}
	/* A mask that gates nothing must be worth its trouble against leaving it alone. */
	if (q->n == 1 && m->menu->gating == TABLE_GATING_NONE && !o->full)
		ret->cost_w += CARD_PLAN_TIE_W;
	ret->cost_w -= CU_WORTH_W * cu_shape_cus(o->shape);
	return true;
}

bool plan_evaluate(const struct card_plan_request *q, const struct plan_rooms *rooms,
		   const struct plan_model *m, uint32_t option, struct plan_choice *ret)
{
	const struct menu_option *o = &m->menu->options[option];

	ret->n_se = ret->parts = ret->halves = ret->thirds = 0;
	ret->units = 0;
	if (!may_choose(m->asked, option) || (q->n > 1 && !set_room(rooms, o, ret)))
		return false;
	return evaluate(q, m, option, stretch(m, o), ret);
}

bool plan_evaluate_shared(const struct card_plan_request *q, const struct plan_model *m,
			  uint32_t option, double stretched, struct plan_choice *ret)
{
	const struct menu_option *o = &m->menu->options[option];

	*ret = (struct plan_choice){0};
	return o->full && may_choose(m->asked, option) && evaluate(q, m, option, stretched, ret);
}

static double static_power_w(const struct plan_clock *c, const struct plan_choice *choices,
			     uint32_t n)
{
	double idle_share = 1, cus = c->always_cus;

	for (uint32_t i = 0; i < n; i++) {
		idle_share *= choices[i].idle_share;
		cus += choices[i].ungated_cus;
	}
	return c->idle_w + (1 - idle_share) * (c->uncore_w + MIN(cus, c->most_cus) * c->cu_w);
}

double plan_power_w(const struct plan_clock *c, const struct plan_choice *choices, uint32_t n)
{
	double power_w = static_power_w(c, choices, n);

	for (uint32_t i = 0; i < n; i++)
		power_w += choices[i].own_w;
	return power_w;
}

double plan_cost_w(const struct plan_clock *c, const struct plan_choice *choices, uint32_t n)
{
	double cost_w = static_power_w(c, choices, n);

	for (uint32_t i = 0; i < n; i++)
		cost_w += choices[i].cost_w;
	return cost_w;
}
