/* SPDX-License-Identifier: Apache-2.0 */
/* What others have published, repeated on the plant: each with ours beside the published figure. */
#pragma once

#include "base/macros.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define EXPERIMENT_SCHEMA 1

struct experiment_options {
	const char *trace;    /* a file, for those that serve one; NULL: profiles/loads/jobs.csv */
	uint32_t smoothing_k; /* of it; 0: its format's own */
	uint64_t seed;
	uint32_t threads; /* 0: one for each core */
};

struct experiment {
	const char *name;
	/* 0 or a negative errno after a message. The same options give the same object, whatever
	 * the number of threads. */
	int (*run)(const struct experiment_options *o, json_t **ret);
	int (*text)(const json_t *object, FILE *f);
};

/* A published figure or statement, and what came out here. What is missed is declared as missed,
 * and a test fails once it is met: then something else has changed. */
struct experiment_claim {
	const char *id, *statement;
	const char *subject; /* policy or stream */
	double published;    /* NaN: no figure, "least" and "most" say what was seen */
	double least, most;  /* met inside, both included; infinite: no bound */
	bool missed;	     /* declared */
	double ours;	     /* NaN: not to be had, and so not met */
};
/* 0 or -ENOMEM. */
int experiment_claim_add(json_t *claims, const struct experiment_claim *c);
/* As a table, and how many of those that were not declared missed are met. */
int experiment_claims_text(const json_t *claims, FILE *f);

/* NULL for an unknown name. */
const struct experiment *experiment_find(const char *name);
/* Names by index; NULL beyond the last. */
const char *experiment_name(unsigned int i);

extern const struct experiment experiment_cofris, experiment_batchsizer, experiment_adapter,
	experiment_disturbances;
