/* SPDX-License-Identifier: Apache-2.0 */
/* Simulated tails against queues with a known answer, and each rule of the table on a surface that
 * is made for it. */
#include "response/table.h"
#include "test-surface-fixture.h"

#define SEED 7

static double exponential_quantile(double p)
{
	return -log(1 - p);
}

/* Exponential service of mean 1 ms; the last value is set so that the line to it has the mean of
 * the tail beyond 99 %. */
static void set_exponential(struct surface_cell *c)
{
	for (unsigned int i = 0; i < SURFACE_QUANTILES - 1; i++)
		c->service_ns[i] = (float)(1 + 1e6 * exponential_quantile(i / 100.0));
	c->service_ns[SURFACE_QUANTILES - 1] = (float)(1e6 * (exponential_quantile(0.99) + 2));
	c->capacity_rps = 1000.0 * c->workers;
	c->samples = 100000000;
}

/* The x with f(x) = p, for a growing f. */
static double invert(double (*f)(double x, double load, uint32_t k), double load, uint32_t k,
		     double p)
{
	double low = 0, high = 25; /* M/D/1 loses its digits beyond */

	for (unsigned int i = 0; i < 100; i++) {
		double x = (low + high) / 2;

		*(f(x, load, k) < p ? &low : &high) = x;
	}
	return low;
}

/* Sojourn of M/M/k in units of the mean service: Erlang C for the chance to wait. */
static double mmk_sojourn(double x, double load, uint32_t k)
{
	double a = load * k, term = 1, sum = 1, wait, rest = k - 1 - a;

	for (uint32_t i = 1; i < k; i++)
		sum += term *= a / i;
	term *= a / k / (1 - load);
	wait = term / (sum + term);
	return 1 - exp(-x) * (1 + wait / rest * (1 - exp(-x * rest)));
}

/* Sojourn of M/D/1 in units of the service (Erlang, 1909). */
static double md1_sojourn(double x, double load, uint32_t k)
{
	double sum = 0, wait = x - k;

	if (wait < 0)
		return 0;
	for (int j = 0; j <= (int)wait; j++) {
		double y = load * (wait - j);

		sum += exp(y + j * log(MAX(y, 1e-300)) - lgamma(j + 1)) * (j % 2 ? -1 : 1);
	}
	return (1 - load) * sum;
}

static const struct {
	const char *queue;
	double load;
	uint32_t k, percentile;
	double tolerance;
} queues[] = {
	{"M/M", 0.1, 1, 95, 0.03},  {"M/M", 0.5, 1, 50, 0.03}, {"M/M", 0.5, 1, 95, 0.04},
	{"M/M", 0.5, 1, 99, 0.06},  {"M/M", 0.7, 1, 95, 0.06}, {"M/M", 0.8, 1, 95, 0.10},
	{"M/M", 0.6, 2, 95, 0.05},  {"M/M", 0.7, 2, 99, 0.08}, {"M/M", 0.7, 4, 95, 0.05},
	{"M/M", 0.25, 4, 99, 0.05}, {"M/D", 0.3, 1, 95, 0.04}, {"M/D", 0.5, 1, 95, 0.03},
	{"M/D", 0.7, 1, 95, 0.05},  {"M/D", 0.7, 1, 99, 0.08}, {"M/D", 0.85, 1, 95, 0.10},
};

static void test_tails_are_those_of_queues_with_a_known_answer(void **state)
{
	(void)state;
	print_message("seed %u\n", SEED);
	for (unsigned int i = 0; i < ARRAY_SIZE(queues); i++) {
		bool exponential = queues[i].queue[2] == 'M';
		struct surface_cell c = {.batch = 1, .workers = queues[i].k, .samples = 100000000};
		double known, tail, upper;

		known = invert(exponential ? mmk_sojourn : md1_sojourn, queues[i].load, queues[i].k,
			       queues[i].percentile / 100.0);
		if (exponential)
			set_exponential(&c);
		else
			set_service(&c, 1e6, 0);
		assert_int_equal(response_tail(&c, queues[i].load * c.capacity_rps,
					       queues[i].percentile, SEED, &tail, &upper),
				 0);
		print_message("%s/%u load %.2f p%u: %.3f ms, known %.3f ms, bound %.3f ms\n",
			      queues[i].queue, queues[i].k, queues[i].load, queues[i].percentile,
			      tail / 1e6, known, upper / 1e6);
		if (fabs(tail / 1e6 / known - 1) > queues[i].tolerance)
			fail_msg("%.3f ms instead of %.3f ms", tail / 1e6, known);
		assert_true(upper >= tail && upper < 1.3 * tail);
	}
}

/* The batching rule once more, as events: a server that is free takes what waits, up to 4. */
static void test_a_batch_takes_what_waits_and_no_more(void **state)
{
	struct surface_cell c = {.batch = 4, .workers = 1, .samples = 100000000}, one = c;
	double tail, upper, tail_one;

	(void)state;
	set_service(&c, 10e6, 0);
	one.batch = 1;
	set_service(&one, 10e6, 0);
	assert_true(fabs(c.capacity_rps - 400) < 1e-6);
	/* Alone at 1 request/s a request waits for nobody. */
	assert_int_equal(response_tail(&c, 1, 90, SEED, &tail, &upper), 0);
	assert_true(fabs(tail - 10e6) < 0.1e6);
	/* At 50/s a batch of up to 4 is never behind single service. */
	assert_int_equal(response_tail(&c, 50, 95, SEED, &tail, &upper), 0);
	assert_int_equal(response_tail(&one, 50, 95, SEED, &tail_one, &upper), 0);
	assert_true(tail < tail_one);
	/* A request that finds the server busy waits for at most that service, plus its own. */
	assert_true(tail > 15e6 && tail <= 20.1e6);
	/* Three times what single service can do. */
	assert_int_equal(response_tail(&c, 300, 95, SEED, &tail, &upper), 0);
	assert_true(tail < 60e6);
	assert_int_equal(response_tail(&one, 300, 95, SEED, &tail, &upper), -EDOM);
}

static uint64_t next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
	return *state >> 11;
}

static double next_uniform(uint64_t *state)
{
	return ((double)next_random(state) + 0.5) * 0x1p-53;
}

static int compare_floats(const void *a, const void *b)
{
	float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* Quantiles of n services drawn from an exponential distribution on top of a fixed part. */
static void profile(struct surface_cell *c, uint32_t n, uint64_t *random)
{
	float *v = calloc(n, sizeof(*v));

	assert_non_null(v);
	for (uint32_t i = 0; i < n; i++)
		v[i] = (float)(1e6 * (0.5 + 0.5 * exponential_quantile(next_uniform(random))));
	qsort(v, n, sizeof(*v), compare_floats);
	for (unsigned int i = 0; i < SURFACE_QUANTILES; i++) {
		double at = i / 100.0 * (n - 1);
		uint32_t k = MIN((uint32_t)at, n - 2);

		c->service_ns[i] = (float)(v[k] + (at - k) * (v[k + 1] - v[k]));
	}
	c->samples = n;
	c->capacity_rps = 1000;
	free(v);
}

static void test_the_bound_holds_the_true_tail_for_95_of_100_profiles(void **state)
{
	enum { PROFILES = 300 };
	static const uint32_t samples[] = {100, 400, 2000};
	struct surface_cell truth = {.batch = 1, .workers = 1};
	double width[ARRAY_SIZE(samples)] = {0}, known = 0;
	uint64_t random = 42;

	(void)state;
	print_message("seed %ju\n", (uintmax_t)random);
	set_exponential(&truth);
	for (unsigned int i = 0; i < SURFACE_QUANTILES; i++)
		truth.service_ns[i] = (float)(0.5e6 + 0.5 * truth.service_ns[i]);
	for (unsigned int i = 0; i < 64; i++) {
		double tail, upper;

		assert_int_equal(response_tail(&truth, 600, 95, 1000 + i, &tail, &upper), 0);
		known += tail / 64;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(samples); i++) {
		unsigned int held = 0;

		for (unsigned int j = 0; j < PROFILES; j++) {
			struct surface_cell c = truth;
			double tail, upper;

			profile(&c, samples[i], &random);
			assert_int_equal(response_tail(&c, 600, 95, 5000 + j, &tail, &upper), 0);
			held += upper >= known;
			width[i] += (upper / tail - 1) / PROFILES;
		}
		print_message("%u samples: bound holds in %.1f %%, %.1f %% above the tail\n",
			      samples[i], 100.0 * held / PROFILES, 100 * width[i]);
		/* 95 % less three standard errors. */
		assert_true(held >= PROFILES * 0.91);
	}
	assert_true(width[0] > width[1] && width[1] > width[2]);
}

static void test_a_tail_beyond_the_capacity_is_refused(void **state)
{
	struct surface_cell c = {.batch = 1, .workers = 1, .samples = 100};
	double tail = 1, upper = 2;

	(void)state;
	set_service(&c, 1e6, 0);
	assert_int_equal(response_tail(&c, 951, 95, SEED, &tail, &upper), -EDOM);
	assert_int_equal(response_tail(&c, 0, 95, SEED, &tail, &upper), -EINVAL);
	assert_int_equal(response_tail(&c, NAN, 95, SEED, &tail, &upper), -EINVAL);
	assert_int_equal(response_tail(&c, 500, 100, SEED, &tail, &upper), -EINVAL);
	assert_true(tail == 1 && upper == 2);
	assert_int_equal(response_tail(&c, 950, 95, SEED, &tail, &upper), 0);
}

/* The baseline, a slow clock, and a mask; differences large enough that nothing ties. */
static struct surface *sample_surface(void)
{
	struct surface *s = new_surface();

	(void)add_cell(s, 925, 4, 15, 16e6, 110);
	(void)add_cell(s, 925, 2, 15, 22e6, 70);
	(void)add_cell(s, 1725, 2, 15, 13e6, 150);
	return s;
}

static void test_rows_rise_to_the_rated_rate_and_on_to_overload(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) struct response_table *t = NULL;

	(void)state;
	t = derive_table(s, &TABLE_OPTIONS_DEFAULT);
	assert_string_equal(t->model, "resnet50");
	assert_true(t->rated_rps == 70 && fabs(t->overload_rps - 95) < 1e-9);
	assert_int_equal(t->t0_ns, 40000000);
	assert_int_equal(t->slo_ns, 80000000);
	/* 3 requests in 500 ms, then the steps of 1.75/s beyond them, then 95. */
	assert_true(t->rows[0].rate_rps == 6);
	assert_true(fabs(t->rows[1].rate_rps - 7) < 1e-9);
	assert_true(fabs(t->rows[37].rate_rps - 70) < 1e-9);
	assert_int_equal(t->n_rows, 38 + 15);
	assert_true(fabs(t->rows[t->n_rows - 1].rate_rps - 95) < 1e-9);
	for (uint32_t i = 1; i < t->n_rows; i++) {
		assert_true(t->rows[i].rate_rps > t->rows[i - 1].rate_rps);
		assert_true(t->rows[i].rate_rps - t->rows[i - 1].rate_rps <= 1.75 + 1e-9);
	}
	assert_int_equal(t->baseline.max_mhz, 1725);
	assert_true(fabs(t->baseline.service_ns - 10e6) < 1e3);
	assert_true(t->idle_power_w == 20);
}

static void test_every_row_is_within_headroom_and_0_95_of_its_capacity(void **state)
{
	static const double headrooms[] = {0.5, 0.7, 0.9, 1.0};
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	double watts[ARRAY_SIZE(headrooms)] = {0};

	(void)state;
	for (unsigned int h = 0; h < ARRAY_SIZE(headrooms); h++) {
		_cleanup_(freep) struct response_table *t = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;

		o.headroom = headrooms[h];
		t = derive_table(s, &o);
		for (uint32_t i = 0; i < t->n_rows; i++) {
			const struct table_row *row = &t->rows[i];

			watts[h] += row->power_w;
			if (row->flags & TABLE_ROW_BASELINE)
				continue;
			assert_true(row->rate_rps <= 0.95001 * s->cells[row->cell].capacity_rps);
			assert_true(row->tail_ns <= row->tail_upper_ns);
			assert_true(row->tail_upper_ns <= headrooms[h] * (double)t->slo_ns * 1.05);
		}
		if (h > 0)
			assert_true(watts[h] <= watts[h - 1]);
	}
	assert_true(watts[3] < watts[0]);
}

static void test_power_is_idle_plus_the_busy_part(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) struct response_table *t = NULL;

	(void)state;
	s->idle_power_w[0] = 15;
	t = derive_table(s, &TABLE_OPTIONS_DEFAULT);
	for (uint32_t i = 0; i < t->n_rows; i++) {
		const struct surface_cell *c = &s->cells[t->rows[i].cell];
		double idle_w = c->max_mhz == 925 ? 15 : 20;

		assert_true(
			fabs(t->rows[i].power_w - (idle_w + t->rows[i].rate_rps / c->capacity_rps *
								    (c->power_w - idle_w))) < 1e-9);
	}
}

/* Cells that must not be chosen are made the cheapest and fastest. */
static void test_cells_that_may_not_be_chosen_never_are(void **state)
{
	static const struct {
		const char *what;
		uint32_t flags, batch, workers;
		bool free_mask;
	} cases[] = {
		{"throttled", SURFACE_THROTTLED, 1, 1, true},
		{"unstable", SURFACE_UNSTABLE, 1, 1, true},
		{"struck", SURFACE_STRUCK, 1, 1, true},
		{"batch", 0, 2, 1, true},
		{"workers", 0, 1, 2, true},
		{"mask", 0, 1, 1, false},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases) + 1; i++) {
		_cleanup_(surface_freep) struct surface *s = sample_surface();
		_cleanup_(freep) struct response_table *t = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;
		struct surface_cell *c = add_cell(s, 925, 3, 15, 9e6, 40);
		bool chosen = false;

		if (i < ARRAY_SIZE(cases)) {
			c->flags = cases[i].flags;
			c->batch = cases[i].batch;
			c->workers = cases[i].workers;
			o.free_mask = cases[i].free_mask;
		}
		t = derive_table(s, &o);
		for (uint32_t j = 0; j < t->n_rows; j++)
			chosen = chosen || t->rows[j].cell == s->n_cells - 1;
		if (chosen != (i == ARRAY_SIZE(cases)))
			fail_msg("case %u", i);
	}
}

/* Of a slower clock, fewer CUs and both, each cheaper than the one before, those that are free. */
static void test_only_the_free_knobs_leave_the_baseline(void **state)
{
	static const struct {
		bool clock, mask;
		uint32_t mhz;
		struct cu_shape shape;
	} cases[] = {
		{false, false, 1725, {4, 15}},
		{true, false, 925, {4, 15}},
		{false, true, 1725, {2, 15}},
		{true, true, 925, {2, 15}},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(surface_freep) struct surface *s = sample_surface();
		_cleanup_(freep) struct response_table *t = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;
		const struct table_row *row;

		o.free_clock = cases[i].clock;
		o.free_mask = cases[i].mask;
		t = derive_table(s, &o);
		row = response_table_lookup(t, 15);
		assert_non_null(row);
		assert_int_equal(row->max_mhz, cases[i].mhz);
		assert_true(cu_shape_equal(row->shape, cases[i].shape));
		for (uint32_t j = 0; j < t->n_rows; j++) {
			assert_true(cases[i].clock || t->rows[j].max_mhz == 1725);
			assert_true(cases[i].mask ||
				    cu_shape_equal(t->rows[j].shape, t->baseline.shape));
		}
		/* What the objective is about stays the whole card at the highest clock. */
		assert_int_equal(t->baseline.max_mhz, 1725);
		assert_int_equal(t->slo_ns, 80000000);
	}
}

static void test_a_larger_batch_is_chosen_where_it_is_allowed(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) struct response_table *t = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	struct surface_cell *c = add_cell(s, 925, 4, 15, 20e6, 115);

	(void)state;
	c->batch = 2;
	set_service(c, 20e6, 0.01);
	o.max_batch = 2;
	t = derive_table(s, &o);
	assert_int_equal(response_table_lookup(t, 70)->batch, 2);
}

static void test_a_flagged_baseline_is_still_the_baseline(void **state)
{
	_cleanup_(surface_freep) struct surface *s = new_surface();
	_cleanup_(freep) struct response_table *t = NULL;

	(void)state;
	s->cells[0].flags = SURFACE_STRUCK | SURFACE_UNSTABLE | SURFACE_THROTTLED;
	t = derive_table(s, &TABLE_OPTIONS_DEFAULT);
	assert_int_equal(t->rows[5].flags, 0);
	assert_int_equal(t->rows[5].cell, 0);
}

/* Two cells that differ by less than 1 W at the rates below, one with fewer CUs. */
static void test_ties_go_to_more_cus(void **state)
{
	static const struct {
		const char *what;
		double watts_less, se;
		uint32_t cus;
	} cases[] = {
		{"within 1 W", 0.9, 0.1, 45},
		{"more than 1 W apart", 2.5, 0.1, 30},
		{"more than 1 W apart, but noisy", 2.5, 3, 45},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(surface_freep) struct surface *s = new_surface();
		_cleanup_(freep) struct response_table *t = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;

		o.gating = TABLE_GATING_CU;
		s->active_idle_power_w[0] = s->active_idle_power_w[1] = 20; /* gates nothing */
		add_cell(s, 925, 3, 15, 10e6, 100)->power_se = cases[i].se;
		add_cell(s, 925, 2, 15, 10e6, 100 - cases[i].watts_less)->power_se = cases[i].se;
		t = derive_table(s, &o);
		/* 70 of 100: seven tenths of the difference are left. */
		if (cu_shape_cus(response_table_lookup(t, 70)->shape) != cases[i].cus)
			fail_msg("%s", cases[i].what);
	}
}

static void test_ties_of_equal_cus_stay_with_the_row_before(void **state)
{
	_cleanup_(surface_freep) struct surface *s = new_surface();
	_cleanup_(freep) struct response_table *t = NULL;
	uint32_t changes = 0;

	(void)state;
	/* 925 is cheaper at idle, 1725 while busy, by less than 1 W at any rate. */
	s->idle_power_w[0] = 19.7;
	s->cells[0].power_w = 100;
	(void)add_cell(s, 925, 4, 15, 10e6, 100.8);
	t = derive_table(s, &TABLE_OPTIONS_DEFAULT);
	for (uint32_t i = 1; i < t->n_rows && !(t->rows[i].flags & TABLE_ROW_BASELINE); i++)
		changes += t->rows[i].cell != t->rows[i - 1].cell;
	assert_int_equal(t->rows[0].max_mhz, 925);
	assert_int_equal(changes, 0);
}

/* Without gating a mask saves what its own measurement says, or is not worth it. */
static void test_a_mask_without_gating_must_save_significantly(void **state)
{
	static const struct {
		double power_w, se;
		bool masked;
	} cases[] = {
		{199.2, 0.1, false}, /* 0.56 W less at R */
		{190, 0.1, true},
		{190, 5, false}, /* within twice its error */
		{205, 0.1, false},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(surface_freep) struct surface *s = new_surface();
		_cleanup_(freep) struct response_table *t = NULL;

		add_cell(s, 1725, 3, 15, 10e6, cases[i].power_w)->power_se = cases[i].se;
		t = derive_table(s, &TABLE_OPTIONS_DEFAULT);
		if ((response_table_lookup(t, 70)->shape.n_se == 3) != cases[i].masked)
			fail_msg("case %u", i);
	}
}

/* 3 SEs tie with 2, but do not save enough against the whole card to be worth a mask. */
static void test_a_tie_of_masks_does_not_bring_in_one_that_saves_too_little(void **state)
{
	_cleanup_(surface_freep) struct surface *s = new_surface();
	_cleanup_(freep) struct response_table *t = NULL;

	(void)state;
	(void)add_cell(s, 1725, 2, 15, 10e6, 198.2);
	(void)add_cell(s, 1725, 3, 15, 10e6, 199.2);
	t = derive_table(s, &TABLE_OPTIONS_DEFAULT);
	assert_int_equal(response_table_lookup(t, 70)->shape.n_se, 2);
	assert_int_equal(response_table_lookup(t, 30)->shape.n_se, 4);
}

static void test_gating_takes_off_the_active_idle_power_of_cus_that_are_off(void **state)
{
	static const struct {
		enum table_gating gating;
		double busy_w; /* of 3 SEs x 12 at 1725: 1 W a CU that is off */
		uint32_t flags;
	} cases[] = {
		{TABLE_GATING_NONE, 170, 0},
		{TABLE_GATING_SE, 170 - 15, TABLE_ROW_MODELLED},
		{TABLE_GATING_CU, 170 - 24, TABLE_ROW_MODELLED},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(surface_freep) struct surface *s = new_surface();
		_cleanup_(freep) struct response_table *t = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;
		const struct table_row *row;

		(void)add_cell(s, 1725, 3, 12, 10e6, 170);
		o.gating = cases[i].gating;
		t = derive_table(s, &o);
		assert_int_equal(t->gating, cases[i].gating);
		row = response_table_lookup(t, 50);
		assert_int_equal(row->cell, 1);
		assert_int_equal(row->flags, cases[i].flags);
		assert_true(fabs(row->power_w -
				 (20 + row->rate_rps / 100 * (cases[i].busy_w - 20))) < 1e-6);
	}
}

static void test_gating_needs_an_active_idle_power(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	struct response_table *t = NULL;
	struct surface_error error = {0};

	(void)state;
	s->active_idle_power_w[0] = s->active_idle_power_w[1] = NAN;
	o.gating = TABLE_GATING_SE;
	assert_int_equal(response_table_derive(s, &o, &t, &error), -EINVAL);
	assert_string_equal(
		error.text,
		"power gating cannot be modelled: the surface has no active-idle power");
	assert_null(t);
}

/* At 6 requests/s the slowest cell is feasible, but a step to 35/s drowns it in one interval. */
static void test_row_0_survives_a_step_to_half_the_rated_rate(void **state)
{
	static const struct {
		const char *what;
		double slow_ns, fast_ns;
		uint64_t slo_ns;
		double settle_ms;
		uint32_t cell;
	} cases[] = {
		{"one that keeps up", 20e6, 12e6, 120000000, 10, 1},
		{"one that does not", 60e6, 12e6, 120000000, 10, 2},
		{"one that the boost saves in time", 40e6, 12e6, 2000000000, 10, 1},
		{"one that a slow boost does not save", 40e6, 12e6, 2000000000, 20000, 2},
		{"only the baseline keeps up", 60e6, 55e6, 120000000, 10, 0},
	};

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(surface_freep) struct surface *s = new_surface();
		_cleanup_(freep) struct response_table *t = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;

		o.slo_ns = cases[i].slo_ns;
		s->settle_ms = cases[i].settle_ms;
		s->idle_power_w[0] = 5;
		(void)add_cell(s, 925, 1, 15, cases[i].slow_ns, 10);
		(void)add_cell(s, 925, 2, 15, cases[i].fast_ns, 60);
		t = derive_table(s, &o);
		if (t->rows[0].cell != cases[i].cell)
			fail_msg("%s: cell %u", cases[i].what, t->rows[0].cell);
		assert_int_equal(t->rows[0].flags, 0);
	}
}

static void test_row_0_holds_three_requests_per_interval(void **state)
{
	static const struct {
		uint64_t poll_ns;
		double rate_rps;
	} cases[] = {
		{500000000, 6},	 {1000000000, 3}, {UINT64_C(5000000000), 0.6},
		{100000000, 30}, {10000000, 70}, /* never above R */
	};
	_cleanup_(surface_freep) struct surface *s = sample_surface();

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(freep) struct response_table *t = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;

		o.poll_ns = cases[i].poll_ns;
		t = derive_table(s, &o);
		assert_true(fabs(t->rows[0].rate_rps - cases[i].rate_rps) < 1e-9);
		assert_true(t->rows[1].rate_rps > cases[i].rate_rps);
		assert_ptr_equal(response_table_lookup(t, 0), &t->rows[0]);
	}
}

static void test_lookup_rounds_up_and_ends_in_overload(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) struct response_table *t = NULL;

	(void)state;
	t = derive_table(s, &TABLE_OPTIONS_DEFAULT);
	assert_ptr_equal(response_table_lookup(t, 6), &t->rows[0]);
	assert_ptr_equal(response_table_lookup(t, 6.0001), &t->rows[1]);
	assert_ptr_equal(response_table_lookup(t, t->rows[9].rate_rps), &t->rows[9]);
	assert_ptr_equal(response_table_lookup(t, t->overload_rps), &t->rows[t->n_rows - 1]);
	assert_null(response_table_lookup(t, t->overload_rps * 1.001));
	assert_null(response_table_lookup(t, INFINITY));
	assert_null(response_table_lookup(t, NAN));
}

static void test_rows_that_nothing_can_hold_are_the_baseline(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) struct response_table *t = NULL;
	uint32_t n = 0;

	(void)state;
	t = derive_table(s, &TABLE_OPTIONS_DEFAULT);
	/* 0.95 load has a p95 of some 10 services, and 80 ms x 0.9 are 7.2. */
	assert_true(t->rows[t->n_rows - 1].flags & TABLE_ROW_BASELINE);
	assert_int_equal(t->rows[t->n_rows - 1].cell, 0);
	for (uint32_t i = 0; i < t->n_rows; i++) {
		n += t->rows[i].flags & TABLE_ROW_BASELINE;
		if (t->rows[i].flags & TABLE_ROW_BASELINE)
			assert_true(t->rows[i].rate_rps > 70);
	}
	assert_true(n < 15);
}

static void test_the_slo_is_a_factor_of_t0_or_absolute(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) struct response_table *by_factor = NULL, *absolute = NULL, *p99 = NULL,
					       *rated = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	double tail, upper;

	(void)state;
	o.slo_factor = 1.5;
	by_factor = derive_table(s, &o);
	assert_int_equal(by_factor->slo_ns, 60000000);
	o.slo_ns = 60000000;
	o.slo_factor = 99;
	absolute = derive_table(s, &o);
	assert_memory_equal(by_factor, absolute, sizeof(*by_factor));
	/* Another percentile or R has another T0, which the file does not hold. */
	o = TABLE_OPTIONS_DEFAULT;
	o.percentile = 99;
	p99 = derive_table(s, &o);
	assert_int_equal(response_tail(&s->cells[0], 70, 99, o.seed, &tail, &upper), 0);
	assert_true(fabs((double)p99->t0_ns - tail) < 1 && p99->slo_ns > 80000000);
	o = TABLE_OPTIONS_DEFAULT;
	o.rated_rps = 20;
	rated = derive_table(s, &o);
	assert_int_equal(response_tail(&s->cells[0], 20, 95, o.seed, &tail, &upper), 0);
	assert_true(fabs((double)rated->t0_ns - tail) < 1);
	assert_true(rated->rated_rps == 20 && fabs(rated->overload_rps - 95) < 1e-9);
	assert_true(fabs(rated->rows[rated->n_rows - 1].rate_rps - 95) < 1e-9);
	assert_true(rated->n_rows <= TABLE_MAX_ROWS);
}

static void test_a_rated_rate_above_the_capacity_needs_an_absolute_slo(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) struct response_table *t = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;
	struct surface_error error = {0};

	(void)state;
	o.rated_rps = 500;
	assert_int_equal(response_table_derive(s, &o, &t, &error), -EINVAL);
	assert_string_equal(error.text, "rated rate 500 is above 95, which the card can serve: an "
					"SLO factor has no meaning");
	o.slo_ns = 80000000;
	t = derive_table(s, &o);
	assert_true(fabs(t->rows[t->n_rows - 1].rate_rps - 95) < 1e-9);
	assert_null(response_table_lookup(t, 500));
}

static void test_options_out_of_range_are_refused(void **state)
{
#define OPTIONS(...)                                                                               \
	{                                                                                          \
		.slo_factor = 2, .percentile = 95, .headroom = 0.9, .poll_ns = 500000000,          \
		.max_batch = 1, .free_mask = true, .seed = 1, __VA_ARGS__                          \
	}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
#ifdef __clang__
#pragma clang diagnostic ignored "-Winitializer-overrides"
#endif
	static const struct {
		struct table_options o;
		int r;
		const char *text;
	} cases[] = {
		{OPTIONS(.slo_factor = 0), -EINVAL, "SLO factor 0: expected 0.1 to 1000"},
		{OPTIONS(.slo_factor = NAN), -EINVAL, "SLO factor nan: expected 0.1 to 1000"},
		{OPTIONS(.percentile = 0), -EINVAL, "percentile 0: expected 1 to 99"},
		{OPTIONS(.percentile = 100), -EINVAL, "percentile 100: expected 1 to 99"},
		{OPTIONS(.headroom = 0), -EINVAL, "headroom 0: expected above 0, up to 10"},
		{OPTIONS(.headroom = NAN), -EINVAL, "headroom nan: expected above 0, up to 10"},
		{OPTIONS(.rated_rps = -1), -EINVAL, "rated rate -1: expected 0 to 1e9"},
		{OPTIONS(.poll_ns = 0), -EINVAL, "poll interval: expected 1 ms to 1 h"},
		{OPTIONS(.max_batch = 0), -EINVAL, "largest batch 0: expected at least 1"},
		{OPTIONS(.gating = 3), -EINVAL, "unknown gating variant"},
		{OPTIONS(.slo_ns = 5000000), -EDOM,
		 "the SLO of 5.000 ms cannot be met: the whole card at the highest clock needs"},
	};
#pragma GCC diagnostic pop
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	struct surface_error error = {0};
	struct response_table *t = NULL;

	(void)state;
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(response_table_derive(s, &cases[i].o, &t, &error), cases[i].r);
		if (strncmp(error.text, cases[i].text, strlen(cases[i].text)) != 0)
			fail_msg("got: %s", error.text);
		assert_null(t);
	}
	s->cells[0].batch = 2;
	assert_int_equal(response_table_derive(s, &TABLE_OPTIONS_DEFAULT, &t, &error), -EBADMSG);
	assert_string_equal(error.text, "the surface has no baseline");
	assert_null(t);
}

/* Whatever may be chosen, rows are for the same rates: the governor goes from one table to the
 * other by the row's number. */
static void test_rates_do_not_depend_on_what_may_be_chosen(void **state)
{
	static const struct {
		enum table_gating gating;
		uint32_t percentile;
		uint64_t slo_ns, poll_ns;
		double rated_rps;
	} cases[] = {
		{TABLE_GATING_CU, 95, 0, 500000000, 0},
		{TABLE_GATING_SE, 90, 0, 500000000, 0},
		{TABLE_GATING_NONE, 95, 200000000, 500000000, 1.5},
		{TABLE_GATING_CU, 95, 0, 3000000000, 12.5},
		{TABLE_GATING_NONE, 95, 300000000, 500000000, 500},
	};
	_cleanup_(surface_freep) struct surface *s = new_surface();
	unsigned int masked = 0;

	(void)state;
	(void)add_cell(s, 1725, 2, 15, 12e6, 120);
	(void)add_cell(s, 925, 4, 15, 14e6, 130);
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(freep) struct response_table *t = NULL, *clock = NULL;
		struct table_options o = TABLE_OPTIONS_DEFAULT;
		struct surface_error error = {0};

		o.gating = cases[i].gating;
		o.percentile = cases[i].percentile;
		o.slo_ns = cases[i].slo_ns;
		o.poll_ns = cases[i].poll_ns;
		o.rated_rps = cases[i].rated_rps;
		assert_int_equal(response_table_derive(s, &o, &t, &error), 0);
		o.free_mask = false;
		assert_int_equal(response_table_derive(s, &o, &clock, &error), 0);
		assert_int_equal(t->n_rows, clock->n_rows);
		assert_true(t->rated_rps == clock->rated_rps && t->slo_ns == clock->slo_ns);
		for (uint32_t k = 0; k < t->n_rows; k++) {
			assert_true(t->rows[k].rate_rps == clock->rows[k].rate_rps);
			assert_int_equal(cu_shape_cus(clock->rows[k].shape), 60);
			masked += cu_shape_cus(t->rows[k].shape) < 60;
		}
	}
	assert_true(masked > 50);
}

static void test_a_seed_gives_the_same_bytes_again_and_another_seed_others(void **state)
{
	_cleanup_(surface_freep) struct surface *s = sample_surface();
	_cleanup_(freep) struct response_table *a = NULL, *b = NULL, *other = NULL;
	struct table_options o = TABLE_OPTIONS_DEFAULT;

	(void)state;
	a = derive_table(s, &o);
	b = derive_table(s, &o);
	o.seed = 2;
	other = derive_table(s, &o);
	assert_memory_equal(a, b, sizeof(*a));
	assert_true(a->rows[30].tail_ns != other->rows[30].tail_ns);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tails_are_those_of_queues_with_a_known_answer),
		cmocka_unit_test(test_a_batch_takes_what_waits_and_no_more),
		cmocka_unit_test(test_the_bound_holds_the_true_tail_for_95_of_100_profiles),
		cmocka_unit_test(test_a_tail_beyond_the_capacity_is_refused),
		cmocka_unit_test(test_rows_rise_to_the_rated_rate_and_on_to_overload),
		cmocka_unit_test(test_every_row_is_within_headroom_and_0_95_of_its_capacity),
		cmocka_unit_test(test_power_is_idle_plus_the_busy_part),
		cmocka_unit_test(test_cells_that_may_not_be_chosen_never_are),
		cmocka_unit_test(test_only_the_free_knobs_leave_the_baseline),
		cmocka_unit_test(test_a_larger_batch_is_chosen_where_it_is_allowed),
		cmocka_unit_test(test_a_flagged_baseline_is_still_the_baseline),
		cmocka_unit_test(test_ties_go_to_more_cus),
		cmocka_unit_test(test_ties_of_equal_cus_stay_with_the_row_before),
		cmocka_unit_test(test_a_mask_without_gating_must_save_significantly),
		cmocka_unit_test(test_a_tie_of_masks_does_not_bring_in_one_that_saves_too_little),
		cmocka_unit_test(test_gating_takes_off_the_active_idle_power_of_cus_that_are_off),
		cmocka_unit_test(test_gating_needs_an_active_idle_power),
		cmocka_unit_test(test_row_0_survives_a_step_to_half_the_rated_rate),
		cmocka_unit_test(test_row_0_holds_three_requests_per_interval),
		cmocka_unit_test(test_lookup_rounds_up_and_ends_in_overload),
		cmocka_unit_test(test_rows_that_nothing_can_hold_are_the_baseline),
		cmocka_unit_test(test_the_slo_is_a_factor_of_t0_or_absolute),
		cmocka_unit_test(test_a_rated_rate_above_the_capacity_needs_an_absolute_slo),
		cmocka_unit_test(test_options_out_of_range_are_refused),
		cmocka_unit_test(test_rates_do_not_depend_on_what_may_be_chosen),
		cmocka_unit_test(test_a_seed_gives_the_same_bytes_again_and_another_seed_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
