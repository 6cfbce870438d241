/* SPDX-License-Identifier: Apache-2.0 */
/* The shipped profiles: every device and model file loads, and the day's load curve is what its
 * users are told. */
#include "base/macros.h"
#include "plant/plant.h"
#include "support/cmocka-includes.h"
#include <glob.h>
#include <math.h>
#include <string.h>

#define PROFILES COFRIS_SOURCE_DIR "/profiles/"
#define SECONDS	 900

static struct fixture {
	glob_t files;
	bool globbed;
} fixture;

static int find(const char *pattern)
{
	fixture.globbed = true;
	return glob(pattern, 0, NULL, &fixture.files);
}

static int drop_files(void **state)
{
	(void)state;
	if (fixture.globbed)
		globfree(&fixture.files);
	fixture.globbed = false;
	return 0;
}

/* "/a/b/mi50.ini" names "mi50". */
static bool is_called(const char *path, const char *name)
{
	const char *file = strrchr(path, '/') + 1;
	size_t length = strlen(name);

	return strncmp(file, name, length) == 0 && strcmp(file + length, ".ini") == 0;
}

static void test_every_device_loads_and_is_called_as_its_file(void **state)
{
	(void)state;
	assert_int_equal(find(PROFILES "devices/*.ini"), 0);
	for (size_t i = 0; i < fixture.files.gl_pathc; i++) {
		const char *path = fixture.files.gl_pathv[i];
		struct plant_device *d = NULL;
		struct ini_error error;

		if (plant_device_load(path, &d, &error) < 0)
			fail_msg("%s:%u: %s", path, error.line, error.text);
		if (!is_called(path, d->name))
			fail_msg("%s is called %s", path, d->name);
		free(d);
	}
}

static void test_every_model_loads_and_is_called_as_its_file(void **state)
{
	(void)state;
	assert_int_equal(find(PROFILES "models/*.ini"), 0);
	assert_true(fixture.files.gl_pathc >= 5);
	for (size_t i = 0; i < fixture.files.gl_pathc; i++) {
		const char *path = fixture.files.gl_pathv[i];
		struct plant_model *m = NULL;
		struct ini_error error;

		if (is_called(path, "kernels"))
			continue; /* costs by kernel name, no model */
		if (plant_model_load(path, &m, &error) < 0)
			fail_msg("%s:%u: %s", path, error.line, error.text);
		if (!is_called(path, m->name))
			fail_msg("%s is called %s", path, m->name);
		free(m);
	}
}

static void test_the_mi50_is_the_published_card(void **state)
{
	static const uint32_t levels[] = {925, 930, 1032, 1143, 1282, 1386, 1485, 1606, 1725};
	static const uint32_t mclk[] = {350, 800, 1000};
	struct plant_device *d = NULL;
	struct ini_error error;

	(void)state;
	assert_int_equal(plant_device_load(PROFILES "devices/mi50.ini", &d, &error), 0);
	assert_string_equal(d->gfx, "gfx906");
	assert_int_equal(d->pci_device_id, 0x66a1);
	assert_int_equal(d->topology.n_se, 4);
	assert_int_equal(cu_topology_cus(&d->topology), 60);
	assert_int_equal(d->n_levels, ARRAY_SIZE(levels));
	assert_memory_equal(d->level_mhz, levels, sizeof(levels));
	assert_int_equal(d->n_mclk, ARRAY_SIZE(mclk));
	assert_memory_equal(d->mclk_mhz, mclk, sizeof(mclk));
	assert_int_equal(d->vram_bytes, UINT64_C(16) << 30);
	assert_true(d->idle_w == 15 && d->cap_w == 225);
	/* 13.25 TF at the top clock. */
	assert_true(fabs(60 * d->flop_per_clock_cu * 1725e6 - 13.25e12) < 0.01e12);
	free(d);
}

static void read_day(double ret_load[SECONDS])
{
	_cleanup_(fclosep) FILE *file = fopen(PROFILES "loads/day.csv", "re");
	char line[64];
	int second, end;

	assert_non_null(file);
	assert_non_null(fgets(line, sizeof(line), file));
	assert_string_equal(line, "t_s,load\n");
	for (int i = 0; i < SECONDS; i++) {
		assert_non_null(fgets(line, sizeof(line), file));
		assert_int_equal(sscanf(line, "%d,%lf\n%n", &second, &ret_load[i], &end), 2);
		assert_int_equal(second, i);
		assert_int_equal(line[end], '\0');
	}
	assert_null(fgets(line, sizeof(line), file));
}

static void test_the_day_has_a_mean_load_of_0_40_and_stays_inside_0_and_1(void **state)
{
	double load[SECONDS], sum = 0;

	(void)state;
	read_day(load);
	for (int i = 0; i < SECONDS; i++) {
		assert_true(load[i] > 0 && load[i] <= 1);
		sum += load[i];
	}
	assert_true(fabs(sum / SECONDS - 0.40) <= 0.02);
}

static void test_the_day_has_one_burst_of_three_seconds_and_is_smooth_elsewhere(void **state)
{
	double load[SECONDS];
	int bursts = 0, in_burst = 0, jumps = 0;

	(void)state;
	read_day(load);
	for (int i = 1; i < SECONDS; i++) {
		in_burst += load[i] == 1;
		bursts += load[i] == 1 && load[i - 1] != 1;
		jumps += fabs(load[i] - load[i - 1]) > 0.02;
	}
	assert_int_equal(bursts, 1);
	assert_int_equal(in_burst, 3);
	assert_int_equal(jumps, 2); /* into the burst and out of it */
	assert_true(fabs(load[SECONDS - 1] - load[0]) < 0.02);
}

static void test_the_day_has_one_straight_ramp(void **state)
{
	double load[SECONDS], step = 0, rise = 0;
	int run = 0, ramps = 0;

	(void)state;
	read_day(load);
	for (int i = 1; i < SECONDS; i++) {
		double now = load[i] - load[i - 1];

		/* Values are rounded to four places, so equal steps differ by up to two ulps. */
		if (now > 0.003 && fabs(now - step) < 2.5e-4) {
			run++;
			rise += now;
			continue;
		}
		ramps += run >= 50 && rise > 0.25;
		step = now;
		run = 0;
		rise = 0;
	}
	assert_int_equal(ramps, 1);
}

/* Where the estimates from operations, weights and launches put a request at the top clock, ms, at
 * a batch of 1. */
static const struct {
	const char *model;
	double low_ms, high_ms;
} latencies[] = {
	{"albert", 4.5, 7.7},	  {"alexnet", 0.6, 1.0}, {"densenet201", 5, 9},
	{"resnet152", 6.5, 12},	  {"resnext101", 8, 20}, {"shufflenet", 1.3, 3},
	{"squeezenet", 0.6, 1.5}, {"vgg19", 6, 11},	 {"resnet50", 2.5, 3.5},
	{"bert-base", 4.5, 6},	  {"densenet121", 3, 6}, {"roberta-base", 4, 6},
};

static void test_requests_take_as_long_as_estimated(void **state)
{
	_cleanup_(freep) struct plant_device *d = NULL;
	struct ini_error error;

	(void)state;
	assert_int_equal(plant_device_load(PROFILES "devices/mi50.ini", &d, &error), 0);
	for (size_t i = 0; i < ARRAY_SIZE(latencies); i++) {
		_cleanup_(freep) struct plant_model *m = NULL;
		char path[256];
		double ms;

		(void)snprintf(path, sizeof(path), PROFILES "models/%s.ini", latencies[i].model);
		assert_int_equal(plant_model_load(path, &m, &error), 0);
		ms = plant_request_cost(d, m, 1725, (struct cu_shape){0}, 1).ns / 1e6;
		if (ms < latencies[i].low_ms || ms > latencies[i].high_ms)
			fail_msg("%s: %.3f ms", latencies[i].model, ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_every_device_loads_and_is_called_as_its_file,
					  drop_files),
		cmocka_unit_test_teardown(test_every_model_loads_and_is_called_as_its_file,
					  drop_files),
		cmocka_unit_test(test_the_mi50_is_the_published_card),
		cmocka_unit_test(test_requests_take_as_long_as_estimated),
		cmocka_unit_test(test_the_day_has_a_mean_load_of_0_40_and_stays_inside_0_and_1),
		cmocka_unit_test(
			test_the_day_has_one_burst_of_three_seconds_and_is_smooth_elsewhere),
		cmocka_unit_test(test_the_day_has_one_straight_ramp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
