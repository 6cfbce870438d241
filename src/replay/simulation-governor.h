/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's part: between its files.
 *
 *   simulation-governor.c  the tick, what brings it forward, and workers that come and go
 *   simulation-sample.c    what its meter and its unit make of the workers and the card
 *   simulation-apply.c     how a decision reaches the card and the workers
 */
#pragma once

#include "base/units.h"
#include "replay/simulation-internal.h"

/* As the daemon and libcofris have them, in their time. */
#define HISTORY 64
#define STATES	128

/* One model's worker as the daemon sees it. */
struct governed {
	struct simulated_model *model;
	uint32_t worker; /* its number in the sequence */

	/* the meter */
	bool fresh;		    /* the worker has come in this interval */
	struct counters seen, base; /* last read; at the last tick */
	uint32_t head, n_history;
	struct {
		uint64_t at_ns, arrivals;
	} history[HISTORY];

	/* a directive on its way to the worker */
	uint64_t directive_ns; /* UINT64_MAX: none */
	struct sequence_step directive;
	bool mask_changes;

	/* the way back: the worker asks to be looked at */
	uint64_t boost_wait_ns;
	bool wake_armed, woken;
	uint64_t asked_ns, wake_ns, looked_ns; /* wake_ns: when the daemon will look, or MAX */
};

struct governing {
	double time_scale; /* of the daemon's time; everything else here is in the card's */
	struct governor *governor;
	struct sequence *sequence;
	struct placement placement;
	struct governor_input input;
	struct governor_decision decision;

	uint64_t tick_ns;      /* the next one */
	uint64_t early_ns;     /* a step before it, or MAX */
	uint64_t last_step_ns; /* 0: none yet */
	uint64_t drive_ns;     /* when the sequence wants to be asked again */

	/* the card as last read, and as it was at earlier reads, newest last */
	bool state_valid;
	struct plant_card_state state;
	uint32_t applied_mhz;
	uint64_t power_max_uw;
	uint32_t n_states;
	struct plant_card_state states[STATES];
	uint64_t unanswered_ns, readback_until_ns; /* 0: it answers, settings hold */

	uint32_t n_models;
	struct governed models[SIMULATION_MAX_MODELS];
};

/* From the card's time to the daemon's; and back, rounded up, so that at that moment the daemon's
 * has come, too. */
uint64_t governing_daemon_ns(const struct governing *g, uint64_t card_ns);
uint64_t governing_card_ns(const struct governing *g, uint64_t ns);

/* ---- sample ---- */

void governing_fill_input(struct governing *g, struct simulation *s);
/* What has been filled in is the next interval's base. */
void governing_next_interval(struct governing *g, const struct simulation *s);
/* The state that the next tick knows of. */
void governing_read_card(struct governing *g, const struct simulation *s);

/* ---- apply ---- */

/* Has the sequence want what was decided. */
void governing_aim(struct governing *g, const struct simulation *s);
/* Does what the sequence says is next. */
void governing_drive(struct governing *g, struct simulation *s);
/* The worker takes the directive up and says so. */
void governing_acknowledge(struct governing *g, struct simulation *s, struct governed *d);
