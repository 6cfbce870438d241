/* SPDX-License-Identifier: Apache-2.0 */
/* The runs of the verification on the rig. */
#include "base/log.h"
#include "base/units.h"
#include "profiler/checks.h"
#include "profiler/sweep.h"
#include <errno.h>

#define WARM_UP_NS (300 * NSEC_PER_MSEC)

static void plan(void *userdata, uint32_t n)
{
	struct sweep *s = userdata;

	s->progress.total = s->progress.done + n;
}

/* Windows under load, until what they say is clear. */
static int measure_run(struct sweep *s, const struct check *c, struct load_run *run,
		       enum verdict *ret, struct estimate *ret_late)
{
	uint64_t window_ns = check_window_ns(c->rate_rps, s->options->verify_time_ns);
	int r;

	r = rig_wait(s->lab.rig, rig_now_ns() + WARM_UP_NS);
	if (r < 0)
		return r;
	do {
		r = lab_measure_load(&s->lab, window_ns, run);
		if (r < 0)
			return r;
		*ret = load_run_judge(run, s->options->percentile, ret_late);
	} while (*ret == VERDICT_OPEN);
	return 0;
}

static void keep_load(struct surface *f, const struct check *c, const struct load_run *run)
{
	const struct surface_cell *cell = &f->cells[c->cell];

	if (f->n_loads == SURFACE_MAX_LOADS || run->sojourn.count == 0)
		return;
	f->loads[f->n_loads++] = (struct surface_load){
		.max_mhz = cell->max_mhz,
		.shape = cell->shape,
		.batch = cell->batch,
		.workers = cell->workers,
		.offered_rps = c->rate_rps,
		.power_w = run->power_w,
		.p50_ns = histogram_quantile(&run->sojourn, 0.50),
		.p95_ns = histogram_quantile(&run->sojourn, 0.95),
		.p99_ns = histogram_quantile(&run->sojourn, 0.99),
		.samples = (uint32_t)run->sojourn.count,
	};
}

static int start_run(struct sweep *s, const struct check *c, uint64_t slo_ns)
{
	const struct surface_cell *cell = &s->surface->cells[c->cell];
	const struct grid_cell g = {cell->max_mhz, cell->shape, cell->batch};
	int r;

	/* Other arrivals in each run. */
	r = rig_start_worker(s->lab.rig, WORKER_OPEN_LOOP, 0, c->rate_rps,
			     s->options->seed + ++s->n_runs);
	return r == 0 ? lab_configure(&s->lab, &g, slo_ns) : r;
}

static int run_check(void *userdata, const struct check *c, uint64_t slo_ns, enum verdict *ret)
{
	struct sweep *s = userdata;
	const struct surface_cell *cell = &s->surface->cells[c->cell];
	_cleanup_(freep) struct load_run *run = calloc(1, sizeof(*run));
	struct estimate late;
	int r;

	if (!run)
		return -ENOMEM;
	r = start_run(s, c, slo_ns);
	if (r == 0)
		r = measure_run(s, c, run, ret, &late);
	rig_stop_worker(s->lab.rig);
	if (r < 0)
		return r;
	keep_load(s->surface, c, run);
	progress_step(&s->progress, rig_now_ns(),
		      "%u MHz, %u CUs at %.1f requests/s: p95 %.2f ms, %.2f %% late, %.1f W%s",
		      cell->max_mhz, cu_shape_cus(cell->shape), c->rate_rps,
		      histogram_quantile(&run->sojourn, 0.95) / 1e6, 100 * late.mean, run->power_w,
		      *ret == VERDICT_FAILS ? ": too many" : "");
	return 0;
}

int sweep_verify(struct sweep *s)
{
	struct verification v = {
		.surface = s->surface,
		.options = profile_table_options(s->options),
		.each_row = s->options->grid == GRID_FULL,
		.plan = plan,
		.run = run_check,
		.userdata = s,
	};
	int r;

	progress_note(&s->progress, "Verifying the chosen cells under load");
	s->progress = progress_start(stderr, 1, rig_now_ns());
	r = verification_run(&v);
	progress_end(&s->progress);
	s->n_struck = v.n_struck;
	/* The cells do not depend on the SLO, and took their time. */
	if (r == -EDOM) {
		log_warning("The surface is written unverified");
		return 0;
	}
	if (v.baseline_failed)
		log_warning("Not even the whole card at the highest clock holds this SLO at the "
			    "rated rate");
	if (r > 0)
		log_warning("Cells still failed after %d rounds: the last choices are not "
			    "verified",
			    CHECK_ROUNDS);
	return MIN(r, 0);
}
