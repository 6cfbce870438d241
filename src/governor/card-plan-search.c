/* SPDX-License-Identifier: Apache-2.0 */
/* The best choices of several models at one clock: branch and bound.
 *
 * The cost of choices is c = sum of their own + A B with A = 1 - prod(1 - u_i), B = uncore +
 * ungated CUs * cu. Two bounds from below are added up along the branches, each with a table of
 * what the models still to come cost at least in the room that is left, which is exact but for the
 * shape of the room:
 *
 *   linear   With A0 and B0 below any A and B of choices that fit, A B >= B0 A + A0 B - A0 B0, and
 *	      A = 1 - exp(-z) is concave in z, the sum of -ln(1 - u_i), so above its chord. Tight at
 *	      the root, where the rest of the models is still most of them.
 *   split    The least own cost and, apart from it, the least A. Tight near the leaves.
 *
 * Room that is left is known by three sums: parts of SEs; SEs filled by more than half; and by
 * more than a third, twice those by more than two thirds. With SEs in fifths that decides it; if
 * not, the masks are packed at the leaf. */
#include "governor/card-plan-internal.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

struct room {
	uint32_t units, halves, thirds;
};

struct branching {
	struct plan_search *s;
	const struct plan_rooms *rooms;
	uint32_t n;
	double base_w;	 /* of the linear bound */
	double uncore_w; /* B0 */
	uint32_t order[CARD_PLAN_MAX_MODELS];
	struct room need[CARD_PLAN_MAX_MODELS + 1]; /* of the models from here on, at least */
	/* Of the models from here on, in cells of grain units; INFINITY (or 0): it cannot be. */
	struct plan_cells linear_w[CARD_PLAN_MAX_MODELS + 1];
	struct plan_cells cost_w[CARD_PLAN_MAX_MODELS + 1];
	struct plan_cells idle_share[CARD_PLAN_MAX_MODELS + 1];
	struct plan_cells own_w[CARD_PLAN_MAX_MODELS + 1];	/* with a cap alone */
	uint8_t sorted[CARD_PLAN_MAX_MODELS][PLAN_MAX_CHOICES]; /* by the linear bound */
	struct plan_choice chosen[CARD_PLAN_MAX_MODELS];
};

struct branch {
	uint32_t depth;
	struct room left;
	double linear_w, cost_w, own_w, idle_share;
};

/* ---- lists ---- */

static bool never_worse(const struct plan_list *l, const struct plan_choice *a,
			const struct plan_choice *b)
{
	/* What tells most of them apart first: the smaller is busy for longer. */
	return a->idle_share >= b->idle_share && a->cost_w <= b->cost_w && a->n_se <= b->n_se &&
	       a->parts <= b->parts && (!l->capped || a->own_w <= b->own_w) &&
	       a->ungated_cus <= b->ungated_cus;
}

/* Beyond the last place the dearest has to go, which no card known needs. */
static void replace_dearest(struct plan_list *l, const struct plan_choice *c)
{
	uint32_t dearest = 0;

	for (uint32_t i = 1; i < l->n; i++)
		if (l->choices[i].cost_w > l->choices[dearest].cost_w)
			dearest = i;
	if (c->cost_w < l->choices[dearest].cost_w)
		l->choices[dearest] = *c;
}

void plan_list_add(struct plan_list *l, const struct plan_choice *c)
{
	uint32_t kept = 0;

	/* What is the cheapest so far cannot be worse than any. */
	for (uint32_t i = l->n; c->cost_w >= l->least_w && i-- > 0;)
		if (never_worse(l, &l->choices[i], c))
			return;
	l->least_w = MIN(l->least_w, c->cost_w);
	/* Options come by their CUs, so what takes no less room takes as much. */
	for (uint32_t i = 0; i < l->n; i++) {
		const struct plan_choice *o = &l->choices[i];

		if (o->n_se == c->n_se && o->parts == c->parts && never_worse(l, c, o))
			continue;
		if (kept != i)
			l->choices[kept] = *o;
		kept++;
	}
	l->n = kept;
	if (l->n < PLAN_MAX_CHOICES)
		l->choices[l->n++] = *c;
	else
		replace_dearest(l, c);
}

/* ---- bounds ---- */

static uint32_t cell_of(const struct branching *b, uint32_t units)
{
	return b->rooms->grain > 1 ? units / b->rooms->grain : units;
}

static const struct plan_list *list_at(const struct branching *b, uint32_t depth)
{
	return &b->s->lists[b->order[depth]];
}

/* The least of all sums of own costs in so much room, from those of the models after. */
static void bound_least(const struct branching *b, const struct plan_list *l, size_t member,
			const struct plan_cells *after, struct plan_cells *ret)
{
	plan_cells_set(ret, INFINITY, INFINITY);
	for (uint32_t i = 0; i < l->n; i++) {
		const char *c = (const char *)&l->choices[i];

		plan_cells_least(*(const double *)(c + member), cell_of(b, l->choices[i].units),
				 b->rooms->cells, after, ret);
	}
}

static void bound_idle_share(const struct branching *b, const struct plan_list *l,
			     const struct plan_cells *after, struct plan_cells *ret)
{
	plan_cells_set(ret, 0, 0);
	for (uint32_t i = 0; i < l->n; i++)
		plan_cells_most(l->choices[i].idle_share, cell_of(b, l->choices[i].units),
				b->rooms->cells, after, ret);
}

/* What is needed, and the most that the card is idle. */
static void bound_room(struct branching *b)
{
	memset(&b->need[b->n], 0, sizeof(b->need[b->n]));
	plan_cells_set(&b->idle_share[b->n], 0, 1);
	for (uint32_t i = b->n; i-- > 0;) {
		const struct plan_list *l = list_at(b, i);
		struct room least = {UINT32_MAX, UINT32_MAX, UINT32_MAX};

		for (uint32_t j = 0; j < l->n; j++) {
			least.units = MIN(least.units, (uint32_t)l->choices[j].units);
			least.halves = MIN(least.halves, (uint32_t)l->choices[j].halves);
			least.thirds = MIN(least.thirds, (uint32_t)l->choices[j].thirds);
		}
		b->need[i] = (struct room){b->need[i + 1].units + least.units,
					   b->need[i + 1].halves + least.halves,
					   b->need[i + 1].thirds + least.thirds};
		bound_idle_share(b, l, &b->idle_share[i + 1], &b->idle_share[i]);
	}
}

static void bound_costs(const struct branching *b, size_t member, struct plan_cells *ret)
{
	/* Beyond the last model nothing costs anything, where there is room. */
	plan_cells_set(&ret[b->n], INFINITY, 0);
	for (uint32_t i = b->n; i-- > 0;)
		bound_least(b, list_at(b, i), member, &ret[i + 1], &ret[i]);
}

/* The least ungated CUs of all models together, and their most z. */
static void find_extremes(struct branching *b, double *ret_cus, double *ret_neg_log)
{
	*ret_cus = b->s->clock.always_cus;
	*ret_neg_log = 0;
	for (uint32_t i = 0; i < b->n; i++) {
		struct plan_list *l = &b->s->lists[i];
		double cus = INFINITY, neg_log = 0;

		for (uint32_t j = 0; j < l->n; j++) {
			cus = MIN(cus, (double)l->choices[j].ungated_cus);
			neg_log = MAX(neg_log, l->choices[j].neg_log);
		}
		*ret_cus += cus;
		*ret_neg_log += neg_log;
	}
}

static bool is_dearer(const struct plan_choice *a, const struct plan_choice *b)
{
	return a->linear_w > b->linear_w || (a->linear_w == b->linear_w && a->option > b->option);
}

static void sort_by_linear(const struct plan_list *l, uint8_t *ret)
{
	for (uint32_t i = 0; i < l->n; i++) {
		uint32_t at = i;

		for (; at > 0 && is_dearer(&l->choices[ret[at - 1]], &l->choices[i]); at--)
			ret[at] = ret[at - 1];
		ret[at] = (uint8_t)i;
	}
}

static void bound_linear(struct branching *b)
{
	const struct plan_clock *c = &b->s->clock;
	double busy0 = 1 - plan_in_cells(&b->idle_share[0], b->rooms->cells), low = -log1p(-busy0),
	       cus0, high, slope, cu_w;

	find_extremes(b, &cus0, &high);
	b->uncore_w = c->uncore_w + MIN(cus0, c->most_cus) * c->cu_w;
	slope = high > low ? (1 - exp(-high) - busy0) / (high - low) : 0;
	cu_w = c->adds_up ? busy0 * c->cu_w : 0;
	b->base_w = c->idle_w + b->uncore_w * (busy0 - slope * low) - cu_w * (cus0 - c->always_cus);
	for (uint32_t i = 0; i < b->n; i++) {
		struct plan_list *l = &b->s->lists[i];

		for (uint32_t j = 0; j < l->n; j++)
			l->choices[j].linear_w = l->choices[j].cost_w +
						 b->uncore_w * slope * l->choices[j].neg_log +
						 cu_w * l->choices[j].ungated_cus;
	}
	bound_costs(b, offsetof(struct plan_choice, linear_w), b->linear_w);
}

/* Those with the widest choice first: what is decided early has to matter. */
static void order_models(struct branching *b)
{
	double spread_w[CARD_PLAN_MAX_MODELS];

	for (uint32_t i = 0; i < b->n; i++) {
		const struct plan_list *l = &b->s->lists[i];
		double low = INFINITY, high = -INFINITY;
		uint32_t at = i;

		for (uint32_t j = 0; j < l->n; j++) {
			low = MIN(low, l->choices[j].cost_w);
			high = MAX(high, l->choices[j].cost_w);
		}
		for (; at > 0 && spread_w[at - 1] < high - low; at--) {
			spread_w[at] = spread_w[at - 1];
			b->order[at] = b->order[at - 1];
		}
		spread_w[at] = high - low;
		b->order[at] = i;
	}
}

/* ---- branches ---- */

static void leaf(struct branching *b)
{
	struct plan_search *s = b->s;
	struct plan_choice in_order[CARD_PLAN_MAX_MODELS];
	double cost_w;

	for (uint32_t i = 0; i < b->n; i++)
		in_order[b->order[i]] = b->chosen[i];
	cost_w = plan_cost_w(&s->clock, in_order, b->n);
	if (cost_w >= s->best_w - PLAN_SAME_W ||
	    plan_power_w(&s->clock, in_order, b->n) > s->cap_w ||
	    !plan_packs(&s->rooms, in_order, b->n))
		return;
	s->found = true;
	s->best_w = cost_w;
	memcpy(s->best, in_order, b->n * sizeof(in_order[0]));
}

static bool is_hopeless(const struct branching *b, const struct branch *at)
{
	const struct room *left = &at->left, *need = &b->need[at->depth];
	const struct plan_search *s = b->s;
	uint32_t cell;
	double static_w;

	if (left->units < need->units || left->halves < need->halves || left->thirds < need->thirds)
		return true;
	cell = cell_of(b, left->units);
	static_w =
		s->clock.idle_w +
		b->uncore_w * (1 - at->idle_share * plan_in_cells(&b->idle_share[at->depth], cell));
	return static_w + at->cost_w + plan_in_cells(&b->cost_w[at->depth], cell) >=
		       s->best_w - PLAN_SAME_W ||
	       (isfinite(s->cap_w) &&
		static_w + at->own_w + plan_in_cells(&b->own_w[at->depth], cell) > s->cap_w);
}

static void descend(struct branching *b, const struct branch *at)
{
	uint32_t cell = cell_of(b, at->left.units);
	const struct plan_list *l;

	if (at->depth == b->n) {
		leaf(b);
		return;
	}
	if (++b->s->branches > PLAN_MAX_BRANCHES)
		return;
	l = list_at(b, at->depth);
	for (uint32_t i = 0; i < l->n; i++) {
		const struct plan_choice *c = &l->choices[b->sorted[at->depth][i]];
		const struct plan_cells *after = &b->linear_w[at->depth + 1];
		double linear_w = at->linear_w + c->linear_w;
		struct branch next;

		/* The choices after it are dearer still. */
		if (linear_w + plan_in_cells(after, cell) >= b->s->best_w - PLAN_SAME_W)
			return;
		if (c->units > at->left.units || c->halves > at->left.halves ||
		    c->thirds > at->left.thirds ||
		    linear_w + plan_in_cells(after, cell_of(b, at->left.units - c->units)) >=
			    b->s->best_w - PLAN_SAME_W)
			continue;
		next = (struct branch){
			.depth = at->depth + 1,
			.left = {at->left.units - c->units, at->left.halves - c->halves,
				 at->left.thirds - c->thirds},
			.linear_w = linear_w,
			.cost_w = at->cost_w + c->cost_w,
			.own_w = at->own_w + c->own_w,
			.idle_share = at->idle_share * c->idle_share,
		};
		if (is_hopeless(b, &next))
			continue;
		b->chosen[at->depth] = *c;
		descend(b, &next);
	}
}

void plan_search_clock(struct plan_search *s)
{
	const struct plan_rooms *rooms = &s->rooms;
	struct branch root = {.left = {rooms->n_se * rooms->parts, rooms->n_se, 2 * rooms->n_se},
			      .idle_share = 1};
	struct branching b;

	b.s = s;
	b.n = s->n;
	b.rooms = rooms;
	order_models(&b);
	bound_room(&b);
	if (plan_in_cells(&b.idle_share[0], rooms->cells) <= 0)
		return;
	bound_linear(&b);
	root.linear_w = b.base_w;
	/* Mostly that is all. */
	if (root.linear_w + plan_in_cells(&b.linear_w[0], rooms->cells) >= s->best_w - PLAN_SAME_W)
		return;
	bound_costs(&b, offsetof(struct plan_choice, cost_w), b.cost_w);
	if (isfinite(s->cap_w))
		bound_costs(&b, offsetof(struct plan_choice, own_w), b.own_w);
	if (is_hopeless(&b, &root))
		return;
	for (uint32_t i = 0; i < b.n; i++)
		sort_by_linear(list_at(&b, i), b.sorted[i]);
	descend(&b, &root);
}
