/* SPDX-License-Identifier: Apache-2.0 */
/* Between cu-mask.c and cu-pack.c: the kernel's dealing order as a table. */
#pragma once

#include "cu-mask/cu-mask.h"

#define CU_MASK_BITS (CU_MASK_WORDS * 32)

struct dealing {
	uint32_t n_bits;
	uint8_t se[CU_MASK_BITS]; /* of each bit */
};

/* 0, or cu_topology_check()'s error. */
int dealing_init(struct dealing *d, const struct cu_topology *t);
/* Enables cus[se] CUs of each SE, those after its first from[se]. */
void dealing_fill(const struct dealing *d, const uint32_t from[CU_MAX_SE],
		  const uint32_t cus[CU_MAX_SE], struct cu_mask *ret);

/* CUs that one grant enables. */
static inline uint32_t unit_cus(const struct cu_topology *t)
{
	return t->wgp_pairs ? 2 : 1;
}

static inline uint32_t se_per_xcc(const struct cu_topology *t)
{
	return t->n_se / t->n_xcc;
}
