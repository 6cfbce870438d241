/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/engine.h"
#include <string.h>

static const struct engine_ops *const engines[] = {
#ifdef COFRIS_HAVE_HIP
	&engine_hip,
#endif
	&engine_plant,
	NULL,
};

const struct engine_ops *const *engine_all(void)
{
	return engines;
}

const struct engine_ops *engine_find(const char *name)
{
	bool any = strcmp(name, "auto") == 0;

	for (uint32_t i = 0; engines[i]; i++)
		if (any ? engines[i]->probe() : strcmp(engines[i]->name, name) == 0)
			return engines[i];
	return NULL;
}
