/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that may be given up. */
#include "actuator/io-thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

static struct {
	struct io_thread *io;
	int ends[2];
} f;

static int setup(_unused_ void **state)
{
	return pipe2(f.ends, O_CLOEXEC) == 0 ? io_thread_new(&f.io) : -1;
}

static int teardown(_unused_ void **state)
{
	(void)close(f.ends[1]); /* a blocked job goes on */
	f.io = io_thread_free(f.io);
	return 0;
}

struct job {
	int calls;
	pthread_t thread;
	bool blocks_signals;
};

static void count(void *data)
{
	struct job *j = data;
	sigset_t set;

	j->calls++;
	j->thread = pthread_self();
	(void)pthread_sigmask(SIG_SETMASK, NULL, &set);
	j->blocks_signals = sigismember(&set, SIGTERM) && sigismember(&set, SIGINT);
}

/* Blocks until the test lets it go, as a driver that does not answer. */
static void block(_unused_ void *data)
{
	char byte;

	(void)!read(f.ends[0], &byte, 1);
}

static void test_runs_jobs_on_one_other_thread(_unused_ void **state)
{
	struct job j = {0};
	pthread_t first;

	assert_int_equal(io_thread_run(f.io, count, &j, 10000), 0);
	first = j.thread;
	assert_false(pthread_equal(first, pthread_self()));
	assert_true(j.blocks_signals);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(io_thread_run(f.io, count, &j, 10000), 0);
	assert_int_equal(j.calls, 1001);
	assert_true(pthread_equal(first, j.thread));
}

static void test_gives_up_on_a_job_and_on_all_that_follow(_unused_ void **state)
{
	struct job j = {0};

	assert_int_equal(io_thread_run(f.io, block, NULL, 20), -ETIMEDOUT);
	assert_int_equal(io_thread_run(f.io, count, &j, 10000), -ETIMEDOUT);
	assert_int_equal(j.calls, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_runs_jobs_on_one_other_thread, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_gives_up_on_a_job_and_on_all_that_follow,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
