/* SPDX-License-Identifier: Apache-2.0 */
/* cofris-sim's command line, when it runs a command. */
#pragma once

#include "plant/plant.h"
#include "sim/sim-card.h"
#include <stdbool.h>
#include <stdint.h>

#define MAX_FAULT_OPTIONS 32

struct options {
	const char *device, *capture, *profiles, *runtime_dir;
	uint32_t count;
	double time_scale;
	enum plant_gating gating;
	uint64_t seed;
	double service_factor[SIM_MAX_CARDS], power_factor[SIM_MAX_CARDS];
	const char *faults[MAX_FAULT_OPTIONS];
	uint32_t n_faults;
	char **command;
	bool shared; /* in the caller's namespaces */
};

/* Returns 1 to run, 0 when everything asked for has been printed, or a negative errno after saying
 * what is wrong. The strings are those of argv. */
int options_parse(struct options *o, int argc, char **argv);
