/* SPDX-License-Identifier: Apache-2.0 */
/* A unit's step: from the workers' meters and the card's state to the governor's input, its
 * decision, and what is logged of it. */
#include "base/log.h"
#include "base/units.h"
#include "daemon/doubts.h"
#include "daemon/group.h"
#include "daemon/masks.h"
#include "daemon/unit-internal.h"
#include "gpu/gpu.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* Workers that lost a daemon connect again within 2 s. */
#define UNIT_ADOPTED_GRACE_NS (3 * NSEC_PER_SEC)

/* --- the input ------------------------------------------------------------------------------ */

static uint32_t card_flags(const struct unit *u, uint64_t now_ns)
{
	uint64_t patience_ns = MAX(NSEC_PER_SEC, 2 * u->manager->config->daemon.poll_ns);
	uint32_t flags = 0;

	if (u->unanswered_ns > 0 && now_ns - u->unanswered_ns > patience_ns)
		flags |= GOVERNOR_CARD_SENSORS_LOST;
	/* A card with memory errors is one in doubt, too. */
	if (now_ns < u->readback_until_ns || card_machine_is_faulty(&u->machine, now_ns))
		flags |= GOVERNOR_CARD_READBACK_FAILED;
	if (u->config.on_foreign_load != CONFIG_FOREIGN_IGNORE &&
	    foreign_active(&u->foreign, now_ns))
		flags |= GOVERNOR_CARD_FOREIGN_LOAD;
	if (u->state_valid && (u->state.fields & GPU_HAS_THROTTLE) &&
	    (u->state.throttle & GPU_THROTTLE_THERMAL))
		flags |= GOVERNOR_CARD_THROTTLED;
	if (u->adopted_ns > 0)
		flags |= GOVERNOR_CARD_ADOPTED;
	if (u->plan->foreign_table)
		flags |= GOVERNOR_CARD_FOREIGN_TABLE;
	return flags;
}

static void add_workers(struct unit *u, uint64_t now_ns, struct governor_input *in)
{
	uint64_t poll_ns = u->manager->config->daemon.poll_ns;
	struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	{
		struct governor_model_input *model;

		if (!session_on(s, u) || s->model_index >= u->plan->n_models || !s->counts)
			continue;
		model = &in->models[s->model_index];
		meter_add_to(&s->meter, now_ns, poll_ns, model);
		if (!s->follows_batch || sequence_worker_clock_alone(s->unit->sequence, s->worker))
			model->batch_follows = false;
	}
}

/* Connections that count nothing follow for a worker that does. Without one, nothing is known of
 * the load, which is not the same as no load. */
static void add_followers(struct unit *u, uint64_t now_ns, struct governor_input *in)
{
	uint64_t poll_ns = u->manager->config->daemon.poll_ns;
	const struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	{
		struct governor_model_input *model;

		if (!session_on(s, u) || s->model_index >= u->plan->n_models || s->counts)
			continue;
		model = &in->models[s->model_index];
		if (model->workers == 0) {
			model->workers = 1;
			model->state = GOVERNOR_INPUT_MISSING;
			model->batch_follows = false;
		}
		if (meter_missing(&s->meter, now_ns, poll_ns))
			model->state = GOVERNOR_INPUT_MISSING;
	}
}

/* A worker over several cards is directed by the first of them. */
bool unit_model_acknowledged(const struct unit *u, uint32_t model)
{
	const struct session *s;

	if (!sequence_model_acknowledged(u->sequence, model))
		return false;
	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (session_on(s, u) && s->unit != u && s->model_index == model &&
	    !sequence_model_acknowledged(s->unit->sequence, model))
		return false;
	return true;
}

static void fill_input(struct unit *u, uint64_t now_ns, bool early)
{
	struct governor_input *in = &u->input;
	uint64_t poll_ns = u->manager->config->daemon.poll_ns;

	*in = (struct governor_input){
		.now_ns = now_ns,
		.interval_ns = u->stepped_ns > 0 ? now_ns - u->stepped_ns : poll_ns,
		.early = early,
		.flags = card_flags(u, now_ns),
	};
	if (u->state_valid) {
		in->power_uw = u->state.fields & GPU_HAS_POWER ? u->state.power_uw : 0;
		in->power_cap_uw = u->state.fields & GPU_HAS_CAP ? u->state.power_cap_uw : 0;
		in->power_max_uw = u->power_max_uw;
		in->sclk_mhz = u->state.sclk_mhz;
		in->busy_percent = MIN(u->state.busy_percent, 100u);
		in->applied_max_mhz = u->claim == UNIT_CLAIMED ? u->state.max_mhz : 0;
	}
	if (!early)
		u->power_max_uw = 0;
	for (uint32_t i = 0; i < u->plan->n_models; i++)
		in->models[i] = (struct governor_model_input){
			.whole_interval = true,
			.mask_follows = true,
			.batch_follows = true,
			.acknowledged = unit_model_acknowledged(u, i),
		};
	add_workers(u, now_ns, in);
	add_followers(u, now_ns, in);
	for (uint32_t i = 0; i < u->plan->n_models; i++)
		if (!early && u->latencies && in->models[i].workers > 0)
			unit_latency_interval(u, i, &in->models[i]);
	masks_judge(u, now_ns);
	for (uint32_t i = 0; i < u->plan->n_models; i++)
		if (in->models[i].workers == 0)
			in->models[i].mask_follows = in->models[i].batch_follows = false;
	unit_fill_orders(u, in);
}

/* --- logging -------------------------------------------------------------------------------- */

static void log_inputs(struct unit *u)
{
	static const char *const texts[] = {
		[GOVERNOR_NO_WORKER] = "no worker any more",
		[GOVERNOR_INPUT_OK] = "its workers report",
		[GOVERNOR_INPUT_MISSING] =
			"a worker does not report, or none counts: taken at the rated rate",
	};

	for (uint32_t i = 0; i < u->plan->n_models; i++) {
		enum governor_input_state now = u->input.models[i].state;

		if (now == u->logged_inputs[i])
			continue;
		log_message(now == GOVERNOR_INPUT_MISSING ? LOG_WARNING : LOG_INFO,
			    "%s: model %s: %s", u->bdf, u->manager->config->models[i].name,
			    texts[now]);
		u->logged_inputs[i] = now;
	}
}

static void log_flags(struct unit *u)
{
	static const struct {
		uint32_t flag;
		const char *begins, *ends;
	} texts[] = {
		{GOVERNOR_CARD_SENSORS_LOST, "sensors lost: full speed", "sensors are back"},
		{GOVERNOR_CARD_READBACK_FAILED, "full speed for a doubt about the card",
		 "the card does as it is told"},
		{GOVERNOR_CARD_FOREIGN_LOAD, "foreign load: full speed", "foreign load has gone"},
		{GOVERNOR_CARD_THROTTLED, "too hot, the card throttles",
		 "the card throttles no more"},
	};
	uint32_t changed = u->input.flags ^ u->logged_flags;

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (changed & texts[i].flag)
			log_info("%s: %s", u->bdf,
				 u->input.flags & texts[i].flag ? texts[i].begins : texts[i].ends);
	u->logged_flags = u->input.flags;
}

static void log_overload(struct unit *u)
{
	bool overload = false;

	for (uint32_t i = 0; i < u->decision.n_models; i++)
		overload |= u->decision.models[i].reason == GOVERNOR_REASON_OVERLOAD;
	if (overload != u->logged_overload)
		log_message(overload ? LOG_WARNING : LOG_INFO, "%s: %s", u->bdf,
			    overload ? "overload: more demand than the card can serve"
				     : "overload has ended");
	u->logged_overload = overload;
}

static void log_decision(const struct unit *u)
{
	const struct governor_decision *d = &u->decision;

	log_info("%s: decision %lu: %u MHz, %s%s", u->bdf, d->number, d->max_mhz,
		 governor_reason_name(d->reason), d->changed ? "" : ", unchanged");
	for (uint32_t i = 0; i < d->n_models; i++) {
		const struct governor_model_decision *m = &d->models[i];

		if (u->input.models[i].state != GOVERNOR_NO_WORKER)
			log_info("%s: decision %lu: model %s: %.1f/s, for %.1f/s, %ux%u CUs, %s",
				 u->bdf, d->number, u->manager->config->models[i].name, m->rate_rps,
				 m->demand_rps, m->shape.n_se, m->shape.cus_per_se,
				 governor_reason_name(m->reason));
	}
}

/* --- the step ------------------------------------------------------------------------------- */

void unit_note(struct unit *u)
{
	struct manager *m = u->manager;

	if (!u->stepped)
		return;
	/* Looks at a queue would drive the ticks out of the ring. */
	if (!u->input.early || u->decision.changed) {
		ring_push(u->plan->ring, &u->input, &u->decision);
		if (m->config->daemon.log_decisions)
			log_decision(u);
	}
	if (!m->record)
		return;
	manager_record(m, record_format_input(m->record_buffer, RECORD_STEP_BYTES_MAX, u->number,
					      u->plan->n_models, &u->input));
	manager_record(m, record_format_decision(m->record_buffer, RECORD_STEP_BYTES_MAX, u->number,
						 &u->decision));
}

/* A predecessor's setting stands until its workers are back and have reported for an interval. */
static bool holds_adopted(struct unit *u, uint64_t now_ns)
{
	bool workers = false, whole = true;

	if (u->adopted_ns == 0)
		return false;
	/* Neither a pause nor a card in trouble waits for workers. */
	if ((u->input.flags & GOVERNOR_CARD_PAUSED) || unit_left_alone(u)) {
		u->adopted_ns = 0;
		return false;
	}
	for (uint32_t i = 0; i < u->plan->n_models; i++) {
		workers |= u->input.models[i].workers > 0;
		whole &= u->input.models[i].whole_interval;
	}
	if ((workers && whole) || (!workers && now_ns - u->adopted_ns > UNIT_ADOPTED_GRACE_NS)) {
		u->adopted_ns = 0;
		u->input.flags &= ~(uint32_t)GOVERNOR_CARD_ADOPTED;
		return false;
	}
	return !workers;
}

void unit_directive(const struct unit *u, uint32_t model, struct sequence_directive *ret)
{
	const struct governor_model_decision *m = &u->decision.models[model];

	*ret = (struct sequence_directive){.boost_wait_ns = UINT64_MAX};
	if (!u->stepped || u->decision.action != GOVERNOR_SET)
		return;
	ret->max_batch = m->max_batch;
	ret->max_wait_ns = m->max_wait_ns;
	ret->boost_wait_ns = m->boost_wait_ns;
	if (!cu_shape_equal(m->shape, cu_shape_full(&u->topology)))
		ret->shape = m->shape;
}

/* Where the models' shapes lie on this card. */
static void place_masks(struct unit *u, struct sequence_directive *models)
{
	struct cu_shape shapes[GOVERNOR_MAX_MODELS];

	for (uint32_t i = 0; i < u->plan->n_models; i++)
		shapes[i] = models[i].shape;
	placement_update(&u->placement, &u->topology, u->plan->n_models, shapes);
	for (uint32_t i = 0; i < u->plan->n_models; i++)
		models[i].mask = u->placement.masks[i];
}

/* What the card is told: its own decision, raised to the group's. */
void unit_aim(struct unit *u)
{
	struct sequence_directive models[GOVERNOR_MAX_MODELS];
	const struct governor_decision *d = &u->decision;
	bool shared = group_shared(u);
	struct sequence_clock clock = {0};

	if (!u->stepped || unit_left_alone(u))
		return;
	if (d->action == GOVERNOR_SET)
		clock = (struct sequence_clock){d->max_mhz, d->power_cap_uw};
	else if (d->action == GOVERNOR_HOLD && shared)
		clock = sequence_clock_sent(u->sequence);
	else if (d->action == GOVERNOR_HOLD)
		return;
	if (shared && clock.max_mhz > 0)
		clock.max_mhz = group_max_mhz(u);
	for (uint32_t i = 0; i < u->plan->n_models; i++) {
		unit_directive(u, i, &models[i]);
		if (shared && u->input.models[i].workers > 0)
			group_widen(u, i, &models[i]);
	}
	place_masks(u, models);
	sequence_hold(u->sequence, shared);
	unit_want(u, &clock, u->plan->n_models, models);
}

static void apply(struct unit *u, uint64_t now_ns)
{
	bool workers = unit_workers(u) > 0;

	if (unit_left_alone(u)) {
		unit_let_go(u, now_ns);
		return;
	}
	unit_drive(u, now_ns);
	if (u->decision.action == GOVERNOR_RELEASE)
		unit_release(u);
	unit_renew(u, /* sensors= */ workers);
}

void unit_step(struct unit *u, uint64_t now_ns, bool early)
{
	u->filled = u->stepped = false;
	if (!u->plan || u->plan->n_models == 0)
		return;
	fill_input(u, now_ns, early);
	u->filled = true;
	u->stepped_ns = now_ns;
	if (holds_adopted(u, now_ns))
		return;
	governor_step(u->plan->governor, &u->input, &u->decision);
	u->decided = u->stepped = true;
	doubts_judge(u);
	if (early)
		return;
	for (uint32_t i = 0; i < u->plan->n_models; i++)
		if (u->latencies && u->input.models[i].workers > 0)
			unit_latency_update(u, i, now_ns);
}

void unit_apply_early(struct unit *u, uint64_t now_ns)
{
	if (u->stepped && !unit_left_alone(u))
		unit_drive(u, now_ns);
}

void unit_apply(struct unit *u, uint64_t now_ns)
{
	if (!u->filled) {
		unit_log_state(u);
		return;
	}
	if (!u->stepped) {
		unit_renew(u, /* sensors= */ false);
		return;
	}
	if (manager_observes(u->manager))
		unit_renew(u, /* sensors= */ true);
	else
		apply(u, now_ns);
	log_inputs(u);
	log_flags(u);
	log_overload(u);
	unit_check_log(u);
	unit_log_state(u);
}
