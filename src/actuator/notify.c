/* SPDX-License-Identifier: Apache-2.0 */
#include "actuator/notify.h"
#include "base/macros.h"
#include "base/parse.h"
#include "base/units.h"
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

void notify_service(const char *state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *path = getenv("NOTIFY_SOCKET");
	_cleanup_(closep) int fd = -1;
	size_t length = path ? strlen(path) : 0;

	if (length < 2 || length >= sizeof(address.sun_path) || (*path != '/' && *path != '@'))
		return;
	memcpy(address.sun_path, path, length);
	if (*path == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	/* Never waited for: the cards come first. */
	(void)sendto(fd, state, strlen(state), MSG_DONTWAIT | MSG_NOSIGNAL,
		     (const struct sockaddr *)&address,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

uint64_t notify_watchdog_ns(void)
{
	const char *pid = getenv("WATCHDOG_PID"), *usec = getenv("WATCHDOG_USEC");
	uint64_t value;
	uint32_t whose;

	if (pid && (parse_u32(pid, &whose) < 0 || (pid_t)whose != getpid()))
		return 0;
	if (!usec || parse_u64(usec, &value) < 0 || value > UINT64_MAX / NSEC_PER_USEC)
		return 0;
	return value * NSEC_PER_USEC;
}
