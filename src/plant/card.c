/* SPDX-License-Identifier: Apache-2.0 */
/* One card's state, advanced in slices that end where DPM, a limiter or a pending range may change
 * the clock: within a slice the clock is constant and the work is spread evenly, so power follows
 * the temperature alone. How time is cut by the caller does not matter. */
#include "base/units.h"
#include "plant/plant.h"
#include <errno.h>
#include <math.h>

/* Near a limiter's bounds what it decides depends on where power and heat go meanwhile. */
#define SLICE_NS (2 * NSEC_PER_MSEC)
/* Elsewhere temperature is all that moves, and leakage is taken in the middle of a slice. */
#define QUIET_SLICE_NS (50 * NSEC_PER_MSEC)
/* Leakage of a quiet slice is far from these. */
#define QUIET_W 1.0
#define QUIET_K 1.0

/* Cooler by this than where a thermal step began before the step is taken back. */
#define THERMAL_HYSTERESIS_K 0.5

/* Keeps sensor noise apart from arrivals that were drawn from the same seed. */
#define NOISE_STREAM UINT64_C(0x6e6f697365000000)

struct range {
	uint32_t low, high;
};

struct plant_card {
	const struct plant_device *device;
	struct plant_card_options options;
	struct plant_level levels[PLANT_MAX_LEVELS];
	uint32_t top;
	double idle_c; /* where an idle card comes to rest */
	uint64_t now_ns;

	/* settings: what was written, and what the clock follows by now */
	enum plant_perf_level perf_level;
	struct range written, active, pending;
	uint64_t pending_ns;
	uint64_t cap_uw;

	/* clock */
	uint32_t level, dpm_level;
	double dpm_busy;     /* busy share as DPM sees it */
	uint64_t dpm_low_ns; /* how long it has been below dpm_down_busy */

	/* limiters: the highest level that each allows */
	uint32_t power_limit, thermal_limit;
	double limiter_w;
	uint64_t limiter_next_ns;

	double power_w, energy_j, temp_c;

	/* sensors: the firmware's filtered values, and what was last published */
	double filtered_w, filtered_busy;
	uint64_t sensor_next_ns, published_n;
	double published_w, published_busy;
	uint32_t published_level;
};

static double ms(uint64_t ns)
{
	return (double)ns * 1e-6;
}

static uint64_t ns_from_ms(double value)
{
	return (uint64_t)llround(value * 1e6);
}

/* The share of the way to its input that a first-order filter goes in dt. */
static double approach(double dt, double tau)
{
	double x = dt / tau;

	if (!(tau > 0))
		return 1;
	/* Heat takes many of these, and the next term is below the last bit. */
	return x < 1e-3 ? x * (1 - x / 2 * (1 - x / 3 * (1 - x / 4))) : -expm1(-x);
}

/* When a filter at value comes to a threshold between it and its input, ns. */
static double crossing_ns(double value, double input, double threshold, double tau_ms)
{
	return tau_ms > 0 ? tau_ms * 1e6 * log((value - input) / (threshold - input)) : 0;
}

static uint64_t next_multiple(uint64_t now, uint64_t period)
{
	return now - now % period + period;
}

/* ---- clocks ---- */

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

/* The level that DPM and the limiters give within a range. The limiters may go below it: a soft
 * minimum does not bind the firmware. */
static uint32_t choose_level(const struct plant_card *c, struct range range)
{
	uint32_t level = CLAMP(c->dpm_level, range.low, range.high);

	return MIN(level, MIN(c->power_limit, c->thermal_limit));
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

/* Takes over a range whose time has come. */
static void apply_pending(struct plant_card *c)
{
	if (c->pending_ns > c->now_ns)
		return;
	c->active = c->pending;
	c->pending_ns = UINT64_MAX;
	c->level = choose_level(c, c->active);
}

/* A busy card goes to the top of its range at once; one that has been idle for long enough comes
 * down level by level. What lies between the two thresholds changes nothing. */
static void follow_load(struct plant_card *c, double busy_share, uint64_t dt_ns)
{
	const struct plant_device *d = c->device;
	bool was_low = c->dpm_busy < d->dpm_down_busy;

	c->dpm_busy += (busy_share - c->dpm_busy) * approach(ms(dt_ns), d->dpm_ramp_ms);
	if (c->dpm_busy >= d->dpm_up_busy)
		c->dpm_level = c->top;
	if (c->dpm_busy >= d->dpm_down_busy) {
		c->dpm_low_ns = 0;
		return;
	}
	/* A slice ends where the share passes the threshold. */
	c->dpm_low_ns = was_low ? c->dpm_low_ns + dt_ns : 0;
	if (c->dpm_low_ns < ns_from_ms(d->dpm_hold_ms) || c->dpm_level <= d->dpm_idle_level)
		return;
	c->dpm_level = MAX(MIN(c->dpm_level, c->active.high), d->dpm_idle_level + 1) - 1;
	c->dpm_low_ns = 0;
}

/* How long DPM goes on as it is under this share of busy time, ns. */
static double dpm_quiet_ns(const struct plant_card *c, double busy_share)
{
	const struct plant_device *d = c->device;
	double busy = c->dpm_busy, quiet_ns = INFINITY;
	bool low = busy < d->dpm_down_busy;

	if (c->dpm_level < c->top && busy < d->dpm_up_busy && busy_share > d->dpm_up_busy)
		quiet_ns = crossing_ns(busy, busy_share, d->dpm_up_busy, d->dpm_ramp_ms);
	/* At rest the time of being idle is not counted. */
	if (c->dpm_level <= d->dpm_idle_level)
		return quiet_ns;
	if (low)
		quiet_ns = fmin(quiet_ns, d->dpm_hold_ms * 1e6 - (double)c->dpm_low_ns);
	if (low ? busy_share > d->dpm_down_busy : busy_share < d->dpm_down_busy)
		quiet_ns = fmin(quiet_ns,
				crossing_ns(busy, busy_share, d->dpm_down_busy, d->dpm_ramp_ms));
	return quiet_ns;
}

/* ---- power ---- */

static double power_at(const struct plant_card *c, uint32_t level, double temp_c,
		       const struct plant_rates *a)
{
	return plant_power_w(c->device, &c->levels[level], a, temp_c - c->idle_c) *
	       c->options.power_factor;
}

/* ---- limiters ---- */

/* How much more the card would draw if the limiter let it go one level up. Work grows at most as
 * the clock does, so a step up that this allows is not taken back at once. */
static double next_level_w(const struct plant_card *c, const struct plant_rates *a)
{
	const uint32_t *mhz = &c->device->level_mhz[c->power_limit];
	double faster = (double)mhz[1] / mhz[0];
	struct plant_rates grown = *a;

	grown.flop *= faster;
	grown.bytes *= faster;
	return power_at(c, c->power_limit + 1, c->temp_c, &grown) -
	       power_at(c, c->power_limit, c->temp_c, a);
}

static void limit_power(struct plant_card *c, double power_w, const struct plant_rates *a,
			uint64_t dt_ns)
{
	const struct plant_device *d = c->device;
	double cap_w = (double)c->cap_uw * 1e-6;

	c->limiter_w += (power_w - c->limiter_w) * approach(ms(dt_ns), d->limiter_ms);
	if (c->now_ns < c->limiter_next_ns)
		return;
	c->limiter_next_ns = next_multiple(c->now_ns, ns_from_ms(d->limiter_ms));
	if (c->limiter_w > cap_w)
		c->power_limit = c->level > 0 ? c->level - 1 : 0;
	else if (c->power_limit < c->top && c->limiter_w + next_level_w(c, a) <= cap_w)
		c->power_limit++;
}

/* One level less for each equal step of the way from the throttling to the emergency
 * temperature, where none is left. */
static void limit_heat(struct plant_card *c)
{
	const struct plant_device *d = c->device;
	double step_k = (d->emergency_c - d->throttle_c) / MAX(c->top, 1u);
	double hot = ceil((c->temp_c - d->throttle_c) / step_k);
	double cooled = ceil((c->temp_c + THERMAL_HYSTERESIS_K - d->throttle_c) / step_k);
	double taken = c->top - c->thermal_limit;

	taken = CLAMP(MAX(hot, MIN(taken, cooled)), 0, (double)c->top);
	c->thermal_limit = c->top - (uint32_t)taken;
}

/* ---- sensors ---- */

static double noise_w(const struct plant_card *c)
{
	uint64_t seed = c->options.seed ^ NOISE_STREAM, n = 2 * c->published_n;

	if (c->device->sensor_noise_w == 0)
		return 0;
	return c->device->sensor_noise_w * sqrt(2 * plant_exponential(seed, n)) *
	       cos(2 * M_PI * plant_uniform(seed, n + 1));
}

/* What is published is worked out where it is read: that is rare. */
static void publish_sensors(struct plant_card *c)
{
	uint64_t period_ns = ns_from_ms(c->device->sensor_period_ms);

	c->published_w = c->filtered_w;
	c->published_busy = c->filtered_busy;
	c->published_level = c->level;
	c->published_n = c->now_ns / period_ns;
	c->sensor_next_ns = next_multiple(c->now_ns, period_ns);
}

static uint64_t sensor_power_uw(const struct plant_card *c)
{
	double resolution = c->device->power_resolution_w, steps;

	steps = floor((c->published_w + noise_w(c)) / resolution + 0.5);
	return (uint64_t)llround(MAX(steps, 0.0) * resolution * 1e6);
}

static void feed_sensors(struct plant_card *c, double power_w, double busy_share, uint64_t dt_ns)
{
	double share = approach(ms(dt_ns), c->device->sensor_filter_ms);

	c->filtered_w += (power_w - c->filtered_w) * share;
	c->filtered_busy += (busy_share - c->filtered_busy) * share;
	if (c->now_ns >= c->sensor_next_ns)
		publish_sensors(c);
}

/* ---- time ---- */

static double steady_c(const struct plant_card *c, double power_w)
{
	return c->device->ambient_c + power_w * c->device->thermal_ohm_k_per_w;
}

static void slice(struct plant_card *c, uint64_t dt_ns, const struct plant_rates *a, double power_w)
{
	double tau_s = c->device->thermal_tau_s, dt_s = (double)dt_ns * 1e-9;
	double middle_c = c->temp_c + (steady_c(c, power_w) - c->temp_c) * dt_s / (2 * tau_s);

	power_w = power_at(c, c->level, middle_c, a);
	c->now_ns += dt_ns;
	c->energy_j += power_w * dt_s;
	c->temp_c += (steady_c(c, power_w) - c->temp_c) * approach(dt_s, tau_s);
	follow_load(c, a->busy_share, dt_ns);
	limit_power(c, power_w, a, dt_ns);
	limit_heat(c);
	c->level = choose_level(c, c->active);
	feed_sensors(c, power_w, a->busy_share, dt_ns);
}

static bool limiters_are_quiet(const struct plant_card *c, double power_w)
{
	double cap_w = (double)c->cap_uw * 1e-6 - QUIET_W;
	double hottest_c = fmax(c->temp_c, steady_c(c, power_w));

	return c->power_limit == c->top && c->limiter_w <= cap_w && power_w <= cap_w &&
	       c->thermal_limit == c->top && hottest_c + QUIET_K <= c->device->throttle_c;
}

/* The end of a slice in which nothing changes but at its end. */
static uint64_t slice_end_ns(const struct plant_card *c, const struct plant_rates *a,
			     double power_w, uint64_t until_ns)
{
	double dpm_ns = dpm_quiet_ns(c, a->busy_share);
	uint64_t end_ns = MIN(until_ns, c->pending_ns);

	if (dpm_ns < (double)(end_ns - c->now_ns))
		end_ns = c->now_ns + MAX((uint64_t)ceil(dpm_ns), UINT64_C(1));
	if (limiters_are_quiet(c, power_w))
		return MIN(end_ns, c->now_ns + QUIET_SLICE_NS);
	if (c->limiter_next_ns > c->now_ns)
		end_ns = MIN(end_ns, c->limiter_next_ns);
	return MIN(end_ns, c->now_ns + SLICE_NS);
}

uint64_t plant_card_advance(struct plant_card *c, uint64_t until_ns, const struct plant_rates *a)
{
	uint64_t start_ns = c->now_ns;
	double before_j = c->energy_j;
	uint32_t level = c->level;

	apply_pending(c);
	while (c->now_ns < until_ns && c->level == level) {
		double power_w = power_at(c, level, c->temp_c, a);

		slice(c, slice_end_ns(c, a, power_w, until_ns) - c->now_ns, a, power_w);
		apply_pending(c);
	}
	if (c->now_ns > start_ns)
		c->power_w = (c->energy_j - before_j) / ((double)(c->now_ns - start_ns) * 1e-9);
	return c->now_ns;
}

void plant_card_step(struct plant_card *c, uint64_t now_ns, const struct plant_activity *a)
{
	double before_j = c->energy_j, length = (double)(now_ns - c->now_ns);
	struct plant_rates rates;

	if (now_ns <= c->now_ns)
		return;
	rates = (struct plant_rates){
		.busy_share = fmin(1, (double)a->busy_ns / length),
		.ungated_cus = a->ungated_cu_ns / length,
		.flop = a->flop / length,
		.bytes = a->bytes / length,
		.uncore_share = a->uncore_ns / length,
	};
	while (plant_card_advance(c, now_ns, &rates) < now_ns)
		;
	c->power_w = (c->energy_j - before_j) / (length * 1e-9);
}

uint32_t plant_card_level(const struct plant_card *c)
{
	return c->level;
}

double plant_card_energy_j(const struct plant_card *c)
{
	return c->energy_j;
}

/* ---- settings and state ---- */

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
		.sclk_next_mhz = mhz[pending ? choose_level(c, c->pending) : c->level],
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
	for (uint32_t i = 0; i < d->n_levels; i++)
		c->levels[i] = plant_level_of(d, i);
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
	publish_sensors(c);
	*ret = c;
	return 0;
}

struct plant_card *plant_card_free(struct plant_card *c)
{
	free(c);
	return NULL;
}
