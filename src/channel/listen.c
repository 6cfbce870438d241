/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket of the channel and the taking of connections. */
#include "channel/connection.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* Decides what to do about a file in our way: 0 if there is none or a dead socket has been removed,
 * -EADDRINUSE if somebody still listens on it, -EEXIST if it is no socket. */
static int clear_stale(const struct sockaddr_un *address, socklen_t length)
{
	_cleanup_(closep) int fd = -1;
	struct stat st;

	if (lstat(address->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A full backlog (EAGAIN) is somebody listening, too; a socket of another type (EPROTOTYPE)
	 * is not ours to remove. */
	if (connect(fd, (const struct sockaddr *)address, length) == 0 || errno == EAGAIN)
		return -EADDRINUSE;
	if (errno != ECONNREFUSED)
		return errno == EPROTOTYPE ? -EEXIST : -errno;
	return unlink(address->sun_path) < 0 && errno != ENOENT ? -errno : 0;
}

int channel_listen(const char *path, mode_t mode)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_(closep) int fd = -1;
	size_t n = strlen(path) + 1;
	socklen_t length;
	int r;

	if (n > sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, n);
	length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	r = clear_stale(&address, length);
	if (r < 0)
		return r;

	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* The mode of the socket's own inode becomes that of the file, less the umask: so the file
	 * is at no moment open to more than it shall be. */
	if (fchmod(fd, mode) < 0)
		return -errno;
	if (bind(fd, (struct sockaddr *)&address, length) < 0)
		return -errno;
	if (chmod(path, mode) < 0 || listen(fd, SOMAXCONN) < 0) {
		r = -errno;
		(void)unlink(path);
		return r;
	}
	return TAKE_FD(fd);
}

int channel_accept(int listen_fd, uint64_t now_ns, struct channel_connection **ret)
{
	_cleanup_(channel_connection_freep) struct channel_connection *c = NULL;
	_cleanup_(closep) int fd = -1;
	struct ucred cred;
	socklen_t length = sizeof(cred);

	do
		fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));
	if (fd < 0)
		return -errno;
	/* The credentials of the moment of connect(): the kernel's word, not the worker's. */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &length) < 0)
		return -errno;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->fd = TAKE_FD(fd);
	c->wake_fd = -1;
	c->accepted_ns = now_ns;
	c->peer = (struct channel_peer){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
	*ret = TAKE_PTR(c);
	return 0;
}
