/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/evaluate.h"
#include "base/macros.h"
#include "replay/evaluate-internal.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>

int evaluate_refuse(struct evaluation_error *error, int r, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(error->text, sizeof(error->text), format, ap);
	va_end(ap);
	return r;
}

/* ---- policies ---- */

static enum table_kind kind_of(const struct policy *p)
{
	struct table_options t = TABLE_OPTIONS_DEFAULT;

	policy_restrict(p, &t);
	if (t.late_cost > 0)
		return TABLE_COST;
	if (!t.free_clock)
		return TABLE_MASK;
	return t.free_mask ? TABLE_COORDINATED : TABLE_CLOCK;
}

static enum headroom_kind headroom_of(const struct policy *p)
{
	if (!p->needs_table || p->batches)
		return HEADROOM_NONE;
	return p->orders ? HEADROOM_TARGET : HEADROOM_TABLE;
}

static uint32_t add_run(struct policy_runs *runs, const char *name)
{
	struct policy_run *run = &runs->runs[runs->n];
	const struct policy *p = policy_find(name);

	for (uint32_t i = 0; i < runs->n; i++)
		if (strcmp(runs->runs[i].name, name) == 0)
			return i;
	*run = (struct policy_run){.name = name, .policy = p};
	run->rate_only = strcmp(name, "oracle-rate") == 0;
	if (p) {
		run->table = kind_of(p);
		run->headroom = headroom_of(p);
	}
	return runs->n++;
}

static int check_policy(const struct evaluation_options *o, uint32_t i,
			struct evaluation_error *error)
{
	const char *name = o->policies[i];
	const struct policy *p = policy_find(name);

	if (!p && !policy_is_clairvoyant(name))
		return evaluate_refuse(error, -EINVAL, "unknown policy \"%s\"", name);
	if (p && p->batches && (!(o->cap_w > 0) || o->max_batch < 2))
		return evaluate_refuse(error, -EINVAL,
				       "%s needs a power cap and a largest batch above 1", name);
	for (uint32_t j = 0; j < i; j++)
		if (strcmp(o->policies[j], name) == 0)
			return evaluate_refuse(error, -EINVAL, "policy \"%s\" is listed twice",
					       name);
	return 0;
}

int evaluate_list_policies(const struct evaluation_options *o, struct policy_runs *ret,
			   struct evaluation_error *error)
{
	*ret = (struct policy_runs){.oracle = UINT32_MAX};
	ret->maximum = add_run(ret, "maximum");
	ret->automatic = add_run(ret, "auto");
	for (uint32_t i = 0; i < o->n_policies; i++) {
		int r;

		r = check_policy(o, i, error);
		if (r < 0)
			return r;
		ret->of_row[i] = add_run(ret, o->policies[i]);
		ret->runs[ret->of_row[i]].listed = true;
		if (strcmp(o->policies[i], "oracle") == 0)
			ret->oracle = ret->of_row[i];
	}
	return 0;
}

/* ---- options ---- */

int evaluate_check(const struct evaluation_options *o, struct evaluation_error *error)
{
	if (o->n_models < 1 || o->n_models > EVALUATE_MAX_MODELS)
		return evaluate_refuse(error, -EINVAL, "%u models: expected 1 to %d", o->n_models,
				       EVALUATE_MAX_MODELS);
	if (o->n_policies < 1 || o->n_policies > EVALUATE_MAX_POLICIES)
		return evaluate_refuse(error, -EINVAL, "%u policies: expected 1 to %d",
				       o->n_policies, EVALUATE_MAX_POLICIES);
	if (o->service_cards < 1 || o->service_cards > 1000)
		return evaluate_refuse(error, -EINVAL, "%u service cards: expected 1 to 1000",
				       o->service_cards);
	if (o->ensemble > TRUTH_ENSEMBLE + 1)
		return evaluate_refuse(error, -EINVAL, "an ensemble of %u cards: expected up to %d",
				       o->ensemble, TRUTH_ENSEMBLE + 1);
	if (o->exact && o->service_cards > 1)
		return evaluate_refuse(error, -EINVAL,
				       "%u service cards that are all the bench card",
				       o->service_cards);
	if (!(o->trace->duration_s * 1e9 > (double)EVALUATE_WARM_UP_NS))
		return evaluate_refuse(
			error, -EINVAL,
			"a run of %g s: the first 30 s do not count, so it must be longer",
			o->trace->duration_s);
	if (!(o->cap_w >= 0 && o->cap_w <= 100000))
		return evaluate_refuse(error, -EINVAL, "a power cap of %g W is out of range",
				       o->cap_w);
	if (o->max_batch > PLANT_MAX_BATCH)
		return evaluate_refuse(error, -EINVAL, "a batch of %u: expected up to %d",
				       o->max_batch, PLANT_MAX_BATCH);
	return 0;
}

/* ---- the work ---- */

struct work {
	const struct evaluation_options *options;
	struct policy_runs policies;
	uint32_t n_members, threads;
	struct bench_setup *setups;	 /* [model][member] */
	struct evaluation_error *errors; /* likewise */
	struct card_outcome *outcomes;	 /* [model][card] */
	pthread_mutex_t lock;		 /* of what follows */
	uint32_t done, total;
};

static void count_step(void *userdata)
{
	struct work *w = userdata;
	const struct evaluation_options *o = w->options;

	(void)pthread_mutex_lock(&w->lock);
	w->done++;
	if (o->progress)
		o->progress(o->userdata, w->done, w->total);
	(void)pthread_mutex_unlock(&w->lock);
}

static int make_setup(void *userdata, uint32_t i)
{
	struct work *w = userdata;
	int r;

	r = bench_setup_make(w->options, &w->policies, w->options->models[i / w->n_members],
			     i % w->n_members, &w->setups[i], &w->errors[i]);
	if (r == 0)
		count_step(w);
	return r;
}

static int make_setups(struct work *w, struct evaluation_error *error)
{
	uint32_t n = w->options->n_models * w->n_members;
	int r;

	r = pool_run(w->threads, n, make_setup, w);
	for (uint32_t i = 0; r < 0 && i < n; i++)
		if (w->errors[i].text[0]) {
			*error = w->errors[i];
			break;
		}
	return r;
}

static int evaluate_cards(struct work *w, uint32_t model)
{
	uint32_t n_cards = w->options->service_cards;

	for (uint32_t card = 0; card < n_cards; card++) {
		struct card_job job = {
			.options = w->options,
			.policies = &w->policies,
			.bench = &w->setups[model * w->n_members + card % w->n_members],
			.card = card,
			.threads = w->threads,
			.step = count_step,
			.userdata = w,
		};
		int r;

		r = evaluate_card(&job, &w->outcomes[(size_t)model * n_cards + card]);
		if (r < 0)
			return r;
	}
	return 0;
}

static void take_surface(struct work *w, uint32_t model, struct evaluation *e)
{
	struct bench_setup *first = &w->setups[model * w->n_members];

	e->surfaces[model] = TAKE_PTR(first->surface);
	for (uint32_t member = 0; member < w->n_members; member++)
		bench_setup_done(&first[member]);
}

static int run_all(struct work *w, struct evaluation *e, struct evaluation_error *error)
{
	const struct evaluation_options *o = w->options;
	int r;

	r = make_setups(w, error);
	if (r < 0)
		return r;
	for (uint32_t model = 0; model < o->n_models; model++) {
		r = evaluate_cards(w, model);
		if (r < 0)
			return evaluate_refuse(error, r, "%s: %s", o->models[model]->name,
					       strerror(-r));
		take_surface(w, model, e);
	}
	r = evaluate_figures(o, &w->policies, w->outcomes, e);
	return r < 0 ? evaluate_refuse(error, r, "out of memory") : 0;
}

static int allocate(struct work *w, struct evaluation_error *error)
{
	const struct evaluation_options *o = w->options;
	size_t n_setups = (size_t)o->n_models * w->n_members;

	w->setups = calloc(n_setups, sizeof(*w->setups));
	w->errors = calloc(n_setups, sizeof(*w->errors));
	w->outcomes = calloc((size_t)o->n_models * o->service_cards, sizeof(*w->outcomes));
	if (!w->setups || !w->errors || !w->outcomes)
		return evaluate_refuse(error, -ENOMEM, "out of memory");
	return 0;
}

static void work_done(struct work *w)
{
	const struct evaluation_options *o = w->options;

	for (uint32_t i = 0; w->setups && i < o->n_models * w->n_members; i++)
		bench_setup_done(&w->setups[i]);
	for (uint32_t i = 0; w->outcomes && i < o->n_models * o->service_cards; i++)
		card_outcome_done(&w->outcomes[i]);
	free(w->setups);
	free(w->errors);
	free(w->outcomes);
	(void)pthread_mutex_destroy(&w->lock);
}

int evaluate(const struct evaluation_options *o, struct evaluation **ret,
	     struct evaluation_error *ret_error)
{
	_cleanup_(evaluation_freep) struct evaluation *e = NULL;
	struct work w = {.options = o};
	int r;

	*ret_error = (struct evaluation_error){0};
	r = evaluate_check(o, ret_error);
	if (r == 0)
		r = evaluate_list_policies(o, &w.policies, ret_error);
	if (r < 0)
		return r;
	e = calloc(1, sizeof(*e));
	if (!e)
		return evaluate_refuse(ret_error, -ENOMEM, "out of memory");
	e->options = o;
	w.n_members = MIN(MAX(o->ensemble, 1u), o->service_cards);
	w.threads = o->threads ? o->threads : pool_cores();
	w.total = o->n_models *
		  (w.n_members + o->service_cards * evaluate_card_steps(o, &w.policies));
	(void)pthread_mutex_init(&w.lock, NULL);
	r = allocate(&w, ret_error);
	if (r == 0)
		r = run_all(&w, e, ret_error);
	work_done(&w);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(e);
	return 0;
}

struct evaluation *evaluation_free(struct evaluation *e)
{
	if (!e)
		return NULL;
	for (uint32_t i = 0; e->rows && i < e->n_rows; i++)
		free(e->rows[i].ticks);
	for (uint32_t i = 0; i < EVALUATE_MAX_MODELS; i++)
		surface_free(e->surfaces[i]);
	free(e->rows);
	free(e->means);
	free(e);
	return NULL;
}
