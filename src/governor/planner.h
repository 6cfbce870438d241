/* SPDX-License-Identifier: Apache-2.0 */
/* From one model's demand to a row of its table and from a row to what is asked of the card. Rows
 * are numbers here; PACER_ROW_BASELINE is B. One active model per card. */
#pragma once

#include "governor/governor.h"
#include "governor/pacer.h"

/* Look-up rounds up; B beyond the last row. */
uint32_t planner_lookup(const struct response_table *t, double demand_rps);
const struct table_row *planner_row(const struct response_table *t, uint32_t row);
/* Same clock limit, shape and batch. */
bool planner_same(const struct response_table *t, uint32_t a, uint32_t b);
/* The lowest row not below row that needs no batch size which the workers would have to follow. */
uint32_t planner_with_own_batch(const struct response_table *t, uint32_t row);
/* row, or the highest one (B included) whose predicted power is inside the cap; row 0 if none is.
 * cap_uw of 0: no cap. */
uint32_t planner_inside_cap(const struct response_table *t, uint32_t row, uint64_t cap_uw);
/* The card's lowest level of at least this clock, within what surfaces may be off. */
uint32_t planner_level_for_mhz(const struct governor_config *c, uint32_t mhz);
/* The card's lowest level that gives at least what the row was measured at; surfaces may name
 * levels up to 2 % off the card's. B is the highest level. */
uint32_t planner_level_mhz(const struct governor_config *c, const struct response_table *t,
			   uint32_t row);
