/* SPDX-License-Identifier: Apache-2.0 */
#include "support/cmocka-includes.h"
#include "worker/options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define MAX_WORDS 16

/* Words split at blanks. */
static int parse(const char *line, struct worker_options *ret)
{
	static char copy[256];
	char *argv[MAX_WORDS] = {"cofris-worker"}, *rest = copy, *word;
	int argc = 1;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	while ((word = strsep(&rest, " ")))
		argv[argc++] = word;
	argv[argc] = NULL;
	return worker_options_parse(argc, argv, ret);
}

static void test_takes_what_the_manual_says(void **state)
{
	struct worker_options o;

	(void)state;
	assert_int_equal(parse("--model resnet50 --load day.csv --rated-rps 250.5 "
			       "--time-compression 10 --duration 90s --seed 7 --no-follow-mask",
			       &o),
			 1);
	assert_string_equal(o.model, "resnet50");
	assert_string_equal(o.load_path, "day.csv");
	assert_true(o.rated_rps == 250.5 && o.compression == 10);
	assert_true(o.duration_ns == UINT64_C(90000000000) && o.seed == 7);
	assert_false(o.follow_mask);
	assert_int_equal(parse("--model m --closed-loop 4 --workers 2 --idle-kernels", &o), 1);
	assert_int_equal(o.closed_loop, 4);
	assert_int_equal(o.slots, 2);
	assert_true(o.follow_mask && o.idle_kernels);
}

static void test_help_and_version_are_answers(void **state)
{
	struct worker_options o;

	(void)state;
	assert_int_equal(parse("--help", &o), 2);
	assert_int_equal(parse("--version", &o), 0);
}

static void test_refuses_what_makes_no_sense(void **state)
{
	static const char *const lines[] = {
		"--rate 3",
		"--model m",
		"--model m --rate 3 --closed-loop 1",
		"--model m --load day.csv",
		"--model m --rate 3 --time-compression 2",
		"--model m --rate 0",
		"--model m --rate -3",
		"--model m --rate nan",
		"--model m --rate 1e300",
		"--model m --closed-loop 0",
		"--model m --closed-loop 4294967297",
		"--model m --rate 3 --duration 30",
		"--model m --rate 3 --duration 99999999h",
		"--model m --rate 3 --workers 65",
		"--model m --rate 3 --max-batch 257",
		"--model m --rate 3 --jitter 2",
		"--model m --rate 3 --stall-factor 0.5",
		"--model m --rate 3 --gpu 43:00.0",
		"--model m --rate 3 --instance ../x",
		"--model m --rate 3 --seed -1",
		"--model m --rate 3 extra",
		"--model m --rate 3 --nonsense",
		"--model m --rate",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct worker_options o = {.seed = 99};

		print_message("%s\n", lines[i]);
		assert_int_equal(parse(lines[i], &o), -EINVAL);
		assert_true(o.seed == 99);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_takes_what_the_manual_says),
		cmocka_unit_test(test_help_and_version_are_answers),
		cmocka_unit_test(test_refuses_what_makes_no_sense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
