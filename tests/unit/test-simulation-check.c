/* SPDX-License-Identifier: Apache-2.0 */
/* The self-check on simulated cards: one that is as its profile says, one that is slower, one that
 * draws more. Profiles are of the bench's own sweeps, noise and all; sensors are the card's. */
#include "governor/governor.h"
#include "governor/self-check.h"
#include "simulation-profile.h"

/* As of the governor's last step. */
static struct self_check seen;
static uint64_t found_ns; /* first step in which anything was stale */
static uint32_t ever_stale;

void __real_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);
void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret);

void __wrap_governor_step(struct governor *g, const struct governor_input *input,
			  struct governor_decision *ret)
{
	__real_governor_step(g, input, ret);
	seen = *governor_self_check(g, 0);
	if (ever_stale == 0 && ret->models[0].stale != 0)
		found_ns = input->now_ns;
	ever_stale |= ret->models[0].stale;
}

/* Between a tenth of R and R, in waves of two minutes, by thinning. */
static void waves(void)
{
	uint32_t n = 0;

	fixture_poisson(profile.table->rated_rps);
	for (uint32_t i = 0; i < fixture.options.n_arrivals; i++) {
		double load = 0.55 - 0.45 * cos(2 * M_PI * (double)fixture.arrivals[i] / 120e9);

		if (plant_uniform(FIXTURE_SEED + 1, i) < load)
			fixture.arrivals[n++] = fixture.arrivals[i];
	}
	fixture.options.n_arrivals = n;
}

/* Half an hour at a constant load; 0: an hour in waves. */
static void run(double slower, double hotter, double load, bool with_menu)
{
	memset(&seen, 0, sizeof(seen));
	found_ns = ever_stale = 0;
	fixture.truth = profile.bench;
	fixture.truth.card.time_factor *= slower;
	fixture.truth.card.power_factor *= hotter;
	fixture.options.duration_ns = load > 0 ? 1800 * SEC : 3600 * SEC;
	fixture_make_costs(1);
	profile_configure();
	if (!with_menu)
		profile.config.models[0].menu = NULL;
	if (load > 0)
		fixture_poisson(load * profile.table->rated_rps);
	else
		waves();
	fixture_run(0);
	fixture.costs = costs_free(fixture.costs);
}

static double found_after_busy_s(void)
{
	return (double)found_ns * 1e-9 * fixture.result.busy_s / fixture.result.length_s;
}

static const double loads[] = {0.5, 0.8};

static void test_a_card_as_profiled_is_not_flagged(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		run(1, 1, loads[i], /* with_menu= */ i % 2);
		assert_int_equal(ever_stale, 0);
		for (uint32_t k = 0; k < SELF_CHECK_SUBJECTS; k++)
			assert_true(seen.series[k].known);
		assert_close("power", seen.series[SELF_CHECK_POWER].ratio, 1, 0.03);
		assert_close("service", seen.series[SELF_CHECK_SERVICE].ratio, 1, 0.01);
	}
}

static void test_a_slower_card_is_found_for_that_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		run(1.15, 1, loads[i], /* with_menu= */ i % 2);
		assert_int_equal(ever_stale, GOVERNOR_STALE_SERVICE);
		assert_true(found_after_busy_s() <= 1200);
		assert_close("service", seen.series[SELF_CHECK_SERVICE].ratio, 1.15, 0.01);
	}
}

static void test_a_hungrier_card_is_found_for_that_alone(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(loads); i++) {
		run(1, 1.1, loads[i], /* with_menu= */ i % 2);
		assert_int_equal(ever_stale, GOVERNOR_STALE_POWER);
		assert_true(found_after_busy_s() <= 1200);
		assert_close("power", seen.series[SELF_CHECK_POWER].ratio, 1.1, 0.03);
	}
}

static void test_a_load_in_waves_hides_nothing_and_raises_nothing(void **state)
{
	(void)state;
	run(1, 1, 0, true);
	assert_int_equal(ever_stale, 0);
	for (uint32_t k = 0; k < SELF_CHECK_SUBJECTS; k++)
		assert_true(seen.series[k].known);
	run(1.15, 1, 0, true);
	assert_int_equal(ever_stale, GOVERNOR_STALE_SERVICE);
	run(1, 1.12, 0, true);
	assert_int_equal(ever_stale, GOVERNOR_STALE_POWER);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_card_as_profiled_is_not_flagged,
						fixture_begin, fixture_end),
		cmocka_unit_test_setup_teardown(test_a_slower_card_is_found_for_that_alone,
						fixture_begin, fixture_end),
		cmocka_unit_test_setup_teardown(test_a_hungrier_card_is_found_for_that_alone,
						fixture_begin, fixture_end),
		cmocka_unit_test_setup_teardown(
			test_a_load_in_waves_hides_nothing_and_raises_nothing, fixture_begin,
			fixture_end),
	};

	return cmocka_run_group_tests(tests, profile_load, profile_unload);
}
