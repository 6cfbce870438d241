/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's part: what its meter, its unit and its manager make of the workers on one card, one
 * of each model, in the same order. A tick samples, decides, applies, and reads the card's state,
 * which is what the next tick knows of it. */
#include "replay/simulation-governor.h"
#include <errno.h>
#include <math.h>

#define EARLY_NS	 (100 * NSEC_PER_MSEC) /* between two looks at a wake */
#define WAKE_INTERVAL_NS (2 * NSEC_PER_MSEC)   /* between two wakes of a process */

uint64_t governing_daemon_ns(const struct governing *g, uint64_t card_ns)
{
	return (uint64_t)llround((double)card_ns * g->time_scale);
}

uint64_t governing_card_ns(const struct governing *g, uint64_t ns)
{
	return ns == UINT64_MAX ? ns : (uint64_t)ceil((double)ns / g->time_scale);
}

/* ---- made and freed ---- */

static int add_model(struct governing *g, struct simulated_model *model)
{
	int r = sequence_worker_add(g->sequence, model->number, /* follows_mask= */ true,
				    /* follows_batch= */ true);

	if (r < 0)
		return r;
	g->models[g->n_models++] = (struct governed){
		.model = model,
		.worker = (uint32_t)r,
		.directive_ns = UINT64_MAX,
		.wake_ns = UINT64_MAX,
		.boost_wait_ns = UINT64_MAX,
		.wake_armed = true,
	};
	return 0;
}

int governing_new(struct simulation *s)
{
	const struct simulation_options *o = &s->options;
	_cleanup_(governing_freep) struct governing *g = NULL;
	int r;

	if (!o->governor)
		return 0;
	g = calloc(1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	r = governor_new(o->governor, &g->governor);
	if (r == 0)
		r = sequence_new(&(struct sequence_clock){0}, &g->sequence);
	for (uint32_t i = 0; i < s->n_models && r == 0; i++)
		r = add_model(g, &s->models[i]);
	if (r < 0)
		return r;
	g->time_scale = o->time_scale > 0 ? o->time_scale : 1;
	g->tick_ns = o->poll_ns;
	g->drive_ns = g->early_ns = UINT64_MAX;
	s->governing = TAKE_PTR(g);
	return 0;
}

struct governing *governing_free(struct governing *g)
{
	if (!g)
		return NULL;
	governor_free(g->governor);
	sequence_free(g->sequence);
	free(g);
	return NULL;
}

/* ---- the tick, and what brings it forward ---- */

void governing_end_interval(struct simulation *s)
{
	simulation_end_interval(s, &s->governing->decision);
}

static void step(struct governing *g, struct simulation *s, bool early)
{
	g->input.early = early;
	governing_fill_input(g, s);
	if (!early)
		governing_end_interval(s);
	governor_step(g->governor, &g->input, &g->decision);
	governing_next_interval(g, s);
	for (uint32_t i = 0; i < g->n_models; i++)
		g->models[i].woken = false;
	g->early_ns = g->decision.again_ns == UINT64_MAX
			      ? UINT64_MAX
			      : MAX(governing_card_ns(g, g->decision.again_ns), s->now_ns + 1);
	governing_aim(g, s);
	governing_drive(g, s);
	governing_read_card(g, s);
}

static void tick(struct governing *g, struct simulation *s)
{
	for (uint32_t i = 0; i < g->n_models; i++)
		g->models[i].wake_armed = true;
	g->tick_ns = s->now_ns + s->options.poll_ns;
	step(g, s, /* early= */ false);
}

void governing_started(struct simulation *s, uint32_t model, uint64_t wait_ns)
{
	struct governing *g = s->governing;
	struct governed *d = g ? &g->models[model] : NULL;

	if (d && simulation_lies(s, model, SIMULATION_LIE_WAKES))
		wait_ns = UINT64_MAX;
	if (!d || wait_ns <= d->boost_wait_ns || !d->wake_armed ||
	    simulation_lies(s, model, SIMULATION_LIE_NO_WAKES) ||
	    (d->asked_ns > 0 && s->now_ns - d->asked_ns < governing_card_ns(g, WAKE_INTERVAL_NS)))
		return;
	d->asked_ns = s->now_ns;
	d->wake_armed = false;
	if (d->wake_ns == UINT64_MAX)
		d->wake_ns =
			MAX(s->now_ns,
			    d->looked_ns > 0 ? d->looked_ns + governing_card_ns(g, EARLY_NS) : 0);
}

/* The daemon looks at a wake at most 10 times a second, and at none that it has not asked for. */
static void look(struct governing *g, struct simulation *s, struct governed *d)
{
	d->wake_ns = UINT64_MAX;
	d->looked_ns = s->now_ns;
	d->wake_armed = true;
	if (g->decision.models[d->model->number].boost_wait_ns == UINT64_MAX)
		return;
	d->woken = true;
	step(g, s, /* early= */ true);
}

/* ---- workers that come and go, and a configuration that is loaded anew ---- */

void governing_worker_gone(struct simulation *s, uint32_t model)
{
	struct governed *d = &s->governing->models[model];

	sequence_worker_remove(s->governing->sequence, d->worker);
	d->directive_ns = d->wake_ns = d->boost_wait_ns = UINT64_MAX;
	d->mask_changes = false;
}

void governing_worker_new(struct simulation *s, uint32_t model)
{
	struct governing *g = s->governing;
	struct governed *d = &g->models[model];
	int r = sequence_worker_add(g->sequence, model, /* follows_mask= */ true,
				    /* follows_batch= */ true);

	if (r < 0) {
		s->error = r;
		return;
	}
	d->worker = (uint32_t)r;
	d->fresh = d->wake_armed = true;
	d->seen = d->base = (struct counters){0};
	d->n_history = 0;
	governing_drive(g, s);
}

int governing_reload(struct simulation *s, const struct governor_config *c)
{
	_cleanup_(governor_freep) struct governor *governor = NULL;
	struct governing *g = s->governing;
	int r = governor_new(c, &governor);

	if (r < 0)
		return r;
	governor_inherit(governor, g->governor);
	governor_free(g->governor);
	g->governor = TAKE_PTR(governor);
	/* Obeyed at once, unless it is done so anyway. */
	if (c->power_cap_uw != g->decision.power_cap_uw && g->last_step_ns > 0 &&
	    g->last_step_ns < s->now_ns)
		g->early_ns = s->now_ns;
	if (s->options.cap_w == 0)
		s->cap_w = c->power_cap_uw > 0 ? (double)c->power_cap_uw * 1e-6 : s->device.cap_w;
	return 0;
}

uint64_t governing_next_ns(const struct simulation *s)
{
	const struct governing *g = s->governing;
	uint64_t next_ns = s->schedule_ns;

	if (g)
		next_ns = MIN(MIN(g->tick_ns, g->early_ns), g->drive_ns);
	for (uint32_t i = 0; g && i < g->n_models; i++)
		next_ns = MIN(next_ns, MIN(g->models[i].wake_ns, g->models[i].directive_ns));
	return s->stalled_until_ns > s->now_ns ? MIN(next_ns, s->stalled_until_ns) : next_ns;
}

void governing_run(struct simulation *s)
{
	struct governing *g = s->governing;

	for (uint32_t i = 0; i < g->n_models; i++)
		if (g->models[i].directive_ns <= s->now_ns)
			governing_acknowledge(g, s, &g->models[i]);
	if (g->drive_ns <= s->now_ns)
		governing_drive(g, s);
	if (g->tick_ns <= s->now_ns)
		tick(g, s);
	for (uint32_t i = 0; i < g->n_models; i++)
		if (g->models[i].wake_ns <= s->now_ns)
			look(g, s, &g->models[i]);
	if (g->early_ns <= s->now_ns)
		step(g, s, /* early= */ true);
}
