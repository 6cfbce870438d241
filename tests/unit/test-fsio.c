/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fsio.h"
#include "base/macros.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

struct fixture {
	char folder[64];
	int fd;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->folder, "/tmp/cofris-fsio-XXXXXX");
	if (!mkdtemp(f->folder))
		return -1;
	f->fd = open(f->folder, O_DIRECTORY | O_RDONLY);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)unlinkat(f->fd, "a", 0);
	(void)close(f->fd);
	(void)rmdir(f->folder);
	free(f);
	return 0;
}

static void put(struct fixture *f, const char *text)
{
	int fd = openat(f->fd, "a", O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void read_is_bounded_and_terminated(void **state)
{
	struct fixture *f = *state;
	char buffer[8];

	assert_int_equal(read_text_at(f->fd, "a", buffer, sizeof(buffer)), -ENOENT);
	put(f, "");
	assert_int_equal(read_text_at(f->fd, "a", buffer, sizeof(buffer)), 0);
	assert_string_equal(buffer, "");
	put(f, "1234567");
	assert_int_equal(read_text_at(f->fd, "a", buffer, sizeof(buffer)), 7);
	assert_string_equal(buffer, "1234567");
	put(f, "12345678");
	assert_int_equal(read_text_at(f->fd, "a", buffer, sizeof(buffer)), -EFBIG);
}

static void write_neither_creates_nor_truncates(void **state)
{
	struct fixture *f = *state;
	char buffer[16];

	assert_int_equal(write_text_at(f->fd, "a", "x"), -ENOENT);
	put(f, "long text");
	assert_int_equal(write_text_at(f->fd, "a", "auto"), 0);
	assert_int_equal(read_text_at(f->fd, "a", buffer, sizeof(buffer)), 9);
	assert_string_equal(buffer, "auto text");
}

static void atomic_file_appears_only_on_commit(void **state)
{
	struct fixture *f = *state;
	_cleanup_(atomic_file_deinit) struct atomic_file file = ATOMIC_FILE_INIT;
	char path[128], buffer[16];

	put(f, "old");
	(void)snprintf(path, sizeof(path), "%s/a", f->folder);
	assert_int_equal(atomic_file_open(&file, path, 0640), 0);
	fputs("new", file.file);
	assert_int_equal(read_text_at(f->fd, "a", buffer, sizeof(buffer)), 3);
	assert_string_equal(buffer, "old");
	assert_int_equal(atomic_file_commit(&file), 0);
	assert_int_equal(read_text_at(f->fd, "a", buffer, sizeof(buffer)), 3);
	assert_string_equal(buffer, "new");

	assert_int_equal(atomic_file_open(&file, path, 0640), 0);
	fputs("dropped", file.file);
	atomic_file_deinit(&file);
	assert_int_equal(read_text_at(f->fd, "a", buffer, sizeof(buffer)), 3);
	assert_string_equal(buffer, "new");
	assert_int_equal(atomic_file_open(&file, "/nonexistent/x", 0640), -ENOENT);
}

static void atomic_file_keeps_the_old_one_on_a_write_error(void **state)
{
	struct fixture *f = *state;
	_cleanup_(atomic_file_deinit) struct atomic_file file = ATOMIC_FILE_INIT;
	struct rlimit old, none = {4, 0};
	char path[128], buffer[16];
	int r;

	put(f, "old");
	(void)snprintf(path, sizeof(path), "%s/a", f->folder);
	assert_int_equal(atomic_file_open(&file, path, 0640), 0);
	fputs("more than four bytes", file.file);
	/* A file-size limit fails the write as a full disk does. */
	(void)signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	none.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	r = atomic_file_commit(&file);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(r, -EFBIG);
	assert_int_equal(read_text_at(f->fd, "a", buffer, sizeof(buffer)), 3);
	assert_string_equal(buffer, "old");
	/* The temporary is gone: only "a" is left, so that teardown can remove the folder. */
	assert_int_equal(unlinkat(f->fd, "a", 0), 0);
	assert_int_equal(rmdir(f->folder), 0);
	assert_int_equal(mkdir(f->folder, 0700), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(read_is_bounded_and_terminated, setup, teardown),
		cmocka_unit_test_setup_teardown(write_neither_creates_nor_truncates, setup,
						teardown),
		cmocka_unit_test_setup_teardown(atomic_file_appears_only_on_commit, setup,
						teardown),
		cmocka_unit_test_setup_teardown(atomic_file_keeps_the_old_one_on_a_write_error,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, /* group_setup= */ NULL, /* group_teardown= */ NULL);
}
