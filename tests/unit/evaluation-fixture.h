/* SPDX-License-Identifier: Apache-2.0 */
/* Two models on an MI50 under a minute of load, for the tests of whole evaluations. */
#pragma once

#include "base/macros.h"
#include "replay/evaluate-internal.h"
#include "support/cmocka-includes.h"
#include <math.h>
#include <string.h>

#define EVALUATION_S	60
#define EVALUATION_SEED 7

static struct {
	struct plant_device *device;
	struct plant_model *resnet, *vgg;
	/* What quick sweeps say of them: a tenth of the cells, and of the time. */
	struct surface *resnet_quick, *vgg_quick;
} evaluated;

static struct load_point evaluation_points[] = {
	{0, 0.3}, {30, 0.5}, {40, 0.9}, {45, 0.4}, {EVALUATION_S, 0.6}};
static struct load_curve evaluation_curve = {.n = ARRAY_SIZE(evaluation_points),
					     .points = evaluation_points};
static struct trace evaluation_trace = {.format = TRACE_RATE,
					.curve = &evaluation_curve,
					.duration_s = EVALUATION_S};

/* One card, one thread, the models' own sweeps. */
static inline struct evaluation_options evaluation_options(enum plant_gating gating)
{
	return (struct evaluation_options){
		.trace_name = "steps",
		.trace = &evaluation_trace,
		.device = evaluated.device,
		.n_models = 1,
		.models = {evaluated.resnet, evaluated.vgg},
		.slo_factor = 2,
		.percentile = 95,
		.headroom = 0.9,
		.gating = gating,
		.service_cards = 1,
		.ensemble = 1,
		.switch_ms = 5,
		.dpm_ramp_ms = -1,
		.idle_active_share = -1,
		.seed = EVALUATION_SEED,
		.max_batch = 1,
		.threads = 1,
	};
}

static inline int evaluation_sweep(const struct plant_model *m, struct surface **ret)
{
	static const struct costs_options one = {.n_batches = 1, .batches = {1}};
	const struct truth_options t = {.switch_ms = 5, .dpm_ramp_ms = -1, .idle_active_share = -1};
	const struct bench_options b = {.batches = &one, .seed = EVALUATION_SEED, .quick = true};
	struct truth bench;
	int r;

	r = truth_bench(evaluated.device, &t, &bench);
	return r < 0 ? r : bench_sweep(&bench, m, &b, ret);
}

/* For a group's setup. */
static inline int evaluation_load(void **state)
{
	struct ini_error error;

	(void)state;
	if (plant_device_load(COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini", &evaluated.device,
			      &error) < 0 ||
	    plant_model_load(COFRIS_SOURCE_DIR "/profiles/models/resnet152.ini", &evaluated.resnet,
			     &error) < 0 ||
	    plant_model_load(COFRIS_SOURCE_DIR "/profiles/models/vgg19.ini", &evaluated.vgg,
			     &error) < 0 ||
	    evaluation_sweep(evaluated.resnet, &evaluated.resnet_quick) < 0 ||
	    evaluation_sweep(evaluated.vgg, &evaluated.vgg_quick) < 0)
		return -1;
	return 0;
}

static inline int evaluation_unload(void **state)
{
	(void)state;
	surface_free(evaluated.resnet_quick);
	surface_free(evaluated.vgg_quick);
	free(evaluated.resnet);
	free(evaluated.vgg);
	free(evaluated.device);
	return 0;
}

static inline struct evaluation *evaluation_make(const struct evaluation_options *o)
{
	struct evaluation_error error;
	struct evaluation *e = NULL;

	if (evaluate(o, &e, &error) < 0)
		fail_msg("%s", error.text);
	return e;
}

static inline void evaluation_refused(const struct evaluation_options *o, int expected,
				      const char *says)
{
	struct evaluation_error error;
	struct evaluation *e = NULL;
	int r = evaluate(o, &e, &error);

	if (r != expected || !strstr(error.text, says))
		fail_msg("%d: \"%s\" without \"%s\"", r, error.text, says);
	assert_null(e);
}
