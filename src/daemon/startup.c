/* SPDX-License-Identifier: Apache-2.0 */
/* How the daemon starts and stops. */
#include "base/log.h"
#include "base/units.h"
#include "daemon/bus.h"
#include "daemon/manager-internal.h"
#include "daemon/service.h"
#include "daemon/session.h"
#include "daemon/unit.h"
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

/* A socket, a memfd and an eventfd per worker, for the largest max_connections. */
#define MANAGER_MAX_FILES 4096
/* Bus and cards answer within milliseconds, or not at all. */
#define MANAGER_STARTUP_USEC  (2 * USEC_PER_SEC)
#define MANAGER_STOP_USEC     (1500 * 1000)
#define MANAGER_ACCURACY_USEC 1000
#define MANAGER_ACCEPT_USEC   (100 * 1000)
#define MANAGER_ACCEPT_BURST  8

static void say_ready(struct manager *m)
{
	m->ready = true;
	m->startup = sd_event_source_disable_unref(m->startup);
	manager_update_status(m);
	service_ready(m);
	log_info("ready");
}

void manager_startup_progress(struct manager *m)
{
	if (!m->ready && m->startup && m->bus_settled && m->cards_settled)
		say_ready(m);
}

static int on_startup_timeout(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	say_ready(userdata);
	return 0;
}

void manager_stop_progress(struct manager *m)
{
	const struct unit *u;

	if (!m->stopping)
		return;
	TAILQ_FOREACH(u, &m->units, entry)
	if (u->claim != UNIT_FREE)
		return;
	(void)sd_event_exit(m->event, 0);
}

static int on_stop_timeout(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct manager *m = userdata;

	log_warning("The actuator does not answer: the lease will restore the cards");
	return sd_event_exit(m->event, 0);
}

static int on_stop(sd_event_source *s _unused_, const struct signalfd_siginfo *si, void *userdata)
{
	struct manager *m = userdata;
	uint64_t now_ns = manager_now_ns(m);
	struct unit *u;

	if (m->stopping)
		return sd_event_exit(m->event, 0);
	log_info("Stopping (%s)", strsignal((int)si->ssi_signo));
	m->stopping = true;
	(void)sd_notify(0, "STOPPING=1");
	m->listen = sd_event_source_disable_unref(m->listen);
	/* A restart is not to be seen on the cards: the next one adopts them with the connection.
	 * If there is none, the service manager closes it, and the actuator gives them back. */
	if (m->connection_kept)
		return sd_event_exit(m->event, 0);
	TAILQ_FOREACH(u, &m->units, entry)
	unit_let_go(u, now_ns);
	(void)sd_event_add_time_relative(m->event, NULL, CLOCK_MONOTONIC, MANAGER_STOP_USEC, 0,
					 on_stop_timeout, m);
	manager_stop_progress(m);
	return 0;
}

static int add_signals(struct manager *m)
{
	sigset_t signals;
	int r;

	(void)sigemptyset(&signals);
	(void)sigaddset(&signals, SIGTERM);
	(void)sigaddset(&signals, SIGINT);
	(void)sigaddset(&signals, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return -errno;
	(void)signal(SIGPIPE, SIG_IGN);
	r = sd_event_add_signal(m->event, NULL, SIGTERM, on_stop, m);
	if (r >= 0)
		r = sd_event_add_signal(m->event, NULL, SIGINT, on_stop, m);
	if (r >= 0)
		r = sd_event_add_signal(m->event, NULL, SIGHUP, manager_on_reload, m);
	return r;
}

static int add_listener(struct manager *m)
{
	_cleanup_(freep) char *path = NULL;
	int fd, r;

	if (asprintf(&path, "%s/worker.sock", m->options.runtime_dir) < 0)
		return -ENOMEM;
	/* Everyone may knock; peers are judged by their credentials. */
	fd = channel_listen(path, 0666);
	if (fd < 0)
		return log_error_errno(fd, "Failed to listen at %s: %m", path);
	r = sd_event_add_io(m->event, &m->listen, fd, EPOLLIN, session_on_connect, m);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	(void)sd_event_source_set_io_fd_own(m->listen, 1);
	(void)sd_event_source_set_priority(m->listen, MANAGER_PRIORITY_STRANGERS);
	return sd_event_source_set_ratelimit(m->listen, MANAGER_ACCEPT_USEC, MANAGER_ACCEPT_BURST);
}

static int add_link(struct manager *m)
{
	struct link_events events = {
		.userdata = m,
		.cards = manager_on_cards,
		.down = manager_on_down,
		.connection = manager_on_connection,
	};

	m->adopting = m->options.actuator_fd >= 0;
	return link_new(m->event, m->options.actuator_path, m->options.actuator_fd, &events,
			&m->link);
}

static int add_timers(struct manager *m)
{
	uint64_t now_usec;
	int r;

	r = sd_event_now(m->event, CLOCK_MONOTONIC, &now_usec);
	if (r < 0)
		return r;
	r = sd_event_add_time(m->event, &m->tick, CLOCK_MONOTONIC,
			      now_usec + m->config->daemon.poll_ns / NSEC_PER_USEC,
			      MANAGER_ACCURACY_USEC, manager_on_tick, m);
	if (r < 0)
		return r;
	service_init(m);
	return sd_event_add_time_relative(m->event, &m->startup, CLOCK_MONOTONIC,
					  MANAGER_STARTUP_USEC, 0, on_startup_timeout, m);
}

static int load_first_config(struct manager *m)
{
	struct config_source source = {.file = m->options.config_file};
	struct config_error error = {0};
	char text[CONFIG_TEXT_MAX];
	int r;

	r = config_load(&source, &m->config, &error);
	if (r < 0) {
		config_error_format(&error, text, sizeof(text));
		log_error("%s", text);
	}
	return r < 0 && r != -ENOMEM ? -EBADMSG : r;
}

static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= MANAGER_MAX_FILES)
		return;
	limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)MANAGER_MAX_FILES);
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int set_up(struct manager *m)
{
	int r;

	raise_file_limit();
	if (cgroup_of("/proc", 0, m->own_cgroup, sizeof(m->own_cgroup)) < 0)
		m->own_cgroup[0] = '\0';
	r = load_first_config(m);
	if (r < 0)
		return r;
	totals_follow(&m->totals, m->config);
	r = sd_event_new(&m->event);
	if (r >= 0)
		r = add_signals(m);
	if (r >= 0)
		r = manager_open_record(m);
	if (r >= 0)
		r = add_listener(m);
	if (r >= 0)
		r = add_link(m);
	if (r < 0)
		return r;
	manager_load_pauses(m);
	manager_watch_devices(m);
	return add_timers(m);
}

int manager_new(const struct manager_options *options, struct manager **ret)
{
	_cleanup_(manager_freep) struct manager *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->options = *options;
	TAILQ_INIT(&m->sessions);
	TAILQ_INIT(&m->units);
	r = set_up(m);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(m);
	return 0;
}

struct manager *manager_free(struct manager *m)
{
	if (!m)
		return NULL;
	/* A loop that failed was never told to stop; what ends here is not to be obeyed any more.
	 */
	m->stopping = true;
	m->bus = bus_free(m->bus);
	while (!TAILQ_EMPTY(&m->units))
		unit_free(TAILQ_FIRST(&m->units));
	while (!TAILQ_EMPTY(&m->sessions))
		session_free(TAILQ_FIRST(&m->sessions));
	link_free(m->link);
	sd_event_source_disable_unref(m->tick);
	sd_event_source_disable_unref(m->listen);
	sd_event_source_disable_unref(m->startup);
	sd_device_monitor_unref(m->devices);
	sd_event_unref(m->event);
	if (m->record)
		(void)fclose(m->record);
	free(m->record_buffer);
	config_free(m->config);
	free(m);
	return NULL;
}

int manager_start(struct manager *m)
{
	int r;

	manager_add_units(m);
	if (m->options.bus_address && strcmp(m->options.bus_address, "none") == 0) {
		m->bus_settled = true;
	} else {
		r = bus_new(m, m->options.bus_address, &m->bus);
		if (r < 0)
			return r;
	}
	link_ask_cards(m->link);
	return 0;
}

int manager_run(struct manager *m)
{
	int r;

	r = manager_start(m);
	return r < 0 ? r : sd_event_loop(m->event);
}
