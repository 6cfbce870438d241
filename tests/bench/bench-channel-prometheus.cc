/* SPDX-License-Identifier: Apache-2.0 */
#include "bench-channel-prometheus.h"

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <time.h>

namespace
{

/* One bucket an octave from 1 us to 137 s: coarser than the channel's, as each costs a step of a
 * search here. */
prometheus::Histogram::BucketBoundaries octaves()
{
	prometheus::Histogram::BucketBoundaries bounds;

	for (unsigned int bits = 10; bits <= 37; bits++)
		bounds.push_back(static_cast<double>(1ULL << bits) * 1e-9);
	return bounds;
}

prometheus::Counter arrivals, starts, completions;
prometheus::Histogram totals{octaves()}, services{octaves()};

double now_s()
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return static_cast<double>(ts.tv_sec) + static_cast<double>(ts.tv_nsec) * 1e-9;
}

} // namespace

void prometheus_pairs(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		double arrival_s = now_s();

		arrivals.Increment();
		totals.Observe(now_s() - arrival_s);
		completions.Increment();
	}
}

void prometheus_triples(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		double arrival_s = now_s(), start_s, end_s;

		arrivals.Increment();
		start_s = now_s();
		starts.Increment();
		end_s = now_s();
		totals.Observe(end_s - arrival_s);
		services.Observe(end_s - start_s);
		completions.Increment();
	}
}
