/* SPDX-License-Identifier: Apache-2.0 */
/* Bounded file reads and atomic file writes. */
#pragma once

#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

/* Reads at most size - 1 bytes of the file at path (relative to dirfd, or AT_FDCWD) with one
 * open, and NUL-terminates. Returns the length (0 for an empty file), -EFBIG if the file holds
 * more, or another negative errno. buffer is undefined on error. */
ssize_t read_text_at(int dirfd, const char *path, char *buffer, size_t size);

/* Writes text to an existing file with a single write() and no truncation or creation, as sysfs
 * wants it. Returns 0 or a negative errno (-EIO on a short write). */
int write_text_at(int dirfd, const char *path, const char *text);

/* A file that replaces path at once or not at all: write to ->file, then commit. */
struct atomic_file {
	FILE *file;
	char *path;
	char *temporary;
};
#define ATOMIC_FILE_INIT ((struct atomic_file){0})

/* Creates PATH.XXXXXX beside path. Returns 0 or a negative errno. */
int atomic_file_open(struct atomic_file *f, const char *path, mode_t mode);
/* Flushes, syncs and renames. On any error (a full disk included) the temporary is removed, the
 * old file stays, and the negative errno is returned. */
int atomic_file_commit(struct atomic_file *f);
/* Drops what was not committed; safe to call twice. */
void atomic_file_deinit(struct atomic_file *f);

/* mkdir -p of the folder that holds path. Returns 0 or a negative errno. */
int make_parent_folders(const char *path, mode_t mode);
