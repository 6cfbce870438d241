/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/pool.h"
#include "base/macros.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#define MAX_THREADS 256

struct pool {
	uint32_t n;
	int (*job)(void *userdata, uint32_t i);
	void *userdata;
	atomic_uint next;
	atomic_bool failed;
	pthread_mutex_t lock; /* of the two below */
	uint32_t first_failed;
	int error;
};

static void fail(struct pool *p, uint32_t i, int error)
{
	(void)pthread_mutex_lock(&p->lock);
	if (p->error == 0 || i < p->first_failed) {
		p->first_failed = i;
		p->error = error;
	}
	(void)pthread_mutex_unlock(&p->lock);
	atomic_store(&p->failed, true);
}

static void *work(void *userdata)
{
	struct pool *p = userdata;
	uint32_t i;

	/* Those before a failed job have all been begun, and are finished: so the first error is
	 * the same whatever the number of threads. */
	while (!atomic_load(&p->failed) && (i = atomic_fetch_add(&p->next, 1)) < p->n) {
		int r = p->job(p->userdata, i);

		if (r < 0)
			fail(p, i, r);
	}
	return NULL;
}

int pool_run(uint32_t threads, uint32_t n, int (*job)(void *userdata, uint32_t i), void *userdata)
{
	struct pool p = {.n = n, .job = job, .userdata = userdata};
	pthread_t others[MAX_THREADS];
	uint32_t wanted = MIN(MIN(threads, n), (uint32_t)MAX_THREADS), n_others = 0;

	(void)pthread_mutex_init(&p.lock, NULL);
	while (n_others + 1 < wanted && pthread_create(&others[n_others], NULL, work, &p) == 0)
		n_others++;
	(void)work(&p);
	for (uint32_t i = 0; i < n_others; i++)
		(void)pthread_join(others[i], NULL);
	(void)pthread_mutex_destroy(&p.lock);
	return p.error;
}

uint32_t pool_cores(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) < 0)
		return 1;
	return (uint32_t)MAX(CPU_COUNT(&set), 1);
}
