/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files that simulate batches. */
#pragma once

#include "response/tail.h"

struct batching {
	struct tail_lab *lab;
	const struct tail_sizes *sizes;
	uint32_t requests, warm_up, end; /* requests: in each replication */
	double wait_ns;
	const double *arrival_ns;
	uint32_t gap; /* between the sojourns of a run's parts */
	/* [size][replication], or all of a size the same. */
	float resampled[TAIL_MAX_SIZES][TAIL_REPLICATIONS][SURFACE_QUANTILES];
	bool is_resampled;
	uint32_t executions[TAIL_MAX_SIZES]; /* since the warm-up */
};

/* Serves them all; executions are those of this run, and sojourns stand in the lab. */
void batching_serve(struct batching *b);
/* Those of a replication. */
const float *batching_sojourns(const struct batching *b, uint32_t replication);
