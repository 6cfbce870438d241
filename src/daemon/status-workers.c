/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"
#include "daemon/doubts.h"
#include "daemon/masks.h"
#include "daemon/status-json.h"
#include <inttypes.h>

static json_t *follows_json(const struct session *s)
{
	json_t *array = json_array();

	if (s->follows_mask)
		(void)json_array_append_new(array, json_string("cu-mask"));
	if (s->follows_batch)
		(void)json_array_append_new(array, json_string("batch"));
	return array;
}

/* The words in which the worker has it, the first CU in the lowest bit of the first. */
json_t *status_mask(const struct cu_mask *mask)
{
	json_t *array;

	if (mask->n_bits == 0)
		return json_null();
	array = json_array();
	for (uint32_t i = 0; i < MIN((mask->n_bits + 31) / 32, (uint32_t)CU_MASK_WORDS); i++)
		(void)json_array_append_new(array, json_sprintf("0x%08" PRIx32, mask->words[i]));
	return array;
}

/* The layout is that of the card whose sequence directs it. */
static json_t *directive_json(const struct unit *on, const struct session *s,
			      const struct session_directive *d)
{
	const struct unit *u = s->unit;
	bool all = d && d->mask.n_bits == 0;
	struct cu_shape shape;
	json_t *json;

	if (!d)
		return json_null();
	json = json_object();
	(void)json_object_set_new(json, "epoch", status_integer(d->epoch));
	if (masks_of_another(on, s)) {
		(void)json_object_set_new(json, "cus", json_null());
		(void)json_object_set_new(json, "shape", json_null());
		(void)json_object_set_new(json, "mask", json_null());
		return json;
	}
	shape = all ? cu_shape_full(&u->topology) : d->shape;
	(void)json_object_set_new(json, "cus",
				  json_integer(all ? cu_topology_cus(&u->topology)
						   : cu_mask_count(&d->mask)));
	(void)json_object_set_new(json, "shape",
				  json_sprintf("%ux%u", shape.n_se, shape.cus_per_se));
	(void)json_object_set_new(json, "mask", status_mask(&d->mask));
	return json;
}

static json_t *worker_json(const struct unit *u, const struct session *s)
{
	const struct channel_peer *peer = channel_connection_peer(s->connection);
	const struct channel_sample *sample = &s->meter.last;
	bool applied = sample->applied_epoch > 0;
	json_t *worker = json_object();

	(void)json_object_set_new(worker, "model", json_string(s->model));
	(void)json_object_set_new(worker, "instance", json_string(s->instance));
	(void)json_object_set_new(worker, "pid", json_integer(peer->pid));
	(void)json_object_set_new(worker, "uid", json_integer(peer->uid));
	(void)json_object_set_new(worker, "follows", follows_json(s));
	(void)json_object_set_new(worker, "wanted", directive_json(u, s, session_wanted(s)));
	(void)json_object_set_new(worker, "acknowledged",
				  directive_json(u, s, session_acknowledged(s)));
	(void)json_object_set_new(worker, "acknowledged_epoch",
				  status_integer_if(applied, sample->applied_epoch));
	(void)json_object_set_new(worker, "queues_changed",
				  status_integer_if(applied, sample->applied_queues));
	(void)json_object_set_new(worker, "apply_ns",
				  status_integer_if(applied, sample->applied_ns));
	(void)json_object_set_new(worker, "clock_alone",
				  status_text(masks_reason_text(masks_reason(u, s))));
	(void)json_object_set_new(worker, "doubt", status_text(doubts_text(s)));
	return worker;
}

json_t *status_workers(const struct unit *u)
{
	json_t *array = json_array();
	const struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (session_on(s, u))
		(void)json_array_append_new(array, worker_json(u, s));
	return array;
}

json_t *status_ignored(const struct unit *u, uint32_t model, enum doubt_subject subject)
{
	const struct unit_doubts *d = doubts_ignored(u, model, subject);

	if (!d)
		return json_null();
	return json_pack("{s:o, s:o}", "pid", status_integer_if(d->pid > 0, (uint64_t)d->pid),
			 "instance", status_text(d->pid > 0 ? d->instance : NULL));
}
