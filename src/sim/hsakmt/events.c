/* SPDX-License-Identifier: Apache-2.0 */
/* Events with the kernel's rules (kfd_events.c):
 *
 *   - raising an event wakes everyone who waits for it. It stays raised only if it is a manual
 *     one, or if nobody waited: one raise of an auto-reset event is one wake-up round, never two.
 *   - a wait takes the flag of an auto-reset event at once, for each event that it names, even
 *     where it then goes on waiting for others.
 *   - an event that is destroyed fails those who wait for it.
 *
 * ROCr makes one event per signal and waits for a handful at a time, so that looking through all
 * waiters at a raise is the short way. */
#include "base/units.h"
#include "sim/hsakmt/thunk.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define MAX_EVENTS    4096 /* KFD_SIGNAL_EVENT_LIMIT; id 0 is not used */
#define MAX_WAIT_FOR  4096
#define NOT_SIGNALLED UINT64_MAX /* in a mailbox */
/* Both mean for ever: the kernel takes the first for a time out of signed milliseconds. */
#define FIRST_INFINITE_MS UINT32_C(0xfffffffe)

struct event {
	HsaEvent *public; /* what the caller holds */
	HSA_EVENTTYPE type;
	bool auto_reset, raised;
	bool has_fault;
	HsaMemoryAccessFault fault;
};

/* One event that someone waits for. */
struct wait {
	struct event *event; /* NULL: destroyed meanwhile */
	bool activated;
};

struct waiter {
	struct waiter *next; /* events.waiters */
	pthread_cond_t woken;
	struct wait *waits;
	uint32_t n_waits;
};

static struct {
	pthread_mutex_t lock;
	struct event *events[MAX_EVENTS]; /* by id */
	struct waiter *waiters;
	uint64_t *mailboxes; /* of MAX_EVENTS */
} all = {.lock = PTHREAD_MUTEX_INITIALIZER};

static bool has_mailbox(HSA_EVENTTYPE type)
{
	return type == HSA_EVENTTYPE_SIGNAL || type == HSA_EVENTTYPE_DEBUG_EVENT;
}

/* The caller's event by its id, or NULL. The lock is held. */
static struct event *find(const HsaEvent *public)
{
	if (!public || public->EventId == 0 || public->EventId >= MAX_EVENTS)
		return NULL;
	return all.events[public->EventId];
}

/* ---- raising ---- */

static void raise_locked(struct event *e)
{
	bool waited_for = false;

	for (struct waiter *w = all.waiters; w; w = w->next)
		for (uint32_t i = 0; i < w->n_waits; i++) {
			if (w->waits[i].event != e)
				continue;
			waited_for = true;
			w->waits[i].activated = true;
			(void)pthread_cond_signal(&w->woken);
		}
	e->raised = !e->auto_reset || !waited_for;
}

void event_raise(uint32_t id)
{
	struct event *e;

	(void)pthread_mutex_lock(&all.lock);
	e = id < MAX_EVENTS ? all.events[id] : NULL;
	if (e) {
		/* As the kernel's interrupt handler: the mailbox has been read. */
		if (has_mailbox(e->type))
			__atomic_store_n(&all.mailboxes[id], NOT_SIGNALLED, __ATOMIC_RELAXED);
		raise_locked(e);
	}
	(void)pthread_mutex_unlock(&all.lock);
}

void event_raise_fault(uint32_t node, uint64_t address)
{
	(void)pthread_mutex_lock(&all.lock);
	for (uint32_t id = 1; id < MAX_EVENTS; id++) {
		struct event *e = all.events[id];

		if (!e || e->type != HSA_EVENTTYPE_MEMORY)
			continue;
		/* The first fault is told; it ends the process. */
		if (!e->has_fault)
			e->fault = (HsaMemoryAccessFault){
				.NodeId = node,
				.VirtualAddress = address & ~(HSAKMT_PAGE - 1),
				.Failure = {.NotPresent = 1},
				.Flags = HSA_EVENTID_MEMORY_FATAL_PROCESS,
			};
		e->has_fault = true;
		raise_locked(e);
	}
	(void)pthread_mutex_unlock(&all.lock);
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtSetEvent(HsaEvent *public)
{
	HSAKMT_STATUS status = thunk_check();
	struct event *e;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	(void)pthread_mutex_lock(&all.lock);
	e = find(public);
	if (!e)
		status = HSAKMT_STATUS_INVALID_HANDLE;
	else if (e->type != HSA_EVENTTYPE_SIGNAL)
		/* Only the hardware raises the others. */
		status = HSAKMT_STATUS_ERROR;
	else
		raise_locked(e);
	(void)pthread_mutex_unlock(&all.lock);
	return status;
}

/* ---- creating and destroying ---- */

static uint32_t free_id(void)
{
	for (uint32_t id = 1; id < MAX_EVENTS; id++)
		if (!all.events[id])
			return id;
	return 0;
}

/* The lock is held. */
static int add(const HsaEventDescriptor *d, struct event *e)
{
	uint32_t id = free_id();

	if (id == 0)
		return -ENOSPC;
	e->public->EventId = id;
	e->public->EventData = (HsaEventData){
		.EventType = d->EventType,
		.EventData = {.SyncVar = d->SyncVar},
		.HWData1 = id,
		.HWData3 = id,
	};
	if (has_mailbox(d->EventType)) {
		all.mailboxes[id] = NOT_SIGNALLED;
		e->public->EventData.HWData2 = (uintptr_t)&all.mailboxes[id];
	}
	all.events[id] = e;
	return 0;
}

static struct event *event_free(struct event *e)
{
	if (e)
		free(e->public);
	free(e);
	return NULL;
}
DEFINE_CLEANUP(struct event *, event_free)

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtCreateEvent(HsaEventDescriptor *descriptor, bool manual_reset,
					      bool is_signalled, HsaEvent **ret)
{
	_cleanup_(event_freep) struct event *e = NULL;
	HSAKMT_STATUS status = thunk_check();
	int r;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (!descriptor || !ret || (uint32_t)descriptor->EventType >= HSA_EVENTTYPE_MAXID)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	e = calloc(1, sizeof(*e));
	if (!e)
		return HSAKMT_STATUS_NO_MEMORY;
	e->public = calloc(1, sizeof(*e->public));
	if (!e->public)
		return HSAKMT_STATUS_NO_MEMORY;
	e->type = descriptor->EventType;
	e->auto_reset = !manual_reset;
	e->raised = is_signalled;
	(void)pthread_mutex_lock(&all.lock);
	r = add(descriptor, e);
	(void)pthread_mutex_unlock(&all.lock);
	if (r < 0)
		return thunk_status(r);
	*ret = e->public;
	e = NULL;
	return HSAKMT_STATUS_SUCCESS;
}

/* The lock is held. */
static void drop(uint32_t id)
{
	struct event *e = all.events[id];

	for (struct waiter *w = all.waiters; w; w = w->next)
		for (uint32_t i = 0; i < w->n_waits; i++) {
			if (w->waits[i].event != e)
				continue;
			w->waits[i].event = NULL;
			(void)pthread_cond_signal(&w->woken);
		}
	all.events[id] = event_free(e);
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtDestroyEvent(HsaEvent *public)
{
	HSAKMT_STATUS status = thunk_check();

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	(void)pthread_mutex_lock(&all.lock);
	if (find(public))
		drop(public->EventId);
	else
		status = HSAKMT_STATUS_INVALID_HANDLE;
	(void)pthread_mutex_unlock(&all.lock);
	return status;
}

/* ---- waiting ---- */

static struct timespec deadline_in(uint32_t ms)
{
	struct timespec t;
	uint64_t ns;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	ns = (uint64_t)t.tv_nsec + ms * NSEC_PER_MSEC;
	t.tv_sec += (time_t)(ns / NSEC_PER_SEC);
	t.tv_nsec = (long)(ns % NSEC_PER_SEC);
	return t;
}

/* 1: the wait is over, 0: it goes on, -EBADF: one of the events is no more. */
static int look(const struct waiter *w, bool wait_for_all)
{
	uint32_t n_activated = 0;

	for (uint32_t i = 0; i < w->n_waits; i++) {
		if (!w->waits[i].event)
			return -EBADF;
		n_activated += w->waits[i].activated;
	}
	return wait_for_all ? n_activated == w->n_waits : n_activated > 0;
}

static void unlink_waiter(const struct waiter *w)
{
	struct waiter **p = &all.waiters;

	while (*p && *p != w)
		p = &(*p)->next;
	if (*p)
		*p = w->next;
}

/* Takes the flags that are up, and waits for what is missing. The lock is held. */
static int wait_locked(struct waiter *w, bool wait_for_all, uint32_t ms)
{
	struct timespec deadline = deadline_in(ms);
	int r, expired = 0;

	for (uint32_t i = 0; i < w->n_waits; i++) {
		struct event *e = w->waits[i].event;

		w->waits[i].activated = e->raised;
		if (e->auto_reset)
			e->raised = false;
	}
	w->next = all.waiters;
	all.waiters = w;
	while ((r = look(w, wait_for_all)) == 0 && !expired && ms != 0) {
		if (ms >= FIRST_INFINITE_MS)
			(void)pthread_cond_wait(&w->woken, &all.lock);
		else
			expired = pthread_cond_clockwait(&w->woken, &all.lock, CLOCK_MONOTONIC,
							 &deadline);
	}
	unlink_waiter(w);
	return r;
}

/* What came with the events: the access that failed. */
static void copy_faults(const struct waiter *w, HsaEvent *events[])
{
	for (uint32_t i = 0; i < w->n_waits; i++) {
		struct event *e = w->waits[i].event;

		if (!e || !w->waits[i].activated || !e->has_fault)
			continue;
		events[i]->EventData.EventData.MemoryAccessFault = e->fault;
		e->has_fault = false;
	}
}

static HSAKMT_STATUS wait_for(struct waiter *w, HsaEvent *events[], bool wait_for_all, uint32_t ms)
{
	HSAKMT_STATUS status = HSAKMT_STATUS_SUCCESS;
	int r;

	(void)pthread_mutex_lock(&all.lock);
	for (uint32_t i = 0; i < w->n_waits; i++) {
		w->waits[i].event = find(events[i]);
		if (!w->waits[i].event)
			status = HSAKMT_STATUS_INVALID_HANDLE;
	}
	if (status == HSAKMT_STATUS_SUCCESS) {
		r = wait_locked(w, wait_for_all, ms);
		copy_faults(w, events);
		if (r <= 0)
			status = r < 0 ? HSAKMT_STATUS_WAIT_FAILURE : HSAKMT_STATUS_WAIT_TIMEOUT;
	}
	(void)pthread_mutex_unlock(&all.lock);
	return status;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtWaitOnMultipleEvents(HsaEvent *events[], HSAuint32 n,
						       bool wait_on_all, HSAuint32 ms)
{
	_cleanup_(freep) struct wait *waits = NULL;
	HSAKMT_STATUS status = thunk_check();
	struct waiter w = {.n_waits = n};

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (!events)
		return HSAKMT_STATUS_INVALID_HANDLE;
	if (n == 0 || n > MAX_WAIT_FOR)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	waits = calloc(n, sizeof(*waits));
	if (!waits)
		return HSAKMT_STATUS_NO_MEMORY;
	w.waits = waits;
	(void)pthread_cond_init(&w.woken, NULL);
	status = wait_for(&w, events, wait_on_all, ms);
	(void)pthread_cond_destroy(&w.woken);
	return status;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtWaitOnEvent(HsaEvent *event, HSAuint32 ms)
{
	return hsaKmtWaitOnMultipleEvents(&event, 1, true, ms);
}

/* ---- the part ---- */

static int events_open(void)
{
	uint64_t *mailboxes = aligned_alloc(HSAKMT_PAGE, MAX_EVENTS * sizeof(*mailboxes));
	int r;

	if (!mailboxes)
		return -ENOMEM;
	/* The cards write there. */
	r = memory_register(mailboxes, MAX_EVENTS * sizeof(*mailboxes));
	if (r < 0) {
		free(mailboxes);
		return r;
	}
	all.mailboxes = mailboxes;
	return 0;
}

static void events_forget(void)
{
	for (uint32_t id = 1; id < MAX_EVENTS; id++)
		all.events[id] = event_free(all.events[id]);
	all.waiters = NULL;
	free(TAKE_PTR(all.mailboxes));
}

/* Whoever still waits is told that the event is gone, as when the file of the driver is closed. */
static void events_close(void)
{
	(void)pthread_mutex_lock(&all.lock);
	for (uint32_t id = 1; id < MAX_EVENTS; id++)
		if (all.events[id])
			drop(id);
	free(TAKE_PTR(all.mailboxes));
	(void)pthread_mutex_unlock(&all.lock);
}

static void events_lock(void)
{
	(void)pthread_mutex_lock(&all.lock);
}

static void events_unlock(void)
{
	(void)pthread_mutex_unlock(&all.lock);
}

const struct thunk_part events_part = {
	.open = events_open,
	.close = events_close,
	.forget = events_forget,
	.lock = events_lock,
	.unlock = events_unlock,
};
