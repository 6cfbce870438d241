/* SPDX-License-Identifier: Apache-2.0 */
/* Disturbances: what goes wrong in a run, and when. Each holds in [from_ns, until_ns) of the run's
 * time; those of one kind on one model must not overlap. */
#pragma once

#include "governor/governor.h"

#define SIMULATION_MAX_EVENTS 16

enum simulation_event_kind {
	/* Air and card are hotter by kelvin: what the card's heat does to its clock is then the
	 * plant's, and so it matters how much power it draws. */
	SIMULATION_HOT,
	/* The firmware holds the clock at or below level, whatever is written, and says that it
	 * throttles. */
	SIMULATION_THROTTLE,
	/* What is read of the card is age_ns old. */
	SIMULATION_STALE_SENSORS,
	/* The card cannot be read; the daemon gives up on it as it does. It still takes clocks. */
	SIMULATION_SENSORS_LOST,
	/* Clocks do not take, which is noticed. */
	SIMULATION_READBACK_FAILED,
	/* Samples of the model's worker are invalid. It goes on serving. */
	SIMULATION_INPUT_MISSING,
	/* The model's worker dies, and what it is executing fails with it; another one connects at
	 * until_ns, to which goes all that has waited or come meanwhile. */
	SIMULATION_WORKER_RESTART,
	/* The model's worker lies. */
	SIMULATION_LIES,
	/* The configuration is loaded anew, at from_ns. */
	SIMULATION_RELOAD,
	SIMULATION_EVENT_KINDS,
};

enum simulation_lie {
	SIMULATION_LIE_ALL_LATE = 1u << 0,  /* everything it has served was late */
	SIMULATION_LIE_NONE_LATE = 1u << 1, /* nothing ever is */
	SIMULATION_LIE_WAKES = 1u << 2,	    /* each start has waited too long */
	SIMULATION_LIE_NO_WAKES = 1u << 3,  /* none ever has */
	SIMULATION_LIE_SERVICE = 1u << 4,   /* services took service_factor times as long */
};

struct simulation_event {
	enum simulation_event_kind kind;
	uint64_t from_ns, until_ns;
	uint32_t model; /* of kinds about one */
	bool silent;	/* SIMULATION_HOT, _THROTTLE: the card says nothing of throttling */
	double kelvin;
	uint32_t level;
	uint64_t age_ns;
	uint32_t lies; /* enum simulation_lie */
	double service_factor;
	const struct governor_config *governor; /* of the same models; borrowed */
};
