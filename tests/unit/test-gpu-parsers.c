/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers against what kernels print, and against what they must refuse: librocm_smi64 aborts
 * on most of the refused ones, so each hole here is a dead process there. */
#include "gpu/kernel-files.h"
#include "test-gpu-fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void test_reads_the_levels_of_an_mi50(_unused_ void **state)
{
	struct dpm_levels l;

	assert_int_equal(dpm_levels_parse("0: 925Mhz \n1: 930Mhz *\n2: 1032Mhz \n", &l), 0);
	assert_int_equal(l.n, 3);
	assert_int_equal(l.mhz[0], 925);
	assert_int_equal(l.mhz[2], 1032);
	assert_int_equal(l.current, 1);
	assert_true(dpm_levels_ascend(&l));
}

static void test_accepts_what_kernels_print(_unused_ void **state)
{
	static const struct {
		const char *text;
		uint32_t n;
		int current;
		bool ascend;
	} cases[] = {
		{"0: 925Mhz \n1: 1725Mhz \n", 2, -1, true},   /* clock between two levels */
		{"0: 925Mhz\n1: 1725Mhz *", 2, 1, true},      /* no last newline */
		{"0: 925Mhz * (DPM disabled)\n", 1, 0, true}, /* a card without DPM */
		{"0: 925Mhz *\n1: 1725Mhz *\n", 2, 0, true},  /* the first star counts */
		{"0: 500Mhz \n1: 142Mhz *\n2: 2100Mhz \n", 3, 1, false}, /* MI300X */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct dpm_levels l;

		assert_int_equal(dpm_levels_parse(cases[i].text, &l), 0);
		assert_int_equal(l.n, cases[i].n);
		assert_int_equal(l.current, cases[i].current);
		assert_int_equal(dpm_levels_ascend(&l), cases[i].ascend);
	}
}

static void test_refuses_levels_that_abort_the_library(_unused_ void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"unavailable\n",
		"S: 132Mhz *\n0: 500Mhz \n1: 2100Mhz \n",
		"garbage\n",
		"0: 925Mhz \ngarbage\n",
		"0: 925Mhz \n\n1: 1725Mhz \n",
		"1: 925Mhz \n",
		"0: 925Mhz \n0: 1725Mhz \n",
		"0: 925MHz \n",
		"0:925Mhz \n",
		"0 : 925Mhz\n",
		"-0: 925Mhz\n",
		"0: -925Mhz\n",
		"0: 0Mhz\n",
		"0: 4294967297Mhz\n",
		"0: 99999999999999999999999Mhz\n",
		"0: 925Mhz  *\n",
		"0: 925Mhz **\n",
		"0: 925Mhz * \n \n",
		"0: 925",
		"0: 925Mhz (DPM disabled)\n",
		"0x0: 925Mhz\n",
		"0: 2.5GT/s, x16 619Mhz *\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct dpm_levels l = {.n = 77};

		assert_int_equal(dpm_levels_parse(texts[i], &l), -EBADMSG);
		assert_int_equal(l.n, 77);
	}
}

static void test_takes_32_levels_and_not_33(_unused_ void **state)
{
	char text[1024];
	struct dpm_levels l;
	int n = 0;

	for (int i = 0; i < 33; i++) {
		if (i == 32) {
			assert_int_equal(dpm_levels_parse(text, &l), 0);
			assert_int_equal(l.n, 32);
		}
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%d: %dMhz\n", i, 500 + i);
	}
	assert_int_equal(dpm_levels_parse(text, &l), -EBADMSG);
}

static void test_knows_every_performance_level(_unused_ void **state)
{
	static const struct {
		const char *text;
		int r;
		enum gpu_perf_level level;
	} cases[] = {
		{"auto\n", 0, GPU_PERF_AUTO},
		{"auto", 0, GPU_PERF_AUTO},
		{"low\n", 0, GPU_PERF_LOW},
		{"high\n", 0, GPU_PERF_HIGH},
		{"manual\n", 0, GPU_PERF_MANUAL},
		{"profile_peak\n", 0, GPU_PERF_OTHER},
		{"perf_determinism\n", 0, GPU_PERF_OTHER},
		{"unknown\n", 0, GPU_PERF_UNKNOWN},
		{"", -EBADMSG, 0},
		{"\n", -EBADMSG, 0},
		{"aut\n", -EBADMSG, 0},
		{"automatic\n", -EBADMSG, 0},
		{"auto\nl\n", -EBADMSG, 0},
		{" auto\n", -EBADMSG, 0},
		{"auto \n", -EBADMSG, 0},
		{"AUTO\n", -EBADMSG, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum gpu_perf_level level = GPU_PERF_UNKNOWN;

		assert_int_equal(perf_level_parse(cases[i].text, &level), cases[i].r);
		if (cases[i].r == 0)
			assert_int_equal(level, cases[i].level);
	}
}

static void test_number_files_hold_one_number(_unused_ void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t value;
	} cases[] = {
		{"37\n", 0, 37},	 {"37", 0, 37},
		{"0\n", 0, 0},		 {"100\n", 0, 100},
		{"101\n", -EBADMSG, 0},	 {"", -EBADMSG, 0},
		{"\n", -EBADMSG, 0},	 {"-1\n", -EBADMSG, 0},
		{"+1\n", -EBADMSG, 0},	 {" 1\n", -EBADMSG, 0},
		{"1 \n", -EBADMSG, 0},	 {"1\n\n", -EBADMSG, 0},
		{"0x10\n", -EBADMSG, 0}, {"1e1\n", -EBADMSG, 0},
		{"1.5\n", -EBADMSG, 0},	 {"12\n34\n", -EBADMSG, 0},
		{"N/A\n", -EBADMSG, 0},	 {"18446744073709551616\n", -EBADMSG, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 999;

		assert_int_equal(number_file_parse(cases[i].text, 0, 100, &value), cases[i].r);
		assert_int_equal(value, cases[i].r == 0 ? cases[i].value : 999);
	}
}

static void test_temperatures_may_be_negative(_unused_ void **state)
{
	int64_t value;

	assert_int_equal(signed_file_parse("-5000\n", -10000, 10000, &value), 0);
	assert_int_equal(value, -5000);
	assert_int_equal(signed_file_parse("--5\n", -10000, 10000, &value), -EBADMSG);
	assert_int_equal(signed_file_parse("-\n", -10000, 10000, &value), -EBADMSG);
	assert_int_equal(signed_file_parse("10001\n", -10000, 10000, &value), -EBADMSG);
	assert_int_equal(signed_file_parse("9223372036854775808\n", INT64_MIN, INT64_MAX, &value),
			 -EBADMSG);
}

static void test_reads_hexadecimal_with_and_without_prefix(_unused_ void **state)
{
	uint64_t value;

	assert_int_equal(hex_file_parse("0x1002\n", &value), 0);
	assert_int_equal(value, 0x1002);
	assert_int_equal(hex_file_parse("21700172fd7f1234\n", &value), 0);
	assert_true(value == UINT64_C(0x21700172fd7f1234));
	assert_int_equal(hex_file_parse("0x\n", &value), -EBADMSG);
	assert_int_equal(hex_file_parse("", &value), -EBADMSG);
	assert_int_equal(hex_file_parse("0x121700172fd7f1234\n", &value), -EBADMSG);
	assert_int_equal(hex_file_parse("1002g\n", &value), -EBADMSG);
}

static void test_a_name_is_one_printable_line(_unused_ void **state)
{
	char name[8];

	assert_int_equal(line_file_parse("MI50  \n", name, sizeof(name)), 0);
	assert_string_equal(name, "MI50");
	assert_int_equal(line_file_parse("Instinct MI50\n", name, sizeof(name)), 0);
	assert_string_equal(name, "Instinc");
	assert_int_equal(line_file_parse("", name, sizeof(name)), 0);
	assert_string_equal(name, "");
	assert_int_equal(line_file_parse("a\nb\n", name, sizeof(name)), -EBADMSG);
	assert_int_equal(line_file_parse("a\033[2J\n", name, sizeof(name)), -EBADMSG);
}

static void test_reads_the_metrics_of_an_mi50(_unused_ void **state)
{
	unsigned char bytes[80];
	struct gpu_metrics m;

	gpu_metrics_v1_0(bytes);
	assert_int_equal(gpu_metrics_parse(bytes, sizeof(bytes), &m), 0);
	assert_int_equal(m.fields, GPU_HAS_SCLK | GPU_HAS_THROTTLE);
	assert_int_equal(m.sclk_mhz, 1143);
	assert_int_equal(m.throttle, 0);
}

static void test_metrics_versions_differ_in_size(_unused_ void **state)
{
	static const struct {
		unsigned char content, size;
	} versions[] = {{1, 96}, {2, 104}, {3, 120}};

	for (size_t i = 0; i < ARRAY_SIZE(versions); i++) {
		unsigned char bytes[120] = {versions[i].size, 0, 1, versions[i].content};
		struct gpu_metrics m;

		bytes[54] = 0xa4;
		bytes[55] = 0x06; /* 1700 MHz */
		bytes[68] = 4;	  /* throttle bits */
		assert_int_equal(gpu_metrics_parse(bytes, versions[i].size, &m), 0);
		assert_int_equal(m.sclk_mhz, 1700);
		assert_int_equal(m.throttle, 4);
	}
}

static void test_unfilled_metrics_have_no_bit(_unused_ void **state)
{
	unsigned char bytes[80];
	struct gpu_metrics m;

	memset(bytes, 0xff, sizeof(bytes));
	memcpy(bytes, (unsigned char[]){80, 0, 1, 0}, 4);
	assert_int_equal(gpu_metrics_parse(bytes, sizeof(bytes), &m), 0);
	assert_int_equal(m.fields, 0);
}

static void test_refuses_metrics_of_other_versions_and_sizes(_unused_ void **state)
{
	static const struct {
		unsigned char header[4];
		size_t size;
		int r;
	} cases[] = {
		{{80, 0, 1, 0}, 79, -EBADMSG},
		{{80, 0, 1, 0}, 0, -EBADMSG},
		{{80, 0, 1, 0}, 3, -EBADMSG},
		{{96, 0, 1, 0}, 80, -EBADMSG},
		{{80, 1, 1, 0}, 80, -EBADMSG},
		{{80, 0, 1, 0}, 96, -EBADMSG},
		{{120, 0, 1, 4}, 120, -EPROTONOSUPPORT},
		{{80, 0, 2, 0}, 80, -EPROTONOSUPPORT},
		{{80, 0, 0, 0}, 80, -EPROTONOSUPPORT},
		{{0, 0, 0, 0}, 4, -EPROTONOSUPPORT},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned char bytes[160] = {0};
		struct gpu_metrics m;

		memcpy(bytes, cases[i].header, 4);
		assert_int_equal(gpu_metrics_parse(bytes, cases[i].size, &m), cases[i].r);
	}
}

static void test_reads_a_node_and_its_address(_unused_ void **state)
{
	struct kfd_properties p;
	struct gpu_info i = {0};
	char bdf[PCI_BDF_LENGTH + 1];

	assert_int_equal(kfd_properties_parse("cpu_cores_count 0\nsimd_count 240\narray_count 4\n"
					      "simd_arrays_per_engine 1\ncu_per_simd_array 16\n"
					      "simd_per_cu 4\ngfx_target_version 90006\n"
					      "location_id 58113\ndomain 2\n"
					      "hive_id 15188982192727901047\n",
					      &p),
			 0);
	assert_int_equal(kfd_properties_bdf(&p, bdf), 0);
	assert_string_equal(bdf, "0002:e3:00.1");
	assert_int_equal(kfd_properties_layout(&p, &i), 0);
	assert_string_equal(i.gfx, "gfx906");
	assert_int_equal(i.n_cus, 60);
	assert_int_equal(i.n_se, 4);
	assert_int_equal(i.n_sh_per_se, 1);
	assert_int_equal(i.n_xcc, 1);
	for (int se = 0; se < 4; se++)
		assert_int_equal(i.active_cus[se], 15);
}

static void test_layouts_of_other_cards(_unused_ void **state)
{
	static const struct {
		struct kfd_properties p;
		const char *gfx;
		uint32_t n_cus, n_se, n_xcc;
		uint8_t first, last;
	} cases[] = {
		/* MI210, one XCC of an MI300X, all eight of it; from captured nodes. */
		{{416, 4, 8, 1, 14, 90010, .num_xcc = 1}, "gfx90a", 104, 8, 1, 13, 13},
		{{152, 4, 4, 1, 10, 90402, .num_xcc = 1}, "gfx942", 38, 4, 1, 10, 9},
		{{1216, 4, 32, 1, 10, 90402, .num_xcc = 8}, "gfx942", 304, 32, 8, 10, 9},
		{{192, 2, 8, 2, 12, 110000, .num_xcc = 1}, "gfx1100", 96, 4, 1, 24, 24},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gpu_info g = {0};

		assert_int_equal(kfd_properties_layout(&cases[i].p, &g), 0);
		assert_string_equal(g.gfx, cases[i].gfx);
		assert_int_equal(g.n_cus, cases[i].n_cus);
		assert_int_equal(g.n_se, cases[i].n_se);
		assert_int_equal(g.n_xcc, cases[i].n_xcc);
		assert_int_equal(g.active_cus[0], cases[i].first);
		assert_int_equal(g.active_cus[g.n_se - 1], cases[i].last);
	}
}

static void test_refuses_nodes_that_contradict_themselves(_unused_ void **state)
{
	static const struct kfd_properties cases[] = {
		{0},
		{241, 4, 4, 1, 16, 90006, .num_xcc = 1}, /* part of a CU */
		{240, 0, 4, 1, 16, 90006, .num_xcc = 1},
		{240, 4, 0, 1, 16, 90006, .num_xcc = 1},
		{240, 4, 4, 0, 16, 90006, .num_xcc = 1},
		{240, 4, 5, 2, 16, 90006, .num_xcc = 1},  /* half an engine */
		{240, 4, 64, 1, 16, 90006, .num_xcc = 1}, /* more engines than we know */
		{240, 4, 4, 1, 14, 90006, .num_xcc = 1},  /* more CUs than there are places */
		{240, 4, 4, 1, 16, 90006, .num_xcc = 0},
		{240, 4, 4, 1, 16, 90006, .num_xcc = 3},
		{240, 4, 4, 1, UINT64_MAX, 90006, .num_xcc = 1},
		{UINT64_MAX, 1, 4, 1, 16, 90006, .num_xcc = 1},
		{240, 4, 4, 1, 16, UINT64_MAX, .num_xcc = 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gpu_info g = {.n_cus = 77};

		assert_int_equal(kfd_properties_layout(&cases[i], &g), -EBADMSG);
		assert_int_equal(g.n_cus, 77);
	}
}

static void test_refuses_properties_that_are_not_lines_of_key_and_number(_unused_ void **state)
{
	static const char *const texts[] = {
		"simd_count\n",
		"simd_count \n",
		"simd_count  240\n",
		"simd_count -1\n",
		"simd_count 240 \n",
		"simd_count 240\nsimd_count 240\n",
		"simd_count 99999999999999999999\n",
		"\n",
		" simd_count 240\n",
		"simd_count 240\n\n",
		"SIMD 1\n",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct kfd_properties p = {.simd_count = 77};

		assert_int_equal(kfd_properties_parse(texts[i], &p), -EBADMSG);
		assert_true(p.simd_count == 77);
	}
}

static void test_refuses_locations_outside_of_pci(_unused_ void **state)
{
	char bdf[PCI_BDF_LENGTH + 1];

	assert_int_equal(kfd_properties_bdf(&(struct kfd_properties){.location_id = 0x10000}, bdf),
			 -EBADMSG);
	assert_int_equal(kfd_properties_bdf(&(struct kfd_properties){.domain = 0x10000}, bdf),
			 -EBADMSG);
}

/* No text of random bytes and pieces of real files may crash a parser or be read beyond its end;
 * the sanitizers judge. */
static void test_memory_errors_are_two_or_three_counts(_unused_ void **state)
{
	static const struct {
		const char *text;
		int r;
		uint64_t ue, ce;
	} cases[] = {
		{"ue: 0\nce: 0\n", 0, 0, 0},
		{"ue: 3\nce: 17\n", 0, 3, 17},
		{"ue: 3\nce: 17\nde: 5\n", 0, 3, 22},
		{"ue: 18446744073709551615\nce: 0\n", 0, UINT64_MAX, 0},
		{"ue: 0\nce: 18446744073709551615\nde: 1\n", -EBADMSG, 0, 0},
		{"", -EBADMSG, 0, 0},
		{"ue: 0\n", -EBADMSG, 0, 0},
		{"ue: 0\nce: 0", -EBADMSG, 0, 0},
		{"ce: 0\nue: 0\n", -EBADMSG, 0, 0},
		{"ue: -1\nce: 0\n", -EBADMSG, 0, 0},
		{"ue: 1\nce: 0\nue: 1\n", -EBADMSG, 0, 0},
		{"ue: 18446744073709551616\nce: 0\n", -EBADMSG, 0, 0},
		{"RAS: unsupported\n", -EBADMSG, 0, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ue = 0, ce = 0;

		assert_int_equal(ras_count_parse(cases[i].text, &ue, &ce), cases[i].r);
		assert_true(ue == cases[i].ue && ce == cases[i].ce);
	}
}

static void test_survives_random_text(_unused_ void **state)
{
	static const char *const pieces[] = {
		"0", "1",  ": ",   "925Mhz",	     " *", "\n", "S", "auto", "simd_count ",
		"-", "0x", "\377", " (DPM disabled)"};
	uint64_t seed = 20240607;

	print_message("seed %llu\n", (unsigned long long)seed);
	for (int round = 0; round < 20000; round++) {
		_cleanup_(freep) char *text = NULL;
		struct kfd_properties p;
		struct dpm_levels l;
		struct gpu_metrics m;
		enum gpu_perf_level level;
		char joined[256] = "", line[8];
		uint64_t u;
		int64_t i;

		for (uint32_t n = 0; n < 12; n++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
			(void)strcat(joined, pieces[(seed >> 33) % ARRAY_SIZE(pieces)]);
			if (seed >> 60 == 0)
				break;
		}
		/* On the heap at its exact size, so that reading past the end is seen. */
		text = strdup(joined);
		assert_non_null(text);
		(void)dpm_levels_parse(text, &l);
		(void)perf_level_parse(text, &level);
		(void)number_file_parse(text, 0, UINT64_MAX, &u);
		(void)signed_file_parse(text, INT64_MIN, INT64_MAX, &i);
		(void)hex_file_parse(text, &u);
		(void)ras_count_parse(text, &u, &u);
		(void)line_file_parse(text, line, sizeof(line));
		(void)kfd_properties_parse(text, &p);
		(void)gpu_metrics_parse(text, strlen(text), &m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_the_levels_of_an_mi50),
		cmocka_unit_test(test_accepts_what_kernels_print),
		cmocka_unit_test(test_refuses_levels_that_abort_the_library),
		cmocka_unit_test(test_takes_32_levels_and_not_33),
		cmocka_unit_test(test_knows_every_performance_level),
		cmocka_unit_test(test_number_files_hold_one_number),
		cmocka_unit_test(test_temperatures_may_be_negative),
		cmocka_unit_test(test_reads_hexadecimal_with_and_without_prefix),
		cmocka_unit_test(test_a_name_is_one_printable_line),
		cmocka_unit_test(test_reads_the_metrics_of_an_mi50),
		cmocka_unit_test(test_metrics_versions_differ_in_size),
		cmocka_unit_test(test_unfilled_metrics_have_no_bit),
		cmocka_unit_test(test_refuses_metrics_of_other_versions_and_sizes),
		cmocka_unit_test(test_reads_a_node_and_its_address),
		cmocka_unit_test(test_layouts_of_other_cards),
		cmocka_unit_test(test_refuses_nodes_that_contradict_themselves),
		cmocka_unit_test(test_refuses_properties_that_are_not_lines_of_key_and_number),
		cmocka_unit_test(test_refuses_locations_outside_of_pci),
		cmocka_unit_test(test_memory_errors_are_two_or_three_counts),
		cmocka_unit_test(test_survives_random_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
