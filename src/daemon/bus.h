/* SPDX-License-Identifier: Apache-2.0 */
/* org.cofris1 on the bus (docs/dbus.md). */
#pragma once

#include "daemon/manager.h"

struct bus;

/* Connects to the bus at address (NULL: the system bus) and asks for the name, without waiting.
 * Whatever becomes of it, manager::bus_settled is set in the end and the daemon runs on; a lost or
 * absent bus is tried again every 10 s. 0 or -ENOMEM. */
int bus_new(struct manager *m, const char *address, struct bus **ret);
struct bus *bus_free(struct bus *b);
DEFINE_CLEANUP(struct bus *, bus_free)

/* At the end of a tick: signals what has changed since it was last told, twice a second at most. */
void bus_tell(struct bus *b, uint64_t now_ns);
/* The models are others now. */
void bus_forget_told(struct bus *b);
