/* SPDX-License-Identifier: Apache-2.0 */
/* Between the parts of an evaluation of mixes: its set-up and figures (mix.c), all policies on a
 * card (mix-card.c), and the exhaustive search (mix-search.c, on mix-cells.c). */
#pragma once

#include "replay/evaluate-internal.h"
#include "replay/mix.h"
#include <math.h>

/* ---- what one model does at a rate ---- */

/* Shares of the time, power of the work alone, and the share of requests that are late. */
struct mix_cell {
	float busy, awake, work_w, late;
};

struct mix_cells;
struct mix_cells_options {
	const struct truth *truth;
	const struct costs *costs;
	uint64_t slo_ns;
	uint32_t batch;	 /* largest that is executed */
	double step_rps; /* cells are of multiples of it */
	uint32_t n_rates;
	uint64_t seed;
};
int mix_cells_new(const struct mix_cells_options *o, struct mix_cells **ret);
struct mix_cells *mix_cells_free(struct mix_cells *c);
/* Service times stretch-fold; worked out where nobody has asked yet. */
const struct mix_cell *mix_cells_get(struct mix_cells *c, uint32_t rate, uint32_t level,
				     uint32_t shape, double stretch);

/* ---- the search ---- */

/* Of a late request, in requests served at full speed: those that are tried, each number with
 * eight steps a decade from 0.05. */
#define MIX_WEIGHTS 33

/* What is chosen from. */
enum mix_scope {
	MIX_ALL,      /* packings, and all models on all CUs */
	MIX_PACKINGS, /* masks apart alone */
	MIX_SCOPES,
};

struct mix_search_options {
	const struct truth *truth;
	uint32_t n_models;
	const struct costs *costs[MIX_MAX_MODELS];
	uint64_t slo_ns[MIX_MAX_MODELS];
	double request_j[MIX_MAX_MODELS];	/* of one at full speed */
	const double *rate_rps[MIX_MAX_MODELS]; /* by tick */
	uint32_t n_ticks, batch;
	uint64_t seed;
};
struct mix_search;
int mix_search_new(const struct mix_search_options *o, struct mix_search **ret);
struct mix_search *mix_search_free(struct mix_search *s);
DEFINE_CLEANUP(struct mix_search *, mix_search_free)
/* For each tick and model, with the weight of that number. */
void mix_search_schedule(const struct mix_search *s, enum mix_scope scope, uint32_t weight,
			 struct configuration *ret);

/* ---- a card ---- */

struct mix_card_job {
	const struct evaluation_options *options;
	const struct policy_runs *policies;
	uint32_t n;
	/* Each with its share of the load, and arrivals of its own. */
	const struct bench_setup *benches[MIX_MAX_MODELS];
	uint32_t mix, card;
};
int mix_card(const struct mix_card_job *job, struct mix_figures ret[static MIX_POLICIES]);
