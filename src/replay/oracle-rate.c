/* SPDX-License-Identifier: Apache-2.0 */
/* The search that knows each tick's expected rate, the card and the spread of its service times,
 * and nothing of the requests themselves: per tick the candidate of least expected energy plus mu
 * times the requests that are expected late beyond those that would be under maximum.
 *
 * What to expect of a candidate at a rate comes from a queue with Poisson arrivals in its steady
 * state, simulated at even steps of utilisation with the same random numbers for all, and in
 * between from the straight line. Queues that one tick leaves to the next are not followed: a
 * schedule without feedback cannot know them. */
#include "base/macros.h"
#include "replay/oracle-internal.h"
#include <errno.h>
#include <math.h>

#define STEPS	 40 /* of utilisation, the last one 1 */
#define REQUESTS 20000
#define WARM_UP	 2000
#define STREAM	 UINT64_C(0x6f7261636c650000) /* not the run's own requests */

/* Of one candidate, by utilisation 0, 1 / STEPS .. 1. */
struct expectation {
	double late[STEPS + 1];	     /* share of requests */
	double dynamic_j[STEPS + 1]; /* above idle, for each request */
	double unit_ns;		     /* per request in full batches */
};

struct lab {
	double sum[WARM_UP + REQUESTS];	   /* of exponential variates: arrivals at rate 1 */
	double factor[WARM_UP + REQUESTS]; /* on service times */
};

struct oracle_rate {
	struct oracle_work work;
	struct expectation *expected; /* by candidate */
	struct expectation maximum;
	double tick_s;
};

static struct lab *lab_new(const struct simulation_options *run)
{
	struct lab *lab = malloc(sizeof(*lab));
	const struct truth *t = run->truth;
	double sum = 0;

	if (!lab)
		return NULL;
	for (uint32_t i = 0; i < WARM_UP + REQUESTS; i++) {
		lab->sum[i] = sum += plant_exponential(STREAM, i);
		lab->factor[i] =
			plant_jitter(STREAM, i, t->jitter_sigma, t->stall_p, t->stall_factor);
	}
	return lab;
}

struct queue {
	const struct oracle_candidate *candidate;
	double gap_ns; /* mean time between arrivals */
	double limit_ns;
	bool service_alone; /* counts, not the sojourn */
};

static void run_queue(const struct lab *lab, const struct queue *q, double *ret_late,
		      double *ret_dynamic_j)
{
	const struct oracle_candidate *c = q->candidate;
	double free_ns = 0, dynamic_j = 0;
	uint32_t late = 0, counted = 0;

	for (uint32_t i = 0; i < WARM_UP + REQUESTS;) {
		double start_ns = MAX(free_ns, lab->sum[i] * q->gap_ns);
		uint32_t n = 1, first = i;

		while (n < c->configuration.batch && i + n < WARM_UP + REQUESTS &&
		       lab->sum[i + n] * q->gap_ns <= start_ns)
			n++;
		free_ns = start_ns + c->ns[n - 1] * lab->factor[i];
		for (; i < first + n; i++) {
			double from_ns = q->service_alone ? start_ns : lab->sum[i] * q->gap_ns;

			late += first >= WARM_UP && free_ns - from_ns > q->limit_ns;
		}
		if (first < WARM_UP)
			continue;
		counted += n;
		dynamic_j += oracle_dynamic_j(c, n) * lab->factor[first];
	}
	*ret_late = counted > 0 ? (double)late / counted : 0;
	*ret_dynamic_j = counted > 0 ? dynamic_j / counted : 0;
}

static void expect(const struct oracle_work *w, const struct lab *lab,
		   const struct oracle_candidate *c, struct expectation *ret)
{
	uint32_t batch = c->configuration.batch;
	struct queue q = {
		.candidate = c,
		.limit_ns = (double)w->options->measures.slo_ns,
		.service_alone = w->options->run.latency == LATENCY_SERVICE,
	};

	ret->unit_ns = c->ns[batch - 1] / batch;
	for (uint32_t i = 1; i < STEPS; i++) {
		q.gap_ns = ret->unit_ns * STEPS / i;
		run_queue(lab, &q, &ret->late[i], &ret->dynamic_j[i]);
	}
	/* Alone on the card: nobody waits. Batches fill as slowly as they can. */
	q.gap_ns = ret->unit_ns * 1e6;
	run_queue(lab, &q, &ret->late[0], &ret->dynamic_j[0]);
	ret->late[STEPS] = q.service_alone ? ret->late[STEPS - 1] : 1;
	ret->dynamic_j[STEPS] = ret->dynamic_j[STEPS - 1];
}

static double at(const double *values, double utilisation)
{
	double place = CLAMP(utilisation, 0.0, 1.0) * STEPS;
	uint32_t i = MIN((uint32_t)place, (uint32_t)STEPS - 1);

	return values[i] + (values[i + 1] - values[i]) * (place - i);
}

/* Share of requests that are late; of a queue that grows, the more the faster it does, so that
 * where nothing suffices the fastest is taken. */
static double late_share(const struct expectation *e, double load)
{
	return at(e->late, load) + MAX(load - 1, 0.0);
}

/* Expected cost of a tick, J. */
static double cost(const struct oracle_rate *r, uint32_t candidate, double rate_rps, double mu_j)
{
	const struct expectation *e = &r->expected[candidate];
	double load = rate_rps * e->unit_ns * 1e-9, requests = rate_rps * r->tick_s;
	double late = late_share(e, load);

	late -= late_share(&r->maximum, rate_rps * r->maximum.unit_ns * 1e-9);
	return r->work.candidates->all[candidate].idle_w * r->tick_s +
	       requests * (at(e->dynamic_j, load) + mu_j * MAX(late, 0.0));
}

static uint32_t best(const struct oracle_rate *r, double rate_rps, double mu_j)
{
	double least = INFINITY;
	uint32_t at_least = 0;

	for (uint32_t i = 0; i < r->work.candidates->n; i++) {
		double j = cost(r, i, rate_rps, mu_j);

		if (j < least) {
			least = j;
			at_least = i;
		}
	}
	return at_least;
}

void oracle_rate_run(const struct oracle_rate *r, double mu_j, struct configuration *ret)
{
	const struct oracle_options *o = r->work.options;

	for (uint32_t tick = 0; tick < r->work.n_ticks; tick++) {
		/* What is left after the last arrival is served as that was. */
		uint32_t known = MIN(tick, MAX(o->n_rates, 1u) - 1);
		double rate_rps = o->n_rates > 0 ? o->rate_rps[known] : o->rated_rps;

		ret[tick] = r->work.candidates->all[best(r, rate_rps, mu_j)].configuration;
	}
}

int oracle_rate_new(const struct oracle_work *w, struct oracle_rate **ret)
{
	_cleanup_(oracle_rate_freep) struct oracle_rate *r = calloc(1, sizeof(*r));
	_cleanup_(freep) struct lab *lab = lab_new(&w->options->run);

	if (!r || !lab)
		return -ENOMEM;
	r->work = *w;
	r->tick_s = (double)w->options->run.poll_ns * 1e-9;
	r->expected = calloc(w->candidates->n, sizeof(*r->expected));
	if (!r->expected)
		return -ENOMEM;
	for (uint32_t i = 0; i < w->candidates->n; i++)
		expect(w, lab, &w->candidates->all[i], &r->expected[i]);
	expect(w, lab, &w->candidates->maximum, &r->maximum);
	*ret = TAKE_PTR(r);
	return 0;
}

struct oracle_rate *oracle_rate_free(struct oracle_rate *r)
{
	if (r)
		free(r->expected);
	free(r);
	return NULL;
}
