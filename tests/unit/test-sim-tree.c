/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated cards' files and driver rules without a mount; sim-selftest has them under FUSE. */
#include "base/ini-file.h"
#include "base/macros.h"
#include "base/units.h"
#include "sim/card.h"
#include "sim/faults.h"
#include "sim/tree.h"
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cmocka.h>

#define N_CARDS SIM_MAX_CARDS

struct fixture {
	char folder[64], path[96];
	struct sim_machine *machine;
	struct plant_device *device;
	struct card *cards[N_CARDS];
	struct tree *tree;
	struct faults *faults;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct ini_error error;
	struct timespec t;

	assert_non_null(f);
	*state = f;
	(void)strcpy(f->folder, "/tmp/test-sim-tree.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	(void)snprintf(f->path, sizeof(f->path), "%s/machine", f->folder);
	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	assert_int_equal(sim_machine_create(f->path, N_CARDS, 1.0,
					    (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec,
					    &f->machine),
			 0);
	assert_int_equal(plant_device_load(COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini",
					   &f->device, &error),
			 0);
	for (uint32_t i = 0; i < N_CARDS; i++) {
		const struct card_options o = {
			.index = i,
			.device = f->device,
			.machine = f->machine,
			.plant = {.seed = i, .time_factor = 1.5, .power_factor = 1},
		};

		assert_int_equal(card_new(&o, &f->cards[i]), 0);
	}
	assert_int_equal(tree_new(f->cards, N_CARDS, &f->tree), 0);
	assert_int_equal(faults_new(f->cards, N_CARDS, &f->faults), 0);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)faults_free(f->faults);
	(void)tree_free(f->tree);
	for (uint32_t i = 0; i < N_CARDS; i++)
		(void)card_free(f->cards[i]);
	sim_machine_unmap(f->machine);
	(void)unlink(f->path);
	(void)rmdir(f->folder);
	free(f->device);
	free(f);
	return 0;
}

/* ---- the tree ---- */

struct walk {
	uint32_t files, links, folders;
};

static void walk(struct tree *t, uint64_t folder, struct walk *w)
{
	_cleanup_(freep) struct tree_entry *entries = NULL;
	char text[TREE_FILE_SIZE];
	int n = tree_list(t, folder, &entries);

	assert_true(n >= 0);
	w->folders++;
	for (int i = 0; i < n; i++) {
		struct tree_info info;
		uint64_t node = 0;
		ssize_t size;

		assert_int_equal(tree_lookup(t, folder, entries[i].name, &node), 0);
		assert_int_equal(node, entries[i].node);
		assert_int_equal(tree_info(t, node, &info), 0);
		if (S_ISDIR(info.mode)) {
			walk(t, node, w);
		} else if (S_ISLNK(info.mode)) {
			w->links++;
			assert_int_equal(strncmp(info.target, "../", 3), 0);
			assert_null(strchr(info.target, '%'));
		} else {
			w->files++;
			size = tree_read(t, node, text);
			assert_in_range(size, 0, TREE_FILE_SIZE);
			assert_int_equal(tree_is_writable(t, node), (info.mode & 0222) != 0);
		}
		assert_null(strchr(entries[i].name, '%'));
	}
}

static void test_every_entry_is_found_again_and_can_be_read(void **state)
{
	struct fixture *f = *state;
	struct walk w = {0};

	walk(f->tree, TREE_ROOT, &w);
	assert_true(w.files > N_CARDS * 60);
	assert_int_equal(w.links, 1 + N_CARDS * 7);
}

static void test_a_tree_fits_any_number_of_cards(void **state)
{
	struct fixture *f = *state;

	for (uint32_t n = 1; n <= N_CARDS; n++) {
		struct walk w = {0};
		struct tree *t;

		assert_int_equal(tree_new(f->cards, n, &t), 0);
		walk(t, TREE_ROOT, &w);
		assert_int_equal(w.links, 1 + n * 7);
		(void)tree_free(t);
	}
}

static void test_what_is_not_there_is_not_found(void **state)
{
	struct fixture *f = *state;
	struct tree_entry *entries;
	struct tree_info info;
	uint64_t node;
	char text[TREE_FILE_SIZE];

	assert_int_equal(tree_lookup(f->tree, TREE_ROOT, "nothing", &node), -ENOENT);
	assert_int_equal(tree_lookup(f->tree, 1u << 30, "drm", &node), -ENOENT);
	assert_int_equal(tree_info(f->tree, 0, &info), -ENOENT);
	assert_int_equal(tree_info(f->tree, UINT64_MAX, &info), -ENOENT);
	assert_int_equal(tree_list(f->tree, 1u << 30, &entries), -ENOENT);
	assert_int_equal(tree_read(f->tree, TREE_ROOT, text), -EISDIR);
	assert_int_equal(tree_write(f->tree, TREE_ROOT, "1"), -EACCES);
}

static void test_cards_have_addresses_of_their_own(void **state)
{
	struct fixture *f = *state;

	assert_string_equal(card_bdf(f->cards[0]), "0000:43:00.0");
	assert_string_equal(card_bdf(f->cards[1]), "0000:63:00.0");
	for (uint32_t i = 0; i < N_CARDS; i++) {
		assert_true(pci_bdf_is_valid(card_bdf(f->cards[i])));
		assert_ptr_equal(sim_card_find(f->machine, card_bdf(f->cards[i])),
				 &f->machine->cards[i]);
		assert_true(f->machine->cards[i].time_factor == 1.5);
		assert_int_equal(f->machine->cards[i].n_cus, 60);
	}
}

/* ---- switches ---- */

/* The entry of the clock's history that is back entries before the last. */
static struct sim_clock entry(const struct fixture *f, uint32_t back)
{
	const struct sim_card *c = &f->machine->cards[0];

	return c->clock[(c->clock_head - 1 - back) % SIM_CLOCK_HISTORY];
}

static uint64_t device_ns(const struct fixture *f)
{
	struct card_view view;

	card_view(f->cards[0], &view);
	return view.device_ns;
}

static void test_a_second_write_takes_the_first_ones_switch_back(void **state)
{
	struct fixture *f = *state;
	struct sim_clock first;
	uint64_t now_ns;

	/* On a busy host the first switch may have come before the second write. */
	do {
		assert_int_equal(card_write_perf_level(f->cards[0], "auto"), 0);
		assert_int_equal(card_write_perf_level(f->cards[0], "high"), 0);
		first = entry(f, 0);
		assert_int_equal(card_write_perf_level(f->cards[0], "low"), 0);
		now_ns = device_ns(f);
	} while (now_ns >= first.from_ns);
	assert_int_equal(first.sclk_mhz, 1725);
	assert_int_equal(entry(f, 0).sclk_mhz, 925);
	assert_true(entry(f, 0).from_ns > first.from_ns);
	/* In between the clock stays, as an entry before the first switch says. */
	assert_true(entry(f, 1).sclk_mhz != 1725);
	assert_true(entry(f, 1).from_ns <= now_ns);
	while (device_ns(f) < entry(f, 0).from_ns)
		(void)usleep(1000);
	assert_int_equal(entry(f, 0).sclk_mhz, 925);
}

/* ---- faults ---- */

static bool file_exists(void *userdata, uint32_t card, const char *file)
{
	return tree_has_file(userdata, card, file);
}

static int add(struct fixture *f, const char *spec)
{
	struct fault_error error = {""};
	int r = faults_add(f->faults, spec, file_exists, f->tree, &error);

	if (r < 0)
		assert_true(*error.text != '\0');
	return r;
}

/* Whether the path, from the tree's root, is there. */
static bool find(struct tree *t, const char *path, struct tree_info *ret)
{
	char copy[256], *rest = copy, *name;
	uint64_t node = TREE_ROOT;

	(void)snprintf(copy, sizeof(copy), "%s", path);
	while ((name = strsep(&rest, "/")))
		if (tree_lookup(t, node, name, &node) < 0)
			return false;
	return tree_info(t, node, ret) == 0;
}

static void test_a_driver_and_a_device_come_and_go(void **state)
{
#define PCI "devices/pci0000:40/0000:40:01.1/0000:43:00.0"
	static const char *const of_driver[] = {
		"drm/card0",
		"drm/renderD128",
		"hwmon/hwmon3",
		PCI "/pp_dpm_sclk",
		PCI "/hwmon/hwmon3/power1_cap",
		PCI "/drm",
		PCI "/driver",
		PCI "/ras/umc_err_count",
		"devices/virtual/kfd/kfd/topology/nodes/1",
		"devices/virtual/kfd/kfd/topology/nodes/0/io_links/0",
	};
	static const char *const of_device[] = {PCI, PCI "/vendor", PCI "/uevent"};
	static const char *const others[] = {"drm", "kfd/kfd", "drm/card1", "hwmon/hwmon4"};
	static const struct {
		const char *fault, *heal;
		bool driver, device;
	} rows[] = {
		{"unbound:0", NULL, false, true},  {NULL, "unbound:0", true, true},
		{"removed:0", NULL, false, false}, {"unbound:0", NULL, false, false},
		{NULL, "removed:0", false, true},  {NULL, "unbound:0", true, true},
		{"rebind:0", NULL, true, true},
	};
	struct fixture *f = *state;
	struct tree_info info;
	uint64_t inode;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_true(find(f->tree, "drm/card1", &info));
		if (rows[i].fault)
			assert_int_equal(add(f, rows[i].fault), 0);
		else
			assert_int_equal(faults_heal(f->faults, rows[i].heal), 1);
		for (size_t k = 0; k < ARRAY_SIZE(of_driver); k++)
			if (find(f->tree, of_driver[k], &info) != rows[i].driver)
				fail_msg("row %zu: %s", i, of_driver[k]);
		for (size_t k = 0; k < ARRAY_SIZE(of_device); k++)
			assert_int_equal(find(f->tree, of_device[k], &info), rows[i].device);
		for (size_t k = 0; k < ARRAY_SIZE(others); k++)
			assert_true(find(f->tree, others[k], &info));
	}
	assert_true(find(f->tree, PCI "/driver", &info));
	inode = info.inode;
	assert_int_equal(add(f, "rebind:1"), 0);
	assert_true(find(f->tree, PCI "/driver", &info));
	assert_int_equal(info.inode, inode);
	assert_int_equal(add(f, "rebind:0"), 0);
	assert_true(find(f->tree, PCI "/driver", &info));
	assert_int_not_equal(info.inode, inode);
}

static void test_a_fresh_driver_has_its_own_settings(void **state)
{
	static const char *const faults[] = {"reset:0", "rebind:0"};
	struct fixture *f = *state;
	struct card *card = f->cards[0];

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		uint64_t errors = i == 0 ? 3 : 0; /* a reset keeps the counts */
		struct card_view before, v;

		card_view(card, &before);
		assert_int_equal(card_write_perf_level(card, "manual"), 0);
		assert_int_equal(card_write_mask(card, DOMAIN_SCLK, "0 1"), 0);
		assert_int_equal(card_write_cap(card, "100000000"), 0);
		if (i == 0)
			assert_int_equal(add(f, "ras:0:umc:3:4"), 0);
		assert_int_equal(add(f, faults[i]), 0);
		card_view(card, &v);
		assert_string_equal(v.perf_level, "auto");
		assert_int_equal(v.cap_uw, before.cap_uw);
		assert_memory_equal(v.ranges, before.ranges, sizeof(v.ranges));
		assert_int_equal(card_get_ras(card, RAS_UMC).uncorrectable, errors);
	}
}

static void test_a_fault_holds_for_paths_that_end_in_its_file(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(add(f, "hang:0:power1_cap"), 0);
	assert_true(faults_has(f->faults, FAULT_HANG, 0, "hwmon/hwmon3/power1_cap"));
	assert_true(faults_has(f->faults, FAULT_HANG, 0, "power1_cap"));
	assert_false(faults_has(f->faults, FAULT_HANG, 0, "hwmon/hwmon3/power1_cap_max"));
	assert_false(faults_has(f->faults, FAULT_HANG, 0, "hwmon/hwmon3/xpower1_cap"));
	assert_false(faults_has(f->faults, FAULT_HANG, 1, "hwmon/hwmon3/power1_cap"));
	assert_false(faults_has(f->faults, FAULT_ERRNO, 0, "hwmon/hwmon3/power1_cap"));
}

static void test_healing_goes_by_the_beginning_of_a_fault(void **state)
{
	static const struct {
		const char *spec;
		int healed;
	} cases[] = {
		{"hang:0:pp_dpm", 0}, /* not a whole field */
		{"hang:0:pp_dpm_sclk", 1}, {"hang:0", 0}, {"errno", 2}, {"hang:1", 1},
		{"absent:0", 1},	   {NULL, 1},
	};
	static const char *const faults[] = {
		"hang:0:pp_dpm_sclk",	     "hang:1:pp_dpm_sclk", "errno:0:pp_dpm_sclk:EBUSY",
		"errno:1:pp_dpm_sclk:EPERM", "absent:0",	   "drop-writes:0:pp_dpm_sclk",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		assert_int_equal(add(f, faults[i]), 0);
	assert_int_equal(faults_errno(f->faults, 1, "pp_dpm_sclk"), EPERM);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(faults_heal(f->faults, cases[i].spec), cases[i].healed);
	assert_int_equal(faults_errno(f->faults, 1, "pp_dpm_sclk"), 0);
}

static void test_the_newest_of_two_faults_on_a_file_counts(void **state)
{
	struct fixture *f = *state;
	char text[16];

	assert_int_equal(faults_content(f->faults, 0, "vendor", text, sizeof(text)), -1);
	assert_int_equal(add(f, "content:0:vendor:first"), 0);
	assert_int_equal(add(f, "content:0:vendor:a\\0b"), 0);
	assert_int_equal(faults_content(f->faults, 0, "vendor", text, sizeof(text)), 3);
	assert_memory_equal(text, "a\0b", 3);
	/* More than fits is cut. */
	assert_int_equal(faults_content(f->faults, 0, "vendor", text, 1), 1);
}

static void test_bad_faults_are_refused_with_a_reason(void **state)
{
	static const struct {
		const char *spec;
		int r;
	} cases[] = {
		{"hang:0:none", -ENOENT},
		{"hang:8:vendor", -EINVAL},
		{"hang:0000:43:00.1:vendor", -EINVAL},
		{"errno:0:vendor:EBUSYX", -EINVAL},
		{"foreign-manual:0:0:9", -EINVAL},
		{"content:0:vendor:\\x", -EINVAL},
		{"content:0:vendor:\\", -EINVAL},
		{"vram-oom:0", -EINVAL},
		{"ras:0:umc", -EINVAL},
		{"ras:0:umc:1", -EINVAL},
		{"ras:0:umc:1:x", -EINVAL},
		{"ras:0:nothing:1:1", -EINVAL},
		{"rebind:0:now", -EINVAL},
		{"vram-oom:0:1G", -EINVAL},
		{"gpu-fault:0:4096", -EINVAL},
		{"gpu-fault:0:0x", -EINVAL},
		{"gpu-fault:0:0x-1", -EINVAL},
		{"gpu-fault:0:0x10000000000000000", -EINVAL},
	};
	struct fixture *f = *state;
	char longest[FAULT_SPEC_MAX + 1];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(add(f, cases[i].spec), cases[i].r);
	memset(longest, 'a', FAULT_SPEC_MAX);
	longest[FAULT_SPEC_MAX] = '\0';
	assert_int_equal(add(f, longest), -E2BIG);
	for (unsigned int i = 0; i < 64; i++)
		assert_int_equal(add(f, "drop-writes:0000:43:00.0:vendor"), 0);
	assert_int_equal(add(f, "drop-writes:0:vendor"), -ENOSPC);
}

static void test_faults_of_the_driver_reach_the_shared_machine(void **state)
{
	struct fixture *f = *state;
	struct sim_card *first = &f->machine->cards[0], *second = &f->machine->cards[1];
	uint32_t epoch = atomic_load(&f->machine->fault_epoch);

	assert_int_equal(add(f, "vram-oom:1:1048576"), 0);
	assert_int_equal(atomic_load(&second->vram_limit_bytes), 1048576);
	assert_int_equal(atomic_load(&first->vram_limit_bytes), 0);
	/* Nothing at all is not the same as no limit. */
	assert_int_equal(add(f, "vram-oom:1:0"), 0);
	assert_in_range(atomic_load(&second->vram_limit_bytes), 1, 4095);
	assert_int_equal(faults_heal(f->faults, "vram-oom"), 2);
	assert_int_equal(atomic_load(&second->vram_limit_bytes), 0);
	assert_int_equal(add(f, "gpu-fault:0:0x7f0000001000"), 0);
	assert_int_equal(atomic_load(&first->gpu_fault_address), 0x7f0000001000);
	assert_int_equal(atomic_load(&first->n_gpu_faults), 1);
	assert_int_equal(atomic_load(&second->n_gpu_faults), 0);
	assert_int_not_equal(atomic_load(&f->machine->fault_epoch), epoch);
	/* It has happened; there is nothing to heal. */
	assert_int_equal(faults_heal(f->faults, NULL), 0);
}

static uint64_t read_number(struct tree *t, const char *path)
{
	char copy[256], *rest = copy, *part, text[TREE_FILE_SIZE + 1];
	uint64_t node = TREE_ROOT;
	ssize_t size;

	(void)snprintf(copy, sizeof(copy), "%s", path);
	while ((part = strsep(&rest, "/")))
		if (tree_lookup(t, node, part, &node) < 0)
			return UINT64_MAX;
	size = tree_read(t, node, text);
	assert_in_range(size, 0, TREE_FILE_SIZE);
	text[size] = '\0';
	return strtoull(text, NULL, 10);
}

static void test_memory_that_processes_hold_is_shown(void **state)
{
	static const char used[] =
		"devices/pci0000:40/0000:40:01.1/0000:43:00.0/mem_info_vram_used";
	struct fixture *f = *state;
	struct sim_slot *slot = &f->machine->cards[0].slots[3];
	char vram[128];

	(void)snprintf(vram, sizeof(vram), "devices/virtual/kfd/kfd/proc/%d/vram_51057", getpid());
	assert_int_equal(read_number(f->tree, used), 0);
	assert_int_equal(read_number(f->tree, vram), UINT64_MAX);
	atomic_store(&slot->pid, getpid());
	atomic_store(&slot->vram_bytes, 123456);
	assert_int_equal(read_number(f->tree, used), 123456);
	assert_int_equal(read_number(f->tree, vram), 123456);
	/* Never more than there is, whatever a process says. */
	atomic_store(&slot->vram_bytes, UINT64_MAX);
	assert_int_equal(read_number(f->tree, vram), f->device->vram_bytes);
	atomic_store(&slot->pid, 0);
	assert_int_equal(read_number(f->tree, vram), UINT64_MAX);
}

static void test_occupied_cus_are_those_of_the_mask_while_it_runs(void **state)
{
	static const struct {
		uint32_t shape;
		uint64_t cus;
	} cases[] = {{0, 60}, {2 << 16 | 15, 30}, {1 << 16 | 8, 8}, {UINT32_MAX, 60}};
	struct fixture *f = *state;
	struct sim_slot *slot = &f->machine->cards[0].slots[3];
	char path[128];

	(void)snprintf(path, sizeof(path),
		       "devices/virtual/kfd/kfd/proc/%d/stats_51057/cu_occupancy", getpid());
	atomic_store(&slot->pid, getpid());
	atomic_store(&slot->n_queues, 1);
	/* What gating leaves lit is another matter. */
	atomic_store(&slot->running_cus, 60);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		atomic_store(&slot->shape, cases[i].shape);
		atomic_store(&slot->running_until_ns, 0);
		assert_int_equal(read_number(f->tree, path), 0);
		atomic_store(&slot->running_until_ns, UINT64_MAX);
		assert_int_equal(read_number(f->tree, path), cases[i].cus);
	}
	atomic_store(&slot->running_until_ns, 0);
	atomic_store(&slot->pid, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_every_entry_is_found_again_and_can_be_read),
		TEST(test_a_tree_fits_any_number_of_cards),
		TEST(test_what_is_not_there_is_not_found),
		TEST(test_cards_have_addresses_of_their_own),
		TEST(test_a_second_write_takes_the_first_ones_switch_back),
		TEST(test_a_driver_and_a_device_come_and_go),
		TEST(test_a_fresh_driver_has_its_own_settings),
		TEST(test_a_fault_holds_for_paths_that_end_in_its_file),
		TEST(test_healing_goes_by_the_beginning_of_a_fault),
		TEST(test_the_newest_of_two_faults_on_a_file_counts),
		TEST(test_bad_faults_are_refused_with_a_reason),
		TEST(test_faults_of_the_driver_reach_the_shared_machine),
		TEST(test_memory_that_processes_hold_is_shown),
		TEST(test_occupied_cus_are_those_of_the_mask_while_it_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
