/* SPDX-License-Identifier: Apache-2.0 */
/* The workers, one for each model: first in, first out, in batches by the rule of cofris-worker's
 * queue. A batch starts when a server is free and either max_batch requests wait, or the oldest has
 * waited max_wait, or no more will come; its jitter is that of its first request. */
#include "replay/simulation-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define QUEUE_MAX_BATCH 256 /* the worker's */

static int model_queue_new(struct simulated_model *m)
{
	const struct simulation_load *l = &m->load;

	m->executions = calloc(l->workers, sizeof(*m->executions));
	m->latency_ns = malloc(MAX(l->n_arrivals, 1u) * sizeof(*m->latency_ns));
	if (!m->executions || !m->latency_ns)
		return -ENOMEM;
	memset(m->latency_ns, 0xff, l->n_arrivals * sizeof(*m->latency_ns));
	return 0;
}

int simulation_queue_new(struct simulation *s)
{
	int r = 0;

	for (uint32_t i = 0; i < s->n_models && r == 0; i++)
		r = model_queue_new(&s->models[i]);
	return r;
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

void simulation_admit(const struct simulation *s, struct simulated_model *m)
{
	const struct simulation_load *l = &m->load;
	uint32_t before = m->arrived;

	if (l->saturated || m->down)
		return;
	while (m->arrived < l->n_arrivals && l->arrival_ns[m->arrived] <= s->now_ns)
		m->arrived++;
	m->counters.arrivals += m->arrived - before;
}

static uint64_t next_arrival_ns(const struct simulated_model *m)
{
	const struct simulation_load *l = &m->load;

	return m->arrived < l->n_arrivals ? l->arrival_ns[m->arrived] : UINT64_MAX;
}

/* ---- executions ---- */

static bool any_free(const struct simulated_model *m)
{
	return !m->down && m->n_running < m->load.workers;
}

/* When those that wait start if nothing else arrives. */
static uint64_t batch_start_ns(const struct simulation *s, const struct simulated_model *m)
{
	const struct simulation_load *l = &m->load;
	uint32_t waiting = m->arrived - m->taken;
	uint64_t oldest_ns;

	if (l->saturated)
		return s->now_ns < s->options.duration_ns ? s->now_ns : UINT64_MAX;
	if (waiting == 0)
		return UINT64_MAX;
	oldest_ns = l->arrival_ns[m->taken];
	if (waiting >= m->configuration.batch || m->arrived == l->n_arrivals)
		return s->now_ns;
	return oldest_ns + MIN(m->max_wait_ns, UINT64_MAX - oldest_ns);
}

static struct execution *free_execution(struct simulated_model *m)
{
	struct execution *e = m->executions;

	while (e->running)
		e++;
	return e;
}

static uint32_t batch_size(struct simulated_model *m)
{
	uint32_t batch = CLAMP((uint32_t)m->configuration.batch, 1u, (uint32_t)QUEUE_MAX_BATCH);

	if (!m->load.saturated)
		return MIN(batch, m->arrived - m->taken);
	m->arrived += batch;
	m->counters.arrivals += batch;
	return batch;
}

static void start(struct simulation *s, struct simulated_model *m)
{
	const struct simulation_load *l = &m->load;
	const struct truth *t = s->options.truth;
	struct execution *e = free_execution(m);

	*e = (struct execution){
		.running = true,
		.first = m->taken,
		.n = batch_size(m),
		.start_ns = s->now_ns,
		.since_ns = s->now_ns,
		.left = 1,
		.full_ns = INFINITY,
	};
	e->factor = plant_jitter(l->seed, e->first, t->jitter_sigma, t->stall_p, t->stall_factor) *
		    (1 + t->drift_per_s * (double)s->now_ns * 1e-9);
	m->taken += e->n;
	m->n_running++;
	s->n_running++;
	m->counters.starts += e->n;
	m->counters.executions++;
	m->sums.executions++;
	m->sums.executed += e->n;
	if (!l->saturated)
		governing_started(s, m->number, s->now_ns - l->arrival_ns[e->first]);
}

static void end_request(struct simulation *s, struct simulated_model *m, const struct execution *e,
			uint32_t request)
{
	const struct simulation_load *l = &m->load;
	uint64_t service_ns = s->now_ns - e->start_ns, latency_ns;
	uint64_t sojourn_ns = l->saturated ? service_ns : s->now_ns - l->arrival_ns[request];

	latency_ns = l->latency == LATENCY_SERVICE ? service_ns : sojourn_ns;
	if (!l->saturated)
		m->latency_ns[request] = latency_ns;
	m->counters.sojourn_ns += sojourn_ns;
	if (l->slo_ns > 0 && latency_ns > l->slo_ns) {
		m->counters.late++;
		m->sums.late++;
	}
	latencies_add(s, &m->sojourns, sojourn_ns, 1);
}

/* The oldest request that has not ended; UINT32_MAX: none. */
static uint32_t oldest_unfinished(const struct simulated_model *m)
{
	uint32_t oldest = m->taken < m->arrived ? m->taken : UINT32_MAX;

	for (uint32_t i = 0; m->n_running > 0 && i < m->load.workers; i++)
		if (m->executions[i].running)
			oldest = MIN(oldest, m->executions[i].first);
	return oldest;
}

void simulation_note_starved(const struct simulation *s, struct simulated_model *m)
{
	uint32_t oldest = oldest_unfinished(m);
	uint64_t since_ns = m->last_end_ns;

	if (oldest == UINT32_MAX)
		return;
	if (!m->load.saturated)
		since_ns = MAX(since_ns, m->load.arrival_ns[oldest]);
	m->starved_ns = MAX(m->starved_ns, s->now_ns - since_ns);
}

static void end(struct simulation *s, struct simulated_model *m, struct execution *e)
{
	uint64_t service_ns = s->now_ns - e->start_ns;

	simulation_note_starved(s, m);
	for (uint32_t i = 0; i < e->n; i++)
		end_request(s, m, e, e->first + i);
	latencies_add(s, &m->services, service_ns, e->n);
	m->counters.completions += e->n;
	m->counters.busy_ns += service_ns;
	m->sums.completed += e->n;
	m->last_end_ns = s->last_end_ns = s->now_ns;
	e->running = false;
	m->n_running--;
	s->n_running--;
}

static bool end_those_due(struct simulation *s, struct simulated_model *m)
{
	bool ended = false;

	for (uint32_t i = 0; i < m->load.workers; i++) {
		struct execution *e = &m->executions[i];

		if (!e->running || e->end_ns > s->now_ns)
			continue;
		end(s, m, e);
		ended = true;
	}
	return ended;
}

static bool run_model(struct simulation *s, struct simulated_model *m)
{
	bool changed = m->n_running > 0 && end_those_due(s, m);

	simulation_admit(s, m);
	while (any_free(m) && batch_start_ns(s, m) <= s->now_ns) {
		start(s, m);
		changed = true;
	}
	return changed;
}

void simulation_queue_run(struct simulation *s)
{
	bool changed = false;

	for (uint32_t i = 0; i < s->n_models; i++)
		changed |= run_model(s, &s->models[i]);
	if (changed)
		simulation_retime(s);
}

/* Arrivals while all servers work only lengthen the queue, so nothing has to happen at them. */
static uint64_t model_next_ns(const struct simulation *s, const struct simulated_model *m)
{
	uint64_t next_ns = UINT64_MAX;

	for (uint32_t i = 0; m->n_running > 0 && i < m->load.workers; i++)
		if (m->executions[i].running)
			next_ns = MIN(next_ns, m->executions[i].end_ns);
	if (any_free(m))
		next_ns = MIN(next_ns, MIN(batch_start_ns(s, m), next_arrival_ns(m)));
	return next_ns;
}

uint64_t simulation_queue_next_ns(const struct simulation *s)
{
	uint64_t next_ns = UINT64_MAX;

	for (uint32_t i = 0; i < s->n_models; i++)
		next_ns = MIN(next_ns, model_next_ns(s, &s->models[i]));
	return next_ns;
}

bool simulation_queue_done(const struct simulation *s)
{
	if (s->n_running > 0)
		return false;
	for (uint32_t i = 0; i < s->n_models; i++) {
		const struct simulated_model *m = &s->models[i];

		if (!m->load.saturated &&
		    (m->taken < m->arrived || m->arrived < m->load.n_arrivals))
			return false;
	}
	return true;
}
