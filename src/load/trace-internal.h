/* SPDX-License-Identifier: Apache-2.0 */
/* Between the reader of traces and its formats. A format gets each data line, then the end. */
#pragma once

#include "load/trace.h"

#define TRACE_DEFAULT_DURATION_S 900.0
#define TRACE_DEFAULT_SMOOTHING	 11
#define TRACE_MAX_BINS		 (UINT32_C(1) << 16)
#define TRACE_MAX_SPAN_S	 (366.0 * 86400.0)

_printf_(3, 4) int trace_fail(struct trace_error *e, int r, const char *format, ...);

/* Counts per bin of a trace whose end may not be known: bins become twice as wide, and half as
 * many, whenever a time lies beyond the last of them. */
struct trace_bins {
	double start_s, width_s;
	bool fixed; /* the span is known: later times are left out instead */
	uint32_t room;
	double last_s; /* latest time counted, from the start */
	double *counts;
};
/* span_s 0: unknown. */
int trace_bins_init(struct trace_bins *b, double start_s, double span_s, uint32_t n);
void trace_bins_done(struct trace_bins *b);
void trace_bins_add(struct trace_bins *b, double t_s);
/* The curve of the run: n bins, one a second of it, smoothed, the largest 1. -EBADMSG if all are
 * empty. */
int trace_bins_curve(const struct trace_bins *b, uint32_t n, double duration_s, uint32_t k,
		     struct load_curve **ret, double *ret_bin_s, struct trace_error *ret_error);
