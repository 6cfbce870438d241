/* SPDX-License-Identifier: Apache-2.0 */
/* cofris-actuator: the only process that touches the card. It may die at any time: what it wrote is
 * on record in its state file, and whoever starts it next gives the card back. */
#include "actuator/crash-guard.h"
#include "actuator/io-thread.h"
#include "actuator/notify.h"
#include "actuator/restore.h"
#include "actuator/server.h"
#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

#define DEFAULT_RUNTIME_DIR "/run/cofris-actuator"
#define DEFAULT_DEADLINE_MS 200
/* librocm_smi64 waits 5 s for a mutex that somebody holds before it gives up. */
#define LOAD_DEADLINE_MS    8000
#define RESTORE_DEADLINE_MS 2000
/* One of them late is not yet the end. */
#define ALIVE_PER_WATCHDOG 4
#define EXIT_RESTART	   75 /* EX_TEMPFAIL: start me again */

struct options {
	const char *runtime_dir, *sysfs_root, *backend;
	bool allow_simulated, any_of_socket, restore;
	uint32_t deadline_ms, n_uids, uids[SERVER_MAX_PEER_UIDS];
};

struct actuator {
	struct options options;
	char boot_id[40];
	char *socket_path, *state_path;
	int listen_fd;
	bool bound; /* the socket is our own, not the service manager's */
	struct io_thread *io;
	const struct gpu_backend *backend;
	struct actuator_core *core;
};

static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void print_help(void)
{
	puts("cofris-actuator [OPTION...]\n"
	     "Holds the clocks and power caps of AMD GPUs for cofrisd and gives them back.\n\n"
	     "  --runtime-dir DIR     folder of control.sock and state (" DEFAULT_RUNTIME_DIR ")\n"
	     "  --backend rsmi|sysfs|auto\n"
	     "                        how to reach the cards; auto: ROCm SMI if it loads, else "
	     "sysfs\n"
	     "  --allow-simulated     accept cards that are not on a real sysfs\n"
	     "  --peer-uid UID        accept connections of this user, too (may be repeated)\n"
	     "  --peer-any-of-socket  accept whoever the socket's mode lets in\n"
	     "  --deadline MS         how long a card may take to answer (200)\n"
	     "  --sysfs DIR           where the kernel's files are (/sys)\n"
	     "  --restore             give back what the state file names, and exit\n"
	     "  --help, --version");
}

enum {
	OPT_RUNTIME_DIR = 256,
	OPT_BACKEND,
	OPT_ALLOW_SIMULATED,
	OPT_PEER_UID,
	OPT_PEER_ANY,
	OPT_DEADLINE,
	OPT_SYSFS,
	OPT_RESTORE,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{"runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR},
	{"backend", required_argument, NULL, OPT_BACKEND},
	{"allow-simulated", no_argument, NULL, OPT_ALLOW_SIMULATED},
	{"peer-uid", required_argument, NULL, OPT_PEER_UID},
	{"peer-any-of-socket", no_argument, NULL, OPT_PEER_ANY},
	{"deadline", required_argument, NULL, OPT_DEADLINE},
	{"sysfs", required_argument, NULL, OPT_SYSFS},
	{"restore", no_argument, NULL, OPT_RESTORE},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

static int option_error(const char *option, const char *value)
{
	log_error("--%s: '%s' will not do; see --help", option, value);
	return -EINVAL;
}

static int take_option(int opt, struct options *o)
{
	switch (opt) {
	case OPT_RUNTIME_DIR:
		o->runtime_dir = optarg;
		return 0;
	case OPT_BACKEND:
		o->backend = optarg;
		if (strcmp(optarg, "rsmi") != 0 && strcmp(optarg, "sysfs") != 0 &&
		    strcmp(optarg, "auto") != 0)
			return option_error("backend", optarg);
		return 0;
	case OPT_ALLOW_SIMULATED:
		o->allow_simulated = true;
		return 0;
	case OPT_PEER_UID:
		if (o->n_uids >= SERVER_MAX_PEER_UIDS ||
		    parse_u32(optarg, &o->uids[o->n_uids++]) < 0)
			return option_error("peer-uid", optarg);
		return 0;
	case OPT_PEER_ANY:
		o->any_of_socket = true;
		return 0;
	case OPT_DEADLINE:
		if (parse_u32(optarg, &o->deadline_ms) < 0 || o->deadline_ms < 10 ||
		    o->deadline_ms > 10000)
			return option_error("deadline", optarg);
		return 0;
	case OPT_SYSFS:
		o->sysfs_root = optarg;
		return 0;
	case OPT_RESTORE:
		o->restore = true;
		return 0;
	case OPT_HELP:
		print_help();
		return 1;
	case OPT_VERSION:
		puts("cofris-actuator " COFRIS_VERSION);
		return 1;
	default:
		return -EINVAL;
	}
}

/* 0: go on; 1: done; negative: wrong usage. */
static int parse_options(int argc, char **argv, struct options *ret)
{
	struct options o = {.runtime_dir = DEFAULT_RUNTIME_DIR,
			    .sysfs_root = "/sys",
			    .backend = "auto",
			    .deadline_ms = DEFAULT_DEADLINE_MS};
	int opt, r;

	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) >= 0) {
		r = take_option(opt, &o);
		if (r != 0)
			return r;
	}
	if (optind < argc) {
		log_error("Unexpected argument '%s'; see --help", argv[optind]);
		return -EINVAL;
	}
	*ret = o;
	return 0;
}

struct load_job {
	const char *sysfs_root;
	const struct gpu_backend *backend;
	int error;
};

static void load_job_run(void *data)
{
	struct load_job *j = data;

	j->error = gpu_backend_rsmi_load(j->sysfs_root, &j->backend);
}

static int choose_backend(struct actuator *a)
{
	/* Static: a thread that never comes back may still write to it. */
	static struct load_job job;
	bool is_auto = strcmp(a->options.backend, "auto") == 0;
	int r;

	a->backend = gpu_backend_sysfs();
	if (strcmp(a->options.backend, "sysfs") == 0)
		return 0;
	job.sysfs_root = a->options.sysfs_root;
	r = io_thread_run(a->io, load_job_run, &job, LOAD_DEADLINE_MS);
	if (r < 0)
		return log_error_errno(r, "ROCm SMI does not come up: %m");
	if (job.error == 0) {
		a->backend = job.backend;
		log_info("Using ROCm SMI");
		return 0;
	}
	if (!is_auto)
		return log_error_errno(job.error, "ROCm SMI cannot be used: %m");
	log_info("ROCm SMI cannot be used (%s), using sysfs", strerror(-job.error));
	return 0;
}

static int open_socket(struct actuator *a)
{
	const struct options *o = &a->options;
	/* Whoever is not root can connect only if somebody but root is accepted at all. */
	mode_t mode = o->n_uids > 0 || o->any_of_socket ? 0666 : 0600;
	int r;

	r = server_passed_socket();
	if (r >= 0) {
		a->listen_fd = r;
		return 0;
	}
	if (r != -ENOENT)
		return log_error_errno(r, "The socket passed to us cannot be used: %m");
	if (mkdir(o->runtime_dir, 0755) < 0 && errno != EEXIST)
		return log_error_errno(-errno, "Cannot make %s: %m", o->runtime_dir);
	r = server_listen(a->socket_path, mode, &a->listen_fd);
	if (r < 0)
		return log_error_errno(r, "Cannot listen at %s: %m", a->socket_path);
	a->bound = true;
	return 0;
}

static void close_socket(struct actuator *a)
{
	if (!a->bound)
		return;
	/* Shut down, not only closed: a thread in D state would keep it listening. A socket of the
	 * service manager's must go on listening. */
	(void)shutdown(a->listen_fd, SHUT_RDWR);
	(void)unlink(a->socket_path);
	a->bound = false;
}

static int run_on_thread(void *userdata, void (*job)(void *data), void *data, uint32_t deadline_ms)
{
	return io_thread_run(userdata, job, data, deadline_ms);
}

static int run_alone(_unused_ void *userdata, void (*job)(void *data), void *data,
		     uint32_t deadline_ms)
{
	_cleanup_(io_thread_freep) struct io_thread *t = NULL;
	int r;

	r = io_thread_new(&t);
	if (r < 0) {
		job(data);
		return 0;
	}
	return io_thread_run(t, job, data, deadline_ms);
}

/* Before the library is let in, which may hang at each start anew. What else is left, the core
 * tries on. */
static void restore_first(struct actuator *a)
{
	const struct restore_runner runner = {run_alone, NULL, RESTORE_DEADLINE_MS};

	if (restore_from_file(gpu_backend_sysfs(), a->options.sysfs_root, a->state_path, a->boot_id,
			      &runner) == -ETIMEDOUT) {
		log_error("No answer while a predecessor's cards were to be restored");
		close_socket(a);
		_exit(EXIT_RESTART);
	}
}

static int start(struct actuator *a)
{
	struct actuator_config config = {
		.sysfs_root = a->options.sysfs_root,
		.state_path = a->state_path,
		.boot_id = a->boot_id,
		.writer = gpu_backend_sysfs(),
		.allow_simulated = a->options.allow_simulated,
		.deadline_ms = a->options.deadline_ms,
		.run = run_on_thread,
		.run_alone = run_alone,
		.clock_ns = monotonic_ns,
	};
	int r;

	/* First of all: nobody else may be at work on the cards. */
	r = open_socket(a);
	if (r < 0)
		return r;
	r = crash_guard_install();
	if (r < 0)
		return log_error_errno(r, "Cannot install signal handlers: %m");
	r = io_thread_new(&a->io);
	if (r < 0)
		return log_error_errno(r, "Cannot start a thread: %m");
	restore_first(a);
	r = choose_backend(a);
	if (r < 0)
		return r;
	config.backend = a->backend;
	if (strcmp(a->options.backend, "auto") == 0 && a->backend != gpu_backend_sysfs())
		config.fallback = gpu_backend_sysfs();
	config.run_userdata = a->io;
	r = actuator_core_new(&config, monotonic_ns(), &a->core);
	if (r < 0)
		return log_error_errno(r, "Cannot start: %m");
	return 0;
}

static void say_alive(void)
{
	notify_service("WATCHDOG=1");
}

static int serve(struct actuator *a, int signal_fd)
{
	struct server_config config = {
		.core = a->core,
		.listen_fd = a->listen_fd,
		.signal_fd = signal_fd,
		.any_of_socket = a->options.any_of_socket,
		.n_uids = a->options.n_uids,
		.clock_ns = monotonic_ns,
	};

	memcpy(config.uids, a->options.uids, sizeof(config.uids));
	config.alive_ns = notify_watchdog_ns() / ALIVE_PER_WATCHDOG;
	config.alive = say_alive;
	log_info("Ready");
	notify_service("READY=1");
	return server_run(&config);
}

static int run(struct actuator *a, int signal_fd)
{
	int r;

	r = start(a);
	if (r == 0)
		r = serve(a, signal_fd);
	if (r == -ECONNABORTED || r == -ETIMEDOUT) {
		log_error("Giving up, to be started anew");
		close_socket(a);
		/* Without exit handlers: the library has some, and its thread may hang. */
		_exit(EXIT_RESTART);
	}
	if (a->core) {
		int k = actuator_core_shutdown(a->core, monotonic_ns());

		r = r < 0 ? r : k;
	}
	close_socket(a);
	a->core = actuator_core_free(a->core);
	a->io = io_thread_free(a->io);
	return r;
}

static int block_signals(void)
{
	sigset_t set;
	int fd;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

int main(int argc, char **argv)
{
	static struct actuator a = {.listen_fd = -1};
	int r, signal_fd;

	log_init("cofris-actuator", LOG_INFO);
	/* A log that nobody reads any more is no reason to leave cards capped. */
	(void)signal(SIGPIPE, SIG_IGN);
	r = parse_options(argc, argv, &a.options);
	if (r != 0)
		return r < 0 ? 2 : 0;
	r = boot_id_read(a.boot_id);
	if (r < 0)
		return log_error_errno(r, "Cannot read the boot id: %m"), EXIT_FAILURE;
	if (asprintf(&a.socket_path, "%s/control.sock", a.options.runtime_dir) < 0 ||
	    asprintf(&a.state_path, "%s/state", a.options.runtime_dir) < 0)
		return EXIT_FAILURE;
	if (a.options.restore) {
		/* A host that is too busy for it gives it twice the time so. */
		(void)signal(SIGTERM, SIG_IGN);
		r = restore_from_file(gpu_backend_sysfs(), a.options.sysfs_root, a.state_path,
				      a.boot_id, /* runner= */ NULL);
		if (r < 0)
			log_error_errno(r, "Not restored from %s: %m", a.state_path);
	} else {
		signal_fd = block_signals();
		r = signal_fd < 0 ? signal_fd : run(&a, signal_fd);
	}
	free(a.socket_path);
	free(a.state_path);
	return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
