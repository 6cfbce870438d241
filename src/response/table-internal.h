/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the derivation. */
#pragma once

#include "response/table.h"
#include "response/tail.h"

#define TABLE_RATE_TOLERANCE 1e-9 /* for sums of steps that should meet R or 0.95 C(B) */

/* What one execution of each size draws above idle, so that no larger one draws less, J. */
struct candidate_sizes {
	uint32_t n; /* 0: without batches */
	uint32_t batch[TAIL_MAX_SIZES];
	double energy_j[TAIL_MAX_SIZES];
	double apart_ns; /* from one execution to the next, at most, if something waits */
};

/* A cell that may be chosen. */
struct candidate {
	uint32_t cell;
	bool full;	       /* the whole card: no mask */
	bool infeasible;       /* at some rate, so at all higher ones, too */
	double fills_from_rps; /* below it a smaller batch does as well */
	double idle_w;	       /* at its clock */
	double busy_w;	       /* by the gating variant */
	double power_w;	       /* at the rate in hand */
	double power_se_w;     /* its standard error */
	double cost_w;	       /* likewise, with what is late */
	double drew_w;	       /* at the last rate that it was simulated at, above idle */
	struct candidate_sizes sizes;
};

/* All that the options allow, in the surface's order; *ret is malloc()ed. 0, -ENOMEM, or -EINVAL
 * with a text for idle or active-idle power that is needed and unknown. */
int candidates_collect(const struct surface *s, const struct table_options *o,
		       struct candidate **ret, uint32_t *ret_n, struct surface_error *error);
/* Whether the card can serve so much with it. */
bool candidate_sustains(const struct surface_cell *cell, double rate_rps);
/* Power at a rate: idle + x / C (busy - idle), and its standard error from those of C and busy. */
void candidate_set_power(const struct surface_cell *cell, struct candidate *c, double rate_rps);

/* Beyond the cell and the rate: what the answers depend on. */
struct tail_question {
	struct response_tails *tails;
	const struct table_options *options;
	const struct surface_cell *baseline;
	double slo_ns;
	/* What will be asked about soon, ascending: it is cheaper to find out together. */
	uint32_t n_ahead;
	const double *ahead_rps;
};
struct candidate_tail {
	double tail_ns, upper_ns, wait_ns;
};
bool candidate_is_within(const struct tail_question *q, uint32_t cell, double rate_rps,
			 double limit_ns);
void candidate_tail(const struct tail_question *q, uint32_t cell, double rate_rps,
		    struct candidate_tail *ret);
/* The share of requests later than the SLO. */
double candidate_late(const struct tail_question *q, uint32_t cell, double rate_rps);
/* Power at a rate by the batches that really come, which is never less than that of full ones, and
 * the part of the time that it is busy. Costs no more than candidate_set_power() without batches.
 */
void candidate_refine_power(const struct tail_question *q, struct candidate *c, double rate_rps,
			    double *ret_busy);
/* Likewise, by the part of the time that batches of each size execute; n = 0: all are full. */
void candidate_set_power_of(const struct tail_question *q, struct candidate *c, double rate_rps,
			    const struct tail_sizes *sizes, const double *share, double *ret_busy);
/* The batches that it may execute, up to its own; n = 0: of one that does not wait for any. */
void candidate_find_sizes(const struct tail_question *q, uint32_t cell, struct tail_sizes *ret);
void candidate_set_sizes(const struct tail_question *q, struct candidate *c);
/* As candidate_set_power(), and no less than what the largest batches that can come at the rate
 * draw, nor than what it drew at a lower rate: nothing has to be simulated to know it. */
void candidate_set_least_power(const struct tail_question *q, struct candidate *c, double rate_rps);
/* False: of one that does not wait for batches. */
bool candidate_batch(const struct tail_question *q, uint32_t cell, double rate_rps, bool bounded,
		     struct tail_batch *ret);
/* At lower rates batches stay, in the mean, well below the next smaller size that was measured,
 * even if each waited for half the SLO and a service: hardly anything is to be had that the smaller
 * one does not give. 0: without batches. */
double candidate_fills_from_rps(const struct tail_question *q, uint32_t cell);

/* Returns r, with a text about the derivation as a whole; error may be NULL. */
int _printf_(3, 4) table_refuse(struct surface_error *error, int r, const char *format, ...);
int table_check_options(const struct table_options *o, struct surface_error *error);
/* Power at a clock limit; levels that were not measured lie on the line between their neighbours.
 * NaN if no level was. */
double table_level_power(const struct surface *s, const double *power_w, uint32_t max_mhz);
/* CUs that a gated card would switch off under the shape. */
uint32_t table_gated_cus(const struct surface *s, struct cu_shape shape, enum table_gating gating);
