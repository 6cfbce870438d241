/* SPDX-License-Identifier: Apache-2.0 */
/* The CoFRIS paper's observations, one after the other: what it says, what the plant does, and
 * whether that was expected. */
#include "base/log.h"
#include "plant/profiles.h"
#include "replay/experiment-bench.h"
#include "replay/experiment.h"
#include "replay/observations.h"
#include "replay/report-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define SHIPPED_LOAD "loads/jobs.csv"

static const char *const status_names[] = {
	[OBSERVATION_PREDICTED] = "predicted",
	[OBSERVATION_CALIBRATED] = "calibrated",
	[OBSERVATION_MISS] = "miss",
	[OBSERVATION_IMPOSSIBLE] = "impossible-by-construction",
};

struct work {
	const struct experiment_options *options;
	char *path;
	struct trace *trace;
	struct plant_device *device;
	struct plant_model *models[OBSERVED_MODELS];
	struct observations observations;
};

static void work_done(struct work *w)
{
	free(w->observations.responses);
	for (uint32_t m = 0; m < OBSERVED_MODELS; m++)
		free(w->models[m]);
	free(w->device);
	trace_free(w->trace);
	free(w->path);
}

/* ---- what is read and run ---- */

static int load_trace(struct work *w)
{
	const struct trace_options reading = {.smoothing_k = w->options->smoothing_k};
	struct trace_error error;
	int r;

	if (w->options->trace) {
		w->path = strdup(w->options->trace);
		r = w->path ? 0 : -ENOMEM;
	} else
		r = plant_profile_file(NULL, SHIPPED_LOAD, &w->path);
	if (r < 0)
		return log_error_errno(r, "%s: %m", SHIPPED_LOAD);
	r = trace_load(w->path, &reading, &w->trace, &error);
	if (r < 0 && error.line > 0)
		return log_error_errno(r, "%s:%lu: %s", w->path, error.line, error.text);
	return r < 0 ? log_error_errno(r, "%s: %s", w->path, error.text) : 0;
}

static int load(struct work *w)
{
	int r;

	r = load_trace(w);
	if (r == 0)
		r = experiment_load_device("mi50", &w->device);
	for (uint32_t m = 0; m < OBSERVED_MODELS && r == 0; m++)
		r = experiment_load_model(observed_models[m], &w->models[m]);
	return r;
}

static const char *trace_name(const struct work *w)
{
	const char *base = strrchr(w->path, '/');

	return base ? base + 1 : w->path;
}

static int observe(struct work *w)
{
	struct observations *o = &w->observations;
	int r;

	o->device = w->device;
	o->responses = calloc(OBSERVED_MODELS, sizeof(*o->responses));
	if (!o->responses)
		return log_error_errno(-ENOMEM, "out of memory");
	r = observe_card(w->device, w->models, o->responses);
	if (r < 0)
		return log_error_errno(r, "%s is not the paper's card: %m", w->device->name);
	return observe_policies(o, w->models, trace_name(w), w->trace, w->options->seed,
				w->options->threads);
}

/* ---- JSON ---- */

/* What is expected is declared of two traces; of others it is a guess. */
static bool is_swim(const struct work *w)
{
	return w->trace->format == TRACE_SWIM;
}

static bool is_declared(const struct work *w)
{
	if (is_swim(w))
		return w->trace->smoothing_k == 11 &&
		       strcmp(trace_name(w), "FB-2009_samples_24_times_1hr_1.tsv") == 0;
	return strcmp(trace_name(w), "jobs.csv") == 0;
}

static json_t *values_json(const struct observed_values *v)
{
	json_t *object = json_object();

	for (uint32_t i = 0; i < v->n && object; i++) {
		if (json_object_set_new(object, v->all[i].name, report_rounded(v->all[i].value)) ==
		    0)
			continue;
		json_decref(object);
		object = NULL;
	}
	return object;
}

static json_t *row_json(const struct work *w, const struct observation *o, bool *ret_predicted)
{
	enum observation_status status = is_swim(w) ? o->swim : o->jobs;
	struct observed_values values = {0};
	bool met;

	o->observe(&w->observations, &values);
	met = observation_is_met(o, &values);
	*ret_predicted = met && status == OBSERVATION_PREDICTED;
	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:b, s:s, s:s?}", "id", o->id,
			 "statement", o->statement, "source", o->source, "figure", o->figure, "low",
			 report_rounded(o->low), "high", report_rounded(o->high), "tolerance",
			 report_rounded(o->tolerance), "measured", values_json(&values), "met", met,
			 "status", status_names[status], "argument", o->argument);
}

static int rows_json(const struct work *w, json_t *rows, int *ret_predicted_and_met)
{
	*ret_predicted_and_met = 0;
	for (size_t i = 0; i < observations_n; i++) {
		bool predicted;
		json_t *row = row_json(w, &observations_all[i], &predicted);

		if (!row || json_array_append_new(rows, row) < 0)
			return -ENOMEM;
		*ret_predicted_and_met += predicted;
	}
	return 0;
}

static int make_json(const struct work *w, json_t **ret)
{
	json_t *rows = json_array();
	int predicted = 0, r;

	if (!rows)
		return -ENOMEM;
	r = rows_json(w, rows, &predicted);
	if (r < 0) {
		json_decref(rows);
		return r;
	}
	*ret = json_pack("{s:i, s:b, s:b, s:s, s:s, s:s, s:s, s:i, s:o, s:s, s:I, s:b, s:i, s:o}",
			 "schema", EXPERIMENT_SCHEMA, "simulated", 1, "modelled", 1, "experiment",
			 "cofris", "device", w->device->name, "trace", trace_name(w),
			 "latency_notion", "service", "smoothing_k", (int)w->trace->smoothing_k,
			 "mean_load", report_rounded(w->trace->mean_load), "load_definition",
			 "1 is the capacity of the whole card at its highest clock", "seed",
			 (json_int_t)w->options->seed, "declared", is_declared(w),
			 "predicted_and_met", predicted, "observations", rows);
	return *ret ? 0 : -ENOMEM;
}

static int run(const struct experiment_options *o, json_t **ret)
{
	struct work w = {.options = o};
	int r;

	r = load(&w);
	if (r == 0)
		r = observe(&w);
	if (r == 0) {
		r = make_json(&w, ret);
		if (r < 0)
			(void)log_error_errno(r, "The result: %m");
	}
	work_done(&w);
	return r;
}

/* ---- text ---- */

static void print_bounds(const json_t *row, FILE *f)
{
	double low = report_number(row, "low"), high = report_number(row, "high");
	double tolerance = report_number(row, "tolerance");

	if (isnan(low))
		(void)fprintf(f, "at most %g", high);
	else if (isnan(high))
		(void)fprintf(f, "at least %g", low);
	else if (low == high)
		(void)fprintf(f, "%g", low);
	else
		(void)fprintf(f, "%g to %g", low, high);
	if (tolerance > 0)
		(void)fprintf(f, " +- %g", tolerance);
}

static void print_row(const json_t *row, FILE *f)
{
	const json_t *value;
	const char *name;

	(void)fprintf(f, "\n%s (%s): %s, %s\n  %s\n  %s: ", report_string(row, "id"),
		      report_string(row, "source"), report_string(row, "status"),
		      json_is_true(json_object_get(row, "met")) ? "met" : "not met",
		      report_string(row, "statement"), report_string(row, "figure"));
	print_bounds(row, f);
	(void)fprintf(f, "\n ");
	json_object_foreach((json_t *)json_object_get(row, "measured"), name, value)(void)
		fprintf(f, "  %s %.4g", name, json_number_value(value));
	(void)fprintf(f, "\n");
	if (json_is_string(json_object_get(row, "argument")))
		(void)fprintf(f, "  %s\n", report_string(row, "argument"));
}

static int text(const json_t *object, FILE *f)
{
	const json_t *rows = json_object_get(object, "observations"), *row;
	size_t i;

	(void)fprintf(f,
		      "Simulated: the CoFRIS paper's observations, power gating modelled. Latency "
		      "is the service time, as "
		      "in the paper, and load %s\n%s, smoothing %.0f, mean load %.3f\n",
		      report_string(object, "load_definition"), report_string(object, "trace"),
		      report_number(object, "smoothing_k"), report_number(object, "mean_load"));
	json_array_foreach(rows, i, row) print_row(row, f);
	(void)fprintf(f, "\n%.0f predicted and met, of %zu observations\n",
		      report_number(object, "predicted_and_met"), json_array_size(rows));
	return ferror(f) ? -EIO : 0;
}

const struct experiment experiment_cofris = {
	.name = "cofris",
	.run = run,
	.text = text,
};
