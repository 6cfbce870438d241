/* SPDX-License-Identifier: Apache-2.0 */
/* The governor with several models on a card: that they are planned for together, when they are
 * not, and what a doubt, a queue in danger or too much load does. */
#include "card-plan-menus.h"
#include "governor/policy.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define TOP_MHZ 1725
#define POLL_NS (UINT64_C(500) * NSEC_PER_MSEC)
#define MODELS	3

struct card {
	struct response_menu *menus[MODELS];
	struct response_table *tables[MODELS];
	struct governor_config config;
	struct governor *governor;
	struct governor_input input;
	struct governor_decision decision;
};

#define assert_reason(found, expected)                                                             \
	assert_string_equal(governor_reason_name(found), governor_reason_name(expected))

static void start(struct card *c)
{
	governor_free(c->governor);
	assert_int_equal(governor_new(&c->config, &c->governor), 0);
}

static struct card *card_new(void)
{
	static const char *const names[MODELS] = {"one", "two", "three"};
	struct card *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	c->config.poll_ns = POLL_NS;
	c->config.n_levels = BENCH_LEVELS;
	memcpy(c->config.level_mhz, bench_level_mhz, sizeof(bench_level_mhz));
	c->config.topology = cu_topology_even(4, 15);
	c->config.n_models = MODELS;
	for (uint32_t i = 0; i < MODELS; i++) {
		struct menu_recipe r = {
			.topology = c->config.topology,
			.n_levels = BENCH_LEVELS,
			.level_mhz = bench_level_mhz,
			.n_rates = 40,
			.n_batches = 1,
			.work_ns = 1e6 * (1 + i),
			.memory_ns = 0.3e6,
			.launch_ns = 0.7e6 * (1 + i),
			.slo_factor = 2,
			.seed = i + 1,
			.name = names[i],
		};
		struct governor_model_config *m = &c->config.models[i];

		c->menus[i] = menus_new(&r);
		c->tables[i] = menus_table(c->menus[i]);
		(void)snprintf(m->name, sizeof(m->name), "%s", names[i]);
		m->table = c->tables[i];
		m->menu = c->menus[i];
		m->policy = "cofris";
		m->late_cost = TABLE_LATE_COST;
		m->priority = 100;
		m->use_mask = true;
	}
	start(c);
	return c;
}

static void card_end(struct card *c)
{
	governor_free(c->governor);
	for (uint32_t i = 0; i < MODELS; i++) {
		free(c->menus[i]);
		free(c->tables[i]);
	}
	free(c);
}

static void load(struct card *c, uint32_t i, double load)
{
	c->input.models[i] = (struct governor_model_input){
		.state = GOVERNOR_INPUT_OK,
		.workers = 1,
		.arrivals = (uint64_t)(load * c->menus[i]->rated_rps / 2 + 0.5),
		.whole_interval = true,
		.mask_follows = true,
		.batch_follows = true,
		.acknowledged = true,
	};
}

static void step(struct card *c)
{
	c->input.now_ns += POLL_NS;
	c->input.interval_ns = POLL_NS;
	governor_step(c->governor, &c->input, &c->decision);
}

static void steps(struct card *c, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		step(c);
}

/* Or no masks at all: each has all CUs. */
static void assert_disjoint_or_none(const struct card *c)
{
	struct cu_shape shapes[MODELS];
	struct cu_mask masks[MODELS];
	uint32_t n = 0, masked = 0;

	for (uint32_t i = 0; i < MODELS; i++)
		if (c->input.models[i].state != GOVERNOR_NO_WORKER) {
			shapes[n] = c->decision.models[i].shape;
			masked += cu_shape_cus(shapes[n++]) > 0;
		}
	if (masked == 0)
		return;
	assert_int_equal(cu_masks_pack(&c->config.topology, shapes, n, 0, masks), 0);
}

static void test_models_of_a_card_are_planned_for_together(void **state)
{
	struct card *c = card_new();
	double low_w;

	(void)state;
	load(c, 0, 0.1);
	load(c, 1, 0.1);
	load(c, 2, 0.05);
	steps(c, 100);
	assert_int_equal(c->decision.action, GOVERNOR_SET);
	assert_reason(c->decision.reason, GOVERNOR_REASON_DEMAND);
	assert_true(c->decision.max_mhz < TOP_MHZ);
	assert_disjoint_or_none(c);
	low_w = c->decision.predicted_power_w;
	assert_true(low_w > 0);
	for (uint32_t i = 0; i < MODELS; i++)
		assert_true(c->decision.models[i].tail_ns <= (double)c->menus[i]->slo_ns);
	/* More of one is more for the card, at once. */
	load(c, 0, 0.4);
	step(c);
	assert_disjoint_or_none(c);
	assert_true(c->decision.predicted_power_w > low_w);
	/* Who stays alone has the whole card again. */
	memset(&c->input.models[0], 0, sizeof(c->input.models[0]));
	memset(&c->input.models[1], 0, sizeof(c->input.models[1]));
	steps(c, 100);
	assert_reason(c->decision.models[0].reason, GOVERNOR_REASON_NO_WORKER);
	assert_int_equal(cu_shape_cus(c->decision.models[2].shape), 0);
	card_end(c);
}

static void test_what_cannot_be_planned_for_together_runs_at_full_speed(void **state)
{
	(void)state;
	for (unsigned int what = 0; what < 4; what++) {
		struct card *c = card_new();

		if (what == 1)
			c->config.models[1].menu = NULL;
		if (what == 2)
			c->config.models[1].policy = "frequency";
		start(c);
		load(c, 0, 0.1);
		load(c, 1, 0.1);
		c->input.models[1].mask_unknown = what == 3;
		steps(c, 10);
		if (what == 0) {
			assert_true(c->decision.max_mhz < TOP_MHZ);
		} else {
			assert_reason(c->decision.reason, GOVERNOR_REASON_SEVERAL_MODELS);
			assert_int_equal(c->decision.max_mhz, TOP_MHZ);
			assert_int_equal(cu_shape_cus(c->decision.models[0].shape), 0);
			assert_true(isnan(c->decision.predicted_power_w));
		}
		card_end(c);
	}
}

/* One that may not be masked, or does not follow: all on all CUs, as long as all SLOs hold so. */
static void test_without_masks_all_cus_are_shared(void **state)
{
	(void)state;
	for (unsigned int what = 0; what < 2; what++) {
		struct card *c = card_new();

		c->config.models[1].use_mask = what == 1;
		start(c);
		load(c, 0, 0.1);
		load(c, 1, 0.1);
		c->input.models[1].mask_follows = what == 0;
		steps(c, 20);
		assert_reason(c->decision.reason, GOVERNOR_REASON_DEMAND);
		assert_true(c->decision.max_mhz < TOP_MHZ && c->decision.predicted_power_w > 0);
		for (uint32_t i = 0; i < 2; i++) {
			assert_int_equal(cu_shape_cus(c->decision.models[i].shape), 0);
			assert_true(c->decision.models[i].tail_ns <= (double)c->menus[i]->slo_ns);
		}
		load(c, 0, 1.2);
		load(c, 1, 1.2);
		c->input.models[1].mask_follows = what == 0;
		steps(c, 4);
		assert_reason(c->decision.reason, GOVERNOR_REASON_SEVERAL_MODELS);
		assert_int_equal(c->decision.max_mhz, TOP_MHZ);
		card_end(c);
	}
}

static void test_doubt_about_one_model_is_its_rated_rate_alone(void **state)
{
	struct card *c = card_new();
	double demand_rps;

	(void)state;
	load(c, 0, 0.05);
	load(c, 1, 0.05);
	steps(c, 100);
	demand_rps = c->decision.models[0].demand_rps;
	c->input.models[1].state = GOVERNOR_INPUT_MISSING;
	step(c);
	assert_reason(c->decision.models[1].reason, GOVERNOR_REASON_MISSING_INPUT);
	assert_true(c->decision.models[1].demand_rps >= c->menus[1]->rated_rps);
	assert_true(c->decision.models[0].demand_rps <= demand_rps * 1.01);
	assert_true(c->tables[0]->rows[c->decision.models[0].row].rate_rps <
		    c->menus[0]->rated_rps);
	assert_disjoint_or_none(c);
	card_end(c);
}

/* Both at their rated rates would be too much for the card, and one would be left with a few CUs.
 */
static void test_nobody_gives_way_to_a_guess(void **state)
{
	(void)state;
	for (unsigned int important = 0; important < 2; important++) {
		struct card *c = card_new();

		if (important > 0)
			c->config.models[0].priority = 200;
		start(c);
		load(c, 0, 0.1);
		load(c, 1, 0.1);
		load(c, 2, 0.1);
		steps(c, 20);
		for (uint32_t i = 1; i < MODELS; i++)
			c->input.models[i].state = GOVERNOR_INPUT_MISSING;
		step(c);
		for (uint32_t i = 0; i < MODELS && important == 0; i++)
			assert_int_equal(cu_shape_cus(c->decision.models[i].shape), 0);
		if (important == 0) {
			assert_reason(c->decision.reason, GOVERNOR_REASON_MISSING_INPUT);
			assert_int_equal(c->decision.max_mhz, TOP_MHZ);
		} else {
			assert_true(c->decision.models[0].tail_ns <= (double)c->menus[0]->slo_ns);
		}
		/* Once it is known again, it is planned for at once. */
		for (uint32_t i = 1; i < MODELS; i++)
			c->input.models[i].state = GOVERNOR_INPUT_OK;
		steps(c, 20);
		assert_true(c->decision.max_mhz < TOP_MHZ);
		card_end(c);
	}
}

/* More than all can be held at: masks apart would leave CUs idle. One that is less important gives
 * way, and under a cap somebody has to. */
static void test_equals_share_the_card_where_there_is_too_much_load(void **state)
{
	(void)state;
	for (unsigned int what = 0; what < 3; what++) {
		struct card *c = card_new();

		if (what == 1)
			c->config.models[1].priority = 50;
		if (what == 2)
			c->config.power_cap_uw = 100 * UW_PER_W;
		start(c);
		for (uint32_t i = 0; i < MODELS; i++)
			load(c, i, 0.9);
		steps(c, 20);
		if (what > 0) {
			assert_true(c->decision.reason != GOVERNOR_REASON_OVERLOAD);
			assert_reason(c->decision.models[1].reason, GOVERNOR_REASON_GIVES_WAY);
			card_end(c);
			continue;
		}
		assert_reason(c->decision.reason, GOVERNOR_REASON_OVERLOAD);
		assert_int_equal(c->decision.max_mhz, TOP_MHZ);
		for (uint32_t i = 0; i < MODELS; i++)
			assert_int_equal(cu_shape_cus(c->decision.models[i].shape), 0);
		/* Less, and it is planned for again. */
		for (uint32_t i = 0; i < MODELS; i++)
			load(c, i, 0.05);
		steps(c, 200);
		assert_true(c->decision.reason != GOVERNOR_REASON_OVERLOAD);
		assert_true(c->decision.max_mhz < TOP_MHZ);
		card_end(c);
	}
}

static void test_no_boost_where_none_is_wanted(void **state)
{
	struct card *c = card_new();
	uint32_t mhz;

	(void)state;
	for (uint32_t i = 0; i < MODELS; i++)
		c->config.models[i].never_boosts = true;
	start(c);
	load(c, 0, 0.1);
	load(c, 1, 0.1);
	steps(c, 100);
	mhz = c->decision.max_mhz;
	assert_true(mhz < TOP_MHZ);
	c->input.models[0].oldest_age_ns = c->menus[0]->slo_ns;
	c->input.models[0].woken = true;
	step(c);
	assert_int_equal(c->decision.max_mhz, mhz);
	assert_true(c->decision.models[0].boost_wait_ns == UINT64_MAX);
	card_end(c);
}

static void test_danger_raises_the_clock_for_all_and_leaves_the_masks(void **state)
{
	struct card *c = card_new();
	struct governor_decision before;

	(void)state;
	load(c, 0, 0.1);
	load(c, 1, 0.1);
	steps(c, 100);
	before = c->decision;
	assert_true(before.max_mhz < TOP_MHZ);
	assert_true(before.models[0].boost_wait_ns < c->menus[0]->slo_ns);
	c->input.models[0].oldest_age_ns = c->menus[0]->slo_ns;
	step(c);
	assert_int_equal(c->decision.max_mhz, TOP_MHZ);
	assert_reason(c->decision.reason, GOVERNOR_REASON_BACKLOG);
	for (uint32_t i = 0; i < 2; i++) {
		assert_true(cu_shape_equal(c->decision.models[i].shape, before.models[i].shape));
		assert_int_equal(c->decision.models[i].boost_wait_ns,
				 before.models[i].boost_wait_ns);
	}
	c->input.models[0].oldest_age_ns = 0;
	steps(c, 10);
	assert_int_equal(c->decision.max_mhz, before.max_mhz);
	card_end(c);
}

/* Looks at the queue, as often as the governor asks, until the boost has ended. */
static uint64_t look_until_calm(struct card *c, uint32_t mhz)
{
	uint64_t began_ns = c->input.now_ns;

	for (unsigned int looks = 0; c->decision.max_mhz != mhz; looks++) {
		assert_true(looks < 100 && c->decision.again_ns > c->input.now_ns &&
			    c->decision.again_ns < c->input.now_ns + POLL_NS);
		c->input.interval_ns = c->decision.again_ns - c->input.now_ns;
		c->input.now_ns = c->decision.again_ns;
		c->input.early = true;
		for (uint32_t i = 0; i < MODELS; i++)
			c->input.models[i].arrivals = 0;
		governor_step(c->governor, &c->input, &c->decision);
	}
	c->input.early = false;
	return c->input.now_ns - began_ns;
}

static void test_a_boost_ends_when_nothing_waits_any_more(void **state)
{
	struct card *c = card_new();
	uint64_t calm_ns, busy_ns;
	uint32_t low_mhz;

	(void)state;
	load(c, 0, 0.1);
	load(c, 1, 0.1);
	steps(c, 100);
	low_mhz = c->decision.max_mhz;
	for (unsigned int round = 0; round < 3; round++) {
		/* Somebody waits on while one poll passes, and then nobody. */
		c->input.models[1].woken = true;
		c->input.models[1].in_flight = c->input.models[1].waiting = 3;
		c->input.models[1].starts = 10;
		c->input.models[1].busy_ns = c->menus[1]->slo_ns;
		step(c);
		assert_int_equal(c->decision.max_mhz, TOP_MHZ);
		assert_reason(c->decision.models[1].reason, GOVERNOR_REASON_BACKLOG);
		assert_true(c->decision.models[0].reason != GOVERNOR_REASON_BACKLOG);
		c->input.models[1].woken = false;
		step(c);
		assert_int_equal(c->decision.max_mhz, TOP_MHZ);
		c->input.models[1].in_flight = c->input.models[1].waiting = 0;
		busy_ns = (uint64_t)c->menus[1]->options[c->menus[1]->baseline].service_ns;
		calm_ns = look_until_calm(c, low_mhz);
		assert_true(calm_ns >= 2 * busy_ns && calm_ns < 100 * NSEC_PER_MSEC);
		steps(c, 2);
	}
	card_end(c);
}

/* Services that take longer than planned, whatever the reason, leave less time to wait. */
static void test_danger_looks_at_the_service_time_observed(void **state)
{
	struct card *c = card_new();
	uint32_t low_mhz;

	(void)state;
	load(c, 0, 0.1);
	load(c, 1, 0.1);
	steps(c, 100);
	low_mhz = c->decision.max_mhz;
	c->input.models[0].oldest_age_ns = c->menus[0]->slo_ns / 2;
	step(c);
	assert_int_equal(c->decision.max_mhz, low_mhz);
	c->input.models[0].executions = 10;
	c->input.models[0].busy_ns = 6 * c->menus[0]->slo_ns;
	step(c);
	assert_int_equal(c->decision.max_mhz, TOP_MHZ);
	card_end(c);
}

static void test_the_least_important_model_gives_way(void **state)
{
	(void)state;
	for (uint32_t least = 0; least < MODELS; least++) {
		struct card *c = card_new();

		c->config.models[least].priority = 50;
		start(c);
		for (uint32_t i = 0; i < MODELS; i++)
			load(c, i, i == least ? 0.9 : 0.25);
		steps(c, 20);
		assert_disjoint_or_none(c);
		assert_reason(c->decision.models[least].reason, GOVERNOR_REASON_GIVES_WAY);
		for (uint32_t i = 0; i < MODELS; i++)
			if (i != least)
				assert_true(c->decision.models[i].tail_ns <=
					    (double)c->menus[i]->slo_ns);
		card_end(c);
	}
}

static void test_a_cap_is_kept_by_plan_and_by_boosts(void **state)
{
	struct card *c = card_new();
	double free_w;

	(void)state;
	load(c, 0, 0.3);
	load(c, 1, 0.3);
	steps(c, 20);
	free_w = c->decision.predicted_power_w;
	c->config.power_cap_uw = (uint64_t)(0.8 * free_w * (double)UW_PER_W);
	start(c);
	steps(c, 20);
	assert_true(c->decision.predicted_power_w <= 0.8 * free_w);
	c->input.models[0].oldest_age_ns = c->menus[0]->slo_ns;
	step(c);
	assert_true(c->decision.predicted_power_w <= 0.8 * free_w);
	card_end(c);
}

/* At constant load with the noise of arrivals. Poisson, by its normal limit. */
static uint64_t draw(double mean, uint64_t *seed)
{
	double normal = sqrt(-2 * log(bench_uniform(seed))) * cos(2 * M_PI * bench_uniform(seed));

	return (uint64_t)fmax(0, mean + sqrt(mean) * normal + 0.5);
}

static void test_constant_load_settles(void **state)
{
	struct card *c = card_new(), *again = card_new();
	uint64_t seed = 7;
	unsigned int changes = 0;

	(void)state;
	for (unsigned int i = 0; i < 1320; i++) {
		for (uint32_t m = 0; m < MODELS; m++) {
			load(c, m, 0.12);
			c->input.models[m].arrivals =
				draw(0.12 * c->menus[m]->rated_rps / 2, &seed);
		}
		memcpy(again->input.models, c->input.models, sizeof(c->input.models));
		step(c);
		step(again);
		assert_memory_equal(&c->decision, &again->decision, sizeof(c->decision));
		changes += i >= 120 && c->decision.changed;
	}
	print_message("%u changes in 600 s\n", changes);
	assert_true(changes <= 40);
	card_end(c);
	card_end(again);
}

static void test_a_reload_keeps_what_was_held(void **state)
{
	struct card *c = card_new(), *next = card_new();

	(void)state;
	load(c, 0, 0.3);
	load(c, 1, 0.1);
	steps(c, 60);
	load(c, 0, 0.1);
	step(c);
	governor_inherit(next->governor, c->governor);
	next->input = c->input;
	step(c);
	step(next);
	assert_int_equal(next->decision.models[0].row, c->decision.models[0].row);
	assert_int_equal(next->decision.max_mhz, c->decision.max_mhz);
	card_end(c);
	card_end(next);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_models_of_a_card_are_planned_for_together),
		cmocka_unit_test(test_what_cannot_be_planned_for_together_runs_at_full_speed),
		cmocka_unit_test(test_without_masks_all_cus_are_shared),
		cmocka_unit_test(test_doubt_about_one_model_is_its_rated_rate_alone),
		cmocka_unit_test(test_nobody_gives_way_to_a_guess),
		cmocka_unit_test(test_equals_share_the_card_where_there_is_too_much_load),
		cmocka_unit_test(test_no_boost_where_none_is_wanted),
		cmocka_unit_test(test_danger_raises_the_clock_for_all_and_leaves_the_masks),
		cmocka_unit_test(test_a_boost_ends_when_nothing_waits_any_more),
		cmocka_unit_test(test_danger_looks_at_the_service_time_observed),
		cmocka_unit_test(test_the_least_important_model_gives_way),
		cmocka_unit_test(test_a_cap_is_kept_by_plan_and_by_boosts),
		cmocka_unit_test(test_constant_load_settles),
		cmocka_unit_test(test_a_reload_keeps_what_was_held),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
