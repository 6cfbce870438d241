/* SPDX-License-Identifier: Apache-2.0 */
/* What each model's workers have counted since the daemon's start, or since the model came into the
 * configuration: for those who want counters that only grow. Pure. */
#pragma once

#include "channel/channel.h"
#include "daemon/config.h"

struct totals {
	uint64_t requests, completions, failures, late;
};

struct model_totals {
	char names[CONFIG_MAX_MODELS][MODEL_NAME_MAX + 1];
	struct totals totals[CONFIG_MAX_MODELS]; /* by the configuration's models */
};

/* What one worker did between two of its samples. */
void totals_add(struct totals *t, const struct channel_sample *from,
		const struct channel_sample *to);
/* The configuration is another one now: models are known by their names. */
void totals_follow(struct model_totals *t, const struct config *c);
