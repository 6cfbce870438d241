/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a channel, the memory it counts in, and the directive in force. */
#include "libcofris/internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

const struct channel_directive_record directive_none = {.boost_wait_ns = UINT64_MAX};

static int area_new(uint32_t generation, void *memory, int wake_fd, struct area **ret)
{
	struct area *a;

	a = malloc(sizeof(*a));
	if (!a) {
		(void)munmap(memory, sizeof(*a->memory));
		return -ENOMEM;
	}
	*a = (struct area){.memory = memory, .generation = generation, .wake_fd = wake_fd};
	*ret = a;
	return 0;
}

int area_new_private(uint32_t generation, struct area **ret)
{
	void *memory = mmap(NULL, sizeof(struct channel_memory), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	return area_new(generation, memory, -1, ret);
}

int area_new_shared(uint32_t generation, int memory_fd, int wake_fd, struct area **ret)
{
	struct channel_memory *memory;

	memory = mmap(NULL, sizeof(*memory), PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	if (memory->daemon.magic != CHANNEL_MAGIC || memory->daemon.version != CHANNEL_VERSION ||
	    memory->daemon.size != sizeof(*memory) ||
	    mprotect(&memory->daemon, sizeof(memory->daemon), PROT_READ) < 0) {
		(void)munmap(memory, sizeof(*memory));
		return -EPROTO;
	}
	return area_new(generation, memory, wake_fd, ret);
}

struct area *area_free(struct area *a)
{
	if (!a)
		return NULL;
	(void)munmap(a->memory, sizeof(*a->memory));
	if (a->wake_fd >= 0)
		(void)close(a->wake_fd);
	free(a);
	return NULL;
}

/* Never 0, which is that of a request that began nowhere. */
uint32_t generation_after(uint32_t generation)
{
	return generation % REQUEST_GENERATION_MAX + 1;
}

void directive_to_public(const struct channel_directive_record *d, struct cofris_directive *ret)
{
	*ret = (struct cofris_directive){
		.epoch = d->epoch,
		.cu_mask_bits = d->cu_mask_bits,
		.max_batch = d->max_batch,
		.max_wait_ns = d->max_wait_ns,
		.slo_ns = d->slo_ns,
		.boost_wait_ns = d->boost_wait_ns,
		.sclk_mhz = d->sclk_mhz,
	};
	_Static_assert(sizeof(ret->cu_mask) == sizeof(d->cu_mask), "mask words");
	memcpy(ret->cu_mask, d->cu_mask, sizeof(ret->cu_mask));
}

void channel_put_in_force(struct cofris_channel *c, const struct channel_directive_record *d,
			  uint64_t shown_epoch)
{
	struct channel_directive_record shown = *d;

	shown.epoch = shown_epoch;
	channel_latch_write(&c->directive, &c->directive_sequence, &shown);
	atomic_store_explicit(&c->slo_ns, d->slo_ns, memory_order_relaxed);
	atomic_store_explicit(&c->boost_wait_ns, d->boost_wait_ns, memory_order_relaxed);
	atomic_store_explicit(&c->bank, (uint32_t)(d->epoch & 1), memory_order_relaxed);
}

/* With every signal blocked, so that the worker's handlers run on its own threads. */
static int start_thread(struct cofris_channel *c)
{
	sigset_t all, before;
	int r;

	(void)sigfillset(&all);
	r = pthread_sigmask(SIG_SETMASK, &all, &before);
	if (r != 0)
		return -r;
	r = pthread_create(&c->thread, NULL, background_run, c);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0)
		return -EAGAIN;
	c->has_thread = true;
	return 0;
}

int channel_start(struct cofris_channel *c, uint32_t generation)
{
	struct area *a;
	int r;

	c->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->stop_fd < 0)
		return -EAGAIN;
	r = area_new_private(generation, &a);
	if (r < 0)
		return r;
	atomic_store_explicit(&c->area, a, memory_order_release);
	return start_thread(c);
}

static struct cofris_channel *channel_free(struct cofris_channel *c)
{
	grace_cancel(&c->grace);
	(void)area_free(atomic_load_explicit(&c->area, memory_order_relaxed));
	(void)area_free(c->retired);
	if (c->socket >= 0)
		(void)close(c->socket);
	if (c->stop_fd >= 0)
		(void)close(c->stop_fd);
	(void)pthread_mutex_destroy(&c->lock);
	free(c);
	return NULL;
}

static int process_result;

static void init_process(void)
{
	process_result = threads_init();
	if (process_result == 0)
		process_result = forks_init();
}

static struct cofris_channel *channel_new(const struct cofris_options *o)
{
	struct cofris_channel *c;

	c = aligned_alloc(alignof(struct cofris_channel), sizeof(*c));
	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->socket = c->stop_fd = -1;
	c->reports = o->reports;
	c->slots = o->slots;
	c->apply = o->apply;
	c->userdata = o->userdata;
	c->instance_is_pid = !o->instance;
	c->backoff_ns = BACKOFF_MIN_NS;
	options_to_hello(o, &c->hello);
	(void)pthread_mutex_init(&c->lock, NULL);
	channel_put_in_force(c, &directive_none, 0);
	return c;
}

int cofris_open(const struct cofris_options *options, struct cofris_channel **ret)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct cofris_channel *c;
	struct sockaddr_un address;
	struct cofris_options o;
	socklen_t length;
	int r;

	r = options_check(options, &o);
	if (r < 0)
		return r;
	r = options_to_address(&o, &address, &length);
	if (r < 0)
		return r;
	(void)pthread_once(&once, init_process);
	if (process_result < 0)
		return process_result;

	c = channel_new(&o);
	if (!c)
		return -ENOMEM;
	c->address = address;
	c->address_length = length;
	/* In the list first: a fork() from now on finds it. */
	forks_add(c);
	(void)pthread_mutex_lock(&c->lock);
	r = channel_start(c, generation_after(0));
	(void)pthread_mutex_unlock(&c->lock);
	if (r < 0) {
		forks_remove(c);
		(void)channel_free(c);
		return r;
	}
	*ret = c;
	return 0;
}

struct cofris_channel *cofris_close(struct cofris_channel *c)
{
	const uint64_t one = 1;
	bool has_thread;

	if (!c)
		return NULL;
	forks_remove(c);
	(void)pthread_mutex_lock(&c->lock);
	c->stop = true;
	has_thread = c->has_thread;
	if (has_thread)
		(void)!write(c->stop_fd, &one, sizeof(one));
	(void)pthread_mutex_unlock(&c->lock);
	if (has_thread)
		(void)pthread_join(c->thread, NULL);
	return channel_free(c);
}

int cofris_directive(struct cofris_channel *c, uint64_t seen_epoch, struct cofris_directive *ret)
{
	struct channel_directive_record d;

	/* Fails only while directives follow each other faster than one can be copied. */
	while (!channel_latch_read(&c->directive, &d))
		;
	directive_to_public(&d, ret);
	return d.epoch != seen_epoch;
}

int cofris_connected(struct cofris_channel *c)
{
	return (int)atomic_load_explicit(&c->connected, memory_order_relaxed);
}

int cofris_problem(struct cofris_channel *c, char *ret_text, size_t size)
{
	int n;

	(void)pthread_mutex_lock(&c->lock);
	n = snprintf(ret_text, size, "%s", c->problem);
	(void)pthread_mutex_unlock(&c->lock);
	return n > 0;
}

/* Once, not with each of the attempts that follow. */
static void say_refusal(struct cofris_channel *c)
{
	if (!c->says || !c->refused || c->said)
		return;
	c->said = true;
	fprintf(stderr, "%s: %s\n", c->says, c->problem);
}

void channel_refused(struct cofris_channel *c, const char *why)
{
	snprintf(c->problem, sizeof(c->problem), "refused: %s", why);
	c->refused = true;
	say_refusal(c);
}

void channel_say_refusal(struct cofris_channel *c, const char *words)
{
	(void)pthread_mutex_lock(&c->lock);
	c->says = words;
	say_refusal(c);
	(void)pthread_mutex_unlock(&c->lock);
}

const char *cofris_version(void)
{
	return COFRIS_VERSION;
}

/* The public header repeats some of the layout's constants, as it must stand alone. */
_Static_assert(COFRIS_MAX_DEVICES == CHANNEL_MAX_DEVICES, "devices");
_Static_assert(COFRIS_CU_MASK_WORDS == CHANNEL_CU_MASK_WORDS, "mask words");
_Static_assert((int)COFRIS_FOLLOWS_CU_MASK == (int)CHANNEL_FOLLOWS_CU_MASK &&
		       (int)COFRIS_FOLLOWS_BATCH == (int)CHANNEL_FOLLOWS_BATCH,
	       "follows");
_Static_assert((int)COFRIS_REPORTS_STARTS == (int)CHANNEL_REPORTS_STARTS &&
		       (int)COFRIS_REPORTS_FIRST_TOKEN == (int)CHANNEL_REPORTS_FIRST_TOKEN &&
		       (int)COFRIS_REPORTS_PER_TOKEN == (int)CHANNEL_REPORTS_PER_TOKEN &&
		       (int)COFRIS_REPORTS_NO_REQUESTS == (int)CHANNEL_REPORTS_NO_REQUESTS,
	       "reports");
_Static_assert(sizeof(struct cofris_request) == 16, "request");
