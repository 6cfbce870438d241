/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/placement.h"
#include "base/macros.h"
#include <string.h>

static bool is_known(const struct placement *p, uint32_t n_models, const struct cu_shape *shapes)
{
	if (n_models != p->n_models)
		return false;
	for (uint32_t i = 0; i < n_models; i++)
		if (!cu_shape_equal(shapes[i], p->shapes[i]))
			return false;
	return true;
}

static bool has_masks(const struct placement *p)
{
	for (uint32_t i = 0; i < p->n_models; i++)
		if (p->masks[i].n_bits > 0)
			return true;
	return false;
}

/* The masks of all partial shapes, disjoint if that is possible. */
static void place(const struct cu_topology *t, uint32_t first_se, uint32_t n,
		  const struct cu_shape *shapes, struct cu_mask *ret)
{
	if (cu_masks_pack(t, shapes, n, first_se, ret) >= 0)
		return;
	for (uint32_t i = 0; i < n; i++)
		if (cu_mask_from_shape(t, shapes[i], first_se + i, &ret[i]) < 0)
			cu_mask_all(t, &ret[i]);
}

void placement_update(struct placement *p, const struct cu_topology *t, uint32_t n_models,
		      const struct cu_shape *shapes)
{
	struct cu_shape partial[GOVERNOR_MAX_MODELS];
	struct cu_mask masks[GOVERNOR_MAX_MODELS];
	uint32_t models[GOVERNOR_MAX_MODELS], n = 0;
	bool had_masks = has_masks(p);

	n_models = MIN(n_models, (uint32_t)GOVERNOR_MAX_MODELS);
	if (is_known(p, n_models, shapes))
		return;
	p->n_models = n_models;
	memcpy(p->shapes, shapes, n_models * sizeof(*shapes));
	memset(p->masks, 0, sizeof(p->masks));
	for (uint32_t i = 0; i < n_models; i++)
		if (cu_shape_cus(shapes[i]) > 0) {
			partial[n] = shapes[i];
			models[n++] = i;
		}
	if (n == 0)
		return;
	p->rounds += !had_masks;
	place(t, (p->rounds - 1) % MAX(t->n_se, 1u), n, partial, masks);
	for (uint32_t i = 0; i < n; i++)
		/* A mask of all CUs is none. */
		if (cu_mask_count(&masks[i]) < masks[i].n_bits)
			p->masks[models[i]] = masks[i];
}
