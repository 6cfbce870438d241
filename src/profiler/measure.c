/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/measure.h"
#include "base/log.h"
#include "base/units.h"
#include "gpu/gpu.h" /* the bits of actuator_state.fields */
#include <errno.h>
#include <math.h>
#include <string.h>

#define SENSOR_PERIOD_NS (10 * NSEC_PER_MSEC) /* 100 Hz */
#define AT_CLOCK	 1.02		      /* levels within 2 % are one */
#define SETTLE_NS	 (2 * NSEC_PER_SEC)   /* then the clock is taken as it is */
#define STEADY_READINGS	 20 /* as many equal ones below the limit: it will not get there */
/* Power counts as settled after this many new readings within 3 W or 3 %; sensors average over
 * milliseconds and may be read anew only twice a second. */
#define SETTLED_READINGS 3
#define SETTLED_W	 3.0
#define SETTLED_SHARE	 0.03
#define SETTLE_MIN_NS	 (50 * NSEC_PER_MSEC)
#define POWER_SETTLE_NS	 (1200 * NSEC_PER_MSEC) /* then it is taken as it is */
#define SETTLE_SERVICES	 2			/* begun under the configuration before */
#define PARTS		 12			/* batches for standard errors; a multiple of 3 */
#define MIN_SERVICES	 60
#define MAX_STRETCH	 20  /* of the time asked for, for that many services */
#define STEADY		 0.1 /* thirds of a window within 10 % */
#define THROTTLED_SHARE	 0.1 /* of the readings */
#define DEFAULT_STEP_W	 1.0 /* of a power sensor that has not moved yet */
#define GAPLESS		 0.97

static double to_s(uint64_t ns)
{
	return (double)ns / (double)NSEC_PER_SEC;
}

static int add_sensors(struct lab *lab, struct sensor_span *span)
{
	struct actuator_state s;
	double now_s;
	int r;

	r = rig_sensors(lab->rig, &s);
	if (r < 0)
		return r;
	now_s = to_s(rig_now_ns());
	span->n++;
	if (s.fields & GPU_HAS_POWER)
		readings_add(&span->power_w, (double)s.power_uw / (double)UW_PER_W, now_s);
	if (s.fields & GPU_HAS_SCLK)
		readings_add(&span->sclk_mhz, s.sclk_mhz, now_s);
	if (s.fields & GPU_HAS_TEMP)
		readings_add(&span->temp_c, s.temp_mc / 1e3, now_s);
	span->n_throttled += (s.fields & GPU_HAS_THROTTLE) && s.throttle != 0;
	span->n_drift += s.verified == ACTUATOR_DRIFT;
	return 0;
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

static bool is_settled(const double *readings, uint32_t n)
{
	double low = readings[0], high = readings[0];

	if (n < SETTLED_READINGS)
		return false;
	for (uint32_t i = 1; i < SETTLED_READINGS; i++) {
		low = MIN(low, readings[i]);
		high = MAX(high, readings[i]);
	}
	return high - low <= MAX(SETTLED_W, SETTLED_SHARE * high);
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
	       (now_ns < start_ns + SETTLE_MIN_NS || !is_settled(readings, n))) {
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

struct cu_topology lab_topology(const struct actuator_card *card)
{
	struct cu_topology t = {
		.n_se = card->n_se,
		.n_sh_per_se = MAX(card->n_sh_per_se, 1u),
		.n_xcc = MAX(card->n_xcc, 1u),
		/* RDNA (gfx10 and later) enables CUs in pairs. */
		.wgp_pairs = strncmp(card->gfx, "gfx1", 4) == 0 && strlen(card->gfx) > 6,
	};

	t.n_sh_per_se = MIN(t.n_sh_per_se, (uint32_t)CU_MAX_SH);
	for (uint32_t se = 0; se < t.n_se; se++)
		for (uint32_t sh = 0; sh < t.n_sh_per_se; sh++)
			t.active[se][sh] =
				(uint8_t)((card->active_cus[se] + t.n_sh_per_se - 1 - sh) /
					  t.n_sh_per_se);
	return t;
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
	struct cu_topology topology = lab_topology(card);
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

int lab_idle_power(struct lab *lab, uint32_t max_mhz, uint64_t time_ns, double *ret_w)
{
	struct sensor_span span = {0};
	struct estimate power;
	int r;

	r = rig_set_clock(lab->rig, max_mhz);
	if (r == 0)
		r = settle_power(lab);
	if (r == 0)
		r = watch_sensors(lab, rig_now_ns() + time_ns, &span);
	if (r == 0)
		r = span_power(lab, &span, &power);
	if (r == 0)
		*ret_w = power.mean;
	return r;
}

int lab_busy_power(struct lab *lab, uint32_t max_mhz, uint64_t time_ns, double *ret_w)
{
	struct sensor_span span = {0};
	struct estimate power;
	int r;

	r = rig_set_clock(lab->rig, max_mhz);
	if (r == 0)
		r = settle_clock(lab, max_mhz);
	if (r == 0)
		r = settle_power(lab);
	if (r == 0)
		r = watch_sensors(lab, rig_now_ns() + time_ns, &span);
	if (r == 0)
		r = span_power(lab, &span, &power);
	if (r == 0)
		*ret_w = power.mean;
	return r;
}

/* ---- a closed-loop cell ---- */

/* A window in parts; sample[i] is the worker's counters at the start of part i. */
struct window {
	struct channel_sample sample[PARTS + 1];
	uint64_t at_ns[PARTS + 1];
	struct sensor_span sensors;
	struct channel_histogram histogram;
};

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
	return r == 0 && part < PARTS ? watch_sensors(lab, end_ns, &w->sensors) : r;
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
	for (uint32_t i = 0; i <= PARTS && r == 0; i++)
		r = watch_part(lab, w, i, start_ns + time_ns * (i + 1) / PARTS);
	if (r == 0)
		r = rig_histogram(lab->rig, series, &w->histogram);
	if (r == 0)
		channel_histogram_subtract(&w->histogram, &before);
	return r;
}

/* Requests completed from part i to part j, and the service time spent on them. */
static double completed(const struct window *w, uint32_t i, uint32_t j)
{
	return (double)(w->sample[j].completions - w->sample[i].completions);
}

static double busy_ns(const struct window *w, uint32_t i, uint32_t j)
{
	return (double)(w->sample[j].busy_ns - w->sample[i].busy_ns);
}

/* Completions over time are whole numbers, and their moments those of two threads waking up; the
 * services themselves are known exactly. So while the worker leaves no gaps between them, capacity
 * is what they give, and only then. */
static void set_capacity(struct lab *lab, const struct window *w, struct surface_cell *c)
{
	double value[PARTS], weight[PARTS], slots = c->workers;
	double counted = completed(w, 0, PARTS) / to_s(w->at_ns[PARTS] - w->at_ns[0]);
	double gaps = 1;
	struct estimate mean;

	for (uint32_t i = 0; i < PARTS; i++) {
		weight[i] = completed(w, i, i + 1);
		value[i] = weight[i] > 0 ? busy_ns(w, i, i + 1) / weight[i] : 0;
		if (!reports_starts(lab))
			value[i] = slots * (double)(w->at_ns[i + 1] - w->at_ns[i]) /
				   MAX(weight[i], 1.0);
	}
	mean = batch_means(value, weight, PARTS);
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
		uint32_t from = i * PARTS / 3, to = (i + 1) * PARTS / 3;

		thirds[i] = completed(w, from, to) / to_s(w->at_ns[to] - w->at_ns[from]);
	}
	/* Where a third holds few requests, one more or less is no unrest. */
	return thirds_agree(thirds, STEADY + 3 / MAX(completed(w, 0, PARTS), 1.0));
}

static uint32_t cell_flags(const struct window *w, const struct surface_cell *c)
{
	const struct sensor_span *s = &w->sensors;
	bool slow = c->mean_mhz * AT_CLOCK < c->max_mhz;
	uint32_t flags = 0;

	if (slow || s->n_throttled > THROTTLED_SHARE * s->n)
		flags |= SURFACE_THROTTLED;
	if (!is_steady(w) || s->n_drift > 0)
		flags |= SURFACE_UNSTABLE;
	return flags;
}

static int fill_cell(struct lab *lab, const struct window *w, struct surface_cell *c)
{
	double n = completed(w, 0, PARTS);
	struct estimate power;
	int r;

	if (n < 1)
		return log_error_errno(-ENODATA,
				       "The worker completed no request at %u MHz on "
				       "%u CUs",
				       c->max_mhz, cu_shape_cus(c->shape));
	if (w->sample[PARTS].failures > w->sample[0].failures)
		return log_error_errno(-EIO, "Requests failed at %u MHz on %u CUs", c->max_mhz,
				       cu_shape_cus(c->shape));
	set_capacity(lab, w, c);
	r = span_power(lab, &w->sensors, &power);
	if (r < 0)
		return r;
	c->power_w = power.mean;
	c->power_se = power.se;
	c->energy_j = c->power_w / c->capacity_rps;
	c->mean_mhz =
		w->sensors.sclk_mhz.n ? readings_mean(&w->sensors.sclk_mhz, 0).mean : c->max_mhz;
	c->temp_c = w->sensors.temp_c.n ? readings_mean(&w->sensors.temp_c, 0).mean : 0;
	c->samples = (uint32_t)MAX(n / c->batch, 1.0);
	c->flags = cell_flags(w, c);
	if (!histogram_quantiles(&w->histogram,
				 reports_starts(lab) ? busy_ns(w, 0, PARTS) / n * c->batch : 0,
				 c->service_ns))
		return log_error_errno(-ENODATA, "The worker reports no service times");
	return 0;
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
		r = fill_cell(lab, w, &c);
	if (r == 0)
		*ret = c;
	return r;
}

/* ---- an open-loop run ---- */

int lab_measure_load(struct lab *lab, const struct grid_cell *cell, double rate_rps,
		     uint64_t time_ns, struct load_result *ret)
{
	double late[PARTS], weight[PARTS];
	_cleanup_(freep) struct window *w = malloc(sizeof(*w));
	struct load_result result = {0};
	struct estimate power;
	int r;

	if (!w)
		return -ENOMEM;
	r = watch_window(lab, CHANNEL_TOTAL, time_ns, w);
	if (r == 0)
		r = span_power(lab, &w->sensors, &power);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < PARTS; i++) {
		const struct channel_sample *a = &w->sample[i], *b = &w->sample[i + 1];

		weight[i] = completed(w, i, i + 1) + (double)(b->failures - a->failures);
		late[i] = weight[i] > 0 ? (double)(b->late - a->late) / weight[i] : 0;
		result.batches += weight[i] > 0;
	}
	if (result.batches == 0)
		return log_error_errno(-ENODATA, "The worker completed no request under load");
	result.late = batch_means(late, weight, PARTS);
	result.load = (struct surface_load){
		.max_mhz = cell->max_mhz,
		.shape = cell->shape,
		.batch = cell->batch,
		.workers = rig_hello(lab->rig)->slots,
		.offered_rps = rate_rps,
		.power_w = power.mean,
		.p50_ns = histogram_quantile(&w->histogram, 0.50),
		.p95_ns = histogram_quantile(&w->histogram, 0.95),
		.p99_ns = histogram_quantile(&w->histogram, 0.99),
		.samples = (uint32_t)w->histogram.count,
	};
	*ret = result;
	return 0;
}
