/* SPDX-License-Identifier: Apache-2.0 */
#include "device-fixture.h"
#include "base/units.h"
#include "support/cmocka-includes.h"
#include <elf.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MAX_ALLOCATIONS 512
#define WAIT_NS		(60 * NSEC_PER_SEC)

/* ---- memory and events ---- */

static struct {
	pthread_mutex_t lock;
	struct {
		char *start;
		uint64_t size;
	} a[MAX_ALLOCATIONS];
	uint32_t raised[64], n_faults;
	uint64_t fault_address;
} fake = {.lock = PTHREAD_MUTEX_INITIALIZER};

void *card_alloc(uint64_t size)
{
	char *p;

	size = (size + 4095) & ~UINT64_C(4095);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		 -1, 0);
	assert_true(p != MAP_FAILED);
	(void)pthread_mutex_lock(&fake.lock);
	for (uint32_t i = 0; i < MAX_ALLOCATIONS; i++)
		if (!fake.a[i].start) {
			fake.a[i].start = p;
			fake.a[i].size = size;
			(void)pthread_mutex_unlock(&fake.lock);
			return p;
		}
	(void)pthread_mutex_unlock(&fake.lock);
	fail_msg("too many allocations");
	return NULL;
}

void card_free(void *p)
{
	(void)pthread_mutex_lock(&fake.lock);
	for (uint32_t i = 0; i < MAX_ALLOCATIONS; i++)
		if (p && fake.a[i].start == p) {
			(void)munmap(p, fake.a[i].size);
			fake.a[i].start = NULL;
		}
	(void)pthread_mutex_unlock(&fake.lock);
}

char *card_take_out(void *p)
{
	(void)pthread_mutex_lock(&fake.lock);
	for (uint32_t i = 0; i < MAX_ALLOCATIONS; i++)
		if (fake.a[i].start == p)
			fake.a[i].start = NULL;
	(void)pthread_mutex_unlock(&fake.lock);
	return p;
}

void card_free_all(void)
{
	for (uint32_t i = 0; i < MAX_ALLOCATIONS; i++)
		card_free(fake.a[i].start);
}

static bool find(const void *address, char **ret_start, uint64_t *ret_size)
{
	for (uint32_t i = 0; i < MAX_ALLOCATIONS; i++) {
		uintptr_t start = (uintptr_t)fake.a[i].start, at = (uintptr_t)address;

		if (!start || at < start || at - start >= fake.a[i].size)
			continue;
		*ret_start = fake.a[i].start;
		*ret_size = fake.a[i].size;
		return true;
	}
	return false;
}

bool memory_accessible(const void *address, uint64_t size)
{
	char *start;
	uint64_t room;
	bool r;

	(void)pthread_mutex_lock(&fake.lock);
	r = find(address, &start, &room) &&
	    size <= room - (uint64_t)((uintptr_t)address - (uintptr_t)start);
	(void)pthread_mutex_unlock(&fake.lock);
	return r;
}

bool memory_find(const void *address, void **ret_start, uint64_t *ret_size)
{
	char *start = NULL;
	bool r;

	(void)pthread_mutex_lock(&fake.lock);
	r = find(address, &start, ret_size);
	(void)pthread_mutex_unlock(&fake.lock);
	if (r)
		*ret_start = start;
	return r;
}

void event_raise(uint32_t event_id)
{
	(void)pthread_mutex_lock(&fake.lock);
	if (event_id < ARRAY_SIZE(fake.raised))
		fake.raised[event_id]++;
	(void)pthread_mutex_unlock(&fake.lock);
}

void event_raise_fault(uint32_t node, uint64_t address)
{
	(void)node;
	(void)pthread_mutex_lock(&fake.lock);
	fake.n_faults++;
	fake.fault_address = address;
	(void)pthread_mutex_unlock(&fake.lock);
}

uint32_t events_raised(uint32_t event_id)
{
	uint32_t n;

	(void)pthread_mutex_lock(&fake.lock);
	n = fake.raised[event_id];
	(void)pthread_mutex_unlock(&fake.lock);
	return n;
}

uint32_t faults_raised(uint64_t *ret_address)
{
	uint32_t n;

	(void)pthread_mutex_lock(&fake.lock);
	n = fake.n_faults;
	*ret_address = fake.fault_address;
	(void)pthread_mutex_unlock(&fake.lock);
	return n;
}

void events_reset(void)
{
	(void)pthread_mutex_lock(&fake.lock);
	memset(fake.raised, 0, sizeof(fake.raised));
	fake.n_faults = 0;
	(void)pthread_mutex_unlock(&fake.lock);
}

/* ---- a machine ---- */

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

void machine_setup(struct machine *m, double time_scale)
{
	struct ini_error error;

	(void)strcpy(m->folder, "/tmp/test-device.XXXXXX");
	assert_non_null(mkdtemp(m->folder));
	(void)snprintf(m->path, sizeof(m->path), "%s/machine", m->folder);
	assert_int_equal(sim_machine_create(m->path, 1, time_scale, monotonic_ns() - NSEC_PER_SEC,
					    &m->m),
			 0);
	(void)strcpy(m->m->cards[0].bdf, "0000:43:00.0");
	(void)strcpy(m->m->device_ini, COFRIS_SOURCE_DIR "/profiles/devices/mi50.ini");
	assert_int_equal(plant_device_load(m->m->device_ini, &m->profile, &error), 0);
	m->m->cards[0].n_cus = 60;
	plant_cus_init(&m->cus, m->profile);
	sim_card_set_clock(&m->m->cards[0], 0, 1725);
	events_reset();
}

void machine_teardown(struct machine *m)
{
	sim_machine_unmap(m->m);
	(void)unlink(m->path);
	(void)rmdir(m->folder);
	free(m->profile);
	card_free_all();
}

uint64_t machine_now_ns(const struct machine *m)
{
	return sim_device_ns(m->m, monotonic_ns());
}

/* ---- queues ---- */

void queue_open(struct device *d, struct test_queue *q)
{
	struct device_queue_options o = {.type = DEVICE_QUEUE_AQL, .percentage = 100};

	*q = (struct test_queue){.ring = card_alloc(RING_BYTES),
				 .amd = card_alloc(sizeof(amd_queue_t))};
	for (uint32_t i = 0; i < RING_PACKETS; i++)
		*(uint16_t *)ring_slot(q, i) = HSA_PACKET_TYPE_INVALID;
	o.ring = q->ring;
	o.ring_bytes = RING_BYTES;
	o.read_index = &q->amd->read_dispatch_id;
	o.write_index = &q->amd->write_dispatch_id;
	assert_int_equal(device_queue_new(d, &o, &q->q, &q->doorbell), 0);
}

void sdma_open(struct device *d, struct test_queue *q)
{
	struct device_queue_options o = {.type = DEVICE_QUEUE_SDMA, .percentage = 100};

	*q = (struct test_queue){.ring = card_alloc(SDMA_BYTES)};
	o.ring = q->ring;
	o.ring_bytes = SDMA_BYTES;
	assert_int_equal(device_queue_new(d, &o, &q->q, &q->doorbell), 0);
}

void queue_close(struct test_queue *q)
{
	q->q = device_queue_free(q->q);
}

amd_signal_t *signal_new(int64_t value)
{
	amd_signal_t *s = card_alloc(sizeof(*s));

	s->value = value;
	return s;
}

void signal_wait(const amd_signal_t *s, int64_t value)
{
	uint64_t until_ns = monotonic_ns() + WAIT_NS;

	while (__atomic_load_n(&s->value, __ATOMIC_ACQUIRE) != value) {
		if (monotonic_ns() > until_ns)
			fail_msg("a signal stays at %lld, expected %lld", (long long)s->value,
				 (long long)value);
		(void)usleep(50);
	}
}

double signal_ns(const amd_signal_t *s)
{
	return (double)(s->end_ts - s->start_ts) * TICK_NS;
}

double signal_start_ns(const amd_signal_t *s)
{
	return (double)s->start_ts * TICK_NS;
}

/* ---- code objects ---- */

void code_new(struct code *c, const char *const *names, const char *note)
{
	enum {
		DYNAMIC = 0x200,
		HASH = 0x300,
		SYMBOLS = 0x800,
		STRINGS = 0x1000,
		NOTES = 0x1800,
		DESCRIPTORS = 0x2000
	};
	char *image = card_alloc(0x4000), *strings = image + STRINGS;
	Elf64_Ehdr *h = (Elf64_Ehdr *)(void *)image;
	Elf64_Phdr *p = (Elf64_Phdr *)(void *)(image + sizeof(*h));
	Elf64_Dyn *d = (Elf64_Dyn *)(void *)(image + DYNAMIC);
	Elf64_Sym *y = (Elf64_Sym *)(void *)(image + SYMBOLS);
	Elf64_Nhdr *n = (Elf64_Nhdr *)(void *)(image + NOTES);
	uint32_t *hash = (uint32_t *)(void *)(image + HASH), count = 0, at = 1;

	memcpy(h->e_ident, ELFMAG, SELFMAG);
	h->e_ident[EI_CLASS] = ELFCLASS64;
	h->e_machine = 224;
	h->e_phoff = sizeof(*h);
	h->e_phentsize = sizeof(*p);
	h->e_phnum = 2;
	p[0] = (Elf64_Phdr){.p_type = PT_DYNAMIC, .p_vaddr = DYNAMIC, .p_memsz = 0x100};
	for (; names[count]; count++) {
		uint32_t *descriptor = (uint32_t *)(void *)(image + DESCRIPTORS + 64 * count);

		y[count + 1] = (Elf64_Sym){.st_name = at, .st_value = DESCRIPTORS + 64 * count};
		at += (uint32_t)sprintf(strings + at, "%s.kd", names[count]) + 1;
		descriptor[2] = sizeof(struct kernel_args);
	}
	d[0] = (Elf64_Dyn){.d_tag = DT_SYMTAB, .d_un.d_ptr = SYMBOLS};
	d[1] = (Elf64_Dyn){.d_tag = DT_STRTAB, .d_un.d_ptr = STRINGS};
	d[2] = (Elf64_Dyn){.d_tag = DT_STRSZ, .d_un.d_val = at};
	d[3] = (Elf64_Dyn){.d_tag = DT_HASH, .d_un.d_ptr = HASH};
	hash[1] = count + 1;
	if (note) {
		p[1] = (Elf64_Phdr){.p_type = PT_NOTE,
				    .p_vaddr = NOTES,
				    .p_memsz = sizeof(*n) + 8 + strlen(note)};
		*n = (Elf64_Nhdr){.n_namesz = 7, .n_descsz = (uint32_t)strlen(note), .n_type = 1};
		memcpy(n + 1, "cofris", 7);
		memcpy((char *)(n + 1) + 8, note, strlen(note));
	}
	*c = (struct code){.image = image, .descriptors = DESCRIPTORS};
}

uint64_t code_kernel(const struct code *c, uint32_t index)
{
	return (uintptr_t)c->image + c->descriptors + 64 * index;
}

/* ---- packets ---- */

void *ring_slot(struct test_queue *q, uint64_t index)
{
	return q->ring + index % RING_PACKETS * 64;
}

void put_packet(struct test_queue *q, const void *packet)
{
	char *slot = ring_slot(q, q->written);

	/* Waits for room. */
	while (q->written - __atomic_load_n(&q->amd->read_dispatch_id, __ATOMIC_ACQUIRE) >=
	       RING_PACKETS)
		(void)usleep(50);
	memcpy(slot + 2, (const char *)packet + 2, 62);
	__atomic_store_n((uint16_t *)(void *)slot, *(const uint16_t *)packet, __ATOMIC_RELEASE);
	q->written++;
}

void ring_doorbell(struct test_queue *q)
{
	__atomic_store_n(q->doorbell, q->written - (q->amd != NULL), __ATOMIC_RELEASE);
}

void put_kernel(struct test_queue *q, const struct launch *l)
{
	hsa_kernel_dispatch_packet_t p = {
		.header = (uint16_t)(HSA_PACKET_TYPE_KERNEL_DISPATCH |
				     !l->no_barrier << HSA_PACKET_HEADER_BARRIER),
		.setup = 1,
		.workgroup_size_x = 256,
		.workgroup_size_y = 1,
		.workgroup_size_z = 1,
		.grid_size_x = 256 * l->workgroups,
		.grid_size_y = 1,
		.grid_size_z = 1,
		.kernel_object = l->object,
		.kernarg_address = l->args,
		.completion_signal.handle = (uintptr_t)l->signal,
	};

	put_packet(q, &p);
}

void put_barrier(struct test_queue *q, uint16_t type, amd_signal_t *const *deps, uint32_t n,
		 amd_signal_t *done)
{
	hsa_barrier_and_packet_t p = {
		.header = type,
		.completion_signal.handle = (uintptr_t)done,
	};

	for (uint32_t i = 0; i < n; i++)
		p.dep_signal[i].handle = (uintptr_t)deps[i];
	put_packet(q, &p);
}

void put_sdma(struct test_queue *q, const uint32_t *dwords, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		memcpy(q->ring + q->written % SDMA_BYTES, &dwords[i], sizeof(*dwords));
		q->written += sizeof(*dwords);
	}
}
