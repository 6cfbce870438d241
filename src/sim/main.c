/* SPDX-License-Identifier: Apache-2.0 */
/* cofris-sim: runs a command on a machine with simulated cards, or asks a running simulator.
 *
 * Three processes: the caller's child (this one) only waits, passes signals on and tidies up; its
 * child is the first process of a new PID namespace and is the simulator; COMMAND is the
 * simulator's child. With --shared there is no new namespace. */
#include "base/log.h"
#include "sim/control.h"
#include "sim/faults.h"
#include "sim/fs.h"
#include "sim/options.h"
#include "sim/sandbox.h"
#include "sim/sim-card.h"
#include "sim/simulator.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* Exit statuses beside COMMAND's own, as env(1) has them. */
enum { EXIT_SIMULATOR = 125, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127, EXIT_SIGNAL = 128 };

/* ---- processes ---- */

static sigset_t handled_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCHLD};
	sigset_t set;

	(void)sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		(void)sigaddset(&set, signals[i]);
	return set;
}

/* Passes signals on to the child, and reaps, until the child has ended. Returns its status. */
static int supervise(pid_t child)
{
	sigset_t set = handled_signals();

	for (;;) {
		siginfo_t info;
		int status;
		pid_t pid;

		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == child)
				return status;
		if (sigwaitinfo(&set, &info) < 0 || info.si_signo == SIGCHLD)
			continue;
		/* What a terminal sends reaches the whole group by itself. */
		if (info.si_code != SI_KERNEL)
			(void)kill(child, info.si_signo);
	}
}

/* Forks a child that gets nothing to do but its part, and dies with this process. Returns 0 in the
 * child, which waits for wake() first. */
static pid_t fork_waiting(int *ret_wake_fd)
{
	int fds[2];
	pid_t pid;
	char byte;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid != 0) {
		(void)close(fds[0]);
		*ret_wake_fd = fds[1];
		return pid < 0 ? -errno : pid;
	}
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)close(fds[1]);
	/* An end of file: the parent is gone. */
	if (read(fds[0], &byte, 1) != 1)
		_exit(EXIT_SIMULATOR);
	(void)close(fds[0]);
	return 0;
}

static void wake(int *fd)
{
	(void)!write(*fd, "x", 1);
	(void)close(TAKE_FD(*fd));
}

/* The folder with the simulated libhsakmt: of the build that this program is in, or installed
 * beside it, or where it was to be installed. */
static int find_hsakmt(char ret[PATH_MAX])
{
	static const char *const places[] = {"%s/../lib/sim", ("%s/../" COFRIS_SIM_LIBDIR),
					     COFRIS_SIM_LIBDIR_INSTALLED};
	char bin[PATH_MAX], folder[PATH_MAX + 64], library[PATH_MAX + 128];
	ssize_t n = readlink("/proc/self/exe", bin, sizeof(bin) - 1);

	if (n < 0)
		return -errno;
	bin[n] = '\0';
	*strrchr(bin, '/') = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		(void)snprintf(folder, sizeof(folder), places[i], bin);
		(void)snprintf(library, sizeof(library), "%s/libhsakmt.so.1", folder);
		if (access(library, R_OK) == 0 && realpath(folder, ret))
			return 0;
	}
	return -ENOENT;
}

/* HSA programs take the first libhsakmt that the loader finds. Called before there are namespaces:
 * the path of a program that was started in another mount namespace ignores a chroot. */
static void prepend_library_path(void)
{
	char folder[PATH_MAX], value[2 * PATH_MAX];
	const char *before = getenv("LD_LIBRARY_PATH");

	if (find_hsakmt(folder) < 0) {
		log_warning("no simulated libhsakmt.so.1 found: HSA and HIP see no cards");
		return;
	}
	if (before && *before)
		(void)snprintf(value, sizeof(value), "%s:%s", folder, before);
	else
		(void)snprintf(value, sizeof(value), "%s", folder);
	(void)setenv("LD_LIBRARY_PATH", value, 1);
}

/* In COMMAND's process, once the simulator stands. */
static _Noreturn void run_command(const struct options *o, const struct simulator *s,
				  const sigset_t *original_mask)
{
	/* Not in the simulator: killed while it waits for its own answer, it could never end. */
	if (sandbox_bind_classes() < 0)
		_exit(EXIT_SIMULATOR);
	(void)sigprocmask(SIG_SETMASK, original_mask, NULL);
	(void)setenv(SIM_ENV, s->machine_path, 1);
	(void)setenv(CONTROL_ENV, s->control_path, 1);
	(void)execvp(o->command[0], o->command);
	(void)log_error_errno(-errno, "%s: %m", o->command[0]);
	_exit(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

static int exit_status(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SIGNAL + WTERMSIG(status);
}

static int mount_all(const struct options *o)
{
	int r = o->shared ? 0 : sandbox_mount_private();

	return r < 0 ? r : sandbox_mount_classes();
}

/* The first process of the namespace. COMMAND is forked before there are threads, and set free
 * when everything stands. When this process ends, the kernel ends whatever COMMAND left running,
 * the file system and the mounts; there is nothing to take down but the reads that hang. */
static int run_simulator(const struct options *o, const sigset_t *original_mask)
{
	static struct simulator s; /* too large for the stack */
	int wake_fd = -1, status;
	pid_t command;

	if (mount_all(o) < 0 || simulator_make_folder(&s, o) < 0)
		return EXIT_SIMULATOR;
	command = fork_waiting(&wake_fd);
	if (command == 0)
		run_command(o, &s, original_mask);
	if (command < 0) {
		(void)log_error_errno(command, "cannot fork: %m");
		return EXIT_SIMULATOR;
	}
	if (simulator_start(&s, o) < 0)
		return EXIT_SIMULATOR;
	wake(&wake_fd);
	status = supervise(command);
	fs_release_all(s.fs);
	return exit_status(status);
}

static int run(const struct options *o)
{
	sigset_t set = handled_signals(), original_mask;
	int wake_fd = -1, status;
	pid_t simulator;

	(void)sigprocmask(SIG_BLOCK, &set, &original_mask);
	prepend_library_path();
	if (!o->shared && sandbox_unshare() < 0)
		return EXIT_SIMULATOR;
	simulator = fork_waiting(&wake_fd);
	if (simulator == 0)
		_exit(run_simulator(o, &original_mask));
	if (simulator < 0) {
		(void)log_error_errno(simulator, "cannot fork: %m");
		return EXIT_SIMULATOR;
	}
	wake(&wake_fd);
	status = supervise(simulator);
	if (o->shared)
		(void)sandbox_unmount_classes();
	simulator_tidy(o);
	if (WIFSIGNALED(status))
		log_error("the simulator was killed by signal %d", WTERMSIG(status));
	/* With the first process of its PID namespace gone, this one cannot start another one, as a
	 * leak checker would at a normal exit. */
	_exit(exit_status(status));
}

/* ---- asking a running simulator ---- */

static bool is_verb(const char *word)
{
	static const char *const verbs[] = {"stat", "fault", "heal"};

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (strcmp(verbs[i], word) == 0)
			return true;
	return false;
}

/* Joins the words into one command, but for "--runtime-dir DIR". */
static int ask(int argc, char **argv)
{
	const char *control = getenv(CONTROL_ENV);
	char path[PATH_MAX], command[FAULT_SPEC_MAX + 64];
	size_t length = 0;

	for (int i = 1; i < argc; i++) {
		int n;

		if (strcmp(argv[i], "--runtime-dir") == 0 && i + 1 < argc) {
			if (simulator_path(path, sizeof(path), argv[++i], "control") == 0)
				control = path;
			continue;
		}
		n = snprintf(command + length, sizeof(command) - length, "%s%s", length ? " " : "",
			     argv[i]);
		if (n < 0 || (size_t)n >= sizeof(command) - length)
			return log_error_errno(-E2BIG, "the command is too long");
		length += (size_t)n;
	}
	if (!control)
		return log_error_errno(-ENOENT, "not inside a simulator (" CONTROL_ENV
						" is not set); use --runtime-dir");
	return control_call(control, command);
}

int main(int argc, char **argv)
{
	struct options options;
	int r;

	log_init("cofris-sim", LOG_INFO);
	if (argc > 1 && is_verb(argv[1]))
		return ask(argc, argv) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
	r = options_parse(&options, argc, argv);
	if (r <= 0)
		return r < 0 ? EXIT_SIMULATOR : EXIT_SUCCESS;
	return run(&options);
}
