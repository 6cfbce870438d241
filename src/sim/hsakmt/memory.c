/* SPDX-License-Identifier: Apache-2.0 */
/* Memory as the cards reach it: an address is the same for the host and every card, pages come
 * into being when they are touched, and VRAM is counted against what the card has. */
#include "sim/hsakmt/memory.h"
#include "sim/hsakmt/arena.h"
#include "sim/hsakmt/vram.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

struct memory_tables memory_tables = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.allocated = {.disjoint = true},
};
static void *registers[HSAKMT_FIRST_CARD + SIM_MAX_CARDS];

bool memory_accessible(const void *address, uint64_t size)
{
	uintptr_t at = (uintptr_t)address, end = at + size;

	if (end < at)
		return false;
	(void)pthread_mutex_lock(&memory_tables.lock);
	while (at < end) {
		uintptr_t until = MAX(regions_covered_until(&memory_tables.allocated, at),
				      regions_covered_until(&memory_tables.registered, at));

		if (until == at)
			break;
		at = until;
	}
	(void)pthread_mutex_unlock(&memory_tables.lock);
	return at >= end;
}

bool memory_find(const void *address, void **ret_start, uint64_t *ret_size)
{
	const struct region *region;

	(void)pthread_mutex_lock(&memory_tables.lock);
	region = regions_find(&memory_tables.allocated, address);
	if (region) {
		*ret_start = region->start;
		*ret_size = region->size;
	}
	(void)pthread_mutex_unlock(&memory_tables.lock);
	return region != NULL;
}

void *memory_remapped_registers(uint32_t node)
{
	return registers[node];
}

/* ---- allocating ---- */

static bool is_vram(const struct region *region)
{
	return region->node != HSAKMT_CPU_NODE && region->type == HSA_POINTER_ALLOCATED &&
	       region->in_arena;
}

static int map_region(struct region *region, void *address)
{
	int r;

	if (region->flags.ui32.Scratch)
		return arena_map_scratch(region->size, &region->start);
	r = is_vram(region) ? vram_take(region->node, region->size) : 0;
	if (r < 0)
		return r;
	r = arena_map(address, region->size, &region->start, &region->arena_offset);
	if (r < 0 && is_vram(region))
		vram_give_back(region->node, region->size);
	return r;
}

/* The region has been taken out of the table. The lock is held. */
static void unmap_region(struct region *region)
{
	(void)munmap(region->start, region->size);
	if (region->in_arena && !region->exported)
		arena_punch(region->arena_offset, region->size);
	if (is_vram(region))
		vram_give_back(region->node, region->size);
	free(region);
}

static int allocate(uint32_t node, uint64_t size, HsaMemFlags flags, void **address)
{
	_cleanup_(freep) struct region *region = calloc(1, sizeof(*region));
	int r;

	if (!region)
		return -ENOMEM;
	*region = (struct region){
		.size = size,
		.type = HSA_POINTER_ALLOCATED,
		.node = node,
		.flags = flags,
		.in_arena = !flags.ui32.Scratch,
	};
	r = map_region(region, flags.ui32.FixedAddress ? *address : NULL);
	if (r < 0)
		return r;
	r = regions_add(&memory_tables.allocated, region);
	if (r < 0) {
		unmap_region(TAKE_PTR(region));
		return r;
	}
	*address = region->start;
	region = NULL;
	return 0;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtAllocMemory(HSAuint32 node, HSAuint64 size, HsaMemFlags flags,
					      void **address)
{
	HSAKMT_STATUS status = thunk_check();
	int r;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (node >= thunk_n_nodes())
		return HSAKMT_STATUS_INVALID_NODE_UNIT;
	if (!address || size == 0 || size % HSAKMT_PAGE ||
	    (flags.ui32.Scratch && node == HSAKMT_CPU_NODE) ||
	    (flags.ui32.FixedAddress && (!*address || (uintptr_t)*address % HSAKMT_PAGE)))
		return HSAKMT_STATUS_INVALID_PARAMETER;
	if (flags.ui32.GDSMemory)
		return HSAKMT_STATUS_NO_MEMORY;
	(void)pthread_mutex_lock(&memory_tables.lock);
	r = allocate(node, size, flags, address);
	(void)pthread_mutex_unlock(&memory_tables.lock);
	return thunk_status(r);
}

void memory_withdraw(const void *address, uint64_t size)
{
	for (uint32_t node = HSAKMT_FIRST_CARD; node < thunk_n_nodes(); node++)
		device_withdraw(thunk_device(node), address, size);
}

void memory_unmap(struct region *region)
{
	memory_withdraw(region->start, region->size);
	(void)pthread_mutex_lock(&memory_tables.lock);
	unmap_region(region);
	(void)pthread_mutex_unlock(&memory_tables.lock);
}

/* What was registered of an allocation goes with it. The lock is held. */
static void drop_registered(const struct region *gone)
{
	struct regions *registered = &memory_tables.registered;

	for (uint32_t i = registered->n; i-- > 0;) {
		struct region *region = registered->by_start[i];

		if ((uintptr_t)region->start - (uintptr_t)gone->start < gone->size)
			free(regions_remove(registered, region));
	}
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtFreeMemory(void *address, HSAuint64 size _unused_)
{
	HSAKMT_STATUS status = thunk_check();
	struct region *region;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	(void)pthread_mutex_lock(&memory_tables.lock);
	region = regions_find_start(&memory_tables.allocated, address);
	if (region && region->type != HSA_POINTER_ALLOCATED)
		region = NULL;
	if (region) {
		(void)regions_remove(&memory_tables.allocated, region);
		drop_registered(region);
	}
	(void)pthread_mutex_unlock(&memory_tables.lock);
	if (!region)
		return HSAKMT_STATUS_ERROR;
	memory_unmap(region);
	return HSAKMT_STATUS_SUCCESS;
}

/* ---- sharing between processes ---- */

int memory_export(void *address, uint64_t size, uint64_t *ret_offset, uint32_t *ret_node)
{
	struct region *region;
	int r = -EINVAL;

	(void)pthread_mutex_lock(&memory_tables.lock);
	region = regions_find_start(&memory_tables.allocated, address);
	if (region && region->type == HSA_POINTER_ALLOCATED && region->in_arena &&
	    region->size == size) {
		region->exported = true;
		*ret_offset = region->arena_offset;
		*ret_node = region->node;
		r = 0;
	}
	(void)pthread_mutex_unlock(&memory_tables.lock);
	return r;
}

/* The lock is held. */
static int import(int fd, uint32_t node, uint64_t offset, uint64_t size, void **ret)
{
	_cleanup_(freep) struct region *region = calloc(1, sizeof(*region));
	int r;

	if (!region)
		return -ENOMEM;
	*region = (struct region){
		.size = size,
		.type = HSA_POINTER_REGISTERED_SHARED,
		.node = node,
		.flags = {.ui32 = {.NonPaged = 1, .HostAccess = 1, .CoarseGrain = 1}},
	};
	r = arena_map_foreign(fd, offset, size, &region->start);
	if (r < 0)
		return r;
	r = regions_add(&memory_tables.allocated, region);
	if (r < 0) {
		(void)munmap(region->start, region->size);
		return r;
	}
	*ret = region->start;
	region = NULL;
	return 0;
}

int memory_import(int fd, uint32_t node, uint64_t offset, uint64_t size, void **ret)
{
	int r;

	(void)pthread_mutex_lock(&memory_tables.lock);
	r = import(fd, node, offset, size, ret);
	(void)pthread_mutex_unlock(&memory_tables.lock);
	return r;
}

/* ---- the part ---- */

/* Drops the tables, and with close also what they stand for. */
static void drop_all(void)
{
	regions_clear(&memory_tables.allocated);
	regions_clear(&memory_tables.registered);
	vram_forget();
	memset(registers, 0, sizeof(registers));
	arena_close();
}

static void memory_close(void)
{
	(void)pthread_mutex_lock(&memory_tables.lock);
	for (uint32_t i = 0; i < memory_tables.allocated.n; i++)
		(void)munmap(memory_tables.allocated.by_start[i]->start,
			     memory_tables.allocated.by_start[i]->size);
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++)
		if (registers[i])
			(void)munmap(registers[i], HSAKMT_PAGE);
	drop_all();
	(void)pthread_mutex_unlock(&memory_tables.lock);
}

static int memory_open(void)
{
	int r;

	r = arena_open();
	for (uint32_t node = HSAKMT_FIRST_CARD; r == 0 && node < thunk_n_nodes(); node++) {
		void *p = mmap(NULL, HSAKMT_PAGE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			r = -ENOMEM;
		else
			registers[node] = p;
	}
	if (r < 0)
		memory_close();
	return r;
}

static void memory_lock(void)
{
	(void)pthread_mutex_lock(&memory_tables.lock);
}

static void memory_unlock(void)
{
	(void)pthread_mutex_unlock(&memory_tables.lock);
}

const struct thunk_part memory_part = {
	.open = memory_open,
	.close = memory_close,
	.forget = drop_all,
	.lock = memory_lock,
	.unlock = memory_unlock,
};
