/* SPDX-License-Identifier: Apache-2.0 */
/* org.cofris1.Manager: why cards run as they do, what they would do, what was decided, and whether
 * the hardware is so. Anyone may ask; nothing here changes anything. */
#include "base/parse.h"
#include "daemon/bus-internal.h"
#include "daemon/status.h"
#include "daemon/unit.h"
#include <errno.h>
#include <math.h>
#include <string.h>

int bus_refuse_unknown_model(const struct manager *m, const char *model, sd_bus_error *error)
{
	const char *names[CONFIG_MAX_MODELS], *nearest;

	if (config_find_model(m->config, model))
		return 0;
	for (uint32_t i = 0; i < m->config->n_models; i++)
		names[i] = m->config->models[i].name;
	nearest = nearest_name(model, names, m->config->n_models);
	if (nearest)
		return sd_bus_error_setf(error, BUS_ERROR_NO_MODEL,
					 "no section [model %s] in the configuration, did you "
					 "mean '%s'?",
					 quotable(model), nearest);
	return sd_bus_error_setf(error, BUS_ERROR_NO_MODEL,
				 "no section [model %s] in the configuration", quotable(model));
}

/* What "*" or a name means; sets the error and returns its errno for what is not there. */
static int find(const struct manager *m, const char *gpu, const char *model,
		const struct unit **ret_unit, uint32_t *ret_model, sd_bus_error *error)
{
	int r;

	*ret_unit = NULL;
	*ret_model = UINT32_MAX;
	if (strcmp(gpu, "*") != 0) {
		*ret_unit = manager_find_unit(m, gpu);
		if (!*ret_unit)
			return sd_bus_error_setf(error, BUS_ERROR_NO_GPU, "no governed card %s",
						 quotable(gpu));
	}
	if (strcmp(model, "*") == 0)
		return 0;
	r = bus_refuse_unknown_model(m, model, error);
	if (r < 0)
		return r;
	*ret_model = (uint32_t)(config_find_model(m->config, model) - m->config->models);
	return 0;
}

int bus_method_explain(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	const struct manager *m = userdata;
	const char *gpu, *model;
	const struct unit *u;
	uint32_t index;
	double rps;
	int r;

	r = sd_bus_message_read(call, "ssd", &gpu, &model, &rps);
	if (r < 0)
		return r;
	r = find(m, gpu, model, &u, &index, error);
	if (r < 0)
		return r;
	if (isinf(rps))
		return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
					"requests per second have to be finite");
	return bus_reply_text(call, status_explain_json(m, u, index, rps >= 0 ? rps : NAN));
}

int bus_method_get_decisions(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	const struct manager *m = userdata;
	const char *gpu, *model;
	const struct unit *u;
	uint32_t index, n;
	int r;

	r = sd_bus_message_read(call, "ssu", &gpu, &model, &n);
	if (r < 0)
		return r;
	r = find(m, gpu, model, &u, &index, error);
	if (r < 0)
		return r;
	return bus_reply_text(call, status_decisions_json(m, u, index,
							  MIN(n, (uint32_t)STATUS_MAX_DECISIONS)));
}

int bus_method_verify(sd_bus_message *call, void *userdata, sd_bus_error *error)
{
	const struct manager *m = userdata;
	const char *gpu;
	int r;

	r = sd_bus_message_read(call, "s", &gpu);
	if (r < 0)
		return r;
	r = strcmp(gpu, "*") == 0 ? 0 : bus_refuse_unknown_gpu(m, gpu, error);
	return r < 0 ? r : bus_verify(m->bus, call, gpu, error);
}
