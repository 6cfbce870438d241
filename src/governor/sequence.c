/* SPDX-License-Identifier: Apache-2.0 */
/* The state kept is pessimistic: what was sent counts as in force where that is less than before,
 * and counts for nothing until confirmed where it is more. */
#include "governor/sequence.h"
#include <errno.h>
#include <string.h>

struct worker {
	bool used, follows_mask, follows_batch;
	bool clock_alone;
	bool repeat;	    /* send again although nothing differs */
	bool moved;	    /* to another of models[], which the latest decision knows not of */
	bool mask_changing; /* the change that is not confirmed is (also) one of the mask */
	bool gives;	    /* it gives capacity, so taking steps wait for it */
	bool missed;	    /* its deadline has passed */
	uint32_t model, misses;
	uint64_t epoch, change_epoch, acked_epoch, deadline_ns;
	struct sequence_directive sent;
};

struct sequence {
	uint64_t epoch;
	struct sequence_clock wanted, sent, confirmed;
	bool clock_in_flight, clock_late, clock_failed, clock_repeat;
	uint64_t clock_epoch, clock_deadline_ns;
	bool cancelled, held;
	bool mask_changed; /* mask_changed_ns is valid */
	uint64_t mask_changed_ns;
	uint32_t n_models;
	uint32_t n_slots; /* workers[] beyond were never used */
	struct sequence_directive models[SEQUENCE_MAX_MODELS];
	struct worker workers[SEQUENCE_MAX_WORKERS];
};

static const struct sequence_directive as_started = {.boost_wait_ns = UINT64_MAX};

int sequence_new(const struct sequence_clock *clock, struct sequence **ret)
{
	struct sequence *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->wanted = s->sent = s->confirmed = *clock;
	*ret = s;
	return 0;
}

struct sequence *sequence_free(struct sequence *s)
{
	free(s);
	return NULL;
}

void sequence_set_epoch(struct sequence *s, uint64_t epoch)
{
	s->epoch = MAX(s->epoch, epoch);
}

uint64_t sequence_epoch(const struct sequence *s)
{
	return s->epoch;
}

/* 0 stands for "not limited by us" in clocks, caps and batches, and ranks above every limit. */
static uint64_t larger(uint64_t a, uint64_t b)
{
	return a == 0 || b == 0 ? 0 : MAX(a, b);
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
	return larger(a, b) == a ? b : a;
}

static struct sequence_clock clock_larger(struct sequence_clock a, struct sequence_clock b)
{
	return (struct sequence_clock){(uint32_t)larger(a.max_mhz, b.max_mhz),
				       larger(a.power_cap_uw, b.power_cap_uw)};
}

static struct sequence_clock clock_smaller(struct sequence_clock a, struct sequence_clock b)
{
	return (struct sequence_clock){(uint32_t)smaller(a.max_mhz, b.max_mhz),
				       smaller(a.power_cap_uw, b.power_cap_uw)};
}

static bool clock_equal(struct sequence_clock a, struct sequence_clock b)
{
	return a.max_mhz == b.max_mhz && a.power_cap_uw == b.power_cap_uw;
}

static bool mask_equal(const struct sequence_directive *a, const struct sequence_directive *b)
{
	return cu_shape_equal(a->shape, b->shape) && cu_mask_equal(&a->mask, &b->mask);
}

/* Takes over other's shape, with its mask, where that is at least as large. */
static void widen_mask(struct sequence_directive *d, const struct sequence_directive *other)
{
	if (larger(cu_shape_cus(d->shape), cu_shape_cus(other->shape)) !=
	    cu_shape_cus(other->shape))
		return;
	d->shape = other->shape;
	d->mask = other->mask;
}

static bool directive_equal(const struct sequence_directive *a, const struct sequence_directive *b)
{
	return mask_equal(a, b) && a->max_batch == b->max_batch &&
	       a->max_wait_ns == b->max_wait_ns && a->boost_wait_ns == b->boost_wait_ns;
}

static struct sequence_directive worker_wanted(const struct sequence *s, const struct worker *w)
{
	struct sequence_directive d = w->moved		       ? w->sent
				      : w->model < s->n_models ? s->models[w->model]
							       : as_started;

	if (!w->follows_mask || w->clock_alone) {
		d.shape = as_started.shape;
		d.mask = as_started.mask;
	}
	if (!w->follows_batch || w->clock_alone)
		d.max_batch = as_started.max_batch;
	return d;
}

/* What may be sent before anything is taken away: the larger of old and new. */
static struct sequence_directive worker_widened(const struct sequence *s, const struct worker *w)
{
	struct sequence_directive d = worker_wanted(s, w);

	widen_mask(&d, &w->sent);
	d.max_batch = (uint32_t)larger(d.max_batch, w->sent.max_batch);
	return d;
}

static bool worker_unconfirmed(const struct worker *w)
{
	return w->used && !w->clock_alone && (w->follows_mask || w->follows_batch) &&
	       w->acked_epoch < w->change_epoch;
}

static bool worker_awaited(const struct worker *w)
{
	return worker_unconfirmed(w) && !w->missed;
}

void sequence_want(struct sequence *s, const struct sequence_clock *clock, uint32_t n_models,
		   const struct sequence_directive *models)
{
	s->wanted = *clock;
	s->n_models = MIN(n_models, (uint32_t)SEQUENCE_MAX_MODELS);
	memcpy(s->models, models, s->n_models * sizeof(*models));
	s->cancelled = false;
	s->clock_repeat = s->clock_failed || (s->clock_in_flight && s->clock_late);
	for (uint32_t i = 0; i < s->n_slots; i++) {
		struct worker *w = &s->workers[i];

		w->moved = false;
		if (worker_unconfirmed(w) && w->missed)
			w->repeat = true;
	}
}

void sequence_boost(struct sequence *s, const struct sequence_clock *clock)
{
	s->wanted = clock_larger(s->wanted, *clock);
	s->cancelled = true;
}

static void clock_expire(struct sequence *s, uint64_t now_ns)
{
	if (!s->clock_in_flight || s->clock_late || now_ns < s->clock_deadline_ns)
		return;
	s->clock_late = true;
	s->cancelled = true;
}

static void worker_expire(struct sequence *s, struct worker *w, uint64_t now_ns)
{
	if (!worker_awaited(w) || now_ns < w->deadline_ns)
		return;
	w->missed = true;
	if (w->gives)
		s->cancelled = true;
	if (++w->misses >= SEQUENCE_MAX_MISSES)
		w->clock_alone = true;
}

static void step_clock(struct sequence *s, uint64_t now_ns, struct sequence_clock clock,
		       struct sequence_step *ret)
{
	s->sent = clock;
	s->confirmed = clock_smaller(s->confirmed, clock);
	s->clock_in_flight = true;
	s->clock_late = s->clock_failed = s->clock_repeat = false;
	s->clock_epoch = ++s->epoch;
	s->clock_deadline_ns = now_ns + SEQUENCE_CONFIRM_TIMEOUT_NS;
	*ret = (struct sequence_step){SEQUENCE_SET_CLOCK, .epoch = s->epoch, .clock = clock};
}

/* A repeated directive changes the mask again if the one before may not have been taken up. */
static bool mask_changes(const struct worker *w, const struct sequence_directive *d)
{
	return !mask_equal(d, &w->sent) || (w->repeat && worker_unconfirmed(w) && w->mask_changing);
}

static void step_worker(struct sequence *s, uint64_t now_ns, struct worker *w,
			const struct sequence_directive *d, bool gives, struct sequence_step *ret)
{
	bool mask = mask_changes(w, d), unconfirmed = worker_unconfirmed(w);
	bool capacity = !mask_equal(d, &w->sent) || d->max_batch != w->sent.max_batch;

	w->epoch = ++s->epoch;
	if (capacity || (w->repeat && unconfirmed)) {
		w->gives = (capacity && gives) || (unconfirmed && w->gives);
		w->mask_changing = mask || (unconfirmed && w->mask_changing);
		w->change_epoch = w->epoch;
		w->deadline_ns = now_ns + SEQUENCE_CONFIRM_TIMEOUT_NS;
		w->missed = false;
	}
	w->repeat = false;
	w->sent = *d;
	if (mask) {
		s->mask_changed = true;
		s->mask_changed_ns = now_ns;
	}
	*ret = (struct sequence_step){SEQUENCE_DIRECT_WORKER, .epoch = w->epoch,
				      .worker = (uint32_t)(w - s->workers), .directive = *d,
				      .mask_changes = mask};
}

/* When w's mask may be changed: 0 for now, else a time to come back at. */
static uint64_t mask_free_at(const struct sequence *s, const struct worker *w, uint64_t now_ns)
{
	for (uint32_t i = 0; i < s->n_slots; i++) {
		const struct worker *other = &s->workers[i];

		if (other != w && worker_awaited(other) && other->mask_changing)
			return other->deadline_ns;
	}
	if (s->mask_changed && now_ns < s->mask_changed_ns + SEQUENCE_MASK_SPACING_NS)
		return s->mask_changed_ns + SEQUENCE_MASK_SPACING_NS;
	return 0;
}

typedef struct sequence_directive (*target_fn)(const struct sequence *s, const struct worker *w);

/* Sends the first directive that differs from its target and may go now. */
static bool direct_workers(struct sequence *s, uint64_t now_ns, target_fn target, bool gives,
			   uint64_t *wait_ns, struct sequence_step *ret)
{
	for (uint32_t i = 0; i < s->n_slots; i++) {
		struct worker *w = &s->workers[i];
		struct sequence_directive d;
		uint64_t free_at_ns;

		if (!w->used)
			continue;
		d = target(s, w);
		if (!w->repeat && directive_equal(&d, &w->sent))
			continue;
		free_at_ns = mask_changes(w, &d) ? mask_free_at(s, w, now_ns) : 0;
		if (free_at_ns > 0) {
			*wait_ns = MIN(*wait_ns, free_at_ns);
			continue;
		}
		step_worker(s, now_ns, w, &d, gives, ret);
		return true;
	}
	return false;
}

/* Everything that gives capacity has been sent and confirmed. */
static bool all_given(const struct sequence *s)
{
	if (s->clock_in_flight)
		return false;
	for (uint32_t i = 0; i < s->n_slots; i++) {
		const struct worker *w = &s->workers[i];
		struct sequence_directive d;

		if (!w->used)
			continue;
		if (worker_unconfirmed(w) && w->gives)
			return false;
		d = worker_widened(s, w);
		if (!directive_equal(&d, &w->sent))
			return false;
	}
	return true;
}

void sequence_hold(struct sequence *s, bool hold)
{
	s->held = hold;
}

bool sequence_held(const struct sequence *s)
{
	return s->held;
}

bool sequence_given(const struct sequence *s)
{
	return !s->cancelled && !s->clock_repeat &&
	       clock_equal(clock_larger(s->sent, s->wanted), s->sent) && all_given(s);
}

static bool take(struct sequence *s, uint64_t now_ns, uint64_t *wait_ns, struct sequence_step *ret)
{
	if (s->held || s->cancelled || !all_given(s))
		return false;
	if (!clock_equal(s->wanted, s->sent)) {
		step_clock(s, now_ns, s->wanted, ret);
		return true;
	}
	return direct_workers(s, now_ns, worker_wanted, false, wait_ns, ret);
}

static bool give(struct sequence *s, uint64_t now_ns, uint64_t *wait_ns, struct sequence_step *ret)
{
	struct sequence_clock up = clock_larger(s->sent, s->wanted);

	if (s->clock_repeat || !clock_equal(up, s->sent)) {
		step_clock(s, now_ns, up, ret);
		return true;
	}
	return direct_workers(s, now_ns, worker_widened, true, wait_ns, ret);
}

void sequence_next(struct sequence *s, uint64_t now_ns, struct sequence_step *ret)
{
	uint64_t wait_ns = UINT64_MAX;

	clock_expire(s, now_ns);
	for (uint32_t i = 0; i < s->n_slots; i++)
		worker_expire(s, &s->workers[i], now_ns);
	if (give(s, now_ns, &wait_ns, ret) || take(s, now_ns, &wait_ns, ret))
		return;

	if (s->clock_in_flight && !s->clock_late)
		wait_ns = MIN(wait_ns, s->clock_deadline_ns);
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (worker_awaited(&s->workers[i]))
			wait_ns = MIN(wait_ns, s->workers[i].deadline_ns);
	*ret = (struct sequence_step){wait_ns == UINT64_MAX ? SEQUENCE_NONE : SEQUENCE_WAIT_UNTIL,
				      .deadline_ns = wait_ns};
}

void sequence_clock_done(struct sequence *s, uint64_t epoch, bool ok)
{
	/* An answer to a write that a later one has followed says nothing about the card now. */
	if (!s->clock_in_flight || epoch != s->clock_epoch)
		return;
	s->clock_in_flight = s->clock_late = false;
	if (ok) {
		s->confirmed = s->sent;
		return;
	}
	s->sent = s->confirmed;
	s->cancelled = true;
	s->clock_failed = true;
	/* Not again before the next decision: a card that refuses would be written without end. */
	s->wanted = s->sent;
}

void sequence_clock_found(struct sequence *s, const struct sequence_clock *clock)
{
	s->sent = s->confirmed = *clock;
	s->clock_in_flight = s->clock_late = s->clock_failed = s->clock_repeat = false;
}

static struct worker *find(struct sequence *s, uint32_t worker)
{
	return worker < s->n_slots && s->workers[worker].used ? &s->workers[worker] : NULL;
}

static const struct worker *find_const(const struct sequence *s, uint32_t worker)
{
	return worker < s->n_slots && s->workers[worker].used ? &s->workers[worker] : NULL;
}

void sequence_mask_acked(struct sequence *s, uint32_t worker, uint64_t epoch)
{
	struct worker *w = find(s, worker);

	/* An epoch that was never sent is a worker's invention. */
	if (!w || epoch > w->epoch || epoch <= w->acked_epoch)
		return;
	w->acked_epoch = epoch;
	if (epoch >= w->change_epoch)
		w->misses = 0;
	if (w->clock_alone && epoch == w->epoch)
		w->clock_alone = false;
}

int sequence_worker_add(struct sequence *s, uint32_t model, bool follows_mask, bool follows_batch)
{
	for (uint32_t i = 0; i < SEQUENCE_MAX_WORKERS; i++) {
		if (s->workers[i].used)
			continue;
		s->workers[i] = (struct worker){.used = true,
						.follows_mask = follows_mask,
						.follows_batch = follows_batch,
						.model = model,
						.repeat = true,
						.sent = as_started};
		s->n_slots = MAX(s->n_slots, i + 1);
		return (int)i;
	}
	return -ENOSPC;
}

void sequence_worker_remove(struct sequence *s, uint32_t worker)
{
	struct worker *w = find(s, worker);

	if (w)
		*w = (struct worker){0};
}

void sequence_worker_set_model(struct sequence *s, uint32_t worker, uint32_t model)
{
	struct worker *w = find(s, worker);

	if (!w || w->model == model)
		return;
	w->model = model;
	w->moved = true;
}

bool sequence_worker_clock_alone(const struct sequence *s, uint32_t worker)
{
	const struct worker *w = find_const(s, worker);

	return w && w->clock_alone;
}

uint64_t sequence_worker_epoch(const struct sequence *s, uint32_t worker)
{
	const struct worker *w = find_const(s, worker);

	return w ? w->epoch : 0;
}

bool sequence_worker_acknowledged(const struct sequence *s, uint32_t worker)
{
	const struct worker *w = find_const(s, worker);

	return w && w->epoch > 0 && w->acked_epoch == w->epoch;
}

/* Sent, confirmed where there is something to confirm, and what is wanted. */
static bool worker_settled(const struct sequence *s, const struct worker *w)
{
	struct sequence_directive d = worker_wanted(s, w);

	return !w->repeat && !worker_unconfirmed(w) && directive_equal(&d, &w->sent);
}

bool sequence_model_acknowledged(const struct sequence *s, uint32_t model)
{
	for (uint32_t i = 0; i < s->n_slots; i++) {
		const struct worker *w = &s->workers[i];

		if (w->used && w->model == model && (w->clock_alone || !worker_settled(s, w)))
			return false;
	}
	return true;
}

struct sequence_clock sequence_clock_confirmed(const struct sequence *s)
{
	return s->confirmed;
}

struct sequence_clock sequence_clock_sent(const struct sequence *s)
{
	return s->sent;
}

bool sequence_cancelled(const struct sequence *s)
{
	return s->cancelled;
}

bool sequence_settled(const struct sequence *s)
{
	if (s->clock_in_flight || s->clock_repeat || s->cancelled ||
	    !clock_equal(s->wanted, s->confirmed))
		return false;
	for (uint32_t i = 0; i < s->n_slots; i++)
		if (s->workers[i].used && !worker_settled(s, &s->workers[i]))
			return false;
	return true;
}
