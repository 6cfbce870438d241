/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the surface that a profiler without noise would measure on the simulated card, straight
 * from the plant, so that system tests need no sweep:
 *   make-surface DEVICE.ini MODEL.ini OUTPUT.csv [TIME-SCALE] */
#include "base/log.h"
#include "base/parse.h"
#include "base/units.h"
#include "plant/plant.h"
#include "response/table.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define JITTER_SIGMA   0.02
#define JITTER_SAMPLES 2000

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void service_quantiles(double ns, float ret[SURFACE_QUANTILES])
{
	static double factors[JITTER_SAMPLES];

	for (unsigned int i = 0; i < JITTER_SAMPLES; i++)
		factors[i] = plant_jitter(/* seed= */ 1, i, JITTER_SIGMA, 0, 1);
	qsort(factors, JITTER_SAMPLES, sizeof(factors[0]), compare_doubles);
	for (unsigned int q = 0; q < SURFACE_QUANTILES; q++)
		ret[q] = (float)(ns * factors[q * (JITTER_SAMPLES - 1) / (SURFACE_QUANTILES - 1)]);
}

/* Steady power at a clock limit with the card busy all the time (or never). */
static int steady_power(const struct plant_device *d, uint32_t level, const struct plant_cost *cost,
			struct cu_shape shape, double *ret_w)
{
	_cleanup_(plant_card_freep) struct plant_card *card = NULL;
	const struct plant_card_options options = {.time_factor = 1, .power_factor = 1};
	const uint64_t step_ns = 10 * NSEC_PER_MSEC, settle_ns = 20 * NSEC_PER_SEC;
	struct plant_card_state before, after;
	int r;

	r = plant_card_new(d, &options, 0, &card);
	if (r < 0)
		return r;
	plant_card_set_perf_level(card, PLANT_PERF_MANUAL);
	plant_card_set_range(card, 0, level);
	plant_card_get(card, &before);
	for (uint64_t now_ns = step_ns; now_ns <= 2 * settle_ns; now_ns += step_ns) {
		struct plant_activity a = {0};

		if (cost)
			a = (struct plant_activity){
				.busy_ns = step_ns,
				.ungated_cu_ns = (double)step_ns *
						 plant_ungated_cus(d, PLANT_GATING_NONE, shape),
				.flop = cost->flop * (double)step_ns / cost->ns,
				.bytes = cost->bytes * (double)step_ns / cost->ns,
			};
		plant_card_step(card, now_ns, &a);
		if (now_ns == settle_ns)
			plant_card_get(card, &before);
	}
	plant_card_get(card, &after);
	*ret_w = (after.energy_j - before.energy_j) / ((double)settle_ns / 1e9);
	return 0;
}

static int fill_cell(const struct plant_device *d, const struct plant_model *m, uint32_t level,
		     struct cu_shape shape, double scale, struct surface_cell *ret)
{
	struct plant_cost cost = plant_request_cost(d, m, d->level_mhz[level], shape, 1);
	struct surface_cell c = {
		.max_mhz = d->level_mhz[level],
		.shape = shape,
		.batch = 1,
		.workers = 1,
		.mean_mhz = d->level_mhz[level],
		.temp_c = d->ambient_c,
		.samples = JITTER_SAMPLES,
	};
	int r;

	r = steady_power(d, level, &cost, shape, &c.power_w);
	if (r < 0)
		return r;
	cost.ns *= scale;
	c.capacity_rps = 1e9 / cost.ns;
	c.capacity_se = c.capacity_rps * JITTER_SIGMA / sqrt(JITTER_SAMPLES);
	c.power_se = 0.2;
	c.energy_j = c.power_w / c.capacity_rps;
	service_quantiles(cost.ns, c.service_ns);
	*ret = c;
	return 0;
}

static int fill_surface(const struct plant_device *d, const struct plant_model *m, double scale,
			struct surface *s)
{
	const struct surface_cell *baseline;
	struct cu_shape shapes[64];
	double upper_ns;
	int n_shapes, r;

	n_shapes = cu_shapes(&d->topology, shapes, ARRAY_SIZE(shapes));
	if (n_shapes < 0)
		return n_shapes;
	(void)snprintf(s->model, sizeof(s->model), "%.*s", MODEL_NAME_MAX, m->name);
	(void)snprintf(s->gpu_name, sizeof(s->gpu_name), "%s", d->product);
	(void)snprintf(s->gfx, sizeof(s->gfx), "%s", d->gfx);
	(void)snprintf(s->date, sizeof(s->date), "2026-01-01T00:00:00Z");
	(void)snprintf(s->driver, sizeof(s->driver), "simulated");
	s->n_cus = cu_topology_cus(&d->topology);
	s->n_se = d->topology.n_se;
	s->simulated = true;
	s->workers = s->baseline_batch = 1;
	s->percentile = 95;
	s->n_levels = d->n_levels;
	s->cells = calloc((size_t)n_shapes * d->n_levels, sizeof(*s->cells));
	if (!s->cells)
		return -ENOMEM;
	for (uint32_t level = 0; level < d->n_levels; level++) {
		s->level_mhz[level] = d->level_mhz[level];
		r = steady_power(d, level, /* cost= */ NULL, (struct cu_shape){0},
				 &s->idle_power_w[level]);
		if (r < 0)
			return r;
		/* Empty kernels back to back: they touch no memory. */
		s->active_idle_power_w[level] =
			s->idle_power_w[level] +
			s->n_cus * plant_cu_active_idle_w(d, d->level_mhz[level]);
		for (int i = 0; i < n_shapes; i++) {
			r = fill_cell(d, m, level, shapes[i], scale, &s->cells[s->n_cells]);
			if (r < 0)
				return r;
			s->n_cells++;
		}
	}
	baseline = surface_baseline(s);
	if (!baseline)
		return -EBADMSG;
	s->capacity_rps = baseline->capacity_rps;
	s->rated_rps = 0.7 * s->capacity_rps;
	s->sensor_hz = 100;
	return response_tail(baseline, s->rated_rps, s->percentile, /* seed= */ 1, &s->t0_ns,
			     &upper_ns);
}

int main(int argc, char *argv[])
{
	_cleanup_(freep) struct plant_device *d = NULL;
	_cleanup_(freep) struct plant_model *m = NULL;
	_cleanup_(surface_freep) struct surface *s = calloc(1, sizeof(*s));
	_cleanup_(fclosep) FILE *f = NULL;
	struct ini_error error;
	double scale = 1;
	int r;

	log_init("make-surface", LOG_INFO);
	if (argc < 4 || argc > 5 || (argc == 5 && parse_double(argv[4], &scale) < 0)) {
		log_error("usage: make-surface DEVICE.ini MODEL.ini OUTPUT.csv [TIME-SCALE]");
		return 2;
	}
	r = plant_device_load(argv[1], &d, &error);
	if (r < 0) {
		log_error("%s:%u: %s", argv[1], error.line, error.text);
		return 1;
	}
	r = plant_model_load(argv[2], &m, &error);
	if (r < 0) {
		log_error("%s:%u: %s", argv[2], error.line, error.text);
		return 1;
	}
	r = s ? fill_surface(d, m, scale, s) : -ENOMEM;
	if (r < 0)
		return -log_error_errno(r, "cannot make the surface: %m");
	f = fopen(argv[3], "we");
	if (!f)
		return -log_error_errno(-errno, "cannot open %s: %m", argv[3]);
	r = surface_write(f, s);
	if (r == 0 && fflush(f) != 0)
		r = -errno;
	if (r < 0)
		return -log_error_errno(r, "cannot write %s: %m", argv[3]);
	return 0;
}
