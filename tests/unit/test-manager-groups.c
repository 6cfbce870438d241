/* SPDX-License-Identifier: Apache-2.0 */
/* The whole daemon but main(): cards with one clock. */
#include "test-manager-fixture.h"

#include "daemon/group.h"
#include "daemon/status.h"
#include "gpu/gpu.h"
#include <errno.h>
#include <jansson.h>

#define TWO_GPUS DAEMON GPU "[gpu " OTHER_BDF "]\n" MODEL

static struct unit *other(const struct fixture *f)
{
	return TAILQ_NEXT(unit(f), entry);
}

static void start_two_cards(struct fixture *f, const char *config)
{
	f->actuator.second = &f->second;
	start(f, config);
	RUN_UNTIL(f, f->manager->ready && unit(f) && unit(f)->plan && other(f) && other(f)->plan);
}

static bool both_at(const struct fixture *f, uint32_t mhz)
{
	return f->actuator.last_set.max_mhz == mhz && f->second.last_set.max_mhz == mhz;
}

/* One worker over both, whose clocks have been lowered. */
static void start_group(struct fixture *f)
{
	start_two_cards(f, TWO_GPUS PROMPT);
	f->worker = open_worker(f, both_cards, 2);
	RUN_UNTIL(f, both_at(f, 925));
}

/* What the status says of a card's group: the number of its cards. */
static size_t shown_group(const struct fixture *f, size_t gpu)
{
	char *text = status_json(f->manager);
	json_t *root = json_loads(text, 0, NULL);
	size_t n;

	free(text);
	assert_non_null(root);
	n = json_array_size(
		json_object_get(json_array_get(json_object_get(root, "gpus"), gpu), "group"));
	json_decref(root);
	return n;
}

static void test_a_worker_over_two_cards_counts_on_both(void **state)
{
	struct fixture *f = *state;

	start_group(f);
	assert_int_equal(f->manager->n_sessions, 1);
	assert_int_equal(unit_workers(unit(f)), 1);
	assert_int_equal(unit_workers(other(f)), 1);
	assert_int_equal(shown_group(f, 0), 2);
	assert_int_equal(shown_group(f, 1), 2);
	for (unsigned int i = 0; i < 3; i++)
		(void)cofris_begin(f->worker, 1);
	RUN_UNTIL(f, unit(f)->input.models[0].arrivals > 0);
	assert_int_equal(other(f)->input.models[0].arrivals, unit(f)->input.models[0].arrivals);
	RUN_UNTIL(f, unit(f)->input.models[0].in_flight == 3);
	assert_int_equal(other(f)->input.models[0].in_flight, 3);
	/* An interval ends for both at once. */
	RUN_UNTIL(f, unit(f)->input.models[0].arrivals == 0);
	assert_int_equal(other(f)->input.models[0].arrivals, 0);
}

static void test_two_cards_with_a_worker_each_are_no_group(void **state)
{
	struct fixture *f = *state;

	start_two_cards(f, TWO_GPUS PROMPT);
	start_worker(f);
	f->other_worker = open_worker(f, &both_cards[1], 1);
	RUN_UNTIL(f, both_at(f, 925));
	assert_int_equal(shown_group(f, 0), 0);
	f->second.fields = GPU_HAS_SCLK | GPU_HAS_BUSY;
	RUN_UNTIL(f, f->second.last_set.max_mhz == 1725);
	run_decisions(f, 5);
	assert_int_equal(f->actuator.last_set.max_mhz, 925);
}

static void test_one_card_in_doubt_puts_its_group_at_full_speed(void **state)
{
	struct fixture *f = *state;

	start_group(f);
	f->second.fields = GPU_HAS_SCLK | GPU_HAS_BUSY;
	RUN_UNTIL(f, both_at(f, 1725));
	assert_int_equal(other(f)->decision.reason, GOVERNOR_REASON_SENSORS_LOST);
	/* Its own governor has no reason to, and says so. */
	assert_int_equal(unit(f)->decision.max_mhz, 925);
	run_decisions(f, 5);
	assert_true(both_at(f, 1725));
	f->second.fields |= GPU_HAS_POWER;
	RUN_UNTIL(f, both_at(f, 925));
}

static void test_a_raise_for_one_cards_own_worker_raises_its_group(void **state)
{
	struct fixture *f = *state;

	start_group(f);
	/* A new worker counts with its rated rate in its first interval. */
	f->other_worker = open_worker(f, &both_cards[1], 1);
	RUN_UNTIL(f, both_at(f, 1725));
	assert_int_equal(unit_workers(unit(f)), 1);
	assert_int_equal(unit_workers(other(f)), 2);
	RUN_UNTIL(f, both_at(f, 925));
}

static void test_nothing_is_lowered_before_the_other_cards_raise_is_confirmed(void **state)
{
	struct fixture *f = *state;

	/* With its dwell time the raise of a new worker lasts. */
	start_two_cards(f, TWO_GPUS);
	f->other_worker = open_worker(f, &both_cards[1], 1);
	RUN_UNTIL(f, f->second.last_set.max_mhz == 925 && !other(f)->in_flight);
	/* For the second card 1725 MHz is a raise, for the first, as found until now, a limit. */
	f->second.mute = true;
	f->worker = open_worker(f, both_cards, 2);
	RUN_UNTIL(f, unit_workers(unit(f)) == 1 && f->second.asked_set.max_mhz == 1725);
	run_decisions(f, 3);
	assert_int_equal(unit(f)->decision.action, GOVERNOR_SET);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_SET], 0);
	f->second.mute = false;
	RUN_UNTIL(f, f->actuator.last_set.max_mhz > 0);
	assert_int_equal(f->second.last_set.max_mhz, 1725);
}

static void test_a_card_that_others_hold_does_not_keep_its_group_up(void **state)
{
	struct fixture *f = *state;

	f->second.claim_error = -EBUSY;
	start_two_cards(f, TWO_GPUS PROMPT);
	f->worker = open_worker(f, both_cards, 2);
	RUN_UNTIL(f, f->actuator.last_set.max_mhz == 925);
	assert_true(unit_is(other(f), "held-by-other", "busy"));
	assert_int_equal(f->second.counts[ACTUATOR_SET], 0);
}

static void test_a_groups_clock_is_the_highest_in_each_cards_own_levels(void **state)
{
	static const struct {
		uint32_t own_mhz, other_mhz, group_mhz, other_group_mhz;
	} rows[] = {
		{925, 1000, 1725, 1000}, {925, 800, 925, 1000},	   {1725, 800, 1725, 2100},
		{925, 2100, 1725, 2100}, {1725, 2100, 1725, 2100},
	};
	static const uint32_t levels[] = {800, 1000, 2100};
	struct fixture *f = *state;

	start_group(f);
	(void)memcpy(other(f)->card.level_mhz, levels, sizeof(levels));
	other(f)->card.n_levels = ARRAY_SIZE(levels);
	unit(f)->decision.action = other(f)->decision.action = GOVERNOR_SET;
	unit(f)->stepped = other(f)->stepped = true;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		unit(f)->decision.max_mhz = rows[i].own_mhz;
		other(f)->decision.max_mhz = rows[i].other_mhz;
		assert_int_equal(group_max_mhz(unit(f)), rows[i].group_mhz);
		assert_int_equal(group_max_mhz(other(f)), rows[i].other_group_mhz);
	}
	unit(f)->decision.max_mhz = 925;
	other(f)->stepped = false;
	assert_int_equal(group_max_mhz(unit(f)), 1725);
}

static void test_a_groups_directive_is_the_widest_of_its_cards(void **state)
{
	struct fixture *f = *state;
	struct governor_model_decision *d, *o;
	struct sequence_directive wide;

	start_group(f);
	d = &unit(f)->decision.models[0];
	o = &other(f)->decision.models[0];
	unit(f)->stepped = other(f)->stepped = true;
	d->shape = (struct cu_shape){2, 8};
	o->shape = (struct cu_shape){4, 8};
	d->max_batch = 8;
	o->max_batch = 4;
	d->max_wait_ns = 2000;
	o->max_wait_ns = 1000;
	unit_directive(unit(f), 0, &wide);
	assert_int_equal(cu_shape_cus(wide.shape), 16);
	group_widen(unit(f), 0, &wide);
	assert_int_equal(cu_shape_cus(wide.shape), 32);
	assert_int_equal(wide.max_batch, 8);
	assert_int_equal(wide.max_wait_ns, 1000);
	/* A card without a worker of the model needs nothing for it. */
	other(f)->input.models[0].workers = 0;
	unit_directive(unit(f), 0, &wide);
	group_widen(unit(f), 0, &wide);
	assert_int_equal(cu_shape_cus(wide.shape), 16);
	/* On a card with another layout the same bits are other CUs. */
	other(f)->input.models[0].workers = 1;
	other(f)->card.active_cus[0]--;
	group_widen(unit(f), 0, &wide);
	assert_int_equal(cu_shape_cus(wide.shape), 0);
}

static void test_the_last_worker_over_two_cards_gone_frees_both(void **state)
{
	struct fixture *f = *state;
	uint64_t number, other_number;

	start_group(f);
	f->worker = cofris_close(f->worker);
	number = unit(f)->decision.number;
	other_number = other(f)->decision.number;
	RUN_UNTIL(f, f->actuator.counts[ACTUATOR_RELEASE] == 1 &&
			     f->second.counts[ACTUATOR_RELEASE] == 1);
	assert_true(unit(f)->decision.number <= number + 2);
	assert_true(other(f)->decision.number <= other_number + 2);
	assert_int_equal(shown_group(f, 0), 0);
	assert_int_equal(shown_group(f, 1), 0);
	RUN_UNTIL(f, unit_is(unit(f), "governed", "idle") && unit_is(other(f), "governed", "idle"));
}

static void test_a_card_that_is_not_governed_is_refused_by_name(void **state)
{
	struct fixture *f = *state;
	char why[256];

	f->actuator.second = &f->second;
	start(f, STANDARD);
	RUN_UNTIL(f, f->manager->ready && unit(f));
	f->worker = open_worker(f, both_cards, 2);
	RUN_UNTIL(f, cofris_problem(f->worker, why, sizeof(why)) && strstr(why, OTHER_BDF));
	assert_null(strstr(why, BDF));
	assert_int_equal(unit_workers(unit(f)), 0);
	assert_int_equal(f->actuator.counts[ACTUATOR_CLAIM], 0);
}

static void test_a_reload_without_one_card_hangs_its_groups_worker_up(void **state)
{
	struct fixture *f = *state;
	char why[CONFIG_TEXT_MAX];

	start_group(f);
	write_text(f->config, STANDARD PROMPT);
	assert_int_equal(manager_reload(f->manager, why, sizeof(why)), 0);
	assert_int_equal(f->manager->n_sessions, 0);
	assert_null(other(f));
	assert_int_equal(shown_group(f, 0), 0);
	RUN_UNTIL(f, f->second.counts[ACTUATOR_RELEASE] >= 1 && unit(f)->claim == UNIT_FREE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_worker_over_two_cards_counts_on_both),
		CASE(test_two_cards_with_a_worker_each_are_no_group),
		CASE(test_one_card_in_doubt_puts_its_group_at_full_speed),
		CASE(test_a_raise_for_one_cards_own_worker_raises_its_group),
		CASE(test_nothing_is_lowered_before_the_other_cards_raise_is_confirmed),
		CASE(test_a_card_that_others_hold_does_not_keep_its_group_up),
		CASE(test_a_groups_clock_is_the_highest_in_each_cards_own_levels),
		CASE(test_a_groups_directive_is_the_widest_of_its_cards),
		CASE(test_the_last_worker_over_two_cards_gone_frees_both),
		CASE(test_a_card_that_is_not_governed_is_refused_by_name),
		CASE(test_a_reload_without_one_card_hangs_its_groups_worker_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
