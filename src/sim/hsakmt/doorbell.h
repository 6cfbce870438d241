/* SPDX-License-Identifier: Apache-2.0 */
/* The page of doorbells of a device, and how a process is noticed that rings one. While work comes
 * the page is looked at. When none has come for a while, it is write-protected by userfaultfd, and
 * the next ring traps and wakes the device's thread; this costs the one who rings some 0.1 ms, once
 * per pause. Where userfaultfd is not permitted the device takes naps. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define DOORBELLS_MAX 512 /* a page */

struct doorbells {
	volatile uint64_t *page;
	uint64_t taken[DOORBELLS_MAX / 64];
	int uffd; /* -1: naps */
};

int doorbells_open(struct doorbells *d);
void doorbells_close(struct doorbells *d);
/* -ENOSPC, or the index of a doorbell that nobody has. */
int doorbells_take(struct doorbells *d);
void doorbells_give(struct doorbells *d, uint32_t index);
/* The next write raises POLLIN on d->uffd and waits for doorbells_disarm(). -ENOSYS if this cannot
 * be had. */
int doorbells_arm(struct doorbells *d);
void doorbells_disarm(struct doorbells *d);
