/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/cap-watch.h"
#include "base/macros.h"
#include "base/units.h"

void cap_watch_feed(struct cap_watch *w, uint64_t now_ns, uint64_t gap_ns, uint64_t cap_uw,
		    uint64_t power_uw)
{
	uint64_t ns = w->read_ns > 0 && now_ns > w->read_ns ? now_ns - w->read_ns : 0;

	/* A reading just after a change is still of the time before. */
	if (cap_uw > 0 && cap_uw == w->cap_uw && ns <= gap_ns) {
		w->watched_ns += ns;
		if (power_uw > cap_uw && ns > 0) {
			w->over_ns += ns;
			w->over_max_uw = MAX(w->over_max_uw, power_uw - cap_uw);
			w->over_uj +=
				(double)(power_uw - cap_uw) * (double)ns / (double)NSEC_PER_SEC;
		}
	}
	w->cap_uw = cap_uw;
	w->read_ns = cap_uw > 0 ? now_ns : 0;
}

uint64_t cap_watch_mean_uw(const struct cap_watch *w)
{
	if (w->over_ns == 0)
		return 0;
	return (uint64_t)(w->over_uj * (double)NSEC_PER_SEC / (double)w->over_ns + 0.5);
}
