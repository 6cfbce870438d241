/* SPDX-License-Identifier: Apache-2.0 */
/* Response surface: what cofris-profile measured for one model on one kind of card, as a CSV file
 * with a "# key = value" header (docs/cofris-surface.5.scd). Read strictly: refusals name
 * file:line and what was expected.
 *
 * The first line is "# cofris-surface = 1". The keys follow in any order, each once, then rows in
 * any order: "cell,..." and "load,..." with the columns that the keys cell_columns and load_columns
 * name. All is printable ASCII, in lines of at most 4096 bytes that end in a newline. An unknown
 * power is "-"; flags are joined by "+", none is "-". A file that was written whole states its
 * number of rows, so one that was cut off is found out; an unfinished sweep's does not. */
#pragma once

#include "base/macros.h"
#include "base/parse.h"
#include "cu-mask/cu-mask.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SURFACE_FORMAT_VERSION 1
#define SURFACE_QUANTILES      101 /* service time at 0 %, 1 %, ... 100 % */
#define SURFACE_MAX_CELLS      8192
#define SURFACE_MAX_LOADS      512
#define SURFACE_MAX_BYTES      (32u << 20)
#define SURFACE_MAX_LEVELS     64
#define SURFACE_MAX_WORKERS    64

enum surface_flag {
	SURFACE_THROTTLED = 1u << 0,
	SURFACE_UNSTABLE = 1u << 1,
	SURFACE_STRUCK = 1u << 2, /* failed its verification under load; never chosen */
};
#define SURFACE_NEVER_CHOSEN (SURFACE_THROTTLED | SURFACE_UNSTABLE | SURFACE_STRUCK)

/* One configuration measured closed-loop. */
struct surface_cell {
	uint32_t max_mhz;      /* clock limit (cap mode) */
	struct cu_shape shape; /* never {0, 0}: the full card is its full shape */
	uint32_t batch;	       /* executed batch */
	uint32_t workers;      /* requests (batches) served at the same time */
	double capacity_rps;   /* saturated throughput, requests/s */
	double capacity_se;    /* its standard error */
	double power_w;	       /* mean card power while busy */
	double power_se;       /* its standard error */
	double energy_j;       /* per request */
	double mean_mhz;       /* achieved mean sclk */
	double temp_c;
	uint32_t samples; /* services behind the quantiles */
	uint32_t flags;
	float service_ns[SURFACE_QUANTILES]; /* quantiles of the service time of a batch, ns */
};

/* One verification run under open-loop load; verifies the table and does nothing else. */
struct surface_load {
	uint32_t max_mhz;
	struct cu_shape shape;
	uint32_t batch, workers;
	double offered_rps, power_w;
	double p50_ns, p95_ns, p99_ns; /* sojourn */
	uint32_t samples;
};

struct surface {
	char model[MODEL_NAME_MAX + 1];
	char model_digest[65];				  /* sha256 in hex, or "" */
	char gpu_name[96], gfx[16], driver[64], date[32]; /* date: YYYY-MM-DDThh:mm:ssZ */
	uint32_t n_cus, n_se;
	uint32_t n_levels, level_mhz[SURFACE_MAX_LEVELS]; /* ascending sclk levels */
	bool simulated;					  /* source = measured | simulated */
	uint32_t workers; /* the profiled number of workers, of the baseline */
	uint32_t baseline_batch;
	double capacity_rps;				/* C(B) */
	double rated_rps;				/* R */
	uint32_t percentile;				/* that T0 is about, as 95 */
	double t0_ns;					/* its sojourn quantile of B at R */
	double sensor_hz;				/* changed power readings per second seen */
	double settle_ms;				/* clock switch time seen, or 0 */
	double idle_power_w[SURFACE_MAX_LEVELS];	/* at clock limit level i; NaN = unknown,
							 * never at the highest */
	double active_idle_power_w[SURFACE_MAX_LEVELS]; /* NaN = unknown */
	uint32_t n_cells, n_loads;
	struct surface_cell *cells; /* sorted by max_mhz, CUs, n_se, batch, workers; unique */
	struct surface_load *loads;
};

struct surface_error {
	unsigned int line; /* 0: the file as a whole */
	char text[256];
};

/* Loads and checks everything that can be checked without a card. Returns 0, or -EBADMSG for bad
 * contents, -EPROTONOSUPPORT for an unknown format version, -EFBIG, -ENOMEM or the errno of
 * reading, with *ret_error filled. */
int surface_load(const char *path, struct surface **ret, struct surface_error *ret_error);
int surface_read(FILE *f, struct surface **ret, struct surface_error *ret_error);
struct surface *surface_free(struct surface *s);
DEFINE_CLEANUP(struct surface *, surface_free)
int surface_copy(const struct surface *s, struct surface **ret); /* 0 or -ENOMEM */

/* Writes the whole file, and flushes. Returns 0 or a negative errno (ferror() included); -EINVAL
 * for what the reader would not take: a value that is not finite, text that is not printable ASCII.
 */
int surface_write(FILE *f, const struct surface *s);
/* The header and single rows, for a sweep that writes cell by cell. */
int surface_write_header(FILE *f, const struct surface *s);
int surface_write_cell(FILE *f, const struct surface_cell *c);
int surface_write_load(FILE *f, const struct surface_load *l);

/* Finds the cell of the baseline configuration B (highest limit, full shape, baseline batch, the
 * profiled workers), or NULL. */
const struct surface_cell *surface_baseline(const struct surface *s);

/* What a card says of itself, for the refusal of foreign surfaces. */
struct surface_card {
	const char *gfx;
	uint32_t n_cus, n_se, n_levels;
	const uint32_t *level_mhz;
	bool simulated;
};
/* 0; or -EXDEV with a text: other gfx, CU or SE count, levels that differ by more than 2 %, or a
 * simulated surface on a real card without allow_simulated. */
int surface_check_card(const struct surface *s, const struct surface_card *card,
		       bool allow_simulated, struct surface_error *ret_error);
