/* SPDX-License-Identifier: Apache-2.0 */
/* A span of measuring: the worker's counters at the start of each part, the sensors and the
 * latencies over all of it, and what follows from them. Pure. */
#pragma once

#include "actuator/protocol.h"
#include "profiler/stats.h"

#define WINDOW_PARTS 12	  /* batches for standard errors; a multiple of 3 */
#define AT_CLOCK     1.02 /* levels within 2 % are one */

struct sensor_span {
	struct readings power_w, sclk_mhz, temp_c;
	uint32_t n, n_throttled, n_drift;
};
void sensor_span_add(struct sensor_span *span, const struct actuator_state *s, double now_s);

struct window {
	/* Of part i at i, and at the end. */
	struct channel_sample sample[WINDOW_PARTS + 1];
	uint64_t at_ns[WINDOW_PARTS + 1];
	struct sensor_span sensors;
	struct channel_histogram histogram;
};

/* Requests completed from the start of part i to that of part j. */
double window_completed(const struct window *w, uint32_t i, uint32_t j);

/* Fills in all that a closed-loop window says of a cell whose configuration (clock, shape, batch,
 * workers) is there already. has_starts: the worker reports them, so the histogram is of service
 * times. Logs and returns -ENODATA or -EIO for a window that says nothing. */
int window_cell(const struct window *w, bool has_starts, struct estimate power_w,
		struct surface_cell *c);
