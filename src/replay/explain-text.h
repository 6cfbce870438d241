/* SPDX-License-Identifier: Apache-2.0 */
/* An explanation as text for people: what cofrisctl explain shows of a daemon, here of a record. */
#pragma once

#include "governor/explain.h"
#include <stdio.h>

/* All models with a worker in input, which g has just decided on. */
void explain_text_print(FILE *f, const struct governor *g, const struct governor_config *c,
			const struct governor_input *input,
			const struct governor_decision *decision);
