/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes that packets and known kernels move: rows of a box, or a pattern over one. Small ones are
 * moved at once, large ones by a thread, so that the device's other queues go on meanwhile. */
#pragma once

#include "base/macros.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define COPY_OWN_PATTERN 64

struct copy {
	uint64_t src, dst;	/* src of a fill: the pattern */
	uint64_t pattern_bytes; /* 0: a copy */
	bool pattern_is_own;	/* kept here, not in memory of the card */
	uint8_t pattern[COPY_OWN_PATTERN];
	uint64_t row_bytes, rows, slices;
	uint64_t src_pitch, src_slice, dst_pitch, dst_slice;
	/* the mover's */
	struct copy *next;
	_Atomic bool done, cancelled;
};

/* A plain range. */
struct copy copy_linear(uint64_t dst, uint64_t src, uint64_t bytes);
struct copy copy_fill(uint64_t dst, uint64_t pattern, uint64_t pattern_bytes, uint64_t bytes);
/* What is written, and 0 for a box without any byte. UINT64_MAX if it is beyond all bounds. */
uint64_t copy_bytes(const struct copy *c);
/* 0, or -EFAULT with the first address that the card cannot reach. The pattern of a fill, which
 * must be in memory of the card, is kept if it is short: kernels read it at their start, and it may
 * be gone at their end. */
int copy_check(struct copy *c, uint64_t *ret_address);
/* Whether a checked copy reads or writes in [start, start + size), or between two rows there. */
bool copy_reaches(const struct copy *c, uint64_t start, uint64_t size);

struct mover;
/* wake_fd: an eventfd that is written after each copy that was not done at once. */
int mover_new(int wake_fd, struct mover **ret);
/* Ends the thread after the copy that it is at. */
struct mover *mover_free(struct mover *m);
/* Takes over a checked copy; at its return c->done tells whether it was small enough to be done at
 * once. It must stay until done. */
void mover_start(struct mover *m, struct copy *c);
/* Gives a copy up: at return nobody touches it or its memory any more. */
void mover_cancel(struct mover *m, struct copy *c);
