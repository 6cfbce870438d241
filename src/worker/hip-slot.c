/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/hip-slot.h"
#include "base/log.h"
#include <errno.h>
#include <math.h>

/* Launches submitted between two looks at *stop. At most three of these chunks are under way, so
 * that the card never waits for the host and an end is not far off. */
#define CHUNK	    512
#define EMPTY_LANES 64 /* one wave */
/* Events cost the host more than the launches between them (HIP has a thread for what follows each
 * of them, and it spins), so one batch in so many is timed by the card; never a slot's first, which
 * finds nothing loaded yet. */
#define TIMED_EVERY 16

static int check(const struct hip_load *l, int error, const char *what)
{
	return error == 0 ? 0 : hip_error(l->api, error, what);
}

/* ---- memory ---- */

static int launch(const struct hip_load *l, void *function, uint32_t workgroups, uint32_t lanes,
		  void *stream, void *arguments, size_t size)
{
	void *extra[] = {HIP_LAUNCH_BUFFER, arguments, HIP_LAUNCH_BUFFER_SIZE, &size,
			 HIP_LAUNCH_END};
	int e = l->api->launch(function, workgroups, 1, 1, lanes, 1, 1, 0, stream, NULL,
			       size ? extra : NULL);

	return check(l, e, "Cannot launch a kernel");
}

/* Allocates n vectors on the card and has it fill them. */
static int make_buffer(const struct hip_load *l, uint64_t n, void *stream, void **ret)
{
	const uint64_t per_workgroup = (uint64_t)LAYER_LANES * LAYER_INIT_DEPTH;
	struct layer_init_args args = {.n_vectors = n};
	int r;

	r = check(l, l->api->malloc(&args.data, n * LAYER_VECTOR), "Cannot allocate on the card");
	if (r < 0)
		return r;
	r = launch(l, l->kernels.init, (uint32_t)((n + per_workgroup - 1) / per_workgroup),
		   LAYER_LANES, stream, &args, sizeof(args));
	if (r < 0)
		(void)l->api->free(args.data);
	else
		*ret = args.data;
	return r;
}

int hip_load_init(struct hip_load *l, bool compile)
{
	return hip_kernels_load(l->api, compile, &l->kernels);
}

int hip_load_fill(struct hip_load *l, void *stream)
{
	uint64_t n = launch_weights_vectors(l->model);

	if (n > LAYER_MAX_VECTORS)
		return log_error_errno(-ERANGE, "The model's weights are too large");
	if (l->idle_kernels)
		return 0;
	l->weights_vectors = n;
	return make_buffer(l, n, stream, &l->weights);
}

void hip_load_deinit(struct hip_load *l)
{
	if (l->weights)
		(void)l->api->free(l->weights);
	hip_kernels_unload(l->api, &l->kernels);
}

static int grow_data(const struct hip_load *l, struct hip_slot *s, uint32_t batch, void *stream)
{
	uint64_t n = launch_data_vectors(l->model, batch);
	int r = 0;

	if (n <= s->data_vectors)
		return 0;
	if (n > LAYER_MAX_VECTORS)
		return log_error_errno(-ERANGE, "A batch of %u is too large", batch);
	s->data_vectors = 0;
	s->plan->batch = 0;
	for (int i = 0; i < 2 && r == 0; i++) {
		if (s->data[i])
			(void)l->api->free(s->data[i]);
		s->data[i] = NULL;
		r = make_buffer(l, n, stream, &s->data[i]);
	}
	if (r == 0)
		s->data_vectors = n;
	return r;
}

/* Memory and plan for a batch. Free of cost while batches stay alike. */
static int prepare(const struct hip_load *l, struct hip_slot *s, uint32_t batch, void *stream)
{
	struct launch_buffers b;
	int r;

	if (s->plan->batch == batch || l->idle_kernels)
		return 0;
	r = grow_data(l, s, batch, stream);
	if (r < 0)
		return r;
	b = (struct launch_buffers){
		.weights = l->weights,
		.data = {s->data[0], s->data[1]},
		.weights_vectors = l->weights_vectors,
		.data_vectors = s->data_vectors,
	};
	r = launch_plan_make(s->plan, l->model, batch, &b);
	return r < 0 ? log_error_errno(r, "A batch of %u is too large", batch) : 0;
}

void hip_slot_close(const struct hip_load *l, struct hip_slot *s)
{
	void *events[] = {s->chunk_events[0], s->chunk_events[1], s->start_event, s->end_event};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (events[i])
			(void)l->api->event_destroy(events[i]);
	for (int i = 0; i < 2; i++)
		if (s->data[i])
			(void)l->api->free(s->data[i]);
	free(s->plan);
}

int hip_slot_open(const struct hip_load *l, struct hip_slot *s, void *stream)
{
	void **events[] = {&s->chunk_events[0], &s->chunk_events[1], &s->start_event,
			   &s->end_event};

	for (size_t i = 0; i < ARRAY_SIZE(events); i++) {
		int r = check(l, l->api->event_create(events[i], HIP_EVENT_BLOCKING_SYNC),
			      "Cannot create an event");

		if (r < 0)
			return r;
	}
	s->plan = calloc(1, sizeof(*s->plan));
	return s->plan ? prepare(l, s, 1, stream) : -ENOMEM;
}

/* ---- running ---- */

struct submission {
	const struct hip_load *load;
	struct hip_slot *slot;
	void *stream;
	const _Atomic int *stop;
	uint64_t n; /* launches so far */
};

static int record(struct submission *s, void *event)
{
	return check(s->load, s->load->api->event_record(event, s->stream),
		     "Cannot record an event");
}

/* Between two launches: at a chunk's end, waits for the one before the last. */
static int between(struct submission *s)
{
	const struct hip_api *api = s->load->api;
	uint64_t chunk = s->n / CHUNK;
	void *event = s->slot->chunk_events[chunk % 2];
	int r = 0;

	if (s->n++ % CHUNK != 0 || chunk == 0)
		return 0;
	if (chunk > 2)
		r = check(s->load, api->event_synchronize(event), "Cannot wait for the card");
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
				r = launch(s->load, s->load->kernels.layer, l->workgroups,
					   LAYER_LANES, s->stream, &args, sizeof(args));
		}
	}
	return r;
}

static int submit_empty(struct submission *s)
{
	const struct plant_model *m = s->load->model;
	int r = 0;

	for (uint32_t i = 0; i < m->kernels[0].count && r == 0; i++) {
		r = between(s);
		if (r == 0)
			r = launch(s->load, s->load->kernels.empty, 1, EMPTY_LANES, s->stream, NULL,
				   0);
	}
	return r;
}

int hip_slot_run(const struct hip_load *l, struct hip_slot *slot, void *stream, uint32_t batch,
		 double factor, const _Atomic int *stop, double *ret_ms)
{
	struct submission s = {.load = l, .slot = slot, .stream = stream, .stop = stop};
	bool timed = slot->n_batches++ % TIMED_EVERY == 1;
	float ms = NAN;
	int r;

	r = prepare(l, slot, batch, stream);
	if (r == 0 && timed)
		r = record(&s, slot->start_event);
	if (r == 0)
		r = l->idle_kernels ? submit_empty(&s) : submit_model(&s, factor);
	if (r == 0 && timed)
		r = record(&s, slot->end_event);
	if (r == 0)
		r = check(l, l->api->stream_synchronize(stream), "Cannot wait for the card");
	if (r == 0 && timed)
		r = check(l, l->api->event_elapsed_ms(&ms, slot->start_event, slot->end_event),
			  "Cannot read an event");
	if (r == 0)
		*ret_ms = (double)ms;
	return r;
}
