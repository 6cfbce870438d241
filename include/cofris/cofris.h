/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcofris: what an inference worker links to be governed by cofrisd.
 *
 * A worker opens one channel per model, brackets each request with cofris_begin() and cofris_end()
 * and may read the daemon's directive (CU mask, batch limits). Counters lie in shared memory that
 * the daemon reads twice a second. Without a daemon everything works and costs the same: the
 * counters then go to private memory until a background thread gets a connection.
 *
 * Errors are negative errno values. Times are CLOCK_MONOTONIC in nanoseconds. Unless said, calls
 * are thread-safe, never block, take no lock, allocate nothing and make no system call but the
 * vDSO clock. (A thread's very first call registers the thread, which may allocate.) None may be
 * made from a signal handler. Up to 64 threads count without disturbing each other; any further
 * ones share one set of counters, which costs them atomic additions.
 *
 * Each connection counts from 0. A request is counted in the connection in which it began: one that
 * is in flight while the daemon restarts is served as ever, but counted nowhere.
 */
#ifndef COFRIS_COFRIS_H
#define COFRIS_COFRIS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define COFRIS_API __attribute__((visibility("default")))

#define COFRIS_MAX_DEVICES    16
#define COFRIS_CU_MASK_WORDS  16
#define COFRIS_DEFAULT_SOCKET "/run/cofris/worker.sock"

struct cofris_channel;

/* A GPU by its PCI address, "0000:43:00.0", and its partition (0 for a whole card). */
struct cofris_device {
	char bdf[13];
	uint8_t partition;
	uint8_t reserved[2];
};

/* What the worker can follow. */
enum cofris_follows {
	COFRIS_FOLLOWS_CU_MASK = 1 << 0, /* the apply callback sets the mask on all its queues */
	COFRIS_FOLLOWS_BATCH = 1 << 1,	 /* it honours max_batch and max_wait_ns */
};

/* What it reports beside begin and end. */
enum cofris_reports {
	COFRIS_REPORTS_STARTS = 1 << 0,	     /* cofris_start() for every request */
	COFRIS_REPORTS_FIRST_TOKEN = 1 << 1, /* kept for token latencies: no call yet */
	COFRIS_REPORTS_PER_TOKEN = 1 << 2,   /* likewise */
	/* It never begins a request: it only follows, and another connection of the same model
	 * counts. While there is none, the daemon plans for the model's rated rate. */
	COFRIS_REPORTS_NO_REQUESTS = 1 << 3,
};

/* The daemon's wish, copied out whole. */
struct cofris_directive {
	/* A name, not a number to count with: differs for every directive, also over restarts of
	 * the daemon. 0: none yet, or the lease ended. */
	uint64_t epoch;
	uint32_t cu_mask[COFRIS_CU_MASK_WORDS]; /* bit i = CU i in the kernel's order */
	uint32_t cu_mask_bits;			/* 0: all CUs (no mask) */
	uint32_t max_batch;			/* 0: the worker's own choice */
	uint64_t max_wait_ns;			/* longest wait for a batch to fill */
	uint64_t slo_ns;			/* the model's SLO, 0 if unknown */
	uint64_t boost_wait_ns;			/* UINT64_MAX: no boost asked for */
	uint32_t sclk_mhz; /* clock limit in force, for information; 0 unknown */
	uint32_t reserved;
};

/*
 * Called on the channel's background thread when the directive changes, and with epoch 0 when the
 * daemon's lease has ended (then: all CUs, own batch). It should set the mask on the worker's
 * queues; it may block (masks take tens of microseconds per queue). Returns the number of queues
 * changed (0 if none needed it), or a negative errno: the directive is then not acknowledged.
 */
typedef int (*cofris_apply_fn)(void *userdata, const struct cofris_directive *directive);

struct cofris_options {
	size_t size;		 /* sizeof(struct cofris_options), for later growth */
	const char *model;	 /* 1 to 40 bytes of [A-Za-z0-9._/-]; required */
	const char *instance;	 /* for people, at most 40 bytes, same alphabet; NULL: the pid */
	const char *socket_path; /* NULL: $COFRIS_SOCKET, then COFRIS_DEFAULT_SOCKET */
	const struct cofris_device *devices; /* the cards it runs on; may be NULL ... */
	uint32_t n_devices;		     /* ... and 0 where only one card is governed */
	uint32_t follows;		     /* enum cofris_follows */
	uint32_t reports;		     /* enum cofris_reports */
	uint32_t slots;	       /* requests (batches) it serves at the same time; 0 means 1 */
	cofris_apply_fn apply; /* may be NULL if it follows no mask */
	void *userdata;
};

/*
 * Opens a channel: checks the options, allocates (4 MiB of address space, of which a thread touches
 * some 30 KiB) and starts the background thread (all signals blocked), which connects without
 * blocking, retries after 50 ms doubling to 2 s, beats 4 times a second and applies directives.
 * Strings and devices are copied. Returns 0, or -EINVAL, -ENOMEM, -EAGAIN (no thread). The caller
 * closes the result. After fork() the child's copy is usable: its first cofris_begin() starts a
 * thread and a connection of its own (that one call may lock and allocate); requests that the
 * parent had in flight are counted by the parent alone. A child made by the bare system call, past
 * libc, must not use the channel.
 */
COFRIS_API int cofris_open(const struct cofris_options *options, struct cofris_channel **ret);

/* Stops the thread, disconnects and frees; waits for a running apply callback. NULL is allowed.
 * No other call on the channel may be running. Always returns NULL. */
COFRIS_API struct cofris_channel *cofris_close(struct cofris_channel *channel);

/* A request between begin and end: a plain 16-byte value, usable on any thread, copyable while it
 * is ended once. Its fields are private. */
struct cofris_request {
	uint64_t arrival_ns;
	uint32_t start_delta; /* start - arrival in units of 256 ns; 0: not started */
	uint16_t weight;
	uint8_t demand_class;
	uint8_t flags;
};

enum cofris_status {
	COFRIS_OK = 0,
	COFRIS_FAILED = 1, /* counts as late */
};

/* A request arrives. weight: how many inputs it carries, 1 to 65535 (0 counts as 1). */
COFRIS_API struct cofris_request cofris_begin(struct cofris_channel *channel, uint32_t weight);
/* The same for an arrival that is already past (a queue in front, a paced load generator):
 * latency counts from arrival_ns, which must not lie in the future. */
COFRIS_API struct cofris_request cofris_begin_at(struct cofris_channel *channel, uint32_t weight,
						 uint64_t arrival_ns);
/*
 * n requests are taken for execution together, as one batch. Optional: without it service time is
 * learnt only while the queue is empty. If the longest measured wait exceeds the directive's
 * boost_wait_ns, one caller at most every 2 ms makes one non-blocking 8-byte write to wake the
 * daemon; that is the only system call on this path.
 */
COFRIS_API void cofris_start(struct cofris_channel *channel, struct cofris_request *requests,
			     uint32_t n);
COFRIS_API void cofris_start_at(struct cofris_channel *channel, struct cofris_request *requests,
				uint32_t n, uint64_t start_ns);
/* The response has been sent, or the request has failed. Once for each request; one that was never
 * started, or begun before a reconnect, may be ended as well. */
COFRIS_API void cofris_end(struct cofris_channel *channel, const struct cofris_request *request,
			   enum cofris_status status);
COFRIS_API void cofris_end_at(struct cofris_channel *channel, const struct cofris_request *request,
			      enum cofris_status status, uint64_t end_ns);
/* Optional gauges for servers that keep their own queue: requests running and waiting now. */
COFRIS_API void cofris_gauges(struct cofris_channel *channel, uint32_t running, uint32_t waiting);

/* Copies the directive in force (epoch 0 and all fields neutral without one). Returns 1 if it
 * differs from what this call last returned on this thread's caller-kept epoch: pass the epoch last
 * seen, or 0. Returns 0 if unchanged. */
COFRIS_API int cofris_directive(struct cofris_channel *channel, uint64_t seen_epoch,
				struct cofris_directive *ret);

/* Whether a daemon is connected and its beat is fresh: 1 or 0. */
COFRIS_API int cofris_connected(struct cofris_channel *channel);

/* Why there is no connection, for a log: the daemon's refusal or a failed call in words; empty
 * while connected and before the first attempt. Cut at size. Returns 1 if there is a text, or 0.
 * Takes a lock for microseconds. */
COFRIS_API int cofris_problem(struct cofris_channel *channel, char *ret_text, size_t size);

/* The library's version, as "0.1.0". */
COFRIS_API const char *cofris_version(void);

#ifdef __cplusplus
}
#endif
#endif
