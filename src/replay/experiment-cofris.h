/* SPDX-License-Identifier: Apache-2.0 */
/* The CoFRIS paper's observations: what they are about, measured once, and each as a figure that is
 * held against a range. Internal to the experiment. */
#pragma once

#include "replay/evaluate.h"

#define PAPER_MODELS  8
#define PAPER_GATINGS 3 /* enum plant_gating */
#define PAPER_SLOS    3
extern const char *const paper_models[PAPER_MODELS];
extern const double paper_slos[PAPER_SLOS]; /* 2.0, 1.5, 1.25 */

enum paper_policy { PAPER_MAXIMUM, PAPER_FS, PAPER_RS, PAPER_COFRIS, PAPER_POLICIES };

struct paper_lab {
	struct plant_device *device;
	struct plant_model *models[PAPER_MODELS];
	struct trace *trace;
	/* The response surface, without noise: by gating and model. */
	struct costs *costs[PAPER_GATINGS][PAPER_MODELS];
	const struct cu_shape *shapes; /* of all costs */
	uint32_t n_shapes;
	/* Policies as in the paper: latency is service alone, load 1 is capacity. By gating (se and
	 * cu alone) and objective. */
	struct evaluation_options options[PAPER_GATINGS][PAPER_SLOS];
	struct evaluation *evaluations[PAPER_GATINGS][PAPER_SLOS];
};

enum paper_status {
	PAPER_CALIBRATED, /* the plant's constants were fitted to it; at most three */
	PAPER_PREDICTED,
	PAPER_MISS,
	PAPER_IMPOSSIBLE, /* by construction of the plant or the table */
};

struct paper_observation {
	const char *id, *statement, *source;
	enum paper_status status;
	/* On a trace that is named, as SWIM's FB-2009_1 with k = 11; status is on the shipped
	 * load. */
	enum paper_status named_status;
	const char *argument; /* of a miss or an impossibility: why */
	bool of_trace;	      /* depends on the load */
	const char *figure;   /* what is measured */
	double low, high;     /* of it, to be met: the tolerance is in here */
	double (*measure)(const struct paper_lab *lab);
};

extern const struct paper_observation paper_observations[];
extern const size_t paper_n_observations;

/* Figures on the surface. */
double paper_flat_to_32(const struct paper_lab *lab);
double paper_dip_at_31(const struct paper_lab *lab);
double paper_fall_below_30(const struct paper_lab *lab);
double paper_dip_at_half(const struct paper_lab *lab);
double paper_clock_over_cus(const struct paper_lab *lab);
double paper_most_cus_that_break(const struct paper_lab *lab);
double paper_models_with_a_knee(const struct paper_lab *lab);
double paper_models_limited_by_cus(const struct paper_lab *lab);
double paper_reaction_of_shufflenet(const struct paper_lab *lab);
double paper_reaction_of_squeezenet(const struct paper_lab *lab);
double paper_optimum_beyond_knee(const struct paper_lab *lab);
double paper_optimum_cus_cu(const struct paper_lab *lab);
double paper_optimum_cus_se(const struct paper_lab *lab);
double paper_cu_w_rises(const struct paper_lab *lab);
double paper_cu_over_se_gating(const struct paper_lab *lab);

/* Figures on policies. */
double paper_fs(const struct paper_lab *lab);
double paper_rs_cu(const struct paper_lab *lab);
double paper_cofris_cu(const struct paper_lab *lab);
double paper_rs_se_minus_fs(const struct paper_lab *lab);
double paper_rs_cu_better(const struct paper_lab *lab);
double paper_rs_se_better(const struct paper_lab *lab);
double paper_cofris_se_points(const struct paper_lab *lab);
double paper_cofris_cu_over_fs(const struct paper_lab *lab);
double paper_cofris_cu_over_rs(const struct paper_lab *lab);
double paper_slo_sensitivity(const struct paper_lab *lab);
double paper_worst_tail(const struct paper_lab *lab);
double paper_mean_tail_at_2x(const struct paper_lab *lab);
double paper_most_frequent_cus(const struct paper_lab *lab);
double paper_se_tail_growth(const struct paper_lab *lab);
