/* SPDX-License-Identifier: Apache-2.0 */
/* Danger to the SLO that the estimate of demand does not show: a queue that has already formed. */
#pragma once

#include "governor/governor.h"

/* Whether the oldest unfinished request ends late if it still needs one service time: that of the
 * row it runs under, or the one observed if that is longer. */
bool guard_danger(const struct response_table *t, uint32_t row,
		  const struct governor_model_input *in);
/* Likewise by the service time that is known of what it runs under. */
bool guard_in_danger(double slo_ns, double service_ns, const struct governor_model_input *in);
/* Of a request that is served in service_ns now, and would be in fastest_ns switch_ns after a boost
 * is ordered. UINT64_MAX: a boost comes too late in any case. */
uint64_t guard_wait_ns(double slo_ns, double service_ns, double fastest_ns, double switch_ns);
/* The wait at the start of an execution from which a boost is useful: whoever waited longer than
 * SLO - service time of the row - service time of B has no room left for one more service at full
 * speed, which is what it takes to raise the clock and serve on. In rows for less than half of the
 * rated rate room is left for up to three, but half of what the SLO leaves may always be waited.
 * Where the clock takes longer, the wake comes as much earlier, but not before half of that wait:
 * most such queues drain by themselves. UINT64_MAX where nothing can be gained: at B's clock and
 * mask already, if no service times are known, or where the clock takes longer than the wait. */
uint64_t guard_boost_wait_ns(const struct response_table *t, uint32_t row, double switch_ns);
