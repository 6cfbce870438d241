/* SPDX-License-Identifier: Apache-2.0 */
/* What is put right before librocm_smi64 is let in: real mutexes, wedged in each way known. */
#include "base/macros.h"
#include "gpu/gpu.h"
#include "gpu/rsmi-guard.h"
#include "test-gpu-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#define CARD0 "rocm_smi_card0"

static struct {
	struct gpu_tree tree;
	pid_t holder;
} f;

static int setup(_unused_ void **state)
{
	f.holder = 0;
	gpu_tree_create(&f.tree, 1);
	return 0;
}

static int teardown(_unused_ void **state)
{
	if (f.holder > 0) {
		(void)kill(f.holder, SIGKILL);
		(void)waitpid(f.holder, NULL, 0);
	}
	gpu_tree_destroy(&f.tree);
	return 0;
}

static bool exists(const char *name)
{
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/%s", f.tree.root, name);
	return access(path, F_OK) == 0;
}

/* The mutex as the library makes it. */
static pthread_mutex_t *map_mutex(bool create)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t *m;
	char path[160];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/" CARD0, f.tree.root);
	fd = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0777);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, sizeof(*m)), 0);
	m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(m != MAP_FAILED);
	(void)close(fd);
	if (!create)
		return m;
	(void)pthread_mutexattr_init(&attr);
	(void)pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	(void)pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
	(void)pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	assert_int_equal(pthread_mutex_init(m, &attr), 0);
	(void)pthread_mutexattr_destroy(&attr);
	return m;
}

static void run_child(void (*child)(pthread_mutex_t *m))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		child(map_mutex(false));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void die_inside(pthread_mutex_t *m)
{
	(void)pthread_mutex_lock(m);
}

static void unmap_and_die(pthread_mutex_t *m)
{
	(void)pthread_mutex_lock(m);
	(void)munmap(m, sizeof(*m));
}

static void lose_it(pthread_mutex_t *m)
{
	/* Unlocked without being made consistent. */
	if (pthread_mutex_lock(m) != EOWNERDEAD)
		_exit(1);
	(void)pthread_mutex_unlock(m);
}

static void leave_inconsistent(pthread_mutex_t *m)
{
	if (pthread_mutex_lock(m) != EOWNERDEAD)
		_exit(1);
	(void)munmap(m, sizeof(*m));
}

static void test_leaves_healthy_mutexes_alone(_unused_ void **state)
{
	pthread_mutex_t *m = map_mutex(true);

	assert_int_equal(rsmi_heal_mutexes(f.tree.root), 0);
	assert_int_equal(pthread_mutex_lock(m), 0); /* held by the living */
	assert_int_equal(rsmi_heal_mutexes(f.tree.root), 0);
	assert_int_equal(pthread_mutex_unlock(m), 0);
	assert_int_equal(rsmi_heal_mutexes(f.tree.root), 0);
	assert_true(exists(CARD0));
	(void)munmap(m, sizeof(*m));
	assert_int_equal(rsmi_heal_mutexes("/nonexistent"), 0);
}

static void test_leaves_the_mutex_of_another_living_process_alone(_unused_ void **state)
{
	pthread_mutex_t *m = map_mutex(true);
	int ends[2];
	char byte;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	f.holder = fork();
	if (f.holder == 0) {
		(void)pthread_mutex_lock(m);
		(void)!write(ends[1], "x", 1);
		(void)pause();
		_exit(0);
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	assert_int_equal(rsmi_heal_mutexes(f.tree.root), 0);
	assert_true(exists(CARD0));
	(void)close(ends[0]);
	(void)close(ends[1]);
	(void)munmap(m, sizeof(*m));
}

static void test_removes_what_dead_users_left(_unused_ void **state)
{
	static const struct {
		void (*first)(pthread_mutex_t *m);
		void (*second)(pthread_mutex_t *m);
	} cases[] = {
		{die_inside, NULL},
		{unmap_and_die, NULL},
		{die_inside, lose_it},
		{die_inside, leave_inconsistent},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)munmap(map_mutex(true), sizeof(pthread_mutex_t));
		run_child(cases[i].first);
		if (cases[i].second)
			run_child(cases[i].second);
		assert_int_equal(rsmi_heal_mutexes(f.tree.root), 1);
		assert_false(exists(CARD0));
	}
}

static void test_removes_what_is_no_mutex_of_the_librarys(_unused_ void **state)
{
	pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
	char link[160];

	gpu_tree_write(&f.tree, "rocm_smi_card0", "");
	gpu_tree_write(&f.tree, "rocm_smi_card1", "0123456789012345678901234567890123456789x");
	gpu_tree_write_bytes(&f.tree, "rocm_smi_card2", &plain, sizeof(plain));
	gpu_tree_write(&f.tree, "rocm_smi_card3", "0123456789012345678901234567890123456789");
	gpu_tree_write(&f.tree, "rocm", "somebody else's");
	(void)snprintf(link, sizeof(link), "%s/rocm_smi_card4", f.tree.root);
	assert_int_equal(symlink("rocm", link), 0);
	assert_int_equal(rsmi_heal_mutexes(f.tree.root), 5);
	assert_true(exists("rocm"));
	assert_int_equal(rsmi_heal_mutexes(f.tree.root), 0);
}

static void test_says_what_it_cannot_remove(_unused_ void **state)
{
	gpu_tree_write(&f.tree, "rocm_smi_card0/x", "");
	assert_int_equal(rsmi_heal_mutexes(f.tree.root), -EBUSY);
}

static void test_lets_the_library_see_only_a_tree_that_it_survives(_unused_ void **state)
{
	char card[160];

	assert_int_equal(rsmi_vet_tree(f.tree.root), -EBADMSG); /* no io_links */
	gpu_tree_write(&f.tree, "class/kfd/kfd/topology/nodes/0/io_links/0/properties", "type 2\n");
	assert_int_equal(rsmi_vet_tree(f.tree.root), -EBADMSG); /* one node without */
	gpu_tree_write(&f.tree, TREE_NODE "io_links/0/properties", "type 2\n");
	assert_int_equal(rsmi_vet_tree(f.tree.root), 0);
	gpu_tree_write(&f.tree, "class/drm/card0-DP-1/status", "connected\n");
	assert_int_equal(rsmi_vet_tree(f.tree.root), 0);
	gpu_tree_write(&f.tree, "class/drm/card1/vendor", "0x1002\n"); /* a real folder */
	assert_int_equal(rsmi_vet_tree(f.tree.root), -EBADMSG);
	gpu_tree_remove(&f.tree, "class/drm/card1");
	(void)snprintf(card, sizeof(card), "%s/class/drm/card1", f.tree.root);
	assert_int_equal(symlink("../../devices/platform/display/drm/card1", card), 0);
	assert_int_equal(rsmi_vet_tree(f.tree.root), -EBADMSG);
	assert_int_equal(unlink(card), 0);
	gpu_tree_remove(&f.tree, "class/drm/card0");
	assert_int_equal(rsmi_vet_tree(f.tree.root), -ENODEV);
	assert_int_equal(rsmi_vet_tree("/nonexistent"), -ENODEV);
}

static void test_the_library_knows_one_root_only(_unused_ void **state)
{
	const struct gpu_backend *b;

	assert_int_equal(gpu_backend_rsmi_load(f.tree.root, &b), -EOPNOTSUPP);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_leaves_healthy_mutexes_alone),
		CASE(test_leaves_the_mutex_of_another_living_process_alone),
		CASE(test_removes_what_dead_users_left),
		CASE(test_removes_what_is_no_mutex_of_the_librarys),
		CASE(test_says_what_it_cannot_remove),
		CASE(test_lets_the_library_see_only_a_tree_that_it_survives),
		CASE(test_the_library_knows_one_root_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
