/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "base/units.h"
#include "daemon/bus-internal.h"
#include "daemon/status.h"
#include "daemon/unit.h"
#include <errno.h>
#include <string.h>
#include <systemd/sd-bus.h>

#define BUS_MANAGER	 BUS_NAME ".Manager"
#define BUS_MODEL	 BUS_NAME ".Model"
#define BUS_MODEL_PATH	 BUS_PATH "/model"
#define BUS_ERROR_CONFIG BUS_NAME ".Error.Config"
#define BUS_ERROR_CAP	 BUS_NAME ".Error.PowerCap"
#define BUS_RETRY_USEC	 (10 * USEC_PER_SEC)

struct bus {
	struct manager *manager;
	char *address; /* NULL: the system bus */
	sd_bus *connection;
	sd_event_source *retry;
	bool owned;
	int logged_error;
};

static void lose(struct bus *b, int error);

/* --- org.cofris1.Manager -------------------------------------------------------------------- */

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

/* The bus's policy file says the same; this holds on any other bus, too. */
static int check_privileged(sd_bus_message *call, sd_bus_error *error)
{
	_cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
	uid_t uid;
	int r;

	r = sd_bus_query_sender_creds(call, SD_BUS_CREDS_EUID, &creds);
	if (r >= 0)
		r = sd_bus_creds_get_euid(creds, &uid);
	if (r < 0)
		return r;
	if (uid != 0 && uid != geteuid())
		return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED,
					"only root may steer the daemon");
	return 0;
}

static int method_reload(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	char why[CONFIG_TEXT_MAX];
	int r;

	r = check_privileged(call, error);
	if (r < 0)
		return r;
	r = manager_reload(userdata, why, sizeof(why));
	if (r < 0)
		return sd_bus_error_set(error, BUS_ERROR_CONFIG, why);
	return sd_bus_reply_method_return(call, NULL);
}

static int method_set_power_cap(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	char why[CONFIG_TEXT_MAX];
	const char *gpu;
	uint64_t uw;
	int r;

	r = check_privileged(call, error);
	if (r < 0)
		return r;
	r = sd_bus_message_read(call, "st", &gpu, &uw);
	if (r < 0)
		return r;
	r = manager_order_cap(userdata, gpu, uw, why, sizeof(why));
	if (r == -ENODEV)
		return sd_bus_error_set(error, BUS_ERROR_NO_GPU, why);
	if (r < 0)
		return sd_bus_error_set(error, BUS_ERROR_CAP, why);
	return sd_bus_reply_method_return(call, NULL);
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
	SD_BUS_PROPERTY("Workers", "u", get_workers, 0, 0),
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
	/* Judged by check_privileged(), as sd-bus would ask for a capability. */
	SD_BUS_METHOD_WITH_ARGS("Reload", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_reload,
				SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_METHOD_WITH_ARGS("SetPowerCap", SD_BUS_ARGS("s", gpu, "t", microwatts),
				SD_BUS_NO_RESULT, method_set_power_cap, SD_BUS_VTABLE_UNPRIVILEGED),
	SD_BUS_VTABLE_END,
};
/* clang-format on */

/* --- org.cofris1.Model ---------------------------------------------------------------------- */

static int find_model(sd_bus *bus _unused_, const char *path, const char *i _unused_,
		      void *userdata, void **ret_found, sd_bus_error *error _unused_)
{
	const struct bus *b = userdata;
	_cleanup_(freep) char *name = NULL;
	const struct config_model *m;

	if (sd_bus_path_decode(path, BUS_MODEL_PATH, &name) <= 0)
		return 0;
	m = config_find_model(b->manager->config, name);
	if (!m)
		return 0;
	/* Getters need the manager as well, so they look the model up again by their path. */
	*ret_found = userdata;
	return 1;
}

static int list_models(sd_bus *bus _unused_, const char *prefix _unused_, void *userdata,
		       char ***ret_nodes, sd_bus_error *error _unused_)
{
	const struct bus *b = userdata;
	const struct config *c = b->manager->config;
	char **nodes = calloc(c->n_models + 1, sizeof(*nodes));
	size_t n = 0;

	if (!nodes)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->n_models; i++)
		if (sd_bus_path_encode(BUS_MODEL_PATH, c->models[i].name, &nodes[n]) >= 0)
			n++;
	*ret_nodes = nodes;
	return 0;
}

static uint32_t workers_of(const struct manager *m, const char *model)
{
	const struct session *s;
	uint32_t n = 0;

	TAILQ_FOREACH(s, &m->sessions, entry)
	n += s->unit && strcmp(s->model, model) == 0;
	return n;
}

static int get_of_model(sd_bus *bus _unused_, const char *path, const char *i _unused_,
			const char *property, sd_bus_message *reply, void *userdata,
			sd_bus_error *error _unused_)
{
	const struct bus *b = userdata;
	_cleanup_(freep) char *name = NULL;
	const struct config_model *m;

	if (sd_bus_path_decode(path, BUS_MODEL_PATH, &name) <= 0)
		return -ENOENT;
	m = config_find_model(b->manager->config, name);
	if (!m)
		return -ENOENT;
	if (strcmp(property, "Name") == 0)
		return sd_bus_message_append(reply, "s", m->name);
	if (strcmp(property, "Policy") == 0)
		return sd_bus_message_append(reply, "s", m->policy);
	if (strcmp(property, "Priority") == 0)
		return sd_bus_message_append(reply, "u", m->priority);
	return sd_bus_message_append(reply, "u", workers_of(b->manager, m->name));
}

/* clang-format off */
static const sd_bus_vtable model_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Name", "s", get_of_model, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Policy", "s", get_of_model, 0, 0),
	SD_BUS_PROPERTY("Priority", "u", get_of_model, 0, 0),
	SD_BUS_PROPERTY("Workers", "u", get_of_model, 0, 0),
	SD_BUS_VTABLE_END,
};
/* clang-format on */

/* --- the connection ------------------------------------------------------------------------- */

static void settle(struct bus *b)
{
	b->manager->bus_settled = true;
	manager_startup_progress(b->manager);
}

static int on_name(sd_bus_message *reply, void *userdata, sd_bus_error *ret_error _unused_)
{
	struct bus *b = userdata;
	const sd_bus_error *error = sd_bus_message_get_error(reply);

	if (error) {
		lose(b, -sd_bus_error_get_errno(error));
		return 0;
	}
	b->owned = true;
	b->logged_error = 0;
	log_info("On the bus as %s", BUS_NAME);
	settle(b);
	return 0;
}

static int on_disconnected(sd_bus_message *message _unused_, void *userdata,
			   sd_bus_error *error _unused_)
{
	lose(userdata, -ECONNRESET);
	return 0;
}

static int add_objects(struct bus *b)
{
	sd_bus *c = b->connection;
	int r;

	r = sd_bus_add_object_vtable(c, NULL, BUS_PATH, BUS_MANAGER, manager_vtable, b->manager);
	if (r < 0)
		return r;
	r = bus_add_gpus(c, b->manager);
	if (r < 0)
		return r;
	r = sd_bus_add_fallback_vtable(c, NULL, BUS_MODEL_PATH, BUS_MODEL, model_vtable, find_model,
				       b);
	if (r < 0)
		return r;
	r = sd_bus_add_node_enumerator(c, NULL, BUS_MODEL_PATH, list_models, b);
	if (r < 0)
		return r;
	return sd_bus_match_signal_async(c, NULL, "org.freedesktop.DBus.Local", NULL,
					 "org.freedesktop.DBus.Local", "Disconnected",
					 on_disconnected, NULL, b);
}

static int open_connection(struct bus *b)
{
	const char *address = b->address;
	int r;

	if (!address)
		address = getenv("DBUS_SYSTEM_BUS_ADDRESS");
	if (!address)
		address = "unix:path=/run/dbus/system_bus_socket";
	r = sd_bus_new(&b->connection);
	if (r >= 0)
		r = sd_bus_set_address(b->connection, address);
	if (r >= 0)
		r = sd_bus_set_bus_client(b->connection, 1);
	/* The peers of a system bus are not to be trusted. */
	if (r >= 0)
		r = sd_bus_set_trusted(b->connection, 0);
	/* No method takes one, and each would be open until its message is read. */
	if (r >= 0)
		r = sd_bus_negotiate_fds(b->connection, 0);
	if (r >= 0)
		r = sd_bus_start(b->connection);
	if (r >= 0)
		r = sd_bus_attach_event(b->connection, b->manager->event,
					MANAGER_PRIORITY_STRANGERS);
	if (r >= 0)
		r = add_objects(b);
	if (r >= 0)
		r = sd_bus_request_name_async(b->connection, NULL, BUS_NAME, 0, on_name, b);
	return r;
}

static int on_retry(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct bus *b = userdata;
	int r;

	b->connection = sd_bus_close_unref(b->connection);
	r = open_connection(b);
	if (r < 0)
		lose(b, r);
	return 0;
}

/* The connection itself is closed by the next try, as this runs inside its callbacks. */
static void lose(struct bus *b, int error)
{
	b->owned = false;
	if (b->logged_error != error)
		log_errno(LOG_WARNING, error, "Running without the bus: %m");
	b->logged_error = error;
	(void)sd_event_source_set_time_relative(b->retry, BUS_RETRY_USEC);
	(void)sd_event_source_set_enabled(b->retry, SD_EVENT_ONESHOT);
	settle(b);
}

int bus_new(struct manager *m, const char *address, struct bus **ret)
{
	_cleanup_(bus_freep) struct bus *b = calloc(1, sizeof(*b));
	int r;

	if (!b)
		return -ENOMEM;
	b->manager = m;
	if (address) {
		b->address = strdup(address);
		if (!b->address)
			return -ENOMEM;
	}
	r = sd_event_add_time(m->event, &b->retry, CLOCK_MONOTONIC, 0, USEC_PER_SEC, on_retry, b);
	if (r < 0)
		return r;
	(void)sd_event_source_set_enabled(b->retry, SD_EVENT_OFF);
	r = open_connection(b);
	if (r < 0)
		lose(b, r);
	*ret = TAKE_PTR(b);
	return 0;
}

struct bus *bus_free(struct bus *b)
{
	if (!b)
		return NULL;
	sd_event_source_disable_unref(b->retry);
	sd_bus_close_unref(b->connection);
	free(b->address);
	free(b);
	return NULL;
}

void bus_emit_changed(struct bus *b)
{
	if (b && b->owned)
		(void)sd_bus_emit_properties_changed(b->connection, BUS_PATH, BUS_MANAGER, "Mode",
						     "Status", "Simulated", "ConfigError", NULL);
}
