/* SPDX-License-Identifier: Apache-2.0 */
/* Bench and service cards, and the ensemble. */
#include "base/macros.h"
#include "replay/ensemble.h"
#include "replay/truth.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define MI50 COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini"

#define DEFAULTS .switch_ms = -1, .dpm_ramp_ms = -1, .idle_active_share = -1

static struct plant_device *device;

static int load(void **state)
{
	struct ini_error error;

	(void)state;
	return plant_device_load(MI50, &device, &error) < 0 ? -1 : 0;
}

static int unload(void **state)
{
	(void)state;
	free(device);
	return 0;
}

static struct truth bench(void)
{
	const struct truth_options o = {.gating = PLANT_GATING_CU, .seed = 7, DEFAULTS};
	struct truth t;

	assert_int_equal(truth_bench(device, &o, &t), 0);
	return t;
}

static void bench_card_is_the_file(void **state)
{
	struct truth t = bench();

	(void)state;
	assert_memory_equal(&t.device, device, sizeof(*device));
	assert_int_equal(t.card.gating, PLANT_GATING_CU);
	assert_true(t.card.time_factor == 1 && t.card.power_factor == 1);
	assert_true(t.jitter_sigma == 0.02 && t.stall_p == 0 && t.drift_per_s == 0);
}

static void what_is_unknown_can_be_set(void **state)
{
	const struct truth_options o = {.switch_ms = 200,
					.dpm_ramp_ms = 50,
					.idle_active_share = 0.5};
	struct truth t;

	(void)state;
	assert_int_equal(truth_bench(device, &o, &t), 0);
	assert_true(t.device.switch_ms == 200 && t.device.dpm_ramp_ms == 50);
	assert_true(t.device.idle_active_share == 0.5);
}

static void nonsense_is_refused(void **state)
{
	static const struct truth_options bad[] = {
		{.switch_ms = NAN, .dpm_ramp_ms = -1, .idle_active_share = -1},
		{.switch_ms = -1, .dpm_ramp_ms = INFINITY, .idle_active_share = -1},
		{.switch_ms = -1, .dpm_ramp_ms = -1, .idle_active_share = 1.01},
		{.switch_ms = 10001, .dpm_ramp_ms = -1, .idle_active_share = -1},
	};
	struct truth t;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(truth_bench(device, &bad[i], &t), -EINVAL);
}

static bool is_within(double value, double low, double high)
{
	return value >= low * (1 - 1e-12) && value <= high * (1 + 1e-12);
}

/* Each variate by itself fills its range. */
static void service_cards_fill_their_ranges(void **state)
{
	struct truth b = bench(), t;
	double low = 2, high = 0, sum = 0;
	const uint32_t n = 1000;

	(void)state;
	for (uint32_t i = 0; i < n; i++) {
		const struct plant_device *d = &t.device;
		double slower = 0;

		assert_int_equal(truth_service(&b, /* seed= */ 3, i, &t), 0);
		slower = device->efficiency / d->efficiency;
		assert_true(is_within(slower, 0.9, 1.15));
		assert_true(is_within(device->memory_gbps / d->memory_gbps, 0.9, 1.15));
		assert_true(is_within(device->cu_gbps / d->cu_gbps, 0.9, 1.15));
		assert_true(is_within(d->dispatch_us / device->dispatch_us, 0.9, 1.15));
		assert_true(is_within(d->launch_us / device->launch_us, 0.9, 1.15));
		assert_true(is_within(t.card.power_factor, 0.95, 1.1));
		assert_true(is_within(t.jitter_sigma, 0.01, 0.05));
		assert_true(fabs(t.drift_per_s * 900) <= 0.02);
		assert_true(t.stall_p == 0.002 && t.stall_factor == 1.5);
		low = fmin(low, slower);
		high = fmax(high, slower);
		sum += slower;
	}
	assert_true(low < 0.902 && high > 1.148);
	assert_true(fabs(sum / n - 1.025) < 0.01);
}

static void service_cards_depend_on_seed_and_number_alone(void **state)
{
	struct truth b = bench(), t, again, other, third;

	(void)state;
	assert_int_equal(truth_service(&b, 3, 1, &t), 0);
	assert_int_equal(truth_service(&b, 3, 2, &other), 0);
	assert_int_equal(truth_service(&b, 4, 1, &third), 0);
	assert_int_equal(truth_service(&b, 3, 1, &again), 0);
	assert_memory_equal(&t, &again, sizeof(t));
	assert_true(t.device.efficiency != other.device.efficiency);
	assert_true(t.device.efficiency != third.device.efficiency);
	assert_true(t.card.seed != other.card.seed && t.card.seed != b.card.seed);
	assert_int_equal(t.card.gating, b.card.gating);
}

/* ---- the ensemble ---- */

static int bench_member(const char *name, uint32_t member, struct truth *ret)
{
	const struct truth_options o = {.gating = PLANT_GATING_SE, .member = member, DEFAULTS};
	struct plant_device d = *device;

	(void)snprintf(d.name, sizeof(d.name), "%s", name);
	return truth_bench(&d, &o, ret);
}

/* What no column names is the file's. */
static void members_differ_in_their_columns_alone(void **state)
{
	struct truth members[TRUTH_ENSEMBLE + 1];

	(void)state;
	for (uint32_t m = 0; m <= TRUTH_ENSEMBLE; m++) {
		struct plant_device d;

		assert_int_equal(bench_member("mi50", m, &members[m]), 0);
		for (uint32_t k = 0; k < m; k++)
			assert_memory_not_equal(&members[k].device, &members[m].device, sizeof(d));
		d = members[m].device;
		for (uint32_t i = 0; i < ENSEMBLE_COLUMNS; i++) {
			const struct ensemble_column *c = &ensemble_columns[i];
			double *value = ensemble_value(&d, c);

			assert_true(*value >= c->min && *value <= c->max);
			*value = *ensemble_value(device, c);
		}
		assert_memory_equal(&d, device, sizeof(d));
	}
}

static void what_has_no_ensemble_is_said_so(void **state)
{
	struct truth t;

	(void)state;
	assert_int_equal(bench_member("p40", 1, &t), -ENOENT);
	assert_int_equal(bench_member("p40", 0, &t), 0);
	assert_int_equal(bench_member("mi50", TRUTH_ENSEMBLE + 1, &t), -EINVAL);
}

/* The shipped file, for changes. */
static char *shipped_text(void)
{
	FILE *f = fopen(COFRIS_SOURCE_DIR "/profiles/devices/mi50-ensemble.csv", "re");
	char *text = calloc(1, 65536);

	assert_non_null(f);
	assert_non_null(text);
	assert_in_range(fread(text, 1, 65535, f), 1000, 65534);
	(void)fclose(f);
	return text;
}

static int read_text(const char *text, size_t size, uint32_t member, struct plant_device *d)
{
	FILE *f = fmemopen((void *)text, size, "r");
	int r;

	assert_non_null(f);
	r = ensemble_read(f, member, d);
	(void)fclose(f);
	return r;
}

static void broken_files_are_refused(void **state)
{
	static const struct {
		const char *what, *with;
	} changes[] = {
		{"member,efficiency", "member,memory_gbps"},
		{",half_card_saving", ",half_card_saving,more"},
		{",half_card_saving", ""},
		{"\n7,", "\n8,"},
		{"\n7,", "\n7,nan,"},
		{"\n20,", "\n20,0.1,"},
		{"\n3,0.", "\n3,9."},
		{"\n5,", "\n"},
		{"\n20,", "\n#0,"},
		{"\n20,", "\n"},
		{"\n2,", "\n\n2,"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		_cleanup_(freep) char *text = shipped_text();
		_cleanup_(freep) char *broken = NULL;
		struct plant_device d = *device;
		char *at = strstr(text, changes[i].what);

		assert_non_null(at);
		assert_true(asprintf(&broken, "%.*s%s%s", (int)(at - text), text, changes[i].with,
				     at + strlen(changes[i].what)) > 0);
		assert_int_equal(read_text(broken, strlen(broken), 1, &d), -EBADMSG);
		assert_memory_equal(&d, device, sizeof(d));
	}
}

static void cut_and_overlong_files_are_refused(void **state)
{
	_cleanup_(freep) char *text = shipped_text();
	_cleanup_(freep) char *long_line = malloc(70000);
	struct plant_device d = *device;
	size_t size = strlen(text);

	(void)state;
	for (size_t n = 1; n < size; n += 7)
		assert_int_equal(read_text(text, n, 1, &d), -EBADMSG);
	assert_non_null(long_line);
	(void)snprintf(long_line, 70000, "%s#%068000d\n", text, 0);
	assert_int_equal(read_text(long_line, strlen(long_line), 1, &d), -EBADMSG);
	assert_int_equal(read_text(text, size, 1, &d), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bench_card_is_the_file),
		cmocka_unit_test(what_is_unknown_can_be_set),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(service_cards_fill_their_ranges),
		cmocka_unit_test(service_cards_depend_on_seed_and_number_alone),
		cmocka_unit_test(members_differ_in_their_columns_alone),
		cmocka_unit_test(what_has_no_ensemble_is_said_so),
		cmocka_unit_test(broken_files_are_refused),
		cmocka_unit_test(cut_and_overlong_files_are_refused),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
