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
#include "worker/hip-slot.h"
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

struct engine_hip {
	struct engine base;
	struct hip_api api;
	struct plant_model *model;
	struct hip_card card;
	struct hip_load load;
	struct cofris_hip *pool;
	struct sim_machine *machine; /* for its time scale alone; NULL on real cards */
	int device;
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

/* The pool goes first: it waits for what an aborted batch left on its streams. */
static void engine_hip_close(struct engine *e)
{
	struct engine_hip *h = hip(e);

	if (h->api.set_device)
		(void)h->api.set_device(h->device);
	(void)cofris_hip_close(h->pool);
	for (uint32_t i = 0; h->slots && i < h->n_slots; i++)
		hip_slot_close(&h->load, &h->slots[i]);
	free(h->slots);
	hip_load_deinit(&h->load);
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

/* ---- running ---- */

static double engine_hip_time_scale(struct engine *e)
{
	struct engine_hip *h = hip(e);

	return h->machine ? h->machine->time_scale : 1;
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
	double ms;
	int r;

	/* HIP keeps the current device by thread. */
	r = check(h, h->api.set_device(h->device), "Cannot use the card");
	if (r < 0)
		return r;
	r = hip_slot_run(&h->load, &h->slots[slot], cofris_hip_stream(h->pool, slot), batch, factor,
			 stop, &ms);
	cofris_hip_done(h->pool, slot);
	if (r < 0)
		return r;
	*ret_end_ns = MAX(engine_hip_device_ns(e, monotonic_ns()), start_ns);
	if (!isnan(ms)) {
		(void)atomic_fetch_add(&h->n_timed, 1);
		(void)atomic_fetch_add(&h->timed_ns,
				       (uint64_t)(ms * 1e6 / engine_hip_time_scale(e)));
	}
	return 0;
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
	r = hip_load_fill(&h->load, cofris_hip_stream(h->pool, 0));
	cofris_hip_done(h->pool, 0);
	return r;
}

static int open_slots(struct engine_hip *h, uint32_t n)
{
	int r = 0;

	h->slots = calloc(n, sizeof(*h->slots));
	if (!h->slots)
		return -ENOMEM;
	h->n_slots = n;
	for (uint32_t i = 0; i < n && r == 0; i++) {
		r = hip_slot_open(&h->load, &h->slots[i], cofris_hip_stream(h->pool, i));
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
	h->load = (struct hip_load){.api = &h->api, .idle_kernels = o->idle_kernels};
	r = engine_model_load(o->model, o->idle_kernels, &h->model);
	h->load.model = h->model;
	if (r == 0)
		r = find_device(h, o->bdf);
	if (r == 0)
		r = find_time(h);
	if (r == 0)
		r = hip_load_init(&h->load, getenv(ENGINE_HIP_COMPILE_ENV) != NULL);
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
