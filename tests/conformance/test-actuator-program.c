/* SPDX-License-Identifier: Apache-2.0 */
/* cofris-actuator as a process, as COMMAND of cofris-sim --count 2:
 *
 *   test-actuator-program sysfs|rsmi
 *
 * It runs as uid 0 without any capability. What it does when it is killed, when the card hangs and
 * when files hold rubbish is judged by the card's true state, not by its files. */
#include "actuator/client.h"
#include "base/fsio.h"
#include "base/units.h"
#include "gpu/gpu.h"
#include "simulated.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define PROGRAM	  COFRIS_BINARY_DIR "/bin/cofris-actuator"
#define WAIT_MS	  60000 /* only a failing test waits that long */
#define LEASE_MS  60000
#define TOP_LEVEL 8
#define CAP_W	  225

static struct {
	const char *backend;
	char folder[64], socket_path[96], log_path[96], state_path[96];
	char bdf[GPU_MAX_CARDS][PCI_BDF_LENGTH + 1];
	pid_t pid; /* of the actuator; 0: none that must be ended */
	pid_t spawned[64];
	int n_spawned;
	struct actuator_client *client;
} f;

static uint64_t now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / NSEC_PER_MSEC;
}

#define wait_until(condition)                                                                      \
	do {                                                                                       \
		uint64_t end_ms = now_ms() + WAIT_MS;                                              \
		while (!(condition)) {                                                             \
			if (now_ms() > end_ms)                                                     \
				fail_msg("did not come: %s", #condition);                          \
			(void)usleep(5000);                                                        \
		}                                                                                  \
	} while (0)

/* ---- the process ---- */
static void drop_capabilities(void)
{
	/* What execve() gives to uid 0 is bounded by this set. */
	for (int c = 0; prctl(PR_CAPBSET_READ, c) >= 0; c++)
		if (prctl(PR_CAPBSET_DROP, c) < 0)
			_exit(126);
}

static pid_t spawn(const char *const *arguments)
{
	pid_t pid = fork();

	if (pid == 0) {
		int log = open(f.log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (log < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0)
			_exit(126);
		drop_capabilities();
		(void)execv(PROGRAM, (char *const *)arguments);
		_exit(127);
	}
	assert_true(pid > 0);
	assert_in_range(f.n_spawned, 0, ARRAY_SIZE(f.spawned) - 1);
	f.spawned[f.n_spawned++] = pid;
	return pid;
}

/* Waits for the end of the process: its exit status, or 128 and its signal. */
static int wait_for(pid_t pid)
{
	int status = 0;

	wait_until(waitpid(pid, &status, WNOHANG) == pid);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void start_with_deadline(const char *backend, const char *deadline_ms)
{
	const char *const arguments[] = {"cofris-actuator", "--runtime-dir", f.folder,
					 "--backend",	    backend,	     "--allow-simulated",
					 "--deadline",	    deadline_ms,     NULL};
	struct actuator_reply r;

	f.pid = spawn(arguments);
	wait_until(actuator_client_connect(f.socket_path, &f.client) == 0);
	/* A connection waits in the queue until the cards have been looked at. */
	assert_true(actuator_client_list(f.client, WAIT_MS, &r, 1) >= 0);
}

/* For what hangs nowhere: the simulated card is a process, for which a busy host has no time. */
static void start(const char *backend)
{
	start_with_deadline(backend, "5000");
}

static bool log_holds(const char *text)
{
	char log[16384];

	return read_text_at(AT_FDCWD, f.log_path, log, sizeof(log)) >= 0 && strstr(log, text);
}

static void disconnect(void)
{
	f.client = actuator_client_free(f.client);
}

static int end(int signal_number)
{
	pid_t pid = f.pid;

	f.pid = 0;
	(void)kill(pid, signal_number);
	return wait_for(pid);
}

static int setup(_unused_ void **state)
{
	(void)snprintf(f.folder, sizeof(f.folder), "/tmp/cofris-actuator.XXXXXX");
	if (!mkdtemp(f.folder))
		return -1;
	(void)snprintf(f.socket_path, sizeof(f.socket_path), "%s/control.sock", f.folder);
	(void)snprintf(f.log_path, sizeof(f.log_path), "%s/log", f.folder);
	(void)snprintf(f.state_path, sizeof(f.state_path), "%s/state", f.folder);
	return gpu_list("/sys", f.bdf, GPU_MAX_CARDS) == 2 ? 0 : -1;
}

static int teardown(_unused_ void **state)
{
	simulated_load_end();
	disconnect();
	(void)simulated_verb("heal", "");
	/* Also those that a failed test has not waited for. */
	for (; f.n_spawned > 0; f.n_spawned--)
		if (waitpid(f.spawned[f.n_spawned - 1], NULL, WNOHANG) == 0) {
			(void)kill(f.spawned[f.n_spawned - 1], SIGKILL);
			(void)waitpid(f.spawned[f.n_spawned - 1], NULL, 0);
		}
	f.pid = 0;
	(void)unlink(f.socket_path);
	(void)unlink(f.log_path);
	(void)unlink(f.state_path);
	(void)rmdir(f.folder);
	/* For a test that failed half-way. */
	for (int i = 0; i < 2; i++) {
		_cleanup_(gpu_closep) struct gpu *g = NULL;

		if (gpu_open(gpu_backend_sysfs(), "/sys", f.bdf[i], &g) < 0)
			return -1;
		(void)g->ops->set_perf_level(g, GPU_PERF_AUTO);
		(void)g->ops->set_power_cap(g, CAP_W * UW_PER_W);
	}
	return 0;
}

/* ---- asking ---- */
static int call(uint16_t op, int card, uint32_t max_mhz, struct actuator_reply *ret)
{
	struct actuator_request q = {.op = op,
				     .max_mhz = max_mhz,
				     .lease_ms = LEASE_MS,
				     .power_cap_uw = max_mhz ? 150 * UW_PER_W : 0};

	memcpy(q.bdf, f.bdf[card], sizeof(f.bdf[card]));
	return actuator_client_call(f.client, &q, WAIT_MS, ret);
}

static void govern(uint32_t max_mhz)
{
	struct actuator_reply r;

	assert_int_equal(call(ACTUATOR_CLAIM, 0, 0, &r), 0);
	assert_int_equal(call(ACTUATOR_SET, 0, max_mhz, &r), 0);
	assert_true(simulated_truth(0, "soft_high") < TOP_LEVEL);
	assert_int_equal((int)simulated_truth(0, "cap_uw"), 150 * UW_PER_W);
}

static bool is_full_range(void)
{
	return simulated_truth(0, "soft_low") == 0 && simulated_truth(0, "soft_high") == TOP_LEVEL;
}

static bool is_baseline(void)
{
	_cleanup_(gpu_closep) struct gpu *g = NULL;
	enum gpu_perf_level level;

	return gpu_open(gpu_backend_sysfs(), "/sys", f.bdf[0], &g) == 0 &&
	       g->ops->get_perf_level(g, &level) == 0 && level == GPU_PERF_AUTO &&
	       is_full_range() && simulated_truth(0, "cap_uw") == CAP_W * (double)UW_PER_W;
}

static bool is_cut_off(void)
{
	struct pollfd p = {.fd = actuator_client_fd(f.client), .events = POLLIN};
	struct actuator_reply r;

	return poll(&p, 1, WAIT_MS) == 1 && actuator_client_receive(f.client, &r) == -ECONNRESET;
}

static void test_runs_as_root_without_a_capability(_unused_ void **state)
{
	char path[64], status[4096];

	start(f.backend);
	govern(925);
	(void)snprintf(path, sizeof(path), "/proc/%d/status", f.pid);
	assert_true(read_text_at(AT_FDCWD, path, status, sizeof(status)) > 0);
	assert_non_null(strstr(status, "Uid:\t0\t0\t0\t0"));
	assert_non_null(strstr(status, "CapEff:\t0000000000000000"));
	assert_non_null(strstr(status, "CapPrm:\t0000000000000000"));
	disconnect();
	wait_until(is_baseline());
	assert_true(log_holds(strcmp(f.backend, "rsmi") == 0 ? "through rsmi" : "through sysfs"));
}

static void test_reads_without_writing(_unused_ void **state)
{
	double before[2] = {simulated_truth(0, "writes"), simulated_truth(1, "writes")};
	struct actuator_reply r[2];

	start(f.backend);
	assert_int_equal(actuator_client_list(f.client, WAIT_MS, r, 2), 2);
	assert_int_equal(r[0].card.simulated, 1);
	assert_int_equal(r[0].card.n_levels, TOP_LEVEL + 1);
	assert_int_equal(call(ACTUATOR_SENSORS, 0, 0, &r[0]), 0);
	assert_int_equal(call(ACTUATOR_CLAIM, 0, 0, &r[0]), 0);
	assert_int_equal(call(ACTUATOR_RELEASE, 0, 0, &r[0]), 0);
	assert_int_equal(end(SIGTERM), 0);
	assert_true(simulated_truth(0, "writes") == before[0]);
	assert_true(simulated_truth(1, "writes") == before[1]);
}

static void test_term_restores_and_tidies_up(_unused_ void **state)
{
	start(f.backend);
	govern(1143);
	assert_int_equal(end(SIGTERM), 0);
	assert_true(is_baseline());
	assert_int_equal(access(f.socket_path, F_OK), -1);
	assert_int_equal(access(f.state_path, F_OK), -1);
}

static void test_the_next_start_restores_after_kill(_unused_ void **state)
{
	struct stat st;

	start(f.backend);
	govern(925);
	assert_int_equal(end(SIGKILL), 128 + SIGKILL);
	assert_false(is_full_range());
	assert_int_equal(stat(f.state_path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	disconnect();
	start(f.backend);
	assert_true(is_baseline());
	assert_int_equal(access(f.state_path, F_OK), -1);
}

static void test_restore_gives_back_without_the_library(_unused_ void **state)
{
	const char *const arguments[] = {"cofris-actuator", "--restore", "--runtime-dir", f.folder,
					 NULL};
	double writes;

	start(f.backend);
	govern(925);
	assert_int_equal(end(SIGKILL), 128 + SIGKILL);
	assert_int_equal(wait_for(spawn(arguments)), 0);
	assert_true(is_baseline());
	writes = simulated_truth(0, "writes");
	assert_int_equal(wait_for(spawn(arguments)), 0);
	assert_true(simulated_truth(0, "writes") == writes);
}

static void test_an_abort_leaves_full_range(_unused_ void **state)
{
	static const int signals[] = {SIGABRT, SIGSEGV};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		start(f.backend);
		govern(925);
		assert_int_equal(end(signals[i]), 128 + signals[i]);
		assert_true(is_full_range());
		disconnect();
		start(f.backend);
		assert_true(is_baseline());
		assert_int_equal(end(SIGTERM), 0);
		disconnect();
	}
}

/* Returns how long it took until the card was at full range. */
static uint64_t give_up_a_card_that_hangs(void)
{
	struct actuator_reply r;
	uint64_t begin_ms, ms;

	start_with_deadline(f.backend, "500");
	govern(925);
	simulated_fault("hang:0:gpu_busy_percent");
	begin_ms = now_ms();
	assert_int_equal(call(ACTUATOR_SENSORS, 0, 0, &r), -ETIMEDOUT);
	assert_true(is_full_range());
	ms = now_ms() - begin_ms;
	assert_true(is_cut_off());
	disconnect();
	return ms;
}

static void test_a_card_that_hangs_is_given_up_at_full_range(_unused_ void **state)
{
	struct actuator_reply r;

	/* The quicker of two is judged: a busy host may hold one up. */
	if (give_up_a_card_that_hangs() >= 4000) {
		assert_int_equal(simulated_verb("heal", ""), 0);
		assert_int_equal(wait_for(f.pid), 75);
		assert_true(give_up_a_card_that_hangs() < 4000);
	}
	/* The old process cannot die, and is in nobody's way. */
	f.pid = 0;
	start(f.backend);
	assert_true(is_baseline());
	assert_int_equal(actuator_client_list(f.client, WAIT_MS, &r, 1), 1);
}

/* Even what is needed to give the card back does not answer. */
static void test_a_level_that_hangs_is_left_to_a_later_start(_unused_ void **state)
{
	const char *const arguments[] = {
		"cofris-actuator", "--runtime-dir",	f.folder, "--backend",
		f.backend,	   "--allow-simulated", NULL};
	struct actuator_reply r;
	pid_t pid;

	start_with_deadline(f.backend, "500");
	govern(925);
	simulated_fault("hang:0:power_dpm_force_performance_level");
	assert_int_equal(call(ACTUATOR_SENSORS, 0, 0, &r), -ETIMEDOUT);
	assert_true(is_full_range()); /* writing still works */
	assert_true(is_cut_off());
	disconnect();
	(void)unlink(f.log_path);
	pid = spawn(arguments);
	wait_until(log_holds("No answer while"));
	assert_int_equal(access(f.state_path, F_OK), 0);
	assert_int_equal(simulated_verb("heal", ""), 0);
	assert_int_equal(wait_for(pid), 75);
	assert_int_equal(wait_for(f.pid), 75);
	start(f.backend);
	assert_true(is_baseline());
}

static void test_a_card_in_a_reset_is_given_up_at_full_range(_unused_ void **state)
{
	struct actuator_reply r;

	start(f.backend);
	govern(925);
	simulated_fault("errno:0:power1_average:EPERM");
	assert_int_equal(call(ACTUATOR_SENSORS, 0, 0, &r), -EPERM);
	assert_true(is_full_range());
	assert_true(is_cut_off());
	assert_int_equal(wait_for(f.pid), 75);
	f.pid = 0;
}

/* Each would end a process that showed it to librocm_smi64, or be taken for something else. */
static const char *const malformed[] = {
	"pp_dpm_sclk:S: 132Mhz *\\n0: 500Mhz \\n1: 2100Mhz \\n",
	"pp_dpm_sclk:unavailable\\n",
	"pp_dpm_sclk:rubbish\\n",
	"pp_dpm_sclk:",
	"power_dpm_force_performance_level:",
	"power_dpm_force_performance_level:turbo\\n",
	"power1_average:",
	"power1_average:rubbish\\n",
	"power1_cap:",
	"power1_cap_max:rubbish\\n",
	"gpu_busy_percent:",
	"gpu_metrics:rubbish",
	"gpu_metrics:\\x78\\x00\\x01\\x04",
	"temp2_input:",
	"temp2_label:rubbish\\n",
	"in0_label:",
	"nodes/1/properties:rubbish\\n",
	"nodes/1/properties:",
	"nodes/1/gpu_id:rubbish\\n",
};

static void test_survives_files_that_turn_to_rubbish(_unused_ void **state)
{
	struct actuator_reply r;

	start(f.backend);
	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
		char fault[160];

		govern(925);
		(void)snprintf(fault, sizeof(fault), "content:0:%s", malformed[i]);
		simulated_fault(fault);
		print_message("%s\n", fault);
		/* Whatever it says, it says it, and serves the other card on. */
		(void)call(ACTUATOR_SENSORS, 0, 0, &r);
		(void)call(ACTUATOR_SET, 0, 1143, &r);
		(void)actuator_client_list(f.client, WAIT_MS, &r, 1);
		(void)call(ACTUATOR_RELEASE, 0, 0, &r);
		assert_int_equal(call(ACTUATOR_SENSORS, 1, 0, &r), 0);
		assert_int_equal(simulated_verb("heal", ""), 0);
		wait_until(is_baseline());
		/* A restore that failed is tried on for a while. */
		wait_until(actuator_client_list(f.client, WAIT_MS, &r, 1) == 1 &&
			   call(ACTUATOR_CLAIM, 0, 0, &r) == 0);
		assert_int_equal(call(ACTUATOR_RELEASE, 0, 0, &r), 0);
	}
}

static void test_starts_on_files_that_hold_rubbish(_unused_ void **state)
{
	struct actuator_reply r[2];

	/* The library leaks where it fails, which is not our program's failure under ASan. */
	assert_int_equal(setenv("LSAN_OPTIONS", "exitcode=0", 1), 0);
	for (size_t i = 0; i < ARRAY_SIZE(malformed); i++) {
		char fault[160];
		int n;

		(void)snprintf(fault, sizeof(fault), "content:0:%s", malformed[i]);
		simulated_fault(fault);
		print_message("%s\n", fault);
		/* Where the library would not survive it, sysfs takes its place. */
		start(strcmp(f.backend, "rsmi") == 0 ? "auto" : f.backend);
		n = actuator_client_list(f.client, WAIT_MS, r, 2);
		assert_in_range(n, 1, 2);
		assert_string_equal(r[n - 1].bdf, f.bdf[1]);
		assert_int_equal(call(ACTUATOR_SENSORS, 1, 0, r), 0);
		assert_int_equal(end(SIGTERM), 0);
		disconnect();
		assert_int_equal(simulated_verb("heal", ""), 0);
	}
	assert_int_equal(unsetenv("LSAN_OPTIONS"), 0);
}

static void test_read_back_under_load(_unused_ void **state)
{
	struct actuator_reply r;

	start(f.backend);
	simulated_load_begin(f.bdf[0]);
	govern(925);
	wait_until(call(ACTUATOR_SENSORS, 0, 0, &r) == 0 && r.state.verified == ACTUATOR_VERIFIED);
	assert_true(r.state.sclk_mhz <= 930 && r.state.busy_percent > 50);
	assert_int_equal(r.state.n_processes, 1);
	assert_int_equal(r.state.processes[0], getpid());
	simulated_fault("stuck-clock:0");
	wait_until(call(ACTUATOR_SENSORS, 0, 0, &r) == 0 && r.state.verified == ACTUATOR_DRIFT);
	assert_int_equal(r.state.perf_level, GPU_PERF_MANUAL);
}

static void test_a_card_in_somebodys_hands_is_left_alone(_unused_ void **state)
{
	struct actuator_reply r;

	simulated_fault("foreign-manual:0:2:4");
	start(f.backend);
	assert_int_equal(call(ACTUATOR_CLAIM, 0, 0, &r), -EHOSTDOWN);
	assert_int_equal(call(ACTUATOR_SET, 0, 925, &r), -EACCES);
	assert_int_equal(end(SIGTERM), 0);
	assert_int_equal((int)simulated_truth(0, "soft_low"), 2);
	assert_int_equal((int)simulated_truth(0, "soft_high"), 4);
}

static void test_a_second_actuator_keeps_out(_unused_ void **state)
{
	const char *const arguments[] = {"cofris-actuator", "--runtime-dir", f.folder,
					 "--backend",	    "sysfs",	     NULL};
	struct actuator_reply r;

	start(f.backend);
	govern(925);
	assert_int_equal(wait_for(spawn(arguments)), EXIT_FAILURE);
	assert_false(is_full_range());
	assert_int_equal(call(ACTUATOR_SENSORS, 0, 0, &r), 0);
	assert_int_equal(r.state.max_mhz, 925);
}

static void test_heals_the_librarys_mutexes_and_ignores_its_debug_variables(_unused_ void **state)
{
	int fd;

	if (strcmp(f.backend, "rsmi") != 0)
		return; /* nothing of it concerns this backend */
	fd = open("/dev/shm/rocm_smi_card0", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0777);
	assert_true(fd >= 0);
	(void)close(fd);
	assert_int_equal(setenv("RSMI_DEBUG_INFINITE_LOOP", "1", 1), 0);
	start("rsmi");
	assert_int_equal(unsetenv("RSMI_DEBUG_INFINITE_LOOP"), 0);
	govern(925);
	assert_true(log_holds("Using ROCm SMI"));
}

static void test_outlives_the_reader_of_its_log(_unused_ void **state)
{
	int reader;

	assert_int_equal(mkfifo(f.log_path, 0600), 0);
	reader = open(f.log_path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(reader >= 0);
	start(f.backend);
	(void)close(reader);
	govern(925); /* the claim is logged */
	assert_int_equal(end(SIGTERM), 0);
	assert_true(is_baseline());
}

static void test_wrong_usage_is_said(_unused_ void **state)
{
	static const struct {
		const char *arguments[4];
		int status;
	} cases[] = {
		{{"cofris-actuator", "--help"}, 0},
		{{"cofris-actuator", "--version"}, 0},
		{{"cofris-actuator", "--nonsense"}, 2},
		{{"cofris-actuator", "argument"}, 2},
		{{"cofris-actuator", "--backend", "magic"}, 2},
		{{"cofris-actuator", "--peer-uid", "-1"}, 2},
		{{"cofris-actuator", "--deadline", "0"}, 2},
		{{"cofris-actuator", "--runtime-dir", "/nonexistent/folder"}, EXIT_FAILURE},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		(void)unlink(f.log_path);
		assert_int_equal(wait_for(spawn(cases[i].arguments)), cases[i].status);
		assert_true(log_holds("cofris-actuator"));
	}
}

#define CASE(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		CASE(test_runs_as_root_without_a_capability),
		CASE(test_reads_without_writing),
		CASE(test_term_restores_and_tidies_up),
		CASE(test_the_next_start_restores_after_kill),
		CASE(test_restore_gives_back_without_the_library),
		CASE(test_an_abort_leaves_full_range),
		CASE(test_a_card_that_hangs_is_given_up_at_full_range),
		CASE(test_a_level_that_hangs_is_left_to_a_later_start),
		CASE(test_a_card_in_a_reset_is_given_up_at_full_range),
		CASE(test_survives_files_that_turn_to_rubbish),
		CASE(test_starts_on_files_that_hold_rubbish),
		CASE(test_read_back_under_load),
		CASE(test_a_card_in_somebodys_hands_is_left_alone),
		CASE(test_a_second_actuator_keeps_out),
		CASE(test_heals_the_librarys_mutexes_and_ignores_its_debug_variables),
		CASE(test_outlives_the_reader_of_its_log),
		CASE(test_wrong_usage_is_said),
	};

	if (argc != 2 || !getenv(SIM_ENV))
		return 2;
	f.backend = argv[1];
	return cmocka_run_group_tests_name(f.backend, tests, NULL, NULL);
}
