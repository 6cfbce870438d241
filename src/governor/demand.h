/* SPDX-License-Identifier: Apache-2.0 */
/* Estimate of one model's demand: an upper bound of the arrival rate in the next interval, from the
 * counts of the past ones.
 *
 *	    count
 *	      |            bound of the next count
 *	      |   ________________
 *	      |  |  . .  .   .    |______          . = counts
 *	      |  | .   .   .  . .        |____
 *	      |__|                   . .  . .
 *	      |. .                           .  .
 *	      +-----------------------------------> time
 *	         ^ a rise shows in one interval;   ^ a fall is believed after several
 *
 * The mean is the count over the exposure, both forgotten with a time constant. The bound is the
 * upper prediction limit of a Poisson count with that mean, widened by what is not known of the
 * mean and by dispersion above Poisson. Counts of the last intervals, alone and together, are held
 * against the mean; where chance does not explain them, the past is dropped and only they count. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DEMAND_HISTORY 16

enum demand_change { DEMAND_SAME, DEMAND_ROSE, DEMAND_FELL, DEMAND_FIRST };

/* How surely a change is known for one, and how far above the mean the bound lies. */
struct demand_kind {
	double change_z;	 /* sigma */
	double bound_z, bound_p; /* one-sided, of the next count */
};
/* Where demand is constant: five windows are tried 120 times a minute, and at 4.5 sigma chance
 * passes for a change about once in eight hours. 96.4 %: an estimated mean strays, and 95 % are to
 * lie below all the same. */
extern const struct demand_kind demand_sure;
/* Where it moves, and a short boost costs less than a higher row does: chance passes for a change
 * several times a minute, which makes the estimate poorer for a while, but what moves is followed
 * at once. */
extern const struct demand_kind demand_keen;

struct demand {
	const struct demand_kind *kind;
	double count, exposure_s; /* forgotten together */
	double dispersion;	  /* variance over mean of the counts, 1 for Poisson */
	double least_dispersion;  /* as the owner knows better */
	uint32_t n_history;	  /* intervals below, newest last */
	double history_count[DEMAND_HISTORY], history_s[DEMAND_HISTORY];
	double interval_s; /* of the last one: the next is taken to be as long */
};

void demand_init(struct demand *d, const struct demand_kind *kind);
/* Requests are known to come in clumps: at least so much over Poisson is no change. */
void demand_expect_dispersion(struct demand *d, double dispersion);
/* One whole interval's count. interval_ns of 0 is ignored (DEMAND_SAME). */
enum demand_change demand_update(struct demand *d, uint64_t arrivals, uint64_t interval_ns);
/* The same in the middle of an interval, if its count is more than chance explains: then it counts
 * alone, as if it were a whole one. */
enum demand_change demand_update_early(struct demand *d, uint64_t arrivals, uint64_t length_ns);
bool demand_known(const struct demand *d); /* at least one interval since demand_init() */
double demand_mean_rps(const struct demand *d);
double demand_bound_rps(const struct demand *d); /* of the next interval's count, as a rate */
double demand_upper_rps(const struct demand *d); /* confidence bound of the mean itself */
