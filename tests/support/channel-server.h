/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's side of a channel, for tests of what connects to it, and waiting. */
#pragma once

#include "base/macros.h"
#include "base/units.h"
#include "channel/channel.h"
#include "support/cmocka-includes.h"
#include <poll.h>
#include <time.h>

/* For things that take milliseconds: long, as the machine may be busy. */
#define DEADLINE_NS (20 * NSEC_PER_SEC)

static inline uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Evaluates condition about every millisecond until it holds; fails after the deadline. */
#define WAIT_UNTIL(condition)                                                                      \
	do {                                                                                       \
		uint64_t wait_until_ = now_ns() + DEADLINE_NS;                                     \
		while (!(condition)) {                                                             \
			if (now_ns() > wait_until_)                                                \
				fail_msg("not in time: %s", #condition);                           \
			poll(NULL, 0, 1);                                                          \
		}                                                                                  \
	} while (0)

/* Accepts one connection and its HELLO (ret_hello may be NULL); the caller owns the result. */
static inline struct channel_connection *accept_hello(int listen_fd,
						      struct channel_hello *ret_hello)
{
	struct channel_connection *c = NULL;
	const struct channel_hello *hello;
	const char *why = "";
	int r = 0;

	WAIT_UNTIL(channel_accept(listen_fd, now_ns(), &c) == 0);
	WAIT_UNTIL((r = channel_connection_receive(c, &hello, &why)) != 0);
	if (r != 1)
		fail_msg("receive: %d %s", r, why);
	if (ret_hello)
		*ret_hello = *hello;
	return c;
}

static inline struct channel_sample sample_of(struct channel_connection *c)
{
	struct channel_sample s;

	assert_int_equal(channel_connection_sample(c, &s), 0);
	return s;
}
