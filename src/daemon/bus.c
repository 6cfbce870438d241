/* SPDX-License-Identifier: Apache-2.0 */
/* The connection to the bus: made, lost, and made again. */
#include "base/log.h"
#include "base/units.h"
#include "daemon/bus-changes.h"
#include "daemon/unit.h"
#include "daemon/verify.h"
#include <errno.h>
#include <string.h>

#define BUS_RETRY_USEC (10 * USEC_PER_SEC)
#define BUS_CALL_USEC  (2 * USEC_PER_SEC)
#define BUS_TELL_NS    (500 * NSEC_PER_MSEC)

struct bus {
	struct manager *manager;
	char *address; /* NULL: the system bus */
	sd_bus *connection;
	struct authorise *authorise;
	struct verify *verify;
	uint64_t told_ns;
	struct bus_told told, models[CONFIG_MAX_MODELS]; /* the manager's; of each model */
	sd_event_source *retry;
	bool owned;
	int logged_error;
};

static void lose(struct bus *b, int error);

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
	bus_forget_told(b);
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

	r = bus_bound_queue(c);
	if (r >= 0)
		r = bus_add_manager(c, b->manager);
	if (r >= 0)
		r = bus_add_gpus(c, b->manager);
	if (r >= 0)
		r = bus_add_models(c, b->manager);
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
	/* Of the few calls that wait for the bus itself. */
	if (r >= 0)
		r = sd_bus_set_method_call_timeout(b->connection, BUS_CALL_USEC);
	if (r >= 0)
		r = sd_bus_start(b->connection);
	if (r >= 0)
		r = sd_bus_attach_event(b->connection, b->manager->event,
					MANAGER_PRIORITY_STRANGERS);
	if (r >= 0)
		r = authorise_new(b->connection, &b->authorise);
	if (r >= 0)
		r = add_objects(b);
	if (r >= 0)
		r = sd_bus_request_name_async(b->connection, NULL, BUS_NAME, 0, on_name, b);
	return r;
}

static void close_connection(struct bus *b)
{
	b->authorise = authorise_free(b->authorise);
	verify_forget(b->verify);
	/* Of those who knew the connection by its number while the name was not to be had. */
	manager_release_holds(b->manager);
	b->connection = sd_bus_close_unref(b->connection);
}

static int on_retry(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct bus *b = userdata;
	int r;

	close_connection(b);
	r = open_connection(b);
	if (r < 0)
		lose(b, r);
	return 0;
}

/* The connection itself is closed by the next try, as this runs inside its callbacks. */
static void lose(struct bus *b, int error)
{
	b->owned = false;
	/* Whoever held something has lost the bus as well. */
	manager_release_holds(b->manager);
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
	r = verify_new(m, &b->verify);
	if (r < 0)
		return r;
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
	close_connection(b);
	b->verify = verify_free(b->verify);
	free(b->address);
	free(b);
	return NULL;
}

int bus_authorise(struct bus *b, sd_bus_message *call, authorised_fn fn, sd_bus_error *error)
{
	return authorise(b->authorise, call, fn, b->manager, error);
}

int bus_verify(struct bus *b, sd_bus_message *call, const char *gpu, sd_bus_error *error)
{
	return verify_call(b->verify, call, gpu, error);
}

void bus_forget_told(struct bus *b)
{
	struct unit *u;

	if (!b)
		return;
	b->told = (struct bus_told){0};
	(void)memset(b->models, 0, sizeof(b->models));
	TAILQ_FOREACH(u, &b->manager->units, entry)
	(void)memset(u->told, 0, sizeof(u->told));
}

void bus_tell(struct bus *b, uint64_t now_ns)
{
	struct manager *m = b ? b->manager : NULL;
	struct unit *u;
	int r, k;

	/* Some due time earlier than the next tick will be; ticks may be further apart than that.
	 */
	if (!b || !b->owned || now_ns - b->told_ns + m->config->daemon.poll_ns / 4 < BUS_TELL_NS)
		return;
	if (bus_queue_is_busy(b->connection))
		return;
	b->told_ns = now_ns;
	r = bus_tell_manager(b->connection, m, &b->told);
	/* What fails for one is still told of the others. */
	TAILQ_FOREACH(u, &m->units, entry)
	{
		k = bus_tell_gpu(b->connection, u);
		r = r < 0 ? r : k;
	}
	for (uint32_t i = 0; i < m->config->n_models; i++) {
		k = bus_tell_model(b->connection, m, i, &b->models[i]);
		r = r < 0 ? r : k;
	}
	if (r < 0)
		log_errno(LOG_DEBUG, r, "What has changed cannot be told: %m");
}
