/* SPDX-License-Identifier: Apache-2.0 */
/* One thread for all calls that may block in the driver or in librocm_smi64, with a deadline. A
 * thread that misses it may sit in D state, so it is neither joined nor used again: its owner has
 * to end the process. */
#pragma once

#include "base/macros.h"

struct io_thread;

int io_thread_new(struct io_thread **ret);
/* Joins the thread, unless a job of it is still running: then all of it stays until that ends. */
struct io_thread *io_thread_free(struct io_thread *t);
DEFINE_CLEANUP(struct io_thread *, io_thread_free)

/* Runs job(data) on the thread and waits for its end. -ETIMEDOUT if it takes longer; data then
 * belongs to the thread, and every further call is -ETIMEDOUT at once. */
int io_thread_run(struct io_thread *t, void (*job)(void *data), void *data, uint32_t deadline_ms);
