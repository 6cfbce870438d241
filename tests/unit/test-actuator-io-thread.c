/* SPDX-License-Identifier: Apache-2.0 */
/* The thread that may be given up, and what is left of the cards should it crash. */
#include "actuator/crash-guard.h"
#include "actuator/io-thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

static struct {
	struct io_thread *io;
	int ends[2];
	int level_fd; /* stands for a card's performance level */
	pid_t child;
} f;

static int setup(_unused_ void **state)
{
	f.child = 0;
	f.level_fd = memfd_create("level", MFD_CLOEXEC);
	return f.level_fd >= 0 && pipe2(f.ends, O_CLOEXEC) == 0 ? io_thread_new(&f.io) : -1;
}

static int teardown(_unused_ void **state)
{
	(void)close(f.ends[1]); /* a blocked job goes on */
	f.io = io_thread_free(f.io);
	(void)close(f.ends[0]);
	(void)close(f.level_fd);
	if (f.child > 0) {
		(void)kill(f.child, SIGKILL);
		(void)waitpid(f.child, NULL, 0);
	}
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

static void abort_in_job(_unused_ void *data)
{
	abort();
}

static void write_to_guarded_page(_unused_ void *data)
{
	volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*page = 1;
}

static void trap_in_job(_unused_ void *data)
{
	__builtin_trap();
}

/* As the program: handlers, a card that has been written to, a thread, and a job that crashes. */
_Noreturn static void crash(void (*job)(void *data))
{
	struct io_thread *t = NULL;

	if (crash_guard_install() < 0 || crash_guard_add(dup(f.level_fd)) < 0 ||
	    io_thread_new(&t) < 0)
		_exit(1);
	(void)io_thread_run(t, job, NULL, 10000);
	_exit(2);
}

static void test_a_crash_on_the_thread_leaves_full_range(_unused_ void **state)
{
	static const struct {
		void (*job)(void *data);
		int signal_number;
	} cases[] = {{abort_in_job, SIGABRT},
		     {write_to_guarded_page, SIGSEGV},
		     {trap_in_job, SIGILL}};
	struct job j = {0};

	/* A thread that is still starting may hold locks of the sanitizer's, which the child would
	 * wait for. */
	assert_int_equal(io_thread_run(f.io, count, &j, 10000), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char level[8] = "";
		int status;

		assert_int_equal(pwrite(f.level_fd, "manual", 6, 0), 6);
		f.child = fork();
		if (f.child == 0)
			crash(cases[i].job);
		assert_int_equal(waitpid(f.child, &status, 0), f.child);
		f.child = 0;
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), cases[i].signal_number);
		assert_int_equal(pread(f.level_fd, level, 6, 0), 6);
		assert_memory_equal(level, "auto", 4);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_runs_jobs_on_one_other_thread, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_gives_up_on_a_job_and_on_all_that_follow,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_crash_on_the_thread_leaves_full_range, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
