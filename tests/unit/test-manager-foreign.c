/* SPDX-License-Identifier: Apache-2.0 */
/* Which processes on a card are foreign, and for how long that matters. */
#include "base/macros.h"
#include "base/units.h"
#include "daemon/foreign.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define TICK (500 * NSEC_PER_MSEC)

/* Even pids are workers. */
static bool even(void *userdata _unused_, int32_t pid)
{
	return pid % 2 == 0;
}

static int32_t see(struct foreign *f, uint64_t now_ns, int32_t pid)
{
	return foreign_update(f, now_ns, &pid, pid != 0, even, NULL);
}

static void test_workers_are_not_foreign(void **state _unused_)
{
	struct foreign f = {0};

	for (uint64_t i = 1; i < 10; i++)
		assert_int_equal(see(&f, i * TICK, 42), 0);
	assert_false(foreign_active(&f, 10 * TICK));
}

static void test_a_foreign_process_counts_when_it_is_seen_again(void **state _unused_)
{
	struct foreign f = {0};

	assert_int_equal(see(&f, TICK, 41), 0);
	assert_false(foreign_active(&f, TICK));
	assert_int_equal(see(&f, 2 * TICK, 41), 41);
	assert_true(foreign_active(&f, 2 * TICK));
	/* Named once. */
	assert_int_equal(see(&f, 3 * TICK, 41), 0);
	assert_true(foreign_active(&f, 3 * TICK));
}

static void test_it_matters_until_five_seconds_after_it_has_gone(void **state _unused_)
{
	struct foreign f = {0};
	uint64_t last_ns = 2 * TICK;

	(void)see(&f, TICK, 41);
	(void)see(&f, last_ns, 41);
	(void)see(&f, last_ns + TICK, 0);
	assert_true(foreign_active(&f, last_ns + FOREIGN_HOLD_NS - 1));
	assert_false(foreign_active(&f, last_ns + FOREIGN_HOLD_NS));
}

static void test_one_that_becomes_a_worker_in_time_never_counts(void **state _unused_)
{
	struct foreign f = {0};

	(void)see(&f, TICK, 41);
	/* Gone for one look; the next sighting is a first one again. */
	(void)see(&f, TICK + FOREIGN_GRACE_NS, 42);
	assert_int_equal(see(&f, TICK + 2 * FOREIGN_GRACE_NS, 41), 0);
	assert_false(foreign_active(&f, TICK + 2 * FOREIGN_GRACE_NS));
}

static void test_pids_that_cannot_be_are_passed_over(void **state _unused_)
{
	int32_t pids[] = {0, -1, INT32_MIN};
	struct foreign f = {0};

	for (uint64_t i = 1; i < 4; i++)
		assert_int_equal(foreign_update(&f, i * TICK, pids, ARRAY_SIZE(pids), even, NULL),
				 0);
	assert_false(foreign_active(&f, 4 * TICK));
}

static void test_more_processes_than_fit_still_count(void **state _unused_)
{
	int32_t pids[3 * FOREIGN_MAX];
	struct foreign f = {0};

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++)
		pids[i] = (int32_t)(2 * i + 1);
	(void)foreign_update(&f, TICK, pids, ARRAY_SIZE(pids), even, NULL);
	assert_int_not_equal(foreign_update(&f, 2 * TICK, pids, ARRAY_SIZE(pids), even, NULL), 0);
	assert_true(foreign_active(&f, 2 * TICK));
	assert_true(f.n <= FOREIGN_MAX);
}

struct fixture {
	char proc[64];
};

static int setup(void **state)
{
	static struct fixture f;
	char path[128];

	(void)strcpy(f.proc, "/tmp/cofris-test-proc.XXXXXX");
	if (!mkdtemp(f.proc))
		return -1;
	(void)snprintf(path, sizeof(path), "%s/7", f.proc);
	if (mkdir(path, 0755) < 0)
		return -1;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/7/cgroup", f->proc);
	(void)remove(path);
	*strrchr(path, '/') = '\0';
	(void)remove(path);
	(void)remove(f->proc);
	return 0;
}

static void test_a_cgroup_is_read_as_the_kernel_writes_it(void **state)
{
	static const struct {
		const char *text;
		int r;
		const char *cgroup;
	} cases[] = {
		{"0::/system.slice/a.service\n", 0, "/system.slice/a.service"},
		{"0::/\n", 0, "/"},
		{"12:pids:/x\n1:name=systemd:/system.slice/b.service\n0::/\n", 0,
		 "/system.slice/b.service"},
		{"4:memory:/y\n0::/user.slice/c.scope\n", 0, "/user.slice/c.scope"},
		{"0::/no-newline", 0, "/no-newline"},
		{"4:memory:/y\n", -ENODATA, ""},
		{"", -ENODATA, ""},
	};
	struct fixture *f = *state;
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/7/cgroup", f->proc);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char cgroup[CGROUP_MAX] = "";
		FILE *file = fopen(path, "w");

		assert_non_null(file);
		assert_true(fputs(cases[i].text, file) >= 0);
		assert_int_equal(fclose(file), 0);
		assert_int_equal(cgroup_of(f->proc, 7, cgroup, sizeof(cgroup)), cases[i].r);
		assert_string_equal(cgroup, cases[i].cgroup);
	}
}

static void test_a_long_or_absent_cgroup_is_an_error(void **state)
{
	struct fixture *f = *state;
	char path[128], cgroup[8] = "old";
	FILE *file;

	assert_int_equal(cgroup_of(f->proc, 8, cgroup, sizeof(cgroup)), -ENOENT);
	(void)snprintf(path, sizeof(path), "%s/7/cgroup", f->proc);
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs("0::/12345678\n", file) >= 0);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(cgroup_of(f->proc, 7, cgroup, sizeof(cgroup)), -ENAMETOOLONG);
	assert_string_equal(cgroup, "old");
}

static void test_the_root_and_the_daemons_own_cgroup_say_nothing(void **state _unused_)
{
	assert_true(cgroup_tells("/system.slice/a.service", "/system.slice/cofrisd.service"));
	assert_false(cgroup_tells("/system.slice/a.service", "/system.slice/a.service"));
	assert_false(cgroup_tells("/", "/system.slice/cofrisd.service"));
	assert_false(cgroup_tells("", ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_workers_are_not_foreign),
		cmocka_unit_test(test_a_foreign_process_counts_when_it_is_seen_again),
		cmocka_unit_test(test_it_matters_until_five_seconds_after_it_has_gone),
		cmocka_unit_test(test_one_that_becomes_a_worker_in_time_never_counts),
		cmocka_unit_test(test_pids_that_cannot_be_are_passed_over),
		cmocka_unit_test(test_more_processes_than_fit_still_count),
		cmocka_unit_test_setup_teardown(test_a_cgroup_is_read_as_the_kernel_writes_it,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_long_or_absent_cgroup_is_an_error, setup,
						teardown),
		cmocka_unit_test(test_the_root_and_the_daemons_own_cgroup_say_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
