/* SPDX-License-Identifier: Apache-2.0 */
/* The load curve's reader on good files and on all that may be wrong with one. */
#include "load/load-curve.h"
#include "support/cmocka-includes.h"

#include <errno.h>
#include <string.h>

static int read_bytes(const char *bytes, size_t n, struct load_curve **ret,
		      struct load_curve_error *error)
{
	FILE *f = tmpfile();
	int r;

	assert_non_null(f);
	assert_int_equal(fwrite(bytes, 1, n, f), n);
	rewind(f);
	r = load_curve_read(f, ret, error);
	(void)fclose(f);
	return r;
}

static void test_reads_points_comments_and_both_line_ends(void **state)
{
	static const char text[] = "# a day\n\nt_s,load\r\n0,0.25\r\n# noon\n1.5,1\n10,0\n";
	struct load_curve_error error;
	struct load_curve *c;

	(void)state;
	assert_int_equal(read_bytes(text, sizeof(text) - 1, &c, &error), 0);
	assert_int_equal(c->n, 3);
	assert_true(c->points[0].t_s == 0 && c->points[0].load == 0.25);
	assert_true(c->points[1].t_s == 1.5 && c->points[1].load == 1);
	assert_true(c->points[2].t_s == 10 && c->points[2].load == 0);
	load_curve_free(c);
}

static void test_reads_a_last_line_without_its_end(void **state)
{
	static const char text[] = "t_s,load\n0,1\n2,1";
	struct load_curve_error error;
	struct load_curve *c;

	(void)state;
	assert_int_equal(read_bytes(text, sizeof(text) - 1, &c, &error), 0);
	assert_int_equal(c->n, 2);
	load_curve_free(c);
}

#define LONG "1111111111111111111111111111111111111111111111111111111111111111"

static const struct {
	const char *what, *text;
	size_t length; /* 0: strlen */
	unsigned int line;
	const char *says;
} bad_files[] = {
	{"an empty file", "", 0, 0, "two points"},
	{"no points", "t_s,load\n", 0, 0, "two points"},
	{"one point", "t_s,load\n0,1\n", 0, 0, "two points"},
	{"no header", "0,1\n1,1\n", 0, 1, "header"},
	{"another header", "time,load\n0,1\n1,1\n", 0, 1, "header"},
	{"a line without a comma", "t_s,load\n0,1\n5\n", 0, 3, "comma"},
	{"a third column", "t_s,load\n0,1,2\n", 0, 2, "load"},
	{"a late start", "t_s,load\n1,1\n2,1\n", 0, 2, "t_s 0"},
	{"time standing still", "t_s,load\n0,1\n1,1\n1,0\n", 0, 4, "after"},
	{"time running backwards", "t_s,load\n0,1\n2,1\n1,0\n", 0, 4, "after"},
	{"a negative load", "t_s,load\n0,-1\n", 0, 2, "load"},
	{"a huge load", "t_s,load\n0,1001\n", 0, 2, "load"},
	{"a load that is no number", "t_s,load\n0,nan\n", 0, 2, "load"},
	{"an infinite load", "t_s,load\n0,inf\n", 0, 2, "load"},
	{"a time without an end", "t_s,load\n0,1\ninf,1\n", 0, 3, "t_s"},
	{"a time of centuries", "t_s,load\n0,1\n1e12,1\n", 0, 3, "t_s"},
	{"an empty load", "t_s,load\n0,\n", 0, 2, "load"},
	{"trailing text", "t_s,load\n0,1 x\n", 0, 2, "load"},
	{"a NUL byte", "t_s,load\n0,1\n1,\0001\n", 18, 3, "0x00"},
	{"an escape", "t_s,load\n\0330,1\n", 0, 2, "0x1b"},
	{"a long line", "t_s,load\n" LONG LONG LONG ",1\n", 0, 2, "longer"},
};

static void test_refuses_bad_files_with_their_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_files); i++) {
		size_t n = bad_files[i].length ? bad_files[i].length : strlen(bad_files[i].text);
		struct load_curve *c = NULL;
		struct load_curve_error error;

		print_message("%s\n", bad_files[i].what);
		assert_int_equal(read_bytes(bad_files[i].text, n, &c, &error), -EBADMSG);
		assert_int_equal(error.line, bad_files[i].line);
		assert_non_null(strstr(error.text, bad_files[i].says));
		assert_null(c);
	}
}

static void test_refuses_more_points_than_there_is_room_for(void **state)
{
	struct load_curve_error error;
	struct load_curve *c = NULL;
	FILE *f = tmpfile();

	(void)state;
	assert_non_null(f);
	(void)fputs("t_s,load\n", f);
	for (int i = 0; i <= LOAD_CURVE_MAX_POINTS; i++)
		(void)fprintf(f, "%d,1\n", i);
	rewind(f);
	assert_int_equal(load_curve_read(f, &c, &error), -EFBIG);
	assert_int_equal(error.line, LOAD_CURVE_MAX_POINTS + 2);
	assert_null(c);
	(void)fclose(f);
}

static void test_names_the_error_of_a_missing_file(void **state)
{
	struct load_curve_error error;
	struct load_curve *c = NULL;

	(void)state;
	assert_int_equal(load_curve_load("/nonexistent/curve.csv", &c, &error), -ENOENT);
	assert_int_equal(error.line, 0);
	assert_string_equal(error.text, strerror(ENOENT));
}

static void test_reads_the_shipped_day(void **state)
{
	struct load_curve_error error;
	struct load_curve *c;

	(void)state;
	assert_int_equal(load_curve_load(COFRIS_SOURCE_DIR "/profiles/loads/day.csv", &c, &error),
			 0);
	assert_in_range(c->points[c->n - 1].t_s, 899, 900);
	load_curve_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_points_comments_and_both_line_ends),
		cmocka_unit_test(test_reads_a_last_line_without_its_end),
		cmocka_unit_test(test_refuses_bad_files_with_their_line),
		cmocka_unit_test(test_refuses_more_points_than_there_is_room_for),
		cmocka_unit_test(test_names_the_error_of_a_missing_file),
		cmocka_unit_test(test_reads_the_shipped_day),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
