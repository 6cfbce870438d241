/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ini-file.h"
#include "base/macros.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <string.h>

struct seen {
	char text[1024];
};

static int remember(void *userdata, unsigned int line, const char *section, const char *key,
		    const char *value, struct ini_error *error)
{
	struct seen *seen = userdata;
	size_t n = strlen(seen->text);

	if (key && strcmp(key, "refuse") == 0)
		return ini_error_set(error, -ERANGE, "refused");
	if (key)
		(void)snprintf(seen->text + n, sizeof(seen->text) - n, "%u:%s.%s=%s;", line,
			       section, key, value);
	else
		(void)snprintf(seen->text + n, sizeof(seen->text) - n, "%u:[%s];", line, section);
	return 0;
}

static int parse(const char *text, size_t length, struct seen *seen, struct ini_error *error)
{
	_cleanup_(fclosep) FILE *f = fmemopen((void *)text, length, "r");

	*seen = (struct seen){0};
	return ini_file_parse(f, remember, seen, error);
}

static void rows_carry_their_line(void **state _unused_)
{
	static const char text[] = "# comment\n"
				   "\n"
				   "top = 1\n"
				   "[daemon]\n"
				   "  ; indented comment\n"
				   "mode = govern ; inline\n"
				   "[gpu 0000:43:00.0]\n"
				   "[gpu *]\n"
				   "a=b=c";
	struct ini_error error;
	struct seen seen;

	assert_int_equal(parse(text, sizeof(text) - 1, &seen, &error), 0);
	assert_string_equal(seen.text, "3:.top=1;4:[daemon];6:daemon.mode=govern;"
				       "7:[gpu 0000:43:00.0];8:[gpu *];9:gpu *.a=b=c;");
}

static void bad_lines_are_named(void **state _unused_)
{
	static char long_line[300];
	static const struct {
		const char *text;
		unsigned int line;
		int r;
		const char *part;
	} cases[] = {
		{"a = 1\n[broken\nb = 1\n", 2, -EBADMSG, "broken section"},
		{"[]\n", 1, -EBADMSG, "broken section"},
		{"[x] y\n", 1, -EBADMSG, "text after section"},
		{"[x]\nnothing here\n", 2, -EBADMSG, "neither"},
		{"a = 1\n  b = 2\n", 2, -EBADMSG, "blank"},
		{"a = 1\nb = \001\n", 2, -EBADMSG, "control"},
		{"a = 1\n\nrefuse = 1\n", 3, -ERANGE, "refused"},
		{"[0123456789012345678901234567890123456789012345678901]\n", 1, -EBADMSG, "49"},
		{long_line, 1, -EBADMSG, "longer"},
	};
	struct ini_error error;
	struct seen seen;

	memset(long_line, 'x', sizeof(long_line) - 2);
	long_line[1] = '=';
	long_line[sizeof(long_line) - 2] = '\n';
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(parse(cases[i].text, strlen(cases[i].text), &seen, &error),
				 cases[i].r);
		assert_int_equal(error.line, cases[i].line);
		assert_non_null(strstr(error.text, cases[i].part));
	}
}

static void nul_bytes_are_refused(void **state _unused_)
{
	static const char text[] = "a = 1\nb = \0 2\n";
	struct ini_error error;
	struct seen seen;

	assert_int_equal(parse(text, sizeof(text) - 1, &seen, &error), -EBADMSG);
	assert_int_equal(error.line, 2);
}

static void a_line_of_the_greatest_length_arrives_whole(void **state _unused_)
{
	char text[INI_LINE_MAX + 2], expected[INI_LINE_MAX + 8];
	struct ini_error error;
	struct seen seen;

	memset(text, 'x', INI_LINE_MAX);
	text[1] = '=';
	text[INI_LINE_MAX] = '\n';
	text[INI_LINE_MAX + 1] = '\0';
	assert_int_equal(parse(text, INI_LINE_MAX + 1, &seen, &error), 0);
	(void)snprintf(expected, sizeof(expected), "1:.x=%.*s;", INI_LINE_MAX - 2, text + 2);
	assert_string_equal(seen.text, expected);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_carry_their_line),
		cmocka_unit_test(bad_lines_are_named),
		cmocka_unit_test(nul_bytes_are_refused),
		cmocka_unit_test(a_line_of_the_greatest_length_arrives_whole),
	};

	return cmocka_run_group_tests(tests, /* group_setup= */ NULL, /* group_teardown= */ NULL);
}
