/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered while several models on a card are planned for together. All zero at first. */
#pragma once

#include "governor/card-plan.h"

/* The row whose rate one model is planned for: up at once; down, to the highest that was wanted
 * meanwhile, only after a lower one has been wanted for a while. A plan for several is made of
 * masks, and each change of one preempts every queue on the card, whoever caused it. */
struct several_hold {
	bool started, waiting;
	uint32_t row, peak;
	uint64_t waiting_ns;
};

struct several {
	struct several_hold holds[GOVERNOR_MAX_MODELS];
	bool planned; /* plan is that of asked */
	uint32_t n, models[CARD_PLAN_MAX_MODELS];
	struct card_plan_request asked;
	struct card_plan plan;
	bool boosting;
	uint64_t boost_until_ns;
};

void several_hold(struct several_hold *h, const struct response_table *t, uint64_t now_ns,
		  uint32_t want);
