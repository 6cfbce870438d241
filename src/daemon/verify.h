/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the hardware is as the daemon wants it: the cards are read anew for it. Anyone may ask,
 * so those who ask in the meantime share a reading, and there are at most ten a second. */
#pragma once

#include "daemon/manager.h"
#include <systemd/sd-bus.h>

struct verify;

int verify_new(struct manager *m, struct verify **ret);
/* Those who wait get no answer. */
struct verify *verify_free(struct verify *v);

/* To be returned by the method's handler: answered after the next reading. gpu: a card that there
 * is, or "*". Sets the error if too many wait already. */
int verify_call(struct verify *v, sd_bus_message *call, const char *gpu, sd_bus_error *error);
/* Forgets those who wait, as their connection is lost. */
void verify_forget(struct verify *v);
