/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "replay/truth.h"

/* Up to here every part of a batch is computed beforehand. */
#define ALL_PARTS 16

struct cell {
	struct plant_cost cost;
	double busy_w;
};

struct costs {
	struct plant_device device; /* with the card's time factor in its constants */
	struct plant_card_options card;
	struct plant_model model;
	struct plant_level levels[PLANT_MAX_LEVELS];
	uint32_t n_shapes, n_batches;
	struct cu_shape *shapes;
	uint32_t *ungated; /* by shape */
	uint32_t batches[ALL_PARTS];
	struct cell *cells; /* by level, shape, batch */
};
