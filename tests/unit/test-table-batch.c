/* SPDX-License-Identifier: Apache-2.0 */
/* Batches that wait to fill: against a simulation by events with other random numbers, and what
 * tables and menus make of them. */
#include "response/table-internal.h"
#include "response/tail-batch.h"
#include "test-menu-lookup.h"

#define SEED	 UINT64_C(20260612)
#define REQUESTS 200000

static double uniform(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return ((double)((z ^ z >> 31) >> 11) + 0.5) * 0x1p-53;
}

/* Batches of 1, 2, 4 and 8 at two clocks; growth: how much longer twice as many take. */
static struct surface *batch_surface(double growth, double power_growth)
{
	struct surface *s = new_surface();

	s->n_cells = 0;
	for (int fast = 0; fast < 2; fast++)
		for (uint32_t i = 0; i < 4; i++) {
			double ns = (fast ? 10e6 : 16e6) * pow(growth, i);
			struct surface_cell *c;

			c = add_cell(s, fast ? 1725 : 925, 4, 15, ns,
				     (fast ? 200 : 120) * pow(power_growth, i));
			c->batch = 1u << i;
			set_service(c, ns, 0.1);
		}
	return s;
}

static struct tail_sizes sizes_of(const struct surface *s, uint32_t first, uint32_t n)
{
	struct tail_sizes sizes = {.n = n};

	for (uint32_t i = 0; i < n; i++)
		sizes.cells[i] = &s->cells[first + i];
	return sizes;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

struct truth {
	double tail_ns, late, mean_batch;
	double *sojourn;
};

/* One server, by its rule, one event after the other. */
static void serve_by_events(const struct tail_sizes *sizes, double rate_rps, double wait_ns,
			    double slo_ns, uint64_t *random, struct truth *ret)
{
	uint32_t largest = sizes->cells[sizes->n - 1]->batch, batches = 0, late = 0;
	double *arrival = calloc(REQUESTS + 256, sizeof(*arrival)), now = 0, free_ns = 0;

	assert_non_null(arrival);
	for (uint32_t i = 0; i < REQUESTS + 256; i++)
		arrival[i] = now -= 1e9 / rate_rps * log(uniform(random));
	ret->sojourn = calloc(REQUESTS, sizeof(*ret->sojourn));
	for (uint32_t i = 0; i < REQUESTS; batches++) {
		uint32_t waiting = 0, n, size = 0;

		now = MAX(free_ns, arrival[i]);
		/* Until it is full or the oldest has waited. */
		for (;;) {
			while (waiting < largest && arrival[i + waiting] <= now)
				waiting++;
			if (waiting == largest || now >= arrival[i] + wait_ns)
				break;
			now = MIN(arrival[i + waiting], arrival[i] + wait_ns);
		}
		while (sizes->cells[size]->batch < waiting)
			size++;
		free_ns = now + (double)quantile_at(sizes->cells[size]->service_ns,
						    (float)(100 * uniform(random)));
		for (n = 0; n < waiting && i < REQUESTS; n++, i++) {
			ret->sojourn[i] = free_ns - arrival[i];
			late += ret->sojourn[i] > slo_ns;
		}
	}
	qsort(ret->sojourn, REQUESTS, sizeof(*ret->sojourn), compare_doubles);
	ret->tail_ns = ret->sojourn[REQUESTS / 100 * 95];
	ret->late = (double)late / REQUESTS;
	ret->mean_batch = (double)REQUESTS / batches;
	free(arrival);
	free(TAKE_PTR(ret->sojourn));
}

static void test_batches_come_as_the_rule_makes_them(void **state)
{
	static const double rates[] = {5, 30, 80, 150, 220};
	_cleanup_(surface_freep) struct surface *s = batch_surface(1.4, 1);
	_cleanup_(tail_lab_freep) struct tail_lab *lab = tail_lab_new(1);
	struct tail_sizes sizes = sizes_of(s, 4, 4);
	uint64_t random = SEED;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)SEED);
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++) {
		const double slo_ns = 60e6;
		struct tail_batch t, later;
		struct truth none, truth;
		double mean = 0;

		tail_explore_batch(lab, &sizes, rates[i], 95, slo_ns, false, &t);
		serve_by_events(&sizes, rates[i], 0, slo_ns, &random, &none);
		serve_by_events(&sizes, rates[i], t.wait_ns, slo_ns, &random, &truth);
		assert_true(fabs(t.wait_ns - MAX(slo_ns - none.tail_ns, 0.0) / 2) < 0.02 * slo_ns);
		assert_true(fabs(t.tail_ns / truth.tail_ns - 1) < 0.06);
		assert_true(fabs(tail_late(&t.survival, slo_ns) - truth.late) <
			    0.002 + 0.5 * truth.late);
		for (uint32_t k = 0; k < 4; k++)
			mean += t.share[k] * sizes.cells[k]->capacity_rps / sizes.cells[k]->batch;
		/* Executions a second, from the time that they take. */
		assert_true(fabs(rates[i] / mean / truth.mean_batch - 1) < 0.03);
		assert_true(t.upper_ns <= 0);
		later = t;
		tail_bound_batch(lab, &sizes, rates[i], 95, &later);
		assert_true(later.upper_ns >= t.tail_ns && later.upper_ns < 1.3 * t.tail_ns);
		tail_explore_batch(lab, &sizes, rates[i], 95, slo_ns, true, &t);
		assert_true(t.upper_ns == later.upper_ns);
	}
}

/* One after the other, with the lab's own numbers. Returns how many batches are counted. */
static uint32_t serve_in_order(const struct batching *b, float *sojourn)
{
	uint32_t largest = b->sizes->cells[b->sizes->n - 1]->batch, batches = 0;
	double free_ns = 0;

	for (uint32_t i = 0, n; i < b->end; i += n) {
		double full_ns = b->arrival_ns[MIN(i + largest, b->end) - 1];
		double start_ns = MIN(full_ns, b->arrival_ns[i] + b->wait_ns);
		uint32_t size = 0;

		start_ns = MAX(start_ns, MAX(free_ns, b->arrival_ns[i]));
		for (n = 1; n < largest && i + n < b->end; n++)
			if (b->arrival_ns[i + n] > start_ns)
				break;
		while (size + 1 < b->sizes->n && b->sizes->cells[size]->batch < n)
			size++;
		free_ns = start_ns + (double)quantile_at(b->sizes->cells[size]->service_ns,
							 b->lab->service[i]);
		for (uint32_t k = i; k < i + n; k++)
			sojourn[k] = (float)(free_ns - b->arrival_ns[k]);
		batches += i >= b->warm_up;
	}
	return batches;
}

/* From nearly nothing to more than can be served, where the queue never gets empty again. */
static void test_what_is_served_in_parts_is_as_in_order(void **state)
{
	static const double loads[] = {0.01, 0.2, 0.5, 0.8, 0.95, 0.99, 1.2};
	static const double waits_ns[] = {0, 3e6, 40e6};
	_cleanup_(surface_freep) struct surface *s = batch_surface(1.4, 1);
	_cleanup_(tail_lab_freep) struct tail_lab *lab = tail_lab_new(1);
	static float sojourn[TAIL_DRAWS];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(loads) * ARRAY_SIZE(waits_ns) * 3; i++) {
		uint32_t n = 2 + (uint32_t)(i % 3), batches = 0;
		double load = loads[i / 3 % ARRAY_SIZE(loads)];
		struct tail_sizes sizes = sizes_of(s, 4, n);
		struct batching b = {
			.lab = lab,
			.sizes = &sizes,
			.requests = TAIL_REQUESTS,
			.warm_up = TAIL_WARM_UP,
			.end = TAIL_DRAWS,
			.wait_ns = waits_ns[i / 3 / ARRAY_SIZE(loads)],
			.arrival_ns = lab->arrival_ns,
		};

		for (uint32_t k = 0; k < TAIL_DRAWS; k++)
			lab->arrival_ns[k] =
				lab->arrival[k] * 1e9 / load / sizes.cells[n - 1]->capacity_rps;
		batching_serve(&b);
		for (uint32_t k = 0; k < n; k++)
			batches += b.executions[k];
		assert_int_equal(batches, serve_in_order(&b, sojourn));
		for (uint32_t r = 0; r < TAIL_REPLICATIONS; r++)
			assert_memory_equal(batching_sojourns(&b, r),
					    &sojourn[TAIL_WARM_UP + r * TAIL_REQUESTS],
					    TAIL_REQUESTS * sizeof(*sojourn));
	}
}

/* Twice as many take a tenth longer: whoever has the time waits. */
static void test_batches_that_pay_are_waited_for(void **state)
{
	static const double costs[] = {0, 7};
	_cleanup_(surface_freep) struct surface *s = batch_surface(1.1, 1);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(costs); i++) {
		_cleanup_(freep) struct response_table *one = NULL, *many = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;
		uint32_t waits = 0;

		o.late_cost = costs[i];
		one = derive_table(s, &o);
		o.max_batch = 8;
		many = derive_table(s, &o);
		assert_int_equal(one->n_rows, many->n_rows);
		assert_int_equal(many->rows[0].batch, 1);
		assert_true(many->rows[0].wait_ns <= 0);
		assert_true(many->baseline.wait_ns <= 0);
		for (uint32_t k = 1; k < many->n_rows; k++) {
			const struct table_row *row = &many->rows[k];

			assert_true(row->wait_ns < (double)many->slo_ns / 2);
			assert_true(row->batch > 1 || row->wait_ns <= 0);
			assert_true(row->power_w < one->rows[k].power_w + 1);
			if (costs[i] <= 0)
				assert_true(row->flags & TABLE_ROW_BASELINE ||
					    row->tail_upper_ns <= 0.9 * (double)many->slo_ns);
			waits += row->wait_ns > 0;
		}
		assert_true(waits > many->n_rows / 2);
		assert_true(many->rows[30].power_w < 0.8 * one->rows[30].power_w);
	}
}

/* What is known without a simulation is never more than what it finds. */
static void test_no_batches_draw_less_than_the_least(void **state)
{
	static const double growths[] = {1.1, 1.5, 1.9}, power_growths[] = {1, 1.1, 0.95};
	uint32_t tight = 0, all = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(growths) * ARRAY_SIZE(power_growths); i++) {
		_cleanup_(surface_freep) struct surface *s =
			batch_surface(growths[i % 3], power_growths[i / 3]);
		_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;
		struct tail_question q = {.options = &o, .baseline = surface_baseline(s)};

		o.max_batch = 8;
		q.slo_ns = i % 2 ? 60e6 : 30e6;
		assert_int_equal(response_tails_new(s, o.seed, &tails), 0);
		q.tails = tails;
		for (uint32_t cell = 0; cell < s->n_cells; cell++) {
			const struct surface_cell *c = &s->cells[cell];
			struct candidate k = {.cell = cell, .idle_w = 20, .busy_w = c->power_w};
			double busy, full_w;

			candidate_set_sizes(&q, &k);
			for (double load = 0.05; load < 0.95 && c->batch > 1; load += 0.1) {
				double rate_rps = load * c->capacity_rps, least_w;

				candidate_set_least_power(&q, &k, rate_rps);
				least_w = k.power_w;
				candidate_set_power(c, &k, rate_rps);
				full_w = k.power_w;
				candidate_refine_power(&q, &k, rate_rps, &busy);
				assert_true(least_w >= full_w);
				assert_true(least_w <= k.power_w * (1 + 1e-9));
				tight += least_w > full_w + 0.5 * (k.power_w - full_w);
				all++;
			}
		}
	}
	/* And it is of use. */
	assert_true(tight > all / 4);
}

/* Nearly twice as long and dearer at that: nothing is to be had. */
static void test_batches_that_do_not_pay_are_left_alone(void **state)
{
	_cleanup_(surface_freep) struct surface *s = batch_surface(2, 1.02);
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	_cleanup_(freep) struct response_table *one = NULL, *many = NULL;
	_cleanup_(freep) struct response_menu *m = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	struct surface_error error;

	(void)state;
	o.late_cost = 7;
	one = derive_table(s, &o);
	o.max_batch = 8;
	assert_int_equal(response_tails_new(s, o.seed, &tails), 0);
	assert_int_equal(response_table_derive_from(tails, &o, &many, &error), 0);
	for (uint32_t i = 0; i < many->n_rows; i++)
		assert_int_equal(many->rows[i].batch, 1);
	assert_memory_equal(one, many, sizeof(*one));
	assert_int_equal(response_menu_derive(tails, &o, many, &m, &error), 0);
	assert_int_equal(m->n_options, 2);
}

/* Of the menu's options none does better than the row's, but for what lies between its rates. */
static void test_menus_hold_what_rows_promise(void **state)
{
	_cleanup_(surface_freep) struct surface *s = batch_surface(1.2, 1);
	_cleanup_(response_tails_freep) struct response_tails *tails = NULL;
	_cleanup_(freep) struct response_table *t = NULL;
	_cleanup_(freep) struct response_menu *m = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	struct surface_error error;
	struct lookup l;

	(void)state;
	o.late_cost = 7;
	o.max_batch = 8;
	assert_int_equal(response_tails_new(s, o.seed, &tails), 0);
	assert_int_equal(response_table_derive_from(tails, &o, &t, &error), 0);
	assert_int_equal(response_menu_derive(tails, &o, t, &m, &error), 0);
	l = (struct lookup){s, &o, t, m};
	for (l.row = 1; l.row < t->n_rows; l.row++) {
		const struct table_row *row = &t->rows[l.row];
		uint32_t option = lookup_option(&l, row->cell);
		const struct menu_point *p = response_menu_point(m, option, l.row);
		double cost_w = (double)p->power_w + lookup_late_cost_w(&l, option);

		assert_true(fabs((double)p->power_w / row->power_w - 1) < 1e-6);
		assert_true(fabs((double)p->wait_ns - row->wait_ns) <= 1e-6 * row->wait_ns);
		assert_true(p->tail_ns == (float)row->tail_upper_ns);
		for (uint32_t i = 0; i < m->n_options; i++) {
			p = response_menu_point(m, i, l.row);
			if ((double)p->power_w + lookup_late_cost_w(&l, i) < 0.99 * cost_w)
				fail_msg("row %u: batch %u at %u for %g W; batch %u at %u for %g W",
					 l.row, row->batch, row->max_mhz, cost_w,
					 m->options[i].batch,
					 m->clocks[m->options[i].clock].max_mhz,
					 (double)p->power_w + lookup_late_cost_w(&l, i));
		}
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_batches_come_as_the_rule_makes_them),
		cmocka_unit_test(test_what_is_served_in_parts_is_as_in_order),
		cmocka_unit_test(test_batches_that_pay_are_waited_for),
		cmocka_unit_test(test_no_batches_draw_less_than_the_least),
		cmocka_unit_test(test_batches_that_do_not_pay_are_left_alone),
		cmocka_unit_test(test_menus_hold_what_rows_promise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
