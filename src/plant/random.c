/* SPDX-License-Identifier: Apache-2.0 */
/* Random variates as pure functions of (seed, index), so that two runs with one seed see the same
 * requests whatever the order in which they ask. */
#include "plant/plant.h"
#include <math.h>

/* The variates behind one jitter value, and their place in its stream. */
enum { JITTER_RADIUS, JITTER_ANGLE, JITTER_STALL, JITTER_VARIATES };

/* Keeps jitter apart from arrivals that were drawn from the same seed. */
#define JITTER_STREAM UINT64_C(0x6a69747465720000)

/* The finaliser of SplitMix64 (Steele, Lea and Flood 2014). */
static uint64_t mix(uint64_t x)
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t plant_hash(uint64_t seed, uint64_t n)
{
	/* The seed is mixed first: neighbouring seeds must not be shifted copies of one stream. */
	return mix(mix(seed + UINT64_C(0x9e3779b97f4a7c15)) + n * UINT64_C(0x9e3779b97f4a7c15));
}

double plant_uniform(uint64_t seed, uint64_t n)
{
	/* 52 bits and a half: neither 0 nor 1 can come out, so the logarithm is finite. */
	return ((double)(plant_hash(seed, n) >> 12) + 0.5) * 0x1p-52;
}

double plant_exponential(uint64_t seed, uint64_t n)
{
	return -log(plant_uniform(seed, n));
}

double plant_jitter(uint64_t seed, uint64_t request, double sigma, double stall_p,
		    double stall_factor)
{
	uint64_t stream = seed ^ JITTER_STREAM, first = request * JITTER_VARIATES;
	double normal, factor;

	normal = sqrt(2 * plant_exponential(stream, first + JITTER_RADIUS)) *
		 cos(2 * M_PI * plant_uniform(stream, first + JITTER_ANGLE));
	factor = exp(sigma * normal - sigma * sigma / 2);
	if (plant_uniform(stream, first + JITTER_STALL) < stall_p)
		factor *= stall_factor;
	return factor;
}
