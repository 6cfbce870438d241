/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a rate has been constant for the last minute, by a chi-squared test of its counts in
 * blocks of four seconds: of a Poisson process their variance is their mean. At R = 100 requests/s
 * a rate that swings by a tenth is told from one that does not. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CONSTANCY_BLOCKS 14

struct constancy {
	uint32_t n, next; /* of the ring */
	double count[CONSTANCY_BLOCKS], length_s[CONSTANCY_BLOCKS];
	double open_count, open_s; /* of the block that is not full yet */
};

void constancy_init(struct constancy *c);
void constancy_add(struct constancy *c, double count, double length_s);
bool constancy_known(const struct constancy *c); /* there is a minute to judge by */
bool constancy_holds(const struct constancy *c);
