/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that is there already: the program's own as the cards reach it, which cards a range is
 * mapped for, and what a pointer is. */
#include "sim/hsakmt/memory.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

/* The region that holds the address; what was allocated comes first. The lock is held. */
static struct region *find(const void *address)
{
	struct region *region = regions_find(&memory_tables.allocated, address);

	return region ? region : regions_find(&memory_tables.registered, address);
}

/* ---- registering ---- */

/* The card reaches whole pages. */
static int register_pages(void *address, uint64_t size, HsaMemFlags flags)
{
	_cleanup_(freep) struct region *region = NULL;
	struct region *same = regions_find_start(&memory_tables.registered, address);
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
	r = regions_add(&memory_tables.registered, region);
	if (r < 0)
		return r;
	region = NULL;
	return 0;
}

int memory_register(void *address, uint64_t size)
{
	int r;

	(void)pthread_mutex_lock(&memory_tables.lock);
	r = register_pages(address, size, (HsaMemFlags){0});
	(void)pthread_mutex_unlock(&memory_tables.lock);
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
	(void)pthread_mutex_lock(&memory_tables.lock);
	r = register_pages(address, size, flags);
	(void)pthread_mutex_unlock(&memory_tables.lock);
	return thunk_status(r);
}

/* *ret_last: what the cards reach no more, out of the tables; NULL if nothing went. The lock is
 * held. */
static HSAKMT_STATUS deregister(void *address, struct region **ret_last)
{
	struct region *region = regions_find_start(&memory_tables.registered, address);

	*ret_last = NULL;
	if (region) {
		if (--region->references == 0)
			*ret_last = regions_remove(&memory_tables.registered, region);
		return HSAKMT_STATUS_SUCCESS;
	}
	region = regions_find_start(&memory_tables.allocated, address);
	if (!region)
		return HSAKMT_STATUS_MEMORY_NOT_REGISTERED;
	if (region->type == HSA_POINTER_REGISTERED_SHARED)
		*ret_last = regions_remove(&memory_tables.allocated, region);
	return HSAKMT_STATUS_SUCCESS;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtDeregisterMemory(void *address)
{
	HSAKMT_STATUS status = thunk_check();
	struct region *last;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	(void)pthread_mutex_lock(&memory_tables.lock);
	status = deregister(address, &last);
	(void)pthread_mutex_unlock(&memory_tables.lock);
	if (!last)
		return status;
	if (last->type == HSA_POINTER_REGISTERED_SHARED) {
		memory_unmap(last);
	} else {
		/* The program may free it at once. */
		memory_withdraw(last->start, last->size);
		free(last);
	}
	return status;
}

/* ---- mapping ---- */

static HSAKMT_STATUS map_to(void *address, const HSAuint32 *nodes, uint64_t n)
{
	HSAKMT_STATUS status = HSAKMT_STATUS_SUCCESS;
	struct region *region;

	(void)pthread_mutex_lock(&memory_tables.lock);
	region = find(address);
	if (region) {
		memcpy(region->mapped, nodes, n * sizeof(*nodes));
		region->n_mapped = (uint32_t)n;
	} else {
		status = HSAKMT_STATUS_ERROR;
	}
	(void)pthread_mutex_unlock(&memory_tables.lock);
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
	(void)pthread_mutex_lock(&memory_tables.lock);
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
	(void)pthread_mutex_unlock(&memory_tables.lock);
	return status;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtSetMemoryUserData(const void *address, void *user_data)
{
	HSAKMT_STATUS status = thunk_check();
	struct region *region;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	(void)pthread_mutex_lock(&memory_tables.lock);
	region = find(address);
	if (region)
		region->user_data = user_data;
	else
		status = HSAKMT_STATUS_ERROR;
	(void)pthread_mutex_unlock(&memory_tables.lock);
	return status;
}
