/* SPDX-License-Identifier: Apache-2.0 */
/* Programs that are known to set clocks, in a made-up /proc. */
#include "base/macros.h"
#include "daemon/culprit.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>

static char proc[64];

static int setup(void **state _unused_)
{
	(void)strcpy(proc, "/tmp/cofris-test-culprit.XXXXXX");
	return mkdtemp(proc) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st _unused_, int flag _unused_,
		      struct FTW *ftw _unused_)
{
	return remove(path);
}

static int teardown(void **state _unused_)
{
	return nftw(proc, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void write_file(const char *pid, const char *name, const char *bytes, size_t size)
{
	char path[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", proc, pid);
	(void)mkdir(path, 0755);
	(void)snprintf(path, sizeof(path), "%s/%s/%s", proc, pid, name);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static void test_knows_programs_and_scripts(void **state _unused_)
{
	static const struct {
		const char *comm, *cmdline;
		size_t size;
		const char *found;
	} rows[] = {
		{"lactd\n", "x", 1, "lactd (pid 12)"},
		{"corectrl_helper\n", "x", 1, "corectrl_helper (pid 12)"},
		/* The kernel cuts. */
		{"power-profiles-\n", "x", 1, "power-profiles-daemon (pid 12)"},
		{"python3\n", "python3\0/usr/bin/rocm-smi\0--setsclk\0", 37, "rocm-smi (pid 12)"},
		{"python3\n", "python3\0", 8, NULL},
		{"python3\n", "python3", 7, NULL},
		{"python3\n", "", 0, NULL},
		{"python3\n", "python3\0-c\0lactd\0", 17, NULL},
		{"lac\n", "x", 1, NULL},
		{"lactdx\n", "x", 1, NULL},
		{"bash\n", "bash\0amdgpu-clocks\0", 19, "amdgpu-clocks (pid 12)"},
		{"", "x", 1, NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char found[CULPRIT_MAX] = "";

		write_file("12", "comm", rows[i].comm, strlen(rows[i].comm));
		write_file("12", "cmdline", rows[i].cmdline, rows[i].size);
		assert_int_equal(culprit_find(proc, found, sizeof(found)), rows[i].found ? 1 : 0);
		if (rows[i].found)
			assert_string_equal(found, rows[i].found);
	}
}

static void test_looks_at_processes_alone(void **state _unused_)
{
	char found[CULPRIT_MAX];

	write_file("self", "comm", "lactd\n", 6);
	write_file("12x", "comm", "lactd\n", 6);
	assert_int_equal(culprit_find(proc, found, sizeof(found)), 0);
	assert_int_equal(culprit_find("/nonexistent", found, sizeof(found)), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_knows_programs_and_scripts, setup, teardown),
		cmocka_unit_test_setup_teardown(test_looks_at_processes_alone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
