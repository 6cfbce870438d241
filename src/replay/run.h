/* SPDX-License-Identifier: Apache-2.0 */
/* From the command line to the report: loads what an evaluation needs and runs one for each
 * objective. */
#pragma once

#include "replay/options.h"

/* 0; or a negative errno after saying what is wrong: -EDOM for a set-up that is none to judge
 * policies by. */
int replay_run(const struct replay_options *o);
