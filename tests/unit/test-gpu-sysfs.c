/* SPDX-License-Identifier: Apache-2.0 */
/* The sysfs backend on plain files. What a card answers to a write is the conformance suite's
 * matter; here it is which bytes go where, and what broken files lead to. */
#include "base/units.h"
#include "gpu/gpu.h"
#include "test-gpu-fixture.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define PERF  TREE_PCI "power_dpm_force_performance_level"
#define SCLK  TREE_PCI "pp_dpm_sclk"
#define HWMON TREE_PCI "hwmon/hwmon3/"

struct fixture {
	struct gpu_tree tree;
	struct gpu *gpu;
};

static int setup(void **state)
{
	static struct fixture f;

	f.gpu = NULL;
	gpu_tree_create(&f.tree, 2);
	*state = &f;
	return gpu_open(gpu_backend_sysfs(), f.tree.root, TREE_BDF, &f.gpu);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	gpu_close(f->gpu);
	gpu_tree_destroy(&f->tree);
	return 0;
}

static void test_lists_cards_by_address(void **state)
{
	struct fixture *f = *state;
	char bdf[GPU_MAX_CARDS][PCI_BDF_LENGTH + 1];

	assert_int_equal(gpu_list(f->tree.root, bdf, GPU_MAX_CARDS), 2);
	assert_string_equal(bdf[0], TREE_BDF);
	assert_string_equal(bdf[1], TREE_BDF2);
	assert_int_equal(gpu_list(f->tree.root, bdf, 1), 1);
	assert_int_equal(gpu_list("/nonexistent", bdf, 1), 0);
}

static void test_does_not_list_what_is_no_governable_card(void **state)
{
	struct fixture *f = *state;
	char bdf[GPU_MAX_CARDS][PCI_BDF_LENGTH + 1];

	gpu_tree_write(&f->tree, TREE_PCI "vendor", "0x10de\n");
	assert_int_equal(gpu_list(f->tree.root, bdf, GPU_MAX_CARDS), 1);
	gpu_tree_write(&f->tree, TREE_PCI "vendor", "0x1002\n");
	assert_int_equal(gpu_list(f->tree.root, bdf, GPU_MAX_CARDS), 2);
	gpu_tree_remove(&f->tree, "class/kfd/kfd/topology/nodes/1");
	assert_int_equal(gpu_list(f->tree.root, bdf, GPU_MAX_CARDS), 1);
	assert_string_equal(bdf[0], TREE_BDF2);
}

static void test_opens_no_card_that_is_not_there(void **state)
{
	struct fixture *f = *state;
	struct gpu *g = NULL;

	assert_int_equal(gpu_open(gpu_backend_sysfs(), f->tree.root, "0000:45:00.0", &g), -ENODEV);
	assert_int_equal(gpu_open(gpu_backend_sysfs(), f->tree.root, "../../../etc", &g), -EINVAL);
	assert_int_equal(gpu_open(gpu_backend_sysfs(), "/nonexistent", TREE_BDF, &g), -ENODEV);
	assert_null(g);
}

static void test_tells_what_the_card_is(void **state)
{
	struct fixture *f = *state;
	struct gpu_info i;

	assert_int_equal(f->gpu->ops->info(f->gpu, &i), 0);
	assert_string_equal(i.bdf, TREE_BDF);
	assert_string_equal(i.name, "Radeon Instinct MI50 16GB");
	assert_string_equal(i.gfx, "gfx906");
	assert_true(i.unique_id == UINT64_C(0x21700172fd7f1234));
	assert_int_equal(i.n_cus, 60);
	assert_int_equal(i.n_levels, 9);
	assert_int_equal(i.level_mhz[8], 1725);
	assert_true(i.cap_max_uw == 225000000);
	assert_true(i.cap_default_uw == 225000000);
	assert_int_equal(i.kfd_gpu_id, 51057);
	assert_true(i.can_cap_clock);
	assert_true(i.can_cap_power);
	assert_true(i.simulated);
}

static void test_a_card_without_product_name_has_its_numbers_for_one(void **state)
{
	struct fixture *f = *state;
	struct gpu_info i;

	gpu_tree_remove(&f->tree, TREE_PCI "product_name");
	gpu_tree_remove(&f->tree, TREE_PCI "unique_id");
	assert_int_equal(f->gpu->ops->info(f->gpu, &i), 0);
	assert_string_equal(i.name, "AMD GPU 1002:66a1");
	assert_true(i.unique_id == 0);
}

static void test_unsteady_levels_are_no_knob(void **state)
{
	struct fixture *f = *state;
	struct gpu_info i;
	uint32_t mhz;

	gpu_tree_write(&f->tree, TREE_PCI "pp_od_clk_voltage", "GFXCLK:\n0: 500Mhz\n1: 1700Mhz\n");
	assert_int_equal(f->gpu->ops->info(f->gpu, &i), 0);
	assert_false(i.can_cap_clock);
	gpu_tree_remove(&f->tree, TREE_PCI "pp_od_clk_voltage");
	gpu_tree_write(&f->tree, SCLK, "0: 500Mhz \n1: 142Mhz *\n2: 2100Mhz \n");
	assert_int_equal(f->gpu->ops->info(f->gpu, &i), 0);
	assert_false(i.can_cap_clock);
	assert_int_equal(f->gpu->ops->cap_clock(f->gpu, 0, 500, &mhz), -EOPNOTSUPP);
}

static void test_a_cap_is_the_lowest_levels_up_to_it(void **state)
{
	static const struct {
		uint32_t min_mhz, max_mhz, written;
		const char *mask;
	} cases[] = {
		{0, 1143, 1143, "0 1 2 3\n"},
		{0, 1142, 1032, "0 1 2\n"},
		{0, 1, 925, "0\n"},
		{0, 925, 925, "0\n"},
		{0, UINT32_MAX, 1725, "0 1 2 3 4 5 6 7 8\n"},
		{925, 1725, 1725, "0 1 2 3 4 5 6 7 8\n"},
		{1282, 1282, 1282, "4\n"},
		{1300, 1400, 1386, "4 5\n"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(freep) char *levels = strdup(gpu_tree_read(&f->tree, SCLK));
		uint32_t mhz = 0;

		gpu_tree_write(&f->tree, PERF, "auto\n");
		assert_int_equal(f->gpu->ops->cap_clock(f->gpu, cases[i].min_mhz, cases[i].max_mhz,
							&mhz),
				 0);
		assert_int_equal(mhz, cases[i].written);
		assert_memory_equal(gpu_tree_read(&f->tree, SCLK), cases[i].mask,
				    strlen(cases[i].mask));
		assert_string_equal(gpu_tree_read(&f->tree, PERF), "manual");
		gpu_tree_write(&f->tree, SCLK, levels);
	}
}

static void test_a_range_upside_down_is_refused_before_any_write(void **state)
{
	struct fixture *f = *state;
	uint32_t mhz;

	assert_int_equal(f->gpu->ops->cap_clock(f->gpu, 1725, 925, &mhz), -EINVAL);
	assert_string_equal(gpu_tree_read(&f->tree, PERF), "auto\n");
}

static void test_writes_level_and_power_cap(void **state)
{
	struct fixture *f = *state;
	enum gpu_perf_level level;
	uint64_t cap;

	assert_int_equal(f->gpu->ops->set_perf_level(f->gpu, GPU_PERF_HIGH), 0);
	assert_string_equal(gpu_tree_read(&f->tree, PERF), "high\n"); /* over "auto\n" */
	gpu_tree_write(&f->tree, PERF, "");
	assert_int_equal(f->gpu->ops->set_perf_level(f->gpu, GPU_PERF_LOW), 0);
	assert_int_equal(f->gpu->ops->get_perf_level(f->gpu, &level), 0);
	assert_int_equal(level, GPU_PERF_LOW);
	assert_int_equal(f->gpu->ops->set_perf_level(f->gpu, GPU_PERF_OTHER), -EINVAL);
	assert_int_equal(f->gpu->ops->set_power_cap(f->gpu, 150000000), 0);
	assert_int_equal(f->gpu->ops->get_power_cap(f->gpu, &cap), 0);
	assert_true(cap == 150000000);
}

static void test_keeps_the_errno_of_a_write(void **state)
{
	struct fixture *f = *state;

	/* A folder in place of the file: what the open says is what the caller gets. */
	gpu_tree_remove(&f->tree, HWMON "power1_cap");
	gpu_tree_write(&f->tree, HWMON "power1_cap/x", "");
	assert_int_equal(f->gpu->ops->set_power_cap(f->gpu, 1), -EISDIR);
}

static void test_samples_the_card(void **state)
{
	struct fixture *f = *state;
	struct gpu_sample s;

	assert_int_equal(f->gpu->ops->sample(f->gpu, 77, &s), 0);
	assert_int_equal(s.fields, GPU_HAS_POWER | GPU_HAS_BUSY | GPU_HAS_SCLK | GPU_HAS_TEMP |
					   GPU_HAS_CAP | GPU_HAS_PERF | GPU_HAS_THROTTLE);
	assert_true(s.taken_ns == 77);
	assert_true(s.power_uw == 21000000);
	assert_true(s.cap_uw == 225000000);
	assert_int_equal(s.busy_percent, 37);
	assert_int_equal(s.sclk_mhz, 1143);
	assert_int_equal(s.temp_mc, 44000);
	assert_int_equal(s.perf_level, GPU_PERF_AUTO);
	/* A new value is seen through the open files. */
	gpu_tree_write(&f->tree, TREE_PCI "gpu_busy_percent", "100\n");
	assert_int_equal(f->gpu->ops->sample(f->gpu, 78, &s), 0);
	assert_int_equal(s.busy_percent, 100);
}

static void test_sums_memory_errors_every_two_seconds(void **state)
{
	struct fixture *f = *state;
	uint64_t now_ns = 100 * NSEC_PER_SEC;
	struct gpu_sample s;

	gpu_tree_write(&f->tree, TREE_PCI "ras/umc_err_count", "ue: 1\nce: 20\n");
	gpu_tree_write(&f->tree, TREE_PCI "ras/gfx_err_count", "ue: 2\nce: 3\n");
	gpu_tree_write(&f->tree, TREE_PCI "ras/features", "feature mask: 0x5\n");
	assert_int_equal(f->gpu->ops->sample(f->gpu, now_ns, &s), 0);
	assert_true(s.fields & GPU_HAS_RAS);
	assert_int_equal(s.ras_uncorrectable, 3);
	assert_int_equal(s.ras_correctable, 23);
	gpu_tree_write(&f->tree, TREE_PCI "ras/gfx_err_count", "ue: 5\nce: 3\n");
	now_ns += 2 * NSEC_PER_SEC - 1;
	assert_int_equal(f->gpu->ops->sample(f->gpu, now_ns, &s), 0);
	assert_int_equal(s.ras_uncorrectable, 3);
	assert_int_equal(f->gpu->ops->sample(f->gpu, now_ns + 1, &s), 0);
	assert_int_equal(s.ras_uncorrectable, 6);
	/* One that cannot be read leaves no sum, which would be too low; nor is it the sample's
	 * end.
	 */
	gpu_tree_write(&f->tree, TREE_PCI "ras/gfx_err_count", "rubbish\n");
	now_ns += 4 * NSEC_PER_SEC;
	assert_int_equal(f->gpu->ops->sample(f->gpu, now_ns, &s), 0);
	assert_false(s.fields & GPU_HAS_RAS);
	assert_true(s.fields & GPU_HAS_POWER);
}

static void test_takes_the_next_best_reading(void **state)
{
	struct fixture *f = *state;
	struct gpu_sample s;

	gpu_tree_remove(&f->tree, HWMON "power1_average");
	gpu_tree_write(&f->tree, HWMON "power1_input", "19000000\n");
	gpu_tree_remove(&f->tree, HWMON "freq1_input");
	assert_int_equal(f->gpu->ops->sample(f->gpu, 1, &s), 0);
	assert_true(s.power_uw == 19000000);
	assert_int_equal(s.sclk_mhz, 1143); /* of gpu_metrics */
}

static void test_a_missing_sensor_is_a_missing_bit(void **state)
{
	struct fixture *f = *state;
	struct gpu_sample s;

	gpu_tree_remove(&f->tree, HWMON "power1_average");
	gpu_tree_remove(&f->tree, HWMON "freq1_input");
	gpu_tree_remove(&f->tree, TREE_PCI "gpu_metrics");
	gpu_tree_remove(&f->tree, TREE_PCI "gpu_busy_percent");
	assert_int_equal(f->gpu->ops->sample(f->gpu, 1, &s), 0);
	assert_int_equal(s.fields, GPU_HAS_SCLK | GPU_HAS_TEMP | GPU_HAS_CAP | GPU_HAS_PERF);
	assert_int_equal(s.sclk_mhz, 930); /* the starred level */
	gpu_tree_write(&f->tree, SCLK, "0: 925Mhz \n1: 1725Mhz \n");
	assert_int_equal(f->gpu->ops->sample(f->gpu, 1, &s), 0);
	assert_false(s.fields & GPU_HAS_SCLK);
}

static void test_metrics_of_an_unknown_version_only_lack(void **state)
{
	struct fixture *f = *state;
	struct gpu_sample s;

	gpu_tree_write_bytes(&f->tree, TREE_PCI "gpu_metrics", "\120\0\1\4", 4);
	assert_int_equal(f->gpu->ops->sample(f->gpu, 1, &s), 0);
	assert_false(s.fields & GPU_HAS_THROTTLE);
	assert_int_equal(s.sclk_mhz, 1143);
}

static void test_malformed_files_are_bad_messages(void **state)
{
	static const struct {
		const char *path, *text;
		bool info, cap, level, power_cap, sample; /* which operations must refuse */
	} cases[] = {
		{SCLK, "S: 132Mhz *\n0: 500Mhz \n1: 2100Mhz \n", true, true},
		{SCLK, "unavailable\n", true, true},
		{SCLK, "rubbish", true, true},
		{SCLK, "", true, true},
		{PERF, "", .cap = true, .level = true, .sample = true},
		{PERF, "turbo\n", .cap = true, .level = true, .sample = true},
		{HWMON "power1_average", "", .sample = true},
		{HWMON "power1_average", "N/A\n", .sample = true},
		{HWMON "power1_cap", "-5\n", .info = true, .power_cap = true, .sample = true},
		{HWMON "power1_cap_max", "", .info = true},
		{HWMON "temp2_input", "hot\n", .sample = true},
		{HWMON "freq1_input", "0x10\n", .sample = true},
		{TREE_PCI "gpu_busy_percent", "", .sample = true},
		{TREE_PCI "gpu_busy_percent", "101\n", .sample = true},
		{TREE_PCI "gpu_metrics", "", .sample = true},
		{TREE_PCI "gpu_metrics", "P", .sample = true},
	};
	struct fixture *f = *state;
	const struct gpu_ops *ops = f->gpu->ops;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct gpu_info info;
		struct gpu_sample sample;
		enum gpu_perf_level level;
		uint64_t cap;
		uint32_t mhz;

		gpu_tree_write(&f->tree, cases[i].path, cases[i].text);
		assert_int_equal(ops->info(f->gpu, &info), cases[i].info ? -EBADMSG : 0);
		assert_int_equal(ops->sample(f->gpu, 1, &sample), cases[i].sample ? -EBADMSG : 0);
		assert_int_equal(ops->get_power_cap(f->gpu, &cap),
				 cases[i].power_cap ? -EBADMSG : 0);
		assert_int_equal(ops->get_perf_level(f->gpu, &level),
				 cases[i].level ? -EBADMSG : 0);
		if (cases[i].cap)
			assert_int_equal(ops->cap_clock(f->gpu, 0, 925, &mhz), -EBADMSG);
		(void)teardown(state);
		assert_int_equal(setup(state), 0);
	}
}

static void test_a_file_without_end_is_a_bad_message(void **state)
{
	struct fixture *f = *state;
	char text[5001];
	struct gpu_info i;

	memset(text, '0', 5000);
	text[5000] = '\0';
	gpu_tree_write(&f->tree, SCLK, text);
	assert_int_equal(f->gpu->ops->info(f->gpu, &i), -EBADMSG);
	gpu_tree_write_bytes(&f->tree, SCLK, "0: 925Mhz\n\0rest", 15);
	assert_int_equal(f->gpu->ops->info(f->gpu, &i), -EBADMSG);
}

static void test_a_card_that_went_away_is_no_device(void **state)
{
	struct fixture *f = *state;
	struct gpu_sample s;
	uint64_t identity;

	gpu_tree_remove(&f->tree, "devices/pci0000:40/0000:43:00.0");
	gpu_tree_remove(&f->tree, "class/drm/card0");
	assert_int_equal(f->gpu->ops->sample(f->gpu, 1, &s), -ENODEV);
	assert_int_equal(gpu_bind_identity(f->tree.root, TREE_BDF, &identity), -ENODEV);
}

static void test_a_card_without_hwmon_has_no_such_knobs(void **state)
{
	struct fixture *f = *state;
	_cleanup_(gpu_closep) struct gpu *g = NULL;
	struct gpu_sample s;
	struct gpu_info i;

	gpu_tree_remove(&f->tree, TREE_PCI "hwmon");
	assert_int_equal(gpu_open(gpu_backend_sysfs(), f->tree.root, TREE_BDF, &g), 0);
	assert_int_equal(g->ops->info(g, &i), 0);
	assert_false(i.can_cap_power);
	assert_int_equal(g->ops->set_power_cap(g, 1), -EOPNOTSUPP);
	assert_int_equal(g->ops->sample(g, 1, &s), 0);
	assert_int_equal(s.fields, GPU_HAS_BUSY | GPU_HAS_SCLK | GPU_HAS_PERF | GPU_HAS_THROTTLE);
}

static void test_names_the_processes_with_queues_on_this_card(void **state)
{
	struct fixture *f = *state;
	struct gpu_process p[2];

	assert_int_equal(f->gpu->ops->processes(f->gpu, p, 2), 0);
	gpu_tree_add_process(&f->tree, 4711, 3, 51057);
	gpu_tree_add_process(&f->tree, 4712, 2, 51058);
	gpu_tree_write(&f->tree, "class/kfd/kfd/proc/4713/pasid", "32769\n");
	gpu_tree_write(&f->tree, "class/kfd/kfd/proc/rubbish/pasid", "1\n");
	assert_int_equal(f->gpu->ops->processes(f->gpu, p, 2), 1);
	assert_int_equal(p[0].pid, 4711);
	assert_int_equal(p[0].n_queues, 3);
	gpu_tree_add_process(&f->tree, 4714, 1, 51057);
	gpu_tree_add_process(&f->tree, 4715, 1, 51057);
	assert_int_equal(f->gpu->ops->processes(f->gpu, p, 2), 2);
}

static void test_the_bind_identity_changes_with_a_new_bind(void **state)
{
	struct fixture *f = *state;
	char path[128], other[128];
	uint64_t first, again;

	assert_int_equal(gpu_bind_identity(f->tree.root, TREE_BDF, &first), 0);
	assert_int_equal(gpu_bind_identity(f->tree.root, TREE_BDF, &again), 0);
	assert_true(first == again);
	/* Both links exist at once, so that the file system cannot give the number out again. */
	(void)snprintf(path, sizeof(path), "%s/%sdriver", f->tree.root, TREE_PCI);
	(void)snprintf(other, sizeof(other), "%s/%sdriver2", f->tree.root, TREE_PCI);
	assert_int_equal(symlink("amdgpu", other), 0);
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(gpu_bind_identity(f->tree.root, TREE_BDF, &again), 0);
	assert_true(first != again);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(gpu_bind_identity(f->tree.root, TREE_BDF, &again), 0);
	assert_true(again == 0);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_lists_cards_by_address),
		CASE(test_does_not_list_what_is_no_governable_card),
		CASE(test_opens_no_card_that_is_not_there),
		CASE(test_tells_what_the_card_is),
		CASE(test_a_card_without_product_name_has_its_numbers_for_one),
		CASE(test_unsteady_levels_are_no_knob),
		CASE(test_a_cap_is_the_lowest_levels_up_to_it),
		CASE(test_a_range_upside_down_is_refused_before_any_write),
		CASE(test_writes_level_and_power_cap),
		CASE(test_keeps_the_errno_of_a_write),
		CASE(test_samples_the_card),
		CASE(test_sums_memory_errors_every_two_seconds),
		CASE(test_takes_the_next_best_reading),
		CASE(test_a_missing_sensor_is_a_missing_bit),
		CASE(test_metrics_of_an_unknown_version_only_lack),
		CASE(test_malformed_files_are_bad_messages),
		CASE(test_a_file_without_end_is_a_bad_message),
		CASE(test_a_card_that_went_away_is_no_device),
		CASE(test_a_card_without_hwmon_has_no_such_knobs),
		CASE(test_names_the_processes_with_queues_on_this_card),
		CASE(test_the_bind_identity_changes_with_a_new_bind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
