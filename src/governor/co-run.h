/* SPDX-License-Identifier: Apache-2.0 */
/* A model's factor on service times (service-factor.h) while it is not alone on its card: what
 * services would take if nobody else ran, told from what they take when others have more or less to
 * do. A line by least squares, weighted by services, through the intervals in which all ran on all
 * CUs; its value at no work is the factor.
 *
 *	observed /   |            . o
 *	predicted    |     o  . o
 *	alone        |  . o
 *	        1.15 |.
 *	             +--------------------> work that came for the others, as busy share alone
 *
 * No guess of how much others slow it down goes in (stretch.h has one), so that the factor errs to
 * no side; where their work is always the same, that takes long. Work counts as it arrives: the
 * time that others are busy is longer by what this model slows them down, and would say that they
 * slow it down by more than they do. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Since the last look; all zero at first. */
struct co_run {
	double interval_s;
	uint32_t intervals;
	double n, x, y, xx, xy, yy; /* sums: of others' work, and of ratios */
};

/* An interval of services executions that took ratio times what they take alone. */
void co_run_add(struct co_run *c, double interval_s, double services, double others_work,
		double ratio);
/* The factor, and how many services alone would tell it as surely. False while these are too few;
 * else it starts anew. */
bool co_run_look(struct co_run *c, double *ret_factor, double *ret_services);
