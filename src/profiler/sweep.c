/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/sweep.h"
#include "base/fsio.h"
#include "base/log.h"
#include "base/units.h"
#include "profiler/card.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#define RATED_SHARE 0.7 /* R of C(B) */
#define POWER_SHARE 5	/* of the time of a cell, for a reading of power alone: a fifth */
/* Clocks at which a quick sweep reads idle and active-idle power. */
#define QUICK_IDLES	   3
#define QUICK_ACTIVE_IDLES 5
#define BASELINE_FACTOR	   2 /* everything is relative to B, so it is measured longer */
#define UNSTABLE_AGAIN	   2 /* times, each twice as long, before a cell is called unstable */

uint32_t sweep_in_flight(const struct sweep *s)
{
	const struct profile_options *o = s->options;
	uint32_t largest = 1;

	for (uint32_t i = 0; i < o->n_batches; i++)
		largest = MAX(largest, o->batches[i]);
	return largest * o->workers;
}

static void describe_driver(char *ret, size_t size)
{
	char version[32] = "";
	struct utsname u;

	if (read_text_at(AT_FDCWD, "/sys/module/amdgpu/version", version, sizeof(version)) > 0)
		version[strcspn(version, "\n")] = '\0';
	if (uname(&u) < 0)
		(void)snprintf(u.release, sizeof(u.release), "?");
	(void)snprintf(ret, size, "Linux %.30s%s%s", u.release, version[0] ? ", amdgpu " : "",
		       version);
}

static void describe_date(char *ret, size_t size)
{
	time_t now = time(NULL);
	struct tm utc;

	(void)gmtime_r(&now, &utc);
	(void)strftime(ret, size, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static int new_surface(struct sweep *s)
{
	const struct actuator_card *card = rig_card(s->lab.rig);
	const struct profile_options *o = s->options;
	struct surface *f = calloc(1, sizeof(*f));

	s->surface = f;
	if (!f)
		return -ENOMEM;
	f->cells = calloc(s->n_grid, sizeof(*f->cells));
	f->loads = calloc(SURFACE_MAX_LOADS, sizeof(*f->loads));
	if (!f->cells || !f->loads)
		return -ENOMEM;
	(void)snprintf(f->model, sizeof(f->model), "%s", o->model);
	if (o->model_digest)
		(void)snprintf(f->model_digest, sizeof(f->model_digest), "%s", o->model_digest);
	(void)snprintf(f->gpu_name, sizeof(f->gpu_name), "%s", card->name);
	(void)snprintf(f->gfx, sizeof(f->gfx), "%s", card->gfx);
	describe_driver(f->driver, sizeof(f->driver));
	describe_date(f->date, sizeof(f->date));
	f->n_cus = card->n_cus;
	f->n_se = card->n_se;
	f->n_levels = card->n_levels;
	memcpy(f->level_mhz, card->level_mhz, card->n_levels * sizeof(*f->level_mhz));
	f->simulated = card->simulated;
	f->baseline_batch = o->batches[0];
	f->percentile = o->percentile;
	for (uint32_t i = 0; i < SURFACE_MAX_LEVELS; i++)
		f->idle_power_w[i] = f->active_idle_power_w[i] = NAN;
	return 0;
}

static int plan(struct sweep *s)
{
	const struct actuator_card *card = rig_card(s->lab.rig);
	const struct profile_options *o = s->options;
	struct cu_topology topology = card_topology(card);
	bool masks = rig_hello(s->lab.rig)->follows & CHANNEL_FOLLOWS_CU_MASK;
	int n;

	n = grid_plan(
		&(struct grid_options){
			.kind = o->grid,
			.level_mhz = card->level_mhz,
			.n_levels = card->n_levels,
			.topology = &topology,
			.masks = masks,
			.batches = o->batches,
			.n_batches = o->n_batches,
		},
		&s->grid);
	if (n < 0)
		return log_error_errno(n, "Cannot plan a sweep of this card: %m");
	if (n > SURFACE_MAX_CELLS)
		return log_error_errno(-E2BIG, "%d cells are too many: fewer batch sizes", n);
	if (!masks)
		log_warning("The worker follows no CU mask: only the whole card is measured");
	s->n_grid = (uint32_t)n;
	return 0;
}

/* ---- power without work ---- */

typedef int (*power_fn)(struct lab *lab, uint32_t max_mhz, uint64_t time_ns, double *ret_w);

/* Power at up to max of the clocks that count as different, from high to low as the sweep goes.
 * What is not measured is NaN: the table then takes the line between its neighbours. */
static int measure_levels(struct sweep *s, power_fn measure, uint32_t max, double *power_w)
{
	const struct actuator_card *card = rig_card(s->lab.rig);
	uint64_t time_ns = s->options->cell_time_ns / POWER_SHARE;
	uint32_t levels[SURFACE_MAX_LEVELS], picks[SURFACE_MAX_LEVELS];
	uint32_t n = grid_spread(grid_levels(card->level_mhz, card->n_levels, levels), max, picks);
	int r = 0;

	for (uint32_t k = 0; k < n && r == 0; k++) {
		uint32_t max_mhz = levels[picks[k]], i = 0;

		while (card->level_mhz[i] != max_mhz)
			i++;
		r = measure(&s->lab, max_mhz, time_ns, &power_w[i]);
	}
	return r;
}

static int measure_idle(struct sweep *s)
{
	const struct actuator_card *card = rig_card(s->lab.rig);
	double *idle_w = s->surface->idle_power_w;
	uint32_t max = s->options->grid == GRID_QUICK ? QUICK_IDLES : SURFACE_MAX_LEVELS;
	int r;

	r = measure_levels(s, lab_idle_power, max, idle_w);
	if (r < 0)
		return r;
	progress_step(&s->progress, rig_now_ns(), "idle: %.1f W", idle_w[card->n_levels - 1]);
	return 0;
}

static int measure_active_idle(struct sweep *s)
{
	const struct actuator_card *card = rig_card(s->lab.rig);
	double *active_w = s->surface->active_idle_power_w;
	uint32_t max = s->options->grid == GRID_QUICK ? QUICK_ACTIVE_IDLES : SURFACE_MAX_LEVELS;
	int r;

	/* Another worker runs its model and nothing else. */
	if (s->options->worker_command) {
		progress_step(&s->progress, rig_now_ns(), "active idle: not known");
		return 0;
	}
	r = rig_start_worker(s->lab.rig, WORKER_IDLE_KERNELS, 1, 0, s->options->seed);
	if (r == 0)
		r = measure_levels(s, lab_busy_power, max, active_w);
	rig_stop_worker(s->lab.rig);
	if (r < 0)
		return r;
	progress_step(&s->progress, rig_now_ns(), "active idle: %.1f W",
		      active_w[card->n_levels - 1]);
	return 0;
}

/* ---- cells ---- */

static void describe_batch(const struct sweep *s, uint32_t batch, char *ret, size_t size)
{
	*ret = '\0';
	if (s->options->n_batches > 1)
		(void)snprintf(ret, size, ", batch %u", batch);
}

/* What disturbed the host or the card for a moment is no property of the cell. */
static int measure_steady(struct sweep *s, const struct grid_cell *g, uint64_t time_ns,
			  struct surface_cell *ret)
{
	int r;

	r = lab_measure_cell(&s->lab, g, time_ns, ret);
	for (uint32_t i = 0; i < UNSTABLE_AGAIN && r == 0 && ret->flags & SURFACE_UNSTABLE; i++) {
		progress_note(&s->progress, "%u MHz, %u CUs: unstable, measured again", g->max_mhz,
			      cu_shape_cus(g->shape));
		time_ns *= 2;
		r = lab_measure_cell(&s->lab, g, time_ns, ret);
	}
	return r;
}

static int measure_cell(struct sweep *s, const struct grid_cell *g, uint64_t time_ns,
			struct surface_cell *ret)
{
	struct surface_cell c;
	char batch[24];
	int r;

	r = lab_configure(&s->lab, g, /* slo_ns= */ 0);
	if (r == 0)
		r = measure_steady(s, g, time_ns, &c);
	if (r < 0)
		return r;
	describe_batch(s, c.batch, batch, sizeof(batch));
	progress_step(&s->progress, rig_now_ns(), "%u MHz, %u CUs%s: %.1f requests/s, %.1f W%s%s",
		      c.max_mhz, cu_shape_cus(c.shape), batch, c.capacity_rps, c.power_w,
		      c.flags & SURFACE_THROTTLED ? ", throttled" : "",
		      c.flags & SURFACE_UNSTABLE ? ", unstable" : "");
	*ret = c;
	return 0;
}

/* What follows from the baseline: R, and T0 by the same recursion that the table is made with, as
 * its tail from some seconds of open-loop load would be known to 10 % only. */
static int set_reference(struct sweep *s)
{
	struct surface *f = s->surface;
	const struct surface_cell *b = &f->cells[0];
	double upper_ns;
	int r;

	if (b->flags)
		log_warning("The baseline is %s: is anything else on the card?",
			    b->flags & SURFACE_UNSTABLE ? "unstable" : "throttled");
	f->workers = b->workers;
	f->capacity_rps = b->capacity_rps;
	f->rated_rps = RATED_SHARE * b->capacity_rps;
	f->sensor_hz = s->lab.sensor_hz;
	f->settle_ms = s->lab.settle_ms;
	r = response_tail(b, f->rated_rps, f->percentile, s->options->seed, &f->t0_ns, &upper_ns);
	return r < 0 ? log_error_errno(r, "Cannot derive T0: %m") : 0;
}

static int measure_baseline(struct sweep *s)
{
	struct surface *f = s->surface;
	int r;

	r = measure_cell(s, &s->grid[0], BASELINE_FACTOR * s->options->cell_time_ns, &f->cells[0]);
	if (r < 0)
		return r;
	f->n_cells = 1;
	r = set_reference(s);
	if (r == 0)
		r = output_begin(&s->output, f);
	if (r == 0)
		r = output_cell(&s->output, &f->cells[0]);
	return r;
}

static int compare_cells(const void *x, const void *y)
{
	const struct surface_cell *a = x, *b = y;
	const uint32_t keys[][2] = {
		{a->max_mhz, b->max_mhz},	{cu_shape_cus(a->shape), cu_shape_cus(b->shape)},
		{a->shape.n_se, b->shape.n_se}, {a->batch, b->batch},
		{a->workers, b->workers},
	};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (keys[i][0] != keys[i][1])
			return keys[i][0] < keys[i][1] ? -1 : 1;
	return 0;
}

static int measure_cells(struct sweep *s)
{
	struct surface *f = s->surface;
	int r;

	r = measure_baseline(s);
	for (uint32_t i = 1; i < s->n_grid && r == 0; i++) {
		r = measure_cell(s, &s->grid[i], s->options->cell_time_ns, &f->cells[i]);
		if (r == 0)
			r = output_cell(&s->output, &f->cells[i]);
		f->n_cells += r == 0;
	}
	if (r < 0)
		return r;
	f->sensor_hz = s->lab.sensor_hz;
	f->settle_ms = s->lab.settle_ms;
	qsort(f->cells, f->n_cells, sizeof(*f->cells), compare_cells);
	return 0;
}

static int start_worker(struct sweep *s)
{
	uint32_t slots;
	int r;

	r = rig_start_worker(s->lab.rig, WORKER_CLOSED_LOOP, sweep_in_flight(s), 0,
			     s->options->seed);
	if (r < 0)
		return r;
	slots = rig_hello(s->lab.rig)->slots;
	if (slots > SURFACE_MAX_WORKERS)
		return log_error_errno(-E2BIG, "The worker serves %u at a time: more than %d",
				       slots, SURFACE_MAX_WORKERS);
	if (slots > sweep_in_flight(s))
		return log_error_errno(-EINVAL, "The worker serves %u at a time: say --workers %u",
				       slots, slots);
	return 0;
}

int sweep_measure(struct sweep *s)
{
	int r;

	/* The worker's HELLO decides about masks, so it is asked first; it then steps aside. */
	r = start_worker(s);
	if (r == 0)
		r = plan(s);
	if (r == 0)
		r = new_surface(s);
	if (r < 0)
		return r;
	rig_stop_worker(s->lab.rig);
	s->progress = progress_start(stderr, s->n_grid + 2, rig_now_ns());
	r = measure_idle(s);
	if (r == 0)
		r = measure_active_idle(s);
	if (r == 0)
		r = start_worker(s);
	if (r == 0)
		r = measure_cells(s);
	rig_stop_worker(s->lab.rig);
	progress_end(&s->progress);
	return r;
}

void sweep_deinit(struct sweep *s)
{
	(void)rig_free(s->lab.rig);
	(void)surface_free(s->surface);
	free(s->grid);
	output_deinit(&s->output);
}
