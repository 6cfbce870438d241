/* SPDX-License-Identifier: Apache-2.0 */
/* What was decided goes to the card and to the workers, in the order and in the time that the
 * daemon takes for it. */
#include "replay/simulation-governor.h"
#include <math.h>

#define READBACK_HOLD_NS (5 * NSEC_PER_SEC) /* how long a write that failed is remembered */

/* The highest level that the limit allows. */
static uint32_t level_of(const struct simulation *s, uint32_t max_mhz)
{
	uint32_t level = s->device.n_levels - 1;

	while (level > 0 && s->device.level_mhz[level] > max_mhz)
		level--;
	return level;
}

static void write_cap(struct simulation *s, uint64_t cap_uw)
{
	if (s->options.writes_cap)
		plant_card_set_cap_uw(s->card, cap_uw > 0
						       ? cap_uw
						       : (uint64_t)llround(s->device.cap_w * 1e6));
}

/* The actuator leaves the baseline behind a write that failed. */
static void fail_to_write(struct governing *g, struct simulation *s, uint64_t epoch)
{
	g->applied_mhz = 0;
	g->readback_until_ns = s->now_ns + governing_card_ns(g, READBACK_HOLD_NS);
	simulation_card_limit(s, SIMULATION_AUTO);
	write_cap(s, 0);
	governing_read_card(g, s);
	sequence_clock_done(g->sequence, epoch, /* ok= */ false);
	sequence_clock_found(g->sequence, &(struct sequence_clock){0});
}

static void write_clock(struct governing *g, struct simulation *s,
			const struct sequence_clock *clock, uint64_t epoch)
{
	uint32_t max_mhz = clock->max_mhz;

	if (simulation_event(s, SIMULATION_READBACK_FAILED, 0)) {
		fail_to_write(g, s, epoch);
		return;
	}
	g->applied_mhz = max_mhz;
	write_cap(s, clock->power_cap_uw);
	simulation_card_limit(s, max_mhz > 0 ? level_of(s, max_mhz) : SIMULATION_AUTO);
	governing_read_card(g, s);
	sequence_clock_done(g->sequence, epoch, /* ok= */ true);
}

static struct governed *model_of(struct governing *g, uint32_t worker)
{
	struct governed *d = g->models;

	while (d->worker != worker)
		d++;
	return d;
}

/* A newer directive replaces one that is on its way: the worker reads the page as it is. */
static void send_directive(struct governing *g, const struct simulation *s,
			   const struct sequence_step *step)
{
	struct governed *d = model_of(g, step->worker);
	bool unread = d->directive_ns != UINT64_MAX;

	d->mask_changes = step->mask_changes || (unread && d->mask_changes);
	d->directive = *step;
	d->directive_ns = s->now_ns + (uint64_t)llround(s->options.directive_ms * 1e6);
}

void governing_drive(struct governing *g, struct simulation *s)
{
	struct sequence_step step;

	for (;;) {
		sequence_next(g->sequence, governing_daemon_ns(g, s->now_ns), &step);
		switch (step.kind) {
		case SEQUENCE_NONE:
			g->drive_ns = UINT64_MAX;
			return;
		case SEQUENCE_WAIT_UNTIL:
			g->drive_ns = MAX(governing_card_ns(g, step.deadline_ns), s->now_ns + 1);
			return;
		case SEQUENCE_SET_CLOCK:
			write_clock(g, s, &step.clock, step.epoch);
			break;
		case SEQUENCE_DIRECT_WORKER:
			send_directive(g, s, &step);
			break;
		}
	}
}

void governing_acknowledge(struct governing *g, struct simulation *s, struct governed *d)
{
	const struct sequence_directive *directive = &d->directive.directive;
	struct simulated_model *m = d->model;
	int shape = costs_shape_index(m->load.costs, directive->shape);

	d->directive_ns = UINT64_MAX;
	/* All queues of the card are preempted for it. */
	if (d->mask_changes)
		s->stalled_until_ns =
			s->now_ns + (uint64_t)llround(s->options.mask_change_us * 1e3);
	d->mask_changes = false;
	if (shape >= 0) {
		m->configuration.shape = (uint16_t)shape;
		simulation_set_mask(s, m, &directive->mask);
		simulation_masks_changed(s);
	}
	m->configuration.batch = (uint16_t)CLAMP(directive->max_batch, 1u, UINT32_C(65535));
	m->max_wait_ns = MAX(governing_card_ns(g, directive->max_wait_ns), m->load.max_wait_ns);
	d->boost_wait_ns = governing_card_ns(g, directive->boost_wait_ns);
	simulation_retime(s);
	sequence_mask_acked(g->sequence, d->worker, d->directive.epoch);
	governing_drive(g, s);
}

static struct sequence_directive directive_for(const struct simulation *s,
					       const struct governor_model_decision *m)
{
	struct sequence_directive directive = {
		.max_batch = m->max_batch,
		.max_wait_ns = m->max_wait_ns,
		.boost_wait_ns = m->boost_wait_ns,
	};

	if (!cu_shape_equal(m->shape, s->shapes[s->n_shapes - 1]))
		directive.shape = m->shape;
	return directive;
}

static void place_masks(struct governing *g, const struct simulation *s,
			struct sequence_directive *models)
{
	struct cu_shape shapes[SIMULATION_MAX_MODELS];

	for (uint32_t i = 0; i < g->n_models; i++)
		shapes[i] = models[i].shape;
	placement_update(&g->placement, &s->device.topology, g->n_models, shapes);
	for (uint32_t i = 0; i < g->n_models; i++)
		models[i].mask = g->placement.masks[i];
}

void governing_aim(struct governing *g, const struct simulation *s)
{
	struct sequence_directive models[SIMULATION_MAX_MODELS];
	bool set = g->decision.action == GOVERNOR_SET;
	struct sequence_clock clock = {0};

	if (g->decision.action == GOVERNOR_HOLD)
		return;
	if (set)
		clock = (struct sequence_clock){g->decision.max_mhz, g->decision.power_cap_uw};
	for (uint32_t i = 0; i < g->n_models; i++)
		models[i] = set ? directive_for(s, &g->decision.models[i])
				: (struct sequence_directive){.boost_wait_ns = UINT64_MAX};
	place_masks(g, s, models);
	sequence_want(g->sequence, &clock, g->n_models, models);
}
