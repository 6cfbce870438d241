/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of the copy engines, as of gfx9. Each queue is an engine of its own, which takes one
 * packet after the other: a copy occupies it for the time that its bytes need on the bus, all
 * others take none. */
#include "sim/hsakmt/device-internal.h"
#include <math.h>
#include <string.h>

#define PACKET_MAX_DWORDS 13
#define ATOMIC_ADD64	  47

enum op {
	OP_NOP = 0,
	OP_COPY = 1,
	OP_FENCE = 5,
	OP_TRAP = 6,
	OP_POLL = 8,
	OP_ATOMIC = 10,
	OP_FILL = 11,
	OP_TIMESTAMP = 13,
};

struct packet {
	uint32_t d[PACKET_MAX_DWORDS];
	uint64_t at_ns;
};

static uint64_t address(const struct packet *p, uint32_t dword)
{
	return p->d[dword] | (uint64_t)p->d[dword + 1] << 32;
}

static uint8_t sub_op(const struct packet *p)
{
	return p->d[0] >> 8 & 0xff;
}

static enum verdict nop(struct device_queue *q, const struct packet *p)
{
	(void)q;
	(void)p;
	return TAKE;
}

/* ---- copies ---- */

static double bus_ns(const struct device *d, uint64_t bytes)
{
	return d->profile->copy_us * 1e3 + (double)bytes / d->profile->pcie_gbps;
}

static enum verdict begin_copy(struct device_queue *q, const struct packet *p, struct copy c)
{
	struct device *d = q->device;
	uint64_t fault = 0, bytes = copy_bytes(&c);

	if (copy_check(&c, &fault) < 0) {
		device_queue_fault(q, fault);
		return REFUSE;
	}
	q->copy = c;
	q->copying = true;
	q->copy_end_ns = p->at_ns + (uint64_t)llround(bus_ns(d, bytes) * d->card->time_factor);
	timeline_count_bytes(d, bytes);
	mover_start(d->mover, &q->copy);
	return TAKE;
}

static enum verdict linear(struct device_queue *q, const struct packet *p)
{
	return begin_copy(q, p,
			  copy_linear(address(p, 5), address(p, 3), (p->d[1] & 0x3fffff) + 1));
}

/* One side of a rectangle: where its first element is, and the distances of rows and slices. */
static uint64_t rect_side(const uint32_t *d, uint64_t element, uint64_t *ret_pitch,
			  uint64_t *ret_slice)
{
	uint64_t x = d[2] & 0x3fff, y = d[2] >> 16 & 0x3fff, z = d[3] & 0x7ff;

	*ret_pitch = ((d[3] >> 13) + UINT64_C(1)) * element;
	*ret_slice = ((d[4] & 0xfffffff) + UINT64_C(1)) * element;
	return (d[0] | (uint64_t)d[1] << 32) + x * element + y * *ret_pitch + z * *ret_slice;
}

static enum verdict rect(struct device_queue *q, const struct packet *p)
{
	uint64_t element = UINT64_C(1) << (p->d[0] >> 29);
	struct copy c = {0};

	c.src = rect_side(&p->d[1], element, &c.src_pitch, &c.src_slice);
	c.dst = rect_side(&p->d[6], element, &c.dst_pitch, &c.dst_slice);
	c.row_bytes = ((p->d[11] & 0x3fff) + UINT64_C(1)) * element;
	c.rows = (p->d[11] >> 16 & 0x3fff) + UINT64_C(1);
	c.slices = (p->d[12] & 0x7ff) + UINT64_C(1);
	return begin_copy(q, p, c);
}

static enum verdict fill(struct device_queue *q, const struct packet *p)
{
	struct copy c = copy_fill(address(p, 1), 0, sizeof(p->d[3]), (p->d[4] & 0x3fffff) + 4);

	memcpy(c.pattern, &p->d[3], sizeof(p->d[3]));
	c.pattern_is_own = true;
	return begin_copy(q, p, c);
}

/* ---- words in memory ---- */

static enum verdict fence(struct device_queue *q, const struct packet *p)
{
	uint64_t at = address(p, 1) & ~UINT64_C(3);

	if (!device_queue_reach(q, at, sizeof(uint32_t)))
		return REFUSE;
	__atomic_store_n((uint32_t *)(uintptr_t)at, p->d[3], __ATOMIC_RELEASE);
	return TAKE;
}

static enum verdict trap(struct device_queue *q, const struct packet *p)
{
	(void)q;
	event_raise(p->d[1] & 0xfffffff);
	return TAKE;
}

static bool compare(uint32_t function, uint32_t value, uint32_t reference)
{
	switch (function) {
	case 1:
		return value < reference;
	case 2:
		return value <= reference;
	case 3:
		return value == reference;
	case 4:
		return value != reference;
	case 5:
		return value >= reference;
	case 6:
		return value > reference;
	default:
		return true;
	}
}

static enum verdict poll_memory(struct device_queue *q, const struct packet *p)
{
	uint64_t at = address(p, 1) & ~UINT64_C(3);
	uint32_t value;

	/* Of a register: the flush of the host's data path, which is never late here. */
	if (!(p->d[0] >> 31))
		return TAKE;
	if (!device_queue_reach(q, at, sizeof(value)))
		return REFUSE;
	value = __atomic_load_n((const uint32_t *)(uintptr_t)at, __ATOMIC_ACQUIRE) & p->d[4];
	return compare(p->d[0] >> 28 & 7, value, p->d[3]) ? TAKE : WAIT;
}

static enum verdict atomic(struct device_queue *q, const struct packet *p)
{
	uint64_t at = address(p, 1) & ~UINT64_C(7);

	if (!device_queue_reach(q, at, sizeof(uint64_t)))
		return REFUSE;
	if (p->d[0] >> 25 != ATOMIC_ADD64) {
		q->stopped = true;
		return REFUSE;
	}
	(void)__atomic_fetch_add((uint64_t *)(uintptr_t)at, address(p, 3), __ATOMIC_ACQ_REL);
	return TAKE;
}

static enum verdict timestamp(struct device_queue *q, const struct packet *p)
{
	uint64_t at = address(p, 1) & ~UINT64_C(7);

	if (!device_queue_reach(q, at, sizeof(uint64_t)))
		return REFUSE;
	__atomic_store_n((uint64_t *)(uintptr_t)at, device_ticks(q->device, p->at_ns),
			 __ATOMIC_RELEASE);
	return TAKE;
}

/* ---- the ring ---- */

static const struct kind {
	uint8_t op;
	int sub; /* -1: any */
	uint32_t dwords;
	enum verdict (*take)(struct device_queue *q, const struct packet *p);
} kinds[] = {
	{OP_NOP, -1, 1, nop},	    {OP_COPY, 0, 7, linear}, {OP_COPY, 4, 13, rect},
	{OP_FENCE, -1, 4, fence},   {OP_TRAP, -1, 2, trap},  {OP_POLL, -1, 6, poll_memory},
	{OP_ATOMIC, -1, 8, atomic}, {OP_FILL, -1, 5, fill},  {OP_TIMESTAMP, -1, 3, timestamp},
};

static const struct kind *kind_of(const struct packet *p)
{
	for (uint32_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].op == (p->d[0] & 0xff) &&
		    (kinds[i].sub < 0 || kinds[i].sub == sub_op(p)))
			return &kinds[i];
	return NULL;
}

static uint32_t ring_dword(const struct device_queue *q, uint64_t byte)
{
	const char *ring = q->options.ring;
	uint32_t value;

	memcpy(&value, ring + (byte & (q->options.ring_bytes - 1)), sizeof(value));
	return value;
}

static bool take_next(struct device_queue *q, uint64_t at_ns)
{
	struct packet p = {.at_ns = at_ns};
	const struct kind *k;
	enum verdict v;

	if (!device_queue_reach(q, (uintptr_t)q->options.ring, q->options.ring_bytes))
		return false;
	p.d[0] = ring_dword(q, q->taken);
	k = kind_of(&p);
	if (!k) {
		q->stopped = true; /* what follows cannot be told apart */
		return false;
	}
	if (q->available - q->taken < k->dwords * sizeof(*p.d))
		return false;
	for (uint32_t i = 1; i < k->dwords; i++)
		p.d[i] = ring_dword(q, q->taken + i * sizeof(*p.d));
	v = k->take(q, &p);
	q->waits = v == WAIT;
	if (v != TAKE)
		return false;
	q->taken += k->dwords * sizeof(*p.d);
	__atomic_store_n(&q->read_word, q->taken, __ATOMIC_RELEASE);
	q->device->progress = true;
	return true;
}

bool sdma_pump(struct device_queue *q, uint64_t at_ns)
{
	bool any = false;

	q->waits = false;
	while (!q->stopped && q->options.percentage > 0 && !q->copying &&
	       q->available - q->taken >= sizeof(uint32_t) &&
	       q->available - q->taken <= q->options.ring_bytes && take_next(q, at_ns))
		any = true;
	return any;
}
