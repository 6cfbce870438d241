/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of cofris-worker. */
#pragma once

#include "base/parse.h"
#include <stdbool.h>
#include <stdint.h>

#define WORKER_MAX_SLOTS 64

struct worker_options {
	const char *model, *engine, *bdf;
	const char *load_path; /* open loop along a curve ... */
	double rated_rps, compression;
	double rate_rps;      /* ... or at a constant rate ... */
	uint32_t closed_loop; /* ... or closed loop with so many in flight */
	uint64_t duration_ns; /* wall time, 0: the curve's, or until SIGTERM */
	uint64_t drain_ns;
	uint64_t seed;
	double jitter, stall_share, stall_factor;
	uint32_t slots, max_batch, queue_limit;
	const char *report_path, *socket_path, *instance;
	bool follow_mask, idle_kernels, progress;
};

/* Returns 1 to go on, 0 if the answer has been given (--version), 2 if it is to be --help, or
 * -EINVAL after saying what is wrong. Strings are argv's. */
int worker_options_parse(int argc, char *argv[], struct worker_options *ret);
void worker_options_print_help(void);
