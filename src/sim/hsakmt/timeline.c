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

#define NOTHING_LEFT_NS 0.5

void timeline_stretch(const struct timeline *l, struct stretch *s)
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
uint64_t timeline_walk(struct device *d, struct stretch *s, uint64_t to_ns, bool *ret_ended)
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
		l->flop += done * device_kernel_flop(&k->running);
		l->bytes += done * k->running.launch.bytes;
		k->left = s->left[i++];
	}
	l->at_ns = MAX(l->at_ns, at_ns);
}

/* To now_ns, before which nothing ends. */
void timeline_settle(struct device *d, uint64_t now_ns)
{
	struct stretch s;
	bool ended;

	timeline_stretch(&d->line, &s);
	settle(d, &s, timeline_walk(d, &s, now_ns, &ended));
}

/* Notes whose kernels run; where none do, it stays with those that did. */
static void note_who_runs(struct device *d)
{
	bool any = false;

	for (const struct device_kernel *k = d->line.first; k; k = k->next)
		any |= !k->ended;
	for (struct device_queue *q = d->queues; any && q; q = q->next)
		q->ran_last = false;
	for (const struct device_kernel *k = d->line.first; k; k = k->next)
		if (!k->ended)
			k->queue->ran_last = true;
}

static void count_ungated(struct device *d)
{
	struct cu_mask mask = union_mask(d);

	note_who_runs(d);
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

	timeline_settle(d, start_ns);
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
	timeline_settle(d, now_ns);
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

	timeline_settle(d, now_ns);
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

	timeline_stretch(&d->line, s);
	t = timeline_walk(d, s, MIN(to_ns, copy_ns), ret_ended);
	if (!*ret_ended && copy_ns <= to_ns && copy_ns <= t)
		*ret_ended = true;
	return t;
}

void timeline_run(struct device *d, uint64_t to_ns)
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

void timeline_advance(struct device *d, uint64_t to_ns)
{
	timeline_follow(d, to_ns);
	timeline_run(d, to_ns);
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
