/* SPDX-License-Identifier: Apache-2.0 */
#include "actuator/crash-guard.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

/* fd + 1, so that all are free at first. */
static _Atomic int guarded[GPU_MAX_CARDS];

int crash_guard_add(int perf_level_fd)
{
	for (int i = 0; i < GPU_MAX_CARDS; i++) {
		int free_slot = 0;

		if (atomic_compare_exchange_strong(&guarded[i], &free_slot, perf_level_fd + 1))
			return i;
	}
	(void)close(perf_level_fd);
	return -ENOSPC;
}

void crash_guard_remove(int number)
{
	int fd;

	if (number < 0)
		return;
	fd = atomic_exchange(&guarded[number], 0) - 1;
	if (fd >= 0)
		(void)close(fd);
}

static void on_crash(int signal_number)
{
	/* Of all that may be broken now, the kernel is not: one write per card and nothing else. */
	for (int i = 0; i < GPU_MAX_CARDS; i++) {
		int fd = atomic_load(&guarded[i]) - 1;

		if (fd >= 0)
			(void)!pwrite(fd, "auto", 4, 0);
	}
	/* SA_RESETHAND has put the default back. */
	(void)raise(signal_number);
}

int crash_guard_install(void)
{
	static const int signals[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	/* Not deferred, so that raise() ends the process at once. */
	struct sigaction action = {.sa_handler = on_crash, .sa_flags = SA_RESETHAND | SA_NODEFER};

	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		if (sigaction(signals[i], &action, NULL) < 0)
			return -errno;
	return 0;
}
