/* SPDX-License-Identifier: Apache-2.0 */
/* The explanation document. */
#include "base/units.h"
#include "daemon/status-json.h"
#include "daemon/status.h"
#include "governor/explain.h"
#include "gpu/gpu.h"
#include <math.h>

static double ms(double ns)
{
	return ns / (double)NSEC_PER_MSEC;
}

static json_t *setting_json(const struct explain_setting *s)
{
	bool set = s->action == GOVERNOR_SET;
	json_t *o = json_object();

	(void)json_object_set_new(o, "action", json_string(status_action_name(s->action)));
	(void)json_object_set_new(o, "max_mhz", status_integer_if(s->max_mhz > 0, s->max_mhz));
	(void)json_object_set_new(o, "cus", status_integer_if(set, cu_shape_cus(s->shape)));
	(void)json_object_set_new(o, "shape", set ? status_shape(s->shape) : json_null());
	(void)json_object_set_new(o, "masked", json_boolean(set && !s->full));
	(void)json_object_set_new(o, "max_batch",
				  status_integer_if(set && s->max_batch > 0, s->max_batch));
	(void)json_object_set_new(o, "max_wait_ms",
				  status_number_if(set, ms((double)s->max_wait_ns)));
	(void)json_object_set_new(o, "power_w", status_number_if(set, s->power_w));
	(void)json_object_set_new(o, "tail_ms",
				  status_number_if(set && s->tail_ns > 0, ms(s->tail_ns)));
	(void)json_object_set_new(o, "reason", json_string(governor_reason_name(s->reason)));
	(void)json_object_set_new(o, "words", json_string(governor_reason_words(s->reason)));
	(void)json_object_set_new(o, "card_reason",
				  json_string(governor_reason_name(s->card_reason)));
	return o;
}

static json_t *candidate_json(const struct explain_candidate *c)
{
	json_t *o = json_object();

	(void)json_object_set_new(o, "max_mhz", json_integer(c->max_mhz));
	(void)json_object_set_new(o, "cus", json_integer(cu_shape_cus(c->shape)));
	(void)json_object_set_new(o, "shape", status_shape(c->shape));
	(void)json_object_set_new(o, "masked", json_boolean(!c->full));
	(void)json_object_set_new(o, "batch", json_integer(c->batch));
	(void)json_object_set_new(o, "rate_rps", status_number(c->rate_rps));
	(void)json_object_set_new(o, "power_w", status_number(c->power_w));
	(void)json_object_set_new(o, "tail_ms", status_number(ms(c->tail_ns)));
	(void)json_object_set_new(o, "wait_ms", status_number(ms(c->wait_ns)));
	(void)json_object_set_new(o, "late_percent", status_number(100 * c->late));
	(void)json_object_set_new(o, "cost_w", status_number(c->cost_w));
	(void)json_object_set_new(o, "verdict", json_string(explain_verdict_name(c->verdict)));
	(void)json_object_set_new(o, "words", json_string(explain_verdict_words(c->verdict)));
	(void)json_object_set_new(o, "baseline", json_boolean(c->baseline));
	(void)json_object_set_new(o, "in_force", json_boolean(c->in_force));
	return o;
}

static json_t *candidates_json(const struct governor_explanation *e)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < e->n_candidates; i++)
		(void)json_array_append_new(array, candidate_json(&e->candidates[i]));
	return array;
}

static void add_objective(const struct governor_explanation *e, json_t *o)
{
	(void)json_object_set_new(o, "percentile",
				  status_integer_if(e->percentile > 0, e->percentile));
	(void)json_object_set_new(o, "slo_ms", status_number(ms(e->slo_ns)));
	(void)json_object_set_new(o, "headroom", status_number(e->headroom));
	(void)json_object_set_new(o, "limit_ms", status_number(ms(e->limit_ns)));
	(void)json_object_set_new(o, "late_cost", status_number(e->late_cost));
	(void)json_object_set_new(o, "service_factor", status_number(e->factor));
	(void)json_object_set_new(o, "power_factor", status_number(e->power_factor));
	(void)json_object_set_new(o, "stale", status_stale(e->stale));
	(void)json_object_set_new(o, "power_cap_w",
				  status_number_if(e->power_cap_uw > 0,
						   (double)e->power_cap_uw / (double)UW_PER_W));
}

static json_t *source_json(enum explain_source source)
{
	static const char *const names[] = {
		[EXPLAIN_FROM_NOTHING] = NULL,
		[EXPLAIN_FROM_TABLE] = "table",
		[EXPLAIN_FROM_MENU] = "menu",
	};

	return status_text(names[source]);
}

static json_t *explanation_json(const struct unit *u, const struct governor_explanation *e)
{
	const struct config_model *model = &u->manager->config->models[e->model];
	const struct governor_model_input *in = &u->input.models[e->model];
	bool held = e->held != GOVERNOR_REASON_NONE;
	json_t *o = json_object();

	(void)json_object_set_new(o, "name", json_string(model->name));
	(void)json_object_set_new(o, "policy", json_string(model->policy));
	(void)json_object_set_new(o, "input",
				  json_string(status_input_name(u->decided ? in->state
									   : GOVERNOR_NO_WORKER)));
	(void)json_object_set_new(o, "what_if", json_boolean(e->what_if));
	(void)json_object_set_new(o, "worker_presumed", json_boolean(e->presumed));
	(void)json_object_set_new(o, "rate_rps", status_number_if(e->decided, e->rate_rps));
	(void)json_object_set_new(o, "demand_rps", status_number(e->demand_rps));
	(void)json_object_set_new(o, "row_rps", status_number(e->row_rps));
	add_objective(e, o);
	(void)json_object_set_new(o, "in_force",
				  e->decided ? setting_json(&e->in_force) : json_null());
	(void)json_object_set_new(o, "choice", setting_json(&e->choice));
	(void)json_object_set_new(o, "differs", json_boolean(e->differs));
	(void)json_object_set_new(o, "held",
				  status_text(held ? governor_reason_name(e->held) : NULL));
	(void)json_object_set_new(o, "held_words",
				  status_text(held ? governor_reason_words(e->held) : NULL));
	(void)json_object_set_new(o, "from", source_json(e->source));
	(void)json_object_set_new(o, "considered", json_integer(e->n_considered));
	(void)json_object_set_new(o, "feasible", json_integer(e->n_feasible));
	(void)json_object_set_new(o, "candidates", candidates_json(e));
	return o;
}

/* Since when the card and its workers are told what they are told now. */
static json_t *since_json(const struct unit *u)
{
	uint64_t now_ns = manager_now_ns(u->manager);
	const struct ring_model *models;
	const struct ring_entry *e;

	for (uint32_t back = 0; u->decided; back++) {
		e = ring_get(u->plan->ring, back, &models);
		if (!e)
			break;
		if (e->changed)
			return status_number((double)(now_ns - MIN(e->now_ns, now_ns)) /
					     (double)NSEC_PER_SEC);
	}
	return json_null();
}

/* Before the first step with a plan, what was read is of another plan's models. */
static const struct governor_input *latest_input(const struct unit *u)
{
	static const struct governor_input none;

	return u->decided ? &u->input : &none;
}

static json_t *models_json(const struct unit *u, uint32_t model, double rps)
{
	const struct governor_input *input = latest_input(u);
	struct governor_explanation e;
	json_t *array = json_array();

	for (uint32_t i = 0; u->plan && i < u->plan->n_models; i++) {
		bool asked = i == model ||
			     (model == UINT32_MAX && input->models[i].state != GOVERNOR_NO_WORKER);

		if (asked && governor_explain(u->plan->governor, input, i, rps, &e) == 0)
			(void)json_array_append_new(array, explanation_json(u, &e));
	}
	return array;
}

static json_t *gpu_json(const struct unit *u, uint32_t model, double rps)
{
	uint32_t has = u->state_valid ? u->state.fields : 0;
	json_t *gpu = json_object();

	(void)json_object_set_new(gpu, "bdf", json_string(u->bdf));
	(void)json_object_set_new(gpu, "simulated", json_boolean(unit_simulated(u)));
	(void)json_object_set_new(gpu, "gating", json_string(config_gating_name(u->config.gating)));
	(void)json_object_set_new(gpu, "state", json_string(card_state_name(unit_state(u))));
	(void)json_object_set_new(gpu, "flags", status_flags(u->decided ? u->input.flags : 0));
	(void)json_object_set_new(gpu, "decision",
				  status_integer_if(u->decided,
						    u->decided ? u->decision.number : 0));
	(void)json_object_set_new(gpu, "reason",
				  status_text(u->decided ? governor_reason_name(u->decision.reason)
							 : NULL));
	(void)json_object_set_new(gpu, "words",
				  status_text(u->decided ? governor_reason_words(u->decision.reason)
							 : NULL));
	(void)json_object_set_new(gpu, "since_s", since_json(u));
	(void)json_object_set_new(gpu, "power_w",
				  status_number_if(has & GPU_HAS_POWER,
						   (double)u->state.power_uw / (double)UW_PER_W));
	(void)json_object_set_new(gpu, "models", models_json(u, model, rps));
	return gpu;
}

char *status_explain_json(const struct manager *m, const struct unit *only, uint32_t model,
			  double rps)
{
	json_t *root = json_object(), *gpus = json_array();
	const struct unit *u;

	(void)json_object_set_new(root, "schema", json_integer(STATUS_SCHEMA));
	(void)json_object_set_new(root, "mode",
				  json_string(config_mode_name(m->config->daemon.mode)));
	(void)json_object_set_new(root, "rps", status_number(rps));
	TAILQ_FOREACH(u, &m->units, entry)
	if (!only || u == only)
		(void)json_array_append_new(gpus, gpu_json(u, model, rps));
	(void)json_object_set_new(root, "gpus", gpus);
	return status_dump(root);
}
