/* SPDX-License-Identifier: Apache-2.0 */
/* The state file: what is written comes back, and nothing else does. */
#include "actuator/state-file.h"
#include "test-gpu-fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define BOOT   "6c1ad8f2-95d5-4f4a-9b53-0d0a3d6d5f10"
#define HEADER "cofris-actuator-state 1\nboot " BOOT "\n"
#define CARD                                                                                       \
	"card 0000:43:00.0 unique_id=1 bind=2 level=0 cap_uw=3 max_mhz=4 power_cap_uw=5 "          \
	"lease_ms=6 pid=7 uid=8\n"

static struct {
	struct gpu_tree tree; /* only as a folder that goes away */
	char path[96];
} f;

static int setup(_unused_ void **state)
{
	gpu_tree_create(&f.tree, 0);
	(void)snprintf(f.path, sizeof(f.path), "%s/state", f.tree.root);
	return 0;
}

static int teardown(_unused_ void **state)
{
	gpu_tree_destroy(&f.tree);
	return 0;
}

static struct saved_state example(void)
{
	return (struct saved_state){
		.n = 2,
		.cards = {{.bdf = "0000:43:00.0",
			   .unique_id = UINT64_MAX,
			   .bind = 12345,
			   .level = GPU_PERF_HIGH,
			   .cap_uw = 225000000,
			   .max_mhz = 1143,
			   .power_cap_uw = 150000000,
			   .lease_ms = 2000,
			   .uid = UINT32_MAX,
			   .pid = INT32_MAX},
			  {.bdf = "0001:ff:1f.7"}},
	};
}

static void test_what_is_saved_is_loaded(_unused_ void **state)
{
	const struct saved_state s = example();
	struct saved_state loaded;
	struct stat st;

	assert_int_equal(state_file_load(f.path, BOOT, &loaded), -ENOENT);
	assert_int_equal(state_file_save(f.path, BOOT, &s), 0);
	assert_int_equal(state_file_save(f.path, BOOT, &s), 0); /* replaced */
	assert_int_equal(state_file_load(f.path, BOOT, &loaded), 0);
	assert_int_equal(loaded.n, 2);
	assert_memory_equal(loaded.cards, s.cards, sizeof(s.cards));
	assert_int_equal(stat(f.path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
}

static void test_a_full_list_fits(_unused_ void **state)
{
	struct saved_state s = example(), loaded;

	s.n = GPU_MAX_CARDS;
	for (uint32_t i = 1; i < s.n; i++)
		s.cards[i] = s.cards[0];
	assert_int_equal(state_file_save(f.path, BOOT, &s), 0);
	assert_int_equal(state_file_load(f.path, BOOT, &loaded), 0);
	assert_int_equal(loaded.n, GPU_MAX_CARDS);
}

static void test_without_cards_there_is_no_file(_unused_ void **state)
{
	struct saved_state s = example();

	assert_int_equal(state_file_save(f.path, BOOT, &s), 0);
	s.n = 0;
	assert_int_equal(state_file_save(f.path, BOOT, &s), 0);
	assert_int_equal(access(f.path, F_OK), -1);
	assert_int_equal(state_file_save(f.path, BOOT, &s), 0);
}

static void test_another_boot_is_stale(_unused_ void **state)
{
	const struct saved_state s = example();
	struct saved_state loaded;

	assert_int_equal(state_file_save(f.path, BOOT, &s), 0);
	assert_int_equal(state_file_load(f.path, "other", &loaded), -ESTALE);
	/* ... whatever else it holds. */
	gpu_tree_write(&f.tree, "state", HEADER "rubbish");
	(void)chmod(f.path, 0600);
	assert_int_equal(state_file_load(f.path, "other", &loaded), -ESTALE);
}

static void test_refuses_what_it_did_not_write(_unused_ void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"cofris-actuator-state 2\nboot " BOOT "\nend\n",
		HEADER, /* cut off */
		HEADER CARD,
		HEADER CARD "end\nmore\n",
		HEADER "card\nend\n",
		HEADER "card 0000:43:00.0\nend\n",
		HEADER "card ../../etc unique_id=1 bind=2 level=0 cap_uw=3 max_mhz=4 "
		       "power_cap_uw=5 lease_ms=6 pid=7 uid=8\nend\n",
		HEADER "card 0000:43:00.0 bind=2 unique_id=1 level=0 cap_uw=3 max_mhz=4 "
		       "power_cap_uw=5 lease_ms=6 pid=7 uid=8\nend\n",
		HEADER "card 0000:43:00.0 unique_id=1 bind=2 level=3 cap_uw=3 max_mhz=4 "
		       "power_cap_uw=5 lease_ms=6 pid=7 uid=8\nend\n", /* manual */
		HEADER "card 0000:43:00.0 unique_id=1 bind=2 level=0 cap_uw=-3 max_mhz=4 "
		       "power_cap_uw=5 lease_ms=6 pid=7 uid=8\nend\n",
		HEADER "card 0000:43:00.0 unique_id=1 bind=2 level=0 cap_uw=3 max_mhz=4 "
		       "power_cap_uw=5 lease_ms=6 pid=7 uid=4294967296\nend\n",
		HEADER "card 0000:43:00.0 unique_id=1 bind=2 level=0 cap_uw=3 max_mhz=4 "
		       "power_cap_uw=5 lease_ms=6 pid=7 uid=8 extra=9\nend\n",
		HEADER CARD CARD CARD CARD CARD CARD CARD CARD CARD CARD CARD CARD CARD CARD CARD
			CARD CARD "end\n", /* one more than there can be */
	};
	struct saved_state loaded = {.n = 77};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		gpu_tree_write(&f.tree, "state", texts[i]);
		(void)chmod(f.path, 0600);
		assert_int_equal(state_file_load(f.path, BOOT, &loaded), -EBADMSG);
		assert_int_equal(loaded.n, 77);
	}
	gpu_tree_write(&f.tree, "state", HEADER CARD "end\n");
	(void)chmod(f.path, 0600);
	assert_int_equal(state_file_load(f.path, BOOT, &loaded), 0);
	assert_int_equal(loaded.cards[0].max_mhz, 4);
}

static void test_trusts_only_a_plain_file_of_its_own(_unused_ void **state)
{
	char other[128];
	struct saved_state loaded;

	gpu_tree_write(&f.tree, "state", HEADER CARD "end\n");
	(void)chmod(f.path, 0666);
	assert_int_equal(state_file_load(f.path, BOOT, &loaded), -EPERM);
	(void)snprintf(other, sizeof(other), "%s.other", f.path);
	assert_int_equal(rename(f.path, other), 0);
	assert_int_equal(symlink(other, f.path), 0);
	assert_int_equal(state_file_load(f.path, BOOT, &loaded), -ELOOP);
	assert_int_equal(unlink(f.path), 0);
	assert_int_equal(mkfifo(f.path, 0600), 0);
	assert_int_equal(state_file_load(f.path, BOOT, &loaded), -EPERM);
	if (getuid() != 0)
		return;
	assert_int_equal(unlink(f.path), 0);
	assert_int_equal(rename(other, f.path), 0);
	assert_int_equal(chmod(f.path, 0600), 0);
	assert_int_equal(chown(f.path, 65533, 65533), 0);
	assert_int_equal(state_file_load(f.path, BOOT, &loaded), -EPERM);
}

static void test_a_file_that_cannot_be_written_leaves_the_old_one(_unused_ void **state)
{
	struct saved_state s = example(), loaded;
	char temporary[128];

	assert_int_equal(state_file_save(f.path, BOOT, &s), 0);
	(void)snprintf(temporary, sizeof(temporary), "%s.new", f.path);
	assert_int_equal(mkdir(temporary, 0700), 0);
	s.n = 1;
	assert_int_equal(state_file_save(f.path, BOOT, &s), -EISDIR);
	assert_int_equal(state_file_load(f.path, BOOT, &loaded), 0);
	assert_int_equal(loaded.n, 2);
	assert_int_equal(state_file_save("/nonexistent/state", BOOT, &s), -ENOENT);
}

static void test_reads_this_boots_id(_unused_ void **state)
{
	char id[40], again[40];

	assert_int_equal(boot_id_read(id), 0);
	assert_int_equal(boot_id_read(again), 0);
	assert_int_equal(strlen(id), 36);
	assert_string_equal(id, again);
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_what_is_saved_is_loaded),
		CASE(test_a_full_list_fits),
		CASE(test_without_cards_there_is_no_file),
		CASE(test_another_boot_is_stale),
		CASE(test_refuses_what_it_did_not_write),
		CASE(test_trusts_only_a_plain_file_of_its_own),
		CASE(test_a_file_that_cannot_be_written_leaves_the_old_one),
		CASE(test_reads_this_boots_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
