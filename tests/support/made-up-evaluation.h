/* SPDX-License-Identifier: Apache-2.0 */
/* An evaluation that nobody computed, with round numbers and all that a report has to show. */
#pragma once

#include "replay/evaluate.h"

struct made_up;
/* n_models of 8, all policies. hostile: names that try to get out of every format. Aborts without
 * memory. slo_factor scales the powers, so that several differ. */
struct made_up *made_up_new(uint32_t n_models, double slo_factor, bool hostile);
struct made_up *made_up_free(struct made_up *m);
DEFINE_CLEANUP(struct made_up *, made_up_free)
const struct evaluation *made_up_evaluation(const struct made_up *m);
/* To be changed by tests. */
struct evaluation_options *made_up_options(struct made_up *m);
struct trace *made_up_trace(struct made_up *m);
struct evaluation_row *made_up_row(struct made_up *m, uint32_t i);

#define MADE_UP_HOSTILE_TRACE "a\"</script><img src='http://x/y'>\n`id`,\x1b[31m\xff.csv"
#define MADE_UP_HOSTILE_MODEL "<b>'\"`id`$(id)\\,&\n"
