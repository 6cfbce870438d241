/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing the simulated driver, and what has no state.
 *
 * HIP programs end without closing anything: what the process holds on the cards is freed by its
 * PID. A forked child has no driver, as with the real one; it may open it anew. */
#include "sim/hsakmt/thunk.h"
#include <errno.h>
#include <pthread.h>

#define KFD_MAJOR 1
#define KFD_MINOR 11 /* ROCr drops the Vega20 below 1.4, and interrupts at 1.0 */

static const struct thunk_part *const parts[] = {
	&memory_part,
	&events_part,
	&queues_part,
	&fault_watch_part,
};

static struct {
	pthread_mutex_t lock;
	_Atomic uint32_t n_open; /* calls of hsaKmtOpenKFD() not closed again */
	_Atomic bool forked;
	struct sim_machine *machine;
	uint32_t n_cards;
	struct device *devices[SIM_MAX_CARDS];
} thunk = {.lock = PTHREAD_MUTEX_INITIALIZER};

HSAKMT_STATUS thunk_check(void)
{
	if (atomic_load(&thunk.n_open) == 0 || atomic_load(&thunk.forked))
		return HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED;
	return HSAKMT_STATUS_SUCCESS;
}

HSAKMT_STATUS thunk_status(int r)
{
	switch (r) {
	case 0:
		return HSAKMT_STATUS_SUCCESS;
	case -ENOMEM:
		return HSAKMT_STATUS_NO_MEMORY;
	case -EINVAL:
		return HSAKMT_STATUS_INVALID_PARAMETER;
	case -EBADF:
		return HSAKMT_STATUS_INVALID_HANDLE;
	case -ENODEV:
		return HSAKMT_STATUS_INVALID_NODE_UNIT;
	case -ENOSPC:
	case -EBUSY:
		return HSAKMT_STATUS_OUT_OF_RESOURCES;
	default:
		return HSAKMT_STATUS_ERROR;
	}
}

struct sim_machine *thunk_machine(void)
{
	return thunk.machine;
}

uint32_t thunk_n_nodes(void)
{
	return HSAKMT_FIRST_CARD + thunk.n_cards;
}

struct device *thunk_device(uint32_t node)
{
	if (node < HSAKMT_FIRST_CARD || node >= thunk_n_nodes())
		return NULL;
	return thunk.devices[node - HSAKMT_FIRST_CARD];
}

struct sim_card *thunk_card(uint32_t node)
{
	if (!thunk_device(node))
		return NULL;
	return &thunk.machine->cards[node - HSAKMT_FIRST_CARD];
}

/* ---- fork ---- */

static void before_fork(void)
{
	(void)pthread_mutex_lock(&thunk.lock);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		parts[i]->lock();
}

static void after_fork(void)
{
	for (size_t i = ARRAY_SIZE(parts); i-- > 0;)
		parts[i]->unlock();
	(void)pthread_mutex_unlock(&thunk.lock);
}

static void after_fork_in_child(void)
{
	after_fork();
	if (atomic_load(&thunk.n_open) > 0)
		atomic_store(&thunk.forked, true);
}

static void watch_forks(void)
{
	(void)pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

/* What the parent had, in a child that begins anew. */
static void forget_all(void)
{
	for (size_t i = ARRAY_SIZE(parts); i-- > 0;)
		parts[i]->forget();
	for (uint32_t i = 0; i < thunk.n_cards; i++)
		thunk.devices[i] = device_forget(thunk.devices[i]);
	sim_machine_unmap(TAKE_PTR(thunk.machine));
	thunk.n_cards = 0;
	atomic_store(&thunk.n_open, 0);
	atomic_store(&thunk.forked, false);
}

/* ---- opening and closing ---- */

static void close_cards(void)
{
	for (uint32_t i = 0; i < thunk.n_cards; i++)
		thunk.devices[i] = device_free(thunk.devices[i]);
	thunk.n_cards = 0;
	sim_machine_unmap(TAKE_PTR(thunk.machine));
}

static int open_cards(void)
{
	int r;

	r = sim_machine_map(NULL, &thunk.machine);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < thunk.machine->n_cards && r == 0; i++) {
		r = device_new(thunk.machine, i, HSAKMT_FIRST_CARD + i, &thunk.devices[i]);
		if (r == 0)
			thunk.n_cards++;
	}
	if (r < 0)
		close_cards();
	return r;
}

static int open_all(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	size_t n;
	int r;

	(void)pthread_once(&once, watch_forks);
	r = open_cards();
	if (r < 0)
		return r;
	for (n = 0; n < ARRAY_SIZE(parts) && r == 0; n++)
		r = parts[n]->open();
	if (r == 0)
		return 0;
	/* The one that failed has nothing to close. */
	for (n--; n-- > 0;)
		parts[n]->close();
	close_cards();
	return r;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtOpenKFD(void)
{
	HSAKMT_STATUS status = HSAKMT_STATUS_SUCCESS;

	(void)pthread_mutex_lock(&thunk.lock);
	if (atomic_load(&thunk.forked))
		forget_all();
	if (atomic_load(&thunk.n_open) > 0)
		status = HSAKMT_STATUS_KERNEL_ALREADY_OPENED;
	else if (open_all() < 0)
		/* As on a machine without a card, whatever is wrong with this one. */
		status = HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED;
	if (status != HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED)
		(void)atomic_fetch_add(&thunk.n_open, 1);
	(void)pthread_mutex_unlock(&thunk.lock);
	return status;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtCloseKFD(void)
{
	HSAKMT_STATUS status;

	(void)pthread_mutex_lock(&thunk.lock);
	status = thunk_check();
	if (status == HSAKMT_STATUS_SUCCESS && atomic_fetch_sub(&thunk.n_open, 1) == 1) {
		for (size_t i = ARRAY_SIZE(parts); i-- > 0;)
			parts[i]->close();
		close_cards();
	}
	(void)pthread_mutex_unlock(&thunk.lock);
	return status;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtGetVersion(HsaVersionInfo *version)
{
	HSAKMT_STATUS status = thunk_check();

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (!version)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	*version = (HsaVersionInfo){KFD_MAJOR, KFD_MINOR};
	return HSAKMT_STATUS_SUCCESS;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtGetClockCounters(HSAuint32 node, HsaClockCounters *counters)
{
	HSAKMT_STATUS status = thunk_check();
	uint64_t system_ns, gpu_ticks;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (node >= thunk_n_nodes())
		return HSAKMT_STATUS_INVALID_NODE_UNIT;
	if (!counters)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	/* Every card has the same clock; the CPU's node has none. */
	device_clocks(thunk_device(HSAKMT_FIRST_CARD), &system_ns, &gpu_ticks);
	*counters = (HsaClockCounters){
		.GPUClockCounter = node == HSAKMT_CPU_NODE ? 0 : gpu_ticks,
		.CPUClockCounter = system_ns,
		.SystemClockCounter = system_ns,
		.SystemClockFrequencyHz = UINT64_C(1000000000),
	};
	return HSAKMT_STATUS_SUCCESS;
}

/* ---- what a simulated card takes without effect ---- */

static HSAKMT_STATUS accept_for_card(uint32_t node)
{
	HSAKMT_STATUS status = thunk_check();

	if (status == HSAKMT_STATUS_SUCCESS && !thunk_device(node))
		status = HSAKMT_STATUS_INVALID_NODE_UNIT;
	return status;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtSetTrapHandler(HSAuint32 node, void *handler _unused_,
						 HSAuint64 handler_bytes _unused_,
						 void *buffer _unused_,
						 HSAuint64 buffer_bytes _unused_)
{
	return accept_for_card(node);
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtSetMemoryPolicy(HSAuint32 node, HSAuint32 policy _unused_,
						  HSAuint32 alternate_policy _unused_,
						  void *alternate _unused_,
						  HSAuint64 bytes _unused_)
{
	return accept_for_card(node);
}

/* ---- what a simulated card does not have ---- */

static HSAKMT_STATUS refuse(void)
{
	HSAKMT_STATUS status = thunk_check();

	return status == HSAKMT_STATUS_SUCCESS ? HSAKMT_STATUS_NOT_SUPPORTED : status;
}

/* ROCr then takes its simple path for traps and exceptions. */
HSAKMT_EXPORT HSAKMT_STATUS hsaKmtRuntimeEnable(void *debug _unused_, bool setup_ttmp _unused_)
{
	return refuse();
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtRuntimeDisable(void)
{
	return refuse();
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtSVMSetAttr(void *start _unused_, HSAuint64 size _unused_,
					     unsigned int n _unused_,
					     HSA_SVM_ATTRIBUTE *attributes _unused_)
{
	return refuse();
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtSVMGetAttr(void *start _unused_, HSAuint64 size _unused_,
					     unsigned int n _unused_,
					     HSA_SVM_ATTRIBUTE *attributes _unused_)
{
	return refuse();
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtSetXNACKMode(HSAint32 enable _unused_)
{
	return refuse();
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtGetXNACKMode(HSAint32 *enable)
{
	HSAKMT_STATUS status = thunk_check();

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (!enable)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	*enable = 0;
	return HSAKMT_STATUS_SUCCESS;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtRegisterGraphicsHandleToNodes(
	HSAuint64 handle _unused_, HsaGraphicsResourceInfo *info _unused_, HSAuint64 n _unused_,
	HSAuint32 *nodes _unused_)
{
	return refuse();
}
