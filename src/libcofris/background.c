/* SPDX-License-Identifier: Apache-2.0 */
/* The channel's own thread: connects, beats, watches the daemon's beat and directive, applies.
 *
 * Requests that are in flight over a reconnect: each connection has fresh memory in which all
 * counts start at 0, and a request is counted only in the memory in which it began (area's
 * generation). So one that began before is not seen as an arrival there and its end is counted
 * nowhere, and the daemon never sees more ends than arrivals. The generation wraps round after 2047
 * connections, of which there are at most 20 a second.
 *
 * Replaced memory is unmapped only when no thread can still be writing to it: see grace_is_over().
 */
#include "libcofris/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A connection that lasted this long was a good one: the next attempt comes soon. */
#define GOOD_CONNECTION_NS UINT64_C(2000000000)

/* --- changing the memory -------------------------------------------------------------------- */

static struct area *present_area(struct cofris_channel *c)
{
	return atomic_load_explicit(&c->area, memory_order_relaxed);
}

/* A thread that entered before the pointer changed may still write to the old area. */
static void area_retire(struct cofris_channel *c, struct area *a, uint64_t now)
{
	c->retired = a;
	c->grace = (struct grace){0};
	c->retired_look_ns = now + CHANNEL_BEAT_NS;
}

static void area_reclaim(struct cofris_channel *c, uint64_t now)
{
	if (!c->retired || now < c->retired_look_ns)
		return;
	c->retired_look_ns = now + CHANNEL_BEAT_NS;
	if (grace_is_over(&c->grace))
		c->retired = area_free(c->retired);
}

/* --- applying ------------------------------------------------------------------------------- */

/* Epochs of different connections are not related: the upper bits tell them apart. */
static uint64_t shown_epoch(const struct cofris_channel *c, uint64_t epoch)
{
	return epoch == 0 ? 0 : epoch | (c->connections - 1) << 48;
}

static void acknowledge(struct cofris_channel *c, uint64_t epoch, uint32_t queues, uint64_t ns)
{
	struct channel_worker_page *w = &present_area(c)->memory->worker;

	atomic_store_explicit(&w->applied_queues, queues, memory_order_relaxed);
	atomic_store_explicit(&w->applied_ns, ns, memory_order_relaxed);
	/* Pair (B) of channel-layout.h. */
	atomic_store_explicit(&w->applied_epoch, epoch, memory_order_release);
}

/* Runs the callback, without the lock, then puts the directive in force and acknowledges it.
 * Returns 0, or the callback's error, after which nothing has changed. */
static int apply(struct cofris_channel *c, const struct channel_directive_record *d)
{
	struct cofris_directive public;
	uint64_t begun_ns = now_ns();
	uint32_t forks = c->forks;
	int queues = 0;

	directive_to_public(d, &public);
	public.epoch = shown_epoch(c, d->epoch);
	if (c->apply) {
		(void)pthread_mutex_unlock(&c->lock);
		queues = c->apply(c->userdata, &public);
		(void)pthread_mutex_lock(&c->lock);
	}
	/* The callback has forked, and this is the child's copy of a thread that the child starts
	 * anew if it goes on using the channel. */
	if (c->forks != forks) {
		(void)pthread_mutex_unlock(&c->lock);
		pthread_exit(NULL);
	}
	if (queues < 0)
		return queues;
	channel_put_in_force(c, d, public.epoch);
	acknowledge(c, d->epoch, (uint32_t)queues, now_ns() - begun_ns);
	return 0;
}

/* --- the lease ------------------------------------------------------------------------------ */

static void set_connected(struct cofris_channel *c, uint64_t now)
{
	atomic_store_explicit(&c->connected, c->welcomed && now < c->fresh_until_ns,
			      memory_order_relaxed);
}

/* A beat or a new directive shows that the daemon lives. Not the socket: that stays open while the
 * daemon is stopped. */
static void watch_daemon(struct cofris_channel *c, uint64_t now)
{
	const struct channel_daemon_page *page = &present_area(c)->memory->daemon;
	uint64_t beat = atomic_load_explicit(&page->beat, memory_order_relaxed);
	struct channel_directive_record d;

	if (!channel_latch_read(&page->directive, &d))
		return;
	if (beat != c->seen_beat || d.epoch != c->seen_epoch) {
		c->seen_beat = beat;
		c->seen_epoch = d.epoch;
		c->fresh_until_ns = now + c->lease_ns;
	}
	if (d.epoch == 0 || d.epoch == c->applied_epoch || d.epoch == c->failed_epoch ||
	    now >= c->fresh_until_ns)
		return;
	/* Also of a failure: some queues may have been narrowed, so the lease's end matters. */
	c->in_force = true;
	c->held = false;
	if (apply(c, &d) < 0)
		c->failed_epoch = d.epoch;
	else
		c->applied_epoch = d.epoch;
}

static uint64_t lease_end_ns(const struct cofris_channel *c)
{
	return c->held ? c->held_until_ns : c->fresh_until_ns;
}

/* A failing callback is asked again with the next beat: the worker must not stay narrow. */
static void end_lease(struct cofris_channel *c)
{
	if (apply(c, &directive_none) < 0)
		return;
	c->in_force = false;
	c->held = false;
	c->applied_epoch = 0;
}

/* --- connecting ----------------------------------------------------------------------------- */

static void problem(struct cofris_channel *c, const char *what, int error)
{
	char buffer[128];

	snprintf(c->problem, sizeof(c->problem), "%s: %s", what,
		 strerror_r(error, buffer, sizeof(buffer)));
}

static void hang_up(struct cofris_channel *c, uint64_t now)
{
	if (c->socket >= 0)
		(void)close(c->socket);
	c->socket = -1;
	if (c->welcomed && now - c->connected_ns >= GOOD_CONNECTION_NS)
		c->backoff_ns = BACKOFF_MIN_NS;
	c->welcomed = false;
	c->next_attempt_ns = now + c->backoff_ns;
	c->backoff_ns = 2 * c->backoff_ns < BACKOFF_MAX_NS ? 2 * c->backoff_ns : BACKOFF_MAX_NS;
}

/* A Unix socket connects at once or not at all: EAGAIN means that the daemon's queue is full. */
static void try_connect(struct cofris_channel *c, uint64_t now)
{
	c->welcome_by_ns = now + WELCOME_WITHIN_NS;
	c->socket = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->socket < 0) {
		problem(c, "socket", errno);
		hang_up(c, now);
		return;
	}
	if (connect(c->socket, (const struct sockaddr *)&c->address, c->address_length) < 0) {
		problem(c, c->address.sun_path, errno);
		hang_up(c, now);
		return;
	}
	if (c->instance_is_pid)
		hello_set_pid(&c->hello);
	if (send(c->socket, &c->hello, sizeof(c->hello), MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
		problem(c, "send", errno);
		hang_up(c, now);
	}
}

/* The seals are what keeps a shrinking file from killing the worker by SIGBUS. Not fstat(), which
 * glibc before 2.33 has under another name. */
static bool memory_is_sound(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);

	return seals >= 0 && (seals & F_SEAL_SHRINK) &&
	       lseek(fd, 0, SEEK_END) == (off_t)sizeof(struct channel_memory);
}

static void publish(struct cofris_channel *c, struct area *a, uint64_t lease_ns, uint64_t now)
{
	struct area *before = present_area(c);

	if (c->in_force && !c->held) {
		c->held = true;
		c->held_until_ns = c->fresh_until_ns;
	}
	c->lease_ns = lease_ns;
	c->seen_beat = c->seen_epoch = c->applied_epoch = c->failed_epoch = 0;
	c->fresh_until_ns = now + lease_ns;
	c->welcomed = true;
	c->connected_ns = now;
	c->next_beat_ns = now;
	c->beat = 0;
	c->connections++;
	c->problem[0] = '\0';
	/* What the new memory counts belongs to no directive yet. */
	atomic_store_explicit(&c->bank, 0, memory_order_relaxed);
	/* Release pairs with the acquire in enter() (request.c). */
	atomic_store_explicit(&c->area, a, memory_order_release);
	area_retire(c, before, now);
}

/* Takes both fds, or none. */
static int welcomed(struct cofris_channel *c, const struct channel_welcome_message *m,
		    const int fds[2], uint64_t now)
{
	struct area *a;
	int r;

	if (m->memory_size != sizeof(struct channel_memory) || m->lease_ns == 0 ||
	    m->lease_ns > UINT64_MAX / 4 || !memory_is_sound(fds[0]))
		return -EPROTO;
	r = area_new_shared(generation_after(present_area(c)->generation), fds[0], fds[1], &a);
	if (r < 0)
		return r;
	(void)close(fds[0]);
	publish(c, a, m->lease_ns, now);
	return 0;
}

struct received {
	alignas(8) uint8_t bytes[sizeof(struct channel_refuse_message)];
	size_t n;
	int fds[2];
	size_t n_fds;
};

_Static_assert(sizeof(struct channel_refuse_message) >= sizeof(struct channel_welcome_message) &&
		       sizeof(struct channel_refuse_message) >=
			       sizeof(struct channel_announce_message),
	       "the longest message");

static void close_received(struct received *r)
{
	while (r->n_fds > 0)
		(void)close(r->fds[--r->n_fds]);
}

/* Returns 1, 0 if there is nothing, or a negative errno, 0 bytes being a hang-up. */
static int receive_one(int socket, struct received *ret)
{
	union {
		struct cmsghdr align;
		uint8_t bytes[CMSG_SPACE(2 * sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = ret->bytes, .iov_len = sizeof(ret->bytes)};
	struct msghdr m = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.bytes,
		.msg_controllen = sizeof(control.bytes),
	};
	ssize_t n;

	ret->n_fds = 0;
	do
		n = recvmsg(socket, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		ret->n_fds = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(ret->fds, CMSG_DATA(h), ret->n_fds * sizeof(int));
	}
	if (n == 0 || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		close_received(ret);
		return n == 0 ? -ECONNRESET : -EPROTO;
	}
	ret->n = (size_t)n;
	return 1;
}

static bool is_of_another_version(const struct received *m)
{
	struct channel_message_header h;

	if (m->n < sizeof(h))
		return false;
	memcpy(&h, m->bytes, sizeof(h));
	return h.magic == CHANNEL_MAGIC && h.version != CHANNEL_VERSION;
}

static bool header_is(const struct received *m, enum channel_message_type type, size_t size)
{
	struct channel_message_header h;

	if (m->n != size)
		return false;
	memcpy(&h, m->bytes, sizeof(h));
	return h.magic == CHANNEL_MAGIC && h.version == CHANNEL_VERSION && h.type == type &&
	       h.size == size;
}

static int handle(struct cofris_channel *c, struct received *m, uint64_t now)
{
	struct channel_welcome_message welcome;
	struct channel_refuse_message refuse;
	int r;

	if (!c->welcomed && header_is(m, CHANNEL_WELCOME, sizeof(welcome)) && m->n_fds == 2) {
		memcpy(&welcome, m->bytes, sizeof(welcome));
		r = welcomed(c, &welcome, m->fds, now);
		if (r == 0)
			m->n_fds = 0;
		return r;
	}
	if (!c->welcomed && header_is(m, CHANNEL_REFUSE, sizeof(refuse))) {
		memcpy(&refuse, m->bytes, sizeof(refuse));
		refuse.text[sizeof(refuse.text) - 1] = '\0';
		channel_refused(c, refuse.text);
		/* Nothing will be different in 50 ms. */
		c->backoff_ns = BACKOFF_MAX_NS;
		return -ECONNREFUSED;
	}
	/* The page itself is looked at after every wake-up. */
	if (c->welcomed && header_is(m, CHANNEL_ANNOUNCE, sizeof(struct channel_announce_message)))
		return 0;
	return is_of_another_version(m) ? -EPROTONOSUPPORT : -EPROTO;
}

static void receive(struct cofris_channel *c, uint64_t now)
{
	for (;;) {
		struct received m;
		int r = receive_one(c->socket, &m);

		if (r == 0)
			return;
		if (r > 0) {
			r = handle(c, &m, now);
			close_received(&m);
		}
		if (r < 0) {
			if (r != -ECONNREFUSED)
				problem(c, "connection", -r);
			hang_up(c, now);
			return;
		}
	}
}

/* --- the loop ------------------------------------------------------------------------------- */

static void beat(struct cofris_channel *c, uint64_t now)
{
	atomic_store_explicit(&present_area(c)->memory->worker.beat, ++c->beat,
			      memory_order_relaxed);
	/* Not next_beat_ns + ...: after a stop the missed beats are not made up for. */
	c->next_beat_ns = now + CHANNEL_BEAT_NS;
}

/* Everything that is due. */
static void step(struct cofris_channel *c, uint64_t now)
{
	if (c->socket >= 0 && !c->welcomed && now >= c->welcome_by_ns) {
		problem(c, "no answer to the HELLO", ETIMEDOUT);
		hang_up(c, now);
	}
	area_reclaim(c, now);
	/* One retired area at most: until it is free, no new one. */
	if (c->socket < 0 && now >= c->next_attempt_ns && !c->retired)
		try_connect(c, now);
	if (now >= c->next_beat_ns)
		beat(c, now);
	if (c->connections > 0)
		watch_daemon(c, now);
	if (c->in_force && now >= lease_end_ns(c))
		end_lease(c);
	set_connected(c, now);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_wake_ns(const struct cofris_channel *c, uint64_t now)
{
	uint64_t next = UINT64_MAX;

	if (c->welcomed || c->in_force)
		next = c->next_beat_ns;
	if (c->retired)
		next = earlier(next, c->retired_look_ns);
	if (c->socket < 0 && !c->retired)
		next = earlier(next, c->next_attempt_ns);
	if (c->socket >= 0 && !c->welcomed)
		next = earlier(next, c->welcome_by_ns);
	if (c->welcomed && now < c->fresh_until_ns)
		next = earlier(next, c->fresh_until_ns);
	if (c->in_force && now < lease_end_ns(c))
		next = earlier(next, lease_end_ns(c));
	return next;
}

static void sleep_until(struct cofris_channel *c, uint64_t wake_ns)
{
	struct pollfd fds[] = {
		{.fd = c->stop_fd, .events = POLLIN},
		{.fd = c->socket, .events = POLLIN}, /* ignored by poll() if negative */
	};
	uint64_t now = now_ns();
	uint64_t wait_ns = wake_ns > now ? wake_ns - now : 0;
	uint64_t wait_ms = (wait_ns + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;

	(void)pthread_mutex_unlock(&c->lock);
	(void)poll(fds, 2, wait_ms < 60000 ? (int)wait_ms : 60000);
	(void)pthread_mutex_lock(&c->lock);
}

void *background_run(void *channel)
{
	struct cofris_channel *c = channel;

	(void)pthread_setname_np(pthread_self(), "cofris");
	(void)pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		if (c->socket >= 0)
			receive(c, now_ns());
		step(c, now_ns());
		sleep_until(c, next_wake_ns(c, now_ns()));
	}
	(void)pthread_mutex_unlock(&c->lock);
	return NULL;
}
