/* SPDX-License-Identifier: Apache-2.0 */
/* A load curve: CSV with the header "t_s,load", the load relative to the rated rate (1 means R), or
 * "t_s,rps", in requests/s; straight between its points, over when its last point is reached. A
 * step is two points close together. Lines starting with '#' and empty lines are skipped. */
#pragma once

#include "base/macros.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define LOAD_CURVE_MAX_POINTS 100000
#define LOAD_CURVE_MAX_LOAD   1000.0
#define LOAD_CURVE_MAX_RPS    1e6
#define LOAD_CURVE_MAX_S      (366.0 * 86400.0)

struct load_point {
	double t_s, load; /* load: requests/s in an absolute curve */
};

struct load_curve {
	uint32_t n; /* at least 2; t_s of the first is 0, then strictly ascending */
	struct load_point *points;
	bool absolute; /* header t_s,rps */
};

struct load_curve_error {
	unsigned int line; /* 1-based; 0: about the file as a whole */
	char text[160];
};

/* Reads a curve to its end. 0; -EBADMSG for bad contents, -EFBIG for too many points, -ENOMEM or
 * the errno of reading, each with *ret_error filled. */
int load_curve_read(FILE *f, struct load_curve **ret, struct load_curve_error *ret_error);
int load_curve_load(const char *path, struct load_curve **ret, struct load_curve_error *ret_error);
/* The same line by line, for readers of several formats: line without its end; then finish. */
struct load_curve_reader;
int load_curve_reader_new(struct load_curve_reader **ret);
int load_curve_reader_line(struct load_curve_reader *rd, char *line,
			   struct load_curve_error *ret_error);
int load_curve_reader_finish(struct load_curve_reader *rd, struct load_curve **ret,
			     struct load_curve_error *ret_error);
struct load_curve_reader *load_curve_reader_free(struct load_curve_reader *rd);
DEFINE_CLEANUP(struct load_curve_reader *, load_curve_reader_free)
/* Constant load 1 for duration_s (which may be LOAD_CURVE_MAX_S for "without an end"). */
int load_curve_constant(double duration_s, struct load_curve **ret);
struct load_curve *load_curve_free(struct load_curve *c);
DEFINE_CLEANUP(struct load_curve *, load_curve_free)
