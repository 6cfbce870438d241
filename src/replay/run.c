/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/run.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/progress.h"
#include "base/units.h"
#include "plant/profiles.h"
#include "replay/report.h"
#include <errno.h>
#include <string.h>
#include <time.h>

struct run {
	const struct replay_options *options;
	struct trace *trace;
	struct plant_device *device;
	struct plant_model *models[EVALUATE_MAX_MODELS];
	struct progress progress;
	uint32_t n; /* evaluations made, one for each objective */
	struct evaluation_options evaluations[REPLAY_MAX_SLOS];
	struct evaluation *results[REPLAY_MAX_SLOS];
	json_t *objects[REPLAY_MAX_SLOS];
};

static void run_done(struct run *r)
{
	for (uint32_t i = 0; i < REPLAY_MAX_SLOS; i++) {
		json_decref(r->objects[i]);
		evaluation_free(r->results[i]);
	}
	for (uint32_t i = 0; i < EVALUATE_MAX_MODELS; i++)
		free(r->models[i]);
	free(r->device);
	trace_free(r->trace);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* ---- what is read ---- */

static int find(const char *kind, const char *what, const char *name, char **ret)
{
	_cleanup_(plant_profile_names_freep) char **names = NULL;
	const char *near = NULL;
	unsigned int n = 0;
	int r;

	r = plant_profile_find(NULL, kind, name, ret);
	if (r == -EINVAL)
		return log_error_errno(r, "'%s' is neither a %s's name nor a file NAME.ini", name,
				       what);
	if (r != -ENOENT)
		return r < 0 ? log_error_errno(r, "%s: %m", name) : 0;
	if (plant_profile_names(kind, &names, &n) == 0)
		near = nearest_name(name, (const char *const *)names, n);
	return log_error_errno(r, "No %s '%s' (%s/%s.ini) in $COFRIS_PROFILES or %s%s%s%s", what,
			       name, kind, name, plant_profiles_installed(),
			       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int load_device(struct run *run)
{
	_cleanup_(freep) char *path = NULL;
	struct ini_error error;
	int r;

	r = find("devices", "device", run->options->device, &path);
	if (r < 0)
		return r;
	r = plant_device_load(path, &run->device, &error);
	return r < 0 ? log_error_errno(r, "%s:%u: %s", path, error.line, error.text) : 0;
}

static int load_models(struct run *run)
{
	for (uint32_t i = 0; i < run->options->n_models; i++) {
		_cleanup_(freep) char *path = NULL;
		struct ini_error error;
		int r;

		r = find("models", "model", run->options->models[i], &path);
		if (r < 0)
			return r;
		r = plant_model_load(path, &run->models[i], &error);
		if (r < 0)
			return log_error_errno(r, "%s:%u: %s", path, error.line, error.text);
	}
	return 0;
}

static int load_trace(struct run *run)
{
	const struct replay_options *o = run->options;
	bool standard_input = strcmp(o->trace, "-") == 0;
	struct trace_error error;
	int r;

	r = standard_input ? trace_read(stdin, &o->reading, &run->trace, &error)
			   : trace_load(o->trace, &o->reading, &run->trace, &error);
	if (r < 0 && error.line > 0)
		return log_error_errno(r, "%s:%lu: %s", o->trace, error.line, error.text);
	return r < 0 ? log_error_errno(r, "%s: %s", o->trace, error.text) : 0;
}

/* ---- what is made of it ---- */

static void show_progress(void *userdata, uint32_t done, uint32_t total)
{
	struct run *run = userdata;

	/* Objectives take about equally long. */
	run->progress.total = total * run->options->n_slos;
	run->progress.done = total * run->n + done - 1;
	progress_step(&run->progress, now_ns(), "%u of %u runs", run->progress.done + 1,
		      run->progress.total);
}

static int evaluate_slo(struct run *run, const struct replay_slo *slo)
{
	struct evaluation_options *e = &run->evaluations[run->n];
	const char *base = strrchr(run->options->trace, '/');
	struct evaluation_error error;
	int r;

	*e = run->options->evaluation;
	e->trace_name = base ? base + 1 : run->options->trace;
	e->trace = run->trace;
	e->device = run->device;
	e->n_models = run->options->n_models;
	for (uint32_t i = 0; i < e->n_models; i++)
		e->models[i] = run->models[i];
	e->slo_factor = slo->factor;
	e->slo_ns = slo->ns;
	e->keep_ticks = run->options->report != NULL;
	e->progress = show_progress;
	e->userdata = run;
	r = evaluate(e, &run->results[run->n], &error);
	if (r < 0)
		return log_error_errno(r, "%s", error.text);
	run->objects[run->n] = report_json(run->results[run->n]);
	if (!run->objects[run->n])
		return log_error_errno(-ENOMEM, "out of memory");
	run->n++;
	return 0;
}

/* ---- what comes out ---- */

static int print_objects(const struct run *run)
{
	int r = 0;

	for (uint32_t i = 0; i < run->n && r == 0; i++)
		r = run->options->json ? report_dump(run->objects[i], stdout)
				       : report_text(run->objects[i], stdout);
	return r < 0 ? log_error_errno(r, "Cannot write the result: %m") : 0;
}

/* The page is about the last objective; the others are in its plot of sensitivity. */
static int write_report(const struct run *run)
{
	const char *folder = run->options->report;
	uint32_t last = run->n - 1;
	int r;

	if (!folder)
		return 0;
	r = report_write(folder, run->results[last], run->objects[last], run->objects, last);
	if (r < 0)
		return log_error_errno(r, "Cannot write the report into %s: %m", folder);
	log_info("%s/report.html, results.csv, results.json", folder);
	return 0;
}

static int check_report(const struct replay_options *o)
{
	int r;

	if (!o->report)
		return 0;
	if (!report_has_gnuplot())
		return log_error_errno(-ENOENT,
				       "--report needs gnuplot (Debian's package gnuplot-nox)");
	r = report_make_folder(o->report);
	return r < 0 ? log_error_errno(r, "%s: %m", o->report) : 0;
}

static int run_all(struct run *run)
{
	const struct replay_options *o = run->options;
	int r;

	r = check_report(o);
	if (r == 0)
		r = load_device(run);
	if (r == 0)
		r = load_models(run);
	if (r == 0)
		r = load_trace(run);
	for (uint32_t i = 0; i < o->n_slos && r == 0; i++)
		r = evaluate_slo(run, &o->slos[i]);
	progress_end(&run->progress);
	if (r == 0)
		r = print_objects(run);
	return r == 0 ? write_report(run) : r;
}

int replay_run(const struct replay_options *o)
{
	struct run run = {.options = o};
	uint64_t begin_ns = now_ns();
	int r;

	run.progress = progress_start(stderr, 1, begin_ns);
	r = run_all(&run);
	if (r == 0)
		log_info("wall %.1f s", (double)(now_ns() - begin_ns) / (double)NSEC_PER_SEC);
	run_done(&run);
	return r;
}
