/* SPDX-License-Identifier: Apache-2.0 */
/* Cards as they are. The *bench card* is what the profiler measures; the *service card* is the same
 * card later, on which the governor then runs; the *ensemble* are parameter sets that all satisfy
 * the facts which the plant is calibrated to. Neither table nor governor ever sees these. */
#pragma once

#include "plant/plant.h"
#include "response/surface.h"

struct truth {
	struct plant_device device; /* with this card's own constants */
	struct plant_card_options card;
	double jitter_sigma, stall_p, stall_factor; /* of each request's service time */
	double drift_per_s; /* service times at t are (1 + drift_per_s * t) times as long */
};

struct truth_options {
	enum plant_gating gating;
	uint32_t member; /* of the ensemble; 0: the device's file as it is */
	uint64_t seed;
	double switch_ms;		       /* < 0: the device's own */
	double dpm_ramp_ms, idle_active_share; /* likewise */
};

#define TRUTH_ENSEMBLE 20 /* members 1 .. 20 beside the file itself */

/* The card on the bench: small jitter, no stalls, no drift. 0; -EINVAL for options out of range (a
 * member above TRUTH_ENSEMBLE, too); -ENOENT for a member of a device without
 * devices/NAME-ensemble.csv among the profiles, -EBADMSG for a broken one. */
int truth_bench(const struct plant_device *d, const struct truth_options *o, struct truth *ret);
/* Service card number n of this bench card: each time constant x U(0.9, 1.15), power x U(0.95,
 * 1.1), drift, jitter of 1 to 5 %, stalls of 1.5 x on 0.2 % of requests. */
int truth_service(const struct truth *bench, uint64_t seed, uint32_t n, struct truth *ret);

/* ---- what executions cost on a card, each computed once ---- */

struct costs; /* read-only once made; may be shared by threads */

#define COSTS_MAX_BATCHES 16

struct costs_options {
	uint32_t n_batches, batches[COSTS_MAX_BATCHES]; /* ascending, the first is 1 */
};
/* For every level x shape (of cu_shapes(), ascending) x batch. */
int costs_new(const struct truth *t, const struct plant_model *m, const struct costs_options *o,
	      struct costs **ret);
struct costs *costs_free(struct costs *c);
DEFINE_CLEANUP(struct costs *, costs_free)
const struct cu_shape *costs_shapes(const struct costs *c, uint32_t *ret_n);
/* {0, 0}: all CUs. -1 for a shape that the card has not. */
int costs_shape_index(const struct costs *c, struct cu_shape shape);
/* A part of a batch is counted exactly (it is computed for batches that are not in the options).
 * The card's time factor is in it. Stepping a card with busy_ns = ns, uncore_ns, flop and bytes of
 * this, or equal parts of them, gives the energy of stepping it launch by launch. */
struct plant_cost costs_get(const struct costs *c, uint32_t level, uint32_t shape, uint32_t batch);
/* What an execution is made of, for those who share a card with it: its launches, those alike taken
 * together. Each is one launch of the kind, by the means of its parts. */
#define COSTS_MAX_KINDS 24
struct costs_kind {
	double share; /* of the execution's time alone */
	double ns, compute_ns, bytes, drawn_bytes_per_ns;
	double held, load; /* wave slots on the CUs that it has, and on the mean CU of its mask */
};
struct costs_kinds {
	uint32_t n;
	struct costs_kind kinds[COSTS_MAX_KINDS];
};
void costs_get_kinds(const struct costs *c, uint32_t level, uint32_t shape, uint32_t batch,
		     struct costs_kinds *ret);
/* Steady power while busy with it back to back, and between requests at this limit, W, at the
 * temperature of an idle card (leakage beyond it is the simulation's). */
double costs_busy_w(const struct costs *c, uint32_t level, uint32_t shape, uint32_t batch);
double costs_idle_w(const struct costs *c, uint32_t level);

/* ---- the bench ---- */

struct bench_options {
	const struct costs_options *batches;
	uint64_t seed;
	double cell_s;	/* time spent on each cell: decides samples and errors; 5 */
	bool quick;	/* the profiler's quick grid */
	bool noiseless; /* what a profiler without noise would find */
};
/* Sweeps the card as cofris-profile would: closed loop with one worker at every cell, through a
 * sensor with its real resolution, noise and staleness. Each cell is steady, its heat too.
 *
 * A surface holds what a card without gating draws, and the table's gating variant subtracts the
 * CUs that are off; so a card with gating is swept as one that gates nothing, not even half of its
 * SEs, and the table has to be derived with the same gating. 0, -EINVAL for options out of range,
 * or -ENOMEM. */
int bench_sweep(const struct truth *bench, const struct plant_model *m,
		const struct bench_options *o, struct surface **ret);
