/* SPDX-License-Identifier: Apache-2.0 */
/* What a card is doing, why, and when it is tried again: one machine per card. Some of it follows
 * from facts that hold at the moment (struct card_facts); what has happened and must be lived down
 * for a while (a reset, a card that did not answer, memory errors) is kept here. No I/O and no
 * clock. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum card_state {
	CARD_ABSENT,	    /* configured, but not there */
	CARD_PROBING,	    /* not known yet, or being taken */
	CARD_GOVERNED,	    /* ours: its clock is decided for, or as found while it has no worker */
	CARD_YIELDING,	    /* left as found, because somebody wants it so */
	CARD_HELD_BY_OTHER, /* somebody else has it */
	CARD_DEGRADED,	    /* ours, at full speed for a doubt */
	CARD_QUARANTINED,   /* failed: left as found for a while, then tried again */
	CARD_STATES,
};
/* As users see it: "held-by-other". */
const char *card_state_name(enum card_state state);

enum card_reason {
	CARD_REASON_NONE,
	/* probing */
	CARD_REASON_NO_ACTUATOR,
	/* governed */
	CARD_REASON_IDLE, /* no worker */
	/* yielding */
	CARD_REASON_PAUSED,
	CARD_REASON_OBSERVE,
	CARD_REASON_SIMULATED_REFUSED,
	CARD_REASON_NO_CLOCK_CONTROL,
	/* yielding (on_drift = yield) and degraded */
	CARD_REASON_DRIFT,
	/* held by other */
	CARD_REASON_MANUAL,
	CARD_REASON_BUSY,
	/* degraded */
	CARD_REASON_FOREIGN_LOAD,
	CARD_REASON_READBACK_FAILED,
	CARD_REASON_SENSORS_LOST,
	CARD_REASON_FOREIGN_TABLE,
	/* degraded and quarantined */
	CARD_REASON_RAS,
	/* quarantined */
	CARD_REASON_RESET,
	CARD_REASON_WEDGED,
	CARD_REASON_NO_ANSWER,
	CARD_REASON_CLAIM_FAILED,
	CARD_REASONS,
};
/* "foreign-load"; "" for none. */
const char *card_reason_name(enum card_reason reason);

/* The first quarantine is so long; each that follows before the card was good for so long is twice
 * the last. */
#define CARD_PAUSE_FIRST_NS UINT64_C(1000000000)
#define CARD_PAUSE_MOST_NS  UINT64_C(60000000000)
#define CARD_GOOD_NS	    UINT64_C(300000000000)
/* Full speed after an uncorrectable memory error. Another one in this time is a quarantine. */
#define CARD_RAS_NS UINT64_C(60000000000)

enum card_event {
	CARD_EVENT_RESET,     /* the kernel says so, or the driver refused a card that was ours */
	CARD_EVENT_WEDGED,    /* the kernel says that it cannot recover the card by itself */
	CARD_EVENT_NO_ANSWER, /* the actuator got none, or died of asking */
	CARD_EVENT_CLAIM_FAILED, /* other than for an owner */
	CARD_EVENT_RAS,		 /* new uncorrectable errors */
	CARD_EVENT_BOUND, /* a driver has just taken the card: there is nothing to wait for */
};

struct card_machine {
	enum card_reason reason; /* of the last quarantine */
	uint64_t retry_ns;	 /* it ends or ended then; 0: there was none */
	uint64_t pause_ns;	 /* that it took or takes */
	uint64_t ras_ns;	 /* of the last uncorrectable error; 0: none */
};

void card_machine_note(struct card_machine *c, enum card_event event, uint64_t now_ns);
/* In quarantine: the card is not to be claimed. */
bool card_machine_is_quarantined(const struct card_machine *c, uint64_t now_ns);
/* Full speed for memory errors. */
bool card_machine_is_faulty(const struct card_machine *c, uint64_t now_ns);

/* What holds at the moment. */
struct card_facts {
	bool unreachable; /* no actuator to ask about cards */
	bool unlisted;	  /* none has listed its cards yet */
	bool present;
	bool simulated_refused, no_clock_control, observe, paused, drift_yields;
	bool workers; /* the card has some */
	bool claimed;
	int claim_error; /* of the last try: -EBUSY, -EHOSTDOWN; others do not matter */
	uint64_t claim_after_ns;
	bool sensors_lost, readback_failed, drift, foreign_load, foreign_table;
};

struct card_situation {
	enum card_state state;
	enum card_reason reason;
	uint64_t retry_ns; /* when it is tried again; 0: it is not waited for */
};

void card_machine_judge(const struct card_machine *c, const struct card_facts *facts,
			uint64_t now_ns, struct card_situation *ret);
