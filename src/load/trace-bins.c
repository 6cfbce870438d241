/* SPDX-License-Identifier: Apache-2.0 */
/* From the times of a trace to the load curve of a run. */
#include "load/trace-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* Of a trace without a known end: fine enough that cutting it into a run's bins is exact to a
 * thousandth of one, at least until bins have grown with the file. */
#define FINE_BINS    (UINT32_C(1) << 18)
#define FINE_WIDTH_S 0.01

int trace_bins_init(struct trace_bins *b, double start_s, double span_s, uint32_t n)
{
	b->start_s = start_s;
	b->fixed = span_s > 0;
	b->room = b->fixed ? n : FINE_BINS;
	b->width_s = b->fixed ? span_s / n : FINE_WIDTH_S;
	b->last_s = 0;
	b->counts = calloc(b->room, sizeof(*b->counts));
	return b->counts ? 0 : -ENOMEM;
}

void trace_bins_done(struct trace_bins *b)
{
	free(TAKE_PTR(b->counts));
}

static void widen(struct trace_bins *b)
{
	for (uint32_t i = 0; i < b->room / 2; i++)
		b->counts[i] = b->counts[2 * i] + b->counts[2 * i + 1];
	memset(&b->counts[b->room / 2], 0, b->room / 2 * sizeof(*b->counts));
	b->width_s *= 2;
}

void trace_bins_add(struct trace_bins *b, double t_s)
{
	double offset_s = t_s - b->start_s;

	if (offset_s < 0 || (b->fixed && offset_s >= b->width_s * b->room))
		return;
	while (!b->fixed && offset_s >= b->width_s * b->room)
		widen(b);
	b->last_s = MAX(b->last_s, offset_s);
	b->counts[MIN((uint32_t)(offset_s / b->width_s), b->room - 1)]++;
}

/* Counts below a time from the start; inside a bin as if spread evenly. */
static double counts_below(const double *sums, const struct trace_bins *b, double t_s)
{
	double place = MIN(t_s / b->width_s, (double)b->room);
	uint32_t i = MIN((uint32_t)place, b->room - 1);

	return sums[i] + (place - i) * b->counts[i];
}

static double *cut(const struct trace_bins *b, uint32_t n, double bin_s)
{
	_cleanup_(freep) double *sums = calloc(b->room, sizeof(*sums));
	_cleanup_(freep) double *bins = calloc(n, sizeof(*bins));

	if (!sums || !bins)
		return NULL;
	for (uint32_t i = 1; i < b->room; i++)
		sums[i] = sums[i - 1] + b->counts[i - 1];
	for (uint32_t i = 0; i < n; i++)
		bins[i] = b->fixed ? b->counts[i]
				   : counts_below(sums, b, (i + 1) * bin_s) -
					     counts_below(sums, b, i * bin_s);
	return TAKE_PTR(bins);
}

/* Centred moving average over k bins, at the ends over those that exist. */
static double smoothed(const double *bins, uint32_t n, uint32_t i, uint32_t k)
{
	uint32_t half = k / 2, low = i > half ? i - half : 0, high = MIN(i + half, n - 1);
	double sum = 0;

	for (uint32_t j = low; j <= high; j++)
		sum += bins[j];
	return sum / (high - low + 1);
}

/* Points in the middle of each bin, so that the curve's mean is that of the bins. */
static struct load_curve *curve_through(const double *bins, uint32_t n, double duration_s,
					uint32_t k, double largest)
{
	_cleanup_(load_curve_freep) struct load_curve *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->points = calloc(n + 2, sizeof(*c->points));
	if (!c->points)
		return NULL;
	c->n = n + 2;
	for (uint32_t i = 0; i < n; i++)
		c->points[i + 1] = (struct load_point){(i + 0.5) * duration_s / n,
						       smoothed(bins, n, i, k) / largest};
	c->points[0] = (struct load_point){0, c->points[1].load};
	c->points[n + 1] = (struct load_point){duration_s, c->points[n].load};
	return TAKE_PTR(c);
}

int trace_bins_curve(const struct trace_bins *b, uint32_t n, double duration_s, uint32_t k,
		     struct load_curve **ret, double *ret_bin_s, struct trace_error *ret_error)
{
	/* The last request belongs to the last bin. */
	double bin_s = b->fixed ? b->width_s : nextafter(b->last_s, INFINITY) / n;
	_cleanup_(freep) double *bins = NULL;
	double largest = 0;

	bins = cut(b, n, bin_s);
	if (!bins)
		return trace_fail(ret_error, -ENOMEM, "out of memory");
	for (uint32_t i = 0; i < n; i++)
		largest = MAX(largest, smoothed(bins, n, i, k));
	if (!(largest > 0))
		return trace_fail(ret_error, -EBADMSG,
				  "nothing arrives in the part of the trace that was asked for");
	*ret = curve_through(bins, n, duration_s, k, largest);
	if (!*ret)
		return trace_fail(ret_error, -ENOMEM, "out of memory");
	*ret_bin_s = bin_s;
	return 0;
}
