/* SPDX-License-Identifier: Apache-2.0 */
/* What a profiler gets to see of a steady card: finite samples of services, and readings of a power
 * sensor with its rounding, noise and staleness; each with the error that it would state. Between
 * the files of the bench. */
#pragma once

#include "replay/truth.h"

#define BENCH_POLL_MS 10.0 /* between two looks at the sensors */

struct bench_estimate {
	double mean, se, changes; /* changes: readings that differ from the one before */
};

/* Readings of a constant power for so long. Noiseless: exact, with the error expected. */
struct bench_estimate bench_read_power(const struct plant_device *d, bool noiseless, double power_w,
				       double length_s, uint64_t seed);

/* Room for samples, kept from cell to cell; free(factors) at the end. */
struct bench_samples {
	double *factors;
	size_t size;
};
/* Fills capacity and quantiles from n services that take ns each but for jitter and stalls. */
int bench_sample_services(struct bench_samples *s, const struct truth *t, double ns, uint32_t n,
			  uint64_t seed, struct surface_cell *c);

/* The same without sampling, from the quantiles of the factor on service times. */
void bench_factor_quantiles(const struct truth *t, float ret[static SURFACE_QUANTILES]);
void bench_expect_services(const struct truth *t, const float factors[static SURFACE_QUANTILES],
			   double ns, struct surface_cell *c);
