/* SPDX-License-Identifier: Apache-2.0 */
/* The mask-stall watchdog of one model on one card: requests in flight and none ending under a
 * partial mask. A kernel that cannot make progress on few CUs (a cooperative one, a queue whose
 * mask lost its last CU) would wait for ever. No I/O and no clock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Rarer than any pause of a healthy server: garbage collection, a model's warm-up. */
#define STALL_MIN_NS UINT64_C(5000000000)
#define STALL_P99S   20

struct stall {
	uint64_t since_ns; /* of the last progress while watched; 0: nothing to wait for */
};

struct stall_input {
	uint64_t now_ns;
	bool masked;	    /* one of the model's workers has been told a partial mask */
	bool missing;	    /* a worker does not report: a stopped process is no stalled one */
	uint64_t in_flight; /* summed over the model's workers, whichever of them count */
	uint64_t ended;	    /* completions and failures since the last step */
	uint64_t p99_ns;    /* of latency; 0 unknown */
};

/* How long no request may end: max(5 s, 20 x p99). */
uint64_t stall_limit_ns(uint64_t p99_ns);
/* One step; true if the model is stalled under its mask. */
bool stall_step(struct stall *s, const struct stall_input *in);
