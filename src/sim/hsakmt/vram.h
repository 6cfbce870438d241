/* SPDX-License-Identifier: Apache-2.0 */
/* How much of its cards' memory the process holds, against what each card has. Not locked: memory.c
 * does that. */
#pragma once

#include <stdint.h>

/* Counts the bytes on the node's card; -ENOMEM, and nothing counted, if they are not there. */
int vram_take(uint32_t node, uint64_t bytes);
void vram_give_back(uint32_t node, uint64_t bytes);
/* Begins at nothing, without telling the cards. */
void vram_forget(void);
