/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/window.h"
#include "base/log.h"
#include "base/units.h"
#include "gpu/gpu.h" /* the bits of actuator_state.fields */
#include <errno.h>

#define STEADY		0.1 /* thirds of a window within 10 % */
#define THROTTLED_SHARE 0.1 /* of the readings */
#define GAPLESS		0.97

void sensor_span_add(struct sensor_span *span, const struct actuator_state *s, double now_s)
{
	span->n++;
	if (s->fields & GPU_HAS_POWER)
		readings_add(&span->power_w, (double)s->power_uw / (double)UW_PER_W, now_s);
	if (s->fields & GPU_HAS_SCLK)
		readings_add(&span->sclk_mhz, s->sclk_mhz, now_s);
	if (s->fields & GPU_HAS_TEMP)
		readings_add(&span->temp_c, s->temp_mc / 1e3, now_s);
	span->n_throttled += (s->fields & GPU_HAS_THROTTLE) && s->throttle != 0;
	span->n_drift += s->verified == ACTUATOR_DRIFT;
}

double window_completed(const struct window *w, uint32_t i, uint32_t j)
{
	return (double)(w->sample[j].completions - w->sample[i].completions);
}

static double busy_ns(const struct window *w, uint32_t i, uint32_t j)
{
	return (double)(w->sample[j].busy_ns - w->sample[i].busy_ns);
}

static double length_s(const struct window *w, uint32_t i, uint32_t j)
{
	return (double)(w->at_ns[j] - w->at_ns[i]) / (double)NSEC_PER_SEC;
}

/* Completions over time are whole numbers, and their moments those of two threads waking up; the
 * services themselves are known exactly. So while the worker leaves no gaps between them, capacity
 * is what they give, and only then. */
static void set_capacity(const struct window *w, bool has_starts, struct surface_cell *c)
{
	double value[WINDOW_PARTS], weight[WINDOW_PARTS], slots = c->workers;
	double counted = window_completed(w, 0, WINDOW_PARTS) / length_s(w, 0, WINDOW_PARTS);
	double gaps = 1;
	struct estimate mean;

	for (uint32_t i = 0; i < WINDOW_PARTS; i++) {
		weight[i] = window_completed(w, i, i + 1);
		value[i] = weight[i] > 0 ? busy_ns(w, i, i + 1) / weight[i] : 0;
		if (!has_starts)
			value[i] = slots * (double)(w->at_ns[i + 1] - w->at_ns[i]) /
				   MAX(weight[i], 1.0);
	}
	mean = batch_means(value, weight, WINDOW_PARTS);
	c->capacity_rps = slots * (double)NSEC_PER_SEC / mean.mean;
	if (counted < GAPLESS * c->capacity_rps)
		gaps = counted / c->capacity_rps;
	c->capacity_rps *= gaps;
	c->capacity_se = c->capacity_rps * mean.se / mean.mean;
}

static bool is_steady(const struct window *w)
{
	double thirds[3];

	for (uint32_t i = 0; i < 3; i++) {
		uint32_t from = i * WINDOW_PARTS / 3, to = (i + 1) * WINDOW_PARTS / 3;

		thirds[i] = window_completed(w, from, to) / length_s(w, from, to);
	}
	/* Where a third holds few requests, one more or less is no unrest. */
	return thirds_agree(thirds, STEADY + 3 / MAX(window_completed(w, 0, WINDOW_PARTS), 1.0));
}

static uint32_t flags(const struct window *w, const struct surface_cell *c)
{
	const struct sensor_span *s = &w->sensors;
	bool slow = c->mean_mhz * AT_CLOCK < c->max_mhz;
	uint32_t f = 0;

	if (slow || s->n_throttled > THROTTLED_SHARE * s->n)
		f |= SURFACE_THROTTLED;
	if (!is_steady(w) || s->n_drift > 0)
		f |= SURFACE_UNSTABLE;
	return f;
}

int window_cell(const struct window *w, bool has_starts, struct estimate power_w,
		struct surface_cell *c)
{
	const struct sensor_span *s = &w->sensors;
	double n = window_completed(w, 0, WINDOW_PARTS), mean_ns = 0;

	if (n < 1)
		return log_error_errno(-ENODATA,
				       "The worker completed no request at %u MHz on "
				       "%u CUs",
				       c->max_mhz, cu_shape_cus(c->shape));
	if (w->sample[WINDOW_PARTS].failures > w->sample[0].failures)
		return log_error_errno(-EIO, "Requests failed at %u MHz on %u CUs", c->max_mhz,
				       cu_shape_cus(c->shape));
	if (has_starts) {
		/* Such a worker's counters can still say that it took no time at all. */
		mean_ns = busy_ns(w, 0, WINDOW_PARTS) / n * c->batch;
		if (mean_ns <= 0)
			return log_error_errno(-ENODATA, "The worker reports no service times");
	}
	if (!histogram_quantiles(&w->histogram, mean_ns, c->service_ns))
		return log_error_errno(-ENODATA, "The worker reports no service times");
	set_capacity(w, has_starts, c);
	c->power_w = power_w.mean;
	c->power_se = power_w.se;
	c->energy_j = c->power_w / c->capacity_rps;
	c->mean_mhz = s->sclk_mhz.n ? readings_mean(&s->sclk_mhz, 0).mean : c->max_mhz;
	c->temp_c = s->temp_c.n ? readings_mean(&s->temp_c, 0).mean : 0;
	c->samples = (uint32_t)MAX(n / c->batch, 1.0);
	c->flags = flags(w, c);
	return 0;
}
