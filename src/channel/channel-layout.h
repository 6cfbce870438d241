/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes that a worker and the daemon share: the messages on the socket and the sealed memfd.
 *
 * The memfd, made and sealed by the daemon (F_SEAL_SHRINK | GROW | SEAL, so that neither side can
 * be hit by SIGBUS), is one struct channel_memory:
 *
 *   page 0   the daemon's: header, its beat, the directive. The worker maps it read-only; the
 *            daemon never reads it back, so a worker that scribbles here harms itself alone.
 *   page 1   the worker's: its beat, what it has applied, gauges, the wake word.
 *   shards   counters, one shard a thread, cumulative since the connection was made.
 *   histograms  of the same threads. Pages are touched only when a bucket in them is used.
 *
 * Everything is a fixed-width little-endian word of this machine; both sides run on one host.
 *
 * Ordering. Each pair is named here and referred to by its letter in the code:
 *
 *   (A) shard.starts, completions, failures, late are stored with release by the worker, after
 *       whatever they follow: a request's arrival has been counted (perhaps by another thread,
 *       which handed the request over) before its start and end, and its end before its lateness.
 *       The daemon loads them with acquire and in the opposite order: late, completions and
 *       failures, starts, arrivals. So each sum it gets is at least as new as the one read before
 *       it and late <= completions + failures <= arrivals, starts <= arrivals hold in every honest
 *       sample; a violation is torn or hostile input.
 *   (B) worker.applied_epoch is stored with release after applied_queues and applied_ns; the
 *       daemon loads it with acquire before them. The two are then those of this epoch or of a
 *       newer one.
 *   (C) channel_latch: see channel_latch_write() and channel_latch_read().
 *   (D) wake_armed: the daemon stores 1 with release once it is ready for another wake; a worker's
 *       exchange to 0 (acquire) by which it wins the right to write the eventfd pairs with it. The
 *       write to the eventfd itself orders all earlier counters before the daemon's wake-up.
 *   Beats, gauges and histogram buckets are relaxed: each word stands alone.
 *
 * A shard has one writer, so an addition is a relaxed load and a store: no lock prefix. Shard
 * CHANNEL_SHARED_SHARD belongs to all further threads, which add atomically. */
#pragma once

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CHANNEL_MAGIC	       UINT32_C(0x6f667263) /* "crfo" */
#define CHANNEL_VERSION	       1
#define CHANNEL_MAX_DEVICES    16
#define CHANNEL_CU_MASK_WORDS  16
#define CHANNEL_MAX_SLOTS      1024
#define CHANNEL_MAX_WEIGHT     65535
#define CHANNEL_THREAD_SHARDS  64
#define CHANNEL_SHARED_SHARD   CHANNEL_THREAD_SHARDS
#define CHANNEL_SHARDS	       (CHANNEL_THREAD_SHARDS + 1)
#define CHANNEL_DEMAND_CLASSES 4
#define CHANNEL_PAGE	       4096
/* Two lines, as processors fetch lines in adjacent pairs. */
#define CHANNEL_LINE 128
/* A worker beats at least this often; nothing in a worker polls faster. */
#define CHANNEL_BEAT_NS UINT64_C(250000000)
/* At most one wake per process in this time. */
#define CHANNEL_WAKE_INTERVAL_NS UINT64_C(2000000)

/* Flags of the HELLO, equal to enum cofris_follows and enum cofris_reports. */
#define CHANNEL_FOLLOWS_CU_MASK	    (UINT32_C(1) << 0)
#define CHANNEL_FOLLOWS_BATCH	    (UINT32_C(1) << 1)
#define CHANNEL_FOLLOWS_ALL	    UINT32_C(3)
#define CHANNEL_REPORTS_STARTS	    (UINT32_C(1) << 0)
#define CHANNEL_REPORTS_FIRST_TOKEN (UINT32_C(1) << 1)
#define CHANNEL_REPORTS_PER_TOKEN   (UINT32_C(1) << 2)
#define CHANNEL_REPORTS_NO_REQUESTS (UINT32_C(1) << 3)
#define CHANNEL_REPORTS_ALL	    UINT32_C(15)

/* --- messages ------------------------------------------------------------------------------- */

enum channel_message_type {
	CHANNEL_HELLO = 1,    /* worker to daemon, once, within 1 s */
	CHANNEL_WELCOME = 2,  /* the answer, with two fds: the memfd and the eventfd */
	CHANNEL_REFUSE = 3,   /* the other answer; the daemon hangs up after it */
	CHANNEL_ANNOUNCE = 4, /* there is a new directive; the page is the truth */
};

/* size is that of the whole message. A peer of another version is told by the first eight bytes,
 * which keep their meaning for ever. */
struct channel_message_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type;
	uint32_t size;
	uint32_t reserved; /* 0 */
};

struct channel_hello_device {
	char bdf[13]; /* "0000:43:00.0" */
	uint8_t partition;
	uint8_t reserved[2]; /* 0 */
};

#define CHANNEL_NAME_BYTES 64 /* a name of at most 40 bytes, all the rest NUL */

struct channel_hello_message {
	struct channel_message_header header;
	char model[CHANNEL_NAME_BYTES];
	char instance[CHANNEL_NAME_BYTES];
	uint32_t follows;
	uint32_t reports;
	uint32_t slots;	    /* 1 to CHANNEL_MAX_SLOTS */
	uint32_t n_devices; /* 0: wherever the daemon governs only one card */
	struct channel_hello_device devices[CHANNEL_MAX_DEVICES]; /* unused ones all 0 */
};

struct channel_welcome_message {
	struct channel_message_header header;
	uint64_t memory_size; /* sizeof(struct channel_memory) */
	uint64_t lease_ns;    /* how long the directive holds after the daemon's beat has stopped */
};

#define CHANNEL_REFUSE_TEXT 232

struct channel_refuse_message {
	struct channel_message_header header;
	int32_t error; /* a negative errno */
	uint32_t reserved;
	char text[CHANNEL_REFUSE_TEXT]; /* ends with a NUL */
};

struct channel_announce_message {
	struct channel_message_header header;
	uint64_t epoch;
};

_Static_assert(sizeof(struct channel_message_header) == 16, "message header");
_Static_assert(offsetof(struct channel_message_header, version) == 4, "message version");
_Static_assert(offsetof(struct channel_message_header, size) == 8, "message size");
_Static_assert(sizeof(struct channel_hello_device) == 16, "device");
_Static_assert(offsetof(struct channel_hello_message, model) == 16, "hello model");
_Static_assert(offsetof(struct channel_hello_message, instance) == 80, "hello instance");
_Static_assert(offsetof(struct channel_hello_message, follows) == 144, "hello follows");
_Static_assert(offsetof(struct channel_hello_message, devices) == 160, "hello devices");
_Static_assert(sizeof(struct channel_hello_message) == 416, "hello");
_Static_assert(sizeof(struct channel_welcome_message) == 32, "welcome");
_Static_assert(sizeof(struct channel_refuse_message) == 256, "refuse");
_Static_assert(sizeof(struct channel_announce_message) == 24, "announce");

/* --- the directive, behind a latch ---------------------------------------------------------- */

struct channel_directive_record {
	uint64_t epoch; /* 0: none yet; rises with each directive */
	uint64_t max_wait_ns;
	uint64_t slo_ns;	/* 0: unknown */
	uint64_t boost_wait_ns; /* UINT64_MAX: no boost asked for */
	uint32_t cu_mask_bits;	/* 0: all CUs */
	uint32_t max_batch;	/* 0: the worker's own */
	uint32_t sclk_mhz;	/* clock limit in force; 0: unknown */
	uint32_t reserved;
	uint32_t cu_mask[CHANNEL_CU_MASK_WORDS];
};

#define CHANNEL_DIRECTIVE_WORDS (sizeof(struct channel_directive_record) / sizeof(uint64_t))

/* A seqlock over two copies: the one with index (sequence & 1) is whole while the other is being
 * written. A reader never waits for a writer, so one that is killed in the middle of a write (or
 * merely preempted) leaves the last whole directive readable. */
struct channel_latch {
	alignas(CHANNEL_LINE) _Atomic uint64_t sequence;
	struct {
		alignas(CHANNEL_LINE) _Atomic uint64_t words[CHANNEL_DIRECTIVE_WORDS];
	} copies[2];
};

/* One writer at a time. sequence is the writer's own count, as the daemon does not read back what
 * a worker could have changed. */
static inline void channel_latch_write(struct channel_latch *l, uint64_t *sequence,
				       const struct channel_directive_record *record)
{
	uint64_t next = *sequence + 1, words[CHANNEL_DIRECTIVE_WORDS];

	memcpy(words, record, sizeof(words));
	/* (C1) Release, so that who reads one of these words also sees the sequence stored by the
	 * call before: the copy overwritten here is the one that an older sequence named. */
	for (size_t i = 0; i < CHANNEL_DIRECTIVE_WORDS; i++)
		atomic_store_explicit(&l->copies[next & 1].words[i], words[i],
				      memory_order_release);
	/* (C2) Publishes the words; pairs with the reader's first load. */
	atomic_store_explicit(&l->sequence, next, memory_order_release);
	*sequence = next;
}

/* Returns false if a writer has overtaken each of a few tries, which needs two writes within one
 * copy of 112 bytes; the caller then keeps what it has and looks again later. */
static inline bool channel_latch_read(const struct channel_latch *l,
				      struct channel_directive_record *ret)
{
	for (unsigned int try = 0; try < 16; try++) {
		uint64_t words[CHANNEL_DIRECTIVE_WORDS];
		/* (C2) */
		uint64_t before = atomic_load_explicit(&l->sequence, memory_order_acquire);

		/* (C1) If any word comes from a later write, the load after the loop sees at least
		 * the sequence that was stored before that write began. */
		for (size_t i = 0; i < CHANNEL_DIRECTIVE_WORDS; i++)
			words[i] = atomic_load_explicit(&l->copies[before & 1].words[i],
							memory_order_acquire);
		if (atomic_load_explicit(&l->sequence, memory_order_relaxed) == before) {
			memcpy(ret, words, sizeof(*ret));
			return true;
		}
	}
	return false;
}

/* --- page 0: the daemon's ------------------------------------------------------------------- */

/* Writers are kept apart. NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
struct channel_daemon_page {
	/* Written once, before the memfd is sent. */
	uint32_t magic;
	uint32_t version;
	uint64_t size; /* of struct channel_memory */

	/* Changes with each tick of the daemon. */
	alignas(CHANNEL_LINE) _Atomic uint64_t beat;

	struct channel_latch directive;

	alignas(CHANNEL_LINE) uint8_t padding[CHANNEL_PAGE - 5 * CHANNEL_LINE];
};

/* --- page 1: the worker's ------------------------------------------------------------------- */

struct channel_worker_page {
	/* One writer: the worker's background thread. */
	alignas(CHANNEL_LINE) _Atomic uint64_t beat;
	_Atomic uint64_t applied_epoch; /* 0: none, or the lease has ended */
	_Atomic uint64_t applied_ns;	/* time that applying it took */
	_Atomic uint32_t applied_queues;

	/* Any thread of the worker; each a plain store. */
	alignas(CHANNEL_LINE) _Atomic uint32_t running;
	_Atomic uint32_t waiting;

	/* The one word that both sides write: armed (1) by the daemon, taken (0) by the worker. */
	alignas(CHANNEL_LINE) _Atomic uint32_t wake_armed;

	alignas(CHANNEL_LINE) uint8_t padding[CHANNEL_PAGE - 3 * CHANNEL_LINE];
};

/* --- shards --------------------------------------------------------------------------------- */

/* Counted by weight (inputs), but for batches and busy_ns. */
struct channel_counters {
	_Atomic uint64_t arrivals;
	_Atomic uint64_t starts;
	_Atomic uint64_t completions;
	_Atomic uint64_t failures;
	_Atomic uint64_t late;	  /* completed after the SLO, or failed */
	_Atomic uint64_t batches; /* executions begun */
	_Atomic uint64_t busy_ns; /* service time summed over executions that have ended */
	uint64_t reserved;
};

enum channel_demand_class {
	CHANNEL_CLASS_REQUESTS = 0,
	CHANNEL_CLASS_PROMPT_TOKENS = 1,
	CHANNEL_CLASS_GENERATED_TOKENS = 2,
	CHANNEL_CLASS_FREE = 3,
};

struct channel_shard {
	alignas(CHANNEL_LINE) struct channel_counters classes[CHANNEL_DEMAND_CLASSES];
};

/* Counters above this in one shard are no counts: 65 of them still add without wrapping round, and
 * nanoseconds take four years to get there. */
#define CHANNEL_COUNTER_MAX (UINT64_C(1) << 57)

/* --- histograms ----------------------------------------------------------------------------- */

/* 32 sub-buckets an octave (a value is known to 3.2 %) over [2^10, 2^37) ns: 1 us to 137 s. What
 * lies below or above is put into the first or last bucket. */
#define CHANNEL_HISTOGRAM_SUB_BITS    5
#define CHANNEL_HISTOGRAM_MIN_BITS    10
#define CHANNEL_HISTOGRAM_MAX_BITS    37
#define CHANNEL_HISTOGRAM_SUB_BUCKETS (1 << CHANNEL_HISTOGRAM_SUB_BITS)
#define CHANNEL_HISTOGRAM_BUCKETS                                                                  \
	((CHANNEL_HISTOGRAM_MAX_BITS - CHANNEL_HISTOGRAM_MIN_BITS) * CHANNEL_HISTOGRAM_SUB_BUCKETS)
/* As CHANNEL_COUNTER_MAX: all buckets of all shards add without wrapping round. */
#define CHANNEL_BUCKET_MAX (UINT64_C(1) << 47)

/* The three latency series, and the service time that the guard learns from. */
enum channel_series {
	CHANNEL_TOTAL,
	CHANNEL_SERVICE,
	CHANNEL_FIRST_TOKEN,
	CHANNEL_PER_TOKEN,
	CHANNEL_SERIES,
};
/* A value goes to bank (epoch applied & 1), so that the daemon can tell what was measured under the
 * directive it asked for from what came before. Banks are cumulative, too. */
#define CHANNEL_BANKS 2

struct channel_shard_histograms {
	alignas(CHANNEL_LINE) _Atomic uint64_t
		buckets[CHANNEL_SERIES][CHANNEL_BANKS][CHANNEL_HISTOGRAM_BUCKETS];
};

static inline uint32_t channel_histogram_bucket(uint64_t value_ns)
{
	uint32_t octave, sub;

	if (value_ns < (UINT64_C(1) << CHANNEL_HISTOGRAM_MIN_BITS))
		return 0;
	if (value_ns >= (UINT64_C(1) << CHANNEL_HISTOGRAM_MAX_BITS))
		return CHANNEL_HISTOGRAM_BUCKETS - 1;
	octave = 63 - (uint32_t)__builtin_clzll(value_ns);
	sub = (uint32_t)(value_ns >> (octave - CHANNEL_HISTOGRAM_SUB_BITS)) &
	      (CHANNEL_HISTOGRAM_SUB_BUCKETS - 1);
	return (octave - CHANNEL_HISTOGRAM_MIN_BITS) * CHANNEL_HISTOGRAM_SUB_BUCKETS + sub;
}

/* The first value above the bucket. */
static inline uint64_t channel_histogram_upper_ns(uint32_t bucket)
{
	uint32_t octave = bucket / CHANNEL_HISTOGRAM_SUB_BUCKETS + CHANNEL_HISTOGRAM_MIN_BITS;
	uint64_t sub = bucket % CHANNEL_HISTOGRAM_SUB_BUCKETS;

	return (CHANNEL_HISTOGRAM_SUB_BUCKETS + sub + 1) << (octave - CHANNEL_HISTOGRAM_SUB_BITS);
}

/* --- the whole ------------------------------------------------------------------------------ */

struct channel_memory {
	struct channel_daemon_page daemon;
	struct channel_worker_page worker;
	struct channel_shard shards[CHANNEL_SHARDS];
	struct channel_shard_histograms histograms[CHANNEL_SHARDS];
	alignas(CHANNEL_LINE) uint8_t padding[1792];
};

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && sizeof(_Atomic uint64_t) == 8, "plain words");
_Static_assert(sizeof(struct channel_directive_record) == 112, "directive");
_Static_assert(offsetof(struct channel_directive_record, cu_mask) == 48, "directive mask");
_Static_assert(offsetof(struct channel_daemon_page, size) == 8, "size");
_Static_assert(offsetof(struct channel_daemon_page, beat) == 128, "daemon's beat");
_Static_assert(offsetof(struct channel_daemon_page, directive) == 256, "directive");
_Static_assert(sizeof(struct channel_latch) == 384, "latch");
_Static_assert(sizeof(struct channel_daemon_page) == CHANNEL_PAGE, "page 0");
_Static_assert(offsetof(struct channel_worker_page, applied_epoch) == 8, "applied epoch");
_Static_assert(offsetof(struct channel_worker_page, running) == 128, "gauges");
_Static_assert(offsetof(struct channel_worker_page, wake_armed) == 256, "wake word");
_Static_assert(sizeof(struct channel_worker_page) == CHANNEL_PAGE, "page 1");
_Static_assert(sizeof(struct channel_counters) == 64, "counters");
_Static_assert(sizeof(struct channel_shard) == 256, "shard");
_Static_assert(CHANNEL_HISTOGRAM_BUCKETS == 864, "buckets");
_Static_assert(sizeof(struct channel_shard_histograms) == 55296, "histograms");
_Static_assert(offsetof(struct channel_memory, worker) == CHANNEL_PAGE, "worker's page");
_Static_assert(offsetof(struct channel_memory, shards) == 2 * CHANNEL_PAGE, "shards");
_Static_assert(offsetof(struct channel_memory, histograms) == 24832, "histograms");
_Static_assert(sizeof(struct channel_memory) == 884 * CHANNEL_PAGE, "whole pages");

/* What the worker writes: all but the daemon's page. */
#define CHANNEL_WORKER_OFFSET CHANNEL_PAGE
#define CHANNEL_WORKER_SIZE   (sizeof(struct channel_memory) - CHANNEL_WORKER_OFFSET)
