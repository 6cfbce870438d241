/* SPDX-License-Identifier: Apache-2.0 */
/* The document of past decisions, from the rings. */
#include "base/units.h"
#include "daemon/status-json.h"
#include "daemon/status.h"
#include <math.h>

static json_t *model_json(const struct unit *u, uint32_t i, const struct ring_model *r)
{
	struct cu_shape shape = {r->n_se, r->cus_per_se};
	json_t *o = json_object();

	if (cu_shape_cus(shape) == 0)
		shape = cu_shape_full(&u->topology);
	(void)json_object_set_new(o, "name", json_string(u->manager->config->models[i].name));
	(void)json_object_set_new(o, "input",
				  json_string(
					  status_input_name((enum governor_input_state)r->state)));
	(void)json_object_set_new(o, "reason",
				  json_string(
					  governor_reason_name((enum governor_reason)r->reason)));
	(void)json_object_set_new(o, "rate_rps", status_number((double)r->rate_rps));
	(void)json_object_set_new(o, "demand_rps", status_number((double)r->demand_rps));
	(void)json_object_set_new(o, "row", status_integer_if(r->row != UINT16_MAX, r->row));
	(void)json_object_set_new(o, "cus", json_integer(cu_shape_cus(shape)));
	(void)json_object_set_new(o, "shape", status_shape(shape));
	(void)json_object_set_new(o, "max_batch", json_integer(r->max_batch));
	(void)json_object_set_new(o, "predicted_tail_ms",
				  status_number_if(r->tail_ms > 0, (double)r->tail_ms));
	(void)json_object_set_new(o, "in_flight", json_integer(r->in_flight));
	(void)json_object_set_new(o, "late", json_integer(r->late));
	return o;
}

static bool is_shown(const struct ring_model *r, uint32_t i, uint32_t model)
{
	return i == model || (model == UINT32_MAX && r->state != GOVERNOR_NO_WORKER);
}

static json_t *decision_json(const struct unit *u, const struct ring_entry *e,
			     const struct ring_model *models, uint32_t model)
{
	uint64_t now_ns = manager_now_ns(u->manager);
	json_t *o = json_object(), *array = json_array();

	(void)json_object_set_new(o, "number", status_integer(e->number));
	(void)json_object_set_new(o, "age_s",
				  status_number((double)(now_ns - MIN(e->now_ns, now_ns)) /
						(double)NSEC_PER_SEC));
	(void)json_object_set_new(o, "interval_s", status_number((double)e->interval_s));
	(void)json_object_set_new(o, "action",
				  json_string(status_action_name((enum governor_action)e->action)));
	(void)json_object_set_new(o, "reason",
				  json_string(
					  governor_reason_name((enum governor_reason)e->reason)));
	(void)json_object_set_new(o, "changed", json_boolean(e->changed));
	(void)json_object_set_new(o, "max_mhz", status_integer_if(e->max_mhz > 0, e->max_mhz));
	(void)json_object_set_new(o, "applied_mhz",
				  status_integer_if(e->applied_mhz > 0, e->applied_mhz));
	(void)json_object_set_new(o, "sclk_mhz", status_integer_if(e->sclk_mhz > 0, e->sclk_mhz));
	(void)json_object_set_new(o, "busy_percent", json_integer(e->busy_percent));
	(void)json_object_set_new(o, "power_w",
				  status_number_if(e->power_w > 0, (double)e->power_w));
	(void)json_object_set_new(o, "predicted_power_w", status_number((double)e->predicted_w));
	(void)json_object_set_new(o, "flags", status_flags(e->flags));
	for (uint32_t i = 0; i < u->plan->n_models; i++)
		if (is_shown(&models[i], i, model))
			(void)json_array_append_new(array, model_json(u, i, &models[i]));
	(void)json_object_set_new(o, "models", array);
	return o;
}

/* Of the last n decisions those that fit, each counted by the models that it is shown with. */
static uint32_t fitting(const struct unit *u, uint32_t model, uint32_t n, uint32_t room)
{
	const struct ring_model *models;

	for (uint32_t back = 0; u->plan && back < n; back++) {
		uint32_t shown = 0;

		if (!ring_get(u->plan->ring, back, &models))
			return back;
		for (uint32_t i = 0; i < u->plan->n_models; i++)
			shown += is_shown(&models[i], i, model);
		shown = MAX(shown, 1u);
		if (shown > room)
			return back;
		room -= shown;
	}
	return n;
}

static json_t *gpu_json(const struct unit *u, uint32_t model, uint32_t n)
{
	json_t *gpu = json_object(), *array = json_array();
	const struct ring_model *models;
	const struct ring_entry *e;

	for (uint32_t back = n; u->plan && back > 0; back--) {
		e = ring_get(u->plan->ring, back - 1, &models);
		if (e)
			(void)json_array_append_new(array, decision_json(u, e, models, model));
	}
	(void)json_object_set_new(gpu, "bdf", json_string(u->bdf));
	(void)json_object_set_new(gpu, "simulated", json_boolean(unit_simulated(u)));
	(void)json_object_set_new(gpu, "decisions", array);
	return gpu;
}

char *status_decisions_json(const struct manager *m, const struct unit *only, uint32_t model,
			    uint32_t n)
{
	json_t *root = json_object(), *gpus = json_array();
	uint32_t n_units = 0, room;
	const struct unit *u;

	TAILQ_FOREACH(u, &m->units, entry)
	n_units += !only || u == only;
	/* The loop does nothing else meanwhile, and anyone may ask. */
	room = STATUS_MAX_DECISIONS / MAX(n_units, 1u);
	(void)json_object_set_new(root, "schema", json_integer(STATUS_SCHEMA));
	TAILQ_FOREACH(u, &m->units, entry)
	if (!only || u == only)
		(void)json_array_append_new(gpus, gpu_json(u, model, fitting(u, model, n, room)));
	(void)json_object_set_new(root, "gpus", gpus);
	return status_dump(root);
}
