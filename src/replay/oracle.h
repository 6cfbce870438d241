/* SPDX-License-Identifier: Apache-2.0 */
/* The clairvoyant bound. Per tick, over all configurations of the truth card, the one of least
 * energy + mu x (requests late + backlog handed on that will be late); switching is free. mu is
 * bisected for equal excess lateness with the policy that is compared. oracle-rate knows each
 * tick's expected rate, but not the arrivals. */
#pragma once

#include "replay/measures.h"

struct oracle_options {
	struct simulation_options run; /* schedule and governor are the oracle's to fill */
	struct measures_options measures;
	const struct simulation_result *maximum;
	uint64_t end_ns; /* common to all runs that are compared */
	bool rate_only;	 /* oracle-rate */
	double rated_rps;
	/* rate_only: requests/s in each tick. */
	const double *rate_rps;
	uint32_t n_rates;
	uint32_t max_batch;
};

#define ORACLE_TOLERANCE_PCT 0.02

struct oracle; /* keeps the points of the curve that it has computed */
int oracle_new(const struct oracle_options *o, struct oracle **ret);
struct oracle *oracle_free(struct oracle *o);
DEFINE_CLEANUP(struct oracle *, oracle_free)
/* The least energy at an excess lateness (percent, +-0.02 points, or where no schedule has that,
 * the next below it; the curve's nearest end beyond it), with the measures of that run, and its mu
 * in J for each request late in excess. 0 or -ENOMEM. */
int oracle_at(struct oracle *o, double excess_late_pct, struct measures *ret, double *ret_mu_j);
