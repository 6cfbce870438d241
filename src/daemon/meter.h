/* SPDX-License-Identifier: Apache-2.0 */
/* What one worker did between two steps of the governor, from its cumulative samples; and the sum
 * over a model's workers. No I/O and no clock. */
#pragma once

#include "channel/channel.h"
#include "governor/governor.h"

/* Half a minute at the usual poll: a request older than that is endangered under any objective. */
#define METER_HISTORY 64

struct meter {
	struct channel_sample last; /* the newest good sample */
	struct channel_sample base; /* the one that the present interval began with */
	uint64_t beat_ns;	    /* when its beat was last seen to change */
	bool invalid;		    /* a sample of this interval failed its validation */
	bool whole;		    /* connected during the whole interval */
	bool starts;		    /* it reports when requests start */
	bool woken;		    /* in this interval it asked to be looked at */
	uint32_t head, n_history;
	struct {
		uint64_t at_ns, arrivals;
	} history[METER_HISTORY];
};

void meter_init(struct meter *m, uint64_t now_ns, bool starts);
/* Takes what channel_connection_sample() returned: r, and the sample if r is 0. */
void meter_feed(struct meter *m, uint64_t now_ns, int r, const struct channel_sample *s);
/* Missing input: an invalid sample, or a beat older than max(1 s, 2 polls). */
bool meter_missing(const struct meter *m, uint64_t now_ns, uint64_t poll_ns);
/* A lower bound of the age of the oldest unfinished request (they end in the order of arrival, near
 * enough); 0 if there is none, or it came after the last step. */
uint64_t meter_oldest_age_ns(const struct meter *m, uint64_t now_ns);

/* Adds this worker to its model's input, which begins zeroed but for mask_follows, batch_follows,
 * acknowledged and whole_interval = true. */
void meter_add_to(const struct meter *m, uint64_t now_ns, uint64_t poll_ns,
		  struct governor_model_input *input);
/* Ends the interval: the newest sample is the next one's base. One that ended early leaves no mark
 * in the history, which has to reach back. */
void meter_next_interval(struct meter *m, uint64_t now_ns, bool early);
