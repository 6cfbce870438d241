/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/hsakmt/arena.h"
#include "sim/hsakmt/thunk.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define ARENA_BYTES   (UINT64_C(1) << 60)
#define MAX_BYTES     (UINT64_C(1) << 46) /* of one allocation; half of the address space */
#define SCRATCH_ALIGN (UINT64_C(64) << 10)
#define SEALS	      (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static struct {
	int fd;
	uint64_t used;
} arena = {.fd = -1};

int arena_open(void)
{
	_cleanup_(closep) int fd = memfd_create("cofris-vram", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, (off_t)ARENA_BYTES) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	arena.fd = TAKE_FD(fd);
	arena.used = 0;
	return 0;
}

void arena_close(void)
{
	closep(&arena.fd);
	arena.fd = -1;
}

int arena_fd(void)
{
	return arena.fd;
}

/* Finds room at an aligned address; the mapping that holds it is replaced by the caller. */
static int reserve(uint64_t size, uint64_t align, void **ret)
{
	uint64_t room = size + align;
	uintptr_t begin, start;
	void *p;

	p = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return -ENOMEM;
	begin = (uintptr_t)p;
	start = (begin + align - 1) & ~(align - 1);
	if (start > begin)
		(void)munmap(p, start - begin);
	(void)munmap((void *)(start + size), begin + room - start - size);
	*ret = (void *)start;
	return 0;
}

static int map_file(int fd, uint64_t offset, void *address, uint64_t size, void **ret)
{
	uint64_t align = size >= HSAKMT_HUGE_PAGE ? HSAKMT_HUGE_PAGE : HSAKMT_PAGE;
	void *target = address, *p;
	int r = address ? 0 : reserve(size, align, &target);

	if (r < 0)
		return r;
	p = mmap(target, size, PROT_READ | PROT_WRITE,
		 MAP_SHARED | (address ? MAP_FIXED_NOREPLACE : MAP_FIXED), fd, (off_t)offset);
	if (p == MAP_FAILED) {
		r = errno == EEXIST ? -EEXIST : -ENOMEM;
		if (!address)
			(void)munmap(target, size);
		return r;
	}
	/* A child has no card, and must not change what this process's card works on. */
	(void)madvise(p, size, MADV_DONTFORK);
	*ret = p;
	return 0;
}

int arena_map(void *address, uint64_t size, void **ret, uint64_t *ret_offset)
{
	uint64_t align = size >= HSAKMT_HUGE_PAGE ? HSAKMT_HUGE_PAGE : HSAKMT_PAGE;
	uint64_t offset = (arena.used + align - 1) & ~(align - 1);
	int r;

	if (size > MAX_BYTES || offset > ARENA_BYTES - size)
		return -ENOMEM;
	r = map_file(arena.fd, offset, address, size, ret);
	if (r < 0)
		return r;
	arena.used = offset + size;
	*ret_offset = offset;
	return 0;
}

void arena_punch(uint64_t offset, uint64_t size)
{
	(void)fallocate(arena.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
			(off_t)size);
}

int arena_map_scratch(uint64_t size, void **ret)
{
	void *target, *p;
	int r;

	if (size > MAX_BYTES)
		return -ENOMEM;
	r = reserve(size, SCRATCH_ALIGN, &target);
	if (r < 0)
		return r;
	p = mmap(target, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
	if (p == MAP_FAILED) {
		(void)munmap(target, size);
		return -ENOMEM;
	}
	(void)madvise(p, size, MADV_DONTFORK);
	*ret = p;
	return 0;
}

int arena_map_foreign(int fd, uint64_t offset, uint64_t size, void **ret)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0)
		return -EBADF;
	if (size == 0 || size > MAX_BYTES || size % HSAKMT_PAGE || offset % HSAKMT_PAGE ||
	    offset > (uint64_t)st.st_size || size > (uint64_t)st.st_size - offset)
		return -EBADF;
	return map_file(fd, offset, NULL, size, ret);
}
