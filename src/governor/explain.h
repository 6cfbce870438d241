/* SPDX-License-Identifier: Apache-2.0 */
/* Why a governor runs a card as it does, and what it would do at another demand: the bound that is
 * planned for, the choice with its reason, and what was left aside and by what.
 *
 * The choice comes from the governor's own code, run on a copy: as the next step would make it of
 * the same input if nothing had to be waited for (dwell, margin after a boost), no queue was in
 * danger and the card was not too hot. Where one of these stands, what is in force differs and its
 * reason says so. Doubts, flags of the card and the power cap count as they are. */
#pragma once

#include "governor/governor.h"

#define EXPLAIN_BEST	   16 /* that could have been chosen */
#define EXPLAIN_CANDIDATES 28 /* and B, what is in force, and the nearest that fail */

/* Why a candidate was not chosen. Names by explain_verdict_name(). From EXPLAIN_TAIL on it could
 * not be; of those only the nearest of each kind is kept. */
enum explain_verdict {
	EXPLAIN_CHOSEN,
	EXPLAIN_COSTS_MORE,	 /* or takes more power, where rows are chosen by headroom */
	EXPLAIN_MORE_LATE,	 /* takes less power, but what is late costs more than that */
	EXPLAIN_TIE,		 /* its power is not less by more than is known of power */
	EXPLAIN_MASK_FOR_LITTLE, /* a mask that gates nothing has to save more than a tie */
	EXPLAIN_BESIDE_OTHERS,	 /* the best alone, but not with the other models on the card */
	EXPLAIN_TAIL,		 /* its tail is beyond headroom x SLO */
	EXPLAIN_STEP,		 /* at idle: a step to half the rated load would not be survived */
	EXPLAIN_RATE,		 /* does not sustain the demand */
	EXPLAIN_CAP,		 /* above the power cap */
	EXPLAIN_NO_MASK,	 /* needs a mask, which is off or not followed */
	EXPLAIN_NO_BATCH,	 /* needs a batch size, which is not followed */
	EXPLAIN_VERDICTS,
};
const char *explain_verdict_name(enum explain_verdict v);
/* The same as a sentence's end. */
const char *explain_verdict_words(enum explain_verdict v);

struct explain_candidate {
	uint32_t number; /* option of the menu, or row of the table; UINT32_MAX: B of a table */
	uint32_t max_mhz;
	struct cu_shape shape;
	bool full; /* the whole card: no mask */
	uint32_t batch;
	double rate_rps; /* at which the following is predicted */
	double power_w, tail_ns, wait_ns;
	double late;   /* share of requests beyond the SLO; NaN: not known of a table's rows */
	double cost_w; /* power, and what is late where that counts */
	enum explain_verdict verdict;
	bool baseline, in_force;
};

/* Of a decision what concerns one model. */
struct explain_setting {
	enum governor_action action;
	uint32_t max_mhz; /* 0: none of ours */
	struct cu_shape shape;
	bool full;
	uint32_t max_batch;
	uint64_t max_wait_ns;
	uint32_t row; /* UINT32_MAX: B */
	double power_w, tail_ns;
	enum governor_reason reason;	  /* of the model */
	enum governor_reason card_reason; /* of the card as a whole */
};

/* From what candidates were chosen. */
enum explain_source {
	EXPLAIN_FROM_NOTHING, /* the card's state, or the policy, leaves no choice */
	EXPLAIN_FROM_TABLE,
	EXPLAIN_FROM_MENU,
};

struct governor_explanation {
	uint32_t model;
	bool what_if;	     /* of a demand that was asked for */
	bool presumed;	     /* there is no worker: one that follows everything was presumed */
	bool decided;	     /* there was a step: in_force is valid */
	double rate_rps;     /* measured in the last interval */
	double demand_rps;   /* the bound that is planned for */
	double row_rps;	     /* up to which the choice's row holds; NaN: B */
	uint32_t percentile; /* of the tails; 0: no table */
	double slo_ns, headroom, limit_ns; /* limit = headroom x SLO */
	double late_cost; /* of one late request, in requests at full speed; 0: by headroom */
	double factor;	  /* service time over the profile's, as far as it is learnt */
	uint64_t poll_ns;
	double power_factor; /* power over the profile's, likewise: for the cap */
	uint32_t stale;	     /* in what its profile does not describe the card: governor_stale */
	uint64_t power_cap_uw;
	struct explain_setting choice, in_force;
	bool differs; /* the two */
	/* Why they differ: BACKLOG, THROTTLED, POWER_CAP (the clock falls first, the rest follows),
	 * or DWELL, which here is also the margin after a boost; NONE if they do not, or because
	 * another demand was asked for. */
	enum governor_reason held;
	enum explain_source source;
	uint32_t n_considered, n_feasible; /* all that there were, and that could be chosen */
	uint32_t n_candidates;		   /* by cost, then those that fail, by cost too */
	struct explain_candidate candidates[EXPLAIN_CANDIDATES];
};

/* input: of the governor's latest step. rps: a demand bound, or NaN for the present one. 0, -EINVAL
 * (no such model, or a demand that is none), -ENODATA (the present, before the first step). Keeps a
 * copy of the governor on the stack, some 100 KB. */
int governor_explain(const struct governor *g, const struct governor_input *input, uint32_t model,
		     double rps, struct governor_explanation *ret);

/* A reason as a sentence. */
const char *governor_reason_words(enum governor_reason r);
