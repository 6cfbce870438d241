/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/queue.h"
#include <errno.h>

struct queue {
	struct queue_options options;
	struct arrivals arrivals;
	bool stopped, exhausted;
	bool have_next; /* next_ns is the arrival of the request next_number */
	uint64_t next_ns, next_number;
	struct queue_item *ring; /* size is a power of two */
	uint32_t head, n, size;
};

int queue_new(const struct queue_options *o, struct queue **ret)
{
	_cleanup_(queue_freep) struct queue *q = calloc(1, sizeof(*q));

	if (!q)
		return -ENOMEM;
	q->options = *o;
	q->size = 64;
	q->ring = calloc(q->size, sizeof(*q->ring));
	if (!q->ring)
		return -ENOMEM;
	if (o->arrivals)
		q->arrivals = *o->arrivals;
	else
		queue_completed(q, o->in_flight, o->origin_ns);
	*ret = TAKE_PTR(q);
	return 0;
}

struct queue *queue_free(struct queue *q)
{
	if (q)
		free(q->ring);
	free(q);
	return NULL;
}

static int grow(struct queue *q)
{
	struct queue_item *ring = calloc((size_t)q->size * 2, sizeof(*ring));

	if (!ring)
		return -ENOMEM;
	for (uint32_t i = 0; i < q->n; i++)
		ring[i] = q->ring[(q->head + i) & (q->size - 1)];
	free(q->ring);
	q->ring = ring;
	q->head = 0;
	q->size *= 2;
	return 0;
}

static struct queue_item *item_at(struct queue *q, uint32_t i)
{
	return &q->ring[(q->head + i) & (q->size - 1)];
}

static void admit(struct queue *q, uint64_t arrival_ns)
{
	struct queue_item item = {.number = q->next_number++, .arrival_ns = arrival_ns};
	bool rejected = q->n >= q->options.limit || (q->n == q->size && grow(q) < 0);

	if (q->options.admit)
		q->options.admit(q->options.userdata, &item, rejected);
	if (!rejected)
		*item_at(q, q->n++) = item;
}

/* Looks one arrival ahead; device time of it, or UINT64_MAX. */
static uint64_t peek(struct queue *q)
{
	uint64_t offset_ns;

	if (q->stopped || q->exhausted || !q->options.arrivals)
		return UINT64_MAX;
	if (!q->have_next) {
		if (!arrivals_next(&q->arrivals, &offset_ns)) {
			q->exhausted = true;
			return UINT64_MAX;
		}
		q->next_ns = q->options.origin_ns +
			     (uint64_t)((double)offset_ns / q->options.time_scale);
		q->have_next = true;
	}
	return q->next_ns;
}

static void admit_until(struct queue *q, uint64_t now_ns)
{
	uint64_t arrival_ns;

	while ((arrival_ns = peek(q)) <= now_ns && arrival_ns != UINT64_MAX) {
		q->have_next = false;
		admit(q, arrival_ns);
	}
}

bool queue_admit(struct queue *q, uint64_t now_ns, uint64_t *ret_next_ns)
{
	uint64_t next_ns;

	admit_until(q, now_ns);
	next_ns = peek(q);
	if (next_ns == UINT64_MAX)
		return false;
	*ret_next_ns = next_ns;
	return true;
}

/* When the waiting requests start as a batch if nothing else arrives. */
static uint64_t batch_start(struct queue *q, uint64_t free_ns, uint32_t max_batch,
			    uint64_t max_wait_ns)
{
	uint64_t oldest_ns = item_at(q, 0)->arrival_ns;
	uint64_t ready_ns = oldest_ns + MIN(max_wait_ns, UINT64_MAX - oldest_ns);

	if (q->n >= max_batch)
		ready_ns = MIN(ready_ns, item_at(q, max_batch - 1)->arrival_ns);
	else if (peek(q) == UINT64_MAX && q->options.arrivals)
		ready_ns = item_at(q, q->n - 1)->arrival_ns; /* no more will come to fill it */
	return MAX(free_ns, ready_ns);
}

static void take_batch(struct queue *q, uint64_t start_ns, uint32_t max_batch,
		       struct queue_batch *ret)
{
	ret->n = 0;
	ret->start_ns = start_ns;
	while (ret->n < max_batch && q->n > 0 && item_at(q, 0)->arrival_ns <= start_ns) {
		ret->items[ret->n++] = *item_at(q, 0);
		q->head = (q->head + 1) & (q->size - 1);
		q->n--;
	}
}

int queue_take(struct queue *q, uint64_t free_ns, uint64_t now_ns, uint32_t max_batch,
	       uint64_t max_wait_ns, struct queue_batch *ret, uint64_t *ret_wait_until_ns)
{
	uint64_t start_ns, next_ns;

	max_batch = CLAMP(max_batch, 1u, (uint32_t)QUEUE_MAX_BATCH);
	admit_until(q, now_ns);
	next_ns = peek(q);
	if (q->n == 0) {
		if (next_ns == UINT64_MAX && (q->options.arrivals || q->stopped))
			return -ENODATA;
		*ret_wait_until_ns = next_ns;
		return 0;
	}
	start_ns = batch_start(q, free_ns, max_batch, max_wait_ns);
	if (start_ns > now_ns) {
		*ret_wait_until_ns = MIN(start_ns, next_ns);
		return 0;
	}
	take_batch(q, start_ns, max_batch, ret);
	return 1;
}

void queue_completed(struct queue *q, uint32_t n, uint64_t end_ns)
{
	if (q->options.arrivals || q->stopped)
		return;
	for (uint32_t i = 0; i < n; i++)
		admit(q, end_ns);
}

void queue_stop(struct queue *q, uint64_t now_ns)
{
	/* Those that came while all slots were busy have not been seen yet. */
	admit_until(q, now_ns);
	q->stopped = true;
	q->have_next = false;
}

bool queue_drop(struct queue *q, struct queue_item *ret)
{
	if (q->n == 0)
		return false;
	*ret = *item_at(q, 0);
	q->head = (q->head + 1) & (q->size - 1);
	q->n--;
	return true;
}

uint32_t queue_waiting(const struct queue *q)
{
	return q->n;
}
