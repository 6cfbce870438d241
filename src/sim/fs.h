/* SPDX-License-Identifier: Apache-2.0 */
/* Answers for the tree to FUSE as sysfs would: one write() is one store, whatever its offset;
 * a read at offset 0 makes the text anew; truncation does nothing; every file is said to have 4096
 * bytes. Withheld reads block nobody else: they are kept aside and answered when healed. */
#pragma once

#include "base/macros.h"
#include "sim/faults.h"
#include "sim/tree.h"
#include "sim/write-log.h"

struct fs;

/* All must outlive the file system, which lives as long as the process: it is always in use by
 * somebody, and the kernel ends it when the process ends. Mounts at folder and starts the thread
 * that answers. */
int fs_new(const char *folder, struct tree *tree, struct faults *faults, struct write_log *log,
	   struct card *const *cards, struct fs **ret);

/* Cards or their drivers may have come or gone: the kernel looks all names up again. */
void fs_forget_cards(struct fs *fs);
/* Answers the withheld reads of files that do not hang any more. */
void fs_release(struct fs *fs);
/* Answers all of them, and withholds nothing from now on. */
void fs_release_all(struct fs *fs);
