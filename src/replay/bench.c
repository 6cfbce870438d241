/* SPDX-License-Identifier: Apache-2.0 */
/* What a sweep of the card finds, without its wall time or a step of the plant: while a cell is
 * measured the card does the same all the time, so its power is the steady one at its steady
 * temperature. What a profiler does not know exactly is drawn (bench-sample.h). */
#include "base/macros.h"
#include "replay/bench-sample.h"
#include "response/grid.h"
#include "response/table.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* As cofris-profile does it. */
#define CELL_S		5.0
#define POWER_SHARE	5.0 /* of a cell's time, for a reading of power alone: a fifth */
#define BASELINE_FACTOR 2.0
#define MIN_SERVICES	60.0
#define MAX_SERVICES	1e6
#define MAX_STRETCH	20.0
#define RATED_SHARE	0.7
#define QUICK_IDLES	3
#define QUICK_ACTIVE	5
#define PERCENTILE	95
#define TAIL_SEED	1

/* Of a sweep's seed: one stream for each thing that is measured. */
enum stream { STREAM_CELLS, STREAM_POWER, STREAM_IDLE, STREAM_ACTIVE, STREAMS };

struct sweep {
	const struct plant_device *device;
	const struct truth *truth;
	struct costs *costs;
	struct bench_options options;
	double cell_s;
	struct surface *surface;
	float noiseless[SURFACE_QUANTILES]; /* of the factor on service times */
	struct bench_samples samples;
};

struct steady {
	double power_w, temp_c;
};

/* ---- the steady card ---- */

/* base_w: without leakage, by the card's factor. A hotter card leaks more and so gets hotter; it
 * comes to rest where the two lines meet. */
static struct steady heat_up(const struct sweep *s, uint32_t level, double base_w)
{
	const struct plant_device *d = s->device;
	double leak =
		d->leakage_w_per_k * plant_level_of(d, level).v2 * s->truth->card.power_factor;
	double idle_c = plant_idle_c(d), cold_c = d->ambient_c + base_w * d->thermal_ohm_k_per_w;
	double growth = leak * d->thermal_ohm_k_per_w, temp_c = d->emergency_c;

	if (cold_c <= idle_c)
		return (struct steady){base_w, cold_c};
	if (growth < 1)
		temp_c = fmin(temp_c, (cold_c - growth * idle_c) / (1 - growth));
	return (struct steady){base_w + leak * (temp_c - idle_c), temp_c};
}

/* Goes to the level where the card comes to rest under its power cap and below the temperature at
 * which it throttles. */
static struct steady steady_cell(const struct sweep *s, uint32_t shape, uint32_t batch,
				 uint32_t *level)
{
	for (;;) {
		double busy_w = costs_busy_w(s->costs, *level, shape, batch);
		struct steady steady = heat_up(s, *level, busy_w);

		if (*level == 0 ||
		    (steady.power_w <= s->device->cap_w && steady.temp_c <= s->device->throttle_c))
			return steady;
		(*level)--;
	}
}

/* ---- cells ---- */

static uint64_t stream_seed(const struct sweep *s, enum stream stream, uint32_t n)
{
	return plant_hash(s->options.seed, (uint64_t)n * STREAMS + stream);
}

static uint32_t level_index(const struct plant_device *d, uint32_t mhz)
{
	uint32_t i = 0;

	while (d->level_mhz[i] != mhz)
		i++;
	return i;
}

static int measure_cell(struct sweep *s, const struct grid_cell *g, uint32_t number, double time_s,
			struct surface_cell *ret)
{
	uint32_t shape = (uint32_t)costs_shape_index(s->costs, g->shape);
	uint32_t wanted = level_index(s->device, g->max_mhz), level = wanted;
	struct steady steady = steady_cell(s, shape, g->batch, &level);
	double ns = costs_get(s->costs, level, shape, g->batch).ns, length_s;
	struct surface_cell c = {
		.max_mhz = g->max_mhz,
		.shape = g->shape,
		.batch = g->batch,
		.workers = 1,
		.mean_mhz = s->device->level_mhz[level],
		.temp_c = steady.temp_c,
		.flags = level < wanted ? SURFACE_THROTTLED : 0,
	};
	struct bench_estimate power;
	int r = 0;

	length_s = CLAMP(MIN_SERVICES * ns * 1e-9, time_s, MAX_STRETCH * time_s);
	power = bench_read_power(s->device, s->options.noiseless, steady.power_w, length_s,
				 stream_seed(s, STREAM_POWER, number));
	c.power_w = power.mean;
	c.power_se = power.se;
	if (s->options.noiseless)
		bench_expect_services(s->truth, s->noiseless, ns, &c);
	else
		r = bench_sample_services(&s->samples, s->truth, ns,
					  (uint32_t)CLAMP(length_s * 1e9 / ns, 1.0, MAX_SERVICES),
					  stream_seed(s, STREAM_CELLS, number), &c);
	if (r < 0)
		return r;
	c.energy_j = c.power_w / c.capacity_rps;
	if (number == 0)
		s->surface->sensor_hz = power.changes / length_s;
	*ret = c;
	return 0;
}

static int compare_cells(const void *x, const void *y)
{
	const struct surface_cell *a = x, *b = y;
	const uint32_t keys[][2] = {
		{a->max_mhz, b->max_mhz},
		{cu_shape_cus(a->shape), cu_shape_cus(b->shape)},
		{a->shape.n_se, b->shape.n_se},
		{a->batch, b->batch},
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i][0] != keys[i][1])
			return keys[i][0] < keys[i][1] ? -1 : 1;
	return 0;
}

static int set_reference(struct surface *f)
{
	const struct surface_cell *b = &f->cells[0];
	double upper_ns;

	f->capacity_rps = b->capacity_rps;
	f->rated_rps = RATED_SHARE * b->capacity_rps;
	return response_tail(b, f->rated_rps, f->percentile, TAIL_SEED, &f->t0_ns, &upper_ns);
}

static int measure_cells(struct sweep *s)
{
	struct surface *f = s->surface;
	const struct grid_options o = {
		.kind = s->options.quick ? GRID_QUICK : GRID_FULL,
		.level_mhz = s->device->level_mhz,
		.n_levels = s->device->n_levels,
		.topology = &s->device->topology,
		.masks = true,
		.batches = s->options.batches->batches,
		.n_batches = s->options.batches->n_batches,
	};
	_cleanup_(freep) struct grid_cell *grid = NULL;
	int n, r = 0;

	n = grid_plan(&o, &grid);
	if (n < 0 || n > SURFACE_MAX_CELLS)
		return n < 0 ? n : -E2BIG;
	f->cells = calloc((size_t)n, sizeof(*f->cells));
	if (!f->cells)
		return -ENOMEM;
	for (uint32_t i = 0; i < (uint32_t)n && r == 0; i++) {
		double time_s = s->cell_s * (i == 0 ? BASELINE_FACTOR : 1);

		r = measure_cell(s, &grid[i], i, time_s, &f->cells[i]);
		f->n_cells += r == 0;
	}
	if (r == 0)
		r = set_reference(f);
	qsort(f->cells, f->n_cells, sizeof(*f->cells), compare_cells);
	return r;
}

/* ---- power without work ---- */

/* Of empty kernels back to back, which touch no memory. */
static double active_idle_w(const struct sweep *s, uint32_t level)
{
	const struct plant_device *d = s->device;
	const struct plant_rates rates = {.busy_share = 1,
					  .ungated_cus = cu_topology_cus(&d->topology)};
	struct plant_level l = plant_level_of(d, level);

	return plant_power_w(d, &l, &rates, /* kelvin= */ 0) * s->truth->card.power_factor;
}

static double idle_w(const struct sweep *s, uint32_t level)
{
	return costs_idle_w(s->costs, level);
}

static void measure_levels(struct sweep *s, double (*power_w)(const struct sweep *, uint32_t),
			   uint32_t max, enum stream stream, double *ret_w)
{
	const struct plant_device *d = s->device;
	uint32_t levels[PLANT_MAX_LEVELS], picks[PLANT_MAX_LEVELS];
	uint32_t n = grid_levels(d->level_mhz, d->n_levels, levels);

	for (uint32_t i = 0; i < SURFACE_MAX_LEVELS; i++)
		ret_w[i] = NAN;
	n = grid_spread(n, s->options.quick ? max : n, picks);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t level = level_index(d, levels[picks[k]]);
		struct steady steady = heat_up(s, level, power_w(s, level));

		ret_w[level] =
			bench_read_power(s->device, s->options.noiseless, steady.power_w,
					 s->cell_s / POWER_SHARE, stream_seed(s, stream, level))
				.mean;
	}
}

/* ---- the sweep ---- */

/* Fixed, as the rest of what a sweep gives. */
#define DATE "1970-01-01T00:00:00Z"

static void describe(struct sweep *s, const struct plant_model *m)
{
	const struct plant_device *d = s->device;
	struct surface *f = s->surface;
	double polls = ceil(d->switch_ms / BENCH_POLL_MS);

	(void)snprintf(f->model, sizeof(f->model), "%.*s", MODEL_NAME_MAX, m->name);
	(void)snprintf(f->gpu_name, sizeof(f->gpu_name), "%s", d->product);
	(void)snprintf(f->gfx, sizeof(f->gfx), "%s", d->gfx);
	(void)snprintf(f->driver, sizeof(f->driver), "simulated");
	(void)snprintf(f->date, sizeof(f->date), "%s", DATE);
	f->n_cus = cu_topology_cus(&d->topology);
	f->n_se = d->topology.n_se;
	f->n_levels = d->n_levels;
	memcpy(f->level_mhz, d->level_mhz, d->n_levels * sizeof(*f->level_mhz));
	f->simulated = true;
	f->workers = 1;
	f->baseline_batch = s->options.batches->batches[0];
	f->percentile = PERCENTILE;
	f->settle_ms = s->options.noiseless ? d->switch_ms : polls * BENCH_POLL_MS;
}

static int sweep(struct sweep *s, const struct plant_model *m)
{
	int r;

	s->surface = calloc(1, sizeof(*s->surface));
	if (!s->surface)
		return -ENOMEM;
	r = costs_new(s->truth, m, s->options.batches, &s->costs);
	if (r < 0)
		return r;
	describe(s, m);
	if (s->options.noiseless)
		bench_factor_quantiles(s->truth, s->noiseless);
	measure_levels(s, idle_w, QUICK_IDLES, STREAM_IDLE, s->surface->idle_power_w);
	measure_levels(s, active_idle_w, QUICK_ACTIVE, STREAM_ACTIVE,
		       s->surface->active_idle_power_w);
	return measure_cells(s);
}

int bench_sweep(const struct truth *bench, const struct plant_model *m,
		const struct bench_options *o, struct surface **ret)
{
	struct truth t = *bench;
	struct sweep s = {.device = &t.device, .truth = &t, .options = *o};
	int r;

	s.cell_s = o->cell_s > 0 ? o->cell_s : CELL_S;
	if (!(s.cell_s <= 3600))
		return -EINVAL;
	if (t.card.gating != PLANT_GATING_NONE)
		t.device.half_card_saving = 0;
	t.card.gating = PLANT_GATING_NONE;
	r = sweep(&s, m);
	if (r == 0)
		*ret = TAKE_PTR(s.surface);
	(void)costs_free(s.costs);
	(void)surface_free(s.surface);
	free(s.samples.factors);
	return r;
}
