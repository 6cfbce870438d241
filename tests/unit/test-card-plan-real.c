/* SPDX-License-Identifier: Apache-2.0 */
/* The planner of several models on a card of real size: exact, whatever is kept and in force, and
 * more demand is more. */
#include "card-plan-reference.h"

#define SEED UINT64_C(20261127)

static double between(double low, double high, uint64_t *seed)
{
	return low + (high - low) * bench_uniform(seed);
}

/* An MI50 with random models that masks apart mostly have room for. */
static void random_mi50(struct setup *s, uint32_t n, uint32_t n_levels, uint32_t n_batches,
			uint64_t *seed)
{
	enum table_gating gating = (enum table_gating)(bench_uniform(seed) * 3);
	double noise = between(0, 0.1, seed);

	set_card(s, cu_topology_even(4, 15), n_levels);
	for (uint32_t i = 0; i < n; i++) {
		struct menu_recipe r = recipe(s, i, between(0.4, 1.6, seed));
		struct card_plan_model *m;

		r.gating = gating;
		r.n_batches = n_batches;
		r.noise = noise;
		r.launch_ns *= between(1, 6, seed);
		r.memory_ns *= between(0, 3, seed);
		r.slo_factor = between(1.3, 3, seed);
		r.seed = (uint64_t)(bench_uniform(seed) * 1e9);
		m = add(s, &r, 0);
		m->demand_rps = m->menu->rated_rps * between(0.05, 1.2, seed) / n;
		m->factor = between(0.9, 1.15, seed);
		m->share = between(0.2, 1.3, seed);
		m->late_cost = bench_uniform(seed) < 0.2 ? 0 : 7;
		m->priority = (uint32_t)between(100, 103, seed);
	}
}

/* ---- exact ---- */

static const struct real {
	uint32_t n, n_levels, n_batches, rounds;
} real_cards[] = {{2, 9, 1, 12}, {2, 9, 2, 3}, {3, 9, 1, 4}, {4, 1, 1, 1}};

static void test_equals_a_search_through_everything_on_an_mi50(void **state _unused_)
{
	unsigned int n = 0, fitting = 0;
	uint64_t seed = SEED;

	for (size_t i = 0; i < ARRAY_SIZE(real_cards); i++)
		for (unsigned int round = 0; round < real_cards[i].rounds; round++) {
			const struct real *c = &real_cards[i];
			struct card_plan plan;
			struct setup s;
			double best_w;

			random_mi50(&s, c->n, c->n_levels, c->n_batches, &seed);
			best_w = reference_best_w(&s.q);
			assert_int_equal(card_plan_make(&s.q, NULL, &plan), 0);
			assert_true(plan.exact);
			assert_holds(&s.q, &plan);
			assert_int_equal(plan.fits, isfinite(best_w));
			if (plan.fits && fabs(plan.cost_w - best_w) > 1e-3)
				fail_msg("%u models, round %u: %.6f, best %.6f", c->n, round,
					 plan.cost_w, best_w);
			n++;
			fitting += plan.fits;
			end(&s);
		}
	print_message("%u requests, %u fit\n", n, fitting);
	assert_true(fitting > n / 2);
}

/* ---- what is kept, and what is in force ---- */

/* One model's demand moves, or something else that is asked. */
static void ask_something_else(struct setup *s, uint64_t *seed)
{
	struct card_plan_model *m = &s->q.models[(uint32_t)(bench_uniform(seed) * s->q.n)];
	double what = bench_uniform(seed);

	if (what < 0.7)
		m->demand_rps = m->menu->rated_rps * between(0.02, 1.3, seed) / s->q.n;
	else if (what < 0.8)
		m->factor = between(0.9, 1.15, seed);
	else if (what < 0.85)
		m->may_batch = !m->may_batch;
	else if (what < 0.9)
		m->share = between(0.2, 1.3, seed);
	else if (what < 0.95)
		m->limit_ns = (double)m->menu->slo_ns * between(0.7, 1, seed);
	else
		s->q.power_cap_uw =
			s->q.power_cap_uw > 0 ? 0 : (uint64_t)(1e6 * between(30, 90, seed));
}

static bool stayed(const struct setup *s, const struct card_plan *plan)
{
	for (uint32_t i = 0; i < s->q.n; i++)
		if (plan->models[i].option != s->q.models[i].in_force)
			return false;
	return true;
}

/* What is in force stays only where nothing is cheaper by more than a tie; without it the plan is
 * the cheapest. */
static void assert_cheapest(const struct setup *s, const struct card_plan *plan)
{
	struct card_plan_request fresh = s->q;
	struct card_plan best;

	for (uint32_t i = 0; i < fresh.n; i++)
		fresh.models[i].in_force = UINT32_MAX;
	assert_int_equal(card_plan_make(&fresh, NULL, &best), 0);
	assert_int_equal(plan->fits, best.fits);
	assert_true(plan->cost_w <= best.cost_w + CARD_PLAN_TIE_W + 1e-6);
	if (stayed(s, plan))
		return;
	/* All CUs for all come and go by a tie, too. */
	if (fabs(plan->cost_w - best.cost_w) > 1e-6)
		assert_true(s->menus[0]->options[s->q.models[0].in_force].full &&
			    s->menus[0]->options[plan->models[0].option].full);
}

/* With room for all, or, by turns, for some of the models, of the clocks or of the options. */
static struct card_planner *new_planner(const struct setup *s, unsigned int turn)
{
	struct card_planner_size size = {.n_models = s->q.n, .n_levels = s->q.card->n_levels};
	struct card_planner *kept = NULL;

	for (uint32_t i = 0; i < s->q.n; i++)
		size.n_options = MAX(size.n_options, s->q.models[i].menu->n_options);
	size.n_models -= turn % 8 == 1;
	size.n_levels -= turn % 8 == 3;
	size.n_options -= turn % 8 == 5;
	assert_int_equal(card_planner_new(&size, &kept), 0);
	return kept;
}

static void test_what_is_kept_is_never_seen(void **state _unused_)
{
	unsigned int n = 0, changes = 0, masked = 0;
	uint64_t seed = SEED + 1;

	for (unsigned int round = 0; round < 12; round++) {
		_cleanup_(card_planner_freep) struct card_planner *kept = NULL;
		struct setup s;

		random_mi50(&s, 2 + round % 5, 3, 1 + round % 2, &seed);
		kept = new_planner(&s, round);
		s.q.may_share = round % 3 == 0;
		for (unsigned int i = 0; i < 40; i++) {
			struct card_plan plan, again;

			ask_something_else(&s, &seed);
			assert_int_equal(card_plan_make(&s.q, kept, &plan), 0);
			assert_int_equal(card_plan_make(&s.q, NULL, &again), 0);
			assert_memory_equal(&plan, &again, sizeof(plan));
			if (i > 0 && plan.exact)
				assert_cheapest(&s, &plan);
			changes += i > 0 && !stayed(&s, &plan);
			for (uint32_t k = 0; k < s.q.n; k++)
				s.q.models[k].in_force = plan.models[k].option;
			masked += !s.menus[0]->options[plan.models[0].option].full;
			n++;
		}
		end(&s);
	}
	print_message("%u plans, %u changes, %u with masks\n", n, changes, masked);
	assert_true(changes > n / 10 && changes < n && masked > n / 4);
}

static void test_a_planner_of_no_size(void **state _unused_)
{
	static const struct card_planner_size none[] = {{0, 9, 100},
							{2, 0, 100},
							{2, 9, 0},
							{2, 9, MENU_MAX_OPTIONS + 1}};
	struct card_planner *kept = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(none); i++)
		assert_int_equal(card_planner_new(&none[i], &kept), -EINVAL);
	assert_null(kept);
}

/* More than the card can serve, of up to eight models, some of the time under a cap. */
static void test_who_gives_way_is_the_same_whatever_is_kept(void **state _unused_)
{
	unsigned int n = 0, giving_way = 0, holding = 0;
	uint64_t seed = SEED + 3;

	for (unsigned int round = 0; round < 8; round++) {
		_cleanup_(card_planner_freep) struct card_planner *kept = NULL;
		struct setup s;

		random_mi50(&s, 3 + round % 6, 5, 1, &seed);
		kept = new_planner(&s, round);
		for (unsigned int i = 0; i < 25; i++) {
			struct card_plan_model *m =
				&s.q.models[(uint32_t)(bench_uniform(&seed) * s.q.n)];
			struct card_plan plan, again;

			m->demand_rps = m->menu->overload_rps * between(0.3, 4, &seed) / s.q.n;
			m->factor *= between(0.97, 1.03, &seed);
			s.q.power_cap_uw =
				(uint64_t)(i % 5 == 4 ? 1e6 * between(15, 60, &seed) : 0);
			assert_int_equal(card_plan_make(&s.q, kept, &plan), 0);
			assert_int_equal(card_plan_make(&s.q, NULL, &again), 0);
			assert_memory_equal(&plan, &again, sizeof(plan));
			assert_holds(&s.q, &plan);
			for (uint32_t k = 0; k < s.q.n; k++) {
				s.q.models[k].in_force = plan.models[k].option;
				giving_way += plan.models[k].gives_way;
				holding += !plan.models[k].gives_way;
			}
			n++;
		}
		end(&s);
	}
	print_message("%u plans, %u times a model gives way, %u times not\n", n, giving_way,
		      holding);
	assert_true(giving_way > n / 2 && holding > n / 2);
}

/* ---- more is more ---- */

struct seen {
	unsigned int steps, rises, masked, let_go;
};

static void assert_serves_all(const struct setup *s, const struct card_plan *plan)
{
	for (uint32_t k = 0; k < s->q.n; k++) {
		assert_true(plan->models[k].tail_ns <= s->q.models[k].limit_ns);
		assert_true(plan->models[k].capacity_rps * TABLE_MAX_UTILISATION * (1 + 1e-6) >=
			    s->q.models[k].demand_rps);
	}
}

/* Steps one model's demand upwards, everything else as it is, each plan following on the last. */
static void raise_demand(struct setup *s, uint32_t i, struct seen *seen)
{
	struct card_plan_model *raised = &s->q.models[i];
	const struct response_menu *m = raised->menu;
	struct card_plan plan, before = {.fits = false};

	/* Alone and at the lowest rate what has to survive a step is chosen. */
	for (uint32_t row = 1; row < m->n_rates; row++) {
		raised->demand_rps = m->rate_rps[row] / raised->factor;
		assert_int_equal(card_plan_make(&s->q, NULL, &plan), 0);
		assert_true(plan.exact);
		/* What cannot be served does not become possible by more demand. */
		assert_true(before.fits || row == 1 || !plan.fits);
		if (!plan.fits)
			return;
		assert_serves_all(s, &plan);
		if (before.fits &&
		    m->options[plan.models[i].option].capacity_rps < raised->least_capacity_rps) {
			/* Only together with less capacity all SLOs can be held. */
			seen->let_go++;
		} else if (before.fits) {
			assert_true(plan.cost_w >= before.cost_w - 1e-6);
			assert_true(plan.power_w >= before.power_w - 1e-6);
			seen->steps++;
			seen->rises += m->options[plan.models[i].option].capacity_rps >
				       raised->least_capacity_rps;
			seen->masked += !m->options[plan.models[i].option].full;
		}
		raised->least_capacity_rps = m->options[plan.models[i].option].capacity_rps;
		before = plan;
	}
}

static void test_more_demand_is_never_planned_for_with_less(void **state _unused_)
{
	uint64_t seed = SEED + 2;
	struct seen seen = {0};

	for (unsigned int round = 0; round < 80; round++) {
		uint32_t n = 1 + (uint32_t)(bench_uniform(&seed) * 4);
		struct setup s;

		random_mi50(&s, n, 5, 1, &seed);
		s.q.may_share = round % 2;
		raise_demand(&s, (uint32_t)(bench_uniform(&seed) * n), &seen);
		end(&s);
	}
	print_message("%u steps, %u to a larger capacity, %u under masks, %u with less after all\n",
		      seen.steps, seen.rises, seen.masked, seen.let_go);
	assert_true(seen.steps > 300 && seen.rises > 30 && seen.masked > 30);
	assert_true(seen.let_go <= seen.steps / 100);
}

/* Where all SLOs can only be held with less capacity, there is less. */
static void test_a_capacity_that_nobody_has_is_let_go(void **state _unused_)
{
	struct card_plan plan, free_plan;
	struct setup s;

	mi50(&s, 3, 0.4);
	assert_int_equal(card_plan_make(&s.q, NULL, &free_plan), 0);
	assert_true(free_plan.fits);
	for (uint32_t i = 0; i < s.q.n; i++)
		s.q.models[i].least_capacity_rps = 1e9;
	assert_int_equal(card_plan_make(&s.q, NULL, &plan), 0);
	assert_memory_equal(&plan, &free_plan, sizeof(plan));
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equals_a_search_through_everything_on_an_mi50),
		cmocka_unit_test(test_what_is_kept_is_never_seen),
		cmocka_unit_test(test_a_planner_of_no_size),
		cmocka_unit_test(test_who_gives_way_is_the_same_whatever_is_kept),
		cmocka_unit_test(test_more_demand_is_never_planned_for_with_less),
		cmocka_unit_test(test_a_capacity_that_nobody_has_is_let_go),
	};

	print_message("seed %llu\n", (unsigned long long)SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
