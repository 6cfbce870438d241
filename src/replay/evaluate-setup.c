/* SPDX-License-Identifier: Apache-2.0 */
/* What a model needs once for each bench card: its sweep, the tables that follow from it, the rate
 * that is load 1 and the requests. */
#include "base/macros.h"
#include "replay/evaluate-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define QUEUES	       1
#define MASK_CHANGE_US 55.0 /* for each queue */
#define DIRECTIVE_MS   1.2

/* Ticks to each side, over which the rate of a trace of single requests is taken. */
#define RATE_TICKS 5

#define REQUEST_STREAM UINT64_C(0x7265717565737400)

uint64_t evaluate_seed(uint64_t seed, const char *name, uint32_t n)
{
	uint64_t mixed = plant_hash(seed ^ REQUEST_STREAM, n);

	for (; *name; name++)
		mixed = plant_hash(mixed, (unsigned char)*name);
	return mixed;
}

/* ---- tables ---- */

static bool has_masks(const struct response_table *t)
{
	for (uint32_t i = 0; i < t->n_rows; i++)
		if (!cu_shape_equal(t->rows[i].shape, t->baseline.shape))
			return true;
	return false;
}

/* A headroom of 0.9 is the cost as it is; a third of the SLO more is a tenth of it. */
static double late_cost_at(double headroom)
{
	return TABLE_LATE_COST * pow(10, -3 * (headroom - TABLE_OPTIONS_DEFAULT.headroom));
}

static struct table_options table_options_of(const struct evaluation_options *o, double headroom,
					     enum table_kind kind)
{
	struct table_options t = TABLE_OPTIONS_DEFAULT;

	t.slo_factor = o->slo_factor;
	t.slo_ns = o->slo_factor > 0 ? 0 : o->slo_ns;
	t.percentile = o->percentile;
	t.headroom = headroom;
	t.gating = (enum table_gating)o->gating;
	t.poll_ns = evaluate_poll_ns(o);
	t.max_batch = MAX(o->max_batch, 1u);
	t.service_only = o->latency == LATENCY_SERVICE;
	t.free_clock = kind != TABLE_MASK;
	t.free_mask = kind != TABLE_CLOCK;
	if (kind == TABLE_COST)
		t.late_cost = late_cost_at(headroom);
	return t;
}

struct deriving {
	const struct evaluation_options *options;
	struct response_tails *tails;
	const char *model;
	bool kinds[TABLE_KINDS]; /* that a policy asks for */
	struct evaluation_error *error;
};

static int derive(const struct deriving *d, double headroom, struct bench_tables *ret)
{
	struct surface_error error = {0};
	int r;

	ret->headroom = headroom;
	for (int kind = 0; kind < TABLE_KINDS; kind++) {
		struct table_options o =
			table_options_of(d->options, headroom, (enum table_kind)kind);

		if (!d->kinds[kind])
			continue;
		r = response_table_derive_from(d->tails, &o, &ret->tables[kind], &error);
		if (r < 0)
			return evaluate_refuse(d->error, r, "%s: %s", d->model, error.text);
	}
	return 0;
}

/* What the first that plans may choose from, for all that do: one table kind has it all. */
static int derive_menu(const struct deriving *d, const struct policy_runs *p, double headroom,
		       struct bench_setup *b)
{
	struct surface_error error = {0};
	int r = 0;

	for (uint32_t i = 0; r == 0 && i < p->n; i++) {
		const struct policy_run *run = &p->runs[i];
		struct table_options o = table_options_of(d->options, headroom, run->table);

		if (b->menu || !run->policy || !run->policy->plans)
			continue;
		r = response_menu_derive(d->tails, &o, b->tables.tables[run->table], &b->menu,
					 &error);
	}
	return r < 0 ? evaluate_refuse(d->error, r, "%s: %s", d->model, error.text) : 0;
}

static void choose_kinds(const struct policy_runs *p, bool by_headroom, bool *ret)
{
	/* The objective is read from this one, and what has masks falls back on that one. */
	ret[TABLE_COORDINATED] = ret[TABLE_CLOCK] = true;
	for (uint32_t i = 0; i < p->n; i++)
		if (p->runs[i].policy && (!by_headroom || p->runs[i].headroom == HEADROOM_TABLE))
			ret[p->runs[i].table] = true;
}

static bool has_headroom(const struct policy_runs *p)
{
	for (uint32_t i = 0; i < p->n; i++)
		if (p->runs[i].headroom == HEADROOM_TABLE)
			return true;
	return false;
}

static int derive_all(const struct evaluation_options *o, const struct policy_runs *p,
		      struct bench_setup *b, struct evaluation_error *error)
{
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	struct deriving d = {.options = o, .model = b->model->name, .error = error};
	int r;

	r = response_tails_new(b->surface, TABLE_OPTIONS_DEFAULT.seed, &tails);
	if (r < 0)
		return evaluate_refuse(error, r, "out of memory");
	d.tails = tails;
	choose_kinds(p, /* by_headroom= */ false, d.kinds);
	r = derive(&d, o->headroom, &b->tables);
	if (r == 0)
		r = derive_menu(&d, p, o->headroom, b);
	for (uint32_t i = 0; r == 0 && i < EVALUATE_HEADROOMS; i++)
		if (o->headroom_sweep && has_headroom(p))
			r = derive(&d, evaluate_headroom(i), &b->by_headroom[i]);
	return r;
}

/* ---- requests ---- */

static double load_at(const struct load_curve *c, double t_s)
{
	uint32_t low = 0, high = c->n - 1;
	const struct load_point *p;

	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (c->points[middle].t_s <= t_s)
			low = middle;
		else
			high = middle;
	}
	p = &c->points[low];
	if (t_s <= p[0].t_s)
		return p[0].load;
	if (t_s >= p[1].t_s)
		return p[1].load;
	return p[0].load + (p[1].load - p[0].load) * (t_s - p[0].t_s) / (p[1].t_s - p[0].t_s);
}

/* A tick is short against the load's changes; eight points show a step inside one as well. */
static double mean_load(const struct load_curve *c, double from_s, double to_s)
{
	double sum = 0;

	for (int i = 0; i < 8; i++)
		sum += load_at(c, from_s + (to_s - from_s) * (i + 0.5) / 8);
	return sum / 8;
}

/* Of a trace of single requests: how many came around each tick. */
static int count_rates(struct bench_setup *b)
{
	_cleanup_(freep) uint32_t *before = calloc(b->n_rates + 1, sizeof(*before));

	if (!before)
		return -ENOMEM;
	for (uint32_t i = 0; i < b->n_arrivals; i++)
		before[MIN(b->arrival_ns[i] / EVALUATE_POLL_NS + 1, (uint64_t)b->n_rates)]++;
	for (uint32_t i = 0; i < b->n_rates; i++)
		before[i + 1] += before[i];
	for (uint32_t i = 0; i < b->n_rates; i++) {
		uint32_t first = i > RATE_TICKS ? i - RATE_TICKS : 0;
		uint32_t end = MIN(i + RATE_TICKS + 1, b->n_rates);

		b->rate_rps[i] =
			(before[end] - before[first]) / ((end - first) * (EVALUATE_POLL_NS * 1e-9));
	}
	return 0;
}

static int find_rates(const struct trace *t, struct bench_setup *b)
{
	const double tick_s = EVALUATE_POLL_NS * 1e-9;

	b->n_rates = (uint32_t)ceil(t->duration_s / tick_s);
	b->rate_rps = calloc(MAX(b->n_rates, 1u), sizeof(*b->rate_rps));
	if (!b->rate_rps)
		return -ENOMEM;
	if (!t->curve)
		return count_rates(b);
	for (uint32_t i = 0; i < b->n_rates; i++)
		b->rate_rps[i] = mean_load(t->curve, i * tick_s, (i + 1) * tick_s) *
				 (t->absolute ? 1 : b->rated_rps);
	return 0;
}

int evaluate_requests(const struct trace *t, uint64_t seed, struct bench_setup *b,
		      struct evaluation_error *error)
{
	int r;

	r = trace_arrivals(t, b->rated_rps, seed, &b->arrival_ns, &b->n_arrivals);
	if (r < 0)
		return evaluate_refuse(error, r, "%s: %s", b->model->name,
				       r == -EFBIG ? "too many requests; take a shorter duration"
						   : "out of memory");
	r = find_rates(t, b);
	return r < 0 ? evaluate_refuse(error, r, "out of memory") : 0;
}

/* ---- runs ---- */

void evaluate_run_options(const struct evaluation_options *o, const struct bench_setup *b,
			  const struct truth *truth, const struct costs *costs, uint64_t seed,
			  struct simulation_options *ret)
{
	*ret = (struct simulation_options){
		.truth = truth,
		.costs = costs,
		.arrival_ns = b->arrival_ns,
		.n_arrivals = b->n_arrivals,
		.duration_ns = (uint64_t)llround(o->trace->duration_s * 1e9),
		.poll_ns = evaluate_poll_ns(o),
		.warm_up_ns = EVALUATE_WARM_UP_NS,
		.drain_limit_ns = EVALUATE_DRAIN_NS,
		.workers = 1,
		.slo_ns = b->slo_ns,
		.latency = o->latency,
		.seed = seed,
		.mask_change_us = QUEUES * MASK_CHANGE_US,
		.directive_ms = DIRECTIVE_MS,
	};
}

struct measures_options evaluate_measures_options(const struct evaluation_options *o,
						  const struct bench_setup *b)
{
	return (struct measures_options){
		.arrival_ns = b->arrival_ns,
		.n_arrivals = b->n_arrivals,
		.warm_up_ns = EVALUATE_WARM_UP_NS,
		.slo_ns = b->slo_ns,
		.percentile = o->percentile,
	};
}

void evaluate_governor_config(const struct evaluation_options *o, const struct bench_setup *b,
			      const struct policy_run *p, const struct bench_tables *t,
			      struct governor_config *ret)
{
	const struct plant_device *d = &b->truth.device;
	const struct response_table *table = t->tables[p->table];

	*ret = (struct governor_config){
		.poll_ns = evaluate_poll_ns(o),
		.n_levels = d->n_levels,
		.topology = d->topology,
		.power_cap_uw = (uint64_t)llround(o->cap_w * 1e6),
		.n_models = 1,
	};
	memcpy(ret->level_mhz, d->level_mhz, d->n_levels * sizeof(*ret->level_mhz));
	ret->models[0] = (struct governor_model_config){
		.table = table,
		.clock_table = has_masks(table) ? t->tables[TABLE_CLOCK] : NULL,
		.menu = p->policy && p->policy->plans ? b->menu : NULL,
		.headroom = t->headroom,
		.late_cost = p->table == TABLE_COST ? late_cost_at(t->headroom) : 0,
		.policy = p->name,
		.max_batch = MAX(o->max_batch, 1u),
		.priority = 100,
		.use_mask = true,
		.never_boosts = o->no_boosts,
	};
	(void)snprintf(ret->models[0].name, sizeof(ret->models[0].name), "%.*s", MODEL_NAME_MAX,
		       b->model->name);
}

/* A set-up that the whole card cannot serve says nothing about policies. */
static int check_load(const struct evaluation_options *o, const struct policy_runs *p,
		      const struct costs_options *batches, const struct bench_setup *b,
		      struct evaluation_error *error)
{
	struct measures_options measures = evaluate_measures_options(o, b);
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	_cleanup_(costs_freep) struct costs *costs = NULL;
	struct simulation_result result = {0};
	struct simulation_options run;
	struct governor_config config;
	struct measures m;
	int r;

	r = costs_new(&b->truth, b->model, batches, &costs);
	if (r < 0)
		return evaluate_refuse(error, r, "out of memory");
	evaluate_run_options(o, b, &b->truth, costs, o->seed, &run);
	evaluate_governor_config(o, b, &p->runs[p->maximum], &b->tables, &config);
	run.governor = &config;
	r = simulation_new(&run, &s);
	if (r == 0)
		r = simulation_finish(s, simulation_run(s), &result);
	if (r == 0)
		r = measures_take(&measures, &result, &result, &m);
	simulation_result_done(&result);
	if (r < 0)
		return evaluate_refuse(error, r, "%s: the run failed: %s", b->model->name,
				       strerror(-r));
	if (m.request_attainment_pct < EVALUATE_ATTAINMENT)
		return evaluate_refuse(
			error, -EDOM,
			"%s: overloaded: the whole card at the highest clock serves %.2f %% "
			"of the requests in time; take a longer SLO or a smaller load",
			b->model->name, m.request_attainment_pct);
	return 0;
}

/* ---- all of it ---- */

void evaluate_batches(const struct evaluation_options *o, struct costs_options *ret)
{
	*ret = (struct costs_options){.n_batches = 1, .batches = {1}};
	for (uint32_t b = 2; b <= o->max_batch && ret->n_batches < COSTS_MAX_BATCHES; b *= 2)
		ret->batches[ret->n_batches++] = b;
}

static int make_truth(const struct evaluation_options *o, uint32_t member, struct truth *ret,
		      struct evaluation_error *error)
{
	const struct truth_options t = {
		.gating = o->gating,
		.seed = o->seed,
		.member = member,
		.switch_ms = o->switch_ms,
		.dpm_ramp_ms = o->dpm_ramp_ms,
		.idle_active_share = o->idle_active_share,
	};
	int r;

	r = truth_bench(o->device, &t, ret);
	if (r == -ENOENT)
		return evaluate_refuse(error, -EINVAL, "%s has no ensemble of cards",
				       o->device->name);
	if (r < 0)
		return evaluate_refuse(error, r, "%s: switch time, ramp or idle power out of range",
				       o->device->name);
	return 0;
}

int bench_setup_make(const struct evaluation_options *o, const struct policy_runs *p,
		     const struct plant_model *m, uint32_t member, struct bench_setup *ret,
		     struct evaluation_error *error)
{
	struct costs_options batches;
	int r;

	evaluate_batches(o, &batches);
	ret->model = m;
	r = make_truth(o, member, &ret->truth, error);
	if (r == 0)
		r = evaluate_surface(o, member, ret, error);
	if (r < 0)
		return r;
	r = derive_all(o, p, ret, error);
	if (r < 0)
		return r;
	ret->slo_ns = ret->tables.tables[TABLE_COORDINATED]->slo_ns;
	ret->rated_rps = ret->tables.tables[TABLE_COORDINATED]->rated_rps;
	r = evaluate_requests(o->trace, o->exact ? o->seed : evaluate_seed(o->seed, m->name, 0),
			      ret, error);
	if (r < 0)
		return r;
	return check_load(o, p, &batches, ret, error);
}

static void bench_tables_done(struct bench_tables *t)
{
	for (int kind = 0; kind < TABLE_KINDS; kind++)
		free(TAKE_PTR(t->tables[kind]));
}

void bench_setup_done(struct bench_setup *b)
{
	b->surface = surface_free(b->surface);
	bench_tables_done(&b->tables);
	for (uint32_t i = 0; i < EVALUATE_HEADROOMS; i++)
		bench_tables_done(&b->by_headroom[i]);
	free(TAKE_PTR(b->menu));
	free(TAKE_PTR(b->arrival_ns));
	free(TAKE_PTR(b->rate_rps));
}
