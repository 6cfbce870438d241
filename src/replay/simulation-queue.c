/* SPDX-License-Identifier: Apache-2.0 */
/* The worker: first in, first out, in batches by the rule of cofris-worker's queue. A batch starts
 * when a server is free and either max_batch requests wait, or the oldest has waited max_wait, or
 * no more will come; its jitter is that of its first request. */
#include "replay/simulation-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define QUEUE_MAX_BATCH 256 /* the worker's */

int simulation_queue_new(struct simulation *s)
{
	const struct simulation_options *o = &s->options;

	s->executions = calloc(o->workers, sizeof(*s->executions));
	s->latency_ns = malloc(MAX(o->n_arrivals, 1u) * sizeof(*s->latency_ns));
	if (!s->executions || !s->latency_ns)
		return -ENOMEM;
	memset(s->latency_ns, 0xff, o->n_arrivals * sizeof(*s->latency_ns));
	return 0;
}

/* ---- latencies ---- */

void latencies_add(struct simulation *s, struct latencies *l, uint64_t ns, uint32_t n)
{
	/* An oracle's schedules are many. */
	if (!s->governing && !s->options.trace_ticks)
		return;
	if (l->size - l->n < n) {
		uint32_t size = MAX(2 * l->size, l->n + n);
		uint64_t *larger = realloc(l->ns, size * sizeof(*larger));

		if (!larger) {
			s->error = -ENOMEM;
			return;
		}
		l->ns = larger;
		l->size = size;
	}
	for (uint32_t i = 0; i < n; i++)
		l->ns[l->n++] = ns;
}

static void swap(uint64_t *a, uint64_t *b)
{
	uint64_t t = *a;

	*a = *b;
	*b = t;
}

/* Quickselect: the k-th smallest of n comes to its place. */
static uint64_t select_ns(uint64_t *ns, uint32_t n, uint32_t k)
{
	uint32_t low = 0, high = n - 1;

	while (low < high) {
		uint64_t pivot = ns[low + (high - low) / 2];
		uint32_t i = low, j = high;

		for (;;) {
			while (ns[i] < pivot)
				i++;
			while (ns[j] > pivot)
				j--;
			if (i >= j)
				break;
			swap(&ns[i++], &ns[j--]);
		}
		if (k <= j)
			high = j;
		else
			low = j + 1;
	}
	return ns[k];
}

uint64_t latencies_p95_ns(struct latencies *l)
{
	/* The least that at least 95 % do not exceed. */
	return l->n > 0 ? select_ns(l->ns, l->n, (95 * l->n + 99) / 100 - 1) : 0;
}

/* ---- arrivals ---- */

void simulation_admit(struct simulation *s)
{
	const struct simulation_options *o = &s->options;
	uint32_t before = s->arrived;

	if (o->saturated)
		return;
	while (s->arrived < o->n_arrivals && o->arrival_ns[s->arrived] <= s->now_ns)
		s->arrived++;
	s->counters.arrivals += s->arrived - before;
}

static uint64_t next_arrival_ns(const struct simulation *s)
{
	const struct simulation_options *o = &s->options;

	return s->arrived < o->n_arrivals ? o->arrival_ns[s->arrived] : UINT64_MAX;
}

/* ---- executions ---- */

static bool any_free(const struct simulation *s)
{
	return s->n_running < s->options.workers;
}

/* When those that wait start if nothing else arrives. */
static uint64_t batch_start_ns(const struct simulation *s)
{
	const struct simulation_options *o = &s->options;
	uint32_t waiting = s->arrived - s->taken;
	uint64_t oldest_ns;

	if (o->saturated)
		return s->now_ns < o->duration_ns ? s->now_ns : UINT64_MAX;
	if (waiting == 0)
		return UINT64_MAX;
	oldest_ns = o->arrival_ns[s->taken];
	if (waiting >= s->configuration.batch || s->arrived == o->n_arrivals)
		return s->now_ns;
	return oldest_ns + MIN(s->max_wait_ns, UINT64_MAX - oldest_ns);
}

static struct execution *free_execution(struct simulation *s)
{
	struct execution *e = s->executions;

	while (e->running)
		e++;
	return e;
}

static uint32_t batch_size(struct simulation *s)
{
	uint32_t batch = CLAMP((uint32_t)s->configuration.batch, 1u, (uint32_t)QUEUE_MAX_BATCH);

	if (!s->options.saturated)
		return MIN(batch, s->arrived - s->taken);
	s->arrived += batch;
	s->counters.arrivals += batch;
	return batch;
}

static void start(struct simulation *s)
{
	const struct simulation_options *o = &s->options;
	const struct truth *t = o->truth;
	struct execution *e = free_execution(s);

	*e = (struct execution){
		.running = true,
		.first = s->taken,
		.n = batch_size(s),
		.start_ns = s->now_ns,
		.since_ns = s->now_ns,
		.left = 1,
		.full_ns = INFINITY,
	};
	e->factor = plant_jitter(o->seed, e->first, t->jitter_sigma, t->stall_p, t->stall_factor) *
		    (1 + t->drift_per_s * (double)s->now_ns * 1e-9);
	s->taken += e->n;
	s->n_running++;
	s->counters.starts += e->n;
	s->counters.executions++;
	s->sums.executions++;
	s->sums.executed += e->n;
	if (!o->saturated)
		governing_started(s, s->now_ns - o->arrival_ns[e->first]);
}

static void end_request(struct simulation *s, const struct execution *e, uint32_t request)
{
	const struct simulation_options *o = &s->options;
	uint64_t service_ns = s->now_ns - e->start_ns, latency_ns;
	uint64_t sojourn_ns = o->saturated ? service_ns : s->now_ns - o->arrival_ns[request];

	latency_ns = o->latency == LATENCY_SERVICE ? service_ns : sojourn_ns;
	if (!o->saturated)
		s->latency_ns[request] = latency_ns;
	s->counters.sojourn_ns += sojourn_ns;
	if (o->slo_ns > 0 && latency_ns > o->slo_ns) {
		s->counters.late++;
		s->sums.late++;
	}
	latencies_add(s, &s->sojourns, sojourn_ns, 1);
}

static void end(struct simulation *s, struct execution *e)
{
	uint64_t service_ns = s->now_ns - e->start_ns;

	for (uint32_t i = 0; i < e->n; i++)
		end_request(s, e, e->first + i);
	latencies_add(s, &s->services, service_ns, e->n);
	s->counters.completions += e->n;
	s->counters.busy_ns += service_ns;
	s->sums.completed += e->n;
	s->last_end_ns = s->now_ns;
	e->running = false;
	s->n_running--;
}

static bool end_those_due(struct simulation *s)
{
	bool ended = false;

	for (uint32_t i = 0; i < s->options.workers; i++) {
		struct execution *e = &s->executions[i];

		if (!e->running || e->end_ns > s->now_ns)
			continue;
		end(s, e);
		ended = true;
	}
	return ended;
}

void simulation_queue_run(struct simulation *s)
{
	bool changed = s->n_running > 0 && end_those_due(s);

	simulation_admit(s);
	while (any_free(s) && batch_start_ns(s) <= s->now_ns) {
		start(s);
		changed = true;
	}
	if (changed)
		simulation_retime(s);
}

/* Arrivals while all servers work only lengthen the queue, so nothing has to happen at them. */
uint64_t simulation_queue_next_ns(const struct simulation *s)
{
	uint64_t next_ns = UINT64_MAX;

	for (uint32_t i = 0; s->n_running > 0 && i < s->options.workers; i++)
		if (s->executions[i].running)
			next_ns = MIN(next_ns, s->executions[i].end_ns);
	if (any_free(s))
		next_ns = MIN(next_ns, MIN(batch_start_ns(s), next_arrival_ns(s)));
	return next_ns;
}

bool simulation_queue_done(const struct simulation *s)
{
	return s->n_running == 0 && (s->options.saturated || (s->taken == s->arrived &&
							      s->arrived == s->options.n_arrivals));
}
