/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/early.h"
#include "base/units.h"
#include "daemon/group.h"

/* Between two looks at wakes. */
#define EARLY_SPACING_NS (100 * NSEC_PER_MSEC)

static bool session_is_of_group(const struct session *s, const struct unit *u)
{
	return s->unit && group_is_one(s->unit, u);
}

void early_arm(struct unit *u)
{
	uint64_t at_ns = u->wake_ns;

	if (u->stepped)
		at_ns = MIN(at_ns, u->decision.again_ns);
	(void)sd_event_source_set_time(u->early, at_ns == UINT64_MAX ? UINT64_MAX
								     : at_ns / NSEC_PER_USEC + 1);
	(void)sd_event_source_set_enabled(u->early,
					  at_ns == UINT64_MAX ? SD_EVENT_OFF : SD_EVENT_ONESHOT);
}

/* A card without a decision, or that holds a predecessor's setting, has a tick to wait for. */
static bool may_obey(const struct unit *u)
{
	return u->plan && u->stepped && u->adopted_ns == 0;
}

/* A queue is looked at by the plan that said when. */
static bool may_step(const struct unit *u)
{
	return may_obey(u) && u->decided;
}

static void step(struct unit *u, uint64_t now_ns)
{
	struct manager *m = u->manager;
	struct session *s;
	struct unit *v;

	TAILQ_FOREACH(s, &m->sessions, entry)
	if (session_is_of_group(s, u))
		session_sample(s, now_ns);
	TAILQ_FOREACH(v, &m->units, entry)
	if (group_is_one(v, u))
		unit_step(v, now_ns, /* early= */ true);
	TAILQ_FOREACH(v, &m->units, entry)
	if (group_is_one(v, u))
		unit_aim(v);
	TAILQ_FOREACH(v, &m->units, entry)
	if (group_is_one(v, u))
		unit_apply_early(v, now_ns);
	/* From here on nothing is on the way to the card's write. */
	TAILQ_FOREACH(s, &m->sessions, entry)
	if (session_is_of_group(s, u))
		session_next_interval(s, now_ns, /* early= */ true);
	TAILQ_FOREACH(v, &m->units, entry)
	if (group_is_one(v, u)) {
		unit_note(v);
		early_arm(v);
	}
}

static bool group_passes(const struct unit *u, bool (*passes)(const struct unit *u))
{
	const struct unit *v;

	TAILQ_FOREACH(v, &u->manager->units, entry)
	if (group_is_one(v, u) && !passes(v))
		return false;
	return !u->manager->stopping;
}

static bool group_may_step(const struct unit *u)
{
	return group_passes(u, may_step);
}

/* What nobody asked for is no reason to look: at full speed there is nothing to be gained, and who
 * contradicts himself is not asked any more. */
static bool is_asked(const struct session *s)
{
	for (uint32_t i = 0; i < s->n_units; i++) {
		const struct unit *u = s->units[i];

		if (u->stepped && s->model_index < u->decision.n_models &&
		    u->decision.models[s->model_index].boost_wait_ns != UINT64_MAX)
			return true;
	}
	return false;
}

void early_wake(struct session *s)
{
	struct unit *u = s->unit;
	uint64_t now_ns;

	if (!u || !is_asked(s) || !group_may_step(u))
		return;
	now_ns = manager_now_ns(u->manager);
	s->meter.woken = true;
	if (u->looked_ns > 0 && now_ns - u->looked_ns < EARLY_SPACING_NS) {
		u->wake_ns = u->looked_ns + EARLY_SPACING_NS;
		early_arm(u);
		return;
	}
	u->looked_ns = now_ns;
	u->wake_ns = UINT64_MAX;
	step(u, now_ns);
}

void early_look(struct unit *u)
{
	if (group_passes(u, may_obey))
		step(u, manager_now_ns(u->manager));
}

int early_on_timer(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata)
{
	struct unit *u = userdata;
	uint64_t now_ns = manager_now_ns(u->manager);

	if (!group_may_step(u))
		return 0;
	if (u->wake_ns <= now_ns) {
		u->looked_ns = now_ns;
		u->wake_ns = UINT64_MAX;
	}
	step(u, now_ns);
	return 0;
}
