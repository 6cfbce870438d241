/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/measure.h"
#include "base/log.h"
#include "base/units.h"
#include "profiler/card.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define SENSOR_PERIOD_NS (10 * NSEC_PER_MSEC) /* 100 Hz */
#define SETTLE_NS	 (2 * NSEC_PER_SEC)   /* then the clock is taken as it is */
#define STEADY_READINGS	 20 /* as many equal ones below the limit: it will not get there */
#define SETTLE_MIN_NS	 (50 * NSEC_PER_MSEC)
#define POWER_SETTLE_NS	 (1200 * NSEC_PER_MSEC) /* then it is taken as it is */
#define SETTLE_SERVICES	 2			/* begun under the configuration before */
#define MIN_SERVICES	 60
#define MAX_STRETCH	 20  /* of the time asked for, for that many services */
#define DEFAULT_STEP_W	 1.0 /* of a power sensor that has not moved yet */

static double to_s(uint64_t ns)
{
	return (double)ns / (double)NSEC_PER_SEC;
}

static int add_sensors(struct lab *lab, struct sensor_span *span)
{
	struct actuator_state s;
	int r;

	r = rig_sensors(lab->rig, &s);
	if (r == 0)
		sensor_span_add(span, &s, to_s(rig_now_ns()));
	return r;
}

static int span_power(struct lab *lab, const struct sensor_span *span, struct estimate *ret)
{
	if (span->power_w.n == 0)
		return log_error_errno(-ENODATA, "The card gives no power reading");
	if (span->power_w.step > 0)
		lab->power_step_w = lab->power_step_w > 0
					    ? MIN(lab->power_step_w, span->power_w.step)
					    : span->power_w.step;
	lab->sensor_hz = MAX(lab->sensor_hz, readings_hz(&span->power_w));
	*ret = readings_mean(&span->power_w,
			     lab->power_step_w > 0 ? lab->power_step_w : DEFAULT_STEP_W);
	return 0;
}

static int watch_sensors(struct lab *lab, uint64_t until_ns, struct sensor_span *span)
{
	uint64_t next_ns = rig_now_ns();
	int r = 0;

	while (r == 0 && next_ns < until_ns) {
		r = add_sensors(lab, span);
		next_ns = MAX(next_ns + SENSOR_PERIOD_NS, rig_now_ns());
		if (r == 0)
			r = rig_wait(lab->rig, MIN(next_ns, until_ns));
	}
	return r;
}

/* Waits until a busy card shows the clock asked for. One that stays below it (a power cap, heat)
 * is taken as it is: the cell says which clock it ran at. */
static int settle_clock(struct lab *lab, uint32_t max_mhz)
{
	uint64_t start_ns = rig_now_ns(), now_ns = start_ns;
	uint32_t last_mhz = 0, steady = 0;
	struct actuator_state s;
	int r;

	while (now_ns < start_ns + SETTLE_NS) {
		r = rig_sensors(lab->rig, &s);
		if (r < 0)
			return r;
		now_ns = rig_now_ns();
		if (s.sclk_mhz <= max_mhz * AT_CLOCK && s.sclk_mhz * AT_CLOCK >= max_mhz) {
			lab->settle_ms = MAX(lab->settle_ms, to_s(now_ns - start_ns) * 1e3);
			return 0;
		}
		steady = s.sclk_mhz == last_mhz ? steady + 1 : 0;
		last_mhz = s.sclk_mhz;
		if (steady >= STEADY_READINGS && s.sclk_mhz < max_mhz)
			return 0;
		r = rig_wait(lab->rig, now_ns + SENSOR_PERIOD_NS);
		if (r < 0)
			return r;
	}
	if (last_mhz > max_mhz * AT_CLOCK)
		log_warning("The clock reads %u MHz under a limit of %u MHz", last_mhz, max_mhz);
	return 0;
}

/* Waits until the power reading is that of what runs now. */
static int settle_power(struct lab *lab)
{
	uint64_t start_ns = rig_now_ns(), now_ns = start_ns;
	double readings[SETTLED_READINGS], last_w = -1;
	struct actuator_state s;
	uint32_t n = 0;
	int r = 0;

	while (r == 0 && now_ns < start_ns + POWER_SETTLE_NS &&
	       (now_ns < start_ns + SETTLE_MIN_NS || !power_is_settled(readings, n))) {
		double power_w;

		r = rig_sensors(lab->rig, &s);
		if (r < 0)
			return r;
		power_w = (double)s.power_uw / (double)UW_PER_W;
		if (power_w != last_w)
			readings[n++ % SETTLED_READINGS] = power_w;
		last_w = power_w;
		r = rig_wait(lab->rig, rig_now_ns() + SENSOR_PERIOD_NS);
		now_ns = rig_now_ns();
	}
	return r;
}

/* Services that began earlier must not count. */
static int settle_services(struct lab *lab)
{
	uint64_t deadline_ns = rig_now_ns() + SETTLE_NS, slots = rig_hello(lab->rig)->slots;
	struct channel_sample first, now;
	int r;

	r = rig_sample(lab->rig, &first);
	for (now = first; r == 0 && now.completions - first.completions < SETTLE_SERVICES * slots &&
			  rig_now_ns() < deadline_ns;) {
		r = rig_wait(lab->rig, rig_now_ns() + NSEC_PER_MSEC);
		if (r == 0)
			r = rig_sample(lab->rig, &now);
	}
	return r;
}

static int direct(struct lab *lab, const struct grid_cell *cell, uint64_t slo_ns)
{
	const struct actuator_card *card = rig_card(lab->rig);
	struct channel_directive d = {
		.max_batch = cell->batch,
		.slo_ns = slo_ns,
		.boost_wait_ns = UINT64_MAX,
		.sclk_mhz = cell->max_mhz,
	};
	struct cu_topology topology = card_topology(card);
	struct cu_mask mask;
	int r;

	if (!cu_shape_equal(cell->shape, cu_shape_full(&topology))) {
		r = cu_mask_from_shape(&topology, cell->shape, /* first_se= */ 0, &mask);
		if (r < 0)
			return log_error_errno(r, "No mask for %u SEs x %u CUs", cell->shape.n_se,
					       cell->shape.cus_per_se);
		d.cu_mask_bits = mask.n_bits;
		memcpy(d.cu_mask, mask.words, sizeof(d.cu_mask));
	}
	return rig_direct(lab->rig, &d);
}

int lab_configure(struct lab *lab, const struct grid_cell *cell, uint64_t slo_ns)
{
	int r;

	r = rig_set_clock(lab->rig, cell->max_mhz);
	if (r == 0)
		r = direct(lab, cell, slo_ns);
	return r;
}

/* Mean power from now on, once the sensors have settled. */
static int mean_power(struct lab *lab, uint64_t time_ns, double *ret_w)
{
	struct sensor_span span = {0};
	struct estimate power;
	int r;

	r = settle_power(lab);
	if (r == 0)
		r = watch_sensors(lab, rig_now_ns() + time_ns, &span);
	if (r == 0)
		r = span_power(lab, &span, &power);
	if (r == 0)
		*ret_w = power.mean;
	return r;
}

int lab_idle_power(struct lab *lab, uint32_t max_mhz, uint64_t time_ns, double *ret_w)
{
	int r;

	r = rig_set_clock(lab->rig, max_mhz);
	return r == 0 ? mean_power(lab, time_ns, ret_w) : r;
}

int lab_busy_power(struct lab *lab, uint32_t max_mhz, uint64_t time_ns, double *ret_w)
{
	int r;

	r = rig_set_clock(lab->rig, max_mhz);
	if (r == 0)
		r = settle_clock(lab, max_mhz);
	return r == 0 ? mean_power(lab, time_ns, ret_w) : r;
}

/* ---- a closed-loop cell ---- */

static bool reports_starts(struct lab *lab)
{
	return rig_hello(lab->rig)->reports & CHANNEL_REPORTS_STARTS;
}

/* Without starts the sojourn is the service time: the closed loop has one request a slot. */
static enum channel_series service_series(struct lab *lab)
{
	return reports_starts(lab) ? CHANNEL_SERVICE : CHANNEL_TOTAL;
}

static int watch_part(struct lab *lab, struct window *w, uint32_t part, uint64_t end_ns)
{
	int r;

	r = rig_sample(lab->rig, &w->sample[part]);
	w->at_ns[part] = rig_now_ns();
	return r == 0 && part < WINDOW_PARTS ? watch_sensors(lab, end_ns, &w->sensors) : r;
}

static int watch_window(struct lab *lab, enum channel_series series, uint64_t time_ns,
			struct window *w)
{
	struct channel_histogram before;
	uint64_t start_ns;
	int r;

	*w = (struct window){0};
	r = rig_histogram(lab->rig, series, &before);
	start_ns = rig_now_ns();
	for (uint32_t i = 0; i <= WINDOW_PARTS && r == 0; i++)
		r = watch_part(lab, w, i, start_ns + time_ns * (i + 1) / WINDOW_PARTS);
	if (r == 0)
		r = rig_histogram(lab->rig, series, &w->histogram);
	if (r == 0)
		channel_histogram_subtract(&w->histogram, &before);
	return r;
}

/* Settles, and gives a time long enough for the services that a quantile needs, going by those
 * seen meanwhile. */
static int settle_window(struct lab *lab, uint64_t time_ns, uint64_t *ret_ns)
{
	uint64_t start_ns = rig_now_ns();
	struct channel_sample a, b;
	double need_ns;
	int r;

	r = rig_sample(lab->rig, &a);
	if (r == 0)
		r = settle_power(lab);
	if (r == 0)
		r = rig_sample(lab->rig, &b);
	if (r < 0)
		return r;
	need_ns = (double)(rig_now_ns() - start_ns) * MIN_SERVICES /
		  (double)MAX(b.completions - a.completions, UINT64_C(1));
	*ret_ns = (uint64_t)CLAMP(need_ns, (double)time_ns, (double)time_ns * MAX_STRETCH);
	return 0;
}

int lab_measure_cell(struct lab *lab, const struct grid_cell *cell, uint64_t time_ns,
		     struct surface_cell *ret)
{
	struct surface_cell c = {
		.max_mhz = cell->max_mhz,
		.shape = cell->shape,
		.batch = cell->batch,
		.workers = rig_hello(lab->rig)->slots,
	};
	_cleanup_(freep) struct window *w = malloc(sizeof(*w));
	struct estimate power;
	int r;

	if (!w)
		return -ENOMEM;
	r = settle_clock(lab, cell->max_mhz);
	if (r == 0)
		r = settle_services(lab);
	if (r == 0)
		r = settle_window(lab, time_ns, &time_ns);
	if (r == 0)
		r = watch_window(lab, service_series(lab), time_ns, w);
	if (r == 0)
		r = span_power(lab, &w->sensors, &power);
	if (r == 0)
		r = window_cell(w, reports_starts(lab), power, &c);
	if (r == 0)
		*ret = c;
	return r;
}

/* ---- an open-loop run ---- */

int lab_measure_load(struct lab *lab, uint64_t time_ns, struct load_run *run)
{
	_cleanup_(freep) struct window *w = malloc(sizeof(*w));
	struct estimate power;
	int r;

	if (!w)
		return -ENOMEM;
	r = watch_window(lab, CHANNEL_TOTAL, time_ns, w);
	if (r == 0)
		r = span_power(lab, &w->sensors, &power);
	if (r < 0)
		return r;
	if (window_completed(w, 0, WINDOW_PARTS) < 1)
		return log_error_errno(-ENODATA, "The worker completed no request under load");
	load_run_add(run, w, power.mean);
	return 0;
}
