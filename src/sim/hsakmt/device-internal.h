/* SPDX-License-Identifier: Apache-2.0 */
/* What device.c, timeline.c, aql.c and sdma.c share. All of it is under the device's lock.
 *
 * Virtual time: work is placed on a line of device time, at the arrival of its packet or the end of
 * what it waits for, and runs on that line as the plant says. The device's thread goes along the
 * line from event to event up to the present whenever it is awake, so that its own delays show in
 * no time of any event. */
#pragma once

#include "plant/share.h"
#include "sim/hsakmt/copy.h"
#include "sim/hsakmt/doorbell.h"
#include "sim/hsakmt/hsakmt.h"
#include "sim/hsakmt/kernel-cost.h"
#include <pthread.h>
#include <time.h>

#define DEVICE_MAX_RUNNING 128 /* kernels in flight at once */

/* A kernel in flight. */
struct device_kernel {
	struct device_kernel *next; /* in the order of their starts */
	struct device_queue *queue;
	struct plant_running running;
	double left; /* share of its work to do from timeline.at_ns on */
	uint64_t start_ns, end_ns;
	bool ended;	     /* in device time; the host still moves its bytes */
	bool barrier;	     /* nothing of its queue passes it */
	uint64_t completion; /* signal, 0: none */
	bool has_copy;
	struct copy copy;
};

struct device_queue {
	struct device *device;
	struct device_queue *next;
	struct device_queue_options options;
	struct cu_mask mask;
	uint32_t doorbell_index;
	volatile uint64_t *doorbell;
	uint64_t available;  /* packets or bytes made available so far */
	uint64_t taken;	     /* ... and taken */
	uint64_t arrival_ns; /* when the next of them came, for a queue that had nothing to do */
	bool waits;	     /* for a value in memory: nobody tells when it changes */
	bool stopped;	     /* by an error or a fault, for good */
	uint32_t n_running;
	bool barrier_running;
	bool ran_last; /* one of those whose kernels run, or ran when last any did */
	uint64_t last_end_ns;
	/* SDMA */
	uint64_t read_word, write_word;
	bool copying, copy_is_late; /* late: over in device time, the host still moves it */
	uint64_t copy_end_ns;
	struct copy copy;
};

/* What another process holds of the card. */
struct device_other {
	bool present;
	struct sim_load load;
};

struct timeline {
	uint64_t at_ns; /* where the state of the kernels was last settled */
	struct device_kernel *first, **last;
	uint32_t n;
	struct device_other others[SIM_SLOTS];
	uint32_t n_others;
	uint32_t others_epoch;
	uint64_t others_seen_ns;
	/* what the slot says */
	struct sim_account account;
	double flop, bytes; /* since the slot was taken */
	uint64_t flop_k_before, bytes_before;
	uint16_t load[SIM_MAX_CUS];
	struct cu_mask shown;  /* whose shape it has */
	bool changed;	       /* the set of running kernels or their masks */
	uint64_t set_since_ns; /* when that last changed */
	uint32_t clock_head;
	bool published_more;
};

struct device {
	struct sim_machine *machine;
	struct sim_card *card;
	struct sim_slot *slot;
	struct plant_device *profile;
	struct plant_cus cus;
	uint32_t node;
	int64_t boot_offset_ns; /* CLOCK_BOOTTIME - CLOCK_MONOTONIC */

	pthread_mutex_t lock;
	pthread_t thread;
	bool started;
	_Atomic bool stop;
	int wake_fd;
	struct doorbells doorbells;
	struct device_queue *queues;
	uint32_t n_queues;
	uint64_t active_wall_ns; /* when there was last something to do */
	struct kernel_costs *costs;
	struct mover *mover;
	struct timeline line;
	bool rung;     /* a doorbell trapped; the thread's own */
	bool progress; /* something was done since the thread last asked */
};

static inline uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * UINT64_C(1000000000) + (uint64_t)t.tv_nsec;
}

/* ---- device.c ---- */

/* GPU ticks of a moment of device time. */
uint64_t device_ticks(const struct device *d, uint64_t device_ns);
/* A page fault of this queue: it stops, and the process is told. */
void device_queue_fault(struct device_queue *q, uint64_t address);
/* Whether the queue may touch this memory; a page fault if not. */
bool device_queue_reach(struct device_queue *q, uint64_t address, uint64_t size);

/* Has the thread look at once. */
void device_wake(struct device *d);
/* Starts the thread if that has not been done. The lock is held. */
int device_start_thread(struct device *d);

/* ---- timeline.c ---- */

int timeline_init(struct device *d);
/* Goes along the line to to_ns: ends kernels and copies and takes packets as their time comes. */
void timeline_advance(struct device *d, uint64_t to_ns);
/* Puts a kernel on the line; it must be filled but for left and what follows from the mask. */
void timeline_start(struct device *d, struct device_kernel *k, uint64_t start_ns);
/* After a change of a queue's mask at now_ns. */
void timeline_remask(struct device *d, struct device_queue *q, const struct cu_mask *mask,
		     uint64_t now_ns);
/* Takes a queue's kernels off the line, uncompleted. */
void timeline_drop(struct device *d, struct device_queue *q, uint64_t now_ns);
/* Counts bytes that were moved without a kernel. */
void timeline_count_bytes(struct device *d, uint64_t bytes);
/* The next moment at which something ends, UINT64_MAX for none. */
uint64_t timeline_next_ns(struct device *d);

/* ---- timeline.c, for timeline-slot.c ---- */

/* What runs in a stretch of time in which clock and others are constant. */
struct stretch {
	struct plant_running *kernels[DEVICE_MAX_RUNNING];
	double left[DEVICE_MAX_RUNNING];
	uint32_t n;
};

/* As things stand at the line's at_ns. */
void timeline_stretch(const struct timeline *l, struct stretch *s);
/* Goes on from the line's at_ns to to_ns or the first end; s->left is what is left there. */
uint64_t timeline_walk(struct device *d, struct stretch *s, uint64_t to_ns, bool *ret_ended);
/* Makes now_ns, before which nothing may end, the line's at_ns. */
void timeline_settle(struct device *d, uint64_t now_ns);
/* timeline_advance() without a look at others. */
void timeline_run(struct device *d, uint64_t to_ns);
static inline double device_kernel_flop(const struct plant_running *k)
{
	return k->launch.flop_per_workgroup * k->launch.workgroups;
}

/* ---- timeline-slot.c ---- */

/* Looks at what others run now, if there is news. */
void timeline_follow(struct device *d, uint64_t now_ns);
/* Says in the slot how things stand. */
void timeline_publish(struct device *d, uint64_t now_ns);

/* ---- aql.c, sdma.c: taking packets at a moment of device time ---- */

/* What becomes of a packet: it is taken, waits for a value in memory, or stops its queue. */
enum verdict { TAKE, WAIT, REFUSE };

/* Whether anything was taken. */
bool aql_pump(struct device_queue *q, uint64_t at_ns);
/* Completes a kernel that has ended. */
void aql_end_kernel(struct device_queue *q, struct device_kernel *k);
bool sdma_pump(struct device_queue *q, uint64_t at_ns);
