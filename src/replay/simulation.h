/* SPDX-License-Identifier: Apache-2.0 */
/* One or more models on one service card under one policy, request by request in virtual time.
 * Nothing steps but events: arrivals, ends of service, the governor's ticks, changes of clock and
 * mask. The card (clock, power, heat, sensors) is the plant's own, the governor and the order of
 * changes are those of the daemon. */
#pragma once

#include "governor/governor.h"
#include "replay/simulation-events.h"
#include "replay/truth.h"

enum latency_notion {
	LATENCY_SOJOURN, /* from intended arrival to end */
	LATENCY_SERVICE, /* execution alone, as in the CoFRIS paper */
};

/* One configuration of the card for a model, by index. */
struct configuration {
	uint16_t level, shape; /* of the device's levels, of costs_shapes() */
	uint16_t batch;
};

#define SIMULATION_MAX_MODELS 8

/* What a model has to do on the card: what simulation_options hold of the first one under the same
 * names. */
struct simulation_load {
	const struct costs *costs;
	const uint64_t *arrival_ns;
	uint32_t n_arrivals;
	uint32_t workers;
	uint64_t max_wait_ns;
	bool saturated;
	uint64_t slo_ns;
	enum latency_notion latency;
	uint64_t seed;
};

struct simulation_options {
	const struct truth *truth;
	const struct costs *costs; /* of that truth */
	/* Beside the first model; its worker, queue and arrivals are its own. */
	const struct simulation_load *others;
	uint32_t n_others;
	/* Of these models, in their order, on one card. NULL: schedule instead. */
	const struct governor_config *governor;
	/* What holds in each interval, from its beginning; switching is free. For oracles. The last
	 * one goes on. n_schedule intervals, in each an entry for each model, of one level. */
	const struct configuration *schedule;
	uint32_t n_schedule;

	const uint64_t *arrival_ns; /* ascending */
	uint32_t n_arrivals;
	uint64_t duration_ns; /* T */
	uint64_t poll_ns;     /* the tick: 500 ms */
	/* The daemon's time runs so many times faster than the card's, as beside cofris-sim
	 * --time-scale: what is configured of the governor, its table, too, is in that time, and
	 * all here, the tick, too, in the card's. 0: 1. */
	double time_scale;
	uint64_t warm_up_ns;	 /* nothing before counts: 30 s */
	uint64_t drain_limit_ns; /* after T; what is unfinished then is late: 60 s */
	uint32_t workers;	 /* executions at the same time: 1 */
	uint64_t max_wait_ns; /* the worker's own batching wait, where no directive says more: 0 */
	bool saturated;	      /* arrivals do not matter: as soon as a worker is free it takes a
			       * full batch */
	uint64_t slo_ns;      /* for what the worker itself reports as late */
	enum latency_notion latency; /* likewise */
	uint64_t seed;		     /* of per-request jitter; the same under every policy */
	double mask_change_us;	     /* what a mask change takes: queues x 55 us */
	double directive_ms;	     /* from decision to acknowledgement, about 1.2 */
	double cap_w;	 /* power cap in force on the card; 0: its own. A governor's is written only
			  * if it is to be, but over_cap_* are about it where this is 0 */
	bool writes_cap; /* the governor's cap is written with its clock, as the daemon does */
	bool trace_ticks; /* keep the ticks */
	const struct simulation_event *events;
	uint32_t n_events;
};

/* What was so in one interval: power and clock of the card, the rest of one model. */
struct tick {
	float t_s, load_rps, demand_rps, power_w, sclk_mhz, p95_ms;
	struct configuration configuration; /* in force at its end */
	uint8_t reason;			    /* enum governor_reason */
};

#define REQUEST_UNFINISHED UINT64_MAX

/* Of one model. */
struct simulation_result {
	uint32_t n;	      /* requests, as arrivals */
	uint64_t *latency_ns; /* by request: sojourn, or service time; REQUEST_UNFINISHED */
	uint64_t starved_ns;  /* longest time without a completion while a request was there */
	/* From warm-up to the end asked for: */
	uint64_t completed, late; /* late: of slo_ns, among these */
	uint64_t changes;	  /* of the configuration in force (clock limit, mask or batch) */
	double mean_cus;	  /* of its mask; time mean */
	double mean_batch;	  /* per execution */
	/* Of the card, the same for all models on it: */
	uint64_t drained_ns;		/* when the last request ended, at least T */
	double energy_j, idle_energy_j; /* all; while nothing was executing */
	double busy_s, length_s;
	double mean_sclk_mhz;	       /* time mean; the sclk is the true one */
	double over_cap_s, over_cap_j; /* time above the cap, and energy above it */
	uint32_t n_ticks;
	struct tick *ticks; /* with trace_ticks */
};
void simulation_result_done(struct simulation_result *r);

struct simulation;
int simulation_new(const struct simulation_options *o, struct simulation **ret);
struct simulation *simulation_free(struct simulation *s);
DEFINE_CLEANUP(struct simulation *, simulation_free)
/* Until every request has ended, or the drain limit; returns that time (at least T). */
uint64_t simulation_run(struct simulation *s);
/* Goes on idle to end_ns (the longest drain of the runs compared), and gives the results away: ret
 * has room for one of each model. */
int simulation_finish(struct simulation *s, uint64_t end_ns, struct simulation_result *ret);
