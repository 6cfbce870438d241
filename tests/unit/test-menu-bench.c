/* SPDX-License-Identifier: Apache-2.0 */
/* Menus of the shipped models, of sweeps of the simulated bench card. */
#include "replay/truth.h"
#include "test-menu-lookup.h"

#define MI50   COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini"
#define MODELS COFRIS_SOURCE_DIR "/profiles/models/"

static struct surface *sweep(const char *name, enum plant_gating gating)
{
	static const struct costs_options one = {.n_batches = 1, .batches = {1}};
	const struct bench_options o = {.batches = &one, .seed = 3};
	const struct truth_options truth = {.gating = gating,
					    .switch_ms = -1,
					    .dpm_ramp_ms = -1,
					    .idle_active_share = -1};
	_cleanup_(freep) struct plant_device *device = NULL;
	_cleanup_(freep) struct plant_model *model = NULL;
	struct surface *s = NULL;
	struct ini_error error;
	char path[256];
	struct truth t;

	(void)snprintf(path, sizeof(path), "%s%s.ini", MODELS, name);
	assert_int_equal(plant_device_load(MI50, &device, &error), 0);
	assert_int_equal(plant_model_load(path, &model, &error), 0);
	assert_int_equal(truth_bench(device, &truth, &t), 0);
	assert_int_equal(bench_sweep(&t, model, &o, &s), 0);
	return s;
}

static void looking_up_gives_the_tables_rows(void **state)
{
	static const char *const names[] = {"resnet50", "alexnet", "vgg19"};
	static const double factors[] = {1.25, 2, 1.5}, costs[] = {7, 0, 1};

	(void)state;
	for (int i = 0; i < 3; i++) {
		_cleanup_(surface_freep) struct surface *s = sweep(names[i], PLANT_GATING_NONE);
		struct table_options o = TABLE_OPTIONS_DEFAULT;

		o.slo_factor = factors[i];
		o.late_cost = costs[i];
		o.gating = (enum table_gating)((i + 2) % 3);
		lookup_check_surface(s, &o);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(looking_up_gives_the_tables_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
