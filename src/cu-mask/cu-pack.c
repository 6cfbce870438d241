/* SPDX-License-Identifier: Apache-2.0 */
/* Several models' shapes in one card.
 *
 * A shape has the same part in each XCC, so these are packed one by one. Its k parts of c CUs lie
 * in k different SEs; shapes are placed largest c first. The first try gives each shape the SEs of
 * which the least is taken, and nearly always succeeds. If it does not, a search decides: SEs with
 * as many CUs left are alike, so only how many of each kind a shape takes is tried, no state is
 * tried twice while there is room to remember it, and a state is given up where the parts of at
 * least some size outnumber the places for that size. */
#include "base/macros.h"
#include "cu-mask/dealing.h"

#include <errno.h>
#include <string.h>

#define SE_CUS	 32 /* most that an SE has: two shader arrays of 16 */
#define REMEMBER 1024

struct part {
	uint32_t shape; /* its index */
	uint32_t k, c;
};

/* How many SEs have how many CUs left. */
struct kinds {
	uint8_t n[SE_CUS + 1];
};

struct packing {
	uint32_t n_se, first_se, n_parts;
	struct part parts[CU_PACK_MAX];
	uint32_t active[CU_MAX_SE], left[CU_MAX_SE];
	uint32_t where[CU_PACK_MAX]; /* of each part, a bit for each SE of the XCC */

	/* The search. */
	struct kinds kinds, taken[CU_PACK_MAX];
	uint32_t steps;
	struct {
		uint8_t n_placed_plus_1; /* 0: empty */
		struct kinds kinds;
	} failed[REMEMBER];
};

/* The SEs of the XCC, the least taken first; ties by distance from first_se. */
static void order_ses(const struct packing *p, uint32_t ret[CU_MAX_SE])
{
	for (uint32_t i = 0; i < p->n_se; i++) {
		uint32_t se = (p->first_se + i) % p->n_se, at = i;

		for (; at > 0 &&
		       p->active[ret[at - 1]] - p->left[ret[at - 1]] > p->active[se] - p->left[se];
		     at--)
			ret[at] = ret[at - 1];
		ret[at] = se;
	}
}

static void take(struct packing *p, uint32_t part, uint32_t se)
{
	p->left[se] -= p->parts[part].c;
	p->where[part] |= UINT32_C(1) << se;
}

static void empty(struct packing *p)
{
	memcpy(p->left, p->active, sizeof(p->left));
	memset(p->where, 0, sizeof(p->where));
}

/* Each part where the least is taken. */
static bool place_apart(struct packing *p)
{
	uint32_t order[CU_MAX_SE];

	empty(p);
	for (uint32_t i = 0; i < p->n_parts; i++) {
		uint32_t k = p->parts[i].k;

		order_ses(p, order);
		for (uint32_t j = 0; j < p->n_se && k > 0; j++)
			if (p->left[order[j]] >= p->parts[i].c) {
				take(p, i, order[j]);
				k--;
			}
		if (k > 0)
			return false;
	}
	return true;
}

/* Whether the parts from part first on cannot have places, by counting alone. */
static bool is_hopeless(const struct packing *p, uint32_t first)
{
	uint32_t wanted = 0, cus = 0, left = 0;

	for (uint32_t i = first; i < p->n_parts; i++) {
		uint32_t c = p->parts[i].c, places = 0, ses = 0;

		wanted += p->parts[i].k;
		cus += p->parts[i].k * c;
		/* All parts up to this one are of at least c, and an SE holds one of each. */
		for (uint32_t v = c; v <= SE_CUS; v++) {
			places += p->kinds.n[v] * MIN(v / c, i - first + 1);
			ses += p->kinds.n[v];
		}
		if (wanted > places || p->parts[i].k > ses)
			return true;
	}
	for (uint32_t v = 1; v <= SE_CUS; v++)
		left += v * p->kinds.n[v];
	return cus > left;
}

static uint32_t slot_of(const struct kinds *kinds, uint32_t placed)
{
	uint32_t hash = UINT32_C(2166136261) ^ placed; /* FNV-1a */

	for (uint32_t v = 0; v <= SE_CUS; v++)
		hash = (hash ^ kinds->n[v]) * UINT32_C(16777619);
	return hash % REMEMBER;
}

static bool has_failed(const struct packing *p, uint32_t placed)
{
	uint32_t slot = slot_of(&p->kinds, placed);

	return p->failed[slot].n_placed_plus_1 == placed + 1 &&
	       memcmp(&p->failed[slot].kinds, &p->kinds, sizeof(p->kinds)) == 0;
}

static bool search(struct packing *p, uint32_t placed);

/* Takes the counts chosen for a part, and goes on with the next. */
static bool search_next(struct packing *p, uint32_t part)
{
	struct kinds before = p->kinds;
	uint32_t c = p->parts[part].c;

	for (uint32_t v = c; v <= SE_CUS; v++) {
		p->kinds.n[v] = (uint8_t)(p->kinds.n[v] - p->taken[part].n[v]);
		p->kinds.n[v - c] = (uint8_t)(p->kinds.n[v - c] + p->taken[part].n[v]);
	}
	if (search(p, part + 1))
		return true;
	p->kinds = before;
	return false;
}

/* Chooses how many SEs with v or fewer CUs left take a part; need are still wanted. */
static bool search_kinds(struct packing *p, uint32_t part, uint32_t v, uint32_t need)
{
	uint32_t c = p->parts[part].c, below = 0;

	if (need == 0)
		return search_next(p, part);
	if (v < c || ++p->steps > CU_PACK_STEPS)
		return false;
	for (uint32_t i = c; i < v; i++)
		below += p->kinds.n[i];
	for (uint32_t n = MIN(need, (uint32_t)p->kinds.n[v]); need - n <= below; n--) {
		p->taken[part].n[v] = (uint8_t)n;
		if (search_kinds(p, part, v - 1, need - n))
			return true;
		if (n == 0)
			break;
	}
	p->taken[part].n[v] = 0;
	return false;
}

static bool search(struct packing *p, uint32_t placed)
{
	uint32_t slot;

	if (placed == p->n_parts)
		return true;
	if (++p->steps > CU_PACK_STEPS || is_hopeless(p, placed) || has_failed(p, placed))
		return false;
	memset(&p->taken[placed], 0, sizeof(p->taken[placed]));
	if (search_kinds(p, placed, SE_CUS, p->parts[placed].k))
		return true;
	slot = slot_of(&p->kinds, placed);
	p->failed[slot].n_placed_plus_1 = (uint8_t)(placed + 1);
	p->failed[slot].kinds = p->kinds;
	return false;
}

/* From counts of kinds back to SEs. */
static void place_as_found(struct packing *p)
{
	uint32_t order[CU_MAX_SE];

	empty(p);
	for (uint32_t i = 0; i < p->n_parts; i++) {
		struct kinds counts = p->taken[i];
		uint32_t before[CU_MAX_SE];

		memcpy(before, p->left, sizeof(before));
		order_ses(p, order);
		for (uint32_t j = 0; j < p->n_se; j++)
			if (counts.n[before[order[j]]] > 0) {
				counts.n[before[order[j]]]--;
				take(p, i, order[j]);
			}
	}
}

static int pack_xcc(struct packing *p)
{
	if (place_apart(p))
		return 0;
	memset(&p->kinds, 0, sizeof(p->kinds));
	memset(p->failed, 0, sizeof(p->failed));
	p->steps = 0;
	for (uint32_t se = 0; se < p->n_se; se++)
		p->kinds.n[p->active[se]]++;
	if (!search(p, 0))
		return p->steps > CU_PACK_STEPS ? -EOVERFLOW : -ENOSPC;
	place_as_found(p);
	return 0;
}

/* Sorts the shapes' parts of one XCC, the largest first. */
static void sort_parts(struct packing *p, const struct cu_topology *t,
		       const struct cu_shape *shapes, uint32_t n)
{
	p->n_parts = n;
	for (uint32_t i = 0; i < n; i++) {
		struct part part = {i, shapes[i].n_se / t->n_xcc, shapes[i].cus_per_se};
		uint32_t at = i;

		for (; at > 0 && (p->parts[at - 1].c < part.c ||
				  (p->parts[at - 1].c == part.c && p->parts[at - 1].k < part.k));
		     at--)
			p->parts[at] = p->parts[at - 1];
		p->parts[at] = part;
	}
}

static int check_shapes(const struct cu_topology *t, const struct cu_shape *shapes, uint32_t n)
{
	struct cu_mask alone;
	int r;

	for (uint32_t i = 0; i < n; i++) {
		r = cu_mask_from_shape(t, shapes[i], /* first_se= */ 0, &alone);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < n; i++)
		if (cu_shape_cus(shapes[i]) == 0)
			return -ENOSPC;
	return 0;
}

/* What the parts have of each SE of the card, and from which CU on. */
struct grants {
	uint32_t from[CU_PACK_MAX][CU_MAX_SE], cus[CU_PACK_MAX][CU_MAX_SE];
};

static void grant(const struct packing *p, uint32_t first_of_xcc, struct grants *g)
{
	for (uint32_t se = 0; se < p->n_se; se++) {
		uint32_t used = 0;

		for (uint32_t i = 0; i < p->n_parts; i++) {
			const struct part *part = &p->parts[i];

			if (!(p->where[i] >> se & 1))
				continue;
			g->from[part->shape][first_of_xcc + se] = used;
			g->cus[part->shape][first_of_xcc + se] = part->c;
			used += part->c;
		}
	}
}

int cu_masks_pack(const struct cu_topology *t, const struct cu_shape *shapes, uint32_t n,
		  uint32_t first_se, struct cu_mask *ret)
{
	struct packing p = {0};
	struct grants g = {0};
	struct dealing d;
	int r;

	if (n == 0 || n > CU_PACK_MAX)
		return -E2BIG;
	if (n == 1)
		return cu_mask_from_shape(t, shapes[0], first_se, ret);
	r = dealing_init(&d, t);
	if (r >= 0)
		r = check_shapes(t, shapes, n);
	if (r < 0)
		return r;
	p.n_se = se_per_xcc(t);
	p.first_se = first_se % p.n_se;
	sort_parts(&p, t, shapes, n);
	for (uint32_t xcc = 0; xcc < t->n_xcc; xcc++) {
		for (uint32_t se = 0; se < p.n_se; se++)
			p.active[se] = cu_topology_se_cus(t, xcc * p.n_se + se);
		r = pack_xcc(&p);
		if (r < 0)
			return r;
		grant(&p, xcc * p.n_se, &g);
	}
	for (uint32_t i = 0; i < n; i++)
		dealing_fill(&d, g.from[i], g.cus[i], &ret[i]);
	return 0;
}
