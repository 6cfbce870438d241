/* SPDX-License-Identifier: Apache-2.0 */
/* The queues of a device, as the thunk's other half asks for them. */
#include "sim/hsakmt/device-internal.h"
#include <errno.h>

#define MIN_RING_BYTES 64

static bool options_are_valid(const struct device_queue_options *o)
{
	if (o->ring_bytes < MIN_RING_BYTES || (o->ring_bytes & (o->ring_bytes - 1)) != 0 ||
	    (uintptr_t)o->ring % sizeof(uint32_t) != 0 ||
	    !memory_accessible(o->ring, o->ring_bytes))
		return false;
	if (o->type == DEVICE_QUEUE_SDMA)
		return true;
	return o->type == DEVICE_QUEUE_AQL && o->read_index && o->write_index &&
	       memory_accessible((const void *)(uintptr_t)o->read_index, sizeof(uint64_t));
}

int device_queue_new(struct device *d, const struct device_queue_options *o,
		     struct device_queue **ret, volatile uint64_t **ret_doorbell)
{
	struct device_queue *q;
	int index, r;

	if (!options_are_valid(o))
		return -EINVAL;
	q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->device = d;
	q->options = *o;
	cu_mask_all(&d->profile->topology, &q->mask);
	(void)pthread_mutex_lock(&d->lock);
	index = doorbells_take(&d->doorbells);
	r = index < 0 ? -ENOMEM : device_start_thread(d);
	(void)pthread_mutex_unlock(&d->lock);
	if (r < 0) {
		if (index >= 0)
			doorbells_give(&d->doorbells, (uint32_t)index);
		free(q);
		return r;
	}
	q->doorbell_index = (uint32_t)index;
	q->doorbell = &d->doorbells.page[index];
	/* May trap, so not under the lock. */
	__atomic_store_n(q->doorbell, o->type == DEVICE_QUEUE_AQL ? UINT64_MAX : 0,
			 __ATOMIC_RELEASE);
	(void)pthread_mutex_lock(&d->lock);
	q->next = d->queues;
	d->queues = q;
	d->n_queues++;
	atomic_store(&d->slot->n_queues, d->n_queues);
	(void)pthread_mutex_unlock(&d->lock);
	*ret = q;
	*ret_doorbell = q->doorbell;
	return 0;
}

struct device_queue *device_queue_free(struct device_queue *q)
{
	struct device *d;
	uint64_t now_ns;

	if (!q)
		return NULL;
	d = q->device;
	(void)pthread_mutex_lock(&d->lock);
	now_ns = sim_device_ns(d->machine, monotonic_ns());
	timeline_drop(d, q, now_ns);
	if (q->copying)
		mover_cancel(d->mover, &q->copy);
	for (struct device_queue **p = &d->queues; *p; p = &(*p)->next)
		if (*p == q) {
			*p = q->next;
			break;
		}
	d->n_queues--;
	doorbells_give(&d->doorbells, q->doorbell_index);
	atomic_store(&d->slot->n_queues, d->n_queues);
	timeline_publish(d, now_ns);
	(void)pthread_mutex_unlock(&d->lock);
	free(q);
	return NULL;
}

/* Whether the copy is under way in the range and lacks memory there by now. */
static bool is_torn(struct copy *c, uint64_t start, uint64_t size, uint64_t *ret_fault)
{
	return !atomic_load(&c->done) && copy_reaches(c, start, size) &&
	       copy_check(c, ret_fault) < 0;
}

static bool has_torn_copy(const struct device *d, struct device_queue *q, uint64_t start,
			  uint64_t size, uint64_t *ret_fault)
{
	for (struct device_kernel *k = d->line.first; k; k = k->next)
		if (k->queue == q && k->has_copy && is_torn(&k->copy, start, size, ret_fault))
			return true;
	return q->copying && is_torn(&q->copy, start, size, ret_fault);
}

void device_withdraw(struct device *d, const void *address, uint64_t size)
{
	uint64_t now_ns, fault;

	(void)pthread_mutex_lock(&d->lock);
	now_ns = sim_device_ns(d->machine, monotonic_ns());
	for (struct device_queue *q = d->queues; q; q = q->next) {
		if (!has_torn_copy(d, q, (uintptr_t)address, size, &fault))
			continue;
		device_queue_fault(q, fault);
		timeline_drop(d, q, now_ns);
		if (q->copying)
			mover_cancel(d->mover, &q->copy);
		q->copying = false;
		timeline_publish(d, now_ns);
	}
	(void)pthread_mutex_unlock(&d->lock);
}

void device_queue_update(struct device_queue *q, uint32_t percentage, uint32_t priority)
{
	(void)pthread_mutex_lock(&q->device->lock);
	q->options.percentage = percentage;
	q->options.priority = priority;
	q->device->progress = true;
	(void)pthread_mutex_unlock(&q->device->lock);
	device_wake(q->device);
}

const volatile uint64_t *device_queue_read_index(const struct device_queue *q)
{
	return q->options.type == DEVICE_QUEUE_AQL ? q->options.read_index : &q->read_word;
}

const volatile uint64_t *device_queue_write_index(const struct device_queue *q)
{
	return q->options.type == DEVICE_QUEUE_AQL ? q->options.write_index : &q->write_word;
}

int device_queue_set_mask(struct device_queue *q, const uint32_t *words, uint32_t bits)
{
	struct device *d = q->device;
	struct cu_mask all, mask = {0};
	uint64_t now_ns;

	if (bits == 0 || bits % 32 != 0)
		return -EINVAL;
	cu_mask_all(&d->profile->topology, &all);
	mask.n_bits = all.n_bits;
	for (uint32_t i = 0; i < MIN(bits / 32, (uint32_t)CU_MASK_WORDS); i++)
		mask.words[i] = words[i] & all.words[i];
	(void)pthread_mutex_lock(&d->lock);
	now_ns = sim_device_ns(d->machine, monotonic_ns());
	timeline_advance(d, now_ns);
	timeline_remask(d, q, &mask, now_ns);
	timeline_publish(d, now_ns);
	d->progress = true;
	(void)pthread_mutex_unlock(&d->lock);
	device_wake(d);
	return 0;
}
