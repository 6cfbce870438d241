/* SPDX-License-Identifier: Apache-2.0 */
/* The copy and fill kernels of HIP and ROCr, which are done by the host: what each of them moves,
 * from its name or first instructions and its arguments. */
#pragma once

#include "sim/hsakmt/copy.h"
#include <stdint.h>

/* Whether a kernel moves bytes. name: "" for one without a symbol, which may be a shader of ROCr's
 * own. grid: work items in x, y, z. arguments: none may be read before they are checked.
 * 1 and *ret filled, 0 if it is none of these, -EFAULT with *ret_address for arguments that the
 * card cannot reach. */
int blit_decode(const char *name, uint64_t kernel_object, uint64_t arguments,
		const uint32_t grid[3], struct copy *ret, uint64_t *ret_address);
