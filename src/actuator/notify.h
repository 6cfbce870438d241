/* SPDX-License-Identifier: Apache-2.0 */
/* What the service manager is told (sd_notify(3)), without its library: this process has the cards,
 * and carries no more than it needs. */
#pragma once

#include <stdint.h>

/* Nothing where nobody wants to know. */
void notify_service(const char *state);
/* How long the service manager waits for WATCHDOG=1; 0: it does not. */
uint64_t notify_watchdog_ns(void);
