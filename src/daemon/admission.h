/* SPDX-License-Identifier: Apache-2.0 */
/* Who may connect as a worker: limits on connections, and the HELLO against the configuration. */
#pragma once

#include "channel/channel.h"
#include "daemon/config.h"

#define ADMISSION_TEXT	   256
#define ADMISSION_REMEMBER 64

/* Connections there are. A stranger's user is allowed for no model: all that is left to it is to be
 * told so, for which it has a second. */
struct admission_counts {
	uint32_t all, strangers, of_uid;
};
/* Whether one more connection may be kept: 0, -EMFILE for too many in all, or of strangers, who
 * have a quarter of the room however many users they are; -EUSERS for too many of this user. */
int admission_limit(const struct config_daemon *d, const struct admission_counts *n, bool stranger);
bool admission_is_stranger(const struct config *c, uid_t uid);

/* Whether the peer may be a worker of the model that it names: 0, -ENOENT without a [model]
 * section, -EACCES if the user is not allowed; with what to add to the configuration. */
int admission_judge(const struct config *c, const struct channel_peer *peer,
		    const struct channel_hello *hello, char why[ADMISSION_TEXT]);

/* Users whose refusal has been logged; the oldest is forgotten when it is full. */
struct admission_log {
	uint32_t n, next;
	uid_t uids[ADMISSION_REMEMBER];
};
/* true the first time. */
bool admission_log_once(struct admission_log *l, uid_t uid);
