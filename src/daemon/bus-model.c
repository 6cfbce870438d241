/* SPDX-License-Identifier: Apache-2.0 */
/* org.cofris1.Model: one object for each configured model. */
#include "base/units.h"
#include "daemon/bus-changes.h"
#include "daemon/session.h"
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define BUS_MODEL      BUS_NAME ".Model"
#define BUS_MODEL_PATH BUS_PATH "/model"

static int find_model(sd_bus *bus _unused_, const char *path, const char *i _unused_,
		      void *userdata, void **ret_found, sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	_cleanup_(freep) char *name = NULL;

	if (sd_bus_path_decode(path, BUS_MODEL_PATH, &name) <= 0 ||
	    !config_find_model(m->config, name))
		return 0;
	/* Getters need the manager as well, so they look the model up again by their path. */
	*ret_found = userdata;
	return 1;
}

static int list_models(sd_bus *bus _unused_, const char *prefix _unused_, void *userdata,
		       char ***ret_nodes, sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	const struct config *c = m->config;
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

/* What is told of a model, over all its cards. */
struct seen {
	double rate_rps, demand_rps, capacity_rps; /* sums; NaN: unknown */
	double p95_ms, p99_ms, tail_ms, slo_ms;	   /* of the card where it is longest; NaN */
	uint32_t cus, row;			   /* row: of the first card */
	const char *reason;			   /* likewise */
};

static double longer(double a, double b)
{
	return isnan(a) || b > a ? b : a;
}

static double more(double sum, double value)
{
	return isnan(sum) ? value : sum + value;
}

static void see_decision(const struct unit *u, uint32_t i, struct seen *s)
{
	const struct governor_model_decision *d = &u->decision.models[i];
	const struct response_table *t = governor_table(u->plan->governor, i, d->clock_alone);
	uint32_t cus = cu_shape_cus(d->shape);

	s->rate_rps = more(s->rate_rps, d->rate_rps);
	s->demand_rps = more(s->demand_rps, d->demand_rps);
	if (t) {
		s->capacity_rps = more(s->capacity_rps, t->overload_rps);
		s->slo_ms = (double)t->slo_ns / (double)NSEC_PER_MSEC;
	}
	s->cus += cus > 0 ? cus : cu_topology_cus(&u->topology);
	if (*s->reason)
		return;
	s->row = d->row;
	s->reason = governor_reason_name(d->reason);
}

static void see(const struct manager *m, uint32_t i, struct seen *ret)
{
	const struct unit *u;

	*ret = (struct seen){NAN, NAN, NAN, NAN, NAN, NAN, NAN, 0, UINT32_MAX, ""};
	TAILQ_FOREACH(u, &m->units, entry)
	{
		const struct unit_latency *l;

		if (!u->plan || !u->decided || i >= u->decision.n_models ||
		    u->input.models[i].workers == 0)
			continue;
		see_decision(u, i, ret);
		l = u->latencies ? &u->latencies[i] : NULL;
		if (!l || l->count == 0)
			continue;
		ret->p95_ms = longer(ret->p95_ms, l->p95_ms);
		ret->p99_ms = longer(ret->p99_ms, (double)l->p99_ns / (double)NSEC_PER_MSEC);
		ret->tail_ms = longer(ret->tail_ms, l->tail_ms);
	}
}

static const struct config_model *model_of(const struct manager *m, const char *path)
{
	_cleanup_(freep) char *name = NULL;

	if (sd_bus_path_decode(path, BUS_MODEL_PATH, &name) <= 0)
		return NULL;
	return config_find_model(m->config, name);
}

static int get_text(sd_bus *bus _unused_, const char *path, const char *i _unused_,
		    const char *property, sd_bus_message *reply, void *userdata,
		    sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	const struct config_model *model = model_of(m, path);
	struct seen s;

	if (!model)
		return -ENOENT;
	if (strcmp(property, "Name") == 0)
		return sd_bus_message_append(reply, "s", model->name);
	if (strcmp(property, "Policy") == 0)
		return sd_bus_message_append(reply, "s", model->policy);
	see(m, (uint32_t)(model - m->config->models), &s);
	return sd_bus_message_append(reply, "s", s.reason);
}

static int get_number(sd_bus *bus _unused_, const char *path, const char *i _unused_,
		      const char *property, sd_bus_message *reply, void *userdata,
		      sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	const struct config_model *model = model_of(m, path);
	struct seen s;

	if (!model)
		return -ENOENT;
	if (strcmp(property, "Priority") == 0)
		return sd_bus_message_append(reply, "u", model->priority);
	if (strcmp(property, "Percentile") == 0)
		return sd_bus_message_append(reply, "u", model->percentile);
	if (strcmp(property, "Workers") == 0)
		return sd_bus_message_append(reply, "u", workers_of(m, model->name));
	see(m, (uint32_t)(model - m->config->models), &s);
	return sd_bus_message_append(reply, "u", strcmp(property, "Row") == 0 ? s.row : s.cus);
}

static int get_measure(sd_bus *bus _unused_, const char *path, const char *i _unused_,
		       const char *property, sd_bus_message *reply, void *userdata,
		       sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	const struct config_model *model = model_of(m, path);
	static const struct {
		const char *name;
		size_t offset;
	} fields[] = {
		{"Rps", offsetof(struct seen, rate_rps)},
		{"DemandRps", offsetof(struct seen, demand_rps)},
		{"CapacityRps", offsetof(struct seen, capacity_rps)},
		{"P95Ms", offsetof(struct seen, p95_ms)},
		{"P99Ms", offsetof(struct seen, p99_ms)},
		{"TailMs", offsetof(struct seen, tail_ms)},
		{"SloMs", offsetof(struct seen, slo_ms)},
	};
	struct seen s;

	if (!model)
		return -ENOENT;
	see(m, (uint32_t)(model - m->config->models), &s);
	for (size_t k = 0; k < ARRAY_SIZE(fields); k++)
		if (strcmp(property, fields[k].name) == 0) {
			double value;

			(void)memcpy(&value, (const char *)&s + fields[k].offset, sizeof(value));
			return sd_bus_message_append(reply, "d", value);
		}
	return -ENOENT;
}

static int get_total(sd_bus *bus _unused_, const char *path, const char *i _unused_,
		     const char *property, sd_bus_message *reply, void *userdata,
		     sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	const struct config_model *model = model_of(m, path);
	const struct totals *t;

	if (!model)
		return -ENOENT;
	t = &m->totals.totals[model - m->config->models];
	return sd_bus_message_append(reply, "t",
				     strcmp(property, "Requests") == 0	 ? t->requests
				     : strcmp(property, "Failures") == 0 ? t->failures
									 : t->late);
}

/* clang-format off */
static const sd_bus_vtable model_vtable[] = {
	SD_BUS_VTABLE_START(0),
	SD_BUS_PROPERTY("Name", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_CONST),
	SD_BUS_PROPERTY("Policy", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Priority", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Percentile", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Workers", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Reason", "s", get_text, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Rps", "d", get_measure, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("DemandRps", "d", get_measure, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("CapacityRps", "d", get_measure, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("P95Ms", "d", get_measure, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("P99Ms", "d", get_measure, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("TailMs", "d", get_measure, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("SloMs", "d", get_measure, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Row", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("CUs", "u", get_number, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
	SD_BUS_PROPERTY("Requests", "t", get_total, 0, 0),
	SD_BUS_PROPERTY("Failures", "t", get_total, 0, 0),
	SD_BUS_PROPERTY("Late", "t", get_total, 0, 0),
	SD_BUS_VTABLE_END,
};
/* clang-format on */

int bus_tell_model(sd_bus *bus, struct manager *m, uint32_t model, struct bus_told *told)
{
	_cleanup_(freep) char *path = NULL;
	int r = sd_bus_path_encode(BUS_MODEL_PATH, m->config->models[model].name, &path);

	return r < 0 ? r : bus_tell_changes(bus, path, BUS_MODEL, model_vtable, m, told->digests);
}

int bus_add_models(sd_bus *connection, struct manager *m)
{
	int r;

	r = sd_bus_add_fallback_vtable(connection, NULL, BUS_MODEL_PATH, BUS_MODEL, model_vtable,
				       find_model, m);
	if (r < 0)
		return r;
	return sd_bus_add_node_enumerator(connection, NULL, BUS_MODEL_PATH, list_models, m);
}
