/* SPDX-License-Identifier: Apache-2.0 */
#include "fake-hsakmt-device.h"
#include "base/units.h"
#include <errno.h>
#include <string.h>
#include <time.h>

#define MAX_QUEUES 2048

struct device {
	struct sim_slot *slot;
	struct plant_device *profile;
	uint32_t card;
	uint64_t withdrawn; /* bytes */
};

struct device_queue {
	struct fake_queue fake;
	uint64_t doorbell, read_index, write_index;
};

static struct device devices[SIM_MAX_CARDS];
static struct device_queue queues[MAX_QUEUES];
static uint32_t n_queues, n_open, n_forgotten;
static int refusals[SIM_MAX_CARDS];

const struct fake_queue *fake_queue(uint32_t index)
{
	return index < n_queues ? &queues[index].fake : NULL;
}

uint32_t fake_queues_live(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_queues; i++)
		n += queues[i].fake.live;
	return n;
}

uint64_t fake_vram(uint32_t card)
{
	return atomic_load(&devices[card].slot->vram_bytes);
}

uint32_t fake_devices_open(void)
{
	return n_open;
}

uint32_t fake_devices_forgotten(void)
{
	return n_forgotten;
}

void fake_refuse(uint32_t card, int r)
{
	refusals[card] = r;
}

int device_new(struct sim_machine *m, uint32_t card, uint32_t node, struct device **ret)
{
	struct device *d = &devices[card];
	struct ini_error error;
	int r;

	if (node != card + 1)
		abort();
	if (refusals[card] < 0)
		return refusals[card];
	r = plant_device_load(m->device_ini, &d->profile, &error);
	if (r < 0)
		return r;
	d->card = card;
	d->slot = NULL;
	for (uint32_t i = 0; i < SIM_SLOTS && !d->slot; i++) {
		int32_t none = 0;

		if (atomic_compare_exchange_strong(&m->cards[card].slots[i].pid, &none, getpid()))
			d->slot = &m->cards[card].slots[i];
	}
	n_open++;
	*ret = d;
	return d->slot ? 0 : -EBUSY;
}

struct device *device_free(struct device *d)
{
	if (!d)
		return NULL;
	atomic_store(&d->slot->vram_bytes, 0);
	atomic_store(&d->slot->pid, 0);
	free(d->profile);
	n_open--;
	return NULL;
}

struct device *device_forget(struct device *d)
{
	if (!d)
		return NULL;
	free(d->profile);
	n_open--;
	n_forgotten++;
	return NULL;
}

const struct plant_device *device_profile(const struct device *d)
{
	return d->profile;
}

void device_set_vram(struct device *d, uint64_t bytes)
{
	atomic_store(&d->slot->vram_bytes, bytes);
}

/* Called while the memory is still there, but not accessible any more. */
void device_withdraw(struct device *d, const void *address, uint64_t size)
{
	if (memory_accessible(address, size))
		abort();
	*(volatile const char *)address;
	d->withdrawn += size;
}

uint64_t fake_withdrawn(uint32_t card)
{
	return devices[card].withdrawn;
}

int device_queue_new(struct device *d _unused_, const struct device_queue_options *o,
		     struct device_queue **ret, volatile uint64_t **ret_doorbell)
{
	struct device_queue *q;

	if (!memory_accessible(o->ring, o->ring_bytes) || (o->ring_bytes & (o->ring_bytes - 1)))
		return -EINVAL;
	/* A place is used again only when all are taken, so that a test can look at dead queues. */
	for (q = queues; q < queues + MAX_QUEUES && q->fake.live; q++)
		;
	if (n_queues < MAX_QUEUES)
		q = &queues[n_queues++];
	if (q == queues + MAX_QUEUES)
		return -ENOMEM;
	*q = (struct device_queue){.fake = {.options = *o, .live = true}};
	*ret = q;
	*ret_doorbell = &q->doorbell;
	return 0;
}

struct device_queue *device_queue_free(struct device_queue *q)
{
	if (!q->fake.live)
		abort();
	q->fake.live = false;
	return NULL;
}

void device_queue_update(struct device_queue *q, uint32_t percentage, uint32_t priority)
{
	q->fake.percentage = percentage;
	q->fake.priority = priority;
}

const volatile uint64_t *device_queue_read_index(const struct device_queue *q)
{
	return &q->read_index;
}

const volatile uint64_t *device_queue_write_index(const struct device_queue *q)
{
	return &q->write_index;
}

int device_queue_set_mask(struct device_queue *q, const uint32_t *words, uint32_t bits)
{
	if (bits % 32)
		return -EINVAL;
	memcpy(q->fake.mask, words, bits / 8);
	q->fake.mask_bits = bits;
	return 0;
}

void device_clocks(const struct device *d _unused_, uint64_t *ret_system_ns,
		   uint64_t *ret_gpu_ticks)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_BOOTTIME, &t);
	*ret_system_ns = (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
	*ret_gpu_ticks = *ret_system_ns / (NSEC_PER_SEC / HSAKMT_GPU_CLOCK_HZ);
}
