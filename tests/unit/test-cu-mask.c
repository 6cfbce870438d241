/* SPDX-License-Identifier: Apache-2.0 */
/* Masks against values worked out by hand from the kernel's dealing order, and properties over
 * every count on even and uneven cards. */
#include "base/macros.h"
#include "cu-mask/cu-mask.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static uint64_t low64(const struct cu_mask *m)
{
	return m->words[0] | (uint64_t)m->words[1] << 32;
}

static struct cu_topology uneven(const uint8_t *cus, uint32_t n)
{
	struct cu_topology t = {.n_se = n, .n_sh_per_se = 1, .n_xcc = 1};

	for (uint32_t i = 0; i < n; i++)
		t.active[i][0] = cus[i];
	return t;
}

/* An MI300X: 8 XCCs of 4 SEs; 38 CUs in each. */
static struct cu_topology mi300x(void)
{
	static const uint8_t cus[] = {10, 10, 9, 9};
	struct cu_topology t = {.n_se = 32, .n_sh_per_se = 1, .n_xcc = 8};

	for (uint32_t i = 0; i < t.n_se; i++)
		t.active[i][0] = cus[i % 4];
	return t;
}

/* An RDNA card: 4 SEs of two shader arrays, 10 CUs in each, one array of 8. */
static struct cu_topology rdna(void)
{
	struct cu_topology t = {.n_se = 4, .n_sh_per_se = 2, .n_xcc = 1, .wgp_pairs = true};

	for (uint32_t i = 0; i < 4; i++)
		t.active[i][0] = t.active[i][1] = 10;
	t.active[2][1] = 8;
	return t;
}

static const struct {
	const char *name;
	uint8_t cus[8];
	uint32_t n;
} cards[] = {
	{"MI50", {15, 15, 15, 15}, 4},
	{"MI60", {16, 16, 16, 16}, 4},
	{"MI100", {15, 15, 15, 15, 15, 15, 15, 15}, 8},
	{"MI210", {13, 13, 13, 13, 13, 13, 13, 13}, 8},
	{"one SE", {11}, 1},
	{"harvested", {16, 14, 15, 13}, 4},
	{"very uneven", {2, 16, 1, 16}, 4},
	{"six SEs", {7, 8, 8, 9, 8, 8}, 6},
};

static void test_conserved_masks_of_the_mi50_are_those_of_the_kernels_dealing_order(void **state)
{
	static const struct {
		uint32_t n, first_se;
		uint64_t mask;
	} cases[] = {
		{1, 0, 0x1},
		{8, 0, 0x11111111},
		{15, 0, 0x111111111111111},
		{16, 0, 0x33333333},
		{17, 0, 0x133333333},
		{20, 0, 0x3333333333},
		{30, 0, 0x333333333333333},
		{31, 0, 0x17777777777},
		{33, 0, 0x77777777777},
		{45, 0, 0x777777777777777},
		{46, 0, 0x3fffffffffff},
		{48, 0, 0xffffffffffff},
		{60, 0, 0xfffffffffffffff},
		{8, 1, 0x22222222},
		{8, 3, 0x88888888},
		{8, 4, 0x11111111},
		{16, 3, 0x99999999},
		{31, 2, 0x4dddddddddd},
		{60, 2, 0xfffffffffffffff},
	};
	struct cu_topology t = cu_topology_even(4, 15);

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cu_mask m;

		assert_int_equal(cu_mask_conserved(&t, cases[i].n, cases[i].first_se, &m), 0);
		assert_int_equal(m.n_bits, 60);
		if (low64(&m) != cases[i].mask)
			fail_msg("%u CUs from SE %u: %#jx, expected %#jx", cases[i].n,
				 cases[i].first_se, (uintmax_t)low64(&m), (uintmax_t)cases[i].mask);
	}
}

/* One SE after the other, filled evenly; bit i of n SEs is CU i / n of SE i % n. */
static void test_conserved_masks_of_other_cards(void **state)
{
	static const struct {
		const char *card;
		uint32_t n_se, cus, n, first_se;
		uint64_t mask; /* the first 64 bits */
	} cases[] = {
		{"MI60", 4, 16, 16, 0, 0x1111111111111111},
		{"MI60", 4, 16, 17, 0, 0x133333333},
		{"MI60", 4, 16, 32, 2, 0xcccccccccccccccc},
		{"MI60", 4, 16, 64, 0, UINT64_MAX},
		{"MI100", 8, 15, 8, 0, 0x0101010101010101},
		{"MI100", 8, 15, 15, 3, 0x0808080808080808},
		{"MI100", 8, 15, 16, 0, 0x0303030303030303},
		{"MI100", 8, 15, 60, 0, 0x0f0f0f0f0f0f0f0f},
		{"MI210", 8, 13, 13, 7, 0x8080808080808080},
		{"MI210", 8, 13, 14, 0, 0x03030303030303},
		{"MI210", 8, 13, 26, 7, 0x8181818181818181},
		{"MI210", 8, 13, 104, 0, UINT64_MAX},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cu_topology t = cu_topology_even(cases[i].n_se, cases[i].cus);
		struct cu_mask m;

		assert_int_equal(cu_mask_conserved(&t, cases[i].n, cases[i].first_se, &m), 0);
		assert_int_equal(cu_mask_check(&t, &m), 0);
		assert_int_equal(cu_mask_count(&m), cases[i].n);
		if (low64(&m) != cases[i].mask)
			fail_msg("%s, %u CUs from SE %u: %#jx, expected %#jx", cases[i].card,
				 cases[i].n, cases[i].first_se, (uintmax_t)low64(&m),
				 (uintmax_t)cases[i].mask);
	}
}

static void test_bit_i_of_the_mi50_is_cu_i_div_4_of_se_i_mod_4(void **state)
{
	struct cu_topology t = cu_topology_even(4, 15);

	(void)state;
	for (uint32_t bit = 0; bit < 64; bit++) {
		uint32_t words[2] = {0}, cus[CU_MAX_SE];

		words[bit / 32] = UINT32_C(1) << (bit % 32);
		cu_mask_per_se(&t, words, 2, cus);
		for (uint32_t se = 0; se < CU_MAX_SE; se++)
			assert_int_equal(cus[se], bit < 60 && se == bit % 4);
	}
}

/* What conserved means, for any card of one XCC: n CUs, as few SEs as can hold them, and none
 * that could have taken a CU holds two fewer than another. */
static void check_conserved(const char *name, const struct cu_topology *t, uint32_t n,
			    uint32_t first_se)
{
	uint32_t cus[CU_MAX_SE], used = 0, most = 0, least = UINT32_MAX, left = 0;
	struct cu_mask m;
	bool taken[CU_MAX_SE] = {0};

	assert_int_equal(cu_mask_conserved(t, n, first_se, &m), 0);
	assert_int_equal(cu_mask_count(&m), n);
	assert_int_equal(cu_mask_check(t, &m), 0);
	cu_mask_per_se(t, m.words, CU_MASK_WORDS, cus);
	for (uint32_t se = 0; se < t->n_se; se++) {
		assert_true(cus[se] <= cu_topology_se_cus(t, se));
		used += cus[se] > 0;
		most = MAX(most, cus[se]);
		if (cus[se] > 0 && cus[se] < cu_topology_se_cus(t, se))
			least = MIN(least, cus[se]);
	}
	if (least != UINT32_MAX && most - least > 1)
		fail_msg("%s, %u CUs: %u in one SE, %u in another with room", name, n, most, least);
	for (left = n; left > 0;) { /* the biggest SEs, to count how few could do */
		uint32_t best = UINT32_MAX;

		for (uint32_t se = 0; se < t->n_se; se++)
			if (!taken[se] && (best == UINT32_MAX ||
					   cu_topology_se_cus(t, se) > cu_topology_se_cus(t, best)))
				best = se;
		taken[best] = true;
		left -= MIN(left, cu_topology_se_cus(t, best));
		used--;
	}
	if (used != 0)
		fail_msg("%s: %u CUs on more SEs than needed", name, n);
}

static void test_every_count_uses_the_fewest_ses_filled_evenly(void **state)
{
	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cards); i++) {
		struct cu_topology t = uneven(cards[i].cus, cards[i].n);

		for (uint32_t n = 1; n <= cu_topology_cus(&t); n++)
			for (uint32_t first = 0; first < t.n_se; first++)
				check_conserved(cards[i].name, &t, n, first);
	}
}

static void test_uneven_ses_shift_only_the_tail_bits(void **state)
{
	/* Rounds 0..12 deal one bit to each of the 4 SEs; then SE 3 is full, then SE 1, ... */
	struct cu_topology t = uneven((const uint8_t[]){16, 14, 15, 13}, 4);
	static const uint8_t tail[] = {0, 1, 2, 0, 2, 0};

	(void)state;
	for (uint32_t bit = 0; bit < 58; bit++) {
		uint32_t words[2] = {0}, cus[CU_MAX_SE];

		words[bit / 32] = UINT32_C(1) << (bit % 32);
		cu_mask_per_se(&t, words, 2, cus);
		assert_int_equal(cus[bit < 52 ? bit % 4 : tail[bit - 52]], 1);
	}
}

static void test_the_mi50_has_32_shapes_that_are_not_dominated(void **state)
{
	static const struct cu_shape some[] = {{1, 1},	{1, 15}, {2, 8},  {2, 15},
					       {3, 11}, {3, 15}, {4, 12}, {4, 15}};
	struct cu_topology t = cu_topology_even(4, 15);
	struct cu_shape shapes[32];
	unsigned int found = 0;

	(void)state;
	assert_int_equal(cu_shapes(&t, shapes, 31), -ENOSPC);
	assert_int_equal(cu_shapes(&t, shapes, 32), 32);
	for (unsigned int i = 0; i < 32; i++) {
		if (i > 0)
			assert_true(cu_shape_cus(shapes[i]) > cu_shape_cus(shapes[i - 1]));
		for (unsigned int j = 0; j < ARRAY_SIZE(some); j++)
			found += cu_shape_equal(shapes[i], some[j]);
	}
	assert_int_equal(found, ARRAY_SIZE(some));
	assert_true(cu_shape_equal(shapes[31], cu_shape_full(&t)));
}

/* A count is dominated if it runs like fewer CUs: the SEs times the fewest CUs in one. */
static void test_shapes_are_the_counts_that_run_like_all_of_their_cus(void **state)
{
	struct cu_topology t = cu_topology_even(4, 15);
	struct cu_shape shapes[60];
	int n_shapes, next = 0;

	(void)state;
	n_shapes = cu_shapes(&t, shapes, 60);
	for (uint32_t n = 1; n <= 60; n++) {
		struct cu_shape effective;
		struct cu_mask m;

		assert_int_equal(cu_mask_conserved(&t, n, 0, &m), 0);
		effective = cu_mask_effective_shape(&t, m.words, CU_MASK_WORDS);
		assert_true(cu_shape_cus(effective) <= n);
		if (cu_shape_cus(effective) == n)
			assert_true(cu_shape_equal(shapes[next++], effective));
	}
	assert_int_equal(next, n_shapes);
}

static void check_shapes(const char *name, const struct cu_topology *t)
{
	struct cu_shape shapes[512];
	uint32_t before = 0;
	int n;

	n = cu_shapes(t, shapes, ARRAY_SIZE(shapes));
	assert_true(n > 0);
	assert_true(cu_shape_equal(shapes[n - 1], cu_shape_full(t)));
	for (int i = 0; i < n; i++)
		for (uint32_t first = 0; first < t->n_se; first++) {
			struct cu_shape effective;
			struct cu_mask m;

			assert_int_equal(cu_mask_from_shape(t, shapes[i], first, &m), 0);
			assert_int_equal(cu_mask_check(t, &m), 0);
			effective = cu_mask_effective_shape(t, m.words, CU_MASK_WORDS);
			if (!cu_shape_equal(effective, shapes[i]))
				fail_msg("%s: shape %ux%u gave %ux%u", name, shapes[i].n_se,
					 shapes[i].cus_per_se, effective.n_se,
					 effective.cus_per_se);
			if (first == 0) {
				assert_true(cu_mask_count(&m) > before);
				before = cu_mask_count(&m);
			}
		}
	assert_int_equal(before, cu_topology_cus(t));
}

static void test_each_shape_of_each_card_has_a_mask_that_performs_like_it(void **state)
{
	struct cu_topology big = mi300x(), pairs = rdna();

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cards); i++) {
		struct cu_topology t = uneven(cards[i].cus, cards[i].n);

		check_shapes(cards[i].name, &t);
	}
	check_shapes("MI300X", &big);
	check_shapes("RDNA", &pairs);
}

static void test_full_shape_and_no_shape_give_every_cu_of_an_uneven_card(void **state)
{
	struct cu_topology t = uneven((const uint8_t[]){16, 14, 15, 13}, 4);
	struct cu_mask full, none, all;

	(void)state;
	assert_int_equal(cu_mask_from_shape(&t, (struct cu_shape){4, 13}, 0, &full), 0);
	assert_int_equal(cu_mask_from_shape(&t, (struct cu_shape){0, 0}, 3, &none), 0);
	cu_mask_all(&t, &all);
	assert_true(cu_mask_equal(&full, &all));
	assert_true(cu_mask_equal(&none, &all));
	assert_int_equal(cu_mask_count(&all), 58);
	assert_int_equal(low64(&all), 0x3ffffffffffffff);
}

static void test_a_shape_passes_over_ses_that_are_too_small(void **state)
{
	struct cu_topology t = uneven((const uint8_t[]){15, 10, 15, 10}, 4);
	uint32_t cus[CU_MAX_SE];
	struct cu_mask m;

	(void)state;
	assert_int_equal(cu_mask_from_shape(&t, (struct cu_shape){2, 12}, 1, &m), 0);
	cu_mask_per_se(&t, m.words, CU_MASK_WORDS, cus);
	assert_int_equal(cus[0], 12);
	assert_int_equal(cus[1], 0);
	assert_int_equal(cus[2], 12);
	assert_int_equal(cus[3], 0);
	assert_int_equal(cu_mask_from_shape(&t, (struct cu_shape){3, 12}, 0, &m), -EINVAL);
}

static void test_bits_are_dealt_to_xccs_first(void **state)
{
	struct cu_topology t = mi300x();
	uint32_t cus[CU_MAX_SE];
	struct cu_mask m;

	(void)state;
	assert_int_equal(cu_topology_check(&t), 0);
	assert_int_equal(cu_topology_cus(&t), 304);
	/* The first byte is the first CU of the first SE of each XCC. */
	cu_mask_per_se(&t, (const uint32_t[]){0xff}, 1, cus);
	for (uint32_t se = 0; se < 32; se++)
		assert_int_equal(cus[se], se % 4 == 0);
	assert_int_equal(cu_mask_conserved(&t, 80, 0, &m), 0);
	cu_mask_per_se(&t, m.words, CU_MASK_WORDS, cus);
	for (uint32_t se = 0; se < 32; se++)
		assert_int_equal(cus[se], se % 4 == 0 ? 10 : 0);
	for (uint32_t n = 8; n <= 304; n++) {
		assert_int_equal(cu_mask_conserved(&t, n, n, &m), 0);
		assert_int_equal(cu_mask_count(&m), n);
		assert_int_equal(cu_mask_check(&t, &m), 0);
	}
	assert_int_equal(cu_mask_conserved(&t, 7, 0, &m), -EINVAL);
	assert_int_equal(cu_mask_from_shape(&t, (struct cu_shape){9, 4}, 0, &m), -EINVAL);
}

static void test_wgps_are_enabled_in_pairs_over_both_shader_arrays(void **state)
{
	struct cu_topology t = rdna();
	uint32_t cus[CU_MAX_SE];
	struct cu_mask m;

	(void)state;
	assert_int_equal(cu_topology_check(&t), 0);
	/* SE 0 has pair 0 in array 0, then pair 4 (after one of each SE) in array 1. */
	assert_int_equal(cu_mask_conserved(&t, 4, 0, &m), 0);
	assert_int_equal(low64(&m), 0x303);
	cu_mask_per_se(&t, m.words, CU_MASK_WORDS, cus);
	assert_int_equal(cus[0], 4);
	for (uint32_t n = 2; n <= 78; n += 2) {
		assert_int_equal(cu_mask_conserved(&t, n, 1, &m), 0);
		assert_int_equal(cu_mask_count(&m), n);
		assert_int_equal(cu_mask_check(&t, &m), 0);
	}
	assert_int_equal(cu_mask_conserved(&t, 5, 0, &m), -EINVAL);
	assert_int_equal(cu_mask_from_shape(&t, (struct cu_shape){2, 3}, 0, &m), -EINVAL);
}

static void test_impossible_requests_are_refused_and_write_nothing(void **state)
{
	static const struct {
		struct cu_shape shape;
	} shapes[] = {{{5, 1}}, {{1, 16}}, {{0, 4}}, {{2, 0}}, {{UINT16_MAX, UINT16_MAX}}};
	struct cu_topology t = cu_topology_even(4, 15);
	struct cu_mask m = {.n_bits = 99}, before = m;

	(void)state;
	assert_int_equal(cu_mask_conserved(&t, 0, 0, &m), -EINVAL);
	assert_int_equal(cu_mask_conserved(&t, 61, 0, &m), -EINVAL);
	assert_int_equal(cu_mask_conserved(&t, UINT32_MAX, 0, &m), -EINVAL);
	for (unsigned int i = 0; i < ARRAY_SIZE(shapes); i++)
		assert_int_equal(cu_mask_from_shape(&t, shapes[i].shape, 0, &m), -EINVAL);
	assert_true(cu_mask_equal(&m, &before));
}

static void test_topologies_that_no_card_has_are_refused(void **state)
{
	static const struct {
		const char *what;
		uint32_t n_se, n_sh, n_xcc, cus;
		bool pairs;
	} cases[] = {
		{"no SE", 0, 1, 1, 15, false},	       {"33 SEs", 33, 1, 1, 15, false},
		{"no array", 4, 0, 1, 15, false},      {"3 arrays", 4, 3, 1, 5, false},
		{"no XCC", 4, 1, 0, 15, false},	       {"3 XCCs of 4 SEs", 4, 1, 3, 15, false},
		{"empty SEs", 4, 1, 1, 0, false},      {"17 CUs in an array", 4, 1, 1, 17, false},
		{"odd pairs", 4, 1, 1, 15, true},      {"pairs on two XCCs", 4, 1, 2, 14, true},
		{"huge", UINT32_MAX, 1, 1, 15, false},
	};
	struct cu_topology unequal = uneven((const uint8_t[]){4, 5}, 2);

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cu_topology t = cu_topology_even(cases[i].n_se, cases[i].cus);
		uint32_t cus[CU_MAX_SE];
		struct cu_shape shape;
		struct cu_mask m;

		t.n_sh_per_se = cases[i].n_sh;
		t.n_xcc = cases[i].n_xcc;
		t.wgp_pairs = cases[i].pairs;
		if (cu_topology_check(&t) != -EINVAL)
			fail_msg("accepted: %s", cases[i].what);
		assert_int_equal(cu_mask_conserved(&t, 8, 0, &m), -EINVAL);
		assert_int_equal(cu_mask_from_shape(&t, (struct cu_shape){1, 1}, 0, &m), -EINVAL);
		assert_int_equal(cu_shapes(&t, &shape, 1), -EINVAL);
		cu_mask_per_se(&t, (const uint32_t[]){UINT32_MAX}, 1, cus);
		for (uint32_t se = 0; se < CU_MAX_SE; se++)
			assert_int_equal(cus[se], 0);
	}
	unequal.n_xcc = 2;
	assert_int_equal(cu_topology_check(&unequal), -EINVAL);
}

static void test_masks_that_would_hang_or_miss_the_card_are_refused(void **state)
{
	struct cu_topology mi50 = cu_topology_even(4, 15), pairs = rdna(), xccs = mi300x();
	struct cu_mask m = {.n_bits = 60};

	(void)state;
	assert_int_equal(cu_mask_check(&mi50, &m), -EINVAL);
	m.words[0] = 1;
	assert_int_equal(cu_mask_check(&mi50, &m), 0);
	m.words[1] = UINT32_C(1) << 28; /* CU 60 of 60 */
	assert_int_equal(cu_mask_check(&mi50, &m), -EINVAL);
	m.words[1] = 0;
	m.words[CU_MASK_WORDS - 1] = UINT32_C(1) << 31;
	assert_int_equal(cu_mask_check(&mi50, &m), -EINVAL);
	m = (struct cu_mask){.n_bits = 64, .words = {1}};
	assert_int_equal(cu_mask_check(&mi50, &m), -EINVAL);

	m = (struct cu_mask){.n_bits = 78, .words = {3}};
	assert_int_equal(cu_mask_check(&pairs, &m), 0);
	m.words[0] = 7;
	assert_int_equal(cu_mask_check(&pairs, &m), -EINVAL);

	m = (struct cu_mask){.n_bits = 304, .words = {0xff}};
	assert_int_equal(cu_mask_check(&xccs, &m), 0);
	m.words[0] = 0x7f;
	assert_int_equal(cu_mask_check(&xccs, &m), -EINVAL);
}

static void test_effective_shape_follows_the_se_with_the_fewest_cus(void **state)
{
	static const struct {
		uint32_t words[2];
		struct cu_shape shape;
	} cases[] = {
		{{0, 0}, {0, 0}},
		{{0x11111111, 0}, {1, 8}},
		{{0x11111113, 0x1111111}, {2, 1}}, /* 15 + 1 */
		{{UINT32_MAX, 0xfffffff}, {4, 15}},
		{{UINT32_MAX, UINT32_MAX}, {4, 15}}, /* bits beyond the card count as nothing */
	};
	struct cu_topology t = cu_topology_even(4, 15);

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++)
		assert_true(cu_shape_equal(cu_mask_effective_shape(&t, cases[i].words, 2),
					   cases[i].shape));
	assert_true(cu_shape_equal(cu_mask_effective_shape(&t, cases[3].words, 1),
				   (struct cu_shape){4, 8}));
}

#define SEED UINT64_C(20231023)

/* splitmix64 */
static uint32_t random_below(uint64_t *seed, uint32_t n)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return (uint32_t)((z ^ (z >> 31)) % n);
}

static void test_random_cards_get_what_they_were_asked_for_filled_evenly(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	print_message("seed %ju\n", (uintmax_t)SEED);
	for (unsigned int i = 0; i < 20000; i++) {
		struct cu_topology t = {.n_sh_per_se = 1 + random_below(&seed, 2), .n_xcc = 1};
		uint32_t n, first;

		t.wgp_pairs = random_below(&seed, 3) == 0;
		t.n_se = 1 + random_below(&seed, 8);
		for (uint32_t se = 0; se < t.n_se; se++)
			for (uint32_t sh = 0; sh < t.n_sh_per_se; sh++)
				t.active[se][sh] =
					(uint8_t)(t.wgp_pairs ? 2 + 2 * random_below(&seed, 8)
							      : 1 + random_below(&seed, 16));
		n = 1 + random_below(&seed, cu_topology_cus(&t));
		first = random_below(&seed, t.n_se);
		if (!t.wgp_pairs) {
			check_conserved("random", &t, n, first);
		} else {
			struct cu_mask m;
			int r = cu_mask_conserved(&t, n, first, &m);

			assert_int_equal(r, n % 2 == 0 ? 0 : -EINVAL);
			assert_true(r < 0 ||
				    (cu_mask_count(&m) == n && cu_mask_check(&t, &m) == 0));
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_conserved_masks_of_the_mi50_are_those_of_the_kernels_dealing_order),
		cmocka_unit_test(test_conserved_masks_of_other_cards),
		cmocka_unit_test(test_bit_i_of_the_mi50_is_cu_i_div_4_of_se_i_mod_4),
		cmocka_unit_test(test_every_count_uses_the_fewest_ses_filled_evenly),
		cmocka_unit_test(test_uneven_ses_shift_only_the_tail_bits),
		cmocka_unit_test(test_the_mi50_has_32_shapes_that_are_not_dominated),
		cmocka_unit_test(test_shapes_are_the_counts_that_run_like_all_of_their_cus),
		cmocka_unit_test(test_each_shape_of_each_card_has_a_mask_that_performs_like_it),
		cmocka_unit_test(test_full_shape_and_no_shape_give_every_cu_of_an_uneven_card),
		cmocka_unit_test(test_a_shape_passes_over_ses_that_are_too_small),
		cmocka_unit_test(test_bits_are_dealt_to_xccs_first),
		cmocka_unit_test(test_wgps_are_enabled_in_pairs_over_both_shader_arrays),
		cmocka_unit_test(test_impossible_requests_are_refused_and_write_nothing),
		cmocka_unit_test(test_topologies_that_no_card_has_are_refused),
		cmocka_unit_test(test_masks_that_would_hang_or_miss_the_card_are_refused),
		cmocka_unit_test(test_random_cards_get_what_they_were_asked_for_filled_evenly),
		cmocka_unit_test(test_effective_shape_follows_the_se_with_the_fewest_cus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
