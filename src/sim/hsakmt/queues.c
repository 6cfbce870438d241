/* SPDX-License-Identifier: Apache-2.0 */
/* The queues of the process by their ids. What they do is in device.c. */
#include "sim/hsakmt/thunk.h"
#include <errno.h>
#include <pthread.h>

#define MAX_QUEUES    1024 /* KFD_MAX_NUM_OF_QUEUES_PER_PROCESS */
#define MAX_MASK_BITS 1024
#define N_GWS	      64

struct queue {
	struct device_queue *device_queue;
	uint32_t node;
	uint32_t type;
};

static struct {
	pthread_mutex_t lock;
	struct queue queues[MAX_QUEUES]; /* of id - 1 */
	uint32_t n_on[HSAKMT_FIRST_CARD + SIM_MAX_CARDS];
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint32_t queues_on(uint32_t node)
{
	uint32_t n;

	(void)pthread_mutex_lock(&all.lock);
	n = all.n_on[node];
	(void)pthread_mutex_unlock(&all.lock);
	return n;
}

/* The queue with this id, or NULL. The lock is held. */
static struct queue *find(uint64_t id)
{
	if (id == 0 || id > MAX_QUEUES || !all.queues[id - 1].device_queue)
		return NULL;
	return &all.queues[id - 1];
}

static struct queue *find_free(void)
{
	for (uint32_t i = 0; i < MAX_QUEUES; i++)
		if (!all.queues[i].device_queue)
			return &all.queues[i];
	return NULL;
}

static int to_device_type(HSA_QUEUE_TYPE type, enum device_queue_type *ret)
{
	switch (type) {
	case HSA_QUEUE_COMPUTE_AQL:
		*ret = DEVICE_QUEUE_AQL;
		return 0;
	case HSA_QUEUE_SDMA:
	case HSA_QUEUE_SDMA_XGMI:
		*ret = DEVICE_QUEUE_SDMA;
		return 0;
	default:
		return -EINVAL;
	}
}

/* Fills in where the caller rings and looks: of an AQL queue the index words are its own. */
static void fill_resource(const struct queue *q, volatile uint64_t *doorbell, HsaQueueResource *ret)
{
	ret->QueueId = (uint64_t)(q - all.queues) + 1;
	ret->QueueDoorBell = (uintptr_t)doorbell;
	if (q->type == HSA_QUEUE_COMPUTE_AQL)
		return;
	ret->QueueRptrValue = (uintptr_t)device_queue_read_index(q->device_queue);
	ret->QueueWptrValue = (uintptr_t)device_queue_write_index(q->device_queue);
}

static int create(uint32_t node, HSA_QUEUE_TYPE type, struct device_queue_options *o,
		  HsaQueueResource *resource)
{
	volatile uint64_t *doorbell;
	struct queue *q = find_free();
	int r;

	if (!q)
		return -ENOSPC;
	if (o->type == DEVICE_QUEUE_AQL) {
		o->read_index = resource->Queue_read_ptr_aql;
		o->write_index = resource->Queue_write_ptr_aql;
		if (!o->read_index || !o->write_index)
			return -EINVAL;
	}
	r = device_queue_new(thunk_device(node), o, &q->device_queue, &doorbell);
	if (r < 0) {
		q->device_queue = NULL;
		return r;
	}
	q->node = node;
	q->type = type;
	all.n_on[node]++;
	fill_resource(q, doorbell, resource);
	return 0;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtCreateQueue(HSAuint32 node, HSA_QUEUE_TYPE type,
					      HSAuint32 percentage, HSA_QUEUE_PRIORITY priority,
					      void *ring, HSAuint64 ring_bytes,
					      HsaEvent *event _unused_, HsaQueueResource *resource)
{
	HSAKMT_STATUS status = thunk_check();
	struct device_queue_options o = {
		.ring = ring,
		.ring_bytes = ring_bytes,
		.percentage = percentage,
		.priority = (uint32_t)priority,
	};
	int r;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (!thunk_device(node))
		return HSAKMT_STATUS_INVALID_NODE_UNIT;
	if (!resource || percentage > 100 || (int)priority < HSA_QUEUE_PRIORITY_MINIMUM ||
	    (int)priority > HSA_QUEUE_PRIORITY_MAXIMUM || to_device_type(type, &o.type) < 0)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	(void)pthread_mutex_lock(&all.lock);
	r = create(node, type, &o, resource);
	(void)pthread_mutex_unlock(&all.lock);
	return thunk_status(r);
}

static int destroy(uint64_t id)
{
	struct device_queue *device_queue = NULL;
	struct queue *q;

	(void)pthread_mutex_lock(&all.lock);
	q = find(id);
	if (q) {
		device_queue = q->device_queue;
		all.n_on[q->node]--;
		*q = (struct queue){0};
	}
	(void)pthread_mutex_unlock(&all.lock);
	if (!device_queue)
		return -EINVAL;
	(void)device_queue_free(device_queue);
	return 0;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtDestroyQueue(HSA_QUEUEID id)
{
	HSAKMT_STATUS status = thunk_check();

	return status == HSAKMT_STATUS_SUCCESS ? thunk_status(destroy(id)) : status;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtUpdateQueue(HSA_QUEUEID id, HSAuint32 percentage,
					      HSA_QUEUE_PRIORITY priority, void *ring _unused_,
					      HSAuint64 ring_bytes _unused_,
					      HsaEvent *event _unused_)
{
	HSAKMT_STATUS status = thunk_check();
	struct queue *q;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (percentage > 100 || (int)priority < HSA_QUEUE_PRIORITY_MINIMUM ||
	    (int)priority > HSA_QUEUE_PRIORITY_MAXIMUM)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	(void)pthread_mutex_lock(&all.lock);
	q = find(id);
	if (q)
		device_queue_update(q->device_queue, percentage, (uint32_t)priority);
	(void)pthread_mutex_unlock(&all.lock);
	return q ? HSAKMT_STATUS_SUCCESS : HSAKMT_STATUS_INVALID_PARAMETER;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtSetQueueCUMask(HSA_QUEUEID id, HSAuint32 bits, HSAuint32 *words)
{
	HSAKMT_STATUS status = thunk_check();
	struct queue *q;
	int r;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (bits == 0 || bits % 32 || bits > MAX_MASK_BITS || !words)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	(void)pthread_mutex_lock(&all.lock);
	q = find(id);
	r = q && q->type == HSA_QUEUE_COMPUTE_AQL
		    ? device_queue_set_mask(q->device_queue, words, bits)
		    : -EINVAL;
	(void)pthread_mutex_unlock(&all.lock);
	return thunk_status(r);
}

/* For cooperative launches; all workgroups of a kernel are together on the card anyway. */
HSAKMT_EXPORT HSAKMT_STATUS hsaKmtAllocQueueGWS(HSA_QUEUEID id, HSAuint32 n, HSAuint32 *first)
{
	HSAKMT_STATUS status = thunk_check();
	bool found;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	(void)pthread_mutex_lock(&all.lock);
	found = find(id) != NULL;
	(void)pthread_mutex_unlock(&all.lock);
	if (!found || n > N_GWS)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	if (first)
		*first = 0;
	return HSAKMT_STATUS_SUCCESS;
}

/* ---- the part ---- */

static int queues_open(void)
{
	return 0;
}

static void queues_forget(void)
{
	for (uint32_t i = 0; i < MAX_QUEUES; i++)
		all.queues[i] = (struct queue){0};
	for (size_t i = 0; i < ARRAY_SIZE(all.n_on); i++)
		all.n_on[i] = 0;
}

static void queues_close(void)
{
	for (uint32_t i = 0; i < MAX_QUEUES; i++)
		(void)destroy(i + 1);
	queues_forget();
}

static void queues_lock(void)
{
	(void)pthread_mutex_lock(&all.lock);
}

static void queues_unlock(void)
{
	(void)pthread_mutex_unlock(&all.lock);
}

const struct thunk_part queues_part = {
	.open = queues_open,
	.close = queues_close,
	.forget = queues_forget,
	.lock = queues_lock,
	.unlock = queues_unlock,
};
