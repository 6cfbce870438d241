/* SPDX-License-Identifier: Apache-2.0 */
#include "replay/simulation.h"
#include "base/units.h"
#include "replay/simulation-internal.h"
#include <errno.h>
#include <math.h>

/* ---- options ---- */

static bool is_duration(double value)
{
	return isfinite(value) && value >= 0 && value < 1e9;
}

static struct simulation_load load_of(const struct simulation_options *o, uint32_t model)
{
	if (model > 0)
		return o->others[model - 1];
	return (struct simulation_load){
		.costs = o->costs,
		.arrival_ns = o->arrival_ns,
		.n_arrivals = o->n_arrivals,
		.workers = o->workers,
		.max_wait_ns = o->max_wait_ns,
		.saturated = o->saturated,
		.slo_ns = o->slo_ns,
		.latency = o->latency,
		.seed = o->seed,
	};
}

static bool arrivals_ascend(const struct simulation_load *l)
{
	for (uint32_t i = 1; i < l->n_arrivals; i++)
		if (l->arrival_ns[i] < l->arrival_ns[i - 1])
			return false;
	return l->n_arrivals == 0 || l->arrival_ns;
}

static bool loads_are_valid(const struct simulation_options *o)
{
	if (o->n_others >= SIMULATION_MAX_MODELS)
		return false;
	for (uint32_t i = 0; i <= o->n_others; i++) {
		struct simulation_load l = load_of(o, i);

		if (!l.costs || l.workers == 0 || l.workers > SIMULATION_MAX_WORKERS ||
		    !arrivals_ascend(&l))
			return false;
	}
	return true;
}

static bool schedule_is_valid(const struct simulation_options *o)
{
	uint32_t n_shapes;

	(void)costs_shapes(o->costs, &n_shapes);
	for (uint32_t i = 0; i < o->n_schedule * (1 + o->n_others); i++) {
		const struct configuration *c = &o->schedule[i], *first = c - i % (1 + o->n_others);

		if (c->level >= o->truth->device.n_levels || c->shape >= n_shapes ||
		    c->batch == 0 || c->level != first->level)
			return false;
	}
	return o->n_schedule > 0;
}

static bool options_are_valid(const struct simulation_options *o)
{
	if (!o->truth || !loads_are_valid(o) || !o->governor == !o->schedule || o->poll_ns == 0)
		return false;
	if (o->governor && o->governor->n_models != 1 + o->n_others)
		return false;
	if (o->schedule && !schedule_is_valid(o))
		return false;
	if (!simulation_events_are_valid(o))
		return false;
	if (o->duration_ns == 0 || o->duration_ns > UINT64_MAX / 4 ||
	    o->drain_limit_ns > UINT64_MAX / 4)
		return false;
	return is_duration(o->mask_change_us) && is_duration(o->directive_ms) &&
	       is_duration(o->cap_w) && is_duration(o->time_scale);
}

/* Their queues are made later, once the card is there. */
static int models_new(struct simulation *s)
{
	s->models = calloc(1 + s->options.n_others, sizeof(*s->models));
	if (!s->models)
		return -ENOMEM;
	for (; s->n_models <= s->options.n_others; s->n_models++) {
		struct simulated_model *m = &s->models[s->n_models];

		m->number = s->n_models;
		m->load = load_of(&s->options, s->n_models);
		m->max_wait_ns = m->load.max_wait_ns;
		if (m->load.saturated)
			m->load.n_arrivals = 0;
	}
	return 0;
}

int simulation_new(const struct simulation_options *o, struct simulation **ret)
{
	_cleanup_(simulation_freep) struct simulation *s = NULL;
	int r;

	if (!options_are_valid(o))
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->options = *o;
	s->event_ns = o->n_events > 0 ? 0 : UINT64_MAX;
	s->asked_level = s->firmware_level = SIMULATION_AUTO;
	r = models_new(s);
	if (r == 0)
		r = simulation_card_new(s);
	if (r == 0)
		r = simulation_queue_new(s);
	if (r == 0)
		r = governing_new(s);
	if (r < 0)
		return r;
	if (o->schedule)
		simulation_follow_schedule(s);
	*ret = TAKE_PTR(s);
	return 0;
}

static void model_done(struct simulated_model *m)
{
	free(m->latency_ns);
	free(m->executions);
	free(m->sojourns.ns);
	free(m->services.ns);
	free(m->ticks);
}

struct simulation *simulation_free(struct simulation *s)
{
	if (!s)
		return NULL;
	plant_card_free(s->card);
	governing_free(s->governing);
	sharing_free(s->sharing);
	free(s->ungated);
	free(s->cus);
	for (uint32_t i = 0; i < s->n_models; i++)
		model_done(&s->models[i]);
	free(s->models);
	free(s);
	return NULL;
}

/* ---- the run ---- */

static void begin_to_count(struct simulation *s)
{
	if (s->warm || s->now_ns < s->options.warm_up_ns)
		return;
	s->before = s->sums;
	for (uint32_t i = 0; i < s->n_models; i++)
		s->models[i].before = s->models[i].sums;
	s->warm = true;
}

/* Whatever happens next, at until_ns at the latest. */
static void advance(struct simulation *s, uint64_t until_ns)
{
	uint64_t next_ns = MIN(until_ns, MIN(simulation_queue_next_ns(s), governing_next_ns(s)));

	next_ns = MIN(next_ns, s->event_ns);
	if (!s->warm)
		next_ns = MIN(next_ns, s->options.warm_up_ns);
	if (!simulation_card_go(s, MAX(next_ns, s->now_ns)))
		return;
	begin_to_count(s);
	if (s->stalled_until_ns > 0 && s->now_ns >= s->stalled_until_ns) {
		s->stalled_until_ns = 0;
		simulation_retime(s);
	}
	/* What a schedule says holds from the beginning of its interval; a tick sees all that has
	 * happened until then. */
	if (s->options.schedule)
		simulation_follow_schedule(s);
	simulation_events_run(s);
	simulation_queue_run(s);
	if (s->governing)
		governing_run(s);
}

uint64_t simulation_run(struct simulation *s)
{
	uint64_t duration_ns = s->options.duration_ns;
	uint64_t limit_ns = duration_ns + s->options.drain_limit_ns;

	while (s->now_ns < duration_ns || (s->now_ns < limit_ns && !simulation_queue_done(s)))
		advance(s, s->now_ns < duration_ns ? duration_ns : limit_ns);
	return MAX(duration_ns, simulation_queue_done(s) ? s->last_end_ns : s->now_ns);
}

static double ratio(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static void fill_result(struct simulation *s, struct simulated_model *m, uint64_t drained_ns,
			struct simulation_result *ret)
{
	const struct sums *a = s->warm ? &s->before : &s->sums, *b = &s->sums;
	const struct model_sums *c = s->warm ? &m->before : &m->sums, *d = &m->sums;
	double length_s = s->warm ? (double)(s->now_ns - s->options.warm_up_ns) * 1e-9 : 0;

	*ret = (struct simulation_result){
		.n = m->load.n_arrivals,
		.latency_ns = TAKE_PTR(m->latency_ns),
		.starved_ns = m->starved_ns,
		.drained_ns = drained_ns,
		.energy_j = b->energy_j - a->energy_j,
		.idle_energy_j = b->idle_energy_j - a->idle_energy_j,
		.busy_s = b->busy_s - a->busy_s,
		.length_s = length_s,
		.completed = d->completed - c->completed,
		.late = d->late - c->late,
		.changes = d->changes - c->changes,
		.mean_sclk_mhz = ratio(b->sclk_mhz_s - a->sclk_mhz_s, length_s),
		.mean_cus = ratio(d->cu_s - c->cu_s, length_s),
		.mean_batch = ratio((double)(d->executed - c->executed),
				    (double)(d->executions - c->executions)),
		.over_cap_s = b->over_cap_s - a->over_cap_s,
		.over_cap_j = b->over_cap_j - a->over_cap_j,
		.n_ticks = m->n_ticks,
		.ticks = TAKE_PTR(m->ticks),
	};
}

int simulation_finish(struct simulation *s, uint64_t end_ns, struct simulation_result *ret)
{
	uint64_t drained_ns = simulation_run(s);

	if (end_ns < s->now_ns || !s->models[0].latency_ns)
		return -EINVAL;
	while (s->now_ns < end_ns)
		advance(s, end_ns);
	if (s->governing)
		governing_end_interval(s);
	else
		simulation_end_interval(s, NULL);
	if (s->error < 0)
		return s->error;
	for (uint32_t i = 0; i < s->n_models; i++) {
		simulation_note_starved(s, &s->models[i]);
		fill_result(s, &s->models[i], drained_ns, &ret[i]);
	}
	return 0;
}

void simulation_result_done(struct simulation_result *r)
{
	free(TAKE_PTR(r->latency_ns));
	free(TAKE_PTR(r->ticks));
	r->n = r->n_ticks = 0;
}
