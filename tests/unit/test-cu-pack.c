/* SPDX-License-Identifier: Apache-2.0 */
/* Packing of several models' shapes: tables worked out by hand, and random cards and shapes against
 * an exhaustive search that shares nothing with the packing. */
#include "base/macros.h"
#include "cu-mask/cu-mask.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SEED UINT64_C(20231023)

static struct cu_topology card(uint32_t n_se, uint32_t n_sh, uint32_t n_xcc, bool pairs,
			       const uint8_t *cus, uint32_t n_cus)
{
	struct cu_topology t = {.n_se = n_se,
				.n_sh_per_se = n_sh,
				.n_xcc = n_xcc,
				.wgp_pairs = pairs};

	for (uint32_t se = 0; se < n_se; se++)
		for (uint32_t sh = 0; sh < n_sh; sh++)
			t.active[se][sh] = cus[(se * n_sh + sh) % n_cus];
	return t;
}

#define CUS(...) (const uint8_t[]){__VA_ARGS__}, (uint32_t)sizeof((const uint8_t[]){__VA_ARGS__})

static struct cu_topology known_card(unsigned int i)
{
	switch (i) {
	case 0: /* MI50 */
		return card(4, 1, 1, false, CUS(15));
	case 1: /* MI60 */
		return card(4, 1, 1, false, CUS(16));
	case 2: /* MI100 */
		return card(8, 1, 1, false, CUS(15));
	case 3: /* MI210 */
		return card(8, 1, 1, false, CUS(13));
	case 4: /* MI300X */
		return card(32, 1, 8, false, CUS(10, 10, 9, 9));
	case 5: /* RDNA 2, 80 CUs */
		return card(4, 2, 1, true, CUS(10));
	case 6: /* the same with a WGP fused off */
		return card(4, 2, 1, true, CUS(10, 10, 10, 10, 10, 8, 10, 10));
	default: /* harvested unevenly */
		return card(4, 1, 1, false, CUS(16, 14, 15, 13));
	}
}
#define KNOWN_CARDS 8

/* splitmix64 */
static uint32_t random_below(uint64_t *seed, uint32_t n)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ (z >> 31)) % n);
}

/* --- the exhaustive search ------------------------------------------------------------------ */

/* All ways to give shape i of an XCC its SEs, one after the other. */
static bool fits_xcc(const struct cu_shape *shapes, uint32_t n, uint32_t k_div, uint32_t i,
		     uint32_t se, uint32_t given, uint32_t n_se, uint32_t *left)
{
	if (i == n)
		return true;
	if (given == shapes[i].n_se / k_div)
		return fits_xcc(shapes, n, k_div, i + 1, 0, 0, n_se, left);
	for (; se < n_se; se++) {
		bool fits;

		if (left[se] < shapes[i].cus_per_se)
			continue;
		left[se] -= shapes[i].cus_per_se;
		fits = fits_xcc(shapes, n, k_div, i, se + 1, given + 1, n_se, left);
		left[se] += shapes[i].cus_per_se;
		if (fits)
			return true;
	}
	return false;
}

static bool fits(const struct cu_topology *t, const struct cu_shape *shapes, uint32_t n)
{
	uint32_t n_se = t->n_se / t->n_xcc;

	for (uint32_t xcc = 0; xcc < t->n_xcc; xcc++) {
		uint32_t left[CU_MAX_SE];

		for (uint32_t se = 0; se < n_se; se++)
			left[se] = cu_topology_se_cus(t, xcc * n_se + se);
		if (!fits_xcc(shapes, n, t->n_xcc, 0, 0, 0, n_se, left))
			return false;
	}
	return true;
}

/* --- what a packing is ---------------------------------------------------------------------- */

static void check_packing(const struct cu_topology *t, const struct cu_shape *shapes, uint32_t n,
			  const struct cu_mask *masks)
{
	uint32_t all[CU_MASK_WORDS] = {0};

	for (uint32_t i = 0; i < n; i++) {
		uint32_t cus[CU_MAX_SE], n_se = 0;

		assert_int_equal(cu_mask_check(t, &masks[i]), 0);
		assert_int_equal(cu_mask_count(&masks[i]), cu_shape_cus(shapes[i]));
		cu_mask_per_se(t, masks[i].words, CU_MASK_WORDS, cus);
		for (uint32_t se = 0; se < t->n_se; se++) {
			n_se += cus[se] > 0;
			assert_true(cus[se] == 0 || cus[se] == shapes[i].cus_per_se);
		}
		assert_int_equal(n_se, shapes[i].n_se);
		for (uint32_t xcc = 0; xcc < t->n_xcc; xcc++) {
			uint32_t part = t->n_se / t->n_xcc, in_xcc = 0;

			for (uint32_t se = 0; se < part; se++)
				in_xcc += cus[xcc * part + se] > 0;
			assert_int_equal(in_xcc, shapes[i].n_se / t->n_xcc);
		}
		for (uint32_t w = 0; w < CU_MASK_WORDS; w++) {
			assert_int_equal(all[w] & masks[i].words[w], 0);
			all[w] |= masks[i].words[w];
		}
	}
}

/* --- tables --------------------------------------------------------------------------------- */

static uint64_t low64(const struct cu_mask *m)
{
	return m->words[0] | (uint64_t)m->words[1] << 32;
}

static void test_packings_of_known_cards_are_those_worked_out_by_hand(void **state)
{
	static const struct {
		const char *what;
		unsigned int card;
		uint32_t first_se, n;
		struct cu_shape shapes[4];
		uint64_t low[4]; /* the first 64 bits */
	} cases[] = {
		{"two halves of an MI50",
		 0,
		 0,
		 2,
		 {{2, 15}, {2, 15}},
		 {0x333333333333333, 0xccccccccccccccc}},
		{"the same from SE 1",
		 0,
		 1,
		 2,
		 {{2, 15}, {2, 15}},
		 {0x666666666666666, 0x999999999999999}},
		{"the larger first, wherever it stands",
		 0,
		 0,
		 2,
		 {{1, 8}, {3, 11}},
		 {0x88888888, 0x77777777777}},
		{"four quarters",
		 0,
		 0,
		 4,
		 {{1, 15}, {1, 15}, {1, 15}, {1, 15}},
		 {0x111111111111111, 0x222222222222222, 0x444444444444444, 0x888888888888888}},
		{"above one another in all SEs",
		 0,
		 0,
		 2,
		 {{4, 5}, {4, 10}},
		 {0xfffff0000000000, 0xffffffffff}},
		{"an MI60 has 64", 1, 0, 2, {{4, 8}, {4, 8}}, {0xffffffff, 0xffffffff00000000}},
		{"the first CUs of an MI100",
		 2,
		 0,
		 2,
		 {{4, 8}, {4, 8}},
		 {0x0f0f0f0f0f0f0f0f, 0xf0f0f0f0f0f0f0f0}},
		{"an MI210 from SE 6", 3, 6, 2, {{1, 8}, {2, 4}}, {0x4040404040404040, 0x81818181}},
		{"one SE in each XCC of an MI300X",
		 4,
		 0,
		 2,
		 {{8, 4}, {16, 2}},
		 {0xff000000ff, 0xffff0000ffff00}},
		{"WGPs of two arrays", 5, 0, 2, {{1, 4}, {1, 2}}, {0x303, 0xc}},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cu_topology t = known_card(cases[i].card);
		struct cu_mask masks[4];

		assert_int_equal(cu_masks_pack(&t, cases[i].shapes, cases[i].n, cases[i].first_se,
					       masks),
				 0);
		for (uint32_t k = 0; k < cases[i].n; k++)
			if (low64(&masks[k]) != cases[i].low[k])
				fail_msg("%s, shape %u: %#jx, expected %#jx", cases[i].what, k,
					 (uintmax_t)low64(&masks[k]), (uintmax_t)cases[i].low[k]);
		check_packing(&t, cases[i].shapes, cases[i].n, masks);
	}
}

static void test_what_cannot_be_packed_is_refused_and_writes_nothing(void **state)
{
	static const struct {
		const char *what;
		unsigned int card;
		uint32_t n;
		struct cu_shape shapes[4];
		int r;
	} cases[] = {
		{"more CUs than the card has", 0, 2, {{4, 8}, {4, 8}}, -ENOSPC},
		{"room, but not in one SE", 0, 3, {{4, 8}, {1, 8}, {1, 7}}, -ENOSPC},
		{"all CUs beside another", 0, 2, {{0, 0}, {1, 1}}, -ENOSPC},
		{"the whole card beside another", 0, 2, {{4, 15}, {1, 1}}, -ENOSPC},
		{"too many SEs", 0, 2, {{5, 1}, {1, 1}}, -EINVAL},
		{"too many CUs", 0, 2, {{1, 1}, {1, 16}}, -EINVAL},
		{"no CU", 0, 2, {{1, 1}, {1, 0}}, -EINVAL},
		{"not each XCC", 4, 2, {{8, 1}, {9, 1}}, -EINVAL},
		{"half a WGP", 5, 2, {{1, 2}, {1, 3}}, -EINVAL},
		{"nothing", 0, 0, {{0, 0}}, -E2BIG},
		{"too many", 0, CU_PACK_MAX + 1, {{0, 0}}, -E2BIG},
	};
	struct cu_topology none = known_card(0);

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cu_topology t = known_card(cases[i].card);
		struct cu_shape shapes[CU_PACK_MAX + 1] = {0};
		struct cu_mask masks[CU_PACK_MAX], before[CU_PACK_MAX];
		int r;

		memcpy(shapes, cases[i].shapes, sizeof(cases[i].shapes));
		memset(masks, 0xa5, sizeof(masks));
		memcpy(before, masks, sizeof(before));
		r = cu_masks_pack(&t, shapes, cases[i].n, 0, masks);
		if (r != cases[i].r)
			fail_msg("%s: %d instead of %d", cases[i].what, r, cases[i].r);
		assert_memory_equal(masks, before, sizeof(before));
	}
	none.n_xcc = 3;
	assert_int_equal(cu_masks_pack(&none, (struct cu_shape[]){{1, 1}, {1, 1}}, 2, 0,
				       (struct cu_mask[2]){0}),
			 -EINVAL);
}

static void test_one_shape_alone_is_the_single_models_mask(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < KNOWN_CARDS; i++) {
		struct cu_topology t = known_card(i);
		struct cu_shape shapes[512];
		int n = cu_shapes(&t, shapes, ARRAY_SIZE(shapes));

		assert_true(n > 0);
		for (int k = 0; k < n; k++)
			for (uint32_t first = 0; first < t.n_se; first++) {
				struct cu_mask one, packed;

				assert_int_equal(cu_mask_from_shape(&t, shapes[k], first, &one), 0);
				assert_int_equal(cu_masks_pack(&t, &shapes[k], 1, first, &packed),
						 0);
				assert_true(cu_mask_equal(&one, &packed));
			}
	}
}

/* Always taking the emptiest SE ends with a part that has no place: 9 and 6 must share one SE, and
 * the three of 5 another. */
static void test_a_packing_that_needs_a_search_is_found(void **state)
{
	static const struct {
		unsigned int card;
		uint32_t n;
		struct cu_shape shapes[6];
	} cases[] = {
		{0, 6, {{1, 9}, {1, 6}, {1, 5}, {1, 5}, {1, 5}, {2, 15}}},
		{4, 6, {{8, 6}, {8, 4}, {8, 3}, {8, 3}, {8, 3}, {16, 9}}},
		{7, 6, {{1, 9}, {1, 6}, {1, 5}, {1, 5}, {1, 4}, {2, 13}}},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cu_topology t = known_card(cases[i].card);
		struct cu_mask masks[6];

		assert_true(fits(&t, cases[i].shapes, cases[i].n));
		assert_int_equal(cu_masks_pack(&t, cases[i].shapes, cases[i].n, 0, masks), 0);
		check_packing(&t, cases[i].shapes, cases[i].n, masks);
	}
}

/* --- properties ----------------------------------------------------------------------------- */

static struct cu_topology random_card(uint64_t *seed)
{
	struct cu_topology t = {.n_xcc = 1 + random_below(seed, 2)};

	t.wgp_pairs = t.n_xcc == 1 && random_below(seed, 4) == 0;
	t.n_se = t.n_xcc * (1 + random_below(seed, 5));
	t.n_sh_per_se = 1 + random_below(seed, 2);
	for (uint32_t se = 0; se < t.n_se; se++)
		for (uint32_t sh = 0; sh < t.n_sh_per_se; sh++) {
			/* The second XCC is harvested like the first, but in another order. */
			uint32_t part = t.n_se / t.n_xcc;

			if (se >= part)
				t.active[se][sh] = t.active[2 * part - 1 - se][sh];
			else
				t.active[se][sh] =
					(uint8_t)(t.wgp_pairs ? 2 + 2 * random_below(seed, 7)
							      : 1 + random_below(seed, 16));
		}
	return t;
}

static uint32_t random_shapes(uint64_t *seed, const struct cu_topology *t, uint32_t max,
			      struct cu_shape *ret)
{
	uint32_t n = 2 + random_below(seed, max - 1), unit = t->wgp_pairs ? 2 : 1;

	for (uint32_t i = 0; i < n; i++) {
		uint32_t se = random_below(seed, t->n_se);
		uint32_t most = cu_topology_se_cus(t, se) / unit;

		/* Mostly small ones, as large ones seldom pack. */
		ret[i].n_se = (uint16_t)(t->n_xcc * (1 + random_below(seed, t->n_se / t->n_xcc)));
		ret[i].cus_per_se = (uint16_t)(unit * (1 + random_below(seed, 1 + most / 2)));
	}
	return n;
}

static void test_a_packing_is_found_whenever_there_is_one(void **state)
{
	uint64_t seed = SEED;
	unsigned int found = 0, none = 0, refused = 0;

	(void)state;
	print_message("seed %ju\n", (uintmax_t)SEED);
	for (unsigned int i = 0; i < 60000; i++) {
		struct cu_topology t = random_card(&seed);
		struct cu_mask masks[5], alone;
		struct cu_shape shapes[5];
		uint32_t n = random_shapes(&seed, &t, 5, shapes), first = random_below(&seed, 40);
		bool valid = true;
		int r;

		assert_int_equal(cu_topology_check(&t), 0);
		for (uint32_t k = 0; k < n; k++)
			valid = valid && cu_mask_from_shape(&t, shapes[k], 0, &alone) == 0;
		r = cu_masks_pack(&t, shapes, n, first, masks);
		if (!valid)
			refused += r == -EINVAL;
		else if (fits(&t, shapes, n)) {
			if (r != 0)
				fail_msg("run %u: %d for what can be packed", i, r);
			check_packing(&t, shapes, n, masks);
			found++;
		} else {
			assert_int_equal(r, -ENOSPC);
			none++;
		}
		assert_true(valid || r == -EINVAL);
	}
	print_message("%u packed, %u cannot be, %u not of the card\n", found, none, refused);
	assert_true(found > 5000 && none > 5000);
}

/* Eight models on each known card, cut out of it so that a packing exists, tight or not. */
static void test_eight_models_that_fit_are_packed_on_every_known_card(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	print_message("seed %ju\n", (uintmax_t)SEED);
	for (unsigned int i = 0; i < 4000; i++) {
		struct cu_topology t = known_card(i % KNOWN_CARDS);
		uint32_t part = t.n_se / t.n_xcc, left[CU_MAX_SE], unit = t.wgp_pairs ? 2 : 1;
		struct cu_mask masks[8];
		struct cu_shape shapes[8];
		uint32_t n = 0;

		for (uint32_t se = 0; se < part; se++)
			left[se] = cu_topology_se_cus(&t, se);
		for (unsigned int tries = 0; tries < 40 && n < 8; tries++) {
			uint32_t k = 1 + random_below(&seed, part), got = 0;
			uint32_t c = unit * (1 + random_below(&seed, 15 / unit));

			for (uint32_t se = 0; se < part; se++)
				got += left[se] >= c;
			if (got < k)
				continue;
			for (uint32_t se = random_below(&seed, part), g = k; g > 0;
			     se = (se + 1) % part)
				if (left[se] >= c) {
					left[se] -= c;
					g--;
					/* At most one part in an SE: k <= got lets the round end.
					 */
				}
			shapes[n].n_se = (uint16_t)(k * t.n_xcc);
			shapes[n++].cus_per_se = (uint16_t)c;
		}
		if (n < 2)
			continue;
		assert_int_equal(cu_masks_pack(&t, shapes, n, i, masks), 0);
		check_packing(&t, shapes, n, masks);
	}
}

/* Infeasible or not, eight random models get an answer within the bound. */
static void test_the_search_ends_with_an_answer_for_eight_models(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	print_message("seed %ju\n", (uintmax_t)SEED);
	for (unsigned int i = 0; i < 20000; i++) {
		struct cu_topology t = known_card(i % KNOWN_CARDS);
		struct cu_mask masks[8];
		struct cu_shape shapes[8];
		uint32_t n = random_shapes(&seed, &t, 8, shapes);
		int r = cu_masks_pack(&t, shapes, n, i, masks);

		if (r == -EOVERFLOW)
			fail_msg("run %u: gave up", i);
		if (r == 0)
			check_packing(&t, shapes, n, masks);
	}
}

static void test_rotation_moves_every_mask_of_an_even_card(void **state)
{
	static const struct cu_shape shapes[] = {{1, 12}, {1, 9}, {2, 7}};
	uint32_t used[3][4] = {{0}};

	(void)state;
	for (uint32_t first = 0; first < 4; first++) {
		struct cu_topology t = known_card(0);
		struct cu_mask masks[3];

		assert_int_equal(cu_masks_pack(&t, shapes, 3, first, masks), 0);
		for (uint32_t i = 0; i < 3; i++) {
			uint32_t cus[CU_MAX_SE];

			cu_mask_per_se(&t, masks[i].words, CU_MASK_WORDS, cus);
			for (uint32_t se = 0; se < 4; se++) {
				/* They land apart: no SE serves two. */
				assert_true(cus[se] == 0 || cus[se] == shapes[i].cus_per_se);
				used[i][se] += cus[se] > 0;
			}
		}
	}
	/* Over a round each SE has served each model as often as any other. */
	for (uint32_t i = 0; i < 3; i++)
		for (uint32_t se = 0; se < 4; se++)
			assert_int_equal(used[i][se], shapes[i].n_se);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packings_of_known_cards_are_those_worked_out_by_hand),
		cmocka_unit_test(test_what_cannot_be_packed_is_refused_and_writes_nothing),
		cmocka_unit_test(test_one_shape_alone_is_the_single_models_mask),
		cmocka_unit_test(test_a_packing_that_needs_a_search_is_found),
		cmocka_unit_test(test_a_packing_is_found_whenever_there_is_one),
		cmocka_unit_test(test_eight_models_that_fit_are_packed_on_every_known_card),
		cmocka_unit_test(test_the_search_ends_with_an_answer_for_eight_models),
		cmocka_unit_test(test_rotation_moves_every_mask_of_an_even_card),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
