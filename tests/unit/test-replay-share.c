/* SPDX-License-Identifier: Apache-2.0 */
/* Whole requests sharing a card, as a simulation has them, against the launches that they are made
 * of, which share it by plant/share.h one by one: service times under load from each other. */
#include "plant/share.h"
#include "simulation-fixture.h"

#define MAX_MODELS   4
#define MAX_LAUNCHES 4096
#define LAUNCHES_NS  3e8 /* device time that is run launch by launch */

struct stream {
	struct plant_launch launches[MAX_LAUNCHES];
	uint32_t n, at;
	double left; /* of the present one */
	struct plant_running running;
	uint64_t requests;
};

static struct plant_model *models[MAX_MODELS];
static struct costs *costs[MAX_MODELS];
static struct stream streams[MAX_MODELS];

static void load(uint32_t i, const char *name)
{
	struct ini_error error;
	char path[256];

	(void)snprintf(path, sizeof(path), COFRIS_SOURCE_DIR "/profiles/models/%s.ini", name);
	free(models[i]);
	models[i] = NULL;
	assert_int_equal(plant_model_load(path, &models[i], &error), 0);
}

/* Launches stand in the file by classes; a request has them all over its time, and each stream in
 * another order, so that none runs in step with another. */
static void shuffle(struct stream *s, uint64_t seed)
{
	for (uint32_t i = s->n - 1; i > 0; i--) {
		uint32_t j = (uint32_t)(plant_uniform(seed, i) * i);
		struct plant_launch t = s->launches[i];

		s->launches[i] = s->launches[j];
		s->launches[j] = t;
	}
}

static void stream_init(struct stream *s, const struct plant_model *m, uint32_t batch,
			uint64_t seed)
{
	*s = (struct stream){.left = 1};
	for (uint32_t i = 0; i < m->n_kernels; i++)
		for (uint32_t j = 0; j < m->kernels[i].count; j++) {
			assert_true(s->n < MAX_LAUNCHES);
			s->launches[s->n++] = plant_kernel_launch(&m->kernels[i], batch);
		}
	shuffle(s, seed);
}

static void stream_begin(const struct plant_cus *c, struct stream *s, const struct cu_mask *mask)
{
	s->running = (struct plant_running){
		.launch = s->launches[s->at],
		.mask = mask,
		.workgroup_waves = 4,
		.slots = PLANT_WAVE_SLOTS,
	};
	plant_running_init(c, &s->running);
}

static void stream_go(const struct plant_cus *c, struct stream *s, double ns,
		      const struct cu_mask *mask)
{
	s->left -= ns / s->running.ns;
	if (s->left > 1e-9)
		return;
	s->left = 1;
	s->at = (s->at + 1) % s->n;
	s->requests += s->at == 0;
	stream_begin(c, s, mask);
}

/* Mean service times of requests back to back, launch by launch. */
static void run_launches(uint32_t sclk_mhz, const struct cu_mask *masks, uint32_t n, double *ret_ns)
{
	struct plant_running *running[MAX_MODELS];
	struct plant_cus c;
	double now_ns = 0;

	plant_cus_init(&c, &fixture.truth.device);
	for (uint32_t i = 0; i < n; i++) {
		stream_begin(&c, &streams[i], &masks[i]);
		running[i] = &streams[i].running;
	}
	while (now_ns < LAUNCHES_NS) {
		double step_ns = INFINITY;

		plant_share(&c, sclk_mhz, running, n, NULL, 0);
		for (uint32_t i = 0; i < n; i++)
			step_ns = fmin(step_ns, streams[i].left * streams[i].running.ns);
		for (uint32_t i = 0; i < n; i++)
			stream_go(&c, &streams[i], step_ns, &masks[i]);
		now_ns += step_ns;
	}
	for (uint32_t i = 0; i < n; i++)
		ret_ns[i] = now_ns /
			    ((double)streams[i].requests + (double)streams[i].at / streams[i].n);
}

/* The same by the simulation. */
static void run_requests(const struct configuration *c, uint32_t n, double *ret_ns)
{
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	struct simulation_load others[MAX_MODELS - 1];
	struct simulation_result results[MAX_MODELS];

	for (uint32_t i = 1; i < n; i++)
		others[i - 1] = (struct simulation_load){.costs = costs[i],
							 .workers = 1,
							 .saturated = true};
	fixture.options.costs = costs[0];
	fixture.options.saturated = true;
	fixture.options.duration_ns = SEC;
	fixture.options.others = others;
	fixture.options.n_others = n - 1;
	fixture.options.schedule = c;
	fixture.options.n_schedule = 1;
	assert_int_equal(simulation_new(&fixture.options, &s), 0);
	assert_int_equal(simulation_finish(s, simulation_run(s), results), 0);
	for (uint32_t i = 0; i < n; i++) {
		ret_ns[i] = results[i].length_s * 1e9 / (double)results[i].completed;
		simulation_result_done(&results[i]);
	}
}

/* ---- mixes ---- */

struct mix_case {
	const char *models[MAX_MODELS];
	uint32_t batch, level;
	struct cu_shape shapes[MAX_MODELS]; /* {0, 0}: all CUs, shared */
};

#define HALF                                                                                       \
	{                                                                                          \
		2, 15                                                                              \
	}
#define THIRD                                                                                      \
	{1, 15}, {2, 15},                                                                          \
	{                                                                                          \
		1, 15                                                                              \
	}
#define EACH                                                                                       \
	{1, 15}, {1, 15}, {1, 15},                                                                 \
	{                                                                                          \
		1, 15                                                                              \
	}

static const struct mix_case mixes[] = {
	{{"resnet50", "bert-base"}, 1, 8, {HALF, HALF}},
	{{"resnet50", "bert-base"}, 1, 8, {{0}}},
	{{"resnet50", "bert-base"}, 1, 2, {{0}}},
	{{"resnet50", "bert-base"}, 4, 8, {{0}}},
	{{"vgg19", "alexnet"}, 1, 8, {HALF, HALF}},
	{{"vgg19", "alexnet"}, 1, 8, {{0}}},
	{{"alexnet", "alexnet"}, 4, 5, {HALF, HALF}},
	{{"alexnet", "albert"}, 1, 8, {{0}}},
	{{"mobilenet-v2", "squeezenet"}, 1, 8, {HALF, HALF}},
	{{"mobilenet-v2", "squeezenet"}, 1, 8, {{0}}},
	{{"densenet201", "shufflenet"}, 1, 8, {{0}}},
	{{"resnet50", "alexnet", "mobilenet-v2"}, 1, 8, {THIRD}},
	{{"resnet50", "alexnet", "mobilenet-v2"}, 1, 8, {{0}}},
	{{"vgg19", "vgg19", "bert-base"}, 1, 8, {{0}}},
	{{"alexnet", "alexnet", "mobilenet-v2", "squeezenet"}, 1, 8, {EACH}},
	{{"resnet50", "bert-base", "mobilenet-v2", "squeezenet"}, 1, 8, {EACH}},
	{{"resnet50", "bert-base", "mobilenet-v2", "squeezenet"}, 1, 8, {{0}}},
	{{"alexnet", "alexnet", "alexnet", "alexnet"}, 1, 8, {{0}}},
};

static uint32_t set_up(const struct mix_case *m)
{
	uint32_t n = 0;

	for (; n < MAX_MODELS && m->models[n]; n++) {
		const struct costs_options o = {.n_batches = 2, .batches = {1, 4}};

		load(n, m->models[n]);
		stream_init(&streams[n], models[n], m->batch, FIXTURE_SEED + n);
		costs[n] = costs_free(costs[n]);
		assert_int_equal(costs_new(&fixture.truth, models[n], &o, &costs[n]), 0);
	}
	return n;
}

static void choose(const struct mix_case *m, uint32_t n, struct configuration *c,
		   struct cu_mask *masks)
{
	const struct cu_topology *t = &fixture.truth.device.topology;
	bool shared = cu_shape_cus(m->shapes[0]) == 0;

	for (uint32_t i = 0; i < n; i++) {
		int shape = costs_shape_index(costs[i], m->shapes[i]);

		assert_true(shape >= 0);
		c[i] = (struct configuration){(uint16_t)m->level, (uint16_t)shape,
					      (uint16_t)m->batch};
		cu_mask_all(t, &masks[i]);
	}
	if (!shared)
		assert_int_equal(cu_masks_pack(t, m->shapes, n, /* first_se= */ 0, masks), 0);
}

static void test_requests_take_as_long_together_as_their_launches(void **state)
{
	double squares = 0, worst = 0;
	uint32_t count = 0;

	(void)state;
	fixture_steady_clock();
	for (size_t i = 0; i < ARRAY_SIZE(mixes); i++) {
		const struct mix_case *m = &mixes[i];
		double launches_ns[MAX_MODELS], requests_ns[MAX_MODELS];
		struct configuration c[MAX_MODELS];
		struct cu_mask masks[MAX_MODELS];
		uint32_t n = set_up(m);

		choose(m, n, c, masks);
		run_launches(fixture.truth.device.level_mhz[m->level], masks, n, launches_ns);
		run_requests(c, n, requests_ns);
		for (uint32_t j = 0; j < n; j++, count++) {
			double alone_ns = costs_get(costs[j], c[j].level, c[j].shape, m->batch).ns;
			/* Completions are per request. */
			double error = requests_ns[j] * m->batch / launches_ns[j] - 1;

			print_message("%-13s %s: launches x%.3f, requests %+.1f %%\n", m->models[j],
				      cu_shape_cus(m->shapes[0]) ? "masked" : "shared",
				      launches_ns[j] / alone_ns, 100 * error);
			squares += error * error;
			worst = fmax(worst, fabs(error));
		}
	}
	print_message("rms %.2f %%, worst %.1f %%\n", 100 * sqrt(squares / count), 100 * worst);
	assert_true(sqrt(squares / count) < 0.02);
	assert_true(worst < 0.06);
}

static int load_device(void **state)
{
	(void)state;
	return fixture_load_model(COFRIS_SOURCE_DIR "/profiles/models/resnet50.ini");
}

static int unload(void **state)
{
	for (uint32_t i = 0; i < MAX_MODELS; i++) {
		costs[i] = costs_free(costs[i]);
		free(models[i]);
	}
	return fixture_unload(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_requests_take_as_long_together_as_their_launches, fixture_begin,
			fixture_end),
	};

	return cmocka_run_group_tests(tests, load_device, unload);
}
