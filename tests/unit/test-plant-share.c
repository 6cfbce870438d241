/* SPDX-License-Identifier: Apache-2.0 */
/* What kernels take that share a card: values worked out by hand, and what holds of all. */
#include "plant/share.h"
#include "support/cmocka-includes.h"
#include <math.h>
#include <string.h>

#define MI50	    COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini"
#define SEED	    UINT64_C(20260723)
#define MAX_KERNELS 6

static struct fixture {
	struct plant_device *device;
	struct plant_cus cus;
} fixture;

static int load(void **state)
{
	struct ini_error error;

	(void)state;
	if (plant_device_load(MI50, &fixture.device, &error) < 0)
		return -1;
	plant_cus_init(&fixture.cus, fixture.device);
	return 0;
}

static int unload(void **state)
{
	(void)state;
	free(fixture.device);
	return 0;
}

static void assert_near(double value, double expected, double tolerance)
{
	if (!(fabs(value - expected) <= tolerance * fabs(expected)))
		fail_msg("%.9g, expected %.9g within %g", value, expected, tolerance);
}

static struct cu_mask mask_of(uint32_t low, uint32_t high)
{
	return (struct cu_mask){.n_bits = 60, .words = {low, high}};
}

/* A kernel that fills its CUs, bound by them. */
static struct plant_running full_kernel(const struct cu_mask *mask)
{
	struct plant_running k = {
		.launch = {.workgroups = 24000, .flop_per_workgroup = 24e6},
		.mask = mask,
		.workgroup_waves = 4,
		.slots = PLANT_WAVE_SLOTS,
	};

	plant_running_init(&fixture.cus, &k);
	return k;
}

static void share(struct plant_running *k, uint32_t n)
{
	struct plant_running *all[MAX_KERNELS];

	for (uint32_t i = 0; i < n; i++)
		all[i] = &k[i];
	plant_share(&fixture.cus, 1725, all, n, NULL, 0);
}

static void test_bits_name_cus_by_the_dealing_of_the_kernel(void **state)
{
	(void)state;
	assert_int_equal(fixture.cus.n, 60);
	for (uint32_t bit = 0; bit < 60; bit++)
		assert_int_equal(fixture.cus.se[bit], bit % 4);
}

static void test_alone_it_is_the_formula_on_every_mask_and_clock(void **state)
{
	static const struct plant_launch launches[] = {
		{1, 0, 0}, {1, 1e6, 64}, {61, 24e6, 1e5}, {2400, 1e3, 2e9}, {24000, 24e6, 1e9}};
	uint64_t n = 0;

	(void)state;
	print_message("seed %llu\n", (unsigned long long)SEED);
	for (uint32_t i = 0; i < 2000; i++) {
		struct cu_mask mask = mask_of((uint32_t)plant_hash(SEED, n) | 1,
					      (uint32_t)plant_hash(SEED, n + 1) & 0x0fffffff);
		uint32_t mhz = fixture.device->level_mhz[plant_hash(SEED, n + 2) % 9];
		struct plant_running k = {.launch = launches[i % ARRAY_SIZE(launches)],
					  .mask = &mask,
					  .workgroup_waves = 1 + (double)(i % 16),
					  .slots = 1 + (double)(i % 40)};
		struct plant_running *one = &k;

		n += 3;
		plant_running_init(&fixture.cus, &k);
		plant_share(&fixture.cus, mhz, &one, 1, NULL, 0);
		assert_true(k.rate == 1);
		assert_near(k.ns, plant_launch_ns(fixture.device, &k.launch, mhz, k.shape), 1e-12);
	}
}

static void test_masks_that_meet_share_and_others_do_not(void **state)
{
	static const struct {
		const char *name;
		uint32_t a[2], b[2];
		double rate_a, rate_b;
	} cases[] = {
		{"both on all", {~0u, 0x0fffffff}, {~0u, 0x0fffffff}, 1 / 2.0, 1 / 2.0},
		{"disjoint SEs", {0x33333333, 0x03333333}, {0xcccccccc, 0x0ccccccc}, 1, 1},
		{"disjoint CUs of the same SEs", {0x0000ffff, 0}, {0xffff0000, 0}, 1, 1},
		/* Of two SEs it has half, and they hold it back as a whole. */
		{"all and two SEs", {~0u, 0x0fffffff}, {0x33333333, 0x03333333}, 1 / 2.0, 1 / 2.0},
		/* 4 of 15 CUs of each SE at half: 13 of 15. */
		{"all and four CUs an SE", {~0u, 0x0fffffff}, {0xffff, 0}, 13 / 15.0, 1 / 2.0},
		{"one CU and itself", {0x1, 0}, {0x1, 0}, 1 / 2.0, 1 / 2.0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cu_mask a = mask_of(cases[i].a[0], cases[i].a[1]);
		struct cu_mask b = mask_of(cases[i].b[0], cases[i].b[1]);
		struct plant_running k[] = {full_kernel(&a), full_kernel(&b)};
		double alone = plant_launch_ns(fixture.device, &k[0].launch, 1725, k[0].shape);

		print_message("%s\n", cases[i].name);
		share(k, 2);
		assert_near(k[0].rate, cases[i].rate_a, 1e-12);
		assert_near(k[1].rate, cases[i].rate_b, 1e-12);
		/* 3 us of dispatch are not stretched. */
		assert_near((k[0].ns - 3000) * k[0].rate, alone - 3000, 1e-12);
	}
}

static void test_waves_weigh(void **state)
{
	struct cu_mask all;
	struct plant_running k[2];

	(void)state;
	cu_mask_all(&fixture.device->topology, &all);
	k[0] = full_kernel(&all);
	k[1] = full_kernel(&all);
	k[1].slots = 10; /* its registers allow no more */
	plant_running_init(&fixture.cus, &k[1]);
	share(k, 2);
	assert_near(k[0].rate, 0.8, 1e-12);
	assert_near(k[1].rate, 0.2, 1e-12);
	/* A kernel of one workgroup has a CU's waves against it, and is nothing to the other. */
	k[1] = full_kernel(&all);
	k[1].launch.workgroups = 1;
	plant_running_init(&fixture.cus, &k[1]);
	share(k, 2);
	assert_near(k[1].rate, 4 / 44.0, 1e-12);
	assert_near(k[0].rate, 40 / (40 + 4 / 60.0), 1e-12);
}

static void test_memory_is_shared_by_what_is_asked_for(void **state)
{
	double gbps = fixture.device->memory_gbps, alone;
	struct plant_running k[2], *one = &k[0];
	struct cu_mask all;

	(void)state;
	cu_mask_all(&fixture.device->topology, &all);
	for (int i = 0; i < 2; i++) {
		k[i] = full_kernel(&all);
		k[i].launch.flop_per_workgroup = 0;
		k[i].launch.bytes = 8e9 * (i + 1);
	}
	alone = plant_launch_ns(fixture.device, &k[0].launch, 1725, k[0].shape);
	share(k, 2);
	/* Both ask for all of it. */
	assert_near(k[0].ns, 2 * alone, 1e-3);
	assert_near(k[1].ns, 4 * alone, 1e-3);
	assert_near(k[0].launch.bytes / k[0].ns + k[1].launch.bytes / k[1].ns, gbps, 1e-3);
	/* Another process counts as much. */
	plant_share(&fixture.cus, 1725, &one, 1, NULL, gbps);
	assert_near(k[0].ns, 2 * alone, 1e-3);
	/* One that asks for nothing leaves the other all. */
	k[1].launch.bytes = 0;
	k[1].launch.flop_per_workgroup = 1e6;
	share(k, 2);
	assert_near(k[0].ns, alone, 1e-3);
}

static void test_another_process_counts_as_a_kernel_of_ones_own(void **state)
{
	struct cu_mask all, half = mask_of(0x33333333, 0x03333333);
	double others[PLANT_MAX_CUS] = {0}, with_kernel;
	struct plant_running k[2], *one = &k[0];

	(void)state;
	cu_mask_all(&fixture.device->topology, &all);
	k[0] = full_kernel(&all);
	k[1] = full_kernel(&half);
	share(k, 2);
	with_kernel = k[0].ns;
	for (uint32_t bit = 0; bit < 60; bit++)
		others[bit] = half.words[bit / 32] >> (bit % 32) & 1 ? 40 : 0;
	plant_share(&fixture.cus, 1725, &one, 1, others, 0);
	assert_near(k[0].ns, with_kernel, 1e-12);
}

static void test_without_a_cu_nothing_ends(void **state)
{
	struct cu_mask none = mask_of(0, 0), all;
	struct plant_running k[2];

	(void)state;
	cu_mask_all(&fixture.device->topology, &all);
	k[0] = full_kernel(&none);
	k[1] = full_kernel(&all);
	share(k, 2);
	assert_true(isinf(k[0].ns));
	assert_true(k[1].rate == 1);
}

/* Shares never give out more than there is, and one more kernel makes no other faster. */
static void test_random_sets_keep_within_the_card(void **state)
{
	uint64_t n = 1 << 20;

	(void)state;
	for (uint32_t round = 0; round < 500; round++) {
		struct plant_running k[MAX_KERNELS], before[MAX_KERNELS];
		struct cu_mask masks[MAX_KERNELS];
		uint32_t count = 2 + (uint32_t)(plant_hash(SEED, n++) % (MAX_KERNELS - 1));
		double cus = 0;

		for (uint32_t i = 0; i < count; i++, n += 2) {
			masks[i] = mask_of((uint32_t)plant_hash(SEED, n) | 1,
					   (uint32_t)plant_hash(SEED, n + 1) & 0x0fffffff);
			k[i] = full_kernel(&masks[i]);
		}
		share(k, count - 1);
		memcpy(before, k, sizeof(k));
		share(k, count);
		for (uint32_t i = 0; i < count; i++) {
			assert_true(k[i].rate > 0 && k[i].rate <= 1 + 1e-12);
			cus += k[i].rate * cu_shape_cus(k[i].shape);
			if (i + 1 < count)
				assert_true(k[i].ns >= before[i].ns);
		}
		assert_true(cus <= 60 + 1e-9);
	}
}

static void test_ungated_cus_of_a_mask(void **state)
{
	static const struct {
		uint32_t words[2];
		uint32_t none, se, cu;
	} cases[] = {
		{{~0u, 0x0fffffff}, 60, 60, 60},
		{{0x33333333, 0x03333333}, 57, 30, 30}, /* a tenth of the unused half saved */
		{{0x00000013, 0}, 57, 30, 3},
		{{0x7, 0}, 60, 45, 3},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct cu_mask m = mask_of(cases[i].words[0], cases[i].words[1]);

		assert_int_equal(plant_ungated_cus_of_mask(fixture.device, PLANT_GATING_NONE, &m),
				 cases[i].none);
		assert_int_equal(plant_ungated_cus_of_mask(fixture.device, PLANT_GATING_SE, &m),
				 cases[i].se);
		assert_int_equal(plant_ungated_cus_of_mask(fixture.device, PLANT_GATING_CU, &m),
				 cases[i].cu);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bits_name_cus_by_the_dealing_of_the_kernel),
		cmocka_unit_test(test_alone_it_is_the_formula_on_every_mask_and_clock),
		cmocka_unit_test(test_masks_that_meet_share_and_others_do_not),
		cmocka_unit_test(test_waves_weigh),
		cmocka_unit_test(test_memory_is_shared_by_what_is_asked_for),
		cmocka_unit_test(test_another_process_counts_as_a_kernel_of_ones_own),
		cmocka_unit_test(test_without_a_cu_nothing_ends),
		cmocka_unit_test(test_random_sets_keep_within_the_card),
		cmocka_unit_test(test_ungated_cus_of_a_mask),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
