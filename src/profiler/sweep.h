/* SPDX-License-Identifier: Apache-2.0 */
/* A sweep from the claimed card to the whole surface. Functions give 0 or a negative errno after
 * logging why. */
#pragma once

#include "base/progress.h"
#include "profiler/measure.h"
#include "profiler/options.h"
#include "profiler/output.h"

struct sweep {
	const struct profile_options *options;
	struct lab lab;
	struct output output;
	struct progress progress;
	struct surface *surface;
	struct grid_cell *grid;
	uint32_t n_grid;
	uint32_t n_runs, n_struck; /* of the verification */
	double seconds;
};

/* Measures everything but the verification; the surface is valid then. */
int sweep_measure(struct sweep *s);
/* Runs the chosen cells under load, strikes those that fail and chooses again. */
int sweep_verify(struct sweep *s);
void sweep_deinit(struct sweep *s);

/* Closed-loop requests that keep the worker's slots busy at every batch size. */
uint32_t sweep_in_flight(const struct sweep *s);
