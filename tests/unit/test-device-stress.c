/* SPDX-License-Identifier: Apache-2.0 */
/* The whole simulated thunk under threads that create and destroy queues, change masks, run kernels
 * and move bytes all the time, by the driver's functions alone. Meant to be built with
 * COFRIS_SANITIZE=thread too. Runs for COFRIS_STRESS_S seconds (2). */
#include "base/units.h"
#include "hsakmt-fixture.h"
#include "plant/plant.h"
#include <hsa/amd_hsa_queue.h>
#include <hsa/amd_hsa_signal.h>
#include <hsa/hsa.h>
#include <pthread.h>
#include <string.h>
#include <time.h>

#define SEED	     UINT64_C(20260722)
#define N_THREADS    4
#define BYTES	     (UINT64_C(512) << 10)
#define RING_BYTES   4096
#define RING_PACKETS (RING_BYTES / 64)
#define SHADER_BYTES 4096
#define GIVE_UP_MS   20000

static const uint32_t copy_shader[] = {0xc00a0100, 0,	 0xc00a0200, 0x10,
				       0xc00a0300, 0x20, 0xc0020400, 0x30};

struct worker {
	pthread_t thread;
	uint32_t index;
	uint64_t n; /* random numbers drawn */
	uint64_t until_ns;
	uint32_t rounds, bad_bytes, failures;
	/* what it has open */
	char *ring, *sdma_ring, *shader, *src, *middle, *dst, *args;
	amd_queue_t *amd;
	amd_signal_t *signal;
	HsaEvent *event;
	HsaQueueResource aql, sdma;
	uint64_t written, sdma_written;
};

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static uint64_t draw(struct worker *w)
{
	return plant_hash(SEED + w->index, w->n++);
}

static void check(struct worker *w, bool ok)
{
	w->failures += !ok;
}

static char *allocate(struct worker *w, uint32_t node, uint64_t bytes)
{
	HsaMemFlags flags = {0};
	void *p = NULL;

	flags.ui32.HostAccess = 1;
	flags.ui32.NonPaged = node != CPU_NODE;
	check(w, hsaKmtAllocMemory(node, bytes, flags, &p) == HSAKMT_STATUS_SUCCESS);
	return p;
}

static void open_queues(struct worker *w, uint32_t node)
{
	for (uint32_t i = 0; i < RING_PACKETS; i++)
		*(uint16_t *)(void *)(w->ring + i * 64) = HSA_PACKET_TYPE_INVALID;
	memset(w->amd, 0, sizeof(*w->amd));
	w->aql = (HsaQueueResource){0};
	w->aql.Queue_read_ptr_aql = (HSAuint64 *)(uintptr_t)&w->amd->read_dispatch_id;
	w->aql.Queue_write_ptr_aql = (HSAuint64 *)(uintptr_t)&w->amd->write_dispatch_id;
	w->sdma = (HsaQueueResource){0};
	w->written = w->sdma_written = 0;
	check(w, hsaKmtCreateQueue(node, HSA_QUEUE_COMPUTE_AQL, 100, HSA_QUEUE_PRIORITY_NORMAL,
				   w->ring, RING_BYTES, NULL, &w->aql) == HSAKMT_STATUS_SUCCESS);
	check(w,
	      hsaKmtCreateQueue(node, HSA_QUEUE_SDMA, 100, HSA_QUEUE_PRIORITY_NORMAL, w->sdma_ring,
				RING_BYTES, NULL, &w->sdma) == HSAKMT_STATUS_SUCCESS);
}

static void close_queues(struct worker *w)
{
	check(w, hsaKmtDestroyQueue(w->aql.QueueId) == HSAKMT_STATUS_SUCCESS);
	check(w, hsaKmtDestroyQueue(w->sdma.QueueId) == HSAKMT_STATUS_SUCCESS);
}

static void ring(uint64_t doorbell, uint64_t value)
{
	__atomic_store_n((uint64_t *)(uintptr_t)doorbell, value, __ATOMIC_RELEASE);
}

static void random_mask(struct worker *w)
{
	HSAuint32 words[2] = {(uint32_t)draw(w), (uint32_t)draw(w) & 0x0fffffff};

	if (draw(w) % 8 == 0)
		words[0] = words[1] = 0;
	check(w, hsaKmtSetQueueCUMask(w->aql.QueueId, 64, words) == HSAKMT_STATUS_SUCCESS);
	if ((words[0] | words[1]) == 0) {
		words[0] = 1;
		check(w, hsaKmtSetQueueCUMask(w->aql.QueueId, 64, words) == HSAKMT_STATUS_SUCCESS);
	}
}

/* Once, as kernels in flight read them. */
static void write_arguments(struct worker *w)
{
	uint64_t *args = (uint64_t *)(void *)w->args;

	args[0] = (uintptr_t)w->middle;
	args[1] = (uintptr_t)w->dst;
	args[5] = (uintptr_t)w->dst + BYTES;
}

/* Copies middle to dst by the runtime's shader; signalled at its end. */
static void put_kernel(struct worker *w, bool signalled)
{
	char *slot = w->ring + w->written % RING_PACKETS * 64;
	hsa_kernel_dispatch_packet_t p = {
		.setup = 1,
		.workgroup_size_x = 64,
		.grid_size_x = 4096,
		.kernel_object = (uintptr_t)w->shader,
		.kernarg_address = w->args,
		.completion_signal.handle = signalled ? (uintptr_t)w->signal : 0,
	};

	memcpy(slot + 2, (char *)&p + 2, sizeof(p) - 2);
	__atomic_store_n((uint16_t *)(void *)slot,
			 HSA_PACKET_TYPE_KERNEL_DISPATCH | 1 << HSA_PACKET_HEADER_BARRIER,
			 __ATOMIC_RELEASE);
	ring((uintptr_t)w->aql.QueueDoorBell, w->written++);
}

static void put_dwords(struct worker *w, const uint32_t *d, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		memcpy(w->sdma_ring + w->sdma_written % RING_BYTES, &d[i], sizeof(*d));
		w->sdma_written += sizeof(*d);
	}
}

/* Copies src to middle by the engine; signalled as the runtime does. */
static void put_copy(struct worker *w)
{
	uint64_t src = (uintptr_t)w->src, dst = (uintptr_t)w->middle;
	uint64_t value = (uintptr_t)&w->signal->value, box = w->signal->event_mailbox_ptr;
	const uint32_t copy[] = {1,
				 BYTES - 1,
				 0,
				 (uint32_t)src,
				 (uint32_t)(src >> 32),
				 (uint32_t)dst,
				 (uint32_t)(dst >> 32)};
	const uint32_t atomic[] = {10 | 47u << 25,
				   (uint32_t)value,
				   (uint32_t)(value >> 32),
				   UINT32_MAX,
				   UINT32_MAX,
				   0,
				   0,
				   0};
	const uint32_t fence[] = {5, (uint32_t)box, (uint32_t)(box >> 32), w->signal->event_id};
	const uint32_t trap[] = {6, w->signal->event_id};

	put_dwords(w, copy, 7);
	put_dwords(w, atomic, 8);
	put_dwords(w, fence, 4);
	put_dwords(w, trap, 2);
	ring((uintptr_t)w->sdma.QueueDoorBell, w->sdma_written);
}

static void wait_signal(struct worker *w)
{
	uint64_t until_ns = monotonic_ns() + GIVE_UP_MS * NSEC_PER_MSEC;

	while (__atomic_load_n(&w->signal->value, __ATOMIC_ACQUIRE) != 0) {
		(void)hsaKmtWaitOnEvent(w->event, 100);
		if (monotonic_ns() > until_ns) {
			w->failures++;
			return;
		}
	}
}

static void arm_signal(struct worker *w)
{
	__atomic_store_n(&w->signal->value, 1, __ATOMIC_RELEASE);
}

static void round_of(struct worker *w)
{
	uint64_t seed = draw(w);

	for (uint64_t i = 0; i < BYTES; i += 8) {
		uint64_t value = seed * (i + 1);

		memcpy(w->src + i, &value, sizeof(value));
	}
	arm_signal(w);
	put_copy(w);
	if (draw(w) % 2)
		random_mask(w);
	wait_signal(w);
	arm_signal(w);
	put_kernel(w, true);
	if (draw(w) % 2)
		random_mask(w);
	wait_signal(w);
	for (uint64_t i = 0; i < BYTES; i++)
		w->bad_bytes += w->dst[i] != w->src[i];
	w->rounds++;
}

static void free_buffers(struct worker *w)
{
	char *buffers[] = {w->src, w->middle, w->dst};

	for (size_t i = 0; i < ARRAY_SIZE(buffers); i++)
		check(w, hsaKmtFreeMemory(buffers[i], BYTES) == HSAKMT_STATUS_SUCCESS);
}

static void *work(void *userdata)
{
	struct worker *w = userdata;
	uint32_t node = w->index % 2 ? CARD_1 : CARD_0;
	HsaEventDescriptor d = {.EventType = HSA_EVENTTYPE_SIGNAL};

	w->ring = allocate(w, CPU_NODE, RING_BYTES);
	w->sdma_ring = allocate(w, CPU_NODE, RING_BYTES);
	w->args = allocate(w, CPU_NODE, 4096);
	w->shader = allocate(w, node, SHADER_BYTES);
	w->amd = (amd_queue_t *)(void *)allocate(w, CPU_NODE, 4096);
	w->signal = (amd_signal_t *)(void *)allocate(w, CPU_NODE, 4096);
	check(w, hsaKmtCreateEvent(&d, false, false, &w->event) == HSAKMT_STATUS_SUCCESS);
	if (w->failures > 0)
		return NULL;
	memcpy(w->shader + 256, copy_shader, sizeof(copy_shader));
	w->signal->event_id = w->event->EventId;
	w->signal->event_mailbox_ptr = w->event->EventData.HWData2;
	while (monotonic_ns() < w->until_ns && w->failures == 0) {
		w->src = allocate(w, CPU_NODE, BYTES);
		w->middle = allocate(w, node, BYTES);
		w->dst = allocate(w, node, BYTES);
		write_arguments(w);
		open_queues(w, node);
		for (uint64_t n = draw(w) % 4 + 1; n > 0 && w->failures == 0; n--)
			round_of(w);
		/* Away with kernels and copies in flight. */
		if (draw(w) % 2) {
			put_kernel(w, false);
			put_kernel(w, false);
			arm_signal(w);
			put_copy(w);
		}
		/* And with the memory that they are at: a page fault, if they still are. */
		if (draw(w) % 2) {
			free_buffers(w);
			close_queues(w);
		} else {
			close_queues(w);
			free_buffers(w);
		}
	}
	return NULL;
}

static void test_threads_never_see_a_wrong_byte(void **state)
{
	struct hsakmt_fixture *f = *state;
	const char *seconds = getenv("COFRIS_STRESS_S");
	struct worker workers[N_THREADS] = {0};
	struct sim_activity_cursor cursors[FIXTURE_CARDS] = {0};
	uint64_t until_ns, last_ns = 0;
	uint32_t rounds = 0, bad = 0, failures = 0;

	print_message("seed %llu\n", (unsigned long long)SEED);
	until_ns = monotonic_ns() +
		   (uint64_t)(seconds ? strtoul(seconds, NULL, 10) : 2) * NSEC_PER_SEC;
	for (uint32_t i = 0; i < N_THREADS; i++) {
		workers[i].index = i;
		workers[i].until_ns = until_ns;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	/* Meanwhile the simulator steps the cards and switches their clocks. */
	for (uint32_t n = 0; monotonic_ns() < until_ns; n++) {
		uint64_t now_ns = sim_device_ns(f->machine, monotonic_ns());

		for (uint32_t i = 0; i < FIXTURE_CARDS; i++) {
			struct plant_activity a;

			sim_card_activity(&f->machine->cards[i], &cursors[i], last_ns, now_ns, &a);
			if (n % 10 == 0)
				sim_card_set_clock(&f->machine->cards[i], now_ns,
						   n % 20 ? 925 : 1725);
		}
		last_ns = now_ns;
		(void)usleep(1000);
	}
	for (uint32_t i = 0; i < N_THREADS; i++) {
		assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
		rounds += workers[i].rounds;
		bad += workers[i].bad_bytes;
		failures += workers[i].failures;
	}
	print_message("%u rounds, %u wrong bytes\n", rounds, bad);
	assert_int_equal(failures, 0);
	assert_int_equal(bad, 0);
	assert_true(rounds > 0);
}

static int setup_with_clocks(void **state)
{
	struct hsakmt_fixture *f;

	assert_int_equal(hsakmt_setup(state), 0);
	f = *state;
	for (uint32_t i = 0; i < FIXTURE_CARDS; i++) {
		f->machine->cards[i].n_cus = 60;
		sim_card_set_clock(&f->machine->cards[i], 0, 1725);
	}
	assert_int_equal(hsaKmtOpenKFD(), HSAKMT_STATUS_SUCCESS);
	return 0;
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_threads_never_see_a_wrong_byte,
						setup_with_clocks, hsakmt_teardown_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
