/* SPDX-License-Identifier: Apache-2.0 */
/* The published controllers that order a clock level or a batch of their own: how they answer to
 * steps in closed loop, their defects as published, and what holds for them as for every policy. */
#include "governor-bench.h"
#include "governor/policy.h"
#include "support/cmocka-includes.h"
#include <stdio.h>

#define TOP   (BENCH_LEVELS - 1)
#define FIRST 4 /* the level of the 7th's rank of 13 */
#define SEED  20210118

static struct bench *bench_of(const char *policy, double rate_rps)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	assert_int_equal(bench_init(b, 100, SEED, rate_rps), 0);
	governor_free(b->governor);
	b->config.models[0].policy = policy;
	b->config.models[0].max_batch = 256;
	b->queue.wants_p95 = true;
	assert_int_equal(governor_new(&b->config, &b->governor), 0);
	b->input.models[0] = (struct governor_model_input){.state = GOVERNOR_INPUT_OK,
							   .workers = 1,
							   .whole_interval = true,
							   .mask_follows = true,
							   .batch_follows = true,
							   .acknowledged = true};
	return b;
}

static void bench_end(struct bench *b)
{
	governor_free(b->governor);
	free(b);
}

/* A step with the input as it stands: no queue. */
static void step(struct bench *b)
{
	b->input.now_ns += b->config.poll_ns;
	b->input.interval_ns = b->config.poll_ns;
	governor_step(b->governor, &b->input, &b->decision);
}

static uint32_t level(const struct bench *b)
{
	for (uint32_t i = 0; i < BENCH_LEVELS; i++)
		if (b->decision.max_mhz == bench_level_mhz[i])
			return i;
	fail_msg("%u MHz is no level", b->decision.max_mhz);
	return 0;
}

/* All requests of the interval took as long. */
static void responses(struct bench *b, uint64_t n, double share_of_slo)
{
	struct governor_model_input *in = &b->input.models[0];

	in->arrivals = in->completions = in->executions = n;
	in->sojourn_p95_ns = n > 0 ? (uint64_t)(share_of_slo * (double)b->table.slo_ns) : 0;
	in->sojourn_ns = n * in->sojourn_p95_ns;
}

/* ADAPter. */

static void test_adapter_begins_at_the_rank_of_7_of_13_with_its_first_step(void **state _unused_)
{
	static const uint32_t levels[][2] = {{13, 6}, {9, 4}, {2, 1}, {1, 0}, {10, 5}, {25, 12}};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		union policy_state s = {0};
		struct response_table table = {.slo_ns = NSEC_PER_SEC};
		struct governor_model_input in = {0};
		struct policy_view view = {.table = &table, .in = &in, .state = &s};
		struct policy_plan plan = {0};

		view.n_levels = levels[i][0];
		policy_adapter.plan(&view, &plan);
		assert_true(plan.ordered);
		assert_int_equal(plan.level, levels[i][0] - 1);
		view.now_ns = 10 * NSEC_PER_SEC - 1;
		policy_adapter.plan(&view, &plan);
		assert_int_equal(plan.level, levels[i][0] - 1);
		/* Nothing has ended, so nothing is known, and the step goes nowhere. */
		view.now_ns++;
		policy_adapter.plan(&view, &plan);
		assert_int_equal(plan.level, levels[i][1]);
	}
}

static void test_adapters_average_is_that_of_single_responses(void **state _unused_)
{
	struct response_table table = {.slo_ns = 20 * NSEC_PER_MSEC};
	struct governor_model_input in = {0};
	union policy_state s = {0};
	struct policy_view view = {.table = &table, .in = &in, .n_levels = 9, .state = &s};
	uint64_t seed = SEED;
	double ema_ns = 0;

	for (unsigned int i = 0; i < 200; i++) {
		struct policy_plan plan = {0};
		uint64_t n = (uint64_t)(60 * bench_uniform(&seed));
		uint64_t latency_ns = (uint64_t)(40e6 * bench_uniform(&seed)) + 1;

		in.completions = n;
		in.sojourn_ns = n * latency_ns;
		for (uint64_t k = 0; k < n; k++)
			ema_ns = 0.1 * ((double)latency_ns - 20e6) + 0.9 * ema_ns;
		policy_adapter.plan(&view, &plan);
		assert_true(fabs(s.adapter.ema_ns - ema_ns) < 1);
	}
	/* A sum that is not known says nothing. */
	in.completions = 10;
	in.sojourn_ns = 0;
	policy_adapter.plan(&view, &(struct policy_plan){0});
	assert_true(fabs(s.adapter.ema_ns - ema_ns) < 1);
}

/* Latency falls from level to level and crosses the SLO above level k. */
static void run_adapter(struct bench *b, uint32_t k, unsigned int seconds)
{
	for (unsigned int i = 0; i < 2 * seconds; i++) {
		responses(b, 20, 1 + 0.05 * ((double)k + 0.5 - (double)level(b)));
		step(b);
	}
}

static void test_adapter_goes_to_and_fro_around_mean_latency_equal_to_the_slo(void **state _unused_)
{
	for (uint32_t k = 0; k + 1 < BENCH_LEVELS; k++) {
		struct bench *b = bench_of("adapter", 0);
		uint32_t low = 0;

		responses(b, 0, 0);
		step(b);
		assert_int_equal(level(b), TOP);
		run_adapter(b, k, 10);
		assert_true(level(b) <= FIRST + 1 && level(b) + 1 >= FIRST);
		run_adapter(b, k, 80);
		for (unsigned int i = 0; i < 20; i++) {
			uint32_t before = level(b);

			assert_true(before == k || before == k + 1);
			run_adapter(b, k, 10);
			assert_int_equal(level(b), before == k ? k + 1 : k);
			low += level(b) == k;
		}
		assert_int_equal(low, 10);
		assert_true(isnan(b->decision.models[0].tail_ns));
		bench_end(b);
	}
}

static void test_adapter_takes_one_level_each_10_s(void **state _unused_)
{
	struct bench *b = bench_of("adapter", 0);

	responses(b, 50, 0.2);
	step(b);
	for (uint32_t i = 1; i <= 10; i++) {
		for (unsigned int k = 0; k < 19; k++) {
			uint32_t before = level(b);

			step(b);
			assert_int_equal(level(b), before);
		}
		step(b);
		assert_int_equal(level(b), i < FIRST ? FIRST - i : 0);
	}
	/* From the bottom all the way up again: 80 s, with every request late. */
	responses(b, 50, 3);
	for (unsigned int k = 0; k < 20 * TOP; k++) {
		assert_true(level(b) < TOP);
		step(b);
	}
	assert_int_equal(level(b), TOP);
	bench_end(b);
}

static void test_without_traffic_adapter_goes_on_to_the_end_stop(void **state _unused_)
{
	static const struct {
		const char *policy;
		double share;
		uint32_t end;
	} cases[] = {
		{"adapter", 0.5, 0},
		{"adapter", 1.5, TOP},
		/* A step each second, and none without responses. */
		{"adapter-tail", 0.5, FIRST - 1},
		{"adapter-tail", 1.5, FIRST + 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench *b = bench_of(cases[i].policy, 0);

		responses(b, 0, 0);
		step(b);
		responses(b, 5, cases[i].share);
		step(b);
		responses(b, 0, 0);
		for (unsigned int k = 0; k < 240; k++)
			step(b);
		assert_int_equal(level(b), cases[i].end);
		bench_end(b);
	}
}

static void test_in_a_queue_adapter_lets_the_mean_grow_to_the_slo(void **state _unused_)
{
	struct bench *b = bench_of("adapter", 62);
	double sojourn_ns = 0, completions = 0, late = 0;
	uint32_t visits[BENCH_LEVELS] = {0};

	for (unsigned int i = 0; i < 4 * 3600; i++) {
		bench_step(b);
		if (i < 400)
			continue;
		sojourn_ns += (double)b->input.models[0].sojourn_ns;
		completions += (double)b->input.models[0].completions;
		late += (double)b->input.models[0].late;
		visits[level(b)]++;
	}
	print_message("adapter in a queue: mean %.2f SLO, %.1f %% late\n",
		      sojourn_ns / completions / (double)b->table.slo_ns, 100 * late / completions);
	assert_in_range((uint64_t)(100 * sojourn_ns / completions / (double)b->table.slo_ns), 50,
			200);
	/* More than the 5 % that an objective of p95 allows, by far. */
	assert_true(late / completions > 0.10);
	assert_true(visits[0] > 0 && visits[1] > 0 && visits[TOP] < 700);
	bench_end(b);
}

static void test_adapter_tail_keeps_to_its_band(void **state _unused_)
{
	static const struct {
		double share[2]; /* of the two intervals since the last step */
		int step;
	} cases[] = {
		{{0.74, 0.74}, -1}, {{0.76, 0.76}, 0}, {{0.94, 0.94}, 0}, {{0.96, 0.96}, 1},
		{{0.5, 0.8}, 0},    {{0.8, 0.5}, 0},   {{1.2, 0.1}, 1},	  {{0.1, 1.2}, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench *b = bench_of("adapter-tail", 0);

		responses(b, 20, 0.85);
		step(b);
		step(b);
		step(b);
		assert_int_equal(level(b), FIRST);
		for (int k = 1; k <= 3; k++) {
			responses(b, 20, cases[i].share[0]);
			step(b);
			assert_int_equal((int)level(b), FIRST + (k - 1) * cases[i].step);
			responses(b, 20, cases[i].share[1]);
			step(b);
			assert_int_equal((int)level(b), FIRST + k * cases[i].step);
		}
		bench_end(b);
	}
}

static void test_in_a_queue_adapter_tail_is_late_less_often(void **state _unused_)
{
	static const char *const policies[] = {"adapter", "adapter-tail"};
	double late[2];

	for (size_t i = 0; i < 2; i++) {
		struct bench *b = bench_of(policies[i], 62);

		for (unsigned int k = 0; k < 3600; k++)
			bench_step(b);
		late[i] = (double)b->queue.total_late / (double)b->queue.total;
		print_message("%s: %.1f %% late\n", policies[i], 100 * late[i]);
		bench_end(b);
	}
	assert_true(late[1] < late[0] / 2);
}

/* BatchSizer. */

#define CAP_W 200

static struct bench *bench_of_batches(const char *policy)
{
	struct bench *b = bench_of(policy, 0);

	governor_free(b->governor);
	b->config.power_cap_uw = CAP_W * UW_PER_W;
	assert_int_equal(governor_new(&b->config, &b->governor), 0);
	b->input.models[0].batch_follows = true;
	return b;
}

static unsigned int number_of(uint32_t batch)
{
	unsigned int n = 0;

	while (n < 31 && 1u << n < batch)
		n++;
	assert_int_equal(1u << n, batch);
	return n;
}

/* One interval of a card that always has a full batch to take and draws power_w[size]. */
static uint32_t serve(struct bench *b, const double *power_w, uint64_t batches)
{
	uint32_t batch = b->decision.models[0].max_batch;

	b->input.models[0].executions = batches;
	b->input.power_max_uw =
		(uint64_t)(power_w[batch > 0 ? number_of(batch) : 0] * (double)UW_PER_W);
	step(b);
	return b->decision.models[0].max_batch;
}

/* The sizes in order, each once for as long as it lasts. */
static size_t sizes_of(struct bench *b, const double *power_w, unsigned int steps, uint32_t ret[32])
{
	size_t n = 0;

	for (unsigned int i = 0; i < steps; i++) {
		uint32_t batch = serve(b, power_w, 12);

		if (n == 0 || ret[n - 1] != batch) {
			assert_true(n < 32);
			ret[n++] = batch;
		}
	}
	return n;
}

static const double light_w[9] = {90, 91, 92, 93, 94, 95, 96, 97, 98};
static const double rising_w[9] = {60, 80, 100, 120, 140, 165, 210, 230, 250};
/* No size between 160 and 200 W: 32 takes too little, 64 too much. */
static const double gap_w[9] = {60, 70, 80, 90, 100, 120, 210, 230, 250};
static const double heavy_w[9] = {205, 210, 215, 220, 225, 230, 235, 240, 250};

static void test_with_room_batchsizer_climbs_in_four_steps(void **state _unused_)
{
	static const char *const policies[] = {"batchsizer", "batchsizer-fixed"};
	static const uint32_t expected[] = {1, 16, 64, 128, 256};

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct bench *b = bench_of_batches(policies[i]);
		uint32_t sizes[32];

		assert_int_equal(sizes_of(b, light_w, 100, sizes), ARRAY_SIZE(expected));
		assert_memory_equal(sizes, expected, sizeof(expected));
		assert_int_equal(b->decision.max_mhz, 1725);
		assert_int_equal(b->decision.models[0].shape.n_se, 0);
		assert_int_equal(b->decision.reason, GOVERNOR_REASON_POLICY);
		bench_end(b);
	}
}

static void test_a_decision_takes_ten_batches(void **state _unused_)
{
	struct bench *b = bench_of_batches("batchsizer");

	assert_int_equal(serve(b, light_w, 5), 1);
	assert_int_equal(serve(b, light_w, 9), 1);
	assert_int_equal(serve(b, light_w, 0), 1);
	assert_int_equal(serve(b, light_w, 1), 16);
	/* A reading that is not known is none. */
	b->input.power_max_uw = 0;
	b->input.models[0].executions = 100;
	step(b);
	assert_int_equal(b->decision.models[0].max_batch, 16);
	bench_end(b);

	/* The first interval of a size may have seen the one before. */
	b = bench_of_batches("batchsizer-fixed");
	assert_int_equal(serve(b, light_w, 9), 1);
	assert_int_equal(serve(b, light_w, 9), 1);
	assert_int_equal(serve(b, light_w, 1), 16);
	assert_int_equal(serve(b, heavy_w, 100), 16);
	assert_int_equal(serve(b, light_w, 10), 64);
	bench_end(b);
}

static void test_one_violation_takes_batchsizer_to_size_1_for_ever(void **state _unused_)
{
	struct bench *b = bench_of_batches("batchsizer");
	uint32_t sizes[32];
	size_t n = sizes_of(b, rising_w, 60, sizes);

	/* 64 violates, and what comes after is judged by that. */
	assert_int_equal(sizes[n - 1], 1);
	n = sizes_of(b, light_w, 1000, sizes);
	assert_int_equal(n, 1);
	assert_int_equal(sizes[0], 1);
	bench_end(b);

	b = bench_of_batches("batchsizer-fixed");
	(void)sizes_of(b, rising_w, 60, sizes);
	assert_int_equal(b->decision.models[0].max_batch, 32);
	(void)sizes_of(b, light_w, 1000, sizes);
	assert_int_equal(b->decision.models[0].max_batch, 256);
	bench_end(b);
}

static void test_a_violation_at_size_1_is_the_end_as_published(void **state _unused_)
{
	static const char *const policies[] = {"batchsizer", "batchsizer-fixed"};
	static const uint32_t expected[] = {1, 256};

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct bench *b = bench_of_batches(policies[i]);
		uint32_t sizes[32];

		assert_int_equal(sizes_of(b, heavy_w, 50, sizes), 1);
		assert_int_equal(sizes[0], 1);
		assert_int_equal(b->decision.reason,
				 i == 0 ? GOVERNOR_REASON_POLICY : GOVERNOR_REASON_POWER_CAP);
		(void)sizes_of(b, light_w, 100, sizes);
		assert_int_equal(b->decision.models[0].max_batch, expected[i]);
		assert_int_equal(b->decision.reason, GOVERNOR_REASON_POLICY);
		bench_end(b);
	}
}

/* The search alone, to repair one defect at a time. */
struct search_run {
	unsigned int violations, changes;
	uint32_t last;
};

static struct search_run search(struct batch_search *s, uint32_t repairs, const double *power_w,
				unsigned int steps)
{
	struct search_run run = {0};

	for (unsigned int i = 0; i < steps; i++) {
		uint32_t before = batch_search_size(s);
		double w = power_w[number_of(before)];

		batch_search_limit(s, repairs, batch_search_count(256), CAP_W * UW_PER_W);
		batch_search_feed(s, repairs, 10, (uint64_t)(w * (double)UW_PER_W));
		run.violations += w > CAP_W;
		run.changes += batch_search_size(s) != before;
	}
	run.last = batch_search_size(s);
	return run;
}

static void test_each_repair_takes_its_defect_away(void **state _unused_)
{
	const uint32_t all = BATCH_SEARCH_REPAIRED;
	struct batch_search s;
	struct search_run run;

	/* (1) Without forgetting, the violation on the way counts for ever. */
	s = (struct batch_search){0};
	assert_int_equal(search(&s, all, rising_w, 100).last, 32);
	s = (struct batch_search){0};
	assert_int_equal(search(&s, all & ~(uint32_t)BATCH_SEARCH_FORGET, rising_w, 100).last, 1);

	/* (4) Stuck at size 1, although its violation is long over. (5) would open the range. */
	for (unsigned int repaired = 0; repaired < 2; repaired++) {
		uint32_t repairs = BATCH_SEARCH_FORGET | BATCH_SEARCH_TABU |
				   (repaired ? BATCH_SEARCH_KEEP_RANGE : 0);

		s = (struct batch_search){0};
		assert_int_equal(search(&s, repairs, heavy_w, 30).last, 1);
		assert_int_equal(search(&s, repairs, light_w, 300).last, repaired ? 256 : 1);
	}

	/* (5) The range stays closed when the load has become lighter. */
	for (unsigned int repaired = 0; repaired < 2; repaired++) {
		uint32_t repairs = all & ~(repaired ? 0 : (uint32_t)BATCH_SEARCH_REOPEN);

		s = (struct batch_search){0};
		assert_int_equal(search(&s, repairs, gap_w, 30).last, 32);
		assert_int_equal(search(&s, repairs, light_w, 100).last, repaired ? 256 : 32);
	}

	/* (6) To and fro between a size with room and the next, which violates. */
	s = (struct batch_search){0};
	run = search(&s, all & ~(uint32_t)BATCH_SEARCH_TABU, gap_w, 1000);
	assert_true(run.violations > 400 && run.changes > 400);
	s = (struct batch_search){0};
	run = search(&s, all & ~(uint32_t)BATCH_SEARCH_REOPEN, gap_w, 1000);
	assert_true(run.violations <= 6 && run.changes <= 6);
	assert_int_equal(run.last, 32);
}

static void test_a_size_that_failed_is_tried_again_ever_more_seldom(void **state _unused_)
{
	struct batch_search s = {0};
	unsigned int violations[6];

	for (size_t i = 0; i < ARRAY_SIZE(violations); i++)
		violations[i] = search(&s, BATCH_SEARCH_REPAIRED, gap_w, 1000).violations;
	/* Of each thousand decisions: pauses of 20, 40, 80 ... 1280. */
	assert_in_range(violations[0], 4, 24);
	assert_true(violations[5] <= 4);
	assert_true(s.patience == BATCH_SEARCH_PATIENCE_MAX);
	/* It holds now: found within the longest pause, and the pauses are short again. */
	(void)search(&s, BATCH_SEARCH_REPAIRED, light_w, BATCH_SEARCH_PATIENCE_MAX + 20);
	assert_int_equal(batch_search_size(&s), 256);
	assert_int_equal(s.patience, BATCH_SEARCH_PATIENCE);
}

static void test_as_published_the_latch_hides_the_to_and_fro(void **state _unused_)
{
	struct batch_search s = {0};
	struct search_run run = search(&s, 0, gap_w, 1000);

	assert_int_equal(run.last, 1);
	assert_int_equal(run.violations, 1);
}

static void test_the_search_ends_inside_the_cap_for_any_rising_power(void **state _unused_)
{
	uint64_t seed = SEED;

	for (unsigned int i = 0; i < 2000; i++) {
		struct batch_search s = {0};
		double power_w[9], w = 20 + 150 * bench_uniform(&seed);
		uint32_t last, best = 0;

		for (unsigned int k = 0; k < 9; k++) {
			power_w[k] = w;
			if (w <= CAP_W)
				best = k;
			w += 60 * bench_uniform(&seed);
		}
		/* Without reopening, as that tries one size too many now and then. */
		last = number_of(search(&s, BATCH_SEARCH_REPAIRED & ~(uint32_t)BATCH_SEARCH_REOPEN,
					power_w, 100)
					 .last);
		assert_true(power_w[last] <= CAP_W);
		/* The largest, or one in the band. */
		assert_true(last == best || power_w[last] >= 0.8 * CAP_W);
	}
}

static void test_dvfs_searches_the_levels_at_one_batch(void **state _unused_)
{
	/* The highest level inside the cap, or one that takes 0.8 of it. */
	static const struct {
		double first_w, step_w;
		uint32_t level;
	} cases[] = {{50, 5, 8},  {60, 20, 6},	{190, 50, 0},
		     {300, 1, 0}, {100, 30, 2}, {100, 29, 3}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bench *b = bench_of_batches("dvfs");

		b->config.models[0].max_batch = 16;
		governor_free(b->governor);
		assert_int_equal(governor_new(&b->config, &b->governor), 0);
		for (unsigned int k = 0; k < 40; k++) {
			double w = cases[i].first_w + cases[i].step_w * (k > 0 ? level(b) : 0);

			b->input.models[0].executions = 12;
			b->input.power_max_uw = (uint64_t)(w * (double)UW_PER_W);
			step(b);
			assert_int_equal(b->decision.models[0].max_batch, 16);
			if (k == 0)
				assert_int_equal(level(b), 0);
		}
		assert_int_equal(level(b), cases[i].level);
		bench_end(b);
	}
}

static void reload(struct bench *b, uint64_t cap_w, const char *policy)
{
	struct governor *g = NULL;

	b->config.power_cap_uw = cap_w * UW_PER_W;
	b->config.models[0].policy = policy;
	assert_int_equal(governor_new(&b->config, &g), 0);
	governor_inherit(g, b->governor);
	governor_free(b->governor);
	b->governor = g;
}

static void test_a_reload_keeps_the_state_of_the_same_policy(void **state _unused_)
{
	struct bench *b = bench_of_batches("batchsizer-fixed");
	uint32_t sizes[32];

	(void)sizes_of(b, gap_w, 20, sizes);
	assert_int_equal(b->decision.models[0].max_batch, 32);
	reload(b, CAP_W, "batchsizer-fixed");
	assert_int_equal(serve(b, gap_w, 12), 32);
	/* A higher cap is an open range. */
	reload(b, 300, "batchsizer-fixed");
	(void)sizes_of(b, gap_w, 20, sizes);
	assert_int_equal(b->decision.models[0].max_batch, 256);
	/* Fewer sizes. */
	b->config.models[0].max_batch = 20;
	reload(b, 300, "batchsizer-fixed");
	assert_int_equal(serve(b, gap_w, 12), 16);
	/* Another policy begins anew. */
	reload(b, 300, "adapter");
	responses(b, 20, 2);
	step(b);
	assert_int_equal(level(b), TOP);
	assert_int_equal(b->decision.models[0].max_batch, 1);
	reload(b, CAP_W, "batchsizer-fixed");
	assert_int_equal(serve(b, light_w, 0), 1);
	bench_end(b);
}

static void test_without_cap_sizes_or_followers_the_batch_is_the_baselines(void **state _unused_)
{
	static const char *const policies[] = {"batchsizer", "batchsizer-fixed"};
	uint32_t sizes[32];

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct bench *b = bench_of(policies[i], 0);

		assert_int_equal(sizes_of(b, light_w, 50, sizes), 1);
		assert_int_equal(sizes[0], 1);
		assert_int_equal(b->decision.models[0].row, UINT32_MAX);
		bench_end(b);
		b = bench_of_batches(policies[i]);
		b->config.models[0].max_batch = 0;
		reload(b, CAP_W, policies[i]);
		assert_int_equal(sizes_of(b, light_w, 50, sizes), 1);
		assert_int_equal(sizes[0], 1);
		bench_end(b);
		b = bench_of_batches(policies[i]);
		b->input.models[0].batch_follows = false;
		assert_int_equal(sizes_of(b, light_w, 50, sizes), 1);
		assert_int_equal(sizes[0], 0);
		bench_end(b);
	}
}

/* What holds for every policy. */

static const char *const orderers[] = {"adapter", "adapter-tail", "batchsizer", "batchsizer-fixed",
				       "dvfs"};
/* All but the last begin at full speed with the baseline's batch. */
#define N_FROM_BASELINE (ARRAY_SIZE(orderers) - 1)

/* At the lowest level, or at the largest batch. */
static struct bench *bench_far_from_baseline(const char *policy)
{
	struct bench *b = bench_of(policy, 0);

	b->config.power_cap_uw = policy_find(policy)->batches ? CAP_W * UW_PER_W : 0;
	reload(b, b->config.power_cap_uw / UW_PER_W, policy);
	for (unsigned int i = 0; i < 240; i++) {
		responses(b, 20, 0.1);
		b->input.power_max_uw = 50 * UW_PER_W;
		step(b);
	}
	if (policy_find(policy)->batches)
		assert_int_equal(b->decision.models[0].max_batch, 256);
	else
		assert_int_equal(level(b), 0);
	return b;
}

static void test_doubt_is_the_baseline_and_not_learnt_from(void **state _unused_)
{
	static const struct {
		enum governor_input_state state;
		bool whole;
		uint32_t flag;
		enum governor_reason reason;
	} cases[] = {
		{GOVERNOR_INPUT_MISSING, true, 0, GOVERNOR_REASON_MISSING_INPUT},
		{GOVERNOR_INPUT_OK, false, 0, GOVERNOR_REASON_FIRST_INTERVAL},
		{GOVERNOR_INPUT_OK, true, GOVERNOR_CARD_HOLD_FULL, GOVERNOR_REASON_HOLD},
		{GOVERNOR_INPUT_OK, true, GOVERNOR_CARD_SENSORS_LOST, GOVERNOR_REASON_SENSORS_LOST},
		{GOVERNOR_INPUT_OK, true, GOVERNOR_CARD_FOREIGN_LOAD, GOVERNOR_REASON_FOREIGN_LOAD},
	};

	for (size_t i = 0; i < ARRAY_SIZE(orderers) * ARRAY_SIZE(cases); i++) {
		struct bench *b = bench_far_from_baseline(orderers[i / ARRAY_SIZE(cases)]);
		uint32_t batch = b->decision.models[0].max_batch;
		size_t k = i % ARRAY_SIZE(cases);

		b->input.models[0].state = cases[k].state;
		b->input.models[0].whole_interval = cases[k].whole;
		b->input.flags = cases[k].flag;
		/* The largest batch would be far outside the cap, the lowest level far too slow. */
		b->input.power_max_uw = 400 * UW_PER_W;
		step(b);
		assert_int_equal(b->decision.reason, cases[k].reason);
		assert_int_equal(b->decision.models[0].reason, cases[k].reason);
		assert_int_equal(b->decision.models[0].max_batch, 1);
		if (batch == 1)
			assert_int_equal(level(b), TOP);
		/* What was measured under it is not the order's. */
		b->input.models[0].state = GOVERNOR_INPUT_OK;
		b->input.models[0].whole_interval = true;
		b->input.flags = 0;
		step(b);
		assert_int_equal(b->decision.models[0].max_batch, batch);
		bench_end(b);
	}
}

static void test_a_cap_bounds_the_level_that_adapter_orders(void **state _unused_)
{
	static const char *const policies[] = {"adapter", "adapter-tail"};

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		struct bench *b = bench_of(policies[i], 0);
		uint32_t limit;

		b->config.models[0].policy = "maximum";
		reload(b, 110, "maximum");
		step(b);
		limit = level(b);
		assert_true(limit > 0 && limit < TOP);
		reload(b, 110, policies[i]);
		for (unsigned int k = 0; k < 240; k++) {
			responses(b, 20, k < 120 ? 3 : 0.1);
			step(b);
			assert_true(level(b) <= limit);
			assert_int_equal(b->decision.power_cap_uw, 110 * UW_PER_W);
			if (k == 119) {
				assert_int_equal(level(b), limit);
				assert_int_equal(b->decision.reason, GOVERNOR_REASON_POWER_CAP);
			}
		}
		assert_int_equal(b->decision.reason, GOVERNOR_REASON_POLICY);
		bench_end(b);
	}
}

static void test_throttling_lowers_what_is_ordered(void **state _unused_)
{
	for (size_t i = 0; i < N_FROM_BASELINE; i++) {
		struct bench *b = bench_of(orderers[i], 0);

		reload(b, policy_find(orderers[i])->batches ? CAP_W : 0, orderers[i]);
		step(b);
		assert_int_equal(level(b), TOP);
		b->input.flags = GOVERNOR_CARD_THROTTLED;
		b->input.models[0].executions = 10;
		b->input.models[0].busy_ns = 70 * NSEC_PER_MSEC;
		step(b);
		assert_int_equal(level(b), TOP - 1);
		assert_int_equal(b->decision.reason, GOVERNOR_REASON_THROTTLED);
		bench_end(b);
	}
}

static void test_workers_that_left_take_the_state_with_them(void **state _unused_)
{
	for (size_t i = 0; i < N_FROM_BASELINE; i++) {
		struct bench *b = bench_far_from_baseline(orderers[i]);

		b->input.models[0].state = GOVERNOR_NO_WORKER;
		step(b);
		assert_int_equal(b->decision.action, GOVERNOR_RELEASE);
		b->input.models[0].state = GOVERNOR_INPUT_OK;
		step(b);
		assert_int_equal(b->decision.max_mhz, 1725);
		assert_int_equal(b->decision.models[0].max_batch, 1);
		bench_end(b);
	}
}

static void test_adapter_needs_the_slo_of_a_table(void **state _unused_)
{
	for (size_t i = 0; i < N_FROM_BASELINE; i++) {
		struct bench *b = bench_of(orderers[i], 0);
		bool needs = policy_find(orderers[i])->needs_table;

		assert_int_equal(needs, i < 2);
		b->config.models[0].table = NULL;
		reload(b, CAP_W, orderers[i]);
		step(b);
		assert_int_equal(b->decision.max_mhz, 1725);
		assert_int_equal(b->decision.reason,
				 needs ? GOVERNOR_REASON_NO_TABLE : GOVERNOR_REASON_POLICY);
		bench_end(b);
	}
}

static uint64_t any_number(uint64_t *seed)
{
	double u = bench_uniform(seed);

	return u < 0.1 ? UINT64_MAX : u < 0.2 ? 0 : (uint64_t)(1e10 * bench_uniform(seed));
}

static void any_input(struct governor_input *in, uint64_t *seed)
{
	struct governor_model_input *m = &in->models[0];

	m->state = bench_uniform(seed) < 0.9 ? GOVERNOR_INPUT_OK : GOVERNOR_INPUT_MISSING;
	m->completions = any_number(seed);
	m->executions = any_number(seed);
	m->sojourn_ns = any_number(seed);
	m->sojourn_p95_ns = any_number(seed);
	m->acknowledged = bench_uniform(seed) < 0.9;
	m->batch_follows = bench_uniform(seed) < 0.9;
	in->power_max_uw = any_number(seed) / 30;
	in->flags = bench_uniform(seed) < 0.1 ? (uint32_t)(256 * bench_uniform(seed)) : 0;
	in->now_ns += any_number(seed) / 10;
	in->interval_ns = NSEC_PER_SEC;
}

static void test_any_input_gives_a_level_and_a_size_that_exist(void **state _unused_)
{
	uint64_t seed = SEED;

	for (size_t i = 0; i < ARRAY_SIZE(orderers); i++) {
		struct bench *a = bench_of(orderers[i], 0), *b = bench_of(orderers[i], 0);

		a->config.models[0].max_batch = b->config.models[0].max_batch =
			i < N_FROM_BASELINE ? 100 : 64;
		reload(a, CAP_W, orderers[i]);
		reload(b, CAP_W, orderers[i]);
		for (unsigned int k = 0; k < 3000; k++) {
			any_input(&a->input, &seed);
			b->input = a->input;
			governor_step(a->governor, &a->input, &a->decision);
			governor_step(b->governor, &b->input, &b->decision);
			assert_memory_equal(&a->decision, &b->decision, sizeof(a->decision));
			if (a->decision.action != GOVERNOR_SET)
				continue;
			(void)level(a);
			if (a->decision.models[0].max_batch > 0)
				assert_in_range(number_of(a->decision.models[0].max_batch), 0, 6);
			assert_true(a->input.models[0].batch_follows ||
				    a->decision.models[0].max_batch == 0);
		}
		bench_end(a);
		bench_end(b);
	}
}

static void test_the_clairvoyant_are_no_policies_of_the_governor(void **state _unused_)
{
	static const struct {
		const char *name;
		bool clairvoyant;
	} cases[] = {{"oracle", true}, {"oracle-rate", true}, {"oracle-", false}, {"auto", false}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(policy_is_clairvoyant(cases[i].name), cases[i].clairvoyant);
		assert_int_equal(policy_find(cases[i].name) != NULL,
				 strcmp(cases[i].name, "auto") == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_adapter_begins_at_the_rank_of_7_of_13_with_its_first_step),
		cmocka_unit_test(test_adapters_average_is_that_of_single_responses),
		cmocka_unit_test(test_adapter_goes_to_and_fro_around_mean_latency_equal_to_the_slo),
		cmocka_unit_test(test_adapter_takes_one_level_each_10_s),
		cmocka_unit_test(test_without_traffic_adapter_goes_on_to_the_end_stop),
		cmocka_unit_test(test_in_a_queue_adapter_lets_the_mean_grow_to_the_slo),
		cmocka_unit_test(test_adapter_tail_keeps_to_its_band),
		cmocka_unit_test(test_in_a_queue_adapter_tail_is_late_less_often),
		cmocka_unit_test(test_with_room_batchsizer_climbs_in_four_steps),
		cmocka_unit_test(test_a_decision_takes_ten_batches),
		cmocka_unit_test(test_one_violation_takes_batchsizer_to_size_1_for_ever),
		cmocka_unit_test(test_a_violation_at_size_1_is_the_end_as_published),
		cmocka_unit_test(test_each_repair_takes_its_defect_away),
		cmocka_unit_test(test_a_size_that_failed_is_tried_again_ever_more_seldom),
		cmocka_unit_test(test_as_published_the_latch_hides_the_to_and_fro),
		cmocka_unit_test(test_the_search_ends_inside_the_cap_for_any_rising_power),
		cmocka_unit_test(test_dvfs_searches_the_levels_at_one_batch),
		cmocka_unit_test(test_a_reload_keeps_the_state_of_the_same_policy),
		cmocka_unit_test(test_without_cap_sizes_or_followers_the_batch_is_the_baselines),
		cmocka_unit_test(test_doubt_is_the_baseline_and_not_learnt_from),
		cmocka_unit_test(test_a_cap_bounds_the_level_that_adapter_orders),
		cmocka_unit_test(test_throttling_lowers_what_is_ordered),
		cmocka_unit_test(test_workers_that_left_take_the_state_with_them),
		cmocka_unit_test(test_adapter_needs_the_slo_of_a_table),
		cmocka_unit_test(test_any_input_gives_a_level_and_a_size_that_exist),
		cmocka_unit_test(test_the_clairvoyant_are_no_policies_of_the_governor),
	};

	print_message("seed %d\n", SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
