/* SPDX-License-Identifier: Apache-2.0 */
/* Pauses that are kept, and the file that they are kept in. */
#include "base/macros.h"
#include "daemon/pauses.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

#define BDF   "0000:43:00.0"
#define OTHER "0000:63:00.0"
#define FIRST "cofris-pauses 1\n"

struct fixture {
	char root[64], path[128];
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	(void)strcpy(f->root, "/tmp/cofris-test-pauses.XXXXXX");
	if (!mkdtemp(f->root))
		return -1;
	(void)snprintf(f->path, sizeof(f->path), "%s/daemon/pauses", f->root);
	*state = f;
	return 0;
}

static int remove_one(const char *path, const struct stat *st _unused_, int flag _unused_,
		      struct FTW *ftw _unused_)
{
	return remove(path);
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	(void)nftw(f->root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static struct pause pause_of(const char *gpu, uint64_t until_usec, const char *reason)
{
	struct pause p = {.uid = 1000, .since_usec = 500, .until_usec = until_usec};

	(void)snprintf(p.gpu, sizeof(p.gpu), "%s", gpu);
	(void)snprintf(p.reason, sizeof(p.reason), "%s", reason);
	return p;
}

static void add(struct pauses *p, const char *gpu, uint64_t until_usec, const char *reason)
{
	struct pause one = pause_of(gpu, until_usec, reason);

	assert_int_equal(pauses_add(p, &one), 0);
}

static void test_a_card_has_one_and_all_have_one(void **state _unused_)
{
	static struct pauses p;

	assert_null(pauses_find(&p, BDF));
	add(&p, BDF, 1000, "first");
	add(&p, "*", 0, "all");
	add(&p, BDF, 2000, "second");
	assert_int_equal(p.n, 2);
	assert_string_equal(pauses_find(&p, BDF)->reason, "second");
	assert_string_equal(pauses_find(&p, OTHER)->reason, "all");
	assert_int_equal(pauses_remove(&p, OTHER), 0);
	assert_int_equal(pauses_remove(&p, BDF), 1);
	assert_string_equal(pauses_find(&p, BDF)->reason, "all");
	add(&p, BDF, 0, "");
	assert_int_equal(pauses_remove(&p, "*"), 2);
	assert_null(pauses_find(&p, BDF));
}

static void test_there_is_room_for_64(void **state _unused_)
{
	static struct pauses p;
	struct pause more = pause_of(BDF, 0, "");

	for (unsigned int i = 0; i < PAUSES_MAX; i++) {
		char bdf[16];

		(void)snprintf(bdf, sizeof(bdf), "0001:%02x:00.0", i);
		add(&p, bdf, 0, "");
	}
	assert_int_equal(pauses_add(&p, &more), -ENOSPC);
	assert_int_equal(p.n, PAUSES_MAX);
}

/* The clock on the wall may jump: what is over is over, and what is not is not. */
static void test_a_pause_ends_by_the_wall_clock(void **state _unused_)
{
	static struct pauses p;

	add(&p, BDF, 1000, "");
	add(&p, OTHER, 2000, "");
	add(&p, "*", 0, "");
	assert_int_equal(pauses_expire(&p, 999), 0);
	assert_int_equal(pauses_expire(&p, 0), 0);
	assert_int_equal(pauses_expire(&p, 1000), 1);
	assert_string_equal(pauses_find(&p, BDF)->gpu, "*");
	assert_int_equal(pauses_expire(&p, UINT64_MAX), 1);
	assert_int_equal(p.n, 1);
}

static void test_what_was_saved_is_loaded(void **state)
{
	static struct pauses saved, loaded;
	struct fixture *f = *state;
	char reason[HOLD_REASON_MAX + 1];
	struct stat st;
	uint32_t line;

	memset(reason, 'x', HOLD_REASON_MAX);
	reason[HOLD_REASON_MAX] = '\0';
	add(&saved, BDF, UINT64_MAX, reason);
	add(&saved, "*", 0, "");
	add(&saved, OTHER, 7, "  blanks,\xc3\xa9  and # signs ");
	for (unsigned int i = 0; saved.n < PAUSES_MAX; i++) {
		char bdf[16];

		(void)snprintf(bdf, sizeof(bdf), "ffff:%02x:1f.7", i);
		add(&saved, bdf, UINT64_MAX, reason);
	}
	assert_int_equal(pauses_save(f->path, &saved), 0);
	assert_int_equal(pauses_load(f->path, &loaded, &line), 0);
	assert_memory_equal(&saved, &loaded, sizeof(saved));
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(pauses_remove(&saved, "*"), PAUSES_MAX);
	assert_int_equal(pauses_save(f->path, &saved), 0);
	assert_int_equal(pauses_load(f->path, &loaded, &line), 0);
	assert_int_equal(loaded.n, 0);
}

static void write_file(struct fixture *f, const char *text, size_t length)
{
	char folder[128];
	FILE *file;

	(void)snprintf(folder, sizeof(folder), "%s/daemon", f->root);
	(void)mkdir(folder, 0700);
	file = fopen(f->path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, length, file), length);
	assert_int_equal(fclose(file), 0);
}

static void test_what_is_not_exactly_so_is_refused_whole(void **state)
{
	static const struct {
		const char *text;
		uint32_t line;
	} cases[] = {
		{"", 1},
		{"\n", 1},
		{"cofris-pauses 1", 1},
		{"cofris-pauses 2\n", 1},
		{"cofris-pauses 1 \n", 1},
		{"\n" FIRST, 1},
		{BDF " 0 1 0 x\n", 1},
		{FIRST FIRST, 2},
		{FIRST "\n", 2},
		{FIRST BDF "\n", 2},
		{FIRST BDF " 0 1 0\n", 2},
		{FIRST BDF " 0 1 0 cut off", 2},
		{FIRST BDF " 0 1 0 x\n" BDF " 0 1 0 twice\n", 3},
		{FIRST "* 0 1 0 x\n* 0 1 0 twice\n", 3},
		{FIRST "0000:43:00 0 1 0 x\n", 2},
		{FIRST "0000:43:00.0/../x 0 1 0 x\n", 2},
		{FIRST "** 0 1 0 x\n", 2},
		{FIRST " 0 1 0 x\n", 2},
		{FIRST BDF " -1 1 0 x\n", 2},
		{FIRST BDF " 4294967296 1 0 x\n", 2},
		{FIRST BDF " 0 +1 0 x\n", 2},
		{FIRST BDF " 0 1 18446744073709551616 x\n", 2},
		{FIRST BDF " 0 1 1e9 x\n", 2},
		{FIRST BDF "  0 1 0 x\n", 2},
		{FIRST BDF "\t0 1 0 x\n", 2},
		{FIRST BDF " 0 1 0 \033[2J\n", 2},
		{FIRST BDF " 0 1 0 \xff\n", 2},
		{FIRST BDF " 0 1 0 x\r\n", 2},
		{FIRST "* 0 1 0 good\n" BDF " 0 1 0 good\n" OTHER " 0 1 x bad\n", 4},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pauses p = {.n = 77};
		uint32_t line = 0;
		int r;

		write_file(f, cases[i].text, strlen(cases[i].text));
		r = pauses_load(f->path, &p, &line);
		if (r != -EBADMSG || line != cases[i].line)
			fail_msg("case %zu: %d in line %u", i, r, line);
		assert_int_equal(p.n, 77);
	}
}

static void test_a_long_reason_and_too_many_lines_are_refused(void **state)
{
	static char text[PAUSES_BYTES_MAX + 1];
	static struct pauses p;
	struct fixture *f = *state;
	size_t length;
	uint32_t line;

	length = (size_t)snprintf(text, sizeof(text), FIRST BDF " 0 1 0 ");
	memset(text + length, 'x', HOLD_REASON_MAX + 1);
	text[length + HOLD_REASON_MAX + 1] = '\n';
	write_file(f, text, length + HOLD_REASON_MAX + 2);
	assert_int_equal(pauses_load(f->path, &p, &line), -EBADMSG);
	length = (size_t)snprintf(text, sizeof(text), FIRST);
	for (unsigned int i = 0; i <= PAUSES_MAX; i++)
		length += (size_t)snprintf(text + length, sizeof(text) - length,
					   "0001:%02x:00.0 0 1 0 x\n", i);
	write_file(f, text, length);
	assert_int_equal(pauses_load(f->path, &p, &line), -EBADMSG);
	assert_int_equal(line, PAUSES_MAX + 2);
	memset(text, 'x', sizeof(text));
	write_file(f, text, sizeof(text));
	assert_int_equal(pauses_load(f->path, &p, &line), -EFBIG);
	write_file(f, FIRST BDF " 0 1 0 a\0b\n", sizeof(FIRST BDF " 0 1 0 a\0b\n") - 1);
	assert_int_equal(pauses_load(f->path, &p, &line), -EINVAL);
}

static void test_what_is_no_plain_file_is_refused_at_once(void **state)
{
	static struct pauses p;
	struct fixture *f = *state;
	char target[160];
	uint32_t line;

	write_file(f, FIRST, strlen(FIRST));
	(void)snprintf(target, sizeof(target), "%s.target", f->path);
	assert_int_equal(rename(f->path, target), 0);
	assert_int_equal(pauses_load(f->path, &p, &line), 0);
	assert_int_equal(symlink(target, f->path), 0);
	assert_int_equal(pauses_load(f->path, &p, &line), -ELOOP);
	assert_int_equal(unlink(f->path), 0);
	/* Nobody writes to it: opening must not wait. */
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_int_equal(pauses_load(f->path, &p, &line), -EINVAL);
	assert_int_equal(unlink(f->path), 0);
	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_int_equal(pauses_load(f->path, &p, &line), -EINVAL);
	/* And it is not replaced by a file. */
	assert_true(pauses_save(f->path, &p) < 0);
	assert_int_equal(rmdir(f->path), 0);
}

static void test_a_folder_that_cannot_be_made_is_an_error(void **state)
{
	static struct pauses p;
	struct fixture *f = *state;
	char path[160];

	write_file(f, FIRST, strlen(FIRST));
	(void)snprintf(path, sizeof(path), "%s/pauses", f->path);
	assert_int_equal(pauses_save(path, &p), -ENOTDIR);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_card_has_one_and_all_have_one),
		cmocka_unit_test(test_there_is_room_for_64),
		cmocka_unit_test(test_a_pause_ends_by_the_wall_clock),
		CASE(test_what_was_saved_is_loaded),
		CASE(test_what_is_not_exactly_so_is_refused_whole),
		CASE(test_a_long_reason_and_too_many_lines_are_refused),
		CASE(test_what_is_no_plain_file_is_refused_at_once),
		CASE(test_a_folder_that_cannot_be_made_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
