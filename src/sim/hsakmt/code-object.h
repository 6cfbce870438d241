/* SPDX-License-Identifier: Apache-2.0 */
/* Finds a kernel's name and the notes of its code object in the card's memory, where a hostile
 * program may have put anything: every read is bounded by the allocation. */
#pragma once

#include <stdint.h>

struct code_object {
	const char *image; /* in the card's memory */
	uint64_t size;
};

/* The code object that holds the kernel descriptor at address. 0, -EFAULT if nothing of the card is
 * there, -ENOENT if no ELF image is before it. */
int code_object_find(uint64_t address, struct code_object *ret);
/* The name of the kernel (without ".kd") whose descriptor is at address; points into the image and
 * has *ret_length bytes. -ENOENT if no symbol is there. */
int code_object_kernel(const struct code_object *o, uint64_t address, const char **ret_name,
		       uint64_t *ret_length);
/* The note of this owner and type. -ENOENT if there is none. */
int code_object_note(const struct code_object *o, const char *owner, uint32_t type,
		     const char **ret_text, uint64_t *ret_length);
