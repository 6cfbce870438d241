/* SPDX-License-Identifier: Apache-2.0 */
/* Private folders, of living and of killed processes. */
#include "profiler/scratch.h"
#include "support/cmocka-includes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

struct fixture {
	char folder[64];
	pid_t child;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/test-scratch.XXXXXX");
	if (!mkdtemp(f->folder))
		return -1;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char command[128];

	if (f->child > 0) {
		(void)kill(f->child, SIGKILL);
		(void)waitpid(f->child, NULL, 0);
	}
	(void)snprintf(command, sizeof(command), "rm -rf %s", f->folder);
	assert_int_equal(system(command), 0);
	free(f);
	return 0;
}

static int count(const char *folder)
{
	DIR *d = opendir(folder);
	int n = 0;

	while (d && readdir(d))
		n++;
	(void)closedir(d);
	return n - 2;
}

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	(void)close(fd);
}

static void test_a_folder_is_private_and_goes_with_its_socket(void **state)
{
	struct fixture *f = *state;
	struct scratch s;
	struct stat st;

	assert_int_equal(scratch_open(f->folder, &s), 0);
	assert_int_equal(stat(s.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(strncmp(s.socket_path, s.path, strlen(s.path)), 0);
	touch(s.socket_path);
	scratch_close(&s);
	assert_int_equal(count(f->folder), 0);
	/* Once more, as the way out of a failed start does. */
	scratch_close(&s);
}

/* A process that has one and waits. */
static void start_owner(struct fixture *f, char path[SCRATCH_PATH_SIZE])
{
	int pipe_fds[2];

	assert_int_equal(pipe(pipe_fds), 0);
	f->child = fork();
	assert_true(f->child >= 0);
	if (f->child == 0) {
		struct scratch s;

		if (scratch_open(f->folder, &s) < 0)
			_exit(1);
		(void)close(open(s.socket_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
		if (write(pipe_fds[1], s.path, sizeof(s.path)) < 0)
			_exit(1);
		for (;;)
			(void)pause();
	}
	(void)close(pipe_fds[1]);
	assert_int_equal(read(pipe_fds[0], path, SCRATCH_PATH_SIZE), SCRATCH_PATH_SIZE);
	(void)close(pipe_fds[0]);
}

static void test_the_folder_of_a_killed_process_goes_with_the_next(void **state)
{
	struct fixture *f = *state;
	char path[SCRATCH_PATH_SIZE];
	struct scratch s;

	start_owner(f, path);
	assert_int_equal(scratch_open(f->folder, &s), 0);
	assert_int_equal(access(path, F_OK), 0); /* its owner lives */
	scratch_close(&s);
	(void)kill(f->child, SIGKILL);
	(void)waitpid(f->child, NULL, 0);
	f->child = 0;
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(scratch_open(f->folder, &s), 0);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(count(f->folder), 1);
	scratch_close(&s);
}

static void test_what_only_looks_alike_stays(void **state)
{
	static const char *const names[] = {"cofris-profile.link", "cofris-profile.file",
					    "cofris-profile.new", "cofris-profile.full", "other"};
	struct fixture *f = *state;
	char path[5][128], below[160];
	struct scratch s;

	for (int i = 0; i < 5; i++)
		(void)snprintf(path[i], sizeof(path[i]), "%s/%s", f->folder, names[i]);
	assert_int_equal(symlink(path[4], path[0]), 0);
	touch(path[1]);
	assert_int_equal(mkdir(path[2], 0700), 0); /* without a socket: newborn */
	assert_int_equal(mkdir(path[3], 0700), 0);
	assert_int_equal(mkdir(path[4], 0700), 0);
	(void)snprintf(below, sizeof(below), "%s/worker.sock", path[4]);
	touch(below); /* behind the link */
	(void)snprintf(below, sizeof(below), "%s/notes", path[3]);
	touch(below);
	assert_int_equal(scratch_open(f->folder, &s), 0);
	for (int i = 0; i < 5; i++) {
		struct stat st;

		assert_int_equal(lstat(path[i], &st), 0);
	}
	assert_int_equal(access(below, F_OK), 0);
	(void)snprintf(below, sizeof(below), "%s/worker.sock", path[4]);
	assert_int_equal(access(below, F_OK), 0);
	scratch_close(&s);
}

static void test_folders_that_will_not_do(void **state)
{
	struct fixture *f = *state;
	char name[128];
	struct scratch s = SCRATCH_INIT;

	(void)snprintf(name, sizeof(name), "/tmp/%0*d", SCRATCH_PATH_SIZE - 30, 0);
	assert_int_equal(scratch_open(name, &s), -ENAMETOOLONG);
	(void)snprintf(name, sizeof(name), "%s/none", f->folder);
	assert_int_equal(scratch_open(name, &s), -ENOENT);
	assert_int_equal(s.fd, -1);
}

static void test_the_runtime_folder_is_taken_where_there_is_one(void **state)
{
	struct fixture *f = *state;
	struct scratch s;

	assert_int_equal(setenv("XDG_RUNTIME_DIR", f->folder, 1), 0);
	assert_int_equal(scratch_open_default(&s), 0);
	assert_int_equal(strncmp(s.path, f->folder, strlen(f->folder)), 0);
	scratch_close(&s);
	assert_int_equal(setenv("XDG_RUNTIME_DIR", "/nonexistent", 1), 0);
	assert_int_equal(scratch_open_default(&s), 0);
	assert_int_equal(strncmp(s.path, "/tmp/cofris-profile.", 20), 0);
	scratch_close(&s);
	assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
	assert_int_equal(scratch_open_default(&s), 0);
	scratch_close(&s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_folder_is_private_and_goes_with_its_socket),
		TEST(test_the_folder_of_a_killed_process_goes_with_the_next),
		TEST(test_what_only_looks_alike_stays),
		TEST(test_folders_that_will_not_do),
		TEST(test_the_runtime_folder_is_taken_where_there_is_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
