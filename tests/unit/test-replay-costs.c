/* SPDX-License-Identifier: Apache-2.0 */
/* Memoised executions against a card that is stepped through every launch of them. */
#include "base/macros.h"
#include "base/units.h"
#include "replay/truth.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <glob.h>
#include <math.h>
#include <string.h>

#define MI50	   COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini"
#define MODELS	   COFRIS_SOURCE_DIR "/profiles/models/*.ini"
#define TOLERANCE  0.001 /* of time and energy */
#define MAX_MODELS 32

static struct fixture {
	struct plant_device *device;
	uint32_t n_models;
	struct plant_model *models[MAX_MODELS];
} fixture;

static int load(void **state)
{
	struct ini_error error;
	glob_t found = {0};
	int r;

	(void)state;
	r = plant_device_load(MI50, &fixture.device, &error);
	if (r < 0 || glob(MODELS, 0, NULL, &found) != 0)
		return -1;
	for (size_t i = 0; i < found.gl_pathc && fixture.n_models < MAX_MODELS; i++) {
		if (strstr(found.gl_pathv[i], "/kernels.ini")) /* no model */
			continue;
		r = plant_model_load(found.gl_pathv[i], &fixture.models[fixture.n_models++],
				     &error);
		if (r < 0)
			return -1;
	}
	globfree(&found);
	return 0;
}

static int unload(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < fixture.n_models; i++)
		free(fixture.models[i]);
	free(fixture.device);
	return 0;
}

/* Costs are about a card as cool as an idle one, which nothing limits. */
static struct truth cool_truth(enum plant_gating gating, double time_factor, double power_factor)
{
	const struct truth_options o = {.gating = gating,
					.switch_ms = 0,
					.dpm_ramp_ms = -1,
					.idle_active_share = -1};
	struct truth t;

	assert_int_equal(truth_bench(fixture.device, &o, &t), 0);
	t.device.leakage_w_per_k = 0;
	t.device.thermal_ohm_k_per_w = 0;
	t.device.cap_w = t.device.cap_max_w = 10000;
	t.card.time_factor = time_factor;
	t.card.power_factor = power_factor;
	return t;
}

struct stepped {
	double ns, energy_j;
};

/* One request, each launch with its own rates. */
static struct stepped step_request(const struct truth *t, const struct plant_model *m,
				   uint32_t level, struct cu_shape shape, uint32_t batch)
{
	_cleanup_(plant_card_freep) struct plant_card *card = NULL;
	uint32_t ungated = plant_ungated_cus(&t->device, t->card.gating, shape);
	struct plant_card_state before, after;
	struct stepped stepped = {0};
	uint64_t now_ns = NSEC_PER_MSEC;

	assert_int_equal(plant_card_new(&t->device, &t->card, 0, &card), 0);
	plant_card_set_perf_level(card, PLANT_PERF_MANUAL);
	plant_card_set_range(card, level, level);
	plant_card_step(card, now_ns, &(struct plant_activity){0});
	plant_card_get(card, &before);
	for (uint32_t i = 0; i < m->n_kernels; i++) {
		const struct plant_kernel *k = &m->kernels[i];
		struct plant_launch l = {
			.workgroups = (double)k->workgroups * batch,
			.flop_per_workgroup = k->flop / k->workgroups,
			.bytes = k->fixed_bytes + (k->bytes - k->fixed_bytes) * batch,
		};
		double ns = plant_launch_ns(&t->device, &l, t->device.level_mhz[level], shape) *
			    t->card.time_factor;

		for (uint32_t n = 0; n < k->count; n++) {
			uint64_t end_ns;

			stepped.ns += ns;
			end_ns = NSEC_PER_MSEC + (uint64_t)llround(stepped.ns);
			plant_card_step(card, end_ns,
					&(struct plant_activity){.busy_ns = end_ns - now_ns,
								 .ungated_cu_ns =
									 ungated *
									 (double)(end_ns - now_ns),
								 .flop = k->flop * batch,
								 .bytes = l.bytes});
			now_ns = end_ns;
		}
	}
	plant_card_get(card, &after);
	assert_int_equal(after.sclk_mhz, t->device.level_mhz[level]);
	stepped.energy_j = after.energy_j - before.energy_j;
	return stepped;
}

static bool is_near(double a, double b)
{
	return fabs(a - b) <= TOLERANCE * fabs(b);
}

static void check_request(const struct truth *t, const struct costs *c, const struct plant_model *m,
			  uint32_t level, uint32_t shape, uint32_t batch)
{
	uint32_t n;
	struct cu_shape s = costs_shapes(c, &n)[shape];
	struct stepped stepped = step_request(t, m, level, s, batch);
	double ns = costs_get(c, level, shape, batch).ns;
	double energy_j = costs_busy_w(c, level, shape, batch) * ns * 1e-9;

	if (!is_near(ns, stepped.ns) || !is_near(energy_j, stepped.energy_j))
		fail_msg("%s at %u MHz on %u x %u, batch %u: %.1f ns and %.6f J, stepped %.1f ns "
			 "and %.6f J",
			 m->name, t->device.level_mhz[level], s.n_se, s.cus_per_se, batch, ns,
			 energy_j, stepped.ns, stepped.energy_j);
}

static const struct costs_options some_batches = {.n_batches = 2, .batches = {1, 8}};

static void check_model(const struct truth *t, const struct plant_model *m)
{
	static const uint32_t batches[] = {1, 3, 8, 24};
	_cleanup_(costs_freep) struct costs *c = NULL;
	uint32_t n_shapes;

	assert_int_equal(costs_new(t, m, &some_batches, &c), 0);
	(void)costs_shapes(c, &n_shapes);
	assert_true(n_shapes > 8);
	for (uint32_t level = 0; level < t->device.n_levels; level += 4)
		for (uint32_t shape = 0; shape < n_shapes; shape++)
			for (size_t b = 0; b < ARRAY_SIZE(batches); b++)
				if (shape % 5 == 1 || shape == n_shapes - 1)
					check_request(t, c, m, level, shape, batches[b]);
}

static void costs_are_those_of_every_launch(void **state)
{
	(void)state;
	for (enum plant_gating g = PLANT_GATING_NONE; g <= PLANT_GATING_CU; g++) {
		struct truth t = cool_truth(g, 1, 1), other = cool_truth(g, 1.1, 0.93);

		for (uint32_t i = 0; i < fixture.n_models; i++)
			check_model(i % 2 ? &other : &t, fixture.models[i]);
	}
}

/* A card that is stepped through parts of requests, idle in between, as an event simulation does.
 */
static void check_parts(const struct truth *t, const struct costs *c, uint32_t level,
			uint32_t shape)
{
	_cleanup_(plant_card_freep) struct plant_card *card = NULL;
	const struct plant_cost cost = costs_get(c, level, shape, 1);
	uint32_t n,
		ungated = plant_ungated_cus(&t->device, t->card.gating, costs_shapes(c, &n)[shape]);
	const uint64_t step_ns = 3 * NSEC_PER_MSEC, steps = 400;
	struct plant_card_state before, after;
	double busy_ns = 0, expected_j;

	assert_int_equal(plant_card_new(&t->device, &t->card, 0, &card), 0);
	plant_card_set_perf_level(card, PLANT_PERF_MANUAL);
	plant_card_set_range(card, level, level);
	plant_card_step(card, step_ns, &(struct plant_activity){0});
	plant_card_get(card, &before);
	for (uint64_t i = 1; i <= steps; i++) {
		uint64_t busy = i % 4 * step_ns / 3;
		double part = (double)busy / cost.ns;

		plant_card_step(card, (i + 1) * step_ns,
				&(struct plant_activity){
					.busy_ns = busy,
					.ungated_cu_ns = ungated * (double)busy,
					.flop = part * cost.flop,
					.bytes = part * cost.bytes,
					.uncore_ns = part * cost.uncore_ns,
				});
		busy_ns += (double)busy;
	}
	plant_card_get(card, &after);
	expected_j = costs_busy_w(c, level, shape, 1) * busy_ns +
		     costs_idle_w(c, level) * ((double)(steps * step_ns) - busy_ns);
	assert_true(is_near(after.energy_j - before.energy_j, expected_j * 1e-9));
}

static void parts_of_a_request_add_up(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < fixture.n_models; i++) {
		_cleanup_(costs_freep) struct costs *c = NULL;
		struct truth t = cool_truth(PLANT_GATING_SE, 1.05, 1.02);
		uint32_t n_shapes;

		t.device.idle_active_share = 0.4;
		assert_int_equal(costs_new(&t, fixture.models[i], &some_batches, &c), 0);
		(void)costs_shapes(c, &n_shapes);
		for (uint32_t level = 0; level < t.device.n_levels; level += 4)
			for (uint32_t shape = 0; shape < n_shapes; shape += 10)
				check_parts(&t, c, level, shape);
	}
}

/* What is in the options, what lies between and what lies beyond come from one formula. */
static void parts_of_a_batch_are_exact(void **state)
{
	static const struct costs_options all[] = {
		{.n_batches = 1, .batches = {1}},
		{.n_batches = 3, .batches = {1, 4, 16}},
		{.n_batches = 3, .batches = {1, 4, 256}},
	};
	struct truth t = cool_truth(PLANT_GATING_SE, 1, 1);
	const struct plant_model *m = fixture.models[0];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		_cleanup_(costs_freep) struct costs *c = NULL;

		assert_int_equal(costs_new(&t, m, &all[i], &c), 0);
		for (uint32_t batch = 1; batch <= 300; batch++) {
			struct plant_cost expected =
				plant_request_cost(&t.device, m, t.device.level_mhz[2],
						   (struct cu_shape){2, 10}, batch);
			int shape = costs_shape_index(c, (struct cu_shape){2, 10});
			struct plant_cost cost;

			assert_true(shape >= 0);
			cost = costs_get(c, 2, (uint32_t)shape, batch);
			assert_memory_equal(&cost, &expected, sizeof(cost));
		}
	}
}

static void shapes_are_the_cards(void **state)
{
	_cleanup_(costs_freep) struct costs *c = NULL;
	struct truth t = cool_truth(PLANT_GATING_NONE, 1, 1);
	const struct cu_shape *shapes;
	uint32_t n;

	(void)state;
	assert_int_equal(costs_new(&t, fixture.models[0], &some_batches, &c), 0);
	shapes = costs_shapes(c, &n);
	assert_int_equal(n, 32);
	for (uint32_t i = 0; i < n; i++) {
		assert_int_equal(costs_shape_index(c, shapes[i]), i);
		assert_true(i == 0 || cu_shape_cus(shapes[i]) > cu_shape_cus(shapes[i - 1]));
	}
	assert_int_equal(costs_shape_index(c, (struct cu_shape){0}), n - 1);
	assert_int_equal(costs_shape_index(c, (struct cu_shape){4, 16}), -1);
	assert_int_equal(costs_shape_index(c, (struct cu_shape){4, 1}), -1);
}

static void idle_power_follows_the_limit(void **state)
{
	_cleanup_(costs_freep) struct costs *asleep = NULL, *awake = NULL;
	struct truth t = cool_truth(PLANT_GATING_NONE, 1, 1);
	uint32_t top = t.device.n_levels - 1;

	(void)state;
	t.device.idle_active_share = 0;
	assert_int_equal(costs_new(&t, fixture.models[0], &some_batches, &asleep), 0);
	t.device.idle_active_share = 1;
	assert_int_equal(costs_new(&t, fixture.models[0], &some_batches, &awake), 0);
	assert_true(costs_idle_w(asleep, top) == t.device.idle_w);
	assert_true(costs_idle_w(awake, t.device.dpm_idle_level) == t.device.idle_w);
	assert_true(is_near(costs_idle_w(awake, top),
			    t.device.idle_w + t.device.uncore_w + 60 * t.device.cu_active_idle_w));
}

static void bad_batches_are_refused(void **state)
{
	static const struct costs_options bad[] = {
		{.n_batches = 0},
		{.n_batches = 1, .batches = {2}},
		{.n_batches = 2, .batches = {1, 1}},
		{.n_batches = 3, .batches = {1, 8, 4}},
		{.n_batches = 2, .batches = {1, PLANT_MAX_BATCH + 1}},
		{.n_batches = COSTS_MAX_BATCHES + 1, .batches = {1}},
	};
	struct truth t = cool_truth(PLANT_GATING_NONE, 1, 1);
	struct costs *c = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(costs_new(&t, fixture.models[0], &bad[i], &c), -EINVAL);
		assert_null(c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(costs_are_those_of_every_launch),
		cmocka_unit_test(parts_of_a_request_add_up),
		cmocka_unit_test(parts_of_a_batch_are_exact),
		cmocka_unit_test(shapes_are_the_cards),
		cmocka_unit_test(idle_power_follows_the_limit),
		cmocka_unit_test(bad_batches_are_refused),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
