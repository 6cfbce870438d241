/* SPDX-License-Identifier: Apache-2.0 */
/* While the card reports thermal throttling its firmware runs it below the limit that we ask for
 * anyway, hunting up and down. The limit is lowered after it, one level a step, as long as service
 * time does not grow; when it does, the last level is taken back. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct thermal {
	bool active;
	bool settled;	      /* service time grew: not lowered further */
	uint32_t planned_mhz; /* what was planned when the reference was taken */
	uint32_t limit_mhz;
	double reference_ns; /* mean service time before the first lowering; 0 not known yet */
	uint64_t changed_ns;
};

/* The limit to ask for (a level, at most planned_mhz). service_ns: mean of this interval, 0
 * unknown. levels ascending. */
uint32_t thermal_step(struct thermal *t, const uint32_t *level_mhz, uint32_t n_levels,
		      uint64_t now_ns, bool throttled, double service_ns, uint32_t planned_mhz);
