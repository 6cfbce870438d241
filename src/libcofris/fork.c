/* SPDX-License-Identifier: Apache-2.0 */
/* What fork() does to a channel: the child must not count in its parent's memory, nor keep the
 * parent's connection open after the parent's death. So it lets go of both, and gets its own with
 * its first begin. A child made by the bare system call, past libc, is not covered. */
#include "libcofris/internal.h"

#include <errno.h>
#include <unistd.h>

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct cofris_channel *list;

void forks_add(struct cofris_channel *c)
{
	(void)pthread_mutex_lock(&list_lock);
	c->next = list;
	list = c;
	(void)pthread_mutex_unlock(&list_lock);
}

void forks_remove(struct cofris_channel *c)
{
	(void)pthread_mutex_lock(&list_lock);
	for (struct cofris_channel **p = &list; *p; p = &(*p)->next) {
		if (*p != c)
			continue;
		*p = c->next;
		break;
	}
	(void)pthread_mutex_unlock(&list_lock);
}

/* The background threads hold their locks for microseconds, and never during a callback. */
static void before_fork(void)
{
	(void)pthread_mutex_lock(&list_lock);
	for (struct cofris_channel *c = list; c; c = c->next)
		(void)pthread_mutex_lock(&c->lock);
}

static void unlock_all(void)
{
	for (struct cofris_channel *c = list; c; c = c->next)
		(void)pthread_mutex_unlock(&c->lock);
	(void)pthread_mutex_unlock(&list_lock);
}

static void let_go(struct cofris_channel *c)
{
	struct area *a = atomic_load_explicit(&c->area, memory_order_relaxed);

	if (a)
		c->forked_generation = a->generation;
	atomic_store_explicit(&c->area, NULL, memory_order_relaxed);
	(void)area_free(a);
	c->retired = area_free(c->retired);
	c->grace = (struct grace){0};
	if (c->socket >= 0)
		(void)close(c->socket);
	if (c->stop_fd >= 0)
		(void)close(c->stop_fd);
	c->socket = c->stop_fd = -1;
	c->has_thread = c->welcomed = c->in_force = c->held = false;
	c->connections = 0;
	c->forks++;
	c->next_attempt_ns = c->next_beat_ns = 0;
	c->backoff_ns = BACKOFF_MIN_NS;
	atomic_store_explicit(&c->connected, 0, memory_order_relaxed);
	channel_put_in_force(c, &directive_none, 0);
}

static void in_child(void)
{
	threads_forked();
	for (struct cofris_channel *c = list; c; c = c->next)
		let_go(c);
	unlock_all();
}

int forks_init(void)
{
	return -pthread_atfork(before_fork, unlock_all, in_child);
}

struct area *fork_revive(struct cofris_channel *c)
{
	struct area *a;

	if (atomic_load_explicit(&c->broken, memory_order_relaxed))
		return NULL;
	(void)pthread_mutex_lock(&c->lock);
	a = atomic_load_explicit(&c->area, memory_order_acquire);
	/* Another thread of the child may have been first. A channel without memory or thread
	 * counts nothing; to try with every request would cost too much. */
	if (!a && !atomic_load_explicit(&c->broken, memory_order_relaxed)) {
		if (channel_start(c, generation_after(c->forked_generation)) < 0)
			atomic_store_explicit(&c->broken, 1, memory_order_relaxed);
		a = atomic_load_explicit(&c->area, memory_order_acquire);
	}
	(void)pthread_mutex_unlock(&c->lock);
	return a;
}
