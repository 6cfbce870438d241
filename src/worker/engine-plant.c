/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a model's kernels on a card of cofris-sim: the plant says what they cost, the shared machine
 * says at which clock. */
#include "base/log.h"
#include "base/parse.h"
#include "cu-mask/cu-mask.h"
#include "plant/plant.h"
#include "sim/sim-card.h"
#include "worker/engine-model.h"
#include "worker/engine.h"
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

struct engine_plant {
	struct engine base;
	struct sim_machine *machine;
	struct sim_card *card;
	struct plant_model *model;
	char bdf[PCI_BDF_LENGTH + 1];
	uint32_t n_slots;
	struct sim_context **slots;
	_Atomic uint32_t cus;
};

static struct engine_plant *plant(struct engine *e)
{
	return container_of(e, struct engine_plant, base);
}

static void engine_plant_close(struct engine *e)
{
	struct engine_plant *p = plant(e);

	for (uint32_t i = 0; p->slots && i < p->n_slots; i++)
		(void)sim_context_free(p->slots[i]);
	free(p->slots);
	free(p->model);
	sim_machine_unmap(p->machine);
	free(p);
}

static void engine_plant_closep(struct engine_plant **p)
{
	if (*p)
		engine_plant_close(&(*p)->base);
}

static int find_card(struct engine_plant *p, const char *bdf)
{
	if (!bdf && p->machine->n_cards > 1)
		return log_error_errno(-EINVAL, "There are %u simulated cards: name one by --gpu",
				       p->machine->n_cards);
	p->card = bdf ? sim_card_find(p->machine, bdf) : &p->machine->cards[0];
	if (!p->card)
		return log_error_errno(-ENODEV, "No simulated card at %s", bdf);
	(void)snprintf(p->bdf, sizeof(p->bdf), "%.*s", PCI_BDF_LENGTH, p->card->bdf);
	return 0;
}

static int open_slots(struct engine_plant *p, uint32_t n)
{
	int r;

	p->slots = calloc(n, sizeof(struct sim_context *));
	if (!p->slots)
		return -ENOMEM;
	for (; p->n_slots < n; p->n_slots++) {
		r = sim_context_new(p->machine, p->bdf, &p->slots[p->n_slots]);
		if (r < 0)
			return log_error_errno(r, "Cannot use the simulated card %s: %m", p->bdf);
		sim_context_set_queues(p->slots[p->n_slots], 1);
	}
	atomic_store(&p->cus, cu_topology_cus(&sim_context_device(p->slots[0])->topology));
	return 0;
}

static int engine_plant_open(const struct engine_options *o, struct engine **ret)
{
	_cleanup_(engine_plant_closep) struct engine_plant *p = NULL;
	int r;

	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->base.ops = &engine_plant;
	r = sim_machine_map(/* path= */ NULL, &p->machine);
	if (r == -ENOENT)
		return log_error_errno(r, "The engine 'plant' needs a simulated card: run this "
					  "below cofris-sim (cofris-sim --device mi50 -- COMMAND)");
	if (r < 0)
		return log_error_errno(r, "Cannot use the simulated machine: %m");
	r = engine_model_load(o->model, o->idle_kernels, &p->model);
	if (r < 0)
		return r;
	r = find_card(p, o->bdf);
	if (r < 0)
		return r;
	r = open_slots(p, o->slots);
	if (r < 0)
		return r;
	*ret = &TAKE_PTR(p)->base;
	return 0;
}

static bool engine_plant_probe(void)
{
	return getenv(SIM_ENV) != NULL;
}

static bool engine_plant_simulated(_unused_ struct engine *e)
{
	return true;
}

static const char *engine_plant_bdf(struct engine *e)
{
	return plant(e)->bdf;
}

static const char *engine_plant_model(struct engine *e)
{
	return plant(e)->model->name;
}

static double engine_plant_time_scale(struct engine *e)
{
	return plant(e)->machine->time_scale;
}

static uint64_t engine_plant_device_ns(struct engine *e, uint64_t wall_ns)
{
	return sim_device_ns(plant(e)->machine, wall_ns);
}

static uint64_t engine_plant_wall_ns(struct engine *e, uint64_t device_ns)
{
	return sim_wall_ns(plant(e)->machine, device_ns);
}

static int engine_plant_run(struct engine *e, uint32_t slot, uint32_t batch, double factor,
			    uint64_t start_ns, const _Atomic int *stop, uint64_t *ret_end_ns)
{
	return sim_context_run(plant(e)->slots[slot], plant(e)->model, batch, factor, start_ns,
			       stop, ret_end_ns);
}

static int engine_plant_set_mask(struct engine *e, const uint32_t *words, uint32_t n_bits)
{
	struct engine_plant *p = plant(e);
	const struct cu_topology *t = &sim_context_device(p->slots[0])->topology;
	struct cu_mask mask = {.n_bits = n_bits};

	if (n_bits > 32 * CU_MASK_WORDS)
		return -EINVAL;
	memcpy(mask.words, words, (n_bits + 31) / 32 * sizeof(*words));
	if (n_bits > 0 && cu_mask_check(t, &mask) < 0)
		return -EINVAL;
	for (uint32_t i = 0; i < p->n_slots; i++)
		sim_context_set_mask(p->slots[i], words, n_bits);
	atomic_store(&p->cus, n_bits ? cu_mask_count(&mask) : cu_topology_cus(t));
	return (int)p->n_slots;
}

static uint32_t engine_plant_cus(struct engine *e)
{
	return atomic_load(&plant(e)->cus);
}

/* The ring keeps hundreds of changes, so the entry looked for is never the one being written. */
static uint32_t engine_plant_sclk_mhz(struct engine *e, uint64_t at_ns)
{
	struct sim_card *c = plant(e)->card;
	uint32_t head = atomic_load_explicit(&c->clock_head, memory_order_acquire);
	uint32_t n = MIN(head, (uint32_t)SIM_CLOCK_HISTORY - 1);

	for (uint32_t i = 1; i <= n; i++) {
		const struct sim_clock *k = &c->clock[(head - i) % SIM_CLOCK_HISTORY];

		if (__atomic_load_n(&k->from_ns, __ATOMIC_RELAXED) <= at_ns)
			return __atomic_load_n(&k->sclk_mhz, __ATOMIC_RELAXED);
	}
	return 0;
}

const struct engine_ops engine_plant = {
	.name = "plant",
	.what = "the model's kernels on a simulated card, below cofris-sim",
	.probe = engine_plant_probe,
	.open = engine_plant_open,
	.close = engine_plant_close,
	.simulated = engine_plant_simulated,
	.bdf = engine_plant_bdf,
	.model = engine_plant_model,
	.time_scale = engine_plant_time_scale,
	.device_ns = engine_plant_device_ns,
	.wall_ns = engine_plant_wall_ns,
	.run = engine_plant_run,
	.set_mask = engine_plant_set_mask,
	.cus = engine_plant_cus,
	.sclk_mhz = engine_plant_sclk_mhz,
};
