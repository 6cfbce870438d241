/* SPDX-License-Identifier: Apache-2.0 */
/* cofrisd: the governor daemon (cofrisd(8)). */
#include "actuator/protocol.h"
#include "base/log.h"
#include "daemon/manager.h"
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <sysexits.h>
#include <systemd/sd-daemon.h>

struct arguments {
	const char *config, *runtime_dir, *actuator, *state_dir, *data_dir, *surfaces, *bus;
	const char *record;
	/* Paths made from the above. */
	char *actuator_path, *state_surfaces, *data_surfaces, *pauses;
};

static void arguments_done(struct arguments *a)
{
	free(a->actuator_path);
	free(a->state_surfaces);
	free(a->data_surfaces);
	free(a->pauses);
}

static void help(void)
{
	(void)puts(
		"Usage: cofrisd [OPTION]...\n"
		"Governs GPUs of inference servers: the least power inside the latency objective.\n"
		"\n"
		"  --config FILE      read this file alone, instead of the standard set\n"
		"  --runtime-dir DIR  where worker.sock is made (/run/cofris)\n"
		"  --actuator PATH    the actuator's socket (/run/cofris-actuator/control.sock,\n"
		"                     or DIR/control.sock with --runtime-dir)\n"
		"  --state-dir DIR    surfaces in DIR/surfaces are found first, and pauses are "
		"kept in\n"
		"                     DIR/daemon (/var/lib/cofris)\n"
		"  --data-dir DIR     then those in DIR/surfaces (" COFRIS_DATA_DIR ")\n"
		"  --surfaces DIR     look for surfaces in DIR, and nowhere else\n"
		"  --bus ADDRESS      a bus other than the system's, or 'none'\n"
		"  --record FILE      write every input and decision for cofris-replay\n"
		"  --help, --version");
}

/* 1: go on, 0: done, or -EINVAL. */
static int parse_argv(int argc, char **argv, struct arguments *a)
{
	enum {
		ARG_CONFIG = 256,
		ARG_RUNTIME_DIR,
		ARG_ACTUATOR,
		ARG_STATE_DIR,
		ARG_DATA_DIR,
		ARG_SURFACES,
		ARG_BUS,
		ARG_RECORD,
		ARG_VERSION,
	};
	static const struct option options[] = {
		{"config", required_argument, NULL, ARG_CONFIG},
		{"runtime-dir", required_argument, NULL, ARG_RUNTIME_DIR},
		{"actuator", required_argument, NULL, ARG_ACTUATOR},
		{"state-dir", required_argument, NULL, ARG_STATE_DIR},
		{"data-dir", required_argument, NULL, ARG_DATA_DIR},
		{"surfaces", required_argument, NULL, ARG_SURFACES},
		{"bus", required_argument, NULL, ARG_BUS},
		{"record", required_argument, NULL, ARG_RECORD},
		{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, ARG_VERSION},
		{0},
	};
	const char **values[] = {&a->config,   &a->runtime_dir, &a->actuator, &a->state_dir,
				 &a->data_dir, &a->surfaces,	&a->bus,      &a->record};
	int c;

	while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0) {
		if (c == 'h') {
			help();
			return 0;
		}
		if (c == ARG_VERSION) {
			(void)puts("cofrisd " COFRIS_VERSION);
			return 0;
		}
		if (c < ARG_CONFIG || c >= ARG_VERSION)
			return -EINVAL;
		*values[c - ARG_CONFIG] = optarg;
	}
	if (optind < argc) {
		log_error("Unexpected argument '%s'", argv[optind]);
		return -EINVAL;
	}
	return 1;
}

static int make_paths(struct arguments *a)
{
	const char *state_dir = a->state_dir ? a->state_dir : "/var/lib/cofris";
	int n;

	if (a->actuator)
		n = asprintf(&a->actuator_path, "%s", a->actuator);
	else if (a->runtime_dir)
		n = asprintf(&a->actuator_path, "%s/control.sock", a->runtime_dir);
	else
		n = asprintf(&a->actuator_path, "%s", ACTUATOR_DEFAULT_SOCKET);
	if (n < 0)
		return -ENOMEM;
	n = asprintf(&a->state_surfaces, "%s/surfaces", state_dir);
	if (n >= 0)
		n = asprintf(&a->pauses, "%s/daemon/pauses", state_dir);
	if (n >= 0)
		n = asprintf(&a->data_surfaces, "%s/surfaces",
			     a->data_dir ? a->data_dir : COFRIS_DATA_DIR);
	return n < 0 ? -ENOMEM : 0;
}

/* The connection that a predecessor had put into the service manager's store. */
static int kept_actuator_fd(void)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(/* unset_environment= */ 1, &names), found = -1;

	for (int i = 0; i < n; i++) {
		int fd = SD_LISTEN_FDS_START + i;

		if (found < 0 && strcmp(names[i], "actuator") == 0)
			found = fd;
		else
			(void)close(fd);
		free(names[i]);
	}
	free(names);
	return found;
}

/* The exit status, or a negative errno. */
static int run(struct arguments *a)
{
	_cleanup_(manager_freep) struct manager *m = NULL;
	struct manager_options options = {
		.config_file = a->config,
		.runtime_dir = a->runtime_dir ? a->runtime_dir : "/run/cofris",
		.bus_address = a->bus,
		.record_file = a->record,
	};
	int r;

	r = make_paths(a);
	if (r < 0)
		return r;
	options.actuator_path = a->actuator_path;
	options.pauses_file = a->pauses;
	options.place.folders[0] = a->surfaces ? a->surfaces : a->state_surfaces;
	options.place.folders[1] = a->surfaces ? NULL : a->data_surfaces;
	options.actuator_fd = kept_actuator_fd();
	r = manager_new(&options, &m);
	/* So that the service manager does not try on. */
	if (r == -EBADMSG)
		return EX_CONFIG;
	if (r < 0)
		return r;
	return manager_run(m);
}

int main(int argc, char **argv)
{
	_cleanup_(arguments_done) struct arguments a = {0};
	int r;

	log_init("cofrisd", LOG_INFO);
	r = parse_argv(argc, argv, &a);
	if (r == 0)
		return EXIT_SUCCESS;
	if (r < 0)
		return 2;
	r = run(&a);
	if (r < 0)
		log_error_errno(r, "Stopped: %m");
	return r < 0 ? EXIT_FAILURE : r;
}
