/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/doubts.h"
#include "base/log.h"
#include "governor/boost.h"
#include "governor/late-test.h"

static const char *const texts[] = {
	[SESSION_BELIEVED] = NULL,
	[SESSION_SILENT] = "does not report",
	[SESSION_INVALID] = "its counts are invalid",
	[SESSION_WAKES] = "its wakes contradict its counts",
	[SESSION_LATE] = "its late counts contradict its latencies",
};

static const struct {
	const char *what, *by;
	enum session_doubt doubt;
} subjects[DOUBT_SUBJECTS] = {
	[DOUBT_WAKES] = {"wakes", "what", SESSION_WAKES},
	[DOUBT_LATE] = {"late requests", "latencies that", SESSION_LATE},
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

/* How much of it is this worker's, in this interval. */
static uint64_t share_of(const struct session *s, enum doubt_subject subject)
{
	if (subject == DOUBT_WAKES)
		return s->meter.woken;
	return s->counts ? s->meter.last.late - s->meter.base.late : 0;
}

static void blame(struct unit *u, uint32_t model, enum doubt_subject subject)
{
	struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (session_on(s, u) && s->model_index == model)
		s->doubted[subject] += share_of(s, subject);
}

/* The one whose part in it is the largest: where there are several, others may have woken in the
 * same moment, or been late, too. */
static const struct session *most_doubted(const struct unit *u, uint32_t model,
					  enum doubt_subject subject)
{
	const struct session *s, *most = NULL;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (session_on(s, u) && s->model_index == model && s->doubted[subject] > 0 &&
	    (!most || s->doubted[subject] > most->doubted[subject]))
		most = s;
	return most;
}

static void ignore(struct unit *u, uint32_t model, enum doubt_subject subject)
{
	const struct session *s = most_doubted(u, model, subject);
	struct unit_doubts *d = &u->doubts[model][subject];

	d->ignored = true;
	d->pid = s ? pid_of(s) : 0;
	(void)snprintf(d->instance, sizeof(d->instance), "%s", s ? s->instance : "");
	log_warning("%s: model %s: %s count no more, until all its workers have left: %u times "
		    "they were contradicted by %s pid %d ('%s') counts itself",
		    u->bdf, model_name(u, model), subjects[subject].what, d->n,
		    subjects[subject].by, d->pid, d->instance);
}

static void judge(struct unit *u, uint32_t model, enum doubt_subject subject, uint32_t n,
		  bool disbelieved)
{
	struct unit_doubts *d = &u->doubts[model][subject];

	if (n > d->n)
		blame(u, model, subject);
	d->n = n;
	if (disbelieved && !d->ignored)
		ignore(u, model, subject);
	d->ignored = disbelieved;
}

void doubts_judge(struct unit *u)
{
	struct session *s;

	TAILQ_FOREACH(s, &u->manager->sessions, entry)
	if (s->unit == u && !u->input.early)
		judge_counts(u, s);
	for (uint32_t i = 0; i < u->plan->n_models; i++) {
		const struct boost *b = governor_boost(u->plan->governor, i);
		const struct late_test *l = governor_late_test(u->plan->governor, i);

		judge(u, i, DOUBT_WAKES, b->doubts, b->disbelieved);
		judge(u, i, DOUBT_LATE, l->doubts, l->disbelieved);
	}
}

const char *doubts_text(const struct session *s)
{
	for (int i = 0; i < DOUBT_SUBJECTS && s->doubt == SESSION_BELIEVED; i++) {
		const struct unit_doubts *d =
			doubts_ignored(s->unit, s->model_index, (enum doubt_subject)i);

		if (d && d->pid == pid_of(s))
			return texts[subjects[i].doubt];
	}
	return texts[s->doubt];
}

const struct unit_doubts *doubts_ignored(const struct unit *u, uint32_t model,
					 enum doubt_subject subject)
{
	const struct unit_doubts *d;

	if (model >= GOVERNOR_MAX_MODELS)
		return NULL;
	d = &u->doubts[model][subject];
	return d->ignored ? d : NULL;
}
