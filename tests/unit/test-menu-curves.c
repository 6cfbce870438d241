/* SPDX-License-Identifier: Apache-2.0 */
/* Few options of a menu are simulated: all points against a simulation at that very rate. */
#include "response/menu-curve.h"
#include "response/table-internal.h"
#include "test-menu-lookup.h"

#define SEED UINT64_C(20261126)

static double uniform(uint64_t *state, double low, double high)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return low + (high - low) * ((double)((z ^ z >> 31) >> 11) + 0.5) * 0x1p-53;
}

/* Batches of 1, 2 and 4 in six shapes at two clocks. Services of the cells are alike but for their
 * length, or each is as even or uneven as it happens. */
static struct surface *random_surface(uint64_t *random, bool alike)
{
	static const uint32_t cus[] = {15, 13, 11, 10, 9, 8};
	double spread = uniform(random, 0.01, 0.4), fixed = uniform(random, 0.2, 0.6);
	double growth = uniform(random, 1.2, 1.7);
	struct surface *s = new_surface();

	s->n_cells = 0;
	for (int fast = 0; fast < 2; fast++)
		for (size_t i = 0; i < ARRAY_SIZE(cus); i++)
			for (uint32_t batch = 1; batch <= 4; batch *= 2) {
				double clock = fast ? 1 : 1725.0 / 925;
				double ns = 10e6 * (fixed + (1 - fixed) * clock * 15 / cus[i]);
				struct surface_cell *c;

				ns *= pow(growth, log2(batch)) * uniform(random, 0.99, 1.01);
				c = add_cell(s, fast ? 1725 : 925, 4, cus[i], ns, fast ? 200 : 120);
				c->batch = batch;
				c->samples = 800;
				c->power_w *= 1 + 0.02 * batch;
				set_service(c, ns, alike ? spread : uniform(random, 0.01, 0.4));
			}
	return s;
}

/* How far the menu is from what it stands for. */
struct errors {
	uint32_t n, large;
	double sum;
};

static void add_error(struct errors *e, double value, double is)
{
	double error = fabs(value / is - 1);

	e->n++;
	e->large += error > 0.1;
	e->sum += error;
}

struct comparison {
	const struct surface *surface;
	const struct response_menu *menu;
	struct tail_question question;
	struct tail_lab *lab;
	struct errors tail, half, one, busy;
	double waits;
};

static double busy_of(const struct tail_batch *t, const struct tail_sizes *sizes)
{
	double busy = 0;

	for (uint32_t k = 0; k < sizes->n; k++)
		busy += t->share[k];
	return MIN(busy, 1.0);
}

static void compare_alone(struct comparison *c, const struct surface_cell *cell, double rate_rps,
			  const struct menu_point *p)
{
	struct tail_rate one = {.rate_rps = rate_rps};
	struct tail_survival survival;
	struct tail_trace t = {0};

	tail_unpack(&p->survival, &survival);
	tail_estimate(c->lab, cell, rate_rps, c->menu->percentile, &t);
	tail_take_cell(c->lab, cell);
	tail_explore_rates(c->lab, c->menu->percentile, &one, 1);
	add_error(&c->tail, (double)p->tail_ns, t.upper_ns);
	add_error(&c->half, (double)survival.ns[0], (double)one.survival.ns[0]);
	add_error(&c->one, (double)survival.ns[5], (double)one.survival.ns[5]);
	assert_true(fabs((double)p->busy - rate_rps / cell->capacity_rps) < 1e-6);
}

static void compare_batch(struct comparison *c, const struct tail_sizes *sizes, double rate_rps,
			  const struct menu_point *p)
{
	struct tail_survival survival;
	struct tail_batch t;

	tail_unpack(&p->survival, &survival);
	tail_explore_batch(c->lab, sizes, rate_rps, c->menu->percentile, c->question.slo_ns,
			   /* bounded= */ true, &t);
	add_error(&c->tail, (double)p->tail_ns, t.upper_ns);
	add_error(&c->half, (double)survival.ns[0], (double)t.survival.ns[0]);
	add_error(&c->one, (double)survival.ns[5], (double)t.survival.ns[5]);
	add_error(&c->busy, (double)p->busy, busy_of(&t, sizes));
	c->waits += fabs((double)p->wait_ns - t.wait_ns) / c->question.slo_ns;
}

static void compare_option(struct comparison *c, uint32_t option)
{
	uint32_t cell = c->menu->options[option].cell;
	double fills_from_rps = candidate_fills_from_rps(&c->question, cell);
	struct tail_sizes sizes;

	candidate_find_sizes(&c->question, cell, &sizes);
	for (uint32_t i = option % 3; i < c->menu->n_rates; i += 3) {
		const struct menu_point *p = response_menu_point(c->menu, option, i);
		double rate_rps = c->menu->rate_rps[i];

		for (int k = 1; k < TAIL_SHARES; k++)
			assert_true(p->survival.at[k] >= p->survival.at[k - 1]);
		if (isinf(p->tail_ns) || rate_rps < fills_from_rps)
			continue;
		if (sizes.n > 0)
			compare_batch(c, &sizes, rate_rps, p);
		else
			compare_alone(c, &c->surface->cells[cell], rate_rps, p);
	}
}

static void check_errors(const char *what, const struct errors *e)
{
	print_message("  %s: %.4f in the mean, above 0.1 at %u of %u\n", what, e->sum / e->n,
		      e->large, e->n);
	assert_true(e->n > 100);
	assert_true(e->sum < 0.02 * e->n);
	assert_true(e->large < 0.03 * e->n);
}

static void check_points(const struct surface *s, const struct table_options *o)
{
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL, *other = NULL;
	_cleanup_(freep) struct response_table *table = NULL;
	_cleanup_(freep) struct response_menu *menu = NULL;
	struct surface_error error = {0};
	struct comparison c = {.surface = s};

	assert_int_equal(response_tails_new(s, o->seed, &tails), 0);
	assert_int_equal(response_tails_new(s, o->seed, &other), 0);
	assert_int_equal(response_table_derive_from(tails, o, &table, &error), 0);
	assert_int_equal(response_menu_derive(tails, o, table, &menu, &error), 0);
	c.menu = menu;
	c.question = (struct tail_question){other, o, surface_baseline(s), (double)menu->slo_ns};
	c.lab = other->lab;
	for (uint32_t i = 0; i < menu->n_options; i++)
		compare_option(&c, i);
	check_errors("tails", &c.tail);
	check_errors("halves", &c.half);
	check_errors("latest hundredths", &c.one);
	if (o->max_batch == 1)
		return;
	check_errors("busy shares", &c.busy);
	assert_true(c.waits < 0.01 * c.busy.n);
}

static void test_points_are_as_simulated(void **state)
{
	uint64_t random = SEED;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)SEED);
	for (int i = 0; i < 4; i++) {
		_cleanup_(surface_freep) struct surface *s = random_surface(&random, i % 2 == 0);
		struct table_options o = TABLE_OPTIONS_DEFAULT;

		o.slo_factor = uniform(&random, 1.3, 3);
		o.late_cost = TABLE_LATE_COST;
		o.max_batch = i % 3 == 0 ? 1 : 4;
		check_points(s, &o);
	}
}

static const float two_loads[] = {0.2F, 0.6F};

/* From so many ns on, in steps of so many from share to share. */
static struct curve straight_curve(float from_ns, float step_ns)
{
	struct curve c = {.loads = two_loads, .n_loads = 2, .end = 2};

	for (int load = 0; load < 2; load++) {
		c.points[load].tail_ns = from_ns + 5 * step_ns;
		c.points[load].factor = 1;
		for (int i = 0; i < TAIL_SHARES; i++)
			c.points[load].survival.ns[i] = from_ns + step_ns * (float)i;
	}
	return c;
}

static void assert_ascends(const struct curve_source *s, double load)
{
	struct curve_point p;

	assert_true(curve_source_at(s, load, &p));
	assert_true(p.survival.ns[0] >= 0);
	for (int i = 1; i < TAIL_SHARES; i++)
		assert_true(p.survival.ns[i] >= p.survival.ns[i - 1]);
}

/* Shares of one curve lie close, those of the other far apart. */
static void test_latencies_of_fewer_are_no_shorter(void **state)
{
	struct curve even = straight_curve(1e6F, 1e3F), uneven = straight_curve(1.2e6F, 1e5F);
	struct curve later = straight_curve(1e6F, 1e3F);
	struct curve_source outside = {&even, &uneven, -0.1F, 1}, beyond = {&uneven, &later, 0, 1};
	struct curve_point p;

	(void)state;
	for (double load = 0.1; load < 1; load += 0.1)
		assert_ascends(&outside, load);
	/* One that has ended goes the way of another, of which half has become much later. */
	uneven.end = 1;
	later.points[1].survival.ns[0] *= 1.9F;
	for (int i = 1; i < TAIL_SHARES; i++)
		later.points[1].survival.ns[i] = later.points[1].survival.ns[0];
	assert_ascends(&beyond, 0.6);
	assert_true(curve_source_at(&beyond, 0.2, &p));
	assert_memory_equal(&p.survival, &uneven.points[0].survival, sizeof(p.survival));
}

/* What is of no use takes no point: the services alone are too long. */
static void test_what_is_too_slow_has_no_points(void **state)
{
	_cleanup_(surface_freep) struct surface *s = new_surface();
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	_cleanup_(freep) struct response_table *table = NULL;
	_cleanup_(freep) struct response_menu *menu = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	struct surface_error error = {0};
	uint32_t slow = 0;

	(void)state;
	(void)add_cell(s, 1725, 1, 2, 200e6, 100);
	o.slo_factor = 1.5;
	assert_int_equal(response_tails_new(s, o.seed, &tails), 0);
	assert_int_equal(response_table_derive_from(tails, &o, &table, &error), 0);
	assert_int_equal(response_menu_derive(tails, &o, table, &menu, &error), 0);
	for (uint32_t i = 0; i < menu->n_options; i++) {
		if (menu->options[i].service_ns < 100e6)
			continue;
		slow++;
		for (uint32_t k = 0; k < menu->n_rates; k++)
			assert_true(isinf(response_menu_point(menu, i, k)->tail_ns));
	}
	assert_int_equal(slow, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_points_are_as_simulated),
		cmocka_unit_test(test_latencies_of_fewer_are_no_shorter),
		cmocka_unit_test(test_what_is_too_slow_has_no_points),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
