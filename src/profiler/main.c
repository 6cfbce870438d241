/* SPDX-License-Identifier: Apache-2.0 */
/* cofris-profile: measures a model's response surface on a card. */
#include "base/log.h"
#include "base/units.h"
#include "profiler/sweep.h"
#include <errno.h>
#include <jansson.h>
#include <string.h>

static int open_rig(struct sweep *s)
{
	const struct profile_options *o = s->options;
	_cleanup_(freep) char *below = NULL;
	const char *path = o->actuator ? o->actuator : ACTUATOR_DEFAULT_SOCKET;

	if (!o->actuator && o->runtime_dir) {
		if (asprintf(&below, "%s/control.sock", o->runtime_dir) < 0) {
			below = NULL;
			return -ENOMEM;
		}
		path = below;
	}
	return rig_new(
		&(struct rig_options){
			.actuator_path = path,
			.bdf = o->bdf,
			.take_over = o->take_over,
			.worker =
				{
					.command = o->worker_command,
					.model = o->model,
					.engine = o->engine,
					.workers = o->workers,
				},
		},
		&s->lab.rig);
}

static void print_text(const struct sweep *s)
{
	const struct surface *f = s->surface;

	(void)printf("%s on %s (%s, %u CUs)%s: C(B) %.1f requests/s, R %.1f, T0 (p%u) %.3f ms\n"
		     "%u cells, %u runs under load, %u struck, in %.1f s\n"
		     "written to %s\n",
		     f->model, f->gpu_name, f->gfx, f->n_cus, f->simulated ? ", simulated" : "",
		     f->capacity_rps, f->rated_rps, f->percentile, f->t0_ns / 1e6, f->n_cells,
		     f->n_loads, s->n_struck, s->seconds, s->output.path);
}

static int print_json(const struct sweep *s)
{
	const struct surface *f = s->surface;
	json_t *object =
		json_pack("{s:s, s:s, s:s, s:i, s:b, s:f, s:f, s:i, s:f, s:i, s:i, s:i, s:f, s:s}",
			  "model", f->model, "gpu_name", f->gpu_name, "gfx", f->gfx, "cus",
			  (int)f->n_cus, "simulated", f->simulated, "capacity_rps", f->capacity_rps,
			  "rated_rps", f->rated_rps, "percentile", (int)f->percentile, "t0_ms",
			  f->t0_ns / 1e6, "cells", (int)f->n_cells, "loads", (int)f->n_loads,
			  "struck", (int)s->n_struck, "seconds", s->seconds, "output",
			  s->output.path);
	int r;

	if (!object)
		return -ENOMEM;
	r = json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	(void)putchar('\n');
	json_decref(object);
	return r;
}

static int profile(struct sweep *s)
{
	uint64_t start_ns = rig_now_ns();
	const struct actuator_card *card;
	int r;

	r = open_rig(s);
	if (r < 0)
		return r;
	card = rig_card(s->lab.rig);
	r = output_choose(&s->output, s->options->output, card->gfx, card->n_cus,
			  s->options->model);
	if (r < 0)
		return r;
	log_info("Profiling %s on %s (%s, %u CUs)%s", s->options->model, card->name, card->gfx,
		 card->n_cus, card->simulated ? ": a simulated card" : "");
	r = sweep_measure(s);
	if (r == 0)
		r = sweep_verify(s);
	if (r == 0)
		r = output_finish(&s->output, s->surface);
	if (r < 0) {
		output_explain_loss(&s->output);
		return r;
	}
	s->seconds = (double)(rig_now_ns() - start_ns) / (double)NSEC_PER_SEC;
	if (s->options->json)
		return print_json(s);
	print_text(s);
	return 0;
}

static int run_table(int argc, char *argv[])
{
	struct profile_options o;
	int r;

	r = table_view_options_parse(argc, argv, &o);
	return r > 0 ? table_view(&o) : r;
}

static int run_profile(int argc, char *argv[])
{
	struct profile_options o;
	struct sweep s = {.options = &o};
	int r;

	r = profile_options_parse(argc, argv, &o);
	if (r <= 0)
		return r;
	r = profile(&s);
	sweep_deinit(&s);
	return r;
}

int main(int argc, char *argv[])
{
	int r;

	/* A bar may be on the line. */
	log_init(isatty(STDERR_FILENO) ? PROGRESS_CLEAR "cofris-profile" : "cofris-profile",
		 LOG_INFO);
	if (argc > 1 && strcmp(argv[1], "table") == 0)
		r = run_table(argc - 1, argv + 1);
	else
		r = run_profile(argc, argv);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
