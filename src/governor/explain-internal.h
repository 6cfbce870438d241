/* SPDX-License-Identifier: Apache-2.0 */
/* Between explain.c (what is chosen and in force) and explain-candidates.c (what else there was).
 */
#pragma once

#include "governor/explain.h"
#include "governor/governor-internal.h"

struct explain_question {
	const struct governor *g;
	const struct governor_model_config *config;
	const struct governor_model_input *in;
	const struct response_table *table; /* in force */
	uint32_t n_active;
};

/* Fills source, counts and candidates; all else of ret is known by now. */
void explain_candidates(const struct explain_question *q, struct governor_explanation *ret);
