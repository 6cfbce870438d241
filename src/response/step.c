/* SPDX-License-Identifier: Apache-2.0 */
#include "response/tail.h"

#include <math.h>

#define NORMAL_95     1.645
#define STEP_RUNS     16
#define STEP_REQUESTS (TAIL_DRAWS / STEP_RUNS)

struct counts {
	double late, all;
};

/* Servers that the boost adds are free; those that it takes away are the first to be free. */
static void change_servers(struct servers *s, uint32_t n, double now_ns)
{
	while (s->n > n) {
		uint32_t first = 0;

		for (uint32_t i = 1; i < s->n; i++)
			if (s->free_at_ns[i] < s->free_at_ns[first])
				first = i;
		s->free_at_ns[first] = s->free_at_ns[--s->n];
	}
	while (s->n < n)
		s->free_at_ns[s->n++] = now_ns;
}

/* One step; false if the boost does not empty the queue. Where the requests run out before the
 * boost (several thousand a second), their lateness has shown by then. */
static bool run_step(const struct tail_lab *lab, uint32_t run, const struct surface_cell *c,
		     const struct surface_cell *boost, double unit_ns, double react_ns,
		     double slo_ns, struct counts *counts)
{
	const double *arrival = lab->arrival + (size_t)run * STEP_REQUESTS;
	const float *service = lab->service + (size_t)run * STEP_REQUESTS;
	double origin = (run ? arrival[-1] : 0) * unit_ns, boost_at = origin + react_ns;
	struct servers s = {.n = c->workers};
	bool boosted = false;

	for (uint32_t i = 0; i < STEP_REQUESTS;) {
		struct service take =
			servers_take(&s, arrival, unit_ns, i, STEP_REQUESTS, c->batch);
		double done;

		if (!boosted && take.start_ns >= boost_at) {
			change_servers(&s, boost->workers, boost_at);
			c = boost;
			boosted = true;
			continue;
		}
		if (boosted && take.start_ns <= arrival[i] * unit_ns)
			return true;
		/* A service that has begun keeps its pace; a faster clock only shortens it. */
		done = take.start_ns + quantile_at(c->service_ns, service[i]);
		s.free_at_ns[take.server] = done;
		for (; take.n > 0; take.n--, i++) {
			counts->all++;
			counts->late += done - arrival[i] * unit_ns > slo_ns;
		}
	}
	return !boosted;
}

bool step_is_survived(const struct tail_lab *lab, const struct surface_cell *c,
		      const struct surface_cell *boost, double rate_rps, double react_ns,
		      uint32_t percentile, double slo_ns)
{
	double unit_ns = 1e9 / rate_rps, share[STEP_RUNS] = {0}, allowed = 1 - percentile / 100.0;
	struct counts total = {0};
	double mean, variance = 0;

	for (uint32_t i = 0; i < STEP_RUNS; i++) {
		struct counts n = {0};

		if (!run_step(lab, i, c, boost, unit_ns, react_ns, slo_ns, &n))
			return false;
		total.late += n.late;
		total.all += n.all;
		share[i] = n.late - allowed * n.all;
	}
	/* Requests over the allowance, per step: at most none, by more than chance. */
	mean = (total.late - allowed * total.all) / STEP_RUNS;
	for (uint32_t i = 0; i < STEP_RUNS; i++)
		variance += (share[i] - mean) * (share[i] - mean) / (STEP_RUNS - 1);
	return mean + NORMAL_95 * sqrt(variance / STEP_RUNS) <= 0;
}
