/* SPDX-License-Identifier: Apache-2.0 */
/* What an option of a model means at the demand in hand. */
#include "governor/card-plan-internal.h"
#include <math.h>
#include <string.h>

#define RATE_TOLERANCE 1e-9
/* Fewer CUs at the same cost are no gain. Far below anything that costs are known to. */
#define CU_WORTH_W 1e-6

static const struct menu_option *baseline(const struct response_menu *m)
{
	return &m->options[m->baseline];
}

uint32_t plan_row_from(const struct response_menu *m, uint32_t row, double rate_rps)
{
	double wanted_rps = rate_rps * (1 - RATE_TOLERANCE), last_rps = m->rate_rps[m->n_rates - 1];
	uint32_t at;

	if (row >= m->n_rates || !(wanted_rps <= last_rps))
		return m->n_rates;
	/* Mostly rates are as far from each other all over. */
	at = MAX((uint32_t)(wanted_rps / last_rps * (m->n_rates - 1)), row);
	while (m->rate_rps[at] < wanted_rps)
		at++;
	while (at > row && m->rate_rps[at - 1] >= wanted_rps)
		at--;
	return at;
}

static double bound_ns(const struct menu_option *o)
{
	return o->service_ns * o->bound_share / MAX(o->batch, 1u);
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

static void find_clocks(struct plan_model *m)
{
	for (uint32_t clock = 0, low = 0; clock <= m->menu->n_clocks; clock++) {
		low = response_menu_from(m->menu, low, offsetof(struct menu_option, clock), clock);
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
	double wanted_rps;

	*ret = (struct plan_model){.asked = asked, .menu = menu, .index = index};
	ret->demand_rps = asked->demand_rps > 0 ? asked->demand_rps : 0;
	ret->factor = asked->factor > 0 ? asked->factor : 1;
	ret->least_capacity_rps = asked->least_capacity_rps;
	wanted_rps = ret->demand_rps * ret->factor;
	ret->row = plan_row_from(menu, 0, wanted_rps);
	ret->rate_rps = ret->row < menu->n_rates ? menu->rate_rps[ret->row] : wanted_rps;
	ret->bound_ns = bound_ns(baseline(menu));
	ret->load = MIN(ret->rate_rps * ret->bound_ns / 1e9, 1.0);
	ret->baseline_w = response_menu_busy_w(menu, menu->baseline);
	ret->late_w = asked->late_cost * ret->baseline_w * ret->rate_rps / menu->rated_rps;
	match_clocks(q->card, ret);
	find_clocks(ret);
	set_row0(q, ret);
}

/* How much longer its services take because of the others. */
static double stretch(const struct plan_model *m, const struct menu_option *o, double draw)
{
	double excess = draw + m->others_load - 1;

	return m->others_load > 0 && excess > 0 ? 1 + o->bound_share * excess : 1;
}

static bool set_room(const struct plan_rooms *rooms, const struct menu_option *o,
		     struct plan_option *ret)
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
	ret->n_se = (uint8_t)n_se;
	ret->parts = (uint8_t)parts;
	ret->units = (uint8_t)(n_se * parts);
	ret->halves = (uint8_t)(2 * parts > rooms->parts ? n_se : 0);
	ret->thirds =
		(uint8_t)(n_se * ((3 * parts > rooms->parts) + (3 * parts > 2 * rooms->parts)));
	return true;
}

void plan_option_init(const struct card_plan_request *q, const struct plan_rooms *rooms,
		      const struct plan_model *m, uint32_t option, struct plan_option *ret)
{
	const struct menu_option *o = &m->menu->options[option];
	double own_ns = bound_ns(o);

	*ret = (struct plan_option){
		.draw = own_ns > 0 ? MIN(m->bound_ns / own_ns, 1.0) : 0,
		.rows = UINT8_MAX,
	};
	ret->may = may_choose(m->asked, option) && (q->n == 1 || set_room(rooms, o, ret));
}

static void set_power(const struct plan_model *m, const struct menu_option *o, double busy,
		      double rate_rps, struct plan_choice *c)
{
	busy = CLAMP(busy, 0.0, PLAN_MOST_BUSY);
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
	double rate_rps = m->rate_rps / m->factor;
	double served_rps = MIN(rate_rps, most_rps);
	double unserved = rate_rps > 0 ? 1 - served_rps / rate_rps : 0;
	double late = p ? response_menu_late(p, m->asked->limit_ns / c->factor) : 1;

	set_power(m, o, served_rps * c->factor / o->capacity_rps, served_rps * m->factor, c);
	c->cost_w = c->own_w + m->gives_way_w + m->unserved_w * unserved;
	if (m->gives_way_w > 0)
		c->cost_w += late * m->baseline_w * TABLE_LATE_COST;
}

/* Whether it can be one, and where its point is. */
static bool look_at(const struct plan_model *m, uint32_t option, uint32_t rows, double stretched,
		    struct plan_candidate *ret)
{
	const struct response_menu *menu = m->menu;
	const struct menu_option *o = &menu->options[option];
	uint32_t row = m->row;

	if (!m->may_give_way &&
	    ((m->only != UINT32_MAX && m->only != option) ||
	     o->capacity_rps < m->least_capacity_rps || o->capacity_rps < m->rate_rps * stretched))
		return false;
	ret->choice.option = (uint16_t)option;
	ret->choice.factor = m->factor * stretched;
	if (stretched > 1)
		row = plan_row_from(menu, row, m->demand_rps * ret->choice.factor);
	ret->row = row;
	ret->stretched = stretched;
	ret->may_hold = row < MIN(rows, menu->n_rates);
	ret->point = row < menu->n_rates ? response_menu_point(menu, option, row) : NULL;
	return ret->may_hold || m->may_give_way;
}

static bool look_at_in_room(const struct plan_model *m, uint32_t option,
			    const struct plan_option *o, struct plan_candidate *ret)
{
	struct plan_choice *c = &ret->choice;

	if (!o->may)
		return false;
	c->n_se = o->n_se;
	c->parts = o->parts;
	c->units = o->units;
	c->halves = o->halves;
	c->thirds = o->thirds;
	return look_at(m, option, o->rows, stretch(m, &m->menu->options[option], o->draw), ret);
}

uint32_t plan_look_at(const struct planning *p, const struct plan_model *m,
		      const struct plan_option *options, uint32_t first, uint32_t end,
		      struct plan_candidate ret[PLAN_AT_ONCE], uint32_t *ret_next)
{
	uint32_t n = 0;

	*ret_next = end = MIN(first + PLAN_AT_ONCE, end);
	for (uint32_t option = first; option < end; option++) {
		struct plan_option unknown;

		if (!options)
			plan_option_init(p->request, &p->rooms, m, option, &unknown);
		n += look_at_in_room(m, option, options ? &options[option] : &unknown, &ret[n]);
	}
	return n;
}

bool plan_weigh(const struct card_plan_request *q, const struct plan_model *m,
		struct plan_candidate *c)
{
	struct plan_choice *choice = &c->choice;
	const struct menu_option *o = &m->menu->options[choice->option];
	const struct menu_point *p = c->point;

	choice->tail_ns = p ? (float)(p->tail_ns * choice->factor) : INFINITY;
	if (isinf(choice->tail_ns) || choice->tail_ns > m->asked->limit_ns) {
		if (!m->may_give_way)
			return false;
		set_what_is_left(m, o, p, choice);
	} else {
		set_power(m, o, p->busy, m->rate_rps, choice);
		choice->cost_w = choice->own_w;
		if (m->late_w > 0 && !(m->may_give_way && m->gives_way_w <= 0))
			choice->cost_w +=
				m->late_w *
				response_menu_late(p, (double)m->menu->slo_ns / choice->factor);
	}
	/* A mask that gates nothing must be worth its trouble against leaving it alone. */
	if (q->n == 1 && m->menu->gating == TABLE_GATING_NONE && !o->full)
		choice->cost_w += CARD_PLAN_TIE_W;
	choice->cost_w -= CU_WORTH_W * cu_shape_cus(o->shape);
	return true;
}

bool plan_evaluate(const struct card_plan_request *q, const struct plan_rooms *rooms,
		   const struct plan_model *m, uint32_t option, struct plan_choice *ret)
{
	struct plan_candidate c;
	struct plan_option o;

	plan_option_init(q, rooms, m, option, &o);
	if (!look_at_in_room(m, option, &o, &c) || !plan_weigh(q, m, &c))
		return false;
	*ret = c.choice;
	return true;
}

bool plan_evaluate_shared(const struct card_plan_request *q, const struct plan_model *m,
			  uint32_t option, double stretched, struct plan_choice *ret)
{
	struct plan_candidate c = {{0}};

	if (!m->menu->options[option].full || !may_choose(m->asked, option) ||
	    !look_at(m, option, UINT8_MAX, stretched, &c) || !plan_weigh(q, m, &c))
		return false;
	*ret = c.choice;
	return true;
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
