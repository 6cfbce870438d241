/* SPDX-License-Identifier: Apache-2.0 */
/* A unit's life, its workers, and doing what the sequencer says. */
#include "base/log.h"
#include "base/units.h"
#include "daemon/early.h"
#include "daemon/group.h"
#include "daemon/service.h"
#include "daemon/unit-internal.h"
#include <errno.h>
#include <string.h>

/* While acknowledgements are awaited the pages are looked at this often; never otherwise. */
#define UNIT_ACK_LOOK_NS (5 * NSEC_PER_MSEC)
#define UNIT_EARLY_USEC	 500 /* how exact looks between ticks are */
#define UNIT_MAX_STEPS	 (4 * SEQUENCE_MAX_WORKERS)

static const struct sequence_clock as_found = {0};
static const struct sequence_directive no_directive = {.boost_wait_ns = UINT64_MAX};

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata);

int unit_new(struct manager *m, const char *bdf, const struct config_gpu *config, struct unit **ret)
{
	struct unit *u = calloc(1, sizeof(*u));
	int r;

	if (!u)
		return -ENOMEM;
	u->manager = m;
	u->number = u->group = m->n_units_ever++;
	u->config = *config;
	u->logged.state = CARD_ABSENT;
	u->wake_ns = UINT64_MAX;
	(void)snprintf(u->bdf, sizeof(u->bdf), "%s", bdf);
	TAILQ_INSERT_TAIL(&m->units, u, entry);
	r = sequence_new(&as_found, &u->sequence);
	if (r >= 0)
		r = sd_event_add_time(m->event, &u->timer, CLOCK_MONOTONIC, 0, 1000, on_timer, u);
	if (r >= 0)
		r = sd_event_source_set_enabled(u->timer, SD_EVENT_OFF);
	if (r >= 0)
		r = sd_event_add_time(m->event, &u->early, CLOCK_MONOTONIC, 0, UNIT_EARLY_USEC,
				      early_on_timer, u);
	if (r >= 0)
		r = sd_event_source_set_enabled(u->early, SD_EVENT_OFF);
	if (r < 0) {
		unit_free(u);
		return r;
	}
	*ret = u;
	return 0;
}

struct unit *unit_free(struct unit *u)
{
	struct session *s, *next;

	if (!u)
		return NULL;
	for (s = TAILQ_FIRST(&u->manager->sessions); s; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (session_on(s, u))
			session_free(s);
	}
	link_forget(u->manager->link, u);
	TAILQ_REMOVE(&u->manager->units, u, entry);
	unit_latencies_free(u);
	free(u->masks);
	unit_plan_free(u->plan);
	sequence_free(u->sequence);
	sd_event_source_disable_unref(u->timer);
	sd_event_source_disable_unref(u->early);
	free(u);
	return NULL;
}

/* --- the card ------------------------------------------------------------------------------- */

static void topology_of(const struct actuator_card *card, struct cu_topology *ret)
{
	struct cu_topology t = {
		.n_se = card->n_se,
		.n_sh_per_se = card->n_sh_per_se,
		.n_xcc = MAX(card->n_xcc, 1u),
		/* RDNA (gfx10 and later) pairs its CUs. */
		.wgp_pairs = strncmp(card->gfx, "gfx1", 4) == 0,
	};

	for (uint32_t se = 0; se < MIN(card->n_se, (uint32_t)CU_MAX_SE); se++) {
		uint32_t left = card->active_cus[se], n_sh = MAX(card->n_sh_per_se, 1u);

		for (uint32_t sh = 0; sh < MIN(n_sh, (uint32_t)CU_MAX_SH); sh++) {
			t.active[se][sh] = (uint8_t)((left + n_sh - sh - 1) / (n_sh - sh));
			left -= t.active[se][sh];
		}
	}
	*ret = t;
}

static bool same_card(const struct actuator_card *a, const struct actuator_card *b)
{
	return a->unique_id == b->unique_id && strcmp(a->gfx, b->gfx) == 0 &&
	       a->n_cus == b->n_cus && a->n_se == b->n_se && a->simulated == b->simulated &&
	       a->n_levels == b->n_levels &&
	       memcmp(a->level_mhz, b->level_mhz, a->n_levels * sizeof(a->level_mhz[0])) == 0 &&
	       memcmp(a->active_cus, b->active_cus, sizeof(a->active_cus)) == 0;
}

void unit_found(struct unit *u, const struct actuator_card *card)
{
	_cleanup_(unit_plan_freep) struct unit_plan *plan = NULL;
	bool known = u->ever_present && same_card(&u->card, card);
	int r;

	u->card = *card;
	u->present = u->ever_present = true;
	if (known && u->plan)
		return;
	topology_of(card, &u->topology);
	u->placement = (struct placement){0};
	service_derives(u->manager, /* begins= */ true);
	r = unit_plan_new(u, u->manager->config, &u->config, &plan);
	service_derives(u->manager, /* begins= */ false);
	if (r < 0) {
		log_error_errno(r, "%s: cannot be governed: %m", u->bdf);
		return;
	}
	unit_plan_take(u, &u->config, TAKE_PTR(plan));
}

void unit_gone(struct unit *u)
{
	u->present = u->yielded = u->ras_known = false;
	unit_link_down(u);
}

void unit_link_down(struct unit *u)
{
	if (u->overdue)
		unit_event(u, CARD_EVENT_NO_ANSWER);
	u->overdue = false;
	u->claim = UNIT_FREE;
	u->claim_after_ns = 0;
	u->in_flight = u->write_wanted = false;
	u->state_valid = false;
	u->adopted_ns = 0;
	u->drifting = false;
	/* Nobody holds the card any more, so by the lease it is or will be as found. */
	u->setting_lost = true;
	if (u->unanswered_ns == 0 && unit_workers(u) > 0)
		u->unanswered_ns = manager_now_ns(u->manager);
}

bool unit_simulated(const struct unit *u)
{
	return u->ever_present && u->card.simulated;
}

/* --- applying ------------------------------------------------------------------------------- */

static struct session *find_worker(struct unit *u, uint32_t worker)
{
	struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (s->unit == u && s->worker == worker)
		return s;
	return NULL;
}

static void direct(struct unit *u, const struct sequence_step *step)
{
	const struct sequence_directive *d = &step->directive;
	struct session *s = find_worker(u, step->worker);
	struct channel_directive directive = {
		.max_batch = d->max_batch,
		.max_wait_ns = d->max_wait_ns,
		.boost_wait_ns = d->boost_wait_ns,
		.sclk_mhz = sequence_clock_confirmed(u->sequence).max_mhz,
	};
	struct session_directive told = {step->epoch, d->shape, d->mask};
	const struct response_table *table;

	if (!s)
		return;
	table = u->plan ? u->plan->tables[s->model_index].table : NULL;
	directive.slo_ns =
		table ? table->slo_ns : u->manager->config->models[s->model_index].slo.ns;
	session_direct(s, &told, &directive);
}

static void arm(struct unit *u, uint64_t at_ns)
{
	(void)sd_event_source_set_time(u->timer, at_ns / NSEC_PER_USEC + 1);
	(void)sd_event_source_set_enabled(u->timer, SD_EVENT_ONESHOT);
}

static bool acknowledgement_awaited(const struct unit *u)
{
	const struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (s->unit == u && !sequence_worker_acknowledged(u->sequence, s->worker) &&
	    !sequence_worker_clock_alone(u->sequence, s->worker))
		return true;
	return false;
}

static void drive(struct unit *u, uint64_t now_ns)
{
	(void)sd_event_source_set_enabled(u->timer, SD_EVENT_OFF);
	unit_pump(u);
	for (unsigned int i = 0; i < UNIT_MAX_STEPS; i++) {
		struct sequence_step step;

		sequence_next(u->sequence, now_ns, &step);
		switch (step.kind) {
		case SEQUENCE_NONE:
			return;
		case SEQUENCE_WAIT_UNTIL:
			if (acknowledgement_awaited(u))
				step.deadline_ns = MIN(step.deadline_ns, now_ns + UNIT_ACK_LOOK_NS);
			arm(u, step.deadline_ns);
			return;
		case SEQUENCE_SET_CLOCK:
			u->write_wanted = true;
			u->write_clock = step.clock;
			u->write_epoch = step.epoch;
			unit_pump(u);
			break;
		case SEQUENCE_DIRECT_WORKER:
			direct(u, &step);
			break;
		}
	}
}

void unit_drive(struct unit *u, uint64_t now_ns)
{
	struct unit *v;

	drive(u, now_ns);
	if (!group_let_take(u))
		return;
	TAILQ_FOREACH(v, &u->manager->units, entry)
	if (group_is_one(v, u))
		drive(v, now_ns);
}

static int on_timer(sd_event_source *source _unused_, uint64_t usec _unused_, void *userdata)
{
	struct unit *u = userdata;
	uint64_t now_ns = manager_now_ns(u->manager);
	struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (s->unit == u && !sequence_worker_acknowledged(u->sequence, s->worker))
		session_sample(s, now_ns);
	unit_drive(u, now_ns);
	return 0;
}

/* Told only with a new decision, as the sequencer would otherwise repeat the old one at once, and
 * without end on a card that refuses. */
void unit_want(struct unit *u, const struct sequence_clock *clock, uint32_t n_models,
	       const struct sequence_directive *models)
{
	if (u->setting_lost)
		sequence_clock_found(u->sequence, &as_found);
	u->setting_lost = false;
	sequence_want(u->sequence, clock, n_models, models);
}

void unit_let_go(struct unit *u, uint64_t now_ns)
{
	struct sequence_directive neutral[GOVERNOR_MAX_MODELS];
	uint32_t n = u->plan ? u->plan->n_models : 0;

	for (uint32_t i = 0; i < n; i++)
		neutral[i] = no_directive;
	u->adopted_ns = 0;
	sequence_hold(u->sequence, false);
	unit_want(u, &as_found, n, neutral);
	unit_drive(u, now_ns);
	unit_release(u);
}

void unit_retire(struct unit *u)
{
	unit_let_go(u, manager_now_ns(u->manager));
	unit_abandon_claim(u);
	log_info("%s: left alone from now on", u->bdf);
	unit_free(u);
}

/* --- workers -------------------------------------------------------------------------------- */

int unit_add_worker(struct unit *u, struct session *s)
{
	/* Whether its model may be masked is the governor's business, and may change at a reload.
	 */
	int worker =
		sequence_worker_add(u->sequence, s->model_index, s->follows_mask, s->follows_batch);

	if (worker < 0)
		return worker;
	s->worker = (uint32_t)worker;
	s->unit = u;
	return 0;
}

void unit_remove_worker(struct unit *u, struct session *s)
{
	sequence_worker_remove(u->sequence, s->worker);
	for (uint32_t i = 0; i < s->n_units; i++)
		unit_latency_reset(s->units[i], s->model_index);
	s->unit = NULL;
}

void unit_acknowledged(struct unit *u, const struct session *s, uint64_t epoch)
{
	sequence_mask_acked(u->sequence, s->worker, epoch);
}

uint32_t unit_workers(const struct unit *u)
{
	const struct session *s;
	uint32_t n = 0;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	n += session_on(s, u);
	return n;
}
