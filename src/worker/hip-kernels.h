/* SPDX-License-Identifier: Apache-2.0 */
/* The device code of kernels/layer.hip, loaded on the current device. */
#pragma once

#include "worker/hip-api.h"
#include <stdbool.h>

struct hip_kernels {
	char *code; /* compiled at start: the module refers to it */
	void *module;
	void *layer, *init, *empty; /* functions */
};

/* From the bundle that was built with the worker; for a card that it has no code for, or if compile
 * is set, compiled from the same source. 0 or a negative errno, said why. */
int hip_kernels_load(const struct hip_api *api, bool compile, struct hip_kernels *ret);
void hip_kernels_unload(const struct hip_api *api, struct hip_kernels *k);

/* What is embedded, for tests. */
extern const char hip_kernels_bundle[], hip_kernels_bundle_end[];
extern const char hip_kernels_source[], hip_kernels_args_header[];
