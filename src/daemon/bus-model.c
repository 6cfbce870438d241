/* SPDX-License-Identifier: Apache-2.0 */
/* org.cofris1.Model: one object for each configured model. */
#include "daemon/bus-internal.h"
#include "daemon/session.h"
#include <errno.h>
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

static int get_of_model(sd_bus *bus _unused_, const char *path, const char *i _unused_,
			const char *property, sd_bus_message *reply, void *userdata,
			sd_bus_error *error _unused_)
{
	const struct manager *m = userdata;
	_cleanup_(freep) char *name = NULL;
	const struct config_model *model;

	if (sd_bus_path_decode(path, BUS_MODEL_PATH, &name) <= 0)
		return -ENOENT;
	model = config_find_model(m->config, name);
	if (!model)
		return -ENOENT;
	if (strcmp(property, "Name") == 0)
		return sd_bus_message_append(reply, "s", model->name);
	if (strcmp(property, "Policy") == 0)
		return sd_bus_message_append(reply, "s", model->policy);
	if (strcmp(property, "Priority") == 0)
		return sd_bus_message_append(reply, "u", model->priority);
	return sd_bus_message_append(reply, "u", workers_of(m, model->name));
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

int bus_add_models(sd_bus *connection, struct manager *m)
{
	int r;

	r = sd_bus_add_fallback_vtable(connection, NULL, BUS_MODEL_PATH, BUS_MODEL, model_vtable,
				       find_model, m);
	if (r < 0)
		return r;
	return sd_bus_add_node_enumerator(connection, NULL, BUS_MODEL_PATH, list_models, m);
}
