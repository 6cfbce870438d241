/* SPDX-License-Identifier: Apache-2.0 */
/* Scenarios: what goes wrong while the governor is at work, and within which bounds its user may
 * ask it to stay. Each is run three times with the same requests and the same chance: under the
 * policy, under maximum, which knows no disturbance that it could make worse, and undisturbed under
 * the policy, which is where it has to come back to. Where a power cap is what disturbs, lateness
 * is held against what serves the most inside it on this very card, and undisturbed it has held
 * from the beginning. */
#pragma once

#include "replay/evaluate.h"

#define DISTURBANCE_S	   240.0 /* the run, of which the first 30 s do not count */
#define DISTURBANCE_FROM_S 90.0
#define DISTURBANCE_END_S  30.0 /* the last of a run, for what has become of it */

/* Loads are of the rated rate. */
struct disturbance {
	const char *name, *statement;
	double load;
	double extra, extra_s; /* beside it, from DISTURBANCE_FROM_S on; extra_s 0: to the end */
	double slower;	       /* of all service times, on the service card; 0: 1 */
	double until_s;	       /* events last until then; 0: there are none */
	enum simulation_event_kind kind;
	struct simulation_event event; /* without its times and kind; a second one beside it: */
	enum simulation_event_kind beside;
	bool has_beside;
	double cap;	  /* from then on, of the power that B draws when busy; 0: none */
	uint64_t poll_ns; /* 0: 500 ms */
	/* The bounds, each at most. */
	double excess_late_pct;	 /* over the run */
	double recovery_s;	 /* after the disturbance has ended; 0: it does not end */
	double power_vs_maximum; /* while it lasts; 0: none */
	double over_cap_s;	 /* 0: none */
	uint32_t missed;	 /* 1u << enum disturbance_bound: known not to be met */
};
extern const struct disturbance disturbances_all[];
extern const uint32_t disturbances_n;

struct disturbance_figures {
	double late_pct, maximum_late_pct, excess_late_pct;
	/* From the end of the disturbance to the end of the last 10 s whose mean power lies more
	 * than 5 % beside that of the undisturbed run. */
	double recovery_s;
	/* Of the last 30 s: mean clock over the least of any 30 s of the undisturbed run, whose
	 * estimate wanders between neighbouring rows as well; mean power over its at that time. */
	double end_clock, end_power;
	/* While it lasts: power, and how far the card itself takes maximum's clock down. */
	double power_vs_maximum, maximum_clock;
	double over_cap_s; /* in ticks of which the mean power is above the cap */
};

enum disturbance_bound {
	DISTURBANCE_EXCESS_LATE,
	DISTURBANCE_RECOVERY,
	DISTURBANCE_END_CLOCK,
	DISTURBANCE_END_POWER,
	DISTURBANCE_POWER,
	DISTURBANCE_OVER_CAP,
	DISTURBANCE_BOUNDS,
};
struct disturbance_judged {
	const char *name; /* as in struct disturbance_figures */
	double least, most, ours;
	bool met;
};
/* Whether a figure is inside the bound that a scenario has for it; false: it has none. */
bool disturbance_judge(const struct disturbance *d, const struct disturbance_figures *f,
		       enum disturbance_bound bound, struct disturbance_judged *ret);
/* Into a whatever is worse of the two. */
void disturbance_take_worse(struct disturbance_figures *a, const struct disturbance_figures *b);

struct disturbances_options {
	const struct plant_device *device;
	uint32_t n_models;
	const struct plant_model *const *models;
	uint32_t cards; /* service cards */
	const char *policy;
	uint64_t seed;
	uint32_t threads;
	/* Which of the scenarios; NULL: all. */
	const char *only;
};
/* ret: [scenario][model], the worst of the cards in each; calloc()ed, for free(). Those that are
 * not asked for stay zero. The same whatever the number of threads. */
int disturbances_run(const struct disturbances_options *o, struct disturbance_figures **ret,
		     struct evaluation_error *ret_error);
