/* SPDX-License-Identifier: Apache-2.0 */
/* Each scenario with one model on one card: their bounds, and that a disturbance disturbs. All of
 * them on more is cofris-replay --experiment disturbances. */
#include "plant/profiles.h"
#include "replay/disturbances.h"
#include "support/cmocka-includes.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SEED UINT64_C(1)

static struct plant_device *device;
static struct plant_model *model;
static struct disturbance_figures *figures;

static struct disturbances_options options_of(const char *only, uint32_t threads)
{
	return (struct disturbances_options){
		.device = device,
		.n_models = 1,
		.models = (const struct plant_model *const *)&model,
		.cards = 1,
		.policy = "cofris",
		.seed = SEED,
		.threads = threads,
		.only = only,
	};
}

static int load(void **state)
{
	struct ini_error error;
	struct evaluation_error why;
	struct disturbances_options o;

	(void)state;
	print_message("seed %lu\n", SEED);
	if (plant_device_load(COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini", &device, &error) <
		    0 ||
	    plant_model_load(COFRIS_SOURCE_DIR "/profiles/models/vgg19.ini", &model, &error) < 0)
		return -1;
	o = options_of(NULL, 2);
	return disturbances_run(&o, &figures, &why);
}

static int unload(void **state)
{
	(void)state;
	free(figures);
	free(model);
	free(device);
	return 0;
}

static const struct disturbance_figures *figures_of(const char *name)
{
	for (uint32_t i = 0; i < disturbances_n; i++)
		if (strcmp(disturbances_all[i].name, name) == 0)
			return &figures[i];
	fail_msg("no scenario %s", name);
	return NULL;
}

/* Of one model on one card: what is declared to be missed is so by the worst of several, and held
 * to that by tests/replay/test_experiments.py. */
static uint32_t count_misses(const struct disturbance *d, const struct disturbance_figures *f)
{
	struct disturbance_judged j;
	uint32_t n = 0;

	for (uint32_t b = 0; b < DISTURBANCE_BOUNDS; b++) {
		if (!disturbance_judge(d, f, (enum disturbance_bound)b, &j) || j.met)
			continue;
		print_message("%s: %s is %.3f, expected %g to %g\n", d->name, j.name, j.ours,
			      j.least, j.most);
		n += !(d->missed & (1u << b));
	}
	return n;
}

static void test_each_scenario_stays_inside_its_bounds(void **state)
{
	uint32_t misses = 0;

	(void)state;
	for (uint32_t i = 0; i < disturbances_n; i++)
		misses += count_misses(&disturbances_all[i], &figures[i]);
	assert_int_equal(misses, 0);
}

/* Otherwise the bounds would say nothing. */
static void test_disturbances_disturb(void **state)
{
	(void)state;
	assert_true(figures_of("liar-fast")->maximum_clock > 0.95);
	assert_true(figures_of("hot")->maximum_clock < 0.85);
	assert_true(figures_of("hot-untold")->maximum_clock < 0.85);
	assert_true(figures_of("throttled")->maximum_clock < 0.65);
	assert_true(figures_of("overload")->maximum_late_pct > 20);
	assert_true(figures_of("burst-beyond")->maximum_late_pct > 5);
	assert_true(figures_of("worker-restart")->maximum_late_pct > 0.5);
	assert_true(figures_of("overload")->recovery_s > 10);
	/* Doubts about card and worker are full speed, which takes more. */
	assert_true(figures_of("input-missing")->power_vs_maximum >
		    figures_of("liar-in-time")->power_vs_maximum);
	assert_true(figures_of("sensors-lost")->power_vs_maximum >
		    figures_of("liar-in-time")->power_vs_maximum);
}

static void test_bounds_are_judged(void **state)
{
	const struct disturbance d = {.excess_late_pct = 0.5, .recovery_s = 10};
	struct disturbance_figures f = {.excess_late_pct = 0.5,
					.recovery_s = 11,
					.end_clock = 0.9,
					.end_power = NAN};
	struct disturbance_judged j;

	(void)state;
	assert_true(disturbance_judge(&d, &f, DISTURBANCE_EXCESS_LATE, &j) && j.met);
	f.excess_late_pct = 0.51;
	assert_true(disturbance_judge(&d, &f, DISTURBANCE_EXCESS_LATE, &j) && !j.met);
	assert_true(disturbance_judge(&d, &f, DISTURBANCE_RECOVERY, &j) && !j.met);
	assert_true(disturbance_judge(&d, &f, DISTURBANCE_END_CLOCK, &j) && !j.met);
	assert_true(disturbance_judge(&d, &f, DISTURBANCE_END_POWER, &j) && !j.met);
	assert_false(disturbance_judge(&d, &f, DISTURBANCE_POWER, &j));
	assert_false(disturbance_judge(&d, &f, DISTURBANCE_OVER_CAP, &j));
}

static void test_threads_and_the_rest_do_not_matter(void **state)
{
	_cleanup_(freep) struct disturbance_figures *alone = NULL;
	struct disturbances_options o = options_of("worker-restart", 1);
	struct evaluation_error why;

	(void)state;
	assert_int_equal(disturbances_run(&o, &alone, &why), 0);
	for (uint32_t i = 0; i < disturbances_n; i++)
		if (strcmp(disturbances_all[i].name, "worker-restart") == 0)
			assert_memory_equal(&alone[i], &figures[i], sizeof(alone[i]));
		else
			assert_true(alone[i].end_clock == 0);
}

static void test_names_are_unique(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < disturbances_n; i++)
		for (uint32_t k = 0; k < i; k++)
			assert_string_not_equal(disturbances_all[i].name, disturbances_all[k].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_scenario_stays_inside_its_bounds),
		cmocka_unit_test(test_disturbances_disturb),
		cmocka_unit_test(test_threads_and_the_rest_do_not_matter),
		cmocka_unit_test(test_bounds_are_judged),
		cmocka_unit_test(test_names_are_unique),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
