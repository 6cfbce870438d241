/* SPDX-License-Identifier: Apache-2.0 */
#include "load/arrivals.h"
#include "base/units.h"
#include "plant/plant.h"
#include <math.h>

struct arrivals arrivals_make(const struct load_curve *curve, uint64_t seed, double rated_rps,
			      double compression, uint64_t duration_ns)
{
	double end_s = curve->points[curve->n - 1].t_s / compression;
	uint64_t end_ns = (uint64_t)(end_s * (double)NSEC_PER_SEC);

	return (struct arrivals){
		.curve = curve,
		.seed = seed,
		.rated_rps = rated_rps,
		.compression = compression,
		.end_ns = duration_ns ? MIN(duration_ns, end_ns) : end_ns,
	};
}

/* Seconds into a segment of length_s, over which the rate goes from r0 to r1, until area arrivals
 * are expected. Written so that neither a flat segment nor a rate of zero divides by zero. */
static double invert(double r0, double r1, double length_s, double area)
{
	double slope = (r1 - r0) / length_s;

	return 2 * area / (r0 + sqrt(fmax(r0 * r0 + 2 * slope * area, 0)));
}

bool arrivals_next(struct arrivals *a, uint64_t *ret_offset_ns)
{
	double sum = a->sum + plant_exponential(a->seed, a->number);
	uint64_t offset_ns;

	for (; a->segment + 1 < a->curve->n; a->segment++) {
		const struct load_point *p = &a->curve->points[a->segment];
		double length_s = (p[1].t_s - p[0].t_s) / a->compression;
		double r0 = p[0].load * a->rated_rps, r1 = p[1].load * a->rated_rps;
		double area = (r0 + r1) / 2 * length_s, into_s;

		if (a->area + area <= sum) {
			a->area += area;
			continue;
		}
		into_s = MIN(invert(r0, r1, length_s, sum - a->area), length_s);
		offset_ns = (uint64_t)((p[0].t_s / a->compression + into_s) * (double)NSEC_PER_SEC);
		if (offset_ns >= a->end_ns)
			return false;
		a->sum = sum;
		a->number++;
		*ret_offset_ns = offset_ns;
		return true;
	}
	return false;
}
