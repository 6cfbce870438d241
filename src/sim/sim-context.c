/* SPDX-License-Identifier: Apache-2.0 */
/* The execution of whole requests on a card of the shared machine, in device time.
 *
 * A request is a share of work to do, 1 at its start. At a clock, on a mask and sharing its CUs, it
 * falls by dt * rate / service time; the end is where it reaches 0. The sum is taken over the
 * clock's history from the start each time, so that a change which is published late (a step of
 * the plant later) still counts from when it happened. */
#include "base/ini-file.h"
#include "base/units.h"
#include "cu-mask/cu-mask.h"
#include "plant/share.h"
#include "sim/sim-card.h"
#include <errno.h>
#include <linux/futex.h>
#include <math.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#define MEMO_SIZE     256
#define STOP_CHECK_NS (20 * NSEC_PER_MSEC) /* how often *stop is looked at */

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* Returns when the epoch has moved on, at wall_ns, or on a signal. */
static void card_wait(struct sim_card *c, uint32_t epoch, uint64_t wall_ns)
{
	struct timespec t = {
		.tv_sec = (time_t)(wall_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(wall_ns % NSEC_PER_SEC),
	};

	(void)syscall(SYS_futex, &c->epoch, FUTEX_WAIT_BITSET, epoch, &t, NULL,
		      FUTEX_BITSET_MATCH_ANY);
}

struct memo {
	const struct plant_model *model;
	uint32_t sclk_mhz, batch;
	struct cu_shape shape;
	struct plant_cost cost;
};

struct sim_context {
	struct sim_machine *machine;
	struct sim_card *card;
	struct sim_slot *slot;
	struct plant_device *device;
	struct memo memo[MEMO_SIZE]; /* of the thread that runs */
	double flop, bytes;	     /* done, beyond what the slot held when it was taken */
	uint64_t flop_k_before, bytes_before;
	struct sim_account account; /* as the slot has it */
	uint16_t load[SIM_MAX_CUS];
	struct plant_cus cus;

	pthread_mutex_t lock; /* the mask comes from another thread */
	struct cu_mask mask;
	struct cu_shape shape;
	uint64_t shape_since_ns;
};

/* One execution under way. */
struct run {
	const struct plant_model *model;
	uint32_t batch;
	double factor;

	/* left is what was to do at at_ns; from there on mask and rate hold. */
	uint64_t at_ns;
	double left;
	struct cu_mask mask;
	struct cu_shape shape;
	double rate;

	/* what the slot says */
	uint64_t accounted_ns, published_end_ns;
	double accounted_left;
	uint32_t published_cus;
	bool published_mask;
};

int sim_context_new(struct sim_machine *m, const char *bdf, struct sim_context **ret)
{
	_cleanup_(freep) struct sim_context *c = NULL;
	_cleanup_(freep) struct plant_device *device = NULL;
	char path[sizeof(m->device_ini)];
	struct sim_card *card = sim_card_find(m, bdf);
	struct ini_error error;
	int r;

	if (!card || atomic_load(&card->clock_head) == 0)
		return -ENODEV;
	(void)snprintf(path, sizeof(path), "%.*s", (int)sizeof(path) - 1, m->device_ini);
	r = plant_device_load(path, &device, &error);
	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	r = sim_slot_take(card, sim_device_ns(m, monotonic_ns()), &c->slot);
	if (r < 0)
		return r;
	c->machine = m;
	c->card = card;
	c->device = TAKE_PTR(device);
	c->account.busy_ns = atomic_load(&c->slot->busy_ns);
	c->account.ungated_cu_ns = atomic_load(&c->slot->ungated_cu_ns);
	c->flop_k_before = atomic_load(&c->slot->flop_k);
	c->bytes_before = atomic_load(&c->slot->bytes);
	(void)pthread_mutex_init(&c->lock, NULL);
	plant_cus_init(&c->cus, c->device);
	cu_mask_all(&c->device->topology, &c->mask);
	*ret = TAKE_PTR(c);
	return 0;
}

struct sim_context *sim_context_free(struct sim_context *c)
{
	if (!c)
		return NULL;
	sim_slot_release(c->card, c->slot);
	(void)pthread_mutex_destroy(&c->lock);
	free(c->device);
	free(c);
	return NULL;
}

const struct plant_device *sim_context_device(const struct sim_context *c)
{
	return c->device;
}

void sim_context_set_queues(struct sim_context *c, uint32_t n_queues)
{
	atomic_store(&c->slot->n_queues, n_queues);
}

void sim_context_set_mask(struct sim_context *c, const uint32_t *words, uint32_t n_bits)
{
	struct cu_mask mask = {.n_bits = cu_topology_cus(&c->device->topology)};
	uint32_t n_words = (n_bits + 31) / 32;
	struct cu_shape shape = {0, 0};

	if (n_words > CU_MASK_WORDS)
		return;
	if (n_bits > 0) {
		memcpy(mask.words, words, n_words * sizeof(*words));
		if (n_bits % 32)
			mask.words[n_words - 1] &= (UINT32_C(1) << n_bits % 32) - 1;
		shape = cu_mask_effective_shape(&c->device->topology, mask.words, n_words);
		if (cu_shape_cus(shape) == 0)
			return;
	} else {
		cu_mask_all(&c->device->topology, &mask);
	}
	(void)pthread_mutex_lock(&c->lock);
	c->mask = mask;
	c->shape = shape;
	c->shape_since_ns = sim_device_ns(c->machine, monotonic_ns());
	(void)pthread_mutex_unlock(&c->lock);
	atomic_store(&c->slot->shape, (uint32_t)shape.n_se << 16 | shape.cus_per_se);
	(void)sim_card_bump(c->card);
}

static const struct plant_cost *cost_of(struct sim_context *c, const struct run *run,
					uint32_t sclk_mhz)
{
	uint64_t key = (uint64_t)(uintptr_t)run->model >> 4 ^ (uint64_t)sclk_mhz << 20 ^
		       (uint64_t)run->batch << 40 ^ (uint64_t)run->shape.n_se << 8 ^
		       run->shape.cus_per_se;
	struct memo *memo = &c->memo[plant_hash(key, 0) % MEMO_SIZE];

	if (memo->model != run->model || memo->sclk_mhz != sclk_mhz || memo->batch != run->batch ||
	    !cu_shape_equal(memo->shape, run->shape))
		*memo = (struct memo){
			.model = run->model,
			.sclk_mhz = sclk_mhz,
			.batch = run->batch,
			.shape = run->shape,
			.cost = plant_request_cost(c->device, run->model, sclk_mhz, run->shape,
						   run->batch),
		};
	return &memo->cost;
}

static uint32_t ungated_cus(const struct sim_context *c, struct cu_shape shape)
{
	return plant_ungated_cus(c->device, (enum plant_gating)c->card->gating, shape);
}

/* What is left at to_ns of the work left at run->at_ns, or 0. *ret_end_ns is when it ended, to_ns
 * if it has not. */
static double run_until(struct sim_context *c, const struct run *run, uint64_t to_ns,
			uint64_t *ret_end_ns)
{
	double left = run->left;
	uint64_t t = run->at_ns;
	struct sim_clock_history h;

	sim_clock_history_read(c->card, t, &h);
	for (uint32_t i = h.n; i-- > 0;) {
		uint64_t end = MIN(i > 0 ? h.clock[i - 1].from_ns : UINT64_MAX, to_ns);
		double full_ns, need_ns;

		if (end <= t)
			continue;
		full_ns = cost_of(c, run, h.clock[i].sclk_mhz)->ns * run->factor *
			  c->card->time_factor / run->rate;
		need_ns = left * full_ns;
		if (need_ns <= (double)(end - t)) {
			*ret_end_ns = t + (uint64_t)llround(need_ns);
			return 0;
		}
		left -= (double)(end - t) / full_ns;
		t = end;
	}
	/* Rounding may leave nothing over just before the end. */
	*ret_end_ns = t;
	return MAX(left, 0.0);
}

/* The part that others leave of the CUs at now_ns, and when the first of them is done. */
static double rate_among_others(struct sim_context *c, const struct cu_mask *mask, uint64_t now_ns,
				uint64_t *ret_first_end_ns)
{
	double total[PLANT_MAX_CUS] = {0};
	bool alone = true;

	*ret_first_end_ns = UINT64_MAX;
	for (uint32_t i = 0; i < SIM_SLOTS; i++) {
		struct sim_slot *s = &c->card->slots[i];
		struct sim_load load;

		if (s == c->slot || sim_slot_load(s, now_ns, &load) < 0)
			continue;
		alone = false;
		*ret_first_end_ns = MIN(*ret_first_end_ns, load.until_ns);
		for (uint32_t k = 0; k < c->cus.n; k++)
			total[k] += (double)load.waves[k] / SIM_LOAD_ONE;
	}
	return alone ? 1 : plant_cu_rate(&c->cus, mask, PLANT_WAVE_SLOTS, 0, total);
}

/* What was done up to t_ns counts as it was; what follows may go on differently. */
static void run_settle(struct sim_context *c, struct run *run, uint64_t t_ns)
{
	uint64_t end_ns;

	if (t_ns <= run->at_ns)
		return;
	run->left = run_until(c, run, t_ns, &end_ns);
	run->at_ns = run->left > 0 ? t_ns : end_ns;
}

/* A request fills the CUs of its mask, whatever kernel it is at. */
static void fill_load(struct sim_context *c, const struct run *run)
{
	for (uint32_t i = 0; i < c->cus.n; i++)
		c->load[i] = run->mask.words[i / 32] >> (i % 32) & 1
				     ? PLANT_WAVE_SLOTS * SIM_LOAD_ONE
				     : 0;
}

/* Says in the slot what has been done by now_ns and what runs from then until end_ns (0: no more).
 */
static void run_publish(struct sim_context *c, struct run *run, uint64_t now_ns, double left,
			uint64_t end_ns)
{
	const struct plant_cost *cost = cost_of(c, run, c->device->level_mhz[0]);
	double done = run->accounted_left - left;
	uint64_t ns = now_ns > run->accounted_ns ? now_ns - run->accounted_ns : 0;
	double us = end_ns > now_ns ? (double)(end_ns - now_ns) / NSEC_PER_USEC : 1;
	struct sim_account *a = &c->account;

	c->flop += done * cost->flop;
	c->bytes += done * cost->bytes;
	a->busy_ns += ns;
	a->ungated_cu_ns += ns * run->published_cus;
	a->flop_k = c->flop_k_before + (uint64_t)(c->flop / 1e3);
	a->bytes = c->bytes_before + (uint64_t)c->bytes;
	a->accounted_ns = MAX(now_ns, run->accounted_ns);
	if (!run->published_mask || run->published_end_ns == 0) {
		fill_load(c, run);
		a->load_since_ns = run->at_ns;
		run->published_mask = true;
	}
	if (end_ns == 0)
		a->load_since_ns = now_ns;
	run->published_cus = ungated_cus(c, run->shape);
	a->running_cus = run->published_cus;
	a->flop_per_us = (uint64_t)(left * cost->flop / us);
	a->bytes_per_us = (uint64_t)(left * cost->bytes / us);
	a->demand_bytes_per_us = a->bytes_per_us;
	a->load = c->load;
	a->running_until_ns = end_ns;
	sim_slot_write(c->slot, a);
	run->accounted_ns = a->accounted_ns;
	run->accounted_left = left;
	run->published_end_ns = end_ns;
}

static void run_end(struct sim_context *c, struct run *run, uint64_t end_ns, double left)
{
	run_publish(c, run, end_ns, left, /* end_ns= */ 0);
	(void)sim_card_bump(c->card);
}

/* Looks at everything that may have changed. Returns the end as things stand. */
static uint64_t run_look(struct sim_context *c, struct run *run, uint64_t now_ns,
			 uint64_t *ret_look_again_ns)
{
	struct cu_mask mask;
	struct cu_shape shape;
	uint64_t shape_since_ns, end_ns;
	double rate;

	(void)pthread_mutex_lock(&c->lock);
	mask = c->mask;
	shape = c->shape;
	shape_since_ns = c->shape_since_ns;
	(void)pthread_mutex_unlock(&c->lock);
	rate = rate_among_others(c, &mask, now_ns, ret_look_again_ns);
	if (!cu_mask_equal(&mask, &run->mask)) {
		run_settle(c, run, MIN(shape_since_ns, now_ns));
		run->mask = mask;
		run->shape = shape;
		run->published_mask = false;
	}
	if (rate != run->rate) {
		run_settle(c, run, now_ns);
		run->rate = rate;
	}
	(void)run_until(c, run, UINT64_MAX, &end_ns);
	*ret_look_again_ns = MIN(*ret_look_again_ns, end_ns);
	return end_ns;
}

int sim_context_run(struct sim_context *c, const struct plant_model *model, uint32_t batch,
		    double factor, uint64_t start_ns, const _Atomic int *stop, uint64_t *ret_end_ns)
{
	struct run run = {
		.model = model,
		.batch = batch,
		.factor = factor,
		.at_ns = start_ns,
		.left = 1,
		.rate = 1,
		.accounted_ns = start_ns,
		.accounted_left = 1,
	};
	uint64_t look_again_ns, unused;

	(void)pthread_mutex_lock(&c->lock);
	run.mask = c->mask;
	run.shape = c->shape;
	(void)pthread_mutex_unlock(&c->lock);
	run.published_cus = ungated_cus(c, run.shape);
	for (;;) {
		uint32_t epoch = atomic_load(&c->card->epoch);
		uint64_t wall_ns = monotonic_ns(), wait_ns;
		uint64_t now_ns = sim_device_ns(c->machine, wall_ns);
		uint64_t end_ns = run_look(c, &run, now_ns, &look_again_ns);

		if (end_ns <= now_ns) {
			run_end(c, &run, end_ns, 0);
			*ret_end_ns = end_ns;
			return 0;
		}
		if (stop && atomic_load(stop)) {
			run_end(c, &run, now_ns, run_until(c, &run, now_ns, &unused));
			return -EINTR;
		}
		if (end_ns != run.published_end_ns || !run.published_mask ||
		    ungated_cus(c, run.shape) != run.published_cus) {
			bool first = run.published_end_ns == 0;

			run_publish(c, &run, now_ns, run_until(c, &run, now_ns, &unused), end_ns);
			/* Others must share from now on; our own bump is no news to us. */
			if (first && sim_card_bump(c->card) == epoch)
				epoch++;
		}
		wait_ns = sim_wall_ns(c->machine, look_again_ns);
		if (stop)
			wait_ns = MIN(wait_ns, wall_ns + STOP_CHECK_NS);
		card_wait(c->card, epoch, wait_ns);
	}
}
