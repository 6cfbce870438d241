/* SPDX-License-Identifier: Apache-2.0 */
/* Verification: the table's choices run under the load they are chosen for. */
#include "base/log.h"
#include "base/units.h"
#include "profiler/sweep.h"
#include <errno.h>
#include <math.h>

#define WARM_UP_NS   (300 * NSEC_PER_MSEC)
#define MIN_REQUESTS 30 /* expected in a run, within ... */
#define MAX_STRETCH  5	/* times the time asked for */
#define MAX_ROUNDS   8

/* One run to make. */
struct check {
	uint32_t cell;
	double rate_rps;
};

struct verification {
	struct sweep *sweep;
	struct check checks[TABLE_MAX_ROWS];
	uint32_t n_checks;
	double *verified_rps; /* by cell: the highest rate that it has held */
	uint32_t n_runs;
};

/* A long derivation must not let the lease run out unseen. */
static int derive(struct sweep *s, struct response_table **ret)
{
	struct table_options o = profile_table_options(s->options);
	struct surface_error error;
	int r;

	r = rig_wait(s->lab.rig, rig_now_ns());
	if (r < 0)
		return r;
	r = response_table_derive(s->surface, &o, ret, &error);
	if (r < 0)
		return log_error_errno(r, "No table for this SLO: %s", error.text);
	return rig_wait(s->lab.rig, rig_now_ns());
}

static void add_check(struct verification *v, uint32_t cell, double rate_rps)
{
	bool each_row = v->sweep->options->grid == GRID_FULL;

	if (rate_rps <= v->verified_rps[cell])
		return;
	for (uint32_t i = 0; i < v->n_checks && !each_row; i++)
		if (v->checks[i].cell == cell) {
			v->checks[i].rate_rps = MAX(v->checks[i].rate_rps, rate_rps);
			return;
		}
	v->checks[v->n_checks++] = (struct check){cell, rate_rps};
}

/* The table's choices that have not been run yet: at their highest rate, or in a full sweep at
 * each. The baseline is what there is where nothing else will do; it is run at R at most, where T0
 * is defined. */
static void collect(struct verification *v, const struct response_table *t)
{
	const struct surface *f = v->sweep->surface;

	v->n_checks = 0;
	for (uint32_t i = 0; i < t->n_rows; i++) {
		const struct table_row *row = &t->rows[i];
		bool is_baseline = &f->cells[row->cell] == surface_baseline(f);

		add_check(v, row->cell,
			  is_baseline ? MIN(row->rate_rps, t->rated_rps) : row->rate_rps);
	}
}

static int run_load(struct sweep *s, const struct check *c, uint64_t slo_ns, uint64_t seed,
		    struct load_result *ret)
{
	const struct surface_cell *cell = &s->surface->cells[c->cell];
	const struct grid_cell g = {cell->max_mhz, cell->shape, cell->batch};
	uint64_t time_ns = s->options->verify_time_ns;
	double need_ns = MIN_REQUESTS / c->rate_rps * (double)NSEC_PER_SEC;
	int r;

	time_ns = (uint64_t)CLAMP(need_ns, (double)time_ns, (double)time_ns * MAX_STRETCH);
	r = rig_start_worker(s->lab.rig, WORKER_OPEN_LOOP, 0, c->rate_rps, seed);
	if (r == 0)
		r = lab_configure(&s->lab, &g, slo_ns);
	if (r == 0)
		r = rig_wait(s->lab.rig, rig_now_ns() + WARM_UP_NS);
	if (r == 0)
		r = lab_measure_load(&s->lab, &g, c->rate_rps, time_ns, ret);
	rig_stop_worker(s->lab.rig);
	return r;
}

/* Beyond doubt: the lower 95 % bound of the late share is above what the percentile allows. */
static bool fails(const struct load_result *l, uint32_t percentile)
{
	double allowed = 1 - percentile / 100.0;

	return l->batches > 1 && l->late.mean - student_95(l->batches - 1) * l->late.se > allowed;
}

static int run_check(struct verification *v, const struct check *c, uint64_t slo_ns,
		     bool *ret_struck)
{
	struct sweep *s = v->sweep;
	struct surface *f = s->surface;
	struct surface_cell *cell = &f->cells[c->cell];
	struct load_result l;
	bool failed;
	int r;

	r = run_load(s, c, slo_ns, s->options->seed + ++v->n_runs, &l);
	if (r < 0)
		return r;
	if (f->n_loads < SURFACE_MAX_LOADS && l.load.samples > 0)
		f->loads[f->n_loads++] = l.load;
	failed = fails(&l, s->options->percentile);
	progress_step(&s->progress, rig_now_ns(),
		      "%u MHz, %u CUs at %.1f requests/s: p95 %.2f ms, %.2f %% late, %.1f W%s",
		      cell->max_mhz, cu_shape_cus(cell->shape), c->rate_rps, l.load.p95_ns / 1e6,
		      100 * l.late.mean, l.load.power_w, failed ? ": too many" : "");
	*ret_struck = false;
	if (!failed) {
		v->verified_rps[c->cell] = MAX(v->verified_rps[c->cell], c->rate_rps);
	} else if (cell == surface_baseline(f)) {
		progress_note(&s->progress, "Not even the whole card at the highest clock holds "
					    "this SLO at the rated rate");
		v->verified_rps[c->cell] = INFINITY;
	} else {
		cell->flags |= SURFACE_STRUCK;
		s->n_struck++;
		*ret_struck = true;
	}
	return 0;
}

/* One derivation and its checks. Returns 1 if a cell was struck, so that there is another. */
static int verify_round(struct verification *v)
{
	_cleanup_(freep) struct response_table *t = NULL;
	int any = 0, r;

	r = derive(v->sweep, &t);
	if (r < 0)
		return r;
	collect(v, t);
	v->sweep->progress.total = v->sweep->progress.done + v->n_checks;
	for (uint32_t i = 0; i < v->n_checks; i++) {
		const struct check *c = &v->checks[i];
		bool struck;

		if (v->sweep->surface->cells[c->cell].flags & SURFACE_STRUCK)
			continue;
		r = run_check(v, c, t->slo_ns, &struck);
		if (r < 0)
			return r;
		any |= struck;
	}
	return any;
}

int sweep_verify(struct sweep *s)
{
	struct verification v = {.sweep = s};
	int r = 1;

	v.verified_rps = calloc(s->surface->n_cells, sizeof(*v.verified_rps));
	if (!v.verified_rps)
		return -ENOMEM;
	progress_note(&s->progress, "Verifying the chosen cells under load");
	s->progress = progress_start(1, rig_now_ns());
	for (uint32_t i = 0; i < MAX_ROUNDS && r > 0; i++)
		r = verify_round(&v);
	progress_end(&s->progress);
	free(v.verified_rps);
	if (r > 0)
		log_warning("Cells still failed after %d rounds: the last choices are not "
			    "verified",
			    MAX_ROUNDS);
	return MIN(r, 0);
}
