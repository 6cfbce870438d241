/* SPDX-License-Identifier: Apache-2.0 */
/* Rows chosen by cost: against every cell tried one by one, and what lateness costs. */
#include "response/table.h"
#include "response/tail.h"
#include "test-surface-fixture.h"
#include <math.h>

static struct surface *sample_surface(void)
{
	static const uint32_t cus[] = {15, 13, 11, 9, 8};
	struct surface *s = new_surface();

	for (size_t i = 0; i < ARRAY_SIZE(cus); i++) {
		double slower = 15.0 / cus[i];

		if (i > 0)
			(void)add_cell(s, 1725, 4, cus[i], 10e6 * slower, 100 + 6.0 * cus[i]);
		(void)add_cell(s, 925, 4, cus[i], 14e6 * slower, 60 + 4.0 * cus[i]);
		set_service(&s->cells[s->n_cells - 1], 14e6 * slower, 0.2);
	}
	return s;
}

static void test_a_survival_curve_is_straight_between_its_points(void **state)
{
	struct tail_survival s;
	double last = 1;

	(void)state;
	for (int i = 0; i < TAIL_SHARES; i++)
		s.ns[i] = (float)(1e6 * -log(tail_shares[i]));
	/* Of an exponential distribution it is the distribution. */
	for (double t = 0; t < 12e6; t += 1e5) {
		double share = tail_late(&s, t);

		assert_true(share <= last);
		if (t >= (double)s.ns[0])
			assert_true(fabs(share / exp(-t * 1e-6) - 1) < 1e-4);
		last = share;
	}
	assert_true(tail_late(&s, 0) == 1);
	/* Of a constant nothing is later than it. */
	for (int i = 0; i < TAIL_SHARES; i++)
		s.ns[i] = 5e6f;
	assert_true(tail_late(&s, 5e6) == 0 && tail_late(&s, 5.1e6) == 0);
	assert_true(tail_late(&s, 4.9e6) > 0.5);
}

static void test_survival_is_packed_within_its_precision(void **state)
{
	/* Less than the least, the least, what is usual, the most, more, and for ever. */
	static const float ns[TAIL_SHARES] = {0,     256,  1e3F,  12345.6F, 1e6F,
					      33e6F, 1e9F, 1e12F, 1e17F,    INFINITY};
	struct tail_survival s, unpacked;
	struct tail_packed p, again;

	(void)state;
	memcpy(s.ns, ns, sizeof(ns));
	tail_pack(&s, &p);
	tail_unpack(&p, &unpacked);
	tail_pack(&unpacked, &again);
	assert_memory_equal(&p, &again, sizeof(p));
	assert_int_equal(p.at[0], 0);
	assert_int_equal(p.at[8], UINT16_MAX);
	assert_int_equal(p.at[9], UINT16_MAX);
	for (int i = 1; i < 8; i++) {
		assert_true(p.at[i] > p.at[i - 1] || i == 1);
		assert_true(fabs((double)(unpacked.ns[i] / ns[i]) - 1) < 2.5e-4);
	}
}

/* Of one rate alone. */
static struct tail_survival survival_of(struct tail_lab *lab, const struct surface_cell *c,
					double rate_rps)
{
	struct tail_rate rate = {.rate_rps = rate_rps};

	tail_take_cell(lab, c);
	tail_explore_rates(lab, 50, &rate, 1);
	return rate.survival;
}

/* With nearly constant services the share that waits is known: at u of utilisation u of them do,
 * and the tail of M/D/1 has the decay that solves u (exp(d) - 1) = d, here at 0.5: 1.2564. */
static void test_the_survival_of_a_queue(void **state)
{
	_cleanup_(surface_freep) struct surface *s = new_surface();
	struct surface_cell *c = add_cell(s, 925, 4, 15, 10e6, 100);
	_cleanup_(tail_lab_freep) struct tail_lab *lab = tail_lab_new(1);
	struct tail_survival v;
	double decay;

	(void)state;
	set_service(c, 10e6, 1e-6);
	v = survival_of(lab, c, 50);
	decay = log(tail_late(&v, 30e6) / tail_late(&v, 50e6)) / 2;
	assert_true(fabs(decay - 1.2564) < 0.1);
	for (int i = 1; i < TAIL_SHARES; i++)
		assert_true(v.ns[i] >= v.ns[i - 1]);
}

struct question {
	const struct surface *surface;
	const struct response_table *table;
	const struct table_options *options;
	struct tail_lab *lab;
};

static double power_w(const struct question *q, const struct surface_cell *c, double rate_rps)
{
	double idle_w = q->table->idle_power_w; /* the fixture's, at both levels */

	return idle_w + rate_rps / c->capacity_rps * (c->power_w - idle_w);
}

/* INFINITY: it does not hold the SLO. */
static double cost_w(const struct question *q, const struct surface_cell *c, double rate_rps)
{
	const struct surface_cell *b = surface_baseline(q->surface);
	struct tail_survival v = survival_of(q->lab, c, rate_rps);
	double late = tail_late(&v, (double)q->table->slo_ns);

	if (late > 1 - q->options->percentile / 100.0)
		return INFINITY;
	return power_w(q, c, rate_rps) +
	       q->options->late_cost * b->power_w * rate_rps / q->table->rated_rps * late;
}

static void check_rows(const struct question *q)
{
	for (uint32_t i = 1; i < q->table->n_rows; i++) {
		const struct table_row *row = &q->table->rows[i];
		double chosen = cost_w(q, &q->surface->cells[row->cell], row->rate_rps);

		/* Where nothing holds the SLO it is B. */
		if (row->flags & TABLE_ROW_BASELINE)
			assert_true(isinf(chosen));

		for (uint32_t j = 0; j < q->surface->n_cells; j++) {
			const struct surface_cell *c = &q->surface->cells[j];
			bool full = cu_shape_cus(c->shape) == 60;
			double least;

			if (row->rate_rps > 0.95 * c->capacity_rps)
				continue;
			least = cost_w(q, c, row->rate_rps);
			/* A mask may be passed over for less than a tie. */
			assert_true(chosen <= least + (full ? 1e-9 : 1 + 1e-9));
		}
	}
}

static void test_each_row_has_the_least_cost(void **state)
{
	static const double costs[] = {0.5, 7, 50};
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(tail_lab_freep) struct tail_lab *lab = tail_lab_new(1);
	double watts[ARRAY_SIZE(costs)] = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(costs); i++) {
		_cleanup_(freep) struct response_table *t = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;

		o.late_cost = costs[i];
		t = derive_table(s, &o);
		check_rows(&(struct question){s, t, &o, lab});
		for (uint32_t j = 1; j < t->n_rows; j++)
			watts[i] += t->rows[j].power_w;
	}
	/* What is late costs more, so more is spent on it. */
	assert_true(watts[0] < watts[1] && watts[1] < watts[2]);
}

static void test_row_0_and_service_only_go_by_headroom(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) struct response_table *by_headroom = NULL, *by_cost = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;

	(void)state;
	by_headroom = derive_table(s, &o);
	o.late_cost = 7;
	by_cost = derive_table(s, &o);
	assert_memory_equal(&by_headroom->rows[0], &by_cost->rows[0], sizeof(by_cost->rows[0]));
	free(TAKE_PTR(by_headroom));
	free(TAKE_PTR(by_cost));
	o.service_only = true;
	by_cost = derive_table(s, &o);
	o.late_cost = 0;
	by_headroom = derive_table(s, &o);
	assert_memory_equal(by_headroom, by_cost, sizeof(*by_cost));
}

static void test_costs_out_of_range_are_refused(void **state)
{
	static const double bad[] = {-1, NAN, INFINITY, 2e9};
	_cleanup_(surface_freep) struct surface *s = sample_surface();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct table_options o = TABLE_OPTIONS_DEFAULT;
		struct surface_error error = {0};
		struct response_table *t = NULL;

		o.late_cost = bad[i];
		assert_int_equal(response_table_derive(s, &o, &t, &error), -EINVAL);
		assert_non_null(strstr(error.text, "late request"));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_survival_is_packed_within_its_precision),
		cmocka_unit_test(test_a_survival_curve_is_straight_between_its_points),
		cmocka_unit_test(test_the_survival_of_a_queue),
		cmocka_unit_test(test_each_row_has_the_least_cost),
		cmocka_unit_test(test_row_0_and_service_only_go_by_headroom),
		cmocka_unit_test(test_costs_out_of_range_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
