/* SPDX-License-Identifier: Apache-2.0 */
/* What a batch becomes on a card: nothing of the model's FLOP and bytes is lost or added. */
#include "support/cmocka-includes.h"
#include "worker/launch-plan.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define SEED UINT64_C(20240611)

static const char *const models[] = {"resnet50", "resnet152", "shufflenet", "vgg19"};

static struct plant_model *load(const char *name)
{
	struct plant_model *m;
	struct ini_error error;
	char path[256];

	(void)snprintf(path, sizeof(path), COFRIS_SOURCE_DIR "/profiles/models/%s.ini", name);
	assert_int_equal(plant_model_load(path, &m, &error), 0);
	return m;
}

static char weights[1], data0[1], data1[1];

static struct launch_buffers buffers(const struct plant_model *m, uint32_t batch)
{
	return (struct launch_buffers){
		.weights = weights,
		.data = {data0, data1},
		.weights_vectors = launch_weights_vectors(m),
		.data_vectors = launch_data_vectors(m, batch),
	};
}

static struct launch_plan *plan(const struct plant_model *m, uint32_t batch)
{
	struct launch_plan *p = calloc(1, sizeof(*p));
	struct launch_buffers b = buffers(m, batch);

	assert_non_null(p);
	assert_int_equal(launch_plan_make(p, m, batch, &b), 0);
	return p;
}

/* All workgroups together do what the plan says they do, and stay inside the buffers' counts. */
static void check_stream(const struct layer_stream *s, uint32_t workgroups, double bytes)
{
	assert_true(s->n_vectors > 0);
	assert_true(s->first < s->n_vectors);
	assert_true(s->total <= s->n_vectors);
	assert_true((uint64_t)s->each * workgroups >= s->total);
	assert_true(s->total == 0 || (uint64_t)(s->each - 1) * workgroups < s->total);
	assert_true(fabs((double)s->total * LAYER_VECTOR - bytes) < LAYER_VECTOR);
}

static void check_totals(const struct plant_model *m, uint32_t batch)
{
	struct launch_plan *p = plan(m, batch);

	assert_int_equal(p->batch, batch);
	assert_int_equal(p->n_launches, m->n_kernels);
	for (uint32_t i = 0; i < m->n_kernels; i++) {
		const struct plant_kernel *k = &m->kernels[i];
		const struct launch *l = &p->launches[i];
		double half = (k->bytes - k->fixed_bytes) * batch / 2;
		double bytes = k->fixed_bytes + 2 * half, flop = k->flop * batch;

		assert_int_equal(l->count, k->count);
		assert_int_equal(l->workgroups, k->workgroups * batch);
		/* Rounded to whole FLOP and bytes of a workgroup. */
		assert_true(fabs((double)l->args.flop * l->workgroups - flop) <= l->workgroups);
		assert_true(fabs((double)l->args.bytes * l->workgroups - bytes) <= l->workgroups);
		check_stream(&l->args.weights, l->workgroups, k->fixed_bytes);
		check_stream(&l->args.in, l->workgroups, half);
		check_stream(&l->args.out, l->workgroups, half);
	}
	free(p);
}

static void test_every_batch_of_every_model_keeps_its_flop_and_bytes(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(models); i++) {
		struct plant_model *m = load(models[i]);

		for (uint32_t batch = 1; batch <= 64; batch = batch * 2 + 1)
			check_totals(m, batch);
		free(m);
	}
}

static void test_each_launch_reads_weights_of_its_own(void **state)
{
	struct plant_model *m = load("resnet50");
	struct launch_plan *p = plan(m, 4);
	uint64_t next = 0;

	(void)state;
	for (uint32_t k = 0; k < p->n_launches; k++)
		for (uint32_t i = 0; i < p->launches[k].count; i++) {
			struct layer_args a;

			launch_args(&p->launches[k], i, 1, &a);
			if (a.weights.total > 0)
				assert_int_equal(a.weights.first, next);
			next += a.weights.total;
			assert_true(next <= launch_weights_vectors(m));
		}
	assert_int_equal(next, launch_weights_vectors(m));
	/* About the parameters that the model's file names, as 32-bit numbers. */
	assert_true(fabs((double)next * LAYER_VECTOR / (25557032 * 4.0) - 1) < 0.01);
	free(p);
	free(m);
}

static void test_each_launch_reads_what_the_one_before_wrote(void **state)
{
	struct plant_model *m = load("vgg19");
	struct launch_plan *p = plan(m, 1);
	const void *written = data0;

	(void)state;
	for (uint32_t k = 0; k < p->n_launches; k++)
		for (uint32_t i = 0; i < p->launches[k].count; i++) {
			struct layer_args a;

			launch_args(&p->launches[k], i, 1, &a);
			assert_ptr_equal(a.in.data, written);
			assert_ptr_not_equal(a.out.data, written);
			assert_ptr_equal(a.weights.data, weights);
			written = a.out.data;
		}
	free(p);
	free(m);
}

static void test_a_factor_is_on_flop_and_bytes_and_not_on_workgroups(void **state)
{
	struct plant_model *m = load("resnet50");
	struct launch_plan *p = plan(m, 1);

	(void)state;
	(void)printf("seed %llu\n", (unsigned long long)SEED);
	for (uint64_t n = 0; n < 1000; n++) {
		const struct launch *l = &p->launches[plant_hash(SEED, n) % p->n_launches];
		double factor = 0.5 + 3 * plant_uniform(SEED, n);
		struct layer_args a;

		launch_args(l, 0, factor, &a);
		assert_true(fabs((double)a.flop - (double)l->args.flop * factor) <= 0.5);
		assert_true(fabs((double)a.bytes - (double)l->args.bytes * factor) <= 0.5);
		for (int s = 0; s < 3; s++) {
			const struct layer_stream *was = (&l->args.weights) + s;
			const struct layer_stream *is = (&a.weights) + s;

			assert_int_equal(is->total, (unsigned int)ceil(was->total * factor));
			assert_true((uint64_t)is->each * l->workgroups >= is->total);
			assert_int_equal(is->n_vectors, was->n_vectors);
		}
	}
	free(p);
	free(m);
}

static void test_a_huge_factor_stays_in_the_kernels_numbers(void **state)
{
	struct plant_model *m = load("vgg19");
	struct launch_plan *p = plan(m, 32);

	(void)state;
	for (uint32_t k = 0; k < p->n_launches; k++) {
		struct layer_args a;

		launch_args(&p->launches[k], 0, 1e6, &a);
		assert_true(a.in.total <= LAYER_MAX_VECTORS);
		assert_true(a.in.each <= LAYER_MAX_VECTORS);
		assert_true(a.weights.first < a.weights.n_vectors);
	}
	free(p);
	free(m);
}

static struct plant_model *one_kernel(uint32_t workgroups, double bytes, double fixed_bytes)
{
	struct plant_model *m = calloc(1, sizeof(*m));

	m->n_kernels = 1;
	m->kernels[0] = (struct plant_kernel){
		.name = "one",
		.count = 1,
		.workgroups = workgroups,
		.flop = 1000,
		.bytes = bytes,
		.fixed_bytes = fixed_bytes,
	};
	return m;
}

static void test_what_no_launch_can_hold_is_refused(void **state)
{
	const struct {
		uint32_t workgroups;
		double bytes, fixed_bytes;
		uint32_t batch;
		int r;
	} cases[] = {
		{16777215, 1e6, 0, 1, 0},
		{16777216, 1e6, 0, 1, -ERANGE}, /* 2^32 threads */
		{16777215, 1e6, 0, 2, -ERANGE},
		{1, 34359738352.0, 0, 1, 0},	   /* all LAYER_MAX_VECTORS */
		{1, 34359738353.0, 0, 1, -ERANGE}, /* and a byte */
		{1, 1e9, 0, 4096, -ERANGE},
		{1, 1e12, 1e12, 1, -ERANGE},
	};
	struct launch_plan *p = calloc(1, sizeof(*p));

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct plant_model *m =
			one_kernel(cases[i].workgroups, cases[i].bytes, cases[i].fixed_bytes);
		struct launch_buffers b = buffers(m, cases[i].batch);

		assert_int_equal(launch_plan_make(p, m, cases[i].batch, &b), cases[i].r);
		assert_int_equal(p->batch, cases[i].r == 0 ? cases[i].batch : 0);
		free(m);
	}
	free(p);
}

/* More than a lane can count would be less than the card is told to do. */
static void test_flop_end_where_a_lane_counts_no_further(void **state)
{
	struct launch_plan *p = calloc(1, sizeof(*p));
	struct plant_model *m = one_kernel(10, 0, 0);
	struct launch_buffers b = buffers(m, 1);
	struct layer_args args;

	(void)state;
	m->kernels[0].flop = 10 * (double)LAYER_MAX_FLOP;
	assert_int_equal(launch_plan_make(p, m, 1, &b), 0);
	launch_args(&p->launches[0], 0, 1.5, &args);
	assert_int_equal(args.flop, LAYER_MAX_FLOP);
	assert_int_equal((args.flop + 2 * LAYER_LANES - 1) / (2 * LAYER_LANES), UINT32_MAX);
	m->kernels[0].flop *= 1.001;
	assert_int_equal(launch_plan_make(p, m, 1, &b), -ERANGE);
	free(m);
	free(p);
}

static void test_a_model_without_weights_or_data_still_has_buffers(void **state)
{
	struct plant_model *m = one_kernel(1, 0, 0);

	(void)state;
	assert_int_equal(launch_weights_vectors(m), 1);
	assert_int_equal(launch_data_vectors(m, 7), 1);
	check_totals(m, 7);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_batch_of_every_model_keeps_its_flop_and_bytes),
		cmocka_unit_test(test_each_launch_reads_weights_of_its_own),
		cmocka_unit_test(test_each_launch_reads_what_the_one_before_wrote),
		cmocka_unit_test(test_a_factor_is_on_flop_and_bytes_and_not_on_workgroups),
		cmocka_unit_test(test_a_huge_factor_stays_in_the_kernels_numbers),
		cmocka_unit_test(test_what_no_launch_can_hold_is_refused),
		cmocka_unit_test(test_flop_end_where_a_lane_counts_no_further),
		cmocka_unit_test(test_a_model_without_weights_or_data_still_has_buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
