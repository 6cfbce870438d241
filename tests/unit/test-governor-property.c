/* SPDX-License-Identifier: Apache-2.0 */
/* What holds for the governor on any card, with any models, under any load and whatever it is told.
 */
#include "governor-world.h"
#include "governor/governor-internal.h"
#include "governor/policy.h"
#include <string.h>

#define SEED   UINT64_C(2027)
#define WORLDS 120

static struct world world;
static struct governor_input input;

static struct governor *governor_of(const struct governor_config *c)
{
	struct governor *g = NULL;

	assert_int_equal(governor_new(c, &g), 0);
	return g;
}

/* ---- any input ---- */

static uint64_t hostile(uint64_t *seed)
{
	static const uint64_t some[] = {
		0,
		1,
		2,
		UINT32_MAX,
		UINT64_C(1) << 53,
		(uint64_t)INT64_MAX,
		UINT64_MAX - 1,
		UINT64_MAX,
	};

	if (bench_uniform(seed) < 0.5)
		return some[world_below(seed, ARRAY_SIZE(some))];
	return (uint64_t)exp(world_between(seed, 0, 44));
}

static void hostile_model(uint64_t *seed, struct governor_model_input *in)
{
	*in = (struct governor_model_input){
		.state = (enum governor_input_state)world_below(seed, 3),
		.workers = (uint32_t)hostile(seed),
		.arrivals = hostile(seed),
		.starts = hostile(seed),
		.completions = hostile(seed),
		.failures = hostile(seed),
		.late = hostile(seed),
		.in_flight = hostile(seed),
		.waiting = hostile(seed),
		.woken = world_below(seed, 2),
		.oldest_age_ns = hostile(seed),
		.busy_ns = hostile(seed),
		.executions = hostile(seed),
		.service_p95_ns = hostile(seed),
		.sojourn_ns = hostile(seed),
		.sojourn_p95_ns = hostile(seed),
		.whole_interval = world_below(seed, 2),
		.mask_follows = world_below(seed, 2),
		.mask_unknown = world_below(seed, 2),
		.batch_follows = world_below(seed, 2),
		.acknowledged = world_below(seed, 2),
	};
}

static void hostile_input(uint64_t *seed, uint32_t n_models, struct governor_input *in)
{
	in->now_ns = hostile(seed);
	in->interval_ns = hostile(seed);
	in->early = world_below(seed, 2);
	in->flags = bench_uniform(seed) < 0.5 ? 0 : (uint32_t)hostile(seed);
	in->power_uw = hostile(seed);
	in->power_cap_uw = hostile(seed);
	in->power_max_uw = hostile(seed);
	in->sclk_mhz = (uint32_t)hostile(seed);
	in->busy_percent = world_below(seed, 101);
	in->applied_max_mhz = (uint32_t)hostile(seed);
	for (uint32_t i = 0; i < n_models; i++)
		hostile_model(seed, &in->models[i]);
}

/* As a daemon would see it. */
static void sane_input(uint64_t *seed, const struct world *w, uint64_t now_ns, double load,
		       struct governor_input *in)
{
	memset(in, 0, sizeof(*in));
	in->now_ns = now_ns;
	in->interval_ns = w->config.poll_ns;
	in->power_uw = 100 * UW_PER_W;
	for (uint32_t i = 0; i < w->config.n_models; i++) {
		const struct response_table *t = &w->models[i].table;
		double n = load * t->rated_rps * (double)in->interval_ns * 1e-9;
		struct governor_model_input *m = &in->models[i];

		*m = (struct governor_model_input){
			.state = GOVERNOR_INPUT_OK,
			.workers = 1,
			.arrivals = (uint64_t)(n * world_between(seed, 0.8, 1.2) + 0.5),
			.whole_interval = true,
			.mask_follows = true,
			.batch_follows = true,
			.acknowledged = true,
		};
		m->starts = m->completions = m->executions = m->arrivals;
		m->busy_ns = (uint64_t)((double)m->executions * t->baseline.service_ns);
	}
}

/* ---- what a decision has to be ---- */

static bool is_level(const struct governor_config *c, uint32_t mhz)
{
	for (uint32_t i = 0; i < c->n_levels; i++)
		if (c->level_mhz[i] == mhz)
			return true;
	return false;
}

static void check_model(const struct world *w, uint32_t i, const struct governor_input *in,
			const struct governor_decision *d)
{
	const struct governor_model_config *c = &w->config.models[i];
	const struct governor_model_decision *m = &d->models[i];
	bool masked = cu_shape_cus(m->shape) > 0, known = false;

	assert_true(m->rate_rps >= 0 && m->demand_rps >= 0);
	assert_true(m->row < c->table->n_rows || m->row == UINT32_MAX);
	assert_in_range(m->reason, 0, GOVERNOR_REASON_MAX - 1);
	assert_true(m->max_batch <= 1);
	assert_false(m->tail_ns < 0);
	if (!masked)
		return;
	/* Only what was measured, and of one who follows. */
	for (uint32_t k = 0; k < w->n_shapes; k++)
		known |= cu_shape_equal(w->shapes[k], m->shape);
	assert_true(known);
	assert_true(c->use_mask && in->models[i].mask_follows);
}

static void check_masks(const struct world *w, const struct governor_decision *d)
{
	struct cu_shape shapes[WORLD_MODELS];
	struct cu_mask masks[WORLD_MODELS];
	uint32_t n = 0;

	for (uint32_t i = 0; i < w->config.n_models; i++)
		if (cu_shape_cus(d->models[i].shape) > 0)
			shapes[n++] = d->models[i].shape;
	if (n > 0)
		assert_int_equal(cu_masks_pack(&w->config.topology, shapes, n, /* first_se= */ 0,
					       masks),
				 0);
}

static void check_decision(const struct world *w, const struct governor_input *in,
			   const struct governor_decision *d, uint64_t number)
{
	assert_int_equal(d->number, number);
	assert_int_equal(d->now_ns, in->now_ns);
	assert_int_equal(d->n_models, w->config.n_models);
	assert_in_range(d->action, GOVERNOR_RELEASE, GOVERNOR_HOLD);
	assert_in_range(d->reason, 1, GOVERNOR_REASON_MAX - 1);
	assert_false(d->predicted_power_w < 0);
	if (d->action != GOVERNOR_SET)
		return;
	assert_true(is_level(&w->config, d->max_mhz));
	for (uint32_t i = 0; i < w->config.n_models; i++)
		check_model(w, i, in, d);
	check_masks(w, d);
}

static void test_whatever_it_is_told_decisions_are_valid(void **state)
{
	uint64_t seed = SEED;

	(void)state;
	for (uint32_t i = 0; i < WORLDS; i++) {
		_cleanup_(governor_freep) struct governor *g = NULL;
		static struct governor_decision d;

		world_new(&world, &seed, 1 + i % WORLD_MODELS, i % 4 == 3);
		g = governor_of(&world.config);
		for (uint32_t k = 1; k <= 60; k++) {
			/* What was believed of the hostile ones must not poison the rest. */
			if (k % 3 == 0)
				sane_input(&seed, &world, k * world.config.poll_ns, 0.5, &input);
			else
				hostile_input(&seed, world.config.n_models, &input);
			governor_step(g, &input, &d);
			check_decision(&world, &input, &d, k);
		}
	}
}

static void test_so_they_are_under_every_policy(void **state)
{
	uint64_t seed = SEED + 1;

	(void)state;
	for (unsigned int p = 0; policy_name(p); p++)
		for (uint32_t i = 0; i < 10; i++) {
			_cleanup_(governor_freep) struct governor *g = NULL;
			static struct governor_decision d;

			world_new(&world, &seed, 1, i % 2);
			world.config.models[0].policy = policy_name(p);
			g = governor_of(&world.config);
			for (uint32_t k = 1; k <= 40; k++) {
				hostile_input(&seed, 1, &input);
				governor_step(g, &input, &d);
				check_decision(&world, &input, &d, k);
			}
		}
}

/* After the worst, it serves as if nothing had been. */
static void test_hostile_input_is_not_remembered_for_long(void **state)
{
	uint64_t seed = SEED + 2;

	(void)state;
	for (uint32_t i = 0; i < WORLDS / 2; i++) {
		_cleanup_(governor_freep) struct governor *g = NULL, *fresh = NULL;
		static struct governor_decision d, e;
		uint64_t now_ns = 0, sane = SEED;
		double load = world_between(&seed, 0.2, 0.8);

		world_new(&world, &seed, 1, false);
		g = governor_of(&world.config);
		fresh = governor_of(&world.config);
		for (uint32_t k = 0; k < 20; k++) {
			hostile_input(&seed, 1, &input);
			input.now_ns = now_ns += world.config.poll_ns;
			governor_step(g, &input, &d);
		}
		for (uint32_t k = 0; k < 480; k++) {
			sane_input(&sane, &world, now_ns += world.config.poll_ns, load, &input);
			governor_step(g, &input, &d);
			governor_step(fresh, &input, &e);
		}
		assert_int_equal(d.action, GOVERNOR_SET);
		assert_true(d.models[0].demand_rps < 1.5 * e.models[0].demand_rps + 20);
		assert_true(d.models[0].demand_rps > e.models[0].demand_rps / 1.5);
	}
}

/* ---- the plan ---- */

/* The least that any plan can draw: of a menu while it works without a pause. */
static double least_w(const struct world *w, bool masks)
{
	const struct governor_model_config *c = &w->config.models[0];
	const struct response_table *t = masks ? c->table : c->clock_table;
	double least = INFINITY;

	for (uint32_t i = 0; c->menu && i < c->menu->n_options; i++)
		if (masks || c->menu->options[i].full)
			least = fmin(least, world_busy_w(c->menu, i));
	for (uint32_t i = 0; !c->menu && i < t->n_rows; i++)
		least = fmin(least, t->rows[i].power_w);
	return least;
}

static void test_no_plan_is_above_the_cap(void **state)
{
	uint64_t seed = SEED + 3;
	uint32_t above = 0;

	(void)state;
	for (uint32_t i = 0; i < WORLDS; i++) {
		_cleanup_(governor_freep) struct governor *g = NULL;
		static struct governor_decision d;

		world_new(&world, &seed, 1, true);
		g = governor_of(&world.config);
		for (uint32_t k = 1; k <= 60; k++) {
			double load = world_between(&seed, 0, 1.8), least;

			sane_input(&seed, &world, k * world.config.poll_ns, load, &input);
			input.power_uw = 0;
			input.flags = k % 10 == 0 ? GOVERNOR_CARD_FOREIGN_LOAD : 0;
			governor_step(g, &input, &d);
			check_decision(&world, &input, &d, k);
			assert_int_equal(d.power_cap_uw, world.config.power_cap_uw);
			if (isnan(d.predicted_power_w) ||
			    d.predicted_power_w * 1e6 <= (double)world.config.power_cap_uw + 1)
				continue;
			/* Then nothing is inside, and the least is hardly less. For a doubt about
			 * the card all CUs are there. */
			above++;
			least = least_w(&world, world.config.models[0].use_mask && !input.flags);
			assert_true(least * 1e6 * 1.05 > (double)world.config.power_cap_uw);
			assert_true(d.predicted_power_w <= 1.06 * least);
		}
	}
	assert_true(above > 0 && above < WORLDS * 60 / 2);
}

static void test_no_row_is_below_the_demand(void **state)
{
	uint64_t seed = SEED + 4;

	(void)state;
	for (uint32_t i = 0; i < WORLDS; i++) {
		_cleanup_(governor_freep) struct governor *g = NULL;
		static struct governor_decision d;
		const struct response_table *t = &world.models[0].table;

		world_new(&world, &seed, 1, false);
		g = governor_of(&world.config);
		for (uint32_t k = 1; k <= 100; k++) {
			const struct governor_model_decision *m = &d.models[0];

			sane_input(&seed, &world, k * world.config.poll_ns,
				   world_between(&seed, 0, 1.5), &input);
			if (k % 17 == 0)
				input.models[0].state = GOVERNOR_INPUT_MISSING;
			if (k % 23 == 0)
				input.models[0].whole_interval = false;
			governor_step(g, &input, &d);
			assert_int_equal(d.action, GOVERNOR_SET);
			assert_true(m->row == UINT32_MAX ||
				    t->rows[m->row].rate_rps >= m->demand_rps);
			/* A doubt is never little load. */
			if (input.models[0].state == GOVERNOR_INPUT_MISSING ||
			    !input.models[0].whole_interval)
				assert_true(m->demand_rps >= t->rated_rps);
			else
				assert_true(m->demand_rps >= 0.5 * m->rate_rps ||
					    m->demand_rps >= t->rated_rps);
		}
	}
}

/* Capacity of what is decided, alone on the card. */
static double capacity_rps(const struct governor_decision *d)
{
	const struct world_model *m = &world.models[0];
	struct cu_shape shape = d->models[0].shape;

	if (cu_shape_cus(shape) == 0)
		shape = world.shapes[world.n_shapes - 1];
	for (uint32_t i = 0; i < m->menu.n_options; i++)
		if (m->menu.clocks[m->options[i].clock].max_mhz == d->max_mhz &&
		    cu_shape_equal(m->options[i].shape, shape))
			return m->options[i].capacity_rps;
	fail_msg("%u MHz on %u x %u CUs is not in the menu", d->max_mhz, shape.n_se,
		 shape.cus_per_se);
	return 0;
}

/* The same demand twice as often, and whatever else is above it. */
static void test_more_demand_never_plans_less(void **state)
{
	uint64_t seed = SEED + 5;

	(void)state;
	for (uint32_t i = 0; i < WORLDS / 4; i++) {
		uint32_t row = 0;
		double demand_rps = 0;

		world_new(&world, &seed, 1, false);
		for (uint32_t step = 0; step <= 24; step++) {
			_cleanup_(governor_freep) struct governor *g = governor_of(&world.config);
			static struct governor_decision d;
			uint64_t n =
				(uint64_t)(world.models[0].table.overload_rps * 0.5 * step / 20);

			for (uint32_t k = 1; k <= 240; k++) {
				sane_input(&seed, &world, k * world.config.poll_ns, 0, &input);
				input.models[0].arrivals = input.models[0].completions = n;
				governor_step(g, &input, &d);
			}
			assert_true(d.models[0].demand_rps >= demand_rps);
			assert_true(d.models[0].row >= row);
			assert_true(capacity_rps(&d) * TABLE_MAX_UTILISATION * 1.0001 >=
				    MIN(2.0 * (double)n, world.models[0].table.overload_rps));
			demand_rps = d.models[0].demand_rps;
			row = d.models[0].row;
		}
		assert_int_equal(row, UINT32_MAX);
	}
}

/* ---- memory ---- */

static void test_a_reload_changes_no_decision(void **state)
{
	uint64_t seed = SEED + 6;

	(void)state;
	for (uint32_t i = 0; i < WORLDS / 2; i++) {
		_cleanup_(governor_freep) struct governor *g = NULL, *reloaded = NULL;
		static struct governor_decision d, e;
		double load = 0.5;

		world_new(&world, &seed, 1 + i % WORLD_MODELS, i % 2);
		g = governor_of(&world.config);
		reloaded = governor_of(&world.config);
		for (uint32_t k = 1; k <= 200; k++) {
			if (k % 40 == 0)
				load = world_between(&seed, 0, 1.6);
			sane_input(&seed, &world, k * world.config.poll_ns, load, &input);
			input.flags = k % 90 < 8 ? GOVERNOR_CARD_THROTTLED : 0;
			if (k % 50 > 45)
				input.models[0].oldest_age_ns = world.models[0].table.slo_ns;
			if (k % 7 == 0) {
				struct governor *next = governor_of(&world.config);

				governor_inherit(next, reloaded);
				governor_free(reloaded);
				reloaded = next;
			}
			governor_step(g, &input, &d);
			governor_step(reloaded, &input, &e);
			assert_memory_equal(&d, &e, sizeof(d));
		}
	}
}

static void test_after_a_restart_the_margin_is_wide_and_narrows(void **state)
{
	uint64_t seed = SEED + 7;

	(void)state;
	for (uint32_t i = 0; i < WORLDS / 4; i++) {
		_cleanup_(governor_freep) struct governor *g = NULL;
		static struct governor_decision d;
		double first_rps = 0, margin_rps = INFINITY, rps;
		uint64_t n;

		world_new(&world, &seed, 1, false);
		g = governor_of(&world.config);
		n = (uint64_t)(world_between(&seed, 0.2, 0.6) * world.models[0].table.rated_rps /
			       2);
		rps = 2.0 * (double)n;
		for (uint32_t k = 1; k <= 120; k++) {
			sane_input(&seed, &world, k * world.config.poll_ns, 0, &input);
			input.models[0].arrivals = n;
			input.models[0].whole_interval = k > 1;
			governor_step(g, &input, &d);
			if (k == 1)
				assert_true(d.models[0].demand_rps >=
					    world.models[0].table.rated_rps);
			if (k == 2)
				first_rps = d.models[0].demand_rps;
			if (k >= 2) {
				assert_true(d.models[0].demand_rps - rps <= margin_rps * 1.0001);
				margin_rps = d.models[0].demand_rps - rps;
			}
		}
		assert_true(margin_rps >= 0);
		assert_true(n == 0 || margin_rps < first_rps - rps);
	}
}

/* ---- constant load ---- */

struct changes {
	uint32_t n;
	uint32_t mhz;
	struct cu_shape shape;
};

static void count_change(struct changes *c, const struct governor_decision *d)
{
	const struct governor_model_decision *m = &d->models[0];

	if (c->mhz != 0 && (c->mhz != d->max_mhz || !cu_shape_equal(c->shape, m->shape)))
		c->n++;
	c->mhz = d->max_mhz;
	c->shape = m->shape;
}

/* Poisson, on a card of its own table: after a minute at most four changes in each. */
static void test_constant_load_has_no_limit_cycle(void **state)
{
	static const double loads[] = {0.05, 0.2, 0.4, 0.6, 0.8, 0.95};
	static struct bench b;
	uint64_t seed = SEED + 8;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		double rated_rps = exp(world_between(&seed, log(20), log(600)));
		struct changes c = {0};

		assert_int_equal(bench_init(&b, rated_rps, SEED + i, loads[i] * rated_rps), 0);
		for (uint32_t minute = 0; minute < 6; minute++) {
			c.n = 0;
			for (uint32_t k = 0; k < 120; k++) {
				bench_step(&b);
				count_change(&c, &b.decision);
			}
			if (minute > 0 && c.n > 4)
				fail_msg("load %g of %.0f/s: %u changes in minute %u", loads[i],
					 rated_rps, c.n, minute);
		}
		governor_free(b.governor);
	}
}

/* The last configurations of the row, without the boosts on top of it, and when they came. */
struct rows {
	uint32_t n, recent[120]; /* changes in each of the last polls */
	uint32_t k;
	struct table_row row, before; /* the present one, and the one before it */
	uint32_t returns;	      /* to the one before, one after the other */
};

static bool same_configuration(const struct table_row *a, const struct table_row *b)
{
	return a->max_mhz == b->max_mhz && cu_shape_equal(a->shape, b->shape) &&
	       a->batch == b->batch;
}

static void add_poll(struct rows *r, const struct table_row *now)
{
	uint32_t *slot = &r->recent[r->k++ % ARRAY_SIZE(r->recent)];
	bool changed = r->row.max_mhz > 0 && !same_configuration(now, &r->row);

	r->n += changed;
	r->n -= *slot;
	*slot = changed;
	if (!changed && r->row.max_mhz > 0)
		return;
	r->returns = same_configuration(now, &r->before) ? r->returns + 1 : 0;
	r->before = r->row;
	r->row = *now;
}

#define CYCLE_RUNS    240
#define CYCLE_POLLS   600
#define CYCLE_RETURNS 6

/* Any table, and requests that come in clumps at a constant rate: an estimate that strays, service
 * times that do, and a card that is not as its profile. The queue is another matter. */
static void cycle_run(uint64_t *seed, uint32_t run)
{
	static const uint32_t clumps[] = {1, 1, 2, 4, 8, 16};
	uint32_t clump = clumps[run % ARRAY_SIZE(clumps)];
	_cleanup_(governor_freep) struct governor *g = NULL;
	static struct governor_decision d;
	const struct response_table *t = &world.models[0].table;
	struct rows rows = {0};
	double mean, slowness;

	world_new(&world, seed, 1, false);
	mean = world_between(seed, 0.05, 1) * t->rated_rps / 2 / clump;
	slowness = world_between(seed, 0.9, 1.15);
	g = governor_of(&world.config);
	d.models[0].row = UINT32_MAX;
	for (uint32_t k = 1; k <= CYCLE_POLLS; k++) {
		const struct table_row *row =
			d.models[0].row < t->n_rows ? &t->rows[d.models[0].row] : &t->baseline;
		struct governor_model_input *in = &input.models[0];

		sane_input(seed, &world, k * world.config.poll_ns, 0, &input);
		in->whole_interval = k > 1;
		for (double s = -log(bench_uniform(seed)); s < mean; s -= log(bench_uniform(seed)))
			in->arrivals += clump;
		in->starts = in->completions = in->executions = in->arrivals;
		in->busy_ns = (uint64_t)((double)in->executions * row->service_ns * slowness *
					 world_between(seed, 0.97, 1.03));
		governor_step(g, &input, &d);
		if (k > CYCLE_POLLS / 5)
			add_poll(&rows, &(struct table_row){.max_mhz = d.max_mhz,
							    .shape = d.models[0].shape,
							    .batch = d.models[0].max_batch});
		if (rows.n > 4 || rows.returns > CYCLE_RETURNS)
			fail_msg("run %u, %.0f/s in clumps of %u: poll %u: %u changes in a minute, "
				 "%u times to and fro",
				 run, 2 * mean * clump, clump, k, rows.n, rows.returns);
	}
}

static void test_no_table_makes_a_constant_load_cycle(void **state)
{
	uint64_t seed = SEED + 9;

	(void)state;
	for (uint32_t i = 0; i < CYCLE_RUNS; i++)
		cycle_run(&seed, i);
}

/* With its queue: the rows stay, whatever boosts the clumps take. */
static void test_clumps_are_boosted_and_no_reason_to_change_rows(void **state)
{
	static const uint32_t clumps[] = {2, 4, 8, 16};
	static struct bench b;
	uint64_t seed = SEED + 10;

	(void)state;
	for (uint32_t i = 0; i < 48; i++) {
		double rated_rps = exp(world_between(&seed, log(20), log(600)));
		double load = world_between(&seed, 0.1, 0.7);
		struct rows rows = {0};

		assert_int_equal(bench_init(&b, rated_rps, SEED + i, load * rated_rps), 0);
		b.queue.clump = clumps[i % ARRAY_SIZE(clumps)];
		bench_queue_rate(&b.queue, load * rated_rps);
		for (uint32_t k = 0; k < 480; k++) {
			uint32_t row;

			bench_step(&b);
			row = b.governor->models[0].pacer.row;
			if (k >= 120)
				add_poll(&rows, row < b.table.n_rows ? &b.table.rows[row]
								     : &b.table.baseline);
			if (rows.n > 4)
				fail_msg("load %g of %.0f/s by %u: %u changes of the row in a "
					 "minute",
					 load, rated_rps, b.queue.clump, rows.n);
		}
		governor_free(b.governor);
	}
}

static int begin(void **state)
{
	(void)state;
	print_message("seed %lu\n", SEED);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whatever_it_is_told_decisions_are_valid),
		cmocka_unit_test(test_so_they_are_under_every_policy),
		cmocka_unit_test(test_hostile_input_is_not_remembered_for_long),
		cmocka_unit_test(test_no_plan_is_above_the_cap),
		cmocka_unit_test(test_no_row_is_below_the_demand),
		cmocka_unit_test(test_more_demand_never_plans_less),
		cmocka_unit_test(test_a_reload_changes_no_decision),
		cmocka_unit_test(test_after_a_restart_the_margin_is_wide_and_narrows),
		cmocka_unit_test(test_constant_load_has_no_limit_cycle),
		cmocka_unit_test(test_no_table_makes_a_constant_load_cycle),
		cmocka_unit_test(test_clumps_are_boosted_and_no_reason_to_change_rows),
	};

	return cmocka_run_group_tests(tests, begin, NULL);
}
