/* SPDX-License-Identifier: Apache-2.0 */
/* Explanations: that they are what the governor decides, and what they say of the rest. */
#include "governor-bench.h"
#include "governor/explain.h"
#include "governor/policy.h"
#include "response/menu-table.h"
#include "test-surface-fixture.h"

#define TOP_MHZ 1725
#define RATED	70.0

/* What is derived for a policy and gating, once for all tests. */
struct profile {
	const char *policy;
	enum table_gating gating;
	struct table_options options;
	struct response_table *table, *clock_table;
	struct response_menu *menu;
};

static struct {
	struct surface *surface;
	struct response_tails *tails;
	uint32_t n;
	struct profile profiles[8];
} shared;

struct lab {
	const struct response_table *table;
	const struct response_menu *menu;
	struct governor_config config;
	struct governor *governor;
	struct governor_input input;
	struct governor_decision decision;
	struct governor_explanation e;
};

/* Not all of a request is faster on more CUs. */
static double masked_ns(uint32_t cus)
{
	return 10e6 * (0.4 + 0.6 * 15 / cus);
}

/* Three clocks, six shapes, and one batch of four that lives on slack. */
static struct surface *sample_surface(void)
{
	static const uint32_t mhz[] = {925, 1350}, cus[] = {15, 13, 11, 9, 7, 6};
	struct surface *s = new_surface();

	s->n_levels = 3;
	s->level_mhz[0] = 925;
	s->level_mhz[1] = 1350;
	s->level_mhz[2] = TOP_MHZ;
	for (uint32_t i = 0; i < 3; i++) {
		s->idle_power_w[i] = 20;
		s->active_idle_power_w[i] = 50 + 15 * i;
	}
	for (size_t i = 1; i < ARRAY_SIZE(cus); i++)
		(void)add_cell(s, TOP_MHZ, 4, cus[i], masked_ns(cus[i]), 100 + 6.0 * cus[i]);
	for (size_t k = 0; k < ARRAY_SIZE(mhz); k++)
		for (size_t i = 0; i < ARRAY_SIZE(cus); i++)
			(void)add_cell(s, mhz[k], 4, cus[i],
				       masked_ns(cus[i]) *
					       (1 + 0.8 * (TOP_MHZ / (double)mhz[k] - 1)),
				       mhz[k] / 20.0 + mhz[k] / 250.0 * cus[i]);
	add_cell(s, 1350, 4, 15, 22e6, 150)->batch = 4;
	set_service(&s->cells[s->n_cells - 1], 22e6, 0.02);
	return s;
}

static int share(void **state _unused_)
{
	shared.surface = sample_surface();
	return response_tails_new(shared.surface, 1, &shared.tails);
}

static int unshare(void **state _unused_)
{
	for (uint32_t i = 0; i < shared.n; i++) {
		free(shared.profiles[i].table);
		free(shared.profiles[i].clock_table);
		free(shared.profiles[i].menu);
	}
	response_tails_free(shared.tails);
	surface_free(shared.surface);
	return 0;
}

static void derive(struct profile *p)
{
	struct table_options clock_alone;
	struct surface_error error = {0};

	p->options = TABLE_OPTIONS_DEFAULT;
	p->options.gating = p->gating;
	p->options.max_batch = 4;
	policy_restrict(policy_find(p->policy), &p->options);
	clock_alone = p->options;
	clock_alone.free_mask = false;
	assert_int_equal(response_table_derive_from(shared.tails, &p->options, &p->table, &error),
			 0);
	assert_int_equal(response_table_derive_from(shared.tails, &clock_alone, &p->clock_table,
						    &error),
			 0);
	if (policy_find(p->policy)->plans)
		assert_int_equal(response_menu_derive(shared.tails, &p->options, p->table, &p->menu,
						      &error),
				 0);
}

static const struct profile *profile_of(const char *policy, enum table_gating gating)
{
	struct profile *p = shared.profiles;

	for (; p < shared.profiles + shared.n; p++)
		if (strcmp(p->policy, policy) == 0 && p->gating == gating)
			return p;
	assert_true(shared.n++ < ARRAY_SIZE(shared.profiles));
	p->policy = policy;
	p->gating = gating;
	derive(p);
	return p;
}

static void renew(struct lab *l)
{
	governor_free(l->governor);
	assert_int_equal(governor_new(&l->config, &l->governor), 0);
}

static struct lab *lab_new(const char *policy, enum table_gating gating)
{
	const struct profile *p = profile_of(policy, gating);
	struct lab *l = calloc(1, sizeof(*l));
	struct governor_model_config *m;

	assert_non_null(l);
	l->table = p->table;
	l->menu = p->menu;
	l->config.poll_ns = 500 * NSEC_PER_MSEC;
	l->config.n_levels = 3;
	memcpy(l->config.level_mhz, shared.surface->level_mhz, 3 * sizeof(uint32_t));
	l->config.topology = cu_topology_even(4, 15);
	l->config.n_models = 1;
	m = &l->config.models[0];
	(void)strcpy(m->name, "model");
	m->table = p->table;
	m->clock_table = p->clock_table;
	m->menu = p->menu;
	m->headroom = p->options.headroom;
	m->late_cost = p->options.late_cost;
	m->policy = policy;
	m->max_batch = 4;
	m->priority = 100;
	m->use_mask = true;
	renew(l);
	return l;
}

static void lab_end(struct lab *l)
{
	governor_free(l->governor);
	free(l);
}

/* A whole interval with so many arrivals and no queue. */
static void step(struct lab *l, uint64_t arrivals)
{
	l->input.now_ns += l->input.interval_ns = l->config.poll_ns;
	l->input.models[0] = (struct governor_model_input){
		.state = GOVERNOR_INPUT_OK,
		.workers = 1,
		.arrivals = arrivals,
		.completions = arrivals,
		.whole_interval = true,
		.mask_follows = true,
		.batch_follows = true,
		.acknowledged = true,
	};
	governor_step(l->governor, &l->input, &l->decision);
}

static void settle(struct lab *l, uint64_t arrivals)
{
	for (unsigned int i = 0; i < 400; i++)
		step(l, arrivals);
}

static void explain(struct lab *l, double rps)
{
	assert_int_equal(governor_explain(l->governor, &l->input, 0, rps, &l->e), 0);
}

static const struct explain_candidate *find(const struct lab *l, enum explain_verdict v)
{
	for (uint32_t i = 0; i < l->e.n_candidates; i++)
		if (l->e.candidates[i].verdict == v)
			return &l->e.candidates[i];
	return NULL;
}

/* What holds of every explanation. */
static void check_candidates(const struct lab *l)
{
	const struct governor_explanation *e = &l->e;
	const struct explain_candidate *chosen = find(l, EXPLAIN_CHOSEN);
	uint32_t n_chosen = 0;

	assert_true(e->n_candidates <= EXPLAIN_CANDIDATES);
	assert_true(e->n_feasible <= e->n_considered);
	for (uint32_t i = 0; i < e->n_candidates; i++) {
		const struct explain_candidate *c = &e->candidates[i];

		n_chosen += c->verdict == EXPLAIN_CHOSEN;
		if (i > 0 && c->verdict < EXPLAIN_TAIL)
			assert_true(e->candidates[i - 1].verdict < EXPLAIN_TAIL &&
				    e->candidates[i - 1].cost_w <= c->cost_w);
		if (chosen && c->verdict == EXPLAIN_MORE_LATE)
			assert_true(c->power_w < chosen->power_w && c->cost_w > chosen->cost_w);
	}
	assert_int_equal(n_chosen, e->source == EXPLAIN_FROM_NOTHING ? 0 : 1);
	if (!chosen || e->choice.row == UINT32_MAX)
		return;
	assert_int_equal(chosen->max_mhz, e->choice.max_mhz);
	assert_true(chosen->full ? e->choice.full
				 : cu_shape_equal(chosen->shape, e->choice.shape) ||
					   l->input.models[0].mask_unknown);
}

/* ---- it is what the governor decides ---- */

static bool is_held(enum governor_reason r)
{
	return r == GOVERNOR_REASON_DWELL || r == GOVERNOR_REASON_BACKLOG ||
	       r == GOVERNOR_REASON_THROTTLED;
}

/* Told before a dwell. */
static bool is_doubt(enum governor_reason r)
{
	return r == GOVERNOR_REASON_MISSING_INPUT || r == GOVERNOR_REASON_FIRST_INTERVAL ||
	       r == GOVERNOR_REASON_OVERLOAD || r == GOVERNOR_REASON_POWER_CAP ||
	       r == GOVERNOR_REASON_GIVES_WAY;
}

static void random_input(struct lab *l, uint32_t i, uint64_t *seed, double *rate_rps)
{
	struct governor_model_input *in = &l->input.models[i];
	double u = bench_uniform(seed);

	if (bench_uniform(seed) < 0.05)
		*rate_rps = 1.4 * RATED / l->config.n_models * bench_uniform(seed);
	memset(in, 0, sizeof(*in));
	in->state = u < 0.02   ? GOVERNOR_NO_WORKER
		    : u < 0.95 ? GOVERNOR_INPUT_OK
			       : GOVERNOR_INPUT_MISSING;
	in->workers = 1;
	in->arrivals = in->completions =
		(uint64_t)(*rate_rps * 0.5 * (0.6 + 0.8 * bench_uniform(seed)));
	in->executions = in->completions;
	in->busy_ns = in->completions * 12000000;
	in->oldest_age_ns = (uint64_t)((double)l->table->slo_ns * 1.05 * bench_uniform(seed));
	in->in_flight = 1;
	in->whole_interval = bench_uniform(seed) < 0.97;
	in->mask_follows = bench_uniform(seed) < 0.9;
	in->mask_unknown = bench_uniform(seed) < 0.02;
	in->batch_follows = bench_uniform(seed) < 0.9;
	in->acknowledged = true;
}

static void random_step(struct lab *l, uint64_t *seed, double *rate_rps)
{
	random_input(l, 0, seed, rate_rps);
	l->input.now_ns += l->input.interval_ns = l->config.poll_ns;
	l->input.flags = bench_uniform(seed) < 0.03 ? 1u << (int)(8 * bench_uniform(seed)) : 0;
	governor_step(l->governor, &l->input, &l->decision);
}

static void check_agreement(const struct lab *l)
{
	const struct governor_explanation *e = &l->e;
	const struct governor_model_decision *m = &l->decision.models[0];

	assert_int_equal(e->in_force.max_mhz, l->decision.max_mhz);
	assert_int_equal(e->in_force.reason, m->reason);
	assert_int_equal(e->in_force.card_reason, l->decision.reason);
	assert_true((e->held != GOVERNOR_REASON_NONE) == e->differs);
	/* What waits for its dwell is above what is wanted, and B is above all; what is chosen
	 * under a cap is no row. */
	if (e->held == GOVERNOR_REASON_DWELL && m->reason != GOVERNOR_REASON_DWELL &&
	    e->power_cap_uw == 0)
		assert_true(m->reason < GOVERNOR_REASON_DWELL && m->row > e->choice.row);
	if (is_held(m->reason) || is_held(l->decision.reason) ||
	    e->held == GOVERNOR_REASON_THROTTLED || e->held == GOVERNOR_REASON_POWER_CAP)
		return;
	if (e->differs && !is_doubt(m->reason))
		fail_msg("decision %lu: %u MHz for %s, explained: %u MHz for %s",
			 l->decision.number, l->decision.max_mhz, governor_reason_name(m->reason),
			 e->choice.max_mhz, governor_reason_name(e->choice.reason));
	/* A higher row that waits may be brought down to the same by the cap. */
	if (m->reason != GOVERNOR_REASON_POWER_CAP)
		assert_int_equal(e->choice.reason, m->reason);
	assert_true(e->demand_rps == m->demand_rps);
}

static void agree(const char *policy, enum table_gating gating, uint64_t cap_w, uint64_t seed)
{
	struct lab *l = lab_new(policy, gating);
	double rate_rps = 30;
	unsigned int held = 0, differ = 0, agreed = 0;

	l->config.power_cap_uw = cap_w * UW_PER_W;
	renew(l);
	for (unsigned int i = 0; i < 1500; i++) {
		random_step(l, &seed, &rate_rps);
		explain(l, NAN);
		check_agreement(l);
		check_candidates(l);
		held += is_held(l->decision.models[0].reason);
		differ += l->e.differs;
		agreed += !l->e.differs && l->decision.action == GOVERNOR_SET;
	}
	/* The random states are of both kinds, and there is something to explain. */
	assert_true(strcmp(policy, "cofris") != 0 || (held > 100 && differ > 100 && agreed > 300));
	lab_end(l);
}

static void test_the_choice_is_the_steps(void **state _unused_)
{
	print_message("seeds 1 to 6\n");
	agree("cofris", TABLE_GATING_CU, 0, 1);
	agree("cofris", TABLE_GATING_NONE, 0, 2);
	agree("cofris", TABLE_GATING_CU, 100, 3);
	agree("coordinated", TABLE_GATING_CU, 0, 4);
	agree("maximum", TABLE_GATING_NONE, 0, 5);
	agree("adapter", TABLE_GATING_NONE, 0, 6);
}

/* Or may, and a doubt is told before it; or rows that are held are too much without masks. */
static bool any_holds(const struct governor_decision *d)
{
	bool any = is_held(d->reason) || is_doubt(d->reason) ||
		   d->reason == GOVERNOR_REASON_SEVERAL_MODELS;

	for (uint32_t i = 0; i < d->n_models; i++)
		any |= is_held(d->models[i].reason) || is_doubt(d->models[i].reason);
	return any;
}

/* Planned for together. One model's dwell may hold the other's mask as well, and which of equal
 * plans is taken is a matter of what was before. */
static void test_of_several_models_it_is_the_steps_too(void **state _unused_)
{
	struct lab *l = lab_new("cofris", TABLE_GATING_CU);
	double rates_rps[2] = {10, 20};
	uint64_t seed = 8;
	unsigned int compared = 0, beside = 0;

	print_message("seed 8\n");
	l->config.n_models = 2;
	l->config.models[1] = l->config.models[0];
	(void)strcpy(l->config.models[1].name, "other");
	renew(l);
	for (unsigned int i = 0; i < 600; i++) {
		random_input(l, 0, &seed, &rates_rps[0]);
		random_input(l, 1, &seed, &rates_rps[1]);
		l->input.now_ns += l->input.interval_ns = l->config.poll_ns;
		governor_step(l->governor, &l->input, &l->decision);
		for (uint32_t k = 0; k < 2; k++) {
			assert_int_equal(governor_explain(l->governor, &l->input, k, NAN, &l->e),
					 0);
			beside += find(l, EXPLAIN_BESIDE_OTHERS) != NULL;
			if (any_holds(&l->decision) || l->decision.action != GOVERNOR_SET)
				continue;
			assert_false(l->e.differs);
			assert_int_equal(l->e.choice.reason, l->decision.models[k].reason);
			compared += l->e.source == EXPLAIN_FROM_MENU;
		}
	}
	assert_true(compared > 20 && beside > 50);
	lab_end(l);
}

static void test_to_explain_changes_nothing(void **state _unused_)
{
	struct lab *a = lab_new("cofris", TABLE_GATING_CU), *b = lab_new("cofris", TABLE_GATING_CU);
	uint64_t seed_a = 7, seed_b = 7;
	double rate_a = 30, rate_b = 30;

	for (unsigned int i = 0; i < 500; i++) {
		random_step(a, &seed_a, &rate_a);
		random_step(b, &seed_b, &rate_b);
		assert_memory_equal(&a->decision, &b->decision, sizeof(a->decision));
		explain(a, NAN);
		explain(a, 1.3 * RATED * bench_uniform(&seed_a));
		(void)bench_uniform(&seed_b);
	}
	lab_end(a);
	lab_end(b);
}

/* A policy that goes by the last interval alone shows what would happen. */
static void test_what_if_is_what_happens(void **state _unused_)
{
	struct lab *l = lab_new("coordinated", TABLE_GATING_CU);

	settle(l, 5);
	for (uint64_t arrivals = 0; arrivals < 60; arrivals++) {
		explain(l, 2.0 * (double)arrivals);
		step(l, arrivals);
		assert_int_equal(l->e.choice.max_mhz, l->decision.max_mhz);
		assert_int_equal(l->e.choice.row, l->decision.models[0].row);
		assert_int_equal(l->e.choice.reason, l->decision.models[0].reason);
	}
	lab_end(l);
}

/* The one that is planned by: nothing is known of the card's service times here. */
static void planned_table(const struct lab *l, struct response_table *ret)
{
	const struct menu_table_options o = {
		.factor = l->decision.models[0].planned_factor,
		.late_cost = l->config.models[0].late_cost,
	};

	assert_true(o.factor > 1);
	menu_table(l->menu, l->table, &o, ret);
}

static void test_what_if_follows_the_table(void **state _unused_)
{
	struct lab *l = lab_new("cofris", TABLE_GATING_CU);
	struct response_table table;

	settle(l, 5);
	planned_table(l, &table);
	for (uint32_t i = 0; i < table.n_rows; i++) {
		const struct table_row *row = &table.rows[i];
		const struct explain_candidate *chosen;

		explain(l, row->rate_rps);
		check_candidates(l);
		chosen = find(l, EXPLAIN_CHOSEN);
		assert_int_equal(l->e.source, EXPLAIN_FROM_MENU);
		assert_int_equal(l->e.choice.row, i);
		assert_true(l->e.row_rps == row->rate_rps);
		assert_int_equal(l->menu->options[chosen->number].cell, row->cell);
		/* The menu does not keep what is far beyond the SLO. */
		assert_true(isfinite(chosen->power_w) || row->flags & TABLE_ROW_BASELINE);
		if (isfinite(chosen->power_w))
			assert_true(fabs(chosen->power_w - row->power_w) < 1e-3);
	}
	/* Less than the profile's card would be overloaded by. */
	explain(l, 1.01 * table.overload_rps);
	assert_int_equal(l->e.choice.reason, GOVERNOR_REASON_OVERLOAD);
	assert_true(find(l, EXPLAIN_CHOSEN)->baseline);
	explain(l, 1.01 * l->table->overload_rps);
	assert_int_equal(l->e.choice.reason, GOVERNOR_REASON_OVERLOAD);
	assert_true(isnan(l->e.row_rps));
	assert_true(find(l, EXPLAIN_CHOSEN)->baseline);
	assert_int_equal(l->e.n_feasible, 1);
	lab_end(l);
}

/* The rows at the factor that is planned for. */
static void rows_at(const struct lab *l, double late_max, struct response_table *ret)
{
	const struct menu_table_options o = {
		.factor = l->decision.models[0].planned_factor,
		.late_cost = l->config.models[0].late_cost,
		.late_max = late_max,
	};

	menu_table(l->menu, l->table, &o, ret);
}

static bool plans_by(const struct lab *l, const struct response_table *t)
{
	const struct response_table *in_force = governor_table(l->governor, 0, false);

	for (uint32_t i = 0; i < t->n_rows; i++)
		if (in_force->rows[i].cell != t->rows[i].cell)
			return false;
	return true;
}

/* A queue at which the worker wakes. */
static void wake(struct lab *l)
{
	l->input.models[0].woken = true;
	l->input.models[0].starts = l->input.models[0].in_flight = 1;
	l->input.early = true;
	l->input.now_ns += l->input.interval_ns = NSEC_PER_MSEC;
	governor_step(l->governor, &l->input, &l->decision);
	l->input.early = false;
}

static void test_rows_count_on_wakes_that_were_seen(void **state _unused_)
{
	struct lab *l = lab_new("cofris", TABLE_GATING_CU);
	struct response_table strict, boosted;
	uint32_t n_cheaper = 0;

	/* So that hardly anything but the limit holds lateness. */
	l->config.models[0].late_cost = 0.01;
	renew(l);
	settle(l, 5);
	rows_at(l, 0, &strict);
	rows_at(l, 0.2, &boosted);
	assert_int_equal(boosted.rows[0].cell, strict.rows[0].cell);
	for (uint32_t i = 1; i < strict.n_rows; i++)
		n_cheaper += boosted.rows[i].power_w < strict.rows[i].power_w - 1e-3;
	assert_true(n_cheaper > 0);
	assert_true(plans_by(l, &strict));
	wake(l);
	step(l, 5);
	rows_at(l, 0.2, &boosted);
	assert_true(plans_by(l, &boosted));

	/* Nobody boosts, and nobody counts on it. */
	l->config.models[0].never_boosts = true;
	renew(l);
	settle(l, 5);
	wake(l);
	step(l, 5);
	rows_at(l, 0, &strict);
	assert_true(plans_by(l, &strict));
	lab_end(l);
}

/* ---- what it says of the rest ---- */

static void test_the_best_come_first_and_say_what_they_cost(void **state _unused_)
{
	struct lab *l = lab_new("cofris", TABLE_GATING_CU);
	bool late = false, baseline = false;

	settle(l, 5);
	for (uint32_t i = 1; i < l->table->n_rows; i++) {
		explain(l, l->table->rows[i].rate_rps);
		/* With masks and batches followed and no cap, nothing beats the choice. */
		assert_int_equal(l->e.candidates[0].verdict, EXPLAIN_CHOSEN);
		late |= find(l, EXPLAIN_MORE_LATE) != NULL;
		for (uint32_t k = 0; k < l->e.n_candidates; k++)
			baseline |= l->e.candidates[k].baseline;
		assert_true(baseline);
	}
	assert_true(late);
	lab_end(l);
}

static void test_what_cannot_be_had_says_by_what(void **state _unused_)
{
	struct lab *l = lab_new("cofris", TABLE_GATING_CU);
	const struct explain_candidate *c;

	settle(l, 5);
	l->input.models[0].mask_follows = false;
	explain(l, 12);
	c = find(l, EXPLAIN_NO_MASK);
	assert_non_null(c);
	assert_false(c->full);
	assert_true(c->cost_w < find(l, EXPLAIN_CHOSEN)->cost_w);

	l->input.models[0].batch_follows = false;
	explain(l, 50);
	assert_non_null(find(l, EXPLAIN_NO_BATCH));
	assert_int_equal(find(l, EXPLAIN_NO_BATCH)->batch, 4);

	l->config.power_cap_uw = 75 * UW_PER_W;
	renew(l);
	settle(l, 5);
	explain(l, 60);
	assert_non_null(find(l, EXPLAIN_CAP));
	assert_true(find(l, EXPLAIN_CAP)->power_w > 75);
	assert_int_equal(l->e.choice.reason, GOVERNOR_REASON_POWER_CAP);
	lab_end(l);
}

static void test_idle_is_by_headroom_and_the_step_to_survive(void **state _unused_)
{
	struct lab *l = lab_new("cofris", TABLE_GATING_CU);

	settle(l, 0);
	explain(l, NAN);
	assert_int_equal(l->e.choice.reason, GOVERNOR_REASON_IDLE);
	assert_false(l->e.differs);
	assert_true(l->e.candidates[0].cost_w == l->e.candidates[0].power_w);
	check_candidates(l);
	lab_end(l);
}

static void test_without_a_menu_the_rows_are_the_candidates(void **state _unused_)
{
	struct lab *l = lab_new("coordinated", TABLE_GATING_CU);

	settle(l, 25);
	explain(l, NAN);
	assert_int_equal(l->e.source, EXPLAIN_FROM_TABLE);
	assert_non_null(find(l, EXPLAIN_RATE));
	assert_true(find(l, EXPLAIN_RATE)->rate_rps < 50);
	assert_true(find(l, EXPLAIN_CHOSEN)->rate_rps >= 50);
	assert_true(isnan(find(l, EXPLAIN_CHOSEN)->late));
	assert_true(find(l, EXPLAIN_CHOSEN)->in_force);
	lab_end(l);
}

/* What is in force is not what is wanted, and why. */
static void test_what_is_held_says_by_what(void **state _unused_)
{
	struct lab *l = lab_new("cofris", TABLE_GATING_CU);

	settle(l, 33);
	for (unsigned int i = 0; i < 20 && l->decision.reason != GOVERNOR_REASON_DWELL; i++)
		step(l, 3);
	assert_int_equal(l->decision.reason, GOVERNOR_REASON_DWELL);
	explain(l, NAN);
	assert_true(l->e.differs);
	assert_int_equal(l->e.in_force.reason, GOVERNOR_REASON_DWELL);
	assert_true(l->e.choice.reason != GOVERNOR_REASON_DWELL);
	assert_true(l->e.choice.power_w < l->e.in_force.power_w);
	check_candidates(l);

	l->input.flags = GOVERNOR_CARD_HOLD_FULL;
	step(l, 3);
	explain(l, NAN);
	assert_false(l->e.differs);
	assert_int_equal(l->e.choice.reason, GOVERNOR_REASON_HOLD);
	assert_int_equal(l->e.source, EXPLAIN_FROM_NOTHING);
	assert_int_equal(l->e.n_candidates, 0);
	lab_end(l);
}

static void test_a_model_without_a_worker(void **state _unused_)
{
	struct lab *l = lab_new("cofris", TABLE_GATING_CU);

	/* Before the first step, too. */
	assert_int_equal(governor_explain(l->governor, &l->input, 0, NAN, &l->e), -ENODATA);
	explain(l, 30);
	assert_true(l->e.presumed && l->e.what_if && !l->e.decided);
	assert_int_equal(l->e.choice.reason, GOVERNOR_REASON_DEMAND);
	check_candidates(l);

	governor_step(l->governor, &l->input, &l->decision);
	explain(l, NAN);
	assert_false(l->e.presumed);
	assert_int_equal(l->e.choice.action, GOVERNOR_RELEASE);
	assert_int_equal(l->e.choice.reason, GOVERNOR_REASON_NO_WORKER);
	assert_int_equal(l->e.n_candidates, 0);
	lab_end(l);
}

static void test_questions_without_sense_are_refused(void **state _unused_)
{
	struct lab *l = lab_new("cofris", TABLE_GATING_CU);
	struct governor_explanation before = l->e;

	settle(l, 5);
	assert_int_equal(governor_explain(l->governor, &l->input, 1, NAN, &l->e), -EINVAL);
	assert_int_equal(governor_explain(l->governor, &l->input, 0, -1, &l->e), -EINVAL);
	assert_int_equal(governor_explain(l->governor, &l->input, 0, INFINITY, &l->e), -EINVAL);
	assert_memory_equal(&before, &l->e, sizeof(before));
	lab_end(l);
}

static void test_everything_has_words(void **state _unused_)
{
	for (int r = 0; r < GOVERNOR_REASON_MAX; r++)
		assert_string_not_equal(governor_reason_words((enum governor_reason)r), "unknown");
	assert_string_equal(governor_reason_words(GOVERNOR_REASON_MAX), "unknown");
	for (int v = 0; v < EXPLAIN_VERDICTS; v++) {
		assert_string_not_equal(explain_verdict_name((enum explain_verdict)v), "unknown");
		assert_string_not_equal(explain_verdict_words((enum explain_verdict)v), "unknown");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_choice_is_the_steps),
		cmocka_unit_test(test_of_several_models_it_is_the_steps_too),
		cmocka_unit_test(test_to_explain_changes_nothing),
		cmocka_unit_test(test_what_if_is_what_happens),
		cmocka_unit_test(test_what_if_follows_the_table),
		cmocka_unit_test(test_rows_count_on_wakes_that_were_seen),
		cmocka_unit_test(test_the_best_come_first_and_say_what_they_cost),
		cmocka_unit_test(test_what_cannot_be_had_says_by_what),
		cmocka_unit_test(test_idle_is_by_headroom_and_the_step_to_survive),
		cmocka_unit_test(test_without_a_menu_the_rows_are_the_candidates),
		cmocka_unit_test(test_what_is_held_says_by_what),
		cmocka_unit_test(test_a_model_without_a_worker),
		cmocka_unit_test(test_questions_without_sense_are_refused),
		cmocka_unit_test(test_everything_has_words),
	};

	return cmocka_run_group_tests(tests, share, unshare);
}
