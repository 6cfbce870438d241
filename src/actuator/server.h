/* SPDX-License-Identifier: Apache-2.0 */
/* The actuator's socket: who may connect, which bytes are a request, and when something is due. */
#pragma once

#include "actuator/core.h"

#define SERVER_MAX_CONNECTIONS 16
#define SERVER_MAX_PEER_UIDS   16

struct server_config {
	struct actuator_core *core;
	int listen_fd;	    /* a listening SOCK_SEQPACKET socket; stays the caller's */
	int signal_fd;	    /* readable: stop */
	bool any_of_socket; /* whoever could open the socket is accepted */
	uint32_t n_uids;    /* accepted besides uid 0 and our own */
	uint32_t uids[SERVER_MAX_PEER_UIDS];
	uint64_t (*clock_ns)(void);
	/* Called after a turn of the loop that has come to its end, about so often (0: never). */
	uint64_t alive_ns;
	void (*alive)(void);
};

/* Serves until signal_fd is readable (returns 0) or the core is lost (-ECONNABORTED), or fails with
 * another negative errno. On return every connection has been shut down, so that peers see the
 * hang-up even if a thread of this process cannot die. Restores nothing. */
int server_run(const struct server_config *config);

/* Binds and listens at path. A socket that nobody listens on any more is replaced; -EADDRINUSE if
 * somebody does. */
int server_listen(const char *path, mode_t mode, int *ret_fd);

/* The socket that a service manager passed (sd_listen_fds(3)): its fd, -ENOENT if there is none,
 * -EINVAL if it is not one listening SOCK_SEQPACKET socket. */
int server_passed_socket(void);
