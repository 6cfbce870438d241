/* SPDX-License-Identifier: Apache-2.0 */
/* A sane surface that a test changes in one way. */
#pragma once

#include "base/macros.h"
#include "response/table.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static inline void set_service(struct surface_cell *c, double service_ns, double spread)
{
	for (unsigned int i = 0; i < SURFACE_QUANTILES; i++)
		c->service_ns[i] = (float)(service_ns * (1 + spread * ((int)i - 50) / 50.0));
	c->capacity_rps = 1e9 * c->batch * c->workers / service_ns;
}

static inline struct surface_cell *add_cell(struct surface *s, uint32_t max_mhz, uint32_t n_se,
					    uint32_t cus, double service_ns, double power_w)
{
	struct surface_cell *c;

	s->cells = reallocarray(s->cells, s->n_cells + 1, sizeof(*s->cells));
	assert_non_null(s->cells);
	c = &s->cells[s->n_cells++];
	*c = (struct surface_cell){
		.max_mhz = max_mhz,
		.shape = {(uint16_t)n_se, (uint16_t)cus},
		.batch = 1,
		.workers = 1,
		.capacity_se = 0.01,
		.power_w = power_w,
		.power_se = 0.1,
		.energy_j = power_w * service_ns / 1e9,
		.mean_mhz = max_mhz,
		.temp_c = 60,
		.samples = 2000,
	};
	set_service(c, service_ns, 0.01);
	return c;
}

/* Two levels, and the baseline: 10 ms a request, 200 W. */
static inline struct surface *new_surface(void)
{
	struct surface *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	*s = (struct surface){
		.model = "resnet50",
		.gpu_name = "AMD Instinct MI50",
		.gfx = "gfx906",
		.driver = "5.18.13",
		.date = "2024-05-31T12:00:00Z",
		.n_cus = 60,
		.n_se = 4,
		.n_levels = 2,
		.level_mhz = {925, 1725},
		.workers = 1,
		.baseline_batch = 1,
		.capacity_rps = 100,
		.rated_rps = 70,
		.percentile = 95,
		.t0_ns = 40e6,
		.sensor_hz = 100,
		.settle_ms = 10,
		.idle_power_w = {20, 20},
		.active_idle_power_w = {50, 80},
	};
	(void)add_cell(s, 1725, 4, 15, 10e6, 200);
	return s;
}

static inline struct response_table *derive_table(const struct surface *s,
						  const struct table_options *o)
{
	struct response_table *t = NULL;
	struct surface_error error = {0};
	int r;

	r = response_table_derive(s, o, &t, &error);
	if (r < 0)
		fail_msg("%d: %s", r, error.text);
	return t;
}
