/* SPDX-License-Identifier: Apache-2.0 */
/* Which shard a thread writes to. */
#include "libcofris/internal.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

struct thread_slot thread_slots[CHANNEL_SHARDS];
_Thread_local uint32_t thread_slot_plus_1 INITIAL_EXEC;

static pthread_key_t exit_key;
static _Atomic uint64_t slots_used;
static _Atomic uint32_t slots_high;

/* Destructors that run after this one may still call us: they share. */
static void release_slot(void *value)
{
	uint32_t slot = thread_slot_plus_1 - 1;

	(void)value;
	thread_slot_plus_1 = CHANNEL_SHARED_SHARD + 1;
	/* Release: the next owner goes on from this thread's counts (thread_claim_slot()). */
	atomic_fetch_and_explicit(&slots_used, ~(UINT64_C(1) << slot), memory_order_release);
}

static uint32_t take_free_slot(void)
{
	uint64_t used = atomic_load_explicit(&slots_used, memory_order_relaxed);

	while (~used != 0) {
		uint32_t slot = (uint32_t)__builtin_ctzll(~used);

		/* Acquire: see release_slot(). */
		if (atomic_compare_exchange_weak_explicit(&slots_used, &used,
							  used | UINT64_C(1) << slot,
							  memory_order_acquire,
							  memory_order_relaxed))
			return slot;
	}
	return CHANNEL_SHARED_SHARD;
}

uint32_t thread_claim_slot(void)
{
	uint32_t slot = take_free_slot();
	uint32_t high = atomic_load_explicit(&slots_high, memory_order_relaxed);

	/* Without room for the destructor the slot could never be given back. */
	if (slot != CHANNEL_SHARED_SHARD && pthread_setspecific(exit_key, &exit_key) != 0) {
		atomic_fetch_and_explicit(&slots_used, ~(UINT64_C(1) << slot),
					  memory_order_release);
		slot = CHANNEL_SHARED_SHARD;
	}
	while (high <= slot &&
	       !atomic_compare_exchange_weak_explicit(&slots_high, &high, slot + 1,
						      memory_order_relaxed, memory_order_relaxed))
		;
	thread_slot_plus_1 = slot + 1;
	return slot;
}

uint32_t thread_slots_high(void)
{
	return atomic_load_explicit(&slots_high, memory_order_relaxed);
}

void threads_forked(void)
{
	uint32_t own = thread_slot_plus_1;

	for (size_t i = 0; i < CHANNEL_SHARDS; i++)
		atomic_store_explicit(&thread_slots[i].inside, 0, memory_order_relaxed);
	atomic_store_explicit(&slots_used,
			      own >= 1 && own <= CHANNEL_THREAD_SHARDS ? UINT64_C(1) << (own - 1)
								       : 0,
			      memory_order_relaxed);
}

int threads_init(void)
{
	/* Where the call is missing or forbidden, area_retire()'s wait stands in for it. */
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	return -pthread_key_create(&exit_key, release_slot);
}

void threads_barrier(void)
{
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
}
