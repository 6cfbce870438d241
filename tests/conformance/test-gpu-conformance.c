/* SPDX-License-Identifier: Apache-2.0 */
/* One suite for every backend and every card: what the operations of gpu.h promise.
 *
 *   test-gpu-conformance sysfs|rsmi simulated   as COMMAND of cofris-sim --count 2
 *   test-gpu-conformance sysfs|rsmi             on the real card at $COFRIS_TEST_GPU
 *
 * The second form writes to a card that may be at work, so it runs only where the variable names
 * one (exit status 77 otherwise). It gives back level auto and the power cap found. What needs a
 * fault, a load, or a look behind the files is tested on simulated cards alone. */
#include "base/fsio.h"
#include "base/units.h"
#include "gpu/gpu.h"
#include "simulated.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>

#define SKIPPED	  77
#define WAIT_MS	  60000 /* only a failing test waits that long */
#define NO_CARD	  "0000:ff:1f.7"
#define SENSORS	  (GPU_HAS_POWER | GPU_HAS_BUSY | GPU_HAS_SCLK | GPU_HAS_TEMP)
#define READ_BACK (GPU_HAS_CAP | GPU_HAS_PERF)

static struct {
	const char *backend_name;
	bool simulated;
	const struct gpu_backend *backend;
	char bdf[GPU_MAX_CARDS][PCI_BDF_LENGTH + 1];
	int n_cards;
	uint64_t cap_found_uw;
	struct gpu_info info;

	struct gpu *gpu, *other; /* other: the second card, if there is one */
} f;

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Waits for what the card does in its own time. */
#define wait_until(condition)                                                                      \
	do {                                                                                       \
		uint64_t end_ns = now_ns() + WAIT_MS * NSEC_PER_MSEC;                              \
		while (!(condition)) {                                                             \
			if (now_ns() > end_ns)                                                     \
				fail_msg("did not come: %s", #condition);                          \
			(void)usleep(5000);                                                        \
		}                                                                                  \
	} while (0)

/* ---- fixtures ---- */
static int setup(_unused_ void **state)
{
	int r;

	r = gpu_open(f.backend, "/sys", f.bdf[0], &f.gpu);
	if (r == 0 && f.n_cards > 1 && f.simulated)
		r = gpu_open(f.backend, "/sys", f.bdf[1], &f.other);
	return r;
}

static int teardown(_unused_ void **state)
{
	int r = 0;

	simulated_load_end();
	if (f.simulated)
		(void)simulated_verb("heal", "");
	if (f.gpu) {
		r = f.gpu->ops->set_perf_level(f.gpu, GPU_PERF_AUTO);
		if (r == 0 && f.info.can_cap_power)
			r = f.gpu->ops->set_power_cap(f.gpu, f.cap_found_uw);
	}
	f.gpu = gpu_close(f.gpu);
	f.other = gpu_close(f.other);
	return r;
}

static void assert_level(enum gpu_perf_level expected)
{
	enum gpu_perf_level level = GPU_PERF_UNKNOWN;

	assert_int_equal(f.gpu->ops->get_perf_level(f.gpu, &level), 0);
	assert_int_equal(level, expected);
}

static struct gpu_sample sample(void)
{
	struct gpu_sample s;

	assert_int_equal(f.gpu->ops->sample(f.gpu, now_ns(), &s), 0);
	return s;
}

/* ---- any card ---- */
static void test_the_backend_is_the_one_asked_for(_unused_ void **state)
{
	assert_string_equal(f.gpu->ops->name, f.backend_name);
}

static void test_the_card_is_what_it_says(_unused_ void **state)
{
	struct gpu_info i, again;
	uint32_t cus = 0;

	memset(&i, 0, sizeof(i));
	memset(&again, 0, sizeof(again));
	assert_int_equal(f.gpu->ops->info(f.gpu, &i), 0);
	assert_string_equal(i.bdf, f.bdf[0]);
	assert_int_equal(i.simulated, f.simulated);
	assert_true(i.name[0] != '\0');
	assert_memory_equal(i.gfx, "gfx", 3);
	assert_true(i.n_se > 0 && i.n_sh_per_se > 0 && i.n_xcc > 0 && i.kfd_gpu_id > 0);
	for (uint32_t se = 0; se < i.n_se; se++)
		cus += i.active_cus[se];
	assert_int_equal(cus, i.n_cus);
	for (uint32_t k = 1; k < i.n_levels; k++)
		assert_true(i.level_mhz[k] > i.level_mhz[k - 1]);
	assert_true(i.cap_min_uw <= i.cap_default_uw && i.cap_default_uw <= i.cap_max_uw);
	assert_int_equal(f.gpu->ops->info(f.gpu, &again), 0);
	assert_memory_equal(&i, &again, sizeof(i));
}

static void test_opens_no_card_that_is_not_there(_unused_ void **state)
{
	struct gpu *g = NULL;

	assert_int_equal(gpu_open(f.backend, "/sys", NO_CARD, &g), -ENODEV);
	assert_int_equal(gpu_open(f.backend, "/sys", "rubbish", &g), -EINVAL);
	assert_null(g);
}

static void test_a_card_may_be_opened_twice(_unused_ void **state)
{
	_cleanup_(gpu_closep) struct gpu *g = NULL;
	enum gpu_perf_level level;

	assert_int_equal(gpu_open(f.backend, "/sys", f.bdf[0], &g), 0);
	assert_int_equal(g->ops->get_perf_level(g, &level), 0);
}

static void test_sets_each_level_that_it_may_set(_unused_ void **state)
{
	static const enum gpu_perf_level levels[] = {GPU_PERF_HIGH, GPU_PERF_LOW, GPU_PERF_MANUAL,
						     GPU_PERF_AUTO};

	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		assert_int_equal(f.gpu->ops->set_perf_level(f.gpu, levels[i]), 0);
		assert_level(levels[i]);
		assert_int_equal(f.gpu->ops->set_perf_level(f.gpu, levels[i]), 0); /* again */
		assert_level(levels[i]);
	}
	assert_int_equal(f.gpu->ops->set_perf_level(f.gpu, GPU_PERF_OTHER), -EINVAL);
	assert_int_equal(f.gpu->ops->set_perf_level(f.gpu, GPU_PERF_UNKNOWN), -EINVAL);
	assert_level(GPU_PERF_AUTO);
}

static void test_a_cap_is_rounded_down_to_a_level(_unused_ void **state)
{
	const struct gpu_info *i = &f.info;
	uint32_t mhz;

	if (!i->can_cap_clock) {
		assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, 1000, &mhz), -EOPNOTSUPP);
		return;
	}
	for (uint32_t k = 0; k < i->n_levels; k++) {
		assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, i->level_mhz[k], &mhz), 0);
		assert_int_equal(mhz, i->level_mhz[k]);
		assert_level(GPU_PERF_MANUAL);
		assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, i->level_mhz[k] + 1, &mhz), 0);
		assert_int_equal(mhz, i->level_mhz[k]);
	}
	assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, 1, &mhz), 0);
	assert_int_equal(mhz, i->level_mhz[0]);
	assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, UINT32_MAX, &mhz), 0);
	assert_int_equal(mhz, i->level_mhz[i->n_levels - 1]);
}

static void test_a_range_upside_down_changes_nothing(_unused_ void **state)
{
	const struct gpu_info *i = &f.info;
	uint32_t mhz = 77;

	if (!i->can_cap_clock)
		return;
	assert_int_equal(f.gpu->ops->cap_clock(f.gpu, i->level_mhz[i->n_levels - 1],
					       i->level_mhz[0], &mhz),
			 -EINVAL);
	assert_int_equal(mhz, 77);
	assert_level(GPU_PERF_AUTO);
}

static void test_sets_the_power_cap_within_its_range(_unused_ void **state)
{
	const struct gpu_info *i = &f.info;
	uint64_t wanted, cap;

	if (!i->can_cap_power) {
		assert_int_equal(f.gpu->ops->set_power_cap(f.gpu, 100 * UW_PER_W), -EOPNOTSUPP);
		return;
	}
	wanted = i->cap_max_uw - MIN(20 * UW_PER_W, (i->cap_max_uw - i->cap_min_uw) / 2);
	wanted -= wanted % UW_PER_W;
	assert_int_equal(f.gpu->ops->set_power_cap(f.gpu, wanted), 0);
	assert_int_equal(f.gpu->ops->get_power_cap(f.gpu, &cap), 0);
	assert_true(cap == wanted);
	assert_true(sample().cap_uw == wanted);
	assert_int_equal(f.gpu->ops->set_power_cap(f.gpu, i->cap_max_uw + 10 * UW_PER_W), -EINVAL);
	assert_int_equal(f.gpu->ops->get_power_cap(f.gpu, &cap), 0);
	assert_true(cap == wanted);
}

static void test_samples_are_plausible(_unused_ void **state)
{
	struct gpu_sample s = sample();

	assert_int_equal(s.fields & (SENSORS | READ_BACK), SENSORS | READ_BACK);
	assert_in_range(s.power_uw, 1 * UW_PER_W, 1000 * UW_PER_W);
	assert_in_range(s.busy_percent, 0, 100);
	assert_in_range(s.sclk_mhz, 1, 5000);
	assert_in_range(s.temp_mc, 1000, 120000);
	assert_int_equal(s.perf_level, GPU_PERF_AUTO);
	assert_true(now_ns() - s.taken_ns < WAIT_MS * NSEC_PER_MSEC);
}

static void test_tells_the_processes(_unused_ void **state)
{
	struct gpu_process p[GPU_MAX_PROCESSES];
	int n = f.gpu->ops->processes(f.gpu, p, GPU_MAX_PROCESSES);

	assert_in_range(n, 0, GPU_MAX_PROCESSES);
	for (int i = 0; i < n; i++)
		assert_true(p[i].pid > 0 && p[i].n_queues > 0);
	assert_int_equal(f.gpu->ops->processes(f.gpu, p, 0), 0);
}

/* ---- behind the files: simulated cards ---- */
static void test_a_cap_is_the_range_from_the_lowest_level(_unused_ void **state)
{
	uint32_t mhz;

	for (uint32_t k = 0; k < f.info.n_levels; k++) {
		assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, f.info.level_mhz[k], &mhz), 0);
		assert_int_equal((int)simulated_truth(0, "soft_low"), 0);
		assert_int_equal((int)simulated_truth(0, "soft_high"), k);
	}
	assert_int_equal(f.gpu->ops->cap_clock(f.gpu, f.info.level_mhz[2], f.info.level_mhz[4],
					       &mhz),
			 0);
	assert_int_equal((int)simulated_truth(0, "soft_low"), 2);
	assert_int_equal((int)simulated_truth(0, "soft_high"), 4);
}

static void test_auto_drops_the_limits(_unused_ void **state)
{
	uint32_t mhz;

	assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, f.info.level_mhz[1], &mhz), 0);
	assert_int_equal((int)simulated_truth(0, "soft_high"), 1);
	assert_int_equal(f.gpu->ops->set_perf_level(f.gpu, GPU_PERF_AUTO), 0);
	assert_int_equal((int)simulated_truth(0, "soft_high"), (int)f.info.n_levels - 1);
}

static void test_the_clock_keeps_to_the_cap_under_load(_unused_ void **state)
{
	uint32_t mhz;

	simulated_load_begin(f.bdf[0]);
	wait_until(sample().sclk_mhz > f.info.level_mhz[3] && sample().busy_percent > 50);
	assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, f.info.level_mhz[3], &mhz), 0);
	wait_until(sample().sclk_mhz <= f.info.level_mhz[3]);
	for (int i = 0; i < 20; i++) {
		struct gpu_sample s = sample();

		assert_true(s.sclk_mhz <= f.info.level_mhz[3]);
		assert_int_equal(s.perf_level, GPU_PERF_MANUAL);
	}
	assert_int_equal(f.gpu->ops->set_perf_level(f.gpu, GPU_PERF_AUTO), 0);
	wait_until(sample().sclk_mhz > f.info.level_mhz[3]);
}

static void test_names_who_has_queues(_unused_ void **state)
{
	struct gpu_process p[GPU_MAX_PROCESSES];

	assert_int_equal(f.gpu->ops->processes(f.gpu, p, GPU_MAX_PROCESSES), 0);
	simulated_load_begin(f.bdf[0]);
	assert_int_equal(f.gpu->ops->processes(f.gpu, p, GPU_MAX_PROCESSES), 1);
	assert_int_equal(p[0].pid, getpid());
	assert_int_equal(p[0].n_queues, 2);
	assert_int_equal(f.other->ops->processes(f.other, p, GPU_MAX_PROCESSES), 0);
}

static void test_writes_reach_one_card_alone(_unused_ void **state)
{
	enum gpu_perf_level level;
	uint64_t cap;
	uint32_t mhz;

	assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, f.info.level_mhz[0], &mhz), 0);
	assert_int_equal(f.gpu->ops->set_power_cap(f.gpu, 150 * UW_PER_W), 0);
	assert_int_equal(f.other->ops->get_perf_level(f.other, &level), 0);
	assert_int_equal(level, GPU_PERF_AUTO);
	assert_int_equal(f.other->ops->get_power_cap(f.other, &cap), 0);
	assert_true(cap == f.info.cap_default_uw);
}

static void test_a_level_that_others_set_is_other(_unused_ void **state)
{
	assert_int_equal(write_text_at(AT_FDCWD,
				       "/sys/class/drm/card0/device/"
				       "power_dpm_force_performance_level",
				       "profile_peak"),
			 0);
	assert_level(GPU_PERF_OTHER);
}

/* What librocm_smi64 aborts on, and what it takes for something else. */
static void test_malformed_files_are_bad_messages(_unused_ void **state)
{
	static const struct {
		const char *fault;
		bool cap, level, power_cap, sample;
	} cases[] = {
		{"content:0:pp_dpm_sclk:S: 132Mhz *\\n0: 500Mhz \\n1: 2100Mhz \\n", .cap = true},
		{"content:0:pp_dpm_sclk:unavailable\\n", .cap = true},
		{"content:0:pp_dpm_sclk:", .cap = true},
		{"content:0:pp_dpm_sclk:rubbish\\n", .cap = true},
		{"content:0:pp_dpm_sclk:0: 925Mhz \\nrubbish\\n", .cap = true},
		{"content:0:power_dpm_force_performance_level:", .level = true, .sample = true},
		{"content:0:power_dpm_force_performance_level:turbo\\n", .level = true,
		 .sample = true},
		{"content:0:power1_average:", .sample = true},
		{"content:0:power1_average:N/A\\n", .sample = true},
		{"content:0:power1_cap:-1\\n", .power_cap = true, .sample = true},
		{"content:0:power1_cap:", .power_cap = true, .sample = true},
		{"content:0:gpu_busy_percent:", .sample = true},
		{"content:0:gpu_busy_percent:101\\n", .sample = true},
		{"content:0:temp2_input:", .sample = true},
		{"content:0:freq1_input:rubbish\\n", .sample = true},
		{"content:0:gpu_metrics:", .sample = true},
		{"content:0:gpu_metrics:\\x50\\x00\\x01\\x00short", .sample = true},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum gpu_perf_level level;
		struct gpu_sample s;
		uint64_t cap;
		uint32_t mhz;

		simulated_fault(cases[i].fault);
		print_message("%s\n", cases[i].fault);
		assert_int_equal(f.gpu->ops->sample(f.gpu, 1, &s), cases[i].sample ? -EBADMSG : 0);
		assert_int_equal(f.gpu->ops->get_perf_level(f.gpu, &level),
				 cases[i].level ? -EBADMSG : 0);
		assert_int_equal(f.gpu->ops->get_power_cap(f.gpu, &cap),
				 cases[i].power_cap ? -EBADMSG : 0);
		if (cases[i].cap)
			assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, 925, &mhz), -EBADMSG);
		assert_int_equal(simulated_verb("heal", ""), 0);
	}
	assert_int_equal((int)simulated_truth(0, "soft_high"), (int)f.info.n_levels - 1);
}

static void test_a_table_with_too_many_levels_is_a_bad_message(_unused_ void **state)
{
	char fault[1024] = "content:0:pp_dpm_sclk:";
	size_t length = strlen(fault);
	uint32_t mhz;

	for (int i = 0; i < 33; i++)
		length += (size_t)snprintf(fault + length, sizeof(fault) - length, "%d: %dMhz\\n",
					   i, 500 + i);
	simulated_fault(fault);
	assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, 500, &mhz), -EBADMSG);
}

static void test_cards_with_malformed_tables_open_or_say_why(_unused_ void **state)
{
	_cleanup_(gpu_closep) struct gpu *g = NULL;
	struct gpu_info i;
	int r;

	simulated_fault("content:0:pp_dpm_sclk:unavailable\\n");
	r = gpu_open(f.backend, "/sys", f.bdf[0], &g);
	if (r == 0)
		r = g->ops->info(g, &i);
	assert_int_equal(r, -EBADMSG);
}

static void test_a_reset_is_no_permission_and_an_absent_card_no_device(_unused_ void **state)
{
	static const struct {
		const char *fault;
		int r;
	} cases[] = {
		{"errno:0:power_dpm_force_performance_level:EPERM", -EPERM},
		{"absent:0", -ENODEV},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum gpu_perf_level level;
		struct gpu_sample s;
		uint32_t mhz;

		simulated_fault(cases[i].fault);
		assert_int_equal(f.gpu->ops->get_perf_level(f.gpu, &level), cases[i].r);
		assert_int_equal(f.gpu->ops->sample(f.gpu, 1, &s), cases[i].r);
		assert_int_equal(f.gpu->ops->set_perf_level(f.gpu, GPU_PERF_HIGH), cases[i].r);
		assert_int_equal(f.gpu->ops->cap_clock(f.gpu, 0, 925, &mhz), cases[i].r);
		assert_int_equal(simulated_verb("heal", ""), 0);
		assert_level(GPU_PERF_AUTO);
	}
}

/* A backend may find out by itself; who reads back always does. */
static void test_a_write_without_effect_is_seen_when_read_back(_unused_ void **state)
{
	uint64_t cap;
	int r;

	simulated_fault("drop-writes:0:power1_cap");
	simulated_fault("drop-writes:0:power_dpm_force_performance_level");
	r = f.gpu->ops->set_power_cap(f.gpu, 150 * UW_PER_W);
	assert_true(r == 0 || r == -EIO);
	assert_int_equal(f.gpu->ops->get_power_cap(f.gpu, &cap), 0);
	assert_true(cap == f.cap_found_uw);
	r = f.gpu->ops->set_perf_level(f.gpu, GPU_PERF_HIGH);
	assert_true(r == 0 || r == -EIO);
	assert_level(GPU_PERF_AUTO);
}

/* The clock limit needs manual; where that does not stick, the write must not look like one. */
static void test_a_cap_without_manual_is_an_error(_unused_ void **state)
{
	uint32_t mhz;

	simulated_fault("drop-writes:0:power_dpm_force_performance_level");
	assert_true(f.gpu->ops->cap_clock(f.gpu, 0, 925, &mhz) < 0);
	assert_int_equal((int)simulated_truth(0, "soft_high"), (int)f.info.n_levels - 1);
}

/* ---- running ---- */
static int skip_all(const char *why)
{
	(void)printf("skipped: %s\n", why);
	return SKIPPED;
}

static int prepare_card(void)
{
	_cleanup_(gpu_closep) struct gpu *g = NULL;
	enum gpu_perf_level level;
	int r;

	r = gpu_open(f.backend, "/sys", f.bdf[0], &g);
	if (r == 0)
		r = g->ops->info(g, &f.info);
	if (r == 0 && f.info.can_cap_power)
		r = g->ops->get_power_cap(g, &f.cap_found_uw);
	if (r == 0)
		r = g->ops->get_perf_level(g, &level);
	/* A card in somebody's hands is not ours to test with. */
	return r < 0 ? r : level == GPU_PERF_AUTO ? 0 : -EBUSY;
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

static const struct CMUnitTest any_card[] = {
	CASE(test_the_backend_is_the_one_asked_for),
	CASE(test_the_card_is_what_it_says),
	CASE(test_opens_no_card_that_is_not_there),
	CASE(test_a_card_may_be_opened_twice),
	CASE(test_sets_each_level_that_it_may_set),
	CASE(test_a_cap_is_rounded_down_to_a_level),
	CASE(test_a_range_upside_down_changes_nothing),
	CASE(test_sets_the_power_cap_within_its_range),
	CASE(test_samples_are_plausible),
	CASE(test_tells_the_processes),
};

static const struct CMUnitTest simulated_card[] = {
	CASE(test_a_cap_is_the_range_from_the_lowest_level),
	CASE(test_auto_drops_the_limits),
	CASE(test_the_clock_keeps_to_the_cap_under_load),
	CASE(test_names_who_has_queues),
	CASE(test_writes_reach_one_card_alone),
	CASE(test_a_level_that_others_set_is_other),
	CASE(test_malformed_files_are_bad_messages),
	CASE(test_a_table_with_too_many_levels_is_a_bad_message),
	CASE(test_cards_with_malformed_tables_open_or_say_why),
	CASE(test_a_reset_is_no_permission_and_an_absent_card_no_device),
	CASE(test_a_write_without_effect_is_seen_when_read_back),
	CASE(test_a_cap_without_manual_is_an_error),
};

int main(int argc, char **argv)
{
	const char *wanted = getenv("COFRIS_TEST_GPU");
	int r, failed;

	if (argc < 2 || argc > 3 || (argc == 3 && strcmp(argv[2], "simulated") != 0))
		return 2;
	f.backend_name = argv[1];
	f.simulated = argc == 3;
	if (f.simulated) {
		f.n_cards = gpu_list("/sys", f.bdf, GPU_MAX_CARDS);
		r = f.n_cards == 2 && getenv(SIM_ENV) ? 0 : -ENODEV;
	} else if (!wanted) {
		return skip_all("COFRIS_TEST_GPU does not name the PCI address of a card");
	} else {
		f.n_cards = pci_bdf_is_valid(wanted) ? 1 : 0;
		memcpy(f.bdf[0], wanted, f.n_cards ? sizeof(f.bdf[0]) : 0);
		r = f.n_cards ? 0 : -EINVAL;
	}
	f.backend = gpu_backend_sysfs();
	if (r == 0 && strcmp(f.backend_name, "rsmi") == 0)
		r = gpu_backend_rsmi_load("/sys", &f.backend);
	if (r == 0)
		r = prepare_card();
	if (r < 0) {
		(void)fprintf(stderr, "the card is not fit to be tested: %s\n", strerror(-r));
		return EXIT_FAILURE;
	}
	failed = cmocka_run_group_tests_name("any card", any_card, NULL, NULL);
	if (f.simulated)
		failed += cmocka_run_group_tests_name("simulated card", simulated_card, NULL, NULL);
	return failed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
