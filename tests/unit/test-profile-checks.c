/* SPDX-License-Identifier: Apache-2.0 */
/* Verification against cells whose behaviour under load is known: what is run, what is found out,
 * and what is chosen instead. */
#include "profiler/checks.h"
#include "test-surface-fixture.h"

#define SEED 20240601u

static uint64_t random_state;

/* SplitMix64 */
static double uniform(void)
{
	uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return ((double)((z ^ z >> 31) >> 12) + 0.5) * 0x1p-52;
}

static int seed(void **state)
{
	(void)state;
	random_state = SEED;
	print_message("seed %u\n", SEED);
	return 0;
}

/* ---- one run ---- */

static void test_a_window_is_as_long_as_its_requests_need(void **state)
{
	static const struct {
		double rate_rps;
		uint64_t asked_ns, expected_ns;
	} cases[] = {
		{1000, 1500000000, 1500000000}, /* enough in the time asked for */
		{100, 1500000000, 2500000000},	/* 250 requests */
		{1, 1500000000, 7500000000},	/* within five times the time */
		{100, 10000000000, 10000000000},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(check_window_ns(cases[i].rate_rps, cases[i].asked_ns),
				 cases[i].expected_ns);
}

/* A window whose parts have so many requests, some of them late. */
static void make_window(struct window *w, const uint64_t requests[WINDOW_PARTS],
			const uint64_t late[WINDOW_PARTS])
{
	*w = (struct window){0};
	for (uint32_t i = 0; i < WINDOW_PARTS; i++) {
		w->sample[i + 1] = w->sample[i];
		w->sample[i + 1].completions += requests[i];
		w->sample[i + 1].late += late[i];
	}
}

static void add_alike(struct load_run *run, uint64_t requests, const uint64_t late[WINDOW_PARTS])
{
	uint64_t all[WINDOW_PARTS];
	struct window w;

	for (uint32_t i = 0; i < WINDOW_PARTS; i++)
		all[i] = requests;
	make_window(&w, all, late);
	load_run_add(run, &w, 100);
}

static void test_a_run_is_judged_by_the_bound_of_its_late_share(void **state)
{
	static const struct {
		uint64_t requests, late[WINDOW_PARTS];
		enum verdict verdict;
	} cases[] = {
		{100, {0}, VERDICT_HOLDS},
		{100, {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5}, VERDICT_HOLDS}, /* just allowed */
		/* 6.7 %, all from one crowd: might be chance. */
		{100, {80}, VERDICT_OPEN},
		/* The same share all the time is not. */
		{100, {7, 6, 7, 7, 6, 7, 7, 6, 7, 7, 6, 7}, VERDICT_FAILS},
		{100, {99, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100, 100}, VERDICT_FAILS},
		{0, {0}, VERDICT_HOLDS},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct load_run run = {0};
		struct estimate late;

		add_alike(&run, cases[i].requests, cases[i].late);
		assert_int_equal(load_run_judge(&run, 95, &late), cases[i].verdict);
	}
}

static void test_all_requests_late_is_no_doubt(void **state)
{
	static const uint64_t all[WINDOW_PARTS] = {9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9};
	struct load_run run = {0};
	struct estimate late;

	(void)state;
	add_alike(&run, 9, all);
	assert_int_equal(load_run_judge(&run, 95, &late), VERDICT_FAILS);
	assert_true(late.mean == 1);
}

static void test_failed_requests_count_among_those_that_ended(void **state)
{
	struct load_run run = {0};
	struct estimate late;
	struct window w = {0};

	(void)state;
	for (uint32_t i = 1; i <= WINDOW_PARTS; i++) {
		w.sample[i].completions = 5 * i;
		w.sample[i].failures = 5 * i;
		w.sample[i].late = 5 * i; /* a failed request is late */
	}
	load_run_add(&run, &w, 100);
	assert_int_equal(load_run_judge(&run, 95, &late), VERDICT_FAILS);
	assert_true(fabs(late.mean - 0.5) < 1e-9);
}

static void test_doubt_ends_with_the_last_window(void **state)
{
	static const uint64_t crowd[WINDOW_PARTS] = {80};
	struct load_run run = {0};
	struct estimate late;

	(void)state;
	for (uint32_t i = 1; i < CHECK_WINDOWS; i++) {
		add_alike(&run, 100, crowd);
		assert_int_equal(load_run_judge(&run, 95, &late), VERDICT_OPEN);
	}
	add_alike(&run, 100, crowd);
	assert_int_equal(load_run_judge(&run, 95, &late), VERDICT_HOLDS);
	/* One more has no room and changes nothing. */
	add_alike(&run, 100, crowd);
	assert_int_equal(run.n_windows, CHECK_WINDOWS);
	assert_true(fabs(late.mean - 80 / 1200.0) < 1e-9);
	assert_true(fabs(run.power_w - 100) < 1e-9);
}

/* ---- what a run can find out ---- */

/* A server with Poisson arrivals that goes on from window to window. */
struct server {
	double rate_rps, service_s, slo_s;
	double arrival_s, free_s, window_end_s;
	struct window w;
};

static void serve_window(struct server *q, double length_s)
{
	double start_s = q->window_end_s, end_s = start_s + length_s;
	uint64_t requests[WINDOW_PARTS] = {0}, late[WINDOW_PARTS] = {0};

	while (q->free_s < end_s) {
		double began_s = MAX(q->arrival_s, q->free_s);

		q->free_s = began_s + q->service_s * (0.97 + 0.06 * uniform());
		if (q->free_s >= start_s && q->free_s < end_s) {
			uint32_t part = (uint32_t)((q->free_s - start_s) / length_s * WINDOW_PARTS);

			requests[part]++;
			late[part] += q->free_s - q->arrival_s > q->slo_s;
		}
		q->arrival_s -= log(uniform()) / q->rate_rps;
	}
	q->window_end_s = end_s;
	make_window(&q->w, requests, late);
}

static bool run_fails(double rate_rps, double service_s, double slo_s, uint32_t *n_windows)
{
	struct server q = {
		.rate_rps = rate_rps,
		.service_s = service_s,
		.slo_s = slo_s,
		.window_end_s = 0.3, /* warm-up */
	};
	double length_s = (double)check_window_ns(rate_rps, 1500000000) / 1e9;
	static struct load_run run;
	struct estimate late;
	enum verdict verdict;

	run = (struct load_run){0};
	do {
		serve_window(&q, length_s);
		load_run_add(&run, &q.w, 100);
		verdict = load_run_judge(&run, 95, &late);
	} while (verdict == VERDICT_OPEN);
	*n_windows += run.n_windows;
	return verdict == VERDICT_FAILS;
}

/* The shape of a real choice: 203 requests/s of 3.73 ms each, 2 % late by design, within 28.8 ms.
 */
static void test_finds_a_gross_miss_and_leaves_good_cells_alone(void **state)
{
	enum { RUNS = 300 };
	static const struct {
		double slower;
		int least, most; /* runs that fail */
		uint32_t windows;
	} cases[] = {
		{1.00, 0, 3, 2 * RUNS},
		{1.05, 0, 15, 5 * RUNS}, /* just as late as is allowed */
		{1.20, 230, RUNS, 3 * RUNS},
		{1.30, 290, RUNS, 2 * RUNS},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t windows = 0;
		int failed = 0;

		for (int k = 0; k < RUNS; k++)
			failed += run_fails(203.5, 3.73e-3 * cases[i].slower, 28.757e-3, &windows);
		print_message("%.2f times as slow: %d of %d fail, %.2f windows\n", cases[i].slower,
			      failed, RUNS, (double)windows / RUNS);
		assert_in_range(failed, cases[i].least, cases[i].most);
		assert_true(windows <= cases[i].windows);
	}
}

/* ---- the rounds ---- */

#define N_LEVELS 5
#define MAX_RUNS 400

struct fixture {
	struct verification v;
	/* What the card does: cells fail under load above a rate. */
	double holds_rps[N_LEVELS];
	/* What was asked of it. */
	struct check runs[MAX_RUNS];
	uint32_t n_runs, n_plans, planned;
	int error; /* of the runs */
};

/* Levels of 900, 1100, ... MHz; cell i is at level i, the last is the baseline. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct surface *s = new_surface();

	s->n_cells = 0;
	s->n_levels = N_LEVELS;
	for (uint32_t i = 0; i < N_LEVELS; i++) {
		s->level_mhz[i] = 900 + 200 * i;
		s->idle_power_w[i] = 20;
		s->active_idle_power_w[i] = 50;
		f->holds_rps[i] = INFINITY;
		(void)add_cell(s, s->level_mhz[i], 4, 15, 10e6 * 1700 / s->level_mhz[i],
			       80 + 30 * i);
	}
	f->v = (struct verification){.surface = s, .options = TABLE_OPTIONS_DEFAULT, .userdata = f};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)surface_free(f->v.surface);
	free(f);
	return 0;
}

static void plan(void *userdata, uint32_t n)
{
	struct fixture *f = userdata;

	f->n_plans++;
	f->planned = n;
}

static int run(void *userdata, const struct check *c, uint64_t slo_ns, enum verdict *ret)
{
	struct fixture *f = userdata;

	assert_true(f->n_runs < MAX_RUNS);
	assert_true(c->cell < N_LEVELS);
	assert_int_equal(slo_ns, 80000000);
	f->runs[f->n_runs++] = *c;
	if (f->error)
		return f->error;
	*ret = c->rate_rps > f->holds_rps[c->cell] ? VERDICT_FAILS : VERDICT_HOLDS;
	return 0;
}

static int verify(struct fixture *f)
{
	f->v.plan = plan;
	f->v.run = run;
	return verification_run(&f->v);
}

static bool is_struck(const struct fixture *f, uint32_t cell)
{
	return f->v.surface->cells[cell].flags & SURFACE_STRUCK;
}

static struct response_table *derive(const struct fixture *f)
{
	struct response_table *t;
	struct surface_error error;

	assert_int_equal(response_table_derive(f->v.surface, &f->v.options, &t, &error), 0);
	return t;
}

/* Rows of the table that choose the cell, and the highest of their rates. */
static uint32_t rows_of(const struct response_table *t, uint32_t cell, double *ret_rps)
{
	uint32_t n = 0;

	*ret_rps = 0;
	for (uint32_t i = 0; i < t->n_rows; i++)
		if (t->rows[i].cell == cell) {
			n++;
			*ret_rps = MAX(*ret_rps, t->rows[i].rate_rps);
		}
	return n;
}

static double highest_run(const struct fixture *f, uint32_t cell)
{
	double rps = 0;

	for (uint32_t i = 0; i < f->n_runs; i++)
		if (f->runs[i].cell == cell)
			rps = MAX(rps, f->runs[i].rate_rps);
	return rps;
}

static void test_each_chosen_cell_is_run_once_at_its_highest_rate(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) struct response_table *t = derive(f);
	uint32_t chosen = 0;
	double rps;

	assert_int_equal(verify(f), 0);
	for (uint32_t i = 0; i < N_LEVELS - 1; i++) {
		chosen += rows_of(t, i, &rps) > 0;
		assert_true(highest_run(f, i) == rps);
	}
	assert_true(chosen > 1);
	assert_int_equal(f->n_runs, chosen);
	assert_int_equal(f->planned, chosen);
	assert_int_equal(f->n_plans, 1);
	assert_int_equal(f->v.n_struck, 0);
	/* There are other choices, so the baseline need not be shown to hold. */
	assert_true(highest_run(f, N_LEVELS - 1) == 0);
}

static void test_a_cell_that_fails_is_struck_and_another_chosen_and_run(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) struct response_table *before = derive(f), *after = NULL;
	double rps;

	f->holds_rps[1] = 1;
	assert_true(rows_of(before, 1, &rps) > 0);
	assert_int_equal(verify(f), 0);
	assert_int_equal(f->v.n_struck, 1);
	for (uint32_t i = 0; i < N_LEVELS; i++)
		assert_int_equal(is_struck(f, i), i == 1);
	after = derive(f);
	assert_int_equal(rows_of(after, 1, &rps), 0);
	assert_int_equal(after->n_rows, before->n_rows);
	/* All that is chosen now has held its highest rate. */
	for (uint32_t i = 0; i < N_LEVELS - 1; i++) {
		(void)rows_of(after, i, &rps);
		assert_true(highest_run(f, i) >= rps);
	}
}

static void test_nothing_is_run_again_that_has_held(void **state)
{
	struct fixture *f = *state;

	f->holds_rps[1] = f->holds_rps[2] = 1;
	assert_int_equal(verify(f), 0);
	for (uint32_t i = 0; i < f->n_runs; i++)
		for (uint32_t k = 0; k < i; k++)
			assert_false(f->runs[i].cell == f->runs[k].cell &&
				     f->runs[i].rate_rps <= f->runs[k].rate_rps);
}

static void test_where_all_fail_the_baseline_is_left_and_not_struck(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) struct response_table *t = NULL;
	double rps;

	for (uint32_t i = 0; i < N_LEVELS; i++)
		f->holds_rps[i] = 1;
	assert_int_equal(verify(f), 0);
	assert_true(f->v.baseline_failed);
	assert_false(is_struck(f, N_LEVELS - 1));
	t = derive(f);
	assert_int_equal(rows_of(t, N_LEVELS - 1, &rps), t->n_rows);
	/* At R at most, and once. */
	assert_int_equal(f->runs[f->n_runs - 1].cell, N_LEVELS - 1);
	assert_true(f->runs[f->n_runs - 1].rate_rps == t->rated_rps);
	assert_int_equal(f->runs[f->n_runs - 2].cell == N_LEVELS - 1, 0);
}

static void test_a_full_verification_runs_each_row(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) struct response_table *t = derive(f);
	uint32_t expected = 0;

	f->v.each_row = true;
	assert_int_equal(verify(f), 0);
	/* Those of the baseline up to R, and R for all above. */
	for (uint32_t i = 0; i < t->n_rows; i++)
		expected += t->rows[i].cell != N_LEVELS - 1 || t->rows[i].rate_rps < t->rated_rps;
	assert_true(highest_run(f, N_LEVELS - 1) == t->rated_rps);
	assert_int_equal(f->n_runs, expected + 1);
}

static void test_a_cell_that_holds_low_rates_alone_is_struck_by_its_high_ones(void **state)
{
	struct fixture *f = *state;
	_cleanup_(freep) struct response_table *t = derive(f);
	double rps;

	assert_true(rows_of(t, 0, &rps) > 1);
	f->holds_rps[0] = rps / 2;
	f->v.each_row = true;
	assert_int_equal(verify(f), 0);
	assert_true(is_struck(f, 0));
	/* With its first failure the run of its rows ends. */
	for (uint32_t i = 0, failed = 0; i < f->n_runs; i++)
		if (f->runs[i].cell == 0) {
			assert_int_equal(failed, 0);
			failed += f->runs[i].rate_rps > rps / 2;
		}
}

static void test_an_error_of_a_run_ends_it_all(void **state)
{
	struct fixture *f = *state;

	f->error = -EINTR;
	assert_int_equal(verify(f), -EINTR);
	assert_int_equal(f->n_runs, 1);
	assert_int_equal(f->v.n_struck, 0);
}

static void test_an_slo_that_nothing_holds_is_an_error(void **state)
{
	struct fixture *f = *state;

	f->v.options.slo_ns = 1000000;
	assert_int_equal(verify(f), -EDOM);
	assert_int_equal(f->n_runs, 0);
}

static int run_to_fail(_unused_ void *userdata, _unused_ const struct check *c,
		       _unused_ uint64_t slo_ns, enum verdict *ret)
{
	*ret = VERDICT_FAILS;
	return 0;
}

/* A card on which whatever is run fails, with more cells than there are rounds. */
static void test_rounds_come_to_an_end(void **state)
{
	struct fixture *f = *state;
	struct surface *s = f->v.surface;

	/* Of equal speed, so that each is chosen for all rates once the cheaper ones are gone. */
	s->n_cells = 0;
	s->n_levels = 2;
	s->level_mhz[0] = 900;
	s->level_mhz[1] = 1700;
	for (uint32_t i = 0; i < 2 * CHECK_ROUNDS; i++)
		(void)add_cell(s, 900 + i, 4, 15, 10e6, 80 + 5 * i);
	(void)add_cell(s, 1700, 4, 15, 10e6, 300);
	f->v.plan = plan;
	f->v.run = run_to_fail;
	assert_int_equal(verification_run(&f->v), 1);
	assert_int_equal(f->n_plans, CHECK_ROUNDS);
	assert_int_equal(f->v.n_struck, CHECK_ROUNDS);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_window_is_as_long_as_its_requests_need),
		cmocka_unit_test(test_a_run_is_judged_by_the_bound_of_its_late_share),
		cmocka_unit_test(test_all_requests_late_is_no_doubt),
		cmocka_unit_test(test_failed_requests_count_among_those_that_ended),
		cmocka_unit_test(test_doubt_ends_with_the_last_window),
		cmocka_unit_test_setup(test_finds_a_gross_miss_and_leaves_good_cells_alone, seed),
		TEST(test_each_chosen_cell_is_run_once_at_its_highest_rate),
		TEST(test_a_cell_that_fails_is_struck_and_another_chosen_and_run),
		TEST(test_nothing_is_run_again_that_has_held),
		TEST(test_where_all_fail_the_baseline_is_left_and_not_struck),
		TEST(test_a_full_verification_runs_each_row),
		TEST(test_a_cell_that_holds_low_rates_alone_is_struck_by_its_high_ones),
		TEST(test_an_error_of_a_run_ends_it_all),
		TEST(test_an_slo_that_nothing_holds_is_an_error),
		TEST(test_rounds_come_to_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
