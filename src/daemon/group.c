/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/group.h"
#include "base/log.h"
#include <string.h>

bool group_is_one(const struct unit *a, const struct unit *b)
{
	return a->group == b->group;
}

bool group_shared(const struct unit *u)
{
	const struct unit *v;

	TAILQ_FOREACH(v, &u->manager->units, entry)
	if (v != u && group_is_one(v, u))
		return true;
	return false;
}

static void unite(struct manager *m, uint32_t a, uint32_t b)
{
	struct unit *u;

	TAILQ_FOREACH(u, &m->units, entry)
	if (u->group == b)
		u->group = a;
}

static void log_group(struct unit *u)
{
	bool shared = group_shared(u);

	if (shared != u->logged_group)
		log_info("%s: %s", u->bdf,
			 shared ? "in a clock group, by a worker over several cards"
				: "in no clock group any more");
	u->logged_group = shared;
}

void group_update(struct manager *m)
{
	const struct session *s;
	struct unit *u;

	TAILQ_FOREACH(u, &m->units, entry)
	u->group = u->number;
	TAILQ_FOREACH(s, &m->sessions, entry)
	for (uint32_t i = 1; i < s->n_units; i++)
		unite(m, s->units[0]->group, s->units[i]->group);
	TAILQ_FOREACH(u, &m->units, entry)
	log_group(u);
}

/* --- one decision --------------------------------------------------------------------------- */

static uint32_t top_mhz(const struct unit *u)
{
	return u->card.n_levels > 0 ? u->card.level_mhz[u->card.n_levels - 1] : 0;
}

/* What u's own governor says; UINT32_MAX for full speed, whatever that is on another card. A card
 * that nobody could decide for is in doubt. */
static uint32_t own_mhz(const struct unit *u)
{
	uint32_t mhz;

	if (!u->stepped || u->decision.action == GOVERNOR_RELEASE)
		return UINT32_MAX;
	mhz = u->decision.action == GOVERNOR_SET ? u->decision.max_mhz
						 : sequence_clock_sent(u->sequence).max_mhz;
	return mhz == 0 || mhz >= top_mhz(u) ? UINT32_MAX : mhz;
}

uint32_t group_max_mhz(const struct unit *u)
{
	const struct unit *v;
	uint32_t mhz = 0;

	TAILQ_FOREACH(v, &u->manager->units, entry)
	if (group_is_one(v, u))
		mhz = MAX(mhz, own_mhz(v));
	for (uint32_t i = 0; i < u->card.n_levels; i++)
		if (u->card.level_mhz[i] >= mhz)
			return u->card.level_mhz[i];
	return top_mhz(u);
}

/* A mask's bits mean the same CUs on both. */
static bool same_layout(const struct actuator_card *a, const struct actuator_card *b)
{
	return strcmp(a->gfx, b->gfx) == 0 && a->n_se == b->n_se &&
	       a->n_sh_per_se == b->n_sh_per_se && a->n_xcc == b->n_xcc &&
	       memcmp(a->active_cus, b->active_cus, sizeof(a->active_cus)) == 0;
}

/* 0 is the worker's own batch, the largest there is. */
static uint32_t larger_batch(uint32_t a, uint32_t b)
{
	return a == 0 || b == 0 ? 0 : MAX(a, b);
}

static void widen_by(const struct unit *u, const struct unit *v, uint32_t model,
		     struct sequence_directive *d)
{
	struct sequence_directive other;

	unit_directive(v, model, &other);
	if (!same_layout(&u->card, &v->card) || cu_shape_cus(other.shape) == 0)
		d->shape = (struct cu_shape){0};
	else if (cu_shape_cus(d->shape) > 0 && cu_shape_cus(other.shape) > cu_shape_cus(d->shape))
		d->shape = other.shape;
	d->max_batch = larger_batch(d->max_batch, other.max_batch);
	d->max_wait_ns = MIN(d->max_wait_ns, other.max_wait_ns);
	d->boost_wait_ns = MIN(d->boost_wait_ns, other.boost_wait_ns);
}

void group_widen(const struct unit *u, uint32_t model, struct sequence_directive *directive)
{
	const struct unit *v;

	/* Without a worker of the model a card needs nothing for it. */
	TAILQ_FOREACH(v, &u->manager->units, entry)
	if (v != u && group_is_one(v, u) && (!v->stepped || v->input.models[model].workers > 0))
		widen_by(u, v, model, directive);
}

/* --- up on all before down on any ----------------------------------------------------------- */

static bool workers_follow(const struct unit *u)
{
	const struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (s->unit == u && (s->follows_mask || s->follows_batch) &&
	    !sequence_worker_acknowledged(u->sequence, s->worker) &&
	    !sequence_worker_clock_alone(u->sequence, s->worker))
		return false;
	return true;
}

/* A card that is not claimed has no limit of ours that could be raised; waiting for one that
 * somebody else holds would keep its group up for ever. */
static bool given(const struct unit *u)
{
	return sequence_given(u->sequence) || (u->claim == UNIT_FREE && workers_follow(u));
}

bool group_let_take(struct unit *u)
{
	struct unit *v;
	bool held = false;

	TAILQ_FOREACH(v, &u->manager->units, entry)
	{
		if (!group_is_one(v, u))
			continue;
		held |= sequence_held(v->sequence);
		if (!given(v))
			return false;
	}
	if (!held)
		return false;
	TAILQ_FOREACH(v, &u->manager->units, entry)
	if (group_is_one(v, u))
		sequence_hold(v->sequence, false);
	return true;
}
