/* SPDX-License-Identifier: Apache-2.0 */
/* cofris-sim: runs a command on a machine with simulated cards, or asks a running simulator.
 *
 * Three processes: the caller's child (this one) only waits, passes signals on and tidies up; its
 * child is the first process of a new PID namespace and is the simulator; COMMAND is the
 * simulator's child. With --shared there is no new namespace. */
#include "base/fsio.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/units.h"
#include "plant/profiles.h"
#include "sim/captured.h"
#include "sim/card.h"
#include "sim/control.h"
#include "sim/faults.h"
#include "sim/fs.h"
#include "sim/sandbox.h"
#include "sim/tree.h"
#include "sim/write-log.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#define MAX_FAULT_OPTIONS 32

/* Exit statuses beside COMMAND's own, as env(1) has them. */
enum { EXIT_SIMULATOR = 125, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127, EXIT_SIGNAL = 128 };

struct options {
	const char *device, *capture, *profiles, *runtime_dir;
	uint32_t count;
	double time_scale;
	enum plant_gating gating;
	uint64_t seed;
	double service_factor[SIM_MAX_CARDS], power_factor[SIM_MAX_CARDS];
	const char *faults[MAX_FAULT_OPTIONS];
	uint32_t n_faults;
	char **command;
	bool shared; /* in the caller's namespaces */
};

/* What the simulator consists of, in the order in which it is made. */
struct simulator {
	char folder[PATH_MAX - 32], machine_path[PATH_MAX], control_path[PATH_MAX],
		log_path[PATH_MAX];
	struct plant_device *device;
	struct capture *capture; /* or NULL */
	struct sim_machine *machine;
	struct card *cards[SIM_MAX_CARDS];
	uint32_t n_cards;
	struct faults *faults;
	struct tree *tree;
	struct write_log *log;
	struct fs *fs;
	struct control *control;
};

/* ---- options ---- */

static const char help_text[] =
	"Usage: cofris-sim --device NAME [OPTION...] -- COMMAND [ARG...]\n"
	"       cofris-sim --capture FILE [OPTION...] -- COMMAND [ARG...]\n"
	"       cofris-sim stat [--json] | fault SPEC | heal [SPEC]\n"
	"Runs COMMAND on a machine with simulated AMD GPUs below /sys/class/{drm,kfd,hwmon},\n"
	"which HSA and HIP programs see, too.\n\n"
	"      --device NAME           kind of card (mi50), or a path to its .ini\n"
	"      --capture FILE          cards of a tar that cofrisctl debug bundle made\n"
	"      --count N               number of cards (1, or as many as were captured)\n"
	"      --time-scale N          slow the cards down N times (1)\n"
	"      --gating none|se|cu     what a CU mask switches off (none)\n"
	"      --seed N                of the sensors' noise (1)\n"
	"      --service-factor [CARD:]F, --power-factor [CARD:]F\n"
	"                              a card that is slower or hotter than its profile\n"
	"      --fault SPEC            begin with a fault; may be given several times\n"
	"      --shared                in the caller's namespaces: everybody there sees the\n"
	"                              cards; needs --runtime-dir\n"
	"      --runtime-dir DIR       where writes.log and the control socket go\n"
	"      --profiles DIR          folder with devices/NAME.ini\n"
	"      --help, --version\n\n"
	"Inside COMMAND, or with --runtime-dir DIR behind the verb:\n"
	"  cofris-sim stat [--json]    true state of the cards\n"
	"  cofris-sim fault SPEC       put a fault on a file or card; see cofris-sim(1)\n"
	"  cofris-sim heal [SPEC]      take one away, or all\n";

static int parse_gating(const char *text, enum plant_gating *ret)
{
	static const char *const names[] = {"none", "se", "cu"};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], text) == 0) {
			*ret = (enum plant_gating)i;
			return 0;
		}
	return -EINVAL;
}

/* Parses "1.1" for all cards, or "0:1.1". */
static int parse_factor(const char *text, double factors[SIM_MAX_CARDS])
{
	const char *colon = strchr(text, ':'), *number = colon ? colon + 1 : text;
	uint32_t first = 0, last = SIM_MAX_CARDS - 1;
	_cleanup_(freep) char *index = NULL;
	double factor;

	if (colon) {
		index = strndup(text, (size_t)(colon - text));
		if (!index || parse_u32(index, &first) < 0 || first >= SIM_MAX_CARDS)
			return -EINVAL;
		last = first;
	}
	if (parse_double(number, &factor) < 0 || !(factor > 0))
		return -EINVAL;
	for (uint32_t i = first; i <= last; i++)
		factors[i] = factor;
	return 0;
}

static int parse_count(const char *text, uint32_t *ret)
{
	uint32_t n;

	if (parse_u32(text, &n) < 0 || n == 0 || n > SIM_MAX_CARDS)
		return -EINVAL;
	*ret = n;
	return 0;
}

static int parse_scale(const char *text, double *ret)
{
	double scale;

	if (parse_double(text, &scale) < 0 || scale < 0.001 || scale > 1000)
		return -EINVAL;
	*ret = scale;
	return 0;
}

enum option_id {
	OPT_DEVICE = 256,
	OPT_CAPTURE,
	OPT_COUNT,
	OPT_TIME_SCALE,
	OPT_GATING,
	OPT_SEED,
	OPT_SERVICE_FACTOR,
	OPT_POWER_FACTOR,
	OPT_FAULT,
	OPT_SHARED,
	OPT_RUNTIME_DIR,
	OPT_PROFILES,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{"device", required_argument, NULL, OPT_DEVICE},
	{"capture", required_argument, NULL, OPT_CAPTURE},
	{"count", required_argument, NULL, OPT_COUNT},
	{"time-scale", required_argument, NULL, OPT_TIME_SCALE},
	{"gating", required_argument, NULL, OPT_GATING},
	{"seed", required_argument, NULL, OPT_SEED},
	{"service-factor", required_argument, NULL, OPT_SERVICE_FACTOR},
	{"power-factor", required_argument, NULL, OPT_POWER_FACTOR},
	{"fault", required_argument, NULL, OPT_FAULT},
	{"shared", no_argument, NULL, OPT_SHARED},
	{"runtime-dir", required_argument, NULL, OPT_RUNTIME_DIR},
	{"profiles", required_argument, NULL, OPT_PROFILES},
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{0},
};

static int set_option(struct options *o, enum option_id id, const char *value)
{
	switch (id) {
	case OPT_DEVICE:
		o->device = value;
		return 0;
	case OPT_CAPTURE:
		o->capture = value;
		return 0;
	case OPT_COUNT:
		return parse_count(value, &o->count);
	case OPT_TIME_SCALE:
		return parse_scale(value, &o->time_scale);
	case OPT_GATING:
		return parse_gating(value, &o->gating);
	case OPT_SEED:
		return parse_u64(value, &o->seed);
	case OPT_SERVICE_FACTOR:
		return parse_factor(value, o->service_factor);
	case OPT_POWER_FACTOR:
		return parse_factor(value, o->power_factor);
	case OPT_FAULT:
		if (o->n_faults == MAX_FAULT_OPTIONS)
			return -ENOSPC;
		o->faults[o->n_faults++] = value;
		return 0;
	case OPT_SHARED:
		o->shared = true;
		return 0;
	case OPT_RUNTIME_DIR:
		o->runtime_dir = value;
		return 0;
	case OPT_PROFILES:
		o->profiles = value;
		return 0;
	default:
		return -EINVAL;
	}
}

/* Returns 1 to run, 0 when everything asked for has been printed, or a negative errno. */
static int parse_options(struct options *o, int argc, char **argv)
{
	int id, index;

	*o = (struct options){.time_scale = 1, .seed = 1};
	for (uint32_t i = 0; i < SIM_MAX_CARDS; i++)
		o->service_factor[i] = o->power_factor[i] = 1;
	while ((id = getopt_long(argc, argv, "+", long_options, &index)) != -1) {
		if (id == OPT_HELP || id == OPT_VERSION) {
			(void)fputs(id == OPT_HELP ? help_text : "cofris-sim " COFRIS_VERSION "\n",
				    stdout);
			return 0;
		}
		/* getopt_long() has printed what it does not know. */
		if (id == '?')
			return -EINVAL;
		if (set_option(o, (enum option_id)id, optarg) < 0)
			return log_error_errno(-EINVAL, "--%s: '%s' is not a valid value",
					       long_options[index].name, optarg);
	}
	o->command = argv + optind;
	if ((!o->device && !o->capture) || !*o->command)
		return log_error_errno(-EINVAL, "expected --device NAME and a command (--help)");
	if (o->shared && !o->runtime_dir)
		return log_error_errno(-EINVAL, "--shared needs --runtime-dir (--help)");
	if (o->count == 0 && !o->capture)
		o->count = 1;
	return 1;
}

/* ---- the device's profile ---- */

static int load_card(const char *path, struct plant_device **ret)
{
	struct ini_error error = {0};
	int r;

	r = plant_device_load(path, ret, &error);
	if (r < 0)
		return log_error_errno(r, "%s:%u: %s", path, error.line, error.text);
	/* Its driver's files would be none that an AMD card has. */
	if (strncmp((*ret)->gfx, "gfx", 3) != 0)
		return log_error_errno(-ENODEV,
				       "device '%s' is no AMD card; cofris-replay takes it",
				       (*ret)->name);
	return 0;
}

/* Looks for the profile and leaves its absolute path in path. */
static int find_device(const struct options *o, char path[PATH_MAX])
{
	_cleanup_(freep) char *found = NULL;
	int r;

	r = plant_profile_find(o->profiles, "devices", o->device, &found);
	if (r < 0)
		return log_error_errno(r, "no profile of a device '%s'", o->device);
	if (!realpath(found, path))
		return log_error_errno(-errno, "%s: %m", found);
	return 0;
}

/* ---- the simulator ---- */

static int make_path(char *ret, size_t size, const char *folder, const char *name)
{
	int n = snprintf(ret, size, "%s/%s", folder, name);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* The folder of the files; by default one that goes away with the private /dev/shm. */
static int make_runtime_dir(struct simulator *s, const struct options *o)
{
	int r = 0;

	if (o->runtime_dir) {
		(void)snprintf(s->folder, sizeof(s->folder), "%s", o->runtime_dir);
		r = make_parent_folders(s->folder, 0755);
		if (r == 0 && mkdir(s->folder, 0755) < 0 && errno != EEXIST)
			r = -errno;
	} else {
		(void)snprintf(s->folder, sizeof(s->folder), "/dev/shm/cofris-sim.XXXXXX");
		if (!mkdtemp(s->folder) || chmod(s->folder, 0755) < 0)
			r = -errno;
	}
	if (r == 0)
		r = make_path(s->machine_path, sizeof(s->machine_path), s->folder, "machine");
	if (r == 0)
		r = make_path(s->control_path, sizeof(s->control_path), s->folder, "control");
	if (r == 0)
		r = make_path(s->log_path, sizeof(s->log_path), s->folder, "writes.log");
	if (r < 0)
		return log_error_errno(r, "cannot make folder %s: %m", s->folder);
	(void)unlink(s->machine_path);
	(void)unlink(s->control_path);
	return 0;
}

/* As many as asked for, of those that were captured. */
static uint32_t n_cards(const struct simulator *s, const struct options *o)
{
	if (!s->capture)
		return o->count;
	return o->count > 0 ? MIN(o->count, s->capture->n_cards) : s->capture->n_cards;
}

static int make_machine(struct simulator *s, const struct options *o, const char *device_path)
{
	struct timespec t;
	int r;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	r = sim_machine_create(s->machine_path, n_cards(s, o), o->time_scale,
			       (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec,
			       &s->machine);
	if (r < 0)
		return log_error_errno(r, "cannot make %s: %m", s->machine_path);
	if (strlen(device_path) >= sizeof(s->machine->device_ini))
		return log_error_errno(-ENAMETOOLONG, "%s: %m", device_path);
	(void)snprintf(s->machine->device_ini, sizeof(s->machine->device_ini), "%s", device_path);
	return 0;
}

static int make_cards(struct simulator *s, const struct options *o)
{
	for (uint32_t n = n_cards(s, o); s->n_cards < n; s->n_cards++) {
		uint32_t i = s->n_cards;
		struct card_options card = {
			.index = i,
			.bdf = s->capture ? s->capture->cards[i].bdf : NULL,
			.device = s->device,
			.machine = s->machine,
			.plant =
				{
					.gating = o->gating,
					.seed = plant_hash(o->seed, i),
					.time_factor = o->service_factor[i],
					.power_factor = o->power_factor[i],
				},
		};
		int r = card_new(&card, &s->cards[i]);

		if (r < 0)
			return log_error_errno(r, "cannot make card %u: %m", i);
		if (s->capture)
			captured_set_up(s->cards[i], &s->capture->cards[i]);
	}
	return 0;
}

static int add_faults(const struct control_targets *t, const struct options *o)
{
	for (uint32_t i = 0; i < o->n_faults; i++) {
		struct fault_error error = {"out of memory"};
		int r = control_add_fault(t, o->faults[i], &error);

		if (r < 0)
			return log_error_errno(r, "--fault %s: %s", o->faults[i], error.text);
	}
	return 0;
}

static int start_control(struct simulator *s, const struct options *o)
{
	const struct control_targets targets = {
		.machine = s->machine,
		.cards = s->cards,
		.n_cards = s->n_cards,
		.faults = s->faults,
		.tree = s->tree,
		.fs = s->fs,
		.log = s->log,
	};
	int r;

	r = add_faults(&targets, o);
	if (r < 0)
		return r;
	r = control_new(s->control_path, &targets, &s->control);
	return r < 0 ? log_error_errno(r, "cannot make socket %s: %m", s->control_path) : 0;
}

/* In the namespaces: everything that answers when COMMAND looks. */
static int start(struct simulator *s, const struct options *o)
{
	char device_path[PATH_MAX];
	int r;

	if (o->capture)
		r = captured_prepare(o->capture, o->device, o->profiles, s->folder, device_path,
				     &s->capture);
	else
		r = find_device(o, device_path);
	if (r == 0)
		r = load_card(device_path, &s->device);
	if (r == 0)
		r = make_machine(s, o, device_path);
	if (r == 0)
		r = make_cards(s, o);
	if (r < 0)
		return r;
	r = faults_new(s->cards, s->n_cards, &s->faults);
	if (r == 0)
		r = tree_new(s->cards, s->n_cards, &s->tree);
	if (r == 0 && s->capture)
		tree_use_capture(s->tree, s->capture);
	if (r == 0)
		r = write_log_open(s->log_path, s->machine, &s->log);
	if (r == 0)
		r = fs_new(SANDBOX_TREE, s->tree, s->faults, s->log, s->cards, &s->fs);
	if (r < 0)
		return log_error_errno(r, "cannot start: %m");
	return start_control(s, o);
}

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

	if (mount_all(o) < 0 || make_runtime_dir(&s, o) < 0)
		return EXIT_SIMULATOR;
	command = fork_waiting(&wake_fd);
	if (command == 0)
		run_command(o, &s, original_mask);
	if (command < 0) {
		(void)log_error_errno(command, "cannot fork: %m");
		return EXIT_SIMULATOR;
	}
	if (start(&s, o) < 0)
		return EXIT_SIMULATOR;
	wake(&wake_fd);
	status = supervise(command);
	fs_release_all(s.fs);
	return exit_status(status);
}

/* Files of a folder that outlives the simulator, but for the log. */
static void tidy(const struct options *o)
{
	static const char *const names[] = {"machine", "control"};
	char path[PATH_MAX];

	if (!o->runtime_dir)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (make_path(path, sizeof(path), o->runtime_dir, names[i]) == 0)
			(void)unlink(path);
	if (o->capture)
		captured_tidy(o->runtime_dir);
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
	tidy(o);
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
			if (make_path(path, sizeof(path), argv[++i], "control") == 0)
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
	r = parse_options(&options, argc, argv);
	if (r <= 0)
		return r < 0 ? EXIT_SIMULATOR : EXIT_SUCCESS;
	return run(&options);
}
