/* SPDX-License-Identifier: Apache-2.0 */
/* The unit at the actuator: one request at a time, which either changes the card (and renews the
 * lease) or asks for its sensors; and what its answers mean. */
#include "base/log.h"
#include "base/units.h"
#include "daemon/culprit.h"
#include "daemon/unit-internal.h"
#include "gpu/gpu.h"
#include <errno.h>
#include <string.h>

/* The actuator gives its library 200 ms, twice at worst, and then restores. */
#define UNIT_REPLY_NS (1 * NSEC_PER_SEC)
/* A refused claim is tried again as often as absent cards are asked for. */
#define UNIT_CLAIM_PAUSE_NS (10 * NSEC_PER_SEC)
#define UNIT_CLAIM_SOON_NS  (500 * NSEC_PER_MSEC)
/* After a write that did not take; long enough not to alternate with every step. */
#define UNIT_READBACK_HOLD_NS (5 * NSEC_PER_SEC)

static const struct sequence_clock as_found = {0};
static const struct sequence_directive no_directive = {.boost_wait_ns = UINT64_MAX};

static bool clock_is_as_found(const struct sequence_clock *c)
{
	return c->max_mhz == 0 && c->power_cap_uw == 0;
}

static bool may_claim(const struct unit *u, uint64_t now_ns)
{
	const struct manager *m = u->manager;

	return u->present && !m->stopping && !unit_left_alone(u) && u->card.can_cap_clock &&
	       (!u->card.simulated || m->config->daemon.allow_simulated) &&
	       now_ns >= u->claim_after_ns;
}

static void on_reply(void *userdata, int error, const struct actuator_reply *reply);

static bool call(struct unit *u, struct actuator_request *request)
{
	uint64_t now_ns = manager_now_ns(u->manager);
	int r;

	(void)snprintf(request->bdf, sizeof(request->bdf), "%s", u->bdf);
	r = link_call(u->manager->link, request, UNIT_REPLY_NS, on_reply, u);
	if (r < 0) {
		if (u->unanswered_ns == 0)
			u->unanswered_ns = now_ns;
		return false;
	}
	u->in_flight = true;
	return true;
}

static bool call_set(struct unit *u, const struct sequence_clock *clock, uint64_t epoch)
{
	struct actuator_request request = {
		.op = ACTUATOR_SET,
		.min_mhz = clock->max_mhz > 0 && u->card.n_levels > 0 ? u->card.level_mhz[0] : 0,
		.max_mhz = clock->max_mhz,
		.power_cap_uw = clock->power_cap_uw,
		.lease_ms = (uint32_t)(manager_lease_ns(u->manager) / NSEC_PER_MSEC),
		/* Drift: what was written last does not stand any more. */
		.take_over = u->drifting && u->config.on_drift == CONFIG_DRIFT_REASSERT,
	};

	u->sent_clock = *clock;
	u->sent_epoch = epoch;
	return call(u, &request);
}

static bool call_claim(struct unit *u, enum actuator_op op)
{
	struct actuator_request request = {
		.op = (uint16_t)op,
		.take_over = u->config.take_over,
		.lease_ms = (uint32_t)(manager_lease_ns(u->manager) / NSEC_PER_MSEC),
	};

	if (!call(u, &request))
		return false;
	u->claim = UNIT_CLAIMING;
	return true;
}

static bool call_release(struct unit *u)
{
	struct actuator_request request = {.op = ACTUATOR_RELEASE};

	if (!call(u, &request))
		return false;
	u->claim = UNIT_RELEASING;
	return true;
}

static void finish_write(struct unit *u, bool ok)
{
	u->write_wanted = false;
	sequence_clock_done(u->sequence, u->write_epoch, ok);
}

void unit_pump(struct unit *u)
{
	bool baseline = clock_is_as_found(&u->write_clock);
	bool sent;

	if (!u->write_wanted || u->in_flight)
		return;
	if (u->claim == UNIT_FREE && baseline) {
		finish_write(u, /* ok= */ true);
		return;
	}
	if (u->claim == UNIT_FREE)
		sent = may_claim(u, manager_now_ns(u->manager)) && call_claim(u, ACTUATOR_CLAIM);
	else if (baseline)
		sent = call_release(u);
	else
		sent = call_set(u, &u->write_clock, u->write_epoch);
	if (!sent)
		finish_write(u, /* ok= */ false);
}

void unit_adopt(struct unit *u)
{
	if (!u->in_flight && may_claim(u, manager_now_ns(u->manager)) &&
	    call_claim(u, ACTUATOR_ADOPT))
		u->adopted_ns = manager_now_ns(u->manager);
}

void unit_renew(struct unit *u, bool sensors)
{
	struct actuator_request request = {.op = ACTUATOR_SENSORS};
	struct sequence_clock clock = sequence_clock_sent(u->sequence);

	if (u->in_flight || !u->present || !link_connected(u->manager->link))
		return;
	if (u->claim == UNIT_CLAIMED)
		(void)call_set(u, &clock, 0);
	else if (sensors)
		(void)call(u, &request);
}

void unit_release(struct unit *u)
{
	if (u->claim == UNIT_CLAIMED && !u->in_flight)
		(void)call_release(u);
}

void unit_abandon_claim(struct unit *u)
{
	struct actuator_request request = {.op = ACTUATOR_RELEASE};

	if (u->claim != UNIT_CLAIMED && u->claim != UNIT_CLAIMING)
		return;
	(void)snprintf(request.bdf, sizeof(request.bdf), "%s", u->bdf);
	/* The claim's own answer may still be under way; requests are served in order. */
	(void)link_call(u->manager->link, &request, UNIT_REPLY_NS, /* reply= */ NULL, NULL);
}

/* --- replies -------------------------------------------------------------------------------- */

/* New uncorrectable errors since the last reading; a driver bound anew counts from 0 again. */
static void take_ras(struct unit *u, const struct actuator_state *state)
{
	uint64_t before = u->ras_uncorrectable, now = state->ras_uncorrectable;
	bool known = u->ras_known;

	if (!(state->fields & GPU_HAS_RAS))
		return;
	u->ras_known = true;
	u->ras_uncorrectable = now;
	if (!known || now <= before)
		return;
	log_warning("%s: %lu new uncorrectable memory errors (%lu since the driver was loaded)",
		    u->bdf, now - before, now);
	unit_event(u, CARD_EVENT_RAS);
}

/* Whether the card still has what it once had: a reading that has vanished is a lost sensor. */
static bool sensors_complete(struct unit *u)
{
	uint32_t wanted = GPU_HAS_POWER | GPU_HAS_SCLK | GPU_HAS_BUSY;

	u->seen_fields |= u->state.fields & wanted;
	return (u->seen_fields & ~u->state.fields) == 0;
}

static void log_drift(const struct unit *u)
{
	const struct actuator_state *s = &u->state;
	const char *answer = config_on_drift_name(u->config.on_drift);
	uint64_t cap_uw = u->sent_clock.power_cap_uw;
	char culprit[CULPRIT_MAX] = "";

	if (culprit_find("/proc", culprit, sizeof(culprit)) <= 0)
		(void)strcpy(culprit, "nobody known");
	if ((s->fields & GPU_HAS_PERF) && s->perf_level != GPU_PERF_MANUAL)
		log_warning("%s: another performance level was set (likely by %s): %s", u->bdf,
			    culprit, answer);
	else if (cap_uw > 0 && s->power_cap_uw / UW_PER_W != cap_uw / UW_PER_W)
		log_warning("%s: a power cap of %lu W was set over our %lu W (likely by %s): %s",
			    u->bdf, s->power_cap_uw / UW_PER_W, cap_uw / UW_PER_W, culprit, answer);
	else
		log_warning("%s: the clock limit of %u MHz does not hold (%u MHz seen; likely for "
			    "%s): %s",
			    u->bdf, s->max_mhz, s->sclk_mhz, culprit, answer);
}

static void take_drift(struct unit *u, uint64_t now_ns)
{
	bool drifts = u->state.verified == ACTUATOR_DRIFT;

	if (drifts && !u->drifting)
		log_drift(u);
	u->drifting = drifts;
	if (!drifts || u->claim != UNIT_CLAIMED)
		return;
	if (u->config.on_drift == CONFIG_DRIFT_REASSERT) {
		u->readback_until_ns = u->drift_until_ns = now_ns + UNIT_READBACK_HOLD_NS;
		u->setting_lost = true;
	} else if (u->config.on_drift == CONFIG_DRIFT_YIELD) {
		u->yielded = true;
	}
}

static bool is_known(void *userdata, int32_t pid)
{
	const struct unit *u = userdata;
	const struct manager *m = u->manager;
	const struct session *s;
	char cgroup[CGROUP_MAX];
	bool tells;

	TAILQ_FOREACH(s, &m->sessions, entry)
	if (s->unit && channel_connection_peer(s->connection)->pid == pid)
		return true;
	tells = cgroup_of("/proc", pid, cgroup, sizeof(cgroup)) >= 0 &&
		cgroup_tells(cgroup, m->own_cgroup);
	TAILQ_FOREACH(s, &m->sessions, entry)
	if (tells && s->unit && strcmp(s->cgroup, cgroup) == 0)
		return true;
	return false;
}

static void take_processes(struct unit *u, uint64_t now_ns)
{
	uint32_t n = MIN(u->state.n_processes, (uint32_t)ACTUATOR_MAX_PROCESSES);
	int32_t pid;

	if (u->config.on_foreign_load == CONFIG_FOREIGN_IGNORE)
		return;
	pid = foreign_update(&u->foreign, now_ns, u->state.processes, n, is_known, u);
	if (pid > 0)
		log_warning("%s: process %d has queues on the card and is no worker: full speed",
			    u->bdf, pid);
}

static void take_state(struct unit *u, const struct actuator_state *state, uint64_t now_ns)
{
	u->state = *state;
	u->state_valid = true;
	if (state->fields & GPU_HAS_POWER)
		u->power_max_uw = MAX(u->power_max_uw, state->power_uw);
	if (sensors_complete(u))
		u->unanswered_ns = 0;
	else if (u->unanswered_ns == 0)
		u->unanswered_ns = now_ns;
	unit_cap_watch(u, now_ns);
	take_ras(u, state);
	take_drift(u, now_ns);
	take_processes(u, now_ns);
}

static const char *claim_refusal(const struct unit *u)
{
	return u->claim_error == -EHOSTDOWN ? "found in manual, so held by somebody else"
	       : u->claim_error == -EBUSY   ? "claimed by another process"
					    : strerror(-u->claim_error);
}

/* What the actuator's errors say of the card. */
static enum card_event failure_event(int error, enum card_event other)
{
	/* Drivers answer so during a reset and after the card has gone. */
	if (error == -EPERM || error == -ENODEV)
		return CARD_EVENT_RESET;
	return error == -ETIMEDOUT ? CARD_EVENT_NO_ANSWER : other;
}

static void claim_refused(struct unit *u, int error, const struct actuator_reply *reply)
{
	bool is_new = u->claim_error != error;

	u->claim = UNIT_FREE;
	u->adopted_ns = 0;
	u->claim_error = error;
	/* EAGAIN: the card is still being given back after a predecessor. */
	u->claim_after_ns =
		manager_now_ns(u->manager) +
		(error == -EBUSY || error == -EHOSTDOWN ? UNIT_CLAIM_PAUSE_NS : UNIT_CLAIM_SOON_NS);
	if (error != -EBUSY && error != -EHOSTDOWN && error != -EAGAIN)
		unit_event(u, failure_event(error, CARD_EVENT_CLAIM_FAILED));
	u->owner = reply && error == -EBUSY ? reply->owner : (struct actuator_owner){0};
	u->owner.comm[sizeof(u->owner.comm) - 1] = '\0';
	if (is_new)
		log_warning("%s: not taken: %s", u->bdf, claim_refusal(u));
}

static void claim_replied(struct unit *u, int error, const struct actuator_reply *reply)
{
	bool adopted = reply && reply->op == ACTUATOR_ADOPT;

	/* The connection is lost: unit_link_down() follows. */
	if (!reply && error != -ETIMEDOUT) {
		u->claim = UNIT_FREE;
	} else if (error < 0) {
		/* Nothing to adopt is no refusal: the card is claimed when it is needed. */
		if (adopted) {
			u->claim = UNIT_FREE;
			u->adopted_ns = 0;
		} else {
			claim_refused(u, error, reply);
		}
	}
	if (error < 0) {
		if (u->write_wanted)
			finish_write(u, /* ok= */ false);
		return;
	}
	u->claim = UNIT_CLAIMED;
	u->claim_error = 0;
	take_state(u, &reply->state, manager_now_ns(u->manager));
	if (adopted) {
		struct sequence_clock clock = {
			.max_mhz = reply->state.max_mhz,
			.power_cap_uw = unit_cap_uw(u, &u->config),
		};

		/* It is also what is wanted until the first decision. */
		sequence_clock_found(u->sequence, &clock);
		sequence_want(u->sequence, &clock, 0, &no_directive);
		log_info("%s: adopted with a limit of %u MHz", u->bdf, clock.max_mhz);
	}
}

static bool write_took(const struct unit *u, const struct actuator_state *state)
{
	uint64_t cap_uw = u->sent_clock.power_cap_uw;
	/* Drivers keep caps in whole watts. */
	bool cap_took = cap_uw == 0 || (state->power_cap_uw + UW_PER_W > cap_uw &&
					state->power_cap_uw < cap_uw + UW_PER_W);

	return state->max_mhz == u->sent_clock.max_mhz && cap_took;
}

/* The claim is gone: the lease ran out, the actuator was restarted, the card went away. */
static bool claim_is_void(int error)
{
	return error == -EACCES || error == -ENODEV || error == -ENOENT || error == -ENXIO;
}

static void set_replied(struct unit *u, int error, const struct actuator_reply *reply)
{
	uint64_t now_ns = manager_now_ns(u->manager);
	bool ok = error == 0 && write_took(u, &reply->state);
	bool lost = !reply && error != -ETIMEDOUT;

	if (error == 0)
		take_state(u, &reply->state, now_ns);
	else if (u->unanswered_ns == 0)
		u->unanswered_ns = now_ns;
	if (!ok && !lost && now_ns >= u->readback_until_ns)
		log_warning("%s: a limit of %u MHz did not take: %s", u->bdf, u->sent_clock.max_mhz,
			    error == 0 ? "it reads back as another" : strerror(-error));
	if (!ok && !lost)
		u->readback_until_ns = now_ns + UNIT_READBACK_HOLD_NS;
	if (claim_is_void(error))
		u->claim = UNIT_FREE;
	if (reply && (error == -EPERM || error == -ENODEV || error == -ETIMEDOUT))
		unit_event(u, failure_event(error, CARD_EVENT_RESET));
	/* The actuator leaves the baseline behind a write that failed. */
	u->setting_lost = u->setting_lost || (error < 0 && reply);
	if (u->write_wanted && u->write_epoch == u->sent_epoch)
		finish_write(u, ok);
	else if (u->sent_epoch > 0)
		sequence_clock_done(u->sequence, u->sent_epoch, ok);
}

static void release_replied(struct unit *u)
{
	/* Whatever it answered, the lease is no longer renewed, so the card comes back. */
	u->claim = UNIT_FREE;
	u->drifting = false;
	sequence_clock_found(u->sequence, &as_found);
	if (u->write_wanted && clock_is_as_found(&u->write_clock))
		finish_write(u, /* ok= */ true);
	manager_stop_progress(u->manager);
}

static void on_reply(void *userdata, int error, const struct actuator_reply *reply)
{
	struct unit *u = userdata;
	uint64_t now_ns = manager_now_ns(u->manager);

	u->in_flight = false;
	u->overdue = error == -ETIMEDOUT && !reply;
	if (error == -EOWNERDEAD)
		unit_event(u, CARD_EVENT_NO_ANSWER);
	if (error == 0)
		error = MIN(reply->error, 0);
	if (u->claim == UNIT_CLAIMING)
		claim_replied(u, error, reply);
	else if (u->claim == UNIT_RELEASING)
		release_replied(u);
	else if (u->claim == UNIT_CLAIMED)
		set_replied(u, error, reply);
	else if (error == 0)
		take_state(u, &reply->state, now_ns);
	else if (u->unanswered_ns == 0)
		u->unanswered_ns = now_ns;
	unit_drive(u, now_ns);
}
