/* SPDX-License-Identifier: Apache-2.0 */
/* The model that an engine executes. */
#pragma once

#include "plant/plant.h"

/* As many empty kernels as give an execution of some milliseconds, so that the host's part in
 * running them stays small. */
#define ENGINE_IDLE_KERNELS 1000

/* Loads it by name (from the first folder that has it) or by the path of its file. idle_kernels:
 * its name, with empty one-wave kernels in place of its own. Errors are logged. Free with free().
 */
int engine_model_load(const char *model, bool idle_kernels, struct plant_model **ret);
