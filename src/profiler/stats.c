/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/stats.h"
#include <math.h>

#define SETTLED_W     3.0
#define SETTLED_SHARE 0.03

struct estimate batch_means(const double *values, const double *weights, uint32_t n)
{
	double sum = 0, weight = 0, squares = 0;
	uint32_t used = 0;

	for (uint32_t i = 0; i < n; i++) {
		sum += weights[i] > 0 ? values[i] * weights[i] : 0;
		weight += weights[i];
		used += weights[i] > 0;
	}
	if (used == 0)
		return (struct estimate){NAN, NAN};
	sum /= weight;
	/* Of a weighted mean of independent values whose variance goes with 1 / weight. */
	for (uint32_t i = 0; i < n; i++)
		if (weights[i] > 0)
			squares += weights[i] * (values[i] - sum) * (values[i] - sum);
	return (struct estimate){
		.mean = sum,
		.se = used < 2 ? 0 : sqrt(squares / (used - 1) / weight),
	};
}

double student_95(uint32_t degrees)
{
	static const double table[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306,
				       2.262,  2.228, 2.201, 2.179, 2.160, 2.145, 2.131};

	if (degrees == 0)
		return INFINITY;
	if (degrees <= ARRAY_SIZE(table))
		return table[degrees - 1];
	/* Two terms of the expansion in 1 / degrees; 0.1 % off at 16. */
	return 1.95996 + 2.3723 / degrees + 2.8225 / ((double)degrees * degrees);
}

bool thirds_agree(const double thirds[3], double tolerance)
{
	double mean = (thirds[0] + thirds[1] + thirds[2]) / 3;

	for (int i = 0; i < 3; i++)
		if (!(fabs(thirds[i] - mean) <= tolerance * mean))
			return false;
	return true;
}

static void merge_batches(struct readings *r)
{
	for (uint32_t i = 0; i < READINGS_BATCHES / 2; i++)
		r->batch_sum[i] = r->batch_sum[2 * i] + r->batch_sum[2 * i + 1];
	r->n_batches = READINGS_BATCHES / 2;
	r->batch_length *= 2;
	r->in_last = r->batch_length;
}

static void add_to_batch(struct readings *r, double value)
{
	if (r->batch_length == 0)
		r->batch_length = r->in_last = 1;
	if (r->in_last == r->batch_length) {
		if (r->n_batches == READINGS_BATCHES)
			merge_batches(r);
		r->batch_sum[r->n_batches++] = 0;
		r->in_last = 0;
	}
	r->batch_sum[r->n_batches - 1] += value;
	r->in_last++;
}

static double batches_se(const struct readings *r)
{
	double values[READINGS_BATCHES], weights[READINGS_BATCHES];

	for (uint32_t i = 0; i < r->n_batches; i++) {
		weights[i] = i + 1 < r->n_batches ? r->batch_length : r->in_last;
		values[i] = r->batch_sum[i] / weights[i];
	}
	return batch_means(values, weights, r->n_batches).se;
}

void readings_add(struct readings *r, double value, double now_s)
{
	double change = fabs(value - r->last), from_origin;

	if (r->n == 0) {
		r->origin = value;
		r->first_s = now_s;
		r->n_changed = 1;
	} else if (change > 0) {
		r->n_changed++;
		r->step = r->step > 0 ? MIN(r->step, change) : change;
	}
	from_origin = value - r->origin;
	r->n++;
	r->sum += from_origin;
	r->sum_squares += from_origin * from_origin;
	add_to_batch(r, from_origin);
	r->last = value;
	r->last_s = now_s;
}

struct estimate readings_mean(const struct readings *r, double default_step)
{
	double mean, variance, se, rounding, step = r->step > 0 ? r->step : default_step;

	if (r->n == 0)
		return (struct estimate){NAN, NAN};
	mean = r->sum / r->n;
	variance = fmax(r->sum_squares / r->n - mean * mean, 0);
	se = fmax(batches_se(r), sqrt(variance / r->n_changed));
	/* A steady reading is still rounded to the sensor's step: uniform over it. */
	rounding = step / sqrt(12.0 * r->n_changed);
	return (struct estimate){r->origin + mean, hypot(se, rounding)};
}

double readings_hz(const struct readings *r)
{
	double length_s = r->last_s - r->first_s;

	return length_s > 0 ? (r->n_changed - 1) / length_s : 0;
}

bool power_is_settled(const double last_w[static SETTLED_READINGS], uint32_t n)
{
	double low = INFINITY, high = 0;

	if (n < SETTLED_READINGS)
		return false;
	for (uint32_t i = 0; i < SETTLED_READINGS; i++) {
		low = MIN(low, last_w[i]);
		high = MAX(high, last_w[i]);
	}
	return high - low <= MAX(SETTLED_W, SETTLED_SHARE * high);
}

static uint64_t bucket_lower_ns(uint32_t bucket)
{
	return bucket == 0 ? 0 : channel_histogram_upper_ns(bucket - 1);
}

double histogram_quantile(const struct channel_histogram *h, double q)
{
	double rank = q * (double)h->count, seen = 0, upper = 0;

	for (uint32_t i = 0; i < CHANNEL_HISTOGRAM_BUCKETS; i++) {
		double n = (double)h->buckets[i], lower = (double)bucket_lower_ns(i);

		if (n <= 0)
			continue;
		upper = (double)channel_histogram_upper_ns(i);
		if (seen + n >= rank)
			return lower + (upper - lower) * (rank - seen) / n;
		seen += n;
	}
	return upper;
}

/* By the trapezium rule, as the table's tails take the quantiles. */
static double quantiles_mean(const double q[static SURFACE_QUANTILES])
{
	double sum = (q[0] + q[SURFACE_QUANTILES - 1]) / 2;

	for (uint32_t i = 1; i < SURFACE_QUANTILES - 1; i++)
		sum += q[i];
	return sum / (SURFACE_QUANTILES - 1);
}

bool histogram_quantiles(const struct channel_histogram *h, double mean_ns,
			 float ret[static SURFACE_QUANTILES])
{
	double q[SURFACE_QUANTILES], scale = 1;

	if (h->count == 0)
		return false;
	for (uint32_t i = 0; i < SURFACE_QUANTILES; i++)
		q[i] = histogram_quantile(h, (double)i / (SURFACE_QUANTILES - 1));
	if (mean_ns > 0)
		scale = mean_ns / quantiles_mean(q);
	for (uint32_t i = 0; i < SURFACE_QUANTILES; i++)
		ret[i] = (float)(q[i] * scale);
	return true;
}

void histogram_add(struct channel_histogram *h, const struct channel_histogram *other)
{
	h->count += other->count;
	for (uint32_t i = 0; i < CHANNEL_HISTOGRAM_BUCKETS; i++)
		h->buckets[i] += other->buckets[i];
}
