/* SPDX-License-Identifier: Apache-2.0 */
/* What the hsaKmt* functions share: the machine and its cards as the process has them open. */
#pragma once

#include "sim/hsakmt/hsakmt.h"

#define HSAKMT_PAGE	  UINT64_C(4096)
#define HSAKMT_HUGE_PAGE  (UINT64_C(2) << 20)
#define HSAKMT_CPU_NODE	  0
#define HSAKMT_FIRST_CARD 1 /* node of card 0 */

/* SUCCESS, or KERNEL_IO_CHANNEL_NOT_OPENED: before hsaKmtOpenKFD(), and in a forked child, whose
 * parent's card is not its own. To be asked before anything else is touched. */
HSAKMT_STATUS thunk_check(void);
HSAKMT_STATUS thunk_status(int r);

/* Both are fixed while open. */
struct sim_machine *thunk_machine(void);
uint32_t thunk_n_nodes(void);
/* The card of a node; NULL for the CPU's and for unknown ones. */
struct device *thunk_device(uint32_t node);
struct sim_card *thunk_card(uint32_t node);

/* Each part's beginning and end. lock, unlock: around fork(). forget: in a forked child that opens
 * the driver anew; what the parent had is dropped without being touched. */
struct thunk_part {
	int (*open)(void);
	void (*close)(void);
	void (*forget)(void);
	void (*lock)(void);
	void (*unlock)(void);
};
extern const struct thunk_part memory_part, events_part, queues_part, fault_watch_part;

/* ---- memory.c ---- */

/* The page of a card's registers that the host may write (HDP flush), as the driver maps it. */
void *memory_remapped_registers(uint32_t node);
/* Makes what the thunk itself has allocated reachable for the cards until memory ends. 0, or
 * -ENOMEM. */
int memory_register(void *address, uint64_t size);

/* Where an allocation lies in the arena, which from now on is not given back before both processes
 * end. size is the whole allocation's, else -EINVAL. */
int memory_export(void *address, uint64_t size, uint64_t *ret_offset, uint32_t *ret_node);
/* Maps what another process has exported from the arena fd. */
int memory_import(int fd, uint32_t node, uint64_t offset, uint64_t size, void **ret);

/* ---- queues.c ---- */

/* Queues of the process on the card of this node. */
uint32_t queues_on(uint32_t node);
