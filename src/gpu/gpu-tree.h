/* SPDX-License-Identifier: Apache-2.0 */
/* Where a card's files are: from its PCI address to its device folder and its KFD node. */
#pragma once

#include "gpu/kernel-files.h"

/* Enough for every text file read here; the longest is a node's properties (below 1 KiB). */
#define KERNEL_FILE_MAX 4096

/* Opens <sysfs_root>/class. -ENODEV without one. */
int gpu_tree_open_class(const char *sysfs_root, int *ret_fd);

/* The device folder of the card at bdf (O_PATH | O_DIRECTORY). -ENODEV if no card has that address.
 */
int gpu_tree_find_card(int class_fd, const char *bdf, int *ret_device_fd);

/* From the device folder: 0 if there is none that can be read. */
uint64_t gpu_tree_unique_id(int device_fd);

/* The first KFD node with that address (with partitions there are several): its properties and
 * KFD's id of it. -ENODEV if there is none. Nodes that cannot be read are passed over. */
int gpu_tree_find_node(int class_fd, const char *bdf, struct kfd_properties *ret,
		       uint32_t *ret_gpu_id);

/* Calls f for each entry of the folder until it returns non-zero, which is then returned; 0 at the
 * end, or a negative errno of the folder. */
typedef int (*gpu_tree_entry_fn)(int folder_fd, const char *name, void *userdata);
int gpu_tree_each(int dirfd, const char *path, gpu_tree_entry_fn f, void *userdata);
