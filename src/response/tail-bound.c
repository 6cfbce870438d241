/* SPDX-License-Identifier: Apache-2.0 */
/* How sure a simulated tail is. */
#include "response/tail.h"
#include <math.h>

#define STUDENT_95 1.753 /* one-sided, TAIL_REPLICATIONS - 1 degrees of freedom */
/* A profile of few samples that is too low also finds its own scatter too low. Exponential services
 * at 0.6 load: without this, 100 samples give a bound that holds in 85 % instead of 95 %. */
#define FEW_SAMPLES 100.0

void moments_add(struct moments *m, double x)
{
	double delta = x - m->mean;

	m->n++;
	m->mean += delta / m->n;
	m->m2 += delta * (x - m->mean);
}

static double moments_variance(const struct moments *m)
{
	return m->n > 1 ? m->m2 / (m->n - 1) : 0;
}

double tail_standard_error(const struct moments *tail, const struct moments *change, double samples)
{
	return sqrt(moments_variance(tail) / tail->n +
		    moments_variance(change) * (1 + FEW_SAMPLES / samples));
}

/* Few samples miss the rare long services: what a second profile would lose against the first is
 * what the first lost against the truth. */
double tail_bound_factor(const struct moments *tail, const struct moments *change, double samples)
{
	return exp(MAX(-change->mean, 0.0) +
		   STUDENT_95 * tail_standard_error(tail, change, samples));
}
