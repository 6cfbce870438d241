/* SPDX-License-Identifier: Apache-2.0 */
/* One slot of the hip engine: its memory, its plan, and running a batch on a stream. */
#pragma once

#include "worker/hip-kernels.h"
#include "worker/launch-plan.h"
#include <stdatomic.h>

/* What the slots of an engine run. The pointers are borrowed. */
struct hip_load {
	const struct hip_api *api;
	const struct plant_model *model;
	bool idle_kernels;
	struct hip_kernels kernels;
	void *weights;
	uint64_t weights_vectors;
};

/* Kernels on the current device, and the weights, filled on the stream. Errors are logged, here and
 * below; what has been made then goes with hip_load_deinit(). */
int hip_load_init(struct hip_load *l, bool compile);
int hip_load_fill(struct hip_load *l, void *stream);
void hip_load_deinit(struct hip_load *l);

/* A slot's own memory, plan and events. One thread uses it at a time. */
struct hip_slot {
	struct launch_plan *plan;
	void *data[2];
	uint64_t data_vectors;
	void *chunk_events[2], *start_event, *end_event;
	uint64_t n_batches;
};

/* With memory for batches of one, so that the first one costs what the next ones do. */
int hip_slot_open(const struct hip_load *l, struct hip_slot *s, void *stream);
void hip_slot_close(const struct hip_load *l, struct hip_slot *s);
/* Runs a batch and returns at its end; -EINTR soon after *stop has become non-zero, with work left
 * on the stream. *ret_ms is the time by the card's clock, NaN for the batches that it did not take.
 */
int hip_slot_run(const struct hip_load *l, struct hip_slot *s, void *stream, uint32_t batch,
		 double factor, const _Atomic int *stop, double *ret_ms);
