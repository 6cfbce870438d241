/* SPDX-License-Identifier: Apache-2.0 */
/* BatchSizer's experiment (Nabavinejad, Reda and Ebrahimi, ASP-DAC 2021, section 5): twenty jobs
 * under power caps, always with work waiting; throughput of the batch size as the knob against that
 * of the clock at a batch of 16, both found by the same search. The card is like their P40, and
 * their data sets (two for each network) are one here: the plant knows no pictures.
 *
 * Beside them cofris, which plans with both knobs from a profile of the card and finds out itself
 * that there is always work: it is told the requests started as arrivals. */
#include "base/log.h"
#include "base/units.h"
#include "governor/policy.h"
#include "replay/experiment-bench.h"
#include "replay/experiment.h"
#include "replay/report-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define POLL_NS	   (100 * NSEC_PER_MSEC)
#define LENGTH_NS  (600 * NSEC_PER_SEC)
#define MAX_BATCH  256
#define DVFS_BATCH 16

/* Table 2. */
static const struct job {
	const char *network, *model;
	uint32_t cap_w;
} jobs[] = {
	{"IncV1", "inception-v1", 191},	    {"IncV2", "inception-v2", 123},
	{"IncV3", "inception-v3", 228},	    {"MobV1", "mobilenet-v1", 195},
	{"MobV2", "mobilenet-v2", 84},	    {"NASNET", "nasnet-mobile", 159},
	{"PNASNET", "pnasnet-mobile", 246}, {"Res50", "resnet50", 143},
	{"Res101", "resnet101", 167},	    {"Res152", "resnet152", 218},
	{"IncV1", "inception-v1", 125},	    {"IncV2", "inception-v2", 192},
	{"IncV3", "inception-v3", 165},	    {"MobV1", "mobilenet-v1", 98},
	{"MobV2", "mobilenet-v2", 208},	    {"NASNET", "nasnet-mobile", 135},
	{"PNASNET", "pnasnet-mobile", 136}, {"Res50", "resnet50", 198},
	{"Res101", "resnet101", 236},	    {"Res152", "resnet152", 188},
};

/* What the text prints of its Fig. 5: gain over DVFS, percent. */
static double published_gain_pct(uint32_t job)
{
	return job == 19 ? 29 : job == 5 ? -8 : NAN;
}

static const char *const policies[] = {"dvfs", "batchsizer", "batchsizer-fixed",
				       "cofris"}; /* the last one plans */

/* A job's card, and what is known of it beforehand. */
struct job_bench {
	struct experiment_bench bench;
	struct response_table *table;
	struct response_menu *menu;
};

static int run_policy(const struct job_bench *b, const char *policy, uint32_t cap_w, uint64_t seed,
		      struct simulation_result *ret)
{
	bool plans = strcmp(policy, "cofris") == 0;
	const struct experiment_run run = {
		.policy = policy,
		.table = plans ? b->table : NULL,
		.menu = plans ? b->menu : NULL,
		.poll_ns = POLL_NS,
		.slo_ns = LENGTH_NS,
		.cap_uw = cap_w * UW_PER_W,
		.max_batch = strcmp(policy, "dvfs") == 0 ? DVFS_BATCH : MAX_BATCH,
		.duration_ns = LENGTH_NS,
		.saturated = true,
		.seed = seed,
	};

	return experiment_bench_run(&b->bench, &run, ret);
}

static const char *make_key(char key[64], const char *policy, const char *what)
{
	(void)snprintf(key, 64, "%s_%s", policy, what);
	for (char *c = key; *c; c++)
		*c = *c == '-' ? '_' : *c;
	return key;
}

static int set(json_t *row, const char *policy, const char *what, double value)
{
	char key[64];

	return json_object_set_new(row, make_key(key, policy, what), report_rounded(value));
}

/* What planning with both knobs gains over the best of those with one. */
static int add_best(const double *rps, json_t *row)
{
	double best = 0;
	size_t n = ARRAY_SIZE(policies) - 1;

	for (size_t i = 0; i < n; i++)
		best = fmax(best, rps[i]);
	return set(row, policies[n], "best_pct", 100 * (rps[n] / best - 1));
}

static int add_policies(const struct job *job, uint32_t number, uint64_t seed, json_t *row)
{
	double rps[ARRAY_SIZE(policies)];
	struct job_bench b = {0};
	int r;

	r = experiment_bench_init(&b.bench, "p40", job->model, 1, MAX_BATCH, seed);
	if (r == 0)
		r = experiment_bench_profile(&b.bench, LENGTH_NS, MAX_BATCH, seed, &b.table,
					     &b.menu);
	for (size_t i = 0; i < ARRAY_SIZE(policies) && r == 0; i++) {
		struct simulation_result result;

		r = run_policy(&b, policies[i], job->cap_w, seed + number, &result);
		if (r < 0)
			break;
		rps[i] = (double)result.completed / result.length_s;
		if (set(row, policies[i], "rps", rps[i]) < 0 ||
		    set(row, policies[i], "gain_pct", 100 * (rps[i] / rps[0] - 1)) < 0 ||
		    set(row, policies[i], "batch", result.mean_batch) < 0 ||
		    set(row, policies[i], "mhz", result.mean_sclk_mhz) < 0 ||
		    set(row, policies[i], "w", result.energy_j / result.length_s) < 0 ||
		    set(row, policies[i], "over_cap_pct",
			100 * result.over_cap_s / result.length_s) < 0 ||
		    set(row, policies[i], "over_cap_w",
			result.over_cap_s > 0 ? result.over_cap_j / result.over_cap_s : 0) < 0)
			r = -ENOMEM;
		simulation_result_done(&result);
	}
	if (r == 0 && add_best(rps, row) < 0)
		r = -ENOMEM;
	experiment_bench_done(&b.bench);
	free(b.table);
	free(b.menu);
	return r;
}

static int add_job(uint32_t number, uint64_t seed, json_t *rows)
{
	const struct job *job = &jobs[number - 1];
	json_t *row = json_pack("{s:i, s:s, s:s, s:i}", "job", (int)number, "network", job->network,
				"model", job->model, "cap_w", (int)job->cap_w);
	int r = 0;

	if (!row || json_object_set_new(row, "published_gain_pct",
					report_rounded(published_gain_pct(number))) < 0)
		r = -ENOMEM;
	if (r == 0)
		r = add_policies(job, number, seed, row);
	if (r < 0 || json_array_append_new(rows, row) < 0) {
		if (r < 0)
			json_decref(row);
		return r < 0 ? r : -ENOMEM;
	}
	return 0;
}

/* Least and largest gain of a policy over the jobs that were run. */
static json_t *extremes(const json_t *rows, const char *key)
{
	double least = INFINITY, most = -INFINITY;
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		double gain = report_number(row, key);

		if (isnan(gain))
			continue;
		least = fmin(least, gain);
		most = fmax(most, gain);
	}
	return json_pack("{s:o, s:o}", "least", report_rounded(least), "most",
			 report_rounded(most));
}

/* ---- what was published ---- */

/* Share of the jobs for which it holds, of those that were run; % */
static double share_pct(const json_t *rows, const char *policy,
			bool (*holds)(const json_t *row, const char *policy))
{
	uint32_t n = 0, held = 0;
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		n++;
		held += holds(row, policy);
	}
	return n > 0 ? 100.0 * held / n : NAN;
}

static double figure(const json_t *row, const char *policy, const char *what)
{
	char key[64];

	return report_number(row, make_key(key, policy, what));
}

static bool gains(const json_t *row, const char *policy)
{
	return figure(row, policy, "gain_pct") > 0;
}

/* Gains of the jobs with larger batches than the clock's (the least of them), or with others (their
 * mean), %. NaN if there is none. */
static double gain_by_batch(const json_t *rows, const char *policy, bool larger)
{
	double least = INFINITY, sum = 0;
	uint32_t n = 0;
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row)
	{
		double gain_pct = figure(row, policy, "gain_pct");

		if (isnan(gain_pct) || larger != (figure(row, policy, "batch") > DVFS_BATCH + 1))
			continue;
		least = fmin(least, gain_pct);
		sum += gain_pct;
		n++;
	}
	return n == 0 ? NAN : larger ? least : sum / n;
}

static bool violates_briefly(const json_t *row, const char *policy)
{
	return figure(row, policy, "over_cap_pct") <= 1;
}

static int add_claims(const json_t *rows, const char *policy, const json_t *range, json_t *claims)
{
	const struct experiment_claim all[] = {
		{"most-gain", "most throughput over the clock's, %", policy, 29, 24, 34, true,
		 report_number(range, "most")},
		{"least-gain", "least throughput over the clock's, %", policy, -8, -13, -3, true,
		 report_number(range, "least")},
		{"job-19", "gain in job 19, %", policy, 29, 24, 34, true,
		 figure(json_array_get(rows, 18), policy, "gain_pct")},
		{"job-5", "gain in job 5, %", policy, -8, -13, -3, true,
		 figure(json_array_get(rows, 4), policy, "gain_pct")},
		{"most-jobs", "most jobs gain; % of them", policy, NAN, 51, 100,
		 strcmp(policy, "batchsizer") == 0, share_pct(rows, policy, gains)},
		{"large-batches", "all jobs with batches above 16 gain; the least, %", policy, NAN,
		 0, INFINITY, false, gain_by_batch(rows, policy, true)},
		{"small-batches", "the others gain little or lose; their mean, %", policy, NAN,
		 -INFINITY, 5, false, gain_by_batch(rows, policy, false)},
		{"violations", "above the cap at most 1 % of the time; % of jobs", policy, NAN, 100,
		 100, false, share_pct(rows, policy, violates_briefly)},
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (experiment_claim_add(claims, &all[i]) < 0)
			return -ENOMEM;
	return 0;
}

static json_t *make_object(const struct experiment_options *o, json_t *rows)
{
	json_t *printed = extremes(rows, "batchsizer_gain_pct");
	json_t *fixed = extremes(rows, "batchsizer_fixed_gain_pct");
	json_t *claims = json_array();

	if (!claims || add_claims(rows, "batchsizer", printed, claims) < 0 ||
	    add_claims(rows, "batchsizer-fixed", fixed, claims) < 0) {
		json_decref(claims);
		claims = NULL; /* nor is there an object */
	}
	return json_pack("{s:i, s:b, s:s, s:s, s:I, s:o, s:o, s:o, s:o}", "schema",
			 EXPERIMENT_SCHEMA, "simulated", 1, "experiment", "batchsizer", "device",
			 "p40", "seed", (json_int_t)o->seed, "batchsizer_gain_pct", printed,
			 "batchsizer_fixed_gain_pct", fixed, "claims", claims, "jobs", rows);
}

static int run(const struct experiment_options *o, json_t **ret)
{
	json_t *rows = json_array(), *object;
	int r = rows ? 0 : -ENOMEM;

	for (uint32_t i = 1; i <= ARRAY_SIZE(jobs) && r == 0; i++)
		r = add_job(i, o->seed, rows);
	if (r < 0) {
		json_decref(rows);
		return r == -ENOMEM ? log_error_errno(r, "out of memory") : r;
	}
	object = make_object(o, rows);
	if (!object)
		return log_error_errno(-ENOMEM, "out of memory");
	*ret = object;
	return 0;
}

static const struct report_column columns[] = {
	{"job", "job", NULL, 0},
	{"network", "network", NULL, -1},
	{"cap_w", "cap W", NULL, 0},
	{"dvfs_rps", "dvfs /s", NULL, 1},
	{"dvfs_mhz", "MHz", NULL, 0},
	{"dvfs_over_cap_pct", "over cap %", NULL, 2},
	{"batchsizer_rps", "batchsizer /s", NULL, 1},
	{"batchsizer_gain_pct", "gain %", NULL, 1},
	{"batchsizer_batch", "batch", NULL, 1},
	{"batchsizer_over_cap_pct", "over cap %", NULL, 2},
	{"batchsizer_fixed_rps", "fixed /s", NULL, 1},
	{"batchsizer_fixed_gain_pct", "gain %", NULL, 1},
	{"batchsizer_fixed_batch", "batch", NULL, 1},
	{"batchsizer_fixed_over_cap_pct", "over cap %", NULL, 2},
	{"published_gain_pct", "published %", NULL, 0},
	{"cofris_rps", "cofris /s", NULL, 1},
	{"cofris_best_pct", "over best %", NULL, 1},
	{"cofris_mhz", "MHz", NULL, 0},
	{"cofris_batch", "batch", NULL, 1},
	{"cofris_over_cap_pct", "over cap %", NULL, 2},
};

static int text(const json_t *object, FILE *f)
{
	int r;

	(void)fprintf(f,
		      "Simulated: BatchSizer's jobs on a P40-like card; gains are over the clock "
		      "at a batch of %d\n\n",
		      DVFS_BATCH);
	r = experiment_claims_text(json_object_get(object, "claims"), f);
	return r < 0 ? r
		     : report_print_table(json_object_get(object, "jobs"), columns,
					  ARRAY_SIZE(columns), f);
}

const struct experiment experiment_batchsizer = {
	.name = "batchsizer",
	.run = run,
	.text = text,
};
