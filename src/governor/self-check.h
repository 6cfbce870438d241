/* SPDX-License-Identifier: Apache-2.0 */
/* Whether a model's profile still describes the card: measured power against predicted, and
 * observed service time against predicted, each as a ratio of sums with its confidence interval.
 *
 *	ratio
 *	      |        |- high
 *	  1.1 |        o            the interval lies wholly outside: stale,
 *	      |        |- low       until another lies wholly inside
 *	- - - | - - - - - - - - - - - - - - - - - - - 1 + tolerance
 *	  1.0 |   |
 *	      |   o                 inside: the profile holds
 *	      |   |
 *	- - - | - - - - - - - - - - - - - - - - - - - 1 - tolerance
 *	      +----------------------------------> blocks of a minute busy
 *
 * A sensor's readings follow each other closely, and so do the errors of a prediction while the
 * load stays where it is. Both are summed over blocks of a minute, for power a minute in which the
 * card was busy, and the spread of the blocks' ratios gives the interval (batch means, Student's
 * quantiles). The last 10 blocks, 600 s, speak first; where they leave it open, the last 20. An
 * interval that reaches further than SELF_CHECK_WIDTH to either side says nothing.
 *
 * Tolerances: a correct profile's own errors are 1 to 2 %, and temperature moves a card's power by
 * 2 to 3 % against the profile's, service times creep by 2 %. Cards of a kind differ by more (5 to
 * 15 %), but a profile is of this card: one of another is stale here, and rightly so. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define SELF_CHECK_POWER_TOLERANCE   0.06
#define SELF_CHECK_SERVICE_TOLERANCE 0.08
#define SELF_CHECK_BLOCK_S	     60.0
#define SELF_CHECK_BLOCKS_LEAST	     10
#define SELF_CHECK_BLOCKS	     20
#define SELF_CHECK_WIDTH	     0.05
/* A block with less of it says little: its power is mostly idle, or its mean that of a few. */
#define SELF_CHECK_BUSY_LEAST	  0.3
#define SELF_CHECK_SERVICES_LEAST 30
/* A profile further off than this cannot be planned by. */
#define SELF_CHECK_SLOWNESS_MAX 1.5

enum self_check_subject { SELF_CHECK_POWER, SELF_CHECK_SERVICE, SELF_CHECK_SUBJECTS };

/* One of these: J, or s. */
struct self_check_sums {
	double measured, predicted;
};

struct self_check_series {
	struct self_check_sums block; /* being filled */
	double length_s, busy_s, services;
	uint32_t n, head; /* whole blocks below, head: the next one's place */
	struct self_check_sums blocks[SELF_CHECK_BLOCKS];

	bool known;		 /* the following are valid */
	double ratio, low, high; /* measured over predicted, as of the last whole block */
	bool stale;
	uint64_t since_ns; /* of stale: when it became so */
};

struct self_check {
	struct self_check_series series[SELF_CHECK_SUBJECTS];
};

/* What an interval that counts has to say; lengths of 0: nothing. */
struct self_check_sample {
	uint64_t now_ns;
	double power_s; /* that the sums of power are of */
	double busy;	/* share of power_s */
	double measured_w, predicted_w;
	double service_s; /* that the sums of service are of */
	double services;
	double observed_ns, expected_ns; /* summed over services */
};

void self_check_init(struct self_check *c);
/* An interval. Values that are no number, or not above 0, are ignored. */
void self_check_feed(struct self_check *c, const struct self_check_sample *s);
/* How many times the profile's its service times may be, by the upper bound: above 1 only while
 * stale for being slower, and at most SELF_CHECK_SLOWNESS_MAX. */
double self_check_slowness(const struct self_check *c);
/* Bit 1 << subject for each that is stale. */
uint32_t self_check_stale(const struct self_check *c);
/* "power", "service-time"; NULL beyond the last. */
const char *self_check_subject_name(uint32_t subject);
