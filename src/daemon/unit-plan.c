/* SPDX-License-Identifier: Apache-2.0 */
/* What a configuration makes of a card: the models' tables and the governor over them. */
#include "base/log.h"
#include "base/units.h"
#include "daemon/masks.h"
#include "daemon/unit-internal.h"
#include <errno.h>
#include <string.h>

struct unit_plan *unit_plan_free(struct unit_plan *p)
{
	if (!p)
		return NULL;
	for (uint32_t i = 0; p->tables && i < p->n_models; i++)
		model_table_done(&p->tables[i]);
	free(p->tables);
	governor_free(p->governor);
	ring_free(p->ring);
	free(p);
	return NULL;
}

static struct governor_config *governor_config_of(const struct unit *u, const struct config *c,
						  const struct config_gpu *g,
						  const struct unit_plan *plan)
{
	struct governor_config *gc = calloc(1, sizeof(*gc));

	if (!gc)
		return NULL;
	gc->poll_ns = c->daemon.poll_ns;
	gc->n_levels = u->card.n_levels;
	(void)memcpy(gc->level_mhz, u->card.level_mhz, u->card.n_levels * sizeof(gc->level_mhz[0]));
	gc->topology = u->topology;
	gc->power_cap_uw = unit_cap_uw(u, g);
	gc->n_models = plan->n_models;
	for (uint32_t i = 0; i < plan->n_models; i++) {
		const struct config_model *m = &c->models[i];

		(void)strcpy(gc->models[i].name, m->name);
		gc->models[i].table = plan->tables[i].table;
		gc->models[i].clock_table = plan->tables[i].clock_table;
		gc->models[i].menu = plan->tables[i].menu;
		gc->models[i].headroom = plan->tables[i].headroom;
		gc->models[i].late_cost = plan->tables[i].late_cost;
		gc->models[i].policy = m->policy;
		gc->models[i].max_batch = m->max_batch;
		gc->models[i].priority = m->priority;
		gc->models[i].use_mask = m->use_mask;
	}
	return gc;
}

int unit_plan_new(struct unit *u, const struct config *c, const struct config_gpu *g,
		  struct unit_plan **ret)
{
	_cleanup_(unit_plan_freep) struct unit_plan *plan = NULL;
	_cleanup_(freep) struct governor_config *gc = NULL;
	int r;

	plan = calloc(1, sizeof(*plan));
	if (!plan)
		return -ENOMEM;
	plan->tables = calloc(MAX(c->n_models, 1u), sizeof(*plan->tables));
	if (!plan->tables)
		return -ENOMEM;
	plan->n_models = c->n_models;
	for (uint32_t i = 0; i < plan->n_models; i++) {
		(void)tables_derive(&u->manager->options.place, c, &c->models[i], g, &u->card,
				    &plan->tables[i]);
		plan->foreign_table = plan->foreign_table || plan->tables[i].foreign;
	}
	gc = governor_config_of(u, c, g, plan);
	if (!gc)
		return -ENOMEM;
	r = governor_new(gc, &plan->governor);
	if (r < 0)
		return r;
	r = ring_new(plan->n_models, &plan->ring);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(plan);
	return 0;
}

static void log_tables(const struct unit *u, const struct unit_plan *plan)
{
	for (uint32_t i = 0; i < plan->n_models; i++) {
		const struct model_table *t = &plan->tables[i];
		const char *name = u->manager->config->models[i].name;

		if (t->table)
			log_info("%s: model %s by %s%s%s, SLO %.3g ms at p%u, rated %.4g/s", u->bdf,
				 name, t->path, t->table->simulated ? " (simulated)" : "",
				 t->table->gating != TABLE_GATING_NONE ? " (power modelled)" : "",
				 (double)t->table->slo_ns / (double)NSEC_PER_MSEC,
				 t->table->percentile, t->table->rated_rps);
		else
			log_warning("%s: model %s has no table, so full speed for it: %s", u->bdf,
				    name, t->why ? t->why : strerror(-t->error));
	}
}

static void record_menu(struct unit *u, uint32_t model, const struct response_menu *menu)
{
	struct manager *m = u->manager;

	/* A full disk ends the record in between. */
	for (uint32_t piece = 0; m->record && piece <= menu->n_options; piece++)
		manager_record(m, record_format_menu(m->record_buffer, RECORD_CONFIG_BYTES_MAX,
						     u->number, model, menu, piece));
}

static void record_plan(struct unit *u, const struct unit_plan *plan, bool inherit)
{
	_cleanup_(freep) struct governor_config *gc = NULL;
	struct manager *m = u->manager;

	if (!m->record)
		return;
	gc = governor_config_of(u, m->config, &u->config, plan);
	if (!gc)
		return;
	manager_record(m, record_format_config(m->record_buffer, RECORD_CONFIG_BYTES_MAX, u->number,
					       u->bdf, inherit, gc));
	for (uint32_t i = 0; i < gc->n_models; i++)
		if (gc->models[i].menu)
			record_menu(u, i, gc->models[i].menu);
	manager_record(m,
		       record_format_ready(m->record_buffer, RECORD_CONFIG_BYTES_MAX, u->number));
}

int unit_plan_renew(struct unit *u)
{
	_cleanup_(governor_freep) struct governor *governor = NULL;
	_cleanup_(freep) struct governor_config *gc =
		governor_config_of(u, u->manager->config, &u->config, u->plan);
	int r;

	if (!gc)
		return -ENOMEM;
	r = governor_new(gc, &governor);
	if (r < 0)
		return r;
	governor_inherit(governor, u->plan->governor);
	record_plan(u, u->plan, /* inherit= */ true);
	governor_free(u->plan->governor);
	u->plan->governor = TAKE_PTR(governor);
	return 0;
}

void unit_plan_take(struct unit *u, const struct config_gpu *g, struct unit_plan *plan)
{
	struct session *s;

	u->config = *g;
	if (u->plan)
		governor_inherit(plan->governor, u->plan->governor);
	record_plan(u, plan, u->plan);
	log_tables(u, plan);
	unit_latencies_free(u);
	unit_plan_free(u->plan);
	u->plan = plan;
	u->decided = false;
	u->yielded = false;
	u->latencies = calloc(MAX(plan->n_models, 1u), sizeof(*u->latencies));
	free(u->masks);
	u->masks = calloc(MAX(plan->n_models, 1u), sizeof(*u->masks));
	(void)memset(u->logged_inputs, 0, sizeof(u->logged_inputs));
	(void)memset(u->doubts, 0, sizeof(u->doubts));
	(void)memset(u->logged_stale, 0, sizeof(u->logged_stale));
	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (s->unit == u)
		sequence_worker_set_model(u->sequence, s->worker, s->model_index);
}
