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

/* Into a pipe a line of progress comes at most this often. */
#define PROGRESS_LINE_NS (5 * NSEC_PER_SEC)

struct run {
	const struct replay_options *options;
	struct trace *trace;
	struct plant_device *device;
	struct plant_model *models[EVALUATE_MAX_MODELS];
	struct surface *surfaces[EVALUATE_MAX_MODELS]; /* by model */
	struct progress progress;
	uint64_t shown_ns; /* when progress was last shown */
	uint32_t n;	   /* evaluations made, one for each objective */
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
	for (uint32_t i = 0; i < EVALUATE_MAX_MODELS; i++) {
		free(r->models[i]);
		surface_free(r->surfaces[i]);
	}
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

/* It goes into every form of the result. */
static int check_name(const struct run *run, uint32_t i, const char *path)
{
	const char *name = run->models[i]->name;

	if (!model_name_is_valid(name))
		return log_error_errno(-EINVAL, "%s: '%s' is not a model's name", path, name);
	for (uint32_t j = 0; j < i; j++)
		if (strcmp(run->models[j]->name, name) == 0)
			return log_error_errno(-EINVAL, "%s: the second model with the name '%s'",
					       path, name);
	return 0;
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
		r = check_name(run, i, path);
		if (r < 0)
			return r;
	}
	return 0;
}

/* It names its model. */
static int take_surface(struct run *run, const char *path, struct surface *s)
{
	for (uint32_t i = 0; i < run->options->n_models; i++) {
		if (strcmp(run->models[i]->name, s->model) != 0)
			continue;
		if (run->surfaces[i])
			return log_error_errno(-EINVAL, "%s: the second surface of %s", path,
					       s->model);
		run->surfaces[i] = s;
		return 0;
	}
	return log_error_errno(-EINVAL, "%s: it is of %s, which is not among the models", path,
			       s->model);
}

static int load_surfaces(struct run *run)
{
	for (uint32_t i = 0; i < run->options->n_surfaces; i++) {
		_cleanup_(surface_freep) struct surface *s = NULL;
		const char *path = run->options->surfaces[i];
		struct surface_error error = {0};
		int r;

		r = surface_load(path, &s, &error);
		if (r < 0 && error.line > 0)
			return log_error_errno(r, "%s:%u: %s", path, error.line, error.text);
		if (r < 0)
			return log_error_errno(r, "%s: %s", path, error.text);
		r = take_surface(run, path, s);
		if (r < 0)
			return r;
		s = NULL;
	}
	return 0;
}

static int load_trace(struct run *run)
{
	const struct replay_options *o = run->options;
	bool standard_input = strcmp(o->trace, "-") == 0;
	struct trace_error error = {0};
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
	uint64_t now = now_ns();

	/* Objectives take about equally long. */
	run->progress.total = total * run->options->n_slos;
	run->progress.done = total * run->n + done - 1;
	if (!run->progress.terminal && now - run->shown_ns < PROGRESS_LINE_NS)
		return;
	run->shown_ns = now;
	progress_step(&run->progress, now, "objective %u of %u", run->n + 1, run->options->n_slos);
}

static int evaluate_slo(struct run *run, const struct replay_slo *slo)
{
	struct evaluation_options *e = &run->evaluations[run->n];
	const char *base = strrchr(run->options->trace, '/');
	struct evaluation_error error = {0};
	int r;

	*e = run->options->evaluation;
	e->trace_name = base ? base + 1 : run->options->trace;
	e->trace = run->trace;
	e->device = run->device;
	e->n_models = run->options->n_models;
	for (uint32_t i = 0; i < e->n_models; i++) {
		e->models[i] = run->models[i];
		e->surfaces[i] = run->surfaces[i];
	}
	e->slo_factor = slo->factor;
	e->slo_ns = slo->ns;
	e->keep_ticks = run->options->report && run->n == 0;
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

	for (uint32_t i = 0; i < run->n && r == 0; i++) {
		if (i > 0 && !run->options->json)
			(void)putchar('\n');
		r = run->options->json ? report_dump(run->objects[i], stdout)
				       : report_text(run->objects[i], stdout);
	}
	return r < 0 ? log_error_errno(r, "Cannot write the result: %m") : 0;
}

/* The page is about the first objective; the others are beside it. */
static int write_report(const struct run *run)
{
	const char *folder = run->options->report;
	int r;

	if (!folder)
		return 0;
	r = report_write(folder, run->results[0], run->objects[0], run->objects + 1, run->n - 1);
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
		r = load_surfaces(run);
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
	run.shown_ns = begin_ns;
	r = run_all(&run);
	if (r == 0)
		log_info("wall %.1f s", (double)(now_ns() - begin_ns) / (double)NSEC_PER_SEC);
	run_done(&run);
	return r;
}
