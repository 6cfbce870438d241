/* SPDX-License-Identifier: Apache-2.0 */
/* Waits for page faults that the simulator asks for ("cofris-sim fault gpu-fault:..."), and has
 * them happen on the cards where the process has a queue. The thread sleeps in the kernel; the
 * word it sleeps on changes with such a request alone. */
#include "sim/hsakmt/thunk.h"
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

static struct {
	pthread_t thread;
	_Atomic bool stop;
	uint32_t seen[SIM_MAX_CARDS];
} watch;

static void look(void)
{
	for (uint32_t node = HSAKMT_FIRST_CARD; node < thunk_n_nodes(); node++) {
		struct sim_card *card = thunk_card(node);
		uint32_t *seen = &watch.seen[node - HSAKMT_FIRST_CARD];
		uint32_t n = atomic_load(&card->n_gpu_faults);

		if (n != *seen && queues_on(node) > 0)
			event_raise_fault(node, atomic_load(&card->gpu_fault_address));
		*seen = n;
	}
}

static void *watch_faults(void *userdata _unused_)
{
	_Atomic uint32_t *word = &thunk_machine()->fault_epoch;

	while (!atomic_load(&watch.stop)) {
		uint32_t epoch = atomic_load(word);

		look();
		if (!atomic_load(&watch.stop))
			(void)syscall(SYS_futex, word, FUTEX_WAIT, epoch, NULL, NULL, 0);
	}
	return NULL;
}

static int fault_watch_open(void)
{
	sigset_t every, before;
	int r;

	/* A fault of the past is none of this process's. */
	for (uint32_t node = HSAKMT_FIRST_CARD; node < thunk_n_nodes(); node++)
		watch.seen[node - HSAKMT_FIRST_CARD] = atomic_load(&thunk_card(node)->n_gpu_faults);
	atomic_store(&watch.stop, false);
	/* The program's signals are for its own threads. */
	(void)sigfillset(&every);
	(void)pthread_sigmask(SIG_SETMASK, &every, &before);
	r = -pthread_create(&watch.thread, NULL, watch_faults, NULL);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return r;
}

static void fault_watch_close(void)
{
	_Atomic uint32_t *word = &thunk_machine()->fault_epoch;

	atomic_store(&watch.stop, true);
	/* Others look in vain and go back to sleep. */
	(void)atomic_fetch_add(word, 1);
	(void)syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	(void)pthread_join(watch.thread, NULL);
}

static void nothing(void)
{
}

const struct thunk_part fault_watch_part = {
	.open = fault_watch_open,
	.close = fault_watch_close,
	.forget = nothing,
	.lock = nothing,
	.unlock = nothing,
};
