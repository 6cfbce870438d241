/* SPDX-License-Identifier: Apache-2.0 */
/* Intervals, from tick to tick of a governor or from entry to entry of a schedule. */
#include "replay/simulation-internal.h"
#include <errno.h>
#include <math.h>

static bool configuration_equal(const struct configuration *a, const struct configuration *b)
{
	return a->level == b->level && a->shape == b->shape && a->batch == b->batch;
}

static void keep_tick(struct simulation *s, double demand_rps, enum governor_reason reason)
{
	double length_s = (double)(s->now_ns - s->interval_start_ns) * 1e-9;

	if (s->n_ticks == s->ticks_size) {
		uint32_t size = MAX(2 * s->ticks_size, 1024u);
		struct tick *larger = realloc(s->ticks, size * sizeof(*larger));

		if (!larger) {
			s->error = -ENOMEM;
			return;
		}
		s->ticks = larger;
		s->ticks_size = size;
	}
	s->ticks[s->n_ticks++] = (struct tick){
		.t_s = (float)((double)s->interval_start_ns * 1e-9),
		.load_rps =
			(float)((double)(s->counters.arrivals - s->interval_arrived) / length_s),
		.demand_rps = (float)demand_rps,
		.power_w = (float)((s->sums.energy_j - s->interval_j) / length_s),
		.sclk_mhz = (float)((s->sums.sclk_mhz_s - s->interval_mhz_s) / length_s),
		.p95_ms = (float)((double)latencies_p95_ns(s->options.latency == LATENCY_SERVICE
								   ? &s->services
								   : &s->sojourns) *
				  1e-6),
		.configuration = s->configuration,
		.reason = (uint8_t)reason,
	};
}

void simulation_end_interval(struct simulation *s, double demand_rps, enum governor_reason reason)
{
	if (s->now_ns == s->interval_start_ns)
		return;
	if (s->options.trace_ticks)
		keep_tick(s, demand_rps, reason);
	if (!configuration_equal(&s->configuration, &s->interval_configuration))
		s->sums.changes++;
	s->interval_configuration = s->configuration;
	s->interval_start_ns = s->now_ns;
	s->interval_arrived = s->counters.arrivals;
	s->interval_j = s->sums.energy_j;
	s->interval_mhz_s = s->sums.sclk_mhz_s;
	s->sojourns.n = s->services.n = 0;
}

void simulation_follow_schedule(struct simulation *s)
{
	const struct simulation_options *o = &s->options;
	const struct configuration *c = &o->schedule[MIN(s->next_interval, o->n_schedule - 1)];
	bool first = s->next_interval == 0;

	if (s->now_ns < s->schedule_ns)
		return;
	simulation_end_interval(s, NAN, GOVERNOR_REASON_NONE);
	s->next_interval++;
	s->schedule_ns += o->poll_ns;
	if (!first && configuration_equal(c, &s->configuration))
		return;
	simulation_card_limit(s, c->level);
	s->configuration = *c;
	simulation_retime(s);
	if (first)
		s->interval_configuration = *c;
}
