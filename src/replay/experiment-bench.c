/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/experiment-bench.h"
#include "base/log.h"
#include "base/units.h"
#include "plant/profiles.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define DRAIN_NS     (60 * NSEC_PER_SEC)
#define DIRECTIVE_MS 1.2
#define MASK_US	     55.0

static int find(const char *kind, const char *name, char **ret)
{
	int r = plant_profile_find(NULL, kind, name, ret);

	return r < 0 ? log_error_errno(r, "No %s/%s.ini in $COFRIS_PROFILES or %s", kind, name,
				       plant_profiles_installed())
		     : 0;
}

int experiment_load_device(const char *name, struct plant_device **ret)
{
	_cleanup_(freep) char *path = NULL;
	struct ini_error error;
	int r;

	r = find("devices", name, &path);
	if (r < 0)
		return r;
	r = plant_device_load(path, ret, &error);
	return r < 0 ? log_error_errno(r, "%s:%u: %s", path, error.line, error.text) : 0;
}

int experiment_load_model(const char *name, struct plant_model **ret)
{
	_cleanup_(freep) char *path = NULL;
	struct ini_error error;
	int r;

	r = find("models", name, &path);
	if (r < 0)
		return r;
	r = plant_model_load(path, ret, &error);
	return r < 0 ? log_error_errno(r, "%s:%u: %s", path, error.line, error.text) : 0;
}

/* A request of several images that the client sends together. */
static void join_images(struct plant_model *m, uint32_t images)
{
	for (uint32_t i = 0; i < m->n_kernels; i++) {
		struct plant_kernel *k = &m->kernels[i];

		k->workgroups *= images;
		k->flop *= images;
		k->bytes = k->fixed_bytes + (k->bytes - k->fixed_bytes) * images;
	}
}

int experiment_bench_init(struct experiment_bench *b, const char *device, const char *model,
			  uint32_t images, uint32_t max_batch, uint64_t seed)
{
	const struct truth_options card = {.seed = seed,
					   .switch_ms = -1,
					   .dpm_ramp_ms = -1,
					   .idle_active_share = -1};
	_cleanup_(freep) struct plant_device *d = NULL;
	struct costs_options batches = {0};
	int r;

	memset(b, 0, sizeof(*b));
	r = experiment_load_device(device, &d);
	if (r == 0)
		r = experiment_load_model(model, &b->model);
	if (r < 0)
		return r;
	join_images(b->model, images);
	for (uint32_t batch = 1; batch <= max_batch; batch *= 2)
		batches.batches[batches.n_batches++] = batch;
	r = truth_bench(d, &card, &b->truth);
	if (r == 0)
		r = costs_new(&b->truth, b->model, &batches, &b->costs);
	return r < 0 ? log_error_errno(r, "%s on %s: %m", model, device) : 0;
}

void experiment_bench_done(struct experiment_bench *b)
{
	b->costs = costs_free(b->costs);
	free(TAKE_PTR(b->model));
}

static uint32_t whole_card(const struct experiment_bench *b)
{
	return (uint32_t)costs_shape_index(b->costs, (struct cu_shape){0});
}

double experiment_bench_top_ns(const struct experiment_bench *b, uint32_t batch)
{
	return costs_get(b->costs, b->truth.device.n_levels - 1, whole_card(b), batch).ns;
}

static int derive(const struct surface *surface, const struct table_options *o,
		  struct response_table **ret_table, struct response_menu **ret_menu)
{
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	_cleanup_(freep) struct response_table *table = NULL;
	struct surface_error error = {0};
	int r;

	r = response_tails_new(surface, o->seed, &tails);
	if (r < 0)
		return log_error_errno(r, "out of memory");
	r = response_table_derive_from(tails, o, &table, &error);
	if (r == 0)
		r = response_menu_derive(tails, o, table, ret_menu, &error);
	if (r < 0)
		return log_error_errno(r, "%s: %s", surface->model, error.text);
	*ret_table = TAKE_PTR(table);
	return 0;
}

int experiment_bench_profile(const struct experiment_bench *b, uint64_t slo_ns, uint32_t max_batch,
			     uint64_t seed, struct response_table **ret_table,
			     struct response_menu **ret_menu)
{
	_cleanup_(surface_freep) struct surface *surface = NULL;
	struct costs_options batches = {0};
	const struct bench_options sweep = {.batches = &batches, .seed = seed, .cell_s = 5};
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	int r;

	for (uint32_t batch = 1; batch <= max_batch; batch *= 2)
		batches.batches[batches.n_batches++] = batch;
	r = bench_sweep(&b->truth, b->model, &sweep, &surface);
	if (r < 0)
		return log_error_errno(r, "%s cannot be profiled: %m", b->model->name);
	o.slo_ns = slo_ns;
	o.max_batch = max_batch;
	o.free_mask = false;
	o.service_only = true;
	return derive(surface, &o, ret_table, ret_menu);
}

/* These policies choose no row; the table tells them the objective alone. */
static void fill_table(const struct experiment_bench *b, uint64_t slo_ns, struct response_table *t)
{
	double top_ns = experiment_bench_top_ns(b, 1);
	const struct table_row row = {
		.rate_rps = 1e9 / top_ns,
		.max_mhz = b->truth.device.level_mhz[b->truth.device.n_levels - 1],
		.shape = cu_shape_full(&b->truth.device.topology),
		.batch = 1,
		.workers = 1,
		.tail_ns = top_ns,
		.tail_upper_ns = top_ns,
		.service_ns = top_ns,
	};

	*t = (struct response_table){
		.slo_ns = slo_ns,
		.t0_ns = (uint64_t)top_ns,
		.percentile = 95,
		.rated_rps = 0.7e9 / top_ns,
		.overload_rps = 0.95e9 / top_ns,
		.baseline = row,
		.n_rows = 1,
		.rows = {row},
	};
	(void)snprintf(t->model, sizeof(t->model), "%.*s", MODEL_NAME_MAX, b->model->name);
}

static void fill_config(const struct experiment_bench *b, const struct experiment_run *run,
			const struct response_table *t, struct governor_config *c)
{
	const struct plant_device *d = &b->truth.device;

	memset(c, 0, sizeof(*c));
	c->poll_ns = run->poll_ns;
	c->n_levels = d->n_levels;
	memcpy(c->level_mhz, d->level_mhz, d->n_levels * sizeof(d->level_mhz[0]));
	c->topology = d->topology;
	c->power_cap_uw = run->cap_uw;
	c->n_models = 1;
	(void)snprintf(c->models[0].name, sizeof(c->models[0].name), "%s", t->model);
	c->models[0].table = t;
	c->models[0].menu = run->menu;
	c->models[0].policy = run->policy;
	c->models[0].max_batch = run->max_batch;
	c->models[0].priority = 100;
}

int experiment_bench_run(const struct experiment_bench *b, const struct experiment_run *run,
			 struct simulation_result *ret)
{
	_cleanup_(freep) struct governor_config *config = malloc(sizeof(*config));
	_cleanup_(freep) struct response_table *table = malloc(sizeof(*table));
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	const struct simulation_options o = {
		.truth = &b->truth,
		.costs = b->costs,
		.governor = config,
		.arrival_ns = run->arrival_ns,
		.n_arrivals = run->n_arrivals,
		.duration_ns = run->duration_ns,
		.poll_ns = run->poll_ns,
		.warm_up_ns = run->warm_up_ns,
		.drain_limit_ns = DRAIN_NS,
		.workers = 1,
		.saturated = run->saturated,
		.slo_ns = run->slo_ns,
		.seed = run->seed,
		.mask_change_us = MASK_US,
		.directive_ms = DIRECTIVE_MS,
		.trace_ticks = run->trace_ticks,
	};
	uint64_t end_ns;
	int r;

	if (!config || !table)
		return log_error_errno(-ENOMEM, "out of memory");
	fill_table(b, run->slo_ns, table);
	fill_config(b, run, run->table ? run->table : table, config);
	r = simulation_new(&o, &s);
	if (r == 0) {
		end_ns = simulation_run(s);
		r = simulation_finish(s, end_ns, ret);
	}
	return r < 0 ? log_error_errno(r, "policy %s: %m", run->policy) : 0;
}
