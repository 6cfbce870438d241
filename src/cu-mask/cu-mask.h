/* SPDX-License-Identifier: Apache-2.0 */
/* From a card's topology to CU mask words. A mask's bit i names a CU by the kernel's dealing order
 * (mqd_symmetrically_map_cu_mask: over SEs first, then shader arrays, then CUs; on the MI50 bit i
 * is CU i / 4 of SE i % 4). Workgroups are dealt round-robin over the SEs that have a CU enabled,
 * whatever their number of CUs, so the speed follows the SE with the fewest: masks come in
 * shapes, k SEs x c CUs each, and counts that do not divide evenly are dominated. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CU_MASK_WORDS 16 /* 512 bits; the MI300X has 304 CUs */
#define CU_MAX_SE     32
#define CU_MAX_SH     2

struct cu_topology {
	uint32_t n_se;			      /* shader engines over all XCCs */
	uint32_t n_sh_per_se;		      /* shader arrays per SE, 1 on CDNA and Vega */
	uint32_t n_xcc;			      /* 1 before the MI300 */
	bool wgp_pairs;			      /* RDNA: CUs are enabled in pairs */
	uint8_t active[CU_MAX_SE][CU_MAX_SH]; /* active CUs (harvested ones not counted) */
};

struct cu_mask {
	uint32_t n_bits; /* the card's active CUs; words beyond are 0 */
	uint32_t words[CU_MASK_WORDS];
};

/* k SEs with c CUs each; {0, 0} means "leave the mask alone" (all CUs). */
struct cu_shape {
	uint16_t n_se;
	uint16_t cus_per_se;
};

static inline uint32_t cu_shape_cus(struct cu_shape s)
{
	return (uint32_t)s.n_se * s.cus_per_se;
}

static inline bool cu_shape_equal(struct cu_shape a, struct cu_shape b)
{
	return a.n_se == b.n_se && a.cus_per_se == b.cus_per_se;
}

/* n_se engines of cus active CUs each, one shader array, one XCC. */
struct cu_topology cu_topology_even(uint32_t n_se, uint32_t cus);
/* 0, or -EINVAL for counts that are zero (an SE without a CU, too) or over the limits above, more
 * than 16 CUs in a shader array, odd counts on WGP pairs, or XCCs of unequal size (the kernel's
 * dealing does not reach all CUs of those). The functions below that can fail return its error;
 * the others answer with nothing for such a topology. */
int cu_topology_check(const struct cu_topology *t);
uint32_t cu_topology_cus(const struct cu_topology *t);
uint32_t cu_topology_se_cus(const struct cu_topology *t, uint32_t se);

/* The shape of the whole card: every SE, as many CUs as the smallest SE has. On a card with
 * unequal SEs its mask is still all CUs (see cu_mask_from_shape()). */
struct cu_shape cu_shape_full(const struct cu_topology *t);

/* The non-dominated shapes of the conserved policy (fewest SEs that hold n CUs, evenly split), in
 * ascending number of CUs; the last is the full shape (its mask is all CUs, so on a card with
 * unequal SEs it comes last even where its own product is smaller). ret has room for max entries;
 * returns their number (32 on the MI50), or -ENOSPC. */
int cu_shapes(const struct cu_topology *t, struct cu_shape *ret, uint32_t max);

/* Mask of n CUs by the conserved policy; remainders go to the first SEs. first_se rotates which
 * SEs are used. Every XCC gets its part of n. -EINVAL for n = 0, n over the card's CUs, fewer than
 * one CU for each XCC, or an odd n on WGP pairs. */
int cu_mask_conserved(const struct cu_topology *t, uint32_t n, uint32_t first_se,
		      struct cu_mask *ret);
/* Mask of a shape starting at SE first_se (wrapping). The full shape and {0, 0} give all CUs.
 * -EINVAL if no such set of SEs has enough CUs. */
int cu_mask_from_shape(const struct cu_topology *t, struct cu_shape shape, uint32_t first_se,
		       struct cu_mask *ret);
void cu_mask_all(const struct cu_topology *t, struct cu_mask *ret);

/* Disjoint masks for the shapes of n models on one card, ret[i] for shapes[i]; n of 1 is
 * cu_mask_from_shape(). Each has exactly k x c CUs, c in each of its k SEs, k / n_xcc SEs in each
 * XCC; a packing is possible if in no SE the sum of c exceeds its active CUs. Shapes keep apart
 * where there is room: the largest starts at SE first_se (wrapping within each XCC), the others
 * take the SEs with the fewest CUs taken, so that another first_se moves the wear and all of them.
 * With n above 1 the full shape counts as its product, and {0, 0} (all CUs) packs with nothing.
 *
 * 0; -EINVAL for a shape that is not one of this card or a topology that is none; -E2BIG for n of
 * 0 or above CU_PACK_MAX; -ENOSPC if no packing exists; -EOVERFLOW if none was found in a bounded
 * search (CU_PACK_STEPS in each XCC; not seen for up to 8 models on the cards known).
 * ret is written only on success. Takes some 40 KiB of stack and no other memory. */
#define CU_PACK_MAX   16
#define CU_PACK_STEPS 50000
int cu_masks_pack(const struct cu_topology *t, const struct cu_shape *shapes, uint32_t n,
		  uint32_t first_se, struct cu_mask *ret);
bool cu_mask_equal(const struct cu_mask *a, const struct cu_mask *b);
uint32_t cu_mask_count(const struct cu_mask *m);

/* What a mask means on the card: CUs enabled per SE. Words beyond n_words count as 0. */
void cu_mask_per_se(const struct cu_topology *t, const uint32_t *words, uint32_t n_words,
		    uint32_t ret_cus[CU_MAX_SE]);
/* The shape that a mask performs like: number of SEs with a CU, and the fewest CUs in one. */
struct cu_shape cu_mask_effective_shape(const struct cu_topology *t, const uint32_t *words,
					uint32_t n_words);
/* 0, or -EINVAL for a mask that must never reach a queue: no CU at all, bits beyond the card, half
 * a WGP pair, an XCC without a CU. */
int cu_mask_check(const struct cu_topology *t, const struct cu_mask *m);
