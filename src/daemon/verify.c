/* SPDX-License-Identifier: Apache-2.0 */
/* Anybody may ask, and the actuator serves one request after the other: so one card at a time, that
 * a setting waits behind no more than one reading, and no more often than ticks read them. */
#include "base/units.h"
#include "daemon/bus-internal.h"
#include "daemon/manager-internal.h"
#include "daemon/status-json.h"
#include "daemon/status.h"
#include "daemon/verify-internal.h"
#include <errno.h>
#include <string.h>
#include <sys/queue.h>

#define VERIFY_REPLY_NS	      (2 * NSEC_PER_SEC)
#define VERIFY_MAX	      256
#define VERIFY_MAX_PER_SENDER 2

struct asker {
	TAILQ_ENTRY(asker) entry;
	sd_bus_message *call;
	char gpu[16];
	bool served; /* by the reading under way */
};
TAILQ_HEAD(asker_list, asker);

/* A card that is being read. Cards may go meanwhile, so it is known by its name. */
struct reading {
	struct verify *verify;
	char bdf[16];
	json_t *result;
};

struct verify {
	struct manager *manager;
	struct asker_list askers;
	uint32_t n_askers, n_readings, n_started;
	int error; /* the actuator did not answer: nor will it for the rest */
	struct reading readings[MANAGER_MAX_UNITS];
	sd_event_source *timer;
	uint64_t again_usec; /* not read before */
	bool reading;
};

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata);

int verify_new(struct manager *m, struct verify **ret)
{
	struct verify *v = calloc(1, sizeof(*v));
	int r;

	if (!v)
		return -ENOMEM;
	v->manager = m;
	TAILQ_INIT(&v->askers);
	r = sd_event_add_time(m->event, &v->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, v);
	if (r >= 0)
		r = sd_event_source_set_enabled(v->timer, SD_EVENT_OFF);
	if (r < 0) {
		verify_free(v);
		return r;
	}
	*ret = v;
	return 0;
}

static void asker_free(struct verify *v, struct asker *a)
{
	TAILQ_REMOVE(&v->askers, a, entry);
	v->n_askers--;
	sd_bus_message_unref(a->call);
	free(a);
}

void verify_forget(struct verify *v)
{
	while (v && !TAILQ_EMPTY(&v->askers))
		asker_free(v, TAILQ_FIRST(&v->askers));
}

static void drop_readings(struct verify *v)
{
	for (uint32_t i = 0; i < v->n_readings; i++) {
		link_forget(v->manager->link, &v->readings[i]);
		json_decref(v->readings[i].result);
		v->readings[i] = (struct reading){0};
	}
	v->n_readings = v->n_started = 0;
	v->error = 0;
	v->reading = false;
}

struct verify *verify_free(struct verify *v)
{
	if (!v)
		return NULL;
	verify_forget(v);
	drop_readings(v);
	sd_event_source_disable_unref(v->timer);
	free(v);
	return NULL;
}

/* --- the answer ----------------------------------------------------------------------------- */

static bool asks_for(const struct asker *a, const char *bdf)
{
	return strcmp(a->gpu, "*") == 0 || strcmp(a->gpu, bdf) == 0;
}

/* Without a card nothing is as wanted, unless nothing is wanted. */
static char *answer(const struct verify *v, const struct asker *a)
{
	json_t *root = json_object(), *gpus = json_array();
	bool ok = true;

	for (uint32_t i = 0; i < v->n_readings; i++) {
		const struct reading *r = &v->readings[i];

		if (!asks_for(a, r->bdf))
			continue;
		ok &= json_is_true(json_object_get(r->result, "ok"));
		(void)json_array_append(gpus, r->result);
	}
	if (json_array_size(gpus) == 0)
		ok = v->manager->config->n_models == 0;
	(void)json_object_set_new(root, "schema", json_integer(STATUS_SCHEMA));
	(void)json_object_set_new(root, "ok", json_boolean(ok));
	(void)json_object_set_new(root, "gpus", gpus);
	return status_dump(root);
}

static void start_when_due(struct verify *v);

static void finish(struct verify *v)
{
	struct asker *a, *next;

	for (a = TAILQ_FIRST(&v->askers); a; a = next) {
		next = TAILQ_NEXT(a, entry);
		if (!a->served)
			continue;
		(void)bus_reply_text(a->call, answer(v, a));
		asker_free(v, a);
	}
	drop_readings(v);
	start_when_due(v);
}

/* --- reading -------------------------------------------------------------------------------- */

/* A card that goes meanwhile is one that is not as wanted. */
static void take(struct reading *r, int error, const struct actuator_state *state)
{
	const struct unit *u = manager_find_unit(r->verify->manager, r->bdf);

	r->result = u ? verify_card(u, error, state) : verify_no_card(r->bdf);
}

static void on_sensors(void *userdata, int error, const struct actuator_reply *reply);

/* Whether an answer will come. */
static bool read_card(struct reading *r)
{
	struct actuator_request request = {.op = ACTUATOR_SENSORS};
	struct verify *v = r->verify;
	const struct unit *u = manager_find_unit(v->manager, r->bdf);
	int error = u && u->present ? v->error : -ENODEV;

	(void)snprintf(request.bdf, sizeof(request.bdf), "%s", r->bdf);
	if (error == 0)
		error = link_call(v->manager->link, &request, VERIFY_REPLY_NS, on_sensors, r);
	if (error == 0)
		return true;
	take(r, error, NULL);
	return false;
}

static void read_on(struct verify *v)
{
	while (v->n_started < v->n_readings)
		if (read_card(&v->readings[v->n_started++]))
			return;
	finish(v);
}

static void on_sensors(void *userdata, int error, const struct actuator_reply *reply)
{
	struct reading *r = userdata;
	struct verify *v = r->verify;

	take(r, error < 0 ? error : MIN(reply->error, 0), reply ? &reply->state : NULL);
	if (error < 0)
		v->error = error;
	read_on(v);
}

static bool is_asked_for(const struct verify *v, const char *bdf)
{
	const struct asker *a;

	TAILQ_FOREACH(a, &v->askers, entry)
	if (asks_for(a, bdf))
		return true;
	return false;
}

static void start(struct verify *v)
{
	const struct unit *u;
	struct asker *a;

	v->reading = true;
	TAILQ_FOREACH(a, &v->askers, entry)
	a->served = true;
	TAILQ_FOREACH(u, &v->manager->units, entry)
	if (v->n_readings < MANAGER_MAX_UNITS && is_asked_for(v, u->bdf)) {
		struct reading *r = &v->readings[v->n_readings++];

		r->verify = v;
		(void)snprintf(r->bdf, sizeof(r->bdf), "%s", u->bdf);
	}
	read_on(v);
}

static void start_when_due(struct verify *v)
{
	if (v->reading || TAILQ_EMPTY(&v->askers))
		return;
	(void)sd_event_source_set_time(v->timer, v->again_usec);
	(void)sd_event_source_set_enabled(v->timer, SD_EVENT_ONESHOT);
}

static int on_timer(sd_event_source *s _unused_, uint64_t usec _unused_, void *userdata)
{
	struct verify *v = userdata;

	v->again_usec =
		(manager_now_ns(v->manager) + v->manager->config->daemon.poll_ns) / NSEC_PER_USEC;
	if (!v->reading && !TAILQ_EMPTY(&v->askers))
		start(v);
	return 0;
}

int verify_call(struct verify *v, sd_bus_message *call, const char *gpu, sd_bus_error *error)
{
	const char *sender = sd_bus_message_get_sender(call);
	struct asker *a;
	uint32_t n = 0;

	TAILQ_FOREACH(a, &v->askers, entry)
	n += sender && strcmp(sd_bus_message_get_sender(a->call), sender) == 0;
	if (!sender || n >= VERIFY_MAX_PER_SENDER || v->n_askers >= VERIFY_MAX)
		return sd_bus_error_set(error, BUS_ERROR_TOO_MANY, "too many calls wait");
	a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->call = sd_bus_message_ref(call);
	(void)snprintf(a->gpu, sizeof(a->gpu), "%s", gpu);
	TAILQ_INSERT_TAIL(&v->askers, a, entry);
	v->n_askers++;
	start_when_due(v);
	return 1;
}
