/* SPDX-License-Identifier: Apache-2.0 */
/* Choices under a power cap: over random menus held against the rule as cap-plan.h states it, and
 * through the governor. */
#include "base/units.h"
#include "governor-bench.h"
#include "governor/cap-plan.h"
#include "support/cmocka-includes.h"

#define SEED	      2026
#define MENUS	      300
#define N_CLOCKS      5
#define N_BATCHES     4
#define N_RATES	      12
#define N_SHAPES      3
#define N_OPTIONS     (N_CLOCKS * N_SHAPES * N_BATCHES)
#define TOP_MHZ	      1725
#define IDLE_W	      20.0
#define IN_FORCE_BAND 0.03  /* how far below the cap it has to be at least */
#define AVERAGED_BAND 0.025 /* likewise, where ten executions pass in a poll */

static const struct cu_shape shapes[N_SHAPES] = {{2, 15}, {4, 10}, {4, 15}};
static const uint32_t clock_mhz[N_CLOCKS] = {700, 1000, 1350, 1560, TOP_MHZ};

struct menu {
	struct response_menu menu;
	struct menu_option options[N_OPTIONS];
	struct menu_point points[N_OPTIONS * N_RATES];
};

static void fill_point(struct menu *m, uint32_t option, uint32_t rate)
{
	const struct menu_option *o = &m->options[option];
	double rps = m->menu.rate_rps[rate], u = rps / o->capacity_rps;
	double busy_w = response_menu_busy_w(&m->menu, option);
	struct menu_point *p = &m->points[option * N_RATES + rate];
	struct tail_survival survival;

	*p = (struct menu_point){.tail_ns = INFINITY, .busy = 1, .power_w = INFINITY};
	if (u > 0.95)
		return;
	p->tail_ns = (float)(o->service_ns * (1 + 1.5 * u / (1 - u)));
	p->busy = (float)u;
	p->power_w = (float)(IDLE_W + u * (busy_w - IDLE_W));
	for (int i = 0; i < TAIL_SHARES; i++)
		survival.ns[i] = p->tail_ns * (0.5F + 0.1F * (float)i);
	tail_pack(&survival, &p->survival);
}

/* Clock, CUs and batch each give throughput and take power, by a different measure in each menu. */
static struct menu *menu_new(uint64_t *seed)
{
	struct menu *m = calloc(1, sizeof(*m));
	double clock_power = 0.3 + bench_uniform(seed), batch_gain = bench_uniform(seed);
	double top_w = 100 + 150 * bench_uniform(seed);
	struct response_menu *r;

	assert_non_null(m);
	r = &m->menu;
	*r = (struct response_menu){.gating = (enum table_gating)(3 * bench_uniform(seed)),
				    .slo_ns = 40000000,
				    .percentile = 95,
				    .n_cus = 60,
				    .n_se = 4,
				    .n_rates = N_RATES,
				    .n_clocks = N_CLOCKS,
				    .n_options = N_OPTIONS,
				    .options = m->options,
				    .points = m->points};
	for (uint32_t i = 0; i < N_CLOCKS; i++)
		r->clocks[i] = (struct menu_clock){clock_mhz[i], IDLE_W, 0.2, 5};
	for (uint32_t i = 0; i < N_OPTIONS; i++) {
		uint32_t clock = i / (N_SHAPES * N_BATCHES), batch = i % N_BATCHES;
		struct cu_shape shape = shapes[i / N_BATCHES % N_SHAPES];
		double share = clock_mhz[clock] / (double)TOP_MHZ;
		double noise = 0.97 + 0.06 * bench_uniform(seed);
		double rps = 100 * share * sqrt(cu_shape_cus(shape) / 60.0) *
			     (1 + batch_gain * batch / N_BATCHES) * noise;

		m->options[i] = (struct menu_option){
			.cell = 2 * i + 1, /* not every cell is an option */
			.clock = clock,
			.shape = shape,
			.full = cu_shape_cus(shape) == 60,
			.batch = 1u << batch,
			.capacity_rps = rps,
			.service_ns = 1e9 * (1u << batch) / rps,
			.energy_j = top_w / 100 * pow(share, clock_power),
		};
	}
	r->baseline = N_OPTIONS - N_BATCHES;
	r->overload_rps = 0.95 * m->options[r->baseline].capacity_rps;
	r->rated_rps = 0.7 * m->options[r->baseline].capacity_rps;
	for (uint32_t i = 0; i < N_RATES; i++)
		r->rate_rps[i] = r->overload_rps * (i + 1) / N_RATES;
	for (uint32_t i = 0; i < N_OPTIONS * N_RATES; i++)
		fill_point(m, i / N_RATES, i % N_RATES);
	return m;
}

static struct cap_question random_question(const struct menu *m, uint64_t *seed)
{
	struct cap_question q = {
		.menu = &m->menu,
		.demand_rps = 1.2 * m->menu.overload_rps * bench_uniform(seed),
		.service_factor = 0.9 + 0.3 * bench_uniform(seed),
		.power_factor = 0.9 + 0.3 * bench_uniform(seed),
		.late_cost = TABLE_LATE_COST,
		.cap_uw = (uint64_t)((20 + 250 * bench_uniform(seed)) * (double)UW_PER_W),
		.may_mask = bench_uniform(seed) < 0.5,
		.may_batch = bench_uniform(seed) < 0.5,
		.in_force = (uint32_t)(2 * N_OPTIONS * bench_uniform(seed)),
	};

	/* Up to a second, or unknown. */
	q.poll_ns = q.in_force % 2 == 0 ? 4 * q.cap_uw : 0;
	return q;
}

static bool allowed(const struct cap_question *q, uint32_t option)
{
	const struct menu_option *o = &q->menu->options[option];

	return (o->full || q->may_mask) && (o->batch == 1 || q->may_batch);
}

static double drawn_w(const struct cap_question *q, uint32_t option)
{
	return response_menu_busy_w(q->menu, option) * q->power_factor;
}

static double band(const struct cap_question *q, uint32_t option)
{
	double service_ns = q->service_factor * q->menu->options[option].service_ns;

	return q->poll_ns > 0 && 10 * service_ns <= (double)q->poll_ns ? AVERAGED_BAND
								       : IN_FORCE_BAND;
}

static double cost(const struct cap_question *q, uint32_t option, double rps)
{
	const struct response_menu *m = q->menu;
	const struct menu_point *p;
	uint32_t rate = 0;

	while (rate < m->n_rates && m->rate_rps[rate] < rps)
		rate++;
	if (rate == m->n_rates)
		return INFINITY;
	p = response_menu_point(m, option, rate);
	if (isinf(p->tail_ns))
		return INFINITY;
	return (double)p->power_w * q->power_factor +
	       q->late_cost * response_menu_busy_w(m, m->baseline) / m->rated_rps *
		       m->rate_rps[rate] *
		       response_menu_late(p, (double)m->slo_ns / q->service_factor);
}

static double mean_w(const struct cap_question *q, uint32_t option, double rps)
{
	uint32_t rate = 0;

	while (rate < q->menu->n_rates && q->menu->rate_rps[rate] < rps)
		rate++;
	if (rate == q->menu->n_rates)
		return INFINITY;
	return (double)response_menu_point(q->menu, option, rate)->power_w * q->power_factor;
}

/* What is known of a choice: nothing of a kind that comes first, and nothing better of its own. */
static void check_against(const struct cap_question *q, const struct cap_choice *c, uint32_t i)
{
	double rps = q->demand_rps * q->service_factor, cap_w = (double)q->cap_uw / 1e6;
	bool free_mask = q->menu->options[i].full || q->menu->gating != TABLE_GATING_NONE;
	double found = cost(q, c->option, rps), other = cost(q, i, rps);
	double lacks_rps =
		q->menu->options[i].capacity_rps - q->menu->options[c->option].capacity_rps;
	bool in_mean = mean_w(q, i, rps) * (1 + IN_FORCE_BAND) <= cap_w;

	if (c->inside && !c->sustained && cap_plan_inside(q, i)) {
		assert_true(isinf(other));
		assert_true(!free_mask || lacks_rps <= 1e-9);
	} else if (c->inside && cap_plan_inside(q, i)) {
		assert_true(!free_mask || found <= other + 1e-9);
	} else if (!c->inside) {
		assert_false(cap_plan_inside(q, i));
		assert_true(c->in_mean || isinf(other) || !in_mean);
		if (c->in_mean && in_mean && free_mask)
			assert_true(found <= other + 1e-9);
		if (!c->in_mean && free_mask) {
			assert_true(drawn_w(q, c->option) <= 1.06 * drawn_w(q, i));
			assert_true(drawn_w(q, i) > drawn_w(q, c->option) || lacks_rps <= 1e-9);
		}
	}
}

static void check_choice(const struct cap_question *q, unsigned int kinds[4])
{
	double rps = q->demand_rps * q->service_factor, cap_w = (double)q->cap_uw / 1e6;
	struct cap_choice c;

	cap_plan_choose(q, &c);
	kinds[c.inside ? c.sustained : c.in_mean ? 2 : 3]++;
	assert_true(c.option < q->menu->n_options && allowed(q, c.option));
	if (c.inside)
		assert_true(drawn_w(q, c.option) <= cap_w / (1 + band(q, c.option)) * (1 + 1e-9));
	if (c.in_mean)
		assert_true(mean_w(q, c.option, rps) <= cap_w);
	assert_true(!c.sustained || isfinite(cost(q, c.option, rps)));
	for (uint32_t i = 0; i < q->menu->n_options; i++)
		if (allowed(q, i))
			check_against(q, &c, i);
}

static void test_the_choice_is_the_best_of_all_inside(void **state _unused_)
{
	unsigned int kinds[4] = {0};
	uint64_t seed = SEED;

	print_message("seed %u\n", SEED);
	for (unsigned int i = 0; i < MENUS; i++) {
		struct menu *m = menu_new(&seed);

		for (unsigned int k = 0; k < 50; k++) {
			struct cap_question q = random_question(m, &seed);

			check_choice(&q, kinds);
		}
		free(m);
	}
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		assert_true(kinds[i] > MENUS);
}

/* Without a limit on what may be done, a higher cap never means less throughput, nor more demand
 * that it stops being served. */
static void test_a_higher_cap_gives_no_less(void **state _unused_)
{
	uint64_t seed = SEED + 1;

	for (unsigned int i = 0; i < MENUS; i++) {
		struct menu *m = menu_new(&seed);
		double before_rps = 0;

		for (uint64_t cap_w = 30; cap_w < 300; cap_w += 10) {
			struct cap_question q = random_question(m, &seed);
			struct cap_choice c;

			q.demand_rps = INFINITY;
			q.power_factor = 1;
			q.may_mask = q.may_batch = true;
			q.in_force = UINT32_MAX;
			q.cap_uw = cap_w * UW_PER_W;
			cap_plan_choose(&q, &c);
			assert_false(c.sustained);
			if (!c.inside)
				continue;
			/* But for a mask's tie. */
			assert_true(m->options[c.option].capacity_rps >= 0.99 * before_rps);
			before_rps = fmax(before_rps, m->options[c.option].capacity_rps);
		}
		assert_true(before_rps > 0);
		free(m);
	}
}

static void test_options_are_found_by_their_cell(void **state _unused_)
{
	uint64_t seed = SEED;
	struct menu *m = menu_new(&seed);

	for (uint32_t i = 0; i < N_OPTIONS; i++) {
		assert_int_equal(cap_plan_option_of(&m->menu, 2 * i + 1), i);
		assert_int_equal(cap_plan_option_of(&m->menu, 2 * i), UINT32_MAX);
	}
	assert_int_equal(cap_plan_option_of(&m->menu, UINT32_MAX), UINT32_MAX);
	free(m);
}

/* ---- through the governor ---- */

struct capped {
	struct bench bench;
	struct menu *menu;
};

/* The rows are of the menu, by cost without a cap, all CUs, batch 1. */
static void table_of(const struct menu *m, struct response_table *t)
{
	struct cap_question q = {.menu = &m->menu,
				 .service_factor = 1,
				 .power_factor = 1,
				 .late_cost = TABLE_LATE_COST,
				 .cap_uw = 100000 * UW_PER_W,
				 .in_force = UINT32_MAX};
	struct cap_choice c;

	memset(t, 0, sizeof(*t));
	(void)snprintf(t->model, sizeof(t->model), "model");
	t->percentile = 95;
	t->slo_ns = m->menu.slo_ns;
	t->rated_rps = m->menu.rated_rps;
	t->overload_rps = m->menu.overload_rps;
	t->idle_power_w = IDLE_W;
	for (uint32_t i = 0; i <= N_RATES; i++) {
		struct table_row *row = i < N_RATES ? &t->rows[t->n_rows++] : &t->baseline;
		const struct menu_option *o;

		q.demand_rps = i < N_RATES ? m->menu.rate_rps[i] : INFINITY;
		cap_plan_choose(&q, &c);
		o = &m->options[i < N_RATES ? c.option : m->menu.baseline];
		row->rate_rps = i < N_RATES ? q.demand_rps : t->overload_rps;
		row->cell = o->cell;
		row->max_mhz = clock_mhz[o->clock];
		row->shape = o->shape;
		row->batch = o->batch;
		row->workers = 1;
		row->power_w = c.power_w;
		row->tail_ns = row->tail_upper_ns = c.tail_ns;
		row->service_ns = o->service_ns;
	}
}

static struct capped *capped_new(uint64_t seed, uint64_t cap_w)
{
	struct capped *c = calloc(1, sizeof(*c));
	struct bench *b;

	assert_non_null(c);
	b = &c->bench;
	c->menu = menu_new(&seed);
	table_of(c->menu, &b->table);
	bench_config(&b->config, &b->table);
	b->config.n_levels = N_CLOCKS;
	memcpy(b->config.level_mhz, clock_mhz, sizeof(clock_mhz));
	b->config.models[0].menu = &c->menu->menu;
	b->config.power_cap_uw = cap_w * UW_PER_W;
	assert_int_equal(governor_new(&b->config, &b->governor), 0);
	return c;
}

static void capped_free(struct capped *c)
{
	governor_free(c->bench.governor);
	free(c->menu);
	free(c);
}

/* A step at a steady rate; nothing queues, and the sensor shows power_w. */
static void step(struct bench *b, double rate_rps, double busy_share, double power_w)
{
	double interval_s = (double)b->config.poll_ns / (double)NSEC_PER_SEC;
	uint32_t batch = MAX(b->decision.models[0].max_batch, 1u);
	uint64_t n = (uint64_t)(rate_rps * interval_s);

	b->input.now_ns += b->config.poll_ns;
	b->input.interval_ns = b->config.poll_ns;
	b->input.power_uw = b->input.power_max_uw = (uint64_t)(power_w * (double)UW_PER_W);
	b->input.models[0] = (struct governor_model_input){
		.state = GOVERNOR_INPUT_OK,
		.workers = 1,
		.arrivals = n,
		.starts = n,
		.completions = n,
		.executions = MAX(n / batch, UINT64_C(1)),
		.busy_ns = (uint64_t)(busy_share * (double)b->config.poll_ns),
		.whole_interval = true,
		.mask_follows = true,
		.batch_follows = true,
		.acknowledged = true,
	};
	governor_step(b->governor, &b->input, &b->decision);
}

/* The menu's option that the decision is, as the worker and the card see it. */
static uint32_t decided_option(const struct capped *c)
{
	const struct governor_model_decision *d = &c->bench.decision.models[0];

	for (uint32_t i = 0; i < N_OPTIONS; i++) {
		const struct menu_option *o = &c->menu->options[i];
		bool shape =
			o->full ? cu_shape_cus(d->shape) == 0 : cu_shape_equal(o->shape, d->shape);

		if (clock_mhz[o->clock] == c->bench.decision.max_mhz && shape &&
		    o->batch == MAX(d->max_batch, 1u))
			return i;
	}
	fail_msg("%u MHz, %ux%u CUs and a batch of %u is no option", c->bench.decision.max_mhz,
		 d->shape.n_se, d->shape.cus_per_se, d->max_batch);
	return UINT32_MAX;
}

static double decided_busy_w(const struct capped *c)
{
	return response_menu_busy_w(&c->menu->menu, decided_option(c));
}

static void test_no_decision_is_above_the_cap_by_plan(void **state _unused_)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct capped *c = capped_new(seed, 60 + 4 * seed);
		uint64_t draw = seed;
		double least_w = INFINITY, rate_rps = 0;

		for (uint32_t i = 0; i < N_OPTIONS; i++)
			if (c->menu->options[i].full)
				least_w = fmin(least_w, response_menu_busy_w(&c->menu->menu, i));
		for (unsigned int i = 0; i < 200; i++) {
			if (i % 10 == 0)
				rate_rps = 1.3 * c->menu->menu.overload_rps * bench_uniform(&draw);
			step(&c->bench, rate_rps, 0.5, 0);
			c->bench.input.flags =
				bench_uniform(&draw) < 0.05 ? GOVERNOR_CARD_SENSORS_LOST : 0;
			if (least_w * 1.05 < (double)(60 + 4 * seed))
				assert_true(decided_busy_w(c) <= (double)(60 + 4 * seed));
		}
		capped_free(c);
	}
}

static void test_overload_gets_the_most_throughput_inside(void **state _unused_)
{
	struct capped *c = capped_new(7, 150);
	struct cap_question q = {.menu = &c->menu->menu,
				 .demand_rps = INFINITY,
				 .service_factor = 1,
				 .power_factor = 1,
				 .cap_uw = 150 * UW_PER_W,
				 .may_mask = true,
				 .may_batch = true,
				 .in_force = UINT32_MAX};
	struct cap_choice most;

	cap_plan_choose(&q, &most);
	assert_true(most.inside);
	for (unsigned int i = 0; i < 40; i++)
		step(&c->bench, 2 * c->menu->menu.overload_rps, 1, 0);
	assert_int_equal(decided_option(c), most.option);
	assert_true(c->bench.decision.predicted_power_w == most.power_w);
	capped_free(c);
}

static void test_a_plan_inside_is_left_alone(void **state _unused_)
{
	struct capped *free_card = capped_new(7, 0), *c = capped_new(7, 1000);
	double rate_rps = 0.5 * c->menu->menu.rated_rps;

	for (unsigned int i = 0; i < 200; i++) {
		step(&c->bench, rate_rps, 0.5, 0);
		step(&free_card->bench, rate_rps, 0.5, 0);
		assert_int_equal(c->bench.decision.max_mhz, free_card->bench.decision.max_mhz);
		assert_int_equal(c->bench.decision.models[0].row,
				 free_card->bench.decision.models[0].row);
	}
	assert_string_not_equal(governor_reason_name(c->bench.decision.reason), "power-cap");
	capped_free(free_card);
	capped_free(c);
}

/* The card draws a tenth more than its profile says, of which a half fits under the cap. */
static void test_a_card_that_draws_more_is_planned_for(void **state _unused_)
{
	struct capped *c = capped_new(7, 150);
	uint32_t first = UINT32_MAX;
	unsigned int over = 0;
	double cap_w;

	for (unsigned int i = 0; i < 4; i++)
		step(&c->bench, 2 * c->menu->menu.overload_rps, 1, 0);
	first = decided_option(c);
	cap_w = ceil(1.05 * decided_busy_w(c));
	capped_free(c);
	c = capped_new(7, (uint64_t)cap_w);
	for (unsigned int i = 0; i < 600; i++) {
		double busy_w = i > 0 ? 1.1 * decided_busy_w(c) : 0;

		over += busy_w > cap_w;
		step(&c->bench, 2 * c->menu->menu.overload_rps, 1, busy_w);
		if (i == 2)
			assert_int_equal(decided_option(c), first);
	}
	assert_int_not_equal(decided_option(c), first);
	assert_true(1.1 * decided_busy_w(c) <= cap_w);
	/* Half a second each: some to learn it, and never again. */
	assert_in_range(over, 1, 4);
	capped_free(c);
}

static void test_the_clock_falls_before_the_batch_rises(void **state _unused_)
{
	for (uint64_t seed = 1; seed <= 40; seed++) {
		struct capped *c = capped_new(seed, 0);
		uint32_t mhz = TOP_MHZ, batch = 1;

		for (unsigned int i = 0; i < 60; i++) {
			if (i % 20 == 10) {
				struct governor *old = c->bench.governor;

				/* An order from outside, as the daemon takes it. */
				c->bench.config.power_cap_uw = (200 - 2 * i) * UW_PER_W;
				assert_int_equal(governor_new(&c->bench.config, &c->bench.governor),
						 0);
				governor_inherit(c->bench.governor, old);
				governor_free(old);
			}
			step(&c->bench, 2 * c->menu->menu.overload_rps, 1, 0);
			if (c->bench.config.power_cap_uw > 0 && c->bench.decision.max_mhz < mhz)
				assert_true(c->bench.decision.models[0].max_batch <= batch);
			mhz = c->bench.decision.max_mhz;
			batch = c->bench.decision.models[0].max_batch;
		}
		capped_free(c);
	}
}

/* What single executions differ by shows in a reading only where few pass between two. */
static void test_short_executions_come_nearer_to_the_cap(void **state _unused_)
{
	uint64_t seed = 5;
	struct menu *m = menu_new(&seed);
	struct cap_question q = {.menu = &m->menu, .service_factor = 1, .power_factor = 1};

	for (uint32_t i = 0; i < N_OPTIONS; i++) {
		double busy_w = response_menu_busy_w(&m->menu, i),
		       service_ns = m->menu.options[i].service_ns;
		const struct {
			double services, nearest; /* between two polls; share of the power */
			uint32_t in_force;
		} cases[] = {
			{0, 0.045, UINT32_MAX},	   {0, 0.03, i},
			{9.9, 0.045, UINT32_MAX},  {9.9, 0.03, i},
			{10.1, 0.025, i},	   {10.1, 0.025, UINT32_MAX},
			{1000, 0.025, UINT32_MAX},
		};

		for (size_t k = 0; k < ARRAY_SIZE(cases); k++) {
			q.in_force = cases[k].in_force;
			q.poll_ns = (uint64_t)(cases[k].services * service_ns);
			q.cap_uw = (uint64_t)(busy_w * (1.0001 + cases[k].nearest) * 1e6);
			assert_true(cap_plan_inside(&q, i));
			q.cap_uw = (uint64_t)(busy_w * (0.9999 + cases[k].nearest) * 1e6);
			assert_false(cap_plan_inside(&q, i));
		}
	}
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_choice_is_the_best_of_all_inside),
		cmocka_unit_test(test_a_higher_cap_gives_no_less),
		cmocka_unit_test(test_short_executions_come_nearer_to_the_cap),
		cmocka_unit_test(test_options_are_found_by_their_cell),
		cmocka_unit_test(test_no_decision_is_above_the_cap_by_plan),
		cmocka_unit_test(test_overload_gets_the_most_throughput_inside),
		cmocka_unit_test(test_a_plan_inside_is_left_alone),
		cmocka_unit_test(test_a_card_that_draws_more_is_planned_for),
		cmocka_unit_test(test_the_clock_falls_before_the_batch_rises),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
