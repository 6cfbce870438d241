/* SPDX-License-Identifier: Apache-2.0 */
/* Several models on one card: evaluations of short runs, and whether an exhaustive search finds
 * what is best when its choices are run. */
#include "evaluation-fixture.h"
#include "replay/mix-internal.h"
#include <errno.h>

#define SEED UINT64_C(7)
#define SEC  (1000 * MS)
#define MS   UINT64_C(1000000)

/* Few rates for the search to look at. */
static struct load_point steps[] = {{0, 0.3},  {30, 0.3}, {31, 0.9},
				    {40, 0.9}, {41, 0.5}, {EVALUATION_S, 0.5}};
static struct load_curve curve = {.n = ARRAY_SIZE(steps), .points = steps};
static struct trace trace = {.format = TRACE_RATE, .curve = &curve, .duration_s = EVALUATION_S};

static const struct mix both = {.n = 2, .models = {0, 1}};

static struct evaluation_options options_of(enum plant_gating gating)
{
	struct evaluation_options o = evaluation_options(gating);

	o.trace = &trace;
	o.n_models = 2;
	o.surfaces[0] = evaluated.resnet_quick;
	o.surfaces[1] = evaluated.vgg_quick;
	o.service_cards = 2;
	return o;
}

static struct mix_evaluation *evaluate_both(const struct evaluation_options *o)
{
	struct evaluation_error error;
	struct mix_evaluation *e = NULL;

	if (mix_evaluate(o, &both, 1, &e, &error) < 0)
		fail_msg("%s", error.text);
	return e;
}

static void test_a_mix_has_all_policies_on_the_same_requests(void **state)
{
	struct evaluation_options o = options_of(PLANT_GATING_CU);
	_cleanup_(mix_evaluation_freep) struct mix_evaluation *e = evaluate_both(&o), *other = NULL;
	const struct mix_figures *f = e->figures[0];

	(void)state;
	assert_true(f[MIX_AUTO].power_vs_auto == 1 && f[MIX_MAXIMUM].power_vs_maximum == 1);
	for (int p = 0; p < MIX_POLICIES; p++)
		for (uint32_t i = 0; i < both.n; i++) {
			assert_true(f[p].models[i].requests == f[MIX_AUTO].models[i].requests);
			assert_true(f[p].models[i].requests > 100);
			assert_true(f[p].models[i].starved_ms > 0);
		}
	assert_true(f[MIX_MAXIMUM].excess_late_pct == 0);
	assert_true(f[MIX_EXHAUSTIVE].excess_late_pct <= f[MIX_COFRIS].excess_late_pct + 0.2);
	/* More choices are no worse, but for what the search's estimates leave open. */
	assert_true(f[MIX_EXHAUSTIVE].energy_j < 1.01 * f[MIX_MASKS].energy_j);
	assert_true(f[MIX_EXHAUSTIVE].power_vs_auto < 1);
	assert_true(f[MIX_COFRIS].vs_exhaustive > 0.9 && isnan(f[MIX_AUTO].vs_exhaustive));

	/* Threads change nothing. */
	o.threads = 3;
	other = evaluate_both(&o);
	assert_memory_equal(f, other->figures[0], sizeof(other->figures[0]));
}

static void test_what_is_no_mix_is_refused(void **state)
{
	struct evaluation_options o = options_of(PLANT_GATING_NONE);
	struct mix_evaluation *e = NULL;
	struct evaluation_error error;
	struct trace absolute = trace;
	struct mix mix = both;

	(void)state;
	mix.n = 1;
	assert_int_equal(mix_evaluate(&o, &mix, 1, &e, &error), -EINVAL);
	mix.n = MIX_MAX_MODELS + 1;
	assert_int_equal(mix_evaluate(&o, &mix, 1, &e, &error), -EINVAL);
	mix = both;
	mix.models[1] = 2;
	assert_int_equal(mix_evaluate(&o, &mix, 1, &e, &error), -EINVAL);
	absolute.absolute = true;
	o.trace = &absolute;
	assert_int_equal(mix_evaluate(&o, &both, 1, &e, &error), -EINVAL);
	o = options_of(PLANT_GATING_NONE);
	o.cap_w = 100;
	assert_int_equal(mix_evaluate(&o, &both, 1, &e, &error), -EINVAL);
	assert_string_equal(error.text, "a mix is evaluated by sojourns, and without a power cap");
	assert_null(e);
}

/* ---- the search, against runs of what else there is ---- */

struct bench {
	struct truth truth;
	struct costs *costs[2];
	uint64_t slo_ns[2];
	uint64_t *arrival_ns[2];
	uint32_t n_arrivals[2];
};

static void bench_init(struct bench *b, enum plant_gating gating, const double *rate_rps)
{
	const struct plant_model *const models[] = {evaluated.resnet, evaluated.vgg};
	const struct costs_options batches = {.n_batches = 1, .batches = {1}};
	const struct truth_options t = {.gating = gating,
					.switch_ms = -1,
					.dpm_ramp_ms = -1,
					.idle_active_share = -1};

	assert_int_equal(truth_bench(evaluated.device, &t, &b->truth), 0);
	for (uint32_t i = 0; i < 2; i++) {
		int all;
		double t_ns = 0;

		assert_int_equal(costs_new(&b->truth, models[i], &batches, &b->costs[i]), 0);
		all = costs_shape_index(b->costs[i], (struct cu_shape){0, 0});
		b->slo_ns[i] = (uint64_t)(6 * costs_get(b->costs[i], 8, (uint32_t)all, 1).ns);
		b->arrival_ns[i] = calloc(10000, sizeof(uint64_t));
		b->n_arrivals[i] = 0;
		while (b->n_arrivals[i] < 10000) {
			t_ns += plant_exponential(SEED + i, b->n_arrivals[i]) * 1e9 / rate_rps[i];
			if (t_ns >= 30e9)
				break;
			b->arrival_ns[i][b->n_arrivals[i]++] = (uint64_t)t_ns;
		}
	}
}

static void bench_done(struct bench *b)
{
	for (uint32_t i = 0; i < 2; i++) {
		(void)costs_free(b->costs[i]);
		free(b->arrival_ns[i]);
	}
}

/* Power and mean lateness of one configuration all the time. */
static void run(const struct bench *b, const struct configuration *c, double *ret_w,
		double *ret_late)
{
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	const struct simulation_load other = {
		.costs = b->costs[1],
		.arrival_ns = b->arrival_ns[1],
		.n_arrivals = b->n_arrivals[1],
		.workers = 1,
		.slo_ns = b->slo_ns[1],
		.seed = SEED + 1,
	};
	const struct simulation_options o = {
		.truth = &b->truth,
		.costs = b->costs[0],
		.others = &other,
		.n_others = 1,
		.schedule = c,
		.n_schedule = 1,
		.arrival_ns = b->arrival_ns[0],
		.n_arrivals = b->n_arrivals[0],
		.duration_ns = 30 * SEC,
		.poll_ns = 500 * MS,
		.drain_limit_ns = 60 * SEC,
		.workers = 1,
		.slo_ns = b->slo_ns[0],
		.seed = SEED,
	};
	struct simulation_result results[2] = {0};

	assert_int_equal(simulation_new(&o, &s), 0);
	assert_int_equal(simulation_finish(s, simulation_run(s), results), 0);
	*ret_w = results[0].energy_j / results[0].length_s;
	*ret_late = 0;
	for (uint32_t i = 0; i < 2; i++) {
		*ret_late += 0.5 * (double)results[i].late / MAX(results[i].n, 1u);
		simulation_result_done(&results[i]);
	}
}

static void find(const struct bench *b, const double *rate_rps, enum mix_scope scope,
		 struct configuration *ret)
{
	const struct mix_search_options o = {
		.truth = &b->truth,
		.n_models = 2,
		.costs = {b->costs[0], b->costs[1]},
		.slo_ns = {b->slo_ns[0], b->slo_ns[1]},
		.request_j = {1, 1},
		.rate_rps = {&rate_rps[0], &rate_rps[1]},
		.n_ticks = 1,
		.batch = 1,
		.seed = SEED,
	};
	_cleanup_(mix_search_freep) struct mix_search *s = NULL;

	assert_int_equal(mix_search_new(&o, &s), 0);
	/* Lateness hardly may be. */
	mix_search_schedule(s, scope, MIX_WEIGHTS - 8, ret);
}

/* Every few of all clocks with all packings. */
static void assert_none_is_better(const struct bench *b, double found_w, double found_late)
{
	const struct cu_topology *t = &b->truth.device.topology;
	const struct cu_shape *shapes;
	uint32_t n_shapes, tried = 0, number = 0;

	shapes = costs_shapes(b->costs[0], &n_shapes);
	for (uint16_t level = 0; level < b->truth.device.n_levels; level++)
		for (uint16_t i = 0; i < n_shapes; i++)
			for (uint16_t j = 0; j < n_shapes; j++) {
				const struct configuration c[2] = {{level, i, 1}, {level, j, 1}};
				struct cu_shape wanted[2] = {shapes[i], shapes[j]};
				struct cu_mask masks[2];
				double power_w, late;

				if (number++ % 151 ||
				    cu_masks_pack(t, wanted, 2, /* first_se= */ 0, masks) < 0)
					continue;
				run(b, c, &power_w, &late);
				tried++;
				if (power_w < 0.985 * found_w && late <= found_late)
					fail_msg("level %u, shapes %u and %u take %.2f W at %.3f "
						 "%% late, found %.2f W at %.3f %%",
						 level, i, j, power_w, 100 * late, found_w,
						 100 * found_late);
			}
	assert_true(tried > 10);
}

static void test_finds_what_no_other_packing_beats(void **state)
{
	static const enum plant_gating gatings[] = {PLANT_GATING_NONE, PLANT_GATING_CU};

	(void)state;
	for (size_t g = 0; g < ARRAY_SIZE(gatings); g++) {
		const double rate_rps[2] = {20, 14};
		struct configuration c[2];
		double power_w, late;
		struct bench b;

		bench_init(&b, gatings[g], rate_rps);
		find(&b, rate_rps, MIX_PACKINGS, c);
		run(&b, c, &power_w, &late);
		print_message("masks: level %u, shapes %u and %u, %.2f W, %.3f %% late\n",
			      c[0].level, c[0].shape, c[1].shape, power_w, 100 * late);
		assert_none_is_better(&b, power_w, late);
		find(&b, rate_rps, MIX_ALL, c);
		run(&b, c, &power_w, &late);
		print_message("all: level %u, shapes %u and %u, %.2f W, %.3f %% late\n", c[0].level,
			      c[0].shape, c[1].shape, power_w, 100 * late);
		assert_none_is_better(&b, power_w, late);
		bench_done(&b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_mix_has_all_policies_on_the_same_requests),
		cmocka_unit_test(test_what_is_no_mix_is_refused),
		cmocka_unit_test(test_finds_what_no_other_packing_beats),
	};

	return cmocka_run_group_tests(tests, evaluation_load, evaluation_unload);
}
