/* SPDX-License-Identifier: Apache-2.0 */
/* The oracle's runs against other schedules of the same requests. */
#include "base/macros.h"
#include "base/units.h"
#include "load/arrivals.h"
#include "replay/oracle-internal.h"
#include "support/cmocka-includes.h"
#include <math.h>
#include <string.h>

#define SEED	     UINT64_C(20231)
#define DURATION_S   60
#define MAX_REQUESTS 60000
#define MAX_TICKS    400
/* Two runs that nothing but the search's own approximations tell apart: heat, and the time that a
 * clock takes to come up from idle. */
#define SLACK 1.0005

static struct fixture {
	struct plant_device *device;
	struct plant_model *model;
	struct truth truth;
	struct costs *costs;
	uint32_t n_arrivals;
	uint64_t arrival_ns[MAX_REQUESTS];
	double rate_rps[2 * DURATION_S];
	struct simulation_result maximum;
	struct oracle_options options;
	struct oracle *oracle;
} f;

/* Low, high, and rising fast from one to the other. */
static struct load_point points[] = {{0, 0.2},	{25, 0.9}, {30, 0.95},
				     {31, 0.3}, {50, 0.5}, {60, 0.6}};
static const struct load_curve curve = {.n = ARRAY_SIZE(points), .points = points};

static void make_arrivals(double rated_rps, uint64_t seed)
{
	struct arrivals a = arrivals_make(&curve, seed, rated_rps, 1, 0);

	f.n_arrivals = 0;
	while (f.n_arrivals < MAX_REQUESTS && arrivals_next(&a, &f.arrival_ns[f.n_arrivals]))
		f.n_arrivals++;
	assert_true(f.n_arrivals > 100 && f.n_arrivals < MAX_REQUESTS);
	for (uint32_t i = 0; i < ARRAY_SIZE(f.rate_rps); i++) {
		const struct load_point *p = points;
		double t_s = i / 2.0 + 0.25;

		while (p[1].t_s < t_s)
			p++;
		f.rate_rps[i] =
			rated_rps * (p[0].load + (p[1].load - p[0].load) * (t_s - p[0].t_s) /
							 (p[1].t_s - p[0].t_s));
	}
}

static void run_schedule(const struct configuration *schedule, uint32_t n, uint64_t end_ns,
			 struct simulation_result *ret)
{
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	struct simulation_options o = f.options.run;
	uint64_t drained_ns;

	o.schedule = schedule;
	o.n_schedule = n;
	assert_int_equal(simulation_new(&o, &s), 0);
	drained_ns = simulation_run(s);
	assert_int_equal(simulation_finish(s, MAX(drained_ns, end_ns), ret), 0);
}

struct setup {
	const char *model;
	enum plant_gating gating;
	uint64_t seed;
	double slo_factor; /* of the whole card's service time */
	double idle_active_share;
	enum latency_notion latency;
};

static void begin(const struct setup *s)
{
	const struct truth_options o = {.gating = s->gating,
					.seed = s->seed,
					.switch_ms = 5,
					.dpm_ramp_ms = -1,
					.idle_active_share = s->idle_active_share};
	const struct costs_options batches = {.n_batches = 1, .batches = {1}};
	struct configuration maximum = {.batch = 1};
	struct ini_error error;
	struct truth bench;
	char path[256];
	uint32_t n_shapes;
	double service_ns;

	(void)snprintf(path, sizeof(path), COFRIS_SOURCE_DIR "/profiles/models/%s.ini", s->model);
	assert_int_equal(plant_model_load(path, &f.model, &error), 0);
	assert_int_equal(truth_bench(f.device, &o, &bench), 0);
	assert_int_equal(truth_service(&bench, s->seed, 0, &f.truth), 0);
	assert_int_equal(costs_new(&f.truth, f.model, &batches, &f.costs), 0);
	(void)costs_shapes(f.costs, &n_shapes);
	maximum.level = (uint16_t)(f.truth.device.n_levels - 1);
	maximum.shape = (uint16_t)(n_shapes - 1);
	service_ns = costs_get(f.costs, maximum.level, maximum.shape, 1).ns;
	make_arrivals(0.7e9 / service_ns, s->seed);
	f.options = (struct oracle_options){
		.run = {.truth = &f.truth,
			.costs = f.costs,
			.arrival_ns = f.arrival_ns,
			.n_arrivals = f.n_arrivals,
			.duration_ns = DURATION_S * NSEC_PER_SEC,
			.poll_ns = 500 * NSEC_PER_MSEC,
			.warm_up_ns = 5 * NSEC_PER_SEC,
			.drain_limit_ns = 30 * NSEC_PER_SEC,
			.workers = 1,
			.latency = s->latency,
			.seed = s->seed},
		.measures = {.arrival_ns = f.arrival_ns,
			     .n_arrivals = f.n_arrivals,
			     .warm_up_ns = 5 * NSEC_PER_SEC,
			     .percentile = 95},
		.maximum = &f.maximum,
		.rate_rps = f.rate_rps,
		.n_rates = ARRAY_SIZE(f.rate_rps),
		.rated_rps = 0.7e9 / service_ns,
		.max_batch = 1,
	};
	f.options.run.slo_ns = f.options.measures.slo_ns = (uint64_t)(s->slo_factor * service_ns);
	run_schedule(&maximum, 1, 0, &f.maximum);
	f.options.end_ns = (DURATION_S + 1) * NSEC_PER_SEC;
	assert_int_equal(oracle_new(&f.options, &f.oracle), 0);
}

static void end(void)
{
	f.oracle = oracle_free(f.oracle);
	simulation_result_done(&f.maximum);
	f.costs = costs_free(f.costs);
	free(TAKE_PTR(f.model));
}

static int load(void **state)
{
	struct ini_error error;

	(void)state;
	return plant_device_load(COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini", &f.device,
				 &error) < 0
		       ? -1
		       : 0;
}

static int unload(void **state)
{
	(void)state;
	free(f.device);
	return 0;
}

static const struct setup setups[] = {
	{"resnet152", PLANT_GATING_NONE, 1, 6, 0, LATENCY_SOJOURN},
	{"resnet50", PLANT_GATING_CU, 2, 8, 0, LATENCY_SOJOURN},
	{"vgg19", PLANT_GATING_SE, 3, 5, 0.2, LATENCY_SOJOURN},
	{"resnet152", PLANT_GATING_CU, 4, 4, 0, LATENCY_SOJOURN},
	{"vgg19", PLANT_GATING_CU, 5, 1.4, 0, LATENCY_SERVICE},
};

static struct measures oracle_measures(double excess_late_pct)
{
	struct measures m;
	double mu_j;

	assert_int_equal(oracle_at(f.oracle, excess_late_pct, &m, &mu_j), 0);
	assert_true(mu_j > 0);
	return m;
}

static struct measures measures_of(const struct configuration *schedule, uint32_t n)
{
	struct simulation_result r;
	struct measures m;

	run_schedule(schedule, n, f.options.end_ns, &r);
	assert_int_equal(measures_take(&f.options.measures, &r, &f.maximum, &m), 0);
	simulation_result_done(&r);
	return m;
}

static uint32_t fail_count;

static void check_bound(const struct setup *s, const struct measures *m, const char *what,
			uint32_t number)
{
	struct measures oracle = oracle_measures(m->excess_late_pct);

	if (oracle.mean_power_w <= SLACK * m->mean_power_w)
		return;
	print_error("%s, seed %llu: %s %u takes %.3f W at %.3f %% late, the oracle %.3f W at "
		    "%.3f %%\n",
		    s->model, (unsigned long long)s->seed, what, number, m->mean_power_w,
		    m->excess_late_pct, oracle.mean_power_w, oracle.excess_late_pct);
	fail_count++;
}

/* Configurations that never change are hard to beat where the load changes little; ones that
 * change at random show that the oracle is no worse off for changing. */
static void check_schedules(const struct setup *s)
{
	struct configuration schedule[MAX_TICKS];
	uint32_t n_shapes, cells;

	(void)costs_shapes(f.costs, &n_shapes);
	cells = f.truth.device.n_levels * n_shapes;
	for (uint32_t i = 0; i < cells; i += 9) {
		struct configuration c = {.level = (uint16_t)(i / n_shapes),
					  .shape = (uint16_t)(i % n_shapes),
					  .batch = 1};
		struct measures m = measures_of(&c, 1);

		/* Beyond that no policy is compared. */
		if (m.excess_late_pct < 20)
			check_bound(s, &m, "configuration", i);
	}
	for (uint32_t run = 0; run < 5; run++) {
		struct measures m;

		for (uint32_t t = 0; t < MAX_TICKS; t++) {
			uint32_t level = (uint32_t)(plant_uniform(SEED + run, 2 * t) * 9);
			double shape = plant_uniform(SEED + run, 2 * t + 1);

			schedule[t] =
				(struct configuration){.level = (uint16_t)level,
						       .shape = (uint16_t)(n_shapes / 2.0 +
									   shape * n_shapes / 2),
						       .batch = 1};
		}
		m = measures_of(schedule, MAX_TICKS);
		if (m.excess_late_pct < 20)
			check_bound(s, &m, "random schedule", run);
	}
}

static void nothing_takes_less_at_equal_lateness(void **state)
{
	(void)state;
	fail_count = 0;
	for (size_t i = 0; i < ARRAY_SIZE(setups); i++) {
		begin(&setups[i]);
		check_schedules(&setups[i]);
		end();
	}
	assert_int_equal(fail_count, 0);
}

/* Each request costs at least what it costs where it costs least, and the card is never below its
 * idle power. */
static double least_possible_w(void)
{
	double least_j = INFINITY, idle_w = INFINITY;
	const struct measures m = oracle_measures(0);
	uint32_t n_shapes;

	(void)costs_shapes(f.costs, &n_shapes);
	for (uint32_t l = 0; l < f.truth.device.n_levels; l++) {
		idle_w = fmin(idle_w, costs_idle_w(f.costs, l));
		for (uint32_t s = 0; s < n_shapes; s++)
			least_j = fmin(least_j, costs_get(f.costs, l, s, 1).ns * 1e-9 *
							(costs_busy_w(f.costs, l, s, 1) -
							 costs_idle_w(f.costs, l)));
	}
	/* Jitter, drift and what warm-up leaves behind. */
	return idle_w + 0.97 * m.requests * least_j / (m.energy_j / m.mean_power_w);
}

static void the_curve_falls_within_its_bounds(void **state)
{
	static const double lateness[] = {0, 0.05, 0.1, 0.3, 0.6, 1, 3, 100};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(setups); i++) {
		double least_w, last_w = INFINITY, last_late = 0, end_late, least_late;

		begin(&setups[i]);
		least_w = least_possible_w();
		/* A request that the search takes to be just in time may not be: it leaves out that
		 * the clock comes up from idle. Where nothing queues, that is all there is. */
		least_late = oracle_measures(0).excess_late_pct;
		assert_true(least_late <= 0.2 || setups[i].latency == LATENCY_SERVICE);
		end_late = oracle_measures(100).excess_late_pct;
		for (size_t l = 0; l < ARRAY_SIZE(lateness); l++) {
			struct measures m = oracle_measures(lateness[l]);

			assert_true(m.mean_power_w >= least_w);
			assert_true(m.mean_power_w <= last_w * SLACK);
			assert_true(m.excess_late_pct >= last_late - 2 * ORACLE_TOLERANCE_PCT);
			assert_true(m.excess_late_pct <=
				    MAX(lateness[l], least_late) + ORACLE_TOLERANCE_PCT + 1e-9);
			/* One tick of such a short run may be late as a whole. */
			if (lateness[l] <= 0.6 && lateness[l] < end_late)
				assert_true(m.excess_late_pct >= lateness[l] - 0.1);
			last_w = m.mean_power_w;
			last_late = m.excess_late_pct;
		}
		end();
	}
}

static void answers_do_not_depend_on_what_was_asked_before(void **state)
{
	struct measures first, again;

	(void)state;
	begin(&setups[1]);
	first = oracle_measures(0.3);
	(void)oracle_measures(1);
	(void)oracle_measures(0.05);
	again = oracle_measures(0.3);
	assert_true(fabs(first.mean_power_w / again.mean_power_w - 1) < 1e-3);
	assert_true(fabs(first.excess_late_pct - again.excess_late_pct) <=
		    2 * ORACLE_TOLERANCE_PCT);
	end();
}

/* ---- the one that knows rates alone ---- */

static void rates_alone_are_worth_no_more(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(setups); i++) {
		struct oracle *knowing;
		struct measures m;

		begin(&setups[i]);
		knowing = f.oracle;
		f.options.rate_only = true;
		assert_int_equal(oracle_new(&f.options, &f.oracle), 0);
		m = oracle_measures(0.3);
		f.oracle = oracle_free(f.oracle);
		f.oracle = knowing;
		fail_count = 0;
		check_bound(&setups[i], &m, "rate-only set-up", (uint32_t)i);
		assert_int_equal(fail_count, 0);
		end();
	}
}

static void rates_are_all_it_knows(void **state)
{
	_cleanup_(oracle_candidates_freep) struct oracle_candidates *candidates = NULL;
	_cleanup_(oracle_rate_freep) struct oracle_rate *a = NULL, *b = NULL;
	struct oracle_work work = {.options = &f.options, .n_ticks = 150};
	struct configuration of_a[150], of_b[150];
	uint32_t changes = 0;

	(void)state;
	begin(&setups[3]);
	assert_int_equal(oracle_candidates_new(f.costs, f.truth.device.n_levels, 1, &candidates),
			 0);
	work.candidates = candidates;
	assert_int_equal(oracle_rate_new(&work, &a), 0);
	oracle_rate_run(a, 30, of_a);
	make_arrivals(f.options.rated_rps, 999);
	f.options.run.n_arrivals = f.n_arrivals;
	f.options.run.seed = 1234;
	assert_int_equal(oracle_rate_new(&work, &b), 0);
	oracle_rate_run(b, 30, of_b);
	assert_memory_equal(of_a, of_b, sizeof(of_a));
	for (uint32_t i = 1; i < ARRAY_SIZE(of_a); i++)
		changes += memcmp(&of_a[i], &of_a[i - 1], sizeof(*of_a)) != 0;
	assert_true(changes > 3);
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_takes_less_at_equal_lateness),
		cmocka_unit_test(the_curve_falls_within_its_bounds),
		cmocka_unit_test(answers_do_not_depend_on_what_was_asked_before),
		cmocka_unit_test(rates_alone_are_worth_no_more),
		cmocka_unit_test(rates_are_all_it_knows),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
