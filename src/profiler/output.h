/* SPDX-License-Identifier: Apache-2.0 */
/* Where the surface goes: cell by cell into FILE.partial, so that nothing measured is lost, and
 * whole into FILE at the end. */
#pragma once

#include "base/macros.h"
#include "response/surface.h"

struct output {
	char *path, *partial_path;
	FILE *partial;
	uint32_t n_kept; /* cells in it */
};
#define OUTPUT_INIT ((struct output){0})

/* wanted: the path asked for, or NULL for the default, which is in the working folder where
 * /var/lib is not ours to write; says which it is. Errors are logged. */
int output_choose(struct output *o, const char *wanted, const char *gfx, uint32_t n_cus,
		  const char *model);
/* Starts the partial file with a header, appends a cell to it. Each reaches the disk. */
int output_begin(struct output *o, const struct surface *s);
int output_cell(struct output *o, const struct surface_cell *c);
/* Replaces FILE by the whole surface and removes the partial file. */
int output_finish(struct output *o, const struct surface *s);
/* Says what is left of an unfinished sweep. */
void output_explain_loss(const struct output *o);
void output_deinit(struct output *o);
