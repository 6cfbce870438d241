/* SPDX-License-Identifier: Apache-2.0 */
/* Between verify.c (who asks, and when cards are read) and verify-checks.c (what is compared). */
#pragma once

#include "actuator/protocol.h"
#include "daemon/verify.h"
#include <jansson.h>

struct unit;

/* A card's part of the answer; error: of reading it, 0 with the state that was read. */
json_t *verify_card(const struct unit *u, int error, const struct actuator_state *state);
/* The same of a card that is not governed any more. */
json_t *verify_no_card(const char *bdf);
