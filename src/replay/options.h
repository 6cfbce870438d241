/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of cofris-replay. */
#pragma once

#include "replay/mix.h"

#define REPLAY_MAX_SLOS 8

/* What requests have to keep: a factor of each model's T0, or (factor 0) a time. */
struct replay_slo {
	double factor;
	uint64_t ns;
};

struct replay_options {
	const char *inputs;	/* a daemon's record; then explain or json alone hold */
	uint32_t explain;	/* with inputs: a decision's number; 0: none */
	const char *experiment; /* a name of experiment.h; then json, trace, seed and threads */
	const char *trace, *device, *report;
	bool json;
	struct trace_options reading;
	uint32_t n_slos;
	struct replay_slo slos[REPLAY_MAX_SLOS];
	uint32_t n_models;
	const char *models[EVALUATE_MAX_MODELS]; /* names or paths */
	/* Above 0: these instead, of the models that they name. */
	uint32_t n_mixes;
	struct mix mixes[MIX_MAX];
	uint32_t n_surfaces;
	const char *surfaces[EVALUATE_MAX_MODELS]; /* paths */
	/* All of the evaluation's that need nothing to be loaded: without trace, device, models and
	 * SLO. */
	struct evaluation_options evaluation;
	char *lists[3]; /* what models, surfaces and mixes point into */
};

/* 1 to go on, 0 if the answer has been given (--help), or -EINVAL or -ENOMEM after saying what is
 * wrong. Strings are argv's, which must live as long. */
int replay_options_parse(int argc, char *argv[], struct replay_options *ret);
void replay_options_done(struct replay_options *o);
