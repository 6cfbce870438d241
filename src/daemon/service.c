/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/service.h"
#include "base/units.h"
#include <inttypes.h>
#include <systemd/sd-daemon.h>

#define FD_NAME "actuator"

#define WATCHDOG_LEAST_NS (5 * NSEC_PER_SEC)
#define WATCHDOG_POLLS	  4
/* Of a reload, or a card that has come: the tables of every model are derived, and no tick ends
 * meanwhile. As long as cofrisctl waits for it. */
#define WATCHDOG_TABLES_NS (120 * NSEC_PER_SEC)

void service_init(struct manager *m)
{
	m->watched = sd_watchdog_enabled(0, NULL) > 0;
}

static void tell(struct manager *m, const char *state, uint64_t watchdog_ns)
{
	if (m->watched)
		(void)sd_notifyf(0, "%s\nWATCHDOG_USEC=%" PRIu64, state,
				 watchdog_ns / NSEC_PER_USEC);
	else
		(void)sd_notify(0, state);
}

void service_ready(struct manager *m)
{
	m->watchdog_ns = MAX(WATCHDOG_LEAST_NS, WATCHDOG_POLLS * m->config->daemon.poll_ns);
	tell(m, "READY=1", m->watchdog_ns);
}

void service_reloading(struct manager *m)
{
	tell(m, "RELOADING=1", WATCHDOG_TABLES_NS);
}

void service_derives(struct manager *m, bool begins)
{
	uint64_t watchdog_ns = begins ? WATCHDOG_TABLES_NS : m->watchdog_ns;

	/* Before we are ready nobody watches. */
	if (m->watched && m->ready)
		(void)sd_notifyf(0, "WATCHDOG_USEC=%" PRIu64, watchdog_ns / NSEC_PER_USEC);
}

void service_feed(struct manager *m, uint64_t now_ns)
{
	if (!m->watched || now_ns - m->last_watchdog_ns < m->watchdog_ns / 5)
		return;
	m->last_watchdog_ns = now_ns;
	(void)sd_notify(0, "WATCHDOG=1");
}

void service_keep_connection(struct manager *m, int fd)
{
	m->connection_kept = sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=" FD_NAME, &fd, 1) > 0;
}

void service_drop_connection(struct manager *m)
{
	m->connection_kept = false;
	(void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" FD_NAME);
}
