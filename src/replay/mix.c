/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/mix.h"
#include "base/macros.h"
#include "replay/mix-internal.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>

const char *mix_policy_name(enum mix_policy p)
{
	static const char *const names[MIX_POLICIES] = {
		[MIX_AUTO] = "auto",
		[MIX_MAXIMUM] = "maximum",
		[MIX_COFRIS] = "cofris",
		[MIX_EXHAUSTIVE] = "exhaustive",
		[MIX_MASKS] = "exhaustive-masks",
	};

	return names[p];
}

/* What a job is about. */
struct work {
	struct evaluation_options options; /* with the policies that are run here */
	struct policy_runs policies;
	const struct mix *mixes;
	uint32_t n_mixes, n_members;
	struct bench_setup *setups;		     /* [model][member], each model alone */
	struct bench_setup (*loads)[MIX_MAX_MODELS]; /* [mix][member], borrowing from these */
	struct evaluation_error *errors;	     /* by job */
	struct mix_figures (*figures)[MIX_POLICIES]; /* [mix][card] */
	pthread_mutex_t lock;			     /* of what follows */
	uint32_t done, total;
};

static void count_step(struct work *w)
{
	(void)pthread_mutex_lock(&w->lock);
	w->done++;
	if (w->options.progress)
		w->options.progress(w->options.userdata, w->done, w->total);
	(void)pthread_mutex_unlock(&w->lock);
}

/* ---- load ---- */

static double load_at(const struct load_curve *c, double t_s)
{
	uint32_t i = 1;

	while (i + 1 < c->n && c->points[i].t_s <= t_s)
		i++;
	return c->points[i - 1].load +
	       (c->points[i].load - c->points[i - 1].load) *
		       fmin(1, (t_s - c->points[i - 1].t_s) /
				       (c->points[i].t_s - c->points[i - 1].t_s));
}

/* The same load, begun later and gone round; a step where its end meets its beginning. */
static int turn(const struct trace *t, double start_s, struct load_curve *ret)
{
	const struct load_curve *c = t->curve;
	double end_s = t->duration_s - start_s;

	*ret = (struct load_curve){.points = calloc(c->n + 4, sizeof(*ret->points))};
	if (!ret->points)
		return -ENOMEM;
	ret->points[ret->n++] = (struct load_point){0, load_at(c, start_s)};
	for (uint32_t i = 0; i < c->n; i++)
		if (c->points[i].t_s > start_s && c->points[i].t_s < t->duration_s)
			ret->points[ret->n++] =
				(struct load_point){c->points[i].t_s - start_s, c->points[i].load};
	ret->points[ret->n++] = (struct load_point){end_s, load_at(c, t->duration_s)};
	if (start_s == 0)
		return 0;
	ret->points[ret->n++] = (struct load_point){nextafter(end_s, INFINITY), load_at(c, 0)};
	for (uint32_t i = 0; i < c->n; i++)
		if (c->points[i].t_s > 0 && c->points[i].t_s < start_s)
			ret->points[ret->n++] =
				(struct load_point){c->points[i].t_s + end_s, c->points[i].load};
	ret->points[ret->n++] = (struct load_point){t->duration_s, load_at(c, start_s)};
	return 0;
}

/* Model i's part of the card, on the bench that it has alone. */
static int make_load(const struct work *w, const struct mix *m, uint32_t i,
		     const struct bench_setup *alone, struct bench_setup *ret,
		     struct evaluation_error *error)
{
	const struct trace *whole = w->options.trace;
	struct trace part = *whole;
	struct load_curve curve;
	uint64_t seed;
	int r;

	r = turn(whole, whole->duration_s * i / m->n, &curve);
	if (r < 0)
		return evaluate_refuse(error, r, "out of memory");
	part.curve = &curve;
	*ret = *alone;
	ret->arrival_ns = NULL;
	ret->rate_rps = NULL;
	ret->rated_rps = alone->rated_rps / m->n;
	seed = plant_hash(evaluate_seed(w->options.seed, alone->model->name, m->n), i);
	r = evaluate_requests(&part, seed, ret, error);
	free(curve.points);
	return r;
}

static int make_loads(struct work *w, struct evaluation_error *error)
{
	int r = 0;

	for (uint32_t x = 0; x < w->n_mixes; x++)
		for (uint32_t member = 0; member < w->n_members; member++)
			for (uint32_t i = 0; i < w->mixes[x].n && r == 0; i++)
				r = make_load(
					w, &w->mixes[x], i,
					&w->setups[w->mixes[x].models[i] * w->n_members + member],
					&w->loads[x * w->n_members + member][i], error);
	return r;
}

/* ---- jobs ---- */

static int make_bench(void *userdata, uint32_t i)
{
	struct work *w = userdata;
	const struct plant_model *m = w->options.models[i / w->n_members];
	int r;

	r = bench_setup_make(&w->options, &w->policies, m, i % w->n_members, &w->setups[i],
			     &w->errors[i]);
	count_step(w);
	return r;
}

static int run_card(void *userdata, uint32_t i)
{
	struct work *w = userdata;
	uint32_t x = i / w->options.service_cards, card = i % w->options.service_cards;
	struct mix_card_job job = {
		.options = &w->options,
		.policies = &w->policies,
		.n = w->mixes[x].n,
		.mix = x,
		.card = card,
	};
	int r;

	for (uint32_t j = 0; j < job.n; j++)
		job.benches[j] = &w->loads[x * w->n_members + card % w->n_members][j];
	r = mix_card(&job, w->figures[i]);
	count_step(w);
	return r;
}

/* ---- figures ---- */

static int compare_doubles(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* A figure of a policy, offset into struct mix_figures, over the cards. */
static double median_of(const struct mix_figures (*cards)[MIX_POLICIES], uint32_t n, int policy,
			size_t offset)
{
	double values[1000];

	for (uint32_t i = 0; i < n; i++)
		memcpy(&values[i], (const char *)&cards[i][policy] + offset, sizeof(*values));
	qsort(values, n, sizeof(*values), compare_doubles);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* All of it are doubles. */
_Static_assert(sizeof(struct mix_figures) % sizeof(double) == 0, "doubles only");

static void sum_up(const struct work *w, uint32_t x, int policy, struct mix_figures *ret)
{
	uint32_t n = w->options.service_cards;
	const struct mix_figures(*cards)[MIX_POLICIES] =
		(const struct mix_figures(*)[MIX_POLICIES]) & w->figures[x * n];

	for (size_t at = 0; at < sizeof(*ret); at += sizeof(double)) {
		double median = median_of(cards, n, policy, at);

		memcpy((char *)ret + at, &median, sizeof(median));
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct mix_figures *f = &cards[i][policy];

		ret->worst_excess_late_pct =
			fmax(ret->worst_excess_late_pct, f->worst_excess_late_pct);
		ret->worst_starved_slos = fmax(ret->worst_starved_slos, f->worst_starved_slos);
	}
}

/* ---- all of it ---- */

static int check(const struct evaluation_options *o, const struct mix *mixes, uint32_t n_mixes,
		 struct evaluation_error *error)
{
	if (!o->trace->curve || o->trace->absolute)
		return evaluate_refuse(
			error, -EINVAL,
			"a mix needs a trace of loads, not of requests or requests/s");
	if (o->latency == LATENCY_SERVICE || o->cap_w > 0)
		return evaluate_refuse(error, -EINVAL,
				       "a mix is evaluated by sojourns, and without a power cap");
	for (uint32_t i = 0; i < n_mixes; i++) {
		if (mixes[i].n < 2 || mixes[i].n > MIX_MAX_MODELS)
			return evaluate_refuse(error, -EINVAL,
					       "a mix of %u models: expected 2 to %d", mixes[i].n,
					       MIX_MAX_MODELS);
		for (uint32_t j = 0; j < mixes[i].n; j++)
			if (mixes[i].models[j] >= o->n_models)
				return evaluate_refuse(error, -EINVAL, "a mix of unknown models");
	}
	return evaluate_check(o, error);
}

static int allocate(struct work *w, struct evaluation_error *error)
{
	uint32_t cards = w->n_mixes * w->options.service_cards;
	uint32_t setups = w->options.n_models * w->n_members;

	w->setups = calloc(setups, sizeof(*w->setups));
	w->loads = calloc((size_t)w->n_mixes * w->n_members, sizeof(*w->loads));
	w->errors = calloc(setups, sizeof(*w->errors));
	w->figures = calloc(cards, sizeof(*w->figures));
	if (!w->setups || !w->loads || !w->errors || !w->figures)
		return evaluate_refuse(error, -ENOMEM, "out of memory");
	return 0;
}

static int run_all(struct work *w, struct evaluation_error *error)
{
	uint32_t setups = w->options.n_models * w->n_members;
	uint32_t threads = w->options.threads ? w->options.threads : pool_cores();
	int r;

	r = pool_run(threads, setups, make_bench, w);
	for (uint32_t i = 0; i < setups && r < 0; i++)
		if (w->errors[i].text[0]) {
			*error = w->errors[i];
			return r;
		}
	if (r == 0)
		r = make_loads(w, error);
	if (r < 0)
		return r;
	r = pool_run(threads, w->n_mixes * w->options.service_cards, run_card, w);
	return r < 0 ? evaluate_refuse(error, r, "a run failed: %s", strerror(-r)) : 0;
}

static void work_done(struct work *w)
{
	for (uint32_t i = 0; w->setups && i < w->options.n_models * w->n_members; i++)
		bench_setup_done(&w->setups[i]);
	for (uint32_t i = 0; w->loads && i < w->n_mixes * w->n_members; i++)
		for (uint32_t j = 0; j < MIX_MAX_MODELS; j++) {
			free(w->loads[i][j].arrival_ns);
			free(w->loads[i][j].rate_rps);
		}
	free(w->setups);
	free(w->loads);
	free(w->errors);
	free(w->figures);
	(void)pthread_mutex_destroy(&w->lock);
}

static int take(const struct work *w, const struct evaluation_options *o,
		struct mix_evaluation **ret)
{
	_cleanup_(mix_evaluation_freep) struct mix_evaluation *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->options = o;
	e->mixes = w->mixes;
	e->n_mixes = w->n_mixes;
	e->figures = calloc(w->n_mixes, sizeof(*e->figures));
	if (!e->figures)
		return -ENOMEM;
	for (uint32_t i = 0; i < w->n_mixes; i++)
		for (int p = 0; p < MIX_POLICIES; p++)
			sum_up(w, i, p, &e->figures[i][p]);
	*ret = TAKE_PTR(e);
	return 0;
}

int mix_evaluate(const struct evaluation_options *o, const struct mix *mixes, uint32_t n_mixes,
		 struct mix_evaluation **ret, struct evaluation_error *ret_error)
{
	struct work w = {.options = *o, .mixes = mixes, .n_mixes = n_mixes};
	int r;

	*ret_error = (struct evaluation_error){0};
	w.options.n_policies = 0;
	for (int p = MIX_AUTO; p <= MIX_COFRIS; p++)
		w.options.policies[w.options.n_policies++] = mix_policy_name((enum mix_policy)p);
	w.options.headroom_sweep = false;
	r = check(&w.options, mixes, n_mixes, ret_error);
	if (r == 0)
		r = evaluate_list_policies(&w.options, &w.policies, ret_error);
	if (r < 0)
		return r;
	w.n_members = MIN(MAX(o->ensemble, 1u), o->service_cards);
	w.total = o->n_models * w.n_members + n_mixes * o->service_cards;
	(void)pthread_mutex_init(&w.lock, NULL);
	r = allocate(&w, ret_error);
	if (r == 0)
		r = run_all(&w, ret_error);
	if (r == 0) {
		r = take(&w, o, ret);
		if (r < 0)
			(void)evaluate_refuse(ret_error, r, "out of memory");
	}
	work_done(&w);
	return r;
}

struct mix_evaluation *mix_evaluation_free(struct mix_evaluation *e)
{
	if (!e)
		return NULL;
	free(e->figures);
	free(e);
	return NULL;
}
