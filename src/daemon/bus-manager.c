/* SPDX-License-Identifier: Apache-2.0 */
/* org.cofris1.Manager: what the daemon as a whole shows, and the table of its methods. */
#include "daemon/bus-changes.h"
#include "daemon/status.h"
#include "daemon/unit.h"
#include <errno.h>

static int get_version(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		       const char *property _unused_, sd_bus_message *reply,
		       void *userdata _unused_, sd_bus_error *error _unused_)
{
	return sd_bus_message_append(reply, "s", COFRIS_VERSION);
}

static int get_mode(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		    const char *property _unused_, sd_bus_message *reply, void *userdata,
		    sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;

	return sd_bus_message_append(reply, "s", config_mode_name(m->config->daemon.mode));
}

static int get_status(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		      const char *property _unused_, sd_bus_message *reply, void *userdata,
		      sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;

	return sd_bus_message_append(reply, "s", m->status);
}

static int get_simulated(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
			 const char *property _unused_, sd_bus_message *reply, void *userdata,
			 sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	const struct unit *u;
	int simulated = 0;

	TAILQ_FOREACH(u, &m->units, entry)
	simulated |= unit_simulated(u);
	return sd_bus_message_append(reply, "b", simulated);
}

static int get_config_error(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
			    const char *property _unused_, sd_bus_message *reply, void *userdata,
			    sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	char text[CONFIG_TEXT_MAX] = "";

	if (m->config_error.text[0])
		config_error_format(&m->config_error, text, sizeof(text));
	return sd_bus_message_append(reply, "s", text);
}

static int get_workers(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		       const char *property _unused_, sd_bus_message *reply, void *userdata,
		       sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;

	return sd_bus_message_append(reply, "u", m->n_sessions);
}

static int get_paused(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		      const char *property _unused_, sd_bus_message *reply, void *userdata,
		      sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	bool paused = m->pauses.n > 0;

	for (uint32_t k = 0; k < m->holds.n; k++)
		paused |= m->holds.entries[k].level == HOLD_PAUSE;
	return sd_bus_message_append(reply, "b", (int)paused);
}

static int get_holds(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		     const char *property _unused_, sd_bus_message *reply, void *userdata,
		     sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	int r = sd_bus_message_open_container(reply, 'a', "(usssus)");

	for (uint32_t k = 0; r >= 0 && k < m->holds.n; k++) {
		const struct hold *h = &m->holds.entries[k];

		if (h->level != HOLD_PAUSE)
			r = sd_bus_message_append(reply, "(usssus)", h->cookie, h->subject,
						  hold_level_name(h->level), h->reason, h->uid,
						  h->comm);
	}
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* Those that are kept have no cookie. */
static int get_pauses(sd_bus *bus _unused_, const char *path _unused_, const char *i _unused_,
		      const char *property _unused_, sd_bus_message *reply, void *userdata,
		      sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	int r = sd_bus_message_open_container(reply, 'a', "(ussut)");

	for (uint32_t k = 0; r >= 0 && k < m->pauses.n; k++) {
		const struct pause *p = &m->pauses.entries[k];

		r = sd_bus_message_append(reply, "(ussut)", 0, p->gpu, p->reason, p->uid,
					  p->until_usec);
	}
	for (uint32_t k = 0; r >= 0 && k < m->holds.n; k++) {
		const struct hold *h = &m->holds.entries[k];

		if (h->level == HOLD_PAUSE)
			r = sd_bus_message_append(reply, "(ussut)", h->cookie, h->subject,
						  h->reason, h->uid, h->until_usec);
	}
	return r < 0 ? r : sd_bus_message_close_container(reply);
}

int bus_reply_text(sd_bus_message *call, char *text)
{
	int r;

	if (!text)
		return -ENOMEM;
	r = sd_bus_reply_method_return(call, "s", text);
	free(text);
	return r;
}

static int method_get_status(sd_bus_message *call, void *userdata, sd_bus_error *error _unused_)
{
	return bus_reply_text(call, status_json(userdata));
}

static int method_get_table(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	const struct manager *m = userdata;
	const char *model;
	int r;

	r = sd_bus_message_read(call, "s", &model);
	if (r < 0)
		return r;
	r = bus_refuse_unknown_model(m, model, error);
	if (r < 0)
		return r;
	return bus_reply_text(call, status_table_json(m, model));
}

/* clang-format off */
static const sd_bus_vtable manager_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Mode", "s", get_mode, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Status", "s", get_status, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Simulated", "b", get_simulated, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("ConfigError", "s", get_config_error, 0,
			SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Workers", "u", get_workers, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Paused", "b", get_paused, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Holds", "a(usssus)", get_holds, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Pauses", "a(ussut)", get_pauses, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_METHOD_WITH_ARGS("GetStatus", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json),
				method_get_status, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetTable", SD_BUS_ARGS("s", model), SD_BUS_RESULT("s", json),
				method_get_table, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Explain", SD_BUS_ARGS("s", gpu, "s", model, "d", rps),
				SD_BUS_RESULT("s", json), bus_method_explain,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("GetDecisions", SD_BUS_ARGS("s", gpu, "s", model, "u", count),
				SD_BUS_RESULT("s", json), bus_method_get_decisions,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Verify", SD_BUS_ARGS("s", gpu), SD_BUS_RESULT("s", json),
				bus_method_verify, SD_BUS_VTABLE_UNPRIVILEGED),
	/* Who may is asked by the methods themselves (authorise.h). */
	SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, bus_method_reload,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("SetPowerCap", SD_BUS_ARGS("s", gpu, "t", microwatts),
				SD_BUS_NO_RESULT, bus_method_set_power_cap,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Hold", SD_BUS_ARGS("s", model, "s", reason, "s", level),
				SD_BUS_RESULT("u", cookie), bus_method_hold,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Release", SD_BUS_ARGS("u", cookie), SD_BUS_NO_RESULT,
				bus_method_release, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Pause",
				SD_BUS_ARGS("s", gpu, "s", reason, "b", persistent, "t", microseconds),
				SD_BUS_RESULT("u", cookie), bus_method_pause,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("Resume", SD_BUS_ARGS("s", gpu), SD_BUS_NO_RESULT, bus_method_resume,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};
/* clang-format on */

int bus_add_manager(sd_bus *connection, struct manager *m)
{
	return sd_bus_add_object_vtable(connection, NULL, BUS_PATH, BUS_MANAGER, manager_vtable, m);
}

int bus_tell_manager(sd_bus *bus, struct manager *m, struct bus_told *told)
{
	return bus_tell_changes(bus, BUS_PATH, BUS_MANAGER, manager_vtable, m, told->digests);
}
