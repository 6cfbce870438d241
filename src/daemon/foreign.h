/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign load: processes with queues on a governed card that are neither workers nor in a worker's
 * cgroup. What they need is unknown, so the card runs at full speed until they have gone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FOREIGN_MAX	32
#define FOREIGN_HOLD_NS UINT64_C(5000000000)
/* A worker opens its queues before it says HELLO, and its queues outlive it for a moment: a process
 * counts once it has been seen for so long. */
#define FOREIGN_GRACE_NS UINT64_C(400000000)

struct foreign_process {
	int32_t pid;
	uint64_t first_ns, last_ns; /* seen */
	bool counts;
};

struct foreign {
	uint32_t n;
	struct foreign_process processes[FOREIGN_MAX];
	uint64_t until_ns;
};

/* Whether pid is a worker or shares a worker's cgroup. */
typedef bool (*foreign_known_fn)(void *userdata, int32_t pid);

/* Takes the processes on the card as read at now_ns. Returns the pid of a process that counts as
 * foreign from now on (for the log; one per call, the others count as well), or 0. */
int32_t foreign_update(struct foreign *f, uint64_t now_ns, const int32_t *pids, uint32_t n,
		       foreign_known_fn known, void *userdata);
/* From the first foreign process until 5 s after the last. */
bool foreign_active(const struct foreign *f, uint64_t now_ns);

#define CGROUP_MAX 256
/* The process's cgroup (v2, else the service manager's own hierarchy) from PROC/PID/cgroup.
 * Returns 0, -ENODATA if it is in none of these, or the errno of reading. pid 0: this process. */
int cgroup_of(const char *proc, int32_t pid, char *ret, size_t size);
/* Whether two processes in cgroup belong together for being in it: not the root, and not the
 * daemon's own, which holds whoever was started beside it. */
bool cgroup_tells(const char *cgroup, const char *own);
