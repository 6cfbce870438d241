/* SPDX-License-Identifier: Apache-2.0 */
/* Means with honest standard errors, and quantiles from the channel's histograms. Pure. */
#pragma once

#include "channel/channel.h"
#include "response/surface.h"
#include <stdbool.h>
#include <stdint.h>

struct estimate {
	double mean, se;
};

/* Mean and standard error of values that are each the mean of a batch of a time series: batches
 * are longer than the series' memory, so they count as independent (Conway 1963). weights: how
 * much each batch counts, as its number of services; batches of weight 0 are skipped. The standard
 * error is 0 with fewer than two. */
struct estimate batch_means(const double *values, const double *weights, uint32_t n);

/* Two-sided 95 % quantile of Student's t. */
double student_95(uint32_t degrees);

/* Whether the three thirds of a window agree: none further than tolerance (0.1) from their mean. */
bool thirds_agree(const double thirds[3], double tolerance);

#define READINGS_BATCHES 16

/* A sensor that repeats its value until it measures anew, and averages over a while. The mean is
 * over time, so readings are to be taken at even intervals. Its standard error is that of the means
 * of 9 to 16 batches of neighbouring readings, whose length doubles as readings come in; or, where
 * the sensor is so stale that batches are shorter than its period, that of the readings that
 * changed, if it is larger. It is a sixth too small where a batch is only thrice as long as the
 * power's own memory, and right where that is short. */
struct readings {
	uint32_t n, n_changed;
	double first_s, last_s; /* time of the first and the last reading */
	double sum, sum_squares, last;
	double origin; /* the first value; sums are of differences from it */
	double step;   /* smallest change seen, 0 if none */
	double batch_sum[READINGS_BATCHES];
	uint32_t n_batches, batch_length; /* all full but the last, which holds in_last */
	uint32_t in_last;
};
void readings_add(struct readings *r, double value, double now_s);
struct estimate readings_mean(const struct readings *r, double default_step);
double readings_hz(const struct readings *r); /* changes per second */

/* Whether the last SETTLED_READINGS new power readings, in any order, of n so far, are within 3 W
 * or 3 %: what the sensor averages over has gone by, be it milliseconds or half a second. */
#define SETTLED_READINGS 3
bool power_is_settled(const double last_w[static SETTLED_READINGS], uint32_t n);

/* 101 quantiles of a histogram: linear inside a bucket, then scaled so that their mean is mean_ns,
 * which is known exactly (0: not known). Returns false if the histogram is empty. */
bool histogram_quantiles(const struct channel_histogram *h, double mean_ns,
			 float ret[static SURFACE_QUANTILES]);
/* One quantile (0..1), linear inside a bucket, ns; 0 if empty. */
double histogram_quantile(const struct channel_histogram *h, double q);
void histogram_add(struct channel_histogram *h, const struct channel_histogram *other);
