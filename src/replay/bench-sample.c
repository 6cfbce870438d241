/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/bench-sample.h"
#include <errno.h>
#include <math.h>

/* Samples behind what is noiseless: they place its lowest and highest quantile. */
#define NOISELESS_SAMPLES 2000

/* ---- the sensor ---- */

static double normal(uint64_t seed, uint64_t n)
{
	return sqrt(2 * plant_exponential(seed, 2 * n)) *
	       cos(2 * M_PI * plant_uniform(seed, 2 * n + 1));
}

static double readings_expected(const struct plant_device *d, double length_s)
{
	return fmax(1, floor(length_s * 1e3 / fmax(BENCH_POLL_MS, d->sensor_period_ms)));
}

/* The standard error of n readings of a constant, changed ones counting; a reading that never
 * changes is still rounded. */
static double readings_se(const struct plant_device *d, double variance, double changed)
{
	double resolution = d->power_resolution_w;

	return sqrt((variance + resolution * resolution / 12) / changed);
}

struct bench_estimate bench_read_power(const struct plant_device *d, bool noiseless, double power_w,
				       double length_s, uint64_t seed)
{
	double noise_w = d->sensor_noise_w, resolution = d->power_resolution_w;
	double n = readings_expected(d, length_s), sum = 0, squares = 0, changed = 1, last = 0;

	if (noiseless)
		return (struct bench_estimate){power_w, readings_se(d, noise_w * noise_w, n), n};
	for (uint64_t i = 0; i < (uint64_t)n; i++) {
		double noisy_w = power_w + noise_w * normal(seed, i);
		/* From the truth, so that squares do not cancel. */
		double off = fmax(0, resolution * floor(noisy_w / resolution + 0.5)) - power_w;

		sum += off;
		squares += off * off;
		changed += i > 0 && off != last;
		last = off;
	}
	sum /= n;
	return (struct bench_estimate){power_w + sum,
				       readings_se(d, fmax(0, squares / n - sum * sum), changed),
				       changed};
}

/* ---- services ---- */

static double normal_below(double x)
{
	return erfc(-x * M_SQRT1_2) / 2;
}

/* Part of all requests whose factor is below exp(x). */
static double factor_below(const struct truth *t, double x)
{
	double sigma = fmax(t->jitter_sigma, 1e-9), mean = -sigma * sigma / 2;

	return (1 - t->stall_p) * normal_below((x - mean) / sigma) +
	       t->stall_p * normal_below((x - mean - log(t->stall_factor)) / sigma);
}

static double factor_quantile(const struct truth *t, double p)
{
	double low = -1 - 20 * t->jitter_sigma;
	double high = 1 + 20 * t->jitter_sigma + log(fmax(t->stall_factor, 1));

	for (int i = 0; i < 60; i++) {
		double middle = (low + high) / 2;

		*(factor_below(t, middle) < p ? &low : &high) = middle;
	}
	return exp(high);
}

static double mean_factor(const struct truth *t)
{
	return 1 + t->stall_p * (t->stall_factor - 1);
}

void bench_factor_quantiles(const struct truth *t, float ret[static SURFACE_QUANTILES])
{
	for (uint32_t q = 0; q < SURFACE_QUANTILES; q++) {
		double rank = (NOISELESS_SAMPLES - 1.0) * q / (SURFACE_QUANTILES - 1);

		ret[q] = (float)factor_quantile(t, (rank + 0.5) / NOISELESS_SAMPLES);
	}
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int reserve(struct bench_samples *s, size_t n)
{
	double *factors;

	if (n <= s->size)
		return 0;
	factors = reallocarray(s->factors, n, sizeof(*factors));
	if (!factors)
		return -ENOMEM;
	s->factors = factors;
	s->size = n;
	return 0;
}

static void set_capacity(struct surface_cell *c, double mean_ns, double se_ns, uint32_t samples)
{
	c->samples = samples;
	c->capacity_rps = c->batch * 1e9 / mean_ns;
	c->capacity_se = c->capacity_rps * se_ns / mean_ns;
}

int bench_sample_services(struct bench_samples *s, const struct truth *t, double ns, uint32_t n,
			  uint64_t seed, struct surface_cell *c)
{
	double sum = 0, squares = 0;
	int r;

	r = reserve(s, n);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < n; i++) {
		double factor = plant_jitter(seed, i, t->jitter_sigma, t->stall_p, t->stall_factor);

		s->factors[i] = factor;
		sum += factor - 1;
		squares += (factor - 1) * (factor - 1);
	}
	sum /= n;
	qsort(s->factors, n, sizeof(*s->factors), compare_doubles);
	for (uint32_t q = 0; q < SURFACE_QUANTILES; q++) {
		double rank = (n - 1.0) * q / (SURFACE_QUANTILES - 1), below = floor(rank);
		const double *at = &s->factors[(size_t)below];
		double above = rank > below ? at[1] : at[0];

		c->service_ns[q] = (float)(ns * (at[0] + (rank - below) * (above - at[0])));
	}
	set_capacity(c, ns * (1 + sum), ns * sqrt(fmax(0, squares / n - sum * sum) / n), n);
	return 0;
}

void bench_expect_services(const struct truth *t, const float factors[static SURFACE_QUANTILES],
			   double ns, struct surface_cell *c)
{
	double stall = t->stall_factor - 1, spread;

	spread = sqrt(t->jitter_sigma * t->jitter_sigma + t->stall_p * stall * stall);
	for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
		c->service_ns[q] = (float)(ns * factors[q]);
	set_capacity(c, ns * mean_factor(t), ns * spread / sqrt(NOISELESS_SAMPLES),
		     NOISELESS_SAMPLES);
}
