/* SPDX-License-Identifier: Apache-2.0 */
/* Which configurations a sweep measures, and in which order. Pure. */
#pragma once

#include "cu-mask/cu-mask.h"
#include <stdbool.h>
#include <stdint.h>

#define GRID_MAX_BATCHES 16

enum grid_kind {
	GRID_QUICK, /* all clocks with the whole card, some shapes at some clocks */
	GRID_FULL,  /* all clocks x all shapes that are not dominated */
};

struct grid_cell {
	uint32_t max_mhz;
	struct cu_shape shape;
	uint32_t batch;
};

struct grid_options {
	enum grid_kind kind;
	const uint32_t *level_mhz; /* ascending */
	uint32_t n_levels;
	const struct cu_topology *topology;
	bool masks;		 /* false: the worker follows none, so only the whole card */
	const uint32_t *batches; /* at least one; the first is the baseline's */
	uint32_t n_batches;
};

/* The levels that count as different: of those within 2 % of the lowest of them, the highest stays,
 * as what a limit at any of them allows. ret has room for n. Returns their number, ascending. */
uint32_t grid_levels(const uint32_t *level_mhz, uint32_t n, uint32_t *ret);

/* Up to max of the numbers 0 .. n - 1, evenly spread and with both ends (max 1: the last), from
 * high to low. ret has room for max. Returns how many. */
uint32_t grid_spread(uint32_t n, uint32_t max, uint32_t *ret);

/* The cells: the baseline first, then from high to low clocks and from many to few CUs. Gives an
 * array for free() and its length, or a negative errno (-EINVAL for a card without levels or a
 * broken topology). */
int grid_plan(const struct grid_options *o, struct grid_cell **ret);
