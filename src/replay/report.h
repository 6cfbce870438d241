/* SPDX-License-Identifier: Apache-2.0 */
/* An evaluation in every form that people read: all from one JSON object, so that they agree. */
#pragma once

#include "replay/mix.h"
#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#define REPORT_SCHEMA 1
/* Significant digits of every number that is not whole. */
#define REPORT_DIGITS 6

/* The object that --json prints; NULL if there is no memory. Numbers that do not exist are null.
 * Keys in a fixed order; the same evaluation gives the same bytes. */
json_t *report_json(const struct evaluation *e);
/* The object as one line. 0 or a negative errno. */
int report_dump(const json_t *object, FILE *f);
/* Tables for a terminal, of that object. */
int report_text(const json_t *object, FILE *f);
/* The same two of mixes. */
json_t *report_mix_json(const struct mix_evaluation *e);
int report_mix_text(const json_t *object, FILE *f);
/* A header and a row for each result. */
int report_csv(const json_t *object, FILE *f);
/* folder/{report.html,results.csv,results.json}: one self-contained page with its plots inside (SVG
 * by gnuplot). others: the same set-up at other SLOs, for the sensitivity plot; may be empty. 0;
 * -ENOENT without gnuplot, -EPROTO if it fails (it has said why on stderr), or another errno. */
int report_write(const char *folder, const struct evaluation *e, const json_t *object,
		 json_t *const *others, size_t n_others);
/* To be asked before a long evaluation: whether there is a gnuplot to run, and whether the folder
 * can be written to, which makes it. 0 or a negative errno. */
bool report_has_gnuplot(void);
int report_make_folder(const char *folder);
