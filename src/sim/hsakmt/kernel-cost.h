/* SPDX-License-Identifier: Apache-2.0 */
/* What a dispatched kernel is and costs, from the code object in the card's memory: the loader puts
 * the whole ELF image there, so its symbols and notes lie before the kernel descriptor.
 *
 * FLOP and bytes of a workgroup come from, in this order:
 *   1. a note of the code object, owner "cofris", type 1: lines "KERNEL flop=VALUE bytes=VALUE",
 *      VALUE a decimal number, or @N: the u64 at byte N of the kernel's arguments
 *   2. models/kernels.ini beside the device's profile: [kernel NAME-or-glob] with
 *      flop_per_workgroup and bytes_per_workgroup; the first that fits
 *   3. KERNEL_DEFAULT_FLOP and KERNEL_DEFAULT_BYTES for each work item */
#pragma once

#include "base/ini-file.h"
#include "base/macros.h"
#include <stdbool.h>
#include <stdint.h>

#define KERNEL_NAME_MAX	     128
#define KERNEL_DEFAULT_FLOP  64
#define KERNEL_DEFAULT_BYTES 16

/* Of a workgroup: a number, or where in the arguments it stands. */
struct kernel_value {
	bool is_argument;
	double number;
	uint32_t offset;
};

struct kernel_info {
	char name[KERNEL_NAME_MAX]; /* "": unknown */
	bool has_cost;		    /* else the default holds */
	struct kernel_value flop, bytes;
	/* of the kernel descriptor */
	uint32_t lds_bytes, argument_bytes, waves_per_simd;
};

struct kernel_costs;
/* path: of the table, which may be missing. */
int kernel_costs_new(const char *path, const char *gfx, struct kernel_costs **ret,
		     struct ini_error *ret_error);
struct kernel_costs *kernel_costs_free(struct kernel_costs *c);
/* -EFAULT if there is no memory of the card at the kernel object. *ret is valid until the next
 * call. */
int kernel_costs_find(struct kernel_costs *c, uint64_t kernel_object,
		      const struct kernel_info **ret);
