/* SPDX-License-Identifier: Apache-2.0 */
/* Clock groups: the cards that workers over several cards tie together, directly or through one
 * another. Each card's governor decides as ever; what their sequencers are told is one clock, and
 * nothing is taken from any card before all have been given theirs. */
#pragma once

#include "daemon/unit.h"

/* Which card is in which group; after each session that comes or goes. */
void group_update(struct manager *m);
bool group_is_one(const struct unit *a, const struct unit *b);
/* Whether u shares its clock with another card. */
bool group_shared(const struct unit *u);

/* The group's clock in u's own levels: at least the highest that any of its cards decides in this
 * tick. */
uint32_t group_max_mhz(const struct unit *u);
/* Widens what u's own governor decided for a model to what any card of the group needs for it. */
void group_widen(const struct unit *u, uint32_t model, struct sequence_directive *directive);
/* Lets all cards of u's group take, once each has confirmed what it was given. True if they may
 * from now on: then their sequencers want to be asked. */
bool group_let_take(struct unit *u);
