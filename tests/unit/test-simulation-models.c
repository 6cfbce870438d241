/* SPDX-License-Identifier: Apache-2.0 */
/* Several models on one simulated card: each with its own requests, one clock for all, and what
 * they leave of the card to each other. */
#include "simulation-fixture.h"
#include <errno.h>

#define TOP 8

static struct simulation_load other;
static struct configuration schedule[2];
static struct simulation_result results[2];
static bool second_has_requests;

static int begin(void **state)
{
	(void)fixture_begin(state);
	fixture_steady_clock();
	fixture_make_costs(1);
	fixture_poisson(60);
	second_has_requests = true;
	return 0;
}

static int end(void **state)
{
	for (uint32_t i = 0; i < 2; i++)
		simulation_result_done(&results[i]);
	return fixture_end(state);
}

static struct configuration on(struct cu_shape shape)
{
	return (struct configuration){TOP, (uint16_t)costs_shape_index(fixture.costs, shape), 1};
}

/* Alone for the first, or beside a second one with the same requests. */
static void run(struct configuration first, const struct configuration *second)
{
	_cleanup_(simulation_freep) struct simulation *s = NULL;

	for (uint32_t i = 0; i < 2; i++)
		simulation_result_done(&results[i]);
	schedule[0] = first;
	fixture.options.schedule = schedule;
	fixture.options.n_schedule = 1;
	fixture.options.n_others = second ? 1 : 0;
	if (second) {
		schedule[1] = *second;
		other = (struct simulation_load){
			.costs = fixture.costs,
			.arrival_ns = fixture.arrivals,
			.n_arrivals = second_has_requests ? fixture.options.n_arrivals : 0,
			.workers = 1,
			.slo_ns = fixture.options.slo_ns,
			.seed = FIXTURE_SEED,
		};
		fixture.options.others = &other;
	}
	assert_int_equal(simulation_new(&fixture.options, &s), 0);
	assert_int_equal(simulation_finish(s, 20 * SEC, results), 0);
}

static double mean_ms(const struct simulation_result *r)
{
	double sum = 0;

	for (uint32_t i = 0; i < r->n; i++)
		sum += (double)r->latency_ns[i] * 1e-6;
	return sum / r->n;
}

static void test_masks_apart_leave_each_its_speed(void **state)
{
	const struct configuration half = on((struct cu_shape){2, 15});
	double alone_ms;

	(void)state;
	run(half, NULL);
	alone_ms = mean_ms(&results[0]);
	run(half, &half);
	assert_close("first, ms", mean_ms(&results[0]), alone_ms, 0.01 * alone_ms);
	assert_close("second, ms", mean_ms(&results[1]), alone_ms, 0.01 * alone_ms);
	assert_int_equal(results[0].completed, results[1].completed);
}

static void test_all_cus_are_shared(void **state)
{
	const struct configuration all = on((struct cu_shape){0, 0});
	double alone_ms;

	(void)state;
	run(all, NULL);
	alone_ms = mean_ms(&results[0]);
	run(all, &all);
	assert_true(mean_ms(&results[0]) > 1.2 * alone_ms);
	assert_true(mean_ms(&results[1]) > 1.2 * alone_ms);
}

/* Uncore and ungated CUs are drawn once for both, the work twice. */
static void test_energy_is_the_cards(void **state)
{
	const struct configuration half = on((struct cu_shape){2, 15});
	double alone_j, idle_w = fixture.truth.device.idle_w;

	(void)state;
	fixture.truth.card.gating = PLANT_GATING_CU;
	run(half, NULL);
	alone_j = results[0].energy_j - idle_w * results[0].length_s;
	run(half, &half);
	assert_true(results[0].energy_j == results[1].energy_j);
	/* In step: at the same time, each with its CUs. */
	assert_true(results[0].energy_j - idle_w * results[0].length_s < 1.95 * alone_j);
	assert_true(results[0].energy_j - idle_w * results[0].length_s > 1.5 * alone_j);
	assert_close("CUs", results[1].mean_cus, 30, 1e-9);
}

/* One model's CUs stay on while only the other one works. */
static void test_cus_of_all_masks_are_on(void **state)
{
	const struct configuration half = on((struct cu_shape){2, 15});
	const struct configuration seconds[] = {on((struct cu_shape){1, 15}), half};
	double energy_j[2], cu_w = plant_cu_active_idle_w(&fixture.truth.device,
							  fixture.truth.device.level_mhz[TOP]);

	(void)state;
	fixture.truth.card.gating = PLANT_GATING_CU;
	second_has_requests = false;
	for (uint32_t i = 0; i < 2; i++) {
		run(half, &seconds[i]);
		energy_j[i] = results[0].energy_j;
	}
	assert_close("15 CUs more, W", (energy_j[1] - energy_j[0]) / results[0].busy_s, 15 * cu_w,
		     0.01);
}

static void test_tells_the_longest_time_without_a_completion(void **state)
{
	const uint64_t arrivals[] = {1 * SEC, 1 * SEC, 5 * SEC};
	const struct configuration all = on((struct cu_shape){0, 0});
	double service_ns = fixture_service_ns(TOP, fixture_full_shape(), 1);

	(void)state;
	fixture_arrivals(arrivals, 3);
	run(all, NULL);
	/* Not the time when nothing was there. */
	assert_close("starved, ns", (double)results[0].starved_ns, service_ns, 2);
}

static void test_refuses_what_is_not_of_the_models(void **state)
{
	const struct configuration all = on((struct cu_shape){0, 0});
	struct simulation *s = NULL;

	(void)state;
	run(all, &all);
	schedule[1].level = TOP - 1; /* one clock */
	assert_int_equal(simulation_new(&fixture.options, &s), -EINVAL);
	schedule[1].level = TOP;
	other.workers = 0;
	assert_int_equal(simulation_new(&fixture.options, &s), -EINVAL);
	other.workers = 1;
	other.costs = NULL;
	assert_int_equal(simulation_new(&fixture.options, &s), -EINVAL);
	other.costs = fixture.costs;
	fixture.options.n_others = SIMULATION_MAX_MODELS;
	assert_int_equal(simulation_new(&fixture.options, &s), -EINVAL);
}

/* Until a card's plan is for several models, their worker is under all CUs at full speed: what is
 * held here is that each has a worker of its own there. */
static void test_a_governor_governs_them_all(void **state)
{
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	struct governor_config config = {
		.poll_ns = 500 * MS,
		.n_levels = fixture.truth.device.n_levels,
		.topology = fixture.truth.device.topology,
		.n_models = 2,
	};

	(void)state;
	memcpy(config.level_mhz, fixture.truth.device.level_mhz,
	       config.n_levels * sizeof(*config.level_mhz));
	for (uint32_t i = 0; i < 2; i++)
		config.models[i] = (struct governor_model_config){.policy = "maximum",
								  .max_batch = 1,
								  .priority = 100,
								  .use_mask = true};
	run(on((struct cu_shape){0, 0}), &schedule[1]);
	fixture.options.schedule = NULL;
	fixture.options.governor = &config;
	for (uint32_t i = 0; i < 2; i++)
		simulation_result_done(&results[i]);
	assert_int_equal(simulation_new(&fixture.options, &s), 0);
	assert_int_equal(simulation_finish(s, 20 * SEC, results), 0);
	assert_int_equal(results[0].completed, fixture.options.n_arrivals);
	assert_int_equal(results[1].completed, fixture.options.n_arrivals);
	assert_true(results[0].mean_sclk_mhz > 0.99 * fixture.truth.device.level_mhz[TOP]);
	config.n_models = 1;
	assert_int_equal(simulation_new(&fixture.options, &s), -EINVAL);
}

static int load(void **state)
{
	(void)state;
	return fixture_load_model(COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(test_masks_apart_leave_each_its_speed),
		TEST(test_all_cus_are_shared),
		TEST(test_energy_is_the_cards),
		TEST(test_cus_of_all_masks_are_on),
		TEST(test_tells_the_longest_time_without_a_completion),
		TEST(test_refuses_what_is_not_of_the_models),
		TEST(test_a_governor_governs_them_all),
	};

	return cmocka_run_group_tests(tests, load, fixture_unload);
}
