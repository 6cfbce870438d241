/* SPDX-License-Identifier: Apache-2.0 */
/* Workers that follow no masks: the clock-alone table, in virtual time. */
#include "governor-bench.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define TOP_MHZ 1725
#define RATED	100

/* A bench whose table has half the card at the highest clock in its lower rows, for 8 W less; what
 * bench_table() made is its clock-alone table. */
struct card {
	struct bench bench;
	struct response_table clock;
};

static void mask_rows(struct response_table *t)
{
	for (uint32_t i = 0; i < t->n_rows / 2; i++) {
		t->rows[i].shape = (struct cu_shape){2, 15};
		t->rows[i].max_mhz = TOP_MHZ;
		t->rows[i].power_w -= 8;
	}
}

static void renew(struct card *c)
{
	governor_free(c->bench.governor);
	c->bench.governor = NULL;
	assert_int_equal(governor_new(&c->bench.config, &c->bench.governor), 0);
}

static struct card *card_new(double rate_rps)
{
	struct card *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	assert_int_equal(bench_init(&c->bench, RATED, 1, rate_rps), 0);
	c->clock = c->bench.table;
	mask_rows(&c->bench.table);
	c->bench.config.models[0].clock_table = &c->clock;
	renew(c);
	return c;
}

static void card_end(struct card *c)
{
	governor_free(c->bench.governor);
	free(c);
}

/* Steps of the same input: a rate, and whether masks are followed. */
static void run(struct card *c, unsigned int steps, uint64_t arrivals, bool follows)
{
	struct bench *b = &c->bench;

	for (unsigned int i = 0; i < steps; i++) {
		b->input.models[0] = (struct governor_model_input){.state = GOVERNOR_INPUT_OK,
								   .workers = 1,
								   .arrivals = arrivals,
								   .whole_interval = true,
								   .mask_follows = follows,
								   .batch_follows = true};
		b->input.now_ns += b->config.poll_ns;
		b->input.interval_ns = b->config.poll_ns;
		governor_step(b->governor, &b->input, &b->decision);
	}
}

static const struct governor_model_decision *model(const struct card *c)
{
	return &c->bench.decision.models[0];
}

/* The decision is that of the row in the clock-alone table. */
static void assert_by_clock(const struct card *c, uint32_t row)
{
	assert_true(model(c)->clock_alone);
	assert_int_equal(model(c)->row, row);
	assert_int_equal(cu_shape_cus(model(c)->shape), 0);
	assert_int_equal(c->bench.decision.max_mhz, c->clock.rows[row].max_mhz);
	assert_true(c->bench.decision.predicted_power_w == c->clock.rows[row].power_w);
	assert_true(model(c)->tail_ns == c->clock.rows[row].tail_ns);
}

static void assert_by_masks(const struct card *c, uint32_t row)
{
	const struct response_table *t = &c->bench.table;

	assert_false(model(c)->clock_alone);
	assert_int_equal(model(c)->row, row);
	assert_true(cu_shape_equal(model(c)->shape, t->rows[row].shape));
	assert_int_equal(c->bench.decision.max_mhz, t->rows[row].max_mhz);
	assert_true(c->bench.decision.predicted_power_w == t->rows[row].power_w);
}

static void test_a_worker_without_masks_has_the_clock_and_power_of_its_own_table(void **state)
{
	struct card *c = card_new(0);

	(void)state;
	run(c, 60, 5, false);
	assert_true(c->clock.rows[model(c)->row].max_mhz < TOP_MHZ);
	assert_by_clock(c, model(c)->row);
	card_end(c);
}

/* Same demand, same row: at once in both directions, with nothing waited for and nothing above it
 * in between. */
static void test_the_table_changes_in_the_same_step_and_the_row_stays(void **state)
{
	struct card *c = card_new(0);
	uint32_t row;

	(void)state;
	run(c, 60, 5, true);
	row = model(c)->row;
	assert_by_masks(c, row);
	assert_int_equal(model(c)->shape.n_se, 2);
	for (unsigned int i = 0; i < 20; i++) {
		run(c, 1, 5, false);
		assert_by_clock(c, row);
		assert_true(c->bench.decision.changed);
		run(c, 1, 5, true);
		assert_by_masks(c, row);
		assert_true(c->bench.decision.changed);
	}
	card_end(c);
}

static void test_a_dwell_that_runs_goes_on_in_the_other_table(void **state)
{
	struct card *c = card_new(0);
	uint32_t row;

	(void)state;
	run(c, 60, 40, false);
	row = model(c)->row;
	run(c, 1, 5, false);
	assert_by_clock(c, model(c)->row);
	/* A fall waits until it is sure, and a part of that has passed without masks. */
	for (unsigned int i = 0; cu_shape_cus(model(c)->shape) == 0; i++) {
		assert_true(i < 30);
		run(c, 1, 5, true);
	}
	assert_by_masks(c, model(c)->row);
	assert_int_equal(model(c)->shape.n_se, 2);
	/* The way up is never waited for. */
	run(c, 1, 40, false);
	run(c, 1, 40, false);
	assert_true(model(c)->row >= row);
	card_end(c);
}

static void test_the_cap_is_compared_with_the_power_of_the_table_in_force(void **state)
{
	struct card *c = card_new(0);
	uint32_t row;
	double cap_w;

	(void)state;
	run(c, 60, 20, true);
	row = model(c)->row;
	assert_int_equal(model(c)->shape.n_se, 2);
	/* Enough for the row under its mask, and not without. */
	cap_w = (c->bench.table.rows[row].power_w + c->clock.rows[row].power_w) / 2;
	c->bench.config.power_cap_uw = (uint64_t)(cap_w * UW_PER_W);
	renew(c);
	run(c, 60, 20, true);
	assert_by_masks(c, row);
	run(c, 60, 20, false);
	assert_true(model(c)->row < row);
	assert_by_clock(c, model(c)->row);
	assert_true(c->bench.decision.predicted_power_w <= cap_w);
	assert_int_equal(model(c)->reason, GOVERNOR_REASON_POWER_CAP);
	card_end(c);
}

/* A doubt about the card gives all CUs to whoever, so that their power is what the cap is for. */
static void test_full_speed_under_a_cap_is_by_the_power_of_all_cus(void **state)
{
	struct card *c = card_new(0);
	uint32_t row;

	(void)state;
	c->bench.config.power_cap_uw = (uint64_t)(c->clock.rows[4].power_w * UW_PER_W) + 1;
	renew(c);
	for (unsigned int follows = 0; follows < 2; follows++) {
		c->bench.input.flags = GOVERNOR_CARD_FOREIGN_LOAD;
		run(c, 10, 20, follows);
		row = c->clock.n_rows - 1;
		while (row > 0 &&
		       c->clock.rows[row].power_w * UW_PER_W > (double)c->bench.config.power_cap_uw)
			row--;
		assert_true(c->clock.rows[row].max_mhz < TOP_MHZ);
		assert_int_equal(c->bench.decision.max_mhz, c->clock.rows[row].max_mhz);
		assert_true(c->bench.decision.predicted_power_w == c->clock.rows[row].power_w);
		assert_int_equal(cu_shape_cus(model(c)->shape), 0);
	}
	card_end(c);
}

/* One that may be left under a mask would be slow at the clock of the whole card. */
static void test_a_mask_that_nobody_can_lift_keeps_the_clock_that_goes_with_masks(void **state)
{
	struct card *c = card_new(0);
	struct bench *b = &c->bench;
	uint32_t row;

	(void)state;
	run(c, 60, 5, true);
	row = model(c)->row;
	b->input.models[0].mask_follows = false;
	b->input.models[0].mask_unknown = true;
	b->input.now_ns += b->config.poll_ns;
	governor_step(b->governor, &b->input, &b->decision);
	assert_false(model(c)->clock_alone);
	assert_int_equal(model(c)->row, row);
	assert_int_equal(b->decision.max_mhz, TOP_MHZ);
	/* No mask is asked for, and what is in force is not known: nor is the power. */
	assert_int_equal(cu_shape_cus(model(c)->shape), 0);
	assert_true(isnan(b->decision.predicted_power_w));
	card_end(c);
}

/* Whatever happens, as if the model's policy had only ever had the clock. */
static void test_without_masks_every_policy_decides_as_with_the_clock_table_alone(void **state)
{
	static const char *const policies[] = {"cofris", "coordinated"};
	struct governor_decision expected;
	uint64_t seed = 77;

	(void)state;
	print_message("seed 77\n");
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct card *c = card_new(0);
		struct bench *b = &c->bench;
		struct governor_config only = b->config;
		struct governor *g = NULL;

		b->config.power_cap_uw = only.power_cap_uw = 90 * UW_PER_W;
		b->config.models[0].policy = only.models[0].policy = policies[i];
		only.models[0].table = &c->clock;
		only.models[0].clock_table = NULL;
		renew(c);
		assert_int_equal(governor_new(&only, &g), 0);
		for (unsigned int j = 0; j < 5000; j++) {
			uint64_t bits = (uint64_t)(4096 * bench_uniform(&seed));
			double load = j / 500 % 2 ? 0.9 : 0.2;

			b->input.flags = bits & (bits >> 4) & (bits >> 8) & 0xf;
			b->input.models[0].oldest_age_ns = (uint64_t)(9e7 * bench_uniform(&seed));
			run(c, 1, (uint64_t)(load * RATED * bench_uniform(&seed)), false);
			governor_step(g, &b->input, &expected);
			/* The one says of which table the row is, the other has no second one. */
			assert_int_equal(model(c)->clock_alone, true);
			expected.models[0].clock_alone = true;
			assert_memory_equal(&b->decision, &expected, sizeof(expected));
		}
		governor_free(g);
		card_end(c);
	}
}

static void test_without_a_second_table_nothing_changes(void **state)
{
	struct card *c = card_new(0);

	(void)state;
	c->bench.config.models[0].clock_table = NULL;
	renew(c);
	run(c, 60, 5, false);
	assert_false(model(c)->clock_alone);
	assert_int_equal(cu_shape_cus(model(c)->shape), 0);
	assert_int_equal(c->bench.decision.max_mhz, TOP_MHZ);
	assert_true(isnan(c->bench.decision.predicted_power_w));
	card_end(c);
}

static void test_a_reload_inherits_the_row_whichever_table_is_in_force(void **state)
{
	(void)state;
	for (unsigned int follows = 0; follows < 2; follows++) {
		struct card *c = card_new(0);
		struct governor *old;
		uint32_t row;

		run(c, 60, 20, follows);
		row = model(c)->row;
		old = TAKE_PTR(c->bench.governor);
		renew(c);
		governor_inherit(c->bench.governor, old);
		governor_free(old);
		run(c, 1, 20, follows);
		assert_int_equal(model(c)->row, row);
		assert_int_equal(model(c)->clock_alone, !follows);
		card_end(c);
	}
}

static void test_tables_of_other_rates_are_refused(void **state)
{
	struct card *c = card_new(0);
	struct governor_config *config = &c->bench.config;
	struct governor *g = NULL;

	(void)state;
#define REFUSED(change)                                                                            \
	do {                                                                                       \
		struct response_table good = c->clock;                                             \
		change;                                                                            \
		assert_int_equal(governor_new(config, &g), -EINVAL);                               \
		assert_null(g);                                                                    \
		c->clock = good;                                                                   \
	} while (0)
	REFUSED(c->clock.n_rows--);
	REFUSED(c->clock.rated_rps++);
	REFUSED(c->clock.rows[7].rate_rps++);
	REFUSED(c->clock.rows[0].rate_rps = NAN);
	REFUSED(config->models[0].table = NULL);
#undef REFUSED
	card_end(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_a_worker_without_masks_has_the_clock_and_power_of_its_own_table),
		cmocka_unit_test(test_the_table_changes_in_the_same_step_and_the_row_stays),
		cmocka_unit_test(test_a_dwell_that_runs_goes_on_in_the_other_table),
		cmocka_unit_test(test_the_cap_is_compared_with_the_power_of_the_table_in_force),
		cmocka_unit_test(test_full_speed_under_a_cap_is_by_the_power_of_all_cus),
		cmocka_unit_test(
			test_a_mask_that_nobody_can_lift_keeps_the_clock_that_goes_with_masks),
		cmocka_unit_test(
			test_without_masks_every_policy_decides_as_with_the_clock_table_alone),
		cmocka_unit_test(test_without_a_second_table_nothing_changes),
		cmocka_unit_test(test_a_reload_inherits_the_row_whichever_table_is_in_force),
		cmocka_unit_test(test_tables_of_other_rates_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
