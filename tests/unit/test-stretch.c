/* SPDX-License-Identifier: Apache-2.0 */
/* How much other models slow one down: that it is told from a card that is slow by itself. */
#include "governor-bench.h"
#include "governor/stretch.h"
#include "support/cmocka-includes.h"

#define SEED   UINT64_C(5)
#define POLL_S 0.5

/* Load of the others that moves from low to high within two minutes, of ten services a poll, each
 * of which may be off by a tenth. */
static void run(struct stretch *s, double f, double share, double low, double high, uint64_t *seed)
{
	for (unsigned int i = 0; i < 1200; i++) {
		double busy = low + (high - low) * (0.5 + 0.5 * sin(i / 40.0));
		double noise = 1 + 0.1 * (2 * bench_uniform(seed) - 1);

		stretch_learn(s, POLL_S, 10, busy, f * (1 + share * busy) * noise, 0);
	}
}

static void test_a_share_is_told_from_a_slow_card(void **state _unused_)
{
	static const double factors[] = {0.9, 1, 1.15}, shares[] = {0.1, 0.3, 0.6, 1, 1.2, 2};
	uint64_t seed = SEED;

	for (size_t i = 0; i < ARRAY_SIZE(factors); i++)
		for (size_t j = 0; j < ARRAY_SIZE(shares); j++) {
			double expected = CLAMP(shares[j], STRETCH_LEAST, STRETCH_MOST);
			struct stretch s;

			stretch_init(&s);
			assert_true(s.share == STRETCH_FIRST);
			run(&s, factors[i], shares[j], 0.05, 0.6, &seed);
			if (fabs(s.share - expected) > 0.15)
				fail_msg("factor %.2f, share %.1f: %.3f", factors[i], shares[j],
					 s.share);
		}
}

/* Where the others' load is always the same, the guesses decide what is whose. */
static void test_constant_load_leaves_it_near_the_guess(void **state _unused_)
{
	uint64_t seed = SEED + 1;
	struct stretch s;

	stretch_init(&s);
	run(&s, 1.1, 0.6, 0.2, 0.2, &seed);
	assert_true(fabs(s.share - STRETCH_FIRST) < 0.4);
}

/* Of a card that is known the rest is the others'. */
static void test_a_known_card_leaves_the_rest_to_the_share(void **state _unused_)
{
	uint64_t seed = SEED + 3;

	for (double f = 0.9; f < 1.2; f += 0.1) {
		struct stretch s;

		stretch_init(&s);
		for (unsigned int i = 0; i < 1200; i++) {
			double noise = 1 + 0.1 * (2 * bench_uniform(&seed) - 1);

			stretch_learn(&s, POLL_S, 10, 0.3, f * (1 + 0.9 * 0.3) * noise, f);
		}
		assert_true(fabs(s.share - 0.9) <= 0.15);
	}
}

/* Each step makes a new plan: noise is hardly ever a reason for one. */
static void test_noise_hardly_moves_what_is_in_use(void **state _unused_)
{
	uint64_t seed = SEED + 2;
	unsigned int moves = 0;
	struct stretch s;

	stretch_init(&s);
	run(&s, 1, 0.65, 0.1, 0.4, &seed);
	for (unsigned int round = 0; round < 10; round++) {
		double before = s.share;

		run(&s, 1, 0.65, 0.1, 0.4, &seed);
		moves += s.share != before;
	}
	print_message("%u moves in ten times ten minutes\n", moves);
	assert_true(moves <= 2);
}

static void test_what_is_no_observation_is_ignored(void **state _unused_)
{
	static const double bad[][4] = {
		{0, 10, 0.5, 2},	 {0.5, 0, 0.5, 2},	   {0.5, 10, -1, 2},
		{0.5, 10, 0.5, 0},	 {0.5, 10, 0.5, INFINITY}, {0.5, 10, NAN, 2},
		{0.5, INFINITY, 0.5, 2}, {NAN, 10, 0.5, 2},
	};
	struct stretch s, before;

	stretch_init(&s);
	before = s;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		for (unsigned int j = 0; j < 100; j++)
			stretch_learn(&s, bad[i][0], bad[i][1], bad[i][2], bad[i][3], 0);
	assert_memory_equal(&s, &before, sizeof(s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_share_is_told_from_a_slow_card),
		cmocka_unit_test(test_constant_load_leaves_it_near_the_guess),
		cmocka_unit_test(test_a_known_card_leaves_the_rest_to_the_share),
		cmocka_unit_test(test_noise_hardly_moves_what_is_in_use),
		cmocka_unit_test(test_what_is_no_observation_is_ignored),
	};

	print_message("seed %llu\n", (unsigned long long)SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
