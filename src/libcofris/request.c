/* SPDX-License-Identifier: Apache-2.0 */
/* begin, start and end: what runs on the worker's threads for every request.
 *
 * The cost is the clock and a few plain loads and stores, all but a few of them to lines that only
 * this thread writes. Nothing here locks, allocates or sleeps, but for a thread's first call
 * (thread_claim_slot()) and a forked child's first begin (fork_revive()). */
#include "libcofris/internal.h"

#include <errno.h>
#include <unistd.h>

struct section {
	struct area *area;
	uint32_t slot;
	uint32_t phase; /* for the threads that share a shard */
};

static inline void pass(uint32_t slot, memory_order order)
{
	_Atomic uint64_t *passes = &thread_slots[slot].passes;

	atomic_store_explicit(passes, atomic_load_explicit(passes, memory_order_relaxed) + 1,
			      order);
}

static inline struct section enter(struct cofris_channel *c)
{
	struct section s = {.slot = thread_slot_plus_1 - 1};

	if (unlikely(s.slot == UINT32_MAX))
		s.slot = thread_claim_slot();
	if (likely(s.slot != CHANNEL_SHARED_SHARD)) {
		pass(s.slot, memory_order_relaxed);
	} else {
		s.phase = atomic_load(&thread_phase);
		atomic_fetch_add(&thread_sharers[s.phase], 1);
	}
	/* Keeps the compiler from loading the area first; the processor is kept from it by the
	 * barrier in watch_threads() (thread.c), so that none is needed here. */
	atomic_signal_fence(memory_order_seq_cst);
	/* Acquire pairs with the release in publish() (background.c). */
	s.area = atomic_load_explicit(&c->area, memory_order_acquire);
	return s;
}

/* Release pairs with passes_of() (thread.c). */
static inline void leave(struct section s)
{
	if (likely(s.slot != CHANNEL_SHARED_SHARD))
		pass(s.slot, memory_order_release);
	else
		atomic_fetch_sub(&thread_sharers[s.phase], 1);
}

/* A shard has one writer, so load and store will do; the shared one has many. */
static inline void add(struct section s, _Atomic uint64_t *counter, uint64_t n)
{
	if (likely(s.slot != CHANNEL_SHARED_SHARD))
		atomic_store_explicit(counter,
				      atomic_load_explicit(counter, memory_order_relaxed) + n,
				      memory_order_relaxed);
	else
		atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* For starts and ends: pair (A) of channel-layout.h. */
static inline void add_release(struct section s, _Atomic uint64_t *counter, uint64_t n)
{
	if (likely(s.slot != CHANNEL_SHARED_SHARD))
		atomic_store_explicit(counter,
				      atomic_load_explicit(counter, memory_order_relaxed) + n,
				      memory_order_release);
	else
		atomic_fetch_add_explicit(counter, n, memory_order_release);
}

static inline struct channel_counters *counters_of(struct section s, const struct cofris_request *r)
{
	uint32_t class = r->demand_class & ((1U << REQUEST_CLASS_BITS) - 1);

	return &s.area->memory->shards[s.slot].classes[class];
}

static inline void record(struct section s, enum channel_series series, uint32_t bank,
			  uint64_t value_ns, uint32_t weight)
{
	struct channel_shard_histograms *h = &s.area->memory->histograms[s.slot];

	add(s, &h->buckets[series][bank][channel_histogram_bucket(value_ns)], weight);
}

static inline void set_generation(struct cofris_request *r, uint32_t generation)
{
	uint32_t high = generation >> (8 - REQUEST_CLASS_BITS);

	r->demand_class = (uint8_t)(generation << REQUEST_CLASS_BITS);
	r->flags = (uint8_t)(high << REQUEST_FLAG_BITS);
}

static inline uint32_t generation_of(const struct cofris_request *r)
{
	uint32_t low = r->demand_class >> REQUEST_CLASS_BITS;
	uint32_t high = r->flags >> REQUEST_FLAG_BITS;

	return high << (8 - REQUEST_CLASS_BITS) | low;
}

static inline bool began_here(struct section s, const struct cofris_request *r)
{
	return s.area && generation_of(r) == s.area->generation;
}

static inline uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* Whether a server is free, so that an arrival is served at once. In the opposite order of their
 * counting, ends before arrivals, so that too many are seen in flight rather than too few. Costs a
 * cache miss for each thread that has counted since, which is why only workers that do not report
 * starts pay for it. */
static bool server_is_free(const struct cofris_channel *c, const struct area *a)
{
	uint32_t n = thread_slots_high();
	uint64_t ended = 0, arrived = 0;

	for (uint32_t i = 0; i < n; i++) {
		const struct channel_counters *k = &a->memory->shards[i].classes[0];

		ended += atomic_load_explicit(&k->completions, memory_order_acquire) +
			 atomic_load_explicit(&k->failures, memory_order_acquire);
	}
	for (uint32_t i = 0; i < n; i++)
		arrived += atomic_load_explicit(&a->memory->shards[i].classes[0].arrivals,
						memory_order_relaxed);
	return arrived - ended < c->slots;
}

struct cofris_request cofris_begin_at(struct cofris_channel *c, uint32_t weight,
				      uint64_t arrival_ns)
{
	struct cofris_request r = {.arrival_ns = arrival_ns};
	struct section s = enter(c);

	r.weight = (uint16_t)(weight == 0		    ? 1
			      : weight > CHANNEL_MAX_WEIGHT ? CHANNEL_MAX_WEIGHT
							    : weight);
	if (unlikely(!s.area))
		s.area = fork_revive(c);
	if (likely(s.area)) {
		set_generation(&r, s.area->generation);
		if (!(c->reports & CHANNEL_REPORTS_STARTS) && server_is_free(c, s.area)) {
			r.flags |= REQUEST_ALONE;
			if (atomic_load_explicit(&c->bank, memory_order_relaxed))
				r.flags |= REQUEST_BANK;
		}
		add(s, &counters_of(s, &r)->arrivals, r.weight);
	}
	leave(s);
	return r;
}

struct cofris_request cofris_begin(struct cofris_channel *c, uint32_t weight)
{
	return cofris_begin_at(c, weight, now_ns());
}

/* Pair (D) of channel-layout.h. The process as a whole asks at most once per 2 ms, whatever the
 * number of its channels and threads. */
static void ask_for_boost(const struct area *a, uint64_t at_ns)
{
	static _Atomic uint64_t last_ns;
	uint64_t last = atomic_load_explicit(&last_ns, memory_order_relaxed);
	const uint64_t one = 1;
	int saved_errno = errno;

	if (a->wake_fd < 0 || (last != 0 && minus(at_ns, last) < CHANNEL_WAKE_INTERVAL_NS) ||
	    atomic_load_explicit(&a->memory->worker.wake_armed, memory_order_relaxed) == 0)
		return;
	if (!atomic_compare_exchange_strong_explicit(&last_ns, &last, at_ns, memory_order_relaxed,
						     memory_order_relaxed))
		return;
	if (atomic_exchange_explicit(&a->memory->worker.wake_armed, 0, memory_order_acquire) == 0)
		return;
	/* The daemon made it non-blocking; if it is full, the daemon is being woken already. */
	(void)!write(a->wake_fd, &one, sizeof(one));
	errno = saved_errno;
}

void cofris_start_at(struct cofris_channel *c, struct cofris_request *requests, uint32_t n,
		     uint64_t start_ns)
{
	struct section s = enter(c);
	uint32_t bank = atomic_load_explicit(&c->bank, memory_order_relaxed);
	uint64_t weight = 0, longest_ns = 0;

	for (uint32_t i = 0; i < n; i++) {
		struct cofris_request *r = &requests[i];
		uint64_t wait_ns = minus(start_ns, r->arrival_ns);
		uint64_t delta = wait_ns >> REQUEST_DELTA_SHIFT;

		if (!began_here(s, r) || r->start_delta != 0)
			continue;
		r->start_delta = delta == 0 ? 1 : delta > UINT32_MAX ? UINT32_MAX : (uint32_t)delta;
		r->flags &= (uint8_t)~REQUEST_BANK;
		r->flags |=
			(uint8_t)((bank ? REQUEST_BANK : 0) | (weight == 0 ? REQUEST_LEADER : 0));
		weight += r->weight;
		longest_ns = wait_ns > longest_ns ? wait_ns : longest_ns;
	}
	if (likely(weight > 0)) {
		struct channel_counters *k = &s.area->memory->shards[s.slot].classes[0];

		add_release(s, &k->starts, weight);
		add(s, &k->batches, 1);
		if (unlikely(longest_ns >
			     atomic_load_explicit(&c->boost_wait_ns, memory_order_relaxed)))
			ask_for_boost(s.area, start_ns);
	}
	leave(s);
}

void cofris_start(struct cofris_channel *c, struct cofris_request *requests, uint32_t n)
{
	cofris_start_at(c, requests, n, now_ns());
}

/* Service time is known from start(), or because the request found a server free. Nothing is
 * learnt from a failure, or from a service during which the directive changed. */
static inline void count_service(struct section s, struct channel_counters *k,
				 const struct cofris_request *r, uint64_t sojourn_ns, uint32_t bank,
				 bool ok)
{
	uint64_t waited_ns = (uint64_t)r->start_delta << REQUEST_DELTA_SHIFT;
	uint64_t service_ns = minus(sojourn_ns, waited_ns);

	if (r->start_delta == 0) {
		if (!(r->flags & REQUEST_ALONE))
			return;
		add(s, &k->batches, 1);
	}
	if (r->start_delta == 0 || (r->flags & REQUEST_LEADER))
		add(s, &k->busy_ns, service_ns);
	if (ok && !!(r->flags & REQUEST_BANK) == bank)
		record(s, CHANNEL_SERVICE, bank, service_ns, r->weight);
}

void cofris_end_at(struct cofris_channel *c, const struct cofris_request *r,
		   enum cofris_status status, uint64_t end_ns)
{
	uint64_t sojourn_ns = minus(end_ns, r->arrival_ns);
	bool ok = status == COFRIS_OK;
	struct section s = enter(c);

	if (likely(began_here(s, r))) {
		struct channel_counters *k = counters_of(s, r);
		uint32_t bank = atomic_load_explicit(&c->bank, memory_order_relaxed);
		uint64_t slo_ns = atomic_load_explicit(&c->slo_ns, memory_order_relaxed);

		count_service(s, k, r, sojourn_ns, bank, ok);
		if (likely(ok))
			record(s, CHANNEL_TOTAL, bank, sojourn_ns, r->weight);
		add_release(s, ok ? &k->completions : &k->failures, r->weight);
		if (!ok || (slo_ns != 0 && sojourn_ns > slo_ns))
			add_release(s, &k->late, r->weight);
	}
	leave(s);
}

void cofris_end(struct cofris_channel *c, const struct cofris_request *r, enum cofris_status status)
{
	cofris_end_at(c, r, status, now_ns());
}

void cofris_gauges(struct cofris_channel *c, uint32_t running, uint32_t waiting)
{
	struct section s = enter(c);

	if (likely(s.area)) {
		struct channel_worker_page *w = &s.area->memory->worker;

		atomic_store_explicit(&w->running, running, memory_order_relaxed);
		atomic_store_explicit(&w->waiting, waiting, memory_order_relaxed);
	}
	leave(s);
}
