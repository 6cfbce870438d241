/* SPDX-License-Identifier: Apache-2.0 */
/* Which shard a thread writes to, and when no thread writes to an old area any more. */
#include "libcofris/internal.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

struct thread_slot thread_slots[CHANNEL_THREAD_SHARDS];
_Atomic uint32_t thread_phase;
_Atomic uint32_t thread_sharers[2];
_Thread_local uint32_t thread_slot_plus_1 INITIAL_EXEC;

static pthread_key_t exit_key;
static _Atomic uint64_t slots_used;
static _Atomic uint32_t slots_high;
/* Phases are of the whole process, so one at a time. */
static struct grace *_Atomic grace_owner;

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

	for (size_t i = 0; i < CHANNEL_THREAD_SHARDS; i++)
		atomic_store_explicit(&thread_slots[i].passes, 0, memory_order_relaxed);
	atomic_store_explicit(&thread_sharers[0], 0, memory_order_relaxed);
	atomic_store_explicit(&thread_sharers[1], 0, memory_order_relaxed);
	atomic_store_explicit(&grace_owner, NULL, memory_order_relaxed);
	atomic_store_explicit(&slots_used,
			      own >= 1 && own <= CHANNEL_THREAD_SHARDS ? UINT64_C(1) << (own - 1)
								       : 0,
			      memory_order_relaxed);
}

int threads_init(void)
{
	/* Where the call is missing or forbidden, the beat before the first look stands in for it:
	 * by then every store of the time of the change has long left its processor. */
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
	return -pthread_key_create(&exit_key, release_slot);
}

/* Acquire pairs with leave() (request.c): what the thread wrote came before. */
static uint64_t passes_of(size_t slot)
{
	return atomic_load_explicit(&thread_slots[slot].passes, memory_order_acquire);
}

/* After the barrier, which is in all running threads, a thread whose count is even has left, or
 * will load the new pointer; so has one whose count has changed since. */
static void watch_threads(struct grace *g)
{
	(void)syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
	g->left = 0;
	for (size_t i = 0; i < CHANNEL_THREAD_SHARDS; i++) {
		g->passes[i] = passes_of(i);
		if (g->passes[i] & 1)
			g->left |= UINT64_C(1) << i;
	}
}

static bool threads_have_left(struct grace *g)
{
	for (uint64_t left = g->left; left != 0; left &= left - 1) {
		size_t i = (size_t)__builtin_ctzll(left);

		if (passes_of(i) != g->passes[i])
			g->left &= ~(UINT64_C(1) << i);
	}
	return g->left == 0;
}

/* Those that share a shard are counted by phase, as some of many are always inside: after a change
 * of phase the old one's count can only fall. A straggler is one that read the phase long ago and
 * entered since; had it been there before, it might be in an area retired now, so the phase that
 * is to come must be empty before it begins. One that enters it after that look sees the new
 * pointer. */
bool grace_is_over(struct grace *g)
{
	uint32_t phase = atomic_load(&thread_phase);
	struct grace *none = NULL;

	if (g->stage == GRACE_QUEUED) {
		if (!atomic_compare_exchange_strong(&grace_owner, &none, g))
			return false;
		watch_threads(g);
		g->stage = GRACE_THREADS;
	}
	if (g->stage == GRACE_THREADS) {
		if (!threads_have_left(g))
			return false;
		g->stage = GRACE_STRAGGLERS;
	}
	if (g->stage == GRACE_STRAGGLERS) {
		if (atomic_load(&thread_sharers[!phase]) != 0)
			return false;
		phase = !phase;
		atomic_store(&thread_phase, phase);
		g->stage = GRACE_SHARERS;
	}
	if (atomic_load(&thread_sharers[!phase]) != 0)
		return false;
	grace_cancel(g);
	return true;
}

void grace_cancel(struct grace *g)
{
	struct grace *owner = g;

	(void)atomic_compare_exchange_strong(&grace_owner, &owner, NULL);
	g->stage = GRACE_QUEUED;
}
