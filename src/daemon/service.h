/* SPDX-License-Identifier: Apache-2.0 */
/* What the service manager is told, and what it keeps for a successor. All of it is nothing where
 * there is none. */
#pragma once

#include "daemon/manager.h"

/* Whether it watches at all: it asks for it when it starts us. */
void service_init(struct manager *m);
/* Both tell the watchdog's time, which follows the poll interval. */
void service_ready(struct manager *m);
void service_reloading(struct manager *m);
/* Before and after tables are derived outside of a reload. */
void service_derives(struct manager *m, bool begins);
/* From a tick that has come to its end: nothing else says that the daemon lives. */
void service_feed(struct manager *m, uint64_t now_ns);
/* Of the connection to the actuator; fd: if it is up. */
void service_keep_connection(struct manager *m, int fd);
void service_drop_connection(struct manager *m);
