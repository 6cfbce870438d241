/* SPDX-License-Identifier: Apache-2.0 */
/* Pools of pre-masked HIP streams.
 *
 * A lane is one stream at a time: its unmasked one, or one of the few with a mask that it keeps.
 * Each slot has a lane of its own as long as there are lanes. The thread that applies a directive
 * owns everything but two words: lane.current, which it writes and the slots read, and slot.held,
 * which the slot writes and it reads.
 *
 * A slot announces in held which stream it is about to use and then looks whether current is still
 * that one; the applying thread changes current and then looks at held (both sequentially
 * consistent). So either the slot sees the change and takes the new stream, or the applying thread
 * sees that the old one is held. */
#include "libcofris/hip-internal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE		 128
#define MAX_SLOTS	 1024
#define WAIT_FOR_SLOT_NS UINT64_C(500000000)
#define HIP_NOT_READY	 600 /* hipErrorNotReady: work on the stream has not ended */
#define MASK_BITS_MAX	 (COFRIS_CU_MASK_WORDS * 32)

struct mask {
	uint32_t words; /* 0: all CUs */
	uint32_t bits[COFRIS_CU_MASK_WORDS];
};

struct entry {
	void *stream; /* NULL: free */
	struct mask mask;
	uint64_t used; /* pool.applied when it was last in force */
};

struct lane {
	alignas(LINE) void *_Atomic current;
	void *unmasked;
	void *next; /* what the directive being applied puts in force */
	uint32_t n_slots;
	struct entry entries[COFRIS_HIP_MAX_STREAMS];
};

struct slot {
	alignas(LINE) void *_Atomic held;
	struct lane *lane;
};

/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct cofris_hip {
	struct cofris_hip_functions hip;
	void *library; /* that the functions are from; NULL: the caller's */
	int device;
	uint32_t n_slots, n_lanes, per_lane;
	pthread_mutex_t lock; /* one directive at a time */
	uint64_t applied;     /* directives so far */
	struct lane lanes[COFRIS_HIP_MAX_STREAMS];
	struct slot slots[];
};

/* --- the request path ----------------------------------------------------------------------- */

void *cofris_hip_stream(struct cofris_hip *pool, uint32_t slot)
{
	struct slot *s = &pool->slots[slot];
	void *stream = atomic_load_explicit(&s->lane->current, memory_order_relaxed);

	for (;;) {
		void *current;

		atomic_store(&s->held, stream);
		current = atomic_load(&s->lane->current);
		if (current == stream)
			return stream;
		stream = current;
	}
}

void cofris_hip_done(struct cofris_hip *pool, uint32_t slot)
{
	/* Release: what the slot submitted came before. */
	atomic_store_explicit(&pool->slots[slot].held, NULL, memory_order_release);
}

/* --- making room ---------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * UINT64_C(1000000000) + (uint64_t)ts.tv_nsec;
}

static bool is_held(struct cofris_hip *pool, const struct lane *lane, void *stream)
{
	for (uint32_t i = (uint32_t)(lane - pool->lanes); i < pool->n_slots; i += pool->n_lanes)
		if (atomic_load(&pool->slots[i].held) == stream)
			return true;
	return false;
}

/* No slot can be submitting to it, or come to, and all that was submitted has ended. */
static bool is_free(struct cofris_hip *pool, struct lane *lane, const struct entry *e)
{
	return atomic_load(&lane->current) != e->stream && !is_held(pool, lane, e->stream) &&
	       pool->hip.stream_query(e->stream) == 0;
}

static struct entry *least_recent_free(struct cofris_hip *pool, struct lane *lane)
{
	struct entry *found = NULL;

	for (uint32_t i = 0; i < pool->per_lane; i++) {
		struct entry *e = &lane->entries[i];

		if ((!found || e->used < found->used) && is_free(pool, lane, e))
			found = e;
	}
	return found;
}

/* While the slots have no other stream than those that must go, they run unmasked: more CUs than
 * directed for a moment, never fewer. */
static int make_room(struct cofris_hip *pool, struct lane *lane, uint64_t deadline_ns,
		     struct entry **ret)
{
	struct entry *e;

	for (uint32_t i = 0; i < pool->per_lane; i++)
		if (!lane->entries[i].stream) {
			*ret = &lane->entries[i];
			return 0;
		}
	e = least_recent_free(pool, lane);
	if (!e)
		atomic_store(&lane->current, lane->unmasked);
	while (!e) {
		e = least_recent_free(pool, lane);
		if (e)
			break;
		if (now_ns() >= deadline_ns)
			return -EBUSY;
		(void)poll(NULL, 0, 1);
	}
	if (pool->hip.stream_destroy(e->stream) != 0)
		return -EIO;
	*e = (struct entry){0};
	*ret = e;
	return 0;
}

/* --- applying ------------------------------------------------------------------------------- */

/* Bits beyond those of the directive say nothing. No CU at all would hang every queue. */
static int take_mask(const struct cofris_directive *d, struct mask *ret)
{
	struct mask m = {.words = (d->cu_mask_bits + 31) / 32};
	uint32_t any = 0;

	if (d->cu_mask_bits > MASK_BITS_MAX)
		return -EINVAL;
	for (uint32_t i = 0; i < m.words; i++) {
		uint32_t bits = d->cu_mask_bits - 32 * i;

		m.bits[i] = d->cu_mask[i];
		if (bits < 32)
			m.bits[i] &= (UINT32_C(1) << bits) - 1;
		any |= m.bits[i];
	}
	if (m.words > 0 && any == 0)
		return -EINVAL;
	*ret = m;
	return 0;
}

static struct entry *find(struct cofris_hip *pool, struct lane *lane, const struct mask *mask)
{
	for (uint32_t i = 0; i < pool->per_lane; i++) {
		struct entry *e = &lane->entries[i];

		if (e->stream && memcmp(&e->mask, mask, sizeof(*mask)) == 0)
			return e;
	}
	return NULL;
}

static int prepare(struct cofris_hip *pool, struct lane *lane, const struct mask *mask,
		   uint64_t deadline_ns)
{
	struct entry *e = find(pool, lane, mask);
	void *stream;
	int r;

	if (!e) {
		r = make_room(pool, lane, deadline_ns, &e);
		if (r < 0)
			return r;
		if (pool->hip.stream_create_masked(&stream, mask->words, mask->bits) != 0)
			return -EIO;
		*e = (struct entry){.stream = stream, .mask = *mask};
	}
	e->used = pool->applied;
	lane->next = e->stream;
	return 0;
}

/* All lanes get their stream before any slot does, so that a failure leaves no mixture of masks. */
static int prepare_all(struct cofris_hip *pool, const struct mask *mask)
{
	uint64_t deadline_ns = now_ns() + WAIT_FOR_SLOT_NS;
	int r;

	if (mask->words > 0 && pool->hip.set_device(pool->device) != 0)
		return -EIO;
	for (uint32_t i = 0; i < pool->n_lanes; i++) {
		struct lane *lane = &pool->lanes[i];

		lane->next = lane->unmasked;
		if (mask->words == 0)
			continue;
		r = prepare(pool, lane, mask, deadline_ns);
		if (r < 0)
			return r;
	}
	return 0;
}

static int apply(struct cofris_hip *pool, const struct mask *mask)
{
	void *before[COFRIS_HIP_MAX_STREAMS];
	int changed = 0;
	int r;

	for (uint32_t i = 0; i < pool->n_lanes; i++)
		before[i] = atomic_load(&pool->lanes[i].current);
	pool->applied++;
	r = prepare_all(pool, mask);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < pool->n_lanes; i++) {
		struct lane *lane = &pool->lanes[i];

		if (lane->next != before[i])
			changed += (int)lane->n_slots;
		atomic_store(&lane->current, lane->next);
	}
	return changed;
}

int cofris_hip_apply(void *userdata, const struct cofris_directive *directive)
{
	struct cofris_hip *pool = userdata;
	struct mask mask;
	int r;

	r = take_mask(directive, &mask);
	if (r < 0)
		return r;
	(void)pthread_mutex_lock(&pool->lock);
	r = apply(pool, &mask);
	(void)pthread_mutex_unlock(&pool->lock);
	return r;
}

/* --- opening and closing -------------------------------------------------------------------- */

static void destroy(struct cofris_hip *pool, void *stream)
{
	if (!stream)
		return;
	while (pool->hip.stream_query(stream) == HIP_NOT_READY)
		(void)poll(NULL, 0, 1);
	(void)pool->hip.stream_destroy(stream);
}

struct cofris_hip *cofris_hip_close(struct cofris_hip *pool)
{
	if (!pool)
		return NULL;
	for (uint32_t i = 0; i < pool->n_lanes; i++) {
		for (uint32_t j = 0; j < pool->per_lane; j++)
			destroy(pool, pool->lanes[i].entries[j].stream);
		destroy(pool, pool->lanes[i].unmasked);
	}
	hip_functions_release(pool->library);
	(void)pthread_mutex_destroy(&pool->lock);
	free(pool);
	return NULL;
}

static struct cofris_hip *pool_new(const struct cofris_hip_options *o, uint32_t n_slots)
{
	size_t size = sizeof(struct cofris_hip) + n_slots * sizeof(struct slot);
	struct cofris_hip *pool = aligned_alloc(alignof(struct cofris_hip), size);

	if (!pool)
		return NULL;
	memset(pool, 0, size);
	pool->device = o->device;
	pool->n_slots = n_slots;
	pool->n_lanes = n_slots < COFRIS_HIP_MAX_STREAMS ? n_slots : COFRIS_HIP_MAX_STREAMS;
	pool->per_lane = COFRIS_HIP_MAX_STREAMS / pool->n_lanes;
	(void)pthread_mutex_init(&pool->lock, NULL);
	for (uint32_t i = 0; i < n_slots; i++) {
		pool->slots[i].lane = &pool->lanes[i % pool->n_lanes];
		pool->slots[i].lane->n_slots++;
	}
	return pool;
}

static int make_unmasked(struct cofris_hip *pool)
{
	int before, r = 0;

	if (pool->hip.get_device(&before) != 0 || pool->hip.set_device(pool->device) != 0)
		return -EIO;
	for (uint32_t i = 0; r == 0 && i < pool->n_lanes; i++) {
		struct lane *lane = &pool->lanes[i];

		if (pool->hip.stream_create(&lane->unmasked, 0) != 0) {
			lane->unmasked = NULL;
			r = -EIO;
		}
		atomic_store(&lane->current, lane->unmasked);
	}
	if (pool->hip.set_device(before) != 0)
		r = -EIO;
	return r;
}

int cofris_hip_open(const struct cofris_hip_options *options, struct cofris_hip **ret)
{
	struct cofris_hip *pool;
	uint32_t n_slots;
	int r = 0;

	/* A newer program's options may be longer; the fields known here come first. */
	if (!options || options->size < sizeof(*options) || options->slots > MAX_SLOTS)
		return -EINVAL;
	n_slots = options->slots > 0 ? options->slots : 1;
	pool = pool_new(options, n_slots);
	if (!pool)
		return -ENOMEM;
	if (options->functions)
		pool->hip = *options->functions;
	else
		r = hip_functions_find(&pool->hip, &pool->library);
	if (r == 0)
		r = make_unmasked(pool);
	if (r < 0) {
		(void)cofris_hip_close(pool);
		return r;
	}
	*ret = pool;
	return 0;
}
