/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/hsakmt/copy.h"
#include "sim/hsakmt/hsakmt.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#define AT_ONCE_BYTES	  (UINT64_C(256) << 10) /* some 50 us on the host */
#define CHUNK_BYTES	  (UINT64_C(1) << 20)	/* between looks whether it was given up */
#define MAX_BYTES	  (UINT64_C(1) << 40)
#define MAX_PATTERN_BYTES 4096

struct mover {
	pthread_mutex_t lock;
	pthread_cond_t work, idle;
	struct copy *first, **last, *at; /* waiting, and the one being moved */
	pthread_t thread;
	bool started, stop;
	int wake_fd;
};

struct copy copy_linear(uint64_t dst, uint64_t src, uint64_t bytes)
{
	return (struct copy){.src = src, .dst = dst, .row_bytes = bytes, .rows = 1, .slices = 1};
}

struct copy copy_fill(uint64_t dst, uint64_t pattern, uint64_t pattern_bytes, uint64_t bytes)
{
	struct copy c = copy_linear(dst, pattern, bytes);

	c.pattern_bytes = pattern_bytes;
	return c;
}

uint64_t copy_bytes(const struct copy *c)
{
	uint64_t bytes;

	if (__builtin_mul_overflow(c->row_bytes, c->rows, &bytes) ||
	    __builtin_mul_overflow(bytes, c->slices, &bytes))
		return UINT64_MAX;
	return bytes;
}

/* From the first byte of a box to its last. */
static int check_box(uint64_t address, const struct copy *c, uint64_t pitch, uint64_t slice,
		     uint64_t *ret_address)
{
	uint64_t rows, slices, extent;

	*ret_address = address;
	if (__builtin_mul_overflow(c->rows - 1, pitch, &rows) ||
	    __builtin_mul_overflow(c->slices - 1, slice, &slices) ||
	    __builtin_add_overflow(rows, slices, &extent) ||
	    __builtin_add_overflow(extent, c->row_bytes, &extent))
		return -EFAULT;
	return memory_accessible((const void *)(uintptr_t)address, extent) ? 0 : -EFAULT;
}

/* Whether a box that was checked reaches into the range. */
static bool box_reaches(uint64_t address, const struct copy *c, uint64_t pitch, uint64_t slice,
			uint64_t start, uint64_t size)
{
	uint64_t extent = (c->rows - 1) * pitch + (c->slices - 1) * slice + c->row_bytes;

	return address < start + size && start < address + extent;
}

bool copy_reaches(const struct copy *c, uint64_t start, uint64_t size)
{
	if (copy_bytes(c) == 0)
		return false;
	if (box_reaches(c->dst, c, c->dst_pitch, c->dst_slice, start, size))
		return true;
	if (c->pattern_bytes == 0)
		return box_reaches(c->src, c, c->src_pitch, c->src_slice, start, size);
	return !c->pattern_is_own && c->src < start + size && start < c->src + c->pattern_bytes;
}

int copy_check(struct copy *c, uint64_t *ret_address)
{
	uint64_t bytes = copy_bytes(c);
	int r;

	if (bytes == 0)
		return 0;
	if (bytes > MAX_BYTES || c->pattern_bytes > MAX_PATTERN_BYTES) {
		*ret_address = c->dst;
		return -EFAULT;
	}
	r = check_box(c->dst, c, c->dst_pitch, c->dst_slice, ret_address);
	if (r < 0)
		return r;
	if (c->pattern_bytes == 0)
		return check_box(c->src, c, c->src_pitch, c->src_slice, ret_address);
	if (c->pattern_is_own)
		return 0;
	*ret_address = c->src;
	if (!memory_accessible((const void *)(uintptr_t)c->src, c->pattern_bytes))
		return -EFAULT;
	if (c->pattern_bytes <= sizeof(c->pattern)) {
		memcpy(c->pattern, (const void *)(uintptr_t)c->src, c->pattern_bytes);
		c->pattern_is_own = true;
	}
	return 0;
}

static const void *pattern_of(const struct copy *c)
{
	return c->pattern_is_own ? (const void *)c->pattern : (const void *)(uintptr_t)c->src;
}

/* Doubles what is there, so that long fills are as fast as copies. */
static void fill_row(const struct copy *c, char *dst)
{
	uint64_t pattern_bytes = c->pattern_bytes, bytes = c->row_bytes;
	uint64_t done = MIN(pattern_bytes, bytes);

	memmove(dst, pattern_of(c), done);
	while (done < bytes && !atomic_load(&c->cancelled)) {
		uint64_t n = MIN(MIN(done, bytes - done), CHUNK_BYTES);

		n = n == bytes - done ? n : n - n % pattern_bytes;
		memcpy(dst + done, dst + done % pattern_bytes, n);
		done += n;
	}
}

static void move_row(const struct copy *c, char *dst, const char *src)
{
	for (uint64_t done = 0; done < c->row_bytes && !atomic_load(&c->cancelled);) {
		uint64_t n = MIN(c->row_bytes - done, CHUNK_BYTES);

		/* A range that overlaps itself would need the other direction; no runtime asks
		 * for that. */
		memmove(dst + done, src + done, n);
		done += n;
	}
}

static void move(const struct copy *c)
{
	/* Rows without a byte may be more than anyone could count. */
	if (c->row_bytes == 0)
		return;
	for (uint64_t z = 0; z < c->slices && !atomic_load(&c->cancelled); z++)
		for (uint64_t y = 0; y < c->rows && !atomic_load(&c->cancelled); y++) {
			uint64_t to = c->dst + z * c->dst_slice + y * c->dst_pitch;
			uint64_t from = c->src + z * c->src_slice + y * c->src_pitch;

			if (c->pattern_bytes > 0)
				fill_row(c, (char *)(uintptr_t)to);
			else
				move_row(c, (char *)(uintptr_t)to, (const char *)(uintptr_t)from);
		}
}

static void *move_all(void *userdata)
{
	struct mover *m = userdata;
	uint64_t one = 1;

	(void)pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		struct copy *c = m->first;

		if (!c) {
			(void)pthread_cond_wait(&m->work, &m->lock);
			continue;
		}
		m->first = c->next;
		if (!m->first)
			m->last = &m->first;
		m->at = c;
		(void)pthread_mutex_unlock(&m->lock);
		move(c);
		(void)pthread_mutex_lock(&m->lock);
		m->at = NULL;
		atomic_store(&c->done, true);
		(void)pthread_cond_broadcast(&m->idle);
		(void)!write(m->wake_fd, &one, sizeof(one));
	}
	(void)pthread_mutex_unlock(&m->lock);
	return NULL;
}

int mover_new(int wake_fd, struct mover **ret)
{
	struct mover *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	(void)pthread_mutex_init(&m->lock, NULL);
	(void)pthread_cond_init(&m->work, NULL);
	(void)pthread_cond_init(&m->idle, NULL);
	m->last = &m->first;
	m->wake_fd = wake_fd;
	*ret = m;
	return 0;
}

struct mover *mover_free(struct mover *m)
{
	if (!m)
		return NULL;
	(void)pthread_mutex_lock(&m->lock);
	m->stop = true;
	(void)pthread_cond_broadcast(&m->work);
	(void)pthread_mutex_unlock(&m->lock);
	if (m->started)
		(void)pthread_join(m->thread, NULL);
	(void)pthread_cond_destroy(&m->work);
	(void)pthread_cond_destroy(&m->idle);
	(void)pthread_mutex_destroy(&m->lock);
	free(m);
	return NULL;
}

static bool ensure_thread(struct mover *m)
{
	sigset_t all, before;

	if (m->started)
		return true;
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	m->started = pthread_create(&m->thread, NULL, move_all, m) == 0;
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	return m->started;
}

void mover_start(struct mover *m, struct copy *c)
{
	/* Without a thread it takes longer, but is done. */
	if (copy_bytes(c) <= AT_ONCE_BYTES || !ensure_thread(m)) {
		move(c);
		atomic_store(&c->done, true);
		return;
	}
	c->next = NULL;
	(void)pthread_mutex_lock(&m->lock);
	*m->last = c;
	m->last = &c->next;
	(void)pthread_cond_signal(&m->work);
	(void)pthread_mutex_unlock(&m->lock);
}

void mover_cancel(struct mover *m, struct copy *c)
{
	if (atomic_load(&c->done))
		return;
	atomic_store(&c->cancelled, true);
	(void)pthread_mutex_lock(&m->lock);
	for (struct copy **p = &m->first; *p; p = &(*p)->next) {
		if (*p != c)
			continue;
		*p = c->next;
		if (!*p)
			m->last = p;
		atomic_store(&c->done, true);
		break;
	}
	while (!atomic_load(&c->done))
		(void)pthread_cond_wait(&m->idle, &m->lock);
	(void)pthread_mutex_unlock(&m->lock);
}
