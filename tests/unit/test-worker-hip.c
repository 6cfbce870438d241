/* SPDX-License-Identifier: Apache-2.0 */
/* The hip engine over a stand-in for HIP that counts what it gives out, takes only what it has
 * given, and can fail at any of its calls. */
#include "support/cmocka-includes.h"
#include "worker/engine-hip.h"
#include "worker/engine-model.h"
#include "worker/hip-kernels.h"
#include "worker/launch-plan.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#define CARD	    "0000:43:00.0"
#define MODEL(name) COFRIS_SOURCE_DIR "/profiles/models/" name ".ini"

enum kind { MEMORY, MODULE, EVENT, STREAM, PROGRAM, KINDS };

static struct fake {
	uint32_t calls, fail_at; /* the call that fails, 0: none */
	int error;
	uint32_t alive[KINDS], ever[KINDS];
	int n_devices, device;
	const char *bus_ids[3];
	bool no_code; /* the bundle is refused */
	uint32_t compiled;
	uint64_t bytes_alive;

	uint32_t launches, empty, init; /* of each kernel */
	double flop, bytes;
	uint32_t last_lanes, last_words;
	void *last_stream;
	uint64_t submitted, finished; /* launches: sent, waited for */
	uint64_t most_under_way;
	_Atomic int *stop_at_flag;
	uint64_t stop_at;
} fake;

struct object {
	enum kind kind;
	uint64_t size, mark;
	uint32_t words;
};

static int failing(void)
{
	return ++fake.calls == fake.fail_at ? fake.error : 0;
}

static int give(void **ret, enum kind kind, struct object **ret_object)
{
	struct object *o;
	int e = failing();

	if (e != 0)
		return e;
	o = calloc(1, sizeof(*o));
	o->kind = kind;
	fake.alive[kind]++;
	fake.ever[kind]++;
	*ret = o;
	if (ret_object)
		*ret_object = o;
	return 0;
}

static int take(void *object, enum kind kind)
{
	struct object *o = object;

	assert_non_null(o);
	assert_int_equal(o->kind, kind);
	fake.alive[kind]--;
	free(o);
	return 0;
}

static const char *fake_error_string(int error)
{
	return error == 2 ? "out of memory" : "made to fail";
}

static int fake_device_count(int *ret)
{
	int e = failing();

	if (e == 0)
		*ret = fake.n_devices;
	return e;
}

static int fake_bus_id(char *ret, int size, int device)
{
	int e = failing();

	assert_in_range(device, 0, fake.n_devices - 1);
	if (e == 0)
		(void)snprintf(ret, (size_t)size, "%s", fake.bus_ids[device]);
	return e;
}

static int fake_get_device(int *ret)
{
	*ret = fake.device;
	return 0;
}

static int fake_set_device(int device)
{
	int e = failing();

	if (e == 0)
		fake.device = device;
	return e;
}

static int fake_set_flags(unsigned int flags)
{
	assert_int_equal(flags, HIP_SCHEDULE_BLOCKING_SYNC);
	return 0;
}

static int fake_malloc(void **ret, size_t size)
{
	struct object *o;
	int e = give(ret, MEMORY, &o);

	assert_true(size > 0);
	if (e == 0) {
		o->size = size;
		fake.bytes_alive += size;
	}
	return e;
}

static int fake_free(void *memory)
{
	fake.bytes_alive -= ((struct object *)memory)->size;
	return take(memory, MEMORY);
}

static int fake_module_load(void **ret, const void *image)
{
	if (image == hip_kernels_bundle && fake.no_code)
		return 209; /* hipErrorNoBinaryForGpu */
	if (image != hip_kernels_bundle)
		assert_string_equal(image, "code");
	return give(ret, MODULE, NULL);
}

static int fake_module_unload(void *module)
{
	return take(module, MODULE);
}

static char layer, init, empty;

static int fake_function(void **ret, void *module, const char *name)
{
	const struct {
		const char *name;
		void *function;
	} rows[] = {{"cofris_layer", &layer}, {"cofris_init", &init}, {"cofris_empty", &empty}};
	int e = failing();

	assert_int_equal(((struct object *)module)->kind, MODULE);
	for (size_t i = 0; i < ARRAY_SIZE(rows) && e == 0; i++)
		if (strcmp(rows[i].name, name) == 0) {
			*ret = rows[i].function;
			return 0;
		}
	return e ? e : 500; /* hipErrorNotFound */
}

static void note_layer(const struct layer_args *a, unsigned int workgroups)
{
	fake.launches++;
	fake.flop += (double)a->flop * workgroups;
	fake.bytes += (double)a->bytes * workgroups;
	assert_int_equal(((struct object *)a->weights.data)->kind, MEMORY);
	assert_true((uint64_t)a->in.n_vectors * LAYER_VECTOR <=
		    ((struct object *)a->in.data)->size);
	assert_true((uint64_t)a->out.n_vectors * LAYER_VECTOR <=
		    ((struct object *)a->out.data)->size);
}

static int fake_launch(void *function, unsigned int grid_x, unsigned int grid_y,
		       unsigned int grid_z, unsigned int block_x, unsigned int block_y,
		       unsigned int block_z, unsigned int shared_bytes, void *stream,
		       void **arguments, void **extra)
{
	int e = failing();

	assert_true(grid_x >= 1 && grid_y == 1 && grid_z == 1 && block_y == 1 && block_z == 1);
	assert_int_equal(shared_bytes, 0);
	assert_null(arguments);
	assert_int_equal(((struct object *)stream)->kind, STREAM);
	if (e != 0)
		return e;
	if (function == &empty) {
		assert_null(extra);
		fake.empty++;
	} else {
		assert_ptr_equal(extra[0], HIP_LAUNCH_BUFFER);
		assert_ptr_equal(extra[2], HIP_LAUNCH_BUFFER_SIZE);
		assert_ptr_equal(extra[4], HIP_LAUNCH_END);
		assert_int_equal(*(size_t *)extra[3], function == &layer
							      ? sizeof(struct layer_args)
							      : sizeof(struct layer_init_args));
	}
	if (function == &layer)
		note_layer(extra[1], grid_x);
	if (function == &init)
		fake.init++;
	fake.submitted++;
	fake.most_under_way = MAX(fake.most_under_way, fake.submitted - fake.finished);
	fake.last_lanes = block_x;
	fake.last_stream = stream;
	fake.last_words = ((struct object *)stream)->words;
	if (fake.stop_at_flag && fake.submitted == fake.stop_at)
		atomic_store(fake.stop_at_flag, 1);
	return 0;
}

static int fake_event_create(void **ret, unsigned int flags)
{
	assert_int_equal(flags, HIP_EVENT_BLOCKING_SYNC);
	return give(ret, EVENT, NULL);
}

static int fake_event_destroy(void *event)
{
	return take(event, EVENT);
}

static int fake_event_record(void *event, void *stream)
{
	int e = failing();

	assert_int_equal(((struct object *)stream)->kind, STREAM);
	if (e == 0)
		((struct object *)event)->mark = fake.submitted;
	return e;
}

static int fake_event_synchronize(void *event)
{
	int e = failing();

	if (e == 0)
		fake.finished = MAX(fake.finished, ((struct object *)event)->mark);
	return e;
}

static int fake_elapsed(float *ret, void *start, void *end)
{
	int e = failing();

	assert_ptr_not_equal(start, end);
	assert_true(fake.finished >= ((struct object *)end)->mark);
	if (e == 0)
		*ret = 2.5F;
	return e;
}

static int fake_stream_create(void **ret, unsigned int flags)
{
	assert_int_equal(flags, 0);
	return give(ret, STREAM, NULL);
}

static int fake_stream_masked(void **ret, uint32_t words, _unused_ const uint32_t *mask)
{
	struct object *o;
	int e = give(ret, STREAM, &o);

	if (e == 0)
		o->words = words;
	return e;
}

static int fake_stream_query(void *stream)
{
	assert_int_equal(((struct object *)stream)->kind, STREAM);
	return 0;
}

static int fake_stream_synchronize(void *stream)
{
	int e = failing();

	assert_int_equal(((struct object *)stream)->kind, STREAM);
	if (e == 0)
		fake.finished = fake.submitted;
	return e;
}

static int fake_stream_destroy(void *stream)
{
	return take(stream, STREAM);
}

static int fake_rtc_create(void **ret, const char *source, _unused_ const char *name, int n_headers,
			   const char **headers, const char **header_names)
{
	assert_ptr_equal(source, hip_kernels_source);
	assert_int_equal(n_headers, 1);
	assert_ptr_equal(headers[0], hip_kernels_args_header);
	assert_string_equal(header_names[0], "layer-args.h");
	return give(ret, PROGRAM, NULL);
}

static int fake_rtc_compile(_unused_ void *program, _unused_ int n, _unused_ const char **options)
{
	int e = failing();

	fake.compiled += e == 0;
	return e;
}

static int fake_rtc_code_size(_unused_ void *program, size_t *ret)
{
	int e = failing();

	if (e == 0)
		*ret = sizeof("code");
	return e;
}

static int fake_rtc_code(_unused_ void *program, char *ret)
{
	int e = failing();

	if (e == 0)
		memcpy(ret, "code", sizeof("code"));
	return e;
}

static int fake_rtc_log_size(_unused_ void *program, size_t *ret)
{
	*ret = sizeof("what the compiler said");
	return 0;
}

static int fake_rtc_log(_unused_ void *program, char *ret)
{
	memcpy(ret, "what the compiler said", sizeof("what the compiler said"));
	return 0;
}

static int fake_rtc_destroy(void **program)
{
	return take(*program, PROGRAM);
}

static const struct hip_api fake_api = {
	.error_string = fake_error_string,
	.get_device_count = fake_device_count,
	.get_pci_bus_id = fake_bus_id,
	.get_device = fake_get_device,
	.set_device = fake_set_device,
	.set_device_flags = fake_set_flags,
	.malloc = fake_malloc,
	.free = fake_free,
	.module_load = fake_module_load,
	.module_unload = fake_module_unload,
	.module_function = fake_function,
	.launch = fake_launch,
	.event_create = fake_event_create,
	.event_destroy = fake_event_destroy,
	.event_record = fake_event_record,
	.event_synchronize = fake_event_synchronize,
	.event_elapsed_ms = fake_elapsed,
	.stream_create = fake_stream_create,
	.stream_create_masked = fake_stream_masked,
	.stream_query = fake_stream_query,
	.stream_synchronize = fake_stream_synchronize,
	.stream_destroy = fake_stream_destroy,
	.rtc_create = fake_rtc_create,
	.rtc_compile = fake_rtc_compile,
	.rtc_code_size = fake_rtc_code_size,
	.rtc_code = fake_rtc_code,
	.rtc_log_size = fake_rtc_log_size,
	.rtc_log = fake_rtc_log,
	.rtc_destroy = fake_rtc_destroy,
};

static int setup(void **state)
{
	(void)state;
	(void)unsetenv("COFRIS_SIM");
	(void)unsetenv(ENGINE_HIP_COMPILE_ENV);
	fake = (struct fake){.n_devices = 1, .bus_ids = {CARD}, .error = 1};
	return 0;
}

static void check_nothing_is_left(void)
{
	for (int i = 0; i < KINDS; i++)
		assert_int_equal(fake.alive[i], 0);
	assert_int_equal(fake.bytes_alive, 0);
}

static int teardown(void **state)
{
	(void)state;
	check_nothing_is_left();
	return 0;
}

static int open_with(const char *model, const char *bdf, uint32_t slots, bool idle_kernels,
		     struct engine **ret)
{
	return engine_hip_new(&fake_api,
			      &(struct engine_options){.model = model,
						       .bdf = bdf,
						       .slots = slots,
						       .idle_kernels = idle_kernels},
			      ret);
}

static struct engine *opened(const char *model, uint32_t slots, bool idle_kernels)
{
	struct engine *e = NULL;

	assert_int_equal(open_with(model, NULL, slots, idle_kernels, &e), 0);
	return e;
}

static int run(struct engine *e, uint32_t batch, double factor)
{
	_Atomic int stop = 0;
	uint64_t start_ns = e->ops->device_ns(e, 1), end_ns = 0;
	int r;

	fake.flop = fake.bytes = 0;
	fake.launches = fake.empty = 0;
	r = e->ops->run(e, 0, batch, factor, start_ns, &stop, &end_ns);
	if (r == 0)
		assert_true(end_ns >= start_ns);
	return r;
}

static void test_the_card_is_found_by_its_address(void **state)
{
	const struct {
		int n;
		const char *ids[3], *bdf;
		int r, device;
	} cases[] = {
		{0, {0}, NULL, -ENODEV, 0},
		{1, {CARD}, NULL, 0, 0},
		{1, {CARD}, "0000:44:00.0", -ENODEV, 0},
		{2, {CARD, "0000:C3:00.0"}, NULL, -EINVAL, 0},
		{2, {CARD, "0000:C3:00.0"}, "0000:c3:00.0", 0, 1}, /* upper case */
		{3, {"0001:43:00.0", "0000:43:00.1", CARD}, CARD, 0, 2},
		{1, {"nonsense"}, NULL, -EIO, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct engine *e = NULL;

		(void)setup(NULL);
		fake.n_devices = cases[i].n;
		memcpy(fake.bus_ids, cases[i].ids, sizeof(fake.bus_ids));
		assert_int_equal(open_with(MODEL("resnet50"), cases[i].bdf, 1, false, &e),
				 cases[i].r);
		if (e) {
			assert_int_equal(fake.device, cases[i].device);
			if (cases[i].bdf)
				assert_string_equal(e->ops->bdf(e), cases[i].bdf);
			e->ops->close(e);
		}
		check_nothing_is_left();
	}
}

static void test_a_batch_is_the_models_work(void **state)
{
	struct plant_model *m;
	struct engine *e = opened(MODEL("resnet50"), 1, false);
	const uint32_t batches[] = {1, 8, 1, 3};

	(void)state;
	assert_int_equal(engine_model_load(MODEL("resnet50"), false, &m), 0);
	assert_string_equal(e->ops->model(e), "resnet50");
	for (size_t i = 0; i < ARRAY_SIZE(batches); i++)
		for (double factor = 1; factor < 2; factor += 0.5) {
			double flop = 0, bytes = 0;
			uint32_t launches = 0;

			for (uint32_t k = 0; k < m->n_kernels; k++) {
				const struct plant_kernel *p = &m->kernels[k];

				launches += p->count;
				flop += p->count * p->flop * batches[i] * factor;
				bytes +=
					p->count * factor *
					(p->fixed_bytes + (p->bytes - p->fixed_bytes) * batches[i]);
			}
			assert_int_equal(run(e, batches[i], factor), 0);
			assert_int_equal(fake.launches, launches);
			assert_int_equal(fake.launches, 175);
			assert_true(fabs(fake.flop / flop - 1) < 1e-3);
			assert_true(fabs(fake.bytes / bytes - 1) < 1e-3);
			assert_int_equal(fake.last_lanes, LAYER_LANES);
			/* Known to have ended. */
			assert_int_equal(fake.finished, fake.submitted);
		}
	assert_true(fabs(e->ops->mean_device_ms(e) - 2.5) < 1e-6);
	free(m);
	e->ops->close(e);
}

static void test_memory_grows_with_the_largest_batch_alone(void **state)
{
	struct engine *e = opened(MODEL("resnet50"), 1, false);
	uint64_t at_1 = fake.bytes_alive, at_8;

	(void)state;
	assert_int_equal(run(e, 1, 1), 0);
	assert_int_equal(fake.bytes_alive, at_1);
	assert_int_equal(run(e, 8, 1), 0);
	at_8 = fake.bytes_alive;
	assert_true(at_8 > at_1);
	/* The weights are there once, whatever the batch. */
	assert_true(at_8 - 25557032 * 4 < 8 * (at_1 - 25557032 * 4) + 4096);
	for (uint32_t batch = 8; batch >= 1; batch--)
		assert_int_equal(run(e, batch, 1), 0);
	assert_int_equal(fake.bytes_alive, at_8);
	assert_int_equal(fake.ever[MEMORY], 5);
	assert_int_equal(fake.init, 5);
	e->ops->close(e);
}

static void test_idle_kernels_are_single_empty_waves(void **state)
{
	struct engine *e = opened(MODEL("resnet50"), 1, true);

	(void)state;
	assert_int_equal(run(e, 1, 1), 0);
	assert_int_equal(fake.empty, ENGINE_IDLE_KERNELS);
	assert_int_equal(fake.launches, 0);
	assert_int_equal(fake.last_lanes, 64);
	assert_int_equal(fake.ever[MEMORY], 0);
	assert_string_equal(e->ops->model(e), "resnet50");
	e->ops->close(e);
}

static void test_the_card_has_work_ahead_but_not_without_bounds(void **state)
{
	char path[] = "/tmp/test-worker-hip.XXXXXX.ini";
	int fd = mkstemps(path, 4);
	struct engine *e;

	(void)state;
	assert_true(dprintf(fd, "[model]\nname = long\n[kernel one]\ncount = 4000\nworkgroups = 1\n"
				"flop = 1\nbytes = 1\nfixed_bytes = 0\n") > 0);
	e = opened(path, 1, false);
	(void)close(fd);
	(void)unlink(path);
	fake.finished = fake.submitted; /* what filled the buffers */
	fake.most_under_way = 0;
	assert_int_equal(run(e, 1, 1), 0);
	assert_int_equal(fake.launches, 4000);
	assert_in_range(fake.most_under_way, 2 * 512, 3 * 512);
	e->ops->close(e);
}

static void test_a_stop_is_seen_between_chunks(void **state)
{
	struct engine *e = opened(MODEL("resnet50"), 1, true);
	_Atomic int stop = 0;
	uint64_t end_ns = 17;

	(void)state;
	fake.stop_at_flag = &stop;
	fake.stop_at = 300;
	assert_int_equal(e->ops->run(e, 0, 1, 1, 0, &stop, &end_ns), -EINTR);
	assert_int_equal(fake.empty, 512);
	assert_int_equal(end_ns, 17);
	e->ops->close(e);
}

static void test_a_mask_holds_from_the_next_batch_on(void **state)
{
	struct engine *e = opened(MODEL("shufflenet"), 2, false);
	const uint32_t half[2] = {0x33333333, 0x03333333}, none[2] = {0};
	void *unmasked;

	(void)state;
	assert_int_equal(run(e, 1, 1), 0);
	unmasked = fake.last_stream;
	assert_int_equal(fake.last_words, 0);
	assert_int_equal(e->ops->set_mask(e, none, 60), -EINVAL);
	assert_int_equal(e->ops->set_mask(e, half, 513), -EINVAL);
	assert_int_equal(run(e, 1, 1), 0);
	assert_ptr_equal(fake.last_stream, unmasked);
	assert_int_equal(e->ops->set_mask(e, half, 60), 2); /* slots */
	assert_int_equal(e->ops->cus(e), 30);
	assert_int_equal(run(e, 1, 1), 0);
	assert_int_equal(fake.last_words, 2);
	assert_int_equal(e->ops->set_mask(e, none, 0), 2);
	assert_int_equal(run(e, 1, 1), 0);
	assert_ptr_equal(fake.last_stream, unmasked);
	e->ops->close(e);
}

static void test_a_card_without_code_gets_it_compiled(void **state)
{
	struct engine *e;

	(void)state;
	fake.no_code = true;
	e = opened(MODEL("resnet50"), 1, false);
	assert_int_equal(fake.compiled, 1);
	assert_int_equal(run(e, 1, 1), 0);
	e->ops->close(e);
	(void)setup(NULL);
	(void)setenv(ENGINE_HIP_COMPILE_ENV, "1", 1);
	e = opened(MODEL("resnet50"), 1, false);
	assert_int_equal(fake.compiled, 1);
	e->ops->close(e);
}

static void test_without_hiprtc_a_card_without_code_is_refused(void **state)
{
	struct hip_api api = fake_api;
	struct engine *e = NULL;

	(void)state;
	fake.no_code = true;
	api.rtc_create = NULL;
	assert_int_equal(engine_hip_new(&api,
					&(struct engine_options){.model = MODEL("resnet50"),
								 .slots = 1},
					&e),
			 -ENOSYS);
	assert_null(e);
}

/* Opens and runs with each call in turn failing, until none is left to fail. */
static void fail_each_call(bool no_code, bool idle_kernels, int error, int expected)
{
	struct engine *e;
	uint32_t at = 1;
	int r;

	do {
		e = NULL;
		(void)setup(NULL);
		fake.no_code = no_code;
		fake.fail_at = at;
		fake.error = error;
		r = open_with(MODEL("resnet50"), CARD, 2, idle_kernels, &e);
		if (r == 0) {
			r = run(e, 1, 1);
			if (r == 0)
				r = run(e, 2, 1);
			e->ops->close(e);
		} else {
			assert_null(e);
		}
		if (fake.calls >= at && r != 0)
			assert_true(r == expected || r == -EIO || r == -ENOMEM);
		check_nothing_is_left();
		at++;
	} while (fake.calls >= at - 1);
	assert_int_equal(r, 0);
	assert_true(at > 100);
}

static void test_each_failing_call_is_an_error_that_leaves_nothing(void **state)
{
	(void)state;
	fail_each_call(false, false, 1, -EIO);
	fail_each_call(true, false, 1, -EIO);
	fail_each_call(false, true, 1, -EIO);
}

static void test_memory_that_is_not_there_is_said_so(void **state)
{
	struct engine *e = opened(MODEL("resnet50"), 1, false);
	uint32_t calls = fake.calls;

	(void)state;
	/* set_device, then the first of the two larger buffers */
	fake.fail_at = calls + 2;
	fake.error = 2;
	assert_int_equal(run(e, 16, 1), -ENOMEM);
	/* Smaller ones are still served, with memory of their own. */
	assert_int_equal(run(e, 1, 1), 0);
	e->ops->close(e);
}

int main(void)
{
#define HIP_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		HIP_TEST(test_the_card_is_found_by_its_address),
		HIP_TEST(test_a_batch_is_the_models_work),
		HIP_TEST(test_memory_grows_with_the_largest_batch_alone),
		HIP_TEST(test_idle_kernels_are_single_empty_waves),
		HIP_TEST(test_the_card_has_work_ahead_but_not_without_bounds),
		HIP_TEST(test_a_stop_is_seen_between_chunks),
		HIP_TEST(test_a_mask_holds_from_the_next_batch_on),
		HIP_TEST(test_a_card_without_code_gets_it_compiled),
		HIP_TEST(test_without_hiprtc_a_card_without_code_is_refused),
		HIP_TEST(test_each_failing_call_is_an_error_that_leaves_nothing),
		HIP_TEST(test_memory_that_is_not_there_is_said_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
