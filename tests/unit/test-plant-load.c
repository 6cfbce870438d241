/* SPDX-License-Identifier: Apache-2.0 */
/* The readers of devices and models: what they take, and that everything else is refused with the
 * line and a text that names the field. */
#include "base/macros.h"
#include "plant/plant.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <string.h>

#define MI50 COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini"

#define ONE_KERNEL "[kernel a]\ncount = 1\nworkgroups = 2\nflop = 3\nbytes = 4\nfixed_bytes = 1\n"

static struct fixture {
	char path[sizeof("/tmp/test-plant-load.XXXXXX")];
} fixture;

static int make_file(void **state)
{
	int fd;

	(void)state;
	memcpy(fixture.path, "/tmp/test-plant-load.XXXXXX", sizeof(fixture.path));
	fd = mkstemp(fixture.path);
	return fd < 0 ? -1 : close(fd);
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(fixture.path);
}

static void write_file(const char *text)
{
	FILE *f = fopen(fixture.path, "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

/* The MI50's file with the line of one key replaced (NULL: left out). Returns the line's number. */
static unsigned int write_device_with(const char *key, const char *replacement)
{
	_cleanup_(fclosep) FILE *in = fopen(MI50, "re");
	_cleanup_(fclosep) FILE *out = fopen(fixture.path, "we");
	unsigned int line = 0, found = 0;
	size_t length = strlen(key);
	char text[256];

	assert_true(in && out);
	while (fgets(text, sizeof(text), in)) {
		line++;
		if (strncmp(text, key, length) != 0 || text[length] != ' ') {
			assert_true(fputs(text, out) >= 0);
			continue;
		}
		found = line;
		if (replacement)
			assert_true(fprintf(out, "%s\n", replacement) > 0);
	}
	assert_int_not_equal(found, 0);
	return found;
}

static void assert_error(const struct ini_error *error, unsigned int line, const char *part)
{
	assert_int_equal(error->line, line);
	if (!strstr(error->text, part))
		fail_msg("'%s' does not say '%s'", error->text, part);
}

static void refuse_model(const char *text, int r, unsigned int line, const char *part)
{
	struct plant_model *m = NULL;
	struct ini_error error;

	write_file(text);
	assert_int_equal(plant_model_load(fixture.path, &m, &error), r);
	assert_null(m);
	assert_error(&error, line, part);
}

static void refuse_device(const char *key, const char *replacement, int r, bool has_line,
			  const char *part)
{
	struct plant_device *d = NULL;
	struct ini_error error;
	unsigned int line = write_device_with(key, replacement);

	assert_int_equal(plant_device_load(fixture.path, &d, &error), r);
	assert_null(d);
	assert_error(&error, has_line ? line : 0, part);
}

static void test_a_model_is_read_with_all_its_kernels(void **state)
{
	struct plant_model *m = NULL;
	struct ini_error error;

	(void)state;
	write_file("; text\n[model]\nname = tiny\n\n" ONE_KERNEL
		   "[kernel b]\nfixed_bytes = 0 ; any order\nbytes = 1.5e3\nflop = 2.5\n"
		   "workgroups = 7\ncount = 9\n");
	assert_int_equal(plant_model_load(fixture.path, &m, &error), 0);
	assert_string_equal(m->name, "tiny");
	assert_int_equal(m->n_kernels, 2);
	assert_string_equal(m->kernels[0].name, "a");
	assert_int_equal(m->kernels[0].workgroups, 2);
	assert_true(m->kernels[0].fixed_bytes == 1);
	assert_string_equal(m->kernels[1].name, "b");
	assert_int_equal(m->kernels[1].count, 9);
	assert_true(m->kernels[1].bytes == 1500 && m->kernels[1].flop == 2.5);
	free(m);
}

static void test_bad_models_are_refused_with_line_and_field(void **state)
{
	static const struct {
		const char *text;
		int r;
		unsigned int line;
		const char *part;
	} cases[] = {
		{"", -ENODATA, 0, "[model] lacks the key 'name'"},
		{"[model]\nname = m\n", -ENODATA, 0, "no [kernel NAME]"},
		{ONE_KERNEL, -ENODATA, 0, "'name'"},
		{"name = m\n", -EINVAL, 1, "unknown key 'name'"},
		{"[model]\nnam = m\n", -EINVAL, 2, "did you mean 'name'"},
		{"[model]\nname = ../m\n" ONE_KERNEL, -EINVAL, 0, "not a model's name"},
		{"[model]\nname =\n", -EINVAL, 2, "name"},
		{"[model]\nname = m\nname = n\n", -EEXIST, 3, "given twice"},
		{"[modle]\n", -EINVAL, 1, "unknown section [modle]"},
		{"[kernel ]\n", -EINVAL, 1, "kernel name"},
		{"[kernel abcdefghijklmnopqrstuvwxyz]\n", -EINVAL, 1, "1 to 23 bytes"},
		{"[model]\nname = m\n" ONE_KERNEL ONE_KERNEL, -EEXIST, 9, "[kernel a]"},
		{"[kernel a]\ncount = 0\n", -EINVAL, 2, "count = 0: expected an integer from 1"},
		{"[kernel a]\ncount = 1.5\n", -EINVAL, 2, "count"},
		{"[kernel a]\ncount = -1\n", -EINVAL, 2, "count"},
		{"[kernel a]\ncount = 99999999999\n", -EINVAL, 2, "count"},
		{"[kernel a]\nflop = -1\n", -EINVAL, 2, "flop"},
		{"[kernel a]\nflop = nan\n", -EINVAL, 2, "flop"},
		{"[kernel a]\nflop = 1e400\n", -EINVAL, 2, "flop"},
		{"[kernel a]\nbytes = 4k\n", -EINVAL, 2, "bytes"},
		{"[kernel a]\nblops = 4\n", -EINVAL, 2, "unknown key 'blops' in [kernel]"},
		{"[kernel a]\ncount = 1\ncount = 1\n", -EEXIST, 3, "count is given twice"},
		/* Missing keys are known at a section's end, and told at its beginning. */
		{"[model]\nname = m\n[kernel a]\ncount = 1\n" ONE_KERNEL, -ENODATA, 3,
		 "[kernel a] lacks the key 'workgroups'"},
		{"[model]\nname = m\n[kernel z]\ncount = 1\n", -ENODATA, 3, "[kernel z] lacks"},
		{"[kernel a]\ncount = 1\nworkgroups = 1\nflop = 1\nbytes = 1\nfixed_bytes = 2\n",
		 -EINVAL, 1, "fixed_bytes exceeds bytes"},
		{"[model\n", -EBADMSG, 1, "section"},
		{"[model]\nnonsense\n", -EBADMSG, 2, "nonsense"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		refuse_model(cases[i].text, cases[i].r, cases[i].line, cases[i].part);
}

static void test_a_model_with_too_many_kernels_is_refused(void **state)
{
	FILE *f = fopen(fixture.path, "we");
	struct plant_model *m = NULL;
	struct ini_error error;

	(void)state;
	assert_non_null(f);
	(void)fputs("[model]\nname = m\n", f);
	for (int i = 0; i <= PLANT_MAX_KERNELS; i++)
		(void)fprintf(f,
			      "[kernel k%d]\ncount = 1\nworkgroups = 1\nflop = 1\nbytes = 1\n"
			      "fixed_bytes = 0\n",
			      i);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(plant_model_load(fixture.path, &m, &error), -E2BIG);
	assert_null(m);
	assert_error(&error, 2 + 6 * PLANT_MAX_KERNELS + 1, "more than 512 kernels");
}

static void test_files_that_cannot_be_opened_are_named(void **state)
{
	struct plant_device *d = NULL;
	struct plant_model *m = NULL;
	struct ini_error error;

	(void)state;
	assert_int_equal(plant_device_load("/nonexistent/x.ini", &d, &error), -ENOENT);
	assert_error(&error, 0, "/nonexistent/x.ini");
	assert_int_equal(plant_model_load("/nonexistent/y.ini", &m, &error), -ENOENT);
	assert_error(&error, 0, "/nonexistent/y.ini");
	assert_null(d);
	assert_null(m);
}

/* Every key of the shipped file, by the reader's own rule of what a key line is. */
static uint32_t device_file_keys(char ret[][32], uint32_t max)
{
	_cleanup_(fclosep) FILE *in = fopen(MI50, "re");
	uint32_t n = 0;
	char text[256];

	assert_non_null(in);
	while (fgets(text, sizeof(text), in)) {
		if (!strchr("; [\n", text[0])) {
			assert_true(n < max);
			assert_int_equal(sscanf(text, "%31[^ ] =", ret[n++]), 1);
		}
	}
	return n;
}

static void test_each_key_of_a_device_is_needed_once(void **state)
{
	char keys[96][32];
	uint32_t n = device_file_keys(keys, ARRAY_SIZE(keys));

	(void)state;
	assert_true(n > 40);
	for (uint32_t i = 0; i < n; i++) {
		char quoted[64];

		(void)snprintf(quoted, sizeof(quoted), "lacks the key '%.31s'", keys[i]);
		refuse_device(keys[i], NULL, -ENODATA, /* has_line= */ false, quoted);
	}
}

static void test_each_number_of_a_device_is_bounded(void **state)
{
	char keys[96][32];
	uint32_t n = device_file_keys(keys, ARRAY_SIZE(keys));

	(void)state;
	for (uint32_t i = 0; i < n; i++) {
		static const char *const bad[] = {"-1e9", "1e12", "nan", "inf", "1 W", "0x10"};
		char line[64];

		if (strcmp(keys[i], "name") == 0 || strcmp(keys[i], "product") == 0 ||
		    strcmp(keys[i], "gfx") == 0 || strcmp(keys[i], "asic") == 0)
			continue;
		for (size_t j = 0; j < ARRAY_SIZE(bad); j++) {
			if (strcmp(keys[i], "pci_device_id") == 0 && strcmp(bad[j], "0x10") == 0)
				continue;
			(void)snprintf(line, sizeof(line), "%.31s = %s", keys[i], bad[j]);
			refuse_device(keys[i], line, -EINVAL, /* has_line= */ true, keys[i]);
		}
	}
}

static void test_bad_devices_are_refused_with_line_and_field(void **state)
{
	static const struct {
		const char *key, *replacement;
		int r;
		bool has_line;
		const char *part;
	} cases[] = {
		{"name", "nam = x", -EINVAL, true, "did you mean 'name'"},
		{"name", "name =", -EINVAL, true, "name: expected 1 to 31 bytes"},
		{"gfx", "gfx = gfx906gfx906gfx9", -EINVAL, true, "1 to 15 bytes"},
		{"idle_w", "idle_watt = 15", -EINVAL, true, "unknown key 'idle_watt' in [power]"},
		{"idle_w", "[nowhere]", -EINVAL, true, "unknown section [nowhere]"},
		{"pci_device_id", "pci_device_id = 26273", -EINVAL, true, "expected 0x"},
		{"pci_device_id", "pci_device_id = 0x66a1f", -EINVAL, true, "1 to 4 digits"},
		{"pci_device_id", "pci_device_id = 0x66 a1", -EINVAL, true, "1 to 4 digits"},
		{"pci_device_id", "pci_device_id = 0x", -EINVAL, true, "1 to 4 digits"},
		{"sclk_mhz", "sclk_mhz =", -EINVAL, true, "no values"},
		{"sclk_mhz", "sclk_mhz = 925 x", -EINVAL, true, "sclk_mhz = x"},
		{"sclk_mhz", "sclk_mhz = 925 930", -EINVAL, false, "differ in length"},
		{"sclk_mhz", "sclk_mhz = 925 925 1032 1143 1282 1386 1485 1606 1725", -EINVAL,
		 false, "must ascend"},
		{"sclk_mv", "sclk_mv = 741 742 757 781 825 867 914 982 981", -EINVAL, false,
		 "must not fall"},
		{"mclk_mhz",
		 "mclk_mhz = 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 "
		 "27 28 29 30 31 32 33",
		 -EINVAL, true, "more than 32"},
		{"dpm_idle_level", "dpm_idle_level = 9", -EINVAL, false, "beyond the last level"},
		{"dpm_down_busy", "dpm_down_busy = 0.2", -EINVAL, false, "below dpm_up_busy"},
		{"cap_w", "cap_w = 226", -EINVAL, false, "cap_w <= cap_max_w"},
		{"cap_min_w", "cap_min_w = 226", -EINVAL, false, "cap_min_w <= cap_w"},
		{"throttle_c", "throttle_c = 105", -EINVAL, false, "throttle_c < emergency_c"},
		{"physical_cus_per_array", "physical_cus_per_array = 14", -EINVAL, false,
		 "less than cus_per_array"},
		{"xccs", "xccs = 3", -EINVAL, false, "no such topology"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		refuse_device(cases[i].key, cases[i].replacement, cases[i].r, cases[i].has_line,
			      cases[i].part);
}

static void test_a_device_key_given_twice_is_refused(void **state)
{
	struct plant_device *d = NULL;
	struct ini_error error;
	unsigned int line = write_device_with("idle_w", "uncore_w = 1");

	(void)state;
	/* The shipped file's own uncore_w, on the next line, is the second. */
	assert_int_equal(plant_device_load(fixture.path, &d, &error), -EEXIST);
	assert_null(d);
	assert_error(&error, line + 1, "uncore_w is given twice");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_model_is_read_with_all_its_kernels),
		cmocka_unit_test(test_bad_models_are_refused_with_line_and_field),
		cmocka_unit_test(test_a_model_with_too_many_kernels_is_refused),
		cmocka_unit_test(test_files_that_cannot_be_opened_are_named),
		cmocka_unit_test(test_each_key_of_a_device_is_needed_once),
		cmocka_unit_test(test_each_number_of_a_device_is_bounded),
		cmocka_unit_test(test_bad_devices_are_refused_with_line_and_field),
		cmocka_unit_test(test_a_device_key_given_twice_is_refused),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
