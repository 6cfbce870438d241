/* SPDX-License-Identifier: Apache-2.0 */
/* One model on one card for the tests of the simulation: an MI50 whose constants the test changes
 * before costs are made of it. */
#pragma once

#include "base/units.h"
#include "replay/simulation.h"
#include "support/cmocka-includes.h"
#include <math.h>
#include <string.h>

#define MS  NSEC_PER_MSEC
#define SEC NSEC_PER_SEC

#define FIXTURE_SEED UINT64_C(20)

struct fixture {
	struct plant_device *shipped;
	struct plant_model *model;
	struct truth truth;
	struct costs *costs;
	uint64_t *arrivals;
	struct simulation_options options;
	struct simulation_result result;
};

static struct fixture fixture;

static inline int fixture_load_model(const char *path)
{
	struct ini_error error;

	print_message("seed %lu\n", FIXTURE_SEED);
	if (plant_device_load(COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini", &fixture.shipped,
			      &error) < 0)
		return -1;
	return plant_model_load(path, &fixture.model, &error);
}

static inline int fixture_unload(void **state)
{
	(void)state;
	free(fixture.shipped);
	free(fixture.model);
	return 0;
}

/* A card without chance: no jitter, no drift, no noise. */
static inline int fixture_begin(void **state)
{
	(void)state;
	fixture.truth = (struct truth){
		.device = *fixture.shipped,
		.card = {.time_factor = 1, .power_factor = 1},
		.stall_factor = 1,
	};
	fixture.options = (struct simulation_options){
		.truth = &fixture.truth,
		.duration_ns = 10 * SEC,
		.poll_ns = 500 * MS,
		.drain_limit_ns = 60 * SEC,
		.workers = 1,
		.seed = FIXTURE_SEED,
		.mask_change_us = 55,
		.directive_ms = 1.2,
	};
	return 0;
}

static inline int fixture_end(void **state)
{
	(void)state;
	simulation_result_done(&fixture.result);
	fixture.costs = costs_free(fixture.costs);
	free(TAKE_PTR(fixture.arrivals));
	return 0;
}

/* A clock that stays where its limit is: no DPM, no power limiter. */
static inline void fixture_steady_clock(void)
{
	fixture.truth.device.cap_w = 1000;
	fixture.truth.device.dpm_idle_level = fixture.truth.device.n_levels - 1;
}

static inline void fixture_make_costs(uint32_t max_batch)
{
	struct costs_options o = {.n_batches = 1, .batches = {1}};

	for (uint32_t b = 2; b <= max_batch; b *= 2)
		o.batches[o.n_batches++] = b;
	assert_int_equal(costs_new(&fixture.truth, fixture.model, &o, &fixture.costs), 0);
	fixture.options.costs = fixture.costs;
}

static inline uint32_t fixture_full_shape(void)
{
	return (uint32_t)costs_shape_index(fixture.costs, (struct cu_shape){0, 0});
}

static inline double fixture_service_ns(uint32_t level, uint32_t shape, uint32_t batch)
{
	return costs_get(fixture.costs, level, shape, batch).ns;
}

/* All the same configuration. */
static inline void fixture_hold(struct configuration *c, uint32_t level, uint32_t batch)
{
	*c = (struct configuration){(uint16_t)level, (uint16_t)fixture_full_shape(),
				    (uint16_t)batch};
	fixture.options.schedule = c;
	fixture.options.n_schedule = 1;
}

/* Poisson, until duration_ns. */
static inline void fixture_poisson(double rate_rps)
{
	double t_ns = 0, end_ns = (double)fixture.options.duration_ns;
	uint32_t n = 0, size = (uint32_t)(rate_rps * end_ns * 2e-9) + 100;

	free(fixture.arrivals);
	fixture.arrivals = calloc(size, sizeof(*fixture.arrivals));
	assert_non_null(fixture.arrivals);
	for (;;) {
		t_ns += plant_exponential(fixture.options.seed, n) * 1e9 / rate_rps;
		if (t_ns >= end_ns)
			break;
		assert_true(n < size);
		fixture.arrivals[n++] = (uint64_t)t_ns;
	}
	fixture.options.arrival_ns = fixture.arrivals;
	fixture.options.n_arrivals = n;
}

static inline void fixture_arrivals(const uint64_t *arrival_ns, uint32_t n)
{
	fixture.options.arrival_ns = arrival_ns;
	fixture.options.n_arrivals = n;
}

/* To the drain's end, or to end_ns if that is not 0. */
static inline void fixture_run(uint64_t end_ns)
{
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	uint64_t drained_ns;

	simulation_result_done(&fixture.result);
	assert_int_equal(simulation_new(&fixture.options, &s), 0);
	drained_ns = simulation_run(s);
	assert_int_equal(simulation_finish(s, end_ns ? end_ns : drained_ns, &fixture.result), 0);
	assert_int_equal(fixture.result.drained_ns, drained_ns);
}

static inline double fixture_mean_latency_ns(void)
{
	double sum = 0;

	for (uint32_t i = 0; i < fixture.result.n; i++)
		sum += (double)fixture.result.latency_ns[i];
	return sum / fixture.result.n;
}

static inline void assert_close(const char *what, double value, double expected, double tolerance)
{
	if (!(fabs(value - expected) <= tolerance))
		fail_msg("%s is %.9g, expected %.9g +- %g", what, value, expected, tolerance);
}
