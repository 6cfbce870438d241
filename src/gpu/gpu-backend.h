/* SPDX-License-Identifier: Apache-2.0 */
/* What a backend's object is, for backends (and for the fakes of tests) alone. */
#pragma once

#include "gpu/gpu.h"

struct gpu_backend {
	const struct gpu_ops *ops;
};
