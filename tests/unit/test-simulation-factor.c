/* SPDX-License-Identifier: Apache-2.0 */
/* The factor on service times on simulated cards: one that is as its profile says, and others that
 * are slower or faster. Profiles are of the bench's own sweeps, noise and all; two of them quick.
 */
#include "governor/governor.h"
#include "simulation-profile.h"

#define MINUTE		 (60 * SEC)
#define KNOWN_NS	 (120 * SEC) /* a correct table */
#define FOUND_NS	 (60 * SEC)  /* another card */
#define SETTLED_NS	 MINUTE
#define DURATION_NS	 (5 * MINUTE)
#define CHANGES_A_MINUTE 4
#define DEVIATION_MAX	 0.03

/* Of the steps of one run. */
static struct {
	uint32_t n; /* after SETTLED_NS */
	double sum, squares;
	double least, most; /* after from_ns */
	uint64_t from_ns;
	double first_planned, last_planned;
	uint32_t changes[DURATION_NS / MINUTE + 2]; /* by minute */
	struct governor_decision before;
} seen;

void __real_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);
void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);

static bool is_change(const struct governor_decision *a, const struct governor_decision *b)
{
	return a->max_mhz != b->max_mhz ||
	       !cu_shape_equal(a->models[0].shape, b->models[0].shape) ||
	       a->models[0].max_batch != b->models[0].max_batch;
}

void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret)
{
	uint64_t minute = input->now_ns / MINUTE;
	double factor;

	__real_governor_step(g, input, ret);
	factor = ret->models[0].service_factor;
	if (seen.before.number == 0)
		seen.first_planned = ret->models[0].planned_factor;
	else if (minute < ARRAY_SIZE(seen.changes) && input->now_ns < DURATION_NS)
		seen.changes[minute] += is_change(&seen.before, ret);
	seen.before = *ret;
	seen.last_planned = ret->models[0].planned_factor;
	if (input->now_ns > SETTLED_NS) {
		seen.n++;
		seen.sum += factor;
		seen.squares += factor * factor;
	}
	if (input->now_ns > seen.from_ns) {
		seen.least = fmin(seen.least, factor);
		seen.most = fmax(seen.most, factor);
	}
}

static void derive(double slo_factor)
{
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	struct surface_error error;

	o.late_cost = TABLE_LATE_COST;
	o.slo_factor = slo_factor;
	o.gating = TABLE_GATING_CU;
	assert_int_equal(response_table_derive_from(profile.tails, &o, &profile.table, &error), 0);
	assert_int_equal(response_menu_derive(profile.tails, &o, profile.table, &profile.menu,
					      &error),
			 0);
}

static void load_model(const char *name, bool quick)
{
	static const struct costs_options one = {.n_batches = 1, .batches = {1}};
	const struct truth_options t = {.gating = PLANT_GATING_CU,
					.switch_ms = -1,
					.dpm_ramp_ms = -1,
					.idle_active_share = -1};
	const struct bench_options b = {.batches = &one, .seed = 3, .quick = quick};
	struct ini_error error;
	char path[256];

	(void)snprintf(path, sizeof(path), COFRIS_SOURCE_DIR "/profiles/models/%s.ini", name);
	free(fixture.model);
	assert_int_equal(plant_model_load(path, &fixture.model, &error), 0);
	assert_int_equal(truth_bench(fixture.shipped, &t, &profile.bench), 0);
	assert_int_equal(bench_sweep(&profile.bench, fixture.model, &b, &profile.surface), 0);
	assert_int_equal(response_tails_new(profile.surface, 1, &profile.tails), 0);
}

static void forget_objective(void)
{
	free(TAKE_PTR(profile.table));
	free(TAKE_PTR(profile.menu));
}

static void forget_model(void)
{
	profile.tails = response_tails_free(profile.tails);
	profile.surface = surface_free(profile.surface);
}

/* A card that is slower times as slow as its profile, at a constant share of R. */
static void run(double slower, double load, uint64_t seed)
{
	memset(&seen, 0, sizeof(seen));
	seen.least = INFINITY;
	seen.from_ns = slower == 1 ? KNOWN_NS : FOUND_NS;
	fixture.truth = profile.bench;
	fixture.truth.card.time_factor *= slower;
	fixture.options.duration_ns = DURATION_NS;
	fixture.options.seed = seed;
	fixture_make_costs(1);
	profile_configure();
	fixture_poisson(load * profile.table->rated_rps);
	fixture_run(0);
	fixture.costs = costs_free(fixture.costs);
}

static void check(const char *name, double slower, double load)
{
	double mean = seen.sum / seen.n;
	double deviation = sqrt(fmax(seen.squares / seen.n - mean * mean, 0));
	uint32_t most = 0;

	for (uint32_t i = SETTLED_NS / MINUTE; i < DURATION_NS / MINUTE; i++)
		most = MAX(most, seen.changes[i]);
	print_message("%s, load %g, card %g: factor %.3f to %.3f, deviation %.4f, planned %.2f to "
		      "%.2f, %u changes a minute\n",
		      name, load, slower, seen.least, seen.most, deviation, seen.first_planned,
		      seen.last_planned, most);
	assert_true(seen.least > slower - 0.03 && seen.most < slower + 0.03);
	assert_true(deviation <= DEVIATION_MAX);
	assert_true(most <= CHANGES_A_MINUTE);
	/* It starts wide and becomes narrow. */
	assert_close("planned at first", seen.first_planned, 1.04, 1e-9);
	assert_close("planned at last", seen.last_planned, slower, 0.03);
}

/* Cases of one profile stand side by side, and so do those of one objective. */
static void test_a_constant_load_tells_the_card(void **state)
{
	static const struct {
		const char *name;
		bool quick;
		double slo_factor;
		struct {
			double slower, load;
		} cards[2];
	} cases[] = {
		{"resnet50", false, 2, {{1, 0.3}, {1.15, 0.6}}},
		{"resnet50", false, 1.25, {{1.15, 0.3}, {1, 0.6}}},
		{"vgg19", true, 1.5, {{1, 0.3}, {1.15, 0.3}}},
		{"vgg19", true, 2, {{1.15, 0.6}}},
		{"shufflenet", true, 1.25, {{1.15, 0.3}, {1, 0.6}}},
		{"shufflenet", true, 2, {{0.9, 0.3}}},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (i == 0 || strcmp(cases[i].name, cases[i - 1].name) != 0) {
			forget_model();
			load_model(cases[i].name, cases[i].quick);
		}
		derive(cases[i].slo_factor);
		for (size_t j = 0; j < ARRAY_SIZE(cases[i].cards); j++) {
			double slower = cases[i].cards[j].slower, load = cases[i].cards[j].load;

			if (load == 0)
				continue;
			run(slower, load, FIXTURE_SEED + 2 * i + j);
			check(cases[i].name, slower, load);
		}
		forget_objective();
	}
}

static int load(void **state)
{
	(void)state;
	return fixture_load_model(COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini");
}

static int unload(void **state)
{
	forget_objective();
	forget_model();
	return fixture_unload(state);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_constant_load_tells_the_card, fixture_begin,
						fixture_end),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
