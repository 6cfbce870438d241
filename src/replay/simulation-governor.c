/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's part: what its meter, its unit and its manager make of one worker on one card, in
 * the same order. A tick samples, decides, applies, and reads the card's state, which is what the
 * next tick knows of it. */
#include "base/units.h"
#include "replay/simulation-internal.h"
#include <errno.h>
#include <math.h>

/* As the daemon and libcofris have them, in their time. */
#define HISTORY		 64
#define EARLY_NS	 (100 * NSEC_PER_MSEC) /* between two looks at a wake */
#define WAKE_INTERVAL_NS (2 * NSEC_PER_MSEC)   /* between two wakes of a process */

struct governing {
	double time_scale; /* of the daemon's time; everything else here is in the card's */
	struct governor *governor;
	struct sequence *sequence;
	uint32_t worker; /* its number there */
	struct governor_input input;
	struct governor_decision decision;

	uint64_t tick_ns;      /* the next one */
	uint64_t early_ns;     /* a step before it, or MAX */
	uint64_t last_step_ns; /* 0: none yet */
	uint64_t drive_ns;     /* when the sequence wants to be asked again */

	/* the meter */
	struct counters base; /* at the last step */
	uint32_t head, n_history;
	struct {
		uint64_t at_ns, arrivals;
	} history[HISTORY];

	/* the card as last read */
	bool state_valid;
	struct plant_card_state state;
	uint32_t applied_mhz;
	uint64_t power_max_uw;

	/* a directive on its way to the worker */
	uint64_t directive_ns; /* UINT64_MAX: none */
	struct sequence_step directive;
	bool mask_changes;

	/* the way back: the worker asks to be looked at */
	uint64_t boost_wait_ns;
	bool wake_armed, woken;
	uint64_t asked_ns, wake_ns, looked_ns; /* wake_ns: when the daemon will look, or MAX */
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
	if (r < 0)
		return r;
	r = sequence_new(&(struct sequence_clock){0}, &g->sequence);
	if (r < 0)
		return r;
	r = sequence_worker_add(g->sequence, /* model= */ 0, /* follows_mask= */ true,
				/* follows_batch= */ true);
	if (r < 0)
		return r;
	g->worker = (uint32_t)r;
	g->time_scale = o->time_scale > 0 ? o->time_scale : 1;
	g->tick_ns = o->poll_ns;
	g->drive_ns = g->directive_ns = g->wake_ns = g->boost_wait_ns = UINT64_MAX;
	g->early_ns = UINT64_MAX;
	g->wake_armed = true;
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
static uint64_t oldest_age_ns(const struct governing *g, const struct simulation *s)
{
	for (uint32_t i = 0; i < g->n_history; i++) {
		uint32_t at = (g->head + HISTORY - g->n_history + i) % HISTORY;

		if (g->history[at].arrivals > s->counters.completions)
			return s->now_ns - g->history[at].at_ns;
	}
	return 0;
}

static void fill_model(struct governing *g, struct simulation *s, struct governor_model_input *in)
{
	const struct counters *a = &g->base, *b = &s->counters;
	bool whole = g->last_step_ns > 0;

	*in = (struct governor_model_input){
		.state = GOVERNOR_INPUT_OK,
		.workers = 1,
		.arrivals = b->arrivals - a->arrivals,
		.starts = b->starts - a->starts,
		.completions = b->completions - a->completions,
		.late = b->late - a->late,
		.in_flight = b->arrivals - b->completions,
		.waiting = b->arrivals - b->starts,
		.woken = g->woken,
		.oldest_age_ns = daemon_ns(g, oldest_age_ns(g, s)),
		.busy_ns = daemon_ns(g, b->busy_ns - a->busy_ns),
		.executions = b->executions - a->executions,
		.service_p95_ns = daemon_ns(g, latencies_p95_ns(&s->services)),
		/* The daemon's histograms have no beginning to the first interval. */
		.sojourn_ns = whole ? daemon_ns(g, b->sojourn_ns - a->sojourn_ns) : 0,
		.sojourn_p95_ns = whole ? daemon_ns(g, latencies_p95_ns(&s->sojourns)) : 0,
		.whole_interval = whole,
		.mask_follows = true,
		.batch_follows = !sequence_worker_clock_alone(g->sequence, g->worker),
		.acknowledged = sequence_model_acknowledged(g->sequence, 0),
	};
}

static void fill_input(struct governing *g, struct simulation *s)
{
	struct governor_input *in = &g->input;

	in->now_ns = daemon_ns(g, s->now_ns);
	in->interval_ns = daemon_ns(g, g->last_step_ns > 0 ? s->now_ns - g->last_step_ns
							   : s->options.poll_ns);
	in->flags = 0;
	if (g->state_valid) {
		in->flags = g->state.throttled_thermal ? GOVERNOR_CARD_THROTTLED : 0;
		in->power_uw = g->state.sensor_power_uw;
		in->power_max_uw = g->power_max_uw;
		in->power_cap_uw = g->state.cap_uw;
		in->sclk_mhz = g->state.sensor_sclk_mhz;
		in->busy_percent = MIN(g->state.sensor_busy_percent, 100u);
		in->applied_max_mhz = g->applied_mhz;
	}
	if (!in->early)
		g->power_max_uw = 0;
	fill_model(g, s, &in->models[0]);
}

/* The history is of ticks alone: it has to reach back. */
static void next_interval(struct governing *g, const struct simulation *s)
{
	g->base = s->counters;
	g->last_step_ns = s->now_ns;
	if (g->input.early)
		return;
	g->history[g->head].at_ns = s->now_ns;
	g->history[g->head].arrivals = s->counters.arrivals;
	g->head = (g->head + 1) % HISTORY;
	g->n_history = MIN(g->n_history + 1, (uint32_t)HISTORY);
}

/* ---- apply ---- */

static void read_card(struct governing *g, const struct simulation *s)
{
	plant_card_get(s->card, &g->state);
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

static void write_clock(struct governing *g, struct simulation *s, uint32_t max_mhz)
{
	g->applied_mhz = max_mhz;
	simulation_card_limit(s, max_mhz > 0 ? level_of(s, max_mhz) : SIMULATION_AUTO);
	read_card(g, s);
}

/* A newer directive replaces one that is on its way: the worker reads the page as it is. */
static void send_directive(struct governing *g, const struct simulation *s,
			   const struct sequence_step *step)
{
	bool unread = g->directive_ns != UINT64_MAX;

	g->mask_changes = step->mask_changes || (unread && g->mask_changes);
	g->directive = *step;
	g->directive_ns = s->now_ns + (uint64_t)llround(s->options.directive_ms * 1e6);
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
			write_clock(g, s, step.clock.max_mhz);
			sequence_clock_done(g->sequence, step.epoch, /* ok= */ true);
			break;
		case SEQUENCE_DIRECT_WORKER:
			send_directive(g, s, &step);
			break;
		}
	}
}

/* The worker takes the directive up and says so. */
static void acknowledge(struct governing *g, struct simulation *s)
{
	const struct sequence_directive *d = &g->directive.directive;
	int shape = costs_shape_index(s->options.costs, d->shape);

	g->directive_ns = UINT64_MAX;
	if (g->mask_changes)
		s->stalled_until_ns =
			s->now_ns + (uint64_t)llround(s->options.mask_change_us * 1e3);
	g->mask_changes = false;
	if (shape >= 0)
		s->configuration.shape = (uint16_t)shape;
	s->configuration.batch = (uint16_t)CLAMP(d->max_batch, 1u, UINT32_C(65535));
	s->max_wait_ns = MAX(card_ns(g, d->max_wait_ns), s->options.max_wait_ns);
	g->boost_wait_ns = card_ns(g, d->boost_wait_ns);
	simulation_retime(s);
	sequence_mask_acked(g->sequence, g->worker, g->directive.epoch);
	drive(g, s);
}

static void aim(struct governing *g, const struct simulation *s)
{
	const struct governor_model_decision *m = &g->decision.models[0];
	struct sequence_directive directive = {.boost_wait_ns = UINT64_MAX};
	struct sequence_clock clock = {0};

	if (g->decision.action == GOVERNOR_HOLD)
		return;
	if (g->decision.action == GOVERNOR_SET) {
		clock = (struct sequence_clock){g->decision.max_mhz, g->decision.power_cap_uw};
		directive.max_batch = m->max_batch;
		directive.max_wait_ns = m->max_wait_ns;
		directive.boost_wait_ns = m->boost_wait_ns;
		if (!cu_shape_equal(m->shape, s->shapes[s->n_shapes - 1]))
			directive.shape = m->shape;
	}
	sequence_want(g->sequence, &clock, 1, &directive);
}

void governing_end_interval(struct simulation *s)
{
	const struct governor_decision *d = &s->governing->decision;

	simulation_end_interval(s, d->models[0].demand_rps, d->reason);
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
	g->woken = false;
	g->early_ns = g->decision.again_ns == UINT64_MAX
			      ? UINT64_MAX
			      : MAX(card_ns(g, g->decision.again_ns), s->now_ns + 1);
	aim(g, s);
	drive(g, s);
	read_card(g, s);
}

static void tick(struct governing *g, struct simulation *s)
{
	g->wake_armed = true;
	g->tick_ns = s->now_ns + s->options.poll_ns;
	step(g, s, /* early= */ false);
}

void governing_started(struct simulation *s, uint64_t wait_ns)
{
	struct governing *g = s->governing;

	if (!g || wait_ns <= g->boost_wait_ns || !g->wake_armed ||
	    (g->asked_ns > 0 && s->now_ns - g->asked_ns < card_ns(g, WAKE_INTERVAL_NS)))
		return;
	g->asked_ns = s->now_ns;
	g->wake_armed = false;
	if (g->wake_ns == UINT64_MAX)
		g->wake_ns =
			MAX(s->now_ns, g->looked_ns > 0 ? g->looked_ns + card_ns(g, EARLY_NS) : 0);
}

/* The daemon looks at a wake at most 10 times a second, and at none that it has not asked for. */
static void look(struct governing *g, struct simulation *s)
{
	g->wake_ns = UINT64_MAX;
	g->looked_ns = s->now_ns;
	g->wake_armed = true;
	if (g->decision.models[0].boost_wait_ns == UINT64_MAX)
		return;
	g->woken = true;
	step(g, s, /* early= */ true);
}

uint64_t governing_next_ns(const struct simulation *s)
{
	const struct governing *g = s->governing;
	uint64_t next_ns = s->schedule_ns;

	if (g)
		next_ns = MIN(MIN(MIN(g->tick_ns, g->wake_ns), g->early_ns),
			      MIN(g->directive_ns, g->drive_ns));

	return s->stalled_until_ns > s->now_ns ? MIN(next_ns, s->stalled_until_ns) : next_ns;
}

void governing_run(struct simulation *s)
{
	struct governing *g = s->governing;

	if (g->directive_ns <= s->now_ns)
		acknowledge(g, s);
	if (g->drive_ns <= s->now_ns)
		drive(g, s);
	if (g->tick_ns <= s->now_ns)
		tick(g, s);
	if (g->wake_ns <= s->now_ns)
		look(g, s);
	if (g->early_ns <= s->now_ns)
		step(g, s, /* early= */ true);
}
