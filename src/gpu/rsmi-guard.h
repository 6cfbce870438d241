/* SPDX-License-Identifier: Apache-2.0 */
/* What has to be right before librocm_smi64 is initialised: it aborts on an unexpected tree and
 * hangs or fails for good on the mutexes that its own dead users left behind. */
#pragma once

/* Folder where the library keeps one mutex per card, open to every user. */
#define RSMI_MUTEX_FOLDER "/dev/shm"

/* Removes each rocm_smi_card* file in folder that nobody can take again: of another size or kind,
 * abandoned, or held by a thread that is gone. Reads bytes only, as any user may have written them.
 * Returns the number removed, or a negative errno: -EBUSY if such a file cannot be removed. */
int rsmi_heal_mutexes(const char *folder);

/* Checks the folders of which the library asserts something: every card a link that leads over a
 * PCI address, every KFD node with io_links and files that hold what they should. 0, -ENODEV
 * without any card, or -EBADMSG. */
int rsmi_vet_tree(const char *sysfs_root);
