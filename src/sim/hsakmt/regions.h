/* SPDX-License-Identifier: Apache-2.0 */
/* The ranges of memory that cards may reach, sorted by address. Not locked: memory.c does that. */
#pragma once

#include "sim/hsakmt/hsakmt.h"

struct region {
	void *start;
	uint64_t size;
	HSA_POINTER_TYPE type;
	uint32_t node;
	HsaMemFlags flags;
	uint64_t arena_offset; /* of allocated memory but scratch */
	bool in_arena;
	bool exported;				  /* another process may hold it, too */
	uint32_t references;			  /* of registered memory */
	uint32_t n_mapped, mapped[SIM_MAX_CARDS]; /* nodes */
	void *user_data;
};

struct regions {
	struct region **by_start;
	uint32_t n, room;
	bool disjoint; /* set by the owner: no two overlap, so that a search need not go back */
};

/* Takes the region over on success. 0 or -ENOMEM. */
int regions_add(struct regions *r, struct region *region);
/* Takes it out and gives it back. */
struct region *regions_remove(struct regions *r, struct region *region);
/* The region that holds the address; where regions overlap, the one that begins last. NULL: none.
 */
struct region *regions_find(const struct regions *r, const void *address);
/* The region that begins exactly there, or NULL. */
struct region *regions_find_start(const struct regions *r, const void *start);
/* Up to where memory is covered from address on; address itself if it is not. */
uintptr_t regions_covered_until(const struct regions *r, uintptr_t address);
void regions_clear(struct regions *r);
