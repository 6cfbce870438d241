/* SPDX-License-Identifier: Apache-2.0 */
/* What a unit's card is doing: the facts for its state machine (card-state.h), what happens to it,
 * and what the journal says of that. */
#include "base/log.h"
#include "base/units.h"
#include "daemon/unit-internal.h"

static struct card_facts facts(const struct unit *u, uint64_t now_ns)
{
	const struct manager *m = u->manager;
	uint32_t flags = u->input.flags;
	bool ours = u->claim == UNIT_CLAIMED;

	return (struct card_facts){
		.unreachable = m->actuator_error < 0,
		.unlisted = !m->cards_known,
		.present = u->present,
		.simulated_refused = u->card.simulated && !m->config->daemon.allow_simulated,
		.no_clock_control = !u->card.can_cap_clock,
		.observe = manager_observes(m),
		.paused = unit_paused(u),
		.drift_yields = u->yielded,
		.workers = unit_workers(u) > 0,
		.claimed = ours,
		.claim_error = u->claim_error,
		.claim_after_ns = u->claim_after_ns,
		.sensors_lost = flags & GOVERNOR_CARD_SENSORS_LOST,
		.readback_failed = now_ns < u->readback_until_ns,
		.drift = ours && (u->drifting || now_ns < u->drift_until_ns),
		.foreign_load = flags & GOVERNOR_CARD_FOREIGN_LOAD,
		.foreign_table = flags & GOVERNOR_CARD_FOREIGN_TABLE,
	};
}

void unit_situation(const struct unit *u, struct card_situation *ret)
{
	uint64_t now_ns = manager_now_ns(u->manager);
	const struct card_facts f = facts(u, now_ns);

	card_machine_judge(&u->machine, &f, now_ns, ret);
}

enum card_state unit_state(const struct unit *u)
{
	struct card_situation s;

	unit_situation(u, &s);
	return s.state;
}

bool unit_left_alone(const struct unit *u)
{
	return manager_observes(u->manager) || u->yielded ||
	       card_machine_is_quarantined(&u->machine, manager_now_ns(u->manager));
}

void unit_event(struct unit *u, enum card_event event)
{
	/* Whoever changed the setting, it was not meant to outlive this. */
	if (event == CARD_EVENT_RESET || event == CARD_EVENT_BOUND)
		u->yielded = false;
	card_machine_note(&u->machine, event, manager_now_ns(u->manager));
	/* It may have gone, or have come back. */
	u->manager->cards_changed = true;
}

void unit_log_state(struct unit *u)
{
	const char *name, *reason;
	struct card_situation s;
	double pause_s = (double)u->machine.pause_ns / (double)NSEC_PER_SEC;

	unit_situation(u, &s);
	if (s.state == u->logged.state && s.reason == u->logged.reason)
		return;
	u->logged = s;
	name = card_state_name(s.state);
	reason = card_reason_name(s.reason);
	if (s.state == CARD_QUARANTINED)
		log_warning("%s: %s (%s): left as found for %g s, then tried again", u->bdf, name,
			    reason, pause_s);
	else
		log_info("%s: %s%s%s%s", u->bdf, name, *reason ? " (" : "", reason,
			 *reason ? ")" : "");
}
