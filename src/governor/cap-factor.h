/* SPDX-License-Identifier: Apache-2.0 */
/* What a card really draws over what its profile says, learnt while a model works under a known
 * option. It rises within a second, because until then the card may be above its cap, and falls
 * over minutes, because what was too much once will be again. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CAP_FACTOR_MIN 0.7
#define CAP_FACTOR_MAX 1.5

struct cap_factor {
	double factor;	    /* 0: nothing is learnt yet, which is 1 */
	uint32_t option;    /* of the menu: in force in the last step */
	uint32_t n_settled; /* steps for which it has been, acknowledged */
};

struct cap_factor_input {
	uint32_t option; /* ordered by the last step; UINT32_MAX: unknown */
	bool held;	 /* and all workers ran under it */
	uint64_t interval_ns;
	uint64_t power_uw; /* the sensor; 0 unknown */
	double busy_share; /* of the interval */
	double full_share; /* mean batch over the option's */
	double idle_w, busy_w;
};

/* One whole interval. */
void cap_factor_update(struct cap_factor *f, const struct cap_factor_input *in);
double cap_factor_get(const struct cap_factor *f);
