/* SPDX-License-Identifier: Apache-2.0 */
#include "response/tail.h"
#include "base/select.h"
#include <math.h>

/* Early decisions: with three degrees of freedom a distance of 8 standard errors happens by chance
 * about once in 500 times; the relative floor is for a scatter that is small by chance. */
#define SURE_REPLICATIONS 4
#define SURE_ERRORS	  8.0
#define SURE_PART	  0.02
/* From 48 of the values, three ranks below: too high about once in 150 times. */
#define GUESS_SAMPLE 48
#define GUESS_MARGIN 3

/* splitmix64 (Steele, Lea and Flood, 2014). */
static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

/* In (0, 1). */
static double next_uniform(uint64_t *state)
{
	return ((double)(next_random(state) >> 12) + 0.5) * 0x1p-52;
}

static double next_normal(uint64_t *state)
{
	double radius = sqrt(-2 * log(next_uniform(state)));

	return radius * cos(2 * M_PI * next_uniform(state));
}

/* Gamma distribution (Marsaglia and Tsang, 2000). */
static double next_gamma(uint64_t *state, double shape)
{
	double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, scale = 1, x, v;

	if (shape <= 0)
		return 0;
	if (shape < 1)
		scale = pow(next_uniform(state), 1 / shape);
	for (;;) {
		x = next_normal(state);
		v = pow(1 + x / sqrt(9 * d), 3);
		if (v > 0 && log(next_uniform(state)) < x * x / 2 + d * (1 - v + log(v)))
			return scale * d * v;
	}
}

static void shuffle(float *v, uint32_t n, uint64_t *state)
{
	for (uint32_t i = n - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(((next_random(state) >> 32) * (i + 1)) >> 32);
		float t = v[i];

		v[i] = v[j];
		v[j] = t;
	}
}

/* Stratified: one number from each of n equal parts, in random order. The load of the run is then
 * exact, and most of a queue simulation's scatter is that of its load. */
static void draw_uniforms(float *ret, uint32_t n, uint64_t *state)
{
	for (uint32_t i = 0; i < n; i++)
		ret[i] = (float)((i + next_uniform(state)) / n);
	shuffle(ret, n, state);
}

struct tail_lab *tail_lab_new(uint64_t seed)
{
	struct tail_lab *lab = calloc(1, sizeof(*lab));
	uint64_t state = seed;
	double now = 0;

	if (!lab)
		return NULL;
	lab->seed = seed;
	draw_uniforms(lab->service, TAIL_DRAWS, &state);
	for (uint32_t i = 0; i < TAIL_DRAWS; i++)
		lab->arrival[i] = now -= log(lab->service[i]);
	lab->gap[0] = (float)lab->arrival[0];
	for (uint32_t i = 1; i < TAIL_DRAWS; i++)
		lab->gap[i] = (float)(lab->arrival[i] - lab->arrival[i - 1]);
	draw_uniforms(lab->service, TAIL_DRAWS, &state);
	for (uint32_t i = 0; i < TAIL_DRAWS; i++)
		lab->service[i] *= SURFACE_QUANTILES - 1;
	return lab;
}

struct tail_lab *tail_lab_free(struct tail_lab *lab)
{
	if (!lab)
		return NULL;
	for (uint32_t i = 0; i < lab->n_kept; i++)
		free(lab->kept[i]);
	free(lab);
	return NULL;
}

/* Where quantile 0 %, 1 %, ... of n new samples lies in the distribution: order statistics of n
 * uniform numbers, whose spacings are Dirichlet distributed (gamma variates over their sum). */
static void resample(uint64_t seed, uint32_t n, float (*ret)[SURFACE_QUANTILES])
{
	uint64_t state = seed ^ UINT64_C(0x5bd1e995) * n;
	double shape = (n - 1.0) / (SURFACE_QUANTILES - 1);

	for (uint32_t r = 0; r < TAIL_REPLICATIONS; r++) {
		double at[SURFACE_QUANTILES], sum = 0;

		for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
			at[q] = sum += next_gamma(&state, q == 0 ? 1 : shape);
		sum += next_gamma(&state, 1);
		for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
			ret[r][q] = (float)((SURFACE_QUANTILES - 1) * at[q] / sum);
	}
}

/* Kept, as every cell of a measured surface has another number of samples and is asked about again
 * and again. */
const struct tail_resampled *tail_resampled_of(struct tail_lab *lab, uint32_t n)
{
	struct tail_resampled *new;

	for (uint32_t i = 0; i < lab->n_kept; i++)
		if (lab->kept[i]->samples == n)
			return lab->kept[i];
	new = lab->n_kept < TAIL_KEPT ? malloc(sizeof(*new)) : NULL;
	if (new)
		lab->kept[lab->n_kept++] = new;
	else if (lab->unkept.samples == n)
		return &lab->unkept;
	else
		new = &lab->unkept;
	new->samples = n;
	resample(lab->seed, n, new->at);
	return new;
}

double tail_mean_service_ns(const struct surface_cell *c)
{
	const float *q = c->service_ns;
	double sum = (q[0] + (double)q[SURFACE_QUANTILES - 1]) / 2;

	for (uint32_t i = 1; i < SURFACE_QUANTILES - 1; i++)
		sum += q[i];
	return sum / (SURFACE_QUANTILES - 1);
}

/* The same as below for one server and no batches, which is nearly always so. */
static void serve_singly(const struct tail_lab *lab, struct servers *s, const float *quantiles,
			 double unit_ns, uint32_t from, uint32_t end, float *ret_sojourn)
{
	double free_at_ns = s->free_at_ns[0];

	for (uint32_t i = from; i < end; i++) {
		double arrival_ns = lab->arrival[i] * unit_ns;

		free_at_ns = MAX(free_at_ns, arrival_ns) + quantile_at(quantiles, lab->service[i]);
		ret_sojourn[i - from] = (float)(free_at_ns - arrival_ns);
	}
	s->free_at_ns[0] = free_at_ns;
}

void tail_serve(const struct tail_lab *lab, struct servers *s, const float *quantiles,
		uint32_t batch, double unit_ns, uint32_t from, uint32_t end, float *ret_sojourn)
{
	if (s->n == 1 && batch == 1) {
		serve_singly(lab, s, quantiles, unit_ns, from, end, ret_sojourn);
		return;
	}
	for (uint32_t i = from; i < end;) {
		struct service take = servers_take(s, lab->arrival, unit_ns, i, end, batch);
		double done = take.start_ns + quantile_at(quantiles, lab->service[i]);

		s->free_at_ns[take.server] = done;
		for (; take.n > 0; take.n--, i++)
			ret_sojourn[i - from] = (float)(done - lab->arrival[i] * unit_ns);
	}
}

DEFINE_SELECT_KTH(float, select_kth)

/* Puts all values above a bound to the front of ret, which has room for n; returns how many. */
static int values_above(const float *v, int n, int stride, float bound, float *ret)
{
	int above = 0;

	for (int i = 0; i < n; i++) {
		ret[above] = v[(size_t)i * stride];
		above += v[(size_t)i * stride] > bound;
	}
	return above;
}

/* A value that is probably a bit below the k-th smallest, from a few of them. */
static float guess_below(const float *v, int n, int k)
{
	float sample[GUESS_SAMPLE];
	int rank = (int)((int64_t)GUESS_SAMPLE * k / n) - GUESS_MARGIN;

	for (int i = 0; i < GUESS_SAMPLE; i++)
		sample[i] = v[(int64_t)n * i / GUESS_SAMPLE];
	return rank < 0 ? -INFINITY : select_kth(sample, GUESS_SAMPLE, rank);
}

/* Only the largest values matter for a tail, and one pass that drops the others costs much less
 * than a search among them all. Where the guess was too high it was in vain. */
static double tail_above(struct tail_lab *lab, const float *v, int n, int stride, float guess,
			 uint32_t percentile)
{
	int k = n * (int)percentile / 100;
	int above = values_above(v, n, stride, guess, lab->scratch);

	if (above < n - k)
		above = values_above(v, n, stride, -INFINITY, lab->scratch);
	return select_kth(lab->scratch, above, above - (n - k));
}

double tail_of(struct tail_lab *lab, const float *sojourn, int n, uint32_t percentile)
{
	float guess = guess_below(sojourn, n, n * (int)percentile / 100);

	return tail_above(lab, sojourn, n, 1, guess, percentile);
}

double tail_of_lane(struct tail_lab *lab, uint32_t lane, float guess, uint32_t percentile)
{
	return tail_above(lab, &lab->lanes[0][lane], TAIL_REQUESTS, TAIL_LANES, guess, percentile);
}

/* Tails are compared by their logarithms: their scatter is relative and skewed. */
struct run {
	struct servers measured, resampled;
	struct moments tail, change; /* of the logarithm; change: resampled against measured */
	double unit_ns, samples;
	const struct tail_resampled *again;
};

static double standard_error(const struct run *run)
{
	return tail_standard_error(&run->tail, &run->change, run->samples);
}

static void start_run(struct tail_lab *lab, const struct surface_cell *c, double rate_rps,
		      struct run *ret)
{
	struct run run = {.unit_ns = 1e9 / rate_rps, .samples = MAX(c->samples, 1u)};

	run.measured.n = CLAMP(c->workers, 1u, (uint32_t)SURFACE_MAX_WORKERS);
	run.again = tail_resampled_of(lab, MAX(c->samples, 1u));
	tail_serve(lab, &run.measured, c->service_ns, c->batch, run.unit_ns, 0, TAIL_WARM_UP,
		   lab->scratch);
	run.resampled = run.measured;
	*ret = run;
}

static void replicate(struct tail_lab *lab, const struct surface_cell *c, uint32_t percentile,
		      uint32_t r, struct run *run)
{
	uint32_t from = TAIL_WARM_UP + r * TAIL_REQUESTS, end = from + TAIL_REQUESTS;
	float *sojourn = lab->sojourn + (size_t)r * TAIL_REQUESTS;
	float quantiles[SURFACE_QUANTILES], again[TAIL_REQUESTS];
	double tail;

	for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
		quantiles[q] = quantile_at(c->service_ns, run->again->at[r][q]);
	tail_serve(lab, &run->measured, c->service_ns, c->batch, run->unit_ns, from, end, sojourn);
	tail_serve(lab, &run->resampled, quantiles, c->batch, run->unit_ns, from, end, again);
	tail = log(tail_of(lab, sojourn, TAIL_REQUESTS, percentile));
	moments_add(&run->tail, tail);
	moments_add(&run->change, log(tail_of(lab, again, TAIL_REQUESTS, percentile)) - tail);
}

static void finish_run(struct tail_lab *lab, const struct run *run, uint32_t percentile,
		       double *ret_tail_ns, double *ret_upper_ns)
{
	/* All replications at once: the quantile of a short one is biased at high load. */
	double tail = tail_of(lab, lab->sojourn, TAIL_REPLICATIONS * TAIL_REQUESTS, percentile);

	*ret_tail_ns = tail;
	*ret_upper_ns = tail * tail_bound_factor(&run->tail, &run->change, run->samples);
}

/* Adds replication r to the run, and to what is known if that is new. */
static void trace_replication(struct tail_lab *lab, const struct surface_cell *c,
			      uint32_t percentile, uint32_t r, struct run *run,
			      struct tail_trace *t)
{
	replicate(lab, c, percentile, r, run);
	t->mean[r] = run->tail.mean;
	t->error[r] = standard_error(run);
	t->n = MAX(t->n, r + 1);
	if (r + 1 == TAIL_REPLICATIONS)
		finish_run(lab, run, percentile, &t->tail_ns, &t->upper_ns);
}

void tail_estimate(struct tail_lab *lab, const struct surface_cell *c, double rate_rps,
		   uint32_t percentile, struct tail_trace *t)
{
	struct run run;

	if (t->n == TAIL_REPLICATIONS)
		return;
	start_run(lab, c, rate_rps, &run);
	for (uint32_t r = 0; r < TAIL_REPLICATIONS; r++)
		trace_replication(lab, c, percentile, r, &run, t);
}

/* After replication r, 1 and -1: surely within and over the limit. */
static int sure(const struct tail_trace *t, uint32_t r, double limit_ns)
{
	double distance = log(limit_ns) - t->mean[r];

	if (r + 1 < SURE_REPLICATIONS || fabs(distance) < MAX(SURE_ERRORS * t->error[r], SURE_PART))
		return 0;
	return distance > 0 ? 1 : -1;
}

bool tail_within(struct tail_lab *lab, const struct surface_cell *c, double rate_rps,
		 uint32_t percentile, double limit_ns, struct tail_trace *t)
{
	uint32_t known = t->n;
	struct run run;

	/* A sojourn is at least its service. */
	if (c->service_ns[percentile] > limit_ns)
		return false;
	for (uint32_t r = 0; r < known; r++)
		if (sure(t, r, limit_ns) != 0)
			return sure(t, r, limit_ns) > 0;
	if (known < TAIL_REPLICATIONS)
		start_run(lab, c, rate_rps, &run);
	for (uint32_t r = 0; known < TAIL_REPLICATIONS && r < TAIL_REPLICATIONS; r++) {
		trace_replication(lab, c, percentile, r, &run, t);
		if (r >= known && sure(t, r, limit_ns) != 0)
			return sure(t, r, limit_ns) > 0;
	}
	return t->upper_ns <= limit_ns;
}
