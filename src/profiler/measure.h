/* SPDX-License-Identifier: Apache-2.0 */
/* Single measurements on a rig. Functions that return int give 0 or the rig's negative errno. */
#pragma once

#include "profiler/checks.h"
#include "profiler/rig.h"
#include "response/grid.h"
#include "response/surface.h"

/* What is carried from one measurement to the next. */
struct lab {
	struct rig *rig;
	double settle_ms;    /* longest time that the clock took to get there */
	double power_step_w; /* smallest change of the power reading seen */
	double sensor_hz;    /* fastest rate of changes seen */
};

/* Puts a configuration into force and waits until the card and the worker are there. */
int lab_configure(struct lab *lab, const struct grid_cell *cell, uint64_t slo_ns);
/* Mean power with nothing running, under a clock limit. */
int lab_idle_power(struct lab *lab, uint32_t max_mhz, uint64_t time_ns, double *ret_w);
/* Mean power of what runs now, after the clock has settled under the limit. */
int lab_busy_power(struct lab *lab, uint32_t max_mhz, uint64_t time_ns, double *ret_w);
/* Measures the configuration in force under a closed loop. */
int lab_measure_cell(struct lab *lab, const struct grid_cell *cell, uint64_t time_ns,
		     struct surface_cell *ret);

/* Another window of the open-loop run at the configuration in force. */
int lab_measure_load(struct lab *lab, uint64_t time_ns, struct load_run *run);
