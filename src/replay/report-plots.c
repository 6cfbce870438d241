/* SPDX-License-Identifier: Apache-2.0 */
/* The figures that compare policies, as a script for gnuplot. Names reach it as quoted strings
 * alone, and everything else is numbers. */
#include "replay/report-internal.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

#define WIDTH	     1100
#define TAIL_CUT     2.5   /* bars of p95 beyond so many SLOs are cut */
#define LATENESS_MIN 0.003 /* what the logarithmic axis begins with, % */

static const struct {
	const char *policy;
	unsigned int colour;
} colours[] = {
	/* They have to be seen on white and on black. */
	{"auto", 0x9aa1ab},	    {"maximum", 0x66707d},
	{"frequency", 0x4a9fd8},    {"resource", 0xdfa03a},
	{"coordinated", 0x8172d6},  {"adapter", 0xd290c0},
	{"adapter-tail", 0xb0508f}, {"dvfs", 0x4fb3b0},
	{"batchsizer", 0xb98d60},   {"batchsizer-fixed", 0x93653f},
	{"cofris", 0x12a572},	    {"oracle", 0xd9534b},
	{"oracle-rate", 0xee9a90},
};

unsigned int plot_colour(const char *policy)
{
	for (size_t i = 0; i < ARRAY_SIZE(colours); i++)
		if (strcmp(colours[i].policy, policy) == 0)
			return colours[i].colour;
	return 0x5aa7a7;
}

void plot_quote(FILE *out, const char *text)
{
	(void)fputc('\'', out);
	for (; *text; text++)
		/* Single quotes keep everything else from being looked at; so do lines. */
		(void)fputc((unsigned char)*text < ' ' || *text == '\'' ? '?' : *text, out);
	(void)fputc('\'', out);
}

int plot_begin(struct plot_script *s, const char *section, const char *model, uint32_t width,
	       uint32_t height, const char *format, ...)
{
	struct figures *f = s->figures;
	struct figure *all = reallocarray(f->all, f->n + 1, sizeof(*all)), *figure;
	va_list ap;
	int n;

	if (!all)
		return -ENOMEM;
	f->all = all;
	figure = &all[f->n++];
	*figure = (struct figure){
		.section = strdup(section),
		.model = model ? strdup(model) : NULL,
	};
	va_start(ap, format);
	n = vasprintf(&figure->caption, format, ap);
	va_end(ap);
	if (n < 0)
		figure->caption = NULL;
	if (n < 0 || !figure->section || (model && !figure->model))
		return -ENOMEM;
	(void)fprintf(s->out,
		      "reset\n"
		      "set terminal svg size %u,%u dynamic noenhanced font 'sans-serif,13'\n"
		      "set output '%u.svg'\n"
		      "set datafile missing 'NaN'\n"
		      "set border 3 lc rgb '#808080'\n"
		      "set tics nomirror textcolor rgb 'black'\n"
		      "set grid ytics lc rgb '#808080' lw 0.3\n"
		      "set key outside bottom center horizontal\n",
		      width, height, f->n - 1);
	return 0;
}

/* ---- bars: groups side by side, a bar for each policy ---- */

struct bars {
	size_t n_groups, n_policies;
	double *value; /* group by group */
	const char **group, **policy;
};

static void bars_done(struct bars *b)
{
	free(b->value);
	free(b->group);
	free(b->policy);
}

static int bars_new(size_t n_groups, const json_t *object, struct bars *ret)
{
	const json_t *means = json_object_get(object, "geomean");

	ret->n_groups = n_groups;
	ret->n_policies = json_array_size(means);
	ret->value = calloc(n_groups * ret->n_policies + 1, sizeof(*ret->value));
	ret->group = calloc(n_groups + 1, sizeof(*ret->group));
	ret->policy = calloc(ret->n_policies + 1, sizeof(*ret->policy));
	if (!ret->value || !ret->group || !ret->policy)
		return -ENOMEM;
	for (size_t i = 0; i < ret->n_policies; i++)
		ret->policy[i] = report_string(json_array_get(means, i), "policy");
	for (size_t i = 0; i < n_groups * ret->n_policies; i++)
		ret->value[i] = NAN;
	return 0;
}

/* Names of groups that would run into each other are slanted. */
static void print_group_names(const struct bars *b, FILE *out)
{
	size_t room = WIDTH / MAX(b->n_groups, (size_t)1) / 8;
	bool slanted = false;

	for (size_t i = 0; i < b->n_groups; i++)
		slanted |= strlen(b->group[i]) > room;
	(void)fprintf(out, "set xtics scale 0%s (", slanted ? " rotate by -25" : "");
	for (size_t i = 0; i < b->n_groups; i++) {
		(void)fputs(i > 0 ? ", " : "", out);
		plot_quote(out, b->group[i]);
		(void)fprintf(out, " %zu", i);
	}
	(void)fputs(")\n", out);
}

static void print_bars(const struct bars *b, uint32_t number, double limit, FILE *out)
{
	(void)fprintf(out, "$d%u << EOD\n", number);
	for (size_t i = 0; i < b->n_groups; i++) {
		for (size_t j = 0; j < b->n_policies; j++)
			(void)fprintf(out, "%.6g ", b->value[i * b->n_policies + j]);
		(void)fputc('\n', out);
	}
	(void)fputs("EOD\n"
		    "set style data histogram\n"
		    "set style histogram clustered gap 1.5\n"
		    "set style fill solid 1 noborder\n"
		    "set boxwidth 0.88 relative\n",
		    out);
	print_group_names(b, out);
	(void)fprintf(out, "set xrange [-0.6:%.1f]\n", (double)b->n_groups - 0.4);
	if (isfinite(limit))
		(void)fprintf(out, "set yrange [0:%.3g]\n", limit);
	else
		(void)fputs("set yrange [0:*]\n", out);
	(void)fputs("plot 1 with lines lc rgb '#808080' dt 2 notitle", out);
	for (size_t j = 0; j < b->n_policies; j++) {
		(void)fprintf(out, ", $d%u using %zu lc rgb 0x%06x title ", number, j + 1,
			      plot_colour(b->policy[j]));
		plot_quote(out, b->policy[j]);
	}
	(void)fputc('\n', out);
}

/* ---- what power is relative to ---- */

static bool has_numbers(const json_t *object, const char *key)
{
	const json_t *means = json_object_get(object, "geomean"), *mean;
	size_t i;

	json_array_foreach(means, i, mean)
	{
		if (json_is_number(json_object_get(mean, key)))
			return true;
	}
	return false;
}

struct reference {
	const char *key, *name;
};

/* The paper compares with the highest clock, users with what they have. */
static struct reference choose_reference(const json_t *object)
{
	bool paper = strcmp(report_string(object, "latency_notion"), "service") == 0;

	if (has_numbers(object, "power_vs_maximum") &&
	    (paper || !has_numbers(object, "power_vs_auto")))
		return (struct reference){"power_vs_maximum", "maximum"};
	return (struct reference){"power_vs_auto", "auto"};
}

/* ---- the figures ---- */

/* Results come model by model, each with all policies, as the means do. */
static void fill_models(struct bars *b, const json_t *object, size_t n_models, const char *key,
			const char *divisor)
{
	const json_t *results = json_object_get(object, "results");

	for (size_t i = 0; i < n_models * b->n_policies; i++) {
		const json_t *row = json_array_get(results, i);

		b->group[i / b->n_policies] = report_string(row, "model");
		b->value[i] = report_number(row, key);
		if (divisor)
			b->value[i] /= report_number(row, divisor);
	}
}

static size_t count_models(const json_t *object)
{
	size_t n_policies = json_array_size(json_object_get(object, "geomean"));

	return n_policies ? json_array_size(json_object_get(object, "results")) / n_policies : 0;
}

static int plot_power(struct plot_script *s)
{
	_cleanup_(bars_done) struct bars b = {0};
	struct reference reference = choose_reference(s->object);
	const json_t *means = json_object_get(s->object, "geomean");
	size_t n = count_models(s->object);
	int r;

	r = bars_new(n + 1, s->object, &b);
	if (r < 0)
		return r;
	fill_models(&b, s->object, n, reference.key, NULL);
	b.group[n] = "geomean";
	for (size_t i = 0; i < b.n_policies; i++)
		b.value[n * b.n_policies + i] =
			report_number(json_array_get(means, i), reference.key);
	r = plot_begin(s, "power", NULL, WIDTH, 420,
		       "Mean power of each policy relative to %s, by model as it ran, and the "
		       "geometric mean over the models%s. Less is better.",
		       reference.name, report_means_are(s->object));
	if (r < 0)
		return r;
	(void)fprintf(s->out, "set ylabel 'power relative to %s'\n", reference.name);
	print_bars(&b, s->figures->n, NAN, s->out);
	return 0;
}

/* NaN if object has no such policy. */
static double mean_of(const json_t *object, const char *policy, const char *key)
{
	const json_t *means = json_object_get(object, "geomean"), *mean;
	size_t i;

	json_array_foreach(means, i, mean)
	{
		if (strcmp(report_string(mean, "policy"), policy) == 0)
			return report_number(mean, key);
	}
	return NAN;
}

static int plot_slos(struct plot_script *s)
{
	_cleanup_(bars_done) struct bars b = {0};
	struct reference reference = choose_reference(s->object);
	int r;

	if (s->n_others == 0)
		return 0;
	r = bars_new(s->n_others + 1, s->object, &b);
	if (r < 0)
		return r;
	for (size_t i = 0; i < b.n_groups; i++) {
		const json_t *object = i == 0 ? s->object : s->others[i - 1];

		b.group[i] = report_string(object, "slo");
		for (size_t j = 0; j < b.n_policies; j++)
			b.value[i * b.n_policies + j] = mean_of(object, b.policy[j], reference.key);
	}
	r = plot_begin(s, "slo", NULL, WIDTH, 380,
		       "Geometric mean power of each policy relative to %s over the models%s, by "
		       "objective.",
		       reference.name, report_means_are(s->object));
	if (r < 0)
		return r;
	(void)fprintf(s->out, "set ylabel 'power relative to %s'\n", reference.name);
	print_bars(&b, s->figures->n, NAN, s->out);
	return 0;
}

static int plot_tails(struct plot_script *s)
{
	_cleanup_(bars_done) struct bars b = {0};
	size_t n = count_models(s->object);
	double highest = 0;
	int r;

	r = bars_new(n, s->object, &b);
	if (r < 0)
		return r;
	fill_models(&b, s->object, n, "p95_ms", "slo_ms");
	for (size_t i = 0; i < n * b.n_policies; i++)
		highest = fmax(highest, b.value[i]);
	r = plot_begin(s, "tail", NULL, WIDTH, 420,
		       "95th percentile of latency over the SLO, by model; the line at 1 is the "
		       "SLO.%s",
		       highest > TAIL_CUT ? " Bars that go beyond 2.5 are cut there." : "");
	if (r < 0)
		return r;
	(void)fputs("set ylabel 'p95 / SLO'\n", s->out);
	print_bars(&b, s->figures->n, highest > TAIL_CUT ? TAIL_CUT : NAN, s->out);
	return 0;
}

/* The logarithmic axis has no place for 0. */
static void print_point(double lateness, double power, FILE *out)
{
	(void)fprintf(out, "%.6g %.6g\n", isnan(lateness) ? NAN : fmax(lateness, LATENESS_MIN),
		      power);
}

static void print_curve(const struct plot_script *s, const json_t *mean, const char *key)
{
	const json_t *curve = json_object_get(mean, "curve"), *point;
	size_t i;

	json_array_foreach(curve, i, point)
	{
		print_point(report_number(point, "excess_late_pct"), report_number(point, key),
			    s->out);
	}
	if (json_array_size(curve) == 0)
		print_point(NAN, NAN, s->out); /* gnuplot wants something */
}

static int plot_curves(struct plot_script *s)
{
	struct reference reference = choose_reference(s->object);
	const json_t *means = json_object_get(s->object, "geomean"), *mean;
	size_t i;
	int r;

	r = plot_begin(s, "curves", NULL, WIDTH, 480,
		       "Power relative to %s against excess lateness, over all models: a point for "
		       "each headroom, lower and further left is better. The vertical line is the "
		       "0.3 %% at which policies are compared; what is less late than 0.003 %% "
		       "stands at the left edge.",
		       reference.name);
	if (r < 0)
		return r;
	json_array_foreach(means, i, mean)
	{
		(void)fprintf(s->out, "$c%u_%zu << EOD\n", s->figures->n, i);
		print_curve(s, mean, reference.key);
		(void)fputs("EOD\n", s->out);
	}
	(void)fprintf(s->out,
		      "set logscale x\nset xrange [%g:100]\nset xlabel 'excess lateness, %%'\n"
		      "set ylabel 'power relative to %s'\nset grid xtics ytics\nset bmargin 7\n"
		      "set offsets graph 0, graph 0, graph 0.05, graph 0.05\n"
		      "set arrow from %g, graph 0 to %g, graph 1 nohead lc rgb '#808080' dt 2\n"
		      "plot 1 with lines lc rgb '#808080' dt 2 notitle",
		      LATENESS_MIN, reference.name, EVALUATE_EXCESS_LATE_PCT,
		      EVALUATE_EXCESS_LATE_PCT);
	json_array_foreach(means, i, mean)
	{
		const char *policy = report_string(mean, "policy");

		(void)fprintf(s->out,
			      ", $c%u_%zu using 1:2 with linespoints lc rgb 0x%06x lw 2 pt 7 ps "
			      "0.6 title ",
			      s->figures->n, i, plot_colour(policy));
		plot_quote(s->out, policy);
	}
	(void)fputc('\n', s->out);
	return 0;
}

int report_script(struct plot_script *s)
{
	const struct evaluation *e = s->evaluation;
	int r;

	r = plot_power(s);
	if (r == 0)
		r = plot_slos(s);
	if (r == 0)
		r = plot_tails(s);
	if (r == 0)
		r = plot_curves(s);
	for (uint32_t i = 0; i < e->options->n_models && r == 0; i++) {
		if (e->surfaces[i])
			r = plot_surface(s, e->surfaces[i], e->options->models[i]->name);
		if (r == 0)
			r = plot_run(s, i);
	}
	return r;
}
