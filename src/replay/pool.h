/* SPDX-License-Identifier: Apache-2.0 */
/* Independent jobs on a few threads. Which thread does which job is open; a job must write nothing
 * but what is its own, and so the results do not depend on it. */
#pragma once

#include <stdint.h>

/* Jobs 0 .. n - 1, begun in this order. Returns 0, or the error of the first job (by number) that
 * failed; none is begun once one has. Threads that cannot be had are done without. */
int pool_run(uint32_t threads, uint32_t n, int (*job)(void *userdata, uint32_t i), void *userdata);
/* Cores that this process may use. */
uint32_t pool_cores(void);
