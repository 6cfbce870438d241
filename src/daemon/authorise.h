/* SPDX-License-Identifier: Apache-2.0 */
/* Who may steer the daemon: polkit is asked (action org.cofris1.control), without waiting for it.
 * Where it is absent, slow or failing, root alone may; root is asked for nothing. Who calls is told
 * by the bus, not by the caller. */
#pragma once

#include "base/macros.h"
#include <sys/types.h>
#include <systemd/sd-bus.h>

struct authorise;

struct caller {
	const char *sender; /* its name on the bus */
	uid_t uid;
	pid_t pid; /* 0: unknown */
};

/* What an authorised call does; as a method's handler, with the error to be set. */
typedef int (*authorised_fn)(sd_bus_message *call, const struct caller *who, void *userdata,
			     sd_bus_error *error);

/* For the calls of one connection. 0 or -ENOMEM. */
int authorise_new(sd_bus *bus, struct authorise **ret);
/* Forgets the calls that wait; nobody answers them. Before the connection is closed or lost. */
struct authorise *authorise_free(struct authorise *a);
DEFINE_CLEANUP(struct authorise *, authorise_free)

/* To be returned by a method's handler. The call is answered later: by go_on, or with AccessDenied.
 * At once: TooMany, if too many of the caller's, or of all, wait already. userdata must outlive a.
 */
int authorise(struct authorise *a, sd_bus_message *call, authorised_fn go_on, void *userdata,
	      sd_bus_error *error);
/* Calls that wait. */
unsigned int authorise_pending(const struct authorise *a);
