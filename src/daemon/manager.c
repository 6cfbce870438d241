/* SPDX-License-Identifier: Apache-2.0 */
/* The running daemon: the tick, what the actuator's link reports, status and record. */
#include "base/log.h"
#include "base/units.h"
#include "daemon/bus.h"
#include "daemon/early.h"
#include "daemon/manager-internal.h"
#include "daemon/service.h"
#include "daemon/session.h"
#include "daemon/unit.h"
#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#define MANAGER_ASK_NS	     (10 * NSEC_PER_SEC)
#define MANAGER_ASK_FIRST_NS (500 * NSEC_PER_MSEC)
#define MANAGER_RELEASE_NS   (2 * NSEC_PER_SEC)

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

void manager_flush_record(struct manager *m)
{
	if (m->record && fflush(m->record) != 0)
		end_record(m, -errno);
}

int manager_open_record(struct manager *m)
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
	uint32_t n = 0, n_present = 0, n_governed = 0, n_paused = 0;
	const struct unit *u;

	TAILQ_FOREACH(u, &m->units, entry)
	{
		n++;
		n_present += u->present;
		n_governed += u->claim == UNIT_CLAIMED;
		n_paused += u->present && unit_paused(u);
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
	if (n_paused > 0) {
		size_t length = strlen(text);

		(void)snprintf(text + length, size - length, ", %u paused", n_paused);
	}
}

void manager_update_status(struct manager *m)
{
	char text[sizeof(m->status)];

	describe(m, text, sizeof(text));
	if (strcmp(text, m->status) == 0)
		return;
	(void)strcpy(m->status, text);
	(void)sd_notifyf(0, "STATUS=%s", text);
	log_info("Status: %s", text);
}

/* --- the tick ------------------------------------------------------------------------------- */

static void ask_when_due(struct manager *m, uint64_t now_ns)
{
	bool told = m->cards_changed && now_ns - m->asked_ns >= MANAGER_ASK_FIRST_NS;

	if (now_ns < m->ask_ns && !told)
		return;
	m->cards_changed = false;
	m->asked_ns = now_ns;
	m->ask_pause_ns = MIN(MAX(2 * m->ask_pause_ns, MANAGER_ASK_FIRST_NS), MANAGER_ASK_NS);
	m->ask_ns = now_ns + m->ask_pause_ns;
	link_ask_cards(m->link);
}

static void tick(struct manager *m, uint64_t now_ns)
{
	struct session *s;
	struct unit *u;

	m->last_tick_ns = now_ns;
	manager_expire_orders(m);
	TAILQ_FOREACH(s, &m->sessions, entry)
	if (s->unit)
		session_sample(s, now_ns);
	TAILQ_FOREACH(u, &m->units, entry)
	unit_step(u, now_ns, /* early= */ false);
	TAILQ_FOREACH(s, &m->sessions, entry)
	session_next_interval(s, now_ns, /* early= */ false);
	TAILQ_FOREACH(u, &m->units, entry)
	unit_aim(u);
	TAILQ_FOREACH(u, &m->units, entry)
	unit_apply(u, now_ns);
	TAILQ_FOREACH(u, &m->units, entry)
	{
		unit_note(u);
		early_arm(u);
	}
	TAILQ_FOREACH(s, &m->sessions, entry)
	if (s->unit)
		channel_connection_beat(s->connection);
	manager_flush_record(m);
	ask_when_due(m, now_ns);
	manager_update_status(m);
	bus_tell(m->bus, now_ns);
	service_feed(m, now_ns);
}

int manager_on_tick(sd_event_source *source, uint64_t usec, void *userdata)
{
	struct manager *m = userdata;
	uint64_t poll_usec = m->config->daemon.poll_ns / NSEC_PER_USEC;
	uint64_t now_ns = manager_now_ns(m), next = usec + poll_usec;

	if (m->stopping)
		return 0;
	tick(m, now_ns);
	/* After a tick that came late the rhythm begins anew: one count in an interval of a
	 * fraction of the usual length is the bound of a rate that row 0 does not hold. */
	if (next * NSEC_PER_USEC < now_ns + m->config->daemon.poll_ns / 2)
		next = now_ns / NSEC_PER_USEC + poll_usec;
	(void)sd_event_source_set_time(source, next);
	(void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
	return 0;
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

/* A predecessor's setting is taken over, unless the configuration has changed so that the card is
 * not to be governed: that one goes back at once, for others to claim. */
static void take_over(struct manager *m, const char *bdf)
{
	struct actuator_request request = {.op = ACTUATOR_RELEASE};
	struct unit *u = manager_find_unit(m, bdf);

	if (u)
		unit_adopt(u);
	if (u && u->claim != UNIT_FREE)
		return;
	(void)snprintf(request.bdf, sizeof(request.bdf), "%s", bdf);
	(void)link_call(m->link, &request, MANAGER_RELEASE_NS, /* reply= */ NULL, NULL);
}

void manager_on_cards(void *userdata, const struct actuator_card *cards, const char (*bdfs)[16],
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
	}
	for (uint32_t i = 0; i < n && m->adopting; i++)
		take_over(m, bdfs[i]);
	m->adopting = false;
	m->cards_known = true;
	/* Without device events this is how a card that comes or goes is noticed. */
	m->ask_pause_ns = MANAGER_ASK_NS;
	m->ask_ns = manager_now_ns(m) + m->ask_pause_ns;
	/* What reading surfaces has left behind. */
	(void)malloc_trim(0);
	manager_flush_record(m);
	manager_update_status(m);
	m->cards_settled = true;
	manager_startup_progress(m);
}

void manager_on_down(void *userdata, int error)
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
	manager_update_status(m);
	m->cards_settled = true;
	manager_startup_progress(m);
	if (m->stopping)
		manager_stop_progress(m);
}

/* In the service manager's store the connection outlives us, so that only the lease runs. */
void manager_on_connection(void *userdata, int fd, bool up)
{
	if (up)
		service_keep_connection(userdata, fd);
	else
		service_drop_connection(userdata);
}

void manager_add_units(struct manager *m)
{
	for (uint32_t i = 0; i < m->config->n_gpus; i++)
		if (strcmp(m->config->gpus[i].bdf, "*") != 0)
			(void)unit_for(m, m->config->gpus[i].bdf);
}
