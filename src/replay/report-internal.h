/* SPDX-License-Identifier: Apache-2.0 */
/* What the forms of a report share. */
#pragma once

#include "replay/report.h"

/* A key of the object's rows and how it is shown. */
struct report_column {
	const char *key;
	const char *title; /* short, for a table's head */
	const char *meaning;
	int decimals; /* of numbers; -1: text, or yes and no */
};
extern const struct report_column report_result_columns[], report_mean_columns[];
extern const size_t report_n_result_columns, report_n_mean_columns;

/* Rows under columns, for a terminal. 0 or a negative errno. */
int report_print_table(const json_t *rows, const struct report_column *columns, size_t n, FILE *f);
/* What an object's figures are of, for a terminal. */
void report_print_set_up(const json_t *object, FILE *f);
/* A number with REPORT_DIGITS digits, null for what is none. */
json_t *report_rounded(double value);

#define REPORT_VALUE_MAX 128
/* A value as tables show it: "-" for null, LOW..HIGH for a range, control characters as '?'. */
void report_show(const json_t *value, int decimals, char ret[REPORT_VALUE_MAX]);
const char *report_string(const json_t *object, const char *key); /* "" if there is none */
double report_number(const json_t *object, const char *key);	  /* NaN if there is none */
/* What the geometric means are of, to be put behind "over the models"; "" for all rows as they are.
 */
const char *report_means_are(const json_t *object);
/* With a header or without, for several objects in one file. */
int report_csv_rows(const json_t *object, bool header, FILE *f);

/* ---- plots ---- */

struct figure {
	char *svg;     /* an <svg> element, ids unique in the page */
	char *caption; /* what it shows, plain text */
	char *section; /* "power", "slo", "tail", "curves", "surface", "run" */
	char *model;   /* of surfaces and runs; NULL */
};

struct figures {
	uint32_t n;
	struct figure *all;
};
struct figures *figures_free(struct figures *f);
DEFINE_CLEANUP(struct figures *, figures_free)

/* A script for gnuplot and the figures that it will draw, as N.svg in the folder it runs in. */
struct plot_script {
	FILE *out;
	struct figures *figures;
	const struct evaluation *evaluation;
	const json_t *object;
	json_t *const *others;
	size_t n_others;
};
/* All figures of an evaluation. 0 or -ENOMEM. */
int report_script(struct plot_script *s);
/* Another figure; sets terminal and output. 0 or -ENOMEM. */
int plot_begin(struct plot_script *s, const char *section, const char *model, uint32_t width,
	       uint32_t height, const char *format, ...) _printf_(6, 7);
/* A single-quoted string that gnuplot takes literally, whatever it holds. */
void plot_quote(FILE *out, const char *text);
/* "0xrrggbb" of a policy, the same in every figure. */
unsigned int plot_colour(const char *policy);
/* Of a model: response surface, and its run over time under a policy beside auto. */
int plot_surface(struct plot_script *s, const struct surface *surface, const char *model);
int plot_run(struct plot_script *s, uint32_t model);

/* One gnuplot draws all of them. */
int report_draw(const struct evaluation *e, const json_t *object, json_t *const *others,
		size_t n_others, struct figures **ret);
int report_html(const struct figures *figures, const json_t *object, json_t *const *others,
		size_t n_others, FILE *f);
