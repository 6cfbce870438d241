/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the channel's server side share. */
#pragma once

#include "channel/channel.h"

enum channel_state {
	CHANNEL_STATE_CONNECTED, /* the HELLO has not come yet */
	CHANNEL_STATE_GREETED,	 /* it has, the caller is to judge it */
	CHANNEL_STATE_WELCOMED,
};

struct channel_connection {
	int fd;
	int wake_fd;
	enum channel_state state;
	struct channel_peer peer;
	uint64_t accepted_ns;
	struct channel_hello hello;
	char why[160];

	/* The daemon's page and the worker's first are mapped writable, the rest read-only. */
	struct channel_memory *memory;
	uint64_t beat;
	uint64_t directive_sequence;
	uint64_t directive_epoch; /* the newest sent */

	/* What no later sample may fall behind. */
	struct channel_sample last;
	uint64_t last_counts[CHANNEL_SERIES][CHANNEL_BANKS];
};

/* Checks a received message of n bytes as a HELLO, field by field. Returns 0, or -EPROTO or
 * -EPROTONOSUPPORT with a text in why that quotes nothing of the message. */
int channel_hello_parse(const void *message, size_t n, struct channel_hello *ret, char *why,
			size_t why_size);
