/* SPDX-License-Identifier: Apache-2.0 */
/* Response table: for each request rate the configuration of least power that holds the SLO,
 * derived from a surface at load time (measures: docs/evaluation.md).
 *
 * Tails under load come from the Lindley recursion over the surface's sampled service times with
 * Poisson arrivals (k servers for k workers; the batching rule replayed), at a fixed seed. Power
 * at rate x is idle + x/C (busy - idle). A configuration is feasible at x if x <= 0.95 C and the
 * upper 95 % confidence bound of its tail is within headroom x SLO. Power differences below
 * max(1 W, 2 standard errors) are ties: more CUs first, then the neighbour row's choice, then less
 * power. Chosen are cells of the profiled number of workers without a flag, and with the highest
 * clock or all CUs where the options leave only the other knob; the baseline always may be. Without
 * gating a mask must beat the best cell of the whole card by more than a tie.
 *
 * By cost (late_cost above 0) a row takes what has the least of
 *
 *	power + late_cost * busy power of B / R * rate * share of requests later than the SLO
 *
 * of what holds the SLO, instead: a late request counts as late_cost requests served at full speed
 * do. That puts lateness where it saves the most, which a limit on a tail does not: what it allows
 * it allows at every rate, whether there is something to be had for it or not. Confidence bounds
 * and ties have no part in it, but that without gating a mask must be worth more than a tie. With
 * service_only rows are chosen by headroom in any case.
 *
 * Row 0 is always chosen by headroom. It holds 3 requests per poll interval (or R, if that is
 * less), and is the cheapest that also survives a step from idle to 0.5 R: it serves on for one
 * interval and the surface's settling time, B takes over, and of all requests until the queue is
 * empty no more than the percentile allows miss the SLO. Further rows are the multiples of R / 40
 * above row 0's rate, up to R, then steps of R / 40 (or larger ones, 23 at most) up to 0.95 C(B).
 *
 * The bound covers the simulation's noise and that the profile is of a finite number of samples
 * (bootstrap). It was tried on services from near constant to exponential: it holds in 94 to 97 %
 * of profiles of 100 to 2000 samples.
 *
 * Batches beyond the baseline's may wait to fill, by half of what the tail without waiting leaves
 * of the SLO (wait_ns). Their tail and power are those of the batches that then form; a part of one
 * takes the time and power of the smallest batch measured that holds it. Row 0 has none: a batch
 * does not fill there, and a step would find it waiting. */
#pragma once

#include "response/surface.h"

#define TABLE_STEPS	      40 /* rate steps between 0 and R */
#define TABLE_MAX_ROWS	      64
#define TABLE_MAX_UTILISATION 0.95
#define TABLE_LATE_COST	      2.0 /* of a policy by cost */

enum table_gating { TABLE_GATING_NONE, TABLE_GATING_SE, TABLE_GATING_CU };

struct table_options {
	/* The SLO: factor of T0 if slo_ns == 0. */
	double slo_factor;
	uint64_t slo_ns;
	uint32_t percentile;	  /* 1..99, 95 by default */
	double rated_rps;	  /* 0: the surface's R */
	double headroom;	  /* 0.9 */
	enum table_gating gating; /* se and cu are modelled, not measured */
	uint64_t poll_ns;	  /* for row 0: 3 requests per interval; 500 ms */
	uint32_t max_batch;	  /* largest executed batch that may be chosen; 1 */
	bool free_clock;	  /* false: only cells of the highest clock limit */
	bool free_mask;		  /* false: only full-shape cells (mask left alone) */
	/* 0: rows are chosen by headroom. Above: by cost, see above. */
	double late_cost;
	uint64_t seed; /* 1 by default; same seed, same table */
	/* As in the CoFRIS paper: latency is the service time alone, and nothing queues. A
	 * configuration holds every rate up to 0.95 of its capacity if its service quantile is
	 * within headroom x SLO; row 0 need not survive a step; T0 is the service quantile of B, R
	 * is C(B) unless rated_rps says otherwise. */
	bool service_only;
};
#define TABLE_OPTIONS_DEFAULT                                                                      \
	((struct table_options){.slo_factor = 2.0,                                                 \
				.percentile = 95,                                                  \
				.headroom = 0.9,                                                   \
				.poll_ns = 500000000,                                              \
				.max_batch = 1,                                                    \
				.free_clock = true,                                                \
				.free_mask = true,                                                 \
				.seed = 1})

enum table_row_flag {
	TABLE_ROW_BASELINE = 1u << 0, /* nothing feasible: this is B */
	TABLE_ROW_MODELLED = 1u << 1, /* power is of a gating variant */
};

struct table_row {
	double rate_rps; /* holds up to and including this rate */
	uint32_t cell;	 /* index into surface->cells */
	uint32_t max_mhz;
	struct cu_shape shape;
	uint32_t batch, workers;
	double power_w;	      /* predicted at rate_rps */
	double tail_ns;	      /* predicted tail (percentile) at rate_rps */
	double tail_upper_ns; /* its upper 95 % confidence bound */
	double service_ns;    /* mean service time, for the guard */
	double wait_ns;	      /* planned wait for a batch to fill; 0: none */
	uint32_t flags;
};

struct response_table {
	char model[MODEL_NAME_MAX + 1];
	bool simulated;
	enum table_gating gating;
	uint64_t slo_ns, t0_ns;
	uint32_t percentile;
	double rated_rps;    /* R; load 1 */
	double overload_rps; /* 0.95 C(B): above it the state is overload */
	double idle_power_w; /* at the highest limit */
	struct table_row baseline;
	uint32_t n_rows; /* row 0 first, ascending rate */
	struct table_row rows[TABLE_MAX_ROWS];
};

/* Derives the table. 0, or a negative errno with *ret_error filled (line 0): -EINVAL for options
 * out of range, an SLO factor with a rated rate that B cannot serve, or a gating variant without
 * active-idle power; -EBADMSG if the surface has no baseline cell, -EDOM if not even B holds the
 * SLO at the lowest rate, -ENOMEM. The result is one malloc()ed block; the same surface and options
 * give the same bytes. Takes some 0.05 to 0.1 s for 288 cells, and 0.3 to 1 s with their batches
 * of 2, 4 and 8. */
int response_table_derive(const struct surface *s, const struct table_options *o,
			  struct response_table **ret, struct surface_error *ret_error);

/* What was simulated of a surface, for several derivations from it (other headrooms, SLOs, knobs or
 * gating), which are then much cheaper and give the same bytes. The surface must outlive it as it
 * is; one thread at a time. Grows with every other rated rate or percentile. */
struct response_tails;
int response_tails_new(const struct surface *s, uint64_t seed, struct response_tails **ret);
struct response_tails *response_tails_free(struct response_tails *t);
DEFINE_CLEANUP(struct response_tails *, response_tails_free)
/* response_table_derive() with these; -EINVAL also for options with another seed. */
int response_table_derive_from(struct response_tails *t, const struct table_options *o,
			       struct response_table **ret, struct surface_error *ret_error);

/* The row for a demand bound: the first with rate_rps >= demand (look-up rounds up; no
 * interpolation); NULL beyond the last (use ->baseline, reason overload). */
const struct table_row *response_table_lookup(const struct response_table *t, double demand_rps);

/* Tail of one cell at a rate, for the profiler's verification and the tests. Returns 0, -EINVAL
 * for a rate or percentile out of range, -EDOM if the rate is above 0.95 of its capacity, or
 * -ENOMEM. */
int response_tail(const struct surface_cell *c, double rate_rps, uint32_t percentile, uint64_t seed,
		  double *ret_tail_ns, double *ret_upper_ns);
