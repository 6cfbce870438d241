/* SPDX-License-Identifier: Apache-2.0 */
/* The hip engine over a given table of calls, for tests; engine_hip.open() loads the library. */
#pragma once

#include "worker/engine.h"
#include "worker/hip-api.h"

/* Compile the kernels at start even where the bundle has code for the card. */
#define ENGINE_HIP_COMPILE_ENV "COFRIS_HIP_COMPILE"

/* Takes over what api holds, also on errors. */
int engine_hip_new(const struct hip_api *api, const struct engine_options *o, struct engine **ret);
