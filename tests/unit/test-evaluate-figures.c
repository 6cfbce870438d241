/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of an evaluation, from made-up outcomes, and the threads that make real ones. */
#include "base/macros.h"
#include "replay/evaluate-internal.h"
#include "support/cmocka-includes.h"
#include <math.h>

static void assert_close(double a, double b, double tolerance)
{
	if (!(fabs(a - b) <= tolerance))
		fail_msg("%.9g and %.9g", a, b);
}

#define P(headroom, late, power)                                                                   \
	{                                                                                          \
		headroom, late, power, power                                                       \
	}

static void curves_are_compared_at_equal_lateness(void **state)
{
	static const struct {
		uint32_t n;
		struct curve_point curve[4];
		bool found;
		double headroom, late, power;
	} cases[] = {
		{1, {P(0.9, 0.2, 0.8)}, true, 0.9, 0.2, 0.8},
		{1, {P(0.9, 0.4, 0.8)}, false, 0, 0, 0},
		/* Between two points, in proportion. */
		{2, {P(0.4, 0.1, 0.9), P(0.5, 0.5, 0.7)}, true, 0.45, 0.3, 0.8},
		/* Never that late: where it takes the least. */
		{3, {P(0.4, 0, 0.9), P(0.5, 0.1, 0.7), P(0.6, 0.2, 0.75)}, true, 0.5, 0.1, 0.7},
		/* More lateness is no gain: ADAPter's overshoot. */
		{2, {P(0.4, 0.1, 0.7), P(0.5, 0.5, 0.9)}, true, 0.4, 0.1, 0.7},
		/* Towards the smaller headroom, too. */
		{2, {P(0.4, 0.5, 0.7), P(0.5, 0.1, 0.9)}, true, 0.45, 0.3, 0.8},
		{3, {P(0.4, 1, 1), P(0.5, 2, 1), P(0.6, 3, 1)}, false, 0, 0, 0},
		{3, {P(0.4, 0.3, 0.9), P(0.5, 2, 0.5), P(0.6, 3, 0.4)}, true, 0.4, 0.3, 0.9},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct curve_point p = {0};

		assert_int_equal(evaluate_find_there(cases[i].curve, cases[i].n, &p),
				 cases[i].found);
		assert_close(p.headroom, cases[i].headroom, 1e-12);
		assert_close(p.excess_late_pct, cases[i].late, 1e-12);
		assert_close(p.power_vs_auto, cases[i].power, 1e-12);
		assert_close(p.power_vs_maximum, cases[i].power, 1e-12);
	}
}

static struct plant_model models[2] = {{.name = "first"}, {.name = "second"}};

/* Two models, three cards; the policy gets there with the first model alone. */
static void means_are_of_rows_at_equal_lateness(void **state)
{
	struct evaluation_options o = {
		.n_models = 2,
		.models = {&models[0], &models[1]},
		.n_policies = 1,
		.policies = {"cofris"},
		.service_cards = 3,
	};
	struct card_outcome outcomes[6] = {{0}};
	_cleanup_(evaluation_freep) struct evaluation *e = calloc(1, sizeof(*e));
	struct evaluation_error error;
	struct policy_runs runs;

	(void)state;
	e->options = &o;
	assert_int_equal(evaluate_list_policies(&o, &runs, &error), 0);
	assert_int_equal(runs.n, 3);
	for (uint32_t i = 0; i < 6; i++) {
		struct policy_outcome *p = &outcomes[i].policies[runs.of_row[0]];
		bool first = i < 3;

		p->m.excess_late_pct = first ? 0.1 : 5;
		p->m.requests = 10 * i;
		p->reaches = first;
		p->own[SHARE_OF_AUTO] = first ? 0.4 + 0.1 * i : 0.3;
		p->own[SHARE_OF_MAXIMUM] = 0.5;
		p->own[SHARE_REGRET] = p->own[SHARE_MISSED] = NAN;
		for (int s = 0; s < SHARES; s++)
			p->there[s] = first ? p->own[s] : NAN;
		p->n_curve = 1;
		p->curve[0] =
			(struct curve_point)P(0.9, p->m.excess_late_pct, p->own[SHARE_OF_AUTO]);
	}
	assert_int_equal(evaluate_figures(&o, &runs, outcomes, e), 0);
	assert_close(e->rows[0].power_vs_auto, 0.5, 1e-12);
	assert_close(e->rows[0].power_vs_auto_range.low, 0.4, 1e-12);
	assert_close(e->rows[0].power_vs_auto_range.high, 0.6, 1e-12);
	assert_int_equal(e->rows[0].m.requests, 10);
	assert_int_equal(e->rows[1].m.requests, 40);
	assert_close(e->rows[1].power_vs_auto, 0.3, 1e-12);
	assert_close(e->means[0].power_vs_auto, 0.5, 1e-12);
	assert_false(e->means[0].reaches);
	assert_true(isnan(e->means[0].power_vs_auto_there) && isnan(e->means[0].regret_pct));
	assert_close(e->means[0].curve[0].power_vs_auto, sqrt(0.5 * 0.3), 1e-12);
	assert_close(e->means[0].curve[0].excess_late_pct, 2.55, 1e-12);
	/* Where no promise is measured, all rows count. */
	free(TAKE_PTR(e->rows));
	free(TAKE_PTR(e->means));
	o.latency = LATENCY_SERVICE;
	assert_int_equal(evaluate_figures(&o, &runs, outcomes, e), 0);
	assert_close(e->means[0].power_vs_auto, sqrt(0.5 * 0.3), 1e-12);
}

/* ---- threads ---- */

struct jobs {
	uint32_t done[64];
	uint32_t fails_from;
};

static int job(void *userdata, uint32_t i)
{
	struct jobs *j = userdata;

	j->done[i]++;
	return i >= j->fails_from ? -(int)i : 0;
}

static void each_job_is_done_once(void **state)
{
	static const uint32_t threads[] = {0, 1, 2, 5, 1000};

	(void)state;
	assert_true(pool_cores() >= 1);
	for (size_t t = 0; t < ARRAY_SIZE(threads); t++) {
		struct jobs j = {.fails_from = 64};

		assert_int_equal(pool_run(threads[t], 64, job, &j), 0);
		for (uint32_t i = 0; i < 64; i++)
			assert_int_equal(j.done[i], 1);
		/* The first error, whoever is done first. */
		j = (struct jobs){.fails_from = 7};
		assert_int_equal(pool_run(threads[t], 64, job, &j), -7);
		for (uint32_t i = 0; i <= 7; i++)
			assert_int_equal(j.done[i], 1);
		assert_int_equal(pool_run(threads[t], 0, job, &j), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(curves_are_compared_at_equal_lateness),
		cmocka_unit_test(means_are_of_rows_at_equal_lateness),
		cmocka_unit_test(each_job_is_done_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
