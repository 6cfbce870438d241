/* SPDX-License-Identifier: Apache-2.0 */
/* Steps between two ticks, of one card alone (of a clock group: of its cards): at once when one of
 * its workers wakes the daemon, ten times a second at most, when the governor wants to look again,
 * and when an operator orders something. Other cards, whose intervals they would cut, have no part
 * in them, and neither has anything that can wait for the tick. */
#pragma once

#include "daemon/unit.h"

/* s asks to be looked at. */
void early_wake(struct session *s);
/* What u is governed by has changed: it takes effect at once, or if u has to wait with the tick. */
void early_look(struct unit *u);
/* After each step of u: when to look again. */
void early_arm(struct unit *u);
int early_on_timer(sd_event_source *source, uint64_t usec, void *unit);
