/* SPDX-License-Identifier: Apache-2.0 */
/* In which order a decision reaches the card and its workers. Pure: no I/O, no clock, and no
 * allocation after sequence_new(). The caller drives it:
 *
 *	sequence_want(s, decision...)		a new decision (or a boost) has been taken
 *	for (;;) sequence_next(s, now, &step)	do what it says until it says NONE or WAIT_UNTIL
 *	sequence_clock_done(), sequence_mask_acked(), sequence_worker_add(), ..._remove()
 *						events; after each, run the loop above again
 *
 * The order of every change: raise the clock; widen masks and wait for their acknowledgement; lower
 * the clock; narrow masks. What gives capacity is started at once; what takes it away starts only
 * when everything before it is confirmed. A change that gives and takes is split: first the larger
 * of old and new in each part, later the new one. A smaller batch counts as narrowing, and so does
 * a mask that only moves, which must not land where another has yet to leave; a smaller power cap
 * counts as lowering. Mask changes go to one worker at a time and are spaced; a clock raise (a
 * boost) waits for nothing. What is not confirmed in time cancels the taking steps of this
 * decision; the next sequence_want() tries again. */
#pragma once

#include "base/macros.h"
#include "cu-mask/cu-mask.h"
#include <stdbool.h>
#include <stdint.h>

#define SEQUENCE_MAX_WORKERS 256
#define SEQUENCE_MAX_MODELS  64
/* A healthy card takes a clock within 50 ms and a worker's thread is woken by a message; whoever
 * has not confirmed after this is not counted on in this decision. */
#define SEQUENCE_CONFIRM_TIMEOUT_NS UINT64_C(100000000)
/* Each mask change preempts all queues of the card; apart, they do not add up in one request. */
#define SEQUENCE_MASK_SPACING_NS UINT64_C(10000000)
/* One miss may be the scheduler, two a stopped process; a third in a row is a worker that does not
 * follow, and waiting for it would hold the card high for ever. */
#define SEQUENCE_MAX_MISSES 3

/* What the card is told. */
struct sequence_clock {
	uint32_t max_mhz;      /* 0: the baseline, which ranks above every level */
	uint64_t power_cap_uw; /* 0: the baseline's cap, which ranks above every cap */
};

/* What a worker is told. */
struct sequence_directive {
	struct cu_shape shape; /* {0, 0}: all CUs, the widest */
	struct cu_mask mask;   /* where it lies; only ever compared, and handed through */
	uint32_t max_batch;    /* 0: its own */
	uint64_t max_wait_ns, boost_wait_ns;
};

enum sequence_step_kind {
	SEQUENCE_NONE,		/* nothing before the next event */
	SEQUENCE_SET_CLOCK,	/* write ->clock, then report sequence_clock_done(->epoch) */
	SEQUENCE_DIRECT_WORKER, /* send ->directive with ->epoch to ->worker */
	SEQUENCE_WAIT_UNTIL,	/* nothing before the next event or ->deadline_ns */
};

struct sequence_step {
	enum sequence_step_kind kind;
	uint64_t epoch; /* strictly increasing over all steps of this object */
	struct sequence_clock clock;
	uint32_t worker;
	struct sequence_directive directive;
	bool mask_changes; /* the directive's shape or mask differs from the one sent before */
	uint64_t deadline_ns;
};

struct sequence;

/* The card is taken to stand at clock (as found: {0, 0}). 0 or -ENOMEM. */
int sequence_new(const struct sequence_clock *clock, struct sequence **ret);
struct sequence *sequence_free(struct sequence *s);
DEFINE_CLEANUP(struct sequence *, sequence_free)

/* Epochs start above this one; for a daemon whose workers have seen epochs of a predecessor. */
void sequence_set_epoch(struct sequence *s, uint64_t epoch);
uint64_t sequence_epoch(const struct sequence *s);

/* Takes over a decision: the clock, and models[i] for each worker of model i (n_models of them, at
 * most SEQUENCE_MAX_MODELS). Replaces what was still to be done of the one before, lifts its
 * cancellation, and repeats what was not confirmed. */
void sequence_want(struct sequence *s, const struct sequence_clock *clock, uint32_t n_models,
		   const struct sequence_directive *models);
/* While held, taking steps wait, in this decision and the next ones; for cards that share a clock.
 * The caller lets go once every one of them has been given what it wants. */
void sequence_hold(struct sequence *s, bool hold);
bool sequence_held(const struct sequence *s);
/* Everything that the latest decision gives has been sent and confirmed. */
bool sequence_given(const struct sequence *s);
/* Raises the wanted clock at once to at least *clock (in each part) and cancels all taking steps
 * until the next sequence_want(). */
void sequence_boost(struct sequence *s, const struct sequence_clock *clock);

/* What to do now. Stateful: a step counts as started when it is handed out. */
void sequence_next(struct sequence *s, uint64_t now_ns, struct sequence_step *ret);

/* The write of step epoch has returned. ok: it took (written, and read back as written). Unknown
 * epochs and late answers are harmless. */
void sequence_clock_done(struct sequence *s, uint64_t epoch, bool ok);
/* The card was found at clock, whatever was sent (drift, an actuator's restart). */
void sequence_clock_found(struct sequence *s, const struct sequence_clock *clock);
/* worker runs under this epoch (channel_sample.applied_epoch). Call with every sample. */
void sequence_mask_acked(struct sequence *s, uint32_t worker, uint64_t epoch);

/* A worker of a model has come; it starts with all CUs and its own batch. What it cannot follow is
 * never sent to it and never waited for. Returns its number (0 .. SEQUENCE_MAX_WORKERS - 1), or
 * -ENOSPC. It gets its first directive with the next sequence_next(). */
int sequence_worker_add(struct sequence *s, uint32_t model, bool follows_mask, bool follows_batch);
void sequence_worker_remove(struct sequence *s, uint32_t worker);
/* After a reload the same worker may belong to another entry of models[]: of the next decision's,
 * until which it keeps what it was told. */
void sequence_worker_set_model(struct sequence *s, uint32_t worker, uint32_t model);

/* Whether SEQUENCE_MAX_MISSES made it a worker governed by clock alone (all CUs, nothing awaited);
 * it stays so until it is removed, or acknowledges its latest directive. */
bool sequence_worker_clock_alone(const struct sequence *s, uint32_t worker);
/* The epoch last sent, 0 if none; and whether it has been acknowledged. */
uint64_t sequence_worker_epoch(const struct sequence *s, uint32_t worker);
bool sequence_worker_acknowledged(const struct sequence *s, uint32_t worker);
/* All workers of a model run under what the latest decision wants for them. */
bool sequence_model_acknowledged(const struct sequence *s, uint32_t model);
/* What can be counted on (a lower clock from the moment it is sent, a higher one once it is
 * confirmed), and what was sent last. */
struct sequence_clock sequence_clock_confirmed(const struct sequence *s);
struct sequence_clock sequence_clock_sent(const struct sequence *s);
/* Taking steps of this decision were given up (a confirmation is missing). */
bool sequence_cancelled(const struct sequence *s);
/* Everything that the latest decision wants is confirmed. */
bool sequence_settled(const struct sequence *s);
