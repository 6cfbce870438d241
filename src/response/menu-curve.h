/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of an option's requests over its load, as simulated at a few loads.
 *
 * Two options of the same batch whose services, at every size and quantile, are straight in each
 * other have a third on the line between them: at the same load the planned waits, the latencies
 * and the numbers of executions are straight, too. Of most surfaces few curves say what there is to
 * know of all options. */
#pragma once

#include "response/menu-internal.h"

#define CURVE_LOADS 24

struct curve_point {
	float tail_ns;
	float factor; /* of its upper bound over it */
	float wait_ns;
	struct tail_survival survival;
	float executions[TAIL_MAX_SIZES]; /* per request, of batches of each size */
};

struct curve {
	uint32_t option;
	const struct surface_cell *cell;
	double service_ns;
	struct tail_sizes sizes; /* n = 0: it does not wait for batches */
	const float *loads;	 /* ascending; which these are depends on whether it waits */
	uint32_t n_loads, first, end;
	struct curve_point points[CURVE_LOADS];
};

/* Where an option's points come from. */
struct curve_source {
	const struct curve *a, *b; /* the same: part is 0 */
	float part;		   /* of the way from a to b */
	float scale;		   /* of latencies */
};

/* Share of the time that it is busy if all batches are full, by its services. */
double curve_load(const struct surface_cell *c, double rate_rps);
/* The option and its cell are set. As far as tails are kept, and to least_load in any case; all
 * loads if it does not wait. */
void curve_simulate(const struct menu_building *b, double least_load, struct curve *c);
/* False: above what was simulated. */
bool curve_source_at(const struct curve_source *s, double load, struct curve_point *ret);
