/* SPDX-License-Identifier: Apache-2.0 */
/* One card's state, advanced in slices that end where DPM, a limiter or a pending range may change
 * the clock: within a slice the clock is constant and the work is spread evenly, so power follows
 * the temperature alone. How time is cut by the caller does not matter. */
#include "base/units.h"
#include "plant/card-internal.h"
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

static double ms(uint64_t ns)
{
	return (double)ns * 1e-6;
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

/* The level that DPM and the limiters give within a range. The limiters may go below it: a soft
 * minimum does not bind the firmware. */
uint32_t card_choose_level(const struct plant_card *c, struct range range)
{
	uint32_t level = CLAMP(c->dpm_level, range.low, range.high);

	return MIN(level, MIN(c->power_limit, c->thermal_limit));
}

/* Takes over a range whose time has come. */
static void apply_pending(struct plant_card *c)
{
	if (c->pending_ns > c->now_ns)
		return;
	c->active = c->pending;
	c->pending_ns = UINT64_MAX;
	c->level = card_choose_level(c, c->active);
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

/* At the temperature of an idle card. */
static double cold_w(const struct plant_card *c, uint32_t level, const struct plant_rates *a)
{
	return plant_power_w(c->device, &c->levels[level], a, /* kelvin= */ 0) *
	       c->options.power_factor;
}

static double leakage_w(const struct plant_card *c, uint32_t level, double temp_c)
{
	return c->leakage_w_per_k[level] * MAX(temp_c - c->idle_c, 0.0);
}

static double power_at(const struct plant_card *c, uint32_t level, const struct plant_rates *a)
{
	return cold_w(c, level, a) + leakage_w(c, level, c->temp_c);
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
	return power_at(c, c->power_limit + 1, &grown) - power_at(c, c->power_limit, a);
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

/* What is published is worked out where it is read: that is rare. */
void card_publish_sensors(struct plant_card *c)
{
	uint64_t period_ns = ns_from_ms(c->device->sensor_period_ms);

	c->published_w = c->filtered_w;
	c->published_busy = c->filtered_busy;
	c->published_level = c->level;
	c->published_n = c->now_ns / period_ns;
	c->sensor_next_ns = next_multiple(c->now_ns, period_ns);
}

static void feed_sensors(struct plant_card *c, double power_w, double busy_share, uint64_t dt_ns)
{
	double share = approach(ms(dt_ns), c->device->sensor_filter_ms);

	c->filtered_w += (power_w - c->filtered_w) * share;
	c->filtered_busy += (busy_share - c->filtered_busy) * share;
	if (c->now_ns >= c->sensor_next_ns)
		card_publish_sensors(c);
}

/* ---- time ---- */

static double steady_c(const struct plant_card *c, double power_w)
{
	return c->device->ambient_c + power_w * c->device->thermal_ohm_k_per_w;
}

static void slice(struct plant_card *c, uint64_t dt_ns, const struct plant_rates *a, double base_w,
		  double power_w)
{
	double tau_s = c->device->thermal_tau_s, dt_s = (double)dt_ns * 1e-9;
	double middle_c = c->temp_c + (steady_c(c, power_w) - c->temp_c) * dt_s / (2 * tau_s);

	power_w = base_w + leakage_w(c, c->level, middle_c);
	c->now_ns += dt_ns;
	c->energy_j += power_w * dt_s;
	c->temp_c += (steady_c(c, power_w) - c->temp_c) * approach(dt_s, tau_s);
	follow_load(c, a->busy_share, dt_ns);
	limit_power(c, power_w, a, dt_ns);
	limit_heat(c);
	c->level = card_choose_level(c, c->active);
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
	uint32_t level = c->level;
	double before_j = c->energy_j, base_w = cold_w(c, level, a);

	apply_pending(c);
	while (c->now_ns < until_ns && c->level == level) {
		double power_w = base_w + leakage_w(c, level, c->temp_c);

		slice(c, slice_end_ns(c, a, power_w, until_ns) - c->now_ns, a, base_w, power_w);
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
