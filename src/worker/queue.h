/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's queue, pure and in device time: when which requests start as one batch, exactly,
 * however late the caller asks. First in, first out. A batch starts when its slot is free and
 * either max_batch requests wait or the oldest has waited max_wait_ns; it takes those that had
 * arrived by then. Requests come from an arrival process (open loop) or take the place of finished
 * ones (closed loop). Not thread-safe: the caller locks. */
#pragma once

#include "cofris/cofris.h"
#include "load/arrivals.h"

#define QUEUE_MAX_BATCH 256

struct queue_item {
	uint64_t number, arrival_ns;
	struct cofris_request request; /* filled by the admit callback */
};

struct queue_batch {
	uint32_t n;
	uint64_t start_ns;
	struct queue_item items[QUEUE_MAX_BATCH];
};

struct queue_options {
	uint64_t origin_ns;		 /* device time of offset 0 */
	double time_scale;		 /* arrival offsets are wall time; device = wall / this */
	const struct arrivals *arrivals; /* open loop (copied); NULL: closed loop ... */
	uint32_t in_flight;		 /* ... with this many requests in the system */
	uint32_t limit;			 /* requests that may wait; more are rejected */
	/* A request has arrived (at most limit of them wait) or was rejected for a full queue. */
	void (*admit)(void *userdata, struct queue_item *item, bool rejected);
	void *userdata;
};

struct queue;
int queue_new(const struct queue_options *o, struct queue **ret);
struct queue *queue_free(struct queue *q);
DEFINE_CLEANUP(struct queue *, queue_free)

/* Takes note of what has arrived by now_ns. False if no request will come any more of itself, as in
 * closed loop; else *ret_next_ns is when the next one will. */
bool queue_admit(struct queue *q, uint64_t now_ns, uint64_t *ret_next_ns);
/* The next batch for a slot that has been free since free_ns, as of now_ns. Returns 1 with *ret
 * (its start_ns may lie in the past, never after now_ns); 0 if nothing can start before
 * *ret_wait_until_ns (UINT64_MAX: not before another batch completes); -ENODATA if no request will
 * come any more. */
int queue_take(struct queue *q, uint64_t free_ns, uint64_t now_ns, uint32_t max_batch,
	       uint64_t max_wait_ns, struct queue_batch *ret, uint64_t *ret_wait_until_ns);
/* n requests of a batch have ended; in closed loop as many arrive. */
void queue_completed(struct queue *q, uint32_t n, uint64_t end_ns);
/* No arrivals after now_ns; what waits can still be taken. */
void queue_stop(struct queue *q, uint64_t now_ns);
/* Takes the oldest waiting request away without serving it; false if none waits. */
bool queue_drop(struct queue *q, struct queue_item *ret);
uint32_t queue_waiting(const struct queue *q);
