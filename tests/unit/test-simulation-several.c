/* SPDX-License-Identifier: Apache-2.0 */
/* Two models on one simulated card, both by the bench's own sweeps: what a governor learns of that
 * card while neither is alone on it. */
#include "governor/governor-internal.h"
#include "simulation-fixture.h"

#define MODELS	    2
#define MINUTE	    (60 * SEC)
#define DURATION_NS (10 * MINUTE)

/* Each model's own, as cofris-profile and cofrisd have them. */
static struct {
	struct plant_model *plant;
	struct surface *surface;
	struct response_table *table;
	struct response_menu *menu;
	struct costs *costs;
	uint64_t *arrivals;
	uint32_t n_arrivals;
} models[MODELS];
static struct truth bench;
static struct governor_config config;
static struct simulation_load other;
static bool never_boosts;
static double cost_j; /* of the last run */

/* As of the governor's last step. */
static struct {
	struct switch_time switch_time;
	uint32_t n_boosts;
	bool boosting;
} seen;

void __real_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);
void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);

static uint64_t factor_from_ns;
static double least[MODELS], most[MODELS]; /* factors since then */

void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret)
{
	__real_governor_step(g, input, ret);
	seen.n_boosts += !seen.boosting && g->several.boosting;
	seen.boosting = g->several.boosting;
	seen.switch_time = g->switch_time;
	for (uint32_t i = 0; i < MODELS; i++) {
		double factor = ret->models[i].service_factor;

		if (input->now_ns < factor_from_ns || input->now_ns > DURATION_NS)
			continue;
		least[i] = fmin(least[i], factor);
		most[i] = fmax(most[i], factor);
	}
}

/* ---- two models and their card ---- */

static void derive(uint32_t i, double slo_factor)
{
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	struct response_tails *tails;
	struct surface_error error;

	free(models[i].table);
	free(models[i].menu);
	o.late_cost = TABLE_LATE_COST;
	o.slo_factor = slo_factor;
	assert_int_equal(response_tails_new(models[i].surface, o.seed, &tails), 0);
	assert_int_equal(response_table_derive_from(tails, &o, &models[i].table, &error), 0);
	assert_int_equal(response_menu_derive(tails, &o, models[i].table, &models[i].menu, &error),
			 0);
	response_tails_free(tails);
}

static int load(void **state)
{
	static const char *const paths[MODELS] = {
		COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini",
		COFRIS_SOURCE_DIR "/profiles/models/bert-base.ini",
	};
	static const struct costs_options one = {.n_batches = 1, .batches = {1}};
	const struct truth_options t = {.switch_ms = -1,
					.dpm_ramp_ms = -1,
					.idle_active_share = -1};
	const struct bench_options b = {.batches = &one, .seed = 3};
	struct ini_error error;

	(void)state;
	if (fixture_load_model(paths[0]) < 0 || truth_bench(fixture.shipped, &t, &bench) < 0)
		return -1;
	for (uint32_t i = 0; i < MODELS; i++) {
		if (plant_model_load(paths[i], &models[i].plant, &error) < 0 ||
		    bench_sweep(&bench, models[i].plant, &b, &models[i].surface) < 0)
			return -1;
		derive(i, 1.5);
	}
	return 0;
}

static int unload(void **state)
{
	for (uint32_t i = 0; i < MODELS; i++) {
		free(models[i].plant);
		surface_free(models[i].surface);
		free(models[i].table);
		free(models[i].menu);
	}
	return fixture_unload(state);
}

static void configure(void)
{
	const struct plant_device *d = fixture.shipped;

	config = (struct governor_config){
		.poll_ns = fixture.options.poll_ns,
		.n_levels = d->n_levels,
		.topology = d->topology,
		.n_models = MODELS,
	};
	memcpy(config.level_mhz, d->level_mhz, d->n_levels * sizeof(d->level_mhz[0]));
	for (uint32_t i = 0; i < MODELS; i++) {
		config.models[i] = (struct governor_model_config){
			.table = models[i].table,
			.menu = models[i].menu,
			.late_cost = TABLE_LATE_COST,
			.policy = "cofris",
			.priority = 100,
			.use_mask = true,
			.never_boosts = never_boosts,
		};
		(void)snprintf(config.models[i].name, sizeof(config.models[i].name), "model%u", i);
	}
}

/* Poisson at a share of each one's rated rate, thinned by what thin() says of ten seconds. */
static void make_arrivals(double load, double (*thin)(uint32_t i, uint64_t ten_s))
{
	for (uint32_t i = 0; i < MODELS; i++) {
		uint32_t n = 0;

		fixture.options.seed = FIXTURE_SEED + i;
		fixture_poisson(load * models[i].table->rated_rps);
		for (uint32_t k = 0; k < fixture.options.n_arrivals; k++) {
			uint64_t at_ns = fixture.arrivals[k];

			if (!thin ||
			    plant_uniform(FIXTURE_SEED + 10 + i, k) < thin(i, at_ns / (10 * SEC)))
				fixture.arrivals[n++] = at_ns;
		}
		models[i].arrivals = TAKE_PTR(fixture.arrivals);
		models[i].n_arrivals = n;
	}
	fixture.options.arrival_ns = models[0].arrivals;
	fixture.options.n_arrivals = models[0].n_arrivals;
}

static void run(double slower, double load, double (*thin)(uint32_t i, uint64_t ten_s))
{
	static const struct costs_options one = {.n_batches = 1, .batches = {1}};
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	struct simulation_result results[MODELS];

	memset(&seen, 0, sizeof(seen));
	factor_from_ns = 5 * MINUTE;
	for (uint32_t i = 0; i < MODELS; i++) {
		least[i] = INFINITY;
		most[i] = 0;
	}
	fixture.truth.card.time_factor *= slower;
	fixture.options.duration_ns = DURATION_NS;
	for (uint32_t i = 0; i < MODELS; i++)
		assert_int_equal(costs_new(&fixture.truth, models[i].plant, &one, &models[i].costs),
				 0);
	configure();
	make_arrivals(load, thin);
	other = (struct simulation_load){
		.costs = models[1].costs,
		.arrival_ns = models[1].arrivals,
		.n_arrivals = models[1].n_arrivals,
		.workers = 1,
		.slo_ns = models[1].table->slo_ns,
		.seed = FIXTURE_SEED + 5,
	};
	fixture.options.costs = models[0].costs;
	fixture.options.slo_ns = models[0].table->slo_ns;
	fixture.options.others = &other;
	fixture.options.n_others = 1;
	fixture.options.governor = &config;
	assert_int_equal(simulation_new(&fixture.options, &s), 0);
	assert_int_equal(simulation_finish(s, simulation_run(s), results), 0);
	cost_j = results[0].energy_j;
	for (uint32_t i = 0; i < MODELS; i++) {
		const struct response_table *t = models[i].table;

		cost_j += TABLE_LATE_COST * t->baseline.power_w / t->rated_rps *
			  (double)results[i].late;
		simulation_result_done(&results[i]);
		models[i].costs = costs_free(models[i].costs);
		free(TAKE_PTR(models[i].arrivals));
	}
}

static void start(double switch_ms)
{
	fixture.truth = bench;
	fixture.truth.jitter_sigma = 0.03;
	if (switch_ms > 0)
		fixture.truth.device.switch_ms = switch_ms;
}

static double moves(uint32_t i, uint64_t ten_s)
{
	static const double loads[] = {0.3, 0.6, 0.1, 0.7, 0.4, 1, 0.2, 0.5};

	return loads[(ten_s + 3 * i) % ARRAY_SIZE(loads)];
}

/* Whether the load moves or is always the same. */
static void test_a_card_is_told_from_the_company_on_it(void **state)
{
	static const struct {
		double slower, load;
		double (*thin)(uint32_t i, uint64_t ten_s);
	} cases[] = {{1, 0.3, moves},	 {1, 0.6, moves},    {1, 0.15, NULL},	 {1, 0.3, NULL},
		     {1.15, 0.3, moves}, {1.15, 0.6, moves}, {1.15, 0.15, NULL}, {1.15, 0.3, NULL}};

	(void)state;
	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		start(5);
		run(cases[c].slower, cases[c].load, cases[c].thin);
		for (uint32_t i = 0; i < MODELS; i++) {
			print_message("card %g, load %g%s: factor %.3f to %.3f\n", cases[c].slower,
				      cases[c].load, cases[c].thin ? " that moves" : "", least[i],
				      most[i]);
			assert_true(least[i] > cases[c].slower - 0.03);
			assert_true(most[i] < cases[c].slower + 0.03);
		}
	}
}

/* Within 2 ms and a fifth; where boosts do not last that long, at least so long that it is too long
 * for the shorter of the two objectives. */
static void test_the_time_of_a_clock_change_is_found(void **state)
{
	static const double times_ms[] = {1, 5, 25, 200}, slower[] = {1, 1.15};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(times_ms); i++)
		for (size_t k = 0; k < ARRAY_SIZE(slower); k++) {
			double slo_ms = (double)models[0].table->slo_ns * 1e-6;
			double found_ms, least_ms = MIN(times_ms[i] * 0.8 - 2, slo_ms);

			start(times_ms[i]);
			run(slower[k], 0.6, moves);
			found_ms = switch_time_ns(&seen.switch_time) * 1e-6;
			print_message("%g ms, card %g: %.2f ms of %u\n", times_ms[i], slower[k],
				      found_ms, seen.switch_time.n);
			assert_true(switch_time_known(&seen.switch_time));
			assert_true(found_ms >= least_ms && found_ms <= times_ms[i] * 1.2 + 2);
		}
}

/* Energy, and each late request as much as it counts in the plan. */
static void test_at_200_ms_it_is_no_worse_than_without_boosts(void **state)
{
	static const double slower[] = {0.95, 1.05, 1.15};
	double all_j = 0, all_without_j = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(slower); i++) {
		double with_j, without_j;
		uint32_t n;

		start(200);
		run(slower[i], 0.6, moves);
		with_j = cost_j;
		n = seen.n_boosts;
		start(200);
		never_boosts = true;
		run(slower[i], 0.6, moves);
		never_boosts = false;
		without_j = cost_j;
		assert_int_equal(seen.n_boosts, 0);
		print_message("card %g: %.1f J with %u boosts, without %.1f J\n", slower[i], with_j,
			      n, without_j);
		all_j += with_j;
		all_without_j += without_j;
	}
	assert_true(all_j <= all_without_j * 1.001);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_begin, fixture_end)
	static const struct CMUnitTest tests[] = {
		TEST(test_a_card_is_told_from_the_company_on_it),
		TEST(test_the_time_of_a_clock_change_is_found),
		TEST(test_at_200_ms_it_is_no_worse_than_without_boosts),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
