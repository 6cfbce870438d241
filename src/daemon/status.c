/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/status.h"
#include "base/units.h"
#include "daemon/group.h"
#include "daemon/masks.h"
#include "daemon/status-json.h"
#include "gpu/gpu.h"
#include <errno.h>
#include <math.h>
#include <string.h>

static double ms(double ns)
{
	return ns / (double)NSEC_PER_MSEC;
}

static double watts(uint64_t uw)
{
	return (double)uw / (double)UW_PER_W;
}

static json_t *foreign_pids(const struct unit *u)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < u->foreign.n; i++)
		if (u->foreign.processes[i].counts)
			(void)json_array_append_new(array,
						    json_integer(u->foreign.processes[i].pid));
	return array;
}

static uint32_t clock_alone_workers(const struct unit *u, uint32_t model)
{
	const struct session *s;
	uint32_t n = 0;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	n += session_on(s, u) && s->model_index == model &&
	     sequence_worker_clock_alone(s->unit->sequence, s->worker);
	return n;
}

static void add_model_decision(const struct unit *u, uint32_t i, json_t *model)
{
	const struct governor_model_decision *d = &u->decision.models[i];
	const struct governor_model_input *in = &u->input.models[i];
	uint32_t cus = cu_shape_cus(d->shape);
	bool latency = u->latencies && u->latencies[i].count > 0;
	uint64_t p99_ns = 0;
	struct cu_shape shape = cus > 0 ? d->shape : cu_shape_full(&u->topology);

	(void)json_object_set_new(model, "workers", json_integer(in->workers));
	(void)json_object_set_new(model, "input", json_string(status_input_name(in->state)));
	(void)json_object_set_new(model, "reason", json_string(governor_reason_name(d->reason)));
	(void)json_object_set_new(model, "rate_rps", status_number(d->rate_rps));
	(void)json_object_set_new(model, "demand_rps", status_number(d->demand_rps));
	(void)json_object_set_new(model, "service_factor", status_number(d->service_factor));
	(void)json_object_set_new(model, "planned_factor", status_number(d->planned_factor));
	(void)json_object_set_new(model, "row", status_integer_if(d->row != UINT32_MAX, d->row));
	(void)json_object_set_new(model, "clock_alone", json_boolean(d->clock_alone));
	(void)json_object_set_new(model, "cus",
				  json_integer(cus > 0 ? cus : cu_topology_cus(&u->topology)));
	(void)json_object_set_new(model, "shape", status_shape(shape));
	(void)json_object_set_new(model, "max_batch", json_integer(d->max_batch));
	(void)json_object_set_new(model, "in_flight", json_integer((json_int_t)in->in_flight));
	(void)json_object_set_new(model, "predicted_tail_ms", status_number(ms(d->tail_ns)));
	(void)json_object_set_new(model, "acknowledged",
				  json_boolean(unit_model_acknowledged(u, i)));
	(void)json_object_set_new(model, "clock_alone_workers",
				  json_integer(clock_alone_workers(u, i)));
	(void)json_object_set_new(model, "p95_ms",
				  status_number_if(latency,
						   latency ? u->latencies[i].p95_ms : NAN));
	if (latency)
		p99_ns = u->latencies[i].p99_ns;
	(void)json_object_set_new(model, "p99_ms", status_number_if(p99_ns > 0, ms(p99_ns)));
	(void)json_object_set_new(model, "tail_ms",
				  status_number_if(latency,
						   latency ? u->latencies[i].tail_ms : NAN));
}

static json_t *model_json(const struct unit *u, uint32_t i)
{
	const struct config_model *m = &u->manager->config->models[i];
	const struct model_table *t = &u->plan->tables[i];
	json_t *model = json_object();

	(void)json_object_set_new(model, "name", json_string(m->name));
	(void)json_object_set_new(model, "policy", json_string(m->policy));
	(void)json_object_set_new(model, "percentile", json_integer(m->percentile));
	(void)json_object_set_new(model, "slo_ms",
				  status_number_if(t->table,
						   t->table ? ms((double)t->table->slo_ns) : 0));
	(void)json_object_set_new(model, "t0_ms",
				  status_number_if(t->table,
						   t->table ? ms((double)t->table->t0_ns) : 0));
	(void)json_object_set_new(model, "rated_rps",
				  status_number_if(t->table, t->table ? t->table->rated_rps : 0));
	(void)json_object_set_new(model, "capacity_rps",
				  status_number_if(t->table,
						   t->table ? t->table->overload_rps : 0));
	(void)json_object_set_new(model, "surface", status_text(t->path));
	(void)json_object_set_new(model, "table", json_string(t->table ? "ok" : "none"));
	(void)json_object_set_new(model, "table_error", status_text(t->table ? NULL : t->why));
	(void)json_object_set_new(model, "masks_off", status_text(masks_model_off(u->manager, i)));
	(void)json_object_set_new(model, "wakes_ignored", status_ignored(u, i, DOUBT_WAKES));
	(void)json_object_set_new(model, "late_ignored", status_ignored(u, i, DOUBT_LATE));
	status_add_check(u, i, model);
	if (u->decided)
		add_model_decision(u, i, model);
	else
		(void)json_object_set_new(model, "workers", json_integer(0));
	return model;
}

static void add_sensors(const struct unit *u, json_t *gpu)
{
	static const char *const verified[] = {
		[ACTUATOR_UNVERIFIED] = "unverified",
		[ACTUATOR_VERIFIED] = "verified",
		[ACTUATOR_DRIFT] = "drift",
	};
	const struct actuator_state *s = &u->state;
	uint32_t has = u->state_valid ? s->fields : 0;
	bool claimed = u->state_valid && u->claim == UNIT_CLAIMED;

	(void)json_object_set_new(gpu, "max_mhz",
				  status_integer_if(claimed && s->max_mhz > 0, s->max_mhz));
	(void)json_object_set_new(gpu, "sclk_mhz",
				  status_integer_if(has & GPU_HAS_SCLK, s->sclk_mhz));
	(void)json_object_set_new(gpu, "power_w",
				  status_number_if(has & GPU_HAS_POWER, watts(s->power_uw)));
	(void)json_object_set_new(gpu, "power_cap_w",
				  status_number_if(has & GPU_HAS_CAP, watts(s->power_cap_uw)));
	(void)json_object_set_new(gpu, "busy_percent",
				  status_integer_if(has & GPU_HAS_BUSY, s->busy_percent));
	(void)json_object_set_new(gpu, "temperature_c",
				  status_number_if(has & GPU_HAS_TEMP, s->temp_mc / 1000.0));
	(void)json_object_set_new(gpu, "verified",
				  claimed && s->verified <= ACTUATOR_DRIFT
					  ? json_string(verified[s->verified])
					  : json_null());
}

/* Wanted and in force: null is none of ours. The order: null is none, 0 "no cap". */
static json_t *cap_json(const struct unit *u)
{
	const struct cap_watch *w = &u->cap_watch;
	uint64_t wanted_uw = unit_cap_uw(u, &u->config), now_uw = unit_cap_in_force_uw(u);
	uint64_t order_uw = u->cap_order_uw == UNIT_CAP_NONE ? 0 : u->cap_order_uw;
	bool range = u->ever_present && u->card.can_cap_power && u->card.cap_max_uw > 0;
	json_t *cap = json_object();

	(void)json_object_set_new(cap, "configured_w",
				  status_number_if(u->config.power_cap_uw > 0,
						   watts(u->config.power_cap_uw)));
	(void)json_object_set_new(cap, "ordered_w",
				  status_number_if(u->cap_order_uw != UNIT_CAP_CONFIG,
						   watts(order_uw)));
	(void)json_object_set_new(cap, "wanted_w",
				  status_number_if(wanted_uw > 0, watts(wanted_uw)));
	(void)json_object_set_new(cap, "in_force_w", status_number_if(now_uw > 0, watts(now_uw)));
	(void)json_object_set_new(cap, "min_w", status_number_if(range, watts(u->card.cap_min_uw)));
	(void)json_object_set_new(cap, "max_w", status_number_if(range, watts(u->card.cap_max_uw)));
	(void)json_object_set_new(cap, "watched_ms", status_integer(w->watched_ns / NSEC_PER_MSEC));
	(void)json_object_set_new(cap, "over_ms", status_integer(w->over_ns / NSEC_PER_MSEC));
	(void)json_object_set_new(cap, "over_most_w", status_number(watts(w->over_max_uw)));
	(void)json_object_set_new(cap, "over_mean_w", status_number(watts(cap_watch_mean_uw(w))));
	return cap;
}

static json_t *owner_json(const struct unit *u)
{
	struct card_situation s;

	unit_situation(u, &s);
	if (s.reason != CARD_REASON_BUSY)
		return json_null();
	return json_pack("{s:i, s:i, s:o}", "pid", (int)u->owner.pid, "uid", (int)u->owner.uid,
			 "comm", status_text(u->owner.comm));
}

/* The cards that share its clock, itself included; empty for a card alone. */
static json_t *group_json(const struct unit *u)
{
	json_t *array = json_array();
	const struct unit *v;

	if (!group_shared(u))
		return array;
	TAILQ_FOREACH(v, &u->manager->units, entry)
	if (group_is_one(v, u))
		(void)json_array_append_new(array, json_string(v->bdf));
	return array;
}

static void add_state(const struct unit *u, json_t *gpu)
{
	uint64_t now_ns = manager_now_ns(u->manager);
	struct card_situation s;
	double left_s;

	unit_situation(u, &s);
	left_s = s.retry_ns > now_ns ? (double)(s.retry_ns - now_ns) / (double)NSEC_PER_SEC : 0;
	(void)json_object_set_new(gpu, "state", json_string(card_state_name(s.state)));
	(void)json_object_set_new(gpu, "state_reason", json_string(card_reason_name(s.reason)));
	(void)json_object_set_new(gpu, "retry_s", status_number_if(s.retry_ns > 0, left_s));
}

static json_t *gpu_json(const struct unit *u)
{
	json_t *gpu = json_object(), *models = json_array();

	(void)json_object_set_new(gpu, "bdf", json_string(u->bdf));
	(void)json_object_set_new(gpu, "name", status_text(u->ever_present ? u->card.name : NULL));
	(void)json_object_set_new(gpu, "gfx", status_text(u->ever_present ? u->card.gfx : NULL));
	(void)json_object_set_new(gpu, "cus", status_integer_if(u->ever_present, u->card.n_cus));
	(void)json_object_set_new(gpu, "simulated", json_boolean(unit_simulated(u)));
	(void)json_object_set_new(gpu, "gating", json_string(config_gating_name(u->config.gating)));
	add_state(u, gpu);
	(void)json_object_set_new(gpu, "owner", owner_json(u));
	(void)json_object_set_new(gpu, "workers", json_integer(unit_workers(u)));
	(void)json_object_set_new(gpu, "group", group_json(u));
	(void)json_object_set_new(gpu, "reason",
				  status_text(u->decided ? governor_reason_name(u->decision.reason)
							 : NULL));
	(void)json_object_set_new(gpu, "flags", status_flags(u->decided ? u->input.flags : 0));
	(void)json_object_set_new(gpu, "foreign_pids", foreign_pids(u));
	(void)json_object_set_new(gpu, "decisions",
				  json_integer(
					  (json_int_t)(u->plan ? ring_count(u->plan->ring) : 0)));
	(void)json_object_set_new(gpu, "predicted_power_w",
				  status_number_if(u->decided,
						   u->decided ? u->decision.predicted_power_w
							      : NAN));
	(void)json_object_set_new(gpu, "predicted_power_modelled",
				  json_boolean(u->config.gating != TABLE_GATING_NONE));
	add_sensors(u, gpu);
	(void)json_object_set_new(gpu, "cap", cap_json(u));
	(void)json_object_set_new(gpu, "worker_list", status_workers(u));
	for (uint32_t i = 0; u->plan && i < u->plan->n_models; i++)
		(void)json_array_append_new(models, model_json(u, i));
	(void)json_object_set_new(gpu, "models", models);
	return gpu;
}

static bool any_simulated(const struct manager *m)
{
	const struct unit *u;

	TAILQ_FOREACH(u, &m->units, entry)
	if (unit_simulated(u))
		return true;
	return false;
}

char *status_json(const struct manager *m)
{
	json_t *root = json_object(), *gpus = json_array();
	char where[CONFIG_TEXT_MAX] = "";
	const struct unit *u;

	if (m->config_error.text[0])
		config_error_format(&m->config_error, where, sizeof(where));
	(void)json_object_set_new(root, "schema", json_integer(STATUS_SCHEMA));
	(void)json_object_set_new(root, "version", json_string(COFRIS_VERSION));
	(void)json_object_set_new(root, "mode",
				  json_string(config_mode_name(m->config->daemon.mode)));
	(void)json_object_set_new(root, "status", status_text(m->status));
	(void)json_object_set_new(root, "simulated", json_boolean(any_simulated(m)));
	(void)json_object_set_new(root, "poll_interval_ms",
				  status_number(ms((double)m->config->daemon.poll_ns)));
	(void)json_object_set_new(root, "workers", json_integer(m->n_sessions));
	(void)json_object_set_new(root, "actuator",
				  status_text(m->actuator_error < 0 ? strerror(-m->actuator_error)
								    : "connected"));
	(void)json_object_set_new(root, "config_error", status_text(where[0] ? where : NULL));
	(void)json_object_set_new(root, "models", status_totals(m));
	(void)json_object_set_new(root, "holds", status_holds(m));
	(void)json_object_set_new(root, "pauses", status_pauses(m));
	(void)json_object_set_new(root, "pauses_error",
				  status_text(m->pauses_error[0] ? m->pauses_error : NULL));
	TAILQ_FOREACH(u, &m->units, entry)
	(void)json_array_append_new(gpus, gpu_json(u));
	(void)json_object_set_new(root, "gpus", gpus);
	return status_dump(root);
}

static json_t *row_json(const struct table_row *r)
{
	json_t *row = json_object();

	(void)json_object_set_new(row, "rate_rps", status_number(r->rate_rps));
	(void)json_object_set_new(row, "max_mhz", json_integer(r->max_mhz));
	(void)json_object_set_new(row, "cus", json_integer(cu_shape_cus(r->shape)));
	(void)json_object_set_new(row, "shape", status_shape(r->shape));
	(void)json_object_set_new(row, "batch", json_integer(r->batch));
	(void)json_object_set_new(row, "power_w", status_number(r->power_w));
	(void)json_object_set_new(row, "tail_ms", status_number(ms(r->tail_ns)));
	(void)json_object_set_new(row, "tail_upper_ms", status_number(ms(r->tail_upper_ns)));
	(void)json_object_set_new(row, "modelled", json_boolean(r->flags & TABLE_ROW_MODELLED));
	(void)json_object_set_new(row, "baseline", json_boolean(r->flags & TABLE_ROW_BASELINE));
	return row;
}

static json_t *table_json(const struct unit *u, uint32_t i)
{
	bool clock_alone = u->decided && u->decision.models[i].clock_alone;
	const struct response_table *t = governor_table(u->plan->governor, i, clock_alone);
	json_t *table = json_object(), *rows = json_array();

	(void)json_object_set_new(table, "bdf", json_string(u->bdf));
	(void)json_object_set_new(table, "surface", status_text(u->plan->tables[i].path));
	(void)json_object_set_new(table, "error", status_text(t ? NULL : u->plan->tables[i].why));
	for (uint32_t k = 0; t && k < t->n_rows; k++)
		(void)json_array_append_new(rows, row_json(&t->rows[k]));
	(void)json_object_set_new(table, "rows", rows);
	if (!t)
		return table;
	(void)json_object_set_new(table, "simulated", json_boolean(t->simulated));
	(void)json_object_set_new(table, "clock_alone", json_boolean(clock_alone));
	(void)json_object_set_new(table, "gating", json_string(config_gating_name(t->gating)));
	(void)json_object_set_new(table, "modelled", json_boolean(t->gating != TABLE_GATING_NONE));
	(void)json_object_set_new(table, "percentile", json_integer(t->percentile));
	(void)json_object_set_new(table, "slo_ms", status_number(ms((double)t->slo_ns)));
	(void)json_object_set_new(table, "t0_ms", status_number(ms((double)t->t0_ns)));
	(void)json_object_set_new(table, "rated_rps", status_number(t->rated_rps));
	(void)json_object_set_new(table, "overload_rps", status_number(t->overload_rps));
	(void)json_object_set_new(table, "baseline", row_json(&t->baseline));
	return table;
}

char *status_table_json(const struct manager *m, const char *model)
{
	const struct config_model *found = config_find_model(m->config, model);
	uint32_t index = (uint32_t)(found - m->config->models);
	json_t *root = json_object(), *tables = json_array();
	const struct unit *u;

	(void)json_object_set_new(root, "schema", json_integer(STATUS_SCHEMA));
	(void)json_object_set_new(root, "model", json_string(model));
	TAILQ_FOREACH(u, &m->units, entry)
	if (u->plan && index < u->plan->n_models)
		(void)json_array_append_new(tables, table_json(u, index));
	(void)json_object_set_new(root, "tables", tables);
	return status_dump(root);
}
