/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch of a model is on a card: launches of cofris_layer (kernels/layer.hip) with their
 * arguments. Pure; the addresses of device memory are only passed on.
 *
 * A model's weights lie in one buffer, each launch's in a place of its own, and are read anew for
 * each batch. Activations go to and fro between two buffers: what a launch reads is what the one
 * before wrote. A kernel's bytes without its weights are half read and half written. */
#pragma once

#include "plant/plant.h"
#include "worker/kernels/layer-args.h"

/* Sizes of device buffers, in vectors of LAYER_VECTOR bytes; never 0. */
uint64_t launch_weights_vectors(const struct plant_model *m);
/* Of each of the two buffers, for batches up to this one. */
uint64_t launch_data_vectors(const struct plant_model *m, uint32_t batch);

struct launch_buffers {
	void *weights, *data[2];
	uint64_t weights_vectors, data_vectors;
};

/* A kernel class's launches: one after the other, alike but for the place of their weights and the
 * direction of their data. */
struct launch {
	uint32_t count, workgroups;
	uint32_t weights_step; /* vectors */
	struct layer_args args;
};

struct launch_plan {
	uint32_t batch; /* 0: not made yet */
	uint32_t n_launches;
	struct launch launches[PLANT_MAX_KERNELS];
};

/* 0, or -ERANGE for a batch with more threads or bytes than a launch can have, or buffers larger
 * than LAYER_MAX_VECTORS; the plan is then of no batch. */
int launch_plan_make(struct launch_plan *p, const struct plant_model *m, uint32_t batch,
		     const struct launch_buffers *b);

/* The arguments of launch i of its count, with factor on FLOP and bytes (the workgroups stay, so
 * that a spread of service times does not jump with the waves). */
void launch_args(const struct launch *l, uint32_t i, double factor, struct layer_args *ret);
