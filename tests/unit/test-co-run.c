/* SPDX-License-Identifier: Apache-2.0 */
/* A model's factor on service times beside others: what a line through the intervals says, and how
 * surely. */
#include "governor-bench.h"
#include "governor/co-run.h"
#include "support/cmocka-includes.h"

#define SEED   UINT64_C(8)
#define POLL_S 0.5

/* Others' work between low and high, of ten services a poll, each off by up to noise. Returns the
 * looks that there were, and their mean, weighted. */
static unsigned int run(double f, double share, double low, double high, double noise,
			double *ret_factor, double *ret_services, uint64_t *seed)
{
	double factor, services, sum = 0;
	struct co_run c = {0};
	unsigned int n = 0;

	*ret_services = 0;
	for (unsigned int i = 0; i < 1200; i++) {
		double work = low + (high - low) * bench_uniform(seed);
		double off = 1 + noise * (2 * bench_uniform(seed) - 1);

		co_run_add(&c, POLL_S, 10, work, f * (1 + share * work) * off);
		if (!co_run_look(&c, &factor, &services))
			continue;
		n++;
		sum += services * factor;
		*ret_services += services;
	}
	*ret_factor = sum / *ret_services;
	return n;
}

static void test_it_is_the_card_whatever_the_others_do(void **state _unused_)
{
	static const double factors[] = {0.85, 1, 1.15}, shares[] = {0, 0.3, 0.6, 1, 2};
	double factor, services;
	uint64_t seed = SEED;

	for (size_t i = 0; i < ARRAY_SIZE(factors); i++)
		for (size_t j = 0; j < ARRAY_SIZE(shares); j++) {
			assert_true(run(factors[i], shares[j], 0.05, 0.6, 0.1, &factor, &services,
					&seed) >= 5);
			if (fabs(factor - factors[i]) > 0.02)
				fail_msg("factor %.2f, share %.1f: %.3f", factors[i], shares[j],
					 factor);
		}
}

/* Where it is always the same no line can be told, and where there is none all tell the card. */
static void test_it_says_as_much_as_the_others_work_differs(void **state _unused_)
{
	double factor, nothing, little, much, none;
	uint64_t seed = SEED + 1;

	assert_int_equal(run(1.1, 0.6, 0.3, 0.3, 0.1, &factor, &nothing, &seed), 0);
	run(1.1, 0.6, 0.25, 0.35, 0.1, &factor, &little, &seed);
	run(1.1, 0.6, 0, 0.6, 0.1, &factor, &much, &seed);
	run(1.1, 0.6, 0, 0, 0.1, &factor, &none, &seed);
	assert_true(fabs(factor - 1.1) < 0.005);
	assert_true(little < much / 5 && much < none);
	assert_true(fabs(none - 12000) < 1);
	/* Noise beyond what services have says less. */
	run(1.1, 0.6, 0, 0.6, 0.9, &factor, &little, &seed);
	assert_true(little < much / 2);
}

static void test_what_is_no_observation_is_ignored(void **state _unused_)
{
	static const double bad[][4] = {
		{0, 10, 0.5, 2},	 {0.5, 0, 0.5, 2},	   {0.5, 10, -1, 2},
		{0.5, 10, 0.5, 0},	 {0.5, 10, 0.5, INFINITY}, {0.5, 10, NAN, 2},
		{0.5, INFINITY, 0.5, 2}, {NAN, 10, 0.5, 2},	   {0.5, 10, 2.1, 2},
		{0.5, 10, INFINITY, 2},	 {INFINITY, 10, 0.5, 2},
	};
	struct co_run c = {0}, before = c;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		co_run_add(&c, bad[i][0], bad[i][1], bad[i][2], bad[i][3]);
	assert_memory_equal(&c, &before, sizeof(c));
}

/* Whatever a worker counts: a look is of a number that a factor may be. */
static void test_looks_are_numbers(void **state _unused_)
{
	static const double values[] = {1e-300, 1e-9, 1, 1e9, 1e100, 1e300};
	uint64_t seed = SEED + 2;

	for (unsigned int round = 0; round < 20000; round++) {
		double factor = 1, services = 1;
		struct co_run c = {0};

		for (unsigned int i = 0; i < 90; i++) {
			size_t a = (size_t)(bench_uniform(&seed) * ARRAY_SIZE(values));
			size_t b = (size_t)(bench_uniform(&seed) * ARRAY_SIZE(values));

			co_run_add(&c, POLL_S, values[a], 2 * bench_uniform(&seed), values[b]);
			if (co_run_look(&c, &factor, &services))
				assert_true(isfinite(factor) && factor > 0 && isfinite(services) &&
					    services > 0);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_it_is_the_card_whatever_the_others_do),
		cmocka_unit_test(test_it_says_as_much_as_the_others_work_differs),
		cmocka_unit_test(test_what_is_no_observation_is_ignored),
		cmocka_unit_test(test_looks_are_numbers),
	};

	print_message("seed %llu\n", (unsigned long long)SEED);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
