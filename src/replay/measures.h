/* SPDX-License-Identifier: Apache-2.0 */
/* From paired runs to figures; docs/evaluation.md says what each means. Only requests that arrive
 * after warm-up count. */
#pragma once

#include "replay/simulation.h"

struct measures {
	uint32_t requests; /* that count */
	double mean_power_w, energy_j, energy_per_request_j, idle_energy_pct;
	double p50_ms, p95_ms, p99_ms;
	double request_attainment_pct;
	double excess_late_pct; /* late here and on time under maximum, of all that count */
	uint32_t excess_bad_windows, windows; /* bad here and not under maximum; all */
	double changes, mean_sclk_mhz, mean_cus, mean_batch;
};

struct measures_options {
	const uint64_t *arrival_ns;
	uint32_t n_arrivals;
	uint64_t warm_up_ns, slo_ns;
	uint32_t percentile;
};
/* maximum: the paired run under policy maximum (may be the same result). 0 or -ENOMEM. */
int measures_take(const struct measures_options *o, const struct simulation_result *run,
		  const struct simulation_result *maximum, struct measures *ret);
/* Share of requests that are late here and on time there, 0..1. */
double measures_excess_late(const struct measures_options *o, const struct simulation_result *run,
			    const struct simulation_result *maximum);
/* The smallest k with P(Bin(n, p) <= k) >= q. */
uint32_t binomial_quantile(uint32_t n, double p, double q);
