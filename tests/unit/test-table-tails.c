/* SPDX-License-Identifier: Apache-2.0 */
/* Several derivations from one surface's tails, and those of the service time alone. */
#include "response/table.h"
#include "test-surface-fixture.h"

/* The baseline, and slower and cheaper ones in steps that let the headroom decide. */
static struct surface *sample_surface(void)
{
	static const uint32_t cus[] = {15, 14, 13, 12, 11, 10, 9, 8};
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

/* In an order in which later questions ask more, and less, than what is known by then. */
static void test_kept_tails_give_the_same_bytes(void **state)
{
	static const double headrooms[] = {0.9, 0.4, 1.3, 0.6, 1.0, 0.5, 0.7, 1.1, 0.8, 1.2};
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	struct surface_error error;
	double watts = 0;

	(void)state;
	assert_int_equal(response_tails_new(s, 1, &tails), 0);
	for (uint32_t i = 0; i < 3 * ARRAY_SIZE(headrooms); i++) {
		_cleanup_(freep) struct response_table *kept = NULL, *alone = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;

		o.headroom = headrooms[i % ARRAY_SIZE(headrooms)];
		o.gating = i < 15 ? TABLE_GATING_NONE : TABLE_GATING_CU;
		o.percentile = i % 4 == 1 ? 80 : 95;
		o.slo_factor = i % 4 == 2 ? 1.5 : 2;
		o.rated_rps = i % 4 == 3 ? 60 : 0;
		o.free_clock = i != 5;
		o.free_mask = i != 6;
		o.service_only = i == 7;
		alone = derive_table(s, &o);
		assert_int_equal(response_table_derive_from(tails, &o, &kept, &error), 0);
		assert_memory_equal(alone, kept, sizeof(*kept));
		watts += kept->rows[20].power_w;
	}
	assert_true(watts > 0);
}

/* A refusal leaves the tails as good as they were. */
static void test_refusals_are_those_of_a_single_derivation(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	_cleanup_(freep) struct response_table *t = NULL, *alone = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	struct surface_error error;

	(void)state;
	assert_int_equal(response_tails_new(s, 1, &tails), 0);
	o.seed = 2;
	assert_int_equal(response_table_derive_from(tails, &o, &t, &error), -EINVAL);
	assert_non_null(strstr(error.text, "seed"));
	o.seed = 1;
	o.headroom = 0;
	assert_int_equal(response_table_derive_from(tails, &o, &t, &error), -EINVAL);
	o.headroom = 0.9;
	o.slo_ns = 1000000;
	assert_int_equal(response_table_derive_from(tails, &o, &t, &error), -EDOM);
	assert_null(t);
	o.slo_ns = 0;
	assert_int_equal(response_table_derive_from(tails, &o, &t, &error), 0);
	alone = derive_table(s, &o);
	assert_memory_equal(t, alone, sizeof(*t));
}

static void test_tails_grow_with_the_percentile(void **state)
{
	static const double rates[] = {5, 50, 90};
	_cleanup_(surface_freep) struct surface *s = sample_surface();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		double last_ns = 0, tail_ns, upper_ns;

		for (uint32_t p = 1; p <= 99; p++) {
			assert_int_equal(response_tail(&s->cells[0], rates[i], p, 3, &tail_ns,
						       &upper_ns),
					 0);
			assert_true(tail_ns >= last_ns && upper_ns >= tail_ns);
			last_ns = tail_ns;
		}
		assert_true(last_ns > s->cells[0].service_ns[50]);
	}
}

static struct table_options service_only(double slo_factor)
{
	struct table_options o = TABLE_OPTIONS_DEFAULT;

	o.service_only = true;
	o.slo_factor = slo_factor;
	o.headroom = 1;
	return o;
}

static void test_service_alone_knows_no_queue(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) struct response_table *t = NULL;
	struct table_options o = service_only(2);

	(void)state;
	t = derive_table(s, &o);
	/* 10 ms +- 1 %: its 95th percentile, 2 x that, and C(B). */
	assert_int_equal(t->t0_ns, llround((double)s->cells[0].service_ns[95]));
	assert_true(fabs((double)t->slo_ns - 2 * 10.09e6) < 1000);
	assert_true(t->rated_rps == 100 && fabs(t->overload_rps - 95) < 1e-9);
	for (uint32_t i = 0; i < t->n_rows; i++) {
		const struct surface_cell *c = &s->cells[t->rows[i].cell];

		assert_true(t->rows[i].tail_ns == c->service_ns[95]);
		assert_true(t->rows[i].tail_upper_ns == c->service_ns[95]);
		assert_true(c->service_ns[95] <= t->slo_ns);
		assert_true(t->rows[i].rate_rps <= 0.95 * c->capacity_rps * (1 + 1e-6));
	}
	assert_true(fabs(t->rows[t->n_rows - 1].rate_rps - 95) < 1e-9);
}

/* At any rate that a configuration can serve, the SLO decides by the service time alone; each row
 * is the cheapest then. */
static void test_rows_of_service_alone_are_the_cheapest_that_hold(void **state)
{
	static const double factors[] = {1.0, 1.25, 1.5, 2.0, 3.0};
	_cleanup_(surface_freep) struct surface *s = sample_surface();

	(void)state;
	for (size_t f = 0; f < ARRAY_SIZE(factors); f++) {
		_cleanup_(freep) struct response_table *t = NULL;
		struct table_options o = service_only(factors[f]);

		t = derive_table(s, &o);
		for (uint32_t i = 0; i < t->n_rows; i++) {
			double rate = t->rows[i].rate_rps, least = INFINITY;

			for (uint32_t k = 0; k < s->n_cells; k++) {
				const struct surface_cell *c = &s->cells[k];

				if (c->service_ns[95] <= t->slo_ns &&
				    rate <= 0.95 * c->capacity_rps)
					least = fmin(least, 20 + rate / c->capacity_rps *
									    (c->power_w - 20));
			}
			assert_true(t->rows[i].power_w >= least - 1e-9);
			/* A tie, and what leaving the mask alone is worth. */
			assert_true(t->rows[i].power_w <= least + 2);
		}
	}
}

/* Too slow for half of R, but within the SLO; cheap. */
static struct surface *slow_surface(void)
{
	struct surface *s = new_surface();

	(void)add_cell(s, 925, 4, 15, 40e6, 60);
	return s;
}

static void test_row_0_of_service_alone_survives_no_step(void **state)
{
	_cleanup_(surface_freep) struct surface *s = slow_surface();
	_cleanup_(freep) struct response_table *queued = NULL, *alone = NULL;
	struct table_options o = service_only(8);

	(void)state;
	o.rated_rps = 70;
	alone = derive_table(s, &o);
	assert_int_equal(alone->rows[0].max_mhz, 925);
	o.service_only = false;
	o.slo_ns = 80000000;
	queued = derive_table(s, &o);
	assert_int_equal(queued->rows[0].max_mhz, 1725);
}

static void test_service_alone_takes_a_rated_rate_beyond_the_capacity(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) struct response_table *t = NULL;
	struct table_options o = service_only(2);

	(void)state;
	o.rated_rps = 120;
	t = derive_table(s, &o);
	assert_true(t->rated_rps == 120 && t->rows[t->n_rows - 1].rate_rps <= 95.001);
	assert_true(t->rows[0].flags == 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kept_tails_give_the_same_bytes),
		cmocka_unit_test(test_refusals_are_those_of_a_single_derivation),
		cmocka_unit_test(test_tails_grow_with_the_percentile),
		cmocka_unit_test(test_service_alone_knows_no_queue),
		cmocka_unit_test(test_rows_of_service_alone_are_the_cheapest_that_hold),
		cmocka_unit_test(test_row_0_of_service_alone_survives_no_step),
		cmocka_unit_test(test_service_alone_takes_a_rated_rate_beyond_the_capacity),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
