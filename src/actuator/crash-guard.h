/* SPDX-License-Identifier: Apache-2.0 */
/* Full range from a signal handler: should librocm_smi64 abort or crash this process, the cards
 * that were capped are set to auto before it dies. The next start restores the rest. */
#pragma once

#include "gpu/gpu.h"

/* From the moment of the first write to a card until it has been given back. guard takes an fd of
 * the card's performance level, from gpu_open_perf_level(), over; it returns a number for
 * crash_guard_remove(), which closes it, or -ENOSPC. */
int crash_guard_add(int perf_level_fd);
void crash_guard_remove(int number);

/* Installs the handlers of SIGABRT, SIGSEGV, SIGBUS, SIGFPE and SIGILL. They end the process by the
 * same signal. 0 or a negative errno. */
int crash_guard_install(void);
