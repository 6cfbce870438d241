/* SPDX-License-Identifier: Apache-2.0 */
/* The log of every write to a card's files: one line each, flushed at once, with tabs between
 *
 *   device ns, wall ns (CLOCK_MONOTONIC), card, file, writer's pid, 0 or the error's name, "text"
 */
#pragma once

#include "base/macros.h"
#include "sim/sim-card.h"
#include <stdint.h>
#include <sys/types.h>

struct write_log;

int write_log_open(const char *path, const struct sim_machine *machine, struct write_log **ret);
struct write_log *write_log_close(struct write_log *l);
DEFINE_CLEANUP(struct write_log *, write_log_close)

/* r: 0 or the negative errno that the writer got. */
void write_log_add(struct write_log *l, uint32_t card, const char *bdf, const char *file, pid_t pid,
		   int r, const char *text, size_t size);
/* Writes to a card so far, refused ones included. */
uint32_t write_log_count(struct write_log *l, uint32_t card);
