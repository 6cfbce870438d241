/* SPDX-License-Identifier: Apache-2.0 */
/* Between manager.c (running), startup.c and reload.c. */
#pragma once

#include "daemon/manager.h"

#define MANAGER_MAX_UNITS LINK_MAX_CARDS

int manager_on_tick(sd_event_source *source, uint64_t usec, void *manager);
int manager_on_reload(sd_event_source *source, const struct signalfd_siginfo *si, void *manager);
void manager_on_cards(void *manager, const struct actuator_card *cards, const char (*bdfs)[16],
		      uint32_t n);
void manager_on_down(void *manager, int error);
void manager_on_connection(void *manager, int fd, bool up);

/* Says in words what is governed, if it has changed. */
void manager_update_status(struct manager *m);
/* Units for the cards that the configuration names; those of [gpu *] come with the actuator's list.
 */
void manager_add_units(struct manager *m);
/* Before the first decision. */
void manager_load_pauses(struct manager *m);
/* What was ordered for a time that is over. */
void manager_expire_orders(struct manager *m);
int manager_open_record(struct manager *m);
/* Listens to the kernel's device events, if it can. */
void manager_watch_devices(struct manager *m);
void manager_flush_record(struct manager *m);
