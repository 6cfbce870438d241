/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the simulated thunk, our libhsakmt.so.1. It stands below Debian's unmodified ROCr
 * and HIP in place of the real one and needs no /dev/kfd: the cards are those of cofris-sim
 * (sim/sim-card.h), memory is the process's own, and queues are served by a thread per card in
 * virtual device time. No GPU instruction is executed: known copy and fill kernels are done by the
 * host, so that every byte that copies and fills move is right; of all other kernels only the time
 * and the power are simulated.
 *
 *   thunk.c, topology.c, memory.c, events.c, queues.c   the hsaKmt* functions, what they keep
 *   device.c and what it uses                           packets, kernels and their time
 *
 * The parts meet here and nowhere else. */
#pragma once

#include "base/macros.h"
#include "sim/sim-card.h"
#include <hsakmt.h>
#include <stdbool.h>
#include <stdint.h>

#define HSAKMT_EXPORT __attribute__((visibility("default")))

/* GPUClock of hsaKmtGetClockCounters and the time stamps of packets. */
#define HSAKMT_GPU_CLOCK_HZ UINT64_C(25000000)

/* ---- memory.c ---- */

/* Whether [address, address + size) lies inside what was allocated for or registered with a card;
 * what a kernel or copy touches outside of that is a page fault on hardware. Thread-safe. The
 * device may use what it found accessible as long as it holds its lock, and a copy under way until
 * device_withdraw(). */
bool memory_accessible(const void *address, uint64_t size);
/* The whole allocation that holds address, for finding a code object's start. */
bool memory_find(const void *address, void **ret_start, uint64_t *ret_size);

/* ---- events.c ---- */

/* Raises the event as hsaKmtSetEvent() would; an unknown id is ignored. From any thread. */
void event_raise(uint32_t event_id);
/* A page fault of the card at address: fills and raises the process's MEMORY event. */
void event_raise_fault(uint32_t node, uint64_t address);

/* ---- device.c ---- */

struct device;	     /* one simulated card as this process uses it */
struct device_queue; /* of one of its queues */

enum device_queue_type { DEVICE_QUEUE_AQL, DEVICE_QUEUE_SDMA };

struct device_queue_options {
	enum device_queue_type type;
	void *ring;
	uint64_t ring_bytes; /* a power of two */
	/* AQL: ROCr's own words inside its amd_queue_t, counting packets. SDMA: NULL; the device
	 * has words of its own, counting bytes. */
	volatile uint64_t *read_index, *write_index;
	uint32_t percentage, priority;
};

/* Opens the card with this index for the process: takes its slot, starts its thread with the first
 * queue. The machine must outlive it. 0, -EBUSY (no slot), -ENODEV, -ENOMEM, or what the device's
 * profile is refused with. */
int device_new(struct sim_machine *m, uint32_t card, uint32_t node, struct device **ret);
/* Ends the thread, drops all queues, frees the slot. NULL is allowed. */
struct device *device_free(struct device *d);
/* In a forked child: nothing of the parent's device may be touched; frees what can be freed. */
struct device *device_forget(struct device *d);
const struct plant_device *device_profile(const struct device *d);
/* Bytes of VRAM that the process holds, for the card's files. */
void device_set_vram(struct device *d, uint64_t bytes);
/* For memory that is accessible no more and about to go: at return the card does not touch it. A
 * copy that still had to is a page fault there. Not to be called with the memory's lock. */
void device_withdraw(struct device *d, const void *address, uint64_t size);

/* -ENOMEM, or -EINVAL for a ring that is no power of two or not accessible. *ret_doorbell (8 bytes)
 * and the two index words stay valid until device_queue_free(). */
int device_queue_new(struct device *d, const struct device_queue_options *o,
		     struct device_queue **ret, volatile uint64_t **ret_doorbell);
/* Stops the queue: kernels in flight end at once, uncompleted. Not to be called from an event. */
struct device_queue *device_queue_free(struct device_queue *q);
/* percentage 0: suspended, no new packet is taken. */
void device_queue_update(struct device_queue *q, uint32_t percentage, uint32_t priority);
const volatile uint64_t *device_queue_read_index(const struct device_queue *q);
const volatile uint64_t *device_queue_write_index(const struct device_queue *q);
/* bits: a multiple of 32, as the kernel has it, else -EINVAL. Bits beyond the card's CUs are
 * ignored. A mask without any CU hangs the queue, as on hardware: nothing is dispatched from it
 * until another mask comes. Acts on running kernels from this moment on. */
int device_queue_set_mask(struct device_queue *q, const uint32_t *words, uint32_t bits);

/* Both clocks of one moment: CLOCK_BOOTTIME in ns, and GPU ticks on the same line. Packets are
 * stamped with the ticks of the wall time that belongs to their device time: on a card slowed down
 * by time_scale, HIP's events show how long a program really waited. */
void device_clocks(const struct device *d, uint64_t *ret_system_ns, uint64_t *ret_gpu_ticks);
