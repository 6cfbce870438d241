/* SPDX-License-Identifier: Apache-2.0 */
/* Which workers are not believed, and why. What follows from it is the governor's business, which
 * knows models alone: here it is said whom to look at. */
#pragma once

#include "daemon/unit.h"

/* The last step's input has been judged by the governor, and its intervals have not ended yet.
 * Tells in the journal of each worker whose counts are invalid, and of each model whose wakes or
 * late requests count no more, once. */
void doubts_judge(struct unit *u);
/* Of a worker: NULL if it is believed. */
const char *doubts_text(const struct session *s);
/* Whom a model's wakes or late requests are ignored for; NULL if they are not. */
const struct unit_doubts *doubts_ignored(const struct unit *u, uint32_t model,
					 enum doubt_subject subject);
