/* SPDX-License-Identifier: Apache-2.0 */
/* The namespaces that COMMAND lives in. A mount namespace of its own, so that nothing is mounted
 * for anybody else; a PID namespace of its own whose first process is the simulator, so that the
 * kernel ends everything in it, and with it every mount, when the simulator ends in whatever way.
 *
 * Inside, /sys/class is a tmpfs with a bind mount of each of the host's classes but drm, kfd and
 * hwmon. Those come from the file system mounted at SANDBOX_TREE. */
#pragma once

#include "sim/tree.h"

#define SANDBOX_TREE "/sys/class/" TREE_FOLDER

/* All return 0, or a negative errno after logging what could not be done. */

/* Leaves the host's mounts and PIDs for the next child. */
int sandbox_unshare(void);
/* In that child: /proc and /dev/shm. */
int sandbox_mount_private(void);
/* /sys/class with an empty folder at SANDBOX_TREE. */
int sandbox_mount_classes(void);
/* Once the tree is mounted, in another process than the one that answers for it: the class folders
 * from it. */
int sandbox_bind_classes(void);
/* Gives the host its own /sys/class back, where it was not in a namespace that is gone anyway. */
int sandbox_unmount_classes(void);
