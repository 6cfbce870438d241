/* SPDX-License-Identifier: Apache-2.0 */
/* What cofris-worker would see of a card of cofris-sim under cofrisd, in virtual time: the same
 * requests with the same spread of their services, the same table from the same file, the same
 * slowed card. Options as of those programs; what is printed is in the card's time. */
#include "base/log.h"
#include "base/parse.h"
#include "base/units.h"
#include "governor/policy.h"
#include "load/arrivals.h"
#include "replay/simulation.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#define MAX_REQUESTS 1000000

struct options {
	const char *device, *model, *surface, *load, *policy, *ticks;
	double time_scale, slo_factor;
	unsigned int gating; /* of the card and the table */
	uint64_t seed;
	uint64_t poll_ns;	   /* of the daemon's time */
	uint64_t begin_ns, end_ns; /* what counts, of the card's */
	/* Of the daemon's first tick after the load's begin, of its own; 0: an interval. */
	uint64_t first_tick_ns;
};

struct run {
	struct options o;
	struct plant_device *device;
	struct plant_model *model;
	struct surface *surface;
	struct load_curve *curve;
	struct response_table *table, *clock_table;
	struct response_menu *menu; /* NULL: the policy does not plan */
	double late_cost;
	struct governor_config config;
	struct truth truth;
	struct costs *costs;
	uint32_t n;
	uint64_t *arrival_ns;
	uint64_t shift_ns, duration_ns; /* of the card's time: where the load begins, and all */
	struct simulation_result result, after; /* from begin_ns on, from end_ns on */
};

/* ---- files ---- */

static int broken(const char *path, unsigned int line, const char *text, int r)
{
	return log_error_errno(r, "%s:%u: %s", path, line, text);
}

static int load(struct run *run)
{
	const struct options *o = &run->o;
	struct load_curve_error curve_error = {0};
	struct surface_error surface_error = {0};
	struct ini_error ini_error = {0};
	int r;

	r = plant_device_load(o->device, &run->device, &ini_error);
	if (r < 0)
		return broken(o->device, ini_error.line, ini_error.text, r);
	r = plant_model_load(o->model, &run->model, &ini_error);
	if (r < 0)
		return broken(o->model, ini_error.line, ini_error.text, r);
	r = surface_load(o->surface, &run->surface, &surface_error);
	if (r < 0)
		return broken(o->surface, surface_error.line, surface_error.text, r);
	r = load_curve_load(o->load, &run->curve, &curve_error);
	return r < 0 ? broken(o->load, (unsigned int)curve_error.line, curve_error.text, r) : 0;
}

/* ---- the daemon's tables ---- */

static bool has_masks(const struct response_table *t)
{
	for (uint32_t i = 0; i < t->n_rows; i++)
		if (!cu_shape_equal(t->rows[i].shape, t->baseline.shape))
			return true;
	return false;
}

/* As the daemon: the menu is of the tails that the table is of. */
static int derive_from(struct run *run, struct response_tails *tails, struct table_options *t,
		       bool plans, struct surface_error *error)
{
	int r = response_table_derive_from(tails, t, &run->table, error);

	if (r == 0 && plans)
		r = response_menu_derive(tails, t, run->table, &run->menu, error);
	if (r < 0 || !has_masks(run->table))
		return r;
	t->free_mask = false;
	return response_table_derive_from(tails, t, &run->clock_table, error);
}

static int derive(struct run *run)
{
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	struct table_options t = TABLE_OPTIONS_DEFAULT;
	const struct policy *policy = policy_find(run->o.policy);
	struct surface_error error = {.text = "out of memory"};
	int r;

	if (!policy)
		return log_error_errno(-EINVAL, "no policy '%s'", run->o.policy);
	t.slo_factor = run->o.slo_factor;
	t.poll_ns = run->o.poll_ns;
	t.gating = (enum table_gating)run->o.gating;
	policy_restrict(policy, &t);
	run->late_cost = t.late_cost;
	r = response_tails_new(run->surface, t.seed, &tails);
	if (r == 0)
		r = derive_from(run, tails, &t, policy->plans, &error);
	return r < 0 ? log_error_errno(r, "%s: %s", run->o.surface, error.text) : 0;
}

static void configure(struct run *run)
{
	struct governor_config *c = &run->config;

	c->poll_ns = run->o.poll_ns;
	c->n_levels = run->device->n_levels;
	memcpy(c->level_mhz, run->device->level_mhz, c->n_levels * sizeof(c->level_mhz[0]));
	c->topology = run->device->topology;
	c->n_models = 1;
	c->models[0] = (struct governor_model_config){
		.table = run->table,
		.clock_table = run->clock_table,
		.menu = run->menu,
		.late_cost = run->late_cost,
		.policy = run->o.policy,
		.max_batch = 1,
		.priority = 100,
		.use_mask = true,
	};
	(void)snprintf(c->models[0].name, sizeof(c->models[0].name), "model");
}

/* ---- the worker's requests ---- */

static int make_requests(struct run *run)
{
	struct arrivals a = arrivals_make(run->curve, run->o.seed, run->table->rated_rps,
					  /* compression= */ 1, /* duration_ns= */ 0);
	uint64_t offset_ns;

	if (run->o.first_tick_ns > 0)
		run->shift_ns = (uint64_t)((double)(run->o.poll_ns - run->o.first_tick_ns) /
					   run->o.time_scale);
	run->arrival_ns = calloc(MAX_REQUESTS, sizeof(*run->arrival_ns));
	if (!run->arrival_ns)
		return -ENOMEM;
	while (run->n < MAX_REQUESTS && arrivals_next(&a, &offset_ns))
		run->arrival_ns[run->n++] =
			run->shift_ns + (uint64_t)((double)offset_ns / run->o.time_scale);
	run->duration_ns = run->shift_ns + (uint64_t)((double)a.end_ns / run->o.time_scale);
	return run->n < MAX_REQUESTS ? 0 : log_error_errno(-EFBIG, "too many requests");
}

/* ---- the run ---- */

static int make_card(struct run *run)
{
	const struct truth_options as_found = {.gating = (enum plant_gating)run->o.gating,
					       .seed = run->o.seed,
					       .switch_ms = -1,
					       .dpm_ramp_ms = -1,
					       .idle_active_share = -1};
	const struct costs_options batches = {.n_batches = 1, .batches = {1}};
	int r;

	r = truth_bench(run->device, &as_found, &run->truth);
	return r < 0 ? r : costs_new(&run->truth, run->model, &batches, &run->costs);
}

/* What counts from from_ns on. */
static int simulate(const struct run *run, uint64_t from_ns, struct simulation_result *ret)
{
	const struct simulation_options options = {
		.truth = &run->truth,
		.costs = run->costs,
		.governor = &run->config,
		.arrival_ns = run->arrival_ns,
		.n_arrivals = run->n,
		.duration_ns = run->duration_ns,
		.poll_ns = (uint64_t)((double)run->o.poll_ns / run->o.time_scale),
		.time_scale = run->o.time_scale,
		.warm_up_ns = run->shift_ns + from_ns,
		.drain_limit_ns = 60 * NSEC_PER_SEC,
		.workers = 1,
		.slo_ns = (uint64_t)(run->table->slo_ns / run->o.time_scale),
		.seed = run->o.seed,
		.mask_change_us = 55,
		.directive_ms = 1.2 / run->o.time_scale,
		.trace_ticks = true,
	};
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	int r;

	r = simulation_new(&options, &s);
	if (r < 0)
		return r;
	return simulation_finish(s, simulation_run(s), ret);
}

/* ---- output ---- */

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The least that at least so many percent do not exceed. */
static double quantile_ms(const uint64_t *sorted, uint32_t n, uint32_t percent)
{
	return n > 0 ? (double)sorted[(uint64_t)(n * (uint64_t)percent + 99) / 100 - 1] * 1e-6
		     : NAN;
}

static void print_result(const struct run *run, uint64_t *latency_ns, uint32_t n)
{
	const struct simulation_result *r = &run->result, *after = &run->after;
	double length_s = r->length_s - after->length_s;

	qsort(latency_ns, n, sizeof(*latency_ns), by_size);
	printf("{\"requests\": %" PRIu32 ", \"rated_rps\": %.17g, \"slo_ms\": %.6f, "
	       "\"energy_j\": %.6f, \"busy_s\": %.6f, \"length_s\": %.6f, "
	       "\"p50_ms\": %.6f, \"p95_ms\": %.6f, \"p99_ms\": %.6f, "
	       "\"changes\": %" PRIu64 ", \"mean_sclk_mhz\": %.3f, \"mean_cus\": %.3f}\n",
	       n, run->table->rated_rps * run->o.time_scale,
	       run->table->slo_ns / run->o.time_scale * 1e-6, r->energy_j - after->energy_j,
	       r->busy_s - after->busy_s, length_s, quantile_ms(latency_ns, n, 50),
	       quantile_ms(latency_ns, n, 95), quantile_ms(latency_ns, n, 99),
	       r->changes - after->changes,
	       (r->mean_sclk_mhz * r->length_s - after->mean_sclk_mhz * after->length_s) / length_s,
	       (r->mean_cus * r->length_s - after->mean_cus * after->length_s) / length_s);
}

static int print_ticks(const struct run *run)
{
	_cleanup_(fclosep) FILE *f = fopen(run->o.ticks, "we");
	uint32_t n_shapes;
	const struct cu_shape *shapes = costs_shapes(run->costs, &n_shapes);

	if (!f)
		return log_error_errno(-errno, "cannot open %s: %m", run->o.ticks);
	(void)fputs("t_s,load_rps,demand_rps,power_w,sclk_mhz,p95_ms,limit_mhz,cus,reason\n", f);
	for (uint32_t i = 0; i < run->result.n_ticks; i++) {
		const struct tick *t = &run->result.ticks[i];

		(void)fprintf(f, "%.3f,%.3f,%.3f,%.3f,%.1f,%.3f,%u,%u,%s\n", (double)t->t_s,
			      (double)t->load_rps, (double)t->demand_rps, (double)t->power_w,
			      (double)t->sclk_mhz, (double)t->p95_ms,
			      run->device->level_mhz[t->configuration.level],
			      cu_shape_cus(shapes[t->configuration.shape]),
			      governor_reason_name((enum governor_reason)t->reason));
	}
	return fflush(f) == 0 ? 0 : -EIO;
}

static int print(struct run *run)
{
	const struct simulation_result *r = &run->result;
	_cleanup_(freep) uint64_t *latency_ns = calloc(MAX(r->n, 1u), sizeof(*latency_ns));
	uint32_t n = 0;

	if (!latency_ns)
		return -ENOMEM;
	for (uint32_t i = 0; i < r->n; i++) {
		uint64_t arrival_ns = run->arrival_ns[i] - run->shift_ns;

		if (arrival_ns >= run->o.begin_ns && arrival_ns < run->o.end_ns)
			latency_ns[n++] = r->latency_ns[i];
	}
	print_result(run, latency_ns, n);
	return run->o.ticks ? print_ticks(run) : 0;
}

/* ---- */

enum option_id {
	OPT_DEVICE,
	OPT_MODEL,
	OPT_SURFACE,
	OPT_LOAD,
	OPT_POLICY,
	OPT_TICKS,
	OPT_SLO_FACTOR,
	OPT_GATING,
	OPT_TIME_SCALE,
	OPT_SEED,
	OPT_POLL,
	OPT_BEGIN,
	OPT_END,
	OPT_FIRST_TICK,
};

static const struct option long_options[] = {
	{"device", required_argument, NULL, OPT_DEVICE},
	{"model", required_argument, NULL, OPT_MODEL},
	{"surface", required_argument, NULL, OPT_SURFACE},
	{"load", required_argument, NULL, OPT_LOAD},
	{"policy", required_argument, NULL, OPT_POLICY},
	{"ticks", required_argument, NULL, OPT_TICKS},
	{"slo-factor", required_argument, NULL, OPT_SLO_FACTOR},
	{"gating", required_argument, NULL, OPT_GATING},
	{"time-scale", required_argument, NULL, OPT_TIME_SCALE},
	{"seed", required_argument, NULL, OPT_SEED},
	{"poll", required_argument, NULL, OPT_POLL},
	{"begin", required_argument, NULL, OPT_BEGIN},
	{"end", required_argument, NULL, OPT_END},
	{"first-tick", required_argument, NULL, OPT_FIRST_TICK},
	{0},
};

static int parse_gating(const char *text, unsigned int *ret)
{
	static const char *const names[] = {"none", "se", "cu"};

	for (unsigned int i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(text, names[i]) == 0) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

static int set_option(struct options *o, int id, const char *value)
{
	const char **texts[] = {&o->device, &o->model,	&o->surface,
				&o->load,   &o->policy, &o->ticks};

	switch (id) {
	case OPT_SLO_FACTOR:
		return parse_double(value, &o->slo_factor);
	case OPT_GATING:
		return parse_gating(value, &o->gating);
	case OPT_TIME_SCALE:
		return parse_double(value, &o->time_scale);
	case OPT_SEED:
		return parse_u64(value, &o->seed);
	case OPT_POLL:
		return parse_duration_ns(value, &o->poll_ns);
	case OPT_BEGIN:
		return parse_duration_ns(value, &o->begin_ns);
	case OPT_END:
		return parse_duration_ns(value, &o->end_ns);
	case OPT_FIRST_TICK:
		return parse_duration_ns(value, &o->first_tick_ns);
	default:
		*texts[id] = value;
		return 0;
	}
}

static int parse_options(int argc, char **argv, struct options *ret)
{
	int id;

	*ret = (struct options){.time_scale = 1,
				.slo_factor = 2,
				.seed = 1,
				.poll_ns = 500 * NSEC_PER_MSEC};
	while ((id = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		if (id == '?' || set_option(ret, id, optarg) < 0)
			return log_error_errno(-EINVAL, "bad option");
	if (!ret->device || !ret->model || !ret->surface || !ret->load || !ret->policy ||
	    optind < argc || !(ret->time_scale > 0) || ret->end_ns <= ret->begin_ns ||
	    ret->first_tick_ns > ret->poll_ns)
		return log_error_errno(-EINVAL,
				       "usage: virtual-run --device FILE --model FILE "
				       "--surface FILE --load FILE --policy NAME --begin TIME "
				       "--end TIME ...");
	return 0;
}

static void run_done(struct run *run)
{
	simulation_result_done(&run->result);
	simulation_result_done(&run->after);
	(void)costs_free(run->costs);
	(void)load_curve_free(run->curve);
	(void)surface_free(run->surface);
	free(run->arrival_ns);
	free(run->table);
	free(run->clock_table);
	free(run->menu);
	free(run->device);
	free(run->model);
}

int main(int argc, char **argv)
{
	static struct run run; /* too large for the stack */
	int r;

	log_init("virtual-run", LOG_INFO);
	r = parse_options(argc, argv, &run.o);
	if (r < 0)
		return 2;
	r = load(&run);
	if (r == 0)
		r = derive(&run);
	if (r == 0) {
		configure(&run);
		r = make_requests(&run);
	}
	if (r == 0)
		r = make_card(&run);
	if (r == 0)
		r = simulate(&run, run.o.begin_ns, &run.result);
	if (r == 0)
		r = simulate(&run, run.o.end_ns, &run.after);
	if (r == 0)
		r = print(&run);
	run_done(&run);
	return r < 0 ? 1 : 0;
}
