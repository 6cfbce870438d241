/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon's record fed to new governors: the same inputs have to give the same decisions. */
#pragma once

#include "governor/record.h"
#include <stdio.h>

#define INPUTS_TEXT_MAX 4096

/* Where a decision first differed. */
struct inputs_difference {
	unsigned int line;
	uint32_t card;
	char recorded[INPUTS_TEXT_MAX], replayed[INPUTS_TEXT_MAX]; /* the first differing line */
};

struct inputs_result {
	uint64_t configurations, inputs, decisions; /* decisions that were compared */
	uint64_t differing;
	uint64_t explained; /* decisions */
	struct inputs_difference first;
};

/* Reads all of f. explain: the number of a decision of each card that is explained on stdout as
 * soon as it has been made again, or 0. *ret is filled as far as it came, on errors too. 0, or the
 * errors of record_read() and governor_new() (-EINVAL: a configuration that no governor takes),
 * with *ret_error filled. */
int inputs_replay(FILE *f, uint64_t explain, struct inputs_result *ret,
		  struct record_error *ret_error);
