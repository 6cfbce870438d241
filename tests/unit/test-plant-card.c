/* SPDX-License-Identifier: Apache-2.0 */
/* One MI50 through time: power against the formula, DPM, limits, the power and thermal limiters
 * and the sensors. */
#include "base/macros.h"
#include "base/units.h"
#include "plant/plant.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define MI50	 COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini"
#define RESNET50 COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini"

#define MS NSEC_PER_MSEC

/* Not 0: nothing may depend on where device time begins. */
#define ORIGIN_NS (UINT64_C(7) * NSEC_PER_SEC + 123)

static struct fixture {
	struct plant_device *shipped, *device; /* device: the tests' own copy, to change */
	struct plant_model *model;
	struct plant_card *card;
	uint64_t now_ns;
} fixture;

static int load(void **state)
{
	struct ini_error error;

	(void)state;
	fixture.device = malloc(sizeof(*fixture.device));
	if (!fixture.device || plant_device_load(MI50, &fixture.shipped, &error) < 0 ||
	    plant_model_load(RESNET50, &fixture.model, &error) < 0)
		return -1;
	return 0;
}

static int unload(void **state)
{
	(void)state;
	free(fixture.shipped);
	free(fixture.device);
	free(fixture.model);
	return 0;
}

static int copy_device(void **state)
{
	(void)state;
	*fixture.device = *fixture.shipped;
	return 0;
}

static int drop_card(void **state)
{
	(void)state;
	fixture.card = fixture.card ? plant_card_free(fixture.card) : NULL;
	return 0;
}

static void new_card(double power_factor)
{
	const struct plant_card_options o = {.seed = 1,
					     .time_factor = 1,
					     .power_factor = power_factor};

	fixture.now_ns = ORIGIN_NS;
	assert_int_equal(plant_card_new(fixture.device, &o, ORIGIN_NS, &fixture.card), 0);
}

static struct plant_card_state get(void)
{
	struct plant_card_state s;

	plant_card_get(fixture.card, &s);
	return s;
}

/* The model in a closed loop for a share of the time, on a mask of ungated CUs. */
static struct plant_activity work(uint64_t ns, double busy_share, uint32_t ungated_cus)
{
	struct plant_cost cost = plant_request_cost(fixture.device, fixture.model, get().sclk_mhz,
						    (struct cu_shape){0, 0}, 1);
	double busy_ns = busy_share * (double)ns;

	return (struct plant_activity){
		.busy_ns = (uint64_t)busy_ns,
		.ungated_cu_ns = ungated_cus * busy_ns,
		.flop = cost.flop * busy_ns / cost.ns,
		.bytes = cost.bytes * busy_ns / cost.ns,
	};
}

static void step(uint64_t ns, double busy_share)
{
	struct plant_activity a = work(ns, busy_share, 60);

	fixture.now_ns += ns;
	plant_card_step(fixture.card, fixture.now_ns, &a);
}

static void run(uint64_t ns, double busy_share)
{
	for (uint64_t done = 0; done < ns; done += MS)
		step(MS, busy_share);
}

static void assert_close(const char *what, double value, double expected, double tolerance)
{
	if (!(fabs(value - expected) <= tolerance))
		fail_msg("%s is %.9g, expected %.9g +- %g", what, value, expected, tolerance);
}

/* Leakage follows temperature, which the closed formula below does not. */
static void without_leakage(void)
{
	fixture.device->leakage_w_per_k = 0;
}

/* ---- power ---- */

static void test_an_idle_card_draws_15_w_at_930_mhz(void **state)
{
	(void)state;
	new_card(1);
	assert_int_equal(get().sclk_mhz, 930);
	assert_int_equal(get().sensor_power_uw / UW_PER_W, 15);
	step(600 * NSEC_PER_SEC, 0);
	assert_close("power", get().power_w, 15, 1e-9);
	assert_close("energy", get().energy_j, 600 * 15, 1e-6);
	assert_int_equal(get().sclk_mhz, 930);
	assert_close("temperature", get().temp_c, 19, 0.1);
}

static void test_energy_is_the_formula_for_given_activity(void **state)
{
	static const uint32_t levels[] = {0, 3, 8};
	const struct plant_activity a = {.busy_ns = 700 * MS,
					 .ungated_cu_ns = 700e6 * 45,
					 .flop = 2.2e12,
					 .bytes = 1.1e11};
	const struct plant_device *d = fixture.device;

	(void)state;
	without_leakage();
	fixture.device->idle_active_share = 0.25;
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		double cu_w = plant_cu_active_idle_w(d, d->level_mhz[levels[i]]);
		double v = d->level_mv[levels[i]] / 1058, before_j, expected_j;

		new_card(1.05);
		plant_card_set_perf_level(fixture.card, PLANT_PERF_MANUAL);
		plant_card_set_range(fixture.card, levels[i], levels[i]);
		step(NSEC_PER_SEC, 0);
		before_j = get().energy_j;
		plant_card_step(fixture.card, fixture.now_ns + NSEC_PER_SEC, &a);
		expected_j = d->idle_w + 0.7 * d->uncore_w + 0.7 * 45 * cu_w;
		expected_j += 2.2e12 * d->pj_per_flop * 1e-12 * v * v;
		expected_j += 1.1e11 * d->pj_per_byte * 1e-12;
		if (levels[i] > d->dpm_idle_level)
			expected_j += 0.3 * 0.25 * (d->uncore_w + 60 * cu_w);
		assert_close("energy", get().energy_j - before_j, 1.05 * expected_j, 1e-6);
		assert_close("power", get().power_w, 1.05 * expected_j, 1e-6);
		drop_card(NULL);
	}
}

static void test_the_uncore_is_drawn_by_kernels_that_use_the_memory(void **state)
{
	/* Busy half of the second, so a rate while busy of twice these. */
	static const struct {
		double bytes, share;
	} cases[] = {{0, 0}, {0.05e9, 0.1}, {0.5e9, 1}, {1e11, 1}};
	const struct plant_device *d = fixture.device;

	(void)state;
	without_leakage();
	fixture.device->uncore_gbps = 1;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct plant_activity a = {.busy_ns = 500 * MS, .bytes = cases[i].bytes};

		new_card(1);
		plant_card_step(fixture.card, fixture.now_ns + NSEC_PER_SEC, &a);
		assert_close("power", get().power_w,
			     d->idle_w + 0.5 * cases[i].share * d->uncore_w +
				     cases[i].bytes * d->pj_per_byte * 1e-12,
			     1e-9);
		drop_card(NULL);
	}
}

static void test_energy_does_not_depend_on_how_time_is_cut(void **state)
{
	static const uint64_t steps_ns[] = {100 * MS, 2 * MS, MS / 2, 130000};
	double energies[ARRAY_SIZE(steps_ns)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(steps_ns); i++) {
		uint64_t total_ns = 1300 * MS;

		new_card(1);
		plant_card_set_perf_level(fixture.card, PLANT_PERF_HIGH);
		step(100 * MS, 0);
		for (uint64_t done = 0; done < total_ns; done += steps_ns[i])
			step(steps_ns[i], 0.6);
		energies[i] = get().energy_j;
		drop_card(NULL);
	}
	for (size_t i = 1; i < ARRAY_SIZE(steps_ns); i++)
		assert_close("energy", energies[i] / energies[0], 1, 1e-4);
}

static void test_a_switch_inside_a_step_is_billed_from_its_moment(void **state)
{
	const struct plant_activity busy = {.busy_ns = 1000 * MS, .ungated_cu_ns = 60e9};
	const struct plant_device *d = fixture.device;
	double before_j, low_w, high_w;

	(void)state;
	without_leakage();
	fixture.device->switch_ms = 123.456789;
	new_card(1);
	plant_card_set_perf_level(fixture.card, PLANT_PERF_LOW);
	step(NSEC_PER_SEC, 0);
	before_j = get().energy_j;
	plant_card_set_perf_level(fixture.card, PLANT_PERF_HIGH);
	plant_card_step(fixture.card, fixture.now_ns + NSEC_PER_SEC, &busy);
	low_w = d->idle_w + 60 * plant_cu_active_idle_w(d, 925);
	high_w = d->idle_w + 60 * plant_cu_active_idle_w(d, 1725);
	assert_close("energy", get().energy_j - before_j,
		     0.123456789 * low_w + (1 - 0.123456789) * high_w, 1e-6);
}

static double saturated_w(uint32_t mhz, enum plant_gating gating, struct cu_shape shape)
{
	struct plant_device *d = fixture.device;
	struct plant_cost cost = plant_request_cost(d, fixture.model, mhz, shape, 1);
	double v = plant_voltage_mv(d, mhz) / plant_voltage_mv(d, 1725);

	return d->idle_w + d->uncore_w +
	       plant_ungated_cus(d, gating, shape) * plant_cu_active_idle_w(d, mhz) +
	       (cost.flop * d->pj_per_flop * v * v + cost.bytes * d->pj_per_byte) / cost.ns * 1e-3;
}

static void test_the_formula_above_is_what_a_saturated_card_draws(void **state)
{
	(void)state;
	without_leakage();
	new_card(1);
	run(500 * MS, 1);
	assert_close("power", get().power_w,
		     saturated_w(1725, PLANT_GATING_NONE, (struct cu_shape){0, 0}), 0.01);
}

static void test_without_gating_power_is_flat_to_32_cus_and_dips_below(void **state)
{
	static const struct cu_shape flat[] = {{4, 14}, {4, 12}, {3, 15}, {3, 11}};
	double all_w, half_w, quarter_w, few_w;

	(void)state;
	all_w = saturated_w(1725, PLANT_GATING_NONE, (struct cu_shape){0, 0});
	half_w = saturated_w(1725, PLANT_GATING_NONE, (struct cu_shape){2, 15});
	quarter_w = saturated_w(1725, PLANT_GATING_NONE, (struct cu_shape){1, 15});
	few_w = saturated_w(1725, PLANT_GATING_NONE, (struct cu_shape){1, 1});
	for (size_t i = 0; i < ARRAY_SIZE(flat); i++)
		assert_close("power", saturated_w(1725, PLANT_GATING_NONE, flat[i]) / all_w, 0.98,
			     0.021);
	assert_true(saturated_w(1725, PLANT_GATING_NONE, (struct cu_shape){3, 10}) - half_w > 5);
	assert_true(half_w > quarter_w && quarter_w > few_w);
	/* The dip is greatest at the highest clocks. */
	assert_true(saturated_w(1725, PLANT_GATING_NONE, (struct cu_shape){3, 10}) - half_w >
		    saturated_w(925, PLANT_GATING_NONE, (struct cu_shape){3, 10}) -
			    saturated_w(925, PLANT_GATING_NONE, (struct cu_shape){2, 15}));
}

static void test_with_gating_30_cus_draw_less_than_31_by_a_whole_engine_or_one_cu(void **state)
{
	const struct cu_shape cus_31 = {3, 10}, cus_30 = {2, 15};
	double cu_w = plant_cu_active_idle_w(fixture.device, 1725);
	double work_w = saturated_w(1725, PLANT_GATING_CU, cus_31) -
			saturated_w(1725, PLANT_GATING_CU, cus_30);

	(void)state;
	/* Both shapes have 30 CUs, so what is left is the work's own difference. */
	assert_close("CU", work_w, 0, 3);
	assert_close("SE",
		     saturated_w(1725, PLANT_GATING_SE, cus_31) -
			     saturated_w(1725, PLANT_GATING_SE, cus_30),
		     work_w + 15 * cu_w, 1e-9);
}

static void test_cu_gating_saves_at_least_what_se_gating_does(void **state)
{
	struct cu_shape shapes[64];
	int n = cu_shapes(&fixture.device->topology, shapes, 64);

	(void)state;
	assert_int_equal(n, 32);
	for (int i = 0; i < n; i++) {
		double none = saturated_w(1725, PLANT_GATING_NONE, shapes[i]);
		double se = saturated_w(1725, PLANT_GATING_SE, shapes[i]);
		double cu = saturated_w(1725, PLANT_GATING_CU, shapes[i]);

		assert_true(cu <= se && se <= none);
	}
}

static void test_between_requests_a_clocked_card_draws_the_named_share(void **state)
{
	const struct plant_device *d = fixture.device;
	double active_idle_w = d->uncore_w + 60 * d->cu_active_idle_w;

	(void)state;
	without_leakage();
	fixture.device->idle_active_share = 0.5;
	new_card(1);
	step(NSEC_PER_SEC, 0);
	assert_close("at rest", get().power_w, 15, 1e-9);
	plant_card_set_perf_level(fixture.card, PLANT_PERF_HIGH);
	step(NSEC_PER_SEC, 0);
	step(NSEC_PER_SEC, 0);
	assert_close("held at the top", get().power_w, 15 + 0.5 * active_idle_w, 1e-9);
}

/* ---- DPM and limits ---- */

static void test_a_busy_card_in_auto_goes_to_the_top_within_the_ramp(void **state)
{
	static const double ramps_ms[] = {0, 5, 50};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ramps_ms); i++) {
		uint64_t waited_ns = 0;

		fixture.device->dpm_ramp_ms = ramps_ms[i];
		new_card(1);
		step(100 * MS, 0);
		for (; get().sclk_mhz != 1725; waited_ns += MS / 10)
			step(MS / 10, 1);
		assert_true(waited_ns <= MS / 10 + (uint64_t)(ramps_ms[i] * 1e6));
		/* The share that it follows passes dpm_up_busy after -ln(1 - up) ramps. */
		assert_close("ramp", (double)waited_ns * 1e-6,
			     -log(1 - fixture.device->dpm_up_busy) * ramps_ms[i], 0.11);
		drop_card(NULL);
	}
}

static void test_an_idle_card_in_auto_comes_down_to_930_mhz_level_by_level(void **state)
{
	uint32_t mhz, falls = 0;

	(void)state;
	new_card(1);
	run(200 * MS, 1);
	mhz = get().sclk_mhz;
	assert_int_equal(mhz, 1725);
	for (int i = 0; i < 1000; i++) {
		step(MS, 0);
		assert_true(get().sclk_mhz <= mhz);
		falls += get().sclk_mhz < mhz;
		mhz = get().sclk_mhz;
	}
	assert_int_equal(mhz, 930);
	assert_int_equal(falls, 7);
}

/* Shares of time at the top under requests of service_ms that come at random (Poisson). */
static double share_at_top(double load, double service_ms)
{
	double at_top = 0, free_ms = 0, next_ms = 0;
	uint64_t n = 0;

	new_card(1);
	for (int t = 0; t < 20000; t++) {
		double busy_ms = 0;

		while (next_ms < t + 1) {
			free_ms = fmax(free_ms, next_ms) + service_ms;
			next_ms += plant_exponential(5, n++) * service_ms / load;
		}
		busy_ms = CLAMP(free_ms - t, 0.0, 1.0);
		step(MS, busy_ms);
		at_top += get().sclk_mhz == 1725;
	}
	drop_card(NULL);
	return at_top / 20000;
}

static void test_a_moderately_busy_card_in_auto_is_mostly_at_the_top(void **state)
{
	static const double services_ms[] = {1.4, 2.8, 8.5};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(services_ms); i++) {
		assert_true(share_at_top(0.3, services_ms[i]) > 0.6);
		assert_true(share_at_top(0.5, services_ms[i]) > 0.85);
		assert_true(share_at_top(0.01, services_ms[i]) < 0.3);
	}
}

static void test_levels_and_ranges_bound_the_clock(void **state)
{
	static const struct {
		enum plant_perf_level level;
		int low, high; /* of the range; -1: not written */
		uint32_t idle_mhz, busy_mhz;
	} cases[] = {
		{PLANT_PERF_AUTO, -1, -1, 930, 1725},  {PLANT_PERF_LOW, -1, -1, 925, 925},
		{PLANT_PERF_HIGH, -1, -1, 1725, 1725}, {PLANT_PERF_MANUAL, -1, -1, 930, 1725},
		{PLANT_PERF_MANUAL, 0, 3, 930, 1143},  {PLANT_PERF_MANUAL, 0, 0, 925, 925},
		{PLANT_PERF_MANUAL, 5, 5, 1386, 1386}, {PLANT_PERF_MANUAL, 4, 8, 1282, 1725},
		{PLANT_PERF_MANUAL, 0, 99, 930, 1725}, {PLANT_PERF_AUTO, 2, 3, 930, 1725},
		{PLANT_PERF_LOW, 2, 3, 925, 925},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		new_card(1);
		plant_card_set_perf_level(fixture.card, cases[i].level);
		if (cases[i].low >= 0)
			plant_card_set_range(fixture.card, (uint32_t)cases[i].low,
					     (uint32_t)cases[i].high);
		step(NSEC_PER_SEC, 0);
		assert_int_equal(get().sclk_mhz, cases[i].idle_mhz);
		run(200 * MS, 1);
		assert_int_equal(get().sclk_mhz, cases[i].busy_mhz);
		drop_card(NULL);
	}
}

static void test_ranges_survive_manual_and_end_with_auto_low_and_high(void **state)
{
	static const struct {
		enum plant_perf_level through;
		uint32_t low, high; /* of the range that manual then finds */
	} cases[] = {
		{PLANT_PERF_MANUAL, 2, 4},
		{PLANT_PERF_AUTO, 0, 8},
		{PLANT_PERF_LOW, 0, 0},
		{PLANT_PERF_HIGH, 8, 8},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		new_card(1);
		plant_card_set_perf_level(fixture.card, PLANT_PERF_MANUAL);
		plant_card_set_range(fixture.card, 2, 4);
		plant_card_set_perf_level(fixture.card, cases[i].through);
		plant_card_set_perf_level(fixture.card, PLANT_PERF_MANUAL);
		assert_int_equal(get().perf_level, PLANT_PERF_MANUAL);
		assert_int_equal(get().range_low, cases[i].low);
		assert_int_equal(get().range_high, cases[i].high);
		drop_card(NULL);
	}
}

static void test_the_clock_follows_a_write_after_the_switch_time(void **state)
{
	static const double switches_ms[] = {0, 1, 10, 50, 200};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(switches_ms); i++) {
		uint64_t switch_ns = (uint64_t)(switches_ms[i] * 1e6), due_ns;

		fixture.device->switch_ms = switches_ms[i];
		new_card(1);
		run(300 * MS, 1);
		plant_card_set_perf_level(fixture.card, PLANT_PERF_MANUAL);
		plant_card_set_range(fixture.card, 0, 2);
		due_ns = fixture.now_ns + switch_ns;
		assert_int_equal(get().sclk_next_ns, due_ns);
		assert_int_equal(get().sclk_next_mhz, 1032);
		if (switch_ns > 0)
			step(switch_ns - 1, 1);
		assert_int_equal(get().sclk_mhz, 1725);
		step(1, 1);
		assert_int_equal(get().sclk_mhz, 1032);
		assert_int_equal(get().sclk_next_mhz, 1032);
		assert_true(get().sclk_next_ns == UINT64_MAX);
		drop_card(NULL);
	}
}

static void test_a_raised_limit_acts_on_a_busy_card_at_the_switch(void **state)
{
	(void)state;
	new_card(1);
	plant_card_set_perf_level(fixture.card, PLANT_PERF_MANUAL);
	plant_card_set_range(fixture.card, 0, 2);
	run(300 * MS, 1);
	assert_int_equal(get().sclk_mhz, 1032);
	plant_card_set_range(fixture.card, 0, 8);
	assert_int_equal(get().sclk_next_mhz, 1725);
	step(10 * MS, 1);
	assert_int_equal(get().sclk_mhz, 1725);
}

static void test_a_second_write_replaces_the_first_and_the_same_again_changes_nothing(void **state)
{
	uint64_t first_ns;

	(void)state;
	new_card(1);
	run(300 * MS, 1);
	plant_card_set_perf_level(fixture.card, PLANT_PERF_MANUAL);
	plant_card_set_range(fixture.card, 0, 2);
	first_ns = get().sclk_next_ns;
	step(4 * MS, 1);
	plant_card_set_range(fixture.card, 0, 2);
	assert_int_equal(get().sclk_next_ns, first_ns);
	plant_card_set_range(fixture.card, 0, 4);
	assert_int_equal(get().sclk_next_ns, first_ns + 4 * MS);
	assert_int_equal(get().sclk_next_mhz, 1282);
	step(9 * MS, 1);
	assert_int_equal(get().sclk_mhz, 1725);
	/* Back to what is in force: nothing is left to wait for. */
	plant_card_set_range(fixture.card, 0, 8);
	assert_true(get().sclk_next_ns == UINT64_MAX);
	step(20 * MS, 1);
	assert_int_equal(get().sclk_mhz, 1725);
}

/* ---- limiters ---- */

static void test_a_power_cap_throttles_below_the_soft_range_if_need_be(void **state)
{
	double energy_j;

	(void)state;
	new_card(1);
	plant_card_set_perf_level(fixture.card, PLANT_PERF_HIGH);
	run(NSEC_PER_SEC, 1);
	assert_int_equal(get().sclk_mhz, 1725);
	assert_false(get().throttled_power);
	plant_card_set_cap_uw(fixture.card, 160 * UW_PER_W);
	assert_int_equal(get().cap_uw, 160 * UW_PER_W);
	run(NSEC_PER_SEC, 1);
	assert_true(get().throttled_power);
	assert_true(get().sclk_mhz < 1725);
	energy_j = get().energy_j;
	run(NSEC_PER_SEC, 1);
	assert_true(get().energy_j - energy_j <= 160);
	/* Not lower than it must: the next level up would be over the cap. */
	assert_true(get().energy_j - energy_j > 160 * 0.85);
	plant_card_set_cap_uw(fixture.card, 225 * UW_PER_W);
	run(NSEC_PER_SEC, 1);
	assert_int_equal(get().sclk_mhz, 1725);
	assert_false(get().throttled_power);
}

static void test_a_cap_that_cannot_be_met_leaves_the_lowest_clock(void **state)
{
	(void)state;
	new_card(1);
	plant_card_set_cap_uw(fixture.card, 20 * UW_PER_W);
	run(NSEC_PER_SEC, 1);
	assert_int_equal(get().sclk_mhz, 925);
	assert_true(get().throttled_power);
}

/* Clock changes in a second under a cap, after one second to settle. */
static uint32_t changes_under_cap(uint64_t cap_w)
{
	uint32_t changes = 0, mhz;

	new_card(1);
	plant_card_set_cap_uw(fixture.card, cap_w * UW_PER_W);
	run(NSEC_PER_SEC, 1);
	mhz = get().sclk_mhz;
	for (int i = 0; i < 1000; i++) {
		step(MS, 1);
		changes += get().sclk_mhz != mhz;
		mhz = get().sclk_mhz;
	}
	drop_card(NULL);
	return changes;
}

static void test_a_cap_does_not_make_the_clock_flutter(void **state)
{
	static const double pj_per_flop[] = {1.5, 8};

	(void)state;
	/* One change is heat's: a card at the edge of its cap leaks itself over it. */
	for (size_t i = 0; i < ARRAY_SIZE(pj_per_flop); i++) {
		fixture.device->pj_per_flop = pj_per_flop[i];
		for (uint64_t cap_w = 120; cap_w <= 220; cap_w++)
			assert_in_range(changes_under_cap(cap_w), 0, 1);
	}
}

static void test_temperature_follows_one_time_constant(void **state)
{
	const struct plant_device *d = fixture.device;
	double power_w;

	(void)state;
	without_leakage();
	new_card(1);
	plant_card_set_perf_level(fixture.card, PLANT_PERF_HIGH);
	step(11 * MS, 0);
	step((uint64_t)(d->thermal_tau_s * 1e9), 1);
	power_w = get().power_w;
	assert_close("after one tau", get().temp_c,
		     d->ambient_c + power_w * d->thermal_ohm_k_per_w * (1 - exp(-1)), 0.02);
	step(10 * (uint64_t)(d->thermal_tau_s * 1e9), 1);
	assert_close("at last", get().temp_c, d->ambient_c + power_w * d->thermal_ohm_k_per_w,
		     0.01);
	assert_true(get().temp_c < d->throttle_c);
	assert_false(get().throttled_thermal);
}

static void test_a_hot_card_leaks_by_temperature_and_voltage(void **state)
{
	static const struct {
		enum plant_perf_level level;
		double mv;
	} cases[] = {{PLANT_PERF_HIGH, 1058}, {PLANT_PERF_LOW, 741}};
	const struct plant_device *d = fixture.device;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		double cold_w, hot_w, share = pow(cases[i].mv / 1058, 2);

		new_card(1);
		plant_card_set_perf_level(fixture.card, cases[i].level);
		step(11 * MS, 0);
		step(MS, 1);
		cold_w = get().power_w;
		step(600 * NSEC_PER_SEC, 1);
		step(MS, 1);
		hot_w = get().power_w;
		assert_close("leakage", hot_w - cold_w,
			     d->leakage_w_per_k * share * (get().temp_c - 19), 0.01);
		drop_card(NULL);
	}
}

static void test_heat_throttles_step_by_step_and_lets_go(void **state)
{
	struct plant_card_state s;

	(void)state;
	fixture.device->ambient_c = 55; /* a fan has failed */
	fixture.device->thermal_tau_s = 1;
	new_card(1);
	plant_card_set_perf_level(fixture.card, PLANT_PERF_HIGH);
	run(20 * NSEC_PER_SEC, 1);
	s = get();
	assert_true(s.throttled_thermal);
	assert_true(s.sclk_mhz < 1725 && s.sclk_mhz > 925);
	assert_true(s.temp_c >= fixture.device->throttle_c - 1);
	assert_true(s.temp_c < fixture.device->emergency_c);
	run(5 * NSEC_PER_SEC, 0);
	assert_false(get().throttled_thermal);
	assert_int_equal(get().sclk_mhz, 1725);
}

static void test_at_the_emergency_temperature_the_clock_is_the_lowest(void **state)
{
	(void)state;
	fixture.device->ambient_c = 98;
	fixture.device->thermal_tau_s = 1;
	new_card(1);
	plant_card_set_perf_level(fixture.card, PLANT_PERF_HIGH);
	run(10 * NSEC_PER_SEC, 1);
	assert_true(get().temp_c > fixture.device->emergency_c);
	assert_int_equal(get().sclk_mhz, 925);
}

/* ---- sensors ---- */

static void test_the_power_sensor_has_its_resolution(void **state)
{
	static const double resolutions_w[] = {1, 0.5, 2};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(resolutions_w); i++) {
		fixture.device->power_resolution_w = resolutions_w[i];
		new_card(1);
		for (int t = 0; t < 300; t++) {
			step(MS, 0.01 * (t % 100));
			assert_int_equal(get().sensor_power_uw % (uint64_t)(resolutions_w[i] * 1e6),
					 0);
		}
		drop_card(NULL);
	}
}

static void test_sensors_hold_still_for_their_period(void **state)
{
	uint64_t last_uw, last_change_ns = 0;
	uint32_t changes = 0;

	(void)state;
	fixture.device->sensor_period_ms = 500;
	new_card(1);
	last_uw = get().sensor_power_uw;
	for (int t = 0; t < 5000; t++) {
		step(MS, t / 700 % 2);
		if (get().sensor_power_uw == last_uw)
			continue;
		last_uw = get().sensor_power_uw;
		if (changes++ > 0)
			assert_int_equal((fixture.now_ns / MS - last_change_ns / MS) % 500, 0);
		last_change_ns = fixture.now_ns;
	}
	assert_in_range(changes, 5, 10);
}

static void test_sensor_noise_is_unbiased_and_as_large_as_named(void **state)
{
	double sum = 0, squares = 0, mean_w, true_w;

	(void)state;
	without_leakage();
	fixture.device->sensor_noise_w = 3;
	new_card(1);
	run(500 * MS, 1);
	true_w = get().power_w;
	for (int t = 0; t < 20000; t++) {
		double read_w;

		step(MS, 1);
		read_w = (double)get().sensor_power_uw * 1e-6;
		sum += read_w;
		squares += read_w * read_w;
	}
	mean_w = sum / 20000;
	assert_close("mean", mean_w, true_w, 5 * 3 / sqrt(20000));
	/* Rounding to whole watts adds 1/12. */
	assert_close("spread", sqrt(squares / 20000 - mean_w * mean_w), sqrt(9 + 1. / 12), 0.1);
}

static void test_sensors_say_what_the_card_does(void **state)
{
	(void)state;
	fixture.device->sensor_noise_w = 0;
	new_card(1);
	assert_int_equal(get().sensor_busy_percent, 0);
	assert_int_equal(get().sensor_sclk_mhz, 930);
	run(500 * MS, 0.5);
	assert_int_equal(get().sensor_busy_percent, 50);
	assert_int_equal(get().sensor_sclk_mhz, 1725);
	assert_close("power", (double)get().sensor_power_uw * 1e-6, get().power_w, 0.5);
}

static void test_two_cards_of_one_seed_are_alike_and_of_another_are_not(void **state)
{
	uint64_t readings[3][200];
	uint32_t differences = 0;

	(void)state;
	for (int card = 0; card < 3; card++) {
		const struct plant_card_options o = {.seed = card < 2 ? 1 : 2,
						     .time_factor = 1,
						     .power_factor = 1};

		fixture.now_ns = ORIGIN_NS;
		assert_int_equal(plant_card_new(fixture.device, &o, ORIGIN_NS, &fixture.card), 0);
		for (int t = 0; t < 200; t++) {
			step(MS, 0.5);
			readings[card][t] = get().sensor_power_uw;
		}
		drop_card(NULL);
	}
	assert_memory_equal(readings[0], readings[1], sizeof(readings[0]));
	for (int t = 0; t < 200; t++)
		differences += readings[0][t] != readings[2][t];
	assert_true(differences > 20);
}

/* ---- the edges ---- */

static void test_factors_that_are_no_factors_are_refused(void **state)
{
	static const double bad[] = {0, -1, NAN, INFINITY};
	struct plant_card *c = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct plant_card_options time = {.time_factor = bad[i], .power_factor = 1};
		const struct plant_card_options power = {.time_factor = 1, .power_factor = bad[i]};

		assert_int_equal(plant_card_new(fixture.device, &time, 0, &c), -EINVAL);
		assert_int_equal(plant_card_new(fixture.device, &power, 0, &c), -EINVAL);
		assert_null(c);
	}
}

static void test_options_are_kept(void **state)
{
	const struct plant_card_options o = {.gating = PLANT_GATING_SE,
					     .seed = 9,
					     .time_factor = 1.1,
					     .power_factor = 0.9};

	(void)state;
	assert_int_equal(plant_card_new(fixture.device, &o, 0, &fixture.card), 0);
	assert_int_equal(plant_card_get_options(fixture.card)->gating, PLANT_GATING_SE);
	assert_true(plant_card_get_options(fixture.card)->time_factor == 1.1);
}

static void test_a_step_to_the_present_or_the_past_changes_nothing(void **state)
{
	const struct plant_activity a = {.busy_ns = MS, .ungated_cu_ns = 60e6};
	struct plant_card_state before, after;

	(void)state;
	new_card(1);
	step(10 * MS, 1);
	before = get();
	plant_card_step(fixture.card, fixture.now_ns, &a);
	plant_card_step(fixture.card, fixture.now_ns - MS, &a);
	after = get();
	assert_int_equal(after.now_ns, before.now_ns);
	assert_int_equal(after.sclk_mhz, before.sclk_mhz);
	assert_true(after.energy_j == before.energy_j && after.power_w == before.power_w);
	assert_true(after.temp_c == before.temp_c);
}

static void test_busy_time_beyond_the_step_counts_as_the_whole_step(void **state)
{
	const struct plant_activity a = {.busy_ns = 5 * MS, .bytes = 5e6};

	(void)state;
	without_leakage();
	new_card(1);
	plant_card_step(fixture.card, ORIGIN_NS + MS, &a);
	assert_close("power", get().power_w,
		     15 + fixture.device->uncore_w + 5 * fixture.device->pj_per_byte * 1e-3, 1e-9);
}

#define CARD_TEST(f) cmocka_unit_test_setup_teardown(f, copy_device, drop_card)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CARD_TEST(test_an_idle_card_draws_15_w_at_930_mhz),
		CARD_TEST(test_energy_is_the_formula_for_given_activity),
		CARD_TEST(test_the_uncore_is_drawn_by_kernels_that_use_the_memory),
		CARD_TEST(test_energy_does_not_depend_on_how_time_is_cut),
		CARD_TEST(test_a_switch_inside_a_step_is_billed_from_its_moment),
		CARD_TEST(test_the_formula_above_is_what_a_saturated_card_draws),
		CARD_TEST(test_without_gating_power_is_flat_to_32_cus_and_dips_below),
		CARD_TEST(test_with_gating_30_cus_draw_less_than_31_by_a_whole_engine_or_one_cu),
		CARD_TEST(test_cu_gating_saves_at_least_what_se_gating_does),
		CARD_TEST(test_between_requests_a_clocked_card_draws_the_named_share),
		CARD_TEST(test_a_busy_card_in_auto_goes_to_the_top_within_the_ramp),
		CARD_TEST(test_an_idle_card_in_auto_comes_down_to_930_mhz_level_by_level),
		CARD_TEST(test_a_moderately_busy_card_in_auto_is_mostly_at_the_top),
		CARD_TEST(test_levels_and_ranges_bound_the_clock),
		CARD_TEST(test_ranges_survive_manual_and_end_with_auto_low_and_high),
		CARD_TEST(test_the_clock_follows_a_write_after_the_switch_time),
		CARD_TEST(test_a_raised_limit_acts_on_a_busy_card_at_the_switch),
		CARD_TEST(
			test_a_second_write_replaces_the_first_and_the_same_again_changes_nothing),
		CARD_TEST(test_a_power_cap_throttles_below_the_soft_range_if_need_be),
		CARD_TEST(test_a_cap_that_cannot_be_met_leaves_the_lowest_clock),
		CARD_TEST(test_a_cap_does_not_make_the_clock_flutter),
		CARD_TEST(test_temperature_follows_one_time_constant),
		CARD_TEST(test_a_hot_card_leaks_by_temperature_and_voltage),
		CARD_TEST(test_heat_throttles_step_by_step_and_lets_go),
		CARD_TEST(test_at_the_emergency_temperature_the_clock_is_the_lowest),
		CARD_TEST(test_the_power_sensor_has_its_resolution),
		CARD_TEST(test_sensors_hold_still_for_their_period),
		CARD_TEST(test_sensor_noise_is_unbiased_and_as_large_as_named),
		CARD_TEST(test_sensors_say_what_the_card_does),
		CARD_TEST(test_two_cards_of_one_seed_are_alike_and_of_another_are_not),
		CARD_TEST(test_factors_that_are_no_factors_are_refused),
		CARD_TEST(test_options_are_kept),
		CARD_TEST(test_a_step_to_the_present_or_the_past_changes_nothing),
		CARD_TEST(test_busy_time_beyond_the_step_counts_as_the_whole_step),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
