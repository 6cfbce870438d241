/* SPDX-License-Identifier: Apache-2.0 */
/* A card that goes on to where its clock changes: how time is cut does not matter, and a model of
 * DPM, power and heat written down apart in steps of a microsecond gives the same. */
#include "base/units.h"
#include "plant/plant.h"
#include "support/cmocka-includes.h"
#include <math.h>

#define MS   NSEC_PER_MSEC
#define SEED UINT64_C(11)

static struct plant_device *shipped, device;

static int load(void **state)
{
	struct ini_error error;

	(void)state;
	print_message("seed %lu\n", SEED);
	return plant_device_load(COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini", &shipped, &error);
}

static int unload(void **state)
{
	(void)state;
	free(shipped);
	return 0;
}

static int copy_device(void **state)
{
	(void)state;
	device = *shipped;
	return 0;
}

static struct plant_card *new_card(void)
{
	const struct plant_card_options o = {.seed = 1, .time_factor = 1, .power_factor = 1};
	struct plant_card *c = NULL;

	assert_int_equal(plant_card_new(&device, &o, 0, &c), 0);
	return c;
}

static void assert_close(const char *what, double value, double expected, double tolerance)
{
	if (!(fabs(value - expected) <= tolerance))
		fail_msg("%s is %.12g, expected %.12g +- %g", what, value, expected, tolerance);
}

/* Bursts and pauses of random lengths. */
static uint64_t phase_ns(uint32_t phase)
{
	double mean_ms = phase % 2 ? 60 : 4;

	return 1 + (uint64_t)(plant_exponential(SEED, phase) * mean_ms * 1e6);
}

static struct plant_rates phase_rates(uint32_t phase)
{
	if (phase % 2)
		return (struct plant_rates){0};
	return (struct plant_rates){.busy_share = 1, .ungated_cus = 60, .flop = 4000, .bytes = 60};
}

/* ---- cutting time ---- */

struct trail {
	uint32_t n;
	uint64_t at_ns[4096];
	uint32_t level[4096];
};

/* Through a phase in pieces, with the changes of the clock. */
static void go(struct plant_card *c, uint64_t now_ns, uint64_t end_ns, uint64_t piece_ns,
	       const struct plant_rates *rates, struct trail *trail)
{
	while (now_ns < end_ns) {
		uint64_t to_ns = MIN(end_ns, now_ns + piece_ns);
		uint32_t level = plant_card_level(c);

		now_ns = plant_card_advance(c, to_ns, rates);
		if (plant_card_level(c) == level) {
			assert_int_equal(now_ns, to_ns);
			continue;
		}
		assert_true(trail->n < 4096);
		trail->at_ns[trail->n] = now_ns;
		trail->level[trail->n++] = plant_card_level(c);
	}
}

static void test_energy_and_clock_do_not_depend_on_how_time_is_cut(void **state)
{
	static const uint64_t pieces_ns[] = {1000 * MS, 2 * MS, 777777, 10000};
	static struct trail trails[ARRAY_SIZE(pieces_ns)];
	double energies_j[ARRAY_SIZE(pieces_ns)];
	struct plant_card_state states[ARRAY_SIZE(pieces_ns)];

	(void)state;
	device.idle_active_share = 0.5;
	for (size_t i = 0; i < ARRAY_SIZE(pieces_ns); i++) {
		struct plant_card *c = new_card();
		uint64_t now_ns = 0;

		trails[i].n = 0;
		for (uint32_t phase = 0; phase < 200; phase++) {
			struct plant_rates rates = phase_rates(phase);
			uint64_t end_ns = now_ns + phase_ns(phase);

			go(c, now_ns, end_ns, pieces_ns[i], &rates, &trails[i]);
			now_ns = end_ns;
		}
		energies_j[i] = plant_card_energy_j(c);
		plant_card_get(c, &states[i]);
		plant_card_free(c);
	}
	assert_true(trails[0].n > 100);
	for (size_t i = 1; i < ARRAY_SIZE(pieces_ns); i++) {
		assert_close("energy", energies_j[i] / energies_j[0], 1, 1e-6);
		assert_close("temperature", states[i].temp_c, states[0].temp_c, 1e-6);
		assert_int_equal(trails[i].n, trails[0].n);
		/* Each piece may round the moment by a nanosecond. */
		for (uint32_t k = 0; k < trails[0].n; k++) {
			assert_int_equal(trails[i].level[k], trails[0].level[k]);
			assert_close("moment", (double)trails[i].at_ns[k],
				     (double)trails[0].at_ns[k], 5);
		}
	}
}

static void test_heat_and_leakage_of_long_slices_are_those_of_short_ones(void **state)
{
	const struct plant_rates busy = {.busy_share = 1,
					 .ungated_cus = 60,
					 .flop = 4000,
					 .bytes = 60};
	struct plant_card *whole, *fine;
	struct plant_card_state a, b;

	(void)state;
	device.cap_w = 1000;
	whole = new_card();
	fine = new_card();
	while (plant_card_advance(whole, 120 * NSEC_PER_SEC, &busy) < 120 * NSEC_PER_SEC)
		;
	for (uint64_t ns = MS; ns <= 120 * NSEC_PER_SEC; ns += MS)
		while (plant_card_advance(fine, ns, &busy) < ns)
			;
	plant_card_get(whole, &a);
	plant_card_get(fine, &b);
	assert_close("energy", a.energy_j / b.energy_j, 1, 1e-7);
	assert_close("temperature", a.temp_c, b.temp_c, 1e-5);
	assert_true(a.temp_c > 50);
	plant_card_free(whole);
	plant_card_free(fine);
}

/* ---- the same model, written down apart ---- */

struct naive {
	double busy, low_us, energy_j, temp_c;
	uint32_t level;
};

static void naive_microsecond(struct naive *m, const struct plant_rates *r)
{
	const struct plant_device *d = &device;
	uint32_t top = d->n_levels - 1;
	double v2 = pow(d->level_mv[m->level] / d->level_mv[top], 2);
	double cu_w = plant_cu_active_idle_w(d, d->level_mhz[m->level]);
	double idle_c = d->ambient_c + d->idle_w * d->thermal_ohm_k_per_w;
	double between_w =
		m->level > d->dpm_idle_level ? d->idle_active_share * (d->uncore_w + 60 * cu_w) : 0;
	double w = d->idle_w + (1 - r->busy_share) * between_w + r->busy_share * d->uncore_w;

	w += r->ungated_cus * cu_w +
	     (r->flop * d->pj_per_flop * v2 + r->bytes * d->pj_per_byte) * 1e-3;
	w += d->leakage_w_per_k * v2 * fmax(0, m->temp_c - idle_c);
	m->energy_j += w * 1e-6;
	m->temp_c +=
		(d->ambient_c + w * d->thermal_ohm_k_per_w - m->temp_c) * 1e-6 / d->thermal_tau_s;
	m->busy += (r->busy_share - m->busy) * (1 - exp(-1e-3 / d->dpm_ramp_ms));
	if (m->busy >= d->dpm_up_busy)
		m->level = top;
	m->low_us = m->busy < d->dpm_down_busy ? m->low_us + 1 : 0;
	if (m->low_us >= d->dpm_hold_ms * 1e3 && m->level > d->dpm_idle_level) {
		m->level--;
		m->low_us = 0;
	}
}

static void test_a_model_in_microseconds_gives_the_same(void **state)
{
	struct naive m = {.temp_c = device.ambient_c, .level = device.dpm_idle_level};
	struct plant_card *c;
	struct plant_card_state s;
	uint64_t now_ns = 0;

	(void)state;
	device.idle_active_share = 0.5;
	c = new_card();
	for (uint32_t phase = 0; phase < 100; phase++) {
		struct plant_rates rates = phase_rates(phase);
		uint64_t us = phase_ns(phase) / 1000 + 1;

		for (uint64_t i = 0; i < us; i++)
			naive_microsecond(&m, &rates);
		now_ns += us * 1000;
		while (plant_card_advance(c, now_ns, &rates) < now_ns)
			;
	}
	plant_card_get(c, &s);
	assert_close("energy", s.energy_j / m.energy_j, 1, 1e-4);
	assert_close("temperature", s.temp_c, m.temp_c, 1e-4);
	assert_int_equal(plant_card_level(c), m.level);
	plant_card_free(c);
}

/* ---- where it stops ---- */

static void test_it_stops_where_a_range_takes_effect(void **state)
{
	const struct plant_rates idle = {0};
	struct plant_card *c;

	(void)state;
	device.switch_ms = 12.345678;
	c = new_card();
	assert_int_equal(plant_card_advance(c, 100 * MS, &idle), 100 * MS);
	plant_card_set_perf_level(c, PLANT_PERF_HIGH);
	assert_int_equal(plant_card_advance(c, 200 * MS, &idle), 112345678);
	assert_int_equal(plant_card_level(c), device.n_levels - 1);
	assert_int_equal(plant_card_advance(c, 200 * MS, &idle), 200 * MS);
	/* A range that does not change the clock does not stop it. */
	plant_card_set_perf_level(c, PLANT_PERF_MANUAL);
	plant_card_set_range(c, device.n_levels - 1, device.n_levels - 1);
	assert_int_equal(plant_card_advance(c, 300 * MS, &idle), 300 * MS);
	plant_card_free(c);
	/* Without a time to switch it is there before any time passes. */
	device.switch_ms = 0;
	c = new_card();
	plant_card_set_perf_level(c, PLANT_PERF_LOW);
	assert_int_equal(plant_card_advance(c, 100 * MS, &idle), 0);
	assert_int_equal(plant_card_level(c), 0);
	assert_int_equal(plant_card_advance(c, 100 * MS, &idle), 100 * MS);
	plant_card_free(c);
}

static void test_it_stops_where_dpm_or_the_limiter_change_the_clock(void **state)
{
	struct plant_rates busy = {.busy_share = 1, .ungated_cus = 60, .flop = 4000, .bytes = 60};
	const double up_ns = -log(1 - device.dpm_up_busy) * device.dpm_ramp_ms * 1e6;
	struct plant_card *c = new_card();
	uint32_t changes = 0;
	uint64_t now_ns;

	(void)state;
	now_ns = plant_card_advance(c, NSEC_PER_SEC, &busy);
	assert_close("up", (double)now_ns, up_ns, 1);
	plant_card_set_cap_uw(c, 120 * UW_PER_W);
	while (now_ns < NSEC_PER_SEC) {
		uint64_t before_ns = now_ns;

		now_ns = plant_card_advance(c, NSEC_PER_SEC, &busy);
		assert_true(now_ns > before_ns);
		/* The limiter decides on its own period. */
		if (now_ns < NSEC_PER_SEC)
			assert_int_equal(now_ns % (uint64_t)(device.limiter_ms * 1e6), 0);
		changes += now_ns < NSEC_PER_SEC;
	}
	assert_true(changes > 2);
	assert_true(plant_card_level(c) < device.n_levels - 1);
	plant_card_free(c);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, copy_device)
	const struct CMUnitTest tests[] = {
		TEST(test_energy_and_clock_do_not_depend_on_how_time_is_cut),
		TEST(test_heat_and_leakage_of_long_slices_are_those_of_short_ones),
		TEST(test_a_model_in_microseconds_gives_the_same),
		TEST(test_it_stops_where_a_range_takes_effect),
		TEST(test_it_stops_where_dpm_or_the_limiter_change_the_clock),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
