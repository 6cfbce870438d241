/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of one model: its response surface, and its run over time. */
#include "replay/report-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define WIDTH	   1100
#define MAX_POINTS 900 /* of a line over time */

/* ---- response surface ---- */

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The different values among n, ascending; returns their number. */
static uint32_t sort_unique(uint32_t *values, uint32_t n)
{
	uint32_t kept = 0;

	if (n == 0)
		return 0;
	qsort(values, n, sizeof(*values), compare_u32);
	for (uint32_t i = 0; i < n; i++)
		if (i == 0 || values[i] != values[kept - 1])
			values[kept++] = values[i];
	return kept;
}

/* NULL where that was not measured with the baseline's batch and workers. */
static const struct surface_cell *find_cell(const struct surface *s, uint32_t mhz, uint32_t cus)
{
	for (uint32_t i = 0; i < s->n_cells; i++) {
		const struct surface_cell *c = &s->cells[i];

		if (c->max_mhz == mhz && cu_shape_cus(c->shape) == cus &&
		    c->batch == s->baseline_batch && c->workers == s->workers)
			return c;
	}
	return NULL;
}

/* A block for each clock, as splot wants a grid; holes are NaN. NaN is returned for what is no
 * grid. */
static int print_grid(const struct surface *s, uint32_t number, FILE *out, double *ret_least_ms)
{
	_cleanup_(freep) uint32_t *mhz = calloc(s->n_cells + 1, sizeof(*mhz));
	_cleanup_(freep) uint32_t *cus = calloc(s->n_cells + 1, sizeof(*cus));
	uint32_t n_mhz, n_cus;
	double least_ms = NAN;

	if (!mhz || !cus)
		return -ENOMEM;
	for (uint32_t i = 0; i < s->n_cells; i++) {
		mhz[i] = s->cells[i].max_mhz;
		cus[i] = cu_shape_cus(s->cells[i].shape);
	}
	n_mhz = sort_unique(mhz, s->n_cells);
	n_cus = sort_unique(cus, s->n_cells);
	(void)fprintf(out, "$s%u << EOD\n", number);
	for (uint32_t i = 0; i < n_mhz; i++) {
		for (uint32_t j = 0; j < n_cus; j++) {
			const struct surface_cell *c = find_cell(s, mhz[i], cus[j]);

			double p95_ms = c ? c->service_ns[95] / 1e6 : NAN;

			least_ms = fmin(least_ms, p95_ms);
			(void)fprintf(out, "%u %u %.6g %.6g\n", cus[j], mhz[i],
				      c ? c->power_w : NAN, p95_ms);
		}
		(void)fputc('\n', out);
	}
	(void)fputs("EOD\n", out);
	*ret_least_ms = n_mhz > 1 && n_cus > 1 ? least_ms : NAN;
	return 0;
}

static void print_panel(uint32_t number, int column, const char *title, double left, FILE *out)
{
	(void)fprintf(out,
		      "set lmargin at screen %.3f\nset rmargin at screen %.3f\n"
		      "set title '%s'\n"
		      "splot $s%u using 1:2:%d with pm3d notitle, $s%u using 1:2:%d with lines "
		      "nosurface lc rgb '#ffffff' lw 1 notitle, $s%u using 1:2:%d with labels "
		      "nosurface font ',10' textcolor rgb '#ffffff' notitle\n",
		      left, left + 0.36, title, number, column, number, column, number, column);
}

int plot_surface(struct plot_script *s, const struct surface *surface, const char *model)
{
	uint32_t number = s->figures->n;
	double least_ms;
	int r;

	r = print_grid(surface, number, s->out, &least_ms);
	if (r < 0 || !isfinite(least_ms))
		return r;
	r = plot_begin(
		s, "surface", model, WIDTH, 420,
		"%s on the bench card (simulated), served back to back, over clock limit and "
		"compute units: mean power while busy, and 95th percentile of the service "
		"time with contours at 1.25, 1.5, 2, 3, 5 and 10 times the least.",
		model);
	if (r < 0)
		return r;
	(void)fputs("unset grid\nunset key\nset view map\nset contour base\n"
		    "set cntrparam levels auto 8\nset cntrlabel onecolor start 8 interval 40 "
		    "format '%.4g'\n"
		    "set palette defined (0 '#440154', 1 '#3b528b', 2 '#21918c', 3 '#3fae6a', "
		    "4 '#a5a52a')\n"
		    "set xlabel 'compute units'\nset ylabel 'clock limit, MHz'\n"
		    "set autoscale fix\nset tmargin at screen 0.9\nset bmargin at screen 0.16\n"
		    "set multiplot\n",
		    s->out);
	print_panel(number, 3, "power, W", 0.07, s->out);
	(void)fprintf(
		s->out,
		"set logscale cb\nset cntrparam levels discrete %.6g, %.6g, %.6g, %.6g, %.6g, "
		"%.6g\n",
		1.25 * least_ms, 1.5 * least_ms, 2 * least_ms, 3 * least_ms, 5 * least_ms,
		10 * least_ms);
	print_panel(number, 4, "p95 of service time, ms", 0.57, s->out);
	(void)fputs("unset multiplot\n", s->out);
	return 0;
}

/* ---- the run over time ---- */

static const struct evaluation_row *row_of(const struct evaluation *e, uint32_t model,
					   const char *policy)
{
	uint32_t n = e->options->n_policies;

	for (uint32_t i = 0; i < n; i++) {
		const struct evaluation_row *row = &e->rows[model * n + i];

		if (row->n_ticks > 0 && (!policy || strcmp(row->policy, policy) == 0))
			return row;
	}
	return NULL;
}

static const struct evaluation_row *row_to_show(const struct evaluation *e, uint32_t model)
{
	static const char *const wanted[] = {"cofris", "coordinated", "frequency", NULL};
	const struct evaluation_row *row = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(wanted) && !row; i++)
		row = row_of(e, model, wanted[i]);
	return row;
}

/* Of several ticks that share a point: means, the last configuration, the worst tail. */
static void print_point(const struct tick *ticks, uint32_t n, const struct plant_device *d,
			const struct cu_shape *shapes, uint32_t n_shapes, FILE *out)
{
	const struct configuration *c = &ticks[n - 1].configuration;
	double load = 0, demand = 0, power = 0, p95 = NAN;

	for (uint32_t i = 0; i < n; i++) {
		load += ticks[i].load_rps / n;
		demand += ticks[i].demand_rps / n;
		power += ticks[i].power_w / n;
		if (ticks[i].p95_ms > 0) /* none in an interval without requests */
			p95 = fmax(p95, ticks[i].p95_ms);
	}
	(void)fprintf(out, "%.6g %.6g %.6g %.6g %.6g %u %.6g %.6g\n", ticks[0].t_s, load, demand,
		      c->level < d->n_levels ? (double)d->level_mhz[c->level] : NAN,
		      ticks[n - 1].sclk_mhz,
		      c->shape < n_shapes ? cu_shape_cus(shapes[c->shape])
					  : cu_topology_cus(&d->topology),
		      power, p95);
}

static void print_ticks(const struct evaluation_row *row, const struct plant_device *d,
			const char *name, uint32_t number, FILE *out)
{
	uint32_t step = row->n_ticks / MAX_POINTS + 1;
	struct cu_shape shapes[512];
	int n_shapes = cu_shapes(&d->topology, shapes, ARRAY_SIZE(shapes));

	(void)fprintf(out, "$%s%u << EOD\n", name, number);
	for (uint32_t i = 0; i < row->n_ticks; i += step)
		print_point(&row->ticks[i], MIN(step, row->n_ticks - i), d, shapes,
			    (uint32_t)MAX(n_shapes, 0), out);
	(void)fputs("EOD\n", out);
}

/* From 0 to above the highest value of a column, with some four steps. */
static void print_scale(double highest, FILE *out)
{
	static const double steps[] = {1, 2, 2.5, 5, 10};
	double step = 1, decade = pow(10, floor(log10(highest / 4)));

	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		step = steps[i] * decade;
		if (step * 4 >= highest)
			break;
	}
	if (isfinite(step) && step > 0)
		(void)fprintf(out, "set yrange [0:%.6g]\nset ytics %.6g\n", 1.35 * highest, step);
	else
		(void)fputs("set yrange [0:1]\nset ytics 1\n", out);
}

struct highest {
	double load, power, p95;
};

static void raise_highest(struct highest *h, const struct evaluation_row *row)
{
	for (uint32_t i = 0; row && i < row->n_ticks; i++) {
		const struct tick *t = &row->ticks[i];

		h->load = fmax(h->load, fmax(t->load_rps, t->demand_rps));
		h->power = fmax(h->power, t->power_w);
		h->p95 = fmax(h->p95, t->p95_ms);
	}
}

static void print_run(const struct evaluation_row *row, const struct evaluation_row *other,
		      const struct plant_device *d, uint32_t number, FILE *out)
{
	unsigned int colour = plot_colour(row->policy);
	struct highest highest = {.p95 = row->slo_ms}, of_other = {0};

	raise_highest(&highest, row);
	raise_highest(&of_other, other);
	highest.p95 = fmin(highest.p95, 3 * row->slo_ms); /* what is far beyond is cut */
	(void)fputs("set key inside top right horizontal\nset format x ''\n"
		    "set multiplot layout 5,1 margins 0.075,0.99,0.075,0.99 spacing 0,0.025\n"
		    "set ylabel 'requests/s'\n",
		    out);
	print_scale(highest.load, out);
	(void)fprintf(out,
		      "plot $r%u using 1:2 with lines lc rgb '#9aa1ab' title 'arrivals', "
		      "'' using 1:3 with lines lc rgb 0x%06x title 'demand planned for'\n"
		      "set ylabel 'MHz'\n",
		      number, colour);
	print_scale(d->level_mhz[d->n_levels - 1], out);
	(void)fprintf(out,
		      "plot $r%u using 1:5 with steps lc rgb 0x%06x title 'clock'\n"
		      "set ylabel 'CUs'\n",
		      number, colour);
	print_scale(cu_topology_cus(&d->topology), out);
	(void)fprintf(out,
		      "plot $r%u using 1:6 with steps lc rgb 0x%06x title 'compute units'\n"
		      "set ylabel 'W'\n",
		      number, colour);
	print_scale(fmax(highest.power, of_other.power), out);
	(void)fputs("plot ", out);
	if (other)
		(void)fprintf(out, "$a%u using 1:7 with lines lc rgb '#9aa1ab' title 'auto', ",
			      number);
	(void)fprintf(out, "$r%u using 1:7 with lines lc rgb 0x%06x title ", number, colour);
	plot_quote(out, row->policy);
	(void)fputs("\nset format x\nset xlabel 's'\nset ylabel 'p95, ms'\n", out);
	print_scale(highest.p95, out);
	(void)fprintf(out,
		      "plot %.6g with lines lc rgb '#d9534b' dt 2 title 'SLO', $r%u using 1:8 with "
		      "lines lc rgb 0x%06x title 'latency'\nunset multiplot\n",
		      row->slo_ms, number, colour);
}

int plot_run(struct plot_script *s, uint32_t model)
{
	const struct evaluation *e = s->evaluation;
	const struct evaluation_row *row = row_to_show(e, model);
	const struct evaluation_row *other = row_of(e, model, "auto");
	uint32_t number = s->figures->n;
	int r;

	if (!row)
		return 0;
	r = plot_begin(s, "run", row->model, WIDTH, 760,
		       "%s under %s on the first service card: requests, clock, compute units, "
		       "power and the 95th percentile of latency in each interval.",
		       row->model, row->policy);
	if (r < 0)
		return r;
	print_ticks(row, e->options->device, "r", number, s->out);
	if (other)
		print_ticks(other, e->options->device, "a", number, s->out);
	print_run(row, other, e->options->device, number, s->out);
	return 0;
}
