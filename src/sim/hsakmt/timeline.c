/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels in flight on their line of device time.
 *
 * Of each kernel is known what was left of it when anything but the clock last changed: a kernel
 * began or ended, a mask or the load of another process changed. From there everything is summed
 * over the clock's history each time, so that a change of the clock that is published late still
 * counts from when it happened, and so does the work of others. */
#include "base/units.h"
#include "sim/hsakmt/device-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

#define OTHERS_LOOK_NS	NSEC_PER_MSEC /* of device time, also without a word from others */
#define NOTHING_LEFT_NS 0.5
#define QUEUED_GRACE_NS (20 * NSEC_PER_MSEC) /* others wait for so long for our next word */

/* What runs in a stretch of time in which clock and others are constant. */
struct stretch {
	struct plant_running *kernels[DEVICE_MAX_RUNNING];
	double left[DEVICE_MAX_RUNNING];
	uint32_t n;
};

static void stretch_init(const struct timeline *l, struct stretch *s)
{
	s->n = 0;
	for (struct device_kernel *k = l->first; k && s->n < DEVICE_MAX_RUNNING; k = k->next) {
		if (k->ended)
			continue;
		s->kernels[s->n] = &k->running;
		s->left[s->n++] = k->left;
	}
}

/* The load of others at at_ns, and until when it stays like this. */
static bool others_at(const struct device *d, uint64_t at_ns, double total[PLANT_MAX_CUS],
		      double *ret_gbps, uint64_t *ret_until_ns)
{
	bool any = false;

	*ret_gbps = 0;
	for (uint32_t i = 0; d->line.n_others > 0 && i < SIM_SLOTS; i++) {
		const struct sim_load *o = &d->line.others[i].load;

		if (!d->line.others[i].present || o->until_ns <= at_ns)
			continue;
		if (o->since_ns > at_ns) {
			*ret_until_ns = MIN(*ret_until_ns, o->since_ns);
			continue;
		}
		if (!any)
			memset(total, 0, d->cus.n * sizeof(*total));
		any = true;
		*ret_until_ns = MIN(*ret_until_ns, o->until_ns);
		*ret_gbps += o->gbps;
		for (uint32_t bit = 0; bit < d->cus.n; bit++)
			total[bit] += (double)o->waves[bit] / SIM_LOAD_ONE;
	}
	return any;
}

/* Goes on from at_ns with one clock, at most to to_ns or to where others change or the first kernel
 * ends. Returns where it stopped. */
static uint64_t stretch_step(struct device *d, struct stretch *s, uint32_t sclk_mhz, uint64_t at_ns,
			     uint64_t to_ns, bool *ret_ended)
{
	double total[PLANT_MAX_CUS], gbps, first_ns = INFINITY, ns;
	bool others = others_at(d, at_ns, total, &gbps, &to_ns);

	plant_share(&d->cus, sclk_mhz, s->kernels, s->n, others ? total : NULL, gbps);
	for (uint32_t i = 0; i < s->n; i++) {
		s->kernels[i]->ns *= d->card->time_factor;
		if (isfinite(s->kernels[i]->ns))
			first_ns = fmin(first_ns, s->left[i] * s->kernels[i]->ns);
	}
	ns = (double)(to_ns - at_ns);
	*ret_ended = first_ns <= ns + NOTHING_LEFT_NS;
	if (*ret_ended)
		ns = first_ns;
	for (uint32_t i = 0; i < s->n; i++)
		if (isfinite(s->kernels[i]->ns)) {
			s->left[i] -= ns / s->kernels[i]->ns;
			if (s->left[i] * s->kernels[i]->ns < NOTHING_LEFT_NS)
				s->left[i] = 0;
		}
	return *ret_ended ? at_ns + (uint64_t)llround(ns) : to_ns;
}

/* Goes on from the line's at_ns to to_ns or the first end; s->left is what is left there. */
static uint64_t walk(struct device *d, struct stretch *s, uint64_t to_ns, bool *ret_ended)
{
	struct sim_clock_history h;
	uint64_t t = d->line.at_ns;

	*ret_ended = false;
	if (s->n == 0 || t >= to_ns)
		return MAX(t, to_ns);
	sim_clock_history_read(d->card, t, &h);
	for (uint32_t i = h.n; i-- > 0;) {
		uint64_t end = MIN(i > 0 ? h.clock[i - 1].from_ns : UINT64_MAX, to_ns);

		while (t < end) {
			t = stretch_step(d, s, h.clock[i].sclk_mhz, t, end, ret_ended);
			if (*ret_ended)
				return t;
		}
	}
	return to_ns;
}

/* ---- what it did ---- */

/* The CUs that any running kernel may use. */
static struct cu_mask union_mask(const struct device *d)
{
	struct cu_mask all = {.n_bits = d->cus.n};

	for (const struct device_kernel *k = d->line.first; k; k = k->next)
		for (uint32_t i = 0; !k->ended && i < CU_MASK_WORDS; i++)
			all.words[i] |= k->running.mask->words[i];
	return all;
}

static double flop_of(const struct plant_running *k)
{
	return k->launch.flop_per_workgroup * k->launch.workgroups;
}

/* Makes what is left at at_ns the state of the line. */
static void settle(struct device *d, const struct stretch *s, uint64_t at_ns)
{
	struct timeline *l = &d->line;
	uint32_t i = 0;

	if (s->n > 0 && at_ns > l->at_ns) {
		l->account.busy_ns += at_ns - l->at_ns;
		l->account.ungated_cu_ns += (at_ns - l->at_ns) * l->account.running_cus;
	}
	for (struct device_kernel *k = l->first; k; k = k->next) {
		double done;

		if (k->ended)
			continue;
		done = k->left - s->left[i];
		l->flop += done * flop_of(&k->running);
		l->bytes += done * k->running.launch.bytes;
		k->left = s->left[i++];
	}
	l->at_ns = MAX(l->at_ns, at_ns);
}

/* To now_ns, before which nothing ends. */
static void settle_at(struct device *d, uint64_t now_ns)
{
	struct stretch s;
	bool ended;

	stretch_init(&d->line, &s);
	settle(d, &s, walk(d, &s, now_ns, &ended));
}

static void count_ungated(struct device *d)
{
	struct cu_mask mask = union_mask(d);

	d->line.account.running_cus =
		plant_ungated_cus_of_mask(d->profile, (enum plant_gating)d->card->gating, &mask);
	d->line.set_since_ns = d->line.at_ns;
	d->line.changed = true;
}

void timeline_count_bytes(struct device *d, uint64_t bytes)
{
	d->line.bytes += (double)bytes;
	d->line.changed = true;
}

/* ---- what changes it ---- */

void timeline_start(struct device *d, struct device_kernel *k, uint64_t start_ns)
{
	struct timeline *l = &d->line;

	settle_at(d, start_ns);
	k->left = 1;
	k->start_ns = start_ns;
	plant_running_init(&d->cus, &k->running);
	*l->last = k;
	l->last = &k->next;
	l->n++;
	if (k->has_copy)
		mover_start(d->mover, &k->copy);
	count_ungated(d);
}

void timeline_remask(struct device *d, struct device_queue *q, const struct cu_mask *mask,
		     uint64_t now_ns)
{
	settle_at(d, now_ns);
	q->mask = *mask;
	for (struct device_kernel *k = d->line.first; k; k = k->next)
		if (k->queue == q)
			plant_running_init(&d->cus, &k->running);
	count_ungated(d);
}

/* Takes a kernel out of the list; *p is the link to it. */
static struct device_kernel *unlink_kernel(struct timeline *l, struct device_kernel **p)
{
	struct device_kernel *k = *p;

	*p = k->next;
	if (!*p)
		l->last = p;
	l->n--;
	return k;
}

void timeline_drop(struct device *d, struct device_queue *q, uint64_t now_ns)
{
	struct timeline *l = &d->line;

	settle_at(d, now_ns);
	for (struct device_kernel **p = &l->first; *p;) {
		struct device_kernel *k;

		if ((*p)->queue != q) {
			p = &(*p)->next;
			continue;
		}
		k = unlink_kernel(l, p);
		if (k->has_copy)
			mover_cancel(d->mover, &k->copy);
		free(k);
	}
	q->n_running = 0;
	count_ungated(d);
}

/* ---- ends ---- */

static uint64_t first_copy_end(const struct device *d)
{
	uint64_t first_ns = UINT64_MAX;

	for (const struct device_queue *q = d->queues; q; q = q->next)
		if (q->copying && !q->copy_is_late)
			first_ns = MIN(first_ns, q->copy_end_ns);
	return first_ns;
}

/* Completes what has ended by at_ns and whose bytes are there. */
static bool end_all(struct device *d, uint64_t at_ns)
{
	struct timeline *l = &d->line;
	bool any = false, set_changed = false;

	for (struct device_kernel **p = &l->first; *p;) {
		struct device_kernel *k = *p;

		if (!k->ended && k->left <= 0) {
			k->ended = true;
			k->end_ns = at_ns;
			set_changed = true;
		}
		if (!k->ended || (k->has_copy && !atomic_load(&k->copy.done))) {
			p = &k->next;
			continue;
		}
		(void)unlink_kernel(l, p);
		aql_end_kernel(k->queue, k);
		free(k);
		any = true;
	}
	for (struct device_queue *q = d->queues; q; q = q->next) {
		if (!q->copying || q->copy_end_ns > at_ns)
			continue;
		q->copying = !atomic_load(&q->copy.done);
		q->copy_is_late = q->copying;
		any |= !q->copying;
	}
	if (set_changed)
		count_ungated(d);
	d->progress |= any;
	return any;
}

/* Takes packets at at_ns until no queue has any that may be taken: one queue's packet may be what
 * another one waits for. */
static void pump_all(struct device *d, uint64_t at_ns)
{
	bool any;

	do {
		any = false;
		for (struct device_queue *q = d->queues; q; q = q->next) {
			if (q->arrival_ns > at_ns)
				continue;
			any |= q->options.type == DEVICE_QUEUE_AQL ? aql_pump(q, at_ns)
								   : sdma_pump(q, at_ns);
		}
	} while (any);
}

/* The first end up to to_ns, of a kernel or a copy. */
static uint64_t next_end(struct device *d, uint64_t to_ns, struct stretch *s, bool *ret_ended)
{
	uint64_t copy_ns = MAX(first_copy_end(d), d->line.at_ns), t;

	stretch_init(&d->line, s);
	t = walk(d, s, MIN(to_ns, copy_ns), ret_ended);
	if (!*ret_ended && copy_ns <= to_ns && copy_ns <= t)
		*ret_ended = true;
	return t;
}

static void advance(struct device *d, uint64_t to_ns)
{
	for (;;) {
		struct stretch s;
		bool ended;
		uint64_t t = next_end(d, to_ns, &s, &ended);

		if (!ended)
			break;
		settle(d, &s, t);
		(void)end_all(d, t);
		pump_all(d, t);
	}
}

/* ---- others ---- */

static bool load_is_same(const struct sim_load *a, const struct sim_load *b)
{
	return a->since_ns == b->since_ns && a->gbps == b->gbps &&
	       memcmp(a->waves, b->waves, sizeof(a->waves)) == 0;
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
		if (o->load.until_ns > now_ns) {
			advance(d, now_ns);
			settle_at(d, now_ns);
			o->load.until_ns = now_ns;
		}
		if (o->load.until_ns <= d->line.at_ns) {
			o->present = false;
			d->line.n_others--;
		}
		return;
	}
	if (o->present && !load_is_same(&o->load, &load)) {
		uint64_t t = CLAMP(load.since_ns, d->line.at_ns, now_ns);

		advance(d, t);
		settle_at(d, t);
	}
	d->line.n_others += !o->present;
	o->present = true;
	o->load = load;
}

static void follow_all(struct device *d, uint64_t now_ns)
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

void timeline_advance(struct device *d, uint64_t to_ns)
{
	follow_all(d, to_ns);
	advance(d, to_ns);
	(void)end_all(d, MIN(to_ns, d->line.at_ns));
	pump_all(d, to_ns);
	/* An idle line has no history. */
	if (d->line.n == 0)
		d->line.at_ns = MAX(d->line.at_ns, to_ns);
}

uint64_t timeline_next_ns(struct device *d)
{
	struct stretch s;
	bool ended;
	uint64_t t;

	if (d->line.n == 0 && first_copy_end(d) == UINT64_MAX)
		return UINT64_MAX;
	t = next_end(d, UINT64_MAX, &s, &ended);
	return ended ? t : UINT64_MAX;
}

/* ---- the slot ---- */

int timeline_init(struct device *d)
{
	struct timeline *l = &d->line;

	l->last = &l->first;
	l->at_ns = sim_device_ns(d->machine, monotonic_ns());
	l->account.busy_ns = atomic_load(&d->slot->busy_ns);
	l->account.ungated_cu_ns = atomic_load(&d->slot->ungated_cu_ns);
	l->flop_k_before = atomic_load(&d->slot->flop_k);
	l->bytes_before = atomic_load(&d->slot->bytes);
	l->others_epoch = atomic_load(&d->card->epoch) - 1;
	return 0;
}

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

	stretch_init(l, &s);
	first_ns = (double)(walk(d, &s, UINT64_MAX, &ended) - l->at_ns);
	for (const struct device_kernel *k = l->first; k && ended; k = k->next) {
		const struct plant_running *run = &k->running;
		double ns;

		if (k->ended)
			continue;
		ns = fmax(first_ns + s.left[i++] * run->ns, 1);
		if (!isfinite(ns))
			continue;
		last_ns = fmax(last_ns, ns);
		flop += k->left * flop_of(run) / ns;
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
	l->clock_head = atomic_load(&d->card->clock_head);
	settle_at(d, now_ns);
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
