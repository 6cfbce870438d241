/* SPDX-License-Identifier: Apache-2.0 */
/* The search that knows every arrival and every service time to come.
 *
 * From tick to tick a few ways of having got there are kept (a beam): what each has cost, and what
 * it leaves behind: the first request that has not started, and what is left of the one that is
 * being served. Each is continued by every candidate, first in first out, and the best of all those
 * go on. A way is judged by its cost, plus for what it leaves waiting the least energy that any
 * candidate can serve it with, plus mu for each request that would be late even if the fastest
 * candidate took over now. Both are what the future cannot undercut, so nothing is held
 * against handing work on but what is certain.
 *
 * Left out are heat, and the millisecond in which a clock comes up from idle. */
#include "base/macros.h"
#include "replay/oracle-internal.h"
#include <errno.h>
#include <math.h>

#define BEAM	    8
#define MAX_PREVIEW 1024 /* waiting requests that are looked at one by one */

/* One way of having got to the end of a tick. */
struct way {
	double judged_j, cost_j;
	double left;	    /* of the execution under way, 0 .. 1 */
	double started_ns;  /* when that began */
	uint32_t next;	    /* first request that has not started */
	uint16_t under_way; /* requests in that execution; 0: none */
	uint16_t candidate; /* of this tick */
	uint16_t parent;    /* way of the tick before */
};

struct step {
	uint16_t candidate, parent;
};

struct oracle_search {
	struct oracle_work work;
	double *factor;	    /* on each request's service time */
	bool *counts;	    /* on time under maximum: late here is in excess */
	uint32_t *arrived;  /* arrivals up to the end of each tick */
	struct step *steps; /* [tick][BEAM] */
	double mu_j;
};

static const struct simulation_options *run_of(const struct oracle_search *s)
{
	return &s->work.options->run;
}

static bool is_late(const struct oracle_search *s, uint32_t request, double start_ns, double end_ns)
{
	const struct simulation_options *run = run_of(s);
	double from_ns =
		run->latency == LATENCY_SERVICE ? start_ns : (double)run->arrival_ns[request];

	return s->counts[request] && end_ns - from_ns > (double)s->work.options->measures.slo_ns;
}

static uint32_t count_late(const struct oracle_search *s, uint32_t first, uint32_t n,
			   double start_ns, double end_ns)
{
	uint32_t late = 0;

	for (uint32_t i = first; i < first + n; i++)
		late += is_late(s, i, start_ns, end_ns);
	return late;
}

/* What a free server takes at start_ns: requests that have arrived by then, up to the batch. */
static uint32_t batch_at(const struct oracle_search *s, uint32_t next, double start_ns,
			 uint32_t batch)
{
	const struct simulation_options *run = run_of(s);
	uint32_t n = 1;

	while (n < batch && next + n < run->n_arrivals &&
	       (double)run->arrival_ns[next + n] <= start_ns)
		n++;
	return n;
}

/* Goes on with the execution under way (of as many requests as it began with, whatever the batch
 * limit is now); returns when the server is free, beyond end_ns if not in
 * this tick. */
static double go_on(const struct oracle_search *s, const struct oracle_candidate *c, struct way *w,
		    double now_ns, double end_ns)
{
	uint32_t first = w->next - w->under_way;
	double all_ns = c->ns[w->under_way - 1] * s->factor[first], done_ns;

	done_ns = now_ns + w->left * all_ns;
	w->cost_j += (MIN(done_ns, end_ns) - now_ns) * c->dynamic_w[w->under_way - 1] * 1e-9;
	if (done_ns > end_ns) {
		w->left = (done_ns - end_ns) / all_ns;
		return done_ns;
	}
	w->cost_j += s->mu_j * count_late(s, first, w->under_way, w->started_ns, done_ns);
	w->under_way = 0;
	return done_ns;
}

static void serve_tick(const struct oracle_search *s, uint32_t candidate, double start_ns,
		       double end_ns, struct way *w)
{
	const struct oracle_candidate *c = &s->work.candidates->all[candidate];
	const struct simulation_options *run = run_of(s);
	double now_ns = start_ns;

	w->cost_j += c->idle_w * (end_ns - start_ns) * 1e-9;
	if (w->under_way > 0)
		now_ns = go_on(s, c, w, now_ns, end_ns);
	while (now_ns < end_ns && w->next < run->n_arrivals) {
		w->started_ns = MAX(now_ns, (double)run->arrival_ns[w->next]);
		if (w->started_ns >= end_ns)
			break;
		w->under_way =
			(uint16_t)batch_at(s, w->next, w->started_ns, c->configuration.batch);
		w->next += w->under_way;
		w->left = 1;
		now_ns = go_on(s, c, w, w->started_ns, end_ns);
	}
}

/* ---- judging ---- */

/* Requests that will be late whatever comes: the fastest candidate takes over what a tick leaves,
 * until it has caught up with the arrivals. */
static uint32_t doomed(const struct oracle_search *s, const struct way *w, uint32_t arrived,
		       double now_ns)
{
	const struct oracle_candidates *all = s->work.candidates;
	const struct oracle_candidate *c = &all->all[all->fastest];
	const struct simulation_options *run = run_of(s);
	uint32_t late = 0, i = w->next;

	if (w->under_way > 0) {
		uint32_t first = w->next - w->under_way;
		double done_ns = now_ns + w->left * c->ns[w->under_way - 1] * s->factor[first];

		late += count_late(s, first, w->under_way, w->started_ns, done_ns);
		now_ns = done_ns;
	}
	for (; i < run->n_arrivals && i < w->next + MAX_PREVIEW &&
	       (double)run->arrival_ns[i] < now_ns;
	     i++) {
		double start_ns = now_ns;

		now_ns += c->ns[0] * s->factor[i];
		late += is_late(s, i, start_ns, now_ns);
	}
	/* Behind so many others each is. */
	return late + (arrived > i ? arrived - i : 0);
}

static void judge(const struct oracle_search *s, uint32_t arrived, double now_ns, struct way *w)
{
	double waiting = arrived - w->next + w->left * w->under_way;

	w->judged_j = w->cost_j;
	if (arrived == w->next && w->under_way == 0)
		return;
	w->judged_j +=
		waiting * s->work.candidates->least_j + s->mu_j * doomed(s, w, arrived, now_ns);
}

static bool is_better(const struct way *a, const struct way *b)
{
	return a->judged_j < b->judged_j;
}

static bool leaves_the_same(const struct way *a, const struct way *b)
{
	return a->next == b->next && a->under_way == b->under_way && a->left == b->left;
}

/* Takes a way into the beam if it is among the best; of those that leave the same, one is enough.
 * Of equals the earlier one stays, so the order of the candidates decides. */
static uint32_t offer(struct way *beam, uint32_t n, const struct way *w)
{
	uint32_t at;

	for (uint32_t i = 0; i < n; i++) {
		if (!leaves_the_same(&beam[i], w))
			continue;
		if (!is_better(w, &beam[i]))
			return n;
		for (uint32_t j = i + 1; j < n; j++)
			beam[j - 1] = beam[j];
		n--;
		break;
	}
	for (at = n; at > 0 && is_better(w, &beam[at - 1]); at--)
		if (at < BEAM)
			beam[at] = beam[at - 1];
	if (at < BEAM)
		beam[at] = *w;
	return MIN(n + 1, (uint32_t)BEAM);
}

/* ---- the walk ---- */

/* Only differences matter; small numbers keep their digits. */
static void rebase(struct way *beam, uint32_t n)
{
	double least_j = beam[0].cost_j;

	for (uint32_t i = 0; i < n; i++)
		beam[i].cost_j -= least_j;
}

static uint32_t walk_tick(struct oracle_search *s, uint32_t tick, struct way *beam, uint32_t n)
{
	uint64_t poll_ns = run_of(s)->poll_ns;
	double start_ns = (double)(tick * poll_ns), end_ns = (double)((tick + 1) * poll_ns);
	struct way next[BEAM];
	uint32_t n_next = 0;

	for (uint16_t p = 0; p < n; p++)
		for (uint16_t c = 0; c < s->work.candidates->n; c++) {
			struct way w = beam[p];

			w.parent = p;
			w.candidate = c;
			serve_tick(s, c, start_ns, end_ns, &w);
			judge(s, s->arrived[tick], end_ns, &w);
			n_next = offer(next, n_next, &w);
		}
	rebase(next, n_next);
	for (uint32_t i = 0; i < n_next; i++) {
		beam[i] = next[i];
		s->steps[(size_t)tick * BEAM + i] =
			(struct step){.candidate = next[i].candidate, .parent = next[i].parent};
	}
	return n_next;
}

void oracle_search_run(struct oracle_search *s, double mu_j, struct configuration *ret)
{
	struct way beam[BEAM] = {{0}};
	uint32_t n = 1, at = 0;

	s->mu_j = mu_j;
	for (uint32_t tick = 0; tick < s->work.n_ticks; tick++)
		n = walk_tick(s, tick, beam, n);
	/* The first of the last ones is the best; back from there. */
	for (uint32_t tick = s->work.n_ticks; tick-- > 0;) {
		const struct step *step = &s->steps[(size_t)tick * BEAM + at];

		ret[tick] = s->work.candidates->all[step->candidate].configuration;
		at = step->parent;
	}
}

/* ---- what is known of the requests ---- */

static void foresee(struct oracle_search *s)
{
	const struct simulation_options *run = run_of(s);
	const struct measures_options *m = &s->work.options->measures;
	const struct truth *t = run->truth;
	uint32_t tick = 0;

	for (uint32_t i = 0; i < run->n_arrivals; i++) {
		double t_s = (double)run->arrival_ns[i] * 1e-9;

		s->factor[i] =
			plant_jitter(run->seed, i, t->jitter_sigma, t->stall_p, t->stall_factor) *
			(1 + t->drift_per_s * t_s);
		s->counts[i] = s->work.options->maximum->latency_ns[i] <= m->slo_ns;
		for (; tick < s->work.n_ticks && run->arrival_ns[i] >= (tick + 1) * run->poll_ns;
		     tick++)
			s->arrived[tick] = i;
	}
	for (; tick < s->work.n_ticks; tick++)
		s->arrived[tick] = run->n_arrivals;
}

int oracle_search_new(const struct oracle_work *w, struct oracle_search **ret)
{
	_cleanup_(oracle_search_freep) struct oracle_search *s = calloc(1, sizeof(*s));
	size_t n = MAX(w->options->run.n_arrivals, 1u);

	if (!s)
		return -ENOMEM;
	s->work = *w;
	s->factor = calloc(n, sizeof(*s->factor));
	s->counts = calloc(n, sizeof(*s->counts));
	s->arrived = calloc(w->n_ticks, sizeof(*s->arrived));
	s->steps = calloc((size_t)w->n_ticks * BEAM, sizeof(*s->steps));
	if (!s->factor || !s->counts || !s->arrived || !s->steps)
		return -ENOMEM;
	foresee(s);
	*ret = TAKE_PTR(s);
	return 0;
}

struct oracle_search *oracle_search_free(struct oracle_search *s)
{
	if (!s)
		return NULL;
	free(s->factor);
	free(s->counts);
	free(s->arrived);
	free(s->steps);
	free(s);
	return NULL;
}
