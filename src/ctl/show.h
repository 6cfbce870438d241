/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's JSON as text for people. */
#pragma once

#include <jansson.h>

/* Return 0, or -ENOMEM. */
int show_status(const json_t *status);
int show_table(const json_t *tables);
int show_caps(const json_t *caps);
int show_explanation(const json_t *explanation);
int show_decisions(const json_t *decisions);
int show_verification(const json_t *verification);

/* Each governed card of a document by print, with blank lines in between. */
int show_each_gpu(const json_t *root, int (*print)(const json_t *gpu));

/* Of a status the orders of operators that stand: holds and pauses. Nothing if there are none. */
int show_orders(const json_t *status);
