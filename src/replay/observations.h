/* SPDX-License-Identifier: Apache-2.0 */
/* What Chow and Wong, "CoFRIS: Coordinated Frequency and Resource Scaling for GPU Inference
 * Servers" (IGSC 2023), report of their card and of their policies, each against what the plant
 * does. Bounds are what the paper prints, or what its words say where it prints none. Whether a
 * statement is met is computed; what is expected is declared with it, so that a change in either
 * way is seen. */
#pragma once

#include "replay/evaluate.h"

/* The paper's card, which its statements are about. */
#define OBSERVED_CUS	60
#define OBSERVED_LEVELS 9
#define OBSERVED_MODELS 8
extern const char *const observed_models[OBSERVED_MODELS];

/* One model over the whole configuration space: batch 1, back to back, n CUs by the conserved
 * policy. */
struct observed_response {
	double ns[OBSERVED_LEVELS][OBSERVED_CUS + 1];	      /* by level and n; 0 for no CU */
	double power_w[3][OBSERVED_LEVELS][OBSERVED_CUS + 1]; /* by enum plant_gating */
};

enum observed_policy {
	OBSERVED_BASELINE,
	OBSERVED_FS,
	OBSERVED_RS_SE,
	OBSERVED_RS_CU,
	OBSERVED_BOTH_SE,
	OBSERVED_BOTH_CU,
	OBSERVED_POLICIES,
};
extern const char *const observed_policies[OBSERVED_POLICIES];

#define OBSERVED_SLOS 3
enum observed_slo { OBSERVED_SLO_125, OBSERVED_SLO_150, OBSERVED_SLO_200 };
extern const double observed_slos[OBSERVED_SLOS];

struct observed_run {
	double power; /* relative to the baseline's */
	double p95;   /* relative to the unloaded p95 of the baseline */
};

struct observations {
	const struct plant_device *device;
	struct observed_response *responses; /* by model */
	struct observed_run runs[OBSERVED_SLOS][OBSERVED_POLICIES][OBSERVED_MODELS];
	/* Ticks that were spent on so many CUs, of all models at 2x. */
	uint32_t ticks[OBSERVED_POLICIES][OBSERVED_CUS + 1];
};

/* responses: of OBSERVED_MODELS. -EINVAL for another kind of card. */
int observe_card(const struct plant_device *d, struct plant_model *const *models,
		 struct observed_response *responses);
/* Fills in the runs. 0 or a negative errno after a message. */
int observe_policies(struct observations *o, struct plant_model *const *models,
		     const char *trace_name, const struct trace *trace, uint64_t seed,
		     uint32_t threads);

/* ---- statements ---- */

#define OBSERVED_MAX_VALUES 24

struct observed_value {
	char name[48];
	double value;
};
struct observed_values {
	uint32_t n;
	struct observed_value all[OBSERVED_MAX_VALUES];
};
void _printf_(3, 4) observed_add(struct observed_values *v, double value, const char *format, ...);

enum observation_status {
	OBSERVATION_PREDICTED,
	OBSERVATION_CALIBRATED, /* the plant was fitted to it */
	OBSERVATION_MISS,
	OBSERVATION_IMPOSSIBLE, /* by construction */
};

struct observation {
	const char *id, *source, *statement;
	const char *figure; /* what the values are */
	/* Each value has to lie in low - tolerance .. high + tolerance. */
	double low, high, tolerance;
	/* With SWIM's FB-2009_1 at k = 11, and with the curve profiles/loads/jobs.csv. */
	enum observation_status swim, jobs;
	const char *argument; /* why it is not met, or what else there is to say; may be NULL */
	void (*observe)(const struct observations *o, struct observed_values *ret);
};
extern const struct observation observations_all[];
extern const size_t observations_n;

bool observation_is_met(const struct observation *o, const struct observed_values *v);

/* The figures, by subject: the card's, then the policies'. */
typedef void observe_fn(const struct observations *o, struct observed_values *ret);
extern observe_fn observe_flat, observe_dip_31, observe_dip, observe_dip_clock, observe_falling,
	observe_late_saving, observe_clock_saves_more, observe_latency, observe_slo_breaks,
	observe_slo_models, observe_rate_knees, observe_rate_holds, observe_cu_limited,
	observe_shufflenet, observe_squeezenet, observe_knees, observe_optimum_cu,
	observe_optimum_se, observe_active_idle, observe_gating_grain;
extern observe_fn observe_total, observe_over_fs, observe_over_rs_cu, observe_se_over_fs,
	observe_fs_rs_se, observe_next_best, observe_cu_better, observe_cu_worse,
	observe_se_favourites, observe_slo_150, observe_slo_125, observe_p95_in_slo,
	observe_p95_most, observe_p95_flat, observe_rs_se_most_often, observe_cofris_se_most_often;
