/* SPDX-License-Identifier: Apache-2.0 */
#include "profiler/checks.h"
#include "base/log.h"
#include "base/units.h"
#include <errno.h>
#include <math.h>

#define WINDOW_REQUESTS 250 /* expected in a window, within ... */
#define MAX_STRETCH	5   /* times the time asked for */

uint64_t check_window_ns(double rate_rps, uint64_t asked_ns)
{
	double need_ns = WINDOW_REQUESTS / rate_rps * (double)NSEC_PER_SEC;

	return (uint64_t)CLAMP(need_ns, (double)asked_ns, (double)asked_ns * MAX_STRETCH);
}

void load_run_add(struct load_run *r, const struct window *w, double power_w)
{
	if (r->n_windows == CHECK_WINDOWS)
		return;
	for (uint32_t i = 0; i < WINDOW_PARTS; i++) {
		const struct channel_sample *a = &w->sample[i], *b = &w->sample[i + 1];
		uint32_t part = r->n_windows * WINDOW_PARTS + i;

		r->late[part] = (double)(b->late - a->late);
		r->requests[part] =
			window_completed(w, i, i + 1) + (double)(b->failures - a->failures);
	}
	histogram_add(&r->sojourn, &w->histogram);
	r->power_w += (power_w - r->power_w) / ++r->n_windows;
}

enum verdict load_run_judge(const struct load_run *r, uint32_t percentile,
			    struct estimate *ret_late)
{
	double late[WINDOW_PARTS] = {0}, requests[WINDOW_PARTS] = {0};
	double allowed = 1 - percentile / 100.0;
	struct estimate share;
	uint32_t used = 0;

	/* As many batches however long the run: a queue's memory is about the length of a part,
	 * and longer batches are more independent. */
	for (uint32_t i = 0; i < r->n_windows * WINDOW_PARTS; i++) {
		late[i / r->n_windows] += r->late[i];
		requests[i / r->n_windows] += r->requests[i];
	}
	for (uint32_t i = 0; i < WINDOW_PARTS; i++) {
		late[i] = requests[i] > 0 ? late[i] / requests[i] : 0;
		used += requests[i] > 0;
	}
	share = batch_means(late, requests, WINDOW_PARTS);
	*ret_late = share;
	if (used > 1 && share.mean - student_95(used - 1) * share.se > allowed)
		return VERDICT_FAILS;
	return share.mean > allowed && r->n_windows < CHECK_WINDOWS ? VERDICT_OPEN : VERDICT_HOLDS;
}

/* ---- the rounds ---- */

struct round {
	struct verification *v;
	double *held_rps; /* by cell: the highest rate that it has held */
	struct check checks[TABLE_MAX_ROWS];
	uint32_t n;
};

static void add_check(struct round *round, uint32_t cell, double rate_rps)
{
	if (rate_rps <= round->held_rps[cell])
		return;
	for (uint32_t i = 0; i < round->n && !round->v->each_row; i++)
		if (round->checks[i].cell == cell) {
			round->checks[i].rate_rps = MAX(round->checks[i].rate_rps, rate_rps);
			return;
		}
	round->checks[round->n++] = (struct check){cell, rate_rps};
}

/* The choices that have not been run yet. The baseline is run at R at most, where T0 is defined. */
static void collect(struct round *round, const struct response_table *t)
{
	const struct verification *v = round->v;
	const struct surface_cell *baseline = surface_baseline(v->surface);
	bool only_baseline = true;

	for (uint32_t i = 0; i < t->n_rows; i++)
		only_baseline &= &v->surface->cells[t->rows[i].cell] == baseline;
	round->n = 0;
	for (uint32_t i = 0; i < t->n_rows; i++) {
		const struct table_row *row = &t->rows[i];

		if (&v->surface->cells[row->cell] != baseline)
			add_check(round, row->cell, row->rate_rps);
		else if (v->each_row || only_baseline)
			add_check(round, row->cell, MIN(row->rate_rps, t->rated_rps));
	}
}

/* Returns 1 if the cell was struck. */
static int note(struct round *round, const struct check *c, enum verdict verdict)
{
	struct verification *v = round->v;
	struct surface_cell *cell = &v->surface->cells[c->cell];

	if (verdict == VERDICT_HOLDS) {
		round->held_rps[c->cell] = MAX(round->held_rps[c->cell], c->rate_rps);
		return 0;
	}
	if (cell == surface_baseline(v->surface)) {
		round->held_rps[c->cell] = INFINITY; /* asked once */
		v->baseline_failed = true;
		return 0;
	}
	cell->flags |= SURFACE_STRUCK;
	v->n_struck++;
	return 1;
}

static int run_checks(struct round *round, uint64_t slo_ns)
{
	struct verification *v = round->v;
	int any = 0, r;

	for (uint32_t i = 0; i < round->n; i++) {
		const struct check *c = &round->checks[i];
		enum verdict verdict;

		if (v->surface->cells[c->cell].flags & SURFACE_STRUCK ||
		    c->rate_rps <= round->held_rps[c->cell])
			continue;
		r = v->run(v->userdata, c, slo_ns, &verdict);
		if (r < 0)
			return r;
		any |= note(round, c, verdict);
	}
	return any;
}

/* One derivation and its runs. Returns 1 if a cell was struck, so that there is another. */
static int run_round(struct round *round)
{
	struct verification *v = round->v;
	_cleanup_(freep) struct response_table *t = NULL;
	struct surface_error error;
	int r;

	r = response_table_derive(v->surface, &v->options, &t, &error);
	if (r < 0)
		return log_error_errno(r, "No table for this SLO: %s", error.text);
	collect(round, t);
	v->plan(v->userdata, round->n);
	return run_checks(round, t->slo_ns);
}

int verification_run(struct verification *v)
{
	struct round round = {.v = v};
	int r = 1;

	round.held_rps = calloc(v->surface->n_cells, sizeof(*round.held_rps));
	if (!round.held_rps)
		return -ENOMEM;
	for (uint32_t i = 0; i < CHECK_ROUNDS && r > 0; i++)
		r = run_round(&round);
	free(round.held_rps);
	return r;
}
