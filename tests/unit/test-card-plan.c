/* SPDX-License-Identifier: Apache-2.0 */
/* The planner of several models: against a search through everything on random cards and demands,
 * and what holds of every plan. */
#include "card-plan-reference.h"

#define SEED UINT64_C(20261126)

static const struct small {
	uint32_t n_se, cus, n_xcc, n_levels, n, n_batches;
} small_cards[] = {
	{2, 3, 1, 3, 2, 1}, {2, 3, 1, 2, 3, 1}, {1, 8, 1, 2, 4, 1},  {4, 3, 1, 2, 3, 1},
	{4, 4, 2, 2, 2, 1}, {2, 4, 1, 2, 2, 3}, {2, 7, 1, 2, 3, 1},  {3, 3, 1, 1, 4, 1},
	{1, 6, 1, 2, 5, 1}, {2, 6, 1, 1, 5, 1}, {4, 15, 1, 2, 2, 1},
};

static void small_setup(struct setup *s, const struct small *c, uint64_t *seed)
{
	struct cu_topology t = cu_topology_even(c->n_se, c->cus);
	enum table_gating gating = (enum table_gating)(bench_uniform(seed) * 3);
	double total = 0.2 + 0.9 * bench_uniform(seed), noise = 0.2 * bench_uniform(seed);

	t.n_xcc = c->n_xcc;
	set_card(s, t, c->n_levels);
	for (uint32_t i = 0; i < c->n; i++) {
		struct menu_recipe r = recipe(s, i, 0.5 + 2 * bench_uniform(seed));
		struct card_plan_model *m;

		r.gating = gating;
		r.n_batches = c->n_batches;
		r.noise = noise;
		r.memory_ns *= 4 * bench_uniform(seed);
		r.slo_factor = 1 + 2 * bench_uniform(seed);
		r.seed = (uint64_t)(bench_uniform(seed) * 1e9);
		m = add(s, &r, 0);
		m->demand_rps = m->menu->rated_rps * total / c->n * 2 * bench_uniform(seed);
		m->factor = 0.9 + 0.3 * bench_uniform(seed);
		m->late_cost = bench_uniform(seed) < 0.3 ? 0 : 10 * bench_uniform(seed);
		m->priority = (uint32_t)(100 + 3 * bench_uniform(seed));
		m->may_batch = bench_uniform(seed) < 0.8;
	}
	s->q.power_factor = 0.9 + 0.3 * bench_uniform(seed);
	if (bench_uniform(seed) < 0.4)
		s->q.power_cap_uw = (uint64_t)(1e6 * (25 + 90 * bench_uniform(seed)));
}

static void test_equals_a_search_through_everything(void **state)
{
	uint64_t seed = SEED;
	unsigned int fitting = 0, capped = 0, n = 0;

	(void)state;
	for (unsigned int round = 0; round < 40; round++)
		for (size_t i = 0; i < ARRAY_SIZE(small_cards); i++) {
			struct card_plan plan;
			struct setup s;
			double best_w;

			small_setup(&s, &small_cards[i], &seed);
			best_w = reference_best_w(&s.q);
			assert_int_equal(card_plan_make(&s.q, NULL, &plan), 0);
			assert_holds(&s.q, &plan);
			assert_int_equal(plan.fits, isfinite(best_w));
			/* What more CUs are worth is not the reference's. */
			if (plan.fits && fabs(plan.cost_w - best_w) > 1e-3) {
				print_message("card %zu, round %u: %.6f, best %.6f\n", i, round,
					      plan.cost_w, best_w);
				fail();
			}
			n++;
			fitting += plan.fits;
			capped += plan.fits && s.q.power_cap_uw > 0;
			end(&s);
		}
	print_message("%u requests, %u fit, %u of them under a cap\n", n, fitting, capped);
	assert_true(fitting > n / 4 && fitting < n && capped > n / 20);
}

/* Whatever is asked of a real card is answered with masks that it has, and inside the cap. */
static void test_plans_of_a_real_card_are_feasible(void **state)
{
	uint64_t seed = SEED + 1;
	unsigned int fitting = 0;

	(void)state;
	for (unsigned int round = 0; round < 100; round++) {
		uint32_t n = 2 + (uint32_t)(bench_uniform(&seed) * 7);
		struct card_plan plan;
		struct setup s;

		mi50(&s, n, 0);
		if (round % 2)
			s.q.power_cap_uw = (uint64_t)(1e6 * (20 + 80 * bench_uniform(&seed)));
		for (uint32_t i = 0; i < n; i++)
			s.q.models[i].demand_rps =
				s.menus[i]->overload_rps * 1.4 / n * bench_uniform(&seed);
		assert_int_equal(card_plan_make(&s.q, NULL, &plan), 0);
		assert_holds(&s.q, &plan);
		fitting += plan.fits;
		end(&s);
	}
	print_message("%u fit\n", fitting);
	assert_true(fitting > 5 && fitting < 95);
}

static void test_the_order_of_models_does_not_matter(void **state)
{
	uint64_t seed = SEED + 2;

	(void)state;
	for (unsigned int round = 0; round < 30; round++) {
		uint32_t n = 2 + (uint32_t)(bench_uniform(&seed) * 7), turn;
		struct card_plan plan, turned;
		struct card_plan_request q;
		struct setup s;

		mi50(&s, n, 0);
		for (uint32_t i = 0; i < n; i++)
			s.q.models[i].demand_rps =
				s.menus[i]->overload_rps * 1.4 / n * bench_uniform(&seed);
		turn = 1 + (uint32_t)(bench_uniform(&seed) * (n - 1));
		q = s.q;
		for (uint32_t i = 0; i < n; i++)
			q.models[i] = s.q.models[(i + turn) % n];
		assert_int_equal(card_plan_make(&s.q, NULL, &plan), 0);
		assert_int_equal(card_plan_make(&q, NULL, &turned), 0);
		assert_true(plan.power_w == turned.power_w && plan.cost_w == turned.cost_w);
		for (uint32_t i = 0; i < n; i++)
			assert_memory_equal(&turned.models[i], &plan.models[(i + turn) % n],
					    sizeof(plan.models[i]));
		end(&s);
	}
}

/* Without masks where that costs less, and never more than masks apart. */
static void test_all_models_may_share_all_cus(void **state)
{
	uint64_t seed = SEED + 3;
	unsigned int shared = 0, apart = 0;

	(void)state;
	for (unsigned int round = 0; round < 200; round++) {
		uint32_t n = 2 + (uint32_t)(bench_uniform(&seed) * 3), full = 0;
		struct card_plan plan, masked, again;
		struct setup s;

		mi50(&s, n, 0);
		for (uint32_t i = 0; i < n; i++)
			s.q.models[i].demand_rps =
				s.menus[i]->overload_rps * 0.9 / n * bench_uniform(&seed);
		assert_int_equal(card_plan_make(&s.q, NULL, &masked), 0);
		s.q.may_share = true;
		assert_int_equal(card_plan_make(&s.q, NULL, &plan), 0);
		for (uint32_t i = 0; i < n; i++)
			full += s.menus[i]->options[plan.models[i].option].full;
		/* All or none, of one clock. */
		assert_true(full == 0 || full == n);
		for (uint32_t i = 0; i < n && full > 0; i++) {
			const struct menu_option *o = &s.menus[i]->options[plan.models[i].option];

			assert_int_equal(s.menus[i]->clocks[o->clock].max_mhz, plan.max_mhz);
			assert_true(plan.models[i].tail_ns <= s.q.models[i].limit_ns);
			s.q.models[i].in_force = plan.models[i].option;
		}
		if (masked.fits)
			assert_true(plan.fits && plan.cost_w <= masked.cost_w + CARD_PLAN_TIE_W);
		/* What is in force stays. */
		if (full > 0) {
			assert_int_equal(card_plan_make(&s.q, NULL, &again), 0);
			assert_true(again.cost_w == plan.cost_w && again.max_mhz == plan.max_mhz);
		}
		shared += full > 0;
		apart += full == 0;
		end(&s);
	}
	print_message("%u without masks, %u apart\n", shared, apart);
	assert_true(shared > 20 && shared + apart == 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_models_may_share_all_cus),
		cmocka_unit_test(test_equals_a_search_through_everything),
		cmocka_unit_test(test_plans_of_a_real_card_are_feasible),
		cmocka_unit_test(test_the_order_of_models_does_not_matter),
	};

	printf("seed %llu\n", (unsigned long long)SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
