/* SPDX-License-Identifier: Apache-2.0 */
/* Menus of made-up surfaces: against the table, against power in known parts, and what is left out.
 */
#include "response/tail.h"
#include "test-menu-lookup.h"

#define SEED UINT64_C(20260611)

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static double uniform(uint64_t *state, double low, double high)
{
	return low + (high - low) * ((double)(next_random(state) >> 11) + 0.5) * 0x1p-53;
}

/* Idle 20 W; at 925 and 1725 MHz CUs draw 0.5 and 1 W, the uncore 30 W, and a request takes 0.2 and
 * 0.4 J. A third of the service time at full clock is bound by no clock. */
static struct surface *known_surface(void)
{
	static const uint32_t cus[] = {15, 12, 10, 8, 6};
	struct surface *s = new_surface();

	s->n_cells = 0;
	s->active_idle_power_w[0] = 20 + 60 * 0.5;
	s->active_idle_power_w[1] = 20 + 60 * 1.0;
	for (size_t i = 0; i < ARRAY_SIZE(cus); i++)
		for (int fast = 0; fast < 2; fast++) {
			double service_ns = 10e6 * 15 / cus[i] *
					    (1.0 / 3 + 2.0 / 3 * 1725 / (fast ? 1725 : 925));
			struct surface_cell *c;

			c = add_cell(s, fast ? 1725 : 925, 4, cus[i], service_ns, 0);
			set_service(c, service_ns, 0.2);
			c->power_w = 20 + 30 + 60 * (fast ? 1.0 : 0.5) +
				     c->capacity_rps * (fast ? 0.4 : 0.2);
		}
	return s;
}

static struct response_menu *derive(const struct surface *s, const struct table_options *o)
{
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	_cleanup_(freep) struct response_table *table = NULL;
	struct response_menu *menu = NULL;
	struct surface_error error = {0};

	assert_int_equal(response_tails_new(s, o->seed, &tails), 0);
	assert_int_equal(response_table_derive_from(tails, o, &table, &error), 0);
	assert_int_equal(response_menu_derive(tails, o, table, &menu, &error), 0);
	return menu;
}

static void test_power_comes_in_its_parts(void **state)
{
	_cleanup_(surface_freep) struct surface *s = known_surface();
	_cleanup_(freep) struct response_menu *m = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;

	(void)state;
	o.gating = TABLE_GATING_CU;
	m = derive(s, &o);
	assert_int_equal(m->n_clocks, 2);
	assert_int_equal(m->n_options, 10);
	for (uint32_t i = 0; i < 2; i++) {
		const struct menu_clock *c = &m->clocks[i];

		assert_int_equal(c->max_mhz, i ? 1725 : 925);
		assert_true(fabs(c->idle_w - 20) < 1e-9);
		assert_true(fabs(c->cu_w - (i ? 1 : 0.5)) < 1e-9);
		assert_true(fabs(c->uncore_w - 30) < 1e-6);
	}
	for (uint32_t i = 0; i < m->n_options; i++) {
		const struct menu_option *p = &m->options[i];

		assert_true(fabs(p->energy_j - (p->clock ? 0.4 : 0.2)) < 1e-6);
		assert_true(fabs(p->bound_share * p->service_ns -
				 10e6 / 3 * 15 / p->shape.cus_per_se) < 1e3);
		assert_int_equal(p->full, p->shape.cus_per_se == 15);
	}
	assert_int_equal(s->cells[m->options[m->baseline].cell].max_mhz, 1725);
	assert_true(m->options[m->baseline].full);
}

/* Two shapes are no line, and nobody knows what a clock does that is alone. */
static void test_what_cannot_be_fitted(void **state)
{
	_cleanup_(surface_freep) struct surface *s = new_surface();
	_cleanup_(freep) struct response_menu *m = NULL;

	(void)state;
	(void)add_cell(s, 1725, 4, 10, 15e6, 150);
	m = derive(s, &TABLE_OPTIONS_DEFAULT);
	assert_true(m->clocks[0].uncore_w == 0);
	assert_true(m->options[0].bound_share == 1);
}

static void test_points_rise_and_end(void **state)
{
	_cleanup_(surface_freep) struct surface *s = known_surface();
	_cleanup_(freep) struct response_menu *m = NULL, *again = NULL;
	uint32_t ended = 0;

	(void)state;
	m = derive(s, &TABLE_OPTIONS_DEFAULT);
	for (uint32_t i = 0; i < m->n_options; i++) {
		double before_ns = 0;

		for (uint32_t j = 0; j < m->n_rates; j++) {
			const struct menu_point *p = response_menu_point(m, i, j);

			ended += isinf(p->tail_ns);
			if (isinf(p->tail_ns)) {
				assert_true(response_menu_late(p, 1e18) == 1);
				before_ns = INFINITY;
				continue;
			}
			/* The scatter of what is simulated apart may show. */
			assert_true((double)p->tail_ns > 0.99 * before_ns);
			assert_true(p->busy > 0 && p->busy <= 1 && p->wait_ns <= 0);
			assert_true(response_menu_late(p, (double)p->tail_ns) < 0.06);
			before_ns = (double)p->tail_ns;
		}
	}
	assert_true(ended > 0);
	again = derive(s, &TABLE_OPTIONS_DEFAULT);
	assert_memory_equal(m->first_point, again->first_point,
			    (m->n_options + 1) * sizeof(*m->first_point));
	assert_memory_equal(m->points, again->points,
			    m->first_point[m->n_options] * sizeof(*m->points));
	assert_memory_equal(m->options, again->options, m->n_options * sizeof(*m->options));
}

static void test_several_rates_are_as_each_alone(void **state)
{
	static const struct {
		uint32_t workers, samples;
		double spread;
	} cases[] = {{1, 2000, 0.01}, {1, 300, 0.5}, {2, 1000, 0.3}};
	_cleanup_(surface_freep) struct surface *s = new_surface();
	_cleanup_(tail_lab_freep) struct tail_lab *lab = tail_lab_new(1);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct surface_cell c = s->cells[0];
		struct tail_rate rates[TAIL_LANES], bounded[TAIL_BOUNDS];
		double factors[TAIL_BOUNDS];

		c.workers = cases[i].workers;
		c.samples = cases[i].samples;
		set_service(&c, 10e6, cases[i].spread);
		for (uint32_t k = 0; k < TAIL_LANES; k++)
			rates[k].rate_rps = c.capacity_rps * (0.1 + 0.85 * k / (TAIL_LANES - 1));
		tail_take_cell(lab, &c);
		tail_explore_rates(lab, 95, rates, TAIL_LANES);
		for (uint32_t k = 0; k < TAIL_BOUNDS; k++)
			bounded[k] = rates[k * (TAIL_LANES - 1) / (TAIL_BOUNDS - 1)];
		tail_bound_rates(lab, 95, bounded, TAIL_BOUNDS, factors);
		for (uint32_t k = 0; k < TAIL_LANES; k++) {
			struct tail_rate alone = {.rate_rps = rates[k].rate_rps};
			struct tail_trace t = {0};

			tail_estimate(lab, &c, rates[k].rate_rps, 95, &t);
			tail_explore_rates(lab, 95, &alone, 1);
			assert_true(fabs(rates[k].tail_ns / t.tail_ns - 1) < 0.004);
			assert_memory_equal(&rates[k], &alone, sizeof(alone));
			for (uint32_t j = 0; j < TAIL_BOUNDS; j++)
				if (bounded[j].rate_rps == rates[k].rate_rps)
					assert_true(fabs(factors[j] * t.tail_ns / t.upper_ns - 1) <
						    1e-4);
		}
	}
}

static struct surface *random_surface(uint64_t *random)
{
	static const uint32_t cus[] = {15, 13, 11, 9, 7};
	struct surface *s = new_surface();
	double fixed = uniform(random, 0, 0.5), spread = uniform(random, 0.01, 0.4);
	double work_w = uniform(random, 20, 60);

	s->n_cells = 0;
	for (size_t i = 0; i < ARRAY_SIZE(cus); i++)
		for (int fast = 0; fast < 2; fast++) {
			double slower = fixed + (1 - fixed) * (fast ? 1 : 1725.0 / 925);
			double ns = 10e6 * slower * pow(15.0 / cus[i], uniform(random, 0.1, 1));
			struct surface_cell *c;

			c = add_cell(s, fast ? 1725 : 925, 4, cus[i], ns,
				     50 + (fast ? 60 : 30) + work_w * 10e6 / ns);
			set_service(c, ns, spread);
			c->power_se = uniform(random, 0.05, 1);
		}
	return s;
}

static void test_looking_up_gives_the_tables_rows(void **state)
{
	uint64_t random = SEED;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)SEED);
	for (int i = 0; i < 12; i++) {
		_cleanup_(surface_freep) struct surface *s = random_surface(&random);
		struct table_options o = TABLE_OPTIONS_DEFAULT;

		o.slo_factor = uniform(&random, 1.1, 3);
		o.gating = (enum table_gating)(i % 3);
		o.late_cost = i % 2 ? uniform(&random, 0.5, 20) : 0;
		o.headroom = uniform(&random, 0.7, 1);
		lookup_check_surface(s, &o);
	}
}

/* What is left out is read as it was, and nothing else is left out. */
static void test_trimmed_menus_say_the_same(void **state)
{
	struct response_menu *m = response_menu_new(3, 4), *full;
	static const uint32_t kept[] = {2, 0, 4};

	(void)state;
	full = response_menu_new(3, 4);
	for (uint32_t i = 0; i < 12; i++) {
		full->points[i] = menu_point_unsustained;
		if (i % 4 < kept[i / 4])
			full->points[i].tail_ns = full->points[i].power_w = (float)(i + 1);
		m->points[i] = full->points[i];
	}
	for (int again = 0; again < 2; again++) {
		assert_int_equal(response_menu_trim(&m), 0);
		for (uint32_t i = 0; i < 12; i++)
			assert_memory_equal(response_menu_point(m, i / 4, i % 4), &full->points[i],
					    sizeof(*full->points));
		assert_int_equal(m->first_point[3], 6);
	}
	free(m);
	free(full);
}

static void test_service_alone_does_not_queue(void **state)
{
	_cleanup_(surface_freep) struct surface *s = known_surface();
	_cleanup_(freep) struct response_menu *m = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	const struct menu_point *p;
	struct tail_survival survival;

	(void)state;
	o.service_only = true;
	m = derive(s, &o);
	p = response_menu_point(m, m->baseline, 0);
	assert_true(p->tail_ns == s->cells[m->options[m->baseline].cell].service_ns[95]);
	tail_unpack(&p->survival, &survival);
	assert_true(fabs((double)(survival.ns[3] / p->tail_ns) - 1) < 3e-4);
	assert_true(response_menu_point(m, m->baseline, m->n_rates - 1)->tail_ns == p->tail_ns);
}

static void test_foreign_seeds_and_bad_options_are_refused(void **state)
{
	_cleanup_(surface_freep) struct surface *s = known_surface();
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	_cleanup_(freep) struct response_table *table = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	struct response_menu *m = NULL;
	struct surface_error error = {0};

	(void)state;
	assert_int_equal(response_tails_new(s, 1, &tails), 0);
	assert_int_equal(response_table_derive_from(tails, &o, &table, &error), 0);
	o.seed = 2;
	assert_int_equal(response_menu_derive(tails, &o, table, &m, &error), -EINVAL);
	assert_non_null(strstr(error.text, "another seed"));
	o.seed = 1;
	o.percentile = 0;
	assert_int_equal(response_menu_derive(tails, &o, table, &m, &error), -EINVAL);
	o.percentile = 95;
	s->active_idle_power_w[0] = s->active_idle_power_w[1] = NAN;
	o.gating = TABLE_GATING_SE;
	assert_int_equal(response_menu_derive(tails, &o, table, &m, &error), -EINVAL);
	assert_non_null(strstr(error.text, "active-idle"));
	assert_null(m);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_comes_in_its_parts),
		cmocka_unit_test(test_what_cannot_be_fitted),
		cmocka_unit_test(test_points_rise_and_end),
		cmocka_unit_test(test_several_rates_are_as_each_alone),
		cmocka_unit_test(test_looking_up_gives_the_tables_rows),
		cmocka_unit_test(test_trimmed_menus_say_the_same),
		cmocka_unit_test(test_service_alone_does_not_queue),
		cmocka_unit_test(test_foreign_seeds_and_bad_options_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
