/* SPDX-License-Identifier: Apache-2.0 */
/* Each policy over a range of headrooms: how much energy it takes for how much lateness. */
#include "replay/evaluate-card.h"
#include <errno.h>
#include <math.h>

/* How much longer a run took than the common length, in J of a reference that idles meanwhile. */
static double extra_idle_j(const struct card *c, uint64_t end_ns)
{
	double w = costs_idle_w(c->costs, c->truth.device.dpm_idle_level);

	return w * (double)(end_ns - c->end_ns) * 1e-9;
}

/* The headroom that the run as asked for has. */
static double own_headroom(const struct evaluation_options *o, const struct policy_run *p)
{
	switch (p->headroom) {
	case HEADROOM_TABLE:
		return o->headroom;
	case HEADROOM_TARGET:
		return 1;
	default:
		return NAN;
	}
}

/* A copy of the table that a policy takes its target from. */
static int retarget(const struct response_table *table, double headroom,
		    struct response_table **ret)
{
	*ret = malloc(sizeof(**ret));
	if (!*ret)
		return -ENOMEM;
	**ret = *table;
	(*ret)->slo_ns = (uint64_t)llround((double)table->slo_ns * headroom);
	return 0;
}

static int sweep_tables(const struct card *c, const struct sweep_run *s, struct bench_tables *ret,
			struct response_table **ret_own)
{
	const struct bench_setup *b = c->job->bench;
	const struct policy_run *p = card_policy(c, s->policy);
	int r;

	if (p->headroom == HEADROOM_TABLE) {
		*ret = b->by_headroom[s->headroom];
		return 0;
	}
	*ret = b->tables;
	r = retarget(b->tables.tables[p->table], evaluate_headroom(s->headroom), ret_own);
	if (r == 0)
		ret->tables[p->table] = *ret_own;
	return r;
}

int card_run_sweep(struct card *c, const struct sweep_run *s)
{
	_cleanup_(freep) struct response_table *own = NULL;
	_cleanup_(simulation_freep) struct simulation *simulation = NULL;
	struct simulation_result result = {0};
	struct simulation_options options;
	struct governor_config config;
	struct bench_tables tables;
	struct measures m;
	uint64_t end_ns;
	int r;

	r = sweep_tables(c, s, &tables, &own);
	if (r < 0)
		return r;
	card_run_options(c, &options);
	evaluate_governor_config(c->job->options, c->job->bench, card_policy(c, s->policy), &tables,
				 &config);
	options.governor = &config;
	r = simulation_new(&options, &simulation);
	if (r < 0)
		return r;
	end_ns = MAX(simulation_run(simulation), c->end_ns);
	r = simulation_finish(simulation, end_ns, &result);
	if (r == 0)
		r = measures_take(&c->measures, &result, card_maximum(c), &m);
	simulation_result_done(&result);
	if (r < 0)
		return r;
	c->outcome->policies[s->policy].curve[s->headroom] =
		card_point(c, evaluate_headroom(s->headroom), &m, extra_idle_j(c, end_ns));
	card_step(c);
	return 0;
}

static bool is_swept(const struct evaluation_options *o, const struct policy_run *p)
{
	return o->headroom_sweep && p->listed && p->policy && p->headroom != HEADROOM_NONE;
}

/* Whether the run as asked for is one of the sweep already. */
static bool is_own(const struct evaluation_options *o, const struct policy_run *p,
		   uint32_t headroom)
{
	return fabs(own_headroom(o, p) - evaluate_headroom(headroom)) < 1e-9;
}

uint32_t card_count_sweep(const struct evaluation_options *o, const struct policy_runs *p)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < p->n; i++)
		for (uint32_t h = 0; h < EVALUATE_HEADROOMS; h++)
			n += is_swept(o, &p->runs[i]) && !is_own(o, &p->runs[i], h);
	return n;
}

static void plan_policy(struct card *c, uint32_t run)
{
	const struct evaluation_options *o = c->job->options;
	const struct policy_run *p = card_policy(c, run);
	struct policy_outcome *outcome = &c->outcome->policies[run];
	struct curve_point own = card_point(c, own_headroom(o, p), &outcome->m, /* extra_j= */ 0);

	outcome->n_curve = 1;
	outcome->curve[0] = own;
	if (!is_swept(o, p))
		return;
	outcome->n_curve = EVALUATE_HEADROOMS;
	for (uint32_t h = 0; h < EVALUATE_HEADROOMS; h++)
		if (is_own(o, p, h))
			outcome->curve[h] = own;
		else
			c->sweep[c->n_sweep++] = (struct sweep_run){run, h};
}

void card_plan_sweep(struct card *c)
{
	for (uint32_t i = 0; i < c->job->policies->n; i++)
		if (card_policy(c, i)->policy)
			plan_policy(c, i);
}
