/* SPDX-License-Identifier: Apache-2.0 */
/* What cofris-replay does with a command line that asks for an evaluation. */
#pragma once

#include "replay/options.h"

/* Loads what is named, evaluates for each SLO, and prints and writes the results. 0, -EDOM for a
 * set-up that policies cannot be judged by, or another negative errno; all have been logged. */
int replay_run(const struct replay_options *o);
