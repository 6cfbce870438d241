/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/options.h"
#include "support/cmocka-includes.h"

#include <errno.h>
#include <string.h>

#define MAX_WORDS 16

typedef int (*parse_fn)(int argc, char *argv[], struct profile_options *ret);

/* Words split at blanks. */
static int parse(parse_fn f, const char *line, struct profile_options *ret)
{
	static char copy[256];
	char *argv[MAX_WORDS] = {"cofris-profile"}, *rest = copy, *word;
	int argc = 1;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	while ((word = strsep(&rest, " ")))
		argv[argc++] = word;
	argv[argc] = NULL;
	return f(argc, argv, ret);
}

static void test_an_objective_is_a_factor_or_a_time(void **state)
{
	struct profile_options o;

	(void)state;
	assert_int_equal(parse(profile_options_parse, "--model m", &o), 1);
	assert_true(o.slo_ns == 0 && o.slo_factor == 2 && o.percentile == 95);
	assert_int_equal(parse(profile_options_parse, "--model m --slo 1.25x", &o), 1);
	assert_true(o.slo_ns == 0 && o.slo_factor == 1.25);
	assert_int_equal(parse(profile_options_parse, "--model m --slo 20ms", &o), 1);
	assert_true(o.slo_ns == 20000000);
	/* The last one holds. */
	assert_int_equal(parse(profile_options_parse, "--model m --slo 20ms --slo 3x", &o), 1);
	assert_true(o.slo_ns == 0 && o.slo_factor == 3);
}

static void test_times_follow_the_grid_unless_given(void **state)
{
	struct profile_options o;

	(void)state;
	assert_int_equal(parse(profile_options_parse, "--model m --grid quick", &o), 1);
	assert_true(o.grid == GRID_QUICK && o.cell_time_ns == UINT64_C(1000000000));
	assert_int_equal(parse(profile_options_parse, "--model m", &o), 1);
	assert_true(o.grid == GRID_FULL && o.cell_time_ns == UINT64_C(3000000000));
	assert_int_equal(parse(profile_options_parse, "--model m --grid quick --cell-time 5s", &o),
			 1);
	assert_true(o.cell_time_ns == UINT64_C(5000000000));
}

static void test_the_engine_is_the_workers_own_choice_unless_given(void **state)
{
	struct profile_options o;

	(void)state;
	assert_int_equal(parse(profile_options_parse, "--model m", &o), 1);
	assert_string_equal(o.engine, "auto");
	assert_int_equal(parse(profile_options_parse, "--model m --engine hip", &o), 1);
	assert_string_equal(o.engine, "hip");
}

static void test_batches_are_a_list(void **state)
{
	struct table_options t;
	struct profile_options o;

	(void)state;
	assert_int_equal(parse(profile_options_parse, "--model m --batch 2,1,16", &o), 1);
	assert_int_equal(o.n_batches, 3);
	assert_int_equal(o.batches[0], 2);
	t = profile_table_options(&o);
	assert_int_equal(t.max_batch, 16);
}

#define DIGEST "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void test_a_digest_is_taken_as_it_is(void **state)
{
	struct profile_options o;

	(void)state;
	assert_int_equal(parse(profile_options_parse, "--model m", &o), 1);
	assert_null(o.model_digest);
	assert_int_equal(parse(profile_options_parse, "--model m --model-digest " DIGEST, &o), 1);
	assert_string_equal(o.model_digest, DIGEST);
}

static void test_the_tables_percentile_is_the_surfaces_unless_given(void **state)
{
	struct profile_options o;

	(void)state;
	assert_int_equal(parse(table_view_options_parse, "r.csv", &o), 1);
	assert_string_equal(o.table_file, "r.csv");
	assert_int_equal(o.percentile, 0);
	assert_int_equal(parse(table_view_options_parse, "--percentile 99 r.csv --gating cu", &o),
			 1);
	assert_int_equal(o.percentile, 99);
	assert_int_equal(o.gating, TABLE_GATING_CU);
}

static const struct {
	parse_fn parse;
	const char *line;
} bad_lines[] = {
	{profile_options_parse, "--grid quick"},
	{profile_options_parse, "--model ../etc"},
	{profile_options_parse, "--model m --gpu 43:00.0"},
	{profile_options_parse, "--model m --grid half"},
	{profile_options_parse, "--model m --slo 2"},
	{profile_options_parse, "--model m --slo x"},
	{profile_options_parse, "--model m --slo 0.5x"},
	{profile_options_parse, "--model m --slo nanx"},
	{profile_options_parse, "--model m --slo 0ms"},
	{profile_options_parse, "--model m --percentile 100"},
	{profile_options_parse, "--model m --percentile 0"},
	{profile_options_parse, "--model m --gating all"},
	{profile_options_parse, "--model m --cell-time 1"},
	{profile_options_parse, "--model m --cell-time 1ms"},
	{profile_options_parse, "--model m --workers 0"},
	{profile_options_parse, "--model m --batch 1,,2"},
	{profile_options_parse, "--model m --batch 1,1"},
	{profile_options_parse, "--model m --batch 0"},
	{profile_options_parse, "--model m --batch 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17"},
	{profile_options_parse, "--model m --model-digest abc"},
	{profile_options_parse, "--model m --model-digest " DIGEST "0"},
	{profile_options_parse, "--model m --model-digest "
				"E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855"},
	{profile_options_parse, "--model m --worker x --gating cu"},
	{profile_options_parse, "--model m extra"},
	{profile_options_parse, "--model m --nonsense"},
	{table_view_options_parse, "--slo 2x"},
	{table_view_options_parse, "a.csv b.csv"},
	{table_view_options_parse, "a.csv --grid quick"},
};

static void test_refuses_what_makes_no_sense(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad_lines) / sizeof(bad_lines[0]); i++) {
		struct profile_options o = {.seed = 99};

		print_message("%s\n", bad_lines[i].line);
		assert_int_equal(parse(bad_lines[i].parse, bad_lines[i].line, &o), -EINVAL);
		assert_true(o.seed == 99);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_objective_is_a_factor_or_a_time),
		cmocka_unit_test(test_times_follow_the_grid_unless_given),
		cmocka_unit_test(test_the_engine_is_the_workers_own_choice_unless_given),
		cmocka_unit_test(test_batches_are_a_list),
		cmocka_unit_test(test_a_digest_is_taken_as_it_is),
		cmocka_unit_test(test_the_tables_percentile_is_the_surfaces_unless_given),
		cmocka_unit_test(test_refuses_what_makes_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
