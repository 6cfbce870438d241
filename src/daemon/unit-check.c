/* SPDX-License-Identifier: Apache-2.0 */
/* What a unit says of models whose profiles do not describe the card: once for each change. */
#include "base/log.h"
#include "daemon/unit-internal.h"
#include "governor/self-check.h"

static const char *const subjects[SELF_CHECK_SUBJECTS] = {
	[SELF_CHECK_POWER] = "power is",
	[SELF_CHECK_SERVICE] = "service times are",
};

static void log_subject(const struct unit *u, uint32_t model, uint32_t subject, bool stale)
{
	const struct self_check *check = governor_self_check(u->plan->governor, model);
	const struct self_check_series *s = &check->series[subject];
	const char *name = u->manager->config->models[model].name;

	if (stale)
		log_warning(
			"%s: model %s: its profile is stale: %s %.2f (%.2f to %.2f) times the "
			"profile's. Measure it anew: 'cofris-profile --model %s --gpu %s' while "
			"the card is free, then 'cofrisctl reload'",
			u->bdf, name, subjects[subject], s->ratio, s->low, s->high, name, u->bdf);
	else
		log_info("%s: model %s: its profile holds again: %s %.2f (%.2f to %.2f) times the "
			 "profile's",
			 u->bdf, name, subjects[subject], s->ratio, s->low, s->high);
}

void unit_check_log(struct unit *u)
{
	for (uint32_t i = 0; i < u->decision.n_models; i++) {
		uint32_t stale = u->decision.models[i].stale;

		for (uint32_t k = 0; k < SELF_CHECK_SUBJECTS; k++)
			if ((stale ^ u->logged_stale[i]) & 1u << k)
				log_subject(u, i, k, stale & 1u << k);
		u->logged_stale[i] = stale;
	}
}
