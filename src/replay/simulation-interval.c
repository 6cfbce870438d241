/* SPDX-License-Identifier: Apache-2.0 */
/* Intervals, from tick to tick of a governor or from entry to entry of a schedule. */
#include "replay/simulation-internal.h"
#include <errno.h>
#include <math.h>

static bool configuration_equal(const struct configuration *a, const struct configuration *b)
{
	return a->level == b->level && a->shape == b->shape && a->batch == b->batch;
}

static void keep_tick(struct simulation *s, struct simulated_model *m,
		      const struct governor_model_decision *d, enum governor_reason reason)
{
	double length_s = (double)(s->now_ns - s->interval_start_ns) * 1e-9;

	if (m->n_ticks == m->ticks_size) {
		uint32_t size = MAX(2 * m->ticks_size, 1024u);
		struct tick *larger = realloc(m->ticks, size * sizeof(*larger));

		if (!larger) {
			s->error = -ENOMEM;
			return;
		}
		m->ticks = larger;
		m->ticks_size = size;
	}
	m->ticks[m->n_ticks++] = (struct tick){
		.t_s = (float)((double)s->interval_start_ns * 1e-9),
		.load_rps =
			(float)((double)(m->counters.arrivals - m->interval_arrived) / length_s),
		.demand_rps = d ? (float)d->demand_rps : NAN,
		.power_w = (float)((s->sums.energy_j - s->interval_j) / length_s),
		.sclk_mhz = (float)((s->sums.sclk_mhz_s - s->interval_mhz_s) / length_s),
		.p95_ms = (float)((double)latencies_p95_ns(m->load.latency == LATENCY_SERVICE
								   ? &m->services
								   : &m->sojourns) *
				  1e-6),
		.configuration = m->configuration,
		.reason = (uint8_t)reason,
	};
}

static void end_interval_of(struct simulated_model *m)
{
	if (!configuration_equal(&m->configuration, &m->interval_configuration))
		m->sums.changes++;
	m->interval_configuration = m->configuration;
	m->interval_arrived = m->counters.arrivals;
	m->sojourns.n = m->services.n = 0;
}

void simulation_end_interval(struct simulation *s, const struct governor_decision *d)
{
	if (s->now_ns == s->interval_start_ns)
		return;
	for (uint32_t i = 0; i < s->n_models; i++) {
		if (s->options.trace_ticks)
			keep_tick(s, &s->models[i], d ? &d->models[i] : NULL,
				  d ? d->reason : GOVERNOR_REASON_NONE);
		end_interval_of(&s->models[i]);
	}
	s->interval_start_ns = s->now_ns;
	s->interval_j = s->sums.energy_j;
	s->interval_mhz_s = s->sums.sclk_mhz_s;
}

static bool schedule_holds(const struct simulation *s, const struct configuration *c)
{
	for (uint32_t i = 0; i < s->n_models; i++)
		if (!configuration_equal(&c[i], &s->models[i].configuration))
			return false;
	return true;
}

static void place_masks(struct simulation *s)
{
	struct cu_shape shapes[SIMULATION_MAX_MODELS];

	for (uint32_t i = 0; i < s->n_models; i++) {
		uint32_t shape = s->models[i].configuration.shape;

		/* All CUs are no mask. */
		shapes[i] = shape + 1 < s->n_shapes ? s->shapes[shape] : (struct cu_shape){0, 0};
	}
	placement_update(&s->placement, &s->device.topology, s->n_models, shapes);
	for (uint32_t i = 0; i < s->n_models; i++)
		simulation_set_mask(s, &s->models[i], &s->placement.masks[i]);
	simulation_masks_changed(s);
}

void simulation_follow_schedule(struct simulation *s)
{
	const struct simulation_options *o = &s->options;
	uint32_t interval = MIN(s->next_interval, o->n_schedule - 1);
	const struct configuration *c = &o->schedule[interval * s->n_models];
	bool first = s->next_interval == 0;

	if (s->now_ns < s->schedule_ns)
		return;
	simulation_end_interval(s, NULL);
	s->next_interval++;
	s->schedule_ns += o->poll_ns;
	if (!first && schedule_holds(s, c))
		return;
	simulation_card_limit(s, c->level);
	for (uint32_t i = 0; i < s->n_models; i++) {
		s->models[i].configuration = c[i];
		if (first)
			s->models[i].interval_configuration = c[i];
	}
	place_masks(s);
	simulation_retime(s);
}
