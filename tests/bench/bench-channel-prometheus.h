/* SPDX-License-Identifier: Apache-2.0 */
/* The same job as a cofris channel's, done with prometheus-cpp's counters and histograms. */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/* n requests that begin and end: two clock reads, two counters, one histogram. */
void prometheus_pairs(unsigned int n);
/* n requests that begin, start and end: three clock reads, three counters, two histograms. */
void prometheus_triples(unsigned int n);

#ifdef __cplusplus
}
#endif
