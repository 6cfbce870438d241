/* SPDX-License-Identifier: Apache-2.0 */
#include "worker/serve.h"
#include "base/log.h"
#include "base/units.h"
#include "plant/plant.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

/* A free slot takes an arrival up at once; who notes those that find all slots busy stays out of
 * its way. */
#define ARRIVAL_LAG_NS NSEC_PER_MSEC /* wall time */

struct slot {
	struct serve *serve;
	uint32_t index;
	pthread_t thread;
	uint64_t free_ns;	 /* device time: the end of its last batch */
	uint64_t directive_seen; /* epoch */
	struct cofris_directive directive;
	struct queue_batch batch;
	struct cofris_request requests[QUEUE_MAX_BATCH];
};

struct serve {
	struct serve_options options;
	struct cofris_channel *channel;
	uint64_t origin_ns;
	_Atomic int aborting;

	pthread_mutex_t lock; /* guards what follows, and the report */
	pthread_cond_t changed;
	struct queue *queue;
	uint32_t running; /* requests */
	uint32_t slots_left;
	int error; /* of the engine */

	uint32_t n_threads;
	struct slot *slots;
	bool notes_arrivals;
	pthread_t arrivals_thread;
};

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static uint64_t device_now(struct serve *s)
{
	struct engine *e = s->options.engine;

	return e->ops->device_ns(e, monotonic_ns());
}

/* Rounding to wall time may come out a nanosecond ahead, and latency must not count from a moment
 * in the future. */
static uint64_t past_wall_ns(struct serve *s, uint64_t device_ns)
{
	struct engine *e = s->options.engine;

	return MIN(e->ops->wall_ns(e, device_ns), monotonic_ns());
}

static void admit(void *userdata, struct queue_item *item, bool rejected)
{
	struct serve *s = userdata;

	item->request =
		cofris_begin_at(s->channel, /* weight= */ 1, past_wall_ns(s, item->arrival_ns));
	report_arrival(s->options.report);
	if (!rejected)
		return;
	cofris_end(s->channel, &item->request, COFRIS_FAILED);
	report_add(s->options.report, &(struct report_row){.number = item->number,
							   .arrival_ns = item->arrival_ns,
							   .status = REPORT_REJECTED});
}

static int apply(void *userdata, const struct cofris_directive *d)
{
	struct engine *e = ((struct serve *)userdata)->options.engine;

	return e->ops->set_mask(e, d->cu_mask, d->cu_mask_bits);
}

/* The limits in force: the daemon's, else the worker's own. */
static void batch_limits(struct slot *slot, uint32_t *ret_max_batch, uint64_t *ret_max_wait_ns)
{
	struct serve *s = slot->serve;
	struct engine *e = s->options.engine;
	const struct cofris_directive *d = &slot->directive;

	if (cofris_directive(s->channel, slot->directive_seen, &slot->directive) > 0)
		slot->directive_seen = d->epoch;
	*ret_max_batch = d->max_batch ? d->max_batch : s->options.max_batch;
	*ret_max_wait_ns = (uint64_t)((double)d->max_wait_ns / e->ops->time_scale(e));
}

static void wait_until(struct serve *s, uint64_t device_ns)
{
	struct engine *e = s->options.engine;
	struct timespec t;
	uint64_t wall_ns;

	if (device_ns == UINT64_MAX) {
		(void)pthread_cond_wait(&s->changed, &s->lock);
		return;
	}
	wall_ns = e->ops->wall_ns(e, device_ns);
	t.tv_sec = (time_t)(wall_ns / NSEC_PER_SEC);
	t.tv_nsec = (long)(wall_ns % NSEC_PER_SEC);
	(void)pthread_cond_clockwait(&s->changed, &s->lock, CLOCK_MONOTONIC, &t);
}

static void fail_waiting(struct serve *s)
{
	struct queue_item item;

	while (queue_drop(s->queue, &item)) {
		cofris_end(s->channel, &item.request, COFRIS_FAILED);
		report_add(s->options.report, &(struct report_row){.number = item.number,
								   .arrival_ns = item.arrival_ns,
								   .status = REPORT_FAILED});
	}
}

/* Takes the slot's next batch, waiting for it. Returns 0 if there will be none. Locked. */
static int take(struct slot *slot)
{
	struct serve *s = slot->serve;
	uint64_t max_wait_ns, wait_ns;
	uint32_t max_batch;
	int r;

	for (;;) {
		if (atomic_load(&s->aborting)) {
			fail_waiting(s);
			return 0;
		}
		batch_limits(slot, &max_batch, &max_wait_ns);
		r = queue_take(s->queue, slot->free_ns, device_now(s), max_batch, max_wait_ns,
			       &slot->batch, &wait_ns);
		if (r == -ENODATA)
			return 0;
		if (r > 0)
			return 1;
		wait_until(s, wait_ns);
	}
}

static void add_rows(struct slot *slot, uint64_t end_ns, int r, uint32_t sclk_mhz, uint32_t cus)
{
	struct report *report = slot->serve->options.report;
	const struct queue_batch *b = &slot->batch;

	if (r == 0)
		report_batch(report, end_ns - b->start_ns);
	for (uint32_t i = 0; i < b->n; i++)
		report_add(report, &(struct report_row){
					   .number = b->items[i].number,
					   .arrival_ns = b->items[i].arrival_ns,
					   .start_ns = b->start_ns,
					   .end_ns = end_ns,
					   .sclk_mhz = sclk_mhz,
					   .cus = cus,
					   .batch = b->n,
					   .status = r == 0 ? REPORT_OK : REPORT_FAILED,
				   });
}

/* Runs the batch taken. Called without the lock; returns the engine's result. */
static int run(struct slot *slot, uint64_t *ret_end_ns)
{
	struct serve *s = slot->serve;
	const struct serve_options *o = &s->options;
	struct queue_batch *b = &slot->batch;
	double factor = plant_jitter(o->seed, b->items[0].number, o->jitter, o->stall_share,
				     o->stall_factor);
	int r;

	for (uint32_t i = 0; i < b->n; i++)
		slot->requests[i] = b->items[i].request;
	cofris_start_at(s->channel, slot->requests, b->n, past_wall_ns(s, b->start_ns));
	r = o->engine->ops->run(o->engine, slot->index, b->n, factor, b->start_ns, &s->aborting,
				ret_end_ns);
	if (r < 0)
		*ret_end_ns = MAX(device_now(s), b->start_ns);
	for (uint32_t i = 0; i < b->n; i++)
		cofris_end_at(s->channel, &slot->requests[i], r < 0 ? COFRIS_FAILED : COFRIS_OK,
			      past_wall_ns(s, *ret_end_ns));
	return r;
}

static void finish_batch(struct slot *slot, uint64_t end_ns, int r, uint32_t sclk_mhz, uint32_t cus)
{
	struct serve *s = slot->serve;

	add_rows(slot, end_ns, r, sclk_mhz, cus);
	s->running -= slot->batch.n;
	slot->free_ns = end_ns;
	if (r < 0 && r != -EINTR && s->error == 0) {
		/* An engine that fails once would fail every request: better to end than to
		 * answer the whole load with errors. */
		s->error = log_error_errno(r, "The engine failed: %m");
		atomic_store(&s->aborting, 1);
	}
	queue_completed(s->queue, slot->batch.n, end_ns);
	if (s->options.slots > 1)
		(void)pthread_cond_broadcast(&s->changed);
}

static void *slot_thread(void *userdata)
{
	struct slot *slot = userdata;
	struct serve *s = slot->serve;
	struct engine *e = s->options.engine;
	uint64_t one = 1;

	(void)pthread_mutex_lock(&s->lock);
	while (take(slot)) {
		uint32_t sclk_mhz = e->ops->sclk_mhz(e, slot->batch.start_ns);
		uint32_t cus = e->ops->cus(e);
		uint64_t end_ns;
		int r;

		s->running += slot->batch.n;
		cofris_gauges(s->channel, s->running, queue_waiting(s->queue));
		(void)pthread_mutex_unlock(&s->lock);
		r = run(slot, &end_ns);
		(void)pthread_mutex_lock(&s->lock);
		finish_batch(slot, end_ns, r, sclk_mhz, cus);
	}
	cofris_gauges(s->channel, s->running, queue_waiting(s->queue));
	(void)pthread_cond_broadcast(&s->changed);
	if (--s->slots_left == 0)
		(void)!write(s->options.done_fd, &one, sizeof(one));
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* The daemon has to hear of a request when it comes, and not when a slot is free to look at it. */
static void *arrivals_thread(void *userdata)
{
	struct serve *s = userdata;
	struct engine *e = s->options.engine;
	uint64_t lag_ns = (uint64_t)((double)ARRIVAL_LAG_NS / e->ops->time_scale(e)), next_ns;

	(void)pthread_mutex_lock(&s->lock);
	while (!atomic_load(&s->aborting) && queue_admit(s->queue, device_now(s), &next_ns)) {
		cofris_gauges(s->channel, s->running, queue_waiting(s->queue));
		wait_until(s, next_ns + lag_ns);
	}
	(void)pthread_mutex_unlock(&s->lock);
	return NULL;
}

static int open_channel(struct serve *s)
{
	const struct serve_options *o = &s->options;
	struct cofris_device device = {0};
	const char *bdf = o->engine->ops->bdf(o->engine);

	(void)snprintf(device.bdf, sizeof(device.bdf), "%s", bdf);
	return cofris_open(
		&(struct cofris_options){
			.size = sizeof(struct cofris_options),
			.model = o->model,
			.instance = o->instance,
			.socket_path = o->socket_path,
			.devices = bdf[0] ? &device : NULL,
			.n_devices = bdf[0] ? 1 : 0,
			.follows = COFRIS_FOLLOWS_BATCH |
				   (o->follow_mask ? COFRIS_FOLLOWS_CU_MASK : 0u),
			.reports = COFRIS_REPORTS_STARTS,
			.slots = o->slots,
			.apply = o->follow_mask ? apply : NULL,
			.userdata = s,
		},
		&s->channel);
}

static int open_queue(struct serve *s)
{
	const struct serve_options *o = &s->options;

	s->origin_ns = device_now(s);
	return queue_new(
		&(struct queue_options){
			.origin_ns = s->origin_ns,
			.time_scale = o->engine->ops->time_scale(o->engine),
			.arrivals = o->arrivals,
			.in_flight = o->in_flight,
			.limit = o->queue_limit,
			.admit = admit,
			.userdata = s,
		},
		&s->queue);
}

static int start_threads(struct serve *s)
{
	int r = 0;

	s->slots = calloc(s->options.slots, sizeof(*s->slots));
	if (!s->slots)
		return -ENOMEM;
	s->slots_left = s->options.slots;
	for (; s->n_threads < s->options.slots && r == 0; s->n_threads += r == 0) {
		struct slot *slot = &s->slots[s->n_threads];

		slot->serve = s;
		slot->index = s->n_threads;
		slot->free_ns = s->origin_ns;
		r = -pthread_create(&slot->thread, NULL, slot_thread, slot);
	}
	if (r == 0 && s->options.arrivals) {
		r = -pthread_create(&s->arrivals_thread, NULL, arrivals_thread, s);
		s->notes_arrivals = r == 0;
	}
	return r;
}

int serve_start(const struct serve_options *o, struct serve **ret)
{
	struct serve *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->options = *o;
	(void)pthread_mutex_init(&s->lock, NULL);
	(void)pthread_cond_init(&s->changed, NULL);
	r = open_channel(s);
	if (r == 0)
		r = open_queue(s);
	if (r == 0)
		r = start_threads(s);
	if (r < 0) {
		serve_abort(s);
		(void)serve_finish(s);
		return r;
	}
	*ret = s;
	return 0;
}

void serve_stop(struct serve *s)
{
	(void)pthread_mutex_lock(&s->lock);
	if (s->queue)
		queue_stop(s->queue, device_now(s));
	(void)pthread_cond_broadcast(&s->changed);
	(void)pthread_mutex_unlock(&s->lock);
}

void serve_abort(struct serve *s)
{
	atomic_store(&s->aborting, 1);
	serve_stop(s);
}

int serve_finish(struct serve *s)
{
	int r;

	for (uint32_t i = 0; i < s->n_threads; i++)
		(void)pthread_join(s->slots[i].thread, NULL);
	if (s->notes_arrivals)
		(void)pthread_join(s->arrivals_thread, NULL);
	(void)cofris_close(s->channel);
	(void)queue_free(s->queue);
	(void)pthread_cond_destroy(&s->changed);
	(void)pthread_mutex_destroy(&s->lock);
	r = s->error;
	free(s->slots);
	free(s);
	return r;
}

struct serve_status serve_status(struct serve *s)
{
	struct engine *e = s->options.engine;
	struct serve_status status;

	(void)pthread_mutex_lock(&s->lock);
	status = (struct serve_status){
		.recent = report_recent(s->options.report),
		.waiting = queue_waiting(s->queue),
		.running = s->running,
		.origin_ns = s->origin_ns,
		.now_ns = device_now(s),
	};
	report_flush(s->options.report);
	(void)pthread_mutex_unlock(&s->lock);
	status.cus = e->ops->cus(e);
	status.sclk_mhz = e->ops->sclk_mhz(e, status.now_ns);
	status.connected = cofris_connected(s->channel);
	return status;
}
