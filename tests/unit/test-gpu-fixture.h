/* SPDX-License-Identifier: Apache-2.0 */
/* A folder with the files of one or two MI50, as far as cofris reads them. The files are plain:
 * they hold what was written last and answer nothing, which is all that the reading side needs. */
#pragma once

#include <stddef.h>

struct gpu_tree {
	char root[64]; /* what a program is given in place of /sys */
};

#define TREE_BDF  "0000:43:00.0"
#define TREE_BDF2 "0000:44:00.0"
#define TREE_PCI  "devices/pci0000:40/0000:43:00.0/"
#define TREE_NODE "class/kfd/kfd/topology/nodes/1/"

/* All return 0 or abort the test program. Paths are relative to the root. */
void gpu_tree_create(struct gpu_tree *t, int n_cards);
void gpu_tree_destroy(struct gpu_tree *t);
void gpu_tree_write(const struct gpu_tree *t, const char *path, const char *text);
void gpu_tree_write_bytes(const struct gpu_tree *t, const char *path, const void *b, size_t n);
void gpu_tree_remove(const struct gpu_tree *t, const char *path); /* with all below */
/* The file's text; valid until the next call. */
const char *gpu_tree_read(const struct gpu_tree *t, const char *path);
/* Adds a process with n queues on the card with KFD's number gpu_id. */
void gpu_tree_add_process(const struct gpu_tree *t, int pid, int n_queues, unsigned int gpu_id);

/* A gpu_metrics v1.0 table (80 bytes): busy 37 %, 21 W, 1143 MHz, hotspot 44 degrees. */
void gpu_metrics_v1_0(unsigned char ret[80]);
