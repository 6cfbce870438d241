/* SPDX-License-Identifier: Apache-2.0 */
/* Disturbances: where they begin and end, what is done to card, worker and daemon there, and what
 * becomes of what the daemon reads while they last. */
#include "base/units.h"
#include "replay/simulation-internal.h"
#include <errno.h>
#include <math.h>

/* ---- options ---- */

static bool has_model(enum simulation_event_kind kind)
{
	return kind == SIMULATION_INPUT_MISSING || kind == SIMULATION_WORKER_RESTART ||
	       kind == SIMULATION_LIES;
}

static bool is_positive(double value)
{
	return isfinite(value) && value > 0;
}

static bool values_are_valid(const struct simulation_options *o, const struct simulation_event *e)
{
	switch (e->kind) {
	case SIMULATION_HOT:
		return is_positive(e->kelvin);
	case SIMULATION_THROTTLE:
		return e->level < o->truth->device.n_levels;
	case SIMULATION_STALE_SENSORS:
		return e->age_ns > 0;
	case SIMULATION_LIES:
		return e->lies != 0 &&
		       (!(e->lies & SIMULATION_LIE_SERVICE) || is_positive(e->service_factor));
	case SIMULATION_RELOAD:
		return o->governor && e->governor && e->governor->n_models == o->governor->n_models;
	case SIMULATION_SENSORS_LOST:
	case SIMULATION_READBACK_FAILED:
	case SIMULATION_INPUT_MISSING:
	case SIMULATION_WORKER_RESTART:
		return true;
	case SIMULATION_EVENT_KINDS:
		break;
	}
	return false;
}

static bool overlap(const struct simulation_event *a, const struct simulation_event *b)
{
	return a->kind == b->kind && (!has_model(a->kind) || a->model == b->model) &&
	       a->from_ns < b->until_ns && b->from_ns < a->until_ns;
}

bool simulation_events_are_valid(const struct simulation_options *o)
{
	if (o->n_events > SIMULATION_MAX_EVENTS)
		return false;
	for (uint32_t i = 0; i < o->n_events; i++) {
		const struct simulation_event *e = &o->events[i];

		if (e->from_ns >= e->until_ns || !values_are_valid(o, e) ||
		    (has_model(e->kind) && e->model > o->n_others))
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (overlap(e, &o->events[j]))
				return false;
	}
	return true;
}

/* ---- the worker ---- */

/* Nobody will ever end these: they have failed. */
static void drop_executions(struct simulation *s, struct simulated_model *m)
{
	for (uint32_t i = 0; i < m->load.workers; i++) {
		if (!m->executions[i].running)
			continue;
		m->executions[i].running = false;
		m->n_running--;
		s->n_running--;
	}
}

static void stop_worker(struct simulation *s, struct simulated_model *m)
{
	simulation_note_starved(s, m);
	drop_executions(s, m);
	m->down = true;
	m->configuration.shape = (uint16_t)(s->n_shapes - 1);
	m->configuration.batch = 1;
	m->max_wait_ns = m->load.max_wait_ns;
	simulation_set_mask(s, m, &(struct cu_mask){0});
	simulation_masks_changed(s);
	if (s->governing)
		governing_worker_gone(s, m->number);
	simulation_retime(s);
}

/* What has waited comes to the new one as its first requests. */
static void start_worker(struct simulation *s, struct simulated_model *m)
{
	m->down = false;
	m->counters = (struct counters){.arrivals = m->arrived - m->taken};
	m->interval_arrived = 0;
	if (s->governing)
		governing_worker_new(s, m->number);
}

/* ---- the card ---- */

static void heat(struct simulation *s, double kelvin)
{
	s->device.throttle_c -= kelvin;
	s->device.emergency_c -= kelvin;
}

/* ---- when ---- */

static void begin(struct simulation *s, const struct simulation_event *e)
{
	switch (e->kind) {
	case SIMULATION_HOT:
		heat(s, e->kelvin);
		break;
	case SIMULATION_THROTTLE:
		s->firmware_level = e->level;
		simulation_card_rewrite(s);
		break;
	case SIMULATION_WORKER_RESTART:
		stop_worker(s, &s->models[e->model]);
		break;
	case SIMULATION_RELOAD:
		s->error = governing_reload(s, e->governor);
		break;
	default: /* matters where the daemon looks */
		break;
	}
}

static void finish(struct simulation *s, const struct simulation_event *e)
{
	switch (e->kind) {
	case SIMULATION_HOT:
		heat(s, -e->kelvin);
		break;
	case SIMULATION_THROTTLE:
		s->firmware_level = SIMULATION_AUTO;
		simulation_card_rewrite(s);
		break;
	case SIMULATION_WORKER_RESTART:
		start_worker(s, &s->models[e->model]);
		break;
	default:
		break;
	}
}

void simulation_events_run(struct simulation *s)
{
	const struct simulation_options *o = &s->options;

	if (s->now_ns < s->event_ns)
		return;
	s->event_ns = UINT64_MAX;
	/* What ends makes room for what begins. */
	for (uint32_t i = 0; i < o->n_events; i++)
		if (s->event_state[i] == EVENT_HOLDS && o->events[i].until_ns <= s->now_ns) {
			s->event_state[i] = EVENT_OVER;
			finish(s, &o->events[i]);
		}
	for (uint32_t i = 0; i < o->n_events; i++) {
		const struct simulation_event *e = &o->events[i];

		if (s->event_state[i] == EVENT_TO_COME && e->from_ns <= s->now_ns) {
			s->event_state[i] = EVENT_HOLDS;
			begin(s, e);
		}
		if (s->event_state[i] != EVENT_OVER)
			s->event_ns =
				MIN(s->event_ns,
				    s->event_state[i] == EVENT_HOLDS ? e->until_ns : e->from_ns);
	}
}

const struct simulation_event *simulation_event(const struct simulation *s,
						enum simulation_event_kind kind, uint32_t model)
{
	for (uint32_t i = 0; i < s->options.n_events; i++) {
		const struct simulation_event *e = &s->options.events[i];

		if (s->event_state[i] == EVENT_HOLDS && e->kind == kind &&
		    (!has_model(kind) || e->model == model))
			return e;
	}
	return NULL;
}

/* ---- lies ---- */

static uint64_t times(uint64_t ns, double factor)
{
	return (uint64_t)llround(fmin((double)ns * factor, 9e18));
}

void simulation_lie(const struct simulation *s, uint32_t model, struct governor_model_input *in)
{
	const struct simulation_event *e = simulation_event(s, SIMULATION_LIES, model);

	if (!e)
		return;
	if (e->lies & SIMULATION_LIE_ALL_LATE)
		in->late = in->completions;
	if (e->lies & SIMULATION_LIE_NONE_LATE)
		in->late = 0;
	if (e->lies & SIMULATION_LIE_SERVICE)
		in->busy_ns = times(in->busy_ns, e->service_factor);
}

bool simulation_lies(const struct simulation *s, uint32_t model, enum simulation_lie lie)
{
	const struct simulation_event *e = simulation_event(s, SIMULATION_LIES, model);

	return e && (e->lies & lie);
}
