/* SPDX-License-Identifier: Apache-2.0 */
/* By how much a card's service times differ from its profile's, for one model: observed over
 * predicted, of services under a configuration that was known throughout. What queues do has no
 * part in it.
 *
 *	1.15 |- - - - - - - - - - - .-o-o-o-o   the card
 *	     |                 . o
 *	1.04 |=== planned  . o                  what is planned for starts above the profile,
 *	     |           o                      and is the estimate and its error later on
 *	1    |o- - - - - - - - - - - - - - -
 *	     +----------------------------------> services
 *
 * An estimate with its error (a Kalman filter of one state that drifts slowly): each look says the
 * more the more services it is of, none moves the estimate by more than a bounded step, and the
 * error widens with time, and at once where looks contradict it. How much services of one kind
 * differ from each other is taken to be more than it is on most cards, so that few services say
 * little. */
#pragma once

#include <stdbool.h>

#define SERVICE_FACTOR_MIN 0.7
#define SERVICE_FACTOR_MAX 1.5
/* Before anything is known. Cards of a kind differ by more, but a profile is of this card. */
#define SERVICE_FACTOR_PRIOR_ERROR 0.04
/* Services under one configuration differ from each other by so much, or less. */
#define SERVICE_FACTOR_SPREAD 0.25
/* What is planned for moves in steps of it. */
#define SERVICE_FACTOR_STEP 0.01

struct service_factor {
	double change;	 /* of the factor from 1, so that all zero is a start */
	double learnt;	 /* the prior's variance less that of the estimate */
	bool known;	 /* anything was learnt */
	int surprises;	 /* looks in a row that were far off; below 0: to the lower side */
	double services; /* of looks that were too few yet, and their sums */
	double observed_ns, expected_ns;
	double planned; /* steps from 1; of the last service_factor_plan() */
	bool has_plan;
};

/* What one step tells. */
struct service_factor_look {
	double passed_s;		 /* since the last one, whether it counted or not */
	double services;		 /* 0: nothing counts */
	double observed_ns, expected_ns; /* summed over these */
};

void service_factor_init(struct service_factor *f);
/* Sums that are no number, or not above 0, are ignored. */
void service_factor_update(struct service_factor *f, const struct service_factor_look *look);
/* The estimate, 1 at first, and its standard error. */
double service_factor_get(const struct service_factor *f);
double service_factor_error(const struct service_factor *f);
/* Whether anything was learnt since the start. */
bool service_factor_known(const struct service_factor *f);
/* What is planned for: the estimate and its error, at least least, in steps with some hysteresis.
 */
double service_factor_plan(struct service_factor *f, double least);
