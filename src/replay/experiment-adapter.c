/* SPDX-License-Identifier: Apache-2.0 */
/* ADAPter's experiment: a stream of requests for a minute on a TX2-like module, with a loose
 * objective (2 s) and a tight one, under its controller and under the default governor. The report
 * speaks of a flood and prints no rate: here it is one where the next request is always there (so a
 * request's latency is its service), and beside it open streams at parts of what the top clock
 * serves. Nor does the report say how tight: here a quarter above the default governor's p95. */
#include "base/log.h"
#include "base/units.h"
#include "plant/plant.h"
#include "replay/experiment-bench.h"
#include "replay/experiment.h"
#include "replay/report-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define LENGTH_NS  (60 * NSEC_PER_SEC)
#define POLL_NS	   (500 * NSEC_PER_MSEC)
#define LOOSE_NS   (2 * NSEC_PER_SEC)
#define TIGHT	   1.25
#define MAX_STREAM 100000

/* DenseNet-121 gets batches of eight images, RoBERTa single texts. */
static const struct stream {
	const char *model;
	uint32_t images;
	double share; /* of the top clock's capacity; 0: a flood */
} streams[] = {
	{"densenet121", 8, 0},	{"densenet121", 8, 0.2},  {"densenet121", 8, 0.5},
	{"roberta-base", 1, 0}, {"roberta-base", 1, 0.2}, {"roberta-base", 1, 0.5},
};

static const char *const policies[] = {"auto", "adapter", "adapter-tail"};

static uint32_t arrivals(double rate_rps, uint64_t seed, uint64_t *ret)
{
	double t_s = 0;

	for (uint32_t n = 0; n < MAX_STREAM; n++) {
		t_s += plant_exponential(seed, n) / rate_rps;
		if (t_s * 1e9 >= (double)LENGTH_NS)
			return n;
		ret[n] = (uint64_t)(t_s * 1e9);
	}
	return MAX_STREAM;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Of all requests, or, of a flood, of the intervals' p95s. ms, infinite where a request never
 * ended. NaN if there is none. */
static double p95_ms(const struct simulation_result *r)
{
	uint32_t n = r->n > 0 ? r->n : r->n_ticks;
	_cleanup_(freep) double *sorted = calloc(MAX(n, 1u), sizeof(*sorted));

	if (!sorted || n == 0)
		return NAN;
	for (uint32_t i = 0; i < n; i++) {
		if (r->n == 0)
			sorted[i] = (double)r->ticks[i].p95_ms;
		else if (r->latency_ns[i] == REQUEST_UNFINISHED)
			sorted[i] = INFINITY;
		else
			sorted[i] = (double)r->latency_ns[i] / 1e6;
	}
	qsort(sorted, n, sizeof(*sorted), compare);
	return sorted[(size_t)ceil(0.95 * n) - 1];
}

static double attainment_pct(const struct simulation_result *r, uint64_t slo_ns)
{
	uint32_t in_time = 0;

	if (r->n == 0 && r->completed > 0)
		return 100 - 100.0 * (double)r->late / (double)r->completed;
	for (uint32_t i = 0; i < r->n; i++)
		in_time += r->latency_ns[i] <= slo_ns;
	return r->n > 0 ? 100.0 * in_time / r->n : NAN;
}

/* Clock limit in the last interval of the stream. */
static double last_mhz(const struct experiment_bench *b, const struct simulation_result *r)
{
	uint32_t level = r->n_ticks > 0 ? r->ticks[r->n_ticks - 1].configuration.level : 0;

	return b->truth.device.level_mhz[level];
}

struct work {
	const struct stream *stream;
	struct experiment_bench bench;
	uint64_t *arrival_ns;
	uint32_t n;
	uint64_t seed;
	json_t *rows, *claims;
};

/* The first level of its program. */
#define START_MHZ 727
#define AROUND	  0.15

static int claim(const struct work *w, const struct experiment_claim *c)
{
	struct experiment_claim named = *c;
	char subject[64];

	(void)snprintf(subject, sizeof(subject), w->stream->share > 0 ? "%s at %.1f" : "%s, flood",
		       w->stream->model, w->stream->share);
	named.subject = subject;
	return experiment_claim_add(w->claims, &named);
}

/* Of the run under its controller. That it takes no more power holds for any limit on the clock; so
 * the tight objective's other half, which the report leaves out, stands in the rows. */
static int add_claims(const struct work *w, bool loose, double power_vs_auto,
		      const struct simulation_result *r, uint64_t slo_ns)
{
	bool open = w->stream->share > 0;
	int error;

	if (!loose)
		return claim(w, &(struct experiment_claim){
					.id = "tight-power",
					.statement = "at a tight objective no more power than by "
						     "default",
					.published = 1,
					.least = -INFINITY,
					.most = 1,
					.ours = power_vs_auto});
	error = claim(w, &(struct experiment_claim){
				 .id = "loose-power",
				 .statement = "at 2 s about half of the power by default",
				 .published = 0.5,
				 .least = 0.5 - AROUND,
				 .most = 0.5 + AROUND,
				 .missed = open,
				 .ours = power_vs_auto});
	if (error == 0)
		error = claim(w, &(struct experiment_claim){
					 .id = "loose-clock",
					 .statement = "at 2 s it settles at a low clock, MHz",
					 .published = NAN,
					 .least = -INFINITY,
					 .most = START_MHZ - 1,
					 .missed = w->stream->share >= 0.5,
					 .ours = last_mhz(&w->bench, r)});
	if (error == 0)
		error = claim(w,
			      &(struct experiment_claim){.id = "loose-in-time",
							 .statement =
								 "at 2 s few are late, % in time",
							 .published = NAN,
							 .least = 95,
							 .most = INFINITY,
							 .missed = open,
							 .ours = attainment_pct(r, slo_ns)});
	return error;
}

static int add_row(struct work *w, const char *policy, uint64_t slo_ns, double auto_w,
		   const struct simulation_result *r, double *ret_w)
{
	double power_w = r->energy_j / r->length_s;
	json_t *row = json_pack("{s:s, s:o, s:s, s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "model",
				w->stream->model, "stream_share",
				report_rounded(w->stream->share > 0 ? w->stream->share : NAN),
				"policy", policy, "slo_ms", report_rounded((double)slo_ns / 1e6),
				"requests", (int)r->completed, "mean_power_w",
				report_rounded(power_w), "power_vs_auto",
				report_rounded(power_w / (auto_w > 0 ? auto_w : power_w)), "p95_ms",
				report_rounded(p95_ms(r)), "request_attainment_pct",
				report_rounded(attainment_pct(r, slo_ns)), "mean_sclk_mhz",
				report_rounded(r->mean_sclk_mhz), "last_limit_mhz",
				report_rounded(last_mhz(&w->bench, r)));

	*ret_w = power_w;
	return row && json_array_append_new(w->rows, row) == 0 ? 0 : -ENOMEM;
}

/* All policies at one objective. tight: it is made of the default governor's own tail. */
static int run_objective(struct work *w, uint64_t slo_ns, uint64_t *ret_tight_ns)
{
	double auto_w = 0;

	for (size_t i = 0; i < ARRAY_SIZE(policies); i++) {
		const struct experiment_run run = {
			.policy = policies[i],
			.poll_ns = POLL_NS,
			.slo_ns = slo_ns,
			.max_batch = 1,
			.arrival_ns = w->arrival_ns,
			.n_arrivals = w->n,
			.duration_ns = LENGTH_NS,
			.saturated = w->stream->share == 0,
			.trace_ticks = true,
			.seed = w->seed,
		};
		struct simulation_result result;
		double power_w;
		int r;

		r = experiment_bench_run(&w->bench, &run, &result);
		if (r < 0)
			return r;
		r = add_row(w, policies[i], slo_ns, auto_w, &result, &power_w);
		if (r == 0 && strcmp(policies[i], "adapter") == 0)
			r = add_claims(w, slo_ns == LOOSE_NS, power_w / auto_w, &result, slo_ns);
		if (i == 0) {
			auto_w = power_w;
			*ret_tight_ns = (uint64_t)(TIGHT * p95_ms(&result) * 1e6);
		}
		simulation_result_done(&result);
		if (r < 0)
			return log_error_errno(r, "out of memory");
	}
	return 0;
}

static int run_stream(const struct stream *stream, uint64_t seed, json_t *rows, json_t *claims)
{
	struct work w = {.stream = stream, .seed = seed, .rows = rows, .claims = claims};
	uint64_t tight_ns, unused;
	int r;

	w.arrival_ns = calloc(MAX_STREAM, sizeof(*w.arrival_ns));
	if (!w.arrival_ns)
		return log_error_errno(-ENOMEM, "out of memory");
	r = experiment_bench_init(&w.bench, "tx2", stream->model, stream->images, 1, seed);
	if (r == 0) {
		double capacity_rps = 1e9 / experiment_bench_top_ns(&w.bench, 1);

		if (stream->share > 0)
			w.n = arrivals(stream->share * capacity_rps, seed, w.arrival_ns);
		r = run_objective(&w, LOOSE_NS, &tight_ns);
	}
	if (r == 0)
		r = run_objective(&w, tight_ns, &unused);
	experiment_bench_done(&w.bench);
	free(w.arrival_ns);
	return r;
}

static int run(const struct experiment_options *o, json_t **ret)
{
	json_t *rows = json_array(), *claims = json_array(), *object;
	int r = rows && claims ? 0 : log_error_errno(-ENOMEM, "out of memory");

	for (size_t i = 0; i < ARRAY_SIZE(streams) && r == 0; i++)
		r = run_stream(&streams[i], o->seed, rows, claims);
	if (r < 0) {
		json_decref(rows);
		json_decref(claims);
		return r;
	}
	object = json_pack("{s:i, s:b, s:s, s:s, s:I, s:o, s:o}", "schema", EXPERIMENT_SCHEMA,
			   "simulated", 1, "experiment", "adapter", "device", "tx2", "seed",
			   (json_int_t)o->seed, "claims", claims, "rows", rows);
	if (!object)
		return log_error_errno(-ENOMEM, "out of memory");
	*ret = object;
	return 0;
}

static const struct report_column columns[] = {
	{"model", "model", NULL, -1},
	{"stream_share", "stream", NULL, 2},
	{"slo_ms", "SLO ms", NULL, 0},
	{"policy", "policy", NULL, -1},
	{"requests", "requests", NULL, 0},
	{"mean_power_w", "W", NULL, 2},
	{"power_vs_auto", "vs auto", NULL, 3},
	{"p95_ms", "p95 ms", NULL, 0},
	{"request_attainment_pct", "in time %", NULL, 1},
	{"mean_sclk_mhz", "MHz", NULL, 0},
	{"last_limit_mhz", "last limit", NULL, 0},
};

static int text(const json_t *object, FILE *f)
{
	int r;

	(void)fprintf(f,
		      "Simulated: ADAPter's streams for 60 s on a TX2-like module; stream is the "
		      "part of the top clock's capacity (-: a flood)\n\n");
	r = experiment_claims_text(json_object_get(object, "claims"), f);
	return r < 0 ? r
		     : report_print_table(json_object_get(object, "rows"), columns,
					  ARRAY_SIZE(columns), f);
}

const struct experiment experiment_adapter = {
	.name = "adapter",
	.run = run,
	.text = text,
};
