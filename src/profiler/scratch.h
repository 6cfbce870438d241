/* SPDX-License-Identifier: Apache-2.0 */
/* A private folder for the worker's socket, in $XDG_RUNTIME_DIR or /tmp. What killed processes have
 * left there is removed on the way: a folder in use is locked, and a lock ends with its process. */
#pragma once

#include "base/macros.h"

#define SCRATCH_PATH_SIZE 108 /* of a socket's address */

struct scratch {
	int fd; /* of the folder; keeps the lock */
	char path[SCRATCH_PATH_SIZE], socket_path[SCRATCH_PATH_SIZE];
};
#define SCRATCH_INIT ((struct scratch){.fd = -1})

/* 0 or a negative errno; -ENAMETOOLONG for a folder in which no socket could be bound. */
int scratch_open(const char *folder, struct scratch *ret);
/* The same in the first place that will do. */
int scratch_open_default(struct scratch *ret);
void scratch_close(struct scratch *s);
