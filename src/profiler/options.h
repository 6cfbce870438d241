/* SPDX-License-Identifier: Apache-2.0 */
/* The command lines of cofris-profile. */
#pragma once

#include "response/grid.h"
#include "response/table.h"

struct profile_options {
	const char *model, *engine, *bdf;
	const char *worker_command; /* NULL: cofris-worker beside this program */
	const char *output, *runtime_dir, *actuator;
	const char *model_digest; /* 64 hexadecimal digits, or NULL */
	enum grid_kind grid;
	uint32_t batches[GRID_MAX_BATCHES], n_batches;
	uint32_t workers;		       /* of the default worker */
	uint64_t cell_time_ns, verify_time_ns; /* 0: by the grid */
	uint64_t seed;
	bool take_over, json;
	/* for the table */
	const char *table_file;
	double slo_factor;
	uint64_t slo_ns; /* 0: by the factor */
	uint32_t percentile;
	enum table_gating gating;
};

/* Each returns 1 to go on, 0 if the answer has been given (--help), or -EINVAL after saying what is
 * wrong. Strings are argv's. argv[0] is the program's or the verb's name. */
int profile_options_parse(int argc, char *argv[], struct profile_options *ret);
int table_view_options_parse(int argc, char *argv[], struct profile_options *ret);

struct table_options profile_table_options(const struct profile_options *o);

/* "cofris-profile table": prints a surface's table. 0 or a negative errno. */
int table_view(const struct profile_options *o);
