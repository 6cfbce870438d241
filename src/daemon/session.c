/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/session.h"
#include "base/log.h"
#include "base/units.h"
#include "daemon/early.h"
#include "daemon/group.h"
#include "daemon/unit.h"
#include <errno.h>
#include <string.h>

/* More than these at once wait for the next turn of the loop, behind the tick. */
#define SESSION_ACCEPT_MAX 16
#define SESSION_HELLO_USEC (1 * USEC_PER_SEC)
#define SESSION_WAKE_USEC  (100 * 1000)

struct session *session_free(struct session *s)
{
	if (!s)
		return NULL;
	if (s->unit)
		unit_remove_worker(s->unit, s);
	TAILQ_REMOVE(&s->manager->sessions, s, entry);
	s->manager->n_sessions--;
	if (s->n_units > 1)
		group_update(s->manager);
	sd_event_source_disable_unref(s->io);
	sd_event_source_disable_unref(s->wake);
	sd_event_source_disable_unref(s->hello_timer);
	channel_connection_free(s->connection);
	free(s);
	return NULL;
}

/* Refusals come from strangers, so each user's is logged once. */
static void refuse(struct session *s, struct admission_log *log, int error, const char *why)
{
	const struct channel_peer *peer = channel_connection_peer(s->connection);

	if (admission_log_once(log, peer->uid))
		log_warning("Refused a worker (pid %d, uid %u): %s", peer->pid, peer->uid, why);
	channel_connection_refuse(s->connection, error, why);
	session_free(s);
}

static int on_wake(sd_event_source *source _unused_, int fd _unused_, uint32_t revents _unused_,
		   void *userdata)
{
	struct session *s = userdata;

	if (channel_connection_take_wake(s->connection) > 0)
		early_wake(s);
	return 0;
}

/* The worker can write its eventfd as often as it likes; the loop looks 10 times a second. */
static int watch_wake(struct session *s)
{
	int r;

	r = sd_event_add_io(s->manager->event, &s->wake, channel_connection_wake_fd(s->connection),
			    EPOLLIN, on_wake, s);
	if (r < 0)
		return r;
	return sd_event_source_set_ratelimit(s->wake, SESSION_WAKE_USEC, 1);
}

static void add_card(struct session *s, struct unit *u)
{
	/* Partitions of a card share its clock. */
	for (uint32_t i = 0; i < s->n_units; i++)
		if (s->units[i] == u)
			return;
	s->units[s->n_units++] = u;
}

static int find_only_card(struct session *s, char why[ADMISSION_TEXT])
{
	struct unit *u = TAILQ_FIRST(&s->manager->units);

	if (!u || TAILQ_NEXT(u, entry)) {
		(void)snprintf(why, ADMISSION_TEXT,
			       u ? "several cards are governed: the worker must name its"
				 : "no card is governed");
		return -ENODEV;
	}
	add_card(s, u);
	return 0;
}

/* The cards that a HELLO names, or the only one there is. */
static int find_cards(struct session *s, const struct channel_hello *hello,
		      char why[ADMISSION_TEXT])
{
	if (hello->n_devices == 0)
		return find_only_card(s, why);
	for (uint32_t i = 0; i < hello->n_devices; i++) {
		struct unit *u = manager_find_unit(s->manager, hello->devices[i].bdf);

		if (!u) {
			s->n_units = 0;
			(void)snprintf(why, ADMISSION_TEXT,
				       "card %s is not governed: no enabled [gpu] section, or no "
				       "such card",
				       hello->devices[i].bdf);
			return -ENODEV;
		}
		add_card(s, u);
	}
	return 0;
}

static int join(struct session *s, const struct channel_hello *hello, char why[ADMISSION_TEXT])
{
	struct manager *m = s->manager;
	const struct channel_peer *peer = channel_connection_peer(s->connection);
	int r;

	r = admission_judge(m->config, peer, hello, why);
	if (r < 0)
		return r;
	r = find_cards(s, hello, why);
	if (r < 0)
		return r;
	/* Allowed since a reload, perhaps. */
	s->stranger = false;
	(void)strcpy(s->model, hello->model);
	(void)strcpy(s->instance, hello->instance);
	s->model_index = (uint32_t)(config_find_model(m->config, hello->model) - m->config->models);
	s->follows_mask = hello->follows & CHANNEL_FOLLOWS_CU_MASK;
	s->follows_batch = hello->follows & CHANNEL_FOLLOWS_BATCH;
	s->counts = !(hello->reports & CHANNEL_REPORTS_NO_REQUESTS);
	if (cgroup_of("/proc", peer->pid, s->cgroup, sizeof(s->cgroup)) < 0)
		s->cgroup[0] = '\0';
	meter_init(&s->meter, manager_now_ns(m), hello->reports & CHANNEL_REPORTS_STARTS);
	r = channel_connection_welcome(s->connection, manager_lease_ns(m));
	if (r >= 0)
		r = watch_wake(s);
	if (r >= 0)
		r = unit_add_worker(s->units[0], s);
	if (r >= 0)
		group_update(m);
	else
		(void)snprintf(why, ADMISSION_TEXT, "no room for another worker: %s", strerror(-r));
	return r;
}

static int on_message(sd_event_source *source _unused_, int fd _unused_, uint32_t revents _unused_,
		      void *userdata)
{
	struct session *s = userdata;
	const struct channel_hello *hello;
	char text[ADMISSION_TEXT];
	const char *why = "";
	int r;

	r = channel_connection_receive(s->connection, &hello, &why);
	if (r == 0)
		return 0;
	if (r == -ECONNRESET) {
		session_free(s);
		return 0;
	}
	if (r < 0) {
		refuse(s, &s->manager->misbehaved, r, why);
		return 0;
	}
	r = join(s, hello, text);
	if (r < 0) {
		refuse(s, &s->manager->refused, r, text);
		return 0;
	}
	s->hello_timer = sd_event_source_disable_unref(s->hello_timer);
	return 0;
}

static int on_hello_timeout(sd_event_source *source _unused_, uint64_t usec _unused_,
			    void *userdata)
{
	struct session *s = userdata;

	refuse(s, &s->manager->misbehaved, -ETIMEDOUT, "no HELLO within a second");
	return 0;
}

static struct admission_counts count_connections(const struct manager *m, uid_t uid)
{
	struct admission_counts n = {.all = m->n_sessions};
	const struct session *s;

	TAILQ_FOREACH(s, &m->sessions, entry)
	{
		n.of_uid += channel_connection_peer(s->connection)->uid == uid;
		n.strangers += s->stranger;
	}
	return n;
}

static int session_watch(struct session *s)
{
	sd_event *event = s->manager->event;
	int r;

	r = sd_event_add_io(event, &s->io, channel_connection_fd(s->connection), EPOLLIN,
			    on_message, s);
	if (r < 0)
		return r;
	return sd_event_add_time_relative(event, &s->hello_timer, CLOCK_MONOTONIC,
					  SESSION_HELLO_USEC, 10000, on_hello_timeout, s);
}

static int session_new(struct manager *m, struct channel_connection **connection)
{
	const struct channel_peer *peer = channel_connection_peer(*connection);
	struct admission_counts n = count_connections(m, peer->uid);
	bool stranger = admission_is_stranger(m->config, peer->uid);
	int r = admission_limit(&m->config->daemon, &n, stranger);
	struct session *s;

	if (r < 0) {
		const char *why =
			r == -EUSERS ? "too many connections of this user" : "too many connections";

		if (admission_log_once(&m->misbehaved, peer->uid))
			log_warning("Refused a connection (pid %d, uid %u): %s", peer->pid,
				    peer->uid, why);
		channel_connection_refuse(*connection, r, why);
		return r;
	}
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->manager = m;
	s->stranger = stranger;
	s->connection = TAKE_PTR(*connection);
	TAILQ_INSERT_TAIL(&m->sessions, s, entry);
	m->n_sessions++;
	r = session_watch(s);
	if (r < 0)
		session_free(s);
	return r;
}

int session_on_connect(sd_event_source *source _unused_, int fd, uint32_t revents _unused_,
		       void *userdata)
{
	struct manager *m = userdata;

	for (unsigned int i = 0; i < SESSION_ACCEPT_MAX; i++) {
		_cleanup_(channel_connection_freep) struct channel_connection *c = NULL;
		int r;

		r = channel_accept(fd, manager_now_ns(m), &c);
		if (r == -EAGAIN)
			break;
		if (r < 0 && r != m->accept_error)
			log_errno(LOG_WARNING, r, "Failed to accept a worker's connection: %m");
		m->accept_error = r;
		if (r < 0)
			break;
		(void)session_new(m, &c);
	}
	return 0;
}

bool session_on(const struct session *s, const struct unit *u)
{
	for (uint32_t i = 0; s->unit && i < s->n_units; i++)
		if (s->units[i] == u)
			return true;
	return false;
}

void session_sample(struct session *s, uint64_t now_ns)
{
	struct channel_sample sample;
	int r;

	r = channel_connection_sample(s->connection, &sample);
	meter_feed(&s->meter, now_ns, r, &sample);
	if (r >= 0)
		unit_acknowledged(s->unit, s, sample.applied_epoch);
}

void session_direct(struct session *s, const struct session_directive *d,
		    struct channel_directive *directive)
{
	directive->epoch = d->epoch;
	directive->cu_mask_bits = d->mask.n_bits;
	(void)memcpy(directive->cu_mask, d->mask.words, sizeof(d->mask.words));
	s->directives[s->n_directives++ % SESSION_DIRECTIVES] = *d;
	channel_connection_direct(s->connection, directive);
}

const struct session_directive *session_wanted(const struct session *s)
{
	if (s->n_directives == 0)
		return NULL;
	return &s->directives[(s->n_directives - 1) % SESSION_DIRECTIVES];
}

const struct session_directive *session_acknowledged(const struct session *s)
{
	for (uint32_t i = 0; i < MIN(s->n_directives, (uint32_t)SESSION_DIRECTIVES); i++)
		if (s->directives[i].epoch == s->meter.last.applied_epoch)
			return &s->directives[i];
	return NULL;
}

void session_next_interval(struct session *s, uint64_t now_ns, bool early)
{
	for (uint32_t i = 0; s->unit && i < s->n_units; i++)
		if (s->units[i]->filled) {
			totals_add(&s->manager->totals.totals[s->model_index], &s->meter.base,
				   &s->meter.last);
			meter_next_interval(&s->meter, now_ns, early);
			return;
		}
}
