/* SPDX-License-Identifier: Apache-2.0 */
/* Where on a card each model's shape lies. Masks stay where they are as long as no shape changes,
 * as each change preempts all queues of the card. The wear moves on by one shader engine each time
 * the card gets masks after it had none, when every mask changes anyway. No I/O. */
#pragma once

#include "cu-mask/cu-mask.h"
#include "governor/governor.h"

struct placement {
	uint32_t rounds; /* how often the card got masks after it had none */
	uint32_t n_models;
	struct cu_shape shapes[GOVERNOR_MAX_MODELS];
	struct cu_mask masks[GOVERNOR_MAX_MODELS]; /* n_bits of 0: all CUs */
};

/* Takes over the shapes of n_models models (at most GOVERNOR_MAX_MODELS; {0, 0}: all CUs) and makes
 * their masks. Shapes that cannot be packed, or are too many, get masks that overlap; a shape that
 * the card does not have gets all CUs. */
void placement_update(struct placement *p, const struct cu_topology *t, uint32_t n_models,
		      const struct cu_shape *shapes);
