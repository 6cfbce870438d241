/* SPDX-License-Identifier: Apache-2.0 */
/* Memory as the cards reach it: an address is the same for the host and every card, pages come
 * into being when they are touched, and VRAM is counted against what the card has. */
#include "sim/hsakmt/arena.h"
#include "sim/hsakmt/regions.h"
#include "sim/hsakmt/thunk.h"
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

static struct {
	pthread_mutex_t lock;
	struct regions allocated;  /* and imported */
	struct regions registered; /* of the program's own memory; may overlap */
	uint64_t vram_bytes[HSAKMT_FIRST_CARD + SIM_MAX_CARDS]; /* by node */
	void *registers[HSAKMT_FIRST_CARD + SIM_MAX_CARDS];
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .allocated = {.disjoint = true}};

/* The region that holds the address; what was allocated comes first. The lock is held. */
static struct region *find(const void *address)
{
	struct region *region = regions_find(&all.allocated, address);

	return region ? region : regions_find(&all.registered, address);
}

bool memory_accessible(const void *address, uint64_t size)
{
	uintptr_t at = (uintptr_t)address, end = at + size;

	if (end < at)
		return false;
	(void)pthread_mutex_lock(&all.lock);
	while (at < end) {
		uintptr_t until = MAX(regions_covered_until(&all.allocated, at),
				      regions_covered_until(&all.registered, at));

		if (until == at)
			break;
		at = until;
	}
	(void)pthread_mutex_unlock(&all.lock);
	return at >= end;
}

bool memory_find(const void *address, void **ret_start, uint64_t *ret_size)
{
	const struct region *region;

	(void)pthread_mutex_lock(&all.lock);
	region = regions_find(&all.allocated, address);
	if (region) {
		*ret_start = region->start;
		*ret_size = region->size;
	}
	(void)pthread_mutex_unlock(&all.lock);
	return region != NULL;
}

void *memory_remapped_registers(uint32_t node)
{
	return all.registers[node];
}

/* ---- VRAM ---- */

static bool is_vram(const struct region *region)
{
	return region->node != HSAKMT_CPU_NODE && region->type == HSA_POINTER_ALLOCATED &&
	       region->in_arena;
}

static void give_back_vram(const struct region *region)
{
	if (!is_vram(region))
		return;
	all.vram_bytes[region->node] -= region->size;
	device_set_vram(thunk_device(region->node), all.vram_bytes[region->node]);
}

/* Says first what the process would hold and looks at the sum over all of them then, so that two
 * processes never get the same bytes. */
static int take_vram(const struct region *region)
{
	struct device *d = thunk_device(region->node);
	struct sim_card *card = thunk_card(region->node);
	uint64_t total, limit;

	if (!is_vram(region))
		return 0;
	total = device_profile(d)->vram_bytes;
	limit = atomic_load(&card->vram_limit_bytes);
	if (limit > 0)
		total = MIN(total, limit);
	if (region->size > total)
		return -ENOMEM;
	all.vram_bytes[region->node] += region->size;
	device_set_vram(d, all.vram_bytes[region->node]);
	if (sim_card_vram_bytes(card) <= total)
		return 0;
	give_back_vram(region);
	return -ENOMEM;
}

/* ---- allocating ---- */

static int map_region(struct region *region, void *address)
{
	int r;

	if (region->flags.ui32.Scratch)
		return arena_map_scratch(region->size, &region->start);
	r = take_vram(region);
	if (r < 0)
		return r;
	r = arena_map(address, region->size, &region->start, &region->arena_offset);
	if (r < 0)
		give_back_vram(region);
	return r;
}

/* The region has been taken out of the table. */
static void unmap_region(struct region *region)
{
	(void)munmap(region->start, region->size);
	if (region->in_arena && !region->exported)
		arena_punch(region->arena_offset, region->size);
	give_back_vram(region);
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
	r = regions_add(&all.allocated, region);
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
	(void)pthread_mutex_lock(&all.lock);
	r = allocate(node, size, flags, address);
	(void)pthread_mutex_unlock(&all.lock);
	return thunk_status(r);
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtFreeMemory(void *address, HSAuint64 size _unused_)
{
	HSAKMT_STATUS status = thunk_check();
	struct region *region;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	(void)pthread_mutex_lock(&all.lock);
	region = regions_find_start(&all.allocated, address);
	if (region && region->type == HSA_POINTER_ALLOCATED)
		unmap_region(regions_remove(&all.allocated, region));
	else
		status = HSAKMT_STATUS_ERROR;
	(void)pthread_mutex_unlock(&all.lock);
	return status;
}

/* ---- registering ---- */

/* The card reaches whole pages. */
static int register_pages(void *address, uint64_t size, HsaMemFlags flags)
{
	_cleanup_(freep) struct region *region = NULL;
	struct region *same = regions_find_start(&all.registered, address);
	int r;

	if (same && same->size == size) {
		same->references++;
		return 0;
	}
	region = calloc(1, sizeof(*region));
	if (!region)
		return -ENOMEM;
	*region = (struct region){
		.start = address,
		.size = size,
		.type = HSA_POINTER_REGISTERED_USER,
		.flags = flags,
		.references = 1,
	};
	r = regions_add(&all.registered, region);
	if (r < 0)
		return r;
	region = NULL;
	return 0;
}

int memory_register(void *address, uint64_t size)
{
	int r;

	(void)pthread_mutex_lock(&all.lock);
	r = register_pages(address, size, (HsaMemFlags){0});
	(void)pthread_mutex_unlock(&all.lock);
	return r;
}

/* Whether something is mapped everywhere there: the driver takes hold of the pages. */
static bool is_mapped(const void *address, uint64_t size)
{
	uintptr_t first = (uintptr_t)address & ~(HSAKMT_PAGE - 1);
	uintptr_t end = (uintptr_t)address + size;

	return end > (uintptr_t)address && msync((void *)first, end - first, MS_ASYNC) == 0;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtRegisterMemoryWithFlags(void *address, HSAuint64 size,
							  HsaMemFlags flags)
{
	HSAKMT_STATUS status = thunk_check();
	int r;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (!address || size == 0)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	if (!is_mapped(address, size))
		return HSAKMT_STATUS_ERROR;
	(void)pthread_mutex_lock(&all.lock);
	r = register_pages(address, size, flags);
	(void)pthread_mutex_unlock(&all.lock);
	return thunk_status(r);
}

/* The lock is held. */
static HSAKMT_STATUS deregister(void *address)
{
	struct region *region = regions_find_start(&all.registered, address);

	if (region) {
		if (--region->references == 0)
			free(regions_remove(&all.registered, region));
		return HSAKMT_STATUS_SUCCESS;
	}
	region = regions_find_start(&all.allocated, address);
	if (!region)
		return HSAKMT_STATUS_MEMORY_NOT_REGISTERED;
	if (region->type == HSA_POINTER_REGISTERED_SHARED)
		unmap_region(regions_remove(&all.allocated, region));
	return HSAKMT_STATUS_SUCCESS;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtDeregisterMemory(void *address)
{
	HSAKMT_STATUS status = thunk_check();

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	(void)pthread_mutex_lock(&all.lock);
	status = deregister(address);
	(void)pthread_mutex_unlock(&all.lock);
	return status;
}

/* ---- mapping ---- */

static HSAKMT_STATUS map_to(void *address, const HSAuint32 *nodes, uint64_t n)
{
	HSAKMT_STATUS status = HSAKMT_STATUS_SUCCESS;
	struct region *region;

	(void)pthread_mutex_lock(&all.lock);
	region = find(address);
	if (region) {
		memcpy(region->mapped, nodes, n * sizeof(*nodes));
		region->n_mapped = (uint32_t)n;
	} else {
		status = HSAKMT_STATUS_ERROR;
	}
	(void)pthread_mutex_unlock(&all.lock);
	return status;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtMapMemoryToGPUNodes(void *address, HSAuint64 size _unused_,
						      HSAuint64 *alternate_va,
						      HsaMemMapFlags flags _unused_, HSAuint64 n,
						      HSAuint32 *nodes)
{
	HSAKMT_STATUS status = thunk_check();

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (n == 0 || n > SIM_MAX_CARDS || !nodes)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	for (uint64_t i = 0; i < n; i++)
		if (!thunk_device(nodes[i]))
			return HSAKMT_STATUS_INVALID_NODE_UNIT;
	if (alternate_va)
		*alternate_va = 0;
	return map_to(address, nodes, n);
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtMapMemoryToGPU(void *address, HSAuint64 size _unused_,
						 HSAuint64 *alternate_va)
{
	HSAKMT_STATUS status = thunk_check();
	HSAuint32 nodes[SIM_MAX_CARDS];
	uint32_t n;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	for (n = 0; HSAKMT_FIRST_CARD + n < thunk_n_nodes(); n++)
		nodes[n] = HSAKMT_FIRST_CARD + n;
	if (alternate_va)
		*alternate_va = 0;
	return map_to(address, nodes, n);
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtUnmapMemoryToGPU(void *address)
{
	HSAKMT_STATUS status = thunk_check();

	return status == HSAKMT_STATUS_SUCCESS ? map_to(address, (HSAuint32[]){0}, 0) : status;
}

/* ---- asking ---- */

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtQueryPointerInfo(const void *address, HsaPointerInfo *info)
{
	HSAKMT_STATUS status = thunk_check();
	const struct region *region;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (!address || !info)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	*info = (HsaPointerInfo){.Type = HSA_POINTER_UNKNOWN};
	(void)pthread_mutex_lock(&all.lock);
	region = find(address);
	if (region)
		*info = (HsaPointerInfo){
			.Type = region->type,
			.Node = region->node,
			.MemFlags = region->flags,
			.CPUAddress = region->start,
			.GPUAddress = (uintptr_t)region->start,
			.SizeInBytes = region->size,
			.NMappedNodes = region->n_mapped,
			/* Valid as long as the region, as the real thunk's are. */
			.MappedNodes = region->mapped,
			.UserData = region->user_data,
		};
	else
		status = HSAKMT_STATUS_ERROR;
	(void)pthread_mutex_unlock(&all.lock);
	return status;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtSetMemoryUserData(const void *address, void *user_data)
{
	HSAKMT_STATUS status = thunk_check();
	struct region *region;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	(void)pthread_mutex_lock(&all.lock);
	region = find(address);
	if (region)
		region->user_data = user_data;
	else
		status = HSAKMT_STATUS_ERROR;
	(void)pthread_mutex_unlock(&all.lock);
	return status;
}

/* ---- sharing between processes ---- */

int memory_export(void *address, uint64_t size, uint64_t *ret_offset, uint32_t *ret_node)
{
	struct region *region;
	int r = -EINVAL;

	(void)pthread_mutex_lock(&all.lock);
	region = regions_find_start(&all.allocated, address);
	if (region && region->type == HSA_POINTER_ALLOCATED && region->in_arena &&
	    region->size == size) {
		region->exported = true;
		*ret_offset = region->arena_offset;
		*ret_node = region->node;
		r = 0;
	}
	(void)pthread_mutex_unlock(&all.lock);
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
	r = regions_add(&all.allocated, region);
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

	(void)pthread_mutex_lock(&all.lock);
	r = import(fd, node, offset, size, ret);
	(void)pthread_mutex_unlock(&all.lock);
	return r;
}

/* ---- the part ---- */

/* Drops the tables, and with close also what they stand for. */
static void drop_all(void)
{
	regions_clear(&all.allocated);
	regions_clear(&all.registered);
	memset(all.vram_bytes, 0, sizeof(all.vram_bytes));
	memset(all.registers, 0, sizeof(all.registers));
	arena_close();
}

static void memory_close(void)
{
	(void)pthread_mutex_lock(&all.lock);
	for (uint32_t i = 0; i < all.allocated.n; i++)
		(void)munmap(all.allocated.by_start[i]->start, all.allocated.by_start[i]->size);
	for (size_t i = 0; i < ARRAY_SIZE(all.registers); i++)
		if (all.registers[i])
			(void)munmap(all.registers[i], HSAKMT_PAGE);
	drop_all();
	(void)pthread_mutex_unlock(&all.lock);
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
			all.registers[node] = p;
	}
	if (r < 0)
		memory_close();
	return r;
}

static void memory_lock(void)
{
	(void)pthread_mutex_lock(&all.lock);
}

static void memory_unlock(void)
{
	(void)pthread_mutex_unlock(&all.lock);
}

const struct thunk_part memory_part = {
	.open = memory_open,
	.close = memory_close,
	.forget = drop_all,
	.lock = memory_lock,
	.unlock = memory_unlock,
};
