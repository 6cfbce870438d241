/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/worker-process.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define MAX_ARGUMENTS 24
#define ARGUMENT_SIZE 48

struct arguments {
	const char *argv[MAX_ARGUMENTS];
	uint32_t n;
	char numbers[4][ARGUMENT_SIZE];
	uint32_t n_numbers;
};

static void add(struct arguments *a, const char *option, const char *value)
{
	a->argv[a->n++] = option;
	if (value)
		a->argv[a->n++] = value;
}

static _printf_(3, 4) void add_number(struct arguments *a, const char *option, const char *format,
				      ...)
{
	char *text = a->numbers[a->n_numbers++];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, ARGUMENT_SIZE, format, ap);
	va_end(ap);
	add(a, option, text);
}

/* What any worker is told about its load. */
static void add_load(struct arguments *a, const struct worker_command *c)
{
	if (c->load == WORKER_OPEN_LOOP)
		add_number(a, "--rate", "%.6f", c->rate_rps);
	else
		add_number(a, "--closed-loop", "%" PRIu32, c->in_flight);
	add_number(a, "--seed", "%" PRIu64, c->seed);
}

static void add_own(struct arguments *a, const struct worker_command *c)
{
	add(a, "--model", c->model);
	add(a, "--engine", c->engine);
	add(a, "--gpu", c->bdf);
	add_number(a, "--workers", "%" PRIu32, c->workers);
	/* Requests that still wait at the end of a measurement are of no interest. */
	add(a, "--drain", "0s");
	if (c->load == WORKER_IDLE_KERNELS)
		add(a, "--idle-kernels", NULL);
}

static int own_worker_path(char path[static PATH_MAX])
{
	static const char name[] = "cofris-worker";
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - sizeof(name));
	char *slash;

	if (n < 0)
		return -errno;
	path[n] = '\0';
	slash = strrchr(path, '/');
	if (!slash)
		return -ENOENT;
	memcpy(slash + 1, name, sizeof(name));
	return access(path, X_OK) < 0 ? -errno : 0;
}

/* A command line for sh: the words added are options and numbers, which need no quoting. */
static int shell_command(const struct worker_command *c, const struct arguments *a, char **ret)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return -ENOMEM;
	(void)fputs(c->command, f);
	for (uint32_t i = 0; i < a->n; i++)
		(void)fprintf(f, " %s", a->argv[i]);
	if (fclose(f) != 0) {
		free(text);
		return -ENOMEM;
	}
	*ret = text;
	return 0;
}

/* In the child. Its summary on stdout would mix with ours. */
static void become_worker(const struct worker_command *c, pid_t parent, const char *path,
			  const char *const argv[])
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(127);
	(void)setpgid(0, 0);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)signal(SIGPIPE, SIG_DFL);
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(null, STDOUT_FILENO);
	(void)setenv("COFRIS_SOCKET", c->socket_path, 1);
	(void)execv(path, (char *const *)argv);
	(void)dprintf(STDERR_FILENO, "cofris-profile: cannot run %s: %s\n", path, strerror(errno));
	_exit(127);
}

static int spawn(const struct worker_command *c, const char *path, const char *const argv[],
		 struct worker_process *ret)
{
	pid_t parent = getpid(), pid = fork();
	int fd;

	if (pid < 0)
		return -errno;
	if (pid == 0)
		become_worker(c, parent, path, argv);
	/* On both sides, so that the group exists whoever runs first. */
	(void)setpgid(pid, pid);
	fd = pidfd_open(pid, 0);
	if (fd < 0) {
		int r = -errno;

		(void)kill(pid, SIGKILL);
		(void)waitpid(pid, NULL, 0);
		return r;
	}
	*ret = (struct worker_process){.pid = pid, .fd = fd};
	return 0;
}

int worker_process_start(const struct worker_command *c, struct worker_process *ret)
{
	struct arguments a = {0};
	_cleanup_(freep) char *text = NULL;
	char path[PATH_MAX];
	int r;

	if (!c->command) {
		r = own_worker_path(path);
		if (r < 0)
			return r;
		add(&a, "cofris-worker", NULL);
		add_own(&a, c);
		add_load(&a, c);
		return spawn(c, path, a.argv, ret);
	}
	add_load(&a, c);
	r = shell_command(c, &a, &text);
	if (r < 0)
		return r;
	return spawn(c, "/bin/sh", (const char *const[]){"sh", "-c", text, NULL}, ret);
}

static void forget(struct worker_process *w)
{
	closep(&w->fd);
	*w = WORKER_PROCESS_INIT;
}

void worker_process_stop(struct worker_process *w, int timeout_ms)
{
	struct pollfd p = {w->fd, POLLIN, 0};

	if (w->pid == 0)
		return;
	(void)kill(-w->pid, SIGTERM);
	/* A stopped process would not hear it. */
	(void)kill(-w->pid, SIGCONT);
	if (poll(&p, 1, timeout_ms) <= 0)
		(void)kill(-w->pid, SIGKILL);
	(void)waitpid(w->pid, NULL, 0);
	/* What a shell left running in the group. */
	(void)kill(-w->pid, SIGKILL);
	forget(w);
}

void worker_process_reap(struct worker_process *w, char *text, size_t size)
{
	int status;

	if (waitpid(w->pid, &status, 0) < 0)
		(void)snprintf(text, size, "is gone");
	else if (WIFSIGNALED(status))
		(void)snprintf(text, size, "was killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
	else
		(void)snprintf(text, size, "ended with status %d", WEXITSTATUS(status));
	(void)kill(-w->pid, SIGKILL);
	forget(w);
}
