/* SPDX-License-Identifier: Apache-2.0 */
/* What is of no single card: holds, the pauses of both kinds, and what models have counted. */
#include "base/units.h"
#include "daemon/status-json.h"
#include <math.h>
#include <string.h>

static double seconds(uint64_t usec)
{
	return (double)usec / (double)USEC_PER_SEC;
}

/* An owner who is there. */
static void add_owner(json_t *json, const struct manager *m, const struct hold *h)
{
	uint64_t held_ns = manager_now_ns(m) - h->since_ns;

	(void)json_object_set_new(json, "cookie", json_integer(h->cookie));
	(void)json_object_set_new(json, "reason", status_text(h->reason));
	(void)json_object_set_new(json, "uid", json_integer(h->uid));
	(void)json_object_set_new(json, "pid", status_integer_if(h->pid > 0, (uint64_t)h->pid));
	(void)json_object_set_new(json, "comm", status_text(h->comm));
	(void)json_object_set_new(json, "since_s",
				  status_number((double)held_ns / (double)NSEC_PER_SEC));
}

/* By the clock on the wall, which may have been set back. */
static json_t *left(uint64_t until_usec, uint64_t now_usec)
{
	return status_number_if(until_usec > 0,
				until_usec > now_usec ? seconds(until_usec - now_usec) : 0);
}

static json_t *hold_json(const struct manager *m, const struct hold *h)
{
	json_t *json = json_object();

	(void)json_object_set_new(json, "model", json_string(h->subject));
	(void)json_object_set_new(json, "level", json_string(hold_level_name(h->level)));
	add_owner(json, m, h);
	return json;
}

static json_t *tracked_pause(const struct manager *m, const struct hold *h, uint64_t now_usec)
{
	json_t *json = json_object();

	(void)json_object_set_new(json, "gpu", json_string(h->subject));
	(void)json_object_set_new(json, "persistent", json_false());
	(void)json_object_set_new(json, "left_s", left(h->until_usec, now_usec));
	add_owner(json, m, h);
	return json;
}

static json_t *kept_pause(const struct pause *p, uint64_t now_usec)
{
	json_t *json = json_object();

	(void)json_object_set_new(json, "gpu", json_string(p->gpu));
	(void)json_object_set_new(json, "persistent", json_true());
	(void)json_object_set_new(json, "left_s", left(p->until_usec, now_usec));
	(void)json_object_set_new(json, "cookie", json_null());
	(void)json_object_set_new(json, "reason", status_text(p->reason));
	(void)json_object_set_new(json, "uid", json_integer(p->uid));
	(void)json_object_set_new(json, "pid", json_null());
	(void)json_object_set_new(json, "comm", json_null());
	(void)json_object_set_new(json, "since_s",
				  status_number(now_usec > p->since_usec
							? seconds(now_usec - p->since_usec)
							: 0));
	return json;
}

json_t *status_holds(const struct manager *m)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < m->holds.n; i++)
		if (m->holds.entries[i].level != HOLD_PAUSE)
			(void)json_array_append_new(array, hold_json(m, &m->holds.entries[i]));
	return array;
}

json_t *status_pauses(const struct manager *m)
{
	uint64_t now_usec = manager_wall_usec(m);
	json_t *array = json_array();

	for (uint32_t i = 0; i < m->pauses.n; i++)
		(void)json_array_append_new(array, kept_pause(&m->pauses.entries[i], now_usec));
	for (uint32_t i = 0; i < m->holds.n; i++)
		if (m->holds.entries[i].level == HOLD_PAUSE)
			(void)json_array_append_new(array, tracked_pause(m, &m->holds.entries[i],
									 now_usec));
	return array;
}

json_t *status_totals(const struct manager *m)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < m->config->n_models; i++) {
		const struct totals *t = &m->totals.totals[i];
		json_t *json = json_object();

		(void)json_object_set_new(json, "name", json_string(m->config->models[i].name));
		(void)json_object_set_new(json, "requests", status_integer(t->requests));
		(void)json_object_set_new(json, "completions", status_integer(t->completions));
		(void)json_object_set_new(json, "failures", status_integer(t->failures));
		(void)json_object_set_new(json, "late", status_integer(t->late));
		(void)json_array_append_new(array, json);
	}
	return array;
}
