/* SPDX-License-Identifier: Apache-2.0 */
/* Tail latency of one cell at a request rate, by simulation. Internal to src/response.
 *
 * Requests arrive Poisson, wait first-in first-out, and are served by k servers (the Lindley
 * recursion for k = 1) with times drawn from the cell's 101 service quantiles. A free server takes
 * what waits, up to the executed batch, and does not wait for more; a part of a batch is taken to
 * last as long as a whole one, which is never too short. Configurations that are chosen for their
 * batches are looked at more closely (tail-batch.c).
 *
 * The run is cut into replications. Each is served twice with the same random numbers: with the
 * measured quantiles, and with quantiles resampled as if the profile had been measured again with
 * as many samples (bootstrap). The scatter of the first is simulation noise, which averages out
 * over the replications; the scatter of the difference is the profile's, which does not. The upper
 * confidence bound covers both. All cells and rates share the random numbers, so neighbours are
 * compared without the noise that they have in common. */
#pragma once

#include "response/surface.h"
#include "response/survival.h"

#define TAIL_REPLICATIONS 16
#define TAIL_REQUESTS	  1500 /* in each */
#define TAIL_WARM_UP	  2000 /* before the first; from empty to steady at 0.95 load */
#define TAIL_DRAWS	  (TAIL_WARM_UP + TAIL_REPLICATIONS * TAIL_REQUESTS)

/* Where the quantiles of so many samples move to; samples 0: of none yet. */
struct tail_resampled {
	uint32_t samples;
	float at[TAIL_REPLICATIONS][SURFACE_QUANTILES];
};
#define TAIL_KEPT  512 /* some 3 MB of them */
#define TAIL_ROOM  64  /* between parts of a run */
#define TAIL_LANES 8   /* rates that are simulated at once */

/* Random numbers drawn once, and work space. */
struct tail_lab {
	uint64_t seed;
	double arrival[TAIL_DRAWS]; /* at one request per unit of time */
	float gap[TAIL_DRAWS];	    /* since the arrival before */
	float service[TAIL_DRAWS];  /* where among the quantiles, 0 .. 100 */
	struct tail_resampled *kept[TAIL_KEPT], unkept;
	uint32_t n_kept;
	double arrival_ns[TAIL_DRAWS]; /* at the rate in hand */
	float sojourn[TAIL_DRAWS + TAIL_ROOM];
	uint8_t marks[TAIL_DRAWS];
	const struct surface_cell *cell; /* taken */
	float service_ns[TAIL_DRAWS];	 /* its, of a single request */
	float lanes[TAIL_WARM_UP][TAIL_LANES];
	float scratch[TAIL_REPLICATIONS * TAIL_REQUESTS];
};

struct servers {
	uint32_t n;
	double free_at_ns[SURFACE_MAX_WORKERS];
};

struct service {
	uint32_t server, n; /* n requests from the first on */
	double start_ns;
};

struct tail_lab *tail_lab_new(uint64_t seed);
struct tail_lab *tail_lab_free(struct tail_lab *lab);
DEFINE_CLEANUP(struct tail_lab *, tail_lab_free)

/* The batches that were measured of one configuration, up to its own, which is the last. */
#define TAIL_MAX_SIZES 12
struct tail_sizes {
	uint32_t n;
	const struct surface_cell *cells[TAIL_MAX_SIZES]; /* ascending */
};

/* Under a planned wait for a batch to fill: half of what the tail without it leaves of the SLO. */
struct tail_batch {
	double slo_ns; /* that it was planned for; 0: not yet */
	double wait_ns, tail_ns;
	double upper_ns; /* 0: not known yet */
	struct tail_survival survival;
	double share[TAIL_MAX_SIZES]; /* of the time, that batches of each size execute */
};
void tail_explore_batch(struct tail_lab *lab, const struct tail_sizes *sizes, double rate_rps,
			uint32_t percentile, double slo_ns, bool bounded, struct tail_batch *ret);
/* Adds the upper bound to what was explored without it: it takes as long again. */
void tail_bound_batch(struct tail_lab *lab, const struct tail_sizes *sizes, double rate_rps,
		      uint32_t percentile, struct tail_batch *t);

/* What is known by now of one cell at one rate: the first n replications, each with the mean of the
 * logarithm of the tails so far and its standard error; and the result, once there are all. A later
 * question with another limit goes by these as far as they reach. */
struct tail_trace {
	uint32_t n;
	double mean[TAIL_REPLICATIONS], error[TAIL_REPLICATIONS];
	double tail_ns, upper_ns;
	bool has_survival;
	struct tail_survival survival;
	struct tail_batch batch;
};

/* Tail quantile and its upper 95 % bound, in the trace; the rate is below what the cell can serve.
 * A trace begins as zeros and belongs to one lab, cell, rate and percentile. */
void tail_estimate(struct tail_lab *lab, const struct surface_cell *c, double rate_rps,
		   uint32_t percentile, struct tail_trace *t);
/* Whether the upper bound is within limit_ns; stops early when there is no doubt. */
bool tail_within(struct tail_lab *lab, const struct surface_cell *c, double rate_rps,
		 uint32_t percentile, double limit_ns, struct tail_trace *t);

/* One of several rates of a cell. */
struct tail_rate {
	double rate_rps;
	double tail_ns; /* no bound */
	struct tail_survival survival;
};
/* The cell that the next two are about; it stays as it is meanwhile. */
void tail_take_cell(struct tail_lab *lab, const struct surface_cell *c);
/* Tail and distribution, as far as lateness goes, of 1 to TAIL_LANES rates at once, in little more
 * time than one takes: from histograms, which is within 0.4 % of it. */
void tail_explore_rates(struct tail_lab *lab, uint32_t percentile, struct tail_rate *rates,
			uint32_t n);
#define TAIL_BOUNDS (TAIL_LANES / 2)
/* How far the upper bound is above the tail, of 1 to TAIL_BOUNDS rates that were explored. */
void tail_bound_rates(struct tail_lab *lab, uint32_t percentile, const struct tail_rate *rates,
		      uint32_t n, double *ret_factors);

double tail_mean_service_ns(const struct surface_cell *c);

/* The traces of a surface, by cell, rate and percentile. */
struct response_tails {
	const struct surface *surface;
	struct tail_lab *lab;
	uint32_t n_series, last; /* last: that was asked for */
	struct tail_series *series;
};
/* NULL if there is no memory to keep one. */
struct tail_trace *tail_trace_of(struct response_tails *t, uint32_t cell, double rate_rps,
				 uint32_t percentile);
/* NULL if it was not asked about. */
const struct tail_trace *tail_trace_known(struct response_tails *t, uint32_t cell, double rate_rps,
					  uint32_t percentile);

/* ---- between the files of the simulation ---- */

/* Mean and variance as values come (Welford, 1962). */
struct moments {
	double n, mean, m2;
};
void moments_add(struct moments *m, double x);
/* Of the logarithm of a tail, from its replications and from what resampling changed in them. */
double tail_standard_error(const struct moments *tail, const struct moments *change,
			   double samples);
/* How far the bound is above the tail. */
double tail_bound_factor(const struct moments *tail, const struct moments *change, double samples);

const struct tail_resampled *tail_resampled_of(struct tail_lab *lab, uint32_t samples);
/* Serves requests from .. end. */
void tail_serve(const struct tail_lab *lab, struct servers *s, const float *quantiles,
		uint32_t batch, double unit_ns, uint32_t from, uint32_t end, float *ret_sojourn);
/* The percentile of n values. */
double tail_of(struct tail_lab *lab, const float *sojourn, int n, uint32_t percentile);
/* Of a replication in a lane; guess: a value that is below it, or -INFINITY. It costs time to be
 * wrong. */
double tail_of_lane(struct tail_lab *lab, uint32_t lane, float guess, uint32_t percentile);

static inline float quantile_at(const float *quantiles, float position)
{
	uint32_t i = (uint32_t)position;

	if (i >= SURFACE_QUANTILES - 1)
		return quantiles[SURFACE_QUANTILES - 1];
	return quantiles[i] + (position - (float)i) * (quantiles[i + 1] - quantiles[i]);
}

/* What the next free server takes: request i of those that arrive at arrival[] x unit_ns, and up
 * to batch - 1 more that wait by then. */
static inline struct service servers_take(const struct servers *s, const double *arrival,
					  double unit_ns, uint32_t i, uint32_t end, uint32_t batch)
{
	struct service take = {.n = 1};

	for (uint32_t j = 1; j < s->n; j++)
		if (s->free_at_ns[j] < s->free_at_ns[take.server])
			take.server = j;
	take.start_ns = MAX(s->free_at_ns[take.server], arrival[i] * unit_ns);
	while (take.n < batch && i + take.n < end && arrival[i + take.n] * unit_ns <= take.start_ns)
		take.n++;
	return take;
}

/* Whether a cell at idle survives a step to rate_rps: it serves on for react_ns, then the boost
 * configuration takes over until the queue has been empty. True if, with 95 % confidence, no more
 * than 1 - percentile of the requests in between miss slo_ns. */
bool step_is_survived(const struct tail_lab *lab, const struct surface_cell *c,
		      const struct surface_cell *boost, double rate_rps, double react_ns,
		      uint32_t percentile, double slo_ns);
