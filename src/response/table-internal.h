/* SPDX-License-Identifier: Apache-2.0 */
/* Between the files of the derivation. */
#pragma once

#include "response/table.h"

/* Returns r, with a text about the derivation as a whole; error may be NULL. */
int _printf_(3, 4) table_refuse(struct surface_error *error, int r, const char *format, ...);
int table_check_options(const struct table_options *o, struct surface_error *error);
/* Power at a clock limit; levels that were not measured lie on the line between their neighbours.
 * NaN if no level was. */
double table_level_power(const struct surface *s, const double *power_w, uint32_t max_mhz);
