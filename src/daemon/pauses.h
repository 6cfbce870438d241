/* SPDX-License-Identifier: Apache-2.0 */
/* Pauses that outlive who ordered them, the daemon and the machine's boot: at most one for each
 * card and one for all, kept in a small text file.
 *
 *	cofris-pauses 1
 *	0000:43:00.0 1000 1790000000000000 1790007200000000 moving the card
 *
 * with the card's address or "*", the user, since and until when (us of CLOCK_REALTIME; until 0:
 * no end), and the reason. The file is not believed: what is not exactly so is refused whole. */
#pragma once

#include "daemon/holds.h"

#define PAUSES_MAX	 64
#define PAUSES_BYTES_MAX (PAUSES_MAX * (HOLD_REASON_MAX + 80) + 64)

struct pause {
	char gpu[PCI_BDF_LENGTH + 1]; /* "*": every card */
	uid_t uid;
	uint64_t since_usec, until_usec; /* CLOCK_REALTIME; until 0: no end */
	char reason[HOLD_REASON_MAX + 1];
};

struct pauses {
	uint32_t n;
	struct pause entries[PAUSES_MAX];
};

/* Instead of an earlier one of the same card. 0 or -ENOSPC. */
int pauses_add(struct pauses *p, const struct pause *pause);
/* Those of the card of exactly this name, or all ("*"); how many there were. */
uint32_t pauses_remove(struct pauses *p, const char *gpu);
/* Drops those whose time is over; how many there were. */
uint32_t pauses_expire(struct pauses *p, uint64_t now_usec);
/* The one that holds for a card, by its address or by "*"; or NULL. */
const struct pause *pauses_find(const struct pauses *p, const char *bdf);

/* -EBADMSG with *ret_line for what is no such text (1 is the first line). text is cut into pieces.
 */
int pauses_parse(char *text, struct pauses *ret, uint32_t *ret_line);
/* A file that is not there holds none. -EBADMSG: *ret_line has the line; -EFBIG, -ELOOP or -EINVAL
 * for what is no small plain file; or another negative errno. */
int pauses_load(const char *path, struct pauses *ret, uint32_t *ret_line);
/* Replaces the file at once or not at all, and makes its folder if need be. 0 or a negative errno.
 */
int pauses_save(const char *path, const struct pauses *p);
