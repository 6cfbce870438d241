/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which a decision is applied. */
#include "base/units.h"
#include "governor/sequence.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MS NSEC_PER_MSEC

static const struct sequence_clock low = {.max_mhz = 800, .power_cap_uw = 200000000};
static const struct sequence_clock high = {.max_mhz = 1700, .power_cap_uw = 200000000};
static const struct sequence_clock found = {0};

static struct sequence_directive directive(uint16_t n_se, uint16_t cus)
{
	return (struct sequence_directive){.shape = {n_se, cus},
					   .max_batch = 1,
					   .boost_wait_ns = UINT64_MAX};
}

struct test {
	struct sequence *s;
	uint64_t now_ns;
	struct sequence_step step;
};

static int set_up(void **state)
{
	struct test *t = calloc(1, sizeof(*t));

	*state = t;
	t->now_ns = NSEC_PER_SEC;
	return sequence_new(&high, &t->s);
}

static int tear_down(void **state)
{
	struct test *t = *state;

	sequence_free(t->s);
	free(t);
	return 0;
}

static enum sequence_step_kind next(struct test *t)
{
	sequence_next(t->s, t->now_ns, &t->step);
	return t->step.kind;
}

static void want(struct test *t, struct sequence_clock clock, struct sequence_directive d)
{
	sequence_want(t->s, &clock, 1, &d);
}

static void ack(struct test *t)
{
	sequence_mask_acked(t->s, t->step.worker, t->step.epoch);
}

/* Carries out steps at once, confirming all, until nothing is left. Returns their number. */
static unsigned int settle(struct test *t)
{
	unsigned int steps = 0;

	for (;;) {
		switch (next(t)) {
		case SEQUENCE_NONE:
			return steps;
		case SEQUENCE_WAIT_UNTIL:
			t->now_ns = t->step.deadline_ns;
			continue;
		case SEQUENCE_SET_CLOCK:
			sequence_clock_done(t->s, t->step.epoch, true);
			break;
		case SEQUENCE_DIRECT_WORKER:
			ack(t);
			break;
		}
		assert_true(++steps < 2000);
	}
}

/* n workers of model 0 that stand at high and n_se x cus, all confirmed. */
static void begin(struct test *t, unsigned int n, struct sequence_clock clock, uint16_t n_se,
		  uint16_t cus)
{
	for (unsigned int i = 0; i < n; i++)
		assert_int_equal(sequence_worker_add(t->s, 0, true, true), i);
	want(t, clock, directive(n_se, cus));
	settle(t);
	assert_true(sequence_settled(t->s));
	t->now_ns += NSEC_PER_SEC;
}

static void test_a_fresh_sequence_has_nothing_to_do(void **state)
{
	struct test *t = *state;

	assert_int_equal(next(t), SEQUENCE_NONE);
	assert_true(sequence_settled(t->s));
}

static void test_raises_the_clock_before_it_widens(void **state)
{
	struct test *t = *state;

	begin(t, 1, low, 2, 8);
	want(t, high, directive(4, 15));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(t->step.clock.max_mhz, high.max_mhz);
	/* Giving waits for nothing, so the wider mask follows an unconfirmed clock. */
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_true(t->step.mask_changes);
	assert_int_equal(t->step.directive.shape.cus_per_se, 15);
}

static void test_lowers_the_clock_before_it_narrows(void **state)
{
	struct test *t = *state;

	begin(t, 1, high, 4, 15);
	want(t, low, directive(2, 8));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(t->step.clock.max_mhz, low.max_mhz);
	assert_int_equal(next(t), SEQUENCE_WAIT_UNTIL);
	sequence_clock_done(t->s, t->step.epoch, true); /* of no clock: ignored */
	assert_int_equal(next(t), SEQUENCE_WAIT_UNTIL);
	sequence_clock_done(t->s, sequence_epoch(t->s), true);
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.directive.shape.cus_per_se, 8);
}

static void test_a_lower_clock_waits_for_the_wider_mask(void **state)
{
	struct test *t = *state;

	begin(t, 2, high, 2, 8);
	want(t, low, directive(4, 15));
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
		assert_int_equal(t->step.worker, i);
		assert_true(t->step.mask_changes);
		struct sequence_step sent = t->step;

		t->now_ns += 20 * MS;
		assert_int_equal(next(t), SEQUENCE_WAIT_UNTIL);
		sequence_mask_acked(t->s, sent.worker, sent.epoch);
	}
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(t->step.clock.max_mhz, low.max_mhz);
}

static void test_a_narrower_mask_waits_for_the_higher_clock(void **state)
{
	struct test *t = *state;

	begin(t, 1, low, 4, 15);
	want(t, high, directive(2, 8));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	uint64_t epoch = t->step.epoch;

	assert_int_equal(next(t), SEQUENCE_WAIT_UNTIL);
	sequence_clock_done(t->s, epoch, true);
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.directive.shape.n_se, 2);
}

/* Every pair of old and new configuration, every worker count: at no time, whatever has been
 * confirmed, is less in force than the smaller of old and new, nor is anything taken before all
 * that is given has been confirmed. */
static void test_all_orders_of_change_keep_capacity(void **state)
{
	static const uint32_t clocks[] = {800, 1200, 1700, 0};
	static const struct cu_shape shapes[] = {{2, 8}, {4, 8}, {4, 15}, {0, 0}};
	struct test *t = *state;

	for (unsigned int i = 0; i < 4 * 4 * 4 * 4 * 3; i++) {
		uint32_t from_mhz = clocks[i % 4], to_mhz = clocks[i / 4 % 4];
		struct cu_shape from = shapes[i / 16 % 4], to = shapes[i / 64 % 4];
		unsigned int n = 1 + i / 256, given = 0, taken = 0;

		sequence_free(t->s);
		t->s = NULL;
		assert_int_equal(sequence_new(&found, &t->s), 0);
		begin(t, n, (struct sequence_clock){from_mhz}, from.n_se, from.cus_per_se);
		want(t, (struct sequence_clock){to_mhz}, directive(to.n_se, to.cus_per_se));
		while (next(t) != SEQUENCE_NONE) {
			bool takes;

			if (t->step.kind == SEQUENCE_WAIT_UNTIL) {
				t->now_ns = t->step.deadline_ns;
				continue;
			}
			if (t->step.kind == SEQUENCE_SET_CLOCK) {
				takes = to_mhz != 0 && (from_mhz == 0 || to_mhz < from_mhz);
				assert_int_equal(t->step.clock.max_mhz, to_mhz);
				sequence_clock_done(t->s, t->step.epoch, true);
			} else {
				uint32_t old = cu_shape_cus(from), new = cu_shape_cus(to);

				takes = new != 0 && (old == 0 || new < old);
				assert_true(cu_shape_equal(t->step.directive.shape, to));
				ack(t);
			}
			given += !takes;
			taken += takes;
			if (!takes)
				assert_int_equal(taken, 0);
		}
		assert_int_equal(given + taken,
				 (from_mhz != to_mhz) + (cu_shape_equal(from, to) ? 0 : n));
		assert_true(sequence_settled(t->s));
		for (unsigned int w = 0; w < n; w++)
			sequence_worker_remove(t->s, w);
	}
}

static void test_a_change_that_gives_and_takes_is_split(void **state)
{
	struct test *t = *state;
	struct sequence_directive d = directive(2, 8);

	begin(t, 1, high, 4, 15);
	d.max_batch = 4;
	want(t, high, d);
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.directive.max_batch, 4);
	assert_int_equal(t->step.directive.shape.cus_per_se, 15);
	assert_false(t->step.mask_changes);
	ack(t);
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.directive.shape.cus_per_se, 8);
	assert_int_equal(t->step.directive.max_batch, 4);
}

static struct sequence_directive directive_at(uint16_t n_se, uint16_t cus, uint32_t word)
{
	struct sequence_directive d = directive(n_se, cus);

	d.mask = (struct cu_mask){.n_bits = 60, .words = {word}};
	return d;
}

/* Two models change places: neither moves before what is given has been confirmed. */
static void test_a_mask_that_only_moves_counts_as_narrowing(void **state)
{
	struct test *t = *state;
	struct sequence_directive two[] = {directive_at(1, 8, 0x11111111),
					   directive_at(1, 8, 0x22222222)};
	struct sequence_directive turned[] = {two[1], two[0]};
	uint64_t clock_epoch;

	assert_int_equal(sequence_worker_add(t->s, 0, true, true), 0);
	assert_int_equal(sequence_worker_add(t->s, 1, true, true), 1);
	sequence_want(t->s, &low, 2, two);
	settle(t);
	t->now_ns += NSEC_PER_SEC;

	sequence_want(t->s, &high, 2, turned);
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	clock_epoch = t->step.epoch;
	assert_int_equal(next(t), SEQUENCE_WAIT_UNTIL);
	sequence_clock_done(t->s, clock_epoch, true);
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.worker, 0);
	assert_true(t->step.mask_changes);
	assert_true(cu_shape_equal(t->step.directive.shape, turned[0].shape));
	assert_int_equal(t->step.directive.mask.words[0], 0x22222222);
	/* One worker at a time. */
	assert_int_equal(next(t), SEQUENCE_WAIT_UNTIL);
	assert_false(sequence_model_acknowledged(t->s, 0));
	sequence_mask_acked(t->s, 0, sequence_worker_epoch(t->s, 0));
	assert_true(sequence_model_acknowledged(t->s, 0));
	t->now_ns += 10 * MS;
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.worker, 1);
	ack(t);
	assert_int_equal(next(t), SEQUENCE_NONE);
	assert_true(sequence_settled(t->s));
}

/* While it may not narrow yet, a worker keeps its old mask where that is. */
static void test_a_larger_old_mask_stays_in_its_place_until_all_is_given(void **state)
{
	struct test *t = *state;
	struct sequence_directive wide = directive_at(2, 8, 0x33333333);
	struct sequence_directive narrow = directive_at(1, 8, 0x44444444);

	assert_int_equal(sequence_worker_add(t->s, 0, true, true), 0);
	sequence_want(t->s, &low, 1, &wide);
	settle(t);
	t->now_ns += NSEC_PER_SEC;
	narrow.max_batch = 4; /* a larger batch is given */
	sequence_want(t->s, &high, 1, &narrow);
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	sequence_clock_done(t->s, t->step.epoch, true);
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.directive.max_batch, 4);
	assert_int_equal(t->step.directive.mask.words[0], 0x33333333);
	assert_false(t->step.mask_changes);
	ack(t);
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.directive.mask.words[0], 0x44444444);
	assert_true(t->step.mask_changes);
}

static void test_a_power_cap_goes_up_with_the_clock_and_down_with_it(void **state)
{
	struct test *t = *state;
	struct sequence_clock other = {.max_mhz = 1700, .power_cap_uw = 100000000};

	begin(t, 1, low, 4, 15);
	want(t, other, directive(4, 15));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(t->step.clock.max_mhz, 1700);
	assert_int_equal(t->step.clock.power_cap_uw, 200000000);
	sequence_clock_done(t->s, t->step.epoch, true);
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(t->step.clock.power_cap_uw, 100000000);
}

static void test_a_raise_unconfirmed_after_100_ms_cancels_the_narrowing(void **state)
{
	struct test *t = *state;
	uint64_t epoch;

	begin(t, 1, low, 4, 15);
	want(t, high, directive(2, 8));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	epoch = t->step.epoch;
	assert_int_equal(next(t), SEQUENCE_WAIT_UNTIL);
	assert_int_equal(t->step.deadline_ns, t->now_ns + 100 * MS);
	t->now_ns += 100 * MS;
	assert_int_equal(next(t), SEQUENCE_NONE);
	assert_true(sequence_cancelled(t->s));
	/* Late: known now, but this decision stays cancelled. */
	sequence_clock_done(t->s, epoch, true);
	assert_int_equal(next(t), SEQUENCE_NONE);
	assert_int_equal(sequence_clock_confirmed(t->s).max_mhz, high.max_mhz);
	want(t, high, directive(2, 8));
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.directive.shape.cus_per_se, 8);
}

static void test_a_widening_unconfirmed_after_100_ms_cancels_the_lower_clock(void **state)
{
	struct test *t = *state;

	begin(t, 1, high, 2, 8);
	want(t, low, directive(4, 15));
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	t->now_ns += 99 * MS;
	assert_int_equal(next(t), SEQUENCE_WAIT_UNTIL);
	t->now_ns += 1 * MS;
	assert_int_equal(next(t), SEQUENCE_NONE);
	assert_true(sequence_cancelled(t->s));
	assert_int_equal(sequence_clock_sent(t->s).max_mhz, high.max_mhz);
}

static void test_a_failed_write_is_tried_again_with_the_next_decision(void **state)
{
	struct test *t = *state;

	begin(t, 0, high, 4, 15);
	want(t, low, directive(4, 15));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	sequence_clock_done(t->s, t->step.epoch, false);
	assert_int_equal(next(t), SEQUENCE_NONE);
	assert_false(sequence_settled(t->s));
	/* Whatever the card does now, it may be at the lower clock: the higher one is sent. */
	want(t, high, directive(4, 15));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(t->step.clock.max_mhz, high.max_mhz);
	sequence_clock_done(t->s, t->step.epoch, false);
	want(t, low, directive(4, 15));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
}

static void test_mask_changes_are_one_at_a_time_and_10_ms_apart(void **state)
{
	struct test *t = *state;
	uint64_t last_ns = 0;

	begin(t, 5, high, 4, 15);
	want(t, high, directive(2, 8));
	for (unsigned int i = 0; i < 5; i++) {
		while (next(t) == SEQUENCE_WAIT_UNTIL)
			t->now_ns = t->step.deadline_ns;
		assert_int_equal(t->step.kind, SEQUENCE_DIRECT_WORKER);
		if (i > 0)
			assert_true(t->now_ns - last_ns >= 10 * MS);
		last_ns = t->now_ns;
		struct sequence_step sent = t->step;

		t->now_ns += 3 * MS;
		assert_int_equal(next(t), SEQUENCE_WAIT_UNTIL);
		sequence_mask_acked(t->s, sent.worker, sent.epoch);
	}
	assert_int_equal(next(t), SEQUENCE_NONE);
	assert_true(sequence_settled(t->s));
}

static void test_a_boost_waits_for_no_mask_and_cancels_what_takes(void **state)
{
	struct test *t = *state;

	begin(t, 3, low, 4, 15);
	want(t, low, directive(2, 8));
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	sequence_boost(t->s, &high);
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(t->step.clock.max_mhz, high.max_mhz);
	sequence_clock_done(t->s, t->step.epoch, true);
	sequence_mask_acked(t->s, 0, sequence_worker_epoch(t->s, 0));
	t->now_ns += 50 * MS;
	assert_int_equal(next(t), SEQUENCE_NONE);
	want(t, low, directive(2, 8));
	settle(t);
	assert_int_equal(sequence_clock_confirmed(t->s).max_mhz, low.max_mhz);
}

static void test_a_boost_overtakes_a_lowering_in_flight(void **state)
{
	struct test *t = *state;
	uint64_t lowering;

	begin(t, 1, high, 4, 15);
	want(t, low, directive(4, 15));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	lowering = t->step.epoch;
	sequence_boost(t->s, &high);
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(t->step.clock.max_mhz, high.max_mhz);
	/* The overtaken write says nothing about the card any more. */
	uint64_t boost = t->step.epoch;

	sequence_clock_done(t->s, lowering, true);
	assert_int_not_equal(sequence_clock_confirmed(t->s).max_mhz, high.max_mhz);
	sequence_clock_done(t->s, boost, true);
	assert_int_equal(sequence_clock_confirmed(t->s).max_mhz, high.max_mhz);
}

static void miss(struct test *t, struct sequence_clock clock, struct sequence_directive d)
{
	want(t, clock, d);
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	t->now_ns += 100 * MS;
	sequence_next(t->s, t->now_ns, &t->step);
}

static void test_three_misses_make_a_worker_governed_by_clock_alone(void **state)
{
	struct test *t = *state;

	begin(t, 1, high, 2, 8);
	for (unsigned int i = 0; i < 3; i++) {
		assert_false(sequence_worker_clock_alone(t->s, 0));
		miss(t, low, directive(4, 15));
	}
	assert_true(sequence_worker_clock_alone(t->s, 0));
	assert_false(sequence_model_acknowledged(t->s, 0));
	/* It is told to use all CUs, and the clock no longer waits for it. */
	assert_int_equal(t->step.kind, SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.directive.shape.n_se, 0);
	want(t, low, directive(2, 8));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	sequence_clock_done(t->s, t->step.epoch, true);
	assert_int_equal(next(t), SEQUENCE_NONE);
	assert_true(sequence_settled(t->s));
	/* Once it follows again, it is governed again. */
	sequence_mask_acked(t->s, 0, sequence_worker_epoch(t->s, 0));
	assert_false(sequence_worker_clock_alone(t->s, 0));
	t->now_ns += NSEC_PER_SEC;
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.directive.shape.cus_per_se, 8);
}

static void test_a_confirmation_between_misses_starts_the_count_again(void **state)
{
	struct test *t = *state;

	begin(t, 1, high, 2, 8);
	for (unsigned int i = 0; i < 3; i++) {
		miss(t, low, directive(4, 15));
		miss(t, low, directive(4, 15));
		sequence_mask_acked(t->s, 0, sequence_worker_epoch(t->s, 0));
		assert_false(sequence_worker_clock_alone(t->s, 0));
		want(t, high, directive(2, 8));
		settle(t);
		t->now_ns += NSEC_PER_SEC;
	}
}

static void test_a_worker_that_follows_no_masks_is_never_sent_one_nor_awaited(void **state)
{
	struct test *t = *state;

	assert_int_equal(sequence_worker_add(t->s, 0, false, false), 0);
	want(t, low, directive(2, 8));
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.directive.shape.n_se, 0);
	assert_int_equal(t->step.directive.max_batch, 0);
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	sequence_clock_done(t->s, t->step.epoch, true);
	assert_int_equal(next(t), SEQUENCE_NONE);
	assert_true(sequence_settled(t->s));
}

/* Between a reload and the first decision after it the old one's entries are in another order. */
static void test_a_worker_that_moves_keeps_its_directive_until_the_next_decision(void **state)
{
	struct test *t = *state;
	struct sequence_directive both[] = {directive(2, 8), directive(4, 15)};
	uint64_t epoch;

	assert_int_equal(sequence_worker_add(t->s, 0, true, true), 0);
	sequence_want(t->s, &high, 2, both);
	settle(t);
	epoch = sequence_worker_epoch(t->s, 0);
	sequence_worker_set_model(t->s, 0, 1);
	t->now_ns += NSEC_PER_SEC;
	assert_int_equal(next(t), SEQUENCE_NONE);
	assert_int_equal(sequence_worker_epoch(t->s, 0), epoch);
	assert_true(sequence_settled(t->s));
	both[1] = both[0];
	sequence_want(t->s, &high, 2, both);
	assert_int_equal(next(t), SEQUENCE_NONE);
	both[1] = directive(4, 15);
	sequence_want(t->s, &high, 2, both);
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.directive.shape.n_se, 4);
	/* Beyond a shorter decision it has what a worker starts with. */
	sequence_worker_set_model(t->s, 0, 7);
	sequence_want(t->s, &high, 1, both);
	settle(t);
	assert_int_equal(t->step.kind, SEQUENCE_NONE);
	assert_true(sequence_settled(t->s));
}

static void test_a_removed_worker_holds_nothing_up(void **state)
{
	struct test *t = *state;

	begin(t, 2, high, 2, 8);
	want(t, low, directive(4, 15));
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	sequence_worker_remove(t->s, 0);
	t->now_ns += 10 * MS;
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(t->step.worker, 1);
	ack(t);
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(sequence_worker_add(t->s, 0, true, true), 0);
	assert_int_equal(sequence_worker_epoch(t->s, 0), 0);
}

static void test_acknowledgements_of_epochs_never_sent_are_ignored(void **state)
{
	struct test *t = *state;

	begin(t, 1, high, 2, 8);
	want(t, low, directive(4, 15));
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	sequence_mask_acked(t->s, 0, UINT64_MAX);
	sequence_mask_acked(t->s, 0, t->step.epoch + 1);
	sequence_mask_acked(t->s, 17, t->step.epoch);
	sequence_mask_acked(t->s, UINT32_MAX, t->step.epoch);
	assert_int_equal(next(t), SEQUENCE_WAIT_UNTIL);
	assert_false(sequence_worker_acknowledged(t->s, 0));
}

static void test_a_clock_found_elsewhere_is_corrected(void **state)
{
	struct test *t = *state;

	begin(t, 1, high, 4, 15);
	sequence_clock_found(t->s, &low);
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(t->step.clock.max_mhz, high.max_mhz);
	sequence_clock_done(t->s, t->step.epoch, true);
	sequence_clock_found(t->s, &found);
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(t->step.clock.max_mhz, high.max_mhz);
}

static void test_epochs_rise_over_all_steps_and_above_the_one_given(void **state)
{
	struct test *t = *state;
	uint64_t last = 1000;

	sequence_set_epoch(t->s, last);
	sequence_set_epoch(t->s, 5);
	for (unsigned int i = 0; i < 20; i++) {
		if (i == 0)
			assert_int_equal(sequence_worker_add(t->s, 0, true, true), 0);
		want(t, i % 2 ? high : low, directive(i % 3 ? 4 : 2, 8));
		while (next(t) != SEQUENCE_NONE) {
			if (t->step.kind == SEQUENCE_WAIT_UNTIL) {
				t->now_ns = t->step.deadline_ns;
				continue;
			}
			assert_true(t->step.epoch > last);
			last = t->step.epoch;
			if (t->step.kind == SEQUENCE_SET_CLOCK)
				sequence_clock_done(t->s, last, true);
			else
				ack(t);
		}
		t->now_ns += 500 * MS;
	}
}

static void test_the_worker_limit_is_an_error(void **state)
{
	struct test *t = *state;

	for (int i = 0; i < SEQUENCE_MAX_WORKERS; i++)
		assert_int_equal(sequence_worker_add(t->s, 0, true, true), i);
	assert_int_equal(sequence_worker_add(t->s, 0, true, true), -ENOSPC);
	sequence_worker_remove(t->s, 77);
	assert_int_equal(sequence_worker_add(t->s, 0, true, true), 77);
}

struct random_worker {
	bool deaf; /* acknowledges nothing */
	uint64_t sent_epoch;
	struct cu_shape sent, applied;
};

/* What a worker really runs with may be anything between sent and applied. */
static uint32_t cus_or_all(struct cu_shape s)
{
	return s.n_se == 0 ? UINT32_MAX : cu_shape_cus(s);
}

static uint32_t mhz_or_all(uint32_t mhz)
{
	return mhz == 0 ? UINT32_MAX : mhz;
}

/* Random decisions, boosts, answers, losses and workers: a taking step never starts while a giving
 * one is unconfirmed, masks keep their distance, and with everything confirmed it settles. */
static void test_random_events_never_take_before_giving_is_confirmed(void **state)
{
	enum { WORKERS = 6, STEPS = 60000 };
	static const uint32_t clocks[] = {800, 1200, 1700, 0};
	static const struct cu_shape shapes[] = {{2, 8}, {4, 8}, {4, 15}, {0, 0}};
	struct random_worker workers[WORKERS] = {0};
	struct test *t = *state;
	uint32_t sent_mhz = high.max_mhz;
	uint64_t clock_epoch = 0, last_mask_ns = 0;
	bool clock_open = false, clock_up = false;
	unsigned short seed[3] = {1, 2, 3};

	print_message("seed 1 2 3\n");
	for (unsigned int j = 0; j < WORKERS; j++)
		assert_int_equal(sequence_worker_add(t->s, 0, true, true), j);
	for (unsigned int i = 0; i < STEPS; i++) {
		unsigned int event = (unsigned int)(nrand48(seed) % 100);
		unsigned int w = (unsigned int)(nrand48(seed) % WORKERS);
		struct cu_shape shape = shapes[nrand48(seed) % 4];

		t->now_ns += (uint64_t)(nrand48(seed) % 30) * MS;
		if (event < 10) {
			want(t, (struct sequence_clock){clocks[nrand48(seed) % 4]},
			     directive(shape.n_se, shape.cus_per_se));
		} else if (event < 12) {
			sequence_boost(t->s, &(struct sequence_clock){1700});
		} else if (event < 45 && clock_open) {
			sequence_clock_done(t->s, clock_epoch, true);
			clock_open = false;
		} else if (event < 46) {
			sequence_worker_remove(t->s, w);
			assert_int_equal(sequence_worker_add(t->s, 0, true, true), w);
			workers[w] = (struct random_worker){0};
		} else if (event < 80 && !workers[w].deaf) {
			workers[w].applied = workers[w].sent;
			sequence_mask_acked(t->s, w, workers[w].sent_epoch);
		} else if (event < 82) {
			workers[w].deaf = !workers[w].deaf;
		}

		while (next(t) == SEQUENCE_SET_CLOCK || t->step.kind == SEQUENCE_DIRECT_WORKER) {
			bool takes, open_gives = clock_open && clock_up;

			for (unsigned int j = 0; j < WORKERS; j++)
				if (!sequence_worker_clock_alone(t->s, j) &&
				    cus_or_all(workers[j].sent) > cus_or_all(workers[j].applied))
					open_gives = true;
			if (t->step.kind == SEQUENCE_SET_CLOCK) {
				takes = mhz_or_all(t->step.clock.max_mhz) < mhz_or_all(sent_mhz);
				clock_up = !takes;
				clock_open = true;
				clock_epoch = t->step.epoch;
				sent_mhz = t->step.clock.max_mhz;
			} else {
				struct random_worker *x = &workers[t->step.worker];

				takes = cus_or_all(t->step.directive.shape) < cus_or_all(x->sent);
				if (t->step.mask_changes) {
					assert_true(t->now_ns - last_mask_ns >= 10 * MS);
					last_mask_ns = t->now_ns;
				}
				x->sent = t->step.directive.shape;
				x->sent_epoch = t->step.epoch;
			}
			if (takes)
				assert_false(open_gives);
		}
	}
	for (unsigned int j = 0; j < WORKERS; j++)
		sequence_mask_acked(t->s, j, workers[j].sent_epoch);
	sequence_clock_done(t->s, clock_epoch, true);
	for (unsigned int i = 0; i < 4; i++) {
		want(t, low, directive(4, 8));
		settle(t);
		t->now_ns += NSEC_PER_SEC;
	}
	assert_true(sequence_settled(t->s));
}

static void test_while_held_it_gives_and_takes_nothing(void **state)
{
	struct test *t = *state;

	begin(t, 1, high, 2, 8);
	sequence_hold(t->s, true);
	want(t, low, directive(4, 15));
	assert_false(sequence_given(t->s));
	assert_int_equal(next(t), SEQUENCE_DIRECT_WORKER);
	assert_int_equal(cu_shape_cus(t->step.directive.shape), 60);
	assert_false(sequence_given(t->s));
	ack(t);
	assert_true(sequence_given(t->s));
	assert_int_equal(next(t), SEQUENCE_NONE);
	/* Nor with the next decision. */
	want(t, low, directive(4, 15));
	assert_int_equal(next(t), SEQUENCE_NONE);
	sequence_hold(t->s, false);
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_int_equal(t->step.clock.max_mhz, low.max_mhz);
}

static void test_given_is_a_raise_that_is_confirmed(void **state)
{
	struct test *t = *state;

	begin(t, 0, low, 4, 15);
	assert_true(sequence_given(t->s));
	want(t, high, directive(4, 15));
	assert_false(sequence_given(t->s));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	assert_false(sequence_given(t->s));
	t->now_ns += SEQUENCE_CONFIRM_TIMEOUT_NS;
	assert_int_equal(next(t), SEQUENCE_NONE);
	assert_false(sequence_given(t->s));
	want(t, high, directive(4, 15));
	assert_int_equal(next(t), SEQUENCE_SET_CLOCK);
	sequence_clock_done(t->s, t->step.epoch, true);
	assert_true(sequence_given(t->s));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_a_fresh_sequence_has_nothing_to_do),
		TEST(test_raises_the_clock_before_it_widens),
		TEST(test_lowers_the_clock_before_it_narrows),
		TEST(test_a_lower_clock_waits_for_the_wider_mask),
		TEST(test_a_narrower_mask_waits_for_the_higher_clock),
		TEST(test_all_orders_of_change_keep_capacity),
		TEST(test_a_change_that_gives_and_takes_is_split),
		TEST(test_a_mask_that_only_moves_counts_as_narrowing),
		TEST(test_a_larger_old_mask_stays_in_its_place_until_all_is_given),
		TEST(test_a_power_cap_goes_up_with_the_clock_and_down_with_it),
		TEST(test_a_raise_unconfirmed_after_100_ms_cancels_the_narrowing),
		TEST(test_a_widening_unconfirmed_after_100_ms_cancels_the_lower_clock),
		TEST(test_a_failed_write_is_tried_again_with_the_next_decision),
		TEST(test_mask_changes_are_one_at_a_time_and_10_ms_apart),
		TEST(test_a_boost_waits_for_no_mask_and_cancels_what_takes),
		TEST(test_a_boost_overtakes_a_lowering_in_flight),
		TEST(test_three_misses_make_a_worker_governed_by_clock_alone),
		TEST(test_a_confirmation_between_misses_starts_the_count_again),
		TEST(test_a_worker_that_follows_no_masks_is_never_sent_one_nor_awaited),
		TEST(test_a_worker_that_moves_keeps_its_directive_until_the_next_decision),
		TEST(test_a_removed_worker_holds_nothing_up),
		TEST(test_acknowledgements_of_epochs_never_sent_are_ignored),
		TEST(test_a_clock_found_elsewhere_is_corrected),
		TEST(test_epochs_rise_over_all_steps_and_above_the_one_given),
		TEST(test_the_worker_limit_is_an_error),
		TEST(test_while_held_it_gives_and_takes_nothing),
		TEST(test_given_is_a_raise_that_is_confirmed),
		TEST(test_random_events_never_take_before_giving_is_confirmed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
