/* SPDX-License-Identifier: Apache-2.0 */
/* What requests cost on the MI50: published totals and observations, and the properties that hold
 * for every model, clock and shape. */
#include "base/macros.h"
#include "plant/plant.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define MI50	   COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini"
#define MODELS	   COFRIS_SOURCE_DIR "/profiles/models/"
#define MAX_SHAPES 64

enum { RESNET50, RESNET152, VGG19, SHUFFLENET, N_MODELS };

static const char *const model_files[N_MODELS] = {MODELS "resnet50.ini", MODELS "resnet152.ini",
						  MODELS "vgg19.ini", MODELS "shufflenet.ini"};

static struct fixture {
	struct plant_device *device;
	struct plant_model *models[N_MODELS];
	struct cu_shape shapes[MAX_SHAPES];
	uint32_t n_shapes;
} fixture;

static const struct cu_shape full = {0, 0}, cus_45 = {3, 15}, cus_30 = {2, 15}, cus_15 = {1, 15},
			     cus_10 = {1, 10};

static int load(void **state)
{
	struct ini_error error;
	int r;

	(void)state;
	if (plant_device_load(MI50, &fixture.device, &error) < 0) {
		print_error("%s:%u: %s\n", MI50, error.line, error.text);
		return -1;
	}
	for (int i = 0; i < N_MODELS; i++)
		if (plant_model_load(model_files[i], &fixture.models[i], &error) < 0) {
			print_error("%s:%u: %s\n", model_files[i], error.line, error.text);
			return -1;
		}
	r = cu_shapes(&fixture.device->topology, fixture.shapes, MAX_SHAPES);
	if (r < 0)
		return -1;
	fixture.n_shapes = (uint32_t)r;
	return 0;
}

static int unload(void **state)
{
	(void)state;
	free(fixture.device);
	for (int i = 0; i < N_MODELS; i++)
		free(fixture.models[i]);
	return 0;
}

static double ns_of(int model, uint32_t mhz, struct cu_shape shape)
{
	return plant_request_cost(fixture.device, fixture.models[model], mhz, shape, 1).ns;
}

/* Latency against that of the whole card at the top clock. */
static double slowdown(int model, uint32_t mhz, struct cu_shape shape)
{
	return ns_of(model, mhz, shape) / ns_of(model, 1725, full);
}

static void assert_within(const char *what, double value, double low, double high)
{
	if (!(value >= low && value <= high))
		fail_msg("%s is %g, expected %g to %g", what, value, low, high);
}

/* Convolutions and matrix products, whose multiply-adds are what the papers count. */
static bool multiplies(const struct plant_kernel *k)
{
	return strstr(k->name, "conv") || strncmp(k->name, "gemv-", 5) == 0;
}

static void test_models_have_the_published_sizes(void **state)
{
	/* Multiply-adds: torchvision. Launches: of vgg19 and resnet152 by ECLIP's counts of 62 and
	 * 517; of the others by their graphs. Parameters in FP32: torchvision. */
	static const struct {
		double gmac;
		uint32_t launches, launches_tolerance;
		double parameters;
	} published[N_MODELS] = {
		[RESNET50] = {4.09, 175, 0, 25557032},
		[RESNET152] = {11.51, 517, 2, 60192808},
		[VGG19] = {19.63, 62, 0, 143667240},
		[SHUFFLENET] = {0.145, 185, 0, 2278604},
	};

	(void)state;
	for (int i = 0; i < N_MODELS; i++) {
		const struct plant_model *m = fixture.models[i];
		double gmac = 0, weights = 0;
		uint32_t launches = 0;

		for (uint32_t j = 0; j < m->n_kernels; j++) {
			const struct plant_kernel *k = &m->kernels[j];

			launches += k->count;
			if (multiplies(k))
				gmac += k->count * k->flop / 2e9;
			weights += k->count * k->fixed_bytes / 4;
		}
		assert_within(m->name, gmac / published[i].gmac, 0.99, 1.01);
		assert_in_range(launches, published[i].launches - published[i].launches_tolerance,
				published[i].launches + published[i].launches_tolerance);
		/* Normalisation reads its mean and variance, which are not counted as parameters:
		 * at most 3 % more (shufflenet has the least weights to each channel). */
		assert_within(m->name, weights / published[i].parameters, 1, 1.03);
	}
}

static void test_batch_1_latencies_are_the_estimated_ones(void **state)
{
	/* Of work at a third to two fifths of the peak rate plus launches; shufflenet's by its 185
	 * launches of 7 us, give or take. */
	static const double low_ms[N_MODELS] = {2.5, 6.5, 7.5, 1.3};
	static const double high_ms[N_MODELS] = {3.5, 9, 8, 1.6};

	(void)state;
	for (int i = 0; i < N_MODELS; i++)
		assert_within(fixture.models[i]->name, ns_of(i, 1725, full) * 1e-6, low_ms[i],
			      high_ms[i]);
}

static void test_the_clock_alone_never_doubles_latency(void **state)
{
	(void)state;
	for (int i = 0; i < N_MODELS; i++)
		assert_within(fixture.models[i]->name, slowdown(i, 925, full), 1.05, 1.8);
}

static void test_shufflenet_hardly_reacts_to_clock_or_cus(void **state)
{
	(void)state;
	assert_within("925 MHz", slowdown(SHUFFLENET, 925, full), 1, 1.2);
	assert_within("30 CUs", slowdown(SHUFFLENET, 1725, cus_30), 1, 1.02);
	assert_within("15 CUs", slowdown(SHUFFLENET, 1725, cus_15), 1, 1.1);
	assert_within("925 MHz on 15 CUs", slowdown(SHUFFLENET, 925, cus_15), 1, 1.35);
}

static void test_half_the_card_costs_up_to_1_8_and_a_quarter_up_to_3_3(void **state)
{
	(void)state;
	for (int i = 0; i < N_MODELS; i++) {
		assert_within(fixture.models[i]->name, slowdown(i, 1725, cus_30), 1, 1.8);
		assert_within(fixture.models[i]->name, slowdown(i, 1725, cus_15), 1, 3.3);
	}
	/* vgg19's kernels "typically require all 60 CUs". */
	assert_within("vgg19 on 30 CUs", slowdown(VGG19, 1725, cus_30), 1.6, 1.8);
}

static void test_at_925_mhz_twice_the_latency_needs_30_or_15_cus_too(void **state)
{
	(void)state;
	assert_true(slowdown(RESNET50, 925, cus_45) < 2);
	assert_true(slowdown(RESNET50, 925, cus_30) > 2);
	assert_true(slowdown(RESNET152, 925, cus_45) < 2);
	assert_true(slowdown(RESNET152, 925, cus_30) > 2);
	assert_true(slowdown(SHUFFLENET, 925, cus_15) < 2);
}

static void test_below_15_cus_throughput_collapses_at_every_clock(void **state)
{
	(void)state;
	for (uint32_t f = 0; f < fixture.device->n_levels; f++) {
		uint32_t mhz = fixture.device->level_mhz[f];

		for (int i = RESNET50; i <= VGG19; i++) {
			assert_true(ns_of(i, mhz, cus_15) > 1.8 * ns_of(i, mhz, full));
			assert_true(ns_of(i, mhz, cus_10) > 2.5 * ns_of(i, mhz, full));
		}
	}
}

static void test_46_cus_spread_over_four_engines_are_no_faster_than_45_in_three(void **state)
{
	const struct cu_topology *t = &fixture.device->topology;
	struct cu_shape effective;
	struct cu_mask mask;

	(void)state;
	assert_int_equal(cu_mask_conserved(t, 46, 0, &mask), 0);
	effective = cu_mask_effective_shape(t, mask.words, CU_MASK_WORDS);
	assert_true(cu_shape_equal(effective, (struct cu_shape){4, 11}));
	for (int i = 0; i < N_MODELS; i++)
		assert_true(ns_of(i, 1725, effective) >= ns_of(i, 1725, cus_45));
}

static void test_service_time_never_grows_with_the_clock(void **state)
{
	const struct plant_device *d = fixture.device;

	(void)state;
	for (int i = 0; i < N_MODELS; i++)
		for (uint32_t s = 0; s < fixture.n_shapes; s++)
			for (uint32_t f = 1; f < d->n_levels; f++)
				assert_true(ns_of(i, d->level_mhz[f], fixture.shapes[s]) <=
					    ns_of(i, d->level_mhz[f - 1], fixture.shapes[s]));
}

static void test_service_time_never_grows_with_the_shape(void **state)
{
	(void)state;
	for (int i = 0; i < N_MODELS; i++)
		for (uint16_t k = 1; k <= 4; k++)
			for (uint16_t c = 1; c <= 15; c++) {
				double ns = ns_of(i, 1282, (struct cu_shape){k, c});

				if (c > 1)
					assert_true(ns <=
						    ns_of(i, 1282, (struct cu_shape){k, c - 1}));
				if (k > 1)
					assert_true(ns <=
						    ns_of(i, 1282, (struct cu_shape){k - 1, c}));
			}
}

static void test_cost_is_linear_in_the_count(void **state)
{
	struct plant_kernel k = {
		.count = 1, .workgroups = 75, .flop = 3e8, .bytes = 4e6, .fixed_bytes = 1e6};
	struct plant_model m = {.name = "one", .n_kernels = 1, .kernels = {k}};
	struct plant_cost one, seven;

	(void)state;
	one = plant_request_cost(fixture.device, &m, 1386, cus_45, 1);
	m.kernels[0].count = 7;
	seven = plant_request_cost(fixture.device, &m, 1386, cus_45, 1);
	assert_within("time", seven.ns / one.ns, 7 - 1e-9, 7 + 1e-9);
	assert_within("flop", seven.flop / one.flop, 7 - 1e-9, 7 + 1e-9);
	assert_within("bytes", seven.bytes / one.bytes, 7 - 1e-9, 7 + 1e-9);
	assert_within("busy CUs", seven.busy_cus / one.busy_cus, 1 - 1e-9, 1 + 1e-9);
}

static void test_a_kernel_costs_what_the_formula_says(void **state)
{
	/* At 1000 MHz a CU does 128 * 0.55 = 70.4 flop a ns and draws 30 * 1000/1725 GB/s. */
	static const struct {
		const char *what;
		struct plant_kernel kernel;
		struct cu_shape shape;
		uint32_t batch;
		double ns, busy_cus;
	} cases[] = {
		{"launch is the least", {"a", 2, 1, 0, 0, 0}, {0, 0}, 1, 14000, 0},
		{"one wave", {"b", 1, 60, 60 * 70.4e4, 0, 0}, {0, 0}, 1, 13000, 60 * 10. / 13},
		{"a second wave",
		 {"c", 1, 61, 61 * 70.4e4, 0, 0},
		 {0, 0},
		 1,
		 23000,
		 30.5 * 20 / 23},
		{"two SEs", {"d", 1, 60, 60 * 70.4e4, 0, 0}, {2, 15}, 1, 23000, 30 * 20. / 23},
		{"uneven SEs", {"e", 1, 31, 31 * 70.4e4, 0, 0}, {2, 15}, 1, 23000, 15.5 * 20 / 23},
		{"memory", {"f", 1, 60, 0, 7.6e6, 0}, {0, 0}, 1, 13000, 60 * 10. / 13},
		{"few CUs' memory",
		 {"g", 1, 15, 0, 15 * 30e4, 0},
		 {1, 15},
		 1,
		 20250,
		 15 * 17.25 / 20.25},
		{"a batch", {"h", 1, 60, 60 * 70.4e4, 0, 0}, {0, 0}, 3, 33000, 60 * 30. / 33},
		{"weights once", {"i", 1, 60, 0, 7.6e6, 3.8e6}, {0, 0}, 3, 23000, 60 * 20. / 23},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct plant_model m = {.n_kernels = 1, .kernels = {cases[i].kernel}};
		struct plant_cost cost = plant_request_cost(fixture.device, &m, 1000,
							    cases[i].shape, cases[i].batch);

		assert_within(cases[i].what, cost.ns, cases[i].ns - 1e-3, cases[i].ns + 1e-3);
		assert_within(cases[i].what, cost.busy_cus, cases[i].busy_cus - 1e-6,
			      cases[i].busy_cus + 1e-6);
	}
}

static void test_a_batch_costs_less_than_its_requests_apart(void **state)
{
	(void)state;
	for (int i = 0; i < N_MODELS; i++) {
		struct plant_cost one, eight;

		one = plant_request_cost(fixture.device, fixture.models[i], 1725, full, 1);
		eight = plant_request_cost(fixture.device, fixture.models[i], 1725, full, 8);
		assert_true(eight.ns < 8 * one.ns && eight.ns > one.ns);
		assert_true(eight.bytes < 8 * one.bytes);
		assert_within("flop", eight.flop / one.flop, 8 - 1e-9, 8 + 1e-9);
	}
}

static void test_the_full_shape_and_no_mask_are_the_same(void **state)
{
	struct cu_shape whole = cu_shape_full(&fixture.device->topology);

	(void)state;
	for (int i = 0; i < N_MODELS; i++)
		assert_true(ns_of(i, 1143, whole) == ns_of(i, 1143, full));
}

static void test_voltage_is_each_levels_own_and_straight_between(void **state)
{
	const struct plant_device *d = fixture.device;

	(void)state;
	for (uint32_t i = 0; i < d->n_levels; i++)
		assert_true(plant_voltage_mv(d, d->level_mhz[i]) == d->level_mv[i]);
	assert_true(plant_voltage_mv(d, 100) == 741);
	assert_true(plant_voltage_mv(d, 9999) == 1058);
	assert_within("981 MHz", plant_voltage_mv(d, 981), 749.5 - 1e-9, 749.5 + 1e-9);
	for (uint32_t mhz = 925; mhz < 1725; mhz++)
		assert_true(plant_voltage_mv(d, mhz) <= plant_voltage_mv(d, mhz + 1));
}

static void test_active_idle_power_of_a_cu_rises_with_the_clock(void **state)
{
	const struct plant_device *d = fixture.device;

	(void)state;
	for (uint32_t i = 1; i < d->n_levels; i++)
		assert_true(plant_cu_active_idle_w(d, d->level_mhz[i]) >
			    plant_cu_active_idle_w(d, d->level_mhz[i - 1]));
	assert_true(plant_cu_active_idle_w(d, 1725) == d->cu_active_idle_w);
}

static void test_gating_counts_the_cus_that_stay_on(void **state)
{
	static const struct {
		struct cu_shape shape;
		uint32_t none, se, cu;
	} cases[] = {
		{{0, 0}, 60, 60, 60},  {{4, 15}, 60, 60, 60}, {{4, 12}, 60, 60, 48},
		{{3, 15}, 60, 45, 45}, {{3, 10}, 60, 45, 30}, {{2, 15}, 57, 30, 30},
		{{2, 8}, 57, 30, 16},  {{1, 15}, 55, 15, 15}, {{1, 1}, 55, 15, 1},
	};
	const struct plant_device *d = fixture.device;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cu_shape shape = cases[i].shape;

		assert_int_equal(plant_ungated_cus(d, PLANT_GATING_NONE, shape), cases[i].none);
		assert_int_equal(plant_ungated_cus(d, PLANT_GATING_SE, shape), cases[i].se);
		assert_int_equal(plant_ungated_cus(d, PLANT_GATING_CU, shape), cases[i].cu);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_models_have_the_published_sizes),
		cmocka_unit_test(test_batch_1_latencies_are_the_estimated_ones),
		cmocka_unit_test(test_the_clock_alone_never_doubles_latency),
		cmocka_unit_test(test_shufflenet_hardly_reacts_to_clock_or_cus),
		cmocka_unit_test(test_half_the_card_costs_up_to_1_8_and_a_quarter_up_to_3_3),
		cmocka_unit_test(test_at_925_mhz_twice_the_latency_needs_30_or_15_cus_too),
		cmocka_unit_test(test_below_15_cus_throughput_collapses_at_every_clock),
		cmocka_unit_test(
			test_46_cus_spread_over_four_engines_are_no_faster_than_45_in_three),
		cmocka_unit_test(test_service_time_never_grows_with_the_clock),
		cmocka_unit_test(test_service_time_never_grows_with_the_shape),
		cmocka_unit_test(test_cost_is_linear_in_the_count),
		cmocka_unit_test(test_a_kernel_costs_what_the_formula_says),
		cmocka_unit_test(test_a_batch_costs_less_than_its_requests_apart),
		cmocka_unit_test(test_the_full_shape_and_no_mask_are_the_same),
		cmocka_unit_test(test_voltage_is_each_levels_own_and_straight_between),
		cmocka_unit_test(test_active_idle_power_of_a_cu_rises_with_the_clock),
		cmocka_unit_test(test_gating_counts_the_cus_that_stay_on),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
