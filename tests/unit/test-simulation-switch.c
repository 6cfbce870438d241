/* SPDX-License-Identifier: Apache-2.0 */
/* What a governor makes of the time that its card takes to change clocks, which nothing tells it:
 * cards of 1 to 200 ms, as slow as their profile or slower, with a load that makes queues. */
#include "governor/governor-internal.h"
#include "simulation-profile.h"

/* As of the governor's last step. */
static struct switch_time seen;
static uint32_t n_boosts;
static bool never_boosts;

void __real_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);
void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);

void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret)
{
	bool was_on = g->models[0].boost.on;

	__real_governor_step(g, input, ret);
	seen = g->switch_time;
	n_boosts += !was_on && g->models[0].boost.on;
}

/* Load in steps of ten seconds between a tenth of R and R, by thinning. */
static void steps(void)
{
	static const double loads[] = {0.3, 0.6, 0.1, 0.7, 0.4, 1, 0.2, 0.5};
	uint32_t n = 0;

	fixture_poisson(profile.table->rated_rps);
	for (uint32_t i = 0; i < fixture.options.n_arrivals; i++) {
		uint64_t at = fixture.arrivals[i] / (10 * SEC);

		if (plant_uniform(FIXTURE_SEED + 1, i) < loads[at % ARRAY_SIZE(loads)])
			fixture.arrivals[n++] = fixture.arrivals[i];
	}
	fixture.options.n_arrivals = n;
}

/* What it has cost, J: energy, and each late request as much as the table's rows count it. */
static double cost_j(void)
{
	const struct response_table *t = profile.table;

	return fixture.result.energy_j +
	       TABLE_LATE_COST * t->baseline.power_w / t->rated_rps * (double)fixture.result.late;
}

static void run(double switch_ms, double slower, double jitter)
{
	memset(&seen, 0, sizeof(seen));
	n_boosts = 0;
	fixture.truth = profile.bench;
	fixture.truth.device.switch_ms = switch_ms;
	fixture.truth.card.time_factor *= slower;
	fixture.truth.jitter_sigma = jitter;
	fixture.options.duration_ns = 600 * SEC;
	fixture_make_costs(1);
	profile_configure();
	profile.config.models[0].never_boosts = never_boosts;
	steps();
	fixture_run(0);
	fixture.costs = costs_free(fixture.costs);
}

/* Within 2 ms and a fifth. Where boosts do not last that long they only say that it takes longer,
 * and so, too late for the SLO. */
static void test_the_time_of_a_clock_change_is_found(void **state)
{
	static const double times_ms[] = {1, 5, 20, 50, 200}, slower[] = {1, 1.1, 0.97};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(times_ms); i++)
		for (size_t k = 0; k < ARRAY_SIZE(slower); k++) {
			double slo_ms = (double)profile.table->slo_ns * 1e-6;
			double found_ms, least_ms = MIN(times_ms[i] * 0.8 - 2, 1.5 * slo_ms);

			run(times_ms[i], slower[k], 0.03);
			assert_true(switch_time_known(&seen));
			found_ms = switch_time_ns(&seen) * 1e-6;
			if (found_ms < least_ms || found_ms > times_ms[i] * 1.2 + 2)
				fail_msg("%g ms, times x %g: found %g", times_ms[i], slower[k],
					 found_ms);
		}
}

/* An SLO of less than 30 ms: what takes 200 is of no use, and hardly ever tried. */
static void test_boosts_end_where_the_clock_comes_too_late(void **state)
{
	uint32_t n_short;

	(void)state;
	run(5, 1.1, 0.03);
	n_short = n_boosts;
	run(200, 1.1, 0.03);
	print_message("%u boosts at 5 ms, %u at 200\n", n_short, n_boosts);
	assert_true(n_boosts >= 3);
	assert_true(n_boosts <= 3 + 600 / 60);
	assert_true(n_short >= 3 * n_boosts);
}

/* What it takes to see that it is so (three boosts, and some later) is a thousandth. */
static void test_at_200_ms_it_is_no_worse_than_without_boosts(void **state)
{
	static const double slower[] = {0.93, 1, 1.05, 1.1, 1.15};
	double all_j = 0, all_without_j = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(slower); i++) {
		double with_j, without_j;

		run(200, slower[i], 0.03);
		with_j = cost_j();
		never_boosts = true;
		run(200, slower[i], 0.03);
		never_boosts = false;
		without_j = cost_j();
		assert_int_equal(n_boosts, 0);
		print_message("times x %g: %.1f J, without boosts %.1f\n", slower[i], with_j,
			      without_j);
		assert_true(with_j <= without_j * 1.002);
		all_j += with_j;
		all_without_j += without_j;
	}
	assert_true(all_j <= all_without_j * 1.001);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_time_of_a_clock_change_is_found,
						fixture_begin, fixture_end),
		cmocka_unit_test_setup_teardown(test_at_200_ms_it_is_no_worse_than_without_boosts,
						fixture_begin, fixture_end),
		cmocka_unit_test_setup_teardown(test_boosts_end_where_the_clock_comes_too_late,
						fixture_begin, fixture_end),
	};

	return cmocka_run_group_tests(tests, profile_load, profile_unload);
}
