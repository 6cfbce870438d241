/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/card-state.h"
#include "base/macros.h"
#include <errno.h>

const char *card_state_name(enum card_state state)
{
	static const char *const names[CARD_STATES] = {
		[CARD_ABSENT] = "absent",
		[CARD_PROBING] = "probing",
		[CARD_GOVERNED] = "governed",
		[CARD_YIELDING] = "yielding",
		[CARD_HELD_BY_OTHER] = "held-by-other",
		[CARD_DEGRADED] = "degraded",
		[CARD_QUARANTINED] = "quarantined",
	};

	return names[state];
}

const char *card_reason_name(enum card_reason reason)
{
	static const char *const names[CARD_REASONS] = {
		[CARD_REASON_NONE] = "",
		[CARD_REASON_NO_ACTUATOR] = "no-actuator",
		[CARD_REASON_IDLE] = "idle",
		[CARD_REASON_PAUSED] = "paused",
		[CARD_REASON_OBSERVE] = "observe",
		[CARD_REASON_SIMULATED_REFUSED] = "simulated-refused",
		[CARD_REASON_NO_CLOCK_CONTROL] = "no-clock-control",
		[CARD_REASON_DRIFT] = "drift",
		[CARD_REASON_MANUAL] = "manual",
		[CARD_REASON_BUSY] = "busy",
		[CARD_REASON_FOREIGN_LOAD] = "foreign-load",
		[CARD_REASON_READBACK_FAILED] = "readback-failed",
		[CARD_REASON_SENSORS_LOST] = "sensors-lost",
		[CARD_REASON_FOREIGN_TABLE] = "foreign-table",
		[CARD_REASON_RAS] = "ras",
		[CARD_REASON_RESET] = "reset",
		[CARD_REASON_WEDGED] = "wedged",
		[CARD_REASON_NO_ANSWER] = "no-answer",
		[CARD_REASON_CLAIM_FAILED] = "claim-failed",
	};

	return names[reason];
}

/* ---- what has happened ---- */

bool card_machine_is_quarantined(const struct card_machine *c, uint64_t now_ns)
{
	return now_ns < c->retry_ns;
}

bool card_machine_is_faulty(const struct card_machine *c, uint64_t now_ns)
{
	return c->ras_ns > 0 && now_ns - c->ras_ns < CARD_RAS_NS;
}

static void quarantine(struct card_machine *c, enum card_reason reason, uint64_t now_ns)
{
	bool again = c->retry_ns > 0 && now_ns < c->retry_ns + CARD_GOOD_NS;

	/* One incident shows in several ways within moments: they are one quarantine. That the
	 * kernel has given the card up says more than the others. */
	if (card_machine_is_quarantined(c, now_ns)) {
		if (reason == CARD_REASON_WEDGED)
			c->reason = reason;
		return;
	}
	c->pause_ns = again ? MIN(2 * c->pause_ns, CARD_PAUSE_MOST_NS) : CARD_PAUSE_FIRST_NS;
	c->retry_ns = now_ns + c->pause_ns;
	c->reason = reason;
}

void card_machine_note(struct card_machine *c, enum card_event event, uint64_t now_ns)
{
	switch (event) {
	case CARD_EVENT_RESET:
		quarantine(c, CARD_REASON_RESET, now_ns);
		return;
	case CARD_EVENT_WEDGED:
		quarantine(c, CARD_REASON_WEDGED, now_ns);
		return;
	case CARD_EVENT_NO_ANSWER:
		quarantine(c, CARD_REASON_NO_ANSWER, now_ns);
		return;
	case CARD_EVENT_CLAIM_FAILED:
		quarantine(c, CARD_REASON_CLAIM_FAILED, now_ns);
		return;
	case CARD_EVENT_RAS:
		if (card_machine_is_faulty(c, now_ns))
			quarantine(c, CARD_REASON_RAS, now_ns);
		c->ras_ns = now_ns;
		return;
	case CARD_EVENT_BOUND:
		/* The pause stays, for a card that fails again and again. */
		c->retry_ns = MIN(c->retry_ns, now_ns);
		return;
	}
}

/* ---- what holds ---- */

/* Of a card that is there, and not to be touched. */
static enum card_reason yields(const struct card_facts *f)
{
	return f->simulated_refused  ? CARD_REASON_SIMULATED_REFUSED
	       : f->no_clock_control ? CARD_REASON_NO_CLOCK_CONTROL
	       : f->observe	     ? CARD_REASON_OBSERVE
	       : f->paused	     ? CARD_REASON_PAUSED
	       : f->drift_yields     ? CARD_REASON_DRIFT
				     : CARD_REASON_NONE;
}

/* Of a claimed card, the most telling first: drift is also a failed read-back. */
static enum card_reason doubt(const struct card_facts *f)
{
	return f->sensors_lost	    ? CARD_REASON_SENSORS_LOST
	       : f->drift	    ? CARD_REASON_DRIFT
	       : f->readback_failed ? CARD_REASON_READBACK_FAILED
	       : f->foreign_load    ? CARD_REASON_FOREIGN_LOAD
	       : f->foreign_table   ? CARD_REASON_FOREIGN_TABLE
				    : CARD_REASON_NONE;
}

static struct card_situation unclaimed(const struct card_facts *f)
{
	if (!f->workers)
		return (struct card_situation){CARD_GOVERNED, CARD_REASON_IDLE, 0};
	if (f->claim_error == -EHOSTDOWN)
		return (struct card_situation){CARD_HELD_BY_OTHER, CARD_REASON_MANUAL,
					       f->claim_after_ns};
	if (f->claim_error == -EBUSY)
		return (struct card_situation){CARD_HELD_BY_OTHER, CARD_REASON_BUSY,
					       f->claim_after_ns};
	return (struct card_situation){CARD_PROBING, CARD_REASON_NONE, 0};
}

static struct card_situation claimed(const struct card_machine *c, const struct card_facts *f,
				     uint64_t now_ns)
{
	if (card_machine_is_faulty(c, now_ns))
		return (struct card_situation){CARD_DEGRADED, CARD_REASON_RAS, 0};
	if (doubt(f) != CARD_REASON_NONE)
		return (struct card_situation){CARD_DEGRADED, doubt(f), 0};
	return (struct card_situation){CARD_GOVERNED,
				       f->workers ? CARD_REASON_NONE : CARD_REASON_IDLE, 0};
}

static struct card_situation judge(const struct card_machine *c, const struct card_facts *f,
				   uint64_t now_ns)
{
	bool quarantined = f->present && yields(f) == CARD_REASON_NONE &&
			   card_machine_is_quarantined(c, now_ns);

	/* An actuator that gave up on a card is away for a moment, which says less. */
	if (quarantined)
		return (struct card_situation){CARD_QUARANTINED, c->reason, c->retry_ns};
	if (f->unreachable)
		return (struct card_situation){CARD_PROBING, CARD_REASON_NO_ACTUATOR, 0};
	if (!f->present)
		return (struct card_situation){f->unlisted ? CARD_PROBING : CARD_ABSENT,
					       CARD_REASON_NONE, 0};
	if (yields(f) != CARD_REASON_NONE)
		return (struct card_situation){CARD_YIELDING, yields(f), 0};
	return f->claimed ? claimed(c, f, now_ns) : unclaimed(f);
}

void card_machine_judge(const struct card_machine *c, const struct card_facts *facts,
			uint64_t now_ns, struct card_situation *ret)
{
	*ret = judge(c, facts, now_ns);
}
