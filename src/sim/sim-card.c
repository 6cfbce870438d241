/* SPDX-License-Identifier: Apache-2.0 */
/* The shared machine: its file, the clock's history, and the slots. */
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

#define SEQLOCK_TRIES 100

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
	/* Rounded up, so that whoever sleeps until then finds the device there. What is as good as
	 * never stays a moment to come. */
	return m->wall_origin_ns + (uint64_t)fmin(ceil((double)device_ns * m->time_scale), 9e18);
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

uint32_t sim_card_bump(struct sim_card *c)
{
	uint32_t before = atomic_fetch_add(&c->epoch, 1);

	(void)syscall(SYS_futex, &c->epoch, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	return before;
}

void sim_card_set_clock(struct sim_card *c, uint64_t from_ns, uint32_t sclk_mhz)
{
	uint32_t head = atomic_load_explicit(&c->clock_head, memory_order_relaxed);
	struct sim_clock *e = &c->clock[head % SIM_CLOCK_HISTORY];

	__atomic_store_n(&e->from_ns, from_ns, __ATOMIC_RELEASE);
	__atomic_store_n(&e->sclk_mhz, sclk_mhz, __ATOMIC_RELEASE);
	atomic_store_explicit(&c->clock_head, head + 1, memory_order_release);
	(void)sim_card_bump(c);
}

void sim_clock_history_read(struct sim_card *c, uint64_t since_ns, struct sim_clock_history *ret)
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

/* Frees the slot of a dead process once its work has run out; whether it has. Nobody else touches
 * the slot meanwhile. */
static bool slot_clear(struct sim_slot *s, uint64_t now_ns)
{
	struct slot_totals t;

	STORE(s->n_queues, 0);
	STORE(s->vram_bytes, 0);
	if (LOAD(s->sequence) & 1) {
		/* Killed while it wrote: what is torn is not worth keeping. */
		STORE(s->running_until_ns, 0);
		STORE(s->load_since_ns, now_ns);
		slot_write_end(s);
	}
	/* Queues of hardware end with their process; a request that a process has begun does not.
	 */
	if (LOAD(s->ends_with_process) && LOAD(s->running_until_ns) > now_ns) {
		slot_write_begin(s);
		STORE(s->running_until_ns, now_ns);
		slot_write_end(s);
	}
	if (LOAD(s->running_until_ns) > now_ns || slot_totals(s, now_ns, &t) < 0)
		return false;
	slot_write_begin(s);
	STORE(s->busy_ns, t.busy_ns);
	STORE(s->ungated_cu_ns, t.ungated_cu_ns);
	STORE(s->flop_k, t.flop_k);
	STORE(s->bytes, t.bytes);
	STORE(s->load_since_ns, MAX(LOAD(s->load_since_ns), LOAD(s->running_until_ns)));
	STORE(s->running_until_ns, 0);
	STORE(s->load_until_ns, 0);
	slot_write_end(s);
	return true;
}

/* If the process that has the slot is dead, or the one that was about to free it. Simulator and
 * processes may come to it at the same time, and the slot may have a new owner a moment later: so
 * it is claimed first, by the negative PID of whoever does it. */
static void slot_reap(struct sim_slot *s, uint64_t now_ns)
{
	int32_t pid = atomic_load(&s->pid);

	if (pid == 0 || !process_has_ended(pid < 0 ? -pid : pid) ||
	    !atomic_compare_exchange_strong(&s->pid, &pid, -getpid()))
		return;
	atomic_store(&s->pid, slot_clear(s, now_ns) ? 0 : pid);
}

static int slot_take(struct sim_card *c, struct sim_slot **ret)
{
	for (uint32_t i = 0; i < SIM_SLOTS; i++) {
		int32_t none = 0;

		if (atomic_compare_exchange_strong(&c->slots[i].pid, &none, getpid())) {
			*ret = &c->slots[i];
			return 0;
		}
	}
	return -EBUSY;
}

int sim_slot_take(struct sim_card *c, uint64_t now_ns, struct sim_slot **ret)
{
	int r = slot_take(c, ret);

	if (r < 0) {
		for (uint32_t i = 0; i < SIM_SLOTS; i++)
			slot_reap(&c->slots[i], now_ns);
		r = slot_take(c, ret);
	}
	if (r < 0)
		return r;
	STORE((*ret)->shape, 0);
	STORE((*ret)->n_queues, 0);
	STORE((*ret)->vram_bytes, 0);
	STORE((*ret)->load_until_ns, 0);
	STORE((*ret)->ends_with_process, 0);
	return 0;
}

void sim_slot_release(struct sim_card *c, struct sim_slot *s)
{
	STORE(s->load_until_ns, 0);
	STORE(s->n_queues, 0);
	STORE(s->vram_bytes, 0);
	atomic_store(&s->pid, 0);
	(void)sim_card_bump(c);
}

void sim_slot_write(struct sim_slot *s, const struct sim_account *a)
{
	slot_write_begin(s);
	STORE(s->accounted_ns, a->accounted_ns);
	STORE(s->busy_ns, a->busy_ns);
	STORE(s->ungated_cu_ns, a->ungated_cu_ns);
	STORE(s->flop_k, a->flop_k);
	STORE(s->bytes, a->bytes);
	STORE(s->running_cus, a->running_cus);
	STORE(s->flop_per_us, a->flop_per_us);
	STORE(s->bytes_per_us, a->bytes_per_us);
	STORE(s->load_since_ns, a->load_since_ns);
	STORE(s->load_until_ns, a->load_until_ns);
	STORE(s->demand_bytes_per_us, a->demand_bytes_per_us);
	for (uint32_t i = 0; a->load && i < SIM_MAX_CUS; i++)
		STORE(s->load[i], a->load[i]);
	STORE(s->running_until_ns, a->running_until_ns);
	slot_write_end(s);
}

int sim_slot_load(struct sim_slot *s, uint64_t from_ns, struct sim_load *ret)
{
	for (unsigned int i = 0; i < SEQLOCK_TRIES; i++) {
		uint32_t before = LOAD(s->sequence);
		bool none;

		ret->until_ns = MAX(LOAD(s->running_until_ns), LOAD(s->load_until_ns));
		none = LOAD(s->pid) == 0 || ret->until_ns <= from_ns;
		ret->since_ns = LOAD(s->load_since_ns);
		if (none)
			ret->since_ns = MAX(ret->since_ns, ret->until_ns);
		ret->gbps = (double)LOAD(s->demand_bytes_per_us) * 1e-3;
		for (uint32_t k = 0; !none && k < SIM_MAX_CUS; k++)
			ret->waves[k] = LOAD(s->load[k]);
		if (!(before & 1) && LOAD(s->sequence) == before)
			return none ? -ENOENT : 0;
	}
	return -EAGAIN;
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
