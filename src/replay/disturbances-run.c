/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios on models and cards, each a job of its own. */
#include "base/units.h"
#include "replay/disturbances-internal.h"
#include "replay/disturbances.h"
#include "replay/evaluate-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define SLO_FACTOR 1.5
#define BIN_S	   10.0
#define FROM_NS	   ((uint64_t)(DISTURBANCE_FROM_S * 1e9))

/* Of a run's chance; the cards' are apart from it. */
#define BASE_STREAM  UINT64_C(0x6c6f616400000000)
#define EXTRA_STREAM UINT64_C(0x6578747261000000)

enum run { RUN_POLICY, RUN_MAXIMUM, RUN_UNDISTURBED, RUNS };

struct work {
	const struct disturbances_options *options;
	struct evaluation_options evaluation; /* by poll: that of a setup is its own */
	struct policy_runs policies;
	struct bench_setup *setups; /* [poll][model] */
	uint64_t *polls_ns;
	uint32_t n_polls;
	struct evaluation_error *errors;     /* as setups */
	struct disturbance_figures *figures; /* [scenario][model][card] */
};

/* What is the same in a scenario's three runs. */
struct job {
	const struct work *work;
	const struct disturbance *scenario;
	const struct bench_setup *bench;
	struct evaluation_options evaluation;
	struct truth truth;
	struct costs *costs;
	uint64_t seed, cap_uw, end_ns; /* end_ns: of the disturbance */
	struct governor_config before, after;
	uint64_t *arrival_ns[RUNS]; /* RUN_MAXIMUM: those of the policy's run */
	uint32_t n_arrivals[RUNS];
	struct simulation_result results[RUNS];
};

/* ---- what is made once ---- */

static bool is_asked_for(const struct disturbances_options *o, uint32_t scenario)
{
	return !o->only || strcmp(disturbances_all[scenario].name, o->only) == 0;
}

static uint64_t poll_ns_of(const struct disturbance *d)
{
	return d->poll_ns > 0 ? d->poll_ns : EVALUATE_POLL_NS;
}

static uint32_t poll_index(const struct work *w, uint64_t poll_ns)
{
	uint32_t i = 0;

	while (i < w->n_polls && w->polls_ns[i] != poll_ns)
		i++;
	return i;
}

static void list_polls(struct work *w)
{
	for (uint32_t i = 0; i < disturbances_n; i++) {
		uint64_t poll_ns = poll_ns_of(&disturbances_all[i]);

		if (is_asked_for(w->options, i) && poll_index(w, poll_ns) == w->n_polls)
			w->polls_ns[w->n_polls++] = poll_ns;
	}
}

/* Only what the whole card can serve is a set-up; the scenarios' own requests come later. */
static struct load_point set_up_points[] = {{0, 0.4}, {60, 0.4}};
static struct load_curve set_up_curve = {.n = 2, .points = set_up_points};
static const struct trace set_up_trace = {
	.format = TRACE_RATE,
	.curve = &set_up_curve,
	.duration_s = 60,
	.mean_load = 0.4,
};

static void fill_evaluation(const struct disturbances_options *o, struct evaluation_options *ret)
{
	*ret = (struct evaluation_options){
		.trace_name = "disturbances",
		.trace = &set_up_trace,
		.device = o->device,
		.n_policies = 1,
		.policies = {o->policy},
		.slo_factor = SLO_FACTOR,
		.percentile = 95,
		.headroom = TABLE_OPTIONS_DEFAULT.headroom,
		.gating = PLANT_GATING_CU,
		.service_cards = o->cards,
		.ensemble = 1,
		.switch_ms = -1,
		.dpm_ramp_ms = -1,
		.idle_active_share = -1,
		.seed = o->seed,
		.max_batch = 1,
		.threads = 1,
	};
}

static int make_setup(void *userdata, uint32_t i)
{
	struct work *w = userdata;
	struct evaluation_options o = w->evaluation;

	o.poll_ns = w->polls_ns[i / w->options->n_models];
	return bench_setup_make(&o, &w->policies, w->options->models[i % w->options->n_models],
				/* member= */ 0, &w->setups[i], &w->errors[i]);
}

/* ---- requests ---- */

/* Poisson over the whole run, of which only what comes in [from_s, until_s) is taken: so it is the
 * same there however long it goes on. Appends to ret. */
static void add_requests(uint64_t seed, double rate_rps, double from_s, double until_s,
			 uint64_t *ret, uint32_t *n)
{
	double t_s = 0;

	for (uint32_t i = 0; rate_rps > 0; i++) {
		t_s += plant_exponential(seed, i) / rate_rps;
		if (t_s >= until_s)
			return;
		if (t_s >= from_s)
			ret[(*n)++] = (uint64_t)(t_s * 1e9);
	}
}

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static int make_requests(struct job *j, enum run run)
{
	const struct disturbance *d = j->scenario;
	double rated_rps = j->bench->rated_rps;
	bool stays = d->extra_s == 0;
	double from_s = DISTURBANCE_FROM_S, until_s = stays ? DISTURBANCE_S : from_s + d->extra_s;
	size_t size = (size_t)((d->load + d->extra) * rated_rps * DISTURBANCE_S * 1.5) + 1000;
	uint64_t *ns = calloc(size, sizeof(*ns));
	uint32_t n = 0;

	if (!ns)
		return -ENOMEM;
	/* Where a cap is what disturbs, the load is the same without that. */
	if (run == RUN_UNDISTURBED && d->cap == 0) {
		from_s = 0;
		until_s = stays ? until_s : 0;
	}
	add_requests(j->seed ^ BASE_STREAM, d->load * rated_rps, 0, DISTURBANCE_S, ns, &n);
	add_requests(j->seed ^ EXTRA_STREAM, d->extra * rated_rps, from_s, until_s, ns, &n);
	qsort(ns, n, sizeof(*ns), compare_ns);
	j->arrival_ns[run] = ns;
	j->n_arrivals[run] = n;
	return 0;
}

/* ---- a run ---- */

static uint64_t cap_from_ns(const struct disturbance *d)
{
	return FROM_NS + (uint64_t)(d->extra_s * 0.5e9);
}

static uint32_t fill_events(const struct job *j, const struct governor_config *after,
			    struct simulation_event *events)
{
	const struct disturbance *d = j->scenario;
	uint32_t n = 0;

	if (d->until_s > 0) {
		events[n] = d->event;
		events[n].kind = d->kind;
		n++;
	}
	if (d->has_beside) {
		events[n] = d->event;
		events[n].kind = d->beside;
		n++;
	}
	for (uint32_t i = 0; i < n; i++) {
		events[i].from_ns = FROM_NS;
		events[i].until_ns = FROM_NS + (uint64_t)(d->until_s * 1e9);
	}
	if (d->cap > 0)
		events[n++] = (struct simulation_event){
			.kind = SIMULATION_RELOAD,
			.from_ns = cap_from_ns(d),
			.until_ns = UINT64_MAX,
			.governor = after,
		};
	return n;
}

/* What lateness is held against where the power is not left for full speed. */
static int run_inside_cap(struct job *j, struct simulation_options *o)
{
	_cleanup_(freep) struct configuration *schedule = NULL;
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	int r;

	o->n_schedule = (uint32_t)(o->duration_ns / o->poll_ns);
	r = disturbances_schedule(&j->truth.device, j->costs, j->cap_uw,
				  (uint32_t)(cap_from_ns(j->scenario) / o->poll_ns), o->n_schedule,
				  &schedule);
	if (r < 0)
		return r;
	o->governor = NULL;
	o->n_events = 0;
	o->schedule = schedule;
	r = simulation_new(o, &s);
	return r < 0 ? r : simulation_finish(s, simulation_run(s), &j->results[RUN_MAXIMUM]);
}

static int run(struct job *j, enum run run)
{
	const struct policy_runs *policies = &j->work->policies;
	const struct policy_run *p =
		&policies->runs[run == RUN_MAXIMUM ? policies->maximum : policies->of_row[0]];
	enum run requests = run == RUN_MAXIMUM ? RUN_POLICY : run;
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	struct simulation_event events[3];
	struct simulation_options o;
	int r;

	evaluate_governor_config(&j->evaluation, j->bench, p, &j->bench->tables, &j->before);
	j->after = j->before;
	j->after.power_cap_uw = j->cap_uw;
	evaluate_run_options(&j->evaluation, j->bench, &j->truth, j->costs, j->seed, &o);
	o.duration_ns = (uint64_t)(DISTURBANCE_S * 1e9);
	o.arrival_ns = j->arrival_ns[requests];
	o.n_arrivals = j->n_arrivals[requests];
	o.governor = run == RUN_UNDISTURBED ? &j->after : &j->before;
	o.trace_ticks = true;
	o.writes_cap = true;
	o.events = events;
	o.n_events = run == RUN_UNDISTURBED ? 0 : fill_events(j, &j->after, events);
	if (run == RUN_MAXIMUM && j->cap_uw > 0)
		return run_inside_cap(j, &o);
	r = simulation_new(&o, &s);
	if (r < 0)
		return r;
	return simulation_finish(s, simulation_run(s), &j->results[run]);
}

/* ---- figures ---- */

static double overlap_s(double from_s, double until_s, double other_from_s, double other_until_s)
{
	return fmax(0, fmin(until_s, other_until_s) - fmax(from_s, other_from_s));
}

/* Mean of what each tick has, over a time. */
static void means(const struct simulation_result *r, double from_s, double until_s, double *ret_w,
		  double *ret_mhz)
{
	double sum_s = 0, sum_j = 0, sum_mhz_s = 0;

	for (uint32_t i = 0; i < r->n_ticks; i++) {
		double end_s = i + 1 < r->n_ticks ? (double)r->ticks[i + 1].t_s : DISTURBANCE_S;
		double s = overlap_s(r->ticks[i].t_s, end_s, from_s, until_s);

		sum_s += s;
		sum_j += s * (double)r->ticks[i].power_w;
		sum_mhz_s += s * (double)r->ticks[i].sclk_mhz;
	}
	*ret_w = sum_s > 0 ? sum_j / sum_s : NAN;
	*ret_mhz = sum_s > 0 ? sum_mhz_s / sum_s : NAN;
}

static double recovery_s(const struct job *j)
{
	double end_s = (double)j->end_ns * 1e-9, last_s = end_s;

	for (double s = end_s; s + BIN_S <= DISTURBANCE_S; s += BIN_S) {
		double w, undisturbed_w, mhz;

		means(&j->results[RUN_POLICY], s, s + BIN_S, &w, &mhz);
		means(&j->results[RUN_UNDISTURBED], s, s + BIN_S, &undisturbed_w, &mhz);
		if (!(fabs(w / undisturbed_w - 1) <= 0.05))
			last_s = s + BIN_S;
	}
	return last_s - end_s;
}

/* The least of any 30 s, from where a run has found its rows. */
static double least_mhz(const struct simulation_result *r)
{
	double least = INFINITY, w, mhz;

	for (double s = DISTURBANCE_FROM_S; s + DISTURBANCE_END_S <= DISTURBANCE_S; s += BIN_S) {
		means(r, s, s + DISTURBANCE_END_S, &w, &mhz);
		least = fmin(least, mhz);
	}
	return least;
}

static double over_cap_s(const struct job *j)
{
	const struct simulation_result *r = &j->results[RUN_POLICY];
	double from_s = DISTURBANCE_FROM_S + j->scenario->extra_s / 2, sum_s = 0;

	for (uint32_t i = 0; j->cap_uw > 0 && i + 1 < r->n_ticks; i++)
		if ((double)r->ticks[i].t_s >= from_s &&
		    (double)r->ticks[i].power_w > (double)j->cap_uw * 1e-6)
			sum_s += (double)(r->ticks[i + 1].t_s - r->ticks[i].t_s);
	return sum_s;
}

static double late_pct(const struct measures_options *o, const struct simulation_result *r)
{
	uint32_t n = 0, late = 0;

	for (uint32_t i = 0; i < r->n; i++) {
		if (o->arrival_ns[i] < o->warm_up_ns)
			continue;
		n++;
		late += r->latency_ns[i] > o->slo_ns;
	}
	return n > 0 ? 100.0 * late / n : 0;
}

static void take_figures(const struct job *j, struct disturbance_figures *ret)
{
	const struct simulation_result *run = &j->results[RUN_POLICY];
	const struct simulation_result *maximum = &j->results[RUN_MAXIMUM];
	const struct measures_options o = {
		.arrival_ns = j->arrival_ns[RUN_POLICY],
		.n_arrivals = j->n_arrivals[RUN_POLICY],
		.warm_up_ns = EVALUATE_WARM_UP_NS,
		.slo_ns = j->bench->slo_ns,
		.percentile = 95,
	};
	double end_s = (double)j->end_ns * 1e-9, w, mhz, other_w, other_mhz;

	*ret = (struct disturbance_figures){
		.late_pct = late_pct(&o, run),
		.maximum_late_pct = late_pct(&o, maximum),
		.excess_late_pct = 100 * measures_excess_late(&o, run, maximum),
		.recovery_s = recovery_s(j),
		.over_cap_s = over_cap_s(j),
	};
	means(run, DISTURBANCE_FROM_S, end_s, &w, &mhz);
	means(maximum, DISTURBANCE_FROM_S, end_s, &other_w, &other_mhz);
	ret->power_vs_maximum = w / other_w;
	ret->maximum_clock = other_mhz / j->truth.device.level_mhz[j->truth.device.n_levels - 1];
	means(run, DISTURBANCE_S - DISTURBANCE_END_S, DISTURBANCE_S, &w, &mhz);
	means(&j->results[RUN_UNDISTURBED], DISTURBANCE_S - DISTURBANCE_END_S, DISTURBANCE_S,
	      &other_w, &other_mhz);
	ret->end_power = w / other_w;
	ret->end_clock = mhz / least_mhz(&j->results[RUN_UNDISTURBED]);
}

/* ---- a scenario with a model on a card ---- */

static int prepare(struct job *j, uint32_t card)
{
	const struct disturbances_options *o = j->work->options;
	const struct disturbance *d = j->scenario;
	struct costs_options batches;
	uint32_t top = o->device->n_levels - 1;
	double length_s = fmax(d->until_s, d->extra_s);
	int r;

	r = truth_service(&j->bench->truth, o->seed, card, &j->truth);
	if (r < 0)
		return r;
	/* A slower card is one that differs from its profile by nothing else. */
	if (d->slower > 0) {
		j->truth.device = j->bench->truth.device;
		j->truth.card.time_factor *= d->slower;
	}
	evaluate_batches(&j->evaluation, &batches);
	r = costs_new(&j->truth, j->bench->model, &batches, &j->costs);
	if (r < 0)
		return r;
	j->seed = evaluate_seed(o->seed, j->bench->model->name, 1 + card);
	j->end_ns = FROM_NS + (uint64_t)(length_s * 1e9);
	j->evaluation.poll_ns = poll_ns_of(d);
	if (d->cap > 0)
		j->cap_uw = (uint64_t)llround(
			1e6 * d->cap *
			costs_busy_w(j->costs, top,
				     (uint32_t)costs_shape_index(j->costs, (struct cu_shape){0}),
				     1));
	r = make_requests(j, RUN_POLICY);
	return r < 0 ? r : make_requests(j, RUN_UNDISTURBED);
}

static void job_done(struct job *j)
{
	for (int i = 0; i < RUNS; i++) {
		free(j->arrival_ns[i]);
		simulation_result_done(&j->results[i]);
	}
	costs_free(j->costs);
	free(j);
}

static int run_job(void *userdata, uint32_t i)
{
	struct work *w = userdata;
	const struct disturbances_options *o = w->options;
	uint32_t scenario = i / o->cards / o->n_models, model = i / o->cards % o->n_models;
	struct job *j;
	int r;

	if (!is_asked_for(o, scenario))
		return 0;
	j = calloc(1, sizeof(*j));
	if (!j)
		return -ENOMEM;
	j->work = w;
	j->scenario = &disturbances_all[scenario];
	j->bench = &w->setups[poll_index(w, poll_ns_of(j->scenario)) * o->n_models + model];
	j->evaluation = w->evaluation;
	r = prepare(j, i % o->cards);
	for (int k = 0; k < RUNS && r == 0; k++)
		r = run(j, (enum run)k);
	if (r == 0)
		take_figures(j, &w->figures[i]);
	job_done(j);
	return r;
}

/* ---- all of it ---- */

static int run_all(struct work *w, struct disturbance_figures *ret, struct evaluation_error *error)
{
	const struct disturbances_options *o = w->options;
	uint32_t threads = o->threads > 0 ? o->threads : pool_cores();
	uint32_t n_setups = w->n_polls * o->n_models, n = disturbances_n * o->n_models;
	int r;

	r = pool_run(threads, n_setups, make_setup, w);
	for (uint32_t i = 0; r < 0 && i < n_setups; i++)
		if (w->errors[i].text[0]) {
			*error = w->errors[i];
			return r;
		}
	if (r == 0)
		r = pool_run(threads, n * o->cards, run_job, w);
	if (r < 0)
		return evaluate_refuse(error, r, "a run failed: %s", strerror(-r));
	for (uint32_t i = 0; i < n; i++) {
		ret[i] = w->figures[i * o->cards];
		for (uint32_t card = 1; card < o->cards; card++)
			disturbance_take_worse(&ret[i], &w->figures[i * o->cards + card]);
	}
	return 0;
}

static void work_done(struct work *w)
{
	for (uint32_t i = 0; w->setups && i < w->n_polls * w->options->n_models; i++)
		bench_setup_done(&w->setups[i]);
	free(w->setups);
	free(w->errors);
	free(w->figures);
	free(w->polls_ns);
}

int disturbances_run(const struct disturbances_options *o, struct disturbance_figures **ret,
		     struct evaluation_error *ret_error)
{
	_cleanup_(freep) struct disturbance_figures *figures = NULL;
	struct work w = {.options = o};
	uint32_t n = disturbances_n * o->n_models;
	int r;

	ret_error->text[0] = '\0';
	fill_evaluation(o, &w.evaluation);
	r = evaluate_list_policies(&w.evaluation, &w.policies, ret_error);
	if (r < 0)
		return r;
	w.polls_ns = calloc(disturbances_n, sizeof(*w.polls_ns));
	w.setups = calloc((size_t)n, sizeof(*w.setups));
	w.errors = calloc((size_t)n, sizeof(*w.errors));
	w.figures = calloc((size_t)n * o->cards, sizeof(*w.figures));
	figures = calloc(n, sizeof(*figures));
	if (w.polls_ns && w.setups && w.errors && w.figures && figures) {
		list_polls(&w);
		r = run_all(&w, figures, ret_error);
	} else {
		r = evaluate_refuse(ret_error, -ENOMEM, "out of memory");
	}
	work_done(&w);
	if (r == 0)
		*ret = TAKE_PTR(figures);
	return r;
}
