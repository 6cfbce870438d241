/* SPDX-License-Identifier: Apache-2.0 */
/* What the governor's steps say to the self-check: which intervals count, and what the profile
 * predicts of them.
 *
 * One counts if one model alone ran on the card, in one configuration that was acknowledged before
 * it began and stayed, without a boost, a doubt, overload, throttling, foreign load or anything
 * else that the card's flags name, with one execution at a time (as profiled) and full batches. The
 * sensor is read between two intervals, so power needs two of these in a row, both from poll to
 * poll, and is held against the mean of both. */
#pragma once

#include "governor/governor.h"
#include "governor/self-check.h"

/* What was asked for and is taken to be in force. */
struct check_configuration {
	uint32_t max_mhz, batch;
	struct cu_shape shape;
};

/* Of one execution at a time in that configuration. */
struct check_prediction {
	double idle_w;
	double active_w; /* above idle while anything runs */
	double energy_j; /* of each request, beside that; NaN: power is not known */
	double service_ns;
	uint32_t batch; /* 0: nothing is known of the configuration */
};

struct governor_check {
	struct self_check check;
	struct check_configuration configuration;
	struct check_prediction prediction;
	uint32_t n_steady;		  /* intervals in a row that count, of that configuration */
	uint32_t n_whole;		  /* of these, the last ones that are from poll to poll */
	double before_w, before_busy;	  /* of the interval before the last one */
	struct self_check_sample counted; /* what the last one said, if it counted */
};
