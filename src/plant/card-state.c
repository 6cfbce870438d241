/* SPDX-License-Identifier: Apache-2.0 */
/* A card's settings as they are written, its state as it is read, and its beginning. */
#include "plant/card-internal.h"
#include <errno.h>

/* Keeps sensor noise apart from arrivals that were drawn from the same seed. */
#define NOISE_STREAM UINT64_C(0x6e6f697365000000)

/* ---- settings ---- */

static struct range range_in_force(const struct plant_card *c)
{
	const struct range by_level[] = {
		[PLANT_PERF_AUTO] = {0, c->top},
		[PLANT_PERF_LOW] = {0, 0},
		[PLANT_PERF_HIGH] = {c->top, c->top},
		[PLANT_PERF_MANUAL] = c->written,
	};

	return by_level[c->perf_level];
}

static bool range_equal(struct range a, struct range b)
{
	return a.low == b.low && a.high == b.high;
}

/* Writing again what is already on its way must not put it off. */
static void request_range(struct plant_card *c)
{
	struct range wanted = range_in_force(c);

	if (range_equal(wanted, c->active)) {
		c->pending_ns = UINT64_MAX;
	} else if (c->pending_ns == UINT64_MAX || !range_equal(wanted, c->pending)) {
		c->pending = wanted;
		c->pending_ns = c->now_ns + ns_from_ms(c->device->switch_ms);
	}
}

void plant_card_set_perf_level(struct plant_card *c, enum plant_perf_level level)
{
	c->perf_level = level;
	if (level != PLANT_PERF_MANUAL)
		c->written = range_in_force(c);
	request_range(c);
}

void plant_card_set_range(struct plant_card *c, uint32_t lowest, uint32_t highest)
{
	c->written.high = MIN(highest, c->top);
	c->written.low = MIN(lowest, c->written.high);
	request_range(c);
}

void plant_card_set_cap_uw(struct plant_card *c, uint64_t cap_uw)
{
	c->cap_uw = cap_uw;
}

/* ---- state ---- */

static double noise_w(const struct plant_card *c)
{
	uint64_t seed = c->options.seed ^ NOISE_STREAM, n = 2 * c->published_n;

	if (c->device->sensor_noise_w == 0)
		return 0;
	return c->device->sensor_noise_w * sqrt(2 * plant_exponential(seed, n)) *
	       cos(2 * M_PI * plant_uniform(seed, n + 1));
}

static uint64_t sensor_power_uw(const struct plant_card *c)
{
	double resolution = c->device->power_resolution_w, steps;

	steps = floor((c->published_w + noise_w(c)) / resolution + 0.5);
	return (uint64_t)llround(MAX(steps, 0.0) * resolution * 1e6);
}

void plant_card_get(const struct plant_card *c, struct plant_card_state *ret)
{
	const uint32_t *mhz = c->device->level_mhz;
	bool pending = c->pending_ns != UINT64_MAX;
	uint32_t unlimited = CLAMP(c->dpm_level, c->active.low, c->active.high);

	*ret = (struct plant_card_state){
		.now_ns = c->now_ns,
		.perf_level = c->perf_level,
		.range_low = c->written.low,
		.range_high = c->written.high,
		.cap_uw = c->cap_uw,
		.sclk_mhz = mhz[c->level],
		.sclk_next_mhz = mhz[pending ? card_choose_level(c, c->pending) : c->level],
		.sclk_next_ns = c->pending_ns,
		.power_w = c->power_w,
		.energy_j = c->energy_j,
		.temp_c = c->temp_c,
		.throttled_thermal = c->thermal_limit < unlimited,
		.throttled_power = c->power_limit < unlimited,
		.sensor_power_uw = sensor_power_uw(c),
		.sensor_busy_percent = (uint32_t)lround(100 * c->published_busy),
		.sensor_sclk_mhz = mhz[c->published_level],
	};
}

const struct plant_card_options *plant_card_get_options(const struct plant_card *c)
{
	return &c->options;
}

/* ---- beginning ---- */

/* All that leaks per kelvin is what a kelvin more makes of it. */
static double leakage_per_k(const struct plant_card *c, uint32_t level)
{
	const struct plant_rates idle = {0};
	const struct plant_level *l = &c->levels[level];

	return (plant_power_w(c->device, l, &idle, 1) - plant_power_w(c->device, l, &idle, 0)) *
	       c->options.power_factor;
}

static bool factor_is_valid(double factor)
{
	return isfinite(factor) && factor > 0;
}

int plant_card_new(const struct plant_device *d, const struct plant_card_options *o,
		   uint64_t now_ns, struct plant_card **ret)
{
	struct plant_card *c;

	if (!factor_is_valid(o->time_factor) || !factor_is_valid(o->power_factor))
		return -EINVAL;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->device = d;
	c->options = *o;
	c->top = d->n_levels - 1;
	for (uint32_t i = 0; i < d->n_levels; i++) {
		c->levels[i] = plant_level_of(d, i);
		c->leakage_w_per_k[i] = leakage_per_k(c, i);
	}
	c->idle_c = plant_idle_c(d);
	c->now_ns = now_ns;
	c->perf_level = PLANT_PERF_AUTO;
	c->written = c->active = c->pending = (struct range){0, c->top};
	c->pending_ns = UINT64_MAX;
	c->cap_uw = (uint64_t)llround(d->cap_w * 1e6);
	c->level = c->dpm_level = d->dpm_idle_level;
	c->power_limit = c->thermal_limit = c->top;
	c->temp_c = d->ambient_c;
	c->power_w = c->limiter_w = c->filtered_w = d->idle_w * o->power_factor;
	c->limiter_next_ns = now_ns;
	card_publish_sensors(c);
	*ret = c;
	return 0;
}

struct plant_card *plant_card_free(struct plant_card *c)
{
	free(c);
	return NULL;
}
