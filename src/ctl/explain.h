/* SPDX-License-Identifier: Apache-2.0 */
/* cofrisctl explain: why cards run as they do, what they would do, what was decided. */
#pragma once

#include "ctl/client.h"
#include <stdbool.h>

/* What "explain [GPU] [--model MODEL] [--rps N | --last N]" asks for. */
struct explain_arguments {
	const char *gpu, *model; /* "*": all */
	double rps;		 /* negative: the present demand */
	uint32_t last;		 /* 0: an explanation, else as many past decisions */
};

/* model, rps, last: the options' arguments, or NULL. 0, or -EINVAL after saying what is wrong. */
int explain_parse(char **words, int n_words, const char *model, const char *rps, const char *last,
		  struct explain_arguments *ret);
