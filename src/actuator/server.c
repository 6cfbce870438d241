/* SPDX-License-Identifier: Apache-2.0 */
#include "actuator/server.h"
#include "base/fsio.h"
#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define PASSED_FD 3 /* SD_LISTEN_FDS_START */

struct connection {
	int fd; /* -1: free */
	struct actuator_peer peer;
	bool broken; /* a reply could not be sent */
};

struct server {
	const struct server_config *config;
	struct connection connections[SERVER_MAX_CONNECTIONS];
	uint64_t last_number, last_alive_ns;
	uint32_t refused[SERVER_MAX_PEER_UIDS], n_refused; /* said once per uid */
};

static void read_comm(struct actuator_owner *who)
{
	char path[32], text[64] = "";

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", who->pid);
	if (read_text_at(AT_FDCWD, path, text, sizeof(text)) < 0)
		(void)strcpy(text, "?");
	text[strcspn(text, "\n")] = '\0';
	memset(who->comm, 0, sizeof(who->comm));
	/* A process names itself: nothing of it may act on a terminal. */
	for (size_t i = 0; text[i] && i < sizeof(who->comm) - 1; i++)
		who->comm[i] = text[i] > ' ' && text[i] <= '~' ? text[i] : '?';
}

static bool is_accepted(const struct server_config *config, uint32_t uid)
{
	if (config->any_of_socket || uid == 0 || uid == geteuid())
		return true;
	for (uint32_t i = 0; i < config->n_uids; i++)
		if (config->uids[i] == uid)
			return true;
	return false;
}

static void say_refused(struct server *s, uint32_t uid)
{
	for (uint32_t i = 0; i < s->n_refused; i++)
		if (s->refused[i] == uid)
			return;
	if (s->n_refused < ARRAY_SIZE(s->refused))
		s->refused[s->n_refused++] = uid;
	log_warning("Refused a connection of uid %u (--peer-uid %u would accept it)", uid, uid);
}

static void accept_connection(struct server *s)
{
	_cleanup_(closep) int fd = -1;
	struct connection *c = NULL;
	struct ucred creds;
	socklen_t size = sizeof(creds);
	const int on = 1;

	fd = accept4(s->config->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &creds, &size) < 0)
		return;
	if (!is_accepted(s->config, creds.uid)) {
		say_refused(s, creds.uid);
		return;
	}
	for (int i = 0; i < SERVER_MAX_CONNECTIONS && !c; i++)
		if (s->connections[i].fd < 0)
			c = &s->connections[i];
	if (!c) {
		log_warning("Refused a connection of pid %d: there are %d already", creds.pid,
			    SERVER_MAX_CONNECTIONS);
		return;
	}
	/* A connection may change hands; each message then tells whose hands they are. */
	if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0)
		return;
	*c = (struct connection){.fd = TAKE_FD(fd)};
	c->peer.connection = ++s->last_number;
	c->peer.who.pid = creds.pid;
	c->peer.who.uid = creds.uid;
	read_comm(&c->peer.who);
}

static void end_connection(struct server *s, struct connection *c)
{
	uint64_t number = c->peer.connection;

	(void)shutdown(c->fd, SHUT_RDWR);
	(void)close(c->fd);
	c->fd = -1;
	actuator_core_hangup(s->config->core, number, s->config->clock_ns());
}

/* Takes the sender's credentials from the control data and closes fds that came along. */
static void take_control(struct msghdr *msg, struct actuator_owner *who)
{
	for (struct cmsghdr *m = CMSG_FIRSTHDR(msg); m; m = CMSG_NXTHDR(msg, m)) {
		size_t length = m->cmsg_len - CMSG_LEN(0);
		struct ucred creds;
		int fd;

		if (m->cmsg_level != SOL_SOCKET)
			continue;
		if (m->cmsg_type == SCM_RIGHTS)
			for (size_t i = 0; i + sizeof(fd) <= length; i += sizeof(fd)) {
				memcpy(&fd, CMSG_DATA(m) + i, sizeof(fd));
				(void)close(fd);
			}
		if (m->cmsg_type != SCM_CREDENTIALS || length < sizeof(creds))
			continue;
		memcpy(&creds, CMSG_DATA(m), sizeof(creds));
		if (creds.pid == who->pid && creds.uid == who->uid)
			continue;
		who->pid = creds.pid;
		who->uid = creds.uid;
		read_comm(who);
	}
}

/* One whole request: 0, -EAGAIN, -ECONNRESET on a hang-up, -EPROTO for anything else. */
static int receive_request(struct connection *c, struct actuator_request *ret)
{
	/* Room for what the kernel lets pass at most (SCM_MAX_FD), so that none is lost open. */
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(253 * sizeof(int))];
	} control;
	struct actuator_request request;
	struct iovec iov = {.iov_base = &request, .iov_len = sizeof(request)};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = &control,
			     .msg_controllen = sizeof(control)};
	ssize_t n;

	n = recvmsg(c->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? -EAGAIN : -ECONNRESET;
	take_control(&msg, &c->peer.who);
	if (n == 0)
		return -ECONNRESET;
	if ((size_t)n != sizeof(request) || (msg.msg_flags & MSG_TRUNC))
		return -EPROTO;
	*ret = request;
	return 0;
}

static void send_reply(void *userdata, const struct actuator_reply *reply)
{
	struct connection *c = userdata;

	/* Who asks without reading the answers is cut off rather than waited for. */
	if (send(c->fd, reply, sizeof(*reply), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(*reply))
		c->broken = true;
}

static void serve_connection(struct server *s, struct connection *c)
{
	struct actuator_request request;
	int r;

	r = receive_request(c, &request);
	if (r == -EAGAIN)
		return;
	if (r == 0)
		r = actuator_core_handle(s->config->core, &c->peer, &request, s->config->clock_ns(),
					 send_reply, c);
	if (r == -EPROTO)
		log_warning("Cut off %s (pid %d): sent what is no request", c->peer.who.comm,
			    c->peer.who.pid);
	if (r < 0 || c->broken)
		end_connection(s, c);
}

static int wait_ms(const struct server *s)
{
	const struct server_config *config = s->config;
	uint64_t next_ns = actuator_core_next_ns(config->core), now_ns = config->clock_ns();

	if (config->alive_ns > 0)
		next_ns = MIN(next_ns, s->last_alive_ns + config->alive_ns);
	if (next_ns == UINT64_MAX)
		return -1;
	if (next_ns <= now_ns)
		return 0;
	/* Rounded up, or the last millisecond would be spent spinning. */
	return (int)MIN((next_ns - now_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC, UINT64_C(3600000));
}

/* 1: go on; 0: asked to stop; negative: failed. */
static int server_step(struct server *s)
{
	const struct server_config *config = s->config;
	struct pollfd p[2 + SERVER_MAX_CONNECTIONS];
	int n;

	p[0] = (struct pollfd){.fd = config->signal_fd, .events = POLLIN};
	p[1] = (struct pollfd){.fd = config->listen_fd, .events = POLLIN};
	for (int i = 0; i < SERVER_MAX_CONNECTIONS; i++)
		p[2 + i] = (struct pollfd){.fd = s->connections[i].fd, .events = POLLIN};
	n = poll(p, ARRAY_SIZE(p), wait_ms(s));
	if (n < 0 && errno != EINTR)
		return -errno;
	actuator_core_tick(config->core, config->clock_ns());
	if (actuator_core_is_lost(config->core))
		return -ECONNABORTED;
	if (n <= 0)
		return 1;
	if (p[0].revents)
		return 0;
	for (int i = 0; i < SERVER_MAX_CONNECTIONS && !actuator_core_is_lost(config->core); i++)
		if (p[2 + i].revents)
			serve_connection(s, &s->connections[i]);
	if (actuator_core_is_lost(config->core))
		return -ECONNABORTED;
	if (p[1].revents & ~POLLIN)
		return -EIO;
	if (p[1].revents)
		accept_connection(s);
	return 1;
}

static void say_alive(struct server *s)
{
	const struct server_config *config = s->config;
	uint64_t now_ns = config->clock_ns();

	if (config->alive_ns == 0 || now_ns < s->last_alive_ns + config->alive_ns)
		return;
	s->last_alive_ns = now_ns;
	config->alive();
}

int server_run(const struct server_config *config)
{
	struct server s = {.config = config};
	int r;

	for (int i = 0; i < SERVER_MAX_CONNECTIONS; i++)
		s.connections[i].fd = -1;
	while ((r = server_step(&s)) > 0)
		say_alive(&s);
	for (int i = 0; i < SERVER_MAX_CONNECTIONS; i++)
		if (s.connections[i].fd >= 0) {
			(void)shutdown(s.connections[i].fd, SHUT_RDWR);
			(void)close(s.connections[i].fd);
		}
	return r;
}

static int somebody_listens(const struct sockaddr_un *address)
{
	_cleanup_(closep) int fd =
		socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return 1;
	return errno == ECONNREFUSED || errno == ENOENT ? 0 : 1;
}

int server_listen(const char *path, mode_t mode, int *ret_fd)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_(closep) int fd = -1;
	int r;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	r = somebody_listens(&address);
	if (r != 0)
		return r < 0 ? r : -EADDRINUSE;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	/* The umask does not count: the mode decides who gets as far as being judged. */
	if (chmod(path, mode) < 0 || listen(fd, SERVER_MAX_CONNECTIONS) < 0)
		return -errno;
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static bool is_listening_seqpacket(int fd)
{
	int domain = 0, type = 0, listening = 0;
	socklen_t size = sizeof(int);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
	       getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET &&
	       getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

int server_passed_socket(void)
{
	const char *pid = getenv("LISTEN_PID"), *n = getenv("LISTEN_FDS");
	uint32_t value;

	if (!pid || !n || parse_u32(pid, &value) < 0 || (pid_t)value != getpid())
		return -ENOENT;
	if (parse_u32(n, &value) < 0 || value != 1 || !is_listening_seqpacket(PASSED_FD))
		return -EINVAL;
	(void)unsetenv("LISTEN_PID");
	(void)unsetenv("LISTEN_FDS");
	(void)unsetenv("LISTEN_FDNAMES");
	if (fcntl(PASSED_FD, F_SETFD, FD_CLOEXEC) < 0 || fcntl(PASSED_FD, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return PASSED_FD;
}
