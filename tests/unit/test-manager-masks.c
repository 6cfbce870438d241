/* SPDX-License-Identifier: Apache-2.0 */
/* The mask-stall watchdog in virtual time, and where models' masks lie. */
#include "base/macros.h"
#include "base/units.h"
#include "daemon/stall.h"
#include "governor/placement.h"
#include "support/cmocka-includes.h"
#include <string.h>

#define MS NSEC_PER_MSEC

/* --- stall ---------------------------------------------------------------------------------- */

static void test_the_limit_is_5_s_or_20_times_p99(void **state _unused_)
{
	static const struct {
		uint64_t p99_ns, limit_ns;
	} cases[] = {
		{0, 5000 * MS},
		{1 * MS, 5000 * MS},
		{250 * MS, 5000 * MS},
		{251 * MS, 5020 * MS},
		{10000 * MS, 200000 * MS},
		{UINT64_MAX, UINT64_MAX / 20 * 20},
		{UINT64_MAX / 20 + 1, UINT64_MAX / 20 * 20},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(stall_limit_ns(cases[i].p99_ns), cases[i].limit_ns);
}

/* Steps of 100 ms with the same input until it is found stalled; how long that took, or
 * UINT64_MAX. */
static uint64_t find_stall(struct stall *s, struct stall_input *in, uint64_t patience_ns)
{
	uint64_t begin_ns = in->now_ns;

	for (; in->now_ns - begin_ns <= patience_ns; in->now_ns += 100 * MS)
		if (stall_step(s, in))
			return in->now_ns - begin_ns;
	return UINT64_MAX;
}

static const struct stall_input stuck = {.now_ns = 1000 * MS,
					 .masked = true,
					 .in_flight = 3,
					 .p99_ns = 20 * MS};

static void
test_requests_that_do_not_end_under_a_mask_are_a_stall_after_the_limit(void **state _unused_)
{
	static const uint64_t p99s_ns[] = {0, 20 * MS, 400 * MS, 3000 * MS};

	for (size_t i = 0; i < ARRAY_SIZE(p99s_ns); i++) {
		struct stall_input in = stuck;
		struct stall s = {0};

		in.p99_ns = p99s_ns[i];
		assert_int_equal(find_stall(&s, &in, 100000 * MS), stall_limit_ns(p99s_ns[i]));
		/* And it stays found. */
		in.now_ns += 100 * MS;
		assert_true(stall_step(&s, &in));
	}
}

/* Each of these is no stall, for however long, and the time begins anew after it. */
static void test_what_is_no_stall_starts_the_time_again(void **state _unused_)
{
	static const struct {
		const char *what;
		struct stall_input in;
	} cases[] = {
		{"all CUs", {.in_flight = 3}},
		{"nothing in flight", {.masked = true}},
		{"a stopped worker", {.masked = true, .missing = true, .in_flight = 3}},
		{"requests end", {.masked = true, .in_flight = 3, .ended = 1}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct stall_input in = stuck, no = cases[i].in;
		struct stall s = {0};

		assert_int_equal(find_stall(&s, &in, 4900 * MS), UINT64_MAX);
		no.now_ns = in.now_ns;
		assert_int_equal(find_stall(&s, &no, 60000 * MS), UINT64_MAX);
		in.now_ns = no.now_ns;
		if (find_stall(&s, &in, 4700 * MS) != UINT64_MAX)
			fail_msg("%s: the time before it still counts", cases[i].what);
		assert_true(find_stall(&s, &in, 1000 * MS) <= 1000 * MS);
	}
}

static void test_one_end_in_time_is_enough_whoever_counts_it(void **state _unused_)
{
	struct stall_input in = stuck;
	struct stall s = {0};

	/* One request every 4.9 s, though many are in flight. */
	for (unsigned int i = 0; i < 1000; i++, in.now_ns += 100 * MS) {
		in.ended = i % 49 == 0;
		assert_false(stall_step(&s, &in));
	}
}

/* --- placement ------------------------------------------------------------------------------ */

static struct cu_topology mi50(void)
{
	return cu_topology_even(4, 15);
}

static uint64_t low64(const struct cu_mask *m)
{
	return m->words[0] | (uint64_t)m->words[1] << 32;
}

static void test_a_single_shape_moves_on_by_one_se_after_all_cus(void **state _unused_)
{
	static const uint64_t masks[] = {0x11111111, 0x22222222, 0x44444444, 0x88888888,
					 0x11111111};
	struct cu_shape shapes[2] = {{0}};
	struct cu_topology t = mi50();
	struct placement p = {0};

	for (size_t i = 0; i < ARRAY_SIZE(masks); i++) {
		shapes[1] = (struct cu_shape){1, 8};
		placement_update(&p, &t, 2, shapes);
		assert_int_equal(p.masks[0].n_bits, 0);
		assert_int_equal(p.masks[1].n_bits, 60);
		assert_int_equal(low64(&p.masks[1]), masks[i]);
		/* Asked again it stays, and from mask to mask it keeps its SE. */
		placement_update(&p, &t, 2, shapes);
		assert_int_equal(low64(&p.masks[1]), masks[i]);
		shapes[1].cus_per_se = 4;
		placement_update(&p, &t, 2, shapes);
		assert_int_equal(low64(&p.masks[1]), masks[i] & 0xffff);
		shapes[1] = (struct cu_shape){0};
		placement_update(&p, &t, 2, shapes);
		assert_int_equal(p.masks[1].n_bits, 0);
	}
}

static void test_shapes_of_several_models_are_disjoint_where_they_fit(void **state _unused_)
{
	struct cu_shape shapes[] = {{2, 15}, {0}, {1, 15}, {1, 8}};
	struct cu_topology t = mi50();
	struct placement p = {0};
	uint64_t all = 0;

	placement_update(&p, &t, 4, shapes);
	assert_int_equal(p.masks[1].n_bits, 0);
	for (size_t i = 0; i < ARRAY_SIZE(shapes); i++) {
		assert_int_equal(cu_mask_count(&p.masks[i]), cu_shape_cus(shapes[i]));
		assert_int_equal(all & low64(&p.masks[i]), 0);
		all |= low64(&p.masks[i]);
	}
}

static void test_shapes_that_do_not_fit_still_get_their_cus(void **state _unused_)
{
	struct cu_shape shapes[GOVERNOR_MAX_MODELS] = {{3, 15}, {3, 14}, {9, 9}};
	struct cu_topology t = mi50();
	struct placement p = {0};

	placement_update(&p, &t, 2, shapes);
	assert_int_equal(cu_mask_check(&t, &p.masks[0]), 0);
	assert_int_equal(cu_mask_count(&p.masks[0]), 45);
	assert_int_equal(cu_mask_count(&p.masks[1]), 42);
	assert_false(cu_mask_equal(&p.masks[0], &p.masks[1]));
	/* One that the card does not have gets all CUs; the whole card is no mask. */
	placement_update(&p, &t, 3, shapes);
	assert_int_equal(p.masks[2].n_bits, 0);
	shapes[2] = cu_shape_full(&t);
	placement_update(&p, &t, 3, shapes);
	assert_int_equal(p.masks[2].n_bits, 0);
	/* More models than can be packed. */
	for (uint32_t i = 0; i < GOVERNOR_MAX_MODELS; i++)
		shapes[i] = (struct cu_shape){1, 1};
	placement_update(&p, &t, GOVERNOR_MAX_MODELS, shapes);
	for (uint32_t i = 0; i < GOVERNOR_MAX_MODELS; i++)
		assert_int_equal(cu_mask_check(&t, &p.masks[i]), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_limit_is_5_s_or_20_times_p99),
		cmocka_unit_test(
			test_requests_that_do_not_end_under_a_mask_are_a_stall_after_the_limit),
		cmocka_unit_test(test_what_is_no_stall_starts_the_time_again),
		cmocka_unit_test(test_one_end_in_time_is_enough_whoever_counts_it),
		cmocka_unit_test(test_a_single_shape_moves_on_by_one_se_after_all_cus),
		cmocka_unit_test(test_shapes_of_several_models_are_disjoint_where_they_fit),
		cmocka_unit_test(test_shapes_that_do_not_fit_still_get_their_cus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
