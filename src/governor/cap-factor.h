/* SPDX-License-Identifier: Apache-2.0 */
/* What a card really draws over what its profile says, learnt while a model works under a known
 * option: by the mean of windows of some seconds in which it hardly paused, more slowly down than
 * up, as what was too much once may be again; and at once where a reading is above the cap,
 * whatever the share of time that it worked. Where a queue shows that it did not pause at all, each
 * reading tells.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CAP_FACTOR_MIN 0.7
#define CAP_FACTOR_MAX 1.5

struct cap_factor {
	double factor;	     /* 0: nothing is learnt yet, which is 1 */
	uint32_t option;     /* of the menu: in force in the last step */
	uint64_t settled_ns; /* for how long it has been, acknowledged */
	double learnt_s;     /* that it was learnt of, as far as that matters */
	/* Of the present window: its length, busy time, mean power times the length; whole batches
	 * and the requests in them. */
	double length_s, busy_s, energy_j, executions, completions;
};

struct cap_factor_input {
	uint32_t option; /* ordered by the last step; UINT32_MAX: unknown */
	bool held;	 /* and all workers ran under it */
	bool saturated;	 /* some request waited or ran throughout the interval */
	uint64_t interval_ns, busy_ns, executions, completions;
	uint64_t power_uw, cap_uw; /* the sensor; 0 unknown; 0 none */
	uint32_t batch;
	double idle_w, busy_w; /* predicted, busy without a pause in full batches */
};

/* One whole interval. */
void cap_factor_update(struct cap_factor *f, const struct cap_factor_input *in);
double cap_factor_get(const struct cap_factor *f);
