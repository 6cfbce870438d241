/* SPDX-License-Identifier: Apache-2.0 */
/* The worker that a sweep measures, as a child process in a group of its own. */
#pragma once

#include "base/macros.h"
#include <stdint.h>
#include <sys/types.h>

enum worker_load {
	WORKER_CLOSED_LOOP,  /* always enough requests to keep it busy */
	WORKER_OPEN_LOOP,    /* Poisson arrivals */
	WORKER_IDLE_KERNELS, /* closed loop of empty kernels; cofris-worker alone can */
};

struct worker_command {
	const char *command; /* for sh, or NULL: cofris-worker beside this program */
	const char *model, *engine, *bdf;
	const char *socket_path;
	uint32_t workers;
	uint32_t in_flight; /* of a closed loop */
	double rate_rps;    /* of an open loop */
	uint64_t seed;
	enum worker_load load;
};

struct worker_process {
	pid_t pid; /* 0: none */
	int fd;	   /* pidfd: readable once the process has ended */
};
#define WORKER_PROCESS_INIT ((struct worker_process){.fd = -1})

/* Starts it. 0 or a negative errno. It dies with this process. */
int worker_process_start(const struct worker_command *c, struct worker_process *ret);
/* SIGTERM to its group, SIGKILL after timeout_ms; reaps it. Nothing to do without one. */
void worker_process_stop(struct worker_process *w, int timeout_ms);
/* Reaps a process that has ended by itself and says in text how. */
void worker_process_reap(struct worker_process *w, char *text, size_t size);
