/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a model's kernels through HIP: each launch of the model is a launch of cofris_layer
 * (kernels/layer.hip) with its workgroups, FLOP and bytes, on the slot's stream for the directive
 * in force. A batch has ended when the host knows that it has, as a server's clients see it. */
#include "worker/engine-hip.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/units.h"
#include "cofris/hip.h"
#include "sim/sim-card.h"
#include "worker/engine-model.h"
#include "worker/hip-card.h"
#include "worker/hip-kernels.h"
#include "worker/launch-plan.h"
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* Launches submitted between two looks at *stop. At most three of these chunks are under way, so
 * that the card never waits for the host and an end is not far off. */
#define CHUNK	    512
#define EMPTY_LANES 64 /* one wave */
/* Events cost the host more than the launches between them (HIP has a thread for what follows each
 * of them, and it spins), so one batch in so many is timed by the card; never a slot's first, which
 * finds nothing loaded yet. */
#define TIMED_EVERY 16

/* A slot's own memory, plan and events. One thread uses it at a time. */
struct hip_slot {
	struct launch_plan *plan;
	void *data[2];
	uint64_t data_vectors;
	void *chunk_events[2], *start_event, *end_event;
	uint64_t n_batches;
};

struct engine_hip {
	struct engine base;
	struct hip_api api;
	struct plant_model *model;
	struct hip_card card;
	struct hip_kernels kernels;
	struct cofris_hip *pool;
	struct sim_machine *machine; /* for its time scale alone; NULL on real cards */
	bool idle_kernels;
	int device;
	void *weights;
	uint64_t weights_vectors;
	uint32_t n_slots;
	struct hip_slot *slots;
	_Atomic uint32_t cus;
	_Atomic uint64_t n_timed, timed_ns; /* of mean_device_ms() */
};

static struct engine_hip *hip(struct engine *e)
{
	return container_of(e, struct engine_hip, base);
}

static int check(const struct engine_hip *h, int error, const char *what)
{
	return error == 0 ? 0 : hip_error(&h->api, error, what);
}

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void free_slot(struct engine_hip *h, struct hip_slot *s)
{
	void *events[] = {s->chunk_events[0], s->chunk_events[1], s->start_event, s->end_event};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (events[i])
			(void)h->api.event_destroy(events[i]);
	for (int i = 0; i < 2; i++)
		if (s->data[i])
			(void)h->api.free(s->data[i]);
	free(s->plan);
}

/* The pool goes first: it waits for what an aborted batch left on its streams. */
static void engine_hip_close(struct engine *e)
{
	struct engine_hip *h = hip(e);

	if (h->api.set_device)
		(void)h->api.set_device(h->device);
	(void)cofris_hip_close(h->pool);
	for (uint32_t i = 0; h->slots && i < h->n_slots; i++)
		free_slot(h, &h->slots[i]);
	free(h->slots);
	if (h->weights)
		(void)h->api.free(h->weights);
	hip_kernels_unload(&h->api, &h->kernels);
	hip_card_deinit(&h->card);
	sim_machine_unmap(h->machine);
	free(h->model);
	hip_api_unload(&h->api);
	free(h);
}

static void engine_hip_closep(struct engine_hip **h)
{
	if (*h)
		engine_hip_close(&(*h)->base);
}

/* ---- memory ---- */

static int launch(struct engine_hip *h, void *function, uint32_t workgroups, uint32_t lanes,
		  void *stream, void *arguments, size_t size)
{
	void *extra[] = {HIP_LAUNCH_BUFFER, arguments, HIP_LAUNCH_BUFFER_SIZE, &size,
			 HIP_LAUNCH_END};
	int e = h->api.launch(function, workgroups, 1, 1, lanes, 1, 1, 0, stream, NULL,
			      size ? extra : NULL);

	return check(h, e, "Cannot launch a kernel");
}

/* Allocates n vectors on the card and has it fill them. */
static int make_buffer(struct engine_hip *h, uint64_t n, void *stream, void **ret)
{
	const uint64_t per_workgroup = (uint64_t)LAYER_LANES * LAYER_INIT_DEPTH;
	struct layer_init_args args = {.n_vectors = n};
	int r;

	r = check(h, h->api.malloc(&args.data, n * LAYER_VECTOR), "Cannot allocate on the card");
	if (r < 0)
		return r;
	r = launch(h, h->kernels.init, (uint32_t)((n + per_workgroup - 1) / per_workgroup),
		   LAYER_LANES, stream, &args, sizeof(args));
	if (r < 0)
		(void)h->api.free(args.data);
	else
		*ret = args.data;
	return r;
}

static int grow_data(struct engine_hip *h, struct hip_slot *s, uint32_t batch, void *stream)
{
	uint64_t n = launch_data_vectors(h->model, batch);
	int r = 0;

	if (n <= s->data_vectors)
		return 0;
	if (n > LAYER_MAX_VECTORS)
		return log_error_errno(-ERANGE, "A batch of %u is too large", batch);
	s->data_vectors = 0;
	s->plan->batch = 0;
	for (int i = 0; i < 2 && r == 0; i++) {
		if (s->data[i])
			(void)h->api.free(s->data[i]);
		s->data[i] = NULL;
		r = make_buffer(h, n, stream, &s->data[i]);
	}
	if (r == 0)
		s->data_vectors = n;
	return r;
}

/* Memory and plan for a batch. Free of cost while batches stay alike. */
static int prepare(struct engine_hip *h, struct hip_slot *s, uint32_t batch, void *stream)
{
	struct launch_buffers b;
	int r;

	if (s->plan->batch == batch || h->idle_kernels)
		return 0;
	r = grow_data(h, s, batch, stream);
	if (r < 0)
		return r;
	b = (struct launch_buffers){
		.weights = h->weights,
		.data = {s->data[0], s->data[1]},
		.weights_vectors = h->weights_vectors,
		.data_vectors = s->data_vectors,
	};
	r = launch_plan_make(s->plan, h->model, batch, &b);
	return r < 0 ? log_error_errno(r, "A batch of %u is too large", batch) : 0;
}

/* ---- running ---- */

static double engine_hip_time_scale(struct engine *e)
{
	struct engine_hip *h = hip(e);

	return h->machine ? h->machine->time_scale : 1;
}

struct submission {
	struct engine_hip *hip;
	struct hip_slot *slot;
	void *stream;
	const _Atomic int *stop;
	uint64_t n; /* launches so far */
};

static int record(struct submission *s, void *event)
{
	return check(s->hip, s->hip->api.event_record(event, s->stream), "Cannot record an event");
}

/* Between two launches: at a chunk's end, waits for the one before the last. */
static int between(struct submission *s)
{
	const struct hip_api *api = &s->hip->api;
	uint64_t chunk = s->n / CHUNK;
	void *event = s->slot->chunk_events[chunk % 2];
	int r = 0;

	if (s->n++ % CHUNK != 0 || chunk == 0)
		return 0;
	if (chunk > 2)
		r = check(s->hip, api->event_synchronize(event), "Cannot wait for the card");
	if (r == 0)
		r = record(s, event);
	if (r == 0 && s->stop && atomic_load(s->stop))
		r = -EINTR;
	return r;
}

static int submit_model(struct submission *s, double factor)
{
	const struct launch_plan *p = s->slot->plan;
	int r = 0;

	for (uint32_t k = 0; k < p->n_launches && r == 0; k++) {
		const struct launch *l = &p->launches[k];

		for (uint32_t i = 0; i < l->count && r == 0; i++) {
			struct layer_args args;

			launch_args(l, i, factor, &args);
			r = between(s);
			if (r == 0)
				r = launch(s->hip, s->hip->kernels.layer, l->workgroups,
					   LAYER_LANES, s->stream, &args, sizeof(args));
		}
	}
	return r;
}

static int submit_empty(struct submission *s)
{
	const struct plant_model *m = s->hip->model;
	int r = 0;

	for (uint32_t i = 0; i < m->kernels[0].count && r == 0; i++) {
		r = between(s);
		if (r == 0)
			r = launch(s->hip, s->hip->kernels.empty, 1, EMPTY_LANES, s->stream, NULL,
				   0);
	}
	return r;
}

static int add_time(struct submission *s)
{
	struct engine_hip *h = s->hip;
	float ms;
	int r;

	r = check(h, h->api.event_elapsed_ms(&ms, s->slot->start_event, s->slot->end_event),
		  "Cannot read an event");
	if (r < 0)
		return r;
	(void)atomic_fetch_add(&h->n_timed, 1);
	(void)atomic_fetch_add(&h->timed_ns,
			       (uint64_t)(ms * 1e6 / engine_hip_time_scale(&h->base)));
	return 0;
}

/* Submits a batch and waits for its end. */
static int run_batch(struct submission *s, uint32_t batch, double factor)
{
	struct engine_hip *h = s->hip;
	bool timed = s->slot->n_batches++ % TIMED_EVERY == 1;
	int r;

	r = prepare(h, s->slot, batch, s->stream);
	if (r == 0 && timed)
		r = record(s, s->slot->start_event);
	if (r == 0)
		r = h->idle_kernels ? submit_empty(s) : submit_model(s, factor);
	if (r == 0 && timed)
		r = record(s, s->slot->end_event);
	if (r == 0)
		r = check(h, h->api.stream_synchronize(s->stream), "Cannot wait for the card");
	return r == 0 && timed ? add_time(s) : r;
}

static uint64_t engine_hip_device_ns(struct engine *e, uint64_t wall_ns)
{
	struct engine_hip *h = hip(e);

	return h->machine ? sim_device_ns(h->machine, wall_ns) : wall_ns;
}

static uint64_t engine_hip_wall_ns(struct engine *e, uint64_t device_ns)
{
	struct engine_hip *h = hip(e);

	return h->machine ? sim_wall_ns(h->machine, device_ns) : device_ns;
}

static int engine_hip_run(struct engine *e, uint32_t slot, uint32_t batch, double factor,
			  uint64_t start_ns, const _Atomic int *stop, uint64_t *ret_end_ns)
{
	struct engine_hip *h = hip(e);
	struct submission s = {.hip = h, .slot = &h->slots[slot], .stop = stop};
	int r;

	/* HIP keeps the current device by thread. */
	r = check(h, h->api.set_device(h->device), "Cannot use the card");
	if (r < 0)
		return r;
	s.stream = cofris_hip_stream(h->pool, slot);
	r = run_batch(&s, batch, factor);
	cofris_hip_done(h->pool, slot);
	if (r == 0)
		*ret_end_ns = MAX(engine_hip_device_ns(e, monotonic_ns()), start_ns);
	return r;
}

static double engine_hip_mean_device_ms(struct engine *e)
{
	struct engine_hip *h = hip(e);
	uint64_t n = atomic_load(&h->n_timed);

	return n ? (double)atomic_load(&h->timed_ns) * 1e-6 / (double)n : NAN;
}

/* ---- the mask ---- */

static int engine_hip_set_mask(struct engine *e, const uint32_t *words, uint32_t n_bits)
{
	struct engine_hip *h = hip(e);
	const struct cu_topology *t = &h->card.topology;
	struct cofris_directive d = {.epoch = 1, .cu_mask_bits = n_bits};
	struct cu_mask mask = {.n_bits = n_bits};
	int r;

	if (n_bits > 32 * CU_MASK_WORDS)
		return -EINVAL;
	memcpy(mask.words, words, (n_bits + 31) / 32 * sizeof(*words));
	memcpy(d.cu_mask, mask.words, sizeof(d.cu_mask));
	/* Of a card that does not tell its topology, the pool still refuses a mask without a CU. */
	if (n_bits > 0 && h->card.n_cus > 0 && cu_mask_check(t, &mask) < 0)
		return -EINVAL;
	r = cofris_hip_apply(h->pool, &d);
	if (r >= 0)
		atomic_store(&h->cus, n_bits ? cu_mask_count(&mask) : h->card.n_cus);
	return r;
}

static uint32_t engine_hip_cus(struct engine *e)
{
	return atomic_load(&hip(e)->cus);
}

/* ---- opening ---- */

static int find_device(struct engine_hip *h, const char *bdf)
{
	char name[32];
	int n, r;

	r = check(h, h->api.get_device_count(&n), "HIP finds no card");
	if (r < 0)
		return r;
	if (n < 1)
		return log_error_errno(-ENODEV, "HIP finds no card");
	if (!bdf && n > 1)
		return log_error_errno(-EINVAL, "There are %d cards: name one by --gpu", n);
	for (h->device = 0; h->device < n; h->device++) {
		r = check(h, h->api.get_pci_bus_id(name, sizeof(name), h->device),
			  "HIP does not tell a card's address");
		if (r < 0)
			return r;
		name[sizeof(name) - 1] = '\0';
		for (char *c = name; *c; c++) /* upper case in some versions */
			*c |= *c >= 'A' && *c <= 'F' ? 0x20 : 0;
		if (!bdf || strcmp(name, bdf) == 0)
			break;
	}
	if (h->device == n)
		return log_error_errno(-ENODEV, "HIP finds no card at %s", bdf);
	if (!pci_bdf_is_valid(name))
		return log_error_errno(-EIO, "HIP gives '%s' as a card's address", name);
	r = check(h, h->api.set_device(h->device), "Cannot use the card");
	if (r < 0)
		return r;
	/* Waiting threads sleep. Too late if the process has used the card before; it works all
	 * the same. */
	(void)h->api.set_device_flags(HIP_SCHEDULE_BLOCKING_SYNC);
	return hip_card_init(name, &h->card);
}

/* A card of cofris-sim may run slowed down. */
static int find_time(struct engine_hip *h)
{
	int r;

	if (!getenv(SIM_ENV))
		return 0;
	r = sim_machine_map(/* path= */ NULL, &h->machine);
	return r < 0 ? log_error_errno(r, "Cannot use the simulated machine: %m") : 0;
}

static int open_slot(struct engine_hip *h, struct hip_slot *s)
{
	void **events[] = {&s->chunk_events[0], &s->chunk_events[1], &s->start_event,
			   &s->end_event};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		int r = check(h, h->api.event_create(events[i], HIP_EVENT_BLOCKING_SYNC),
			      "Cannot create an event");

		if (r < 0)
			return r;
	}
	s->plan = calloc(1, sizeof(*s->plan));
	return s->plan ? 0 : -ENOMEM;
}

/* Streams, and with the first of them the weights. */
static int open_streams(struct engine_hip *h, uint32_t slots)
{
	const struct cofris_hip_functions functions = {
		.get_device = h->api.get_device,
		.set_device = h->api.set_device,
		.stream_create = h->api.stream_create,
		.stream_create_masked = h->api.stream_create_masked,
		.stream_query = h->api.stream_query,
		.stream_destroy = h->api.stream_destroy,
	};
	uint64_t n = launch_weights_vectors(h->model);
	int r;

	r = cofris_hip_open(
		&(struct cofris_hip_options){
			.size = sizeof(struct cofris_hip_options),
			.device = h->device,
			.slots = slots,
			.functions = &functions,
		},
		&h->pool);
	if (r < 0)
		return log_error_errno(r, "Cannot make streams: %m");
	if (n > LAYER_MAX_VECTORS)
		return log_error_errno(-ERANGE, "The model's weights are too large");
	if (h->idle_kernels)
		return 0;
	r = make_buffer(h, n, cofris_hip_stream(h->pool, 0), &h->weights);
	cofris_hip_done(h->pool, 0);
	h->weights_vectors = n;
	return r;
}

static int open_slots(struct engine_hip *h, uint32_t n)
{
	int r = 0;

	h->slots = calloc(n, sizeof(*h->slots));
	if (!h->slots)
		return -ENOMEM;
	h->n_slots = n;
	for (uint32_t i = 0; i < n && r == 0; i++)
		r = open_slot(h, &h->slots[i]);
	/* Memory for single requests at once: the first one then costs what the next ones do. */
	for (uint32_t i = 0; i < n && r == 0; i++) {
		r = prepare(h, &h->slots[i], 1, cofris_hip_stream(h->pool, i));
		cofris_hip_done(h->pool, i);
	}
	return r;
}

int engine_hip_new(const struct hip_api *api, const struct engine_options *o, struct engine **ret)
{
	_cleanup_(engine_hip_closep) struct engine_hip *h = NULL;
	int r;

	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->base.ops = &engine_hip;
	h->api = *api;
	h->idle_kernels = o->idle_kernels;
	r = engine_model_load(o->model, o->idle_kernels, &h->model);
	if (r == 0)
		r = find_device(h, o->bdf);
	if (r == 0)
		r = find_time(h);
	if (r == 0)
		r = hip_kernels_load(&h->api, getenv(ENGINE_HIP_COMPILE_ENV) != NULL, &h->kernels);
	if (r == 0)
		r = open_streams(h, o->slots);
	if (r == 0)
		r = open_slots(h, o->slots);
	if (r < 0)
		return r;
	atomic_store(&h->cus, h->card.n_cus);
	*ret = &TAKE_PTR(h)->base;
	return 0;
}

static int engine_hip_open(const struct engine_options *o, struct engine **ret)
{
	struct hip_api api;
	int r;

	r = hip_api_load(&api);
	return r < 0 ? r : engine_hip_new(&api, o, ret);
}

static bool engine_hip_probe(void)
{
	return hip_api_probe() == 0;
}

static bool engine_hip_simulated(struct engine *e)
{
	return hip(e)->card.simulated;
}

static const char *engine_hip_bdf(struct engine *e)
{
	return hip(e)->card.bdf;
}

static const char *engine_hip_model(struct engine *e)
{
	return hip(e)->model->name;
}

static uint32_t engine_hip_sclk_mhz(struct engine *e, _unused_ uint64_t at_ns)
{
	return hip_card_sclk_mhz(&hip(e)->card, monotonic_ns());
}

const struct engine_ops engine_hip = {
	.name = "hip",
	.what = "kernels of the model's size, on a card through HIP",
	.probe = engine_hip_probe,
	.open = engine_hip_open,
	.close = engine_hip_close,
	.simulated = engine_hip_simulated,
	.bdf = engine_hip_bdf,
	.model = engine_hip_model,
	.time_scale = engine_hip_time_scale,
	.device_ns = engine_hip_device_ns,
	.wall_ns = engine_hip_wall_ns,
	.run = engine_hip_run,
	.set_mask = engine_hip_set_mask,
	.cus = engine_hip_cus,
	.sclk_mhz = engine_hip_sclk_mhz,
	.mean_device_ms = engine_hip_mean_device_ms,
};
