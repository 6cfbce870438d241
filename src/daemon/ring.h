/* SPDX-License-Identifier: Apache-2.0 */
/* The latest decisions of one card, each with what it was made from, in little memory: pages are
 * touched only as entries fill them. */
#pragma once

#include "governor/governor.h"

#define RING_DECISIONS 4096

struct ring_model {
	float rate_rps, demand_rps, tail_ms;
	uint32_t in_flight, late;
	uint16_t row;		   /* UINT16_MAX: the baseline */
	uint16_t n_se, cus_per_se; /* 0: all CUs */
	uint16_t max_batch;
	uint8_t state; /* enum governor_input_state */
	uint8_t reason;
};

struct ring_entry {
	uint64_t number, now_ns;
	float interval_s, power_w, predicted_w;
	uint32_t flags;	      /* enum governor_card_flag */
	uint16_t applied_mhz; /* in force when it was decided */
	uint16_t sclk_mhz, max_mhz;
	uint8_t busy_percent;
	uint8_t action, reason, changed;
};

struct ring;

/* For decisions about n_models models. 0, -ENOMEM. */
int ring_new(uint32_t n_models, struct ring **ret);
struct ring *ring_free(struct ring *r);
DEFINE_CLEANUP(struct ring *, ring_free)

void ring_push(struct ring *r, const struct governor_input *input,
	       const struct governor_decision *decision);
/* The entry that is back steps older than the newest (0) and its models; NULL if there is none.
 * Both stay the ring's until the next push. */
const struct ring_entry *ring_get(const struct ring *r, uint32_t back,
				  const struct ring_model **ret_models);
uint64_t ring_count(const struct ring *r); /* ever pushed */
