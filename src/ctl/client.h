/* SPDX-License-Identifier: Apache-2.0 */
/* Calls to the daemon on the bus. */
#pragma once

#include <jansson.h>
#include <stdint.h>

/* What became of a command, and the program's exit status (cofrisctl(1)). */
enum ctl_exit {
	CTL_OK = 0,
	CTL_REFUSED = 1,     /* the daemon, or the check, says no */
	CTL_USAGE = 2,	     /* wrong command line */
	CTL_UNREACHABLE = 3, /* no bus, no daemon on it, or no answer */
};

#define CTL_CAP_CONFIG UINT64_C(0)
#define CTL_CAP_OFF    UINT64_MAX

/* Calls a method of the manager that takes argument (NULL: nothing) and returns a text (ret NULL:
 * nothing). bus: an address, or NULL for the system bus. Says on stderr what went wrong. */
enum ctl_exit ctl_call(const char *bus, const char *method, const char *argument,
		       uint64_t timeout_usec, char **ret);
/* The same for a method that returns JSON of a schema that this program knows. */
enum ctl_exit ctl_call_json(const char *bus, const char *method, const char *argument,
			    json_t **ret);
/* gpu: a BDF or "*" for all. uw: CTL_CAP_CONFIG, CTL_CAP_OFF or a cap. */
enum ctl_exit ctl_set_power_cap(const char *bus, const char *gpu, uint64_t uw);
/* gpu: a BDF or "*"; model: a name or "*". rps: negative for the present. */
enum ctl_exit ctl_explain(const char *bus, const char *gpu, const char *model, double rps,
			  json_t **ret);
enum ctl_exit ctl_decisions(const char *bus, const char *gpu, const char *model, uint32_t n,
			    json_t **ret);
/* The daemon's version, or NULL if it cannot be asked. Says nothing. The caller frees it. */
char *ctl_daemon_version(const char *bus);
