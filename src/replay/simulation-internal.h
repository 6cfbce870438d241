/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of a simulation. Time is ns from the run's beginning; what is to come is the least of
 * what each part waits for:
 *
 *   simulation.c           the run: what comes next, and the result
 *   simulation-card.c      the card, its rates of work, and what is summed over time
 *   simulation-share.c     what is left of it to each of those who run at the same time
 *   simulation-queue.c     arrivals, batches and executions
 *   simulation-interval.c  what is kept of each interval, and schedules
 *   simulation-events.c    disturbances
 *   simulation-governor.c  the daemon's part, and its own files: simulation-governor.h
 */
#pragma once

#include "governor/placement.h"
#include "governor/sequence.h"
#include "plant/share.h"
#include "replay/simulation.h"

#define SIMULATION_MAX_WORKERS 64
#define SIMULATION_MEMO	       256 /* a power of two */

/* One batch being executed. What is left of it is a share: it falls by dt / full_ns. */
struct execution {
	bool running;
	uint32_t first, n; /* requests */
	uint64_t start_ns, since_ns, end_ns;
	double factor, left, full_ns; /* left as of since_ns */
	struct plant_cost cost;
};

/* Parts of large batches are computed whenever they are asked for. */
struct memo {
	uint32_t level, shape, batch; /* batch 0: empty */
	struct plant_cost cost;
};

/* What was so up to now; measured from warm-up on by subtraction. */
struct sums {
	double energy_j, idle_energy_j, busy_s, over_cap_s, over_cap_j;
	double sclk_mhz_s;
};

/* The same of one model. */
struct model_sums {
	double cu_s;
	uint64_t changes, completed, late, executions, executed;
};

/* A worker's cumulative counters, as its channel has them. */
struct counters {
	uint64_t arrivals, starts, completions, late, busy_ns, executions, sojourn_ns;
};

/* Latencies of one interval. */
struct latencies {
	uint32_t n, size;
	uint64_t *ns;
};

/* One model on the card. */
struct simulated_model {
	struct simulation_load load;
	uint32_t number;

	/* what is in force; the level is the card's */
	struct configuration configuration;
	struct cu_mask mask; /* of several on a card: where that shape lies */
	uint64_t max_wait_ns;
	double stretch; /* of each of its executions, over alone on the card */

	bool down; /* its worker is gone */

	/* requests: [taken, arrived) wait */
	uint32_t arrived, taken;
	uint32_t n_running;
	uint64_t last_end_ns, starved_ns;
	uint64_t *latency_ns;
	struct execution *executions;

	struct memo memo[SIMULATION_MEMO];
	struct model_sums sums, before; /* before: at warm-up */

	/* of the present interval */
	struct counters counters;
	struct latencies sojourns, services;
	uint64_t interval_arrived; /* counters.arrivals at its start */
	struct configuration interval_configuration;
	uint32_t n_ticks, ticks_size;
	struct tick *ticks;
};

enum event_state { EVENT_TO_COME, EVENT_HOLDS, EVENT_OVER };

struct sharing;	  /* what several models leave of the card to each other */
struct governing; /* the daemon's part */

struct simulation {
	struct simulation_options options;
	struct plant_device device; /* a schedule switches at once */
	const struct cu_shape *shapes;
	uint32_t n_shapes;
	uint32_t *ungated, *cus; /* by shape */
	struct plant_card *card;
	uint64_t now_ns;
	int error; /* of memory, in mid-run */

	uint32_t n_models;
	struct simulated_model *models;

	uint32_t ungated_cus;	   /* while anything runs */
	struct sharing *sharing;   /* of several models */
	uint64_t stalled_until_ns; /* queues are being changed */
	uint32_t n_running;	   /* of all models */
	uint64_t last_end_ns;

	double cap_w;
	struct plant_rates rates; /* of all that runs */
	struct sums sums, before; /* before: at warm-up */
	bool warm;

	/* of the present interval */
	uint64_t interval_start_ns;
	double interval_j, interval_mhz_s;
	uint32_t next_interval; /* of a schedule */
	uint64_t schedule_ns;

	struct placement placement; /* likewise */

	uint64_t event_ns; /* where the next event begins or ends */
	enum event_state event_state[SIMULATION_MAX_EVENTS];
	uint32_t asked_level, firmware_level; /* written last; the firmware's own limit */

	struct governing *governing;
};

/* ---- card ---- */

int simulation_card_new(struct simulation *s);
/* Works out rates of work and ends of executions anew, from now on. */
void simulation_retime(struct simulation *s);
/* Goes on to until_ns, or to where the clock changes; true if it got there unchanged. */
bool simulation_card_go(struct simulation *s, uint64_t until_ns);
/* The clock limit; SIMULATION_AUTO: the driver's own. */
#define SIMULATION_AUTO UINT32_MAX
void simulation_card_limit(struct simulation *s, uint32_t level);
/* The firmware's own limit has changed under what was written. */
void simulation_card_rewrite(struct simulation *s);

/* ---- shares ---- */

int simulation_share_init(struct simulation *s);
struct sharing *sharing_free(struct sharing *s);
void simulation_set_mask(struct simulation *s, struct simulated_model *m,
			 const struct cu_mask *mask);
/* After changes of masks or shapes. */
void simulation_masks_changed(struct simulation *s);
/* What runs, and at what cost, is known: fills each model's stretch. */
void simulation_share(struct simulation *s);

/* ---- queue ---- */

int simulation_queue_new(struct simulation *s);
uint64_t simulation_queue_next_ns(const struct simulation *s);
/* Ends, arrivals and starts that are due. */
void simulation_queue_run(struct simulation *s);
bool simulation_queue_done(const struct simulation *s);
/* The model has not completed anything since its last end; counts if it could have. */
void simulation_note_starved(const struct simulation *s, struct simulated_model *m);
/* What has arrived counts. */
void simulation_admit(const struct simulation *s, struct simulated_model *m);
void latencies_add(struct simulation *s, struct latencies *l, uint64_t ns, uint32_t n);
uint64_t latencies_p95_ns(struct latencies *l); /* changes their order; 0 if none */

/* ---- governor ---- */

int governing_new(struct simulation *s);
struct governing *governing_free(struct governing *g);
DEFINE_CLEANUP(struct governing *, governing_free)
uint64_t governing_next_ns(const struct simulation *s);
/* What is due of ticks, acknowledgements and wakes. */
void governing_run(struct simulation *s);
/* The interval under the latest decision ends. */
void governing_end_interval(struct simulation *s);
/* An execution of the model starts whose oldest request has waited so long. */
void governing_started(struct simulation *s, uint32_t model, uint64_t wait_ns);

/* A model's worker has died; another one is there, under all CUs and its own batch. */
void governing_worker_gone(struct simulation *s, uint32_t model);
void governing_worker_new(struct simulation *s, uint32_t model);
/* As the daemon does: a new governor, which takes over what it can. */
int governing_reload(struct simulation *s, const struct governor_config *c);

/* ---- events ---- */

bool simulation_events_are_valid(const struct simulation_options *o);
void simulation_events_run(struct simulation *s);
/* That holds now (of that model, if it is about one); NULL. */
const struct simulation_event *simulation_event(const struct simulation *s,
						enum simulation_event_kind kind, uint32_t model);
/* What a model's worker makes of its counts, and whether it lies so. */
void simulation_lie(const struct simulation *s, uint32_t model, struct governor_model_input *in);
bool simulation_lies(const struct simulation *s, uint32_t model, enum simulation_lie lie);

/* ---- intervals ---- */

/* With what had been decided for it; NULL: nothing. */
void simulation_end_interval(struct simulation *s, const struct governor_decision *d);
/* If an entry's time has come. */
void simulation_follow_schedule(struct simulation *s);
