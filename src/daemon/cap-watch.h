/* SPDX-License-Identifier: Apache-2.0 */
/* How long and by how much a card is above its power cap, as its sensor shows it. Each reading
 * stands for the time since the one before, so what is shorter than the daemon's interval shows
 * only by chance, and a sensor that averages shows it smoothed. No I/O and no clock. */
#pragma once

#include <stdint.h>

struct cap_watch {
	uint64_t cap_uw;  /* in force since read_ns; 0: none */
	uint64_t read_ns; /* of the last reading; 0: none under this cap */
	/* Sums over all caps. */
	uint64_t watched_ns, over_ns;
	uint64_t over_max_uw;
	double over_uj; /* excess power x time */
};

/* A reading, and the cap in force from it on (0: none). Time counts only if the cap was the same
 * from one reading to the next and they are at most gap_ns apart. */
void cap_watch_feed(struct cap_watch *w, uint64_t now_ns, uint64_t gap_ns, uint64_t cap_uw,
		    uint64_t power_uw);
/* Mean excess while above; 0 if it never was. */
uint64_t cap_watch_mean_uw(const struct cap_watch *w);
