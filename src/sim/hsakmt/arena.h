/* SPDX-License-Identifier: Apache-2.0 */
/* Where allocated memory lives: one memfd per process, so that any allocation can be handed to
 * another process by a descriptor, an offset and a size. The file is as good as endless and its
 * pages exist when they are touched; an offset is never given out twice, and what is freed is
 * punched out. What another process may hold is not: it lives on until both have ended. */
#pragma once

#include "base/macros.h"
#include <stdbool.h>
#include <stdint.h>

int arena_open(void);
void arena_close(void);
int arena_fd(void);

/* Maps fresh memory; size is a multiple of 4096. From 2 MiB up it is aligned to that, as the real
 * thunk has it. address: where, or NULL. 0, -ENOMEM, or -EEXIST if that address is taken. */
int arena_map(void *address, uint64_t size, void **ret, uint64_t *ret_offset);
/* Gives the pages back. */
void arena_punch(uint64_t offset, uint64_t size);

/* Scratch: private to the process, and larger than the host may have. */
int arena_map_scratch(uint64_t size, void **ret);
/* Maps a part of another process's arena, whose descriptor is checked: a file that the other side
 * could shorten would end in SIGBUS here. -EBADF for anything else than such an arena. */
int arena_map_foreign(int fd, uint64_t offset, uint64_t size, void **ret);
