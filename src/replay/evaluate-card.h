/* SPDX-License-Identifier: Apache-2.0 */
/* Between the parts of what is done on one service card. */
#pragma once

#include "base/macros.h"
#include "replay/evaluate-internal.h"

struct sweep_run {
	uint32_t policy, headroom; /* by number */
};

struct card {
	const struct card_job *job;
	struct truth truth;
	struct costs *costs;
	struct measures_options measures;
	uint64_t seed, end_ns;
	struct simulation *simulations[EVALUATE_MAX_RUNS];
	struct simulation_result results[EVALUATE_MAX_RUNS];
	uint64_t drained_ns[EVALUATE_MAX_RUNS];
	struct oracle *oracles[EVALUATE_MAX_RUNS];
	uint32_t n_oracles, oracle_runs[EVALUATE_MAX_RUNS];
	uint32_t n_sweep;
	struct sweep_run sweep[EVALUATE_MAX_RUNS * EVALUATE_HEADROOMS];
	struct card_outcome *outcome;
};

static inline const struct policy_run *card_policy(const struct card *c, uint32_t i)
{
	return &c->job->policies->runs[i];
}

static inline void card_step(const struct card *c)
{
	if (c->job->step)
		c->job->step(c->job->userdata);
}

static inline void card_run_options(const struct card *c, struct simulation_options *ret)
{
	evaluate_run_options(c->job->options, c->job->bench, &c->truth, c->costs, c->seed, ret);
}

static inline const struct simulation_result *card_maximum(const struct card *c)
{
	return &c->results[c->job->policies->maximum];
}

static inline double card_energy_j(const struct card *c, uint32_t run)
{
	return c->results[run].energy_j;
}

static inline void card_take_shares(const struct card *c, const struct measures *m, double *ret)
{
	ret[SHARE_OF_AUTO] = m->energy_j / card_energy_j(c, c->job->policies->automatic);
	ret[SHARE_OF_MAXIMUM] = m->energy_j / card_energy_j(c, c->job->policies->maximum);
}

/* A run's energy against the references', which have idled for extra_j beyond the common length. */
struct curve_point card_point(const struct card *c, double headroom, const struct measures *m,
			      double extra_j);

/* How often the sweeps of all policies run, and which runs these are. */
uint32_t card_count_sweep(const struct evaluation_options *o, const struct policy_runs *p);
void card_plan_sweep(struct card *c);
int card_run_sweep(struct card *c, const struct sweep_run *s);

/* An oracle's own figures, and for the oracle what the others' are against it. */
int card_run_oracle(struct card *c, uint32_t run);
/* What is left once the sweeps are there, too. */
int card_compare_all(struct card *c);
