/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon knows at a step: of the workers by its meter, of the card by the last read. */
#include "replay/simulation-governor.h"
#include <string.h>

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
		.oldest_age_ns = governing_daemon_ns(g, oldest_age_ns(d, s)),
		.busy_ns = governing_daemon_ns(g, b->busy_ns - a->busy_ns),
		.executions = b->executions - a->executions,
		/* The daemon's histograms have no beginning to the first interval. */
		.sojourn_ns = whole ? governing_daemon_ns(g, b->sojourn_ns - a->sojourn_ns) : 0,
		.sojourn_p95_ns =
			whole ? governing_daemon_ns(g, latencies_p95_ns(&d->model->sojourns)) : 0,
		.whole_interval = whole,
		.mask_follows = true,
		.batch_follows = !sequence_worker_clock_alone(g->sequence, d->worker),
		.acknowledged = sequence_model_acknowledged(g->sequence, d->model->number),
	};
	simulation_lie(s, d->model->number, in);
}

static uint32_t card_flags(const struct governing *g, const struct simulation *s)
{
	uint64_t poll_ns = governing_daemon_ns(g, s->options.poll_ns);
	uint64_t patience_ns = MAX(NSEC_PER_SEC, 2 * poll_ns);
	uint32_t flags = 0;

	if (g->unanswered_ns > 0 &&
	    governing_daemon_ns(g, s->now_ns - g->unanswered_ns) > patience_ns)
		flags |= GOVERNOR_CARD_SENSORS_LOST;
	if (s->now_ns < g->readback_until_ns)
		flags |= GOVERNOR_CARD_READBACK_FAILED;
	if (g->state_valid && g->state.throttled_thermal)
		flags |= GOVERNOR_CARD_THROTTLED;
	return flags;
}

void governing_fill_input(struct governing *g, struct simulation *s)
{
	struct governor_input *in = &g->input;

	in->now_ns = governing_daemon_ns(g, s->now_ns);
	in->interval_ns = governing_daemon_ns(g, g->last_step_ns > 0 ? s->now_ns - g->last_step_ns
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
void governing_next_interval(struct governing *g, const struct simulation *s)
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

void governing_read_card(struct governing *g, const struct simulation *s)
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
