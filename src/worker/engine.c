/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine.h"
#include <string.h>

static const struct engine_ops *const engines[] = {&engine_plant, NULL};

const struct engine_ops *const *engine_all(void)
{
	return engines;
}

const struct engine_ops *engine_find(const char *name)
{
	for (uint32_t i = 0; engines[i]; i++)
		if (strcmp(engines[i]->name, name) == 0)
			return engines[i];
	return NULL;
}
