/* SPDX-License-Identifier: Apache-2.0 */
/* cofris-replay: the governor outside the daemon. --inputs feeds a record of cofrisd to it again.
 */
#include "base/log.h"
#include "replay/inputs.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

enum exit_status { SAME = 0, DIFFERENT = 1, FAILED = 2 };

struct options {
	const char *inputs;
	bool json;
};

static void print_help(void)
{
	printf("Usage: cofris-replay --inputs FILE [--json]\n"
	       "\n"
	       "Feeds the inputs that cofrisd --record FILE wrote to new governors and compares\n"
	       "their decisions with the recorded ones byte for byte.\n"
	       "\n"
	       "  --inputs FILE   the record; - reads standard input\n"
	       "  --json          the result as one JSON object\n"
	       "  --help          this text\n"
	       "  --version       the version\n"
	       "\n"
	       "Exit status: 0 all decisions are the same, 1 some differ, 2 the record cannot be\n"
	       "used or nothing was compared.\n");
}

/* Returns 0 to go on, 1 to end with success, or a negative errno after a message. */
static int parse_options(int argc, char **argv, struct options *ret)
{
	static const struct option table[] = {
		{"inputs", required_argument, NULL, 'i'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'v'},
		{0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", table, NULL)) >= 0) {
		switch (c) {
		case 'i':
			ret->inputs = optarg;
			break;
		case 'j':
			ret->json = true;
			break;
		case 'h':
			print_help();
			return 1;
		case 'v':
			printf("cofris-replay %s\n", COFRIS_VERSION);
			return 1;
		default:
			return -EINVAL;
		}
	}
	if (optind < argc) {
		log_error("Unexpected argument '%s'; see --help.", argv[optind]);
		return -EINVAL;
	}
	if (!ret->inputs) {
		log_error("--inputs FILE is missing; see --help.");
		return -EINVAL;
	}
	return 0;
}

static void print_text(const struct inputs_result *result)
{
	printf("%" PRIu64 " decisions compared: %" PRIu64 " differ "
	       "(%" PRIu64 " inputs, %" PRIu64 " configurations)\n",
	       result->decisions, result->differing, result->inputs, result->configurations);
	if (result->differing > 0)
		printf("first difference, line %u (card %" PRIu32
		       "):\n  recorded %s\n  replayed %s\n",
		       result->first.line, result->first.card, result->first.recorded,
		       result->first.replayed);
}

static int print_json(const struct inputs_result *result)
{
	json_t *first = json_null();
	json_t *object;
	int r;

	if (result->differing > 0)
		first = json_pack("{s:i, s:i, s:s, s:s}", "line", (int)result->first.line, "card",
				  (int)result->first.card, "recorded", result->first.recorded,
				  "replayed", result->first.replayed);
	object = json_pack("{s:I, s:I, s:I, s:I, s:o}", "configurations",
			   (json_int_t)result->configurations, "inputs", (json_int_t)result->inputs,
			   "decisions", (json_int_t)result->decisions, "differing",
			   (json_int_t)result->differing, "first_difference", first);
	if (!object)
		return -ENOMEM;
	r = json_dumpf(object, stdout, JSON_ENSURE_ASCII) < 0 ? -EIO : 0;
	json_decref(object);
	(void)putchar('\n');
	return r;
}

static enum exit_status run(const struct options *options)
{
	bool standard_input = strcmp(options->inputs, "-") == 0;
	_cleanup_(fclosep) FILE *opened = NULL;
	struct inputs_result result;
	struct record_error error;
	int r;

	if (!standard_input) {
		opened = fopen(options->inputs, "re");
		if (!opened) {
			(void)log_error_errno(-errno, "%s: %m", options->inputs);
			return FAILED;
		}
	}
	r = inputs_replay(standard_input ? stdin : opened, &result, &error);
	if (r < 0)
		log_error("%s:%u: %s", options->inputs, error.line, error.text);
	if (options->json && print_json(&result) < 0) {
		log_error("Cannot write the result.");
		return FAILED;
	}
	if (!options->json)
		print_text(&result);
	if (r == 0 && result.decisions == 0) {
		log_error("%s: no decision to compare with", options->inputs);
		return FAILED;
	}
	if (r < 0)
		return FAILED;
	return result.differing > 0 ? DIFFERENT : SAME;
}

int main(int argc, char **argv)
{
	struct options options = {0};
	enum exit_status status;
	int r;

	log_init("cofris-replay", LOG_INFO);
	r = parse_options(argc, argv, &options);
	if (r != 0)
		return r < 0 ? FAILED : SAME;
	status = run(&options);
	if (fflush(stdout) != 0) {
		(void)log_error_errno(-errno, "Cannot write the result: %m");
		return FAILED;
	}
	return status;
}
