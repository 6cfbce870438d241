/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/holds.h"
#include <errno.h>
#include <string.h>

static const char *const level_names[HOLD_LEVELS] = {
	[HOLD_RATED] = "rated",
	[HOLD_FULL_SPEED] = "full-speed",
	[HOLD_PAUSE] = NULL,
};

const char *hold_level_name(enum hold_level level)
{
	return (unsigned int)level < HOLD_LEVELS && level_names[level] ? level_names[level]
								       : "pause";
}

int hold_level_from_name(const char *name, enum hold_level *ret)
{
	for (size_t i = 0; i < HOLD_LEVELS; i++)
		if (level_names[i] && strcmp(level_names[i], name) == 0) {
			*ret = (enum hold_level)i;
			return 0;
		}
	return -EINVAL;
}

/* --- reasons -------------------------------------------------------------------------------- */

/* One character of UTF-8, by the Unicode standard's table 3-7: its length, or 0 if it is none. */
static size_t take_character(const unsigned char *s, uint32_t *ret)
{
	static const struct {
		unsigned char first, last, mask;
		size_t length;
		uint32_t least;
	} forms[] = {
		{0x01, 0x7f, 0x7f, 1, 0},
		{0xc2, 0xdf, 0x1f, 2, 0x80},
		{0xe0, 0xef, 0x0f, 3, 0x800},
		{0xf0, 0xf4, 0x07, 4, 0x10000},
	};

	for (size_t f = 0; f < ARRAY_SIZE(forms); f++) {
		uint32_t c = s[0] & forms[f].mask;

		if (s[0] < forms[f].first || s[0] > forms[f].last)
			continue;
		for (size_t i = 1; i < forms[f].length; i++) {
			if ((s[i] & 0xc0) != 0x80)
				return 0;
			c = c << 6 | (s[i] & 0x3fu);
		}
		if (c < forms[f].least || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return 0;
		*ret = c;
		return forms[f].length;
	}
	return 0;
}

static bool is_shown(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} hidden[] = {
		{0, 0x1f},	  {0x7f, 0x9f},	    /* controls */
		{0x200e, 0x200f}, {0x2028, 0x202e}, /* ends of lines, directions of writing */
		{0x2066, 0x2069}, {0xfeff, 0xfeff},
	};

	for (size_t i = 0; i < ARRAY_SIZE(hidden); i++)
		if (c >= hidden[i].first && c <= hidden[i].last)
			return false;
	return true;
}

bool hold_reason_is_valid(const char *reason)
{
	const unsigned char *s = (const unsigned char *)reason;

	if (strnlen(reason, HOLD_REASON_MAX + 1) > HOLD_REASON_MAX)
		return false;
	while (*s != '\0') {
		uint32_t c = 0;
		size_t length = take_character(s, &c);

		if (length == 0 || !is_shown(c))
			return false;
		s += length;
	}
	return true;
}

/* --- the list ------------------------------------------------------------------------------- */

struct hold *holds_find(struct holds *holds, uint32_t cookie)
{
	for (uint32_t i = 0; i < holds->n; i++)
		if (holds->entries[i].cookie == cookie)
			return &holds->entries[i];
	return NULL;
}

static uint32_t next_cookie(struct holds *holds)
{
	do
		holds->last_cookie++;
	while (holds->last_cookie == 0 || holds_find(holds, holds->last_cookie));
	return holds->last_cookie;
}

int holds_add(struct holds *holds, const struct hold *h, struct hold **ret)
{
	uint32_t of_uid = 0;
	struct hold *entry;

	for (uint32_t i = 0; i < holds->n; i++)
		of_uid += holds->entries[i].uid == h->uid;
	if (of_uid >= HOLDS_MAX_PER_UID)
		return -EUSERS;
	if (holds->n >= HOLDS_MAX)
		return -ENOSPC;
	entry = &holds->entries[holds->n];
	*entry = *h;
	entry->cookie = next_cookie(holds);
	holds->n++;
	*ret = entry;
	return 0;
}

bool holds_remove(struct holds *holds, uint32_t cookie)
{
	struct hold *h = holds_find(holds, cookie);

	if (!h)
		return false;
	holds->n--;
	(void)memmove(h, h + 1, (size_t)(&holds->entries[holds->n] - h) * sizeof(*h));
	return true;
}

bool holds_any(const struct holds *holds, enum hold_level level, const char *subject)
{
	for (uint32_t i = 0; i < holds->n; i++) {
		const struct hold *h = &holds->entries[i];

		if (h->level == level &&
		    (strcmp(h->subject, "*") == 0 || strcmp(h->subject, subject) == 0))
			return true;
	}
	return false;
}

struct hold *holds_expired(struct holds *holds, uint64_t now_usec)
{
	for (uint32_t i = 0; i < holds->n; i++)
		if (holds->entries[i].until_usec > 0 && holds->entries[i].until_usec <= now_usec)
			return &holds->entries[i];
	return NULL;
}
