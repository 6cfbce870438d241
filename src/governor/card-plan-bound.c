/* SPDX-License-Identifier: Apache-2.0 */
/* What plans at a clock cost at least, told from options without their points, which are far more
 * and far apart in memory: energy at the rate without what is late, and a share of the time for
 * which an option is busy at full batches. Most clocks need no more. */
#include "governor/card-plan-internal.h"
#include <math.h>
#include <string.h>

/* More than what CUs are worth, and than points are rounded by. */
#define MARGIN_W    1e-3
#define MARGIN_BUSY 1e-6

uint8_t plan_rows_of(const struct plan_model *m, uint32_t option, double factor)
{
	const struct response_menu *menu = m->menu;
	double limit_ns = m->asked->limit_ns / factor * (1 + MARGIN_BUSY);
	uint32_t rows = menu->n_rates;

	while (rows > 0 &&
	       (menu->rate_rps[rows - 1] > menu->options[option].capacity_rps ||
		(double)response_menu_point(menu, option, rows - 1)->tail_ns > limit_ns))
		rows--;
	return (uint8_t)rows;
}

/* ---- of a model ---- */

void plan_rough_of(const struct planning *p, uint32_t i, uint32_t level, struct plan_rough *ret)
{
	const struct plan_model *m = &p->models[i];
	uint32_t clock = m->clocks[level];

	*ret = (struct plan_rough){.energy_j = INFINITY, .cus_s = INFINITY, .cus = INFINITY};
	for (uint32_t option = m->first[clock]; option < m->first[clock + 1]; option++) {
		const struct menu_option *o = &m->menu->options[option];
		double cus = cu_shape_cus(o->shape);

		if (o->full && p->n > 1)
			continue;
		ret->energy_j = MIN(ret->energy_j, o->energy_j);
		ret->most_rps = MAX(ret->most_rps, o->capacity_rps);
		ret->cus_s = MIN(ret->cus_s, cus / o->capacity_rps);
		ret->cus = MIN(ret->cus, cus);
	}
}

struct plan_least plan_rough_least(const struct plan_model *m, const struct plan_rough *rough)
{
	double cost_w = m->rate_rps * rough->energy_j - MARGIN_W;
	struct plan_least least = {.cus = rough->cus};

	/* A model that gives way may be served nothing. */
	if (m->may_give_way)
		cost_w = MIN(cost_w, 0.0);
	least.cost_w = cost_w;
	if (m->may_give_way || rough->most_rps <= 0)
		return least;
	least.busy = MIN(m->rate_rps / rough->most_rps, PLAN_MOST_BUSY);
	least.work = m->rate_rps * rough->cus_s / m->menu->n_cus;
	return least;
}

static void hold_with(const struct plan_option *o, struct plan_steps *s)
{
	for (uint32_t row = 0; row < MIN(o->rows, (uint32_t)TABLE_MAX_ROWS); row++) {
		s->units[row] = MIN(s->units[row], o->units);
		s->halves[row] = MIN(s->halves[row], o->halves);
		s->thirds[row] = MIN(s->thirds[row], o->thirds);
	}
}

void plan_steps_of(const struct plan_model *m, uint32_t level, const struct plan_option *options,
		   struct plan_steps *ret)
{
	uint32_t clock = m->clocks[level];

	memset(ret, UINT8_MAX, sizeof(*ret));
	ret->draw = ret->bound_share = INFINITY;
	for (uint32_t option = m->first[clock]; option < m->first[clock + 1]; option++) {
		const struct plan_option *o = &options[option];

		if (!o->may)
			continue;
		hold_with(o, ret);
		ret->any_units = MIN(ret->any_units, o->units);
		ret->draw = MIN(ret->draw, o->draw);
		ret->bound_share = MIN(ret->bound_share, m->menu->options[option].bound_share);
	}
}

void plan_steps_need(const struct plan_model *m, const struct plan_steps *s, struct plan_least *ret)
{
	double excess = s->draw + m->others_load - 1;
	uint32_t row = m->row;

	ret->units = UINT8_MAX;
	if (s->any_units == UINT8_MAX)
		return;
	if (m->others_load > 0 && excess > 0)
		row = plan_row_from(m->menu, row,
				    m->demand_rps * m->factor * (1 + s->bound_share * excess));
	if (row >= m->menu->n_rates)
		return;
	ret->units = s->units[row];
	ret->halves = s->halves[row];
	ret->thirds = s->thirds[row];
}

static void bound_candidate(const struct plan_model *m, const struct plan_candidate *c,
			    double *ret_cost_w, double *ret_busy)
{
	const struct menu_option *o = &m->menu->options[c->choice.option];
	double cost_w = INFINITY, busy = PLAN_MOST_BUSY;

	if (c->may_hold) {
		cost_w = m->rate_rps * o->energy_j;
		busy = MIN(busy, m->menu->rate_rps[c->row] / o->capacity_rps);
	}
	if (m->may_give_way) {
		double rate_rps = m->rate_rps / m->factor;
		double served_rps =
			MIN(rate_rps, TABLE_MAX_UTILISATION * o->capacity_rps / c->choice.factor);
		double unserved = rate_rps > 0 ? 1 - served_rps / rate_rps : 0;

		cost_w = MIN(cost_w, served_rps * m->factor * o->energy_j + m->gives_way_w +
					     m->unserved_w * unserved);
		busy = MIN(busy, served_rps * c->choice.factor / o->capacity_rps);
	}
	*ret_cost_w = cost_w - MARGIN_W;
	*ret_busy = busy * (1 - MARGIN_BUSY);
}

static void add_candidate(const struct plan_model *m, const struct plan_candidate *candidate,
			  uint32_t grain, struct plan_least *l, struct plan_bound *b)
{
	const struct plan_choice *c = &candidate->choice;
	double cus = cu_shape_cus(m->menu->options[c->option].shape), cost_w, busy;
	uint32_t cell = grain > 1 ? c->units / grain : c->units;

	bound_candidate(m, candidate, &cost_w, &busy);
	l->cost_w = MIN(l->cost_w, cost_w);
	l->busy = MIN(l->busy, busy);
	l->cus = MIN(l->cus, cus);
	l->work = MIN(l->work, busy * c->units);
	l->units = MIN(l->units, (uint32_t)c->units);
	l->halves = MIN(l->halves, (uint32_t)c->halves);
	l->thirds = MIN(l->thirds, (uint32_t)c->thirds);
	b->cost_w[cell] = MIN(b->cost_w[cell], cost_w);
	b->idle_share[cell] = MAX(b->idle_share[cell], 1 - busy);
}

void plan_bound_of(const struct planning *p, uint32_t i, uint32_t level,
		   const struct plan_option *options, struct plan_bound *ret)
{
	const struct plan_model *m = &p->models[i];
	struct plan_least least = plan_least_none;
	uint32_t clock = m->clocks[level], grain = p->rooms.grain, next;

	for (uint32_t cell = 0; cell <= p->rooms.cells; cell++) {
		ret->cost_w[cell] = INFINITY;
		ret->idle_share[cell] = 0;
	}
	for (uint32_t option = m->first[clock]; option < m->first[clock + 1]; option = next) {
		struct plan_candidate candidates[PLAN_AT_ONCE];
		uint32_t n =
			plan_look_at(p, m, options, option, m->first[clock + 1], candidates, &next);

		for (uint32_t j = 0; j < n; j++)
			add_candidate(m, &candidates[j], grain, &least, ret);
	}
	ret->any = least.units < UINT32_MAX;
	least.work /= p->rooms.n_se * p->rooms.parts;
	ret->least = least;
}

/* ---- of all ---- */

/* The share of the time that one of them is busy, at least. Beside what each would be with the most
 * CUs, a model that is busy for u_i has s_i of the card, u_i s_i no less than its work w_i, and the
 * s_i together are no more than 1: so the sum of u_i is no less than the square of the sum of
 * sqrt(w_i), and the product of 1 - u_i no more than exp(-sum of u_i). */
static double least_busy(const struct planning *p, const struct plan_least *least)
{
	double idle_share = 1, roots = 0;

	for (uint32_t i = 0; i < p->n; i++) {
		idle_share *= 1 - least[i].busy;
		roots += sqrt(least[i].work);
	}
	return p->n > 1 ? MAX(1 - idle_share, 1 - exp(-roots * roots)) : 1 - idle_share;
}

static double static_w(const struct planning *p, const struct plan_clock *clock,
		       const struct plan_least *least, double busy)
{
	double cus = clock->always_cus;

	for (uint32_t i = 0; clock->adds_up && i < p->n; i++)
		cus += least[i].cus;
	return clock->idle_w + busy * (clock->uncore_w + MIN(cus, clock->most_cus) * clock->cu_w);
}

double plan_bound_w(const struct planning *p, const struct plan_clock *clock,
		    const struct plan_least *least)
{
	double cost_w = static_w(p, clock, least, least_busy(p, least));

	for (uint32_t i = 0; i < p->n; i++)
		cost_w += least[i].cost_w;
	return cost_w;
}

/* Those who want more cells are in it only for what they have more of. */
static void add_to_cells(const struct plan_bound *b, uint32_t cells, const struct plan_cells *costs,
			 const struct plan_cells *idle, struct plan_cells *ret_costs,
			 struct plan_cells *ret_idle)
{
	double least_w = INFINITY, most = 0;

	plan_cells_set(ret_costs, INFINITY, INFINITY);
	plan_cells_set(ret_idle, 0, 0);
	for (uint32_t taken = 0; taken <= cells; taken++) {
		if (b->cost_w[taken] < least_w) {
			least_w = b->cost_w[taken];
			plan_cells_least(least_w, taken, cells, costs, ret_costs);
		}
		if (b->idle_share[taken] > most) {
			most = b->idle_share[taken];
			plan_cells_most(most, taken, cells, idle, ret_idle);
		}
	}
}

double plan_bound_in_room_w(struct planning *p, uint32_t level, const struct plan_clock *clock,
			    const struct plan_least *least)
{
	struct plan_cells costs[2], idle[2];
	uint32_t cells = p->rooms.cells, last = p->n % 2;
	double idle_share;

	plan_cells_set(&costs[0], INFINITY, 0);
	plan_cells_set(&idle[0], 0, 1);
	for (uint32_t i = 0; i < p->n; i++) {
		struct plan_bound in;

		add_to_cells(plan_kept_bound(p, i, level, &in), cells, &costs[i % 2], &idle[i % 2],
			     &costs[(i + 1) % 2], &idle[(i + 1) % 2]);
	}
	idle_share = plan_in_cells(&idle[last], cells);
	if (idle_share <= 0)
		return INFINITY;
	return static_w(p, clock, least, MAX(1 - idle_share, least_busy(p, least))) +
	       plan_in_cells(&costs[last], cells);
}
