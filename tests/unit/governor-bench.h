/* SPDX-License-Identifier: Apache-2.0 */
/* A card in virtual time for the governor's tests: a table made by hand and a first-come
 * first-served queue with Poisson arrivals that is served as the decision in force says. */
#pragma once

#include "base/units.h"
#include "governor/governor.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BENCH_LEVELS 9
#define BENCH_QUEUE  65536

static const uint32_t bench_level_mhz[BENCH_LEVELS] = {700,  809,  1000, 1200, 1350,
						       1485, 1560, 1680, 1725};

/* Service time: a third does not depend on the clock. */
static inline double bench_service_ns(double fastest_ns, uint32_t mhz)
{
	return fastest_ns * (1.0 / 3 + 2.0 / 3 * 1725 / mhz);
}

static inline double bench_busy_w(uint32_t mhz)
{
	double volt = 0.75 + 0.35 * (mhz - 700.0) / 1025;

	return 40 + 0.1 * mhz * volt * volt;
}

static inline void bench_row(struct table_row *row, double fastest_ns, double rate_rps,
			     uint32_t mhz)
{
	double service_ns = bench_service_ns(fastest_ns, mhz);
	double utilisation = rate_rps * service_ns / 1e9;

	/* Also the padding: tables are compared as bytes. */
	memset(row, 0, sizeof(*row));
	row->rate_rps = rate_rps;
	row->max_mhz = mhz;
	row->shape = (struct cu_shape){4, 15};
	row->batch = row->workers = 1;
	row->power_w = 20 + utilisation * (bench_busy_w(mhz) - 20);
	row->tail_ns = service_ns * (1 + 1.5 * utilisation / (1 - utilisation));
	row->tail_upper_ns = row->tail_ns;
	row->service_ns = service_ns;
}

static inline uint32_t bench_clock(double fastest_ns, double rate_rps, double slo_ns)
{
	for (uint32_t i = 0; i < BENCH_LEVELS; i++) {
		double service_ns = bench_service_ns(fastest_ns, bench_level_mhz[i]);
		double u = rate_rps * service_ns / 1e9;

		/* p95 of an M/D/1 queue, roughly: an exponential tail of the wait. */
		if (u < 0.95 && service_ns * (1 + 1.5 * u / (1 - u)) <= 0.9 * slo_ns)
			return bench_level_mhz[i];
	}
	return 0;
}

/* A card whose capacity at the highest clock is rated_rps / 0.7. */
static inline void bench_table(struct response_table *t, double rated_rps)
{
	double fastest_ns = 0.7e9 / rated_rps;

	memset(t, 0, sizeof(*t));
	(void)snprintf(t->model, sizeof(t->model), "model");
	t->percentile = 95;
	t->t0_ns = (uint64_t)(fastest_ns * (1 + 1.5 * 0.7 / 0.3));
	t->slo_ns = 2 * t->t0_ns;
	t->rated_rps = rated_rps;
	t->overload_rps = 0.95 * rated_rps / 0.7;
	t->idle_power_w = 20;
	for (unsigned int i = 0; i <= 54; i++) {
		double rate_rps = i == 0 ? fmin(6, rated_rps) : i * rated_rps / TABLE_STEPS;
		uint32_t mhz = bench_clock(fastest_ns, rate_rps, (double)t->slo_ns);

		if (i > 0 && rate_rps <= t->rows[0].rate_rps)
			continue;
		if (mhz == 0)
			break;
		bench_row(&t->rows[t->n_rows++], fastest_ns, rate_rps, mhz);
	}
	bench_row(&t->baseline, fastest_ns, t->overload_rps, 1725);
	t->baseline.flags = TABLE_ROW_BASELINE;
}

static inline void bench_config(struct governor_config *c, const struct response_table *t)
{
	memset(c, 0, sizeof(*c));
	c->poll_ns = 500 * NSEC_PER_MSEC;
	c->n_levels = BENCH_LEVELS;
	memcpy(c->level_mhz, bench_level_mhz, sizeof(bench_level_mhz));
	c->topology = cu_topology_even(4, 15);
	c->n_models = 1;
	(void)snprintf(c->models[0].name, sizeof(c->models[0].name), "model");
	c->models[0].table = t;
	c->models[0].policy = "cofris";
	c->models[0].priority = 100;
	c->models[0].use_mask = true;
}

/* splitmix64: small, and the same everywhere. */
static inline double bench_uniform(uint64_t *seed)
{
	uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	z ^= z >> 31;
	return ((double)(z >> 11) + 0.5) / 9007199254740992.0;
}

struct bench_queue {
	uint64_t seed;
	double fastest_ns, rate_rps;
	uint32_t clump; /* requests that arrive together; 0 counts as 1 */
	uint32_t mhz;
	double now_ns, next_arrival_ns, busy_until_ns;
	bool busy;
	bool wants_p95; /* which takes sorting */
	double slo_ns;
	uint64_t head, tail; /* of the ring of unfinished requests; head is being served */
	double arrived_ns[BENCH_QUEUE];
	uint64_t sojourns_ns[BENCH_QUEUE]; /* of the present interval, as many as completions */
	struct governor_model_input in;	   /* of the present interval */
	double boost_wait_ns;		   /* who waits longer wakes */
	bool woken;
	uint64_t total, total_late;
};

/* From one clump to the next. */
static inline double bench_gap_ns(struct bench_queue *q)
{
	return -log(bench_uniform(&q->seed)) * 1e9 * MAX(q->clump, 1u) / q->rate_rps;
}

static inline void bench_queue_rate(struct bench_queue *q, double rate_rps)
{
	q->rate_rps = rate_rps;
	/* Memoryless, so the next arrival may be drawn anew. */
	q->next_arrival_ns = rate_rps > 0 ? q->now_ns + bench_gap_ns(q) : INFINITY;
}

static inline void bench_queue_init(struct bench_queue *q, const struct response_table *t,
				    uint64_t seed, double rate_rps)
{
	memset(q, 0, sizeof(*q));
	q->seed = seed;
	q->fastest_ns = t->baseline.service_ns;
	q->slo_ns = (double)t->slo_ns;
	q->mhz = 1725;
	q->boost_wait_ns = INFINITY;
	bench_queue_rate(q, rate_rps);
}

static inline void bench_queue_start(struct bench_queue *q, double now_ns)
{
	double service_ns = bench_service_ns(q->fastest_ns, q->mhz);

	q->busy = true;
	q->woken = now_ns - q->arrived_ns[q->head % BENCH_QUEUE] > q->boost_wait_ns;
	q->busy_until_ns = now_ns + service_ns;
	q->in.starts++;
	q->in.executions++;
	q->in.busy_ns += (uint64_t)service_ns;
}

static inline void bench_queue_come(struct bench_queue *q, double now_ns)
{
	if (q->tail - q->head == BENCH_QUEUE)
		return;
	q->arrived_ns[q->tail++ % BENCH_QUEUE] = now_ns;
	q->in.arrivals++;
	q->total++;
	if (!q->busy)
		bench_queue_start(q, now_ns);
}

static inline void bench_queue_arrive(struct bench_queue *q)
{
	double now_ns = q->next_arrival_ns;

	q->next_arrival_ns = now_ns + bench_gap_ns(q);
	for (uint32_t i = 0; i < MAX(q->clump, 1u); i++)
		bench_queue_come(q, now_ns);
}

static inline void bench_queue_complete(struct bench_queue *q)
{
	double now_ns = q->busy_until_ns;
	double sojourn_ns = now_ns - q->arrived_ns[q->head++ % BENCH_QUEUE];

	q->in.sojourn_ns += (uint64_t)sojourn_ns;
	q->sojourns_ns[q->in.completions % BENCH_QUEUE] = (uint64_t)sojourn_ns;
	if (sojourn_ns > q->slo_ns) {
		q->in.late++;
		q->total_late++;
	}
	q->in.completions++;
	q->busy = false;
	if (q->head != q->tail)
		bench_queue_start(q, now_ns);
}

static inline int bench_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static inline uint64_t bench_queue_p95_ns(struct bench_queue *q)
{
	size_t n = q->in.completions;

	if (!q->wants_p95 || n == 0 || n > BENCH_QUEUE)
		return 0;
	qsort(q->sojourns_ns, n, sizeof(q->sojourns_ns[0]), bench_compare);
	return q->sojourns_ns[(n * 95 + 99) / 100 - 1];
}

/* Runs the queue for one interval, or until it wakes, and gives what a daemon would have seen. */
static inline void bench_queue_run(struct bench_queue *q, double interval_ns,
				   struct governor_model_input *ret)
{
	double end_ns = q->now_ns + interval_ns;

	q->in = (struct governor_model_input){.state = GOVERNOR_INPUT_OK,
					      .workers = 1,
					      .whole_interval = true,
					      .mask_follows = true,
					      .batch_follows = true,
					      .acknowledged = true};
	q->woken = false;
	for (;;) {
		bool completes = q->busy && q->busy_until_ns <= q->next_arrival_ns;
		double now_ns = completes ? q->busy_until_ns : q->next_arrival_ns;

		if (now_ns > end_ns)
			break;
		if (completes)
			bench_queue_complete(q);
		else
			bench_queue_arrive(q);
		if (q->woken) {
			end_ns = MIN(ceil(now_ns), end_ns);
			break;
		}
	}
	q->now_ns = end_ns;
	q->in.in_flight = q->tail - q->head;
	q->in.waiting = q->in.in_flight - q->busy;
	q->in.woken = q->woken;
	if (q->in.in_flight > 0)
		q->in.oldest_age_ns = (uint64_t)(end_ns - q->arrived_ns[q->head % BENCH_QUEUE]) + 1;
	q->in.sojourn_p95_ns = bench_queue_p95_ns(q);
	*ret = q->in;
}

/* One governed card with one model. */
struct bench {
	struct response_table table;
	struct governor_config config;
	struct governor *governor;
	struct bench_queue queue;
	struct governor_input input;
	struct governor_decision decision;
	uint64_t looked_ns;			       /* at a wake */
	uint32_t changes;			       /* in the last step */
	void (*note)(struct bench *b, void *userdata); /* after each decision */
	void *userdata;
};

static inline int bench_init(struct bench *b, double rated_rps, uint64_t seed, double rate_rps)
{
	bench_table(&b->table, rated_rps);
	bench_config(&b->config, &b->table);
	memset(&b->input, 0, sizeof(b->input));
	memset(&b->decision, 0, sizeof(b->decision));
	b->looked_ns = b->changes = 0;
	b->note = NULL;
	bench_queue_init(&b->queue, &b->table, seed, rate_rps);
	return governor_new(&b->config, &b->governor);
}

/* The wait from which a worker wakes is no part of a configuration. */
static inline bool bench_reconfigures(const struct governor_decision *a,
				      const struct governor_decision *b)
{
	return a->action != b->action || a->max_mhz != b->max_mhz ||
	       !cu_shape_equal(a->models[0].shape, b->models[0].shape) ||
	       a->models[0].max_batch != b->models[0].max_batch;
}

/* To at_ns, or to a wake before it. */
static inline void bench_look(struct bench *b, uint64_t at_ns, uint64_t poll_at_ns)
{
	uint64_t before_ns = b->input.now_ns;
	struct governor_decision before;

	b->queue.boost_wait_ns = INFINITY;
	/* Looked at ten times a second. */
	if (b->decision.number > 0 && b->decision.models[0].boost_wait_ns != UINT64_MAX &&
	    before_ns - b->looked_ns >= 100 * NSEC_PER_MSEC)
		b->queue.boost_wait_ns = (double)b->decision.models[0].boost_wait_ns;
	bench_queue_run(&b->queue, (double)(at_ns - before_ns), &b->input.models[0]);
	b->input.now_ns = (uint64_t)b->queue.now_ns;
	b->input.interval_ns = b->input.now_ns - before_ns;
	b->input.early = b->input.now_ns < poll_at_ns;
	if (b->queue.woken)
		b->looked_ns = b->input.now_ns;
	before = b->decision;
	governor_step(b->governor, &b->input, &b->decision);
	b->changes += bench_reconfigures(&before, &b->decision);
	if (b->note)
		b->note(b, b->userdata);
	b->queue.mhz = b->decision.action == GOVERNOR_SET ? b->decision.max_mhz : 1725;
}

/* One poll: an interval of load with its wakes, and the decisions, which are in force at once. */
static inline void bench_step(struct bench *b)
{
	uint64_t poll_at_ns = b->input.now_ns + b->config.poll_ns;

	b->changes = 0;
	while (b->input.now_ns < poll_at_ns) {
		uint64_t at_ns = poll_at_ns;

		/* A wake in the tenth of a second without looks is seen after it. */
		if (b->input.now_ns - b->looked_ns < 100 * NSEC_PER_MSEC)
			at_ns = MIN(at_ns, b->looked_ns + 100 * NSEC_PER_MSEC);
		if (b->decision.number > 0)
			at_ns = MIN(at_ns, MAX(b->decision.again_ns, b->input.now_ns + 1));
		bench_look(b, at_ns, poll_at_ns);
	}
}
