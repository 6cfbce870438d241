/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that two processes have. A handle names the arena of the process that allocated it, as a
 * descriptor of that process, and what part of it; to open it needs what tracing that process would
 * need (the same user). A handle comes from outside and may say anything. */
#include "sim/hsakmt/arena.h"
#include "sim/hsakmt/thunk.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define HANDLE_MAGIC UINT32_C(0x63666d68)

struct handle {
	uint32_t magic;
	int32_t pid, fd;
	uint32_t node;
	uint64_t offset, size;
};
_Static_assert(sizeof(struct handle) == sizeof(HsaSharedMemoryHandle), "a handle's bytes");

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtShareMemory(void *address, HSAuint64 size,
					      HsaSharedMemoryHandle *ret)
{
	HSAKMT_STATUS status = thunk_check();
	struct handle h = {.magic = HANDLE_MAGIC, .pid = getpid(), .size = size};
	int r;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (!address || !ret)
		return HSAKMT_STATUS_INVALID_PARAMETER;
	r = memory_export(address, size, &h.offset, &h.node);
	if (r < 0)
		return thunk_status(r);
	h.fd = arena_fd();
	memcpy(ret, &h, sizeof(h));
	return HSAKMT_STATUS_SUCCESS;
}

static int open_foreign(const struct handle *h)
{
	char path[64];
	int fd;

	if (h->magic != HANDLE_MAGIC || h->pid <= 0 || h->fd < 0 || h->node >= thunk_n_nodes())
		return -EBADF;
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", h->pid, h->fd);
	/* Whatever it turns out to be, opening it must neither wait nor take a terminal. */
	fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	return fd < 0 ? -EBADF : fd;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtRegisterSharedHandleToNodes(const HsaSharedMemoryHandle *shared,
							      void **address, HSAuint64 *size,
							      HSAuint64 n, HSAuint32 *nodes)
{
	HSAKMT_STATUS status = thunk_check();
	_cleanup_(closep) int fd = -1;
	struct handle h;
	int r;

	if (status != HSAKMT_STATUS_SUCCESS)
		return status;
	if (!shared || !address || !size || n > SIM_MAX_CARDS || (n > 0 && !nodes))
		return HSAKMT_STATUS_INVALID_PARAMETER;
	for (uint64_t i = 0; i < n; i++)
		if (!thunk_device(nodes[i]))
			return HSAKMT_STATUS_INVALID_NODE_UNIT;
	memcpy(&h, shared, sizeof(h));
	fd = open_foreign(&h);
	r = fd < 0 ? fd : memory_import(fd, h.node, h.offset, h.size, address);
	if (r < 0)
		return thunk_status(r);
	*size = h.size;
	return HSAKMT_STATUS_SUCCESS;
}

HSAKMT_EXPORT HSAKMT_STATUS hsaKmtRegisterSharedHandle(const HsaSharedMemoryHandle *shared,
						       void **address, HSAuint64 *size)
{
	return hsaKmtRegisterSharedHandleToNodes(shared, address, size, 0, NULL);
}
