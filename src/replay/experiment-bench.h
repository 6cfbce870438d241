/* SPDX-License-Identifier: Apache-2.0 */
/* One governed run of one model on a card without a profile: what experiments are made of. */
#pragma once

#include "replay/simulation.h"
#include "response/menu.h"

/* By name. 0 or a negative errno after a message. */
int experiment_load_device(const char *name, struct plant_device **ret);
int experiment_load_model(const char *name, struct plant_model **ret);

struct experiment_bench {
	struct truth truth;
	struct plant_model *model;
	struct costs *costs;
};

/* Loads both by name, and makes costs of batches 1, 2, 4 ... max_batch. images: a request is so
 * many of the model's (a batch that the client has made). 0 or a negative errno after a message. */
int experiment_bench_init(struct experiment_bench *b, const char *device, const char *model,
			  uint32_t images, uint32_t max_batch, uint64_t seed);
void experiment_bench_done(struct experiment_bench *b);

/* Profiles the card as cofris-profile would, and derives what may be planned without masks up to
 * max_batch, by service times alone (nothing queues). Results for free(); 0 or a negative errno
 * after a message. */
int experiment_bench_profile(const struct experiment_bench *b, uint64_t slo_ns, uint32_t max_batch,
			     uint64_t seed, struct response_table **ret_table,
			     struct response_menu **ret_menu);

struct experiment_run {
	const char *policy;
	/* Of experiment_bench_profile(), for policies that plan; NULL: the objective is all that
	 * the policy is told. */
	const struct response_table *table;
	const struct response_menu *menu;
	uint64_t poll_ns, slo_ns;
	uint64_t cap_uw; /* the operator's, which the card itself does not enforce; 0: none */
	uint32_t max_batch;
	/* What simulation_options hold under the same names. */
	const uint64_t *arrival_ns;
	uint32_t n_arrivals;
	uint64_t duration_ns, warm_up_ns;
	bool saturated, trace_ticks;
	uint64_t seed;
};
/* 0 or a negative errno after a message. */
int experiment_bench_run(const struct experiment_bench *b, const struct experiment_run *run,
			 struct simulation_result *ret);
/* Time with a request at the top clock, ns. */
double experiment_bench_top_ns(const struct experiment_bench *b, uint32_t batch);
