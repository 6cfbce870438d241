/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "governor/policy.h"
#include "replay/options.h"
#include "support/cmocka-includes.h"

#include <errno.h>
#include <string.h>

#define MAX_WORDS 24
#define LETTERS	  "a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q,r,s,t,u,v,w,x,y,z"

/* Words split at blanks; the strings live until the next call. */
static int parse(const char *line, struct replay_options *ret)
{
	static char copy[1024];
	char *argv[MAX_WORDS + 1] = {"cofris-replay"}, *rest = copy, *word;
	int argc = 1;

	(void)snprintf(copy, sizeof(copy), "%s", line);
	while (argc < MAX_WORDS && (word = strsep(&rest, " ")))
		argv[argc++] = word;
	argv[argc] = NULL;
	return replay_options_parse(argc, argv, ret);
}

static bool has_policy(const struct replay_options *o, const char *name)
{
	for (uint32_t i = 0; i < o->evaluation.n_policies; i++)
		if (strcmp(o->evaluation.policies[i], name) == 0)
			return true;
	return false;
}

static void test_what_is_not_said_is_the_standard_set_up(void **state)
{
	_cleanup_(replay_options_done) struct replay_options o;

	(void)state;
	assert_int_equal(parse("--trace t.csv", &o), 1);
	assert_string_equal(o.trace, "t.csv");
	assert_null(o.inputs);
	assert_null(o.report);
	assert_false(o.json);
	assert_string_equal(o.device, "mi50");
	assert_int_equal(o.n_models, 8);
	assert_string_equal(o.models[0], "albert");
	assert_string_equal(o.models[7], "vgg19");
	assert_int_equal(o.n_slos, 1);
	assert_true(o.slos[0].factor == 2 && o.slos[0].ns == 0);
	assert_int_equal(o.reading.format, TRACE_GUESS);
	/* The trace's own, or a quarter of an hour. */
	assert_true(o.reading.duration_s == 0 && o.reading.smoothing_k == 0);
	assert_int_equal(o.evaluation.percentile, 95);
	assert_true(o.evaluation.headroom == 0.9);
	assert_int_equal(o.evaluation.gating, PLANT_GATING_NONE);
	assert_int_equal(o.evaluation.latency, LATENCY_SOJOURN);
	assert_int_equal(o.evaluation.service_cards, 1);
	assert_int_equal(o.evaluation.ensemble, 1);
	assert_true(o.evaluation.switch_ms == 5);
	assert_true(o.evaluation.dpm_ramp_ms < 0 && o.evaluation.idle_active_share < 0);
	assert_true(o.evaluation.seed == 1 && o.evaluation.max_batch == 1);
	assert_true(o.evaluation.cap_w == 0 && !o.evaluation.headroom_sweep);
	assert_int_equal(o.evaluation.threads, 0);
}

static void test_everything_can_be_said(void **state)
{
	_cleanup_(replay_options_done) struct replay_options o;

	(void)state;
	assert_int_equal(parse("--trace - --format azure-llm --duration 15m --start 2h --span 24h "
			       "--smoothing-k 7 --seed 9 --models a,./b.ini",
			       &o),
			 1);
	assert_string_equal(o.trace, "-");
	assert_int_equal(o.reading.format, TRACE_AZURE_LLM);
	assert_true(o.reading.duration_s == 900 && o.reading.start_s == 7200);
	assert_true(o.reading.span_s == 86400 && o.reading.smoothing_k == 7);
	assert_true(o.evaluation.seed == 9 && o.n_models == 2);
	assert_string_equal(o.models[1], "./b.ini");
	replay_options_done(&o);

	assert_int_equal(parse("--trace t --percentile 99 --latency service --headroom 0.8 "
			       "--headroom-sweep --max-batch 8 --cap 150W --json --report d "
			       "--threads 3",
			       &o),
			 1);
	assert_true(o.evaluation.percentile == 99 && o.evaluation.latency == LATENCY_SERVICE);
	assert_true(o.evaluation.headroom == 0.8 && o.evaluation.headroom_sweep);
	assert_true(o.evaluation.max_batch == 8 && o.evaluation.cap_w == 150);
	assert_true(o.json && o.evaluation.threads == 3);
	assert_string_equal(o.report, "d");
	replay_options_done(&o);

	assert_int_equal(parse("--trace t --device x.ini --gating cu --service-cards 20 --ensemble "
			       "21 --switch-ms 200 --dpm-ramp-ms 0 --idle-active-share 1",
			       &o),
			 1);
	assert_string_equal(o.device, "x.ini");
	assert_int_equal(o.evaluation.gating, PLANT_GATING_CU);
	assert_true(o.evaluation.service_cards == 20 && o.evaluation.ensemble == 21);
	assert_true(o.evaluation.switch_ms == 200 && o.evaluation.dpm_ramp_ms == 0);
	assert_true(o.evaluation.idle_active_share == 1);
	assert_true(o.n_surfaces == 0 && !o.evaluation.exact && !o.evaluation.no_boosts);
	replay_options_done(&o);

	assert_int_equal(parse("--trace t --surface x --models a,b --surface a.csv,d/b.csv "
			       "--exact --no-boosts",
			       &o),
			 1);
	assert_int_equal(o.n_surfaces, 2); /* of the last one */
	assert_string_equal(o.surfaces[0], "a.csv");
	assert_string_equal(o.surfaces[1], "d/b.csv");
	assert_true(o.n_models == 2 && o.evaluation.exact && o.evaluation.no_boosts);
}

static void test_objectives_are_factors_or_times_and_may_be_several(void **state)
{
	_cleanup_(replay_options_done) struct replay_options o;

	(void)state;
	assert_int_equal(parse("--trace t --slo 9x --slo 2.0x,20ms,1.25x", &o), 1);
	assert_int_equal(o.n_slos, 3); /* of the last one */
	assert_true(o.slos[0].factor == 2 && o.slos[0].ns == 0);
	assert_true(o.slos[1].factor == 0 && o.slos[1].ns == 20000000);
	assert_true(o.slos[2].factor == 1.25);
}

static void test_mixes_name_their_models(void **state)
{
	_cleanup_(replay_options_done) struct replay_options o;

	(void)state;
	assert_int_equal(parse("--trace t --mix x+y --mix a+b,b+b+./c.ini", &o), 1);
	assert_int_equal(o.n_mixes, 2); /* of the last one */
	assert_int_equal(o.n_models, 3);
	assert_string_equal(o.models[2], "./c.ini");
	assert_int_equal(o.mixes[0].n, 2);
	assert_int_equal(o.mixes[0].models[1], 1);
	assert_int_equal(o.mixes[1].n, 3);
	assert_int_equal(o.mixes[1].models[0], 1);
	assert_int_equal(o.mixes[1].models[1], 1);
	assert_int_equal(o.mixes[1].models[2], 2);
}

static void test_all_policies_are_those_that_the_set_up_allows(void **state)
{
	_cleanup_(replay_options_done) struct replay_options o;

	(void)state;
	assert_int_equal(parse("--trace t --policies all", &o), 1);
	assert_string_equal(o.evaluation.policies[0], "auto");
	assert_string_equal(o.evaluation.policies[1], "maximum");
	assert_true(has_policy(&o, "cofris") && has_policy(&o, "coordinated"));
	assert_true(has_policy(&o, "oracle") && has_policy(&o, "oracle-rate"));
	assert_false(has_policy(&o, "batchsizer") || has_policy(&o, "dvfs"));
	replay_options_done(&o);

	/* These keep to a cap by their batches. */
	assert_int_equal(parse("--trace t --cap 100W", &o), 1);
	assert_false(has_policy(&o, "batchsizer"));
	replay_options_done(&o);
	assert_int_equal(parse("--trace t --max-batch 16 --cap 100W", &o), 1);
	assert_true(has_policy(&o, "batchsizer") && has_policy(&o, "batchsizer-fixed"));
	replay_options_done(&o);

	assert_int_equal(parse("--trace t --policies oracle,auto", &o), 1);
	assert_int_equal(o.evaluation.n_policies, 2);
	assert_string_equal(o.evaluation.policies[0], "oracle");
}

/* A policy that the governor gets comes into the reports. */
static void test_every_policy_can_be_named(void **state)
{
	_cleanup_(replay_options_done) struct replay_options o;
	char line[64];

	(void)state;
	for (unsigned int i = 0; policy_name(i); i++) {
		(void)snprintf(line, sizeof(line), "--trace t --policies %s", policy_name(i));
		assert_int_equal(parse(line, &o), 1);
		assert_true(has_policy(&o, policy_name(i)));
		replay_options_done(&o);
	}
	assert_int_equal(parse("--trace t --cap 100W --max-batch 2", &o), 1);
	for (uint32_t i = 0; i < o.evaluation.n_policies; i++)
		assert_true(policy_find(o.evaluation.policies[i]) ||
			    policy_is_clairvoyant(o.evaluation.policies[i]));
}

static void test_a_record_is_replayed_with_nothing_but_json(void **state)
{
	_cleanup_(replay_options_done) struct replay_options o;

	(void)state;
	assert_int_equal(parse("--inputs - --json", &o), 1);
	assert_string_equal(o.inputs, "-");
	assert_true(o.json);
}

static void test_what_is_wrong_is_refused(void **state)
{
	static const char *const lines[] = {
		"",
		"--json",
		"--trace",
		"--trace t extra",
		"--trace t --nothing",
		"--trace t --inputs f",
		"--inputs f --seed 2",
		"--inputs f --explain 0",
		"--inputs f --explain 3 --json",
		"--trace t --explain 3",
		"--trace t --format csv",
		"--trace t --duration 15",
		"--trace t --duration 1s",
		"--trace t --duration 8760h",
		"--trace t --smoothing-k 0",
		"--trace t --smoothing-k 1.5",
		"--trace t --seed -1",
		"--trace t --seed 9223372036854775808",
		"--trace t --models a,,b",
		"--trace t --models a,b,a",
		"--trace t --models " LETTERS ",1,2,3,4,5,6,7",
		"--trace t --mix a",
		"--trace t --mix a+",
		"--trace t --mix a+b,",
		"--trace t --mix a+b+c+d+e",
		"--trace t --mix a+b --policies auto",
		"--trace t --cap 100W --mix a+b",
		"--trace t --policies oracel",
		"--trace t --policies auto,auto",
		"--trace t --policies auto,",
		"--trace t --slo 2",
		"--trace t --slo x",
		"--trace t --slo 0.5x",
		"--trace t --slo nanx",
		"--trace t --slo 0ms",
		"--trace t --slo 2x,2.0x",
		"--trace t --slo 1x,2x,3x,4x,5x,6x,7x,8x,9x",
		"--trace t --percentile 100",
		"--trace t --latency both",
		"--trace t --headroom 0",
		"--trace t --headroom nan",
		"--trace t --max-batch 0",
		"--trace t --cap 150",
		"--trace t --gating all",
		"--trace t --service-cards 0",
		"--trace t --ensemble 22",
		"--trace t --switch-ms -1",
		"--trace t --idle-active-share 1.1",
		"--trace t --threads 0",
	};
	struct replay_options o;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		int r = parse(lines[i], &o);

		if (r != -EINVAL)
			fail_msg("'%s': %d", lines[i], r);
	}
}

static void test_a_near_name_is_proposed(void **state)
{
	char text[512] = "";
	struct replay_options o;
	int pipes[2], saved = dup(STDERR_FILENO);

	(void)state;
	assert_int_equal(pipe(pipes), 0);
	(void)dup2(pipes[1], STDERR_FILENO);
	assert_int_equal(parse("--trace t --policies cofriss", &o), -EINVAL);
	(void)dup2(saved, STDERR_FILENO);
	assert_true(read(pipes[0], text, sizeof(text) - 1) > 0);
	for (size_t i = 0; i < ARRAY_SIZE(pipes); i++)
		(void)close(pipes[i]);
	(void)close(saved);
	assert_non_null(strstr(text, "--policies: unknown 'cofriss', did you mean 'cofris'?"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_is_not_said_is_the_standard_set_up),
		cmocka_unit_test(test_everything_can_be_said),
		cmocka_unit_test(test_objectives_are_factors_or_times_and_may_be_several),
		cmocka_unit_test(test_mixes_name_their_models),
		cmocka_unit_test(test_all_policies_are_those_that_the_set_up_allows),
		cmocka_unit_test(test_every_policy_can_be_named),
		cmocka_unit_test(test_a_record_is_replayed_with_nothing_but_json),
		cmocka_unit_test(test_what_is_wrong_is_refused),
		cmocka_unit_test(test_a_near_name_is_proposed),
	};

	log_init("test-replay-options", LOG_INFO);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
