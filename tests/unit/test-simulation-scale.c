/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon whose time runs ten times faster than the card's: whatever it is told and orders is that
 * of the same run without, in its own time. */
#include "governor-bench.h"
#include "simulation-fixture.h"
#include <errno.h>

#define TOP	  8
#define SCALE	  10
#define MAX_STEPS 1024

static struct {
	bool scripted;
	uint64_t boost_wait_ns, max_wait_ns;
	uint32_t max_batch;
	uint32_t n;
	struct step {
		uint64_t now_ns, interval_ns;
		struct governor_model_input in;
		struct governor_decision decision;
	} steps[MAX_STEPS];
} seen;

void __real_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);
void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);

void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret)
{
	struct step *s = &seen.steps[seen.n];

	__real_governor_step(g, input, ret);
	assert_true(seen.n < MAX_STEPS);
	if (seen.scripted) {
		ret->action = GOVERNOR_SET;
		ret->max_mhz = fixture.truth.device.level_mhz[TOP];
		ret->models[0].shape = (struct cu_shape){0, 0};
		ret->models[0].max_batch = seen.max_batch;
		ret->models[0].max_wait_ns = seen.max_wait_ns;
		ret->models[0].boost_wait_ns = seen.boost_wait_ns;
	}
	*s = (struct step){
		.now_ns = input->now_ns,
		.interval_ns = input->interval_ns,
		.in = input->models[0],
		.decision = *ret,
	};
	seen.n++;
}

/* ---- the set-up ---- */

static struct governor_config config;
static struct response_table table;

static int load(void **state)
{
	(void)state;
	return fixture_load_model(COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini");
}

/* The bench's levels, so that its table is one of this card. */
static int begin(void **state)
{
	struct plant_device *d = &fixture.truth.device;

	fixture_begin(state);
	fixture_steady_clock();
	for (uint32_t i = 0; i < BENCH_LEVELS; i++) {
		d->level_mv[i] = plant_voltage_mv(fixture.shipped, MAX(bench_level_mhz[i], 925u));
		d->level_mhz[i] = bench_level_mhz[i];
		if (i > 0)
			d->level_mv[i] = fmax(d->level_mv[i], d->level_mv[i - 1]);
	}
	fixture.truth.jitter_sigma = 0.05;
	fixture_make_costs(4);
	fixture.options.poll_ns = 50 * MS;
	fixture.options.directive_ms = 0.1;
	memset(&seen, 0, sizeof(seen));
	return 0;
}

static double service_ns(void)
{
	return fixture_service_ns(TOP, fixture_full_shape(), 1);
}

/* The same table for a card that is so many times slower. */
static void stretch(struct response_table *t, double scale)
{
	t->rated_rps /= scale;
	t->overload_rps /= scale;
	t->slo_ns *= scale;
	t->t0_ns *= scale;
	for (uint32_t i = 0; i < t->n_rows; i++) {
		t->rows[i].rate_rps /= scale;
		t->rows[i].tail_ns *= scale;
		t->rows[i].tail_upper_ns *= scale;
		t->rows[i].service_ns *= scale;
	}
	t->baseline.tail_ns *= scale;
	t->baseline.tail_upper_ns *= scale;
	t->baseline.service_ns *= scale;
	t->baseline.rate_rps /= scale;
}

static void govern(const char *policy, double scale)
{
	const struct plant_device *d = &fixture.truth.device;

	seen.n = 0;
	bench_table(&table, 0.7e9 / service_ns());
	stretch(&table, scale);
	memset(&config, 0, sizeof(config));
	fixture.options.time_scale = scale;
	config.poll_ns = (uint64_t)((double)fixture.options.poll_ns * scale);
	config.n_levels = d->n_levels;
	memcpy(config.level_mhz, d->level_mhz, d->n_levels * sizeof(d->level_mhz[0]));
	config.topology = d->topology;
	config.n_models = 1;
	(void)snprintf(config.models[0].name, sizeof(config.models[0].name), "model");
	config.models[0].table = &table;
	config.models[0].policy = policy;
	config.models[0].max_batch = 4;
	config.models[0].priority = 100;
	config.models[0].use_mask = true;
	fixture.options.governor = &config;
}

/* ---- tests ---- */

static void assert_scaled(const char *what, uint64_t slow, uint64_t fast)
{
	assert_close(what, (double)slow, SCALE * (double)fast, SCALE);
}

static void test_what_is_told_is_in_the_daemon_s_time(void **state)
{
	static struct step once[MAX_STEPS];
	uint32_t n;

	(void)state;
	fixture.options.duration_ns = 5 * SEC;
	fixture.options.slo_ns = (uint64_t)(3 * service_ns());
	fixture_poisson(0.9e9 / service_ns());
	/* A policy that does the same whatever it is told. */
	govern("maximum", 1);
	fixture_run(6 * SEC);
	n = seen.n;
	memcpy(once, seen.steps, sizeof(once));
	govern("maximum", SCALE);
	fixture_run(6 * SEC);
	assert_int_equal(n, 120);
	assert_int_equal(seen.n, n);
	for (uint32_t i = 0; i < n; i++) {
		const struct step *a = &once[i], *b = &seen.steps[i];

		assert_int_equal(b->now_ns, (i + 1) * 500 * MS);
		assert_int_equal(b->interval_ns, 500 * MS);
		assert_int_equal(a->in.arrivals, b->in.arrivals);
		assert_int_equal(a->in.starts, b->in.starts);
		assert_int_equal(a->in.completions, b->in.completions);
		assert_int_equal(a->in.late, b->in.late);
		assert_int_equal(a->in.in_flight, b->in.in_flight);
		assert_scaled("age", b->in.oldest_age_ns, a->in.oldest_age_ns);
		assert_scaled("busy", b->in.busy_ns, a->in.busy_ns);
		assert_scaled("service", b->in.service_p95_ns, a->in.service_p95_ns);
		assert_scaled("sojourns", b->in.sojourn_ns, a->in.sojourn_ns);
		assert_scaled("sojourn", b->in.sojourn_p95_ns, a->in.sojourn_p95_ns);
	}
}

static void test_a_policy_of_rates_alone_does_the_same_at_any_scale(void **state)
{
	_cleanup_(freep) uint64_t *latency_ns = NULL;
	double energy_j;
	uint64_t changes;

	(void)state;
	/* What is learnt of shorter polls is learnt of several together, in the host's time. */
	fixture.options.poll_ns = 500 * MS;
	fixture.options.duration_ns = 60 * SEC;
	fixture_poisson(0.4e9 / service_ns());
	govern("coordinated", 1);
	fixture_run(61 * SEC);
	latency_ns = TAKE_PTR(fixture.result.latency_ns);
	energy_j = fixture.result.energy_j;
	changes = fixture.result.changes;
	assert_true(changes > 20);
	govern("coordinated", SCALE);
	fixture_run(61 * SEC);
	assert_memory_equal(latency_ns, fixture.result.latency_ns,
			    fixture.result.n * sizeof(*latency_ns));
	assert_true(energy_j == fixture.result.energy_j);
	assert_int_equal(changes, fixture.result.changes);
}

/* One tick after 50 ms, then what it ordered holds. */
static void follow(void)
{
	seen.scripted = true;
	govern("maximum", SCALE);
}

static void expect_steps(const uint64_t *at_ns, uint32_t n)
{
	assert_true(seen.n >= n);
	for (uint32_t i = 0; i < n; i++)
		assert_close("step", (double)seen.steps[i].now_ns, (double)at_ns[i], 2 * SCALE);
}

static void test_waits_are_ordered_in_the_daemon_s_time(void **state)
{
	static const uint64_t arrivals[] = {60 * MS, 61 * MS, 200 * MS};

	(void)state;
	fixture.truth.jitter_sigma = 0;
	seen.max_batch = 4;
	seen.max_wait_ns = 100 * MS;
	seen.boost_wait_ns = UINT64_MAX;
	follow();
	fixture.options.duration_ns = 1 * SEC;
	fixture_arrivals(arrivals, ARRAY_SIZE(arrivals));
	fixture_run(0);
	/* Ten of the card's. */
	assert_close("batch", (double)fixture.result.latency_ns[0],
		     10e6 + fixture_service_ns(TOP, fixture_full_shape(), 2), 1);
}

static void test_a_second_wake_waits_for_a_tenth_of_the_daemon_s_second(void **state)
{
	/* The second waits for one service, more than the 2 ms of the card's that it may; so do all
	 * that follow. */
	static const uint64_t arrivals[] = {53 * MS, 53 * MS, 58 * MS, 58 * MS};
	uint64_t expected_ns[4] = {500 * MS};

	(void)state;
	assert_true(service_ns() > 2.2e6 && service_ns() < 6e6);
	seen.max_batch = 1;
	seen.boost_wait_ns = 20 * MS;
	follow();
	fixture.options.duration_ns = 1 * SEC;
	fixture_arrivals(arrivals, ARRAY_SIZE(arrivals));
	fixture_run(0);
	/* The clock is on its way while the first is served. */
	expected_ns[1] = seen.steps[1].now_ns;
	assert_in_range(expected_ns[1], 530 * MS + (uint64_t)(10 * service_ns()),
			530 * MS + (uint64_t)(12 * service_ns()));
	expected_ns[2] = expected_ns[1] + 100 * MS;
	expected_ns[3] = 1000 * MS;
	expect_steps(expected_ns, ARRAY_SIZE(expected_ns));
}

static void test_a_wait_below_the_daemon_s_bound_wakes_nobody(void **state)
{
	static const uint64_t arrivals[] = {53 * MS, 53 * MS};
	static const uint64_t expected_ns[] = {500 * MS, 1000 * MS, 1500 * MS};

	(void)state;
	seen.max_batch = 1;
	seen.boost_wait_ns = 80 * MS;
	follow();
	fixture.options.duration_ns = 1 * SEC;
	fixture_arrivals(arrivals, ARRAY_SIZE(arrivals));
	fixture_run(0);
	expect_steps(expected_ns, ARRAY_SIZE(expected_ns));
}

static void test_scales_that_are_none(void **state)
{
	static const double none[] = {-1, NAN, INFINITY};
	struct simulation *s = NULL;

	(void)state;
	govern("maximum", 1);
	for (size_t i = 0; i < ARRAY_SIZE(none); i++) {
		fixture.options.time_scale = none[i];
		assert_int_equal(simulation_new(&fixture.options, &s), -EINVAL);
		assert_null(s);
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, fixture_end)
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_told_is_in_the_daemon_s_time),
		TEST(test_a_policy_of_rates_alone_does_the_same_at_any_scale),
		TEST(test_waits_are_ordered_in_the_daemon_s_time),
		TEST(test_a_second_wake_waits_for_a_tenth_of_the_daemon_s_second),
		TEST(test_a_wait_below_the_daemon_s_bound_wakes_nobody),
		TEST(test_scales_that_are_none),
	};

	return cmocka_run_group_tests(tests, load, fixture_unload);
}
