/* SPDX-License-Identifier: Apache-2.0 */
/* One governed card: its claim at the actuator, its governor with the models' tables, the sequencer
 * that applies decisions, and the ring of decisions. */
#pragma once

#include "daemon/cap-watch.h"
#include "daemon/card-state.h"
#include "daemon/manager.h"
#include "daemon/ring.h"
#include "daemon/session.h"
#include "governor/placement.h"
#include "governor/sequence.h"

/* What a configuration makes of a card; built whole beside the old one at a reload. */
struct unit_plan {
	uint32_t n_models;
	struct model_table *tables; /* n_models */
	struct governor *governor;
	struct ring *ring;
	bool foreign_table;
};
struct unit_plan *unit_plan_free(struct unit_plan *p);
DEFINE_CLEANUP(struct unit_plan *, unit_plan_free)

struct unit_masks;

/* Orders of a power cap that are no power. */
#define UNIT_CAP_CONFIG UINT64_C(0) /* as configured */
#define UNIT_CAP_NONE	UINT64_MAX  /* the card's own, whatever is configured */

enum unit_claim { UNIT_FREE, UNIT_CLAIMING, UNIT_CLAIMED, UNIT_RELEASING };

/* Latency of a model's workers over windows of two seconds, and over intervals. */
struct unit_latency {
	struct channel_histogram *base; /* cumulative at the window's begin; NULL: none yet */
	struct channel_histogram *step; /* cumulative at the last step; NULL: none yet */
	uint64_t since_ns;
	double p95_ms, tail_ms; /* NaN: unknown */
	uint64_t p99_ns;	/* of the latest window in which a request ended; 0: none yet */
	uint64_t count;
};

/* Of one model: whose wakes, or late counts, are ignored (doubts.h). */
struct unit_doubts {
	uint32_t n; /* that the governor has */
	bool ignored;
	int pid; /* of the worker that is to blame; 0: it had left */
	char instance[MODEL_NAME_MAX + 1];
};

/* On the bus. */
#define UNIT_MAX_PROPERTIES 48

struct unit {
	TAILQ_ENTRY(unit) entry; /* manager::units */
	struct manager *manager;
	uint32_t number; /* in the record */
	char bdf[PCI_BDF_LENGTH + 1];
	struct config_gpu config;
	uint64_t cap_order_uw; /* the operator's power cap, UNIT_CAP_CONFIG or UNIT_CAP_NONE */
	bool present;
	struct actuator_card card; /* valid if present or ever_present */
	bool ever_present;
	struct cu_topology topology;
	uint32_t group; /* of cards with one clock: see group.h; the number of one of them */
	struct unit_plan *plan; /* NULL until the card is known */
	struct sequence *sequence;
	sd_event_source *timer, *early;

	enum unit_claim claim;
	bool in_flight; /* one request that changes something, or asks for sensors */
	bool write_wanted;
	uint64_t write_epoch, sent_epoch;
	struct sequence_clock write_clock, sent_clock;
	int claim_error; /* of the last try */
	struct actuator_owner owner;
	uint64_t claim_after_ns;
	bool setting_lost; /* the card is as found, whatever was sent; see unit_want() */
	bool yielded;	   /* to another's setting: on_drift = yield */
	bool overdue;	   /* the last request has had no answer in its time */
	struct card_machine machine;
	uint64_t adopted_ns; /* 0: not adopted, or past its first whole interval */

	struct actuator_state state;
	bool state_valid;
	uint64_t power_max_uw; /* highest reading since the last step; 0: none */
	struct cap_watch cap_watch;
	uint64_t unanswered_ns; /* since when the card does not answer; 0: it does */
	uint64_t readback_until_ns, drift_until_ns;
	uint64_t ras_uncorrectable; /* as last read */
	bool ras_known;
	uint32_t seen_fields;
	bool drifting;
	struct foreign foreign;

	uint64_t stepped_ns;
	uint64_t looked_ns; /* at a wake */
	uint64_t wake_ns;   /* one waits until then; UINT64_MAX: none */
	struct governor_input input;
	struct governor_decision decision;
	bool filled;			/* this tick has taken the workers' interval in */
	bool stepped;			/* ... and come to a decision */
	bool decided;			/* ever, with this plan */
	struct unit_latency *latencies; /* one per model of the plan */
	struct unit_masks *masks;	/* likewise */
	struct placement placement;
	uint64_t told[UNIT_MAX_PROPERTIES]; /* bus-changes.h */
	struct unit_doubts doubts[GOVERNOR_MAX_MODELS][DOUBT_SUBJECTS];
	struct card_situation logged; /* without its time */
	uint32_t logged_flags;
	enum governor_input_state logged_inputs[GOVERNOR_MAX_MODELS];
	uint32_t logged_stale[GOVERNOR_MAX_MODELS]; /* enum governor_stale */
	bool logged_overload, logged_group;
};

/* 0, -ENOMEM. The card need not be there yet. */
int unit_new(struct manager *m, const char *bdf, const struct config_gpu *config,
	     struct unit **ret);
struct unit *unit_free(struct unit *u);

/* The card as the actuator lists it. Derives the tables if it is new or another one. */
void unit_found(struct unit *u, const struct actuator_card *card);
void unit_gone(struct unit *u);
/* The connection is lost, and every claim with it. */
void unit_link_down(struct unit *u);
/* Asks for what a predecessor had set. */
void unit_adopt(struct unit *u);

/* Builds what c makes of this card. Returns 0 even if a model has no usable table (its entry says
 * why), or -ENOMEM, -EINVAL. inherit: the record's note that state is taken over. */
int unit_plan_new(struct unit *u, const struct config *c, const struct config_gpu *g,
		  struct unit_plan **ret);
/* Takes the plan over with what the old one has learnt. c must be the manager's by now. */
void unit_plan_take(struct unit *u, const struct config_gpu *g, struct unit_plan *plan);

/* The same plan from the configuration and orders as they are now, with what was learnt. 0, -ENOMEM
 * or -EINVAL, with nothing changed. */
int unit_plan_renew(struct unit *u);

/* The power cap that g and the operator's order want, inside the card's range; 0: none. */
uint64_t unit_cap_uw(const struct unit *u, const struct config_gpu *g);
/* Whether an order can be followed: 0, -ERANGE (outside the card's range), -EOPNOTSUPP (not seen
 * yet, or takes no cap). */
int unit_cap_check(const struct unit *u, uint64_t uw);
/* Takes an order that has been checked; the next step obeys. It outlives reloads, but not the
 * daemon. 0, or -ENOMEM or -EINVAL with nothing changed. */
int unit_cap_order(struct unit *u, uint64_t uw);
/* What the card has been given and confirmed; 0: none of ours. */
uint64_t unit_cap_in_force_uw(const struct unit *u);

/* -ENOSPC if the card has too many workers. */
int unit_add_worker(struct unit *u, struct session *s);
void unit_remove_worker(struct unit *u, struct session *s);
void unit_acknowledged(struct unit *u, const struct session *s, uint64_t epoch);

/* One step, each part over all units before the next: the interval's input and a decision; a new
 * target for the sequencer; its first application. early: between two ticks, see early.h. */
void unit_step(struct unit *u, uint64_t now_ns, bool early);
void unit_aim(struct unit *u);
void unit_apply(struct unit *u, uint64_t now_ns);
/* The same between two ticks: neither lease nor sensors. */
void unit_apply_early(struct unit *u, uint64_t now_ns);
/* Keeps the step for those who ask later: the ring, the record, the journal. */
void unit_note(struct unit *u);
/* What the latest decision means for a worker of the model. */
void unit_directive(const struct unit *u, uint32_t model, struct sequence_directive *ret);
/* All the model's workers on the card run under what is wanted for them. */
bool unit_model_acknowledged(const struct unit *u, uint32_t model);
/* Gives the card and all workers back as found (stop, removal, observe). */
void unit_let_go(struct unit *u, uint64_t now_ns);

/* The same for good, without waiting: workers are hung up, and the unit is freed. */
void unit_retire(struct unit *u);

/* What the card is doing, why, and when it is tried again. */
void unit_situation(const struct unit *u, struct card_situation *ret);
enum card_state unit_state(const struct unit *u);
/* Left as found, whatever is decided for it. */
bool unit_left_alone(const struct unit *u);
/* Something has happened to the card: see card-state.h. */
void unit_event(struct unit *u, enum card_event event);
uint32_t unit_workers(const struct unit *u);
/* By an operator: the card is as found. */
bool unit_paused(const struct unit *u);
bool unit_simulated(const struct unit *u);
