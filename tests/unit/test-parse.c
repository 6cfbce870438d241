/* SPDX-License-Identifier: Apache-2.0 */
#include "base/macros.h"
#include "base/parse.h"
#include "support/cmocka-includes.h"
#include <errno.h>

static void numbers_are_strict(void **state _unused_)
{
	static const struct {
		const char *text;
		int r;
		uint64_t value;
	} cases[] = {
		{"0", 0, 0},
		{"18446744073709551615", 0, UINT64_MAX},
		{"18446744073709551616", -ERANGE, 0},
		{"", -EINVAL, 0},
		{" 1", -EINVAL, 0},
		{"1 ", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"+1", -EINVAL, 0},
		{"0x10", -EINVAL, 0},
		{"1e3", -EINVAL, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 77;

		assert_int_equal(parse_u64(cases[i].text, &value), cases[i].r);
		assert_int_equal(value, cases[i].r == 0 ? cases[i].value : 77);
	}
}

static void u32_refuses_what_does_not_fit(void **state _unused_)
{
	uint32_t value = 77;

	assert_int_equal(parse_u32("4294967296", &value), -ERANGE);
	assert_int_equal(value, 77);
	assert_int_equal(parse_u32("4294967295", &value), 0);
	assert_int_equal(value, UINT32_MAX);
}

static void doubles_are_finite_decimals(void **state _unused_)
{
	static const char *const bad[] = {"",	  "nan",  "inf", "-inf", "0x1p3",
					  "1.0 ", " 1.0", "1,5", "e5",	 "1e999"};
	double value = 77;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_true(parse_double(bad[i], &value) < 0);
		assert_true(value == 77);
	}
	assert_int_equal(parse_double("-2.5e1", &value), 0);
	assert_true(value == -25.0);
}

static void units_are_required(void **state _unused_)
{
	static const struct {
		const char *text;
		int r;
		uint64_t ns;
	} cases[] = {
		{"500ms", 0, 500000000},
		{"0.5s", 0, 500000000},
		{"500 ms", 0, 500000000},
		{"2min", 0, 120000000000},
		{"1h", 0, 3600000000000},
		{"7us", 0, 7000},
		{"3ns", 0, 3},
		{"500", -EINVAL, 0},
		{"ms", -EINVAL, 0},
		{"-5ms", -EINVAL, 0},
		{"5 msec", -EINVAL, 0},
		{"5ms ", -EINVAL, 0},
		{"1e300s", -ERANGE, 0},
	};
	uint64_t power;
	uint32_t mhz;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t ns = 77;

		assert_int_equal(parse_duration_ns(cases[i].text, &ns), cases[i].r);
		assert_int_equal(ns, cases[i].r == 0 ? cases[i].ns : 77);
	}
	assert_int_equal(parse_power_uw("180W", &power), 0);
	assert_int_equal(power, 180000000);
	assert_int_equal(parse_power_uw("180", &power), -EINVAL);
	assert_int_equal(parse_clock_mhz("1.2GHz", &mhz), 0);
	assert_int_equal(mhz, 1200);
	assert_int_equal(parse_clock_mhz("1200", &mhz), -EINVAL);
}

static void booleans_have_four_spellings(void **state _unused_)
{
	bool value = false;

	assert_int_equal(parse_bool("Yes", &value), 0);
	assert_true(value);
	assert_int_equal(parse_bool("off", &value), 0);
	assert_false(value);
	assert_int_equal(parse_bool("maybe", &value), -EINVAL);
}

static void addresses_and_model_names_are_checked(void **state _unused_)
{
	assert_true(pci_bdf_is_valid("0000:43:00.0"));
	assert_false(pci_bdf_is_valid("0000:43:00.8"));
	assert_false(pci_bdf_is_valid("0000:4G:00.0"));
	assert_false(pci_bdf_is_valid("0000:43:00.0x"));
	assert_false(pci_bdf_is_valid("43:00.0"));
	assert_false(pci_bdf_is_valid(""));

	assert_true(model_name_is_valid("resnet50"));
	assert_true(model_name_is_valid("meta-llama/Llama-3.1_8B"));
	assert_false(model_name_is_valid(""));
	assert_false(model_name_is_valid("../etc/passwd"));
	assert_false(model_name_is_valid("a/../b"));
	assert_false(model_name_is_valid("/abs"));
	assert_false(model_name_is_valid("a/"));
	assert_false(model_name_is_valid("a b"));
	assert_false(model_name_is_valid("12345678901234567890123456789012345678901"));
	assert_string_equal(quotable("meta-llama/Llama-3.1_8B"), "meta-llama/Llama-3.1_8B");
	assert_string_equal(quotable("0000:43:00.0"), "0000:43:00.0");
	assert_string_equal(quotable("0000:43:00.0 "), "?");
	assert_string_equal(quotable("\033[31m"), "?");
	assert_string_equal(quotable("r\303\251seau"), "?");
	assert_string_equal(quotable("12345678901234567890123456789012345678901"), "?");
}

static void a_message_becomes_plain_text(void **state _unused_)
{
	char latin[] = "unknown key 'gr\366\337e'", cut[] = "value r\303", clean[] = "a = ~ b",
	     terminal[] = "\033[31m\n\x7f";

	make_printable(latin);
	assert_string_equal(latin, "unknown key 'gr??e'");
	make_printable(cut);
	assert_string_equal(cut, "value r?");
	make_printable(clean);
	assert_string_equal(clean, "a = ~ b");
	make_printable(terminal);
	assert_string_equal(terminal, "?[31m??");
}

static void nearest_name_only_suggests_what_is_near(void **state _unused_)
{
	static const char *const keys[] = {"poll_interval", "mode", "log_decisions"};

	assert_string_equal(nearest_name("pol_interval", keys, 3), "poll_interval");
	assert_string_equal(nearest_name("mod", keys, 3), "mode");
	assert_null(nearest_name("banana", keys, 3));
}

static void macros_nest_and_evaluate_once(void **state _unused_)
{
	int n = 0;

	assert_int_equal(MAX(MIN(3, 5), MIN(4, n++ + 2)), 3);
	assert_int_equal(n, 1);
	assert_int_equal(CLAMP(7, 1, 5), 5);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_strict),
		cmocka_unit_test(u32_refuses_what_does_not_fit),
		cmocka_unit_test(doubles_are_finite_decimals),
		cmocka_unit_test(units_are_required),
		cmocka_unit_test(booleans_have_four_spellings),
		cmocka_unit_test(addresses_and_model_names_are_checked),
		cmocka_unit_test(a_message_becomes_plain_text),
		cmocka_unit_test(nearest_name_only_suggests_what_is_near),
		cmocka_unit_test(macros_nest_and_evaluate_once),
	};

	return cmocka_run_group_tests(tests, /* group_setup= */ NULL, /* group_teardown= */ NULL);
}
