/* SPDX-License-Identifier: Apache-2.0 */
/* The governor of one card: sample -> estimate -> decide, for all models on it. Pure and
 * deterministic: no I/O, no clock, no randomness, and no allocation after governor_new(). The
 * daemon, the replay tool and the tests run these same objects; applying a decision is the
 * caller's work (sequence.h says in which order).
 *
 * Precedence: hardware limits > operator's hold or pause > power cap > SLO by priority > energy.
 * Any doubt goes up: about the card to full speed, about one model to its rated rate. */
#pragma once

#include "base/macros.h"
#include "cu-mask/cu-mask.h"
#include "response/menu.h"
#include <stdbool.h>
#include <stdint.h>

#define GOVERNOR_MAX_MODELS 64

struct governor_model_config {
	char name[MODEL_NAME_MAX + 1];
	const struct response_table *table; /* borrowed, must outlive the governor; NULL: no usable
					     * profile, the card runs at full speed for it */
	/* In force while masks are not followed: all CUs in every row, at the same rates as in
	 * table, so that a row's number means the same demand in both. Borrowed; NULL: table
	 * itself has no mask. */
	const struct response_table *clock_table;
	const struct response_menu *menu; /* borrowed; NULL: planned for by table alone */
	double headroom;    /* of the SLO, that table was derived for; 0 counts as 0.9 */
	double late_cost;   /* likewise (table.h); 0: by headroom */
	const char *policy; /* a name of policy.h's table */
	uint32_t max_batch; /* largest that a policy may order beyond its table; 0 counts as 1 */
	uint32_t priority;  /* larger is more important; 100 */
	bool use_mask;	    /* cu_mask = auto */
	bool never_boosts;  /* to see what boosts are worth */
};

struct governor_config {
	uint64_t poll_ns;
	uint32_t n_levels, level_mhz[SURFACE_MAX_LEVELS]; /* of the card, ascending */
	struct cu_topology topology;
	uint64_t power_cap_uw; /* 0: none set by the operator */
	uint32_t n_models;
	struct governor_model_config models[GOVERNOR_MAX_MODELS];
};

enum governor_input_state {
	GOVERNOR_NO_WORKER, /* no live connection of this model on the card */
	GOVERNOR_INPUT_OK,
	GOVERNOR_INPUT_MISSING, /* connected, but stale beat or invalid sample: not zero load */
};

/* What one model's workers did since the last step, summed over its connections. */
struct governor_model_input {
	enum governor_input_state state;
	uint32_t workers;
	uint64_t arrivals, starts, completions, failures, late; /* in this interval */
	uint64_t in_flight;	/* arrivals - completions - failures, now */
	uint64_t waiting;	/* of these not started yet; UINT64_MAX: starts are not reported */
	bool woken;		/* a request has waited longer than boost_wait_ns */
	uint64_t oldest_age_ns; /* age of the oldest unfinished request; 0 if none or unknown */
	uint64_t busy_ns, executions; /* service time summed over executions in this interval */
	uint64_t sojourn_ns;	      /* summed over this interval's completions; 0 unknown */
	uint64_t sojourn_p95_ns;      /* of this interval; 0 unknown */
	bool whole_interval;	      /* false in the interval in which a worker came */
	bool mask_follows;	      /* all its workers can follow CU masks now */
	bool mask_unknown; /* one that no longer answers may still be under a partial mask */
	bool batch_follows;
	bool acknowledged; /* all its workers run under the last directive */
	bool held;	   /* by an operator: counts with its rated rate, if not with more */
};

enum governor_card_flag {
	GOVERNOR_CARD_SENSORS_LOST = 1u << 0,
	GOVERNOR_CARD_READBACK_FAILED = 1u << 1, /* a write did not take, or drift */
	GOVERNOR_CARD_FOREIGN_LOAD = 1u << 2,
	GOVERNOR_CARD_THROTTLED = 1u << 3,     /* thermal throttling reported */
	GOVERNOR_CARD_HOLD_FULL = 1u << 4,     /* an operator's hold: full speed */
	GOVERNOR_CARD_PAUSED = 1u << 5,	       /* an operator's pause: baseline */
	GOVERNOR_CARD_ADOPTED = 1u << 6,       /* first interval after a restart: hold */
	GOVERNOR_CARD_FOREIGN_TABLE = 1u << 7, /* a surface does not fit this card */
};

struct governor_input {
	uint64_t now_ns;
	uint64_t interval_ns;		 /* since the last step */
	bool early;			 /* between two polls: a worker's wake, or again_ns */
	uint32_t flags;			 /* enum governor_card_flag */
	uint64_t power_uw, power_cap_uw; /* sensor and cap in force; 0 unknown */
	uint64_t power_max_uw;		 /* highest reading of this interval; 0 unknown */
	uint32_t sclk_mhz, busy_percent;
	uint32_t applied_max_mhz; /* limit in force now; 0: baseline */
	struct governor_model_input models[GOVERNOR_MAX_MODELS];
};

enum governor_action {
	GOVERNOR_RELEASE, /* give the card back as found (no worker, or paused) */
	GOVERNOR_SET,	  /* clock limit and directives below */
	GOVERNOR_HOLD,	  /* leave everything as it is */
};

/* Why; the first that applies, in order of precedence. Names by governor_reason_name(). */
enum governor_reason {
	GOVERNOR_REASON_NONE,
	GOVERNOR_REASON_PAUSED,
	GOVERNOR_REASON_ADOPTED, /* also while no worker has come back yet */
	GOVERNOR_REASON_NO_WORKER,
	GOVERNOR_REASON_HOLD,
	GOVERNOR_REASON_SENSORS_LOST,
	GOVERNOR_REASON_READBACK_FAILED,
	GOVERNOR_REASON_FOREIGN_LOAD,
	GOVERNOR_REASON_FOREIGN_TABLE,
	GOVERNOR_REASON_NO_TABLE,
	GOVERNOR_REASON_SEVERAL_MODELS, /* that cannot be planned for together: full speed */
	GOVERNOR_REASON_MISSING_INPUT,	/* this model counts with its rated rate */
	GOVERNOR_REASON_FIRST_INTERVAL, /* likewise */
	GOVERNOR_REASON_HELD_RATED,	/* likewise, by an operator's hold */
	GOVERNOR_REASON_OVERLOAD,	/* demand beyond the table: B */
	GOVERNOR_REASON_BACKLOG,	/* oldest request's age endangers the SLO: B */
	GOVERNOR_REASON_GIVES_WAY,	/* to other models on the card, or to the cap */
	GOVERNOR_REASON_POWER_CAP,
	GOVERNOR_REASON_THROTTLED,
	GOVERNOR_REASON_LATE,	/* more is late than planned: a higher demand is planned for */
	GOVERNOR_REASON_DWELL,	/* a lower configuration waits for its dwell time */
	GOVERNOR_REASON_IDLE,	/* row 0 */
	GOVERNOR_REASON_DEMAND, /* the table's row for the demand */
	GOVERNOR_REASON_POLICY, /* a policy that does not follow demand */
	GOVERNOR_REASON_MAX,
};
const char *governor_reason_name(enum governor_reason r);

enum governor_stale { /* bits of enum self_check_subject */
		      GOVERNOR_STALE_POWER = 1u << 0,
		      GOVERNOR_STALE_SERVICE = 1u << 1,
};

struct governor_model_decision {
	double rate_rps;       /* measured in the interval */
	double demand_rps;     /* the bound planned for */
	uint32_t row;	       /* of the table in force; UINT32_MAX: baseline B */
	bool clock_alone;      /* that is clock_table */
	struct cu_shape shape; /* {0, 0}: leave the mask alone (all CUs) */
	uint32_t max_batch;
	uint64_t max_wait_ns;
	uint64_t boost_wait_ns; /* UINT64_MAX: none */
	double tail_ns;		/* predicted */
	double service_factor;	/* service times over the profile's, as far as they are known */
	double planned_factor;	/* that is planned for: with a margin; 1 without a menu */
	uint32_t stale;		/* its profile does not describe the card: enum governor_stale */
	enum governor_reason reason;
};

struct governor_decision {
	uint64_t now_ns;
	uint64_t number; /* 1, 2, ... */
	enum governor_action action;
	enum governor_reason reason;
	uint32_t max_mhz;	  /* with GOVERNOR_SET: a level of the card */
	uint64_t power_cap_uw;	  /* 0: the baseline's cap */
	double predicted_power_w; /* NaN if unknown */
	bool changed;		  /* differs from the previous decision */
	uint64_t again_ns;	  /* step again by then; UINT64_MAX: the next poll will do */
	uint32_t n_models;
	struct governor_model_decision models[GOVERNOR_MAX_MODELS];
};

struct governor;

/* Copies config (tables stay borrowed). 0, -ENOMEM, or -EINVAL (no level, unknown policy, too many
 * models). */
int governor_new(const struct governor_config *config, struct governor **ret);
struct governor *governor_free(struct governor *g);
DEFINE_CLEANUP(struct governor *, governor_free)

/* One step. input->models has config->n_models valid entries; so has ret->models. Never fails. */
void governor_step(struct governor *g, const struct governor_input *input,
		   struct governor_decision *ret);

/* How a model's profile compares with the card (self-check.h); NULL beyond the models. */
struct self_check;
const struct self_check *governor_self_check(const struct governor *g, uint32_t model);

/* Whether wakes (boost.h) and late counts (late-test.h) are believed; NULL beyond the models. */
struct boost;
const struct boost *governor_boost(const struct governor *g, uint32_t model);
struct late_test;
const struct late_test *governor_late_test(const struct governor *g, uint32_t model);

/* What a model is planned by, with masks or without: the configuration's table, or what that
 * becomes on a card with other service times (response/menu-table.h). NULL: none. Changes with each
 * step. */
const struct response_table *governor_table(const struct governor *g, uint32_t model,
					    bool clock_alone);

/* Takes over what can be kept (demand, dwell) from a governor with another configuration, matched
 * by model name: for a reload. */
void governor_inherit(struct governor *g, const struct governor *old);
