/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/manager.h"
#include "base/log.h"
#include "base/units.h"
#include "daemon/bus.h"
#include "daemon/session.h"
#include "daemon/unit.h"
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

/* A socket, a memfd and an eventfd per worker, for the largest max_connections. */
#define MANAGER_MAX_FILES    4096
#define MANAGER_ASK_NS	     (10 * NSEC_PER_SEC)
#define MANAGER_ASK_FIRST_NS (500 * NSEC_PER_MSEC)
#define MANAGER_MAX_UNITS    LINK_MAX_CARDS
/* Bus and cards answer within milliseconds, or not at all. */
#define MANAGER_STARTUP_USEC  (2 * USEC_PER_SEC)
#define MANAGER_STOP_USEC     (1500 * 1000)
#define MANAGER_EARLY_NS      (100 * NSEC_PER_MSEC)
#define MANAGER_ACCURACY_USEC 1000
#define MANAGER_ACCEPT_USEC   (100 * 1000)
#define MANAGER_ACCEPT_BURST  8
#define MANAGER_FD_NAME	      "actuator"

uint64_t manager_now_ns(const struct manager *m)
{
	uint64_t usec = 0;

	(void)sd_event_now(m->event, CLOCK_MONOTONIC, &usec);
	return usec * NSEC_PER_USEC;
}

uint64_t manager_lease_ns(const struct manager *m)
{
	return MAX(2 * NSEC_PER_SEC, 4 * m->config->daemon.poll_ns);
}

bool manager_observes(const struct manager *m)
{
	return m->config->daemon.mode == CONFIG_OBSERVE;
}

struct unit *manager_find_unit(const struct manager *m, const char *bdf)
{
	struct unit *u;

	TAILQ_FOREACH(u, &m->units, entry)
	if (strcmp(u->bdf, bdf) == 0)
		return u;
	return NULL;
}

/* --- the record ----------------------------------------------------------------------------- */

static void end_record(struct manager *m, int error)
{
	log_errno(LOG_ERR, error, "The record %s ends here: %m", m->options.record_file);
	(void)fclose(TAKE_PTR(m->record));
}

void manager_record(struct manager *m, int n)
{
	if (!m->record)
		return;
	if (n < 0)
		end_record(m, n);
	else if (fwrite(m->record_buffer, 1, (size_t)n, m->record) != (size_t)n)
		end_record(m, -errno);
}

static void flush_record(struct manager *m)
{
	if (m->record && fflush(m->record) != 0)
		end_record(m, -errno);
}

static int open_record(struct manager *m)
{
	if (!m->options.record_file)
		return 0;
	m->record_buffer = malloc(RECORD_CONFIG_BYTES_MAX);
	if (!m->record_buffer)
		return -ENOMEM;
	m->record = fopen(m->options.record_file, "we");
	if (!m->record)
		return log_error_errno(-errno, "Failed to open the record %s: %m",
				       m->options.record_file);
	manager_record(m, record_format_start(m->record_buffer, RECORD_CONFIG_BYTES_MAX));
	return 0;
}

/* --- status --------------------------------------------------------------------------------- */

static void describe(const struct manager *m, char *text, size_t size)
{
	uint32_t n = 0, n_present = 0, n_governed = 0;
	const struct unit *u;

	TAILQ_FOREACH(u, &m->units, entry)
	{
		n++;
		n_present += u->present;
		n_governed += u->claim == UNIT_CLAIMED;
	}
	if (m->config->n_models == 0)
		(void)snprintf(text, size, "no [model] section: nothing to govern");
	else if (m->actuator_error < 0)
		(void)snprintf(text, size, "no actuator at %s: %s", m->options.actuator_path,
			       strerror(-m->actuator_error));
	else if (!m->cards_known)
		(void)snprintf(text, size, "asking for the cards");
	else if (n == 0)
		(void)snprintf(text, size, "no card with an enabled [gpu] section");
	else if (n_present == 0)
		(void)snprintf(text, size, "no configured card is present");
	else if (manager_observes(m))
		(void)snprintf(text, size, "observing %u card%s", n_present,
			       n_present == 1 ? "" : "s");
	else
		(void)snprintf(text, size, "governing %u of %u card%s", n_governed, n_present,
			       n_present == 1 ? "" : "s");
}

static void update_status(struct manager *m)
{
	char text[sizeof(m->status)];

	describe(m, text, sizeof(text));
	if (strcmp(text, m->status) == 0)
		return;
	(void)strcpy(m->status, text);
	(void)sd_notifyf(0, "STATUS=%s", text);
	log_info("Status: %s", text);
	bus_emit_changed(m->bus);
}

/* --- the tick ------------------------------------------------------------------------------- */

static bool cards_missing(const struct manager *m)
{
	const struct unit *u;

	if (m->actuator_error < 0 || TAILQ_EMPTY(&m->units))
		return true;
	TAILQ_FOREACH(u, &m->units, entry)
	if (!u->present)
		return true;
	return false;
}

static void ask_when_due(struct manager *m, uint64_t now_ns)
{
	if (now_ns < m->ask_ns || !cards_missing(m))
		return;
	m->ask_pause_ns = MIN(MAX(2 * m->ask_pause_ns, MANAGER_ASK_FIRST_NS), MANAGER_ASK_NS);
	m->ask_ns = now_ns + m->ask_pause_ns;
	link_ask_cards(m->link, now_ns);
}

/* Only a tick that has come to its end says that the daemon lives. */
static void feed_watchdog(struct manager *m, uint64_t now_ns)
{
	if (m->watchdog_ns == 0 || now_ns - m->last_watchdog_ns < m->watchdog_ns / 4)
		return;
	m->last_watchdog_ns = now_ns;
	(void)sd_notify(0, "WATCHDOG=1");
}

static void tick(struct manager *m, uint64_t now_ns)
{
	struct session *s;
	struct unit *u;

	m->last_tick_ns = now_ns;
	TAILQ_FOREACH(s, &m->sessions, entry)
	if (s->unit)
		session_sample(s, now_ns);
	TAILQ_FOREACH(u, &m->units, entry)
	unit_step(u, now_ns);
	TAILQ_FOREACH(s, &m->sessions, entry)
	if (s->unit)
		channel_connection_beat(s->connection);
	flush_record(m);
	ask_when_due(m, now_ns);
	update_status(m);
	feed_watchdog(m, now_ns);
}

static int on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *m = userdata;
	uint64_t poll_usec = m->config->daemon.poll_ns / NSEC_PER_USEC;
	uint64_t now_ns = manager_now_ns(m), next = usec + poll_usec;

	if (m->stopping)
		return 0;
	tick(m, now_ns);
	/* After a stop of the process, or an early tick, the rhythm begins anew. */
	if (next * NSEC_PER_USEC <= now_ns)
		next = now_ns / NSEC_PER_USEC + poll_usec;
	(void)sd_event_source_set_time(source, next);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
}

void manager_early_tick(struct manager *m)
{
	uint64_t now_ns = manager_now_ns(m);
	uint64_t at_ns = MAX(now_ns, m->last_tick_ns + MANAGER_EARLY_NS);
	uint64_t due_usec = 0;

	(void)sd_event_source_get_time(m->tick, &due_usec);
	if (at_ns / NSEC_PER_USEC < due_usec)
		(void)sd_event_source_set_time(m->tick, at_ns / NSEC_PER_USEC);
}

/* --- the actuator --------------------------------------------------------------------------- */

static struct unit *unit_for(struct manager *m, const char *bdf)
{
	const struct config_gpu *g = config_find_gpu(m->config, bdf);
	struct unit *u = manager_find_unit(m, bdf);
	uint32_t n = 0;
	const struct unit *other;
	int r;

	if (u || !g || !g->enabled)
		return u;
	TAILQ_FOREACH(other, &m->units, entry)
	n++;
	if (n >= MANAGER_MAX_UNITS)
		return NULL;
	r = unit_new(m, bdf, g, &u);
	if (r < 0) {
		log_error_errno(r, "%s: cannot be governed: %m", bdf);
		return NULL;
	}
	return u;
}

static const struct actuator_card *find_listed(const struct unit *u,
					       const struct actuator_card *cards,
					       const char (*bdfs)[16], uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(u->bdf, bdfs[i]) == 0)
			return &cards[i];
	return NULL;
}

static void on_cards(void *userdata, const struct actuator_card *cards, const char (*bdfs)[16],
		     uint32_t n)
{
	struct manager *m = userdata;
	struct unit *u;

	m->actuator_error = 0;
	for (uint32_t i = 0; i < n; i++)
		(void)unit_for(m, bdfs[i]);
	TAILQ_FOREACH(u, &m->units, entry)
	{
		const struct actuator_card *card = find_listed(u, cards, bdfs, n);

		if (card)
			unit_found(u, card);
		else if (u->present)
			unit_gone(u);
		if (card && m->adopting)
			unit_adopt(u);
	}
	m->adopting = false;
	m->cards_known = true;
	m->ask_pause_ns = cards_missing(m) ? MANAGER_ASK_NS : 0;
	m->ask_ns = manager_now_ns(m) + m->ask_pause_ns;
	/* What reading surfaces has left behind. */
	(void)malloc_trim(0);
	flush_record(m);
	update_status(m);
	m->cards_settled = true;
	manager_startup_progress(m);
}

static void on_down(void *userdata, int error)
{
	struct manager *m = userdata;
	struct unit *u;

	if (m->actuator_error != error)
		log_errno(LOG_WARNING, error, "No actuator at %s: %m", m->options.actuator_path);
	if (m->actuator_error == 0) {
		m->ask_pause_ns = 0;
		m->ask_ns = manager_now_ns(m) + MANAGER_ASK_FIRST_NS;
	}
	m->actuator_error = error;
	m->adopting = false;
	TAILQ_FOREACH(u, &m->units, entry)
	unit_link_down(u);
	update_status(m);
	m->cards_settled = true;
	manager_startup_progress(m);
	if (m->stopping)
		manager_stop_progress(m);
}

/* In the service manager's store the connection outlives a crash, so that only the lease runs. */
static void on_connection(void *userdata _unused_, int fd, bool up)
{
	if (up)
		(void)sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=" MANAGER_FD_NAME, &fd, 1);
	else
		(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" MANAGER_FD_NAME);
}

/* --- configuration -------------------------------------------------------------------------- */

static void add_configured_units(struct manager *m)
{
	for (uint32_t i = 0; i < m->config->n_gpus; i++)
		if (strcmp(m->config->gpus[i].bdf, "*") != 0)
			(void)unit_for(m, m->config->gpus[i].bdf);
}

struct reload {
	struct manager *manager;
	struct config *config;
	struct unit_plan *plans[MANAGER_MAX_UNITS]; /* in the order of the units; NULL: goes */
	char *why;
	size_t why_size;
};

static int reload_failed(struct reload *r, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int reload_failed(struct reload *r, int error, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(r->why, r->why_size, format, ap);
	va_end(ap);
	return error;
}

/* A model that has a table now must have one afterwards: a broken surface is an error. A model that
 * has none may go on without. */
static int check_tables(struct reload *r, const struct unit *u, const struct unit_plan *plan)
{
	for (uint32_t i = 0; u->plan && i < u->plan->n_models; i++) {
		const char *name = r->manager->config->models[i].name;
		const struct config_model *m = config_find_model(r->config, name);
		const struct model_table *t = m ? &plan->tables[m - r->config->models] : NULL;

		if (u->plan->tables[i].table && t && !t->table)
			return reload_failed(r, t->error, "model %s on %s: %s", name, u->bdf,
					     t->why ? t->why : strerror(-t->error));
	}
	return 0;
}

static const struct config_gpu *enabled_section(const struct config *c, const struct unit *u)
{
	const struct config_gpu *g = config_find_gpu(c, u->bdf);

	return g && g->enabled ? g : NULL;
}

static int build_plans(struct reload *r)
{
	struct unit *u;
	size_t i = 0;
	int error;

	TAILQ_FOREACH(u, &r->manager->units, entry)
	{
		const struct config_gpu *g = enabled_section(r->config, u);
		struct unit_plan **plan = &r->plans[i++];

		if (!g || !u->ever_present)
			continue;
		error = unit_plan_new(u, r->config, g, plan);
		if (error < 0)
			return reload_failed(r, error, "%s: %s", u->bdf, strerror(-error));
		error = check_tables(r, u, *plan);
		if (error < 0)
			return error;
	}
	return 0;
}

/* Workers of models that are gone, or whose user is no longer allowed, are hung up; and all of them
 * if the lease changes, which they learn at their next connection. */
static void keep_allowed_sessions(struct manager *m, bool lease_changed)
{
	struct session *s, *next;

	for (s = TAILQ_FIRST(&m->sessions); s; s = next) {
		const struct config_model *model = config_find_model(m->config, s->model);
		uid_t uid = channel_connection_peer(s->connection)->uid;

		next = TAILQ_NEXT(s, entry);
		if (!s->unit)
			continue;
		if (!model || !config_allows(model, uid) || lease_changed)
			session_free(s);
		else
			s->model_index = (uint32_t)(model - m->config->models);
	}
}

static void swap_units(struct manager *m, struct reload *r, uint64_t now_ns)
{
	struct unit *u, *next;
	size_t i = 0;

	for (u = TAILQ_FIRST(&m->units); u; u = next) {
		const struct config_gpu *g = enabled_section(m->config, u);
		struct unit_plan *plan = r->plans[i++];

		next = TAILQ_NEXT(u, entry);
		if (!g) {
			unit_retire(u);
			continue;
		}
		u->config = *g;
		if (plan)
			unit_plan_take(u, g, plan);
		if (manager_observes(m) || m->config->n_models == 0)
			unit_let_go(u, now_ns);
	}
}

static void swap(struct manager *m, struct reload *r)
{
	uint64_t now_ns = manager_now_ns(m), lease_ns = manager_lease_ns(m);
	struct config *old = m->config;

	m->config = r->config;
	keep_allowed_sessions(m, manager_lease_ns(m) != lease_ns);
	swap_units(m, r, now_ns);
	add_configured_units(m);
	config_free(old);
	m->config_error = (struct config_error){0};
	m->refused = (struct admission_log){0};
	m->ask_ns = now_ns;
	link_ask_cards(m->link, now_ns);
	(void)sd_event_source_set_time(m->tick,
				       (now_ns + m->config->daemon.poll_ns) / NSEC_PER_USEC);
	flush_record(m);
	(void)malloc_trim(0);
}

int manager_reload(struct manager *m, char *why, size_t size)
{
	struct reload reload = {.manager = m, .why = why, .why_size = size};
	struct config_error error = {0};
	struct config_source source = {.file = m->options.config_file};
	int r;

	(void)sd_notify(0, "RELOADING=1");
	r = config_load(&source, &reload.config, &error);
	if (r < 0)
		config_error_format(&error, why, size);
	else
		r = build_plans(&reload);
	if (r >= 0) {
		swap(m, &reload);
		log_info("Configuration loaded again");
	} else {
		for (size_t i = 0; i < MANAGER_MAX_UNITS; i++)
			unit_plan_free(reload.plans[i]);
		config_free(reload.config);
		if (!error.text[0])
			(void)snprintf(error.text, sizeof(error.text), "%s", why);
		m->config_error = error;
		log_error("Configuration not loaded, the old one stays: %s", why);
	}
	update_status(m);
	bus_emit_changed(m->bus);
	(void)sd_notify(0, "READY=1");
	return r;
}

static int on_reload(sd_event_source *s _unused_, const struct signalfd_siginfo *si _unused_,
		     void *userdata)
{
	char why[CONFIG_TEXT_MAX];

	(void)manager_reload(userdata, why, sizeof(why));
	return 0;
}

/* --- start and stop ------------------------------------------------------------------------- */

static void say_ready(struct manager *m)
{
	m->ready = true;
	m->startup = sd_event_source_disable_unref(m->startup);
	update_status(m);
	(void)sd_notify(0, "READY=1");
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
		r = sd_event_add_signal(m->event, NULL, SIGHUP, on_reload, m);
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
	return sd_event_source_set_ratelimit(m->listen, MANAGER_ACCEPT_USEC, MANAGER_ACCEPT_BURST);
}

static int add_link(struct manager *m)
{
	struct link_events events = {
		.userdata = m,
		.cards = on_cards,
		.down = on_down,
		.connection = on_connection,
	};

	m->adopting = m->options.actuator_fd >= 0;
	return link_new(m->event, m->options.actuator_path, m->options.actuator_fd, &events,
			&m->link);
}

static int add_timers(struct manager *m)
{
	uint64_t now_usec, watchdog_usec = 0;
	int r;

	r = sd_event_now(m->event, CLOCK_MONOTONIC, &now_usec);
	if (r < 0)
		return r;
	r = sd_event_add_time(m->event, &m->tick, CLOCK_MONOTONIC,
			      now_usec + m->config->daemon.poll_ns / NSEC_PER_USEC,
			      MANAGER_ACCURACY_USEC, on_tick, m);
	if (r < 0)
		return r;
	if (sd_watchdog_enabled(0, &watchdog_usec) > 0)
		m->watchdog_ns = watchdog_usec * NSEC_PER_USEC;
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
	return r;
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
	r = sd_event_new(&m->event);
	if (r >= 0)
		r = add_signals(m);
	if (r >= 0)
		r = open_record(m);
	if (r >= 0)
		r = add_listener(m);
	if (r >= 0)
		r = add_link(m);
	if (r >= 0)
		r = add_timers(m);
	return r;
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
	m->bus = bus_free(m->bus);
	while (!TAILQ_EMPTY(&m->units))
		unit_free(TAILQ_FIRST(&m->units));
	while (!TAILQ_EMPTY(&m->sessions))
		session_free(TAILQ_FIRST(&m->sessions));
	link_free(m->link);
	sd_event_source_disable_unref(m->tick);
	sd_event_source_disable_unref(m->listen);
	sd_event_source_disable_unref(m->startup);
	sd_event_unref(m->event);
	if (m->record)
		(void)fclose(m->record);
	free(m->record_buffer);
	config_free(m->config);
	free(m);
	return NULL;
}

int manager_run(struct manager *m)
{
	int r = 0;

	add_configured_units(m);
	if (m->options.bus_address && strcmp(m->options.bus_address, "none") == 0)
		m->bus_settled = true;
	else
		r = bus_new(m, m->options.bus_address, &m->bus);
	if (r < 0)
		return r;
	link_ask_cards(m->link, manager_now_ns(m));
	r = sd_event_loop(m->event);
	if (m->actuator_error == 0)
		on_connection(m, -1, /* up= */ false);
	return r;
}
