/* SPDX-License-Identifier: Apache-2.0 */
/* Arrivals: a function of the seed, and Poisson at the curve's rate (chi-square at fixed seeds, so
 * these pass or fail for ever). */
#include "load/arrivals.h"
#include "support/cmocka-includes.h"

#include <math.h>
#include <string.h>

#define SEED	 UINT64_C(20240531)
#define SECOND	 UINT64_C(1000000000)
#define MAX_SEEN 200000

static uint64_t seen[MAX_SEEN];

static uint32_t collect(struct arrivals a)
{
	uint32_t n = 0;

	while (n < MAX_SEEN && arrivals_next(&a, &seen[n]))
		n++;
	assert_true(n < MAX_SEEN);
	return n;
}

static struct load_curve *curve_of(const char *points)
{
	struct load_curve_error error;
	struct load_curve *c;
	FILE *f = tmpfile();

	assert_non_null(f);
	(void)fprintf(f, "t_s,load\n%s", points);
	rewind(f);
	assert_int_equal(load_curve_read(f, &c, &error), 0);
	(void)fclose(f);
	return c;
}

static void test_same_seed_gives_the_same_arrivals(void **state)
{
	static uint64_t first[MAX_SEEN];
	struct load_curve *c = curve_of("0,0.2\n30,1\n60,0.1\n");
	uint32_t n = collect(arrivals_make(c, SEED, 200, 1, 0));

	(void)state;
	memcpy(first, seen, sizeof(first));
	assert_int_equal(collect(arrivals_make(c, SEED, 200, 1, 0)), n);
	assert_memory_equal(first, seen, n * sizeof(*seen));
	(void)collect(arrivals_make(c, SEED + 1, 200, 1, 0));
	assert_memory_not_equal(first, seen, n * sizeof(*seen));
	load_curve_free(c);
}

static void test_arrivals_never_run_backwards_nor_past_the_end(void **state)
{
	struct load_curve *c = curve_of("0,0\n1,5\n1.001,0\n3,0\n3.5,2\n");
	uint32_t n = collect(arrivals_make(c, SEED, 1000, 1, 0));

	(void)state;
	assert_true(n > 2000);
	for (uint32_t i = 1; i < n; i++)
		assert_true(seen[i] >= seen[i - 1]);
	assert_true(seen[n - 1] < 35 * SECOND / 10);
	/* Nothing while the load is 0. */
	for (uint32_t i = 0; i < n; i++)
		assert_false(seen[i] > 1002 * SECOND / 1000 && seen[i] < 3 * SECOND);
	load_curve_free(c);
}

/* Upper 0.1 % point of chi-square (Wilson and Hilferty 1931). */
static double chi_square_limit(double degrees)
{
	double h = 2 / (9 * degrees);

	return degrees * pow(1 - h + 3.0902 * sqrt(h), 3);
}

static void test_counts_follow_the_curve(void **state)
{
	struct load_curve *c = curve_of("0,0.2\n100,1\n200,0.4\n");
	double bins[40] = {0}, chi = 0;
	uint32_t n = collect(arrivals_make(c, SEED, 100, 1, 0));

	(void)state;
	print_message("seed %llu\n", (unsigned long long)SEED);
	for (uint32_t i = 0; i < n; i++)
		bins[seen[i] / (5 * SECOND)]++;
	for (uint32_t i = 0; i < 40; i++) {
		double middle = 5 * i + 2.5;
		double load = middle < 100 ? 0.2 + 0.008 * middle : 1 - 0.006 * (middle - 100);
		double expected = 100 * load * 5;

		chi += (bins[i] - expected) * (bins[i] - expected) / expected;
	}
	assert_true(chi < chi_square_limit(40));
	/* And not suspiciously even either: the lower 0.1 % point. */
	assert_true(chi > 40 * pow(1 - 2 / 360.0 - 3.0902 * sqrt(2 / 360.0), 3));
	load_curve_free(c);
}

static void test_gaps_at_a_constant_rate_are_exponential(void **state)
{
	enum { BINS = 20 };
	struct load_curve *c;
	double bins[BINS] = {0}, chi = 0;
	uint32_t n;

	(void)state;
	assert_int_equal(load_curve_constant(LOAD_CURVE_MAX_S, &c), 0);
	n = collect(arrivals_make(c, SEED, 250, 1, 200 * SECOND));
	for (uint32_t i = 1; i < n; i++) {
		double gap_s = (double)(seen[i] - seen[i - 1]) / (double)SECOND;
		double share = 1 - exp(-250 * gap_s); /* uniform if the gap is exponential */

		bins[(uint32_t)(share * BINS)]++;
	}
	for (uint32_t i = 0; i < BINS; i++)
		chi += pow(bins[i] - (n - 1.0) / BINS, 2) / ((n - 1.0) / BINS);
	assert_true(chi < chi_square_limit(BINS - 1));
	assert_true(fabs(n - 50000.0) < 4 * sqrt(50000.0));
	load_curve_free(c);
}

static void test_compression_plays_the_same_arrivals_faster(void **state)
{
	struct load_curve *slow = curve_of("0,0.5\n100,1\n"), *fast = curve_of("0,0.5\n10,1\n");
	static uint64_t expected[MAX_SEEN];
	uint32_t n = collect(arrivals_make(fast, SEED, 100, 1, 0));

	(void)state;
	memcpy(expected, seen, n * sizeof(*seen));
	assert_int_equal(collect(arrivals_make(slow, SEED, 100, 10, 0)), n);
	for (uint32_t i = 0; i < n; i++)
		assert_true(llabs((long long)(seen[i] - expected[i])) <= 10);
	load_curve_free(slow);
	load_curve_free(fast);
}

static void test_duration_cuts_the_arrivals_without_moving_them(void **state)
{
	struct load_curve *c = curve_of("0,1\n100,1\n");
	static uint64_t all[MAX_SEEN];
	uint32_t n;

	(void)state;
	(void)collect(arrivals_make(c, SEED, 50, 1, 0));
	memcpy(all, seen, sizeof(all));
	n = collect(arrivals_make(c, SEED, 50, 1, 10 * SECOND));
	assert_memory_equal(all, seen, n * sizeof(*seen));
	assert_true(seen[n - 1] < 10 * SECOND && all[n] >= 10 * SECOND);
	load_curve_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_same_seed_gives_the_same_arrivals),
		cmocka_unit_test(test_arrivals_never_run_backwards_nor_past_the_end),
		cmocka_unit_test(test_counts_follow_the_curve),
		cmocka_unit_test(test_gaps_at_a_constant_rate_are_exponential),
		cmocka_unit_test(test_compression_plays_the_same_arrivals_faster),
		cmocka_unit_test(test_duration_cuts_the_arrivals_without_moving_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
