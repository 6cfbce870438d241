/* SPDX-License-Identifier: Apache-2.0 */
/* Between card.c (time) and card-state.c (settings and what can be read). */
#pragma once

#include "plant/plant.h"
#include <math.h>

struct range {
	uint32_t low, high;
};

struct plant_card {
	const struct plant_device *device;
	struct plant_card_options options;
	struct plant_level levels[PLANT_MAX_LEVELS];
	double leakage_w_per_k[PLANT_MAX_LEVELS]; /* above idle_c */
	uint32_t top;
	double idle_c; /* where an idle card comes to rest */
	uint64_t now_ns;

	/* settings: what was written, and what the clock follows by now */
	enum plant_perf_level perf_level;
	struct range written, active, pending;
	uint64_t pending_ns;
	uint64_t cap_uw;

	/* clock */
	uint32_t level, dpm_level;
	double dpm_busy;     /* busy share as DPM sees it */
	uint64_t dpm_low_ns; /* how long it has been below dpm_down_busy */

	/* limiters: the highest level that each allows */
	uint32_t power_limit, thermal_limit;
	double limiter_w;
	uint64_t limiter_next_ns;

	double power_w, energy_j, temp_c;

	/* sensors: the firmware's filtered values, and what was last published */
	double filtered_w, filtered_busy;
	uint64_t sensor_next_ns, published_n;
	double published_w, published_busy;
	uint32_t published_level;
};

static inline uint64_t ns_from_ms(double value)
{
	return (uint64_t)llround(value * 1e6);
}

/* The level that DPM and the limiters give within a range. */
uint32_t card_choose_level(const struct plant_card *c, struct range range);
void card_publish_sensors(struct plant_card *c);
