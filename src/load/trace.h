/* SPDX-License-Identifier: Apache-2.0 */
/* Traces of other people's load, read in one pass and in bounded memory however long the file is,
 * into what arrivals are made of.
 *
 *   swim       jobs of SWIM (tab-separated; the second field is the submit time, s): binned
 *   azure-llm  Azure's LLM inference traces (TIMESTAMP,ContextTokens,GeneratedTokens): binned
 *   rate       CSV with the header "t_s,load" (relative to the rated rate) or "t_s,rps"
 *   requests   CSV with the header "t_s": one line a request, ascending; used as they are
 *
 * Binned ones: [start_s, start_s + span_s) of the trace is cut into as many bins as the run has
 * seconds, so that it is played in duration_s; counts are smoothed by a centred moving average of
 * smoothing_k bins and divided by the largest, which is load 1. Both decide the mean load, and so
 * what can be saved: they are printed wherever a result is. */
#pragma once

#include "load/load-curve.h"
#include <stdbool.h>
#include <stdio.h>

#define TRACE_MAX_REQUESTS (UINT32_C(1) << 22)

enum trace_format { TRACE_GUESS, TRACE_SWIM, TRACE_AZURE_LLM, TRACE_RATE, TRACE_REQUESTS };

struct trace_options {
	enum trace_format format; /* TRACE_GUESS: by its first line */
	double duration_s;	  /* of the run; 0: a rate or requests trace's own, 900 else */
	uint32_t smoothing_k;	  /* bins; 0: 11 */
	double start_s, span_s;	  /* of the trace; span_s 0: all of it (swim: 24 h) */
};

struct trace {
	enum trace_format format;
	/* Of the run's time. Loads relative to the rated rate; absolute: requests/s instead. NULL
	 * for requests. */
	struct load_curve *curve;
	bool absolute;
	uint64_t *request_ns; /* ascending offsets; NULL but for requests */
	uint32_t n_requests;
	double duration_s;
	double mean_load;     /* time mean of the curve; NaN if absolute, or of requests */
	uint32_t smoothing_k; /* 0 where nothing was binned */
	double bin_s;	      /* of the trace, in its own time; 0 likewise */
	uint64_t n_lines;     /* that held data */
};

struct trace_error {
	uint64_t line; /* 1-based; 0: the file as a whole */
	char text[200];
};

/* 0; -EBADMSG for bad contents (an empty trace too), -EINVAL for options out of range, -EFBIG for
 * more requests than TRACE_MAX_REQUESTS inside duration_s, -ENOMEM or the errno of reading, each
 * with *ret_error filled. */
int trace_read(FILE *f, const struct trace_options *o, struct trace **ret,
	       struct trace_error *ret_error);
int trace_load(const char *path, const struct trace_options *o, struct trace **ret,
	       struct trace_error *ret_error);
struct trace *trace_free(struct trace *t);
DEFINE_CLEANUP(struct trace *, trace_free)
const char *trace_format_name(enum trace_format f); /* "swim", "azure-llm", ... */
int trace_format_parse(const char *name, enum trace_format *ret);

/* All arrivals of a run, ns from its start, ascending: Poisson at load x rated_rps (or at the
 * trace's own rate), or the trace's requests. A pure function of (trace, rated_rps, seed). *ret is
 * for free(). Returns 0, -ENOMEM, or -EFBIG beyond TRACE_MAX_REQUESTS. */
int trace_arrivals(const struct trace *t, double rated_rps, uint64_t seed, uint64_t **ret,
		   uint32_t *ret_n);
