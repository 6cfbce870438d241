/* SPDX-License-Identifier: Apache-2.0 */
/* The device's line of time and the shared machine: what other processes have on the card, and what
 * this one says in its slot. */
#include "base/units.h"
#include "sim/hsakmt/device-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define OTHERS_LOOK_NS	NSEC_PER_MSEC	      /* of device time, also without a word from others */
#define UNTIL_NEWS_NS	(100 * NSEC_PER_USEC) /* less is not worth another word */
#define QUEUED_GRACE_NS (20 * NSEC_PER_MSEC)  /* others wait for so long for our next word */

/* ---- others ---- */

static bool load_is_same(const struct sim_load *a, const struct sim_load *b)
{
	return a->since_ns == b->since_ns && a->gbps == b->gbps &&
	       memcmp(a->waves, b->waves, sizeof(a->waves)) == 0;
}

static bool until_differs(const struct sim_load *a, const struct sim_load *b)
{
	uint64_t first_ns = MIN(a->until_ns, b->until_ns), last_ns = MAX(a->until_ns, b->until_ns);

	return last_ns - first_ns > UNTIL_NEWS_NS;
}

/* Another process has nothing on the card any more since end_ns: its word on that may come late. */
static void follow_end(struct device *d, struct device_other *o, uint64_t end_ns)
{
	if (o->load.until_ns > end_ns) {
		timeline_run(d, end_ns);
		timeline_settle(d, end_ns);
		o->load.until_ns = end_ns;
	}
	if (o->load.until_ns <= d->line.at_ns) {
		o->present = false;
		d->line.changed = true;
		d->line.n_others--;
	}
}

/* Follows what another process says of itself: what it said before holds up to its new word. */
static void follow(struct device *d, uint32_t index, uint64_t now_ns)
{
	struct device_other *o = &d->line.others[index];
	struct sim_load load;
	int r = sim_slot_load(&d->card->slots[index], d->line.at_ns, &load);

	if (r == -EAGAIN || (r < 0 && !o->present))
		return;
	if (r < 0) {
		follow_end(d, o, CLAMP(load.since_ns, d->line.at_ns, now_ns));
		return;
	}
	if (o->present && !load_is_same(&o->load, &load)) {
		uint64_t t = CLAMP(load.since_ns, d->line.at_ns, now_ns);

		timeline_run(d, t);
		timeline_settle(d, t);
	}
	/* What it means for our end is news to them. */
	if (!o->present || until_differs(&load, &o->load))
		d->line.changed = true;
	d->line.n_others += !o->present;
	o->present = true;
	o->load = load;
}

void timeline_follow(struct device *d, uint64_t now_ns)
{
	struct timeline *l = &d->line;
	uint32_t epoch = atomic_load(&d->card->epoch);

	if (epoch == l->others_epoch && now_ns < l->others_seen_ns + OTHERS_LOOK_NS)
		return;
	l->others_epoch = epoch;
	l->others_seen_ns = now_ns;
	for (uint32_t i = 0; i < SIM_SLOTS; i++)
		if (&d->card->slots[i] != d->slot &&
		    (atomic_load_explicit(&d->card->slots[i].pid, memory_order_relaxed) != 0 ||
		     l->others[i].present))
			follow(d, i, now_ns);
}

/* ---- the slot ---- */

/* The load by CU; whether it differs from what the slot says. */
static bool fill_load(struct device *d)
{
	uint16_t load[SIM_MAX_CUS] = {0};

	for (const struct device_kernel *k = d->line.first; k; k = k->next) {
		uint32_t part = (uint32_t)lround(k->running.load * SIM_LOAD_ONE);

		/* The least there is, so that a running kernel is seen at all. */
		part = MAX(part, 1u);
		for (uint32_t bit = 0; !k->ended && bit < d->cus.n; bit++)
			if (k->running.mask->words[bit / 32] >> (bit % 32) & 1)
				load[bit] = (uint16_t)MIN(load[bit] + part, (uint32_t)UINT16_MAX);
	}
	if (memcmp(load, d->line.load, sizeof(load)) == 0)
		return false;
	memcpy(d->line.load, load, sizeof(load));
	return true;
}

/* What runs, and when the last of it ends if nothing changes but the clock as is known. Up to the
 * first end this is exact; what is left then is taken to go on as it does there. */
static uint64_t running_until(struct device *d, struct sim_account *a)
{
	const struct timeline *l = &d->line;
	double flop = 0, bytes = 0, demand = 0, last_ns = 0, first_ns;
	struct stretch s;
	uint32_t i = 0;
	bool ended;

	timeline_stretch(l, &s);
	first_ns = (double)(timeline_walk(d, &s, UINT64_MAX, &ended) - l->at_ns);
	for (const struct device_kernel *k = l->first; k && ended; k = k->next) {
		const struct plant_running *run = &k->running;
		double ns;

		if (k->ended)
			continue;
		ns = fmax(first_ns + s.left[i++] * run->ns, 1);
		if (!isfinite(ns))
			continue;
		last_ns = fmax(last_ns, ns);
		flop += k->left * device_kernel_flop(run) / ns;
		bytes += k->left * run->launch.bytes / ns;
		demand += run->demand_gbps;
	}
	a->flop_per_us = (uint64_t)(flop * 1e3);
	a->bytes_per_us = (uint64_t)(bytes * 1e3);
	a->demand_bytes_per_us = (uint64_t)(demand * 1e3);
	return ended ? l->at_ns + (uint64_t)ceil(fmin(last_ns, 1e18)) : 0;
}

/* Whether a queue at work has packets behind its kernels. */
static bool has_more(const struct device *d)
{
	for (const struct device_queue *q = d->queues; q; q = q->next)
		if (q->n_running > 0 && !q->stopped && q->taken < q->available)
			return true;
	return false;
}

/* The shape that the card's files show of the process: of the masks under which it runs kernels or
 * last did. Queues that rest say nothing: runtimes keep some without a mask. */
static void show_shape(struct device *d)
{
	struct cu_mask mask = {.n_bits = d->cus.n};
	struct cu_shape shape;

	for (const struct device_queue *q = d->queues; q; q = q->next)
		for (uint32_t i = 0; q->ran_last && i < CU_MASK_WORDS; i++)
			mask.words[i] |= q->mask.words[i];
	if (cu_mask_count(&mask) == 0 || cu_mask_equal(&mask, &d->line.shown))
		return;
	d->line.shown = mask;
	shape = cu_mask_effective_shape(&d->profile->topology, mask.words, CU_MASK_WORDS);
	if (cu_shape_equal(shape, cu_shape_full(&d->profile->topology)))
		shape = (struct cu_shape){0, 0};
	atomic_store(&d->slot->shape, (uint32_t)shape.n_se << 16 | shape.cus_per_se);
}

/* Whether the slot tells more than what is so by now. */
static bool must_publish(const struct device *d, uint64_t now_ns)
{
	const struct timeline *l = &d->line;

	return l->changed || l->published_more != has_more(d) ||
	       (l->n > 0 && (l->account.running_until_ns <= now_ns ||
			     atomic_load(&d->card->clock_head) != l->clock_head));
}

void timeline_publish(struct device *d, uint64_t now_ns)
{
	struct timeline *l = &d->line;
	struct sim_account *a = &l->account;
	bool was_running = a->running_until_ns > 0, load_changed;

	if (!must_publish(d, now_ns))
		return;
	l->changed = false;
	show_shape(d);
	l->clock_head = atomic_load(&d->card->clock_head);
	/* Nothing is settled for it: news of others that is late still counts from its own time. */
	a->running_until_ns = running_until(d, a);
	load_changed = fill_load(d);
	if (load_changed || !was_running)
		a->load_since_ns = l->set_since_ns;
	/* The next kernel begins at the end of this one, but others hear of it only when our thread
	 * has run: meanwhile they had better count on it. */
	l->published_more = has_more(d);
	a->load_until_ns = a->running_until_ns;
	if (l->published_more && a->running_until_ns > 0)
		a->load_until_ns += QUEUED_GRACE_NS;
	a->accounted_ns = l->at_ns;
	a->flop_k = l->flop_k_before + (uint64_t)(l->flop / 1e3);
	a->bytes = l->bytes_before + (uint64_t)l->bytes;
	a->load = load_changed ? l->load : NULL;
	sim_slot_write(d->slot, a);
	/* Who waits is woken when this begins or ends, and for others on the card, so that they
	 * share; the simulator steps a busy card by itself. */
	if (was_running != (a->running_until_ns > 0) || (load_changed && l->n_others > 0))
		l->others_epoch += sim_card_bump(d->card) == l->others_epoch;
}
