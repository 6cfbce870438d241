/* SPDX-License-Identifier: Apache-2.0 */
/* The text of bars and lines; time is a number here. */
#include "base/progress.h"
#include "base/units.h"
#include "support/cmocka-includes.h"

#include <string.h>

struct fixture {
	FILE *out;
	char text[1024];
	struct progress p;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->out = fmemopen(f->text, sizeof(f->text), "w");
	if (!f->out)
		return -1;
	setbuf(f->out, NULL);
	f->p = progress_start(f->out, 4, 10 * NSEC_PER_SEC);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)fclose(f->out);
	free(f);
	return 0;
}

static void test_lines_tell_what_is_done_and_the_time_left(void **state)
{
	struct fixture *f = *state;

	assert_false(f->p.terminal); /* a file */
	progress_step(&f->p, 30 * NSEC_PER_SEC, "%d MHz", 925);
	progress_note(&f->p, "a %s", "note");
	progress_step(&f->p, 31 * NSEC_PER_SEC, "x");
	progress_end(&f->p);
	assert_string_equal(f->text, "[1/4, 60s left] 925 MHz\na note\n[2/4, 21s left] x\n");
}

static void test_a_terminal_gets_a_bar_that_is_drawn_over(void **state)
{
	struct fixture *f = *state;

	f->p.terminal = true;
	progress_step(&f->p, 110 * NSEC_PER_SEC, "x");
	progress_note(&f->p, "a note");
	progress_end(&f->p);
	assert_string_equal(f->text, "\r\033[K[######..................] 1/4, 5:00 left  x"
				     "\r\033[Ka note\n\r\033[K");
}

/* What wraps could not be cleared again. */
static void test_a_bar_stays_within_its_line(void **state)
{
	struct fixture *f = *state;
	char *bar = f->text + strlen(PROGRESS_CLEAR);

	f->p.terminal = true;
	progress_step(&f->p, 11 * NSEC_PER_SEC, "%0100d", 7);
	assert_int_equal(strlen(bar), 79);
	assert_null(strchr(bar, '7'));
}

static void test_more_work_than_was_known_leaves_no_time_rather_than_less(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 5; i++)
		progress_step(&f->p, (11 + i) * NSEC_PER_SEC, "x");
	assert_int_equal(f->p.done, 5);
	assert_int_equal(f->p.total, 5);
	assert_non_null(strstr(f->text, "[4/4, 0s left] x\n[5/5, 0s left] x\n"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_lines_tell_what_is_done_and_the_time_left),
		TEST(test_a_terminal_gets_a_bar_that_is_drawn_over),
		TEST(test_a_bar_stays_within_its_line),
		TEST(test_more_work_than_was_known_leaves_no_time_rather_than_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
