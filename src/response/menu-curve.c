/* SPDX-License-Identifier: Apache-2.0 */
#include "response/menu-curve.h"
#include <math.h>

/* Of the loads at which batches are simulated, and the last one. */
#define BOUND_EVERY 4
_Static_assert(CURVE_LOADS % TAIL_LANES == 0, "loads fill all lanes");
/* Whoever is between this and a slower one keeps more. */
#define BEYOND 1.1

/* Near 5 % tails of even services begin to rise, and near 1 everything does. Batches take long. */
static const float loads_alone[CURVE_LOADS] = {0.01F, 0.03F, 0.05F, 0.08F, 0.12F, 0.16F,
					       0.2F,  0.25F, 0.3F,  0.35F, 0.4F,  0.45F,
					       0.5F,  0.55F, 0.6F,  0.65F, 0.7F,  0.74F,
					       0.78F, 0.82F, 0.86F, 0.9F,  0.93F, 0.96F};
static const float loads_of_batches[] = {0.02F, 0.07F, 0.12F, 0.2F,  0.28F, 0.36F, 0.44F,
					 0.52F, 0.6F,  0.68F, 0.76F, 0.83F, 0.9F,  0.96F};

static double most_rps(const struct surface_cell *c)
{
	uint32_t servers = CLAMP(c->workers, 1u, (uint32_t)SURFACE_MAX_WORKERS);

	return (double)c->batch * servers * 1e9 / tail_mean_service_ns(c);
}

double curve_load(const struct surface_cell *c, double rate_rps)
{
	return rate_rps / most_rps(c);
}

/* ---- simulated ---- */

struct simulation {
	const struct menu_building *b;
	struct curve *curve;
	double most_rps, least_load;
};

static double rate_rps(const struct simulation *s, uint32_t load)
{
	return (double)s->curve->loads[load] * s->most_rps;
}

/* Tails rise with the load: beyond the first that is too long there is nothing to find. */
static bool is_last(const struct simulation *s, uint32_t load)
{
	return (double)s->curve->points[load].tail_ns >
		       BEYOND * MENU_TAIL_KEPT * (double)s->b->menu->slo_ns &&
	       (double)s->curve->loads[load] >= s->least_load;
}

static void set_batch(const struct simulation *s, uint32_t load, const struct tail_batch *t)
{
	struct curve *c = s->curve;
	struct curve_point *p = &c->points[load];

	p->tail_ns = (float)t->tail_ns;
	p->factor = (float)(t->upper_ns / t->tail_ns);
	p->wait_ns = (float)t->wait_ns;
	p->survival = t->survival;
	for (uint32_t k = 0; k < c->sizes.n; k++)
		p->executions[k] = (float)(t->share[k] * c->sizes.cells[k]->capacity_rps /
					   (rate_rps(s, load) * c->sizes.cells[k]->batch));
}

/* Rates at which nothing fills it are the smaller batch's. */
static uint32_t first_filled(const struct simulation *s)
{
	double fills_from_rps = s->b->candidates[s->curve->option].fills_from_rps;
	uint32_t i = 0;

	while (i + 2 < s->curve->n_loads && rate_rps(s, i + 1) <= fills_from_rps)
		i++;
	return i;
}

static void explore_batches(const struct simulation *s)
{
	const struct menu_building *b = s->b;
	struct curve *c = s->curve;
	struct tail_batch t;

	c->first = c->end = first_filled(s);
	do {
		tail_explore_batch(b->tails->lab, &c->sizes, rate_rps(s, c->end),
				   b->options->percentile, b->question.slo_ns,
				   (c->end - c->first) % BOUND_EVERY == 0, &t);
		set_batch(s, c->end, &t);
	} while (!is_last(s, c->end++) && c->end < c->n_loads);
}

/* It is not known to be the last while it is explored. */
static void bound_last_batch(const struct simulation *s)
{
	const struct menu_building *b = s->b;
	struct curve *c = s->curve;
	uint32_t last = c->end - 1;
	struct curve_point *p = &c->points[last];
	struct tail_batch t = {.tail_ns = (double)p->tail_ns, .wait_ns = (double)p->wait_ns};

	if (p->factor > 0)
		return;
	tail_bound_batch(b->tails->lab, &c->sizes, rate_rps(s, last), b->options->percentile, &t);
	p->factor = (float)(t.upper_ns / t.tail_ns);
}

/* Of services of whatever length, so no tail is too long. */
static void explore_lanes(const struct simulation *s)
{
	struct curve *c = s->curve;

	for (; c->end < CURVE_LOADS; c->end += TAIL_LANES) {
		struct tail_rate lanes[TAIL_LANES];

		for (uint32_t i = 0; i < TAIL_LANES; i++)
			lanes[i].rate_rps = rate_rps(s, c->end + i);
		tail_explore_rates(s->b->tails->lab, s->b->options->percentile, lanes, TAIL_LANES);
		for (uint32_t i = 0; i < TAIL_LANES; i++)
			c->points[c->end + i] =
				(struct curve_point){.tail_ns = (float)lanes[i].tail_ns,
						     .survival = lanes[i].survival};
	}
}

static void bound_lanes(const struct simulation *s)
{
	const struct menu_building *b = s->b;
	struct curve *c = s->curve;
	uint32_t at[TAIL_BOUNDS], n = MIN(c->end, (uint32_t)TAIL_BOUNDS);
	struct tail_rate rates[TAIL_BOUNDS];
	double factors[TAIL_BOUNDS];

	for (uint32_t k = 0; k < n; k++) {
		at[k] = n > 1 ? k * (c->end - 1) / (n - 1) : 0;
		rates[k].rate_rps = rate_rps(s, at[k]);
		rates[k].survival = c->points[at[k]].survival;
	}
	tail_bound_rates(b->tails->lab, b->options->percentile, rates, n, factors);
	for (uint32_t k = 0; k < n; k++)
		c->points[at[k]].factor = (float)factors[k];
}

/* Between the loads of which it is known. */
static void fill_factors(struct curve *c)
{
	uint32_t before = c->first, after = c->first;

	for (uint32_t i = c->first; i < c->end; i++) {
		struct curve_point *p = c->points;
		float part;

		if (p[i].factor <= 0) {
			for (after = MAX(after, i + 1); p[after].factor <= 0;)
				after++;
			part = (c->loads[i] - c->loads[before]) /
			       (c->loads[after] - c->loads[before]);
			p[i].factor =
				p[before].factor + part * (p[after].factor - p[before].factor);
		}
		before = i;
	}
}

void curve_simulate(const struct menu_building *b, double least_load, struct curve *c)
{
	const struct simulation s = {b, c, most_rps(c->cell), least_load};

	candidate_find_sizes(&b->question, b->menu->options[c->option].cell, &c->sizes);
	c->first = c->end = 0;
	c->loads = c->sizes.n > 0 ? loads_of_batches : loads_alone;
	c->n_loads = c->sizes.n > 0 ? ARRAY_SIZE(loads_of_batches) : CURVE_LOADS;
	if (c->sizes.n > 0) {
		explore_batches(&s);
		bound_last_batch(&s);
	} else {
		tail_take_cell(b->tails->lab, c->cell);
		explore_lanes(&s);
		bound_lanes(&s);
	}
	fill_factors(c);
}

/* ---- asked ---- */

static void mix(const struct curve_point *x, const struct curve_point *y, float part,
		struct curve_point *ret)
{
	ret->tail_ns = x->tail_ns + part * (y->tail_ns - x->tail_ns);
	ret->factor = x->factor + part * (y->factor - x->factor);
	ret->wait_ns = MAX(x->wait_ns + part * (y->wait_ns - x->wait_ns), 0.0F);
	for (int i = 0; i < TAIL_SHARES; i++)
		ret->survival.ns[i] =
			x->survival.ns[i] + part * (y->survival.ns[i] - x->survival.ns[i]);
	for (int k = 0; k < TAIL_MAX_SIZES; k++)
		ret->executions[k] =
			MAX(x->executions[k] + part * (y->executions[k] - x->executions[k]), 0.0F);
}

static bool reaches(const struct curve *c, double load)
{
	return c->end == c->n_loads || load <= (double)c->loads[c->end - 1];
}

/* Between the first and the last load. */
static void at(const struct curve *c, double load, struct curve_point *ret)
{
	uint32_t i = c->first + 1;

	if (c->end - c->first == 1 || load <= (double)c->loads[c->first]) {
		*ret = c->points[c->first];
		return;
	}
	while (i + 1 < c->end && (double)c->loads[i] < load)
		i++;
	mix(&c->points[i - 1], &c->points[i],
	    ((float)load - c->loads[i - 1]) / (c->loads[i] - c->loads[i - 1]), ret);
}

static float course(float end, float from, float to)
{
	return from > 0 ? end * to / from : end;
}

/* A curve beyond its end goes the way of the other one. */
static void go_on(const struct curve *c, const struct curve *by, double load,
		  struct curve_point *ret)
{
	struct curve_point from, to;

	at(c, (double)c->loads[c->end - 1], ret);
	at(by, (double)c->loads[c->end - 1], &from);
	at(by, load, &to);
	ret->tail_ns = course(ret->tail_ns, from.tail_ns, to.tail_ns);
	ret->factor = course(ret->factor, from.factor, to.factor);
	ret->wait_ns = course(ret->wait_ns, from.wait_ns, to.wait_ns);
	for (int i = 0; i < TAIL_SHARES; i++)
		ret->survival.ns[i] =
			course(ret->survival.ns[i], from.survival.ns[i], to.survival.ns[i]);
	for (int k = 0; k < TAIL_MAX_SIZES; k++)
		ret->executions[k] =
			course(ret->executions[k], from.executions[k], to.executions[k]);
}

/* The lines of two shares may cross beyond the curves that they are drawn through, or where one
 * curve goes the way of the other. A record of such a menu would be refused. */
static void let_ascend(struct tail_survival *s)
{
	s->ns[0] = MAX(s->ns[0], 0.0F);
	for (int i = 1; i < TAIL_SHARES; i++)
		s->ns[i] = MAX(s->ns[i], s->ns[i - 1]);
}

bool curve_source_at(const struct curve_source *s, double load, struct curve_point *ret)
{
	struct curve_point x, y;

	if (!reaches(s->a, load) && !reaches(s->b, load))
		return false;
	if (s->a == s->b) {
		at(s->a, load, ret);
	} else {
		if (reaches(s->a, load))
			at(s->a, load, &x);
		else
			go_on(s->a, s->b, load, &x);
		if (reaches(s->b, load))
			at(s->b, load, &y);
		else
			go_on(s->b, s->a, load, &y);
		mix(&x, &y, s->part, ret);
	}
	ret->tail_ns *= s->scale;
	for (int i = 0; i < TAIL_SHARES; i++)
		ret->survival.ns[i] *= s->scale;
	let_ascend(&ret->survival);
	return true;
}
