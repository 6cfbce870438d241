/* SPDX-License-Identifier: Apache-2.0 */
/* What each option of a menu does at each rate. */
#include "response/menu-curves.h"

static const struct surface_cell *cell_of(const struct menu_building *b, uint32_t option)
{
	return &b->surface->cells[b->menu->options[option].cell];
}

const struct menu_point menu_point_unsustained = {
	.tail_ns = INFINITY,
	.busy = 1,
	.power_w = INFINITY,
	.survival = {{UINT16_MAX, UINT16_MAX, UINT16_MAX, UINT16_MAX, UINT16_MAX, UINT16_MAX,
		      UINT16_MAX, UINT16_MAX, UINT16_MAX, UINT16_MAX}},
};

/* ---- power ---- */

static void set_power(const struct menu_building *b, uint32_t option, double rate_rps,
		      struct menu_point *ret)
{
	struct candidate at_rate = b->candidates[option];
	double busy;

	candidate_refine_power(&b->question, &at_rate, rate_rps, &busy);
	ret->busy = (float)busy;
	ret->power_w = (float)at_rate.power_w;
}

/* By the batches that its curve has there. */
static void set_curve_power(const struct menu_building *b, uint32_t option,
			    const struct tail_sizes *sizes, double rate_rps,
			    const struct curve_point *by, struct menu_point *ret)
{
	struct candidate at_rate = b->candidates[option];
	double share[TAIL_MAX_SIZES], busy;

	for (uint32_t k = 0; k < sizes->n; k++)
		share[k] = rate_rps * (double)by->executions[k] * sizes->cells[k]->batch /
			   sizes->cells[k]->capacity_rps;
	candidate_set_power_of(&b->question, &at_rate, rate_rps, sizes, share, &busy);
	ret->busy = (float)busy;
	ret->power_w = (float)at_rate.power_w;
}

/* ---- latencies ---- */

/* Nothing queues. */
static void set_service_alone(const struct menu_building *b, const struct surface_cell *c,
			      struct menu_point *ret)
{
	struct tail_survival survival;

	ret->tail_ns = c->service_ns[b->options->percentile];
	for (int i = 0; i < TAIL_SHARES; i++)
		survival.ns[i] = quantile_at(c->service_ns, (float)((SURFACE_QUANTILES - 1) *
								    (1 - tail_shares[i])));
	tail_pack(&survival, &ret->survival);
}

/* At a rate at which nothing fills it, an option does what the next smaller batch does. */
static bool set_smaller(const struct menu_building *b, uint32_t option, uint32_t rate,
			struct menu_point *ret)
{
	const struct response_menu *m = b->menu;
	const struct menu_option *o = &m->options[option];

	if (m->rate_rps[rate] >= b->candidates[option].fills_from_rps)
		return false;
	for (uint32_t i = option; i-- > 0;)
		if (m->options[i].clock == o->clock &&
		    cu_shape_equal(m->options[i].shape, o->shape) &&
		    m->options[i].batch < o->batch) {
			*ret = *response_menu_point(m, i, rate);
			return !isinf(ret->tail_ns);
		}
	return false;
}

/* To where the tail is. */
static void move_survival(const struct menu_building *b, double tail_ns, struct tail_survival *s)
{
	double share = 1 - b->options->percentile / 100.0;
	float scale = (float)(tail_ns / tail_latency_ns(s, share));

	for (int i = 0; i < TAIL_SHARES; i++)
		s->ns[i] *= scale;
}

/* What the table has asked stands as it was told. */
static void set_known(const struct menu_building *b, uint32_t option, uint32_t rate,
		      struct menu_point *ret)
{
	struct tail_survival survival;
	const struct tail_trace *t =
		tail_trace_known(b->tails, b->menu->options[option].cell, b->menu->rate_rps[rate],
				 b->options->percentile);

	if (t && t->batch.slo_ns == b->question.slo_ns) {
		if (t->batch.upper_ns > 0)
			ret->tail_ns = (float)t->batch.upper_ns;
		ret->wait_ns = (float)t->batch.wait_ns;
		tail_pack(&t->batch.survival, &ret->survival);
		set_power(b, option, b->menu->rate_rps[rate], ret);
		return;
	}
	if (t && t->has_survival)
		tail_pack(&t->survival, &ret->survival);
	if (!t || t->n < TAIL_REPLICATIONS)
		return;
	ret->tail_ns = (float)t->upper_ns;
	if (t->has_survival)
		return;
	tail_unpack(&ret->survival, &survival);
	move_survival(b, t->tail_ns, &survival);
	tail_pack(&survival, &ret->survival);
}

uint32_t menu_rates_chosen(const struct menu_building *b, uint32_t option)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b->table->n_rows; i++)
		if (b->table->rows[i].cell == b->menu->options[option].cell)
			n = i + 1;
	return n;
}

static uint32_t rates_sustained(const struct menu_building *b, uint32_t option)
{
	uint32_t n = 0;

	while (n < b->menu->n_rates && candidate_sustains(cell_of(b, option), b->menu->rate_rps[n]))
		n++;
	return n;
}

/* ---- all points of an option ---- */

/* Returns how many rates are kept. Tails rise with the rate: beyond the first that is too long
 * there is nothing of use. */
static uint32_t add_curve(const struct menu_building *b, const struct curve_source *s,
			  uint32_t option, struct menu_point *points)
{
	const struct response_menu *m = b->menu;
	uint32_t chosen = menu_rates_chosen(b, option), n = rates_sustained(b, option);
	struct tail_sizes sizes;

	candidate_find_sizes(&b->question, m->options[option].cell, &sizes);
	for (uint32_t i = 0; i < n; i++) {
		struct menu_point *p = &points[i];
		struct curve_point at;

		if (!set_smaller(b, option, i, p)) {
			if (!curve_source_at(s, curve_load(cell_of(b, option), m->rate_rps[i]),
					     &at))
				return i;
			*p = (struct menu_point){
				.tail_ns = at.tail_ns * at.factor,
				.wait_ns = at.wait_ns,
			};
			tail_pack(&at.survival, &p->survival);
			set_curve_power(b, option, &sizes, m->rate_rps[i], &at, p);
		}
		if ((double)p->tail_ns > MENU_TAIL_KEPT * (double)m->slo_ns && i >= chosen)
			return i;
		set_known(b, option, i, p);
	}
	return n;
}

static uint32_t add_services(const struct menu_building *b, uint32_t option,
			     struct menu_point *points)
{
	uint32_t n = rates_sustained(b, option);

	for (uint32_t i = 0; i < n; i++) {
		set_service_alone(b, cell_of(b, option), &points[i]);
		set_power(b, option, b->menu->rate_rps[i], &points[i]);
	}
	return n;
}

static void add_points(const struct menu_building *b, const struct menu_curves *curves,
		       uint32_t option)
{
	const struct response_menu *m = b->menu;
	struct menu_point *points = m->points + (size_t)option * m->n_rates;
	const struct curve_source *s;
	uint32_t n = 0;

	if (b->options->service_only)
		n = add_services(b, option, points);
	else if ((s = menu_curves_source(curves, option)))
		n = add_curve(b, s, option, points);
	for (uint32_t i = n; i < m->n_rates; i++)
		points[i] = menu_point_unsustained;
}

int menu_add_points(const struct menu_building *b)
{
	_cleanup_(menu_curves_freep) struct menu_curves *curves = NULL;
	int r;

	if (!b->options->service_only) {
		r = menu_curves_new(b, &curves);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < b->menu->n_options; i++)
		add_points(b, curves, i);
	return 0;
}
