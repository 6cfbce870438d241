/* SPDX-License-Identifier: Apache-2.0 */
/* What operators have ordered for as long as they are there: full speed or the rated rate for a
 * model, or a card left alone. Pure bookkeeping: who has vanished, and what time it is, is told.
 * Pauses that outlive their operator are another matter (pauses.h). */
#pragma once

#include "base/macros.h"
#include "base/parse.h"
#include <stdbool.h>
#include <sys/types.h>

#define HOLDS_MAX	  256
#define HOLDS_MAX_PER_UID 64
#define HOLD_REASON_MAX	  200 /* bytes */
#define HOLD_OWNER_MAX	  255 /* a name on the bus */

enum hold_level {
	HOLD_RATED,	 /* the model counts with its rated rate */
	HOLD_FULL_SPEED, /* every card that the model has a worker on */
	HOLD_PAUSE,	 /* the card is as found */
	HOLD_LEVELS,
};
/* As on the bus; the pause has no name there. */
const char *hold_level_name(enum hold_level level);
/* 0 or -EINVAL. */
int hold_level_from_name(const char *name, enum hold_level *ret);

struct hold {
	uint32_t cookie; /* never 0 */
	enum hold_level level;
	char subject[MODEL_NAME_MAX + 1]; /* a model, or a card's address; "*": every one */
	char reason[HOLD_REASON_MAX + 1];
	uint64_t since_ns;   /* CLOCK_MONOTONIC */
	uint64_t until_usec; /* CLOCK_REALTIME; 0: no end but its owner's */
	char owner[HOLD_OWNER_MAX + 1];
	uid_t uid;
	pid_t pid;
	char comm[16];
	void *track; /* the owner's business */
};

struct holds {
	uint32_t n, last_cookie;
	struct hold entries[HOLDS_MAX]; /* oldest first */
};

/* Whether a reason may be shown to people: at most HOLD_REASON_MAX bytes of UTF-8 without anything
 * that steers a terminal or turns the direction of writing. */
bool hold_reason_is_valid(const char *reason);

/* Takes a copy of what h says, with a cookie of its own. 0; -EUSERS (too many of this user) or
 * -ENOSPC (of all). *ret is valid until the next change. */
int holds_add(struct holds *holds, const struct hold *h, struct hold **ret);
struct hold *holds_find(struct holds *holds, uint32_t cookie);
/* false if there is no such. */
bool holds_remove(struct holds *holds, uint32_t cookie);

/* Whether anything of this level stands for the subject, by its name or by "*". */
bool holds_any(const struct holds *holds, enum hold_level level, const char *subject);
/* One whose time is over; or NULL. */
struct hold *holds_expired(struct holds *holds, uint64_t now_usec);
