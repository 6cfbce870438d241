/* SPDX-License-Identifier: Apache-2.0 */
/* cofris-replay: the governor outside the daemon, on simulated cards in virtual time. --inputs
 * feeds a record of cofrisd to it again instead. */
#include "base/log.h"
#include "base/progress.h"
#include "replay/experiment.h"
#include "replay/inputs.h"
#include "replay/report.h"
#include "replay/run.h"
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

/* OVERLOADED: not a set-up to judge policies by. */
enum exit_status { SAME = 0, DIFFERENT = 1, FAILED = 2, OVERLOADED = 3 };

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

static enum exit_status run_inputs(const struct replay_options *options)
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
	r = inputs_replay(standard_input ? stdin : opened, options->explain, &result, &error);
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
	if (r == 0 && options->explain > 0 && result.explained == 0) {
		log_error("%s: no decision %u", options->inputs, options->explain);
		return FAILED;
	}
	if (r < 0)
		return FAILED;
	return result.differing > 0 ? DIFFERENT : SAME;
}

static enum exit_status run_experiment(const struct replay_options *options)
{
	const struct experiment *e = experiment_find(options->experiment);
	const struct experiment_options o = {
		.trace = options->trace,
		.smoothing_k = options->reading.smoothing_k,
		.seed = options->evaluation.seed,
		.threads = options->evaluation.threads,
	};
	json_t *object = NULL;
	int r;

	r = e->run(&o, &object);
	if (r < 0)
		return FAILED;
	r = options->json ? report_dump(object, stdout) : e->text(object, stdout);
	json_decref(object);
	if (r < 0)
		(void)log_error_errno(r, "Cannot write the result: %m");
	return r < 0 ? FAILED : SAME;
}

static enum exit_status run(const struct replay_options *options)
{
	int r;

	if (options->inputs)
		return run_inputs(options);
	if (options->experiment)
		return run_experiment(options);
	r = replay_run(options);
	return r == -EDOM ? OVERLOADED : r < 0 ? FAILED : SAME;
}

int main(int argc, char **argv)
{
	struct replay_options options;
	enum exit_status status;
	int r;

	/* A bar may be on the line. */
	log_init(isatty(STDERR_FILENO) ? PROGRESS_CLEAR "cofris-replay" : "cofris-replay",
		 LOG_INFO);
	r = replay_options_parse(argc, argv, &options);
	if (r <= 0)
		return r < 0 ? FAILED : SAME;
	status = run(&options);
	replay_options_done(&options);
	if (fflush(stdout) != 0) {
		(void)log_error_errno(-errno, "Cannot write the result: %m");
		return FAILED;
	}
	return status;
}
