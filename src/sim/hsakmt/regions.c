/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/hsakmt/regions.h"
#include <errno.h>
#include <string.h>

/* The first index whose region begins behind the address. */
static uint32_t index_behind(const struct regions *r, uintptr_t address)
{
	uint32_t low = 0, high = r->n;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if ((uintptr_t)r->by_start[middle]->start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool holds(const struct region *region, uintptr_t address)
{
	return address - (uintptr_t)region->start < region->size;
}

int regions_add(struct regions *r, struct region *region)
{
	uint32_t at = index_behind(r, (uintptr_t)region->start);

	if (r->n == r->room) {
		uint32_t room = MAX(2 * r->room, 64u);
		struct region **larger = reallocarray(r->by_start, room, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		r->by_start = larger;
		r->room = room;
	}
	memmove(r->by_start + at + 1, r->by_start + at, (r->n - at) * sizeof(*r->by_start));
	r->by_start[at] = region;
	r->n++;
	return 0;
}

struct region *regions_remove(struct regions *r, struct region *region)
{
	uint32_t at = index_behind(r, (uintptr_t)region->start);

	while (at > 0 && r->by_start[at - 1] != region)
		at--;
	if (at == 0)
		return NULL;
	memmove(r->by_start + at - 1, r->by_start + at, (r->n - at) * sizeof(*r->by_start));
	r->n--;
	return region;
}

/* Regions that overlap are those which programs register, and few: the search goes back from the
 * last one that begins in time. */
struct region *regions_find(const struct regions *r, const void *address)
{
	for (uint32_t i = index_behind(r, (uintptr_t)address); i-- > 0;) {
		if (holds(r->by_start[i], (uintptr_t)address))
			return r->by_start[i];
		if (r->disjoint)
			break;
	}
	return NULL;
}

struct region *regions_find_start(const struct regions *r, const void *start)
{
	uint32_t i = index_behind(r, (uintptr_t)start);

	return i > 0 && r->by_start[i - 1]->start == start ? r->by_start[i - 1] : NULL;
}

uintptr_t regions_covered_until(const struct regions *r, uintptr_t address)
{
	const struct region *region = regions_find(r, (const void *)address);

	return region ? (uintptr_t)region->start + region->size : address;
}

void regions_clear(struct regions *r)
{
	for (uint32_t i = 0; i < r->n; i++)
		free(r->by_start[i]);
	free(r->by_start);
	*r = (struct regions){.disjoint = r->disjoint};
}
