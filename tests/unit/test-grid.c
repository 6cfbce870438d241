/* SPDX-License-Identifier: Apache-2.0 */
#include "response/grid.h"
#include "support/cmocka-includes.h"

#include "base/macros.h"
#include <errno.h>

static const uint32_t mi50_mhz[] = {925, 930, 1032, 1143, 1282, 1386, 1485, 1606, 1725};
static const uint32_t batch_1[] = {1};

static int plan_mi50(enum grid_kind kind, bool masks, struct grid_cell **ret)
{
	struct cu_topology t = cu_topology_even(4, 15);

	return grid_plan(
		&(struct grid_options){
			.kind = kind,
			.level_mhz = mi50_mhz,
			.n_levels = ARRAY_SIZE(mi50_mhz),
			.topology = &t,
			.masks = masks,
			.batches = batch_1,
			.n_batches = 1,
		},
		ret);
}

static void test_levels_within_two_percent_are_one(void **state)
{
	static const struct {
		uint32_t n, mhz[6], n_kept, kept[6];
	} cases[] = {
		{1, {500}, 1, {500}},
		{2, {925, 930}, 1, {930}},
		{3, {925, 930, 1032}, 2, {930, 1032}},
		/* Judged from the lowest of a group: steps of 1.5 % do not chain up. */
		{4, {1000, 1015, 1030, 1045}, 2, {1015, 1045}},
		{3, {800, 1700, 1710}, 2, {800, 1710}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t kept[6];

		assert_int_equal(grid_levels(cases[i].mhz, cases[i].n, kept), cases[i].n_kept);
		assert_memory_equal(kept, cases[i].kept, cases[i].n_kept * sizeof(*kept));
	}
}

static void test_full_grid_is_all_clocks_by_all_shapes(void **state)
{
	struct grid_cell *cells;
	int n = plan_mi50(GRID_FULL, true, &cells);

	(void)state;
	assert_int_equal(n, 8 * 32);
	free(cells);
}

static void test_quick_grid_has_every_clock_and_some_shapes(void **state)
{
	struct grid_cell *cells;
	int n = plan_mi50(GRID_QUICK, true, &cells), whole = 0;

	(void)state;
	assert_int_equal(n, 8 + 3 * 5);
	for (int i = 0; i < n; i++) {
		static const struct cu_shape shapes[] = {{1, 15}, {2, 15}, {3, 12},
							 {3, 15}, {4, 13}, {4, 15}};
		bool known = false;

		for (size_t k = 0; k < ARRAY_SIZE(shapes); k++)
			known |= cu_shape_equal(cells[i].shape, shapes[k]);
		assert_true(known);
		whole += cu_shape_cus(cells[i].shape) == 60;
	}
	assert_int_equal(whole, 8);
	free(cells);
}

static void test_the_baseline_comes_first_and_each_cell_once(void **state)
{
	static const enum grid_kind kinds[] = {GRID_QUICK, GRID_FULL};

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		struct grid_cell *cells;
		int n = plan_mi50(kinds[k], true, &cells);

		assert_int_equal(cells[0].max_mhz, 1725);
		assert_int_equal(cu_shape_cus(cells[0].shape), 60);
		for (int i = 1; i < n; i++) {
			const struct grid_cell *a = &cells[i - 1], *b = &cells[i];

			assert_true(b->max_mhz < a->max_mhz ||
				    (b->max_mhz == a->max_mhz &&
				     cu_shape_cus(b->shape) < cu_shape_cus(a->shape)));
		}
		free(cells);
	}
}

static void test_a_worker_without_masks_gets_the_whole_card_only(void **state)
{
	struct grid_cell *cells;
	int n = plan_mi50(GRID_FULL, false, &cells);

	(void)state;
	assert_int_equal(n, 8);
	for (int i = 0; i < n; i++)
		assert_int_equal(cu_shape_cus(cells[i].shape), 60);
	free(cells);
}

static void test_batches_multiply_the_grid(void **state)
{
	static const uint32_t batches[] = {2, 1, 8};
	struct cu_topology t = cu_topology_even(4, 15);
	struct grid_cell *cells;
	int n = grid_plan(
		&(struct grid_options){
			.kind = GRID_QUICK,
			.level_mhz = mi50_mhz,
			.n_levels = ARRAY_SIZE(mi50_mhz),
			.topology = &t,
			.masks = true,
			.batches = batches,
			.n_batches = 3,
		},
		&cells);

	(void)state;
	assert_int_equal(n, 23 * 3);
	assert_int_equal(cells[0].batch, 2);
	free(cells);
}

static void test_refuses_a_card_that_is_none(void **state)
{
	struct cu_topology good = cu_topology_even(4, 15), broken = {0};
	struct grid_options o = {
		.level_mhz = mi50_mhz,
		.n_levels = ARRAY_SIZE(mi50_mhz),
		.topology = &broken,
		.masks = true,
		.batches = batch_1,
		.n_batches = 1,
	};
	struct grid_cell *cells = NULL;

	(void)state;
	assert_int_equal(grid_plan(&o, &cells), -EINVAL);
	o.topology = &good;
	o.n_levels = 0;
	assert_int_equal(grid_plan(&o, &cells), -EINVAL);
	o.n_levels = 1000;
	assert_int_equal(grid_plan(&o, &cells), -EINVAL);
	o.n_levels = 1;
	o.n_batches = 0;
	assert_int_equal(grid_plan(&o, &cells), -EINVAL);
	assert_null(cells);
}

static void test_odd_cards_are_planned(void **state)
{
	static const struct {
		uint32_t n_se, cus;
	} cards[] = {{1, 1}, {1, 2}, {2, 1}, {8, 14}, {32, 10}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cards); i++) {
		struct cu_topology t = cu_topology_even(cards[i].n_se, cards[i].cus);
		struct grid_cell *cells;
		int n = grid_plan(
			&(struct grid_options){
				.kind = GRID_QUICK,
				.level_mhz = mi50_mhz,
				.n_levels = 2,
				.topology = &t,
				.masks = true,
				.batches = batch_1,
				.n_batches = 1,
			},
			&cells);

		assert_in_range(n, 1, 6);
		assert_int_equal(cu_shape_cus(cells[0].shape), cards[i].n_se * cards[i].cus);
		free(cells);
	}
}

static void test_a_spread_has_both_ends(void **state)
{
	static const struct {
		uint32_t n, max, picks, expected[5];
	} cases[] = {
		{8, 3, 3, {7, 4, 0}}, {8, 5, 5, {7, 6, 4, 2, 0}},
		{2, 5, 2, {1, 0}},    {5, 5, 5, {4, 3, 2, 1, 0}},
		{1, 3, 1, {0}},	      {8, 1, 1, {7}},
		{0, 3, 0, {0}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t picks[5];

		assert_int_equal(grid_spread(cases[i].n, cases[i].max, picks), cases[i].picks);
		assert_memory_equal(picks, cases[i].expected, cases[i].picks * sizeof(*picks));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_levels_within_two_percent_are_one),
		cmocka_unit_test(test_full_grid_is_all_clocks_by_all_shapes),
		cmocka_unit_test(test_quick_grid_has_every_clock_and_some_shapes),
		cmocka_unit_test(test_the_baseline_comes_first_and_each_cell_once),
		cmocka_unit_test(test_a_worker_without_masks_gets_the_whole_card_only),
		cmocka_unit_test(test_batches_multiply_the_grid),
		cmocka_unit_test(test_refuses_a_card_that_is_none),
		cmocka_unit_test(test_odd_cards_are_planned),
		cmocka_unit_test(test_a_spread_has_both_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
