/* SPDX-License-Identifier: Apache-2.0 */
#include "actuator/client.h"
#include "base/units.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

struct actuator_client {
	int fd;
	uint32_t sequence;
};

int actuator_client_from_fd(int fd, struct actuator_client **ret)
{
	struct actuator_client *c = calloc(1, sizeof(*c));

	if (!c) {
		(void)close(fd);
		return -ENOMEM;
	}
	c->fd = fd;
	/* A predecessor's replies may still be on their way. */
	c->sequence = (uint32_t)getpid() << 16;
	*ret = c;
	return 0;
}

int actuator_client_connect(const char *path, struct actuator_client **ret)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_(closep) int fd = -1;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return actuator_client_from_fd(TAKE_FD(fd), ret);
}

struct actuator_client *actuator_client_free(struct actuator_client *c)
{
	if (c) {
		(void)close(c->fd);
		free(c);
	}
	return NULL;
}

int actuator_client_fd(const struct actuator_client *c)
{
	return c->fd;
}

int actuator_client_send(struct actuator_client *c, struct actuator_request *request,
			 uint32_t *ret_sequence)
{
	ssize_t n;

	request->magic = ACTUATOR_MAGIC;
	request->version = ACTUATOR_VERSION;
	request->sequence = ++c->sequence;
	n = send(c->fd, request, sizeof(*request), MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return -errno;
	if (ret_sequence)
		*ret_sequence = request->sequence;
	return 0;
}

int actuator_client_receive(struct actuator_client *c, struct actuator_reply *ret)
{
	struct actuator_reply reply;
	struct iovec iov = {.iov_base = &reply, .iov_len = sizeof(reply)};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	ssize_t n;

	/* Without room for control data the kernel itself drops any fd that is sent along. */
	n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ECONNRESET;
	if ((size_t)n != sizeof(reply) || (msg.msg_flags & MSG_TRUNC) ||
	    reply.magic != ACTUATOR_MAGIC || reply.version != ACTUATOR_VERSION || reply.error > 0)
		return -EPROTO;
	*ret = reply;
	return 0;
}

static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* Waits until end_ns for the next reply with that sequence. */
static int receive_until(struct actuator_client *c, uint32_t sequence, uint64_t end_ns,
			 struct actuator_reply *ret)
{
	for (;;) {
		struct pollfd p = {.fd = c->fd, .events = POLLIN};
		struct actuator_reply reply = {0};
		uint64_t now_ns;
		int r;

		r = actuator_client_receive(c, &reply);
		if (r == 0 && reply.sequence == sequence) {
			*ret = reply;
			return 0;
		}
		if (r == 0)
			continue;
		if (r != -EAGAIN)
			return r;
		now_ns = monotonic_ns();
		if (now_ns >= end_ns)
			return -ETIMEDOUT;
		r = poll(&p, 1, (int)((end_ns - now_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC));
		if (r < 0 && errno != EINTR)
			return -errno;
	}
}

int actuator_client_call(struct actuator_client *c, struct actuator_request *request,
			 int timeout_ms, struct actuator_reply *ret)
{
	uint64_t end_ns = monotonic_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	uint32_t sequence = 0;
	int r;

	r = actuator_client_send(c, request, &sequence);
	if (r < 0)
		return r;
	r = receive_until(c, sequence, end_ns, ret);
	return r < 0 ? r : ret->error;
}

int actuator_client_list(struct actuator_client *c, int timeout_ms, struct actuator_reply *ret,
			 uint32_t max)
{
	uint64_t end_ns = monotonic_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	struct actuator_request request = {.op = ACTUATOR_LIST};
	uint32_t sequence = 0, n = 0, count = 1;
	int r;

	r = actuator_client_send(c, &request, &sequence);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < count; i++) {
		struct actuator_reply reply = {0};

		r = receive_until(c, sequence, end_ns, &reply);
		if (r < 0)
			return r;
		if (reply.error < 0)
			return reply.error;
		count = reply.card.count;
		if (count > 0 && n < max)
			ret[n++] = reply;
	}
	return (int)n;
}
