/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's side of the actuator's socket. Not thread-safe; one connection per object. */
#pragma once

#include "actuator/protocol.h"
#include "base/macros.h"

struct actuator_client;

/* Connects to the socket at path. The object owns its fd. 0 or a negative errno. */
int actuator_client_connect(const char *path, struct actuator_client **ret);
/* The same around a connection kept elsewhere (the service manager's fd store); takes fd over. */
int actuator_client_from_fd(int fd, struct actuator_client **ret);
struct actuator_client *actuator_client_free(struct actuator_client *c); /* hangs up */
DEFINE_CLEANUP(struct actuator_client *, actuator_client_free)
int actuator_client_fd(const struct actuator_client *c); /* non-blocking; poll for input */

/* Sends a request (magic, version and sequence are filled in) without waiting; *ret_sequence, if
 * not NULL, gets its sequence. -EAGAIN if the socket is full, -EPIPE after a hang-up. */
int actuator_client_send(struct actuator_client *c, struct actuator_request *request,
			 uint32_t *ret_sequence);
/* Takes one reply: 0, -EAGAIN if none waits, -ECONNRESET on a hang-up, -EPROTO on garbage. */
int actuator_client_receive(struct actuator_client *c, struct actuator_reply *ret);
/* Sends and waits for its reply (others that come first are dropped): the reply's error, or
 * -ETIMEDOUT, or an error of the connection. *ret is written in the first case, too. */
int actuator_client_call(struct actuator_client *c, struct actuator_request *request,
			 int timeout_ms, struct actuator_reply *ret);
/* All cards: their number, at most max, or a negative errno. */
int actuator_client_list(struct actuator_client *c, int timeout_ms, struct actuator_reply *ret,
			 uint32_t max);
