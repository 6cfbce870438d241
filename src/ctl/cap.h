/* SPDX-License-Identifier: Apache-2.0 */
/* cofrisctl cap: power caps listed and set. */
#pragma once

#include "ctl/client.h"
#include <stdbool.h>

/* What "cap [GPU] [POWER|off|config]" asks for. */
struct cap_arguments {
	const char *gpu; /* a BDF; NULL: all */
	bool sets;	 /* to uw */
	uint64_t uw;
};

/* 0, or -EINVAL after saying what is wrong. */
int cap_parse(char **words, int n_words, struct cap_arguments *ret);
/* The document that "cap" prints: of the status only what is about caps, and of gpu alone unless it
 * is NULL. NULL if there is no such card, or no memory. */
json_t *cap_document(const json_t *status, const char *gpu);
