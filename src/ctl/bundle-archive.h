/* SPDX-License-Identifier: Apache-2.0 */
/* The tar that cofrisctl debug bundle writes, and the list of what is in it and what is missing. */
#pragma once

#include "base/macros.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct archive;
struct bundle {
	struct archive *archive;
	int fd;
	json_t *members, *missing;
	int error; /* the first, negative; nothing is written after it */
};

/* Creates path, which must not exist, readable by its owner alone. 0 or a negative errno. */
int bundle_open(struct bundle *b, const char *path);
/* Adds a file below the tar's folder. */
void bundle_add(struct bundle *b, const char *name, mode_t mode, const void *data, size_t size);
/* Takes root; NULL is a failure to name it. */
void bundle_add_json(struct bundle *b, const char *name, json_t *root);
void bundle_miss(struct bundle *b, const char *what, const char *format, ...) _printf_(3, 4);
/* Writes the end. 0 or the first negative errno. */
int bundle_close(struct bundle *b);
void bundle_deinit(struct bundle *b);

/* What a child process writes to a pipe, up to a limit and as long as it goes on. */
struct collected {
	char *data; /* NUL-terminated, for free() */
	size_t size;
	bool timed_out, cut;
};
#define COLLECT_QUIET_MS 5000

/* Runs child(fd, userdata) in a process of its own, and ends that if it is quiet for too long. It
 * may hang in the kernel for good: it is not waited for. 0 or a negative errno. */
int collect(int (*child)(int fd, void *userdata), void *userdata, size_t max_size,
	    struct collected *ret);
