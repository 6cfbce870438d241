/* SPDX-License-Identifier: Apache-2.0 */
/* Between unit.c (the card's life), unit-actuator.c (requests and answers) and unit-step.c (the
 * governor's step), unit-latency.c. */
#pragma once

#include "daemon/unit.h"

/* Adds what operators have ordered to an input whose workers are filled in. */
void unit_fill_orders(const struct unit *u, struct governor_input *in);
/* A new target for the sequencer. */
void unit_want(struct unit *u, const struct sequence_clock *clock, uint32_t n_models,
	       const struct sequence_directive *models);
/* Does what the sequencer says until it waits. */
void unit_drive(struct unit *u, uint64_t now_ns);
/* Takes the wanted write one request further: claim, then set; or release. */
void unit_pump(struct unit *u);
/* Gives a claim back without waiting for the answer. */
void unit_abandon_claim(struct unit *u);
/* Renews the lease of a claimed card, which also reads its sensors; otherwise asks for the sensors
 * alone if they are wanted. */
void unit_renew(struct unit *u, bool sensors);
/* Gives a claim back that holds nothing any more. */
void unit_release(struct unit *u);
/* Tells which models' profiles have become stale, or hold again. */
void unit_check_log(struct unit *u);
/* Tells what the card is doing, if that has changed. */
void unit_log_state(struct unit *u);
/* The card's state has just been read. */
void unit_cap_watch(struct unit *u, uint64_t now_ns);
/* Latency starts anew: a worker is gone, and with it what it had counted. */
void unit_latency_reset(struct unit *u, uint32_t model);
void unit_latencies_free(struct unit *u);
void unit_latency_update(struct unit *u, uint32_t model, uint64_t now_ns);
/* The sojourn of the interval's completions, from what has come into the histograms since the last
 * call. A bucket's values count as its middle, so the mean is known to 1.6 %; the p95 is the
 * bucket's upper bound. Leaves 0 (unknown) for the first interval. */
void unit_latency_interval(struct unit *u, uint32_t model, struct governor_model_input *in);
