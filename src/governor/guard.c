/* SPDX-License-Identifier: Apache-2.0 */
#include "governor/guard.h"
#include "governor/planner.h"

static double observed_service_ns(const struct governor_model_input *in)
{
	return in->executions > 0 ? (double)in->busy_ns / (double)in->executions : 0;
}

bool guard_in_danger(double slo_ns, double service_ns, const struct governor_model_input *in)
{
	double left_ns = MAX(service_ns, observed_service_ns(in));

	return in->oldest_age_ns > 0 && (double)in->oldest_age_ns + left_ns > slo_ns;
}

bool guard_danger(const struct response_table *t, uint32_t row,
		  const struct governor_model_input *in)
{
	return guard_in_danger((double)t->slo_ns, planner_row(t, row)->service_ns, in);
}

uint64_t guard_wait_ns(double slo_ns, double service_ns, double fastest_ns, double switch_ns)
{
	double slack_ns = slo_ns - service_ns, wait_ns = slack_ns - fastest_ns;

	if (switch_ns > MAX(MAX(wait_ns, slack_ns / 2), 0.0))
		return UINT64_MAX;
	/* An SLO this tight leaves no wait at all: only whoever cannot be saved is left alone. */
	if (wait_ns <= 0)
		return slack_ns > 0 ? (uint64_t)(slack_ns / 2) : 0;
	return (uint64_t)MAX(slack_ns - MAX(fastest_ns, switch_ns), wait_ns / 2);
}

/* Services at full speed for which room is left. Where a row is made for little load hardly anybody
 * waits, and who does may be the first of a burst that the row cannot serve: by the time that one
 * is in danger, several more are waiting. */
static double services_left(const struct response_table *t, uint32_t row)
{
	return 1 + MAX(0.0, 2 - 4 * planner_row(t, row)->rate_rps / t->rated_rps);
}

uint64_t guard_boost_wait_ns(const struct response_table *t, uint32_t row, double switch_ns)
{
	double service_ns = planner_row(t, row)->service_ns;
	double fastest_ns = t->baseline.service_ns, room_ns;

	if (planner_row(t, row)->max_mhz >= t->baseline.max_mhz || !(service_ns > 0) ||
	    !(fastest_ns > 0))
		return UINT64_MAX;
	room_ns = MIN(services_left(t, row) * fastest_ns, ((double)t->slo_ns - service_ns) / 2);
	return guard_wait_ns((double)t->slo_ns, service_ns, MAX(room_ns, fastest_ns), switch_ns);
}
