/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the daemon on the bus. */
#pragma once

#include "base/macros.h"
#include "base/units.h"
#include <jansson.h>
#include <stdint.h>
#include <systemd/sd-bus.h>

/* What became of a command, and the program's exit status (cofrisctl(1)). */
enum ctl_exit {
	CTL_OK = 0,
	CTL_REFUSED = 1,     /* the daemon, or the check, says no */
	CTL_USAGE = 2,	     /* wrong command line */
	CTL_UNREACHABLE = 3, /* no bus, no daemon on it, or no answer */
};

#define CTL_NAME    "org.cofris1"
#define CTL_PATH    "/org/cofris1"
#define CTL_MANAGER CTL_NAME ".Manager"

#define CTL_TIMEOUT (5 * USEC_PER_SEC)
/* Of what an administrator's password may be asked for first, which the daemon waits 90 s for. */
#define CTL_WRITE_TIMEOUT (100 * USEC_PER_SEC)

#define CTL_CAP_CONFIG UINT64_C(0)
#define CTL_CAP_OFF    UINT64_MAX

/* A connection that is made with the first call, and anew after it was lost. */
struct ctl_client {
	const char *address; /* NULL: the system bus */
	sd_bus *bus;	     /* NULL: none yet */
	char error[512];     /* why the last call failed; empty if it did not */
};
void ctl_client_deinit(struct ctl_client *c);

/* Connects if there is no connection. */
enum ctl_exit ctl_connect(struct ctl_client *c);

/* Calls a method of the manager; types and what follows are the arguments, as
 * sd_bus_message_append() takes them. The answer is nothing; a number; a text that is JSON of a
 * schema that this program knows. */
enum ctl_exit ctl_call(struct ctl_client *c, const char *method, uint64_t timeout_usec,
		       const char *types, ...);
enum ctl_exit ctl_call_u32(struct ctl_client *c, const char *method, uint32_t *ret,
			   const char *types, ...);
enum ctl_exit ctl_call_json(struct ctl_client *c, const char *method, json_t **ret,
			    const char *types, ...);
/* Takes text that should be such a document. */
enum ctl_exit ctl_parse_document(struct ctl_client *c, const char *text, json_t **ret);
/* The daemon's version, or NULL if it cannot be asked. The caller frees it. */
char *ctl_daemon_version(struct ctl_client *c);
