/* SPDX-License-Identifier: Apache-2.0 */
/* Reload: everything new is built beside the old, and swapped in only when all of it is good. */
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
#include <stdarg.h>
#include <string.h>

struct reload {
	struct manager *manager;
	struct config *config;
	struct unit_plan *plans[MANAGER_MAX_UNITS]; /* in the order of the units; NULL: goes */
	struct unit *capped[MANAGER_MAX_UNITS];	    /* whose power cap is another one now */
	size_t n_capped;
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
		if (plan && unit_cap_uw(u, g) != unit_cap_uw(u, &u->config))
			r->capped[r->n_capped++] = u;
		u->config = *g;
		if (plan)
			unit_plan_take(u, g, plan);
		if (manager_observes(m) || m->config->n_models == 0)
			unit_let_go(u, now_ns);
	}
}

/* A shorter interval is in force at once, but no tick is put off: who reloads again and again would
 * keep the daemon from deciding, and the leases would end. */
static void keep_rhythm(struct manager *m, uint64_t now_ns)
{
	uint64_t due_usec = 0, next_usec = (now_ns + m->config->daemon.poll_ns) / NSEC_PER_USEC;

	(void)sd_event_source_get_time(m->tick, &due_usec);
	/* Not set to what it is: one that is due would go to the end of the loop's queue. */
	if (next_usec < due_usec)
		(void)sd_event_source_set_time(m->tick, next_usec);
}

static void swap(struct manager *m, struct reload *r)
{
	uint64_t now_ns = manager_now_ns(m), lease_ns = manager_lease_ns(m);
	struct config *old = m->config;

	m->config = r->config;
	keep_allowed_sessions(m, manager_lease_ns(m) != lease_ns);
	swap_units(m, r, now_ns);
	manager_add_units(m);
	config_free(old);
	totals_follow(&m->totals, m->config);
	bus_forget_told(m->bus);
	m->config_error = (struct config_error){0};
	m->refused = (struct admission_log){0};
	(void)memset(m->masks_stalled, 0, sizeof(m->masks_stalled));
	m->asked_ns = now_ns;
	link_ask_cards(m->link);
	keep_rhythm(m, now_ns);
	/* The rest waits for the tick. */
	for (size_t i = 0; i < r->n_capped; i++)
		early_look(r->capped[i]);
	manager_flush_record(m);
	(void)malloc_trim(0);
}

int manager_reload(struct manager *m, char *why, size_t size)
{
	struct reload reload = {.manager = m, .why = why, .why_size = size};
	struct config_error error = {0};
	struct config_source source = {.file = m->options.config_file};
	int r;

	service_reloading(m);
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
	manager_update_status(m);
	service_ready(m);
	return r;
}

int manager_on_reload(sd_event_source *s _unused_, const struct signalfd_siginfo *si _unused_,
		      void *userdata)
{
	char why[CONFIG_TEXT_MAX];

	(void)manager_reload(userdata, why, sizeof(why));
	return 0;
}
