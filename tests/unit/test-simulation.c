/* SPDX-License-Identifier: Apache-2.0 */
/* The queue and the card of the simulation, in configurations given by a schedule: waits against
 * the formula, energy and service times worked out by hand. */
#include "simulation-fixture.h"
#include "worker/queue.h"
#include <errno.h>
#include <time.h>

#define TOP 8

static int load(void **state)
{
	(void)state;
	return fixture_load_model(COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini");
}

/* ---- waits ---- */

/* Pollaczek and Khinchine: the mean wait is rate * E(S^2) / (2 * (1 - utilisation)). */
static void check_mean_wait(double utilisation, double sigma, double stall_p, double stall_factor)
{
	struct configuration c;
	double mean, square, service_ns, wait_ns;

	fixture_begin(NULL);
	fixture_steady_clock();
	fixture.truth.jitter_sigma = sigma;
	fixture.truth.stall_p = stall_p;
	fixture.truth.stall_factor = stall_factor;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	mean = 1 + stall_p * (stall_factor - 1);
	square = exp(sigma * sigma) * (1 + stall_p * (stall_factor * stall_factor - 1));
	service_ns = fixture_service_ns(TOP, fixture_full_shape(), 1);
	fixture.options.duration_ns = 2000 * SEC;
	fixture_poisson(utilisation / (service_ns * mean) * 1e9);
	fixture_run(0);
	wait_ns = utilisation / mean * square * service_ns / (2 * (1 - utilisation));
	assert_close("wait", (fixture_mean_latency_ns() - service_ns * mean) / wait_ns, 1, 0.03);
	assert_close("share of busy time",
		     fixture.result.busy_s / (fixture.result.length_s * utilisation), 1, 0.01);
	fixture_end(NULL);
}

static void test_mean_waits_are_those_of_m_g_1(void **state)
{
	(void)state;
	check_mean_wait(0.3, 0, 0, 1);
	check_mean_wait(0.7, 0, 0, 1);
	check_mean_wait(0.5, 0.05, 0, 1);
	check_mean_wait(0.5, 0.3, 0.05, 4);
}

/* ---- energy and service times by hand ---- */

static void test_energy_is_the_sum_of_its_parts(void **state)
{
	static const uint64_t arrivals[] = {100 * MS, 100 * MS, 700 * MS, 1999 * MS};
	struct configuration c;
	double service_s, busy_w, idle_w, busy_s;

	(void)state;
	fixture_steady_clock();
	fixture.truth.device.leakage_w_per_k = 0;
	fixture.truth.device.idle_active_share = 0.25;
	fixture.truth.card.power_factor = 1.05;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	fixture.options.duration_ns = 2 * SEC;
	fixture_arrivals(arrivals, 4);
	fixture_run(3 * SEC);
	service_s = fixture_service_ns(TOP, c.shape, 1) * 1e-9;
	busy_w = costs_busy_w(fixture.costs, TOP, c.shape, 1);
	idle_w = costs_idle_w(fixture.costs, TOP);
	busy_s = 4 * service_s;
	/* Ends fall on whole ns. */
	assert_close("busy", fixture.result.busy_s, busy_s, 4e-9);
	assert_close("length", fixture.result.length_s, 3, 1e-12);
	assert_close("energy", fixture.result.energy_j, busy_s * busy_w + (3 - busy_s) * idle_w,
		     1e-5);
	assert_close("idle energy", fixture.result.idle_energy_j, (3 - busy_s) * idle_w, 1e-5);
	assert_int_equal(fixture.result.completed, 4);
	assert_int_equal(fixture.result.drained_ns, 1999 * MS + fixture.result.latency_ns[3]);
	assert_close("the second waits", (double)fixture.result.latency_ns[1], 2e9 * service_s, 1);
	assert_close("clock", fixture.result.mean_sclk_mhz, 1725, 1e-6);
	assert_close("CUs", fixture.result.mean_cus, 60, 1e-9);
	assert_int_equal(fixture.result.changes, 0);
}

static void test_what_comes_before_warm_up_does_not_count(void **state)
{
	static const uint64_t arrivals[] = {100 * MS, 300 * MS, 1700 * MS};
	struct configuration c;
	double busy_s;

	(void)state;
	fixture_steady_clock();
	fixture.truth.device.leakage_w_per_k = 0;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	fixture.options.duration_ns = 2 * SEC;
	fixture.options.warm_up_ns = 300 * MS + 1000;
	fixture_arrivals(arrivals, 3);
	fixture_run(0);
	busy_s = 2 * fixture_service_ns(TOP, c.shape, 1) * 1e-9 - 1e-6;
	assert_close("busy", fixture.result.busy_s, busy_s, 4e-9);
	assert_close("length", fixture.result.length_s, 1.7 - 1e-6, 1e-12);
	assert_close("energy", fixture.result.energy_j,
		     busy_s * costs_busy_w(fixture.costs, TOP, c.shape, 1) +
			     (1.7 - 1e-6 - busy_s) * costs_idle_w(fixture.costs, TOP),
		     1e-5);
	assert_int_equal(fixture.result.completed, 2);
	/* Its latencies are there all the same. */
	assert_true(fixture.result.latency_ns[0] != REQUEST_UNFINISHED);
}

/* A request that comes to an idle card begins at the idle level; the share of busy time that DPM
 * follows passes dpm_up_busy after -ln(1 - up) ramps, and the rest runs at the top. */
static void test_dpm_takes_the_clock_up_in_mid_service_and_down_when_idle(void **state)
{
	static const uint64_t arrivals[] = {200 * MS};
	struct plant_device *d = &fixture.truth.device;
	struct configuration c;
	double idle_ns, top_ns, up_ns, service_ns, share, low_ns, energy_j, t_ns;

	(void)state;
	d->leakage_w_per_k = 0;
	d->idle_active_share = 0.5;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	fixture.options.duration_ns = 1 * SEC;
	fixture_arrivals(arrivals, 1);
	fixture_run(0);
	idle_ns = fixture_service_ns(d->dpm_idle_level, c.shape, 1);
	top_ns = fixture_service_ns(TOP, c.shape, 1);
	up_ns = -log(1 - d->dpm_up_busy) * d->dpm_ramp_ms * 1e6;
	service_ns = up_ns + (1 - up_ns / idle_ns) * top_ns;
	assert_close("service", (double)fixture.result.latency_ns[0], service_ns, 2);

	/* Afterwards the share falls below dpm_down_busy; one level for each hold from there. */
	share = 1 - exp(-service_ns / (d->dpm_ramp_ms * 1e6));
	low_ns = log(share / d->dpm_down_busy) * d->dpm_ramp_ms * 1e6;
	t_ns = 200e6 + service_ns;
	energy_j = 0.2 * costs_idle_w(fixture.costs, d->dpm_idle_level);
	energy_j += up_ns * 1e-9 * costs_busy_w(fixture.costs, d->dpm_idle_level, c.shape, 1);
	energy_j += (service_ns - up_ns) * 1e-9 * costs_busy_w(fixture.costs, TOP, c.shape, 1);
	energy_j += low_ns * 1e-9 * costs_idle_w(fixture.costs, TOP);
	t_ns += low_ns;
	for (uint32_t level = TOP; level > d->dpm_idle_level; level--) {
		energy_j += d->dpm_hold_ms * 1e-3 * costs_idle_w(fixture.costs, level);
		t_ns += d->dpm_hold_ms * 1e6;
	}
	energy_j += (1 - t_ns * 1e-9) * costs_idle_w(fixture.costs, d->dpm_idle_level);
	assert_close("energy", fixture.result.energy_j, energy_j, 1e-6);
}

static void test_a_schedule_changes_a_service_under_way_exactly(void **state)
{
	/* Four requests in one batch straddle the boundary of the intervals. */
	static const uint64_t arrivals[] = {495 * MS, 495 * MS, 495 * MS, 495 * MS};
	struct configuration c[2];
	double before_ns, after_ns, expected_ns;

	(void)state;
	fixture_steady_clock();
	fixture_make_costs(4);
	fixture_hold(c, TOP, 4);
	c[1] = c[0];
	c[1].level = 2;
	c[1].shape = (uint16_t)costs_shape_index(fixture.costs, (struct cu_shape){2, 15});
	fixture.options.n_schedule = 2;
	fixture.options.duration_ns = 1 * SEC;
	fixture_arrivals(arrivals, 4);
	fixture_run(0);
	before_ns = fixture_service_ns(TOP, c[0].shape, 4);
	after_ns = fixture_service_ns(2, c[1].shape, 4);
	expected_ns = 5e6 + (1 - 5e6 / before_ns) * after_ns;
	assert_true(before_ns > 5e6);
	for (uint32_t i = 0; i < 4; i++)
		assert_close("service", (double)fixture.result.latency_ns[i], expected_ns, 1);
	assert_close("batch", fixture.result.mean_batch, 4, 0);
	assert_int_equal(fixture.result.changes, 1);
	assert_close("CUs", fixture.result.mean_cus, (0.5 * 60 + 0.5 * 30) / 1, 1e-9);
	assert_close("clock", fixture.result.mean_sclk_mhz, 0.5 * 1725 + 0.5 * 1032, 1e-6);
}

static void test_drift_lengthens_services_with_time(void **state)
{
	static const uint64_t arrivals[] = {0, 400 * SEC};
	struct configuration c;
	double service_ns;

	(void)state;
	fixture_steady_clock();
	fixture.truth.drift_per_s = 1e-4;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	fixture.options.duration_ns = 401 * SEC;
	fixture_arrivals(arrivals, 2);
	fixture_run(0);
	service_ns = fixture_service_ns(TOP, c.shape, 1);
	assert_close("first", (double)fixture.result.latency_ns[0], service_ns, 1);
	assert_close("second", (double)fixture.result.latency_ns[1], 1.04 * service_ns, 1);
}

static void test_executions_at_the_same_time_share_the_card(void **state)
{
	static const uint64_t arrivals[] = {100 * MS, 101 * MS, 101 * MS};
	struct configuration c;
	double service_ns, first_ns, second_ns, third_ns;

	(void)state;
	fixture_steady_clock();
	fixture.truth.device.leakage_w_per_k = 0;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	fixture.options.workers = 2;
	fixture.options.duration_ns = 200 * MS;
	fixture_arrivals(arrivals, 3);
	fixture_run(0);
	service_ns = fixture_service_ns(TOP, c.shape, 1);
	/* The first runs alone for 1 ms; then two share until it ends, and two again until the
	 * second does. */
	first_ns = 1e6 + 2 * (service_ns - 1e6);
	second_ns = 2 * service_ns;
	third_ns = 3 * service_ns - 1e6;
	assert_close("first", (double)fixture.result.latency_ns[0], first_ns, 2);
	assert_close("second", (double)fixture.result.latency_ns[1], second_ns, 3);
	assert_close("third", (double)fixture.result.latency_ns[2], third_ns, 4);
	assert_close("busy", fixture.result.busy_s, 3e-9 * service_ns, 1e-8);
	/* Sharing takes no power of its own. */
	assert_close("energy", fixture.result.energy_j,
		     3e-9 * service_ns * costs_busy_w(fixture.costs, TOP, c.shape, 1) +
			     (0.2 - 3e-9 * service_ns) * costs_idle_w(fixture.costs, TOP),
		     1e-4);
}

/* ---- the end ---- */

static void test_an_overloaded_run_ends_at_the_drain_limit(void **state)
{
	struct configuration c;
	uint32_t unfinished = 0;

	(void)state;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	fixture.options.duration_ns = 5 * SEC;
	fixture.options.drain_limit_ns = 1 * SEC;
	fixture_poisson(2e9 / fixture_service_ns(TOP, c.shape, 1));
	fixture_run(0);
	assert_int_equal(fixture.result.drained_ns, 6 * SEC);
	assert_close("busy", fixture.result.busy_s, 6, 0.01);
	for (uint32_t i = 0; i < fixture.result.n; i++)
		unfinished += fixture.result.latency_ns[i] == REQUEST_UNFINISHED;
	assert_true(unfinished > fixture.result.n / 3);
	assert_int_equal(fixture.result.completed + unfinished, fixture.result.n);
}

static void test_the_drain_ends_with_the_last_request(void **state)
{
	static const uint64_t arrivals[] = {999 * MS, 999 * MS, 999 * MS};
	struct configuration c;
	double service_ns;

	(void)state;
	fixture_steady_clock();
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	fixture.options.duration_ns = 1 * SEC;
	fixture_arrivals(arrivals, 3);
	fixture_run(0);
	service_ns = fixture_service_ns(TOP, c.shape, 1);
	assert_close("drained", (double)fixture.result.drained_ns, 999e6 + 3 * service_ns, 3);
	fixture_run(10 * SEC);
	assert_close("drained", (double)fixture.result.drained_ns, 999e6 + 3 * service_ns, 3);
	assert_close("length", fixture.result.length_s, 10, 1e-12);
}

static void test_a_run_without_requests_is_idle(void **state)
{
	struct configuration c;

	(void)state;
	fixture.truth.device.leakage_w_per_k = 0;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	fixture_run(0);
	assert_int_equal(fixture.result.drained_ns, 10 * SEC);
	assert_close("energy", fixture.result.energy_j, 10 * fixture.shipped->idle_w, 1e-6);
	assert_close("idle", fixture.result.idle_energy_j, fixture.result.energy_j, 0);
	assert_int_equal(fixture.result.n + fixture.result.completed, 0);
}

static void test_a_finish_before_the_end_is_refused(void **state)
{
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	struct configuration c;

	(void)state;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	assert_int_equal(simulation_new(&fixture.options, &s), 0);
	assert_int_equal(simulation_finish(s, 9 * SEC, &fixture.result), -EINVAL);
	assert_int_equal(simulation_finish(s, 10 * SEC, &fixture.result), 0);
	/* The result has been given away. */
	assert_int_equal(simulation_finish(s, 10 * SEC, &fixture.result), -EINVAL);
}

/* ---- batches ---- */

/* The worker's own queue, served by one server at a constant time for each size of batch. */
static void expect_as_the_worker(uint32_t max_batch, uint64_t max_wait_ns, double rate_rps)
{
	_cleanup_(queue_freep) struct queue *q = NULL;
	const struct load_point points[] = {{0, 1}, {20, 1}};
	const struct load_curve curve = {.n = 2, .points = (struct load_point *)points};
	struct arrivals a = arrivals_make(&curve, FIXTURE_SEED, rate_rps, 1, 0), walk = a;
	const struct queue_options o = {.time_scale = 1, .arrivals = &a, .limit = UINT32_MAX};
	static struct queue_batch batch;
	struct configuration c;
	uint64_t now_ns = 0, free_ns = 0, wait_ns;
	uint32_t n = 0, i = 0;
	int r;

	fixture_make_costs(max_batch);
	fixture_hold(&c, TOP, max_batch);
	fixture.options.duration_ns = 20 * SEC;
	fixture.options.max_wait_ns = max_wait_ns;
	fixture.arrivals = calloc((size_t)(rate_rps * 40), sizeof(*fixture.arrivals));
	while (arrivals_next(&walk, &fixture.arrivals[n]))
		n++;
	fixture_arrivals(fixture.arrivals, n);
	fixture_run(0);

	assert_int_equal(queue_new(&o, &q), 0);
	while ((r = queue_take(q, free_ns, now_ns, max_batch, max_wait_ns, &batch, &wait_ns)) >=
	       0) {
		if (r == 0) {
			now_ns = wait_ns;
			continue;
		}
		free_ns = batch.start_ns +
			  (uint64_t)llround(fixture_service_ns(TOP, c.shape, batch.n));
		now_ns = free_ns;
		for (uint32_t k = 0; k < batch.n; k++, i++)
			assert_int_equal(fixture.result.latency_ns[i],
					 free_ns - batch.items[k].arrival_ns);
	}
	assert_int_equal(r, -ENODATA);
	assert_int_equal(i, n);
}

static void test_batches_form_as_in_the_worker(void **state)
{
	static const struct {
		uint32_t max_batch;
		uint64_t max_wait_ns;
		double load;
	} cases[] = {{1, 0, 0.8},	{4, 0, 0.9},   {4, 3 * MS, 0.5},
		     {8, 20 * MS, 1.5}, {8, SEC, 1.2}, {2, UINT64_MAX, 0.7}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fixture_begin(NULL);
		fixture_steady_clock();
		expect_as_the_worker(cases[i].max_batch, cases[i].max_wait_ns, cases[i].load * 350);
		fixture_end(NULL);
	}
}

static void test_a_saturated_run_takes_full_batches_all_the_time(void **state)
{
	struct configuration c;
	double service_ns;

	(void)state;
	fixture_steady_clock();
	fixture_make_costs(16);
	fixture_hold(&c, TOP, 16);
	fixture.options.saturated = true;
	fixture_run(0);
	service_ns = fixture_service_ns(TOP, c.shape, 16);
	assert_close("batch", fixture.result.mean_batch, 16, 0);
	assert_close("busy", fixture.result.busy_s, fixture.result.length_s, 1e-6);
	assert_close("completed", (double)fixture.result.completed, 16 * ceil(10e9 / service_ns),
		     0);
	assert_int_equal(fixture.result.n, 0);
	assert_int_equal(fixture.result.late, 0);

	fixture.options.slo_ns = (uint64_t)(0.9 * service_ns);
	fixture_run(0);
	assert_true(fixture.result.completed > 0);
	assert_int_equal(fixture.result.late, fixture.result.completed);
	fixture.options.slo_ns = (uint64_t)(1.1 * service_ns);
	fixture_run(0);
	assert_int_equal(fixture.result.late, 0);
}

/* ---- the cap ---- */

static void test_time_and_energy_above_a_cap_are_counted_and_the_limiter_acts(void **state)
{
	struct configuration c;
	double busy_w, free_s;

	(void)state;
	fixture_steady_clock();
	fixture.truth.device.cap_w = fixture.shipped->cap_w;
	fixture.truth.device.leakage_w_per_k = 0;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	fixture.options.saturated = true;
	busy_w = costs_busy_w(fixture.costs, TOP, c.shape, 1);
	fixture_run(0);
	assert_close("nothing above the card's own", fixture.result.over_cap_s, 0, 0);
	free_s = fixture.result.busy_s / (double)fixture.result.completed;
	fixture.options.cap_w = busy_w - 20;
	fixture_run(0);
	assert_true(fixture.result.over_cap_s > 0 && fixture.result.over_cap_s < 5);
	assert_true(fixture.result.over_cap_j <= 20 * fixture.result.over_cap_s * 1.001);
	assert_true(fixture.result.energy_j / fixture.result.length_s < busy_w - 19);
	assert_true(fixture.result.mean_sclk_mhz < 1720);
	assert_true(fixture.result.busy_s / (double)fixture.result.completed > 1.01 * free_s);
}

/* ---- options ---- */

static void test_options_that_make_no_run_are_refused(void **state)
{
	static const uint64_t descending[] = {2 * MS, 1 * MS};
	struct configuration c, bad_level, bad_shape, bad_batch;
	struct governor_config governor = {0};
	struct simulation *s = NULL;
	struct simulation_options good;

	(void)state;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	bad_level = bad_shape = bad_batch = c;
	bad_level.level = 9;
	bad_shape.shape = 32;
	bad_batch.batch = 0;
	good = fixture.options;
#define REFUSED(field, value)                                                                      \
	do {                                                                                       \
		struct simulation_options o = good;                                                \
		o.field = value;                                                                   \
		assert_int_equal(simulation_new(&o, &s), -EINVAL);                                 \
	} while (0)
	REFUSED(truth, NULL);
	REFUSED(costs, NULL);
	REFUSED(governor, &governor); /* and a schedule */
	REFUSED(schedule, NULL);
	REFUSED(n_schedule, 0);
	REFUSED(schedule, &bad_level);
	REFUSED(schedule, &bad_shape);
	REFUSED(schedule, &bad_batch);
	REFUSED(poll_ns, 0);
	REFUSED(duration_ns, 0);
	REFUSED(duration_ns, UINT64_MAX);
	REFUSED(drain_limit_ns, UINT64_MAX);
	REFUSED(workers, 0);
	REFUSED(workers, 65);
	REFUSED(n_arrivals, 1); /* of none */
	REFUSED(directive_ms, -1);
	REFUSED(mask_change_us, NAN);
	REFUSED(cap_w, INFINITY);
#undef REFUSED
	good.schedule = NULL;
	good.governor = &governor; /* of no model */
	assert_int_equal(simulation_new(&good, &s), -EINVAL);
	good = fixture.options;
	good.arrival_ns = descending;
	good.n_arrivals = 2;
	assert_int_equal(simulation_new(&good, &s), -EINVAL);
	assert_null(s);
}

/* ---- speed ---- */

/* Printed for people; the bound only catches what grows faster than the requests. */
static void test_time_grows_with_the_requests(void **state)
{
	struct configuration c;
	double s_of[4];

	(void)state;
	fixture_make_costs(1);
	fixture_hold(&c, TOP, 1);
	print_message("requests  CPU time  per request\n");
	for (uint32_t i = 0; i < 4; i++) {
		double rate_rps = 0.35e9 / fixture_service_ns(TOP, c.shape, 1);
		clock_t begin;

		fixture.options.duration_ns = (uint64_t)(200 << i) * SEC;
		fixture_poisson(rate_rps);
		begin = clock();
		fixture_run(0);
		s_of[i] = (double)(clock() - begin) / CLOCKS_PER_SEC;
		print_message("%8u  %6.3f s  %.2f us\n", fixture.result.n, s_of[i],
			      s_of[i] * 1e6 / fixture.result.n);
	}
	assert_true(s_of[3] < 3 * 8 * s_of[0]);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_begin, fixture_end)
	const struct CMUnitTest tests[] = {
		TEST(test_mean_waits_are_those_of_m_g_1),
		TEST(test_energy_is_the_sum_of_its_parts),
		TEST(test_what_comes_before_warm_up_does_not_count),
		TEST(test_dpm_takes_the_clock_up_in_mid_service_and_down_when_idle),
		TEST(test_a_schedule_changes_a_service_under_way_exactly),
		TEST(test_drift_lengthens_services_with_time),
		TEST(test_executions_at_the_same_time_share_the_card),
		TEST(test_an_overloaded_run_ends_at_the_drain_limit),
		TEST(test_the_drain_ends_with_the_last_request),
		TEST(test_a_run_without_requests_is_idle),
		TEST(test_a_finish_before_the_end_is_refused),
		TEST(test_batches_form_as_in_the_worker),
		TEST(test_a_saturated_run_takes_full_batches_all_the_time),
		TEST(test_time_and_energy_above_a_cap_are_counted_and_the_limiter_acts),
		TEST(test_options_that_make_no_run_are_refused),
		TEST(test_time_grows_with_the_requests),
	};

	return cmocka_run_group_tests(tests, load, fixture_unload);
}
