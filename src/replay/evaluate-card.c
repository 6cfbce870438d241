/* SPDX-License-Identifier: Apache-2.0 */
/* All policies on one service card. First each as it is asked for: they stop where their last
 * request ends, and then go on to the common end together. Then the headroom sweeps, and the
 * oracles at the lateness of each. */
#include "replay/evaluate-card.h"
#include <errno.h>
#include <math.h>

struct curve_point card_point(const struct card *c, double headroom, const struct measures *m,
			      double extra_j)
{
	const struct policy_runs *p = c->job->policies;

	return (struct curve_point){
		.headroom = headroom,
		.excess_late_pct = m->excess_late_pct,
		.power_vs_auto = m->energy_j / (card_energy_j(c, p->automatic) + extra_j),
		.power_vs_maximum = m->energy_j / (card_energy_j(c, p->maximum) + extra_j),
	};
}

/* ---- as asked for ---- */

static int run_policy(void *userdata, uint32_t i)
{
	struct card *c = userdata;
	const struct bench_setup *b = c->job->bench;
	struct simulation_options options;
	struct governor_config config;
	int r;

	if (!card_policy(c, i)->policy)
		return 0;
	card_run_options(c, &options);
	evaluate_governor_config(c->job->options, b, card_policy(c, i), &b->tables, &config);
	options.governor = &config;
	options.trace_ticks = c->job->options->keep_ticks && c->job->card == 0;
	r = simulation_new(&options, &c->simulations[i]);
	if (r < 0)
		return r;
	c->drained_ns[i] = simulation_run(c->simulations[i]);
	card_step(c);
	return 0;
}

static int finish_policy(void *userdata, uint32_t i)
{
	struct card *c = userdata;
	int r;

	if (!c->simulations[i])
		return 0;
	r = simulation_finish(c->simulations[i], c->end_ns, &c->results[i]);
	c->simulations[i] = simulation_free(c->simulations[i]);
	return r;
}

static int measure_policy(void *userdata, uint32_t i)
{
	struct card *c = userdata;
	struct policy_outcome *p = &c->outcome->policies[i];
	int r;

	if (!card_policy(c, i)->policy)
		return 0;
	p->n_ticks = c->results[i].n_ticks;
	p->ticks = TAKE_PTR(c->results[i].ticks);
	r = measures_take(&c->measures, &c->results[i], card_maximum(c), &p->m);
	if (r == 0)
		card_take_shares(c, &p->m, p->own);
	return r;
}

static int run_policies(struct card *c)
{
	uint32_t n = c->job->policies->n, threads = c->job->threads;
	int r;

	r = pool_run(threads, n, run_policy, c);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n; i++)
		c->end_ns = MAX(c->end_ns, c->drained_ns[i]);
	r = pool_run(threads, n, finish_policy, c);
	if (r == 0)
		r = pool_run(threads, n, measure_policy, c);
	/* What follows is paired with maximum alone. */
	for (uint32_t i = 0; i < n; i++)
		if (i != c->job->policies->maximum)
			free(TAKE_PTR(c->results[i].latency_ns));
	return r;
}

static int run_second(void *userdata, uint32_t i)
{
	struct card *c = userdata;

	/* The longest first. */
	if (i < c->n_oracles)
		return card_run_oracle(c, c->oracle_runs[i]);
	return card_run_sweep(c, &c->sweep[i - c->n_oracles]);
}

/* ---- a card ---- */

static int prepare(struct card *c)
{
	const struct evaluation_options *o = c->job->options;
	const struct policy_runs *p = c->job->policies;
	struct costs_options batches;
	int r;

	c->truth = c->job->bench->truth;
	r = o->exact ? 0 : truth_service(&c->job->bench->truth, o->seed, c->job->card, &c->truth);
	if (r < 0)
		return r;
	evaluate_batches(o, &batches);
	r = costs_new(&c->truth, c->job->bench->model, &batches, &c->costs);
	if (r < 0)
		return r;
	c->seed = o->exact ? o->seed
			   : evaluate_seed(o->seed, c->job->bench->model->name, 1 + c->job->card);
	c->measures = evaluate_measures_options(o, c->job->bench);
	for (uint32_t i = 0; i < p->n; i++) {
		struct policy_outcome *outcome = &c->outcome->policies[i];

		for (int share = 0; share < SHARES; share++)
			outcome->own[share] = outcome->there[share] = NAN;
		if (!card_policy(c, i)->policy)
			c->oracle_runs[c->n_oracles++] = i;
	}
	return 0;
}

static void take_reference(struct card *c)
{
	const struct measures *m = &c->outcome->policies[c->job->policies->maximum].m;

	c->outcome->overloaded = m->request_attainment_pct < EVALUATE_ATTAINMENT;
	c->outcome->slo_ms = (double)c->job->bench->slo_ns * 1e-6;
	c->outcome->rated_rps = c->job->bench->rated_rps;
}

static int evaluate_prepared(struct card *c)
{
	int r;

	r = prepare(c);
	if (r == 0)
		r = run_policies(c);
	if (r < 0)
		return r;
	take_reference(c);
	card_plan_sweep(c);
	r = pool_run(c->job->threads, c->n_oracles + c->n_sweep, run_second, c);
	return r < 0 ? r : card_compare_all(c);
}

static void card_done(struct card *c)
{
	for (uint32_t i = 0; i < EVALUATE_MAX_RUNS; i++) {
		simulation_free(c->simulations[i]);
		simulation_result_done(&c->results[i]);
		oracle_free(c->oracles[i]);
	}
	costs_free(c->costs);
}

int evaluate_card(const struct card_job *job, struct card_outcome *ret)
{
	_cleanup_(freep) struct card *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->job = job;
	c->outcome = ret;
	r = evaluate_prepared(c);
	card_done(c);
	return r;
}

void card_outcome_done(struct card_outcome *c)
{
	for (uint32_t i = 0; i < EVALUATE_MAX_RUNS; i++)
		free(TAKE_PTR(c->policies[i].ticks));
}

uint32_t evaluate_card_steps(const struct evaluation_options *o, const struct policy_runs *p)
{
	return p->n + card_count_sweep(o, p);
}
