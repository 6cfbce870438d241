/* SPDX-License-Identifier: Apache-2.0 */
/* How much a model's services are slowed down by other models on the same CUs: its share s in
 *
 *	observed / predicted alone = f (1 + s * sum of the others' busy shares of the time)
 *
 * f being the card, which need not be as fast as its profile's. Both are learnt from the intervals
 * in which all ran on all CUs: a line by least squares, weighted by services, over some minutes,
 * with first guesses of both that count as their spread over models and cards has it. What the plan
 * uses follows in steps, as each of them makes a new plan. */
#pragma once

/* Kernels that fill the card, each with the same part of it, would have 1; those that leave CUs
 * free, or have little to do beside being launched, are slowed down less. Launch by launch
 * (plant/share.h), pairs of ten models have 0.03 (shufflenet beside itself) to 1.3 (bert-base
 * beside vgg19). */
#define STRETCH_FIRST 0.6
#define STRETCH_LEAST 0.2
#define STRETCH_MOST  1.3

struct stretch {
	double n, x, y, xx, xy; /* sums: of others' busy shares, and of ratios */
	double share;		/* in use */
};

void stretch_init(struct stretch *s);
/* An interval of services executions that took ratio times what they take alone. factor: f, where
 * that is known; 0: it is learnt along. */
void stretch_learn(struct stretch *s, double interval_s, double services, double others_busy,
		   double ratio, double factor);
