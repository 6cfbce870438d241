/* SPDX-License-Identifier: Apache-2.0 */
/* A simulated card as a process uses it: its queues, and the thread that serves them.
 *
 * The thread sleeps until the next end on the line of device time. While packets come it looks at
 * the doorbells every NAP_NS; after QUIET_NS without any it has the next ring trap (doorbell.h),
 * and an idle process costs nothing. */
#include "base/log.h"
#include "base/units.h"
#include "sim/hsakmt/device-internal.h"
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define NAP_NS	       (20 * NSEC_PER_USEC)
#define QUIET_NS       (2 * NSEC_PER_MSEC)
#define WAITING_MAX_NS NSEC_PER_MSEC	   /* between looks at a value in memory */
#define RUNNING_MAX_NS (4 * NSEC_PER_MSEC) /* ... at clock and others while work runs */
#define NO_TRAP_NAP_NS (4 * NSEC_PER_MSEC) /* ... at the doorbells of an idle process */
#define TICKS_NS       (NSEC_PER_SEC / HSAKMT_GPU_CLOCK_HZ)
#define SLICE_NS       (100 * NSEC_PER_USEC)

/* ---- time ---- */

static int64_t boot_offset_ns(void)
{
	struct timespec boot, mono;

	(void)clock_gettime(CLOCK_BOOTTIME, &boot);
	(void)clock_gettime(CLOCK_MONOTONIC, &mono);
	return (int64_t)(boot.tv_sec - mono.tv_sec) * (int64_t)NSEC_PER_SEC +
	       (boot.tv_nsec - mono.tv_nsec);
}

static uint64_t system_ns(const struct device *d, uint64_t wall_ns)
{
	return (uint64_t)((int64_t)wall_ns + d->boot_offset_ns);
}

uint64_t device_ticks(const struct device *d, uint64_t device_ns)
{
	return system_ns(d, sim_wall_ns(d->machine, device_ns)) / TICKS_NS;
}

void device_clocks(const struct device *d, uint64_t *ret_system_ns, uint64_t *ret_gpu_ticks)
{
	uint64_t ns = system_ns(d, monotonic_ns());

	*ret_system_ns = ns;
	*ret_gpu_ticks = ns / TICKS_NS;
}

/* ---- the thread ---- */

void device_queue_fault(struct device_queue *q, uint64_t address)
{
	q->stopped = true;
	event_raise_fault(q->device->node, address);
}

bool device_queue_reach(struct device_queue *q, uint64_t address, uint64_t size)
{
	if (memory_accessible((const void *)(uintptr_t)address, size))
		return true;
	device_queue_fault(q, address);
	return false;
}

static bool is_idle(const struct device_queue *q)
{
	return q->n_running == 0 && !q->copying && q->taken >= q->available;
}

/* Reads the doorbells. They may come out of order from several threads, so the highest counts. */
static void look_at_doorbells(struct device *d, uint64_t now_ns)
{
	for (struct device_queue *q = d->queues; q; q = q->next) {
		uint64_t rung = __atomic_load_n(q->doorbell, __ATOMIC_ACQUIRE);

		/* Of AQL it is the index of the last packet, of SDMA the end in bytes. */
		if (q->options.type == DEVICE_QUEUE_AQL)
			rung++;
		if (rung <= q->available)
			continue;
		if (is_idle(q))
			q->arrival_ns = now_ns;
		q->available = rung;
		d->progress = true;
	}
}

static bool waits_for_memory(const struct device *d)
{
	for (const struct device_queue *q = d->queues; q; q = q->next)
		if (q->waits ||
		    (q->options.type == DEVICE_QUEUE_AQL && q->n_running == 0 && !q->stopped &&
		     q->options.percentage > 0 && q->taken < q->available))
			return true;
	return false;
}

/* How long there is nothing to do, UINT64_MAX for ever; *ret_trap: unless a doorbell is rung. */
static uint64_t time_to_sleep(struct device *d, uint64_t wall_ns, bool *ret_trap)
{
	uint64_t next_ns = timeline_next_ns(d), sleep_ns = UINT64_MAX, quiet_ns, wake_ns;

	/* What was rung may be written only when the one who rings runs again. */
	if (d->progress || d->rung)
		d->active_wall_ns = wall_ns;
	d->progress = d->rung = false;
	quiet_ns = wall_ns - d->active_wall_ns;
	if (next_ns != UINT64_MAX) {
		wake_ns = sim_wall_ns(d->machine, next_ns);
		sleep_ns = MIN(wake_ns > wall_ns ? wake_ns - wall_ns : 0, RUNNING_MAX_NS);
	}
	*ret_trap = quiet_ns >= QUIET_NS;
	if (!*ret_trap)
		return MIN(sleep_ns, NAP_NS);
	if (waits_for_memory(d))
		sleep_ns = MIN(sleep_ns, CLAMP(quiet_ns / 16, NAP_NS, WAITING_MAX_NS));
	return sleep_ns;
}

/* One round: everything up to now. Returns how long to sleep. */
static uint64_t serve(struct device *d, bool *ret_trap)
{
	uint64_t wall_ns, now_ns, sleep_ns;

	(void)pthread_mutex_lock(&d->lock);
	wall_ns = monotonic_ns();
	now_ns = sim_device_ns(d->machine, wall_ns);
	look_at_doorbells(d, now_ns);
	timeline_advance(d, now_ns);
	timeline_publish(d, now_ns);
	sleep_ns = time_to_sleep(d, wall_ns, ret_trap);
	(void)pthread_mutex_unlock(&d->lock);
	return sleep_ns;
}

/* Whether a doorbell was rung since the last round. Relaxed: TSan would have this thread wait for
 * the one whose store has trapped. The doorbell is read once more before it counts. */
static bool was_rung(struct device *d)
{
	bool rung = false;

	(void)pthread_mutex_lock(&d->lock);
	for (struct device_queue *q = d->queues; q; q = q->next)
		rung |= __atomic_load_n(q->doorbell, __ATOMIC_RELAXED) +
				(q->options.type == DEVICE_QUEUE_AQL) >
			q->available;
	(void)pthread_mutex_unlock(&d->lock);
	return rung;
}

static void sleep_for(struct device *d, uint64_t sleep_ns, bool trap)
{
	struct pollfd p[] = {{.fd = d->wake_fd, .events = POLLIN}, {.fd = -1, .events = POLLIN}};
	struct timespec t;
	uint64_t count;

	if (trap && doorbells_arm(&d->doorbells) == 0)
		p[1].fd = d->doorbells.uffd;
	else if (trap)
		sleep_ns = MIN(sleep_ns, NO_TRAP_NAP_NS);
	if (p[1].fd < 0 || !was_rung(d)) {
		t = (struct timespec){.tv_sec = (time_t)(sleep_ns / NSEC_PER_SEC),
				      .tv_nsec = (long)(sleep_ns % NSEC_PER_SEC)};
		(void)ppoll(p, ARRAY_SIZE(p), sleep_ns == UINT64_MAX ? NULL : &t, NULL);
	}
	/* Before the lock is taken: who holds it may be the one that rings. */
	if (p[1].fd >= 0)
		doorbells_disarm(&d->doorbells);
	if (p[0].revents)
		(void)!read(d->wake_fd, &count, sizeof(count));
	if (p[1].revents)
		d->rung = true;
}

/* struct sched_attr, whose header glibc's <sched.h> does not bear beside it. */
struct scheduling {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

/* The one who rings often spins for the answer on the core where this thread should run. A short
 * slice has it run next; needs no privilege, and kernels before 6.12 ignore it. */
static void ask_for_short_slices(void)
{
	struct scheduling a = {.size = sizeof(a)};

	if (syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) < 0 || a.policy != SCHED_OTHER)
		return;
	a.runtime_ns = SLICE_NS;
	(void)syscall(SYS_sched_setattr, 0, &a, 0);
}

static void *serve_all(void *userdata)
{
	struct device *d = userdata;

	(void)prctl(PR_SET_TIMERSLACK, 1);
	ask_for_short_slices();
	while (!atomic_load(&d->stop)) {
		bool trap;
		uint64_t sleep_ns = serve(d, &trap);

		if (!atomic_load(&d->stop) && sleep_ns > 0)
			sleep_for(d, sleep_ns, trap);
	}
	return NULL;
}

void device_wake(struct device *d)
{
	uint64_t one = 1;

	(void)!write(d->wake_fd, &one, sizeof(one));
}

int device_start_thread(struct device *d)
{
	sigset_t all, before;
	int r;

	if (d->started)
		return 0;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&d->thread, NULL, serve_all, d);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	d->started = r == 0;
	return r == 0 ? 0 : -ENOMEM;
}

/* ---- devices ---- */

static void free_parts(struct device *d)
{
	(void)mover_free(d->mover);
	(void)kernel_costs_free(d->costs);
	doorbells_close(&d->doorbells);
	if (d->wake_fd >= 0)
		(void)close(d->wake_fd);
	if (d->slot)
		sim_slot_release(d->card, d->slot);
	(void)pthread_mutex_destroy(&d->lock);
	free(d->profile);
	free(d);
}

/* models/kernels.ini beside the folder of the device's profile. */
static void table_path(const char *device_ini, char *ret, size_t size)
{
	const char *end = strrchr(device_ini, '/');

	(void)snprintf(ret, size, "%.*s/../models/kernels.ini", end ? (int)(end - device_ini) : 1,
		       end ? device_ini : ".");
}

static int load_profile(struct device *d)
{
	char path[sizeof(d->machine->device_ini)], table[sizeof(path) + 32];
	struct ini_error error;
	int r;

	(void)snprintf(path, sizeof(path), "%.*s", (int)sizeof(path) - 1, d->machine->device_ini);
	r = plant_device_load(path, &d->profile, &error);
	if (r < 0)
		return log_error_errno(r, "%s:%u: %s", path, error.line, error.text);
	plant_cus_init(&d->cus, d->profile);
	table_path(path, table, sizeof(table));
	r = kernel_costs_new(table, d->profile->gfx, &d->costs, &error);
	if (r < 0)
		return log_error_errno(r, "%s:%u: %s", table, error.line, error.text);
	return 0;
}

int device_new(struct sim_machine *m, uint32_t card, uint32_t node, struct device **ret)
{
	struct device *d;
	int r;

	if (card >= m->n_cards || card >= SIM_MAX_CARDS ||
	    atomic_load(&m->cards[card].clock_head) == 0)
		return -ENODEV;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->machine = m;
	d->card = &m->cards[card];
	d->node = node;
	d->boot_offset_ns = boot_offset_ns();
	d->doorbells.uffd = -1;
	(void)pthread_mutex_init(&d->lock, NULL);
	d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = d->wake_fd < 0 ? -errno : load_profile(d);
	if (r == 0)
		r = doorbells_open(&d->doorbells);
	if (r == 0)
		r = mover_new(d->wake_fd, &d->mover);
	if (r == 0)
		r = sim_slot_take(d->card, sim_device_ns(m, monotonic_ns()), &d->slot);
	if (r < 0) {
		free_parts(d);
		return r;
	}
	atomic_store(&d->slot->ends_with_process, 1);
	timeline_init(d);
	*ret = d;
	return 0;
}

struct device *device_free(struct device *d)
{
	if (!d)
		return NULL;
	atomic_store(&d->stop, true);
	if (d->started) {
		device_wake(d);
		(void)pthread_join(d->thread, NULL);
	}
	while (d->queues)
		(void)device_queue_free(d->queues);
	free_parts(d);
	return NULL;
}

/* The child has neither the threads nor the slot, and its locks are as they were at the fork. */
struct device *device_forget(struct device *d)
{
	if (!d)
		return NULL;
	if (d->doorbells.uffd >= 0)
		(void)close(d->doorbells.uffd);
	(void)close(d->wake_fd);
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
