/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "replay/simulation.h"

/* For n intervals: full speed before interval from, and after it what serves the most inside the
 * cap on this card as it is. No order that keeps the cap could do better. ret: for free(). */
int disturbances_schedule(const struct plant_device *d, const struct costs *costs, uint64_t cap_uw,
			  uint32_t from, uint32_t n, struct configuration **ret);
