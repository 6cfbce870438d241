/* SPDX-License-Identifier: Apache-2.0 */
/* Events of the simulated thunk against the kernel's rules. */
#include "base/units.h"
#include "hsakmt-fixture.h"
#include <pthread.h>
#include <string.h>
#include <time.h>

#define FOREVER	  UINT32_MAX
#define N_WAITERS 8

static HsaEvent *make(HSA_EVENTTYPE type, bool manual, bool raised)
{
	HsaEventDescriptor d = {.EventType = type};
	HsaEvent *e = NULL;

	assert_int_equal(hsaKmtCreateEvent(&d, manual, raised, &e), HSAKMT_STATUS_SUCCESS);
	assert_non_null(e);
	return e;
}

static HsaEvent *make_signal(void)
{
	return make(HSA_EVENTTYPE_SIGNAL, false, false);
}

static void destroy(HsaEvent *e)
{
	assert_int_equal(hsaKmtDestroyEvent(e), HSAKMT_STATUS_SUCCESS);
}

static void test_an_event_names_itself_and_its_mailbox(void **state _unused_)
{
	HsaEvent *signal = make_signal(), *memory = make(HSA_EVENTTYPE_MEMORY, true, false);

	assert_int_not_equal(signal->EventId, 0);
	assert_int_not_equal(signal->EventId, memory->EventId);
	assert_int_equal(signal->EventData.HWData1, signal->EventId);
	assert_int_equal(signal->EventData.HWData3, signal->EventId);
	assert_int_equal(*(uint64_t *)(uintptr_t)signal->EventData.HWData2, UINT64_MAX);
	/* The card writes there. */
	assert_true(memory_accessible((void *)(uintptr_t)signal->EventData.HWData2, 8));
	assert_int_equal(memory->EventData.HWData2, 0);
	destroy(signal);
	destroy(memory);
}

static void test_an_auto_reset_event_is_taken_by_one_wait(void **state _unused_)
{
	HsaEvent *e = make_signal();

	assert_int_equal(hsaKmtWaitOnEvent(e, 0), HSAKMT_STATUS_WAIT_TIMEOUT);
	assert_int_equal(hsaKmtSetEvent(e), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtSetEvent(e), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtWaitOnEvent(e, FOREVER), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtWaitOnEvent(e, 1), HSAKMT_STATUS_WAIT_TIMEOUT);
	destroy(e);
}

static void test_a_manual_event_stays_raised(void **state _unused_)
{
	HsaEvent *e = make(HSA_EVENTTYPE_SIGNAL, true, true);

	for (int i = 0; i < 3; i++)
		assert_int_equal(hsaKmtWaitOnEvent(e, 0), HSAKMT_STATUS_SUCCESS);
	destroy(e);
}

static void test_the_hardware_raises_and_empties_the_mailbox(void **state _unused_)
{
	HsaEvent *e = make_signal();
	uint64_t *mailbox = (uint64_t *)(uintptr_t)e->EventData.HWData2;

	*mailbox = e->EventId;
	event_raise(e->EventId);
	assert_int_equal(*mailbox, UINT64_MAX);
	assert_int_equal(hsaKmtWaitOnEvent(e, 0), HSAKMT_STATUS_SUCCESS);
	/* Unknown ids are nobody's. */
	event_raise(0);
	event_raise(e->EventId + 1);
	event_raise(UINT32_MAX);
	assert_int_equal(hsaKmtWaitOnEvent(e, 0), HSAKMT_STATUS_WAIT_TIMEOUT);
	destroy(e);
}

static void test_waiting_for_any_takes_every_flag_it_names(void **state _unused_)
{
	HsaEvent *e[] = {make_signal(), make_signal(), make_signal()};

	(void)hsaKmtSetEvent(e[1]);
	(void)hsaKmtSetEvent(e[2]);
	assert_int_equal(hsaKmtWaitOnMultipleEvents(e, 3, false, 0), HSAKMT_STATUS_SUCCESS);
	for (size_t i = 0; i < ARRAY_SIZE(e); i++)
		assert_int_equal(hsaKmtWaitOnEvent(e[i], 0), HSAKMT_STATUS_WAIT_TIMEOUT);
	for (size_t i = 0; i < ARRAY_SIZE(e); i++)
		destroy(e[i]);
}

static void test_waiting_for_all_needs_all(void **state _unused_)
{
	HsaEvent *e[] = {make_signal(), make(HSA_EVENTTYPE_SIGNAL, true, true)};

	assert_int_equal(hsaKmtWaitOnMultipleEvents(e, 2, true, 1), HSAKMT_STATUS_WAIT_TIMEOUT);
	(void)hsaKmtSetEvent(e[0]);
	assert_int_equal(hsaKmtWaitOnMultipleEvents(e, 2, true, 0), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtWaitOnMultipleEvents(e, 2, true, 0), HSAKMT_STATUS_WAIT_TIMEOUT);
	destroy(e[0]);
	destroy(e[1]);
}

static void test_a_timeout_is_kept(void **state _unused_)
{
	HsaEvent *e = make_signal();
	struct timespec before, after;
	int64_t ns;

	(void)clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(hsaKmtWaitOnEvent(e, 20), HSAKMT_STATUS_WAIT_TIMEOUT);
	(void)clock_gettime(CLOCK_MONOTONIC, &after);
	ns = (after.tv_sec - before.tv_sec) * (int64_t)NSEC_PER_SEC + after.tv_nsec -
	     before.tv_nsec;
	/* Only the lower bound holds on a busy machine. */
	assert_true(ns >= 20 * (int64_t)NSEC_PER_MSEC);
	destroy(e);
}

/* ---- several threads ---- */

struct waiting {
	pthread_t thread;
	HsaEvent *event;
	_Atomic uint32_t *n_done;
	HSAKMT_STATUS status;
};

static void *wait_forever(void *userdata)
{
	struct waiting *w = userdata;

	w->status = hsaKmtWaitOnEvent(w->event, FOREVER - 1);
	(void)atomic_fetch_add(w->n_done, 1);
	return NULL;
}

/* Whether the thread is asleep in the kernel, as the only thing it does there is to wait. */
static bool is_asleep(pid_t tid)
{
	char path[64], state = 0;
	_cleanup_(fclosep) FILE *f = NULL;

	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
	f = fopen(path, "re");
	return f && fscanf(f, "%*d (%*[^)]) %c", &state) == 1 && state == 'S';
}

struct tid_waiting {
	struct waiting waiting;
	_Atomic pid_t tid;
};

static void *tell_and_wait(void *userdata)
{
	struct tid_waiting *w = userdata;

	atomic_store(&w->tid, gettid());
	return wait_forever(&w->waiting);
}

static void start(struct tid_waiting *w, HsaEvent *e, _Atomic uint32_t *n_done)
{
	w->waiting = (struct waiting){.event = e, .n_done = n_done};
	atomic_store(&w->tid, 0);
	assert_int_equal(pthread_create(&w->waiting.thread, NULL, tell_and_wait, w), 0);
	while (atomic_load(&w->tid) == 0 || !is_asleep(atomic_load(&w->tid)))
		(void)sched_yield();
}

static void test_raising_wakes_all_who_wait_and_leaves_no_flag(void **state _unused_)
{
	struct tid_waiting w[N_WAITERS];
	_Atomic uint32_t n_done = 0;
	HsaEvent *e = make_signal();

	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		start(&w[i], e, &n_done);
	assert_int_equal(atomic_load(&n_done), 0);
	assert_int_equal(hsaKmtSetEvent(e), HSAKMT_STATUS_SUCCESS);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
		(void)pthread_join(w[i].waiting.thread, NULL);
		assert_int_equal(w[i].waiting.status, HSAKMT_STATUS_SUCCESS);
	}
	assert_int_equal(hsaKmtWaitOnEvent(e, 0), HSAKMT_STATUS_WAIT_TIMEOUT);
	destroy(e);
}

static void test_destroying_fails_those_who_wait(void **state _unused_)
{
	_Atomic uint32_t n_done = 0;
	struct tid_waiting w;

	start(&w, make_signal(), &n_done);
	destroy(w.waiting.event);
	(void)pthread_join(w.waiting.thread, NULL);
	assert_int_equal(w.waiting.status, HSAKMT_STATUS_WAIT_FAILURE);
}

/* One thread asks, one answers, over two events; a lost wake-up would hang it. */
static void *answer(void *userdata)
{
	HsaEvent **e = userdata;

	for (uint32_t i = 0; i < 20000; i++) {
		if (hsaKmtWaitOnEvent(e[0], FOREVER) != HSAKMT_STATUS_SUCCESS)
			return NULL;
		event_raise(e[1]->EventId);
	}
	return e;
}

static void test_no_wake_up_is_lost(void **state _unused_)
{
	HsaEvent *e[] = {make_signal(), make_signal()};
	pthread_t thread;
	void *result;

	assert_int_equal(pthread_create(&thread, NULL, answer, e), 0);
	for (uint32_t i = 0; i < 20000; i++) {
		event_raise(e[0]->EventId);
		assert_int_equal(hsaKmtWaitOnEvent(e[1], FOREVER), HSAKMT_STATUS_SUCCESS);
	}
	(void)pthread_join(thread, &result);
	assert_ptr_equal(result, e);
	destroy(e[0]);
	destroy(e[1]);
}

/* ---- faults and errors ---- */

static void test_a_page_fault_says_where(void **state _unused_)
{
	HsaEvent *signal = make_signal(), *memory = make(HSA_EVENTTYPE_MEMORY, false, false);
	const HsaMemoryAccessFault *fault = &memory->EventData.EventData.MemoryAccessFault;
	HsaEvent *both[] = {signal, memory};

	event_raise_fault(CARD_1, 0x123456789abc);
	assert_int_equal(hsaKmtWaitOnMultipleEvents(both, 2, false, 0), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(fault->NodeId, CARD_1);
	assert_int_equal(fault->VirtualAddress, 0x123456789000);
	assert_int_equal(fault->Failure.NotPresent, 1);
	assert_int_equal(fault->Flags, HSA_EVENTID_MEMORY_FATAL_PROCESS);
	assert_int_equal(hsaKmtWaitOnEvent(memory, 0), HSAKMT_STATUS_WAIT_TIMEOUT);
	assert_int_equal(hsaKmtWaitOnEvent(signal, 0), HSAKMT_STATUS_WAIT_TIMEOUT);
	destroy(signal);
	destroy(memory);
}

static void test_an_asked_for_fault_meets_those_with_queues(void **state)
{
	struct hsakmt_fixture *f = *state;
	HsaEvent *memory = make(HSA_EVENTTYPE_MEMORY, false, false);
	const HsaMemoryAccessFault *fault = &memory->EventData.EventData.MemoryAccessFault;
	HsaQueueResource resource = {0};
	uint64_t *ring = NULL;

	assert_int_equal(hsaKmtAllocMemory(CPU_NODE, 4096, (HsaMemFlags){0}, (void **)&ring),
			 HSAKMT_STATUS_SUCCESS);
	resource.Queue_read_ptr_aql = ring;
	resource.Queue_write_ptr_aql = ring + 1;
	assert_int_equal(hsaKmtCreateQueue(CARD_1, HSA_QUEUE_COMPUTE_AQL, 100,
					   HSA_QUEUE_PRIORITY_NORMAL, ring, 4096, NULL, &resource),
			 HSAKMT_STATUS_SUCCESS);
	/* The other card's is not ours: had it been told, it would come first. */
	sim_card_raise_gpu_fault(f->machine, &f->machine->cards[0], 0x1000);
	sim_card_raise_gpu_fault(f->machine, &f->machine->cards[1], 0x2000);
	assert_int_equal(hsaKmtWaitOnEvent(memory, FOREVER), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(fault->NodeId, CARD_1);
	assert_int_equal(fault->VirtualAddress, 0x2000);
	assert_int_equal(hsaKmtDestroyQueue(resource.QueueId), HSAKMT_STATUS_SUCCESS);
	destroy(memory);
}

static void test_wrong_arguments_are_refused(void **state _unused_)
{
	HsaEventDescriptor bad = {.EventType = HSA_EVENTTYPE_MAXID}, good = {0};
	HsaEvent wild = {.EventId = 4000}, zero = {0}, huge = {.EventId = UINT32_MAX};
	HsaEvent *e = make_signal(), *memory = make(HSA_EVENTTYPE_MEMORY, false, false);
	HsaEvent *some[] = {e, &wild}, *none[] = {NULL};

	assert_int_equal(hsaKmtCreateEvent(&bad, false, false, &e),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtCreateEvent(NULL, false, false, &e),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtCreateEvent(&good, false, false, NULL),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtSetEvent(NULL), HSAKMT_STATUS_INVALID_HANDLE);
	assert_int_equal(hsaKmtSetEvent(&wild), HSAKMT_STATUS_INVALID_HANDLE);
	assert_int_equal(hsaKmtSetEvent(&zero), HSAKMT_STATUS_INVALID_HANDLE);
	assert_int_equal(hsaKmtSetEvent(memory), HSAKMT_STATUS_ERROR);
	assert_int_equal(hsaKmtDestroyEvent(&huge), HSAKMT_STATUS_INVALID_HANDLE);
	assert_int_equal(hsaKmtWaitOnEvent(&huge, 0), HSAKMT_STATUS_INVALID_HANDLE);
	/* A flag of the known one is not taken by a call that fails. */
	(void)hsaKmtSetEvent(e);
	assert_int_equal(hsaKmtWaitOnMultipleEvents(some, 2, false, 0),
			 HSAKMT_STATUS_INVALID_HANDLE);
	assert_int_equal(hsaKmtWaitOnEvent(e, 0), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtWaitOnMultipleEvents(none, 1, false, 0),
			 HSAKMT_STATUS_INVALID_HANDLE);
	assert_int_equal(hsaKmtWaitOnMultipleEvents(some, 0, false, 0),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtWaitOnMultipleEvents(NULL, 1, false, 0),
			 HSAKMT_STATUS_INVALID_HANDLE);
	destroy(e);
	destroy(memory);
}

static void test_there_are_4095_events_and_their_ids_are_used_again(void **state _unused_)
{
	static HsaEvent *e[4096];
	HsaEventDescriptor d = {0};
	uint32_t n = 0, again;

	while (hsaKmtCreateEvent(&d, false, false, &e[n]) == HSAKMT_STATUS_SUCCESS)
		n++;
	assert_int_equal(n, 4095);
	assert_int_equal(hsaKmtCreateEvent(&d, false, false, &e[n]),
			 HSAKMT_STATUS_OUT_OF_RESOURCES);
	again = e[17]->EventId;
	destroy(e[17]);
	e[17] = make_signal();
	assert_int_equal(e[17]->EventId, again);
	for (uint32_t i = 0; i < n; i++)
		destroy(e[i]);
}

int main(void)
{
#define OPEN(test) cmocka_unit_test_setup_teardown(test, hsakmt_setup_open, hsakmt_teardown_open)
	const struct CMUnitTest tests[] = {
		OPEN(test_an_event_names_itself_and_its_mailbox),
		OPEN(test_an_auto_reset_event_is_taken_by_one_wait),
		OPEN(test_a_manual_event_stays_raised),
		OPEN(test_the_hardware_raises_and_empties_the_mailbox),
		OPEN(test_waiting_for_any_takes_every_flag_it_names),
		OPEN(test_waiting_for_all_needs_all),
		OPEN(test_a_timeout_is_kept),
		OPEN(test_raising_wakes_all_who_wait_and_leaves_no_flag),
		OPEN(test_destroying_fails_those_who_wait),
		OPEN(test_no_wake_up_is_lost),
		OPEN(test_a_page_fault_says_where),
		OPEN(test_an_asked_for_fault_meets_those_with_queues),
		OPEN(test_wrong_arguments_are_refused),
		OPEN(test_there_are_4095_events_and_their_ids_are_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
