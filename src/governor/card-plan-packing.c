/* SPDX-License-Identifier: Apache-2.0 */
/* Whether choices that have the room by its sums have it in shape as well. */
#include "governor/card-plan-internal.h"
#include <string.h>

/* Of a packing, before the one who packs masks is asked, which takes some 10 us. */
#define PACK_STEPS 2000

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
