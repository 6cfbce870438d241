/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/experiment.h"
#include <string.h>

static const struct experiment *const experiments[] = {
	&experiment_batchsizer,
	&experiment_adapter,
	&experiment_cofris,
};

const struct experiment *experiment_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(experiments); i++)
		if (strcmp(experiments[i]->name, name) == 0)
			return experiments[i];
	return NULL;
}

const char *experiment_name(unsigned int i)
{
	return i < ARRAY_SIZE(experiments) ? experiments[i]->name : NULL;
}
