/* SPDX-License-Identifier: Apache-2.0 */
/* A backend without files: it keeps two cards in memory, writes down each write, and fails where
 * the test says so. Both of the actuator's backends are this one over the same cards; "io" is the
 * one behind the deadline, "w" the main thread's own. */
#pragma once

#include "gpu/gpu-backend.h"

#define FAKE_CARDS 2

struct fake_card {
	struct gpu_info info;
	enum gpu_perf_level level;
	uint64_t cap_uw;
	uint32_t max_mhz;	  /* in force; 0 but under manual */
	bool drop_writes;	  /* of the io side: they succeed and do nothing */
	struct gpu_sample sample; /* power, busy, clock, temperature as given here */
	uint32_t hidden;	  /* fields that no sample has */
	struct gpu_process processes[4];
	int n_processes;
};

extern struct fake_card fake_cards[FAKE_CARDS];
extern const struct gpu_backend fake_io, fake_writer;

/* Two MI50 in auto at 225 W, idle, with the addresses of the fixture's tree; an empty script; cards
 * that were left open are closed. */
void fake_reset(void);
/* The next call of that operation ("io sample", "w perf", ...) returns r and does nothing. Steps of
 * one operation are used in order. */
void fake_expect(const char *operation, int r);
/* Number of steps that nobody used. */
int fake_unused(void);
/* All writes since the last call, as "io perf manual; io clock 0-1143; w cap 225; ". */
const char *fake_writes(void);
