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

/* Into a pipe a line comes at most this often. */
#define PROGRESS_LINE_NS (5 * NSEC_PER_SEC)

struct run {
	const struct replay_options *options;
	struct evaluation_options
		evaluation_options[REPLAY_MAX_SLOS]; /* the evaluations point here */
	struct trace *trace;
	struct plant_device *device;
	struct plant_model *models[EVALUATE_MAX_MODELS];
	struct surface *surfaces[EVALUATE_MAX_MODELS]; /* by model */
	struct evaluation *first;		       /* the one that the report is about */
	json_t *objects[REPLAY_MAX_SLOS];
};

static void run_done(struct run *run)
{
	evaluation_free(run->first);
	for (size_t i = 0; i < ARRAY_SIZE(run->objects); i++)
		json_decref(run->objects[i]);
	for (size_t i = 0; i < ARRAY_SIZE(run->models); i++) {
		free(run->models[i]);
		surface_free(run->surfaces[i]);
	}
	free(run->device);
	trace_free(run->trace);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* ---- what the command line names ---- */

static int load_trace(struct run *run)
{
	const char *path = run->options->trace;
	bool standard_input = strcmp(path, "-") == 0;
	struct trace_error error = {0};
	int r;

	r = standard_input ? trace_read(stdin, &run->options->reading, &run->trace, &error)
			   : trace_load(path, &run->options->reading, &run->trace, &error);
	if (r < 0 && error.line)
		return log_error_errno(r, "%s:%ju: %s", path, (uintmax_t)error.line, error.text);
	if (r < 0)
		return log_error_errno(r, "%s: %s", path, error.text);
	return 0;
}

static int unknown(const char *what, const char *kind, const char *name)
{
	_cleanup_(plant_profile_names_freep) char **names = NULL;
	const char *near = NULL;
	unsigned int n;

	if (plant_profile_names(kind, &names, &n) == 0)
		near = nearest_name(name, (const char *const *)names, n);
	return log_error_errno(-ENOENT, "No %s '%s' (%s/%s.ini) in $COFRIS_PROFILES or %s%s%s%s",
			       what, name, kind, name, plant_profiles_installed(),
			       near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int find(const char *what, const char *kind, const char *name, char **ret)
{
	int r = plant_profile_find(NULL, kind, name, ret);

	if (r == -ENOENT)
		return unknown(what, kind, name);
	if (r < 0)
		return log_error_errno(r, "'%s' is not the name of a %s", name, what);
	return 0;
}

static int load_device(struct run *run)
{
	_cleanup_(freep) char *path = NULL;
	struct ini_error error;
	int r;

	r = find("device", "devices", run->options->device, &path);
	if (r < 0)
		return r;
	r = plant_device_load(path, &run->device, &error);
	return r < 0 ? log_error_errno(r, "%s:%u: %s", path, error.line, error.text) : 0;
}

static int load_model(struct run *run, uint32_t i)
{
	_cleanup_(freep) char *path = NULL;
	struct ini_error error;
	int r;

	r = find("model", "models", run->options->models[i], &path);
	if (r < 0)
		return r;
	r = plant_model_load(path, &run->models[i], &error);
	if (r < 0)
		return log_error_errno(r, "%s:%u: %s", path, error.line, error.text);
	if (!model_name_is_valid(run->models[i]->name))
		return log_error_errno(-EINVAL, "%s: '%s' is not a model's name", path,
				       run->models[i]->name);
	for (uint32_t j = 0; j < i; j++)
		if (strcmp(run->models[j]->name, run->models[i]->name) == 0)
			return log_error_errno(-EINVAL, "%s: the second model with the name '%s'",
					       path, run->models[i]->name);
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

static int load_surface(struct run *run, const char *path)
{
	_cleanup_(surface_freep) struct surface *s = NULL;
	struct surface_error error = {0};
	int r;

	r = surface_load(path, &s, &error);
	if (r < 0 && error.line > 0)
		return log_error_errno(r, "%s:%u: %s", path, error.line, error.text);
	if (r < 0)
		return log_error_errno(r, "%s: %s", path, error.text);
	r = take_surface(run, path, s);
	if (r == 0)
		s = NULL; /* taken */
	return r;
}

static int load(struct run *run)
{
	int r;

	/* The trace last: it may be long. */
	r = load_device(run);
	for (uint32_t i = 0; i < run->options->n_models && r == 0; i++)
		r = load_model(run, i);
	for (uint32_t i = 0; i < run->options->n_surfaces && r == 0; i++)
		r = load_surface(run, run->options->surfaces[i]);
	return r < 0 ? r : load_trace(run);
}

/* ---- one evaluation ---- */

struct steps {
	struct progress progress;
	uint64_t last_ns;
	char slo[32];
};

static void show_progress(void *userdata, uint32_t done, uint32_t total)
{
	struct steps *s = userdata;
	uint64_t now = now_ns();

	if (done <= s->progress.done)
		return;
	s->progress.total = total;
	if (!s->progress.terminal && done < total && now - s->last_ns < PROGRESS_LINE_NS)
		return;
	s->progress.done = done - 1;
	s->last_ns = now;
	progress_step(&s->progress, now, "SLO %s", s->slo);
}

static void take_slo(struct evaluation_options *o, const struct replay_slo *slo, struct steps *s)
{
	o->slo_factor = slo->factor;
	o->slo_ns = slo->ns;
	if (slo->factor > 0)
		(void)snprintf(s->slo, sizeof(s->slo), "%gx", slo->factor);
	else
		(void)snprintf(s->slo, sizeof(s->slo), "%gms", (double)slo->ns / 1e6);
}

static int print(const struct run *run, uint32_t slo)
{
	int (*text)(const json_t *object, FILE *f) =
		run->options->n_mixes > 0 ? report_mix_text : report_text;
	int r;

	if (run->options->json) {
		r = report_dump(run->objects[slo], stdout);
	} else {
		if (slo > 0)
			(void)putchar('\n');
		r = text(run->objects[slo], stdout);
	}
	if (r == 0 && fflush(stdout) != 0)
		r = -errno;
	return r < 0 ? log_error_errno(r, "Cannot print the result: %m") : 0;
}

static void prepare(const struct run *run, struct evaluation_options *o)
{
	const char *slash = strrchr(run->options->trace, '/');

	*o = run->options->evaluation;
	/* The result is the same wherever the trace lies. */
	o->trace_name = slash ? slash + 1 : run->options->trace;
	o->trace = run->trace;
	o->device = run->device;
	o->n_models = run->options->n_models;
	for (uint32_t i = 0; i < o->n_models; i++) {
		o->models[i] = run->models[i];
		o->surfaces[i] = run->surfaces[i];
	}
}

/* Makes the object. */
static int evaluate_models(struct run *run, uint32_t slo, struct evaluation_error *error)
{
	_cleanup_(evaluation_freep) struct evaluation *e = NULL;
	int r;

	r = evaluate(&run->evaluation_options[slo], &e, error);
	if (r < 0)
		return r;
	run->objects[slo] = report_json(e);
	if (slo == 0)
		run->first = TAKE_PTR(e);
	return 0;
}

static int evaluate_mixes(struct run *run, uint32_t slo, struct evaluation_error *error)
{
	_cleanup_(mix_evaluation_freep) struct mix_evaluation *e = NULL;
	int r;

	r = mix_evaluate(&run->evaluation_options[slo], run->options->mixes, run->options->n_mixes,
			 &e, error);
	if (r == 0)
		run->objects[slo] = report_mix_json(e);
	return r;
}

static int evaluate_slo(struct run *run, uint32_t slo)
{
	struct evaluation_options *o = &run->evaluation_options[slo];
	struct steps steps = {.last_ns = now_ns()};
	struct evaluation_error error = {0};
	int r;

	prepare(run, o);
	steps.progress = progress_start(stderr, 1, steps.last_ns);
	take_slo(o, &run->options->slos[slo], &steps);
	o->keep_ticks = run->options->report && slo == 0;
	o->progress = show_progress;
	o->userdata = &steps;
	r = run->options->n_mixes > 0 ? evaluate_mixes(run, slo, &error)
				      : evaluate_models(run, slo, &error);
	progress_end(&steps.progress);
	if (r < 0)
		return log_error_errno(r, "SLO %s: %s", steps.slo, error.text);
	if (!run->objects[slo])
		return log_error_errno(-ENOMEM, "Cannot make the result: %m");
	return print(run, slo);
}

static int write_report(struct run *run)
{
	const char *folder = run->options->report;
	int r;

	r = report_write(folder, run->first, run->objects[0], run->objects + 1,
			 run->options->n_slos - 1);
	if (r < 0)
		return log_error_errno(r, "Cannot write the report to %s: %m", folder);
	log_info("%s/report.html written", folder);
	return 0;
}

int replay_run(const struct replay_options *o)
{
	_cleanup_(run_done) struct run run = {.options = o};
	uint64_t start_ns = now_ns();
	int r;

	if (o->report && !report_has_gnuplot())
		return log_error_errno(-ENOENT, "--report draws with gnuplot, which is missing: "
						"install the Debian package gnuplot-nox");
	if (o->report) {
		r = report_make_folder(o->report);
		if (r < 0)
			return log_error_errno(r, "--report %s: %m", o->report);
	}
	r = load(&run);
	for (uint32_t i = 0; i < o->n_slos && r == 0; i++)
		r = evaluate_slo(&run, i);
	if (r == 0 && o->report)
		r = write_report(&run);
	if (r == 0)
		(void)fprintf(stderr, "wall %.1f s\n", (double)(now_ns() - start_ns) / 1e9);
	return r;
}
