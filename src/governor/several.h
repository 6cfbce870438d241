/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered while several models on a card are planned for together. All zero at first. */
#pragma once

#include "governor/card-plan.h"

struct several {
	bool planned; /* plan is that of asked */
	uint32_t n, models[CARD_PLAN_MAX_MODELS];
	struct card_plan_request asked;
	struct card_plan plan;
	bool boosting;
	/* Intervals in a row in which all ran on all CUs at this clock. */
	uint32_t ran_mhz, n_ran;
};
