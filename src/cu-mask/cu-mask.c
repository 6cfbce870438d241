/* SPDX-License-Identifier: Apache-2.0 */
/* CU masks by the kernel's dealing order.
 *
 * The kernel hands mask bits out in rounds: round u gives one bit to unit u (a CU, or a pair of
 * them on RDNA) of every shader array that has such a unit; within a round the shader array of an
 * SE is the outer loop and the SE the inner one. With several XCCs the bits go to the XCCs first,
 * so XCC x owns the bits x, x + n_xcc, ... . Everything here is built on one table from that
 * rule, the SE of each bit; a CU's own number never matters, as the lowest CUs of an SE are the
 * first of its bits. */
#include "cu-mask/cu-mask.h"

#include "base/macros.h"
#include "cu-mask/dealing.h"

#include <errno.h>
#include <string.h>

#define CU_MAX_PER_SH 16 /* half of an se_mask register */

struct cu_topology cu_topology_even(uint32_t n_se, uint32_t cus)
{
	struct cu_topology t = {.n_se = n_se, .n_sh_per_se = 1, .n_xcc = 1};

	for (uint32_t se = 0; se < MIN(n_se, (uint32_t)CU_MAX_SE); se++)
		t.active[se][0] = (uint8_t)MIN(cus, (uint32_t)UINT8_MAX);
	return t;
}

uint32_t cu_topology_se_cus(const struct cu_topology *t, uint32_t se)
{
	uint32_t n = 0;

	if (se >= MIN(t->n_se, (uint32_t)CU_MAX_SE))
		return 0;
	for (uint32_t sh = 0; sh < MIN(t->n_sh_per_se, (uint32_t)CU_MAX_SH); sh++)
		n += t->active[se][sh];
	return n;
}

uint32_t cu_topology_cus(const struct cu_topology *t)
{
	uint32_t n = 0;

	for (uint32_t se = 0; se < MIN(t->n_se, (uint32_t)CU_MAX_SE); se++)
		n += cu_topology_se_cus(t, se);
	return n;
}

static uint32_t xcc_cus(const struct cu_topology *t, uint32_t xcc)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < se_per_xcc(t); i++)
		n += cu_topology_se_cus(t, xcc * se_per_xcc(t) + i);
	return n;
}

int cu_topology_check(const struct cu_topology *t)
{
	if (t->n_se == 0 || t->n_se > CU_MAX_SE || t->n_sh_per_se == 0 ||
	    t->n_sh_per_se > CU_MAX_SH || t->n_xcc == 0 || t->n_se % t->n_xcc != 0)
		return -EINVAL;
	if (t->wgp_pairs && t->n_xcc > 1)
		return -EINVAL; /* no such card, and the kernel's step for one is unsettled */
	for (uint32_t se = 0; se < t->n_se; se++) {
		if (cu_topology_se_cus(t, se) == 0)
			return -EINVAL;
		for (uint32_t sh = 0; sh < t->n_sh_per_se; sh++)
			if (t->active[se][sh] > CU_MAX_PER_SH ||
			    t->active[se][sh] % unit_cus(t) != 0)
				return -EINVAL;
	}
	/* The kernel cuts the mask at the card's total, so the last CUs of a larger XCC could
	 * never be enabled. */
	for (uint32_t xcc = 1; xcc < t->n_xcc; xcc++)
		if (xcc_cus(t, xcc) != xcc_cus(t, 0))
			return -EINVAL;
	return cu_topology_cus(t) > CU_MASK_BITS ? -EINVAL : 0;
}

int dealing_init(struct dealing *d, const struct cu_topology *t)
{
	uint32_t step = unit_cus(t), n_se;
	int r;

	r = cu_topology_check(t);
	if (r < 0)
		return r;
	*d = (struct dealing){.n_bits = cu_topology_cus(t)};
	n_se = se_per_xcc(t);
	for (uint32_t xcc = 0; xcc < t->n_xcc; xcc++) {
		uint32_t bit = xcc;

		for (uint32_t cu = 0; cu < CU_MAX_PER_SH; cu += step)
			for (uint32_t i = 0; i < t->n_sh_per_se * n_se; i++) {
				uint32_t se = xcc * n_se + i % n_se;

				if (t->active[se][i / n_se] <= cu)
					continue;
				memset(&d->se[bit], (int)se, step);
				bit += step * t->n_xcc;
			}
	}
	return 0;
}

static bool bit_is_set(const uint32_t *words, uint32_t n_words, uint32_t bit)
{
	return bit / 32 < n_words && (words[bit / 32] >> (bit % 32) & 1);
}

void dealing_fill(const struct dealing *d, const uint32_t from[CU_MAX_SE],
		  const uint32_t cus[CU_MAX_SE], struct cu_mask *ret)
{
	struct cu_mask m = {.n_bits = d->n_bits};
	uint32_t passed[CU_MAX_SE] = {0};

	for (uint32_t bit = 0; bit < d->n_bits; bit++) {
		uint32_t se = d->se[bit], at = passed[se]++;

		if (at >= from[se] && at - from[se] < cus[se])
			m.words[bit / 32] |= UINT32_C(1) << (bit % 32);
	}
	*ret = m;
}

/* Enables the first cus[se] CUs of each SE. */
static void mask_fill(const struct dealing *d, const uint32_t cus[CU_MAX_SE], struct cu_mask *ret)
{
	static const uint32_t from[CU_MAX_SE];

	dealing_fill(d, from, cus, ret);
}

/* The SEs of an XCC, most CUs first; ties by distance from first_se. */
static void order_ses(const struct cu_topology *t, uint32_t xcc, uint32_t first_se,
		      uint32_t ret[CU_MAX_SE])
{
	uint32_t n = se_per_xcc(t);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t se = xcc * n + (first_se + i) % n, at = i;

		for (; at > 0 && cu_topology_se_cus(t, ret[at - 1]) < cu_topology_se_cus(t, se);
		     at--)
			ret[at] = ret[at - 1];
		ret[at] = se;
	}
}

/* The fewest of the SEs in order that hold n CUs, which the XCC has. */
static uint32_t ses_for(const struct cu_topology *t, const uint32_t order[CU_MAX_SE], uint32_t n)
{
	uint32_t k = 0, held = 0;

	while (held < n && k < se_per_xcc(t))
		held += cu_topology_se_cus(t, order[k++]);
	return k;
}

/* Deals n CUs of an XCC to as few SEs as hold them, always to the one with the fewest so far. */
static void deal_xcc(const struct cu_topology *t, uint32_t xcc, uint32_t first_se, uint32_t n,
		     uint32_t cus[CU_MAX_SE])
{
	uint32_t order[CU_MAX_SE], k;

	order_ses(t, xcc, first_se, order);
	k = ses_for(t, order, n);
	for (uint32_t left = n; left > 0; left -= unit_cus(t)) {
		uint32_t best = UINT32_MAX;

		for (uint32_t i = 0; i < k; i++)
			if (cus[order[i]] < cu_topology_se_cus(t, order[i]) &&
			    (best == UINT32_MAX || cus[order[i]] < cus[best]))
				best = order[i];
		cus[best] += unit_cus(t);
	}
}

int cu_mask_conserved(const struct cu_topology *t, uint32_t n, uint32_t first_se,
		      struct cu_mask *ret)
{
	uint32_t cus[CU_MAX_SE] = {0}, units;
	struct dealing d;
	int r;

	r = dealing_init(&d, t);
	if (r < 0)
		return r;
	units = n / unit_cus(t);
	if (n % unit_cus(t) != 0 || n > d.n_bits || units < t->n_xcc)
		return -EINVAL;
	for (uint32_t xcc = 0; xcc < t->n_xcc; xcc++)
		deal_xcc(t, xcc, first_se,
			 (units / t->n_xcc + (xcc < units % t->n_xcc)) * unit_cus(t), cus);
	mask_fill(&d, cus, ret);
	return 0;
}

struct cu_shape cu_shape_full(const struct cu_topology *t)
{
	uint32_t least = UINT32_MAX;

	if (cu_topology_check(t) < 0)
		return (struct cu_shape){0};
	for (uint32_t se = 0; se < t->n_se; se++)
		least = MIN(least, cu_topology_se_cus(t, se));
	return (struct cu_shape){(uint16_t)t->n_se, (uint16_t)least};
}

/* The shape of n CUs in each XCC, if they split evenly over the fewest SEs that hold them. */
static bool even_shape(const struct cu_topology *t, uint32_t n, struct cu_shape *ret)
{
	uint32_t order[CU_MAX_SE], k = 1;

	for (uint32_t xcc = 0; xcc < t->n_xcc; xcc++) {
		order_ses(t, xcc, /* first_se= */ 0, order);
		k = MAX(k, ses_for(t, order, n));
	}
	if (n % (k * unit_cus(t)) != 0)
		return false;
	for (uint32_t xcc = 0; xcc < t->n_xcc; xcc++) {
		order_ses(t, xcc, /* first_se= */ 0, order);
		if (cu_topology_se_cus(t, order[k - 1]) < n / k)
			return false;
	}
	*ret = (struct cu_shape){(uint16_t)(k * t->n_xcc), (uint16_t)(n / k)};
	return true;
}

int cu_shapes(const struct cu_topology *t, struct cu_shape *ret, uint32_t max)
{
	struct cu_shape full = cu_shape_full(t), shape;
	uint32_t n_shapes = 0;
	int r;

	r = cu_topology_check(t);
	if (r < 0)
		return r;
	for (uint32_t n = 1; n <= xcc_cus(t, 0); n++) {
		if (!even_shape(t, n, &shape) || cu_shape_equal(shape, full))
			continue;
		if (n_shapes >= max)
			return -ENOSPC;
		ret[n_shapes++] = shape;
	}
	if (n_shapes >= max)
		return -ENOSPC;
	ret[n_shapes++] = full;
	return (int)n_shapes;
}

/* Gives c CUs to k SEs of an XCC, from first_se on, passing over those that have fewer. */
static int shape_xcc(const struct cu_topology *t, uint32_t xcc, uint32_t first_se, uint32_t k,
		     uint32_t c, uint32_t cus[CU_MAX_SE])
{
	uint32_t n = se_per_xcc(t);

	for (uint32_t i = 0; i < n && k > 0; i++) {
		uint32_t se = xcc * n + (first_se + i) % n;

		if (cu_topology_se_cus(t, se) < c)
			continue;
		cus[se] = c;
		k--;
	}
	return k > 0 ? -EINVAL : 0;
}

int cu_mask_from_shape(const struct cu_topology *t, struct cu_shape shape, uint32_t first_se,
		       struct cu_mask *ret)
{
	uint32_t cus[CU_MAX_SE] = {0};
	struct dealing d;
	int r;

	r = dealing_init(&d, t);
	if (r < 0)
		return r;
	if (cu_shape_equal(shape, (struct cu_shape){0}) ||
	    cu_shape_equal(shape, cu_shape_full(t))) {
		cu_mask_all(t, ret);
		return 0;
	}
	if (cu_shape_cus(shape) == 0 || shape.n_se % t->n_xcc != 0 ||
	    shape.cus_per_se % unit_cus(t) != 0)
		return -EINVAL;
	for (uint32_t xcc = 0; xcc < t->n_xcc; xcc++) {
		r = shape_xcc(t, xcc, first_se, shape.n_se / t->n_xcc, shape.cus_per_se, cus);
		if (r < 0)
			return r;
	}
	mask_fill(&d, cus, ret);
	return 0;
}

void cu_mask_all(const struct cu_topology *t, struct cu_mask *ret)
{
	struct cu_mask m = {.n_bits = MIN(cu_topology_cus(t), (uint32_t)CU_MASK_BITS)};

	for (uint32_t bit = 0; bit < m.n_bits; bit++)
		m.words[bit / 32] |= UINT32_C(1) << (bit % 32);
	*ret = m;
}

bool cu_mask_equal(const struct cu_mask *a, const struct cu_mask *b)
{
	return a->n_bits == b->n_bits && memcmp(a->words, b->words, sizeof(a->words)) == 0;
}

uint32_t cu_mask_count(const struct cu_mask *m)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < CU_MASK_WORDS; i++)
		n += (uint32_t)__builtin_popcount(m->words[i]);
	return n;
}

void cu_mask_per_se(const struct cu_topology *t, const uint32_t *words, uint32_t n_words,
		    uint32_t ret_cus[CU_MAX_SE])
{
	struct dealing d;

	memset(ret_cus, 0, CU_MAX_SE * sizeof(*ret_cus));
	if (dealing_init(&d, t) < 0)
		return;
	for (uint32_t bit = 0; bit < d.n_bits; bit++)
		if (bit_is_set(words, n_words, bit))
			ret_cus[d.se[bit]]++;
}

struct cu_shape cu_mask_effective_shape(const struct cu_topology *t, const uint32_t *words,
					uint32_t n_words)
{
	uint32_t cus[CU_MAX_SE], n_se = 0, least = UINT32_MAX;

	cu_mask_per_se(t, words, n_words, cus);
	for (uint32_t se = 0; se < CU_MAX_SE; se++)
		if (cus[se] > 0) {
			n_se++;
			least = MIN(least, cus[se]);
		}
	if (n_se == 0)
		return (struct cu_shape){0};
	return (struct cu_shape){(uint16_t)n_se, (uint16_t)least};
}

int cu_mask_check(const struct cu_topology *t, const struct cu_mask *m)
{
	uint32_t per_xcc[CU_MAX_SE] = {0}, n = 0;
	struct dealing d;
	int r;

	r = dealing_init(&d, t);
	if (r < 0)
		return r;
	for (uint32_t bit = 0; bit < d.n_bits; bit++) {
		bool set = bit_is_set(m->words, CU_MASK_WORDS, bit);

		n += set;
		per_xcc[d.se[bit] / se_per_xcc(t)] += set;
		/* n_bits is even with pairs, so the partner is on the card, too. */
		if (t->wgp_pairs && set != bit_is_set(m->words, CU_MASK_WORDS, bit ^ 1))
			return -EINVAL;
	}
	for (uint32_t xcc = 0; xcc < t->n_xcc; xcc++)
		if (per_xcc[xcc] == 0)
			return -EINVAL;
	return m->n_bits == d.n_bits && n == cu_mask_count(m) ? 0 : -EINVAL;
}
