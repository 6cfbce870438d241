/* SPDX-License-Identifier: Apache-2.0 */
/* Models x policies x service cards on the same work: the runs, paired and in parallel, and the
 * figures that come of them. The same options give the same result whatever the number of threads.
 */
#pragma once

#include "load/trace.h"
#include "replay/measures.h"

#define EVALUATE_MAX_MODELS   32
#define EVALUATE_MAX_POLICIES 16
#define EVALUATE_HEADROOMS    10 /* 0.4, 0.5 ... 1.3 */
/* What counts as "reaches the objective", percent of requests. */
#define EVALUATE_EXCESS_LATE_PCT 0.3

struct evaluation_options {
	const char *trace_name; /* as it is printed */
	const struct trace *trace;
	const struct plant_device *device;
	uint32_t n_models;
	const struct plant_model *models[EVALUATE_MAX_MODELS];
	/* What the tables come from, by model; NULL: a sweep of the simulated bench card. */
	const struct surface *surfaces[EVALUATE_MAX_MODELS];
	uint32_t n_policies;
	const char *policies[EVALUATE_MAX_POLICIES]; /* governor's, oracle, oracle-rate */
	double slo_factor;			     /* 0: slo_ns */
	uint64_t slo_ns;
	uint32_t percentile; /* 95 */
	double headroom;     /* 0.9 */
	uint64_t poll_ns;    /* the governor's; 0: 500 ms */
	enum plant_gating gating;
	enum latency_notion latency;
	uint32_t service_cards; /* 1 */
	uint32_t ensemble;	/* card i is of member i % ensemble; 1: the device's file alone */
	double switch_ms, dpm_ramp_ms, idle_active_share; /* < 0: the device's */
	uint64_t seed;
	/* The service card is the bench card itself, and requests and services are those of
	 * cofris-worker with the same seed: what real time can be held against. */
	bool exact;
	uint32_t max_batch;  /* 1 */
	double cap_w;	     /* for batchsizer; 0: none */
	bool no_boosts;	     /* policies that boost do without */
	bool headroom_sweep; /* for the curves, reaches and the equal-lateness means */
	bool keep_ticks;
	uint32_t threads; /* 0: one for each core */
	/* Called from one thread at a time; may be NULL. */
	void (*progress)(void *userdata, uint32_t done, uint32_t total);
	void *userdata;
};

/* Of a figure over the service cards. */
struct spread {
	double median, low, high;
};

/* A point of a policy's energy-lateness curve; over several models the geometric means of power and
 * the arithmetic one of lateness, which may be none. */
struct curve_point {
	double headroom; /* of an oracle mu, J; NaN where it means nothing to a policy */
	double excess_late_pct, power_vs_auto, power_vs_maximum;
};

struct evaluation_row {
	const char *model, *policy;
	double slo_ms, rated_rps;
	struct measures m; /* each figure the median over the service cards */
	double power_vs_auto, power_vs_maximum;
	double regret_pct, missed_pct; /* NaN: of the oracle itself, or it is not asked for */
	struct spread power_vs_auto_range, power_vs_maximum_range, excess_late_range, regret_range;
	bool overloaded; /* not even maximum attains 99.5 % on one of the service cards */
	uint32_t n_ticks;
	struct tick *ticks; /* of service card 0 */
	uint32_t n_curve;   /* of this model alone, by headroom; 1 without a sweep */
	struct curve_point curve[EVALUATE_HEADROOMS];
};

struct evaluation_mean {
	const char *policy;
	/* Geometric means, at equal excess lateness: of each model where the policy takes the least
	 * within EVALUATE_EXCESS_LATE_PCT, and of no model where it does not get there. With
	 * LATENCY_SERVICE of all rows as they are. missed_pct is that of these means. */
	double power_vs_auto, power_vs_maximum, regret_pct, missed_pct;
	struct spread power_vs_auto_range;
	/* Does it get to EVALUATE_EXCESS_LATE_PCT with each model, and if so, with one headroom for
	 * all of them, what it takes there (by the curve, interpolated; NaN for oracles). */
	bool reaches;
	double headroom_there, power_vs_auto_there;
	uint32_t n_curve;
	struct curve_point curve[EVALUATE_HEADROOMS];
};

/* For the plots: the bench surface of a model, whole. */
struct evaluation {
	const struct evaluation_options *options;
	uint32_t n_rows; /* by model, then by policy, as in the options */
	struct evaluation_row *rows;
	uint32_t n_means;
	struct evaluation_mean *means;
	struct surface *surfaces[EVALUATE_MAX_MODELS]; /* bench sweeps */
};

struct evaluation_error {
	char text[256];
};
/* 0; -EINVAL for a policy that does not exist or lacks what it needs, -EDOM for an overloaded
 * set-up (maximum attains less than 99.5 % on the bench card) or an SLO that cannot be met,
 * -ENOMEM; each with *ret_error filled. */
int evaluate(const struct evaluation_options *o, struct evaluation **ret,
	     struct evaluation_error *ret_error);
struct evaluation *evaluation_free(struct evaluation *e);
DEFINE_CLEANUP(struct evaluation *, evaluation_free)
