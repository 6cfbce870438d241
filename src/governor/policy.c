/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/policy.h"
#include <string.h>

static const struct policy *const policies[] = {
	&policy_cofris,		  &policy_coordinated,	&policy_frequency,
	&policy_resource,	  &policy_maximum,	&policy_auto,
	&policy_adapter,	  &policy_adapter_tail, &policy_batchsizer,
	&policy_batchsizer_fixed, &policy_dvfs,
};

const struct policy *policy_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(policies); i++)
		if (strcmp(policies[i]->name, name) == 0)
			return policies[i];
	return NULL;
}

const char *policy_name(unsigned int i)
{
	return i < ARRAY_SIZE(policies) ? policies[i]->name : NULL;
}

bool policy_is_clairvoyant(const char *name)
{
	return strcmp(name, "oracle") == 0 || strcmp(name, "oracle-rate") == 0;
}

void policy_restrict(const struct policy *p, struct table_options *o)
{
	o->free_clock = o->free_clock && !p->fixed_clock;
	o->free_mask = o->free_mask && !p->fixed_mask;
	o->late_cost = p->by_cost ? TABLE_LATE_COST : 0;
}
