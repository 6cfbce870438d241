/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a rate is constant: by chance alone, with swings, and where requests come in clumps. */
#include "base/macros.h"
#include "base/units.h"
#include "governor-bench.h"
#include "governor/constancy.h"
#include "support/cmocka-includes.h"

#define SEED	 UINT64_C(31)
#define WINDOW_S (CONSTANCY_BLOCKS * 4)

/* Exact for any mean: exponential gaps, counted. */
static double poisson(double mean, uint64_t *seed)
{
	double n = 0;

	for (double t = -log(bench_uniform(seed)); t < mean; t -= log(bench_uniform(seed)))
		n++;
	return n;
}

struct load {
	double rate_rps, clump;
	double swing, period_s; /* of the rate: a share of it */
};

/* For so long; of the whole windows' ends, the share at which it is constant. */
static double share_constant(const struct load *l, double poll_s, double seconds,
			     struct constancy *c)
{
	uint64_t seed = SEED;
	double held = 0, n = 0, t_s = 0;

	constancy_init(c);
	while (t_s < seconds) {
		double turn = l->period_s > 0 ? 2 * M_PI * t_s / l->period_s : 0;
		double mean = l->rate_rps * poll_s * (1 + l->swing * sin(turn)) / l->clump;

		constancy_add(c, l->clump * poisson(mean, &seed), poll_s);
		t_s += poll_s;
		if (t_s < WINDOW_S + poll_s)
			continue;
		held += constancy_holds(c);
		n++;
	}
	return held / n;
}

static void test_nothing_is_known_before_a_minute(void **state)
{
	struct constancy c;

	(void)state;
	constancy_init(&c);
	for (double t_s = 0; t_s < WINDOW_S; t_s += 0.5) {
		assert_false(constancy_known(&c));
		assert_false(constancy_holds(&c));
		assert_true(constancy_dispersion(&c) == 1);
		constancy_add(&c, 50, 0.5);
	}
	assert_true(constancy_known(&c));
	assert_true(constancy_holds(&c));
}

static void test_no_load_is_constant(void **state)
{
	struct constancy c;

	(void)state;
	constancy_init(&c);
	for (int i = 0; i < 400; i++)
		constancy_add(&c, 0, 0.5);
	assert_true(constancy_holds(&c));
	assert_true(constancy_dispersion(&c) == 1);
}

static void test_a_constant_rate_is_constant_whatever_the_clumps(void **state)
{
	static const double rates_rps[] = {0.2, 2, 20, 200, 2000};
	static const double clumps[] = {1, 2, 4, 8, 16};
	static const double polls_s[] = {0.5, 1, 5};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rates_rps) * ARRAY_SIZE(clumps) * ARRAY_SIZE(polls_s);
	     i++) {
		size_t k = i / ARRAY_SIZE(rates_rps);
		struct load l = {.rate_rps = rates_rps[i % ARRAY_SIZE(rates_rps)],
				 .clump = clumps[k % ARRAY_SIZE(clumps)]};
		double poll_s = polls_s[k / ARRAY_SIZE(clumps)], share;
		struct constancy c;

		share = share_constant(&l, poll_s, 2000 * poll_s, &c);
		if (share < 0.98)
			fail_msg("%g/s by %g, polls of %g s: constant in %.2f %%", l.rate_rps,
				 l.clump, poll_s, 100 * share);
	}
}

static void test_dispersion_is_that_of_the_clumps(void **state)
{
	static const double clumps[] = {1, 2, 4, 8, 16};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(clumps); i++) {
		struct load l = {.rate_rps = 400, .clump = clumps[i]};
		double mean = 0;

		for (int minutes = 2; minutes < 42; minutes++) {
			struct constancy c;

			(void)share_constant(&l, 0.5, 60 * minutes, &c);
			mean += constancy_dispersion(&c) / 40;
		}
		if (fabs(mean / clumps[i] - 1) > 0.15)
			fail_msg("clumps of %g: dispersion %.2f", clumps[i], mean);
	}
}

static void test_a_rate_that_moves_is_not_constant(void **state)
{
	static const struct {
		struct load l;
		double most; /* share of the time in which it may seem constant */
	} cases[] = {
		/* As before clumps were thought of. */
		{{.rate_rps = 1000, .clump = 1, .swing = 0.1, .period_s = 60}, 0.05},
		{{.rate_rps = 1000, .clump = 1, .swing = 0.2, .period_s = 20}, 0.05},
		{{.rate_rps = 100, .clump = 1, .swing = 0.3, .period_s = 60}, 0.05},
		{{.rate_rps = 100, .clump = 1, .swing = 0.4, .period_s = 20}, 0.05},
		/* And in clumps, if it moves by more than these. */
		{{.rate_rps = 1000, .clump = 4, .swing = 0.2, .period_s = 60}, 0.05},
		{{.rate_rps = 1000, .clump = 8, .swing = 0.4, .period_s = 60}, 0.05},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct constancy c;
		double share = share_constant(&cases[i].l, 0.5, 1200, &c);

		if (share > cases[i].most)
			fail_msg("case %zu: constant in %.1f %%", i, 100 * share);
	}
}

static void test_a_step_is_seen_within_half_a_minute(void **state)
{
	static const double clumps[] = {1, 4};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(clumps); i++) {
		struct load l = {.rate_rps = 200, .clump = clumps[i]};
		uint64_t seed = SEED + 1;
		struct constancy c;

		assert_true(share_constant(&l, 0.5, 300, &c) > 0.98);
		for (int k = 0; k < 60; k++)
			constancy_add(&c, l.clump * poisson(200 / l.clump, &seed), 0.5);
		assert_false(constancy_holds(&c));
	}
}

static int begin(void **state)
{
	(void)state;
	print_message("seed %lu\n", SEED);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_is_known_before_a_minute),
		cmocka_unit_test(test_no_load_is_constant),
		cmocka_unit_test(test_a_constant_rate_is_constant_whatever_the_clumps),
		cmocka_unit_test(test_dispersion_is_that_of_the_clumps),
		cmocka_unit_test(test_a_rate_that_moves_is_not_constant),
		cmocka_unit_test(test_a_step_is_seen_within_half_a_minute),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
