/* SPDX-License-Identifier: Apache-2.0 */
/* What memory.c and memory-map.c share. */
#pragma once

#include "sim/hsakmt/regions.h"
#include "sim/hsakmt/thunk.h"
#include <pthread.h>

struct memory_tables {
	pthread_mutex_t lock;	   /* taken under a device's lock, never around it */
	struct regions allocated;  /* and imported */
	struct regions registered; /* of the program's own memory; may overlap */
};
extern struct memory_tables memory_tables;

/* Both without the lock, of what is in no table any more. At return no card touches it; a copy that
 * is still under way there is a page fault. */
void memory_withdraw(const void *address, uint64_t size);
/* ... and it is unmapped and the region freed. */
void memory_unmap(struct region *region);
