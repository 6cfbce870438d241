/* SPDX-License-Identifier: Apache-2.0 */
/* The time of a clock change from services made by hand, and what it makes of boosts. */
#include "governor-bench.h"
#include "governor/guard.h"
#include "governor/switch-time.h"
#include "support/cmocka-includes.h"

#define SEED UINT64_C(20)
#define MS   1e6
#define SLOW (13 * MS)
#define FAST (10 * MS)

struct made {
	double switch_ns, factor, jitter;
	uint64_t seed;
	double now_ns;
};

static double spread(struct made *m)
{
	double sum = -6;

	for (int i = 0; i < 12; i++)
		sum += bench_uniform(&m->seed);
	return exp(m->jitter * sum);
}

/* When an execution ends that begins at start_ns after the order; of the work are old and new. */
static double end_ns(struct made *m, double start_ns)
{
	double work = m->factor * spread(m), slow = work * SLOW, fast = work * FAST;

	if (start_ns >= m->switch_ns)
		return start_ns + fast;
	if (start_ns + slow <= m->switch_ns)
		return start_ns + slow;
	return m->switch_ns + (1 - (m->switch_ns - start_ns) / slow) * fast;
}

/* A boost of so long, looked at every service time, in which there is always work; it begins as an
 * execution does, or phase before that. */
static void boost(struct switch_time *s, struct made *m, double length_ns, double phase_ns)
{
	double began_ns = m->now_ns, start_ns = -phase_ns, seen_ns = 0;

	switch_time_order(s, (uint64_t)began_ns, m->factor * SLOW, m->factor * FAST,
			  /* prompt= */ phase_ns == 0);
	while (seen_ns < length_ns) {
		double until_ns = MIN(seen_ns + FAST, length_ns), busy_ns = 0, ended_ns;
		uint64_t n = 0;

		for (; (ended_ns = end_ns(m, start_ns)) <= until_ns; start_ns = ended_ns, n++)
			busy_ns += ended_ns - start_ns;
		switch_time_executions(s, (uint64_t)(began_ns + until_ns),
				       (uint64_t)(began_ns + until_ns) -
					       (uint64_t)(began_ns + seen_ns),
				       (uint64_t)busy_ns, n);
		seen_ns = until_ns;
	}
	m->now_ns = began_ns + length_ns;
	switch_time_end(s, (uint64_t)m->now_ns);
	m->now_ns += 5e9;
}

static double estimate(struct made m, uint32_t n, double length_ns, bool prompt)
{
	struct switch_time s;

	m.now_ns = 1e9;
	switch_time_init(&s);
	for (uint32_t i = 0; i < n; i++)
		boost(&s, &m, length_ns, prompt ? 0 : bench_uniform(&m.seed) * SLOW);
	return switch_time_ns(&s);
}

static void test_without_chance_it_is_what_it_is(void **state)
{
	static const double times_ms[] = {0, 1, 5, 20, 50, 200, 700};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(times_ms); i++)
		for (int k = -1; k <= 1; k++) {
			struct made m = {.switch_ns = times_ms[i] * MS,
					 .factor = 1 + 0.2 * k,
					 .seed = SEED};
			double ns = estimate(m, 3, 900 * MS, /* prompt= */ true);

			if (fabs(ns - m.switch_ns) > 100)
				fail_msg("%g ms at %g: %.9g", times_ms[i], m.factor, ns / MS);
		}
}

/* Services that spread by 3 %, seen from a moment in them that nobody knows: within half of a
 * service and a fifth. */
static void test_chance_moves_it_by_less_than_a_service(void **state)
{
	static const double times_ms[] = {1, 5, 20, 50, 200};

	(void)state;
	print_message("seed %lu\n", SEED);
	for (size_t i = 0; i < ARRAY_SIZE(times_ms); i++)
		for (uint64_t k = 0; k < 40; k++) {
			struct made m = {.switch_ns = times_ms[i] * MS,
					 .factor = 1,
					 .jitter = 0.03,
					 .seed = SEED + k};
			double ns = estimate(m, 15, 900 * MS, k % 2 == 0);

			if (fabs(ns - m.switch_ns) > FAST / 2 + m.switch_ns / 5)
				fail_msg("%g ms, seed %lu: %g", times_ms[i], SEED + k, ns / MS);
		}
}

static void test_boosts_that_end_before_it_say_how_long_they_were(void **state)
{
	struct made m = {.switch_ns = 200 * MS, .factor = 1, .seed = SEED};
	struct switch_time s;
	double ns = estimate(m, 15, 60 * MS, /* prompt= */ true);

	(void)state;
	/* Four of them have ended by then. */
	assert_true(ns >= 4 * SLOW - 1 && ns <= 60 * MS);

	/* Few that are long enough are enough. */
	m.now_ns = 1e9;
	switch_time_init(&s);
	for (int i = 0; i < 10; i++)
		boost(&s, &m, i % 5 == 4 ? 300 * MS : 60 * MS, 0);
	assert_true(fabs(switch_time_ns(&s) - 200 * MS) < 100);
}

static void test_it_is_not_known_before_three_boosts(void **state)
{
	struct made m = {.switch_ns = 50 * MS, .factor = 1, .now_ns = 1e9, .seed = SEED};
	struct switch_time s;

	(void)state;
	switch_time_init(&s);
	for (int i = 0; i < 3; i++) {
		assert_false(switch_time_known(&s));
		assert_true(switch_time_ns(&s) == SWITCH_TIME_DEFAULT_NS);
		boost(&s, &m, 300 * MS, 0);
	}
	assert_true(switch_time_known(&s));
}

static void test_another_card_s_time_is_learnt_after_it(void **state)
{
	struct made m = {.switch_ns = 200 * MS, .factor = 1, .now_ns = 1e9, .seed = SEED};
	struct switch_time s;

	(void)state;
	switch_time_init(&s);
	for (int i = 0; i < 15; i++)
		boost(&s, &m, 400 * MS, 0);
	m.switch_ns = 5 * MS;
	for (int i = 0; i < 8; i++)
		boost(&s, &m, 400 * MS, 0);
	assert_true(fabs(switch_time_ns(&s) - 5 * MS) < 100);
}

/* One of 300 ms is under way; each says something that cannot be, or nothing. */
static void test_what_contradicts_itself_says_nothing(void **state)
{
	static const uint64_t began = UINT64_C(1000000000), ms = NSEC_PER_MSEC;
	static const struct {
		uint64_t now_ns, interval_ns, busy_ns, executions;
	} rows[] = {
		{began + 100 * ms, 100 * ms, 500 * ms, 30}, /* busy for longer than there was */
		{began + 100 * ms, 100 * ms, UINT64_MAX, UINT64_MAX},
		{began + 100 * ms, 50 * ms, 50 * ms, 5}, /* half of it is not told of */
		{began - 1, 0, 0, 0},
		{began + 100 * ms, began + 200 * ms, 100 * ms, 9}, /* before time began */
		{began + 100 * ms, 100 * ms, 0, 0}, /* a pause, and nothing before it */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct switch_time s;

		switch_time_init(&s);
		switch_time_order(&s, began, SLOW, FAST, true);
		assert_true(s.watching);
		switch_time_executions(&s, rows[i].now_ns, rows[i].interval_ns, rows[i].busy_ns,
				       rows[i].executions);
		assert_false(s.watching);
		assert_int_equal(s.n, 0);
	}
}

static void test_orders_that_nothing_can_be_learnt_of_are_ignored(void **state)
{
	static const struct {
		double slow_ns, fast_ns;
	} rows[] = {{FAST, FAST},     {FAST * 1.05, FAST}, {FAST, SLOW}, {0, 0},
		    {INFINITY, FAST}, {NAN, FAST},	   {SLOW, NAN},	 {SLOW, -FAST}};
	struct switch_time s;

	(void)state;
	switch_time_init(&s);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		switch_time_order(&s, NSEC_PER_SEC, rows[i].slow_ns, rows[i].fast_ns, true);
		assert_false(s.watching);
	}
	/* A lower clock may not be in force yet, if the higher one was. */
	switch_time_order(&s, NSEC_PER_SEC, SLOW, FAST, true);
	switch_time_end(&s, NSEC_PER_SEC);
	switch_time_order(&s, NSEC_PER_SEC, SLOW, FAST, true);
	assert_true(s.watching);
	switch_time_executions(&s, NSEC_PER_SEC + 50 * NSEC_PER_MSEC, 50 * NSEC_PER_MSEC,
			       50 * NSEC_PER_MSEC, 5);
	assert_int_equal(s.n, 1);
	switch_time_end(&s, NSEC_PER_SEC * 3 / 2);
	switch_time_order(&s, NSEC_PER_SEC * 19 / 10, SLOW, FAST, true);
	assert_false(s.watching);
	switch_time_order(&s, NSEC_PER_SEC * 2, SLOW, FAST, true);
	assert_true(s.watching);
	/* Two slow ones, and then nothing that is known: it took longer than these. */
	switch_time_executions(&s, NSEC_PER_SEC * 2 + (uint64_t)(2 * SLOW), (uint64_t)(2 * SLOW),
			       (uint64_t)(2 * SLOW), 2);
	switch_time_stop(&s);
	assert_int_equal(s.n, 2);
	assert_true(s.samples[1].at_least && fabs(s.samples[1].ns - 2 * SLOW) < 1);
	switch_time_order(&s, NSEC_PER_SEC * 3, SLOW, FAST, true);
	assert_true(s.watching);
	/* As if none had been there. */
	switch_time_drop(&s);
	switch_time_executions(&s, NSEC_PER_SEC * 4, NSEC_PER_SEC, NSEC_PER_SEC, 70);
	assert_int_equal(s.n, 2);
}

static void test_no_estimate_is_above_a_second(void **state)
{
	struct made m = {.switch_ns = 4e9, .factor = 1, .seed = SEED};

	(void)state;
	assert_true(estimate(m, 5, 5e9, true) == SWITCH_TIME_MAX_NS);
}

/* ---- the wait from which a boost is asked for ---- */

static void test_the_longer_it_takes_the_earlier_is_the_wake(void **state)
{
	static const struct {
		double slo_ms, switch_ms, wait_ms; /* < 0: none */
	} rows[] = {
		{60, 0, 37},	{60, 10, 37}, {60, 11, 36},  {60, 25, 22}, {60, 30, 18.5},
		{60, 37, 18.5}, {60, 38, -1}, {60, 200, -1}, {22, 0, 4.5}, {22, 4, 4.5},
		{22, 5, -1},	{13, 0, 0},   {13, 1, -1},   {10, 0, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t expected =
			rows[i].wait_ms < 0 ? UINT64_MAX : (uint64_t)(rows[i].wait_ms * MS);

		assert_int_equal(guard_wait_ns(rows[i].slo_ms * MS, SLOW, FAST,
					       rows[i].switch_ms * MS),
				 expected);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_chance_it_is_what_it_is),
		cmocka_unit_test(test_chance_moves_it_by_less_than_a_service),
		cmocka_unit_test(test_boosts_that_end_before_it_say_how_long_they_were),
		cmocka_unit_test(test_it_is_not_known_before_three_boosts),
		cmocka_unit_test(test_another_card_s_time_is_learnt_after_it),
		cmocka_unit_test(test_what_contradicts_itself_says_nothing),
		cmocka_unit_test(test_orders_that_nothing_can_be_learnt_of_are_ignored),
		cmocka_unit_test(test_no_estimate_is_above_a_second),
		cmocka_unit_test(test_the_longer_it_takes_the_earlier_is_the_wake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
