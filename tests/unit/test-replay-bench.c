/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated sweep against cards that are really stepped, and against its own errors. */
#include "base/macros.h"
#include "base/units.h"
#include "replay/truth.h"
#include "response/table.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define MI50	 COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini"
#define RESNET50 COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini"

#define TOLERANCE 0.002 /* of power, against a card that is stepped */

static struct plant_device *device;
static struct plant_model *model;
static const struct costs_options one = {.n_batches = 1, .batches = {1}};
static const struct costs_options two = {.n_batches = 2, .batches = {1, 8}};

static int load(void **state)
{
	struct ini_error error;

	(void)state;
	if (plant_device_load(MI50, &device, &error) < 0 ||
	    plant_model_load(RESNET50, &model, &error) < 0)
		return -1;
	return 0;
}

static int unload(void **state)
{
	(void)state;
	free(device);
	free(model);
	return 0;
}

static struct truth bench(enum plant_gating gating)
{
	const struct truth_options o = {.gating = gating,
					.switch_ms = -1,
					.dpm_ramp_ms = -1,
					.idle_active_share = -1};
	struct truth t;

	assert_int_equal(truth_bench(device, &o, &t), 0);
	return t;
}

static struct surface *sweep(const struct truth *t, const struct bench_options *o)
{
	struct surface *s = NULL;

	assert_int_equal(bench_sweep(t, model, o, &s), 0);
	return s;
}

/* Mean power of the last of many time constants of heat. */
static struct plant_card_state step_cell(const struct truth *t, const struct surface_cell *c,
					 double *ret_w)
{
	_cleanup_(plant_card_freep) struct plant_card *card = NULL;
	const uint64_t step_ns = 2 * NSEC_PER_MSEC, settle_ns = 30 * NSEC_PER_SEC;
	uint32_t level = 0, mhz = 0;
	struct plant_card_state before, now;
	struct plant_cost cost = {0};

	while (t->device.level_mhz[level] != c->max_mhz)
		level++;
	assert_int_equal(plant_card_new(&t->device, &t->card, 0, &card), 0);
	plant_card_set_perf_level(card, PLANT_PERF_MANUAL);
	plant_card_set_range(card, 0, level);
	for (uint64_t now_ns = step_ns; now_ns <= settle_ns + NSEC_PER_SEC; now_ns += step_ns) {
		struct plant_activity a = {
			.busy_ns = step_ns,
			.ungated_cu_ns = (double)step_ns *
					 plant_ungated_cus(&t->device, t->card.gating, c->shape),
		};

		plant_card_get(card, &now);
		if (now.sclk_mhz != mhz) /* the work of a closed loop goes with the clock */
			cost = plant_request_cost(&t->device, model, now.sclk_mhz, c->shape,
						  c->batch);
		mhz = now.sclk_mhz;
		a.flop = cost.flop * (double)step_ns / cost.ns;
		a.bytes = cost.bytes * (double)step_ns / cost.ns;
		a.uncore_ns = cost.uncore_ns * (double)step_ns / cost.ns;
		plant_card_step(card, now_ns, &a);
		if (now_ns == settle_ns)
			plant_card_get(card, &before);
	}
	plant_card_get(card, &now);
	*ret_w = now.energy_j - before.energy_j;
	return now;
}

static void check_cells(const struct truth *t, const struct surface *s, uint32_t every)
{
	for (uint32_t i = 0; i < s->n_cells; i += every) {
		const struct surface_cell *c = &s->cells[i];
		double power_w;
		struct plant_card_state stepped = step_cell(t, c, &power_w);

		if (fabs(c->power_w / power_w - 1) > TOLERANCE ||
		    fabs(c->temp_c - stepped.temp_c) > 0.1 || c->mean_mhz != stepped.sclk_mhz)
			fail_msg("%u MHz, %u x %u, batch %u: %.2f W, %.1f C, %.0f MHz; stepped "
				 "%.2f W, %.1f C, %u MHz",
				 c->max_mhz, c->shape.n_se, c->shape.cus_per_se, c->batch,
				 c->power_w, c->temp_c, c->mean_mhz, power_w, stepped.temp_c,
				 stepped.sclk_mhz);
	}
}

static void cells_are_those_of_a_stepped_card(void **state)
{
	const struct bench_options o = {.batches = &two, .noiseless = true};
	_cleanup_(surface_freep) struct surface *s = NULL;
	struct truth t = bench(PLANT_GATING_NONE);

	(void)state;
	t.device.thermal_tau_s = 2; /* it comes to rest sooner, and no elsewhere */
	t.card.power_factor = 1.07;
	s = sweep(&t, &o);
	assert_int_equal(s->n_cells, 8 * 32 * 2);
	check_cells(&t, s, 37);
}

static void capped_cells_run_at_the_clock_that_fits(void **state)
{
	const struct bench_options o = {.batches = &one, .noiseless = true};
	_cleanup_(surface_freep) struct surface *s = NULL;
	struct truth t = bench(PLANT_GATING_NONE);
	uint32_t throttled = 0;

	(void)state;
	t.device.thermal_tau_s = 2;
	t.device.cap_w = 140;
	s = sweep(&t, &o);
	for (uint32_t i = 0; i < s->n_cells; i++) {
		const struct surface_cell *c = &s->cells[i];

		throttled += c->flags & SURFACE_THROTTLED;
		assert_int_equal(c->flags, c->mean_mhz < c->max_mhz ? SURFACE_THROTTLED : 0);
		assert_true(c->power_w <= 140);
	}
	assert_in_range(throttled, 10, s->n_cells - 10);
	check_cells(&t, s, 31);
}

static void gated_cards_are_swept_without_gating(void **state)
{
	const struct bench_options o = {.batches = &one, .noiseless = true};
	_cleanup_(surface_freep) struct surface *se = NULL, *cu = NULL, *none = NULL;
	struct truth t = bench(PLANT_GATING_SE), u = bench(PLANT_GATING_CU),
		     v = bench(PLANT_GATING_NONE);

	(void)state;
	se = sweep(&t, &o);
	cu = sweep(&u, &o);
	none = sweep(&v, &o);
	for (uint32_t i = 0; i < se->n_cells; i++) {
		assert_memory_equal(&se->cells[i], &cu->cells[i], sizeof(cu->cells[i]));
		if (se->cells[i].shape.n_se > 2)
			assert_true(se->cells[i].power_w == none->cells[i].power_w);
		else
			assert_true(se->cells[i].power_w > none->cells[i].power_w);
	}
}

struct moments {
	double n, sum, squares;
};

static void add(struct moments *m, double x)
{
	m->n++;
	m->sum += x;
	m->squares += x * x;
}

/* Mean 0 and a scatter that the stated errors cover, but do not exaggerate. */
static void check_errors(const char *what, const struct moments *m)
{
	double mean = m->sum / m->n, rms = sqrt(m->squares / m->n);

	if (fabs(mean) > 4 / sqrt(m->n) || rms > 1.15 || rms < 0.4)
		fail_msg("%s: errors over their standard errors have mean %.3f and rms %.3f", what,
			 mean, rms);
}

static void errors_are_as_stated(void **state)
{
	_cleanup_(surface_freep) struct surface *exact = NULL, *s = NULL;
	struct bench_options o = {.batches = &one, .seed = 5, .noiseless = true};
	struct truth t = bench(PLANT_GATING_NONE);
	struct moments power = {0}, capacity = {0}, median = {0};

	(void)state;
	exact = sweep(&t, &o);
	o.noiseless = false;
	s = sweep(&t, &o);
	assert_int_equal(s->n_cells, exact->n_cells);
	for (uint32_t i = 0; i < s->n_cells; i++) {
		const struct surface_cell *a = &s->cells[i], *b = &exact->cells[i];

		add(&power, (a->power_w - b->power_w) / a->power_se);
		add(&capacity, (a->capacity_rps - b->capacity_rps) / a->capacity_se);
		/* The median of n lognormal values: its error is 1.253 of the mean's. */
		add(&median, (a->service_ns[50] / (double)b->service_ns[50] - 1) /
				     (1.2533 * t.jitter_sigma / sqrt(a->samples)));
		assert_true(fabs(a->service_ns[95] / (double)b->service_ns[95] - 1) < 0.02);
		assert_in_range(a->samples, 60, 20000);
		assert_true(a->power_se > 0.02 && a->power_se < 0.2);
	}
	check_errors("power", &power);
	check_errors("capacity", &capacity);
	check_errors("median", &median);
	assert_true(fabs(s->t0_ns / exact->t0_ns - 1) < 0.02);
	for (uint32_t i = 1; i < s->n_levels; i++) {
		assert_true(fabs(s->idle_power_w[i] - exact->idle_power_w[i]) < 0.5);
		assert_true(fabs(s->active_idle_power_w[i] - exact->active_idle_power_w[i]) < 0.5);
	}
	/* 925 and 930 MHz count as one level. */
	assert_true(isnan(s->idle_power_w[0]) && isnan(s->active_idle_power_w[0]));
}

/* A stale sensor gives fewer readings, and so larger errors. */
static void a_stale_sensor_is_known_as_such(void **state)
{
	_cleanup_(surface_freep) struct surface *fresh = NULL, *stale = NULL;
	const struct bench_options o = {.batches = &one, .seed = 5, .quick = true};
	struct truth t = bench(PLANT_GATING_NONE);

	(void)state;
	fresh = sweep(&t, &o);
	t.device.sensor_period_ms = 500;
	stale = sweep(&t, &o);
	for (uint32_t i = 0; i < fresh->n_cells; i++)
		assert_true(stale->cells[i].power_se > 2 * fresh->cells[i].power_se);
	assert_true(stale->sensor_hz <= 2 && fresh->sensor_hz > 20 && fresh->sensor_hz <= 100);
}

/* The noiseless quantiles are the jitter's: their trapezium mean is its mean. */
static void noiseless_services_have_the_mean_of_the_jitter(void **state)
{
	const struct bench_options o = {.batches = &one, .noiseless = true};
	_cleanup_(surface_freep) struct surface *s = NULL;
	struct truth t = bench(PLANT_GATING_NONE);
	const struct surface_cell *b;
	double sum = 0, ns;

	(void)state;
	s = sweep(&t, &o);
	b = surface_baseline(s);
	assert_non_null(b);
	ns = plant_request_cost(&t.device, model, b->max_mhz, b->shape, 1).ns;
	assert_true(fabs(b->capacity_rps * ns / 1e9 - 1) < 1e-9);
	for (uint32_t q = 0; q < SURFACE_QUANTILES; q++)
		sum += b->service_ns[q] * (q == 0 || q == SURFACE_QUANTILES - 1 ? 0.5 : 1);
	assert_true(fabs(sum / (SURFACE_QUANTILES - 1) / ns - 1) < 1e-4);
	assert_true(fabs(b->service_ns[95] / ns - exp(1.6449 * 0.02 - 0.0002)) < 1e-3);
	assert_true(s->rated_rps == 0.7 * s->capacity_rps && s->capacity_rps == b->capacity_rps);
	assert_true(s->t0_ns > b->service_ns[95]);
}

static size_t write_surface(const struct surface *s, char **ret)
{
	size_t size;
	FILE *f = open_memstream(ret, &size);

	assert_non_null(f);
	assert_int_equal(surface_write(f, s), 0);
	assert_int_equal(fclose(f), 0);
	return size;
}

static void same_seed_same_bytes(void **state)
{
	_cleanup_(surface_freep) struct surface *a = NULL, *b = NULL, *c = NULL;
	_cleanup_(freep) char *text_a = NULL, *text_b = NULL, *text_c = NULL;
	struct bench_options o = {.batches = &one, .seed = 9};
	struct truth t = bench(PLANT_GATING_NONE);

	(void)state;
	a = sweep(&t, &o);
	b = sweep(&t, &o);
	o.seed = 10;
	c = sweep(&t, &o);
	assert_int_equal(write_surface(a, &text_a), write_surface(b, &text_b));
	(void)write_surface(c, &text_c);
	assert_string_equal(text_a, text_b);
	assert_string_not_equal(text_a, text_c);
}

/* What a profiler writes, the strict reader takes. */
static void surfaces_are_read_back(void **state)
{
	const struct bench_options o = {.batches = &two, .seed = 9, .quick = true};
	_cleanup_(surface_freep) struct surface *s = NULL, *again = NULL;
	_cleanup_(freep) struct response_table *table = NULL;
	struct truth t = bench(PLANT_GATING_CU);
	struct table_options options = TABLE_OPTIONS_DEFAULT;
	struct surface_error error;
	FILE *f = tmpfile();

	(void)state;
	s = sweep(&t, &o);
	assert_non_null(f);
	assert_int_equal(surface_write(f, s), 0);
	rewind(f);
	assert_int_equal(surface_read(f, &again, &error), 0);
	assert_int_equal(again->n_cells, s->n_cells);
	(void)fclose(f);
	options.gating = TABLE_GATING_CU;
	assert_int_equal(response_table_derive(again, &options, &table, &error), 0);
	assert_in_range(table->n_rows, TABLE_STEPS / 2, TABLE_MAX_ROWS);
}

static void nonsense_is_refused(void **state)
{
	static const struct costs_options bad_batches = {.n_batches = 1, .batches = {3}};
	const struct bench_options bad[] = {
		{.batches = &bad_batches},
		{.batches = &one, .cell_s = 3601},
		{.batches = &one, .cell_s = INFINITY},
	};
	struct truth t = bench(PLANT_GATING_NONE);
	struct surface *s = NULL;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(bench_sweep(&t, model, &bad[i], &s), -EINVAL);
		assert_null(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cells_are_those_of_a_stepped_card),
		cmocka_unit_test(capped_cells_run_at_the_clock_that_fits),
		cmocka_unit_test(gated_cards_are_swept_without_gating),
		cmocka_unit_test(errors_are_as_stated),
		cmocka_unit_test(a_stale_sensor_is_known_as_such),
		cmocka_unit_test(noiseless_services_have_the_mean_of_the_jitter),
		cmocka_unit_test(same_seed_same_bytes),
		cmocka_unit_test(surfaces_are_read_back),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
