/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's connection to the actuator in its event loop: connects again when it is lost, and
 * matches replies to requests, each with a deadline. */
#pragma once

#include "actuator/protocol.h"
#include "base/macros.h"
#include <stdbool.h>
#include <systemd/sd-event.h>

#define LINK_MAX_CARDS 16

struct link;

/* A request's end: error 0 with its reply; -ETIMEDOUT, -ECONNRESET or another error of the
 * connection with reply NULL, -EOWNERDEAD if the actuator died while it served this very request.
 * An actuator's refusal is error 0 with reply->error. */
typedef void (*link_reply_fn)(void *userdata, int error, const struct actuator_reply *reply);

struct link_events {
	void *userdata;
	/* All cards, after link_ask_cards(). */
	void (*cards)(void *userdata, const struct actuator_card *cards, const char (*bdfs)[16],
		      uint32_t n);
	/* The cards could not be asked for, or the connection was lost: every claim made on it is
	 * void. Called after each of its requests has ended. */
	void (*down)(void *userdata, int error);
	/* fd has become (or, with up = false, is no longer) the connection: for the fd store. */
	void (*connection)(void *userdata, int fd, bool up);
};

/* path is copied; fd: a connection kept by the service manager, or -1. Connects at the first
 * link_ask_cards(). 0 or a negative errno. */
int link_new(sd_event *event, const char *path, int fd, const struct link_events *events,
	     struct link **ret);
/* Ends all requests without a word and hangs up. */
struct link *link_free(struct link *l);
DEFINE_CLEANUP(struct link *, link_free)

/* Connects if need be, and asks for all cards. Answered by ->cards or ->down, the latter at once
 * if there is no actuator. */
void link_ask_cards(struct link *l);
bool link_connected(const struct link *l);
/* Drops all requests with this userdata, whose owner ends: their replies find nobody. */
void link_forget(struct link *l, const void *userdata);
/* Sends a request; reply (NULL: nobody waits for it) is called exactly once, later, unless this
 * fails: -ENOTCONN, -EAGAIN (the socket is full or too many are under way), or an error of sending.
 */
int link_call(struct link *l, struct actuator_request *request, uint64_t timeout_ns,
	      link_reply_fn reply, void *userdata);
