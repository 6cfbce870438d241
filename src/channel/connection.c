/* SPDX-License-Identifier: Apache-2.0 */
/* One worker's connection: messages, the sealed memory, the directive. */
#include "channel/connection.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U /* Linux 6.3 */
#endif

struct channel_connection *channel_connection_free(struct channel_connection *c)
{
	if (!c)
		return NULL;
	closep(&c->fd);
	closep(&c->wake_fd);
	if (c->memory)
		(void)munmap(c->memory, sizeof(*c->memory));
	free(c);
	return NULL;
}

int channel_connection_fd(const struct channel_connection *c)
{
	return c->fd;
}

int channel_connection_wake_fd(const struct channel_connection *c)
{
	return c->wake_fd;
}

const struct channel_peer *channel_connection_peer(const struct channel_connection *c)
{
	return &c->peer;
}

uint64_t channel_connection_accepted_ns(const struct channel_connection *c)
{
	return c->accepted_ns;
}

/* One message, or what is left of it. No room is given for control data, so the kernel drops file
 * descriptors that come along before they are ours: nothing to close, and no close() of ours can
 * hang in the flush of some file that the sender made up. */
static ssize_t receive_one(int fd, void *buffer, size_t size)
{
	struct iovec iov = {.iov_base = buffer, .iov_len = size};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	do
		n = recvmsg(fd, &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int channel_connection_receive(struct channel_connection *c, const struct channel_hello **ret_hello,
			       const char **ret_why)
{
	alignas(8) uint8_t buffer[sizeof(struct channel_hello_message)];
	struct channel_hello hello;
	ssize_t n;
	int r;

	n = receive_one(c->fd, buffer, sizeof(buffer));
	if (n == -EAGAIN)
		return 0;
	/* End of file; an empty message looks the same and is no more use. */
	if (n == 0 || n == -ECONNRESET || n == -EPIPE)
		return -ECONNRESET;
	if (n < 0)
		return (int)n;

	if ((size_t)n > sizeof(buffer)) {
		snprintf(c->why, sizeof(c->why), "size: a message of %zd bytes, longer than any",
			 n);
		r = -EPROTO;
	} else {
		r = channel_hello_parse(buffer, (size_t)n, &hello, c->why, sizeof(c->why));
	}
	if (r == 0 && c->state != CHANNEL_STATE_CONNECTED) {
		snprintf(c->why, sizeof(c->why), "a second HELLO on one connection");
		r = -EPROTO;
	}
	if (r < 0) {
		*ret_why = c->why;
		return r;
	}
	c->hello = hello;
	c->state = CHANNEL_STATE_GREETED;
	*ret_hello = &c->hello;
	return 1;
}

static struct channel_message_header header(enum channel_message_type type, size_t size)
{
	return (struct channel_message_header){
		.magic = CHANNEL_MAGIC,
		.version = CHANNEL_VERSION,
		.type = (uint16_t)type,
		.size = (uint32_t)size,
	};
}

static int send_message(int fd, const void *message, size_t size, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)message, .iov_len = size};
	struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	if (n_fds > 0) {
		struct cmsghdr *cmsg;

		m.msg_control = control.bytes;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		cmsg = CMSG_FIRSTHDR(&m);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(cmsg), fds, n_fds * sizeof(int));
	}
	do
		n = sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* Kernels before 6.3 do not know the flag, newer ones may demand it (vm.memfd_noexec). */
static int make_memfd(void)
{
	int fd;

	fd = memfd_create("cofris-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("cofris-channel", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd;
}

/* NULL with errno set if it fails. */
static struct channel_memory *make_memory(int *ret_fd)
{
	_cleanup_(closep) int fd = -1;
	struct channel_memory *memory;

	fd = make_memfd();
	if (fd < 0 || ftruncate(fd, sizeof(*memory)) < 0)
		return NULL;
	/* F_SEAL_SEAL: without it a worker could seal against writing and stop our beat. */
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return NULL;
	memory = mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return NULL;
	/* Our own stray store could otherwise look like a worker's count. */
	if (mprotect(memory->shards, sizeof(*memory) - offsetof(struct channel_memory, shards),
		     PROT_READ) < 0) {
		(void)munmap(memory, sizeof(*memory));
		return NULL;
	}
	*ret_fd = TAKE_FD(fd);
	return memory;
}

int channel_connection_welcome(struct channel_connection *c, uint64_t lease_ns)
{
	struct channel_welcome_message m = {
		.header = header(CHANNEL_WELCOME, sizeof(m)),
		.memory_size = sizeof(struct channel_memory),
		.lease_ns = lease_ns,
	};
	_cleanup_(closep) int memory_fd = -1, wake_fd = -1;
	struct channel_memory *memory;
	int r;

	if (c->state != CHANNEL_STATE_GREETED)
		return -EBADFD;
	wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (wake_fd < 0)
		return -errno;
	memory = make_memory(&memory_fd);
	if (!memory)
		return -errno;
	memory->daemon.magic = CHANNEL_MAGIC;
	memory->daemon.version = CHANNEL_VERSION;
	memory->daemon.size = sizeof(*memory);
	atomic_store_explicit(&memory->worker.wake_armed, 1, memory_order_relaxed);

	r = send_message(c->fd, &m, sizeof(m), (const int[]){memory_fd, wake_fd}, 2);
	if (r < 0) {
		(void)munmap(memory, sizeof(*memory));
		return r;
	}
	c->memory = memory;
	c->wake_fd = TAKE_FD(wake_fd);
	c->state = CHANNEL_STATE_WELCOMED;
	return 0;
}

void channel_connection_refuse(struct channel_connection *c, int error, const char *why)
{
	struct channel_refuse_message m = {
		.header = header(CHANNEL_REFUSE, sizeof(m)),
		.error = error,
	};

	snprintf(m.text, sizeof(m.text), "%s", why);
	/* A worker that cannot take it learns the same from the hang-up. */
	(void)send_message(c->fd, &m, sizeof(m), NULL, 0);
}

void channel_connection_direct(struct channel_connection *c, const struct channel_directive *d)
{
	struct channel_announce_message m = {
		.header = header(CHANNEL_ANNOUNCE, sizeof(m)),
		.epoch = d->epoch,
	};
	struct channel_directive_record record = {
		.epoch = d->epoch,
		.max_wait_ns = d->max_wait_ns,
		.slo_ns = d->slo_ns,
		.boost_wait_ns = d->boost_wait_ns,
		.cu_mask_bits = d->cu_mask_bits,
		.max_batch = d->max_batch,
		.sclk_mhz = d->sclk_mhz,
	};

	if (c->state != CHANNEL_STATE_WELCOMED)
		return;
	_Static_assert(sizeof(record.cu_mask) == sizeof(d->cu_mask), "mask words");
	memcpy(record.cu_mask, d->cu_mask, sizeof(record.cu_mask));
	channel_latch_write(&c->memory->daemon.directive, &c->directive_sequence, &record);
	c->directive_epoch = MAX(c->directive_epoch, d->epoch);
	/* Best effort: a worker whose socket is full looks at the page with its next beat. */
	(void)send_message(c->fd, &m, sizeof(m), NULL, 0);
}

/* Pair (D) of channel-layout.h. */
static void arm_wake(struct channel_connection *c)
{
	atomic_store_explicit(&c->memory->worker.wake_armed, 1, memory_order_release);
}

void channel_connection_beat(struct channel_connection *c)
{
	if (c->state != CHANNEL_STATE_WELCOMED)
		return;
	atomic_store_explicit(&c->memory->daemon.beat, ++c->beat, memory_order_relaxed);
	arm_wake(c);
}

int channel_connection_take_wake(struct channel_connection *c)
{
	uint64_t count = 0;
	struct iovec iov = {.iov_base = &count, .iov_len = sizeof(count)};
	ssize_t n;

	if (c->state != CHANNEL_STATE_WELCOMED)
		return 0;
	/* O_NONBLOCK is a property of the open file, which the worker holds, too, and can clear;
	 * RWF_NOWAIT is one of this call. */
	n = preadv2(c->wake_fd, &iov, 1, -1, RWF_NOWAIT);
	arm_wake(c);
	return n == sizeof(count) && count > 0;
}
