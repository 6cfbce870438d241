/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/totals.h"
#include <string.h>

void totals_add(struct totals *t, const struct channel_sample *from,
		const struct channel_sample *to)
{
	t->requests += to->arrivals - from->arrivals;
	t->completions += to->completions - from->completions;
	t->failures += to->failures - from->failures;
	t->late += to->late - from->late;
}

void totals_follow(struct model_totals *t, const struct config *c)
{
	struct model_totals old = *t;

	*t = (struct model_totals){0};
	for (uint32_t i = 0; i < c->n_models; i++) {
		(void)strcpy(t->names[i], c->models[i].name);
		for (uint32_t k = 0; k < CONFIG_MAX_MODELS; k++)
			if (strcmp(old.names[k], t->names[i]) == 0)
				t->totals[i] = old.totals[k];
	}
}
