/* SPDX-License-Identifier: Apache-2.0 */
/* Several models on one card at the same time: what the governor makes of it, against the driver,
 * full speed, and the best that can be had by trying everything.
 *
 * Load   each model gets the trace's load of R / n for n models, so that load 1 is the card's as
 *        a whole; model i begins i / n of the run later in the trace, which goes round, so that
 *        their peaks come one after another.
 * SLO    of each model as if it were alone: a factor of T0, the tail of B at its own R, or a time.
 * Paired as all runs are: excess lateness is against maximum, all models on all CUs.
 *
 * exhaustive knows each tick's rates, but not the arrivals, and switches for nothing: for each of
 * the rates that come together (in steps of the highest) it takes, of every clock limit with every
 * packing of masks and with all models on all CUs, what has the least power + mu x late requests,
 * both worked out on this very card; mu is chosen such that its excess lateness is what cofris has.
 * exhaustive-masks does the same with packings alone. Batches are as large as they may be, without
 * a wait. */
#pragma once

#include "replay/evaluate.h"

#define MIX_MAX	       16
#define MIX_MAX_MODELS 4

struct mix {
	uint32_t n;
	uint32_t models[MIX_MAX_MODELS]; /* of the evaluation's; one may come twice */
};

enum mix_policy {
	MIX_AUTO,
	MIX_MAXIMUM,
	MIX_COFRIS,
	MIX_EXHAUSTIVE,
	MIX_MASKS,
	MIX_POLICIES,
};
const char *mix_policy_name(enum mix_policy p);

struct mix_model_figures {
	double slo_ms, load_rps, requests; /* load_rps: what load 1 is here */
	double request_attainment_pct, excess_late_pct, p95_ms, p99_ms;
	double starved_ms; /* longest time without a completion while a request was there */
	double mean_cus, mean_batch;
};

/* Of a policy on a mix; each figure the median over the service cards, but for worst_. */
struct mix_figures {
	double mean_power_w, energy_j, power_vs_auto, power_vs_maximum;
	/* Of cofris alone: energy against what the exhaustive searches take at its lateness, which
	 * is interpolated between two mu. NaN for others. */
	double vs_exhaustive, vs_masks;
	double excess_late_pct;	      /* mean over the models */
	double worst_excess_late_pct; /* of a model on a card */
	double worst_starved_slos;    /* likewise, in its SLOs */
	double mean_sclk_mhz, changes;
	struct mix_model_figures models[MIX_MAX_MODELS];
};

struct mix_evaluation {
	const struct evaluation_options *options;
	uint32_t n_mixes;
	const struct mix *mixes;
	struct mix_figures (*figures)[MIX_POLICIES]; /* by mix */
};

/* Options as of evaluate(), whose policies do not matter; errors likewise; -EINVAL also for a trace
 * that has no load relative to R. */
int mix_evaluate(const struct evaluation_options *o, const struct mix *mixes, uint32_t n_mixes,
		 struct mix_evaluation **ret, struct evaluation_error *ret_error);
struct mix_evaluation *mix_evaluation_free(struct mix_evaluation *e);
DEFINE_CLEANUP(struct mix_evaluation *, mix_evaluation_free)
