/* SPDX-License-Identifier: Apache-2.0 */
/* Writes the surface that a profiler without noise would measure on the simulated card, so that
 * system tests need no sweep:
 *   make-surface DEVICE.ini MODEL.ini OUTPUT.csv [TIME-SCALE] */
#include "base/log.h"
#include "base/parse.h"
#include "plant/plant.h"
#include "replay/truth.h"
#include "response/surface.h"
#include <errno.h>
#include <string.h>

/* A card whose services take so many times as long for the same power, as --time-scale makes it. */
static void stretch(struct surface *s, double scale)
{
	for (uint32_t i = 0; i < s->n_cells; i++) {
		struct surface_cell *c = &s->cells[i];

		c->capacity_rps /= scale;
		c->capacity_se /= scale;
		c->energy_j *= scale;
		for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
			c->service_ns[q] = (float)(c->service_ns[q] * scale);
	}
	s->capacity_rps /= scale;
	s->rated_rps /= scale;
	s->t0_ns *= scale;
}

static int make_surface(const struct plant_device *d, const struct plant_model *m, double scale,
			struct surface **ret)
{
	const struct truth_options as_found = {.switch_ms = -1,
					       .dpm_ramp_ms = -1,
					       .idle_active_share = -1};
	const struct costs_options batches = {.n_batches = 1, .batches = {1}};
	const struct bench_options o = {.batches = &batches, .noiseless = true};
	struct truth truth;
	int r;

	r = truth_bench(d, &as_found, &truth);
	if (r == 0)
		r = bench_sweep(&truth, m, &o, ret);
	if (r == 0)
		stretch(*ret, scale);
	return r;
}

int main(int argc, char *argv[])
{
	_cleanup_(freep) struct plant_device *d = NULL;
	_cleanup_(freep) struct plant_model *m = NULL;
	_cleanup_(surface_freep) struct surface *s = NULL;
	_cleanup_(fclosep) FILE *f = NULL;
	struct ini_error error;
	double scale = 1;
	int r;

	log_init("make-surface", LOG_INFO);
	if (argc < 4 || argc > 5 || (argc == 5 && parse_double(argv[4], &scale) < 0)) {
		log_error("usage: make-surface DEVICE.ini MODEL.ini OUTPUT.csv [TIME-SCALE]");
		return 2;
	}
	r = plant_device_load(argv[1], &d, &error);
	if (r < 0) {
		log_error("%s:%u: %s", argv[1], error.line, error.text);
		return 1;
	}
	r = plant_model_load(argv[2], &m, &error);
	if (r < 0) {
		log_error("%s:%u: %s", argv[2], error.line, error.text);
		return 1;
	}
	r = make_surface(d, m, scale, &s);
	if (r < 0)
		return -log_error_errno(r, "cannot make the surface: %m");
	f = fopen(argv[3], "we");
	if (!f)
		return -log_error_errno(-errno, "cannot open %s: %m", argv[3]);
	r = surface_write(f, s);
	if (r == 0 && fflush(f) != 0)
		r = -errno;
	if (r < 0)
		return -log_error_errno(r, "cannot write %s: %m", argv[3]);
	return 0;
}
