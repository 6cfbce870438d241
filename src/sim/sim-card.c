/* SPDX-License-Identifier: Apache-2.0 */
/* The shared machine, and the execution of work on it in device time.
 *
 * A request is a share of work to do, 1 at its start. At a clock, on a mask and with k processes
 * running, it falls by dt / (k * service time); the end is where it reaches 0. The sum is taken
 * over the clock's history from the start each time, so that a change which is published late (a
 * step of the plant later) still counts from when it happened. */
#include "sim/sim-card.h"
#include "base/ini-file.h"
#include "base/units.h"
#include "cu-mask/cu-mask.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#define MEMO_SIZE     256
#define STOP_CHECK_NS (20 * NSEC_PER_MSEC) /* how often *stop is looked at */
#define SEQLOCK_TRIES 100

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* ---- the shared file ---- */

static int machine_mmap(int fd, struct sim_machine **ret)
{
	void *p = mmap(NULL, sizeof(**ret), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

int sim_machine_map(const char *path, struct sim_machine **ret)
{
	_cleanup_(closep) int fd = -1;
	struct sim_machine *m = NULL;
	struct stat st;
	int r;

	if (!path)
		path = getenv(SIM_ENV);
	if (!path)
		return -ENOENT;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	/* A shorter file would end in SIGBUS later. */
	if (!S_ISREG(st.st_mode) || st.st_size != (off_t)sizeof(*m))
		return -EBADMSG;
	r = machine_mmap(fd, &m);
	if (r < 0)
		return r;
	if (m->magic != SIM_MAGIC || m->version != SIM_VERSION || m->n_cards == 0 ||
	    m->n_cards > SIM_MAX_CARDS || !(m->time_scale > 0)) {
		sim_machine_unmap(m);
		return -EBADMSG;
	}
	*ret = m;
	return 0;
}

void sim_machine_unmap(struct sim_machine *m)
{
	if (m)
		(void)munmap(m, sizeof(*m));
}

int sim_machine_create(const char *path, uint32_t n_cards, double time_scale,
		       uint64_t wall_origin_ns, struct sim_machine **ret)
{
	_cleanup_(closep) int fd = -1;
	struct sim_machine *m = NULL;
	int r;

	if (n_cards == 0 || n_cards > SIM_MAX_CARDS || !(time_scale > 0) || !isfinite(time_scale))
		return -EINVAL;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(*m)) < 0 || fchmod(fd, 0666) < 0)
		r = -errno;
	else
		r = machine_mmap(fd, &m);
	if (r < 0) {
		(void)unlink(path);
		return r;
	}
	m->n_cards = n_cards;
	m->time_scale = time_scale;
	m->wall_origin_ns = wall_origin_ns;
	for (uint32_t i = 0; i < n_cards; i++)
		m->cards[i].time_factor = 1;
	m->version = SIM_VERSION;
	m->magic = SIM_MAGIC;
	*ret = m;
	return 0;
}

uint64_t sim_device_ns(const struct sim_machine *m, uint64_t wall_ns)
{
	if (wall_ns <= m->wall_origin_ns)
		return 0;
	return (uint64_t)((double)(wall_ns - m->wall_origin_ns) / m->time_scale);
}

uint64_t sim_wall_ns(const struct sim_machine *m, uint64_t device_ns)
{
	/* Rounded up, so that whoever sleeps until then finds the device there. */
	return m->wall_origin_ns + (uint64_t)ceil((double)device_ns * m->time_scale);
}

struct sim_card *sim_card_find(struct sim_machine *m, const char *bdf)
{
	for (uint32_t i = 0; i < m->n_cards; i++)
		if (strncmp(m->cards[i].bdf, bdf, sizeof(m->cards[i].bdf)) == 0)
			return &m->cards[i];
	return NULL;
}

uint64_t sim_card_vram_bytes(const struct sim_card *c)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < SIM_SLOTS; i++)
		if (atomic_load(&c->slots[i].pid) != 0)
			bytes += atomic_load(&c->slots[i].vram_bytes);
	return bytes;
}

void sim_card_raise_gpu_fault(struct sim_machine *m, struct sim_card *c, uint64_t address)
{
	atomic_store(&c->gpu_fault_address, address);
	(void)atomic_fetch_add(&c->n_gpu_faults, 1);
	(void)atomic_fetch_add(&m->fault_epoch, 1);
	(void)syscall(SYS_futex, &m->fault_epoch, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

/* ---- the clock and who waits for it ---- */

static uint32_t card_bump(struct sim_card *c)
{
	uint32_t before = atomic_fetch_add(&c->epoch, 1);

	(void)syscall(SYS_futex, &c->epoch, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	return before;
}

/* Returns when the epoch has moved on, at wall_ns, or on a signal. */
static void card_wait(struct sim_card *c, uint32_t epoch, uint64_t wall_ns)
{
	struct timespec t = {
		.tv_sec = (time_t)(wall_ns / NSEC_PER_SEC),
		.tv_nsec = (long)(wall_ns % NSEC_PER_SEC),
	};

	(void)syscall(SYS_futex, &c->epoch, FUTEX_WAIT_BITSET, epoch, &t, NULL,
		      FUTEX_BITSET_MATCH_ANY);
}

void sim_card_set_clock(struct sim_card *c, uint64_t from_ns, uint32_t sclk_mhz)
{
	uint32_t head = atomic_load_explicit(&c->clock_head, memory_order_relaxed);
	struct sim_clock *e = &c->clock[head % SIM_CLOCK_HISTORY];

	__atomic_store_n(&e->from_ns, from_ns, __ATOMIC_RELEASE);
	__atomic_store_n(&e->sclk_mhz, sclk_mhz, __ATOMIC_RELEASE);
	atomic_store_explicit(&c->clock_head, head + 1, memory_order_release);
	(void)card_bump(c);
}

struct clock_history {
	uint32_t n;
	struct sim_clock clock[SIM_CLOCK_HISTORY]; /* newest first */
};

/* The clock from since_ns on. Before the oldest entry kept, that one is taken to hold. */
static void clock_history_read(struct sim_card *c, uint64_t since_ns, struct clock_history *ret)
{
	uint32_t head, oldest, i;

	do {
		uint64_t next_ns = UINT64_MAX;

		head = atomic_load_explicit(&c->clock_head, memory_order_acquire);
		/* One less than the ring holds: that one may be written at this moment. */
		oldest = head < SIM_CLOCK_HISTORY ? 0 : head - SIM_CLOCK_HISTORY + 1;
		ret->n = 0;
		for (i = head; i > oldest && next_ns > since_ns; i--) {
			const struct sim_clock *e = &c->clock[(i - 1) % SIM_CLOCK_HISTORY];
			struct sim_clock copy = {
				.from_ns = __atomic_load_n(&e->from_ns, __ATOMIC_ACQUIRE),
				.sclk_mhz = __atomic_load_n(&e->sclk_mhz, __ATOMIC_ACQUIRE),
			};

			if (copy.from_ns >= next_ns)
				continue;
			ret->clock[ret->n++] = copy;
			next_ns = copy.from_ns;
		}
	} while (atomic_load_explicit(&c->clock_head, memory_order_relaxed) - i >=
		 SIM_CLOCK_HISTORY);
}

/* ---- slots ---- */

struct slot_totals {
	uint64_t busy_ns, ungated_cu_ns, flop_k, bytes;
};

/* Each field is stored after the odd sequence and loaded before the sequence is looked at again,
 * which release and acquire on the fields give without fences. */
#define LOAD(field)	    atomic_load_explicit(&(field), memory_order_acquire)
#define STORE(field, value) atomic_store_explicit(&(field), (value), memory_order_release)

static void slot_write_begin(struct sim_slot *s)
{
	atomic_store_explicit(&s->sequence,
			      atomic_load_explicit(&s->sequence, memory_order_relaxed) | 1,
			      memory_order_relaxed);
}

static void slot_write_end(struct sim_slot *s)
{
	atomic_store_explicit(&s->sequence,
			      atomic_load_explicit(&s->sequence, memory_order_relaxed) + 1,
			      memory_order_release);
}

/* What a slot has done by now_ns. -EAGAIN while its owner writes it. */
static int slot_totals(struct sim_slot *s, uint64_t now_ns, struct slot_totals *ret)
{
	for (unsigned int i = 0; i < SEQLOCK_TRIES; i++) {
		uint32_t before = atomic_load_explicit(&s->sequence, memory_order_acquire);
		uint64_t until = MIN(LOAD(s->running_until_ns), now_ns), from;
		struct slot_totals t = {
			.busy_ns = LOAD(s->busy_ns),
			.ungated_cu_ns = LOAD(s->ungated_cu_ns),
			.flop_k = LOAD(s->flop_k),
			.bytes = LOAD(s->bytes),
		};

		from = LOAD(s->accounted_ns);
		if (until > from) {
			uint64_t ns = until - from;
			double us = (double)ns / NSEC_PER_USEC;

			t.busy_ns += ns;
			t.ungated_cu_ns += ns * LOAD(s->running_cus);
			t.flop_k += (uint64_t)(us * (double)LOAD(s->flop_per_us) / 1e3);
			t.bytes += (uint64_t)(us * (double)LOAD(s->bytes_per_us));
		}
		if (!(before & 1) && LOAD(s->sequence) == before) {
			*ret = t;
			return 0;
		}
	}
	return -EAGAIN;
}

/* A process that was killed stays a zombie until its parent looks, but its queues are gone. */
static bool process_has_ended(int32_t pid)
{
	_cleanup_(closep) int fd = -1;
	struct pollfd p = {.events = POLLIN};

	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return errno == ESRCH || errno == EINVAL;
	p.fd = fd;
	return poll(&p, 1, 0) > 0;
}

/* Frees the slot of a dead process once its work has run out. */
static void slot_reap(struct sim_slot *s, uint64_t now_ns)
{
	struct slot_totals t;

	STORE(s->n_queues, 0);
	STORE(s->vram_bytes, 0);
	if (LOAD(s->sequence) & 1) {
		/* Killed while it wrote: what is torn is not worth keeping. */
		STORE(s->running_until_ns, 0);
		slot_write_end(s);
	}
	if (LOAD(s->running_until_ns) > now_ns || slot_totals(s, now_ns, &t) < 0)
		return;
	slot_write_begin(s);
	STORE(s->busy_ns, t.busy_ns);
	STORE(s->ungated_cu_ns, t.ungated_cu_ns);
	STORE(s->flop_k, t.flop_k);
	STORE(s->bytes, t.bytes);
	STORE(s->running_until_ns, 0);
	slot_write_end(s);
	atomic_store(&s->pid, 0);
}

static uint64_t since(uint64_t total, uint64_t counted)
{
	return total > counted ? total - counted : 0;
}

void sim_card_activity(struct sim_card *c, struct sim_activity_cursor *cursor, uint64_t since_ns,
		       uint64_t now_ns, struct plant_activity *ret)
{
	double window = (double)since(now_ns, since_ns), idle = 1, cu_ns = 0, flop = 0, bytes = 0;
	uint32_t n_cus = c->n_cus;

	for (uint32_t i = 0; i < SIM_SLOTS; i++) {
		struct sim_slot *s = &c->slots[i];
		int32_t pid = atomic_load(&s->pid);
		struct slot_totals t;
		double busy, share;

		if (pid == 0 && cursor->pid[i] == 0)
			continue;
		if (pid != 0 && process_has_ended(pid))
			slot_reap(s, now_ns);
		if (slot_totals(s, now_ns, &t) < 0)
			continue;
		busy = (double)since(t.busy_ns, cursor->busy_ns[i]);
		/* Work is published after it ran when its process woke late: what does not fit
		 * into this window is left for the next ones, so that no energy is lost. */
		share = busy > window ? window / busy : 1;
		t.busy_ns = cursor->busy_ns[i] + (uint64_t)(busy * share);
#define TAKE(field)                                                                                \
	({                                                                                         \
		uint64_t taken = (uint64_t)((double)since(t.field, cursor->field[i]) * share);     \
		cursor->field[i] += taken;                                                         \
		(double)taken;                                                                     \
	})
		cu_ns += TAKE(ungated_cu_ns);
		flop += TAKE(flop_k) * 1e3;
		bytes += TAKE(bytes);
#undef TAKE
		cursor->busy_ns[i] = t.busy_ns;
		/* A slot that was left is read until all of its work has been counted. */
		if (pid != 0 || share == 1)
			cursor->pid[i] = pid;
		if (window > 0)
			idle *= 1 - busy * share / window;
	}
	/* Several processes overlap by chance; what they light up between them is at most all. */
	*ret = (struct plant_activity){
		.busy_ns = (uint64_t)((1 - idle) * window),
		.ungated_cu_ns = MIN(cu_ns, (1 - idle) * window * n_cus),
		.flop = flop,
		.bytes = bytes,
	};
}

/* ---- executing work ---- */

struct memo {
	const struct plant_model *model;
	uint32_t sclk_mhz, batch;
	struct cu_shape shape;
	struct plant_cost cost;
};

struct sim_context {
	struct sim_machine *machine;
	struct sim_card *card;
	struct sim_slot *slot;
	struct plant_device *device;
	struct memo memo[MEMO_SIZE]; /* of the thread that runs */
	double flop, bytes;	     /* done, beyond what the slot held when it was taken */
	uint64_t flop_k_before, bytes_before;

	pthread_mutex_t lock; /* the mask comes from another thread */
	struct cu_shape shape;
	uint64_t shape_since_ns;
};

/* One execution under way. */
struct run {
	const struct plant_model *model;
	uint32_t batch;
	double factor;

	/* left is what was to do at at_ns; from there on shape and sharers hold. */
	uint64_t at_ns;
	double left;
	struct cu_shape shape;
	uint32_t sharers;

	/* what the slot says */
	uint64_t accounted_ns, published_end_ns;
	double accounted_left;
	uint32_t published_cus;
};

static int slot_take(struct sim_card *card, struct sim_slot **ret)
{
	for (uint32_t i = 0; i < SIM_SLOTS; i++) {
		int32_t none = 0;

		if (atomic_compare_exchange_strong(&card->slots[i].pid, &none, getpid())) {
			*ret = &card->slots[i];
			return 0;
		}
	}
	return -EBUSY;
}

int sim_context_new(struct sim_machine *m, const char *bdf, struct sim_context **ret)
{
	_cleanup_(freep) struct sim_context *c = NULL;
	_cleanup_(freep) struct plant_device *device = NULL;
	char path[sizeof(m->device_ini)];
	struct sim_card *card = sim_card_find(m, bdf);
	struct ini_error error;
	int r;

	if (!card || atomic_load(&card->clock_head) == 0)
		return -ENODEV;
	(void)snprintf(path, sizeof(path), "%.*s", (int)sizeof(path) - 1, m->device_ini);
	r = plant_device_load(path, &device, &error);
	if (r < 0)
		return r;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	r = slot_take(card, &c->slot);
	if (r < 0)
		return r;
	c->machine = m;
	c->card = card;
	c->device = TAKE_PTR(device);
	c->flop_k_before = LOAD(c->slot->flop_k);
	c->bytes_before = LOAD(c->slot->bytes);
	(void)pthread_mutex_init(&c->lock, NULL);
	STORE(c->slot->shape, 0);
	STORE(c->slot->n_queues, 0);
	STORE(c->slot->vram_bytes, 0);
	*ret = TAKE_PTR(c);
	return 0;
}

struct sim_context *sim_context_free(struct sim_context *c)
{
	if (!c)
		return NULL;
	STORE(c->slot->n_queues, 0);
	atomic_store(&c->slot->pid, 0);
	(void)card_bump(c->card);
	(void)pthread_mutex_destroy(&c->lock);
	free(c->device);
	free(c);
	return NULL;
}

const struct plant_device *sim_context_device(const struct sim_context *c)
{
	return c->device;
}

void sim_context_set_queues(struct sim_context *c, uint32_t n_queues)
{
	STORE(c->slot->n_queues, n_queues);
}

void sim_context_set_mask(struct sim_context *c, const uint32_t *words, uint32_t n_bits)
{
	uint32_t copy[CU_MASK_WORDS] = {0}, n_words = (n_bits + 31) / 32;
	struct cu_shape shape = {0, 0};

	if (n_words > CU_MASK_WORDS)
		return;
	if (n_bits > 0) {
		memcpy(copy, words, n_words * sizeof(*copy));
		if (n_bits % 32)
			copy[n_words - 1] &= (UINT32_C(1) << n_bits % 32) - 1;
		shape = cu_mask_effective_shape(&c->device->topology, copy, n_words);
		if (cu_shape_cus(shape) == 0)
			return;
	}
	(void)pthread_mutex_lock(&c->lock);
	c->shape = shape;
	c->shape_since_ns = sim_device_ns(c->machine, monotonic_ns());
	(void)pthread_mutex_unlock(&c->lock);
	STORE(c->slot->shape, (uint32_t)shape.n_se << 16 | shape.cus_per_se);
	(void)card_bump(c->card);
}

static const struct plant_cost *cost_of(struct sim_context *c, const struct run *run,
					uint32_t sclk_mhz)
{
	uint64_t key = (uint64_t)(uintptr_t)run->model >> 4 ^ (uint64_t)sclk_mhz << 20 ^
		       (uint64_t)run->batch << 40 ^ (uint64_t)run->shape.n_se << 8 ^
		       run->shape.cus_per_se;
	struct memo *memo = &c->memo[plant_hash(key, 0) % MEMO_SIZE];

	if (memo->model != run->model || memo->sclk_mhz != sclk_mhz || memo->batch != run->batch ||
	    !cu_shape_equal(memo->shape, run->shape))
		*memo = (struct memo){
			.model = run->model,
			.sclk_mhz = sclk_mhz,
			.batch = run->batch,
			.shape = run->shape,
			.cost = plant_request_cost(c->device, run->model, sclk_mhz, run->shape,
						   run->batch),
		};
	return &memo->cost;
}

static uint32_t ungated_cus(const struct sim_context *c, struct cu_shape shape)
{
	return plant_ungated_cus(c->device, (enum plant_gating)c->card->gating, shape);
}

/* What is left at to_ns of the work left at run->at_ns, or 0. *ret_end_ns is when it ended, to_ns
 * if it has not. */
static double run_until(struct sim_context *c, const struct run *run, uint64_t to_ns,
			uint64_t *ret_end_ns)
{
	double left = run->left;
	uint64_t t = run->at_ns;
	struct clock_history h;

	clock_history_read(c->card, t, &h);
	for (uint32_t i = h.n; i-- > 0;) {
		uint64_t end = MIN(i > 0 ? h.clock[i - 1].from_ns : UINT64_MAX, to_ns);
		double full_ns, need_ns;

		if (end <= t)
			continue;
		full_ns = cost_of(c, run, h.clock[i].sclk_mhz)->ns * run->factor *
			  c->card->time_factor * run->sharers;
		need_ns = left * full_ns;
		if (need_ns <= (double)(end - t)) {
			*ret_end_ns = t + (uint64_t)llround(need_ns);
			return 0;
		}
		left -= (double)(end - t) / full_ns;
		t = end;
	}
	/* Rounding may leave nothing over just before the end. */
	*ret_end_ns = t;
	return MAX(left, 0.0);
}

/* Other processes at work at now_ns, and when the first of them is done. */
static uint32_t others_running(struct sim_context *c, uint64_t now_ns, uint64_t *ret_first_end_ns)
{
	uint32_t n = 0;

	*ret_first_end_ns = UINT64_MAX;
	for (uint32_t i = 0; i < SIM_SLOTS; i++) {
		struct sim_slot *s = &c->card->slots[i];
		uint64_t until;

		if (s == c->slot || atomic_load(&s->pid) == 0)
			continue;
		until = LOAD(s->running_until_ns);
		if (until <= now_ns)
			continue;
		n++;
		*ret_first_end_ns = MIN(*ret_first_end_ns, until);
	}
	return n;
}

/* Goes over to a new shape or number of sharers at t_ns: what was done before counts as it was. */
static void run_change(struct sim_context *c, struct run *run, uint64_t t_ns, struct cu_shape shape,
		       uint32_t sharers)
{
	uint64_t end_ns;

	if (t_ns > run->at_ns) {
		run->left = run_until(c, run, t_ns, &end_ns);
		run->at_ns = run->left > 0 ? t_ns : end_ns;
	}
	run->shape = shape;
	run->sharers = sharers;
}

/* Says in the slot what has been done by now_ns and what runs from then until end_ns (0: no more).
 */
static void run_publish(struct sim_context *c, struct run *run, uint64_t now_ns, double left,
			uint64_t end_ns)
{
	const struct plant_cost *cost = cost_of(c, run, c->device->level_mhz[0]);
	double done = run->accounted_left - left;
	uint64_t ns = since(now_ns, run->accounted_ns);
	struct sim_slot *s = c->slot;
	double us = end_ns > now_ns ? (double)(end_ns - now_ns) / NSEC_PER_USEC : 1;

	c->flop += done * cost->flop;
	c->bytes += done * cost->bytes;
	slot_write_begin(s);
	STORE(s->busy_ns, LOAD(s->busy_ns) + ns);
	STORE(s->ungated_cu_ns, LOAD(s->ungated_cu_ns) + ns * run->published_cus);
	STORE(s->flop_k, c->flop_k_before + (uint64_t)(c->flop / 1e3));
	STORE(s->bytes, c->bytes_before + (uint64_t)c->bytes);
	STORE(s->accounted_ns, MAX(now_ns, run->accounted_ns));
	run->published_cus = ungated_cus(c, run->shape);
	STORE(s->running_cus, run->published_cus);
	STORE(s->flop_per_us, (uint64_t)(left * cost->flop / us));
	STORE(s->bytes_per_us, (uint64_t)(left * cost->bytes / us));
	STORE(s->running_until_ns, end_ns);
	slot_write_end(s);
	run->accounted_ns = MAX(now_ns, run->accounted_ns);
	run->accounted_left = left;
	run->published_end_ns = end_ns;
}

static void run_end(struct sim_context *c, struct run *run, uint64_t end_ns, double left)
{
	run_publish(c, run, end_ns, left, /* end_ns= */ 0);
	(void)card_bump(c->card);
}

/* Looks at everything that may have changed. Returns the end as things stand. */
static uint64_t run_look(struct sim_context *c, struct run *run, uint64_t now_ns,
			 uint64_t *ret_look_again_ns)
{
	uint32_t sharers = others_running(c, now_ns, ret_look_again_ns) + 1;
	struct cu_shape shape;
	uint64_t shape_since_ns, end_ns;

	(void)pthread_mutex_lock(&c->lock);
	shape = c->shape;
	shape_since_ns = c->shape_since_ns;
	(void)pthread_mutex_unlock(&c->lock);
	if (!cu_shape_equal(shape, run->shape))
		run_change(c, run, MIN(shape_since_ns, now_ns), shape, run->sharers);
	if (sharers != run->sharers)
		run_change(c, run, now_ns, shape, sharers);
	(void)run_until(c, run, UINT64_MAX, &end_ns);
	*ret_look_again_ns = MIN(*ret_look_again_ns, end_ns);
	return end_ns;
}

int sim_context_run(struct sim_context *c, const struct plant_model *model, uint32_t batch,
		    double factor, uint64_t start_ns, const _Atomic int *stop, uint64_t *ret_end_ns)
{
	struct run run = {
		.model = model,
		.batch = batch,
		.factor = factor,
		.at_ns = start_ns,
		.left = 1,
		.sharers = 1,
		.accounted_ns = start_ns,
		.accounted_left = 1,
	};
	uint64_t look_again_ns, unused;

	(void)pthread_mutex_lock(&c->lock);
	run.shape = c->shape;
	(void)pthread_mutex_unlock(&c->lock);
	run.published_cus = ungated_cus(c, run.shape);
	for (;;) {
		uint32_t epoch = atomic_load(&c->card->epoch);
		uint64_t wall_ns = monotonic_ns(), wait_ns;
		uint64_t now_ns = sim_device_ns(c->machine, wall_ns);
		uint64_t end_ns = run_look(c, &run, now_ns, &look_again_ns);

		if (end_ns <= now_ns) {
			run_end(c, &run, end_ns, 0);
			*ret_end_ns = end_ns;
			return 0;
		}
		if (stop && atomic_load(stop)) {
			run_end(c, &run, now_ns, run_until(c, &run, now_ns, &unused));
			return -EINTR;
		}
		if (end_ns != run.published_end_ns ||
		    ungated_cus(c, run.shape) != run.published_cus) {
			bool first = run.published_end_ns == 0;

			run_publish(c, &run, now_ns, run_until(c, &run, now_ns, &unused), end_ns);
			/* Others must share from now on; our own bump is no news to us. */
			if (first && card_bump(c->card) == epoch)
				epoch++;
		}
		wait_ns = sim_wall_ns(c->machine, look_again_ns);
		if (stop)
			wait_ns = MIN(wait_ns, wall_ns + STOP_CHECK_NS);
		card_wait(c->card, epoch, wait_ns);
	}
}
