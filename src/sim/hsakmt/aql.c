/* SPDX-License-Identifier: Apache-2.0 */
/* AQL packets. A packet is copied, its slot set to INVALID and only then the read index raised, as
 * runtimes wait for either. Kernels of a queue run side by side unless a barrier bit says
 * otherwise; all other packets wait until none of its kernels is in flight. */
#include "sim/hsakmt/blit.h"
#include "sim/hsakmt/device-internal.h"
#include <hsa/amd_hsa_queue.h>
#include <hsa/amd_hsa_signal.h>
#include <hsa/hsa.h>
#include <hsa/hsa_ext_amd.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define PACKET_BYTES	     64
#define WAVE_ITEMS	     64
#define SIMDS		     4
#define WORKGROUP_MAX	     1024
#define LDS_BYTES	     65536
#define LDS_GRANULE	     512
#define VENDOR_PM4_IB	     1
#define VENDOR_BARRIER_VALUE 2
#define PM4_COMPLETION	     56

/* What the command processor reports in queue_inactive_signal. */
enum queue_error {
	ERROR_DIMENSION = 2,
	ERROR_GROUP_MEMORY = 4,
	ERROR_CODE = 8,
	ERROR_PACKET = 32,
	ERROR_WORKGROUP = 64,
	ERROR_VENDOR_PACKET = 256,
};

union packet {
	uint16_t header;
	struct {
		uint16_t header;
		uint8_t format;
	} vendor;
	hsa_kernel_dispatch_packet_t dispatch;
	hsa_barrier_and_packet_t barrier;
	hsa_amd_barrier_value_packet_t barrier_value;
	char bytes[PACKET_BYTES];
};
_Static_assert(sizeof(union packet) == PACKET_BYTES, "AQL packets have 64 bytes");

/* ---- signals ---- */

static void signal_subtract(amd_signal_t *s)
{
	/* Whoever waits may use the signal for something else as soon as it has its value. */
	uint64_t mailbox = s->event_mailbox_ptr;
	uint32_t event_id = s->event_id;

	(void)__atomic_fetch_sub(&s->value, 1, __ATOMIC_ACQ_REL);
	if (mailbox == 0)
		return;
	if (memory_accessible((const void *)(uintptr_t)mailbox, sizeof(uint64_t)))
		__atomic_store_n((uint64_t *)(uintptr_t)mailbox, (uint64_t)event_id,
				 __ATOMIC_RELEASE);
	event_raise(event_id);
}

static void complete(struct device_queue *q, uint64_t signal, uint64_t start_ns, uint64_t end_ns)
{
	amd_signal_t *s = (amd_signal_t *)(uintptr_t)signal;

	if (signal == 0 || !device_queue_reach(q, signal, sizeof(*s)))
		return;
	s->start_ts = device_ticks(q->device, start_ns);
	s->end_ts = device_ticks(q->device, end_ns);
	signal_subtract(s);
}

/* ROCr's own record of the queue, around the read index; NULL if that is not where it should be. */
static amd_queue_t *amd_queue(struct device_queue *q)
{
	char *at =
		(char *)(uintptr_t)q->options.read_index - offsetof(amd_queue_t, read_dispatch_id);

	return memory_accessible(at, sizeof(amd_queue_t)) ? (amd_queue_t *)(void *)at : NULL;
}

/* Stops the queue and tells the runtime why, as the command processor does. */
static void refuse(struct device_queue *q, enum queue_error error)
{
	amd_queue_t *a = amd_queue(q);
	amd_signal_t *s;

	q->stopped = true;
	if (!a)
		return;
	s = (amd_signal_t *)(uintptr_t)a->queue_inactive_signal.handle;
	if (!s || !memory_accessible(s, sizeof(*s)))
		return;
	__atomic_store_n(&s->value, (int64_t)error, __ATOMIC_RELEASE);
	event_raise(s->event_id);
}

/* ---- kernels ---- */

void aql_end_kernel(struct device_queue *q, struct device_kernel *k)
{
	q->n_running--;
	if (q->n_running == 0)
		q->barrier_running = false;
	q->last_end_ns = k->end_ns;
	complete(q, k->completion, k->start_ns, k->end_ns);
}

static bool dimensions(const hsa_kernel_dispatch_packet_t *p, double *ret_workgroups,
		       uint32_t *ret_items)
{
	const uint32_t grid[] = {p->grid_size_x, p->grid_size_y, p->grid_size_z};
	const uint32_t size[] = {p->workgroup_size_x, p->workgroup_size_y, p->workgroup_size_z};
	uint32_t n = p->setup & 3;
	double workgroups = 1;
	uint64_t items = 1;

	if (n == 0)
		return false;
	for (uint32_t i = 0; i < n; i++) {
		if (grid[i] == 0 || size[i] == 0)
			return false;
		workgroups *= ceil((double)grid[i] / size[i]);
		items *= size[i];
	}
	*ret_workgroups = workgroups;
	*ret_items = (uint32_t)MIN(items, UINT64_C(1) << 31);
	return true;
}

/* A value of the cost; one in the arguments is read only where there are any. */
static bool value_of(struct device_queue *q, const struct kernel_value *v, uint64_t arguments,
		     double *ret)
{
	uint64_t value;

	if (!v->is_argument) {
		*ret = v->number;
		return true;
	}
	if (!device_queue_reach(q, arguments + v->offset, sizeof(value)))
		return false;
	memcpy(&value, (const void *)(uintptr_t)(arguments + v->offset), sizeof(value));
	*ret = (double)value;
	return true;
}

static bool cost_of(struct device_queue *q, const struct kernel_info *info, uint64_t arguments,
		    uint32_t items, struct plant_launch *l)
{
	double bytes = (double)items * KERNEL_DEFAULT_BYTES;

	l->flop_per_workgroup = (double)items * KERNEL_DEFAULT_FLOP;
	if (info->has_cost && (!value_of(q, &info->flop, arguments, &l->flop_per_workgroup) ||
			       !value_of(q, &info->bytes, arguments, &bytes)))
		return false;
	l->bytes = bytes * l->workgroups;
	return true;
}

/* Wave slots of a CU that the kernel can fill, by its registers and its LDS. */
static double slots_of(const struct kernel_info *info, uint32_t lds_bytes, double workgroup_waves)
{
	double slots = SIMDS * info->waves_per_simd;
	uint32_t lds = (lds_bytes + LDS_GRANULE - 1) / LDS_GRANULE * LDS_GRANULE;

	if (lds > 0)
		slots = fmin(slots, LDS_BYTES / lds * workgroup_waves);
	return fmax(slots, 1);
}

/* 0 and *k filled, or false after the queue was stopped. */
static bool prepare(struct device_queue *q, const hsa_kernel_dispatch_packet_t *p,
		    struct device_kernel *k)
{
	const uint32_t grid[] = {p->grid_size_x, p->grid_size_y, p->grid_size_z};
	uint64_t arguments = (uintptr_t)p->kernarg_address, fault = 0;
	struct plant_running *run = &k->running;
	const struct kernel_info *info = NULL;
	uint32_t items = 0;
	int r;

	if (!dimensions(p, &run->launch.workgroups, &items)) {
		refuse(q, ERROR_DIMENSION);
	} else if (items > WORKGROUP_MAX) {
		refuse(q, ERROR_WORKGROUP);
	} else if (p->group_segment_size > LDS_BYTES) {
		refuse(q, ERROR_GROUP_MEMORY);
	} else if (p->kernel_object == 0) {
		refuse(q, ERROR_CODE);
	} else if (kernel_costs_find(q->device->costs, p->kernel_object, &info) < 0) {
		device_queue_fault(q, p->kernel_object);
	} else if (info->argument_bytes > 0 &&
		   !memory_accessible(p->kernarg_address, info->argument_bytes)) {
		device_queue_fault(q, arguments);
	}
	if (q->stopped)
		return false;
	r = blit_decode(info->name, p->kernel_object, arguments, grid, &k->copy, &fault);
	if (r > 0)
		k->has_copy = true;
	if (r < 0 || (r > 0 && copy_check(&k->copy, &fault) < 0)) {
		device_queue_fault(q, fault);
		return false;
	}
	if (!cost_of(q, info, arguments, items, &run->launch))
		return false;
	if (k->has_copy) {
		run->launch.flop_per_workgroup = 0;
		run->launch.bytes =
			(double)copy_bytes(&k->copy) * (k->copy.pattern_bytes > 0 ? 1 : 2);
	}
	run->mask = &q->mask;
	run->workgroup_waves = (items + WAVE_ITEMS - 1) / WAVE_ITEMS;
	run->slots = slots_of(info, p->group_segment_size, run->workgroup_waves);
	k->completion = p->completion_signal.handle;
	return true;
}

static void dispatch(struct device_queue *q, const union packet *p, uint64_t at_ns)
{
	struct device_kernel *k = calloc(1, sizeof(*k));

	if (!k) {
		refuse(q, ERROR_CODE);
		return;
	}
	k->queue = q;
	k->barrier = p->header >> HSA_PACKET_HEADER_BARRIER & 1;
	if (!prepare(q, &p->dispatch, k)) {
		free(k);
		return;
	}
	q->n_running++;
	q->barrier_running = k->barrier;
	timeline_start(q->device, k, at_ns);
}

/* ---- barriers ---- */

/* Whether a dependency is met: its value is 0, or there is none. */
static enum verdict dependency(struct device_queue *q, uint64_t signal)
{
	const amd_signal_t *s = (const amd_signal_t *)(uintptr_t)signal;

	if (signal == 0)
		return TAKE;
	if (!device_queue_reach(q, signal, sizeof(*s)))
		return REFUSE;
	return __atomic_load_n(&s->value, __ATOMIC_ACQUIRE) == 0 ? TAKE : WAIT;
}

static enum verdict barrier(struct device_queue *q, const hsa_barrier_and_packet_t *p, bool any)
{
	uint32_t met = 0, given = 0;

	for (uint32_t i = 0; i < ARRAY_SIZE(p->dep_signal); i++) {
		enum verdict v = dependency(q, p->dep_signal[i].handle);

		if (v == REFUSE)
			return REFUSE;
		if (p->dep_signal[i].handle == 0)
			continue;
		given++;
		met += v == TAKE;
	}
	if (any)
		return given == 0 || met > 0 ? TAKE : WAIT;
	return met == given ? TAKE : WAIT;
}

static enum verdict barrier_value(struct device_queue *q, const hsa_amd_barrier_value_packet_t *p)
{
	const amd_signal_t *s = (const amd_signal_t *)(uintptr_t)p->signal.handle;
	int64_t value;
	bool met;

	if (!s)
		return TAKE;
	if (!device_queue_reach(q, p->signal.handle, sizeof(*s)))
		return REFUSE;
	value = __atomic_load_n(&s->value, __ATOMIC_ACQUIRE) & p->mask;
	switch (p->cond) {
	case HSA_SIGNAL_CONDITION_EQ:
		met = value == p->value;
		break;
	case HSA_SIGNAL_CONDITION_NE:
		met = value != p->value;
		break;
	case HSA_SIGNAL_CONDITION_LT:
		met = value < p->value;
		break;
	case HSA_SIGNAL_CONDITION_GTE:
		met = value >= p->value;
		break;
	default:
		refuse(q, ERROR_VENDOR_PACKET);
		return REFUSE;
	}
	return met ? TAKE : WAIT;
}

static enum verdict vendor(struct device_queue *q, const union packet *p, uint64_t *ret_completion)
{
	switch (p->vendor.format) {
	case VENDOR_PM4_IB:
		memcpy(ret_completion, p->bytes + PM4_COMPLETION, sizeof(*ret_completion));
		return TAKE;
	case VENDOR_BARRIER_VALUE:
		*ret_completion = p->barrier_value.completion_signal.handle;
		return barrier_value(q, &p->barrier_value);
	default:
		refuse(q, ERROR_VENDOR_PACKET);
		return REFUSE;
	}
}

/* ---- the ring ---- */

/* Marks the packet as taken. Its copy is what counts from here on. */
static void consume(struct device_queue *q, uint16_t *header)
{
	__atomic_store_n(header, (uint16_t)HSA_PACKET_TYPE_INVALID, __ATOMIC_RELEASE);
	q->taken++;
	__atomic_store_n(q->options.read_index, q->taken, __ATOMIC_RELEASE);
	q->waits = false;
	q->device->progress = true;
}

/* Whether the packet is a kernel that must not start yet, or one that never will. */
static bool kernel_is_held(const struct device_queue *q)
{
	return q->device->line.n >= DEVICE_MAX_RUNNING || cu_mask_count(&q->mask) == 0;
}

/* One packet, of this type; at its address lies what was copied. */
static bool take(struct device_queue *q, const union packet *p, uint16_t *header, uint64_t at_ns)
{
	uint8_t type = p->header >> HSA_PACKET_HEADER_TYPE & 0xff;
	uint64_t completion = 0;
	enum verdict v;

	if (type == HSA_PACKET_TYPE_KERNEL_DISPATCH) {
		if (kernel_is_held(q))
			return false;
		/* ROCr reuses a kernel's arguments as soon as its packet has been taken. */
		dispatch(q, p, at_ns);
		consume(q, header);
		return true;
	}
	if (q->n_running > 0)
		return false;
	if (type == HSA_PACKET_TYPE_BARRIER_AND || type == HSA_PACKET_TYPE_BARRIER_OR) {
		completion = p->barrier.completion_signal.handle;
		v = barrier(q, &p->barrier, type == HSA_PACKET_TYPE_BARRIER_OR);
	} else if (type == HSA_PACKET_TYPE_VENDOR_SPECIFIC) {
		v = vendor(q, p, &completion);
	} else {
		refuse(q, ERROR_PACKET);
		v = REFUSE;
	}
	q->waits = v == WAIT;
	if (v != TAKE)
		return false;
	consume(q, header);
	complete(q, completion, at_ns, at_ns);
	return true;
}

static bool take_next(struct device_queue *q, uint64_t at_ns)
{
	uint64_t n_packets = q->options.ring_bytes / PACKET_BYTES;
	char *slot = (char *)q->options.ring + (q->taken & (n_packets - 1)) * PACKET_BYTES;
	uint16_t *header = (uint16_t *)(void *)slot;
	union packet p;

	if (!device_queue_reach(q, (uintptr_t)slot, PACKET_BYTES) ||
	    !device_queue_reach(q, (uintptr_t)q->options.read_index, sizeof(uint64_t)))
		return false;
	p.header = __atomic_load_n(header, __ATOMIC_ACQUIRE);
	if ((p.header >> HSA_PACKET_HEADER_TYPE & 0xff) == HSA_PACKET_TYPE_INVALID)
		return false;
	memcpy(p.bytes + sizeof(p.header), slot + sizeof(p.header),
	       PACKET_BYTES - sizeof(p.header));
	if (q->n_running > 0 && (q->barrier_running || p.header >> HSA_PACKET_HEADER_BARRIER & 1))
		return false;
	return take(q, &p, header, at_ns);
}

bool aql_pump(struct device_queue *q, uint64_t at_ns)
{
	bool any = false;

	q->waits = false;
	while (!q->stopped && q->options.percentage > 0 && q->taken < q->available &&
	       take_next(q, at_ns))
		any = true;
	return any;
}
