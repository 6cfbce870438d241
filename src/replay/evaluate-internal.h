/* SPDX-License-Identifier: Apache-2.0 */
/* Between the parts of an evaluation: what is prepared once for each model and bench card, the runs
 * on each service card, and the figures of all. */
#pragma once

#include "governor/policy.h"
#include "replay/evaluate.h"
#include "replay/oracle.h"
#include "replay/pool.h"

#define EVALUATE_POLL_NS    (UINT64_C(500) * 1000000)
#define EVALUATE_WARM_UP_NS (UINT64_C(30) * 1000000000)
#define EVALUATE_DRAIN_NS   (UINT64_C(60) * 1000000000)
#define EVALUATE_ATTAINMENT 99.5
/* References, and then the policies asked for; a reference that is one of them is run once. */
#define EVALUATE_MAX_RUNS (EVALUATE_MAX_POLICIES + 2)

static inline uint64_t evaluate_poll_ns(const struct evaluation_options *o)
{
	return o->poll_ns > 0 ? o->poll_ns : EVALUATE_POLL_NS;
}

static inline double evaluate_headroom(uint32_t i)
{
	return 0.4 + 0.1 * i;
}

/* Fills *error, and returns r. */
int evaluate_refuse(struct evaluation_error *error, int r, const char *format, ...) _printf_(3, 4);

/* What a policy's tables may choose from. */
enum table_kind {
	TABLE_COORDINATED, /* clock and mask */
	TABLE_CLOCK,
	TABLE_MASK,
	TABLE_COST, /* clock and mask, chosen by cost */
	TABLE_KINDS,
};

/* What a headroom means to a policy. */
enum headroom_kind {
	HEADROOM_NONE,	 /* nothing */
	HEADROOM_TABLE,	 /* what its table counts as feasible, or what a late request costs there */
	HEADROOM_TARGET, /* which latency it regulates to: as published the SLO itself */
};

/* A policy as it is run. */
struct policy_run {
	const char *name;
	const struct policy *policy; /* NULL: an oracle */
	bool rate_only;		     /* that one */
	bool listed;
	enum table_kind table;
	enum headroom_kind headroom;
};

struct policy_runs {
	uint32_t n;
	struct policy_run runs[EVALUATE_MAX_RUNS];
	uint32_t maximum, automatic, oracle; /* by number; oracle: UINT32_MAX if not asked for */
	uint32_t of_row[EVALUATE_MAX_POLICIES];
};
int evaluate_check(const struct evaluation_options *o, struct evaluation_error *ret_error);
int evaluate_list_policies(const struct evaluation_options *o, struct policy_runs *ret,
			   struct evaluation_error *ret_error);

/* ---- a model on a bench card ---- */

/* At one headroom; NULL where no policy needs one. */
struct bench_tables {
	double headroom;
	struct response_table *tables[TABLE_KINDS];
};

struct bench_setup {
	const struct plant_model *model;
	struct truth truth;
	struct surface *surface;
	struct bench_tables tables;			     /* at the headroom of the options */
	struct bench_tables by_headroom[EVALUATE_HEADROOMS]; /* for the sweep */
	struct response_menu *menu; /* the same at all of them; NULL: no policy plans */
	uint64_t slo_ns;
	double rated_rps;
	uint64_t *arrival_ns; /* the same on each service card */
	uint32_t n_arrivals;
	double *rate_rps; /* expected, by tick */
	uint32_t n_rates;
};
/* *ret is filled as far as it came, for bench_setup_done(). */
int bench_setup_make(const struct evaluation_options *o, const struct policy_runs *p,
		     const struct plant_model *m, uint32_t member, struct bench_setup *ret,
		     struct evaluation_error *ret_error);
void bench_setup_done(struct bench_setup *b);
/* Fills b->surface, of b's truth and model. */
int evaluate_surface(const struct evaluation_options *o, uint32_t member, struct bench_setup *b,
		     struct evaluation_error *ret_error);

/* Fills b's arrivals and rates, at its rated rate. */
int evaluate_requests(const struct trace *t, uint64_t seed, struct bench_setup *b,
		      struct evaluation_error *ret_error);

/* What all runs on a card have in common; governor or schedule is left open. */
void evaluate_run_options(const struct evaluation_options *o, const struct bench_setup *b,
			  const struct truth *truth, const struct costs *costs, uint64_t seed,
			  struct simulation_options *ret);
struct measures_options evaluate_measures_options(const struct evaluation_options *o,
						  const struct bench_setup *b);
void evaluate_governor_config(const struct evaluation_options *o, const struct bench_setup *b,
			      const struct policy_run *p, const struct bench_tables *t,
			      struct governor_config *ret);
/* 1, 2, 4 ... max_batch. */
void evaluate_batches(const struct evaluation_options *o, struct costs_options *ret);
/* Of a name, so that what a model draws does not depend on which others there are. */
uint64_t evaluate_seed(uint64_t seed, const char *name, uint32_t n);

/* ---- all policies on a service card ---- */

enum evaluate_share { SHARE_OF_AUTO, SHARE_OF_MAXIMUM, SHARE_REGRET, SHARE_MISSED, SHARES };

struct policy_outcome {
	struct measures m;
	double own[SHARES]; /* of the run as asked for; NaN: none */
	/* Where it takes the least within the lateness that all are compared at. */
	bool reaches;
	double there[SHARES];
	uint32_t n_curve;
	struct curve_point curve[EVALUATE_HEADROOMS];
	uint32_t n_ticks;
	struct tick *ticks;
};

struct card_outcome {
	bool overloaded;
	double slo_ms, rated_rps;
	struct policy_outcome policies[EVALUATE_MAX_RUNS];
};

struct card_job {
	const struct evaluation_options *options;
	const struct policy_runs *policies;
	const struct bench_setup *bench;
	uint32_t card, threads;
	/* Counts what is done; any thread. */
	void (*step)(void *userdata);
	void *userdata;
};
/* How often step is called for one card. */
uint32_t evaluate_card_steps(const struct evaluation_options *o, const struct policy_runs *p);
int evaluate_card(const struct card_job *job, struct card_outcome *ret);
void card_outcome_done(struct card_outcome *c);

/* ---- figures ---- */

/* The least power on a curve, straight between its points, at no more than the lateness that all
 * are compared at. False: nowhere is it low enough. */
bool evaluate_find_there(const struct curve_point *curve, uint32_t n, struct curve_point *ret);
/* outcomes: [model][card]. Fills rows and means; takes the ticks. */
int evaluate_figures(const struct evaluation_options *o, const struct policy_runs *p,
		     struct card_outcome *outcomes, struct evaluation *e);
