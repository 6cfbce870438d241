/* SPDX-License-Identifier: Apache-2.0 */
/* What a governor is told in a simulation and how its decisions reach card and worker. Each call of
 * governor_step() is kept, and can be answered by the test. */
#include "governor-bench.h"
#include "simulation-fixture.h"
#include <pthread.h>

#define TOP 8

#define MAX_STEPS 4096

typedef void (*script_fn)(uint32_t step, struct governor_decision *d);

static struct {
	script_fn script; /* NULL: the governor itself */
	uint32_t n;
	struct step {
		uint64_t now_ns, interval_ns, power_uw, power_max_uw, cap_uw;
		struct governor_model_input in;
		uint32_t applied_max_mhz, max_mhz, row;
		bool early;
	} steps[MAX_STEPS];
} seen;

void __real_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);
void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);

static void keep(const struct governor_input *input, const struct governor_decision *d)
{
	assert_true(seen.n < MAX_STEPS);
	seen.steps[seen.n++] = (struct step){
		.now_ns = input->now_ns,
		.interval_ns = input->interval_ns,
		.power_uw = input->power_uw,
		.power_max_uw = input->power_max_uw,
		.cap_uw = input->power_cap_uw,
		.in = input->models[0],
		.applied_max_mhz = input->applied_max_mhz,
		.max_mhz = d->max_mhz,
		.row = d->models[0].row,
		.early = input->early,
	};
}

static bool keeping;

void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret)
{
	__real_governor_step(g, input, ret);
	if (!keeping)
		return;
	if (seen.script) {
		ret->action = GOVERNOR_SET;
		ret->max_mhz = fixture.truth.device.level_mhz[TOP];
		ret->power_cap_uw = 0;
		ret->models[0].shape = (struct cu_shape){0, 0};
		ret->models[0].max_batch = 1;
		ret->models[0].max_wait_ns = 0;
		ret->models[0].boost_wait_ns = ret->again_ns = UINT64_MAX;
		seen.script(seen.n, ret);
	}
	keep(input, ret);
}

/* ---- the set-up ---- */

static struct governor_config config;

static int load(void **state)
{
	(void)state;
	return fixture_load_model(COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini");
}

static int begin(void **state)
{
	fixture_begin(state);
	fixture_steady_clock();
	memset(&seen, 0, sizeof(seen));
	keeping = true;
	return 0;
}

static void govern(const char *policy, const struct response_table *table)
{
	const struct plant_device *d = &fixture.truth.device;

	memset(&config, 0, sizeof(config));
	config.poll_ns = fixture.options.poll_ns;
	config.n_levels = d->n_levels;
	memcpy(config.level_mhz, d->level_mhz, d->n_levels * sizeof(d->level_mhz[0]));
	config.topology = d->topology;
	config.n_models = 1;
	(void)snprintf(config.models[0].name, sizeof(config.models[0].name), "model");
	config.models[0].table = table;
	config.models[0].policy = policy;
	config.models[0].max_batch = 16;
	config.models[0].priority = 100;
	config.models[0].use_mask = true;
	fixture.options.governor = &config;
}

/* Script's decisions, over this many batches. */
static void follow(script_fn script, uint32_t max_batch)
{
	seen.script = script;
	fixture_make_costs(max_batch);
	govern("maximum", NULL);
}

static double service_ns(uint32_t level, struct cu_shape shape)
{
	return fixture_service_ns(level, (uint32_t)costs_shape_index(fixture.costs, shape), 1);
}

static const struct cu_shape full = {0, 0}, half = {2, 15};

/* ---- what it is told ---- */

/* The earliest step by which more had arrived than has ended now. */
static uint64_t oldest_age_ns(uint32_t step, uint64_t ended)
{
	uint64_t arrived = 0;

	for (uint32_t i = step >= 64 ? step - 64 : 0, k = 0; k < step; k++) {
		arrived += seen.steps[k].in.arrivals;
		if (k >= i && arrived > ended)
			return seen.steps[step].now_ns - seen.steps[k].now_ns;
	}
	return 0;
}

static void check_inputs(void)
{
	uint64_t arrived = 0, started = 0, ended = 0, late = 0;

	for (uint32_t i = 0; i < seen.n; i++) {
		const struct governor_model_input *in = &seen.steps[i].in;
		uint64_t now_ns = seen.steps[i].now_ns, arrivals = 0, ends = 0, lates = 0;

		for (uint32_t k = 0; k < fixture.result.n; k++) {
			uint64_t arrival_ns = fixture.options.arrival_ns[k];
			bool done = fixture.result.latency_ns[k] != REQUEST_UNFINISHED &&
				    arrival_ns + fixture.result.latency_ns[k] <= now_ns;

			arrivals += arrival_ns <= now_ns;
			ends += done;
			lates += done && fixture.result.latency_ns[k] > fixture.options.slo_ns;
		}
		arrived += in->arrivals;
		started += in->starts;
		ended += in->completions;
		late += in->late;
		assert_int_equal(arrived, arrivals);
		assert_int_equal(ended, ends);
		assert_int_equal(late, lates);
		assert_true(started >= ended && started <= ended + 1);
		assert_int_equal(in->in_flight, arrived - ended);
		assert_int_equal(in->oldest_age_ns, oldest_age_ns(i, ended));
		assert_int_equal(in->state, GOVERNOR_INPUT_OK);
		assert_int_equal(in->workers, 1);
		assert_int_equal(in->failures, 0);
		assert_int_equal(in->whole_interval, i > 0);
		assert_true(in->mask_follows && in->batch_follows);
	}
}

static void test_a_governor_is_told_what_happened_in_each_interval(void **state)
{
	uint64_t busy_ns = 0, executions = 0, sojourn_ns = 0, sum_ns = 0;

	(void)state;
	fixture.truth.jitter_sigma = 0.05;
	fixture_make_costs(1);
	govern("maximum", NULL);
	fixture.options.duration_ns = 20 * SEC;
	fixture.options.slo_ns = (uint64_t)(3 * service_ns(TOP, full));
	/* A queue that comes and goes. */
	fixture_poisson(0.97e9 / service_ns(TOP, full));
	fixture_run(25 * SEC);
	assert_int_equal(seen.n, 50);
	check_inputs();
	for (uint32_t i = 0; i < seen.n; i++) {
		const struct step *s = &seen.steps[i];

		assert_int_equal(s->now_ns, (i + 1) * 500 * MS);
		assert_int_equal(s->interval_ns, 500 * MS);
		busy_ns += s->in.busy_ns;
		executions += s->in.executions;
		sojourn_ns += s->in.sojourn_ns;
		/* As read after the step before. */
		assert_int_equal(s->power_uw == 0, i == 0);
		assert_int_equal(s->power_max_uw >= s->power_uw, 1);
		assert_int_equal(s->applied_max_mhz, i == 0 ? 0 : 1725);
		assert_int_equal(s->cap_uw, i == 0 ? 0 : 1000 * UW_PER_W);
		assert_int_equal(s->in.sojourn_p95_ns > 0, i > 0 && s->in.completions > 0);
	}
	for (uint32_t i = 0; i < fixture.result.n; i++)
		if (fixture.options.arrival_ns[i] + fixture.result.latency_ns[i] > 500 * MS)
			sum_ns += fixture.result.latency_ns[i];
	assert_int_equal(sojourn_ns, sum_ns);
	assert_int_equal(executions, fixture.result.n);
	assert_close("busy", (double)busy_ns * 1e-9, fixture.result.busy_s, 1e-6);
}

static void test_service_alone_is_late_and_kept_where_latency_is_service(void **state)
{
	(void)state;
	fixture_make_costs(1);
	govern("maximum", NULL);
	fixture.options.latency = LATENCY_SERVICE;
	fixture.options.slo_ns = (uint64_t)service_ns(TOP, full) + 2;
	fixture_poisson(0.9e9 / service_ns(TOP, full));
	fixture_run(0);
	for (uint32_t i = 0; i < fixture.result.n; i++)
		assert_close("service", (double)fixture.result.latency_ns[i], service_ns(TOP, full),
			     1);
	for (uint32_t i = 0; i < seen.n; i++) {
		assert_int_equal(seen.steps[i].in.late, 0);
		/* The worker's own measure stays what it is. */
		assert_true(i == 0 || seen.steps[i].in.sojourn_ns > seen.steps[i].in.busy_ns);
	}
}

/* ---- how decisions arrive ---- */

static void to_the_lowest_clock(uint32_t step, struct governor_decision *d)
{
	(void)step;
	d->max_mhz = 925;
}

static void test_a_clock_acts_after_the_switch_time_in_mid_service(void **state)
{
	static const uint64_t arrivals[] = {504 * MS, 700 * MS};

	(void)state;
	fixture.truth.device.switch_ms = 5;
	follow(to_the_lowest_clock, 1);
	fixture.options.duration_ns = 1 * SEC;
	fixture_arrivals(arrivals, 2);
	fixture_run(0);
	assert_close("across", (double)fixture.result.latency_ns[0],
		     1e6 + (1 - 1e6 / service_ns(TOP, full)) * service_ns(0, full), 1);
	assert_close("after", (double)fixture.result.latency_ns[1], service_ns(0, full), 1);
	assert_close("clock", fixture.result.mean_sclk_mhz, 0.505 * 1725 + 0.495 * 925, 1e-6);
	assert_int_equal(fixture.result.changes, 1);
}

static void narrow(uint32_t step, struct governor_decision *d)
{
	d->models[0].shape = step == 0 ? half : full;
	if (step > 0)
		d->max_mhz = 925;
}

static void test_masks_change_when_acknowledged_and_stall_what_runs(void **state)
{
	static const uint64_t arrivals[] = {500200000, 700 * MS, 1000200000};
	double across_ns, wide_ns, rest;

	(void)state;
	fixture.truth.device.switch_ms = 0.5;
	follow(narrow, 1);
	fixture.options.duration_ns = 1500 * MS;
	fixture_arrivals(arrivals, 3);
	fixture_run(0);
	/* 1.2 ms after the step; then the queues change. */
	across_ns = 1e6 + 55e3 + (1 - 1e6 / service_ns(TOP, full)) * service_ns(TOP, half);
	assert_close("narrowed", (double)fixture.result.latency_ns[0], across_ns, 1);
	assert_close("narrow", (double)fixture.result.latency_ns[1], service_ns(TOP, half), 1);
	/* Wide again, and the clock goes down only after the acknowledgement: at 1000 + 1.2 + 0.5
	 * ms. */
	wide_ns = 0.5e6 - 55e3;
	rest = 1 - 1e6 / service_ns(TOP, half) - wide_ns / service_ns(TOP, full);
	assert_close("widened", (double)fixture.result.latency_ns[2],
		     1.5e6 + rest * service_ns(0, full), 2);
	assert_close("CUs", fixture.result.mean_cus * 1.5, 0.5012 * 60 + 0.5 * 30 + 0.4988 * 60,
		     1e-9);
	assert_int_equal(fixture.result.changes, 2);
	for (uint32_t i = 1; i < seen.n; i++)
		assert_true(seen.steps[i].in.acknowledged);
}

static void in_batches(uint32_t step, struct governor_decision *d)
{
	(void)step;
	d->models[0].max_batch = 4;
	d->models[0].max_wait_ns = 10 * MS;
}

static void test_batches_are_those_of_the_directive(void **state)
{
	/* Before it, on the way, three that wait, four that need not, and the last. */
	static const uint64_t arrivals[] = {
		100 * MS, 501 * MS, 600 * MS, 601 * MS, 602 * MS,
		700 * MS, 701 * MS, 702 * MS, 703 * MS, 800 * MS,
	};
	const uint64_t *l;
	uint32_t full_shape;

	(void)state;
	follow(in_batches, 4);
	fixture.options.duration_ns = 1 * SEC;
	fixture_arrivals(arrivals, ARRAY_SIZE(arrivals));
	fixture_run(0);
	l = fixture.result.latency_ns;
	full_shape = fixture_full_shape();
	assert_close("alone", (double)l[0], fixture_service_ns(TOP, full_shape, 1), 1);
	assert_close("on the way", (double)l[1], fixture_service_ns(TOP, full_shape, 1), 1);
	assert_close("first of three", (double)l[2], 10e6 + fixture_service_ns(TOP, full_shape, 3),
		     1);
	assert_int_equal(l[2] - l[4], 2 * MS);
	assert_close("first of four", (double)l[5], 3e6 + fixture_service_ns(TOP, full_shape, 4),
		     1);
	assert_close("the last does not wait", (double)l[9], fixture_service_ns(TOP, full_shape, 1),
		     1);
	assert_close("batch", fixture.result.mean_batch, 10.0 / 5, 1e-9);
}

static void test_a_saturated_worker_takes_batches_of_the_directive(void **state)
{
	uint64_t completions = 0;

	(void)state;
	follow(in_batches, 4);
	fixture.options.saturated = true;
	fixture.options.warm_up_ns = 1 * SEC;
	fixture_run(0);
	assert_close("batch", fixture.result.mean_batch, 4, 0);
	assert_close("busy", fixture.result.busy_s, fixture.result.length_s, 1e-6);
	for (uint32_t i = 2; i < seen.n; i++) {
		const struct governor_model_input *in = &seen.steps[i].in;

		completions += in->completions;
		assert_int_equal(in->arrivals, in->starts);
		assert_int_equal(in->starts, 4 * in->executions);
		assert_int_equal(in->in_flight, 4);
		assert_int_equal(in->oldest_age_ns, 0);
		assert_close("mean latency", (double)in->sojourn_ns / (double)in->completions,
			     fixture_service_ns(TOP, fixture_full_shape(), 4), 1);
	}
	/* The last batch may end after the last step. */
	assert_close("completed", (double)fixture.result.completed, (double)completions, 4);
}

static void back_to_the_driver(uint32_t step, struct governor_decision *d)
{
	d->models[0].shape = half;
	d->models[0].max_batch = 4;
	d->max_mhz = 925;
	if (step > 0)
		d->action = GOVERNOR_RELEASE;
}

static void test_a_release_gives_the_card_back(void **state)
{
	static const uint64_t arrivals[] = {700 * MS, 1200 * MS, 1200 * MS};

	(void)state;
	fixture.truth.device.switch_ms = 1;
	follow(back_to_the_driver, 4);
	fixture.options.duration_ns = 2 * SEC;
	fixture_arrivals(arrivals, 3);
	fixture_run(0);
	assert_close("governed", (double)fixture.result.latency_ns[0], service_ns(0, half), 1);
	assert_close("given back", (double)fixture.result.latency_ns[1], service_ns(TOP, full), 1);
	assert_close("its own batch", (double)fixture.result.latency_ns[2],
		     2 * service_ns(TOP, full), 2);
	assert_int_equal(seen.steps[1].applied_max_mhz, 925);
	assert_int_equal(seen.steps[2].applied_max_mhz, 0);
}

static void with_boosts(uint32_t step, struct governor_decision *d)
{
	(void)step;
	d->models[0].boost_wait_ns = 1 * MS;
}

static void expect_steps(const uint64_t *at_ns, uint32_t n)
{
	assert_true(seen.n >= n);
	for (uint32_t i = 0; i < n; i++)
		assert_close("step", (double)seen.steps[i].now_ns, (double)at_ns[i], 2);
}

static void test_who_waits_too_long_brings_a_step_between_two_polls(void **state)
{
	uint64_t arrivals[20], expected_ns[6];
	static const bool early[] = {false, true, true, false, false, false};

	(void)state;
	follow(with_boosts, 1);
	/* Ten at 700 ms: the second has waited for one service when it starts. Ten more in the
	 * 100 ms for which the daemon does not look again. */
	for (uint32_t i = 0; i < 20; i++)
		arrivals[i] = i < 10 ? 700 * MS : 740 * MS;
	fixture.options.duration_ns = 3 * SEC;
	fixture_arrivals(arrivals, 20);
	fixture_run(0);
	expected_ns[0] = 500 * MS;
	expected_ns[1] = 700 * MS + (uint64_t)service_ns(TOP, full);
	expected_ns[2] = expected_ns[1] + 100 * MS;
	/* The polls go on as ever. */
	for (uint32_t i = 3; i < 6; i++)
		expected_ns[i] = (i - 1) * 500 * MS;
	expect_steps(expected_ns, 6);
	for (uint32_t i = 0; i < 6; i++) {
		assert_int_equal(seen.steps[i].early, early[i]);
		assert_int_equal(seen.steps[i].in.woken, early[i]);
	}
	assert_close("interval", (double)seen.steps[1].interval_ns,
		     (double)(expected_ns[1] - 500 * MS), 2);
	assert_int_equal(seen.steps[1].in.arrivals, 10);
	assert_int_equal(seen.steps[1].in.waiting, 8);
	assert_int_equal(seen.steps[2].in.arrivals, 10);
}

static void again_in_20_ms(uint32_t step, struct governor_decision *d)
{
	d->again_ns = step < 3 ? d->now_ns + 20 * MS : UINT64_MAX;
}

static void test_a_decision_may_ask_for_another_look(void **state)
{
	static const uint64_t expected_ns[] = {500 * MS, 520 * MS, 540 * MS, 560 * MS, 1000 * MS};

	(void)state;
	follow(again_in_20_ms, 1);
	fixture.options.duration_ns = 2 * SEC;
	fixture_arrivals(NULL, 0);
	fixture_run(0);
	expect_steps(expected_ns, ARRAY_SIZE(expected_ns));
	for (uint32_t i = 0; i < ARRAY_SIZE(expected_ns); i++)
		assert_int_equal(seen.steps[i].early, i > 0 && i < 4);
	/* The configuration is no other, and the interval's figures are those of the whole. */
	assert_int_equal(seen.steps[1].interval_ns, 20 * MS);
}

/* ---- the same decisions ---- */

/* The bench's levels, so that its table is one of this card. */
static void use_bench_levels(void)
{
	struct plant_device *d = &fixture.truth.device;

	for (uint32_t i = 0; i < BENCH_LEVELS; i++) {
		d->level_mv[i] = plant_voltage_mv(fixture.shipped, MAX(bench_level_mhz[i], 925u));
		d->level_mhz[i] = bench_level_mhz[i];
		if (i > 0)
			d->level_mv[i] = fmax(d->level_mv[i], d->level_mv[i - 1]);
	}
}

/* The bench's run first, with rates that change; its arrivals are then the simulation's. */
static uint32_t run_bench(struct bench *b, struct step *steps, uint32_t n_steps)
{
	static const double loads[] = {0.2, 0.5, 0.1, 0.6, 0};
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_steps; i++) {
		uint64_t before = b->queue.tail;

		if (i % 40 == 0)
			bench_queue_rate(&b->queue,
					 loads[i / 40 % ARRAY_SIZE(loads)] * b->table.rated_rps);
		bench_queue_run(&b->queue, 500e6, &b->input.models[0]);
		for (; before < b->queue.tail; before++)
			fixture.arrivals[n++] = (uint64_t)b->queue.arrived_ns[before % BENCH_QUEUE];
		b->input.models[0].whole_interval = i > 0;
		b->input.now_ns += 500 * MS;
		b->input.interval_ns = 500 * MS;
		governor_step(b->governor, &b->input, &b->decision);
		b->queue.mhz = b->decision.max_mhz;
		steps[i] = (struct step){.max_mhz = b->decision.max_mhz,
					 .row = b->decision.models[0].row};
	}
	return n;
}

static void test_decisions_are_those_of_the_governor_s_own_bench(void **state)
{
	static const char *const policies[] = {"coordinated", "frequency", "cofris"};
	static struct step expected[400];
	struct bench *b = malloc(sizeof(*b));

	assert_non_null(b);
	for (size_t p = 0; p < ARRAY_SIZE(policies); p++) {
		uint32_t changes = 0, n;
		double rated_rps;

		begin(state);
		keeping = false;
		use_bench_levels();
		fixture_make_costs(1);
		rated_rps = 0.7e9 / service_ns(TOP, full);
		assert_int_equal(bench_init(b, rated_rps, FIXTURE_SEED, 0), 0);
		/* Neither danger nor boosts, whose moments depend on more than arrivals. */
		b->table.slo_ns *= 4;
		governor_free(b->governor);
		b->config.models[0].policy = policies[p];
		assert_int_equal(governor_new(&b->config, &b->governor), 0);
		fixture.arrivals = calloc((size_t)(rated_rps * 400), sizeof(*fixture.arrivals));
		n = run_bench(b, expected, 400);
		governor_free(b->governor);

		keeping = true;
		govern(policies[p], &b->table);
		fixture.options.slo_ns = b->table.slo_ns;
		fixture.options.duration_ns = 200 * SEC;
		fixture_arrivals(fixture.arrivals, n);
		fixture_run(0);
		assert_int_equal(seen.n, 400);
		for (uint32_t i = 0; i < 400; i++) {
			assert_int_equal(seen.steps[i].max_mhz, expected[i].max_mhz);
			assert_int_equal(seen.steps[i].row, expected[i].row);
			changes += i > 0 && expected[i].max_mhz != expected[i - 1].max_mhz;
		}
		assert_true(changes > 3);
		fixture_end(state);
	}
	free(b);
}

/* ---- any decisions ---- */

static uint64_t drawn;

static double draw(double low, double high)
{
	return low + (high - low) * plant_uniform(FIXTURE_SEED, 5000000 + drawn++);
}

static void anything(uint32_t step, struct governor_decision *d)
{
	const struct plant_device *device = &fixture.truth.device;
	struct cu_shape shapes[64];
	int n = cu_shapes(&device->topology, shapes, 64);

	(void)step;
	if (draw(0, 1) < 0.1)
		d->action = GOVERNOR_RELEASE;
	d->max_mhz = device->level_mhz[(int)draw(0, 8.999)];
	d->models[0].shape = shapes[(int)draw(n / 3.0, n - 0.001)];
	d->models[0].max_batch = (uint32_t)draw(1, 8.999);
	d->models[0].max_wait_ns = draw(0, 1) < 0.5 ? 0 : (uint64_t)draw(0, 20e6);
	if (draw(0, 1) < 0.5)
		d->models[0].boost_wait_ns = (uint64_t)draw(0, 20e6);
}

static void check_conservation(void)
{
	double energy_j = 0, shortest_ns = service_ns(TOP, full) * 0.7;
	uint32_t completed = 0;

	for (uint32_t i = 0; i < fixture.result.n; i++) {
		if (fixture.result.latency_ns[i] == REQUEST_UNFINISHED)
			continue;
		completed++;
		assert_true((double)fixture.result.latency_ns[i] > shortest_ns);
	}
	assert_int_equal(completed, fixture.result.completed);
	assert_true(fixture.result.busy_s <= fixture.result.length_s + 1e-6);
	assert_true(fixture.result.mean_sclk_mhz >= 925 &&
		    fixture.result.mean_sclk_mhz <= 1725 + 1e-6);
	assert_true(fixture.result.mean_cus >= 1 && fixture.result.mean_cus <= 60 + 1e-9);
	assert_true(fixture.result.mean_batch >= 1 && fixture.result.mean_batch <= 8);
	assert_true(fixture.result.idle_energy_j < fixture.result.energy_j);
	for (uint32_t i = 0; i < fixture.result.n_ticks; i++) {
		const struct tick *t = &fixture.result.ticks[i];
		double next_s = i + 1 < fixture.result.n_ticks ? fixture.result.ticks[i + 1].t_s
							       : fixture.result.length_s;

		assert_true(next_s > (double)t->t_s);
		energy_j += t->power_w * (next_s - t->t_s);
	}
	assert_close("energy", energy_j / fixture.result.energy_j, 1, 1e-5);
}

static void test_nothing_is_lost_whatever_is_decided(void **state)
{
	for (uint32_t run = 0; run < 30; run++) {
		begin(state);
		fixture.truth.device.dpm_idle_level = run % 2;
		fixture.truth.device.switch_ms = draw(0, 200);
		fixture.truth.jitter_sigma = 0.05;
		fixture.options.workers = 1 + run % 3;
		fixture.options.trace_ticks = true;
		fixture.options.directive_ms = draw(0, 1) < 0.8 ? draw(0, 5) : draw(50, 700);
		follow(anything, 8);
		fixture_poisson(draw(0.05, 0.8) * 1e9 / service_ns(TOP, full));
		fixture.options.drain_limit_ns = run % 4 ? 60 * SEC : SEC;
		fixture_run(0);
		check_conservation();
		fixture_end(state);
	}
}

/* ---- threads ---- */

static void *run_alone(void *userdata)
{
	struct simulation_result *ret = userdata;
	struct simulation *s = NULL;

	if (simulation_new(&fixture.options, &s) == 0) {
		uint64_t end_ns = simulation_run(s);

		(void)simulation_finish(s, end_ns + SEC, ret);
	}
	simulation_free(s);
	return NULL;
}

static void test_two_runs_at_the_same_time_give_the_same_bytes(void **state)
{
	struct simulation_result results[2] = {0};
	static struct response_table table;
	pthread_t threads[2];

	(void)state;
	keeping = false;
	use_bench_levels();
	fixture.truth.jitter_sigma = 0.05;
	fixture.truth.device.dpm_idle_level = 1;
	fixture_make_costs(1);
	bench_table(&table, 0.7e9 / service_ns(TOP, full));
	govern("cofris", &table);
	fixture.options.trace_ticks = true;
	fixture.options.duration_ns = 60 * SEC;
	fixture_poisson(0.5 * table.rated_rps);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_alone, &results[i]), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(results[0].n, fixture.options.n_arrivals);
	assert_true(results[0].n_ticks > 100);
	assert_memory_equal(results[0].latency_ns, results[1].latency_ns,
			    results[0].n * sizeof(uint64_t));
	assert_memory_equal(&results[0].energy_j, &results[1].energy_j, sizeof(double));
	assert_memory_equal(&results[0].mean_sclk_mhz, &results[1].mean_sclk_mhz, sizeof(double));
	assert_int_equal(results[0].changes, results[1].changes);
	assert_int_equal(results[0].n_ticks, results[1].n_ticks);
	for (uint32_t i = 0; i < results[0].n_ticks; i++) {
		assert_true(results[0].ticks[i].power_w == results[1].ticks[i].power_w);
		assert_true(results[0].ticks[i].p95_ms == results[1].ticks[i].p95_ms);
	}
	simulation_result_done(&results[0]);
	simulation_result_done(&results[1]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, fixture_end)
	const struct CMUnitTest tests[] = {
		TEST(test_a_governor_is_told_what_happened_in_each_interval),
		TEST(test_service_alone_is_late_and_kept_where_latency_is_service),
		TEST(test_a_clock_acts_after_the_switch_time_in_mid_service),
		TEST(test_masks_change_when_acknowledged_and_stall_what_runs),
		TEST(test_batches_are_those_of_the_directive),
		TEST(test_a_saturated_worker_takes_batches_of_the_directive),
		TEST(test_a_release_gives_the_card_back),
		TEST(test_who_waits_too_long_brings_a_step_between_two_polls),
		TEST(test_a_decision_may_ask_for_another_look),
		cmocka_unit_test(test_decisions_are_those_of_the_governor_s_own_bench),
		cmocka_unit_test(test_nothing_is_lost_whatever_is_decided),
		TEST(test_two_runs_at_the_same_time_give_the_same_bytes),
	};

	return cmocka_run_group_tests(tests, load, fixture_unload);
}
