/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a rate has been constant for the last minute, by a chi-squared test of its counts in
 * blocks of four seconds: of a Poisson process their variance is their mean. At R = 100 requests/s
 * a rate that swings by a tenth is told from one that does not.
 *
 * Requests that come in clumps have a larger variance, and no rate need have changed. It shows in
 * the shortest counts there are, those of the polls: half the mean square of the difference between
 * two neighbours is their variance, whatever the rate does in longer times. Where that is more than
 * their mean, the blocks may vary as much more. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CONSTANCY_BLOCKS 14

struct constancy {
	uint32_t n, next; /* of the ring */
	double count[CONSTANCY_BLOCKS], length_s[CONSTANCY_BLOCKS];
	/* Of the polls in each block, with those before them: squares of the differences of rates
	 * over what they are in a process of rate 1; and how many. */
	double square[CONSTANCY_BLOCKS];
	uint32_t n_squares[CONSTANCY_BLOCKS];
	/* The block that is not full yet, and the last poll in it. */
	double open_count, open_s, open_square, poll_rps, poll_s;
	uint32_t open_n;
};

void constancy_init(struct constancy *c);
void constancy_add(struct constancy *c, double count, double length_s);
bool constancy_known(const struct constancy *c); /* there is a minute to judge by */
bool constancy_holds(const struct constancy *c);
/* Variance over mean of the polls' counts: 1 for a Poisson process, and while it is not known. */
double constancy_dispersion(const struct constancy *c);
