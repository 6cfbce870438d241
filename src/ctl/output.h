/* SPDX-License-Identifier: Apache-2.0 */
/* Documents printed, as JSON or as text. */
#pragma once

#include "ctl/options.h"

/* Takes root; NULL: a text in it was no UTF-8, or there was no memory. */
enum ctl_exit output_json(json_t *root);
/* As JSON if that was asked for, else by print, which returns 0 or a negative errno. Takes root. */
enum ctl_exit output(const struct ctl *ctl, json_t *root, int (*print)(const json_t *root));
/* Of a command that says nothing when it was done: {"schema":1,"ok":true} as JSON. */
enum ctl_exit output_done(const struct ctl *ctl);

/* A text that may be, or repeat, the name of a file; if that is no UTF-8, '?' for each byte that is
 * no printable ASCII. */
json_t *output_text(const char *s);

/* Names of processes and reasons of callers are anyone's: what moves a terminal's cursor, or more,
 * becomes '?' in all texts of a document that is printed as text. JSON escapes it by itself. */
void output_make_printable(json_t *value);
