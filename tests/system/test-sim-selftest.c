/* SPDX-License-Identifier: Apache-2.0 */
/* Proves the simulated cards before anything trusts them. Runs as COMMAND of cofris-sim with two
 * cards: the kernel's rules file by file, the faults, exact execution under a clock that changes,
 * and the real librocm_smi64 on top. */
#include "base/fsio.h"
#include "base/macros.h"
#include "base/units.h"
#include "sim/sim-card.h"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include <rocm_smi/rocm_smi.h>

#define FUSE_MAGIC 0x65735546
#define D0	   "/sys/class/drm/card0/device/"
#define D1	   "/sys/class/drm/card1/device/"
#define H0	   D0 "hwmon/hwmon3/"
#define KFD	   "/sys/class/kfd/kfd/"
#define PERF	   "power_dpm_force_performance_level"

#define MAX_TEXT 8192

/* A test that waits for something that does not come fails after this long. */
#define PATIENCE_S 20

struct machine {
	struct sim_machine *shared;
	struct plant_device *device;
	struct plant_model *model, *steady;
};

/* ---- helpers ---- */

static uint64_t device_now(const struct machine *m)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return sim_device_ns(m->shared, (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec);
}

static const char *read_file(const char *path)
{
	static char text[MAX_TEXT];
	ssize_t n = read_text_at(AT_FDCWD, path, text, sizeof(text));

	if (n < 0)
		fail_msg("%s: %s", path, strerror((int)-n));
	return text;
}

static long long read_number(const char *path)
{
	return strtoll(read_file(path), NULL, 0);
}

/* One write() without truncation. Returns 0 or the negative errno. */
static int write_file(const char *path, const char *text)
{
	return write_text_at(AT_FDCWD, path, text);
}

static int read_error(const char *path)
{
	char text[MAX_TEXT];
	ssize_t n = read_text_at(AT_FDCWD, path, text, sizeof(text));

	return n < 0 ? (int)n : 0;
}

/* Runs a verb of cofris-sim. Returns its exit status; the output is the caller's to free. */
static int ask(const char *verb, char **ret_output)
{
	char command[1200];
	size_t size = 0;
	FILE *pipe, *memory;
	char line[4096];

	(void)snprintf(command, sizeof(command), "%s/bin/cofris-sim %s 2>/dev/null",
		       COFRIS_BINARY_DIR, verb);
	pipe = popen(command, "re");
	assert_non_null(pipe);
	memory = open_memstream(ret_output, &size);
	assert_non_null(memory);
	while (fgets(line, sizeof(line), pipe))
		(void)fputs(line, memory);
	(void)fclose(memory);
	return WEXITSTATUS(pclose(pipe));
}

static int verb(const char *text)
{
	_cleanup_(freep) char *output = NULL;

	return ask(text, &output);
}

static void put_fault(const char *spec)
{
	char text[1100];

	(void)snprintf(text, sizeof(text), "fault '%s'", spec);
	if (verb(text) != 0)
		fail_msg("the fault %s was refused", spec);
}

static json_t *machine_stat(void)
{
	_cleanup_(freep) char *output = NULL;
	json_t *root;

	assert_int_equal(ask("stat --json", &output), 0);
	root = json_loads(output, 0, NULL);
	assert_non_null(root);
	assert_true(json_is_true(json_object_get(root, "simulated")));
	return root;
}

static json_t *card_stat(uint32_t card)
{
	json_t *root = machine_stat();
	json_t *stat = json_incref(json_array_get(json_object_get(root, "cards"), card));

	json_decref(root);
	assert_non_null(stat);
	return stat;
}

static double stat_number(uint32_t card, const char *key)
{
	json_t *stat = card_stat(card);
	json_t *value = json_object_get(stat, key);
	double number = json_number_value(value);

	assert_true(json_is_number(value));
	json_decref(stat);
	return number;
}

static void assert_range(uint32_t card, uint32_t low, uint32_t high)
{
	assert_int_equal((int)stat_number(card, "soft_low"), low);
	assert_int_equal((int)stat_number(card, "soft_high"), high);
}

/* ---- work ---- */

/* A process's worth of work on card 0 that goes on until told otherwise. */
struct load {
	const struct machine *machine;
	const struct plant_model *model;
	struct sim_context *context;
	pthread_t thread;
	bool running;
	_Atomic int stop;
	_Atomic uint64_t last_ns; /* length of the last execution that ran at one clock */
};

static void *run_load(void *userdata)
{
	struct load *l = userdata;
	uint64_t t_ns = device_now(l->machine), end_ns;

	while (sim_context_run(l->context, l->model, 1, 1, t_ns, &l->stop, &end_ns) == 0) {
		atomic_store(&l->last_ns, end_ns - t_ns);
		t_ns = end_ns;
	}
	return NULL;
}

static struct load load;

static void begin_load_of(struct machine *m, const struct plant_model *model)
{
	load = (struct load){.machine = m, .model = model};
	assert_int_equal(sim_context_new(m->shared, m->shared->cards[0].bdf, &load.context), 0);
	sim_context_set_queues(load.context, 2);
	assert_int_equal(pthread_create(&load.thread, NULL, run_load, &load), 0);
	load.running = true;
}

/* One execution of 10 ms after the other. */
static void begin_load(struct machine *m)
{
	begin_load_of(m, m->model);
}

/* The same without an end, which the card need not hear of: for what is measured of a busy card,
 * however late the host lets this process begin the next execution. */
static void begin_steady_load(struct machine *m)
{
	begin_load_of(m, m->steady);
}

static void end_load(void)
{
	if (!load.running)
		return;
	atomic_store(&load.stop, 1);
	(void)pthread_join(load.thread, NULL);
	load.context = sim_context_free(load.context);
	load.running = false;
}

static pid_t child;

/* Waits for what the simulator does in its own time. */
#define wait_until(condition)                                                                      \
	do {                                                                                       \
		unsigned int tries = PATIENCE_S * 200;                                             \
		while (!(condition) && --tries > 0)                                                \
			(void)usleep(5000);                                                        \
		if (tries == 0)                                                                    \
			fail_msg("did not come: %s", #condition);                                  \
	} while (0)

static int reset(void **state _unused_)
{
	end_load();
	if (child > 0) {
		(void)kill(child, SIGKILL);
		(void)verb("heal");
		(void)waitpid(child, NULL, 0);
		child = 0;
	}
	(void)verb("heal");
	(void)write_file(D0 PERF, "auto");
	(void)write_file(D1 PERF, "auto");
	(void)write_file(H0 "power1_cap", "0");
	return 0;
}

static int group_setup(void **state)
{
	static struct machine m;
	struct ini_error error;

	assert_int_equal(sim_machine_map(NULL, &m.shared), 0);
	assert_int_equal(m.shared->n_cards, 2);
	assert_int_equal(plant_device_load(m.shared->device_ini, &m.device, &error), 0);
	m.model = calloc(1, sizeof(*m.model));
	assert_non_null(m.model);
	m.model->n_kernels = 1;
	/* Core-bound, 10 ms at the top clock. */
	m.model->kernels[0] = (struct plant_kernel){
		.name = "gemm", .count = 200, .workgroups = 240, .flop = 3.5e8, .bytes = 1e5};
	m.steady = calloc(1, sizeof(*m.steady));
	assert_non_null(m.steady);
	*m.steady = *m.model;
	m.steady->kernels[0].count = 200000000; /* hours */
	*state = &m;
	return reset(state);
}

static int group_teardown(void **state)
{
	struct machine *m = *state;

	sim_machine_unmap(m->shared);
	free(m->device);
	free(m->model);
	free(m->steady);
	return 0;
}

/* ---- the tree ---- */

static void test_the_class_folders_hold_the_simulated_cards_alone(void **state _unused_)
{
	static const char *const folders[][3] = {
		{"/sys/class/drm", "card0", "card1"},
		{"/sys/class/hwmon", "hwmon3", "hwmon4"},
		{"/sys/class/kfd", "kfd", "kfd"},
	};
	char path[64];

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		for (size_t k = 1; k < 3; k++) {
			(void)snprintf(path, sizeof(path), "%s/%s", folders[i][0], folders[i][k]);
			assert_int_equal(access(path, F_OK), 0);
		}
	assert_int_equal(access("/sys/class/drm/card2", F_OK), -1);
	/* The rest of /sys is the host's. */
	assert_int_equal(access("/sys/class/mem/null/uevent", F_OK), 0);
	assert_int_equal(access("/sys/kernel", F_OK), 0);
}

static void test_links_name_the_address_and_lead_to_a_folder_that_is_no_sysfs(void **state)
{
	static const char *const links[] = {"/sys/class/drm/card0", "/sys/class/drm/renderD128",
					    "/sys/class/hwmon/hwmon3"};
	struct machine *m = *state;
	char target[256], *real;
	struct statfs fs;

	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		ssize_t n = readlink(links[i], target, sizeof(target) - 1);

		assert_true(n > 0);
		target[n] = '\0';
		assert_non_null(strstr(target, "/0000:43:00.0/"));
	}
	real = realpath(D0, NULL);
	assert_non_null(real);
	assert_string_equal(strrchr(real, '/') + 1, m->shared->cards[0].bdf);
	free(real);
	assert_int_equal(statfs(D0, &fs), 0);
	assert_int_equal(fs.f_type, FUSE_MAGIC);
	assert_int_not_equal(fs.f_type, SYSFS_MAGIC);
}

static void test_constant_files_say_what_the_profile_says(void **state _unused_)
{
	static const struct {
		const char *path, *text;
	} cases[] = {
		{D0 "vendor", "0x1002\n"},
		{D0 "device", "0x66a1\n"},
		{D0 "drm/card0/device/vendor", "0x1002\n"},
		{D0 "product_name", "Radeon Instinct MI50 16GB\n"},
		{D0 PERF, "auto\n"},
		{D0 "pp_dpm_mclk", "0: 350Mhz *\n1: 800Mhz \n2: 1000Mhz \n"},
		{D0 "mem_info_vram_total", "17179869184\n"},
		{D0 "pp_od_clk_voltage", ""},
		{H0 "name", "amdgpu\n"},
		{H0 "in0_label", "vddgfx\n"},
		{H0 "temp1_label", "edge\n"},
		{H0 "temp2_label", "junction\n"},
		{H0 "temp3_label", "mem\n"},
		{H0 "power1_cap", "225000000\n"},
		{H0 "power1_cap_default", "225000000\n"},
		{H0 "power1_cap_max", "225000000\n"},
		{H0 "power1_cap_min", "0\n"},
		{KFD "topology/nodes/0/gpu_id", "0\n"},
		{D1 "device", "0x66a1\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("%s\n", cases[i].path);
		assert_string_equal(read_file(cases[i].path), cases[i].text);
	}
	assert_int_not_equal(strcmp(read_file(D0 "unique_id"), "0000000000000000\n"), 0);
}

static void test_kfd_nodes_join_with_the_cards_by_address(void **state _unused_)
{
	static const char *const wanted[] = {
		"simd_count 240\n",
		"array_count 4\n",
		"simd_arrays_per_engine 1\n",
		"cu_per_simd_array 16\n",
		"gfx_target_version 90006\n",
		"domain 0\n",
		"hive_id 0\n",
		"max_engine_clk_fcompute 1725\n",
	};
	const char *properties = read_file(KFD "topology/nodes/1/properties");

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		assert_non_null(strstr(properties, wanted[i]));
	assert_non_null(strstr(properties, "location_id 17152\n"));
	assert_non_null(strstr(properties, "drm_render_minor 128\n"));
	properties = read_file(KFD "topology/nodes/2/properties");
	assert_non_null(strstr(properties, "location_id 25344\n"));
	assert_non_null(strstr(read_file(KFD "topology/nodes/0/properties"), "io_links_count 2\n"));
	assert_non_null(
		strstr(read_file(KFD "topology/nodes/0/io_links/1/properties"), "node_to 2\n"));
	assert_true(read_number(KFD "topology/nodes/1/gpu_id") > 0);
	assert_true(read_number(KFD "topology/nodes/1/gpu_id") !=
		    read_number(KFD "topology/nodes/2/gpu_id"));
}

static void test_files_look_and_refuse_as_sysfs_files_do(void **state _unused_)
{
	static const struct {
		const char *path;
		mode_t mode;
	} cases[] = {
		{D0 PERF, 0644},
		{D0 "pp_dpm_sclk", 0644},
		{H0 "power1_cap", 0644},
		{D0 "gpu_busy_percent", 0444},
		{H0 "power1_average", 0444},
		{D0 "gpu_metrics", 0444},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct stat st;

		assert_int_equal(stat(cases[i].path, &st), 0);
		assert_int_equal(st.st_mode, S_IFREG | cases[i].mode);
		assert_int_equal(st.st_size, 4096);
		assert_int_equal(st.st_uid, 0);
		if (cases[i].mode == 0444) {
			assert_int_equal(open(cases[i].path, O_WRONLY | O_CLOEXEC), -1);
			assert_int_equal(errno, EACCES);
		}
	}
	/* Nobody else may write. */
	assert_int_equal(seteuid(65534), 0);
	assert_int_equal(write_file(D0 PERF, "low"), -EACCES);
	assert_int_equal(read_error(D0 PERF), 0);
	assert_int_equal(seteuid(0), 0);
	assert_string_equal(read_file(D0 PERF), "auto\n");
}

static void test_truncation_changes_nothing_and_offsets_do_not_matter(void **state _unused_)
{
	char text[64];
	int fd = open(D0 PERF, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	struct stat st;

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 4096);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_string_equal(read_file(D0 PERF), "auto\n");
	assert_int_equal(pwrite(fd, "manual\n", 7, 100), 7);
	/* A read at 0 makes the text anew; one further on goes on with it. */
	assert_int_equal(pread(fd, text, sizeof(text), 0), 7);
	assert_memory_equal(text, "manual\n", 7);
	assert_int_equal(write_file(D0 PERF, "low"), 0);
	assert_int_equal(pread(fd, text, sizeof(text), 3), 4);
	assert_memory_equal(text, "ual\n", 4);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 4);
	assert_memory_equal(text, "low\n", 4);
	(void)close(fd);
}

/* ---- clocks ---- */

static void test_levels_end_in_a_blank_or_a_star(void **state _unused_)
{
	const char *text;

	wait_until(strstr(read_file(D0 "pp_dpm_sclk"), "1: 930Mhz *\n"));
	text = read_file(D0 "pp_dpm_sclk");
	assert_string_equal(text, "0: 925Mhz \n1: 930Mhz *\n2: 1032Mhz \n3: 1143Mhz \n"
				  "4: 1282Mhz \n5: 1386Mhz \n6: 1485Mhz \n7: 1606Mhz \n"
				  "8: 1725Mhz \n");
}

static void test_masks_are_ranges_taken_in_manual_alone(void **state _unused_)
{
	static const struct {
		const char *text;
		int r;
		uint32_t low, high; /* afterwards */
	} cases[] = {
		{"0 1 2 3 4 ", 0, 0, 4},		   /* as librocm_smi writes it */
		{"0 1 2 3\n", 0, 0, 3},	 {"2 5", 0, 2, 5}, /* the gap counts for nothing */
		{"5 2", 0, 2, 5},	 {"8", 0, 8, 8},
		{"9", -EINVAL, 8, 8}, /* past the last level: all refused */
		{"0 9", -EINVAL, 8, 8},	 {"32", -EINVAL, 8, 8},
		{"-1", -EINVAL, 8, 8},	 {"1,2", -EINVAL, 8, 8},
		{"high", -EINVAL, 8, 8}, {"4294967297", -EINVAL, 8, 8},
		{"0x3 010", 0, 3, 8}, /* any of C's bases */
		{"1  4", 0, 1, 1},    /* an empty field ends the list */
		{"\n", 0, 0, 0},      /* no level is the lowest */
		{"0 8", 0, 0, 8},
	};

	assert_int_equal(write_file(D0 "pp_dpm_sclk", "0"), -EINVAL);
	assert_range(0, 0, 8);
	assert_int_equal(write_file(D0 PERF, "manual"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("'%s'\n", cases[i].text);
		assert_int_equal(write_file(D0 "pp_dpm_sclk", cases[i].text), cases[i].r);
		assert_range(0, cases[i].low, cases[i].high);
	}
	/* The other card has not been touched. */
	assert_range(1, 0, 8);
	assert_string_equal(read_file(D1 PERF), "auto\n");
}

static void test_no_file_shows_the_range_and_auto_resets_it(void **state _unused_)
{
	char before[1024];

	assert_int_equal(write_file(D0 PERF, "manual"), 0);
	wait_until(strstr(read_file(D0 "pp_dpm_sclk"), "1: 930Mhz *\n"));
	(void)strcpy(before, read_file(D0 "pp_dpm_sclk"));
	assert_int_equal(write_file(D0 "pp_dpm_sclk", "0 1 2"), 0);
	assert_int_equal(write_file(D0 "pp_dpm_mclk", "1"), 0);
	assert_string_equal(read_file(D0 "pp_dpm_sclk"), before);
	assert_range(0, 0, 2);
	assert_int_equal((int)stat_number(0, "mclk_soft_low"), 1);
	assert_int_equal(write_file(D0 PERF, "auto"), 0);
	assert_range(0, 0, 8);
	assert_int_equal((int)stat_number(0, "mclk_soft_low"), 0);
	assert_int_equal((int)stat_number(0, "mclk_soft_high"), 2);
}

static void test_performance_levels_are_the_kernels(void **state _unused_)
{
	static const struct {
		const char *text;
		int r;
		const char *shown;
		uint32_t low, high;
	} cases[] = {
		{"banana", -EINVAL, "auto\n", 0, 8},
		{"", 0, "auto\n", 0, 8}, /* nothing is written */
		{"profile_exit", -EINVAL, "auto\n", 0, 8},
		{"low\n", 0, "low\n", 0, 0},
		{"manual", 0, "manual\n", 0, 0}, /* low leaves its range behind */
		{"auto", 0, "auto\n", 0, 8},
		{"high", 0, "high\n", 8, 8},
		{"manual", 0, "manual\n", 8, 8},
		{"perf_determinism", 0, "perf_determinism\n", 8, 8}, /* taken without effect */
		{"autonomous", 0, "auto\n", 0, 8},		     /* the beginning is compared */
		{"profile_standard", 0, "profile_standard\n", 3, 3},
		{"profile_min_sclk", 0, "profile_min_sclk\n", 0, 0},
		{"profile_peak", 0, "profile_peak\n", 8, 8},
		{"profile_exit", 0, "auto\n", 0, 8},
		{"Auto", -EINVAL, "auto\n", 0, 8},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("'%s'\n", cases[i].text);
		assert_int_equal(write_file(D0 PERF, cases[i].text), cases[i].r);
		assert_string_equal(read_file(D0 PERF), cases[i].shown);
		assert_range(0, cases[i].low, cases[i].high);
	}
	assert_int_equal(write_file(D0 PERF, "perf_determinism"), 0);
	assert_int_equal(write_file(D0 "pp_dpm_sclk", "0"), -EINVAL);
}

static void test_other_clocks_take_masks_under_the_same_rules(void **state _unused_)
{
	static const struct {
		const char *file, *good, *past_the_last;
	} cases[] = {
		{D0 "pp_dpm_mclk", "0 1", "3"}, {D0 "pp_dpm_socclk", "7", "8"},
		{D0 "pp_dpm_fclk", "0", "8"},	{D0 "pp_dpm_dcefclk", "1", "8"},
		{D0 "pp_dpm_pcie", "0", "2"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(write_file(D0 PERF, "auto"), 0);
		assert_int_equal(write_file(cases[i].file, cases[i].good), -EINVAL);
		assert_int_equal(write_file(D0 PERF, "manual"), 0);
		assert_int_equal(write_file(cases[i].file, cases[i].good), 0);
		assert_int_equal(write_file(cases[i].file, cases[i].past_the_last), -EINVAL);
	}
	assert_int_equal(write_file(D0 "pp_od_clk_voltage", "s 1 1000"), -EINVAL);
}

/* ---- power ---- */

static void test_the_cap_is_whole_watts_up_to_the_default(void **state _unused_)
{
	static const struct {
		const char *text;
		int r;
		const char *shown;
	} cases[] = {
		{"150000000", 0, "150000000\n"},
		{"150999999\n", 0, "150000000\n"},
		{"0", 0, "225000000\n"},      /* the default */
		{"999999", 0, "225000000\n"}, /* less than a watt is 0 */
		{"1000000", 0, "1000000\n"},
		{"225000000", 0, "225000000\n"},
		{"226000000", -EINVAL, "225000000\n"},
		{"4294967296", -ERANGE, "225000000\n"},
		{"150000000 ", -EINVAL, "225000000\n"},
		{"150W", -EINVAL, "225000000\n"},
		{"-1", -EINVAL, "225000000\n"},
		{"0x100", -EINVAL, "225000000\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		print_message("'%s'\n", cases[i].text);
		assert_int_equal(write_file(H0 "power1_cap", cases[i].text), cases[i].r);
		assert_string_equal(read_file(H0 "power1_cap"), cases[i].shown);
	}
}

static void test_sensors_follow_work_in_whole_watts(void **state)
{
	static const struct timespec pause = {.tv_nsec = 3000000};
	long long idle_uw, uw = 0;
	unsigned int changes = 0;

	wait_until((idle_uw = read_number(H0 "power1_average")) < 25 * (long long)UW_PER_W);
	begin_steady_load(*state);
	wait_until(read_number(D0 "gpu_busy_percent") > 90);
	wait_until(read_number(H0 "power1_average") > idle_uw + 50 * (long long)UW_PER_W);
	for (unsigned int i = 0; i < 50; i++) {
		long long now_uw = read_number(H0 "power1_average");

		assert_int_equal(now_uw % (long long)UW_PER_W, 0);
		changes += now_uw != uw;
		uw = now_uw;
		(void)nanosleep(&pause, NULL);
	}
	/* The sensor has noise, and shows what the card draws. */
	assert_true(changes > 1);
	assert_true(stat_number(0, "power_w") > (double)uw * 1e-6 - 15);
	assert_true(stat_number(0, "power_w") < (double)uw * 1e-6 + 15);
	wait_until(read_number(H0 "freq1_input") == 1725000000);
	assert_int_equal(read_number(H0 "in0_input"), 1058);
	assert_true(read_number(D1 "gpu_busy_percent") == 0);
	end_load();
	wait_until(read_number(D0 "gpu_busy_percent") == 0);
}

/* Energy of card 0, and the device time that it belongs to. */
static void energy_now(double *ret_j, double *ret_s)
{
	json_t *root = machine_stat();
	json_t *card = json_array_get(json_object_get(root, "cards"), 0);

	*ret_j = json_number_value(json_object_get(card, "energy_j"));
	*ret_s = json_number_value(json_object_get(root, "device_ns")) * 1e-9;
	json_decref(root);
}

static void test_energy_is_the_integral_of_power(void **state)
{
	double from_j, from_s, to_j, to_s, power_w;

	begin_steady_load(*state);
	wait_until(stat_number(0, "sclk_mhz") == 1725);
	wait_until(stat_number(0, "power_w") > 100);
	energy_now(&from_j, &from_s);
	(void)usleep(200000);
	power_w = stat_number(0, "power_w");
	energy_now(&to_j, &to_s);
	/* The work is steady; the power is that of the last step alone. */
	print_message("%.3f J in %.3f s at %.1f W\n", to_j - from_j, to_s - from_s, power_w);
	assert_true((to_j - from_j) / (to_s - from_s) > 0.8 * power_w);
	assert_true((to_j - from_j) / (to_s - from_s) < 1.2 * power_w);
}

static uint32_t metrics_throttle(void)
{
	char m[80 + 1];
	uint32_t throttle;

	assert_int_equal(read_text_at(AT_FDCWD, D0 "gpu_metrics", m, sizeof(m)), 80);
	memcpy(&throttle, m + 68, sizeof(throttle));
	return throttle;
}

static void test_metrics_are_version_1_0_with_live_values(void **state)
{
	static const char header[] = {80, 0, 1, 0};
	char m[80 + 1];
	uint16_t power_w, sclk_mhz;
	uint32_t energy;

	begin_steady_load(*state);
	wait_until(stat_number(0, "sclk_mhz") == 1725 && stat_number(0, "power_w") > 100);
	assert_int_equal(read_text_at(AT_FDCWD, D0 "gpu_metrics", m, sizeof(m)), 80);
	assert_memory_equal(m, header, sizeof(header));
	memcpy(&power_w, m + 34, sizeof(power_w));
	memcpy(&energy, m + 36, sizeof(energy));
	memcpy(&sclk_mhz, m + 54, sizeof(sclk_mhz));
	assert_in_range(power_w, 60, 225);
	assert_int_equal(energy, UINT32_MAX);
	assert_int_equal(sclk_mhz, 1725);
	assert_int_equal(metrics_throttle(), 0);
	/* A cap below what the work draws throttles, and says so. */
	assert_int_equal(write_file(H0 "power1_cap", "80000000"), 0);
	wait_until(metrics_throttle() == 1u << 13);
	assert_true(stat_number(0, "sclk_mhz") < 1725);
}

/* ---- the clock and the work under it ---- */

static uint64_t expected_ns(const struct machine *m, uint32_t mhz)
{
	return (uint64_t)plant_request_cost(m->device, m->model, mhz, (struct cu_shape){0, 0}, 1)
		.ns;
}

static bool about(uint64_t a, uint64_t b)
{
	return a + 2 >= b && a <= b + 2;
}

static void test_work_takes_the_time_of_the_clock_that_was_set(void **state)
{
	static const struct {
		const char *mask;
		uint32_t mhz;
	} cases[] = {{"0 1 2 3", 1143}, {"0", 925}, {"0 1 2 3 4 5 6 7 8", 1725}};
	struct machine *m = *state;

	assert_int_equal(write_file(D0 PERF, "manual"), 0);
	begin_load(m);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(write_file(D0 "pp_dpm_sclk", cases[i].mask), 0);
		wait_until(about(atomic_load(&load.last_ns), expected_ns(m, cases[i].mhz)));
		wait_until(stat_number(0, "sclk_mhz") == cases[i].mhz);
	}
}

static void test_a_switch_comes_exactly_when_the_device_says(void **state)
{
	struct machine *m = *state;
	struct sim_card *card = &m->shared->cards[0];
	uint64_t before_ns, after_ns, switch_ns = (uint64_t)(m->device->switch_ms * 1e6);
	uint32_t head;
	struct sim_clock entry;

	assert_int_equal(write_file(D0 PERF, "manual"), 0);
	begin_load(m);
	wait_until(about(atomic_load(&load.last_ns), expected_ns(m, 1725)));
	head = card->clock_head;
	before_ns = device_now(m);
	assert_int_equal(write_file(D0 "pp_dpm_sclk", "0 1 2"), 0);
	after_ns = device_now(m);
	/* The write has returned: the switch is known already. */
	assert_int_equal(card->clock_head, head + 1);
	entry = card->clock[head % SIM_CLOCK_HISTORY];
	assert_int_equal(entry.sclk_mhz, 1032);
	assert_in_range(entry.from_ns, before_ns + switch_ns, after_ns + switch_ns);
	wait_until(stat_number(0, "sclk_mhz") == 1032);
	/* Nothing was added when it came. */
	assert_int_equal(card->clock_head, head + 1);
}

static void test_auto_raises_the_clock_for_work_and_lowers_it_after(void **state)
{
	begin_load(*state);
	wait_until(stat_number(0, "sclk_mhz") == 1725);
	end_load();
	wait_until(stat_number(0, "sclk_mhz") == 930);
	assert_int_equal((int)stat_number(1, "sclk_mhz"), 930);
}

/* ---- processes ---- */

static void test_kfd_lists_processes_with_queues(void **state)
{
	char path[128], number[32];

	(void)snprintf(path, sizeof(path), KFD "proc/%d", getpid());
	assert_int_equal(access(path, F_OK), -1);
	begin_steady_load(*state);
	assert_int_equal(access(path, F_OK), 0);
	(void)snprintf(number, sizeof(number), "%lld", read_number(KFD "topology/nodes/1/gpu_id"));
	for (int q = 0; q < 2; q++) {
		(void)snprintf(path, sizeof(path), KFD "proc/%d/queues/%d/gpuid", getpid(), q);
		assert_string_equal(read_file(path), number);
	}
	(void)snprintf(path, sizeof(path), KFD "proc/%d/queues/2", getpid());
	assert_int_equal(access(path, F_OK), -1);
	(void)snprintf(path, sizeof(path), KFD "proc/%d/pasid", getpid());
	assert_true(read_number(path) > 0);
	(void)snprintf(path, sizeof(path), KFD "proc/%d/stats_%s/cu_occupancy", getpid(), number);
	wait_until(read_number(path) == 60);
	end_load();
	(void)snprintf(path, sizeof(path), KFD "proc/%d", getpid());
	assert_int_equal(access(path, F_OK), -1);
}

static void test_a_killed_process_leaves_the_list_at_once(void **state)
{
	struct machine *m = *state;
	char path[64], byte;
	siginfo_t info;
	int ready[2];

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		struct sim_context *c;

		if (sim_context_new(m->shared, m->shared->cards[1].bdf, &c) < 0)
			_exit(1);
		sim_context_set_queues(c, 1);
		(void)!write(ready[1], "x", 1);
		for (;;)
			(void)pause();
	}
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	(void)close(ready[0]);
	(void)snprintf(path, sizeof(path), KFD "proc/%d", child);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
	assert_int_equal(access(path, F_OK), -1);
}

/* ---- the log ---- */

/* The last line of the log of writes, from beside the control socket. */
static void last_logged(char *ret, size_t size)
{
	char path[256], line[512];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s", getenv("COFRIS_SIM_CONTROL"));
	(void)strcpy(strrchr(path, '/'), "/writes.log");
	file = fopen(path, "re");
	assert_non_null(file);
	*ret = '\0';
	while (fgets(line, sizeof(line), file))
		(void)snprintf(ret, size, "%s", line);
	(void)fclose(file);
}

static void test_every_write_is_logged_with_its_writer_and_outcome(void **state)
{
	static const struct {
		const char *path, *text, *rest;
	} cases[] = {
		{D0 PERF, "manual", "0000:43:00.0\t" PERF "\t%d\t0\t\"manual\"\n"},
		{D0 "pp_dpm_sclk", "0 1\n", "0000:43:00.0\tpp_dpm_sclk\t%d\t0\t\"0 1\\n\"\n"},
		{D0 "pp_dpm_sclk", "\"9\t",
		 "0000:43:00.0\tpp_dpm_sclk\t%d\tEINVAL\t\"\\\"9\\x09\"\n"},
		{D1 "hwmon/hwmon4/power1_cap", "7",
		 "0000:63:00.0\thwmon/hwmon4/power1_cap\t%d\t0\t\"7\"\n"},
	};
	struct machine *m = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		double writes = stat_number(i < 3 ? 0 : 1, "writes");
		uint64_t before_ns = device_now(m), device_ns;
		char line[512], expected[256];
		const char *rest = line;

		(void)write_file(cases[i].path, cases[i].text);
		last_logged(line, sizeof(line));
		device_ns = strtoull(line, NULL, 10);
		assert_in_range(device_ns, before_ns, device_now(m));
		for (int tabs = 0; tabs < 2; tabs++)
			rest = strchr(rest, '\t') + 1;
		/* The table's %d is the writer's pid. */
		(void)snprintf(expected, sizeof(expected), cases[i].rest, getpid());
		assert_string_equal(rest, expected);
		assert_true(stat_number(i < 3 ? 0 : 1, "writes") == writes + 1);
	}
}

/* ---- faults ---- */

static void
test_a_withheld_read_blocks_nobody_else_and_is_answered_when_healed(void **state _unused_)
{
	int status, fds[2];
	char byte;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	put_fault("hang:0:gpu_busy_percent");
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		(void)!write(fds[1], "x", 1);
		_exit(read_error(D0 "gpu_busy_percent") == 0 ? 42 : 1);
	}
	assert_int_equal(read(fds[0], &byte, 1), 1);
	(void)close(fds[0]);
	(void)close(fds[1]);
	/* Both the other files of the card and the same file of the other one go on. */
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(read_error(D0 PERF), 0);
		assert_int_equal(read_error(D1 "gpu_busy_percent"), 0);
		assert_int_equal(write_file(D0 PERF, "auto"), 0);
		(void)usleep(2000);
	}
	assert_int_equal(waitpid(child, &status, WNOHANG), 0);
	assert_int_equal(verb("heal hang:0:gpu_busy_percent"), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	child = 0;
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

/* The state letter of a process. */
static char process_state(pid_t pid)
{
	char path[32];
	const char *text;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	text = strrchr(read_file(path), ')');
	return text ? text[2] : '?';
}

static void test_a_killed_reader_of_a_withheld_file_sits_in_d_state(void **state _unused_)
{
	char byte;
	int opened[2];

	assert_int_equal(pipe2(opened, O_CLOEXEC), 0);
	put_fault("hang:1:pp_dpm_sclk");
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int fd = open(D1 "pp_dpm_sclk", O_RDONLY | O_CLOEXEC);

		(void)!write(opened[1], "x", 1);
		_exit((int)read(fd, &byte, 1));
	}
	/* It sleeps while it opens the file, too; and of what it asks in its read the simulator has
	 * taken notice when it has answered a later question. */
	assert_int_equal(read(opened[0], &byte, 1), 1);
	(void)close(opened[0]);
	(void)close(opened[1]);
	wait_until(process_state(child) == 'S');
	assert_int_equal(read_error(D1 PERF), 0);
	assert_int_equal(kill(child, SIGKILL), 0);
	wait_until(process_state(child) == 'D');
	assert_int_equal(verb("heal"), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	child = 0;
}

static void test_files_fail_with_the_error_that_was_put_on_them(void **state _unused_)
{
	put_fault("errno:0:pp_dpm_sclk:EBUSY");
	put_fault("errno:0:hwmon/hwmon3/power1_cap:EPERM");
	assert_int_equal(read_error(D0 "pp_dpm_sclk"), -EBUSY);
	assert_int_equal(write_file(D0 "pp_dpm_sclk", "0"), -EBUSY);
	assert_int_equal(write_file(H0 "power1_cap", "0"), -EPERM);
	assert_int_equal(read_error(D1 "pp_dpm_sclk"), 0);
	assert_int_equal(read_error(H0 "power1_cap_max"), 0);
	assert_int_equal(verb("heal errno:0:pp_dpm_sclk"), 0);
	assert_int_equal(read_error(D0 "pp_dpm_sclk"), 0);
	assert_int_equal(read_error(H0 "power1_cap"), -EPERM);
}

static void test_contents_are_replaced_byte_by_byte(void **state _unused_)
{
	static const struct {
		const char *spec, *path, *text;
	} cases[] = {
		{"content:0:pp_dpm_sclk:S: 132Mhz *\\n0: 500Mhz \\n", D0 "pp_dpm_sclk",
		 "S: 132Mhz *\n0: 500Mhz \n"},
		{"content:0000:43:00.0:pp_dpm_sclk:", D0 "pp_dpm_sclk", ""},
		{"content:0:power1_average:\\x31\\x32\\\\", H0 "power1_average", "12\\"},
		{"content:0:nodes/1/properties:unavailable\\n", KFD "topology/nodes/1/properties",
		 "unavailable\n"},
	};
	char bytes[16];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		put_fault(cases[i].spec);
		assert_string_equal(read_file(cases[i].path), cases[i].text);
	}
	put_fault("content:0:gpu_metrics:\\x50\\0\\x01\\0");
	assert_int_equal(read_text_at(AT_FDCWD, D0 "gpu_metrics", bytes, sizeof(bytes)), 4);
	assert_memory_equal(bytes, "\x50\0\x01\0", 4);
	assert_int_equal(verb("heal"), 0);
	assert_non_null(strstr(read_file(D0 "pp_dpm_sclk"), "0: 925Mhz "));
}

static void test_dropped_writes_are_accepted_without_effect(void **state _unused_)
{
	put_fault("drop-writes:0:" PERF);
	assert_int_equal(write_file(D0 PERF, "manual"), 0);
	assert_string_equal(read_file(D0 PERF), "auto\n");
	assert_int_equal(verb("heal"), 0);
	assert_int_equal(write_file(D0 PERF, "manual"), 0);
	assert_string_equal(read_file(D0 PERF), "manual\n");
}

static void test_a_stuck_clock_ignores_the_limit_until_healed(void **state)
{
	put_fault("stuck-clock:0");
	begin_steady_load(*state);
	assert_int_equal(write_file(D0 PERF, "manual"), 0);
	assert_int_equal(write_file(D0 "pp_dpm_sclk", "0"), 0);
	assert_range(0, 0, 0);
	wait_until(stat_number(0, "sclk_mhz") == 1725);
	assert_string_equal(read_file(D0 PERF), "manual\n");
	assert_int_equal(verb("heal stuck-clock"), 0);
	wait_until(stat_number(0, "sclk_mhz") == 925);
}

static void test_an_absent_card_gives_enodev_even_to_open_files(void **state _unused_)
{
	int fd = open(D0 PERF, O_RDWR | O_CLOEXEC);
	char byte;

	assert_true(fd >= 0);
	put_fault("absent:0");
	assert_int_equal(read_error(D0 "vendor"), -ENODEV);
	assert_int_equal(read_error(H0 "power1_average"), -ENODEV);
	assert_int_equal(pread(fd, &byte, 1, 0), -1);
	assert_int_equal(errno, ENODEV);
	assert_int_equal(pwrite(fd, "low", 3, 0), -1);
	assert_int_equal(errno, ENODEV);
	(void)close(fd);
	assert_int_equal(read_error(D1 "vendor"), 0);
	assert_int_equal(verb("heal absent:0"), 0);
	assert_string_equal(read_file(D0 PERF), "auto\n");
}

static void test_another_program_may_have_left_a_hidden_range(void **state _unused_)
{
	put_fault("foreign-manual:1:2:5");
	assert_string_equal(read_file(D1 PERF), "manual\n");
	assert_range(1, 2, 5);
	assert_range(0, 0, 8);
}

static void test_faults_that_make_no_sense_are_refused(void **state _unused_)
{
	static const char *const specs[] = {
		"",
		"hang",
		"hang:0",
		"hang:0:",
		"hang:0:no_such_file",
		"hang:2:pp_dpm_sclk",
		"hang:0:pp_dpm_sclk:more",
		"errno:0:pp_dpm_sclk",
		"errno:0:pp_dpm_sclk:EWHATEVER",
		"content:0:pp_dpm_sclk",
		"content:0:pp_dpm_sclk:\\q",
		"content:0:pp_dpm_sclk:\\x4",
		"stuck-clock:0:1",
		"absent:0000:83:00.0",
		"foreign-manual:0:3",
		"foreign-manual:0:5:2",
		"foreign-manual:0:0:9",
		"melt:0",
	};
	char text[128];

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		print_message("'%s'\n", specs[i]);
		(void)snprintf(text, sizeof(text), "fault '%s'", specs[i]);
		assert_int_equal(verb(text), 1);
	}
	assert_int_equal(verb("heal hang"), 1);
	assert_int_equal(verb("stat --yaml"), 1);
	assert_string_equal(read_file(D0 PERF), "auto\n");
}

/* ---- librocm_smi64 ---- */

struct rsmi {
	void *library;
	rsmi_status_t (*init)(uint64_t);
	rsmi_status_t (*shut_down)(void);
	rsmi_status_t (*num_devices)(uint32_t *);
	rsmi_status_t (*pci_id)(uint32_t, uint64_t *);
	rsmi_status_t (*clocks)(uint32_t, rsmi_clk_type_t, rsmi_frequencies_t *);
	rsmi_status_t (*set_clocks)(uint32_t, rsmi_clk_type_t, uint64_t);
	rsmi_status_t (*power)(uint32_t, uint32_t, uint64_t *);
	rsmi_status_t (*cap)(uint32_t, uint32_t, uint64_t *);
	rsmi_status_t (*set_cap)(uint32_t, uint32_t, uint64_t);
	rsmi_status_t (*busy)(uint32_t, uint32_t *);
	rsmi_status_t (*perf)(uint32_t, rsmi_dev_perf_level_t *);
	rsmi_status_t (*set_perf)(uint32_t, rsmi_dev_perf_level_t);
	rsmi_status_t (*temp)(uint32_t, uint32_t, rsmi_temperature_metric_t, int64_t *);
	rsmi_status_t (*metrics)(uint32_t, rsmi_gpu_metrics_t *);
	rsmi_status_t (*processes)(rsmi_process_info_t *, uint32_t *);
};

static void rsmi_load(struct rsmi *ret)
{
	const struct {
		const char *name;
		size_t offset;
	} symbols[] = {
		{"rsmi_init", offsetof(struct rsmi, init)},
		{"rsmi_shut_down", offsetof(struct rsmi, shut_down)},
		{"rsmi_num_monitor_devices", offsetof(struct rsmi, num_devices)},
		{"rsmi_dev_pci_id_get", offsetof(struct rsmi, pci_id)},
		{"rsmi_dev_gpu_clk_freq_get", offsetof(struct rsmi, clocks)},
		{"rsmi_dev_gpu_clk_freq_set", offsetof(struct rsmi, set_clocks)},
		{"rsmi_dev_power_ave_get", offsetof(struct rsmi, power)},
		{"rsmi_dev_power_cap_get", offsetof(struct rsmi, cap)},
		{"rsmi_dev_power_cap_set", offsetof(struct rsmi, set_cap)},
		{"rsmi_dev_busy_percent_get", offsetof(struct rsmi, busy)},
		{"rsmi_dev_perf_level_get", offsetof(struct rsmi, perf)},
		{"rsmi_dev_perf_level_set_v1", offsetof(struct rsmi, set_perf)},
		{"rsmi_dev_temp_metric_get", offsetof(struct rsmi, temp)},
		{"rsmi_dev_gpu_metrics_info_get", offsetof(struct rsmi, metrics)},
		{"rsmi_compute_process_info_get", offsetof(struct rsmi, processes)},
	};

	ret->library = dlopen("librocm_smi64.so.1", RTLD_NOW | RTLD_LOCAL);
	if (!ret->library)
		fail_msg("%s", dlerror());
	for (size_t i = 0; i < ARRAY_SIZE(symbols); i++) {
		void *symbol = dlsym(ret->library, symbols[i].name);

		assert_non_null(symbol);
		memcpy((char *)ret + symbols[i].offset, &symbol, sizeof(symbol));
	}
}

static void rsmi_reads(const struct rsmi *s)
{
	rsmi_dev_perf_level_t level;
	rsmi_frequencies_t clocks;
	rsmi_gpu_metrics_t metrics;
	uint64_t value;
	uint32_t n, busy;
	int64_t temp;

	assert_int_equal(s->num_devices(&n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(s->pci_id(0, &value), 0);
	assert_int_equal(value, 0x4300);
	assert_int_equal(s->pci_id(1, &value), 0);
	assert_int_equal(value, 0x6300);
	assert_int_equal(s->clocks(0, RSMI_CLK_TYPE_SYS, &clocks), 0);
	assert_int_equal(clocks.num_supported, 9);
	assert_int_equal(clocks.frequency[8], 1725000000);
	assert_int_equal(clocks.current, 8);
	assert_int_equal(s->power(0, 0, &value), 0);
	assert_in_range(value, 60 * UW_PER_W, 225 * UW_PER_W);
	assert_int_equal(s->cap(0, 0, &value), 0);
	assert_int_equal(value, 225 * UW_PER_W);
	assert_int_equal(s->busy(0, &busy), 0);
	assert_in_range(busy, 50, 100);
	assert_int_equal(s->perf(0, &level), 0);
	assert_int_equal(level, RSMI_DEV_PERF_LEVEL_AUTO);
	assert_int_equal(s->temp(0, RSMI_TEMP_TYPE_JUNCTION, RSMI_TEMP_CURRENT, &temp), 0);
	assert_in_range(temp, 15000, 90000);
	assert_int_equal(s->metrics(0, &metrics), 0);
	assert_int_equal(metrics.current_gfxclk, 1725);
	n = 0;
	assert_int_equal(s->processes(NULL, &n), 0);
	assert_int_equal(n, 1);
}

static void rsmi_writes(const struct rsmi *s)
{
	rsmi_dev_perf_level_t level;
	char line[512];

	assert_int_equal(s->set_clocks(0, RSMI_CLK_TYPE_SYS, 0x1f), 0);
	assert_range(0, 0, 4);
	last_logged(line, sizeof(line));
	assert_non_null(strstr(line, "pp_dpm_sclk"));
	assert_non_null(strstr(line, "\"0 1 2 3 4 \""));
	assert_int_equal(s->perf(0, &level), 0);
	assert_int_equal(level, RSMI_DEV_PERF_LEVEL_MANUAL);
	assert_int_equal(s->set_cap(0, 0, 150 * UW_PER_W), 0);
	assert_string_equal(read_file(H0 "power1_cap"), "150000000\n");
	assert_int_equal(s->set_perf(0, RSMI_DEV_PERF_LEVEL_AUTO), 0);
	assert_range(0, 0, 8);
}

static void rsmi_refusals(const struct rsmi *s)
{
	/* What the library refuses itself, and what comes back from the file. */
	assert_int_equal(s->set_cap(0, 0, 999 * UW_PER_W), RSMI_STATUS_INVALID_ARGS);
	assert_string_equal(read_file(H0 "power1_cap"), "150000000\n");
	put_fault("errno:0:" PERF ":EPERM");
	assert_int_equal(s->set_perf(0, RSMI_DEV_PERF_LEVEL_LOW), RSMI_STATUS_NOT_SUPPORTED);
	assert_int_equal(s->set_clocks(0, RSMI_CLK_TYPE_SYS, 1), RSMI_STATUS_NOT_SUPPORTED);
	assert_int_equal(verb("heal"), 0);
	assert_range(0, 0, 8);
	assert_string_equal(read_file(D0 PERF), "auto\n");
}

static void test_the_real_library_works_on_the_cards(void **state)
{
	struct rsmi s = {0};

	begin_steady_load(*state);
	wait_until(stat_number(0, "sclk_mhz") == 1725 && stat_number(0, "power_w") > 100 &&
		   read_number(D0 "gpu_busy_percent") > 90);
	rsmi_load(&s);
	assert_int_equal(s.init(0), RSMI_STATUS_SUCCESS);
	rsmi_reads(&s);
	rsmi_writes(&s);
	rsmi_refusals(&s);
	assert_int_equal(s.shut_down(), RSMI_STATUS_SUCCESS);
	/* Its mutex went to the private /dev/shm. */
	assert_int_equal(access("/dev/shm/rocm_smi_card0", F_OK), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, reset, reset)
	static const struct CMUnitTest tests[] = {
		TEST(test_the_class_folders_hold_the_simulated_cards_alone),
		TEST(test_links_name_the_address_and_lead_to_a_folder_that_is_no_sysfs),
		TEST(test_constant_files_say_what_the_profile_says),
		TEST(test_kfd_nodes_join_with_the_cards_by_address),
		TEST(test_files_look_and_refuse_as_sysfs_files_do),
		TEST(test_truncation_changes_nothing_and_offsets_do_not_matter),
		TEST(test_levels_end_in_a_blank_or_a_star),
		TEST(test_masks_are_ranges_taken_in_manual_alone),
		TEST(test_no_file_shows_the_range_and_auto_resets_it),
		TEST(test_performance_levels_are_the_kernels),
		TEST(test_other_clocks_take_masks_under_the_same_rules),
		TEST(test_the_cap_is_whole_watts_up_to_the_default),
		TEST(test_sensors_follow_work_in_whole_watts),
		TEST(test_energy_is_the_integral_of_power),
		TEST(test_metrics_are_version_1_0_with_live_values),
		TEST(test_work_takes_the_time_of_the_clock_that_was_set),
		TEST(test_a_switch_comes_exactly_when_the_device_says),
		TEST(test_auto_raises_the_clock_for_work_and_lowers_it_after),
		TEST(test_kfd_lists_processes_with_queues),
		TEST(test_a_killed_process_leaves_the_list_at_once),
		TEST(test_every_write_is_logged_with_its_writer_and_outcome),
		TEST(test_a_withheld_read_blocks_nobody_else_and_is_answered_when_healed),
		TEST(test_a_killed_reader_of_a_withheld_file_sits_in_d_state),
		TEST(test_files_fail_with_the_error_that_was_put_on_them),
		TEST(test_contents_are_replaced_byte_by_byte),
		TEST(test_dropped_writes_are_accepted_without_effect),
		TEST(test_a_stuck_clock_ignores_the_limit_until_healed),
		TEST(test_an_absent_card_gives_enodev_even_to_open_files),
		TEST(test_another_program_may_have_left_a_hidden_range),
		TEST(test_faults_that_make_no_sense_are_refused),
		TEST(test_the_real_library_works_on_the_cards),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
