/* SPDX-License-Identifier: Apache-2.0 */
/* What operators' holds and pauses are to the cards. An order is obeyed by a step that is brought
 * forward; ends that come with time are looked for at each tick. */
#include "base/log.h"
#include "base/units.h"
#include "daemon/early.h"
#include "daemon/manager-internal.h"
#include "daemon/unit-internal.h"
#include <errno.h>
#include <string.h>
#include <systemd/sd-bus.h>

uint64_t manager_wall_usec(const struct manager *m)
{
	uint64_t usec = 0;

	(void)sd_event_now(m->event, CLOCK_REALTIME, &usec);
	return usec;
}

/* --- what stands for a card and its models -------------------------------------------------- */

bool unit_paused(const struct unit *u)
{
	const struct manager *m = u->manager;

	return holds_any(&m->holds, HOLD_PAUSE, u->bdf) || pauses_find(&m->pauses, u->bdf);
}

static bool is_held(const struct manager *m, uint32_t model, enum hold_level level)
{
	return holds_any(&m->holds, level, m->config->models[model].name);
}

/* Of enum governor_card_flag. */
static uint32_t flags_of(const struct unit *u, const struct governor_input *in)
{
	uint32_t flags = unit_paused(u) ? GOVERNOR_CARD_PAUSED : 0;

	for (uint32_t i = 0; i < u->plan->n_models; i++)
		if (in->models[i].workers > 0 && is_held(u->manager, i, HOLD_FULL_SPEED))
			flags |= GOVERNOR_CARD_HOLD_FULL;
	return flags;
}

void unit_fill_orders(const struct unit *u, struct governor_input *in)
{
	in->flags |= flags_of(u, in);
	for (uint32_t i = 0; i < u->plan->n_models; i++)
		in->models[i].held =
			in->models[i].workers > 0 && is_held(u->manager, i, HOLD_RATED);
}

static bool is_obeyed(const struct unit *u)
{
	const uint32_t orders = GOVERNOR_CARD_PAUSED | GOVERNOR_CARD_HOLD_FULL;
	struct governor_input wanted;

	if (!u->plan || !u->decided)
		return true;
	wanted = u->input;
	wanted.flags &= ~orders;
	unit_fill_orders(u, &wanted);
	if (wanted.flags != u->input.flags)
		return false;
	for (uint32_t i = 0; i < u->plan->n_models; i++)
		if (wanted.models[i].held != u->input.models[i].held)
			return false;
	return true;
}

static void obey(struct manager *m)
{
	struct unit *u;

	TAILQ_FOREACH(u, &m->units, entry)
	if (!is_obeyed(u))
		early_look(u);
	manager_flush_record(m);
	manager_update_status(m);
}

/* --- holds, and pauses that end with their owner -------------------------------------------- */

static const char *what_of(const struct hold *h)
{
	static const char *const words[HOLD_LEVELS] = {
		[HOLD_RATED] = "the rated rate for",
		[HOLD_FULL_SPEED] = "full speed for",
		[HOLD_PAUSE] = "a pause of",
	};

	return words[h->level];
}

int manager_hold(struct manager *m, const struct hold *h, uint32_t *ret_cookie)
{
	struct hold *entry;
	int r;

	r = holds_add(&m->holds, h, &entry);
	if (r < 0)
		return r;
	entry->since_ns = manager_now_ns(m);
	log_info("Hold %u: %s %s, by uid %u, pid %d (%s): %s", entry->cookie, what_of(h),
		 h->subject, h->uid, h->pid, h->comm, h->reason);
	*ret_cookie = entry->cookie;
	obey(m);
	return 0;
}

static void drop(struct manager *m, struct hold *h, const char *why)
{
	log_info("Hold %u: %s %s has ended: it %s", h->cookie, what_of(h), h->subject, why);
	sd_bus_track_unref(h->track);
	(void)holds_remove(&m->holds, h->cookie);
}

void manager_release(struct manager *m, uint32_t cookie, const char *why)
{
	struct hold *h = holds_find(&m->holds, cookie);

	if (!h)
		return;
	drop(m, h, why);
	obey(m);
}

void manager_release_holds(struct manager *m)
{
	if (m->holds.n == 0)
		return;
	while (m->holds.n > 0)
		drop(m, &m->holds.entries[m->holds.n - 1],
		     m->stopping ? "ends with the daemon" : "has lost the bus");
	obey(m);
}

/* --- pauses that are kept ------------------------------------------------------------------- */

/* What is kept and what holds are the same: where the file cannot be written, nothing changes. */
static int change_pauses(struct manager *m, const struct pauses *changed)
{
	int r;

	if (!m->options.pauses_file)
		return -ENOENT;
	r = pauses_save(m->options.pauses_file, changed);
	if (r < 0)
		return log_error_errno(r, "Failed to write %s: %m", m->options.pauses_file);
	m->pauses = *changed;
	return 0;
}

int manager_keep_pause(struct manager *m, const struct pause *pause)
{
	struct pauses changed = m->pauses;
	int r;

	r = pauses_add(&changed, pause);
	if (r >= 0)
		r = change_pauses(m, &changed);
	if (r < 0)
		return r;
	m->pauses_error[0] = '\0';
	log_info("Paused %s, %s, by uid %u: %s", pause->gpu,
		 pause->until_usec > 0 ? "for a time" : "until it is resumed", pause->uid,
		 pause->reason);
	obey(m);
	return 0;
}

bool manager_has_pause_of(const struct manager *m, const char *gpu)
{
	const struct pause *p = pauses_find(&m->pauses, gpu);

	if (p && strcmp(p->gpu, gpu) == 0)
		return true;
	for (uint32_t i = 0; i < m->holds.n; i++)
		if (m->holds.entries[i].level == HOLD_PAUSE &&
		    strcmp(m->holds.entries[i].subject, gpu) == 0)
			return true;
	return false;
}

int manager_resume(struct manager *m, const char *gpu)
{
	struct pauses changed = m->pauses;
	int r;

	if (pauses_remove(&changed, gpu) > 0) {
		r = change_pauses(m, &changed);
		if (r < 0)
			return r;
	}
	for (uint32_t i = m->holds.n; i-- > 0;) {
		struct hold *h = &m->holds.entries[i];

		if (h->level == HOLD_PAUSE &&
		    (strcmp(gpu, "*") == 0 || strcmp(h->subject, gpu) == 0))
			drop(m, h, "was resumed");
	}
	m->pauses_error[0] = '\0';
	log_info("Resumed %s", gpu);
	obey(m);
	return 0;
}

/* A file that is not believed is kept for who wants to see it, and pauses nothing. */
void manager_load_pauses(struct manager *m)
{
	_cleanup_(freep) char *aside = NULL;
	const char *path = m->options.pauses_file;
	uint32_t line = 0;
	int r;

	r = path ? pauses_load(path, &m->pauses, &line) : 0;
	if (r >= 0) {
		(void)pauses_expire(&m->pauses, manager_wall_usec(m));
		for (uint32_t i = 0; i < m->pauses.n; i++)
			log_info("Paused %s since before this start: %s", m->pauses.entries[i].gpu,
				 m->pauses.entries[i].reason);
		return;
	}
	if (r == -EBADMSG)
		(void)snprintf(m->pauses_error, sizeof(m->pauses_error),
			       "%s:%u: no line of a pause", path, line);
	else
		(void)snprintf(m->pauses_error, sizeof(m->pauses_error), "%s: %s", path,
			       strerror(-r));
	log_warning("%s: no card is paused by this file", m->pauses_error);
	if (asprintf(&aside, "%s.bad", path) >= 0 && rename(path, aside) < 0)
		log_errno(LOG_WARNING, -errno, "Failed to set %s aside: %m", path);
}

/* --- ends that come with time --------------------------------------------------------------- */

void manager_expire_orders(struct manager *m)
{
	uint64_t now_usec = manager_wall_usec(m);
	struct hold *h;

	/* What is over is left out at the next start, too, so a disk that is full is no matter. */
	if (pauses_expire(&m->pauses, now_usec) > 0) {
		struct pauses left = m->pauses;

		(void)change_pauses(m, &left);
		log_info("A pause has ended with its time");
	}
	while ((h = holds_expired(&m->holds, now_usec)))
		drop(m, h, "was for so long");
}
