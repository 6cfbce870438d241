/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's part: what its meter, its unit and its manager make of the workers on one card, one
 * of each model, in the same order. A tick samples, decides, applies, and reads the card's state,
 * which is what the next tick knows of it. */
#include "base/units.h"
#include "replay/simulation-internal.h"
#include <errno.h>
#include <math.h>
#include <string.h>

/* As the daemon and libcofris have them, in their time. */
#define HISTORY		 64
#define EARLY_NS	 (100 * NSEC_PER_MSEC) /* between two looks at a wake */
#define WAKE_INTERVAL_NS (2 * NSEC_PER_MSEC)   /* between two wakes of a process */
#define READBACK_HOLD_NS (5 * NSEC_PER_SEC)    /* how long a write that failed is remembered */
#define STATES		 128

/* One model's worker as the daemon sees it. */
struct governed {
	struct simulated_model *model;
	uint32_t worker; /* its number in the sequence */

	/* the meter */
	bool fresh;		    /* the worker has come in this interval */
	struct counters seen, base; /* last read; at the last tick */
	uint32_t head, n_history;
	struct {
		uint64_t at_ns, arrivals;
	} history[HISTORY];

	/* a directive on its way to the worker */
	uint64_t directive_ns; /* UINT64_MAX: none */
	struct sequence_step directive;
	bool mask_changes;

	/* the way back: the worker asks to be looked at */
	uint64_t boost_wait_ns;
	bool wake_armed, woken;
	uint64_t asked_ns, wake_ns, looked_ns; /* wake_ns: when the daemon will look, or MAX */
};

struct governing {
	double time_scale; /* of the daemon's time; everything else here is in the card's */
	struct governor *governor;
	struct sequence *sequence;
	struct placement placement;
	struct governor_input input;
	struct governor_decision decision;

	uint64_t tick_ns;      /* the next one */
	uint64_t early_ns;     /* a step before it, or MAX */
	uint64_t last_step_ns; /* 0: none yet */
	uint64_t drive_ns;     /* when the sequence wants to be asked again */

	/* the card as last read, and as it was at earlier reads, newest last */
	bool state_valid;
	struct plant_card_state state;
	uint32_t applied_mhz;
	uint64_t power_max_uw;
	uint32_t n_states;
	struct plant_card_state states[STATES];
	uint64_t unanswered_ns, readback_until_ns; /* 0: it answers, settings hold */

	uint32_t n_models;
	struct governed models[SIMULATION_MAX_MODELS];
};

/* ---- the daemon's time ---- */

static uint64_t daemon_ns(const struct governing *g, uint64_t card_ns)
{
	return (uint64_t)llround((double)card_ns * g->time_scale);
}

/* Rounded up, so that at that moment the daemon's has come, too. */
static uint64_t card_ns(const struct governing *g, uint64_t ns)
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

/* ---- sample and decide ---- */

/* A lower bound: what had arrived by an earlier tick and has not ended yet. */
static uint64_t oldest_age_ns(const struct governed *d, const struct simulation *s)
{
	for (uint32_t i = 0; i < d->n_history; i++) {
		uint32_t at = (d->head + HISTORY - d->n_history + i) % HISTORY;

		if (d->history[at].arrivals > d->seen.completions)
			return s->now_ns - d->history[at].at_ns;
	}
	return 0;
}

static void fill_model(struct governing *g, struct simulation *s, struct governed *d,
		       struct governor_model_input *in)
{
	const struct counters *a = &d->base, *b = &d->seen;
	bool whole = g->last_step_ns > 0 && !d->fresh;
	bool missing = simulation_event(s, SIMULATION_INPUT_MISSING, d->model->number);

	if (d->model->down) {
		*in = (struct governor_model_input){.acknowledged = true};
		return;
	}
	if (!missing)
		d->seen = d->model->counters;
	*in = (struct governor_model_input){
		.state = missing ? GOVERNOR_INPUT_MISSING : GOVERNOR_INPUT_OK,
		.workers = 1,
		.arrivals = b->arrivals - a->arrivals,
		.starts = b->starts - a->starts,
		.completions = b->completions - a->completions,
		.late = b->late - a->late,
		.in_flight = b->arrivals - b->completions,
		.waiting = b->arrivals - b->starts,
		.woken = d->woken,
		.oldest_age_ns = daemon_ns(g, oldest_age_ns(d, s)),
		.busy_ns = daemon_ns(g, b->busy_ns - a->busy_ns),
		.executions = b->executions - a->executions,
		/* The daemon's histograms have no beginning to the first interval. */
		.sojourn_ns = whole ? daemon_ns(g, b->sojourn_ns - a->sojourn_ns) : 0,
		.sojourn_p95_ns = whole ? daemon_ns(g, latencies_p95_ns(&d->model->sojourns)) : 0,
		.whole_interval = whole,
		.mask_follows = true,
		.batch_follows = !sequence_worker_clock_alone(g->sequence, d->worker),
		.acknowledged = sequence_model_acknowledged(g->sequence, d->model->number),
	};
	simulation_lie(s, d->model->number, in);
}

static uint32_t card_flags(const struct governing *g, const struct simulation *s)
{
	uint64_t poll_ns = daemon_ns(g, s->options.poll_ns);
	uint64_t patience_ns = MAX(NSEC_PER_SEC, 2 * poll_ns);
	uint32_t flags = 0;

	if (g->unanswered_ns > 0 && daemon_ns(g, s->now_ns - g->unanswered_ns) > patience_ns)
		flags |= GOVERNOR_CARD_SENSORS_LOST;
	if (s->now_ns < g->readback_until_ns)
		flags |= GOVERNOR_CARD_READBACK_FAILED;
	if (g->state_valid && g->state.throttled_thermal)
		flags |= GOVERNOR_CARD_THROTTLED;
	return flags;
}

static void fill_input(struct governing *g, struct simulation *s)
{
	struct governor_input *in = &g->input;

	in->now_ns = daemon_ns(g, s->now_ns);
	in->interval_ns = daemon_ns(g, g->last_step_ns > 0 ? s->now_ns - g->last_step_ns
							   : s->options.poll_ns);
	in->flags = card_flags(g, s);
	if (g->state_valid) {
		in->power_uw = g->state.sensor_power_uw;
		in->power_max_uw = g->power_max_uw;
		in->power_cap_uw = g->state.cap_uw;
		in->sclk_mhz = g->state.sensor_sclk_mhz;
		in->busy_percent = MIN(g->state.sensor_busy_percent, 100u);
		in->applied_max_mhz = g->applied_mhz;
	}
	if (!in->early)
		g->power_max_uw = 0;
	for (uint32_t i = 0; i < g->n_models; i++)
		fill_model(g, s, &g->models[i], &in->models[i]);
}

/* The history is of ticks alone: it has to reach back. */
static void next_interval(struct governing *g, const struct simulation *s)
{
	for (uint32_t i = 0; i < g->n_models; i++) {
		struct governed *d = &g->models[i];

		if (d->model->down)
			continue;
		d->base = d->seen;
		d->fresh = false;
		if (g->input.early)
			continue;
		d->history[d->head].at_ns = s->now_ns;
		d->history[d->head].arrivals = d->seen.arrivals;
		d->head = (d->head + 1) % HISTORY;
		d->n_history = MIN(d->n_history + 1, (uint32_t)HISTORY);
	}
	g->last_step_ns = s->now_ns;
}

/* ---- apply ---- */

static void look_at_card(const struct simulation *s, struct plant_card_state *ret)
{
	const struct simulation_event *hot = simulation_event(s, SIMULATION_HOT, 0);
	const struct simulation_event *held = simulation_event(s, SIMULATION_THROTTLE, 0);

	plant_card_get(s->card, ret);
	if (hot && hot->silent)
		ret->throttled_thermal = false;
	if (held && !held->silent && s->asked_level > held->level)
		ret->throttled_thermal = true;
}

/* The newest that is old enough, or else the oldest there is. */
static const struct plant_card_state *state_of(const struct governing *g, uint64_t until_ns)
{
	uint32_t i = g->n_states - 1;

	while (i > 0 && g->states[i].now_ns > until_ns)
		i--;
	return &g->states[i];
}

static void read_card(struct governing *g, const struct simulation *s)
{
	const struct simulation_event *stale = simulation_event(s, SIMULATION_STALE_SENSORS, 0);

	if (simulation_event(s, SIMULATION_SENSORS_LOST, 0)) {
		g->unanswered_ns = g->unanswered_ns > 0 ? g->unanswered_ns : s->now_ns;
		return;
	}
	g->unanswered_ns = 0;
	if (g->n_states == STATES)
		memmove(&g->states[0], &g->states[1], --g->n_states * sizeof(g->states[0]));
	look_at_card(s, &g->states[g->n_states++]);
	g->state = *state_of(g, stale ? s->now_ns - MIN(stale->age_ns, s->now_ns) : s->now_ns);
	g->state_valid = true;
	g->power_max_uw = MAX(g->power_max_uw, g->state.sensor_power_uw);
}

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
	g->readback_until_ns = s->now_ns + card_ns(g, READBACK_HOLD_NS);
	simulation_card_limit(s, SIMULATION_AUTO);
	write_cap(s, 0);
	read_card(g, s);
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
	read_card(g, s);
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

static void drive(struct governing *g, struct simulation *s)
{
	struct sequence_step step;

	for (;;) {
		sequence_next(g->sequence, daemon_ns(g, s->now_ns), &step);
		switch (step.kind) {
		case SEQUENCE_NONE:
			g->drive_ns = UINT64_MAX;
			return;
		case SEQUENCE_WAIT_UNTIL:
			g->drive_ns = MAX(card_ns(g, step.deadline_ns), s->now_ns + 1);
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

/* The worker takes the directive up and says so. */
static void acknowledge(struct governing *g, struct simulation *s, struct governed *d)
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
	m->max_wait_ns = MAX(card_ns(g, directive->max_wait_ns), m->load.max_wait_ns);
	d->boost_wait_ns = card_ns(g, directive->boost_wait_ns);
	simulation_retime(s);
	sequence_mask_acked(g->sequence, d->worker, d->directive.epoch);
	drive(g, s);
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

static void aim(struct governing *g, const struct simulation *s)
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

void governing_end_interval(struct simulation *s)
{
	simulation_end_interval(s, &s->governing->decision);
}

/* ---- the tick, and what brings it forward ---- */

static void step(struct governing *g, struct simulation *s, bool early)
{
	g->input.early = early;
	fill_input(g, s);
	if (!early)
		governing_end_interval(s);
	governor_step(g->governor, &g->input, &g->decision);
	next_interval(g, s);
	for (uint32_t i = 0; i < g->n_models; i++)
		g->models[i].woken = false;
	g->early_ns = g->decision.again_ns == UINT64_MAX
			      ? UINT64_MAX
			      : MAX(card_ns(g, g->decision.again_ns), s->now_ns + 1);
	aim(g, s);
	drive(g, s);
	read_card(g, s);
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
	    (d->asked_ns > 0 && s->now_ns - d->asked_ns < card_ns(g, WAKE_INTERVAL_NS)))
		return;
	d->asked_ns = s->now_ns;
	d->wake_armed = false;
	if (d->wake_ns == UINT64_MAX)
		d->wake_ns =
			MAX(s->now_ns, d->looked_ns > 0 ? d->looked_ns + card_ns(g, EARLY_NS) : 0);
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
	drive(g, s);
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
			acknowledge(g, s, &g->models[i]);
	if (g->drive_ns <= s->now_ns)
		drive(g, s);
	if (g->tick_ns <= s->now_ns)
		tick(g, s);
	for (uint32_t i = 0; i < g->n_models; i++)
		if (g->models[i].wake_ns <= s->now_ns)
			look(g, s, &g->models[i]);
	if (g->early_ns <= s->now_ns)
		step(g, s, /* early= */ true);
}
