/* SPDX-License-Identifier: Apache-2.0 */
/* Copies and fills: packets of the copy engines and the kernels that HIP and ROCr have for them.
 * Every byte is checked, those around what was written too. */
#include "base/units.h"
#include "device-fixture.h"
#include "support/cmocka-includes.h"
#include <math.h>
#include <string.h>
#include <sys/mman.h>

#define BUFFER_BYTES 65536
#define LARGE_BYTES  (UINT64_C(3) << 20)

struct fixture {
	struct machine machine;
	struct device *device;
	struct test_queue sdma, aql;
	struct code code;
	uint8_t *src, *dst, *expected;
	char *args;
};

enum { FILL, FILL_2D, COPY, COPY_ALIGNED, RECT, RECT_ALIGNED };
static const char *const names[] = {
	[FILL] = "__amd_rocclr_fillBufferAligned",
	[FILL_2D] = "__amd_rocclr_fillBufferAligned2D",
	[COPY] = "__amd_rocclr_copyBuffer",
	[COPY_ALIGNED] = "__amd_rocclr_copyBufferAligned",
	[RECT] = "__amd_rocclr_copyBufferRect",
	[RECT_ALIGNED] = "__amd_rocclr_copyBufferRectAligned",
	NULL,
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	machine_setup(&f->machine, 1);
	assert_int_equal(device_new(f->machine.m, 0, 1, &f->device), 0);
	sdma_open(f->device, &f->sdma);
	queue_open(f->device, &f->aql);
	code_new(&f->code, names, NULL);
	f->src = card_alloc(BUFFER_BYTES);
	f->dst = card_alloc(BUFFER_BYTES);
	f->args = card_alloc(4096);
	f->expected = calloc(1, BUFFER_BYTES);
	for (uint32_t i = 0; i < BUFFER_BYTES; i++)
		f->src[i] = (uint8_t)(i * 131 + i / 251);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)device_free(f->device);
	machine_teardown(&f->machine);
	free(f->expected);
	free(f);
	return 0;
}

static void clear(struct fixture *f)
{
	memset(f->dst, 0xee, BUFFER_BYTES);
	memset(f->expected, 0xee, BUFFER_BYTES);
}

static void assert_expected(const struct fixture *f, const char *what)
{
	for (uint32_t i = 0; i < BUFFER_BYTES; i++)
		if (f->dst[i] != f->expected[i])
			fail_msg("%s: byte %u is %02x, expected %02x", what, i, f->dst[i],
				 f->expected[i]);
}

/* The index follows what the packet did. */
static void wait_until_taken(const struct test_queue *q, uint64_t index)
{
	while (__atomic_load_n(device_queue_read_index(q->q), __ATOMIC_ACQUIRE) < index)
		(void)usleep(20);
}

/* ---- SDMA ---- */

static uint32_t low(const volatile void *p)
{
	return (uint32_t)(uintptr_t)p;
}

static uint32_t high(const volatile void *p)
{
	return (uint32_t)((uint64_t)(uintptr_t)p >> 32);
}

/* Adds -1 to the signal, as ROCr completes a copy. */
static void put_done(struct test_queue *q, amd_signal_t *s)
{
	const uint32_t atomic[] = {
		10 | 47u << 25, low(&s->value), high(&s->value), 0xffffffff, 0xffffffff, 0, 0, 0};

	put_sdma(q, atomic, 8);
}

static void finish(struct fixture *f)
{
	amd_signal_t *s = signal_new(1);

	put_done(&f->sdma, s);
	ring_doorbell(&f->sdma);
	signal_wait(s, 0);
	card_free(s);
}

static void test_engines_copy_ranges_and_rectangles(void **state)
{
	struct fixture *f = *state;
	const uint32_t linear[] = {1,
				   1000 - 1,
				   0,
				   low(f->src + 17),
				   high(f->src + 17),
				   low(f->dst + 4099),
				   high(f->dst + 4099)};
	/* 4-byte elements; 5 x 7 x 2 of them, from (3, 2, 1) to (1, 4, 0). */
	const uint32_t rect[] = {
		1 | 4 << 8 | 2u << 29,
		low(f->src),
		high(f->src),
		3 | 2 << 16,
		1 | 63u << 13,
		64 * 32 - 1,
		low(f->dst),
		high(f->dst),
		1 | 4 << 16,
		0 | 31u << 13,
		32 * 40 - 1,
		4 | 6 << 16,
		1,
	};

	clear(f);
	put_sdma(&f->sdma, linear, 7);
	finish(f);
	memcpy(f->expected + 4099, f->src + 17, 1000);
	assert_expected(f, "linear");

	clear(f);
	put_sdma(&f->sdma, rect, 13);
	finish(f);
	for (uint32_t z = 0; z < 2; z++)
		for (uint32_t y = 0; y < 7; y++)
			memcpy(f->expected + 4 * (z * 32 * 40 + (y + 4) * 32 + 1),
			       f->src + 4 * ((z + 1) * 64 * 32 + (y + 2) * 64 + 3), 20);
	assert_expected(f, "rectangle");
}

static void test_engines_fill_fence_trap_stamp_and_wait(void **state)
{
	struct fixture *f = *state;
	uint32_t *words = card_alloc(4096);
	uint64_t *stamps = card_alloc(4096), system_ns, before, after;
	amd_signal_t *done = signal_new(1);
	const uint32_t fill[] = {11, low(f->dst + 64), high(f->dst), 0x04030201, 256 - 4};
	const uint32_t nop[] = {0};
	const uint32_t fence[] = {5, low(&words[1]), high(words), 0xabcd};
	const uint32_t trap[] = {6, 9};
	const uint32_t register_poll[] = {8, 0x1234, 0, 1, 1, 0};
	const uint32_t poll[] = {8 | 3u << 28 | 1u << 31, low(words), high(words), 5, 0xf, 0};
	const uint32_t stamp[] = {13 | 2 << 8, low(&stamps[2]), high(stamps)};

	clear(f);
	put_sdma(&f->sdma, nop, 1);
	put_sdma(&f->sdma, fill, 5);
	put_sdma(&f->sdma, register_poll, 6);
	put_sdma(&f->sdma, fence, 4);
	put_sdma(&f->sdma, trap, 2);
	finish(f);
	for (uint32_t i = 0; i < 256; i++)
		f->expected[64 + i] = (uint8_t)(i % 4 + 1);
	assert_expected(f, "fill");
	assert_int_equal(words[1], 0xabcd);
	assert_int_equal(events_raised(9), 1);

	device_clocks(f->device, &system_ns, &before);
	put_sdma(&f->sdma, poll, 6);
	put_sdma(&f->sdma, stamp, 3);
	put_done(&f->sdma, done);
	ring_doorbell(&f->sdma);
	/* The engine stands; a packet of another queue passes. */
	{
		amd_signal_t *other = signal_new(1);

		put_barrier(&f->aql, HSA_PACKET_TYPE_BARRIER_AND, NULL, 0, other);
		ring_doorbell(&f->aql);
		signal_wait(other, 0);
	}
	assert_int_equal(done->value, 1);
	__atomic_store_n(&words[0], 0xf5u, __ATOMIC_RELEASE);
	signal_wait(done, 0);
	device_clocks(f->device, &system_ns, &after);
	assert_in_range(stamps[2], before, after);
	wait_until_taken(&f->sdma, f->sdma.written);
}

static void test_copies_take_the_time_of_the_bus(void **state)
{
	struct fixture *f = *state;
	const struct plant_device *p = f->machine.profile;
	uint8_t *from = card_alloc(LARGE_BYTES), *to = card_alloc(LARGE_BYTES);
	uint64_t *stamps = card_alloc(4096);
	double expected = p->copy_us * 1e3 + (double)LARGE_BYTES / p->pcie_gbps, ns;
	const uint32_t first[] = {13 | 2 << 8, low(stamps), high(stamps)};
	const uint32_t copy[] = {1, LARGE_BYTES - 1, 0, low(from), high(from), low(to), high(to)};
	const uint32_t poll[] = {13 | 2 << 8, low(&stamps[1]), high(stamps)};

	memset(from, 0x5a, LARGE_BYTES);
	memset(to, 1, LARGE_BYTES);
	put_sdma(&f->sdma, first, 3);
	put_sdma(&f->sdma, copy, 7);
	put_sdma(&f->sdma, poll, 3);
	finish(f);
	assert_memory_equal(from, to, LARGE_BYTES);
	/* Never less; more only where the host moved the bytes more slowly than the bus would. */
	ns = (double)(stamps[1] - stamps[0]) * TICK_NS;
	assert_true(ns >= expected - TICK_NS);
}

/* ---- kernels of HIP ---- */

static void arg64(struct fixture *f, uint32_t offset, uint64_t value)
{
	memcpy(f->args + offset, &value, sizeof(value));
}

static void arg32(struct fixture *f, uint32_t offset, uint32_t value)
{
	memcpy(f->args + offset, &value, sizeof(value));
}

static void run(struct fixture *f, uint64_t object, uint32_t x, uint32_t y, uint32_t z)
{
	amd_signal_t *s = signal_new(1);
	hsa_kernel_dispatch_packet_t p = {
		.header = HSA_PACKET_TYPE_KERNEL_DISPATCH | 1 << HSA_PACKET_HEADER_BARRIER,
		.setup = 3,
		.workgroup_size_x = 64,
		.workgroup_size_y = 1,
		.workgroup_size_z = 1,
		.grid_size_x = x,
		.grid_size_y = y,
		.grid_size_z = z,
		.kernel_object = object,
		.kernarg_address = f->args,
		.completion_signal.handle = (uintptr_t)s,
	};

	put_packet(&f->aql, &p);
	ring_doorbell(&f->aql);
	signal_wait(s, 0);
	assert_true(signal_ns(s) > 0);
	card_free(s);
	memset(f->args, 0, 256);
}

static void run_hip(struct fixture *f, uint32_t kernel, uint32_t x, uint32_t y, uint32_t z)
{
	run(f, code_kernel(&f->code, kernel), x, y, z);
}

static void test_hip_fills(void **state)
{
	static const uint8_t pattern_bytes[] = {1, 2,  3,  4,  5,  6,  7,  8,
						9, 10, 11, 12, 13, 14, 15, 16};
	struct fixture *f = *state;
	uint8_t *pattern = card_alloc(4096);

	memcpy(pattern, pattern_bytes, sizeof(pattern_bytes));
	/* Each element size, with one and two elements to a pattern, from an offset; the grid is
	 * larger than the count. */
	for (uint32_t i = 0; i < 4; i++)
		for (uint32_t n = 1; n <= 2; n++) {
			uint32_t element = 1u << i;

			clear(f);
			arg64(f, i * 8, (uintptr_t)f->dst);
			arg64(f, 32, (uintptr_t)pattern);
			arg32(f, 40, n);
			arg64(f, 48, 3);
			arg64(f, 56, 777);
			run_hip(f, FILL, 1024, 1, 1);
			for (uint32_t k = 0; k < 777 * n * element; k++)
				f->expected[3 * element + k] = pattern_bytes[k % (n * element)];
			assert_expected(f, "fill");
		}
	clear(f);
	arg64(f, 16, (uintptr_t)f->dst);
	arg64(f, 32, (uintptr_t)pattern);
	arg32(f, 40, 1);
	arg64(f, 48, 10);
	arg64(f, 56, 33);
	arg64(f, 64, 9);
	arg64(f, 72, 100);
	run_hip(f, FILL_2D, 64, 16, 1);
	for (uint32_t y = 0; y < 9; y++)
		for (uint32_t x = 0; x < 33 * 4; x++)
			f->expected[40 + y * 400 + x] = pattern_bytes[x % 4];
	assert_expected(f, "2D fill");
}

static void test_hip_copies(void **state)
{
	static const uint32_t remainders[] = {8, 1, 2, 3, 4};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(remainders); i++) {
		uint32_t bytes = remainders[i] == 8 ? 501 : 500 * 4 + remainders[i];

		clear(f);
		arg64(f, 0, (uintptr_t)f->src);
		arg64(f, 8, (uintptr_t)f->dst);
		arg64(f, 16, 12);
		arg64(f, 24, 300);
		arg64(f, 32, 501);
		arg32(f, 40, remainders[i]);
		run_hip(f, COPY, 512, 1, 1);
		memcpy(f->expected + 300, f->src + 12, bytes);
		assert_expected(f, "copy");
	}
	for (uint32_t unit = 4; unit <= 16; unit += 12) {
		clear(f);
		arg64(f, 0, (uintptr_t)f->src);
		arg64(f, 8, (uintptr_t)f->dst);
		arg64(f, 16, 5);
		arg64(f, 24, 7);
		arg64(f, 32, 99);
		arg32(f, 40, unit);
		run_hip(f, COPY_ALIGNED, 128, 1, 1);
		memcpy(f->expected + 7 * unit, f->src + 5 * unit, 99 * unit);
		assert_expected(f, "aligned copy");
	}
}

static void test_hip_rectangles(void **state)
{
	static const uint32_t units[] = {1, 4, 16};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		uint32_t unit = units[i];

		clear(f);
		arg64(f, 0, (uintptr_t)f->src);
		arg64(f, 8, (uintptr_t)f->dst);
		arg64(f, 32, 50);
		arg64(f, 40, 50 * 20);
		arg64(f, 48, 3);
		arg64(f, 64, 40);
		arg64(f, 72, 40 * 30);
		arg64(f, 80, 11);
		arg64(f, 96, 30);
		arg64(f, 104, 8);
		arg64(f, 112, 3);
		arg64(f, 120, unit == 1 ? 0 : unit);
		run_hip(f, unit == 1 ? RECT : RECT_ALIGNED, 32, 8, 3);
		for (uint32_t z = 0; z < 3; z++)
			for (uint32_t y = 0; y < 8; y++)
				memcpy(f->expected + unit * (11 + z * 40 * 30 + y * 40),
				       f->src + unit * (3 + z * 50 * 20 + y * 50), 30 * unit);
		assert_expected(f, "rectangle");
	}
}

static void test_shaders_of_the_runtime(void **state)
{
	static const uint32_t shaders[][8] = {
		{0xc00a0100, 0, 0xc00a0200, 0x10, 0xc00a0300, 0x20, 0xc00a0400, 0x30},
		{0xc00a0100, 0, 0xc00a0200, 0x10, 0xc00a0300, 0x20, 0xc0020400, 0x30},
		{0xc00a0100, 0, 0xc00a0200, 0x10, 0xbf8c007f, 0x8e028602, 0x32000002, 0x7e08020a},
	};
	static const uint32_t end_offset[] = {72, 40};
	struct fixture *f = *state;
	char *code[3];

	for (uint32_t i = 0; i < 3; i++) {
		code[i] = card_alloc(4096);
		memcpy(code[i] + 256, shaders[i], sizeof(shaders[i]));
	}
	for (uint32_t i = 0; i < 2; i++) {
		clear(f);
		arg64(f, 0, (uintptr_t)f->src + 3);
		arg64(f, 8, (uintptr_t)f->dst + 9);
		arg64(f, end_offset[i], (uintptr_t)f->dst + 9 + 5001);
		run(f, (uintptr_t)code[i], 64, 1, 1);
		memcpy(f->expected + 9, f->src + 3, 5001);
		assert_expected(f, "copy shader");
	}
	clear(f);
	arg64(f, 0, (uintptr_t)f->dst + 8);
	arg64(f, 16, (uintptr_t)f->dst + 8 + 400);
	arg32(f, 24, 0x44332211);
	run(f, (uintptr_t)code[2], 64, 1, 1);
	for (uint32_t i = 0; i < 400; i++)
		f->expected[8 + i] = (uint8_t)(0x11 * (i % 4 + 1));
	assert_expected(f, "fill shader");
}

/* By HIP's kernel; at return it has been taken. */
static void begin_copy(struct fixture *f, struct test_queue *q, void *to, const void *from,
		       uint64_t bytes, amd_signal_t *done)
{
	hsa_kernel_dispatch_packet_t p = {
		.header = HSA_PACKET_TYPE_KERNEL_DISPATCH,
		.setup = 1,
		.workgroup_size_x = 256,
		.grid_size_x = (uint32_t)(bytes / 16),
		.kernel_object = code_kernel(&f->code, COPY_ALIGNED),
		.kernarg_address = f->args,
		.completion_signal.handle = (uintptr_t)done,
	};

	arg64(f, 0, (uintptr_t)from);
	arg64(f, 8, (uintptr_t)to);
	arg64(f, 32, bytes / 16);
	arg32(f, 40, 16);
	put_packet(q, &p);
	ring_doorbell(q);
	wait_until_taken(q, q->written);
}

static void test_a_large_copy_lets_other_queues_go_on(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes = UINT64_C(256) << 20;
	uint8_t *from = card_alloc(bytes), *to = card_alloc(bytes);
	amd_signal_t *large = signal_new(1), *small = signal_new(1);
	struct test_queue other;
	bool passed = false;

	queue_open(f->device, &other);
	for (uint64_t i = 0; i < bytes; i += 4096)
		from[i] = (uint8_t)(i / 4096);
	/* This thread may be held up for longer than a copy takes, but not every time. */
	for (int i = 1; i <= 20 && !passed; i++) {
		__atomic_store_n(&large->value, 1, __ATOMIC_RELEASE);
		__atomic_store_n(&small->value, 1, __ATOMIC_RELEASE);
		begin_copy(f, &f->aql, to, from, bytes, large);
		put_barrier(&other, HSA_PACKET_TYPE_BARRIER_AND, NULL, 0, small);
		ring_doorbell(&other);
		signal_wait(small, 0);
		passed = __atomic_load_n(&large->value, __ATOMIC_ACQUIRE) == 1;
		signal_wait(large, 0);
	}
	assert_true(passed);
	for (uint64_t i = 0; i < bytes; i += 4096)
		assert_int_equal(to[i], (uint8_t)(i / 4096));
	/* At the rate of the card's memory, both ways. */
	assert_true(fabs(signal_ns(large) - (2 * (double)bytes / f->machine.profile->memory_gbps +
					     f->machine.profile->dispatch_us * 1e3)) <
		    0.01 * signal_ns(large));
}

static void test_a_queue_may_go_with_a_copy_under_way(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes = UINT64_C(4) << 20;
	uint8_t *from = card_alloc(bytes), *to = card_alloc(bytes);
	const uint32_t copy[] = {1, 0x3fffff, 0, low(from), high(from), low(to), high(to)};

	for (int i = 0; i < 20; i++) {
		struct test_queue q;

		sdma_open(f->device, &q);
		put_sdma(&q, copy, 7);
		ring_doorbell(&q);
		if (i % 2)
			wait_until_taken(&q, sizeof(copy));
		queue_close(&q);
		/* Nobody writes there any more. */
		memset(to, 7, 4096);
		assert_int_equal(to[0], 7);
	}
}

/* As the thunk frees: out of the tables, withdrawn from the card, and only then unmapped. */
static void withdraw_and_free(struct fixture *f, void *p, uint64_t bytes)
{
	char *start = card_take_out(p);

	device_withdraw(f->device, start, bytes);
	(void)munmap(start, bytes);
}

static void test_memory_that_goes_under_a_copy_is_a_page_fault(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes = UINT64_C(256) << 20, fault = 0;
	amd_signal_t *done = signal_new(1);
	uint32_t n_faults = 0;

	/* This thread may be held up for longer than a copy takes, but not every time. */
	for (int i = 0; i < 20 && n_faults < 2; i++) {
		uint8_t *from = card_alloc(bytes), *to = card_alloc(bytes);
		void *goes = i % 2 ? from : to, *stays = i % 2 ? to : from;
		struct test_queue q;

		events_reset();
		__atomic_store_n(&done->value, 1, __ATOMIC_RELEASE);
		queue_open(f->device, &q);
		begin_copy(f, &q, to, from, bytes, done);
		withdraw_and_free(f, goes, bytes);
		if (faults_raised(&fault) > 0) {
			assert_int_equal(fault, (uintptr_t)goes);
			n_faults++;
		} else {
			signal_wait(done, 0);
		}
		/* Others go on, and the queue that has faulted never completes it. */
		finish(f);
		if (faults_raised(&fault) > 0)
			assert_int_equal(__atomic_load_n(&done->value, __ATOMIC_ACQUIRE), 1);
		queue_close(&q);
		withdraw_and_free(f, stays, bytes);
	}
	assert_int_equal(n_faults, 2);
}

static void test_memory_that_goes_elsewhere_leaves_copies_alone(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes = UINT64_C(4) << 20, fault;
	uint8_t *from = card_alloc(bytes), *to = card_alloc(bytes);
	const uint32_t copy[] = {1, 0x3fffff, 0, low(from), high(from), low(to), high(to)};

	memset(from, 9, bytes);
	put_sdma(&f->sdma, copy, 7);
	ring_doorbell(&f->sdma);
	for (int i = 0; i < 20; i++)
		withdraw_and_free(f, card_alloc(4096), 4096);
	/* Taken out of one table, but reachable by another. */
	device_withdraw(f->device, from, bytes);
	finish(f);
	assert_int_equal(faults_raised(&fault), 0);
	assert_memory_equal(from, to, bytes);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_engines_copy_ranges_and_rectangles),
		TEST(test_engines_fill_fence_trap_stamp_and_wait),
		TEST(test_copies_take_the_time_of_the_bus),
		TEST(test_hip_fills),
		TEST(test_hip_copies),
		TEST(test_hip_rectangles),
		TEST(test_shaders_of_the_runtime),
		TEST(test_a_large_copy_lets_other_queues_go_on),
		TEST(test_a_queue_may_go_with_a_copy_under_way),
		TEST(test_memory_that_goes_under_a_copy_is_a_page_fault),
		TEST(test_memory_that_goes_elsewhere_leaves_copies_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
