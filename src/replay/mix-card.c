/* SPDX-License-Identifier: Apache-2.0 */
/* All policies on one service card with several models. */
#include "base/macros.h"
#include "replay/mix-internal.h"
#include <errno.h>
#include <string.h>

/* One run's results, of each model. */
struct mix_run {
	struct simulation *simulation;
	uint64_t drained_ns;
	struct simulation_result results[MIX_MAX_MODELS];
	struct measures measures[MIX_MAX_MODELS];
};

struct mix_card {
	const struct mix_card_job *job;
	struct truth truth;
	struct costs *costs[MIX_MAX_MODELS];
	struct simulation_load others[MIX_MAX_MODELS];
	struct simulation_options options;
	uint64_t end_ns;
	struct mix_run runs[MIX_COFRIS + 1];
	struct mix_figures *figures; /* by policy */
};

/* ---- runs ---- */

static void run_done(struct mix_run *run)
{
	run->simulation = simulation_free(run->simulation);
	for (uint32_t i = 0; i < MIX_MAX_MODELS; i++)
		simulation_result_done(&run->results[i]);
}

static int start(struct mix_card *c, const struct simulation_options *o, struct mix_run *run)
{
	int r;

	r = simulation_new(o, &run->simulation);
	if (r < 0)
		return r;
	run->drained_ns = simulation_run(run->simulation);
	c->end_ns = MAX(c->end_ns, run->drained_ns);
	return 0;
}

static int finish(struct mix_card *c, struct mix_run *run)
{
	const struct mix_run *maximum = &c->runs[MIX_MAXIMUM];
	int r;

	r = simulation_finish(run->simulation, c->end_ns, run->results);
	run->simulation = simulation_free(run->simulation);
	for (uint32_t i = 0; i < c->job->n && r == 0; i++) {
		struct measures_options o =
			evaluate_measures_options(c->job->options, c->job->benches[i]);

		r = measures_take(&o, &run->results[i], &maximum->results[i], &run->measures[i]);
	}
	return r;
}

static uint32_t policy_number(const struct mix_card *c, enum mix_policy p)
{
	const struct policy_runs *runs = c->job->policies;
	uint32_t i = 0;

	while (strcmp(runs->runs[i].name, mix_policy_name(p)) != 0)
		i++;
	return i;
}

static int run_policy(struct mix_card *c, enum mix_policy p)
{
	const struct policy_run *policy = &c->job->policies->runs[policy_number(c, p)];
	struct simulation_options o = c->options;
	struct governor_config config, one;

	for (uint32_t i = 0; i < c->job->n; i++) {
		const struct bench_setup *b = c->job->benches[i];

		evaluate_governor_config(c->job->options, b, policy, &b->tables, &one);
		if (i == 0)
			config = one;
		config.models[i] = one.models[0];
	}
	config.n_models = c->job->n;
	o.governor = &config;
	return start(c, &o, &c->runs[p]);
}

/* Idle to the end that all have in common. */
static int run_policies(struct mix_card *c)
{
	int r = 0;

	for (int p = MIX_AUTO; p <= MIX_COFRIS && r == 0; p++)
		r = run_policy(c, (enum mix_policy)p);
	if (r == 0)
		r = finish(c, &c->runs[MIX_MAXIMUM]);
	if (r == 0)
		r = finish(c, &c->runs[MIX_AUTO]);
	return r == 0 ? finish(c, &c->runs[MIX_COFRIS]) : r;
}

/* ---- figures ---- */

static void fill(const struct mix_card *c, const struct mix_run *run, struct mix_figures *ret)
{
	uint32_t n = c->job->n;

	*ret = (struct mix_figures){
		.mean_power_w = run->measures[0].mean_power_w,
		.energy_j = run->measures[0].energy_j,
		.power_vs_auto = run->measures[0].energy_j / c->runs[MIX_AUTO].measures[0].energy_j,
		.power_vs_maximum =
			run->measures[0].energy_j / c->runs[MIX_MAXIMUM].measures[0].energy_j,
		.vs_exhaustive = NAN,
		.vs_masks = NAN,
		.mean_sclk_mhz = run->measures[0].mean_sclk_mhz,
		.changes = run->measures[0].changes,
	};
	for (uint32_t i = 0; i < n; i++) {
		const struct measures *m = &run->measures[i];
		const struct bench_setup *b = c->job->benches[i];
		double starved_ms = (double)run->results[i].starved_ns * 1e-6;
		double slo_ms = (double)b->slo_ns * 1e-6;

		ret->models[i] = (struct mix_model_figures){
			.slo_ms = slo_ms,
			.load_rps = b->rated_rps,
			.requests = m->requests,
			.request_attainment_pct = m->request_attainment_pct,
			.excess_late_pct = m->excess_late_pct,
			.p95_ms = m->p95_ms,
			.p99_ms = m->p99_ms,
			.starved_ms = starved_ms,
			.mean_cus = m->mean_cus,
			.mean_batch = m->mean_batch,
		};
		ret->excess_late_pct += m->excess_late_pct / n;
		ret->worst_excess_late_pct = fmax(ret->worst_excess_late_pct, m->excess_late_pct);
		ret->worst_starved_slos = fmax(ret->worst_starved_slos, starved_ms / slo_ms);
	}
}

/* ---- exhaustive searches ---- */

static int run_schedule(struct mix_card *c, const struct mix_search *s, enum mix_scope scope,
			uint32_t weight, struct mix_figures *ret)
{
	const struct bench_setup *b = c->job->benches[0];
	_cleanup_(freep) struct configuration *schedule =
		calloc((size_t)b->n_rates * c->job->n, sizeof(*schedule));
	struct simulation_options o = c->options;
	struct mix_run run = {0};
	int r;

	if (!schedule)
		return -ENOMEM;
	mix_search_schedule(s, scope, weight, schedule);
	o.schedule = schedule;
	o.n_schedule = b->n_rates;
	r = start(c, &o, &run);
	if (r == 0)
		r = finish(c, &run);
	if (r == 0)
		fill(c, &run, ret);
	run_done(&run);
	return r;
}

/* Its energy at just this lateness, between two weights. */
static double energy_there_j(const struct mix_figures *below, const struct mix_figures *above,
			     double late_pct)
{
	double from = below->excess_late_pct, to = above->excess_late_pct;

	if (!(to > from) || late_pct <= from)
		return below->energy_j;
	return below->energy_j +
	       (above->energy_j - below->energy_j) * fmin(1, (late_pct - from) / (to - from));
}

/* The least weight at which it is no later than cofris: lateness falls as weights rise. */
static int match(struct mix_card *c, const struct mix_search *s, enum mix_scope scope,
		 struct mix_figures *ret, double *ret_j)
{
	double late_pct = c->figures[MIX_COFRIS].excess_late_pct;
	uint32_t low = 0, high = MIX_WEIGHTS - 1;
	struct mix_figures below, above = {0};
	bool has_above = false;
	int r;

	r = run_schedule(c, s, scope, high, &below);
	while (r == 0 && low < high) {
		uint32_t middle = (low + high) / 2;
		struct mix_figures f;

		r = run_schedule(c, s, scope, middle, &f);
		if (r < 0)
			break;
		if (f.excess_late_pct <= late_pct) {
			below = f;
			high = middle;
		} else {
			above = f;
			has_above = true;
			low = middle + 1;
		}
	}
	if (r < 0)
		return r;
	*ret = below;
	*ret_j = has_above ? energy_there_j(&below, &above, late_pct) : below.energy_j;
	return 0;
}

/* Cofris against both. */
static int run_exhaustive(struct mix_card *c)
{
	struct mix_search_options o = {
		.truth = &c->truth,
		.n_models = c->job->n,
		.n_ticks = c->job->benches[0]->n_rates,
		.batch = MAX(c->job->options->max_batch, 1u),
		.seed = c->job->options->seed,
	};
	_cleanup_(mix_search_freep) struct mix_search *s = NULL;
	struct mix_figures *cofris = &c->figures[MIX_COFRIS];
	double all_j, masks_j;
	int r;

	for (uint32_t i = 0; i < c->job->n; i++) {
		const struct bench_setup *b = c->job->benches[i];
		uint32_t level = c->truth.device.n_levels - 1;
		int all = costs_shape_index(c->costs[i], (struct cu_shape){0, 0});

		o.costs[i] = c->costs[i];
		o.slo_ns[i] = b->slo_ns;
		o.rate_rps[i] = b->rate_rps;
		/* As the planner has it, in the energy that load R takes for each request. */
		o.request_j[i] = costs_busy_w(c->costs[i], level, (uint32_t)all, 1) /
				 (b->rated_rps * c->job->n);
	}
	r = mix_search_new(&o, &s);
	if (r == 0)
		r = match(c, s, MIX_ALL, &c->figures[MIX_EXHAUSTIVE], &all_j);
	if (r == 0)
		r = match(c, s, MIX_PACKINGS, &c->figures[MIX_MASKS], &masks_j);
	if (r < 0)
		return r;
	cofris->vs_exhaustive = cofris->energy_j / all_j;
	cofris->vs_masks = cofris->energy_j / masks_j;
	return 0;
}

/* ---- a card ---- */

static int prepare(struct mix_card *c)
{
	const struct mix_card_job *job = c->job;
	const struct evaluation_options *o = job->options;
	struct costs_options batches;
	int r;

	c->truth = job->benches[0]->truth;
	r = o->exact ? 0 : truth_service(&job->benches[0]->truth, o->seed, job->card, &c->truth);
	evaluate_batches(o, &batches);
	for (uint32_t i = 0; i < job->n && r == 0; i++) {
		const struct bench_setup *b = job->benches[i];
		struct simulation_options one;

		r = costs_new(&c->truth, b->model, &batches, &c->costs[i]);
		if (r < 0)
			break;
		evaluate_run_options(o, b, &c->truth, c->costs[i],
				     evaluate_seed(o->seed, b->model->name,
						   1 + job->card + i * o->service_cards),
				     &one);
		if (i == 0)
			c->options = one;
		else
			c->others[i - 1] = (struct simulation_load){
				.costs = one.costs,
				.arrival_ns = one.arrival_ns,
				.n_arrivals = one.n_arrivals,
				.workers = one.workers,
				.slo_ns = one.slo_ns,
				.latency = one.latency,
				.seed = one.seed,
			};
	}
	c->options.others = c->others;
	c->options.n_others = job->n - 1;
	return r;
}

static int run_all(struct mix_card *c)
{
	int r;

	r = prepare(c);
	if (r == 0)
		r = run_policies(c);
	if (r < 0)
		return r;
	for (int p = MIX_AUTO; p <= MIX_COFRIS; p++)
		fill(c, &c->runs[p], &c->figures[p]);
	return run_exhaustive(c);
}

int mix_card(const struct mix_card_job *job, struct mix_figures ret[static MIX_POLICIES])
{
	_cleanup_(freep) struct mix_card *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->job = job;
	c->figures = ret;
	r = run_all(c);
	for (size_t i = 0; i < ARRAY_SIZE(c->runs); i++)
		run_done(&c->runs[i]);
	for (uint32_t i = 0; i < MIX_MAX_MODELS; i++)
		(void)costs_free(c->costs[i]);
	return r;
}
