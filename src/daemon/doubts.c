/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/doubts.h"
#include "base/log.h"
#include "governor/boost.h"

static const char *const texts[] = {
	[SESSION_BELIEVED] = NULL,
	[SESSION_SILENT] = "does not report",
	[SESSION_INVALID] = "its counts are invalid",
	[SESSION_WAKES] = "its wakes contradict its counts",
};

static int pid_of(const struct session *s)
{
	return channel_connection_peer(s->connection)->pid;
}

static const char *model_name(const struct unit *u, uint32_t model)
{
	return u->manager->config->models[model].name;
}

/* Of those who report, in the order of what weighs more. */
static void judge_counts(struct unit *u, struct session *s)
{
	uint64_t poll_ns = u->manager->config->daemon.poll_ns;

	if (s->meter.invalid)
		s->doubt = SESSION_INVALID;
	else if (meter_missing(&s->meter, u->stepped_ns, poll_ns))
		s->doubt = SESSION_SILENT;
	else
		s->doubt = SESSION_BELIEVED;
	if (s->doubt != SESSION_INVALID || s->logged_invalid)
		return;
	log_warning(
		"%s: model %s: the counts of pid %d ('%s') are invalid: taken at the rated rate",
		u->bdf, s->model, pid_of(s), s->instance);
	s->logged_invalid = true;
}

static void blame(struct unit *u, uint32_t model)
{
	struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (session_on(s, u) && s->model_index == model && s->meter.woken)
		s->doubted_wakes++;
}

/* The one that woke most often for nothing: where there are several, others may have woken in the
 * same moment. */
static const struct session *most_doubted(const struct unit *u, uint32_t model)
{
	const struct session *s, *most = NULL;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (session_on(s, u) && s->model_index == model && s->doubted_wakes > 0 &&
	    (!most || s->doubted_wakes > most->doubted_wakes))
		most = s;
	return most;
}

static void ignore_wakes(struct unit *u, uint32_t model, uint32_t doubts)
{
	const struct session *s = most_doubted(u, model);
	struct unit_doubts *d = &u->doubts[model];

	d->ignored = true;
	d->pid = s ? pid_of(s) : 0;
	(void)snprintf(d->instance, sizeof(d->instance), "%s", s ? s->instance : "");
	log_warning("%s: model %s: wakes count no more, until all its workers have left: %u were "
		    "contradicted by what pid %d ('%s') counts itself",
		    u->bdf, model_name(u, model), doubts, d->pid, d->instance);
}

static void judge_wakes(struct unit *u, uint32_t model)
{
	const struct boost *b = governor_boost(u->plan->governor, model);
	struct unit_doubts *d = &u->doubts[model];

	if (b->doubts > d->wakes)
		blame(u, model);
	d->wakes = b->doubts;
	if (b->disbelieved && !d->ignored)
		ignore_wakes(u, model, b->doubts);
	d->ignored = b->disbelieved;
}

void doubts_judge(struct unit *u)
{
	struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (s->unit == u && !u->input.early)
		judge_counts(u, s);
	for (uint32_t i = 0; i < u->plan->n_models; i++)
		judge_wakes(u, i);
}

const char *doubts_text(const struct session *s)
{
	const struct unit_doubts *d = doubts_wakes_ignored(s->unit, s->model_index);

	if (s->doubt == SESSION_BELIEVED && d &&
	    d->pid == channel_connection_peer(s->connection)->pid)
		return texts[SESSION_WAKES];
	return texts[s->doubt];
}

const struct unit_doubts *doubts_wakes_ignored(const struct unit *u, uint32_t model)
{
	return model < GOVERNOR_MAX_MODELS && u->doubts[model].ignored ? &u->doubts[model] : NULL;
}
