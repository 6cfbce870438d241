/* SPDX-License-Identifier: Apache-2.0 */
/* Memory of the simulated thunk: allocating and its limits, pointers, registering, two processes.
 */
#include "fake-hsakmt-device.h"
#include "hsakmt-fixture.h"
#include "plant/plant.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define PAGE  UINT64_C(4096)
#define MIB   (UINT64_C(1) << 20)
#define GIB   (UINT64_C(1) << 30)
#define VRAM  (16 * GIB)
#define SEED  20240611
#define STEPS 20000

static const HsaMemFlags plain = {0};

static void *allocate(uint32_t node, uint64_t size)
{
	void *p = NULL;

	assert_int_equal(hsaKmtAllocMemory(node, size, plain, &p), HSAKMT_STATUS_SUCCESS);
	assert_non_null(p);
	return p;
}

static void release(void *p)
{
	assert_int_equal(hsaKmtFreeMemory(p, 0), HSAKMT_STATUS_SUCCESS);
}

static void test_memory_is_zero_and_aligned(void **state _unused_)
{
	static const uint64_t sizes[] = {PAGE, 3 * PAGE, 2 * MIB, 5 * MIB};

	for (uint32_t node = 0; node <= FIXTURE_CARDS; node++)
		for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
			unsigned char *p = allocate(node, sizes[i]);
			uint64_t align = sizes[i] >= 2 * MIB ? 2 * MIB : PAGE;

			assert_int_equal((uintptr_t)p % align, 0);
			assert_int_equal(p[0] | p[sizes[i] / 2] | p[sizes[i] - 1], 0);
			memset(p, 0xff, sizes[i]);
			release(p);
		}
	/* What was freed does not come back with its contents. */
	for (int i = 0; i < 3; i++) {
		unsigned char *p = allocate(CARD_0, PAGE);

		assert_int_equal(p[0], 0);
		memset(p, 0xff, PAGE);
		release(p);
	}
}

static void test_vram_is_counted_by_card_and_ends(void **state _unused_)
{
	void *p[16], *q = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(p); i++) {
		p[i] = allocate(CARD_0, GIB);
		assert_int_equal(fake_vram(0), (i + 1) * GIB);
	}
	assert_int_equal(hsaKmtAllocMemory(CARD_0, PAGE, plain, &q), HSAKMT_STATUS_NO_MEMORY);
	assert_null(q);
	assert_int_equal(fake_vram(0), VRAM);
	assert_int_equal(fake_vram(1), 0);
	release(allocate(CARD_1, VRAM));
	release(allocate(CPU_NODE, PAGE));
	release(p[7]);
	release(allocate(CARD_0, GIB));
	for (size_t i = 0; i < ARRAY_SIZE(p); i++)
		if (i != 7)
			release(p[i]);
	assert_int_equal(fake_vram(0), 0);
	assert_int_equal(hsaKmtAllocMemory(CARD_0, VRAM + PAGE, plain, &q),
			 HSAKMT_STATUS_NO_MEMORY);
	assert_int_equal(hsaKmtAllocMemory(CARD_0, UINT64_MAX - PAGE + 1, plain, &q),
			 HSAKMT_STATUS_NO_MEMORY);
	assert_int_equal(hsaKmtAllocMemory(CPU_NODE, UINT64_MAX - PAGE + 1, plain, &q),
			 HSAKMT_STATUS_NO_MEMORY);
}

static void test_other_processes_and_the_fault_leave_less(void **state)
{
	struct hsakmt_fixture *f = *state;
	struct sim_card *card = &f->machine->cards[0];
	void *p = NULL;

	atomic_store(&card->slots[7].pid, 1);
	atomic_store(&card->slots[7].vram_bytes, 15 * GIB);
	release(allocate(CARD_0, GIB));
	assert_int_equal(hsaKmtAllocMemory(CARD_0, GIB + PAGE, plain, &p), HSAKMT_STATUS_NO_MEMORY);
	atomic_store(&card->slots[7].pid, 0);
	release(allocate(CARD_0, GIB + PAGE));
	atomic_store(&card->vram_limit_bytes, 8 * MIB);
	p = allocate(CARD_0, 8 * MIB);
	assert_int_equal(hsaKmtAllocMemory(CARD_0, PAGE, plain, &p), HSAKMT_STATUS_NO_MEMORY);
	release(allocate(CARD_1, GIB));
	release(p);
	atomic_store(&card->vram_limit_bytes, 0);
	release(allocate(CARD_0, GIB));
}

static void test_scratch_is_large_lazy_and_not_counted(void **state _unused_)
{
	const HsaMemFlags scratch = {.ui32 = {.Scratch = 1}};
	unsigned char *p = NULL;

	assert_int_equal(hsaKmtAllocMemory(CARD_0, 4 * GIB, scratch, (void **)&p),
			 HSAKMT_STATUS_SUCCESS);
	assert_int_equal((uintptr_t)p % (64 * 1024), 0);
	assert_int_equal(fake_vram(0), 0);
	p[4 * GIB - 1] = 1;
	release(p);
	assert_int_equal(hsaKmtAllocMemory(CPU_NODE, PAGE, scratch, (void **)&p),
			 HSAKMT_STATUS_INVALID_PARAMETER);
}

static void test_a_fixed_address_is_kept_or_refused(void **state _unused_)
{
	const HsaMemFlags fixed = {.ui32 = {.FixedAddress = 1}};
	void *p = allocate(CARD_0, 4 * MIB), *q = p;

	assert_int_equal(hsaKmtAllocMemory(CARD_0, PAGE, fixed, &q), HSAKMT_STATUS_ERROR);
	assert_int_equal(fake_vram(0), 4 * MIB);
	release(p);
	assert_int_equal(hsaKmtAllocMemory(CARD_0, PAGE, fixed, &q), HSAKMT_STATUS_SUCCESS);
	assert_ptr_equal(q, p);
	release(q);
	q = (char *)p + 1;
	assert_int_equal(hsaKmtAllocMemory(CARD_0, PAGE, fixed, &q),
			 HSAKMT_STATUS_INVALID_PARAMETER);
}

static void test_pointers_are_told_apart(void **state _unused_)
{
	HSAuint32 nodes[] = {CARD_1, CARD_0};
	char *p = allocate(CARD_1, 2 * MIB);
	HsaPointerInfo info;
	HSAuint64 va = 1;
	char own[64];

	assert_int_equal(hsaKmtMapMemoryToGPUNodes(p, 2 * MIB, &va, (HsaMemMapFlags){0}, 2, nodes),
			 HSAKMT_STATUS_SUCCESS);
	assert_int_equal(va, 0);
	assert_int_equal(hsaKmtSetMemoryUserData(p + 5, own), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtQueryPointerInfo(p + 2 * MIB - 1, &info), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(info.Type, HSA_POINTER_ALLOCATED);
	assert_int_equal(info.Node, CARD_1);
	assert_ptr_equal(info.CPUAddress, p);
	assert_int_equal(info.GPUAddress, (uintptr_t)p);
	assert_int_equal(info.SizeInBytes, 2 * MIB);
	assert_ptr_equal(info.UserData, own);
	assert_int_equal(info.NMappedNodes, 2);
	assert_memory_equal(info.MappedNodes, nodes, sizeof(nodes));
	assert_int_equal(hsaKmtUnmapMemoryToGPU(p), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtQueryPointerInfo(p, &info), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(info.NMappedNodes, 0);
	assert_int_equal(hsaKmtQueryPointerInfo(own, &info), HSAKMT_STATUS_ERROR);
	assert_int_equal(info.Type, HSA_POINTER_UNKNOWN);
	release(p);
	assert_int_equal(hsaKmtQueryPointerInfo(p, &info), HSAKMT_STATUS_ERROR);
}

static void test_registered_memory_is_reachable_while_it_is(void **state _unused_)
{
	char *p = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	HsaPointerInfo info;

	assert_false(memory_accessible(p, 1));
	for (int i = 0; i < 2; i++)
		assert_int_equal(hsaKmtRegisterMemoryWithFlags(p + PAGE, 2 * PAGE, plain),
				 HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtQueryPointerInfo(p + PAGE + 9, &info), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(info.Type, HSA_POINTER_REGISTERED_USER);
	assert_int_equal(info.SizeInBytes, 2 * PAGE);
	assert_true(memory_accessible(p + PAGE, 2 * PAGE));
	assert_false(memory_accessible(p + PAGE, 2 * PAGE + 1));
	assert_false(memory_accessible(p + PAGE - 1, 2));
	/* Ranges that overlap or touch make one. */
	assert_int_equal(hsaKmtRegisterMemoryWithFlags(p + 2 * PAGE, 2 * PAGE, plain),
			 HSAKMT_STATUS_SUCCESS);
	assert_true(memory_accessible(p + PAGE, 3 * PAGE));
	assert_int_equal(hsaKmtDeregisterMemory(p + 2 * PAGE), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtDeregisterMemory(p + PAGE), HSAKMT_STATUS_SUCCESS);
	assert_true(memory_accessible(p + PAGE, 2 * PAGE));
	assert_int_equal(hsaKmtDeregisterMemory(p + PAGE), HSAKMT_STATUS_SUCCESS);
	assert_false(memory_accessible(p + PAGE, 1));
	assert_int_equal(hsaKmtDeregisterMemory(p + PAGE), HSAKMT_STATUS_MEMORY_NOT_REGISTERED);
	(void)munmap(p, 4 * PAGE);
	/* Where nothing is, there is nothing for the card. */
	assert_int_equal(hsaKmtRegisterMemoryWithFlags(p, PAGE, plain), HSAKMT_STATUS_ERROR);
	assert_int_equal(hsaKmtRegisterMemoryWithFlags(p, UINT64_MAX, plain), HSAKMT_STATUS_ERROR);
}

/* Before memory goes, every card has let go of it; the fake aborts where it was too late or early.
 */
static void test_cards_let_go_of_what_is_freed(void **state _unused_)
{
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t before[FIXTURE_CARDS];

	for (uint32_t i = 0; i < FIXTURE_CARDS; i++)
		before[i] = fake_withdrawn(i);
	release(allocate(CARD_0, 3 * PAGE));
	for (int i = 0; i < 2; i++)
		assert_int_equal(hsaKmtRegisterMemoryWithFlags(p, 2 * PAGE, plain),
				 HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtDeregisterMemory(p), HSAKMT_STATUS_SUCCESS);
	for (uint32_t i = 0; i < FIXTURE_CARDS; i++)
		assert_int_equal(fake_withdrawn(i) - before[i], 3 * PAGE);
	assert_int_equal(hsaKmtDeregisterMemory(p), HSAKMT_STATUS_SUCCESS);
	for (uint32_t i = 0; i < FIXTURE_CARDS; i++)
		assert_int_equal(fake_withdrawn(i) - before[i], 5 * PAGE);
	(void)munmap(p, 2 * PAGE);
	/* What a program registers of an allocation does not outlive it. */
	p = allocate(CARD_0, 4 * PAGE);
	assert_int_equal(hsaKmtRegisterMemoryWithFlags(p, PAGE, plain), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtRegisterMemoryWithFlags(p + PAGE, PAGE, plain),
			 HSAKMT_STATUS_SUCCESS);
	release(p);
	assert_false(memory_accessible(p, 1));
	assert_false(memory_accessible(p + PAGE, 1));
	assert_int_equal(hsaKmtDeregisterMemory(p + PAGE), HSAKMT_STATUS_MEMORY_NOT_REGISTERED);
}

static void test_the_whole_allocation_is_found(void **state _unused_)
{
	char *p = allocate(CARD_0, 8 * PAGE);
	uint64_t size = 0;
	void *start = NULL;

	assert_true(memory_find(p + 8 * PAGE - 1, &start, &size));
	assert_ptr_equal(start, p);
	assert_int_equal(size, 8 * PAGE);
	assert_true(memory_accessible(p, 8 * PAGE));
	assert_false(memory_accessible(p, 8 * PAGE + 1) && memory_accessible(p - 1, 1));
	assert_false(memory_accessible(p, UINT64_MAX));
	assert_false(memory_accessible(NULL, 1));
	release(p);
	assert_false(memory_find(p, &start, &size));
	assert_false(memory_accessible(p, 1));
}

/* Against a plain list, in random order. */
static void test_many_allocations_are_kept_apart(void **state _unused_)
{
	static struct {
		char *p;
		uint64_t size;
	} held[200];
	uint64_t n = 0;

	(void)printf("seed %d\n", SEED);
	for (uint64_t step = 0; step < STEPS; step++) {
		size_t i = plant_hash(SEED, n++) % ARRAY_SIZE(held);
		uint64_t size = (1 + plant_hash(SEED, n++) % 32) * PAGE;
		void *start;

		if (held[i].p) {
			assert_true(memory_find(held[i].p + held[i].size - 1, &start, &size));
			assert_ptr_equal(start, held[i].p);
			assert_int_equal(size, held[i].size);
			assert_int_equal(held[i].p[0], (char)i);
			release(held[i].p);
			held[i].p = NULL;
		} else {
			held[i].p = allocate(plant_hash(SEED, n++) % 3, size);
			held[i].size = size;
			held[i].p[0] = (char)i;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(held); i++)
		if (held[i].p)
			release(held[i].p);
	assert_int_equal(fake_vram(0) + fake_vram(1), 0);
}

static void test_wrong_arguments_are_refused(void **state _unused_)
{
	const HsaMemFlags gds = {.ui32 = {.GDSMemory = 1}};
	HSAuint32 cpu[] = {CPU_NODE}, beyond[] = {CARD_1 + 1};
	HsaPointerInfo info;
	void *p = NULL;

	assert_int_equal(hsaKmtAllocMemory(CARD_1 + 1, PAGE, plain, &p),
			 HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtAllocMemory(CARD_0, PAGE, plain, NULL),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtAllocMemory(CARD_0, 0, plain, &p), HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtAllocMemory(CARD_0, PAGE + 1, plain, &p),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtAllocMemory(CARD_0, PAGE, gds, &p), HSAKMT_STATUS_NO_MEMORY);
	assert_int_equal(hsaKmtFreeMemory(NULL, 0), HSAKMT_STATUS_ERROR);
	assert_int_equal(hsaKmtFreeMemory(&info, 0), HSAKMT_STATUS_ERROR);
	assert_int_equal(hsaKmtRegisterMemoryWithFlags(NULL, 1, plain),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtRegisterMemoryWithFlags(&info, 0, plain),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtQueryPointerInfo(NULL, &info), HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtMapMemoryToGPU(&info, 1, NULL), HSAKMT_STATUS_ERROR);
	p = allocate(CARD_0, 2 * PAGE);
	/* Not from within an allocation. */
	assert_int_equal(hsaKmtFreeMemory((char *)p + PAGE, PAGE), HSAKMT_STATUS_ERROR);
	assert_int_equal(hsaKmtMapMemoryToGPUNodes(p, PAGE, NULL, (HsaMemMapFlags){0}, 1, cpu),
			 HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtMapMemoryToGPUNodes(p, PAGE, NULL, (HsaMemMapFlags){0}, 1, beyond),
			 HSAKMT_STATUS_INVALID_NODE_UNIT);
	assert_int_equal(hsaKmtMapMemoryToGPUNodes(p, PAGE, NULL, (HsaMemMapFlags){0}, 1000, cpu),
			 HSAKMT_STATUS_INVALID_PARAMETER);
	release(p);
}

/* ---- two processes ---- */

struct offer {
	HsaSharedMemoryHandle handle;
	uint64_t size;
};

/* The other process: opens the driver anew, writes what the parent will read, and says how it went
 * by its exit status. */
static int other_side(const struct offer *offer)
{
	HSAuint32 nodes[] = {CARD_0};
	HsaPointerInfo info;
	HSAuint64 size = 0;
	char *p = NULL;

	if (hsaKmtOpenKFD() != HSAKMT_STATUS_SUCCESS)
		return 2;
	if (hsaKmtRegisterSharedHandleToNodes(&offer->handle, (void **)&p, &size, 1, nodes) !=
	    HSAKMT_STATUS_SUCCESS)
		return 3;
	if (size != offer->size || strcmp(p, "from the parent") != 0)
		return 4;
	if (hsaKmtQueryPointerInfo(p, &info) != HSAKMT_STATUS_SUCCESS ||
	    info.Type != HSA_POINTER_REGISTERED_SHARED || info.Node != CARD_1)
		return 5;
	/* It is the parent's memory on the card. */
	if (fake_vram(1) != 0 || !memory_accessible(p, size))
		return 6;
	(void)strcpy(p + size - 64, "from the child");
	if (hsaKmtFreeMemory(p, size) != HSAKMT_STATUS_ERROR ||
	    hsaKmtDeregisterMemory(p) != HSAKMT_STATUS_SUCCESS || memory_accessible(p, 1))
		return 7;
	return hsaKmtCloseKFD() == HSAKMT_STATUS_SUCCESS ? 0 : 8;
}

static int run_child(int (*function)(const struct offer *offer), const struct offer *offer)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0)
		_exit(function(offer));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void test_another_process_sees_the_same_bytes(void **state _unused_)
{
	struct offer offer = {.size = 2 * MIB};
	char *p = allocate(CARD_1, offer.size);

	SKIP_UNDER_TSAN();
	(void)strcpy(p, "from the parent");
	assert_int_equal(hsaKmtShareMemory(p, offer.size, &offer.handle), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(run_child(other_side, &offer), 0);
	assert_string_equal(p + offer.size - 64, "from the child");
	release(p);
}

static void test_exported_memory_outlives_its_owner(void **state _unused_)
{
	HsaSharedMemoryHandle handle;
	char *p = allocate(CARD_0, PAGE), *q = NULL;
	HSAuint64 size;

	(void)strcpy(p, "still here");
	assert_int_equal(hsaKmtShareMemory(p, PAGE, &handle), HSAKMT_STATUS_SUCCESS);
	assert_int_equal(hsaKmtRegisterSharedHandle(&handle, (void **)&q, &size),
			 HSAKMT_STATUS_SUCCESS);
	assert_ptr_not_equal(p, q);
	release(p);
	assert_int_equal(fake_vram(0), 0);
	assert_string_equal(q, "still here");
	assert_int_equal(hsaKmtDeregisterMemory(q), HSAKMT_STATUS_SUCCESS);
}

/* Each field of a handle broken in turn: never more than an error. */
static void test_hostile_handles_are_refused(void **state _unused_)
{
	int short_fd = memfd_create("short", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	char *p = allocate(CARD_0, 2 * PAGE);
	HsaSharedMemoryHandle good;
	const struct {
		int word;
		uint32_t value;
	} breaks[] = {
		{0, 0}, /* magic */
		{1, 0}, /* PID */
		{1, UINT32_MAX},
		{1, 1u << 30},
		{2, UINT32_MAX}, /* descriptor */
		{2, 999999},
		{2, (uint32_t)null_fd},
		{2, (uint32_t)short_fd},
		{3, CARD_1 + 1}, /* node */
		{4, 1},		 /* offset */
		{5, UINT32_MAX},
		{6, 0}, /* size */
		{6, 4097},
		{7, UINT32_MAX},
		{7, 1u << 19},
	};

	assert_true(short_fd >= 0 && null_fd >= 0);
	assert_int_equal(ftruncate(short_fd, PAGE), 0);
	assert_int_equal(hsaKmtShareMemory(p, 2 * PAGE, &good), HSAKMT_STATUS_SUCCESS);
	for (size_t i = 0; i < ARRAY_SIZE(breaks); i++) {
		HsaSharedMemoryHandle bad;
		HSAuint64 size = 77;
		void *q = NULL;

		memcpy(bad, good, sizeof(bad));
		bad[breaks[i].word] = breaks[i].value;
		assert_int_equal(hsaKmtRegisterSharedHandle(&bad, &q, &size),
				 HSAKMT_STATUS_INVALID_HANDLE);
		assert_null(q);
		assert_int_equal(size, 77);
	}
	assert_int_equal(hsaKmtShareMemory(p, PAGE, &good), HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtShareMemory(p + PAGE, PAGE, &good), HSAKMT_STATUS_INVALID_PARAMETER);
	assert_int_equal(hsaKmtShareMemory(&good, PAGE, &good), HSAKMT_STATUS_INVALID_PARAMETER);
	release(p);
	(void)close(short_fd);
	(void)close(null_fd);
}

/* The parent's memory is not in the child at all, where a write would be seen by the card. */
static int touch_nothing(const struct offer *offer)
{
	HsaPointerInfo info;
	void *p = NULL;

	memcpy(&p, offer->handle, sizeof(p));
	if (hsaKmtQueryPointerInfo(p, &info) != HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED ||
	    hsaKmtFreeMemory(p, PAGE) != HSAKMT_STATUS_KERNEL_IO_CHANNEL_NOT_OPENED)
		return 2;
	if (msync(p, PAGE, MS_ASYNC) == 0)
		return 3;
	if (hsaKmtOpenKFD() != HSAKMT_STATUS_SUCCESS || memory_accessible(p, 1))
		return 4;
	return hsaKmtAllocMemory(CARD_0, PAGE, plain, &p) == HSAKMT_STATUS_SUCCESS ? 0 : 5;
}

static void test_a_forked_child_has_none_of_it(void **state _unused_)
{
	struct offer offer = {0};
	char *p = allocate(CARD_0, PAGE);

	SKIP_UNDER_TSAN();
	(void)strcpy(p, "mine");
	memcpy(offer.handle, &p, sizeof(p));
	assert_int_equal(run_child(touch_nothing, &offer), 0);
	assert_string_equal(p, "mine");
	assert_int_equal(fake_vram(0), PAGE);
	release(p);
}

int main(void)
{
#define OPEN(test) cmocka_unit_test_setup_teardown(test, hsakmt_setup_open, hsakmt_teardown_open)
	const struct CMUnitTest tests[] = {
		OPEN(test_memory_is_zero_and_aligned),
		OPEN(test_vram_is_counted_by_card_and_ends),
		OPEN(test_other_processes_and_the_fault_leave_less),
		OPEN(test_scratch_is_large_lazy_and_not_counted),
		OPEN(test_a_fixed_address_is_kept_or_refused),
		OPEN(test_pointers_are_told_apart),
		OPEN(test_registered_memory_is_reachable_while_it_is),
		OPEN(test_cards_let_go_of_what_is_freed),
		OPEN(test_the_whole_allocation_is_found),
		OPEN(test_many_allocations_are_kept_apart),
		OPEN(test_wrong_arguments_are_refused),
		OPEN(test_another_process_sees_the_same_bytes),
		OPEN(test_exported_memory_outlives_its_owner),
		OPEN(test_hostile_handles_are_refused),
		OPEN(test_a_forked_child_has_none_of_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
