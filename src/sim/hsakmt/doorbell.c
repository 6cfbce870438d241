/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/hsakmt/doorbell.h"
#include "base/macros.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#define PAGE_BYTES (DOORBELLS_MAX * sizeof(uint64_t))

static int protect(int uffd, volatile void *page, bool on)
{
	struct uffdio_writeprotect p = {
		.range = {.start = (uintptr_t)page, .len = PAGE_BYTES},
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &p) < 0 ? -errno : 0;
}

/* Faults of user mode alone need no privilege, and only programs ring doorbells. */
static int watch(volatile void *page)
{
	_cleanup_(closep) int fd = -1;
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP};
	struct uffdio_register reg = {
		.range = {.start = (uintptr_t)page, .len = PAGE_BYTES},
		.mode = UFFDIO_REGISTER_MODE_WP,
	};

	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0 || ioctl(fd, UFFDIO_REGISTER, &reg) < 0)
		return -errno;
	return TAKE_FD(fd);
}

int doorbells_open(struct doorbells *d)
{
	void *page =
		mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return -errno;
	*d = (struct doorbells){.page = page};
	d->page[0] = 0; /* a page that is not there cannot be protected */
	d->uffd = watch(page);
	if (d->uffd < 0)
		d->uffd = -1;
	return 0;
}

void doorbells_close(struct doorbells *d)
{
	if (!d->page)
		return;
	(void)munmap((void *)(uintptr_t)d->page, PAGE_BYTES);
	if (d->uffd >= 0)
		(void)close(d->uffd);
	*d = (struct doorbells){.uffd = -1};
}

int doorbells_take(struct doorbells *d)
{
	for (uint32_t i = 0; i < DOORBELLS_MAX; i++)
		if (!(d->taken[i / 64] >> (i % 64) & 1)) {
			d->taken[i / 64] |= UINT64_C(1) << (i % 64);
			return (int)i;
		}
	return -ENOSPC;
}

void doorbells_give(struct doorbells *d, uint32_t index)
{
	d->taken[index / 64] &= ~(UINT64_C(1) << (index % 64));
}

int doorbells_arm(struct doorbells *d)
{
	if (d->uffd < 0)
		return -ENOSYS;
	return protect(d->uffd, d->page, true);
}

void doorbells_disarm(struct doorbells *d)
{
	struct uffd_msg message;

	if (d->uffd < 0)
		return;
	(void)protect(d->uffd, d->page, false);
	while (read(d->uffd, &message, sizeof(message)) > 0)
		;
}
