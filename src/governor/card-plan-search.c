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

/* Tables of so many cells are as tight as larger ones: large shapes are of as many SEs as there
 * are, and cells of that many units. */
#define FEW_UNITS 24
#define MAX_CELLS 40

/* Of a packing, before the one who packs masks is asked, which takes some 10 us. */
#define PACK_STEPS 2000

struct room {
	uint32_t units, halves, thirds;
};

struct branching {
	struct plan_search *s;
	uint32_t n, grain, cells;
	double base_w;	 /* of the linear bound */
	double uncore_w; /* B0 */
	uint32_t order[CARD_PLAN_MAX_MODELS];
	struct room need[CARD_PLAN_MAX_MODELS + 1]; /* of the models from here on, at least */
	/* Of these models in so many cells of grain units; INFINITY (or 0): it cannot be. */
	double linear_w[CARD_PLAN_MAX_MODELS + 1][MAX_CELLS + 1];
	double cost_w[CARD_PLAN_MAX_MODELS + 1][MAX_CELLS + 1];
	double idle_share[CARD_PLAN_MAX_MODELS + 1][MAX_CELLS + 1];
	double own_w[CARD_PLAN_MAX_MODELS + 1][MAX_CELLS + 1]; /* with a cap alone */
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
	return a->n_se <= b->n_se && a->parts <= b->parts && a->cost_w <= b->cost_w &&
	       (!l->capped || a->own_w <= b->own_w) && a->idle_share >= b->idle_share &&
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
	for (uint32_t i = 0; c->cost_w >= l->least_w && i < l->n; i++)
		if (never_worse(l, &l->choices[i], c))
			return;
	l->least_w = MIN(l->least_w, c->cost_w);
	for (uint32_t i = 0; i < l->n; i++)
		if (!never_worse(l, c, &l->choices[i])) {
			if (kept != i)
				l->choices[kept] = l->choices[i];
			kept++;
		}
	l->n = kept;
	if (l->n < PLAN_MAX_CHOICES)
		l->choices[l->n++] = *c;
	else
		replace_dearest(l, c);
}

/* ---- packing ---- */

/* The largest first, each where the least room is left that will do. */
static bool packs_tightly(const struct plan_rooms *rooms, const struct plan_choice *choices,
			  const uint8_t *order, uint32_t n)
{
	uint8_t left[CU_MAX_SE];

	memset(left, (int)rooms->parts, rooms->n_se);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t parts = choices[order[i]].parts, used = 0;

		for (uint32_t part = 0; part < choices[order[i]].n_se; part++) {
			uint32_t best = CU_MAX_SE;

			for (uint32_t se = 0; se < rooms->n_se; se++)
				if (!(used >> se & 1) && left[se] >= parts &&
				    (best == CU_MAX_SE || left[se] < left[best]))
					best = se;
			if (best == CU_MAX_SE)
				return false;
			left[best] = (uint8_t)(left[best] - parts);
			used |= UINT32_C(1) << best;
		}
	}
	return true;
}

struct packing {
	uint32_t n_se, n, steps;
	const struct plan_choice *choices;
	const uint8_t *order;
	uint8_t left[CU_MAX_SE];
};

/* Whether an SE with as much left has been tried in place of this one. */
static bool was_tried(const struct packing *k, uint32_t from, uint32_t se)
{
	for (uint32_t i = from; i < se; i++)
		if (k->left[i] == k->left[se])
			return true;
	return false;
}

/* The choice at this place of the order still needs so many SEs, of those from this one on. */
static bool packs_from(struct packing *k, uint32_t at, uint32_t from, uint32_t missing)
{
	uint32_t parts;

	if (missing == 0)
		return ++at == k->n || packs_from(k, at, 0, k->choices[k->order[at]].n_se);
	parts = k->choices[k->order[at]].parts;
	for (uint32_t se = from; se + missing <= k->n_se; se++) {
		if (k->left[se] < parts || was_tried(k, from, se))
			continue;
		if (++k->steps > PACK_STEPS)
			return false;
		k->left[se] = (uint8_t)(k->left[se] - parts);
		if (packs_from(k, at, se + 1, missing - 1))
			return true;
		k->left[se] = (uint8_t)(k->left[se] + parts);
	}
	return false;
}

bool plan_packs(const struct plan_rooms *rooms, const struct plan_choice *choices, uint32_t n)
{
	struct packing k = {.n_se = rooms->n_se, .n = n, .choices = choices};
	struct cu_shape shapes[CARD_PLAN_MAX_MODELS];
	struct cu_mask masks[CARD_PLAN_MAX_MODELS];
	uint8_t order[CARD_PLAN_MAX_MODELS];
	struct cu_topology xcc;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = i;

		for (; at > 0 && choices[order[at - 1]].parts < choices[i].parts; at--)
			order[at] = order[at - 1];
		order[at] = (uint8_t)i;
		shapes[i] = (struct cu_shape){choices[i].n_se, choices[i].parts};
	}
	if (packs_tightly(rooms, choices, order, n))
		return true;
	k.order = order;
	memset(k.left, (int)rooms->parts, rooms->n_se);
	if (packs_from(&k, 0, 0, choices[order[0]].n_se))
		return true;
	/* All has been tried, unless there was too much of it. */
	if (k.steps <= PACK_STEPS)
		return false;
	xcc = cu_topology_even(rooms->n_se, rooms->parts);
	return cu_masks_pack(&xcc, shapes, n, /* first_se= */ 0, masks) >= 0;
}

/* ---- bounds ---- */

static const struct plan_list *list_at(const struct branching *b, uint32_t depth)
{
	return &b->s->lists[b->order[depth]];
}

/* The least of all sums of own costs in so much room, from those of the models after. */
static void bound_least(const struct branching *b, const struct plan_list *l, size_t member,
			const double *restrict after, double *restrict ret)
{
	for (uint32_t left = 0; left <= b->cells; left++)
		ret[left] = INFINITY;
	for (uint32_t i = 0; i < l->n; i++) {
		const struct plan_choice *c = &l->choices[i];
		double own = *(const double *)((const char *)c + member);
		uint32_t taken = c->units / b->grain;

		for (uint32_t left = taken; left <= b->cells; left++) {
			double sum = own + after[left - taken];

			ret[left] = sum < ret[left] ? sum : ret[left];
		}
	}
}

static void bound_idle_share(const struct branching *b, const struct plan_list *l,
			     const double *restrict after, double *restrict ret)
{
	memset(ret, 0, (b->cells + 1) * sizeof(*ret));
	for (uint32_t i = 0; i < l->n; i++) {
		const struct plan_choice *c = &l->choices[i];
		uint32_t taken = c->units / b->grain;

		for (uint32_t left = taken; left <= b->cells; left++) {
			double share = c->idle_share * after[left - taken];

			ret[left] = share > ret[left] ? share : ret[left];
		}
	}
}

static void bound_split(struct branching *b)
{
	memset(&b->need[b->n], 0, sizeof(b->need[b->n]));
	for (uint32_t left = 0; left <= b->cells; left++) {
		b->linear_w[b->n][left] = b->cost_w[b->n][left] = b->own_w[b->n][left] = 0;
		b->idle_share[b->n][left] = 1;
	}
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
		bound_least(b, l, offsetof(struct plan_choice, cost_w), b->cost_w[i + 1],
			    b->cost_w[i]);
		bound_idle_share(b, l, b->idle_share[i + 1], b->idle_share[i]);
		if (isfinite(b->s->cap_w))
			bound_least(b, l, offsetof(struct plan_choice, own_w), b->own_w[i + 1],
				    b->own_w[i]);
	}
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

static int compare_linear(const void *a, const void *b)
{
	const struct plan_choice *x = a, *y = b;

	if (x->linear_w != y->linear_w)
		return x->linear_w < y->linear_w ? -1 : 1;
	return (x->option > y->option) - (x->option < y->option);
}

static void sort_by_linear(struct plan_list *l)
{
	for (uint32_t i = 1; i < l->n; i++) {
		struct plan_choice c = l->choices[i];
		uint32_t at = i;

		if (compare_linear(&l->choices[i - 1], &c) <= 0)
			continue;
		for (; at > 0 && compare_linear(&l->choices[at - 1], &c) > 0; at--)
			l->choices[at] = l->choices[at - 1];
		l->choices[at] = c;
	}
}

static void bound_linear(struct branching *b)
{
	const struct plan_clock *c = &b->s->clock;
	double busy0 = 1 - b->idle_share[0][b->cells], low = -log1p(-busy0), cus0, high, slope,
	       cu_w;

	find_extremes(b, &cus0, &high);
	b->uncore_w = c->uncore_w + MIN(cus0, c->most_cus) * c->cu_w;
	slope = high > low ? (1 - exp(-high) - busy0) / (high - low) : 0;
	cu_w = c->adds_up ? busy0 * c->cu_w : 0;
	b->base_w = c->idle_w + b->uncore_w * (busy0 - slope * low) - cu_w * (cus0 - c->always_cus);
	for (uint32_t i = b->n; i-- > 0;) {
		struct plan_list *l = &b->s->lists[b->order[i]];

		for (uint32_t j = 0; j < l->n; j++)
			l->choices[j].linear_w = l->choices[j].cost_w +
						 b->uncore_w * slope * l->choices[j].neg_log +
						 cu_w * l->choices[j].ungated_cus;
		sort_by_linear(l);
		bound_least(b, l, offsetof(struct plan_choice, linear_w), b->linear_w[i + 1],
			    b->linear_w[i]);
	}
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

static uint32_t cell_of(const struct branching *b, uint32_t units)
{
	return b->grain > 1 ? units / b->grain : units;
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
	static_w = s->clock.idle_w +
		   b->uncore_w * (1 - at->idle_share * b->idle_share[at->depth][cell]);
	return static_w + at->cost_w + b->cost_w[at->depth][cell] >= s->best_w - PLAN_SAME_W ||
	       (isfinite(s->cap_w) && static_w + at->own_w + b->own_w[at->depth][cell] > s->cap_w);
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
		const struct plan_choice *c = &l->choices[i];
		const double *after = b->linear_w[at->depth + 1];
		double linear_w = at->linear_w + c->linear_w;
		struct branch next;

		/* The choices after it are dearer still. */
		if (linear_w + after[cell] >= b->s->best_w - PLAN_SAME_W)
			return;
		if (c->units > at->left.units || c->halves > at->left.halves ||
		    c->thirds > at->left.thirds ||
		    linear_w + after[cell_of(b, at->left.units - c->units)] >=
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
	b.grain = root.left.units > FEW_UNITS ? rooms->n_se : 1;
	b.cells = root.left.units / b.grain;
	order_models(&b);
	bound_split(&b);
	if (isinf(b.cost_w[0][b.cells]))
		return;
	bound_linear(&b);
	root.linear_w = b.base_w;
	if (!is_hopeless(&b, &root))
		descend(&b, &root);
}
