/* SPDX-License-Identifier: Apache-2.0 */
#include "actuator/io-thread.h"
#include "base/units.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

struct io_thread {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	void (*job)(void *data); /* NULL: none waits or runs */
	void *data;
	bool stop, lost;
	bool orphaned; /* nobody joins it: it frees itself, should its job ever end */
};

static void destroy(struct io_thread *t)
{
	(void)pthread_cond_destroy(&t->changed);
	(void)pthread_mutex_destroy(&t->lock);
	free(t);
}

static void *io_thread_main(void *arg)
{
	struct io_thread *t = arg;
	bool orphaned;

	(void)pthread_mutex_lock(&t->lock);
	while (!t->stop) {
		if (!t->job) {
			(void)pthread_cond_wait(&t->changed, &t->lock);
			continue;
		}
		(void)pthread_mutex_unlock(&t->lock);
		t->job(t->data);
		(void)pthread_mutex_lock(&t->lock);
		t->job = NULL;
		(void)pthread_cond_signal(&t->changed);
	}
	orphaned = t->orphaned;
	(void)pthread_mutex_unlock(&t->lock);
	if (orphaned)
		destroy(t);
	return NULL;
}

/* Signals that are sent are the main thread's. A fault is the thread's own: blocked, the kernel
 * would kill the process without asking a handler. */
static void fill_blocked(sigset_t *ret)
{
	static const int faults[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS, SIGTRAP};

	(void)sigfillset(ret);
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		(void)sigdelset(ret, faults[i]);
}

int io_thread_new(struct io_thread **ret)
{
	struct io_thread *t;
	sigset_t blocked, before;
	int r;

	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	(void)pthread_mutex_init(&t->lock, NULL);
	(void)pthread_cond_init(&t->changed, NULL);
	fill_blocked(&blocked);
	(void)pthread_sigmask(SIG_BLOCK, &blocked, &before);
	r = pthread_create(&t->thread, NULL, io_thread_main, t);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		free(t);
		return -r;
	}
	*ret = t;
	return 0;
}

struct io_thread *io_thread_free(struct io_thread *t)
{
	pthread_t thread;
	bool orphaned;

	if (!t)
		return NULL;
	(void)pthread_mutex_lock(&t->lock);
	thread = t->thread;
	t->stop = true;
	t->orphaned = orphaned = t->job != NULL;
	(void)pthread_cond_signal(&t->changed);
	(void)pthread_mutex_unlock(&t->lock);
	if (orphaned) {
		(void)pthread_detach(thread);
		return NULL;
	}
	(void)pthread_join(thread, NULL);
	destroy(t);
	return NULL;
}

int io_thread_run(struct io_thread *t, void (*job)(void *data), void *data, uint32_t deadline_ms)
{
	struct timespec end;
	int r = 0;

	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += deadline_ms / 1000;
	end.tv_nsec += (long)(deadline_ms % 1000) * (long)NSEC_PER_MSEC;
	if (end.tv_nsec >= (long)NSEC_PER_SEC) {
		end.tv_nsec -= (long)NSEC_PER_SEC;
		end.tv_sec++;
	}
	(void)pthread_mutex_lock(&t->lock);
	if (!t->lost) {
		t->job = job;
		t->data = data;
		(void)pthread_cond_signal(&t->changed);
		while (t->job && r == 0)
			r = pthread_cond_clockwait(&t->changed, &t->lock, CLOCK_MONOTONIC, &end);
		t->lost = t->job != NULL;
	}
	r = t->lost ? -ETIMEDOUT : 0;
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}
