/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/masks.h"
#include "base/log.h"
#include "base/units.h"

static const char *const reason_texts[MASKS_REASON_MAX] = {
	[MASKS_SWITCHED_OFF] = "cu_mask = off",
	[MASKS_STALLED] = "stalled under a partial mask: off until reload",
	[MASKS_NOT_FOLLOWED] = "does not follow masks",
	[MASKS_NOT_ACKNOWLEDGED] = "has not acknowledged 3 times",
};

_Static_assert(SEQUENCE_MAX_MISSES == 3, "the text says so");

const char *masks_reason_text(enum masks_reason r)
{
	return reason_texts[r];
}

static pid_t pid_of(const struct session *s)
{
	return channel_connection_peer(s->connection)->pid;
}

/* Whether another connection is of the same model, on this card. */
static bool is_beside(const struct session *other, const struct unit *u, const struct session *s)
{
	return session_on(other, u) && other->model_index == s->model_index;
}

/* A process may have several connections: its HSA tool's follows masks and counts nothing, that of
 * the server itself counts. Its queues on a card are masked if one of them follows there. */
static bool process_follows(const struct unit *u, const struct session *s)
{
	const struct session *other;

	TAILQ_FOREACH(other, &s->manager->sessions, entry)
	if (is_beside(other, u, s) && other->follows_mask && pid_of(other) == pid_of(s))
		return true;
	return false;
}

static bool process_counts(const struct unit *u, const struct session *s)
{
	const struct session *other;

	TAILQ_FOREACH(other, &s->manager->sessions, entry)
	if (is_beside(other, u, s) && other->counts && pid_of(other) == pid_of(s))
		return true;
	return false;
}

/* Or the two are of two processes: where one follows and nothing in it counts, what does nothing
 * but count stands beside it and has no queues of its own. */
static bool counts_for_a_follower(const struct unit *u, const struct session *s)
{
	const struct session *other;

	if (s->follows_batch)
		return false;
	TAILQ_FOREACH(other, &s->manager->sessions, entry)
	if (is_beside(other, u, s) && other->follows_mask && !other->counts &&
	    !process_counts(u, other))
		return true;
	return false;
}

bool masks_of_another(const struct unit *u, const struct session *s)
{
	return !s->follows_mask && (process_follows(u, s) || counts_for_a_follower(u, s));
}

static bool given_up(const struct session *s)
{
	return sequence_worker_clock_alone(s->unit->sequence, s->worker);
}

static enum masks_reason model_off(const struct manager *m, uint32_t model)
{
	if (!m->config->models[model].use_mask)
		return MASKS_SWITCHED_OFF;
	return m->masks_stalled[model] ? MASKS_STALLED : MASKS_FOLLOWED;
}

const char *masks_model_off(const struct manager *m, uint32_t model)
{
	return reason_texts[model_off(m, model)];
}

enum masks_reason masks_reason(const struct unit *u, const struct session *s)
{
	enum masks_reason off = model_off(s->manager, s->model_index);

	if (off != MASKS_FOLLOWED)
		return off;
	if (!s->follows_mask && !masks_of_another(u, s))
		return MASKS_NOT_FOLLOWED;
	return s->follows_mask && given_up(s) ? MASKS_NOT_ACKNOWLEDGED : MASKS_FOLLOWED;
}

/* Once for a model: who connects again and again must not fill the log. Not before a whole
 * interval: the connection of a process's HSA tool may come after its server's own. */
static void log_reason(struct unit *u, const struct session *s, enum masks_reason r)
{
	struct unit_masks *masks = &u->masks[s->model_index];

	if ((r != MASKS_NOT_FOLLOWED && r != MASKS_NOT_ACKNOWLEDGED) || !s->meter.whole ||
	    masks->logged & (1u << r))
		return;
	masks->logged |= 1u << r;
	log_info("%s: model %s is governed by clock alone: worker %s (pid %d) %s", u->bdf, s->model,
		 s->instance, pid_of(s), reason_texts[r]);
}

static bool is_masked(const struct session *s)
{
	const struct session_directive *wanted = session_wanted(s);
	const struct session_directive *acknowledged = session_acknowledged(s);

	return (wanted && wanted->mask.n_bits > 0) ||
	       (acknowledged && acknowledged->mask.n_bits > 0);
}

/* Given up on while it may run under a mask. Who never confirmed any has all CUs, as started. */
static bool may_be_left_masked(const struct session *s)
{
	const struct session_directive *acknowledged = session_acknowledged(s);

	if (!s->follows_mask || !given_up(s) || s->meter.last.applied_epoch == 0)
		return false;
	return !acknowledged || acknowledged->mask.n_bits > 0;
}

static void judge_stall(struct unit *u, uint32_t model, bool masked, uint64_t now_ns)
{
	const struct response_table *t = u->plan->tables[model].table;
	const struct governor_model_input *in = &u->input.models[model];
	uint64_t p99_ns = u->latencies ? u->latencies[model].p99_ns : 0;
	struct stall_input input = {
		.now_ns = now_ns,
		.masked = masked,
		.missing = in->state == GOVERNOR_INPUT_MISSING,
		.in_flight = in->in_flight,
		.ended = in->completions + in->failures,
		/* Before the first request has ended the objective stands for it. */
		.p99_ns = p99_ns > 0 ? p99_ns
			  : t	     ? t->slo_ns
				     : 0,
	};

	if (!stall_step(&u->masks[model].stall, &input) || u->manager->masks_stalled[model])
		return;
	u->manager->masks_stalled[model] = true;
	log_warning("%s: model %s: %lu requests in flight and none has ended for %.0f s under a "
		    "partial CU mask: all CUs until the next reload",
		    u->bdf, u->manager->config->models[model].name, in->in_flight,
		    (double)stall_limit_ns(input.p99_ns) / (double)NSEC_PER_SEC);
}

void masks_judge(struct unit *u, uint64_t now_ns)
{
	struct governor_input *in = &u->input;
	bool masked[GOVERNOR_MAX_MODELS] = {0};
	const struct session *s;

	if (!u->masks)
		return;
	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (session_on(s, u) && s->model_index < u->plan->n_models)
		masked[s->model_index] |= is_masked(s);
	for (uint32_t i = 0; i < u->plan->n_models; i++)
		judge_stall(u, i, masked[i], now_ns);
	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	{
		struct governor_model_input *model;
		enum masks_reason r;

		if (!session_on(s, u) || s->model_index >= u->plan->n_models)
			continue;
		model = &in->models[s->model_index];
		r = masks_reason(u, s);
		if (r != MASKS_FOLLOWED)
			model->mask_follows = false;
		model->mask_unknown |= may_be_left_masked(s);
		log_reason(u, s, r);
	}
}
