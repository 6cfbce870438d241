/* SPDX-License-Identifier: Apache-2.0 */
/* The formats: what each does with a data line. */
#pragma once

#include "load/trace-internal.h"

struct trace_reader {
	const struct trace_options *options; /* with the defaults filled in */
	struct trace *trace;
	struct trace_error *error;
	struct trace_bins bins;
	struct load_curve_reader *curve;
	bool seen_header;
	double last_s;	 /* of the line before */
	double origin_s; /* of the first line, where times are absolute */
	uint32_t room;	 /* for request_ns */
};

struct trace_format_ops {
	enum trace_format format;
	const char *name;
	bool binned;
	double span_s; /* of a whole trace; 0: until its last line */
	/* Whether a file that begins with this line is one. */
	bool (*looks_like)(const char *line);
	int (*line)(struct trace_reader *rd, char *line);
	int (*end)(struct trace_reader *rd);
};

extern const struct trace_format_ops trace_swim, trace_azure_llm, trace_rate, trace_requests;
