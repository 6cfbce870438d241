/* SPDX-License-Identifier: Apache-2.0 */
/* The same card on the bench and in service, and other cards of which the same facts are known. */
#include "replay/truth.h"
#include "replay/ensemble.h"
#include <errno.h>
#include <math.h>

/* The worker's own spread of service times, and so what a profiler sees. */
#define BENCH_JITTER 0.02

/* A service card's service times creep by up to 2 % either way in a quarter of an hour. */
#define DRIFT_MAX_PER_S (0.02 / 900)

#define STALL_P	     0.002
#define STALL_FACTOR 1.5

/* Keeps service cards apart from whatever else is drawn from the same seed. */
#define SERVICE_STREAM UINT64_C(0x7365727669636500)

static bool is_valid(double value, double max)
{
	return isfinite(value) && value <= max;
}

int truth_bench(const struct plant_device *d, const struct truth_options *o, struct truth *ret)
{
	struct truth t = {
		.device = *d,
		.card = {.gating = o->gating, .seed = o->seed, .time_factor = 1, .power_factor = 1},
		.jitter_sigma = BENCH_JITTER,
		.stall_factor = 1,
	};

	if (!is_valid(o->switch_ms, 10000) || !is_valid(o->dpm_ramp_ms, 10000) ||
	    !is_valid(o->idle_active_share, 1))
		return -EINVAL;
	if (o->member > 0) {
		int r = ensemble_load(o->member, &t.device);

		if (r < 0)
			return r;
	}
	if (o->switch_ms >= 0)
		t.device.switch_ms = o->switch_ms;
	if (o->dpm_ramp_ms >= 0)
		t.device.dpm_ramp_ms = o->dpm_ramp_ms;
	if (o->idle_active_share >= 0)
		t.device.idle_active_share = o->idle_active_share;
	*ret = t;
	return 0;
}

/* The variates of one service card, in the order in which they are drawn. */
struct draws {
	uint64_t seed, n;
};

static double uniform(struct draws *d, double low, double high)
{
	return low + (high - low) * plant_uniform(d->seed, d->n++);
}

static double time_change(struct draws *d)
{
	return uniform(d, 0.9, 1.15);
}

int truth_service(const struct truth *bench, uint64_t seed, uint32_t n, struct truth *ret)
{
	struct draws d = {.seed = plant_hash(seed ^ SERVICE_STREAM, n)};
	struct truth t = *bench;
	struct plant_device *device = &t.device;

	device->efficiency /= time_change(&d);
	device->memory_gbps /= time_change(&d);
	device->cu_gbps /= time_change(&d);
	device->dispatch_us *= time_change(&d);
	device->launch_us *= time_change(&d);
	t.card.power_factor *= uniform(&d, 0.95, 1.1);
	t.card.seed = plant_hash(d.seed, d.n++);
	t.drift_per_s = uniform(&d, -DRIFT_MAX_PER_S, DRIFT_MAX_PER_S);
	t.jitter_sigma = uniform(&d, 0.01, 0.05);
	t.stall_p = STALL_P;
	t.stall_factor = STALL_FACTOR;
	*ret = t;
	return 0;
}
