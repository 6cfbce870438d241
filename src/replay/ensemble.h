/* SPDX-License-Identifier: Apache-2.0 */
/* The parameters that nobody has published for a card, and sets of them that all satisfy what has
 * been: devices/NAME-ensemble.csv among the profiles, made by tests/support/make-ensemble.c. After
 * lines of comment ("#") the names of the columns, then TRUTH_ENSEMBLE lines. */
#pragma once

#include "plant/plant.h"
#include <stddef.h>
#include <stdio.h>

struct ensemble_column {
	const char *name;
	size_t offset;	 /* of a double in struct plant_device */
	double min, max; /* within which it may lie */
};
#define ENSEMBLE_COLUMNS 12
extern const struct ensemble_column ensemble_columns[ENSEMBLE_COLUMNS];

static inline double *ensemble_value(struct plant_device *d, const struct ensemble_column *c)
{
	return (double *)((char *)d + c->offset);
}

/* Puts the values of a member, 1 .. TRUTH_ENSEMBLE, into d. The whole file is checked. 0, or
 * -EBADMSG, or the errno of reading. */
int ensemble_read(FILE *f, uint32_t member, struct plant_device *d);
/* The same from the file of the device d; -ENOENT if it has none. */
int ensemble_load(uint32_t member, struct plant_device *d);
