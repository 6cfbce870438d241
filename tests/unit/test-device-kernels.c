/* SPDX-License-Identifier: Apache-2.0 */
/* Kernels on the simulated device: order, barriers, and time against the plant. */
#include "base/units.h"
#include "device-fixture.h"
#include "support/cmocka-includes.h"
#include <errno.h>
#include <math.h>
#include <sched.h>
#include <string.h>

#define TOLERANCE 0.02

struct fixture {
	struct machine machine;
	struct device *device, *second;
	struct code code;
	struct kernel_args *args;
};

static const char *const names[] = {"k", "other", NULL};
static const char note[] = "k flop=@0 bytes=@8\n";

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	*state = f;
	machine_setup(&f->machine, 1);
	assert_int_equal(device_new(f->machine.m, 0, 1, &f->device), 0);
	code_new(&f->code, names, note);
	f->args = card_alloc(sizeof(*f->args));
	/* 2400 workgroups of this are about 8 ms on 60 CUs. */
	*f->args = (struct kernel_args){.flop = 24000000, .bytes = 1000};
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	(void)device_free(f->second);
	(void)device_free(f->device);
	machine_teardown(&f->machine);
	free(f);
	return 0;
}

static struct plant_launch launch_of(const struct fixture *f, uint32_t workgroups)
{
	return (struct plant_launch){.workgroups = workgroups,
				     .flop_per_workgroup = (double)f->args->flop,
				     .bytes = (double)f->args->bytes * workgroups};
}

static double formula_ns(const struct fixture *f, uint32_t workgroups, uint32_t mhz,
			 struct cu_shape shape)
{
	struct plant_launch l = launch_of(f, workgroups);

	return plant_launch_ns(f->machine.profile, &l, mhz, shape);
}

static void assert_near(double ns, double expected, double tolerance)
{
	if (!(fabs(ns - expected) <= tolerance * expected))
		fail_msg("%.0f ns, expected %.0f within %g", ns, expected, tolerance);
}

static const struct cu_shape all_cus = {0, 0};
static const uint32_t full_words[] = {0xffffffff, 0x0fffffff};
static const uint32_t ses_0_1[] = {0x33333333, 0x03333333}, ses_2_3[] = {0xcccccccc, 0x0ccccccc};

static void test_kernels_follow_each_other_and_take_what_the_plant_says(void **state)
{
	static const struct {
		uint32_t workgroups;
		uint64_t flop, bytes;
	} cases[] = {
		{2400, 24000000, 1000}, {1, 100, 64}, {61, 24000000, 0},
		{2400, 1000, 1000000},	{7, 0, 0},    {100, 5000000, 4096},
	};
	struct fixture *f = *state;
	struct test_queue q;

	queue_open(f->device, &q);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		amd_signal_t *a = signal_new(1), *b = signal_new(1);
		struct launch l = {.object = code_kernel(&f->code, 0),
				   .args = f->args,
				   .workgroups = cases[i].workgroups,
				   .signal = a};

		f->args->flop = cases[i].flop;
		f->args->bytes = cases[i].bytes;
		put_kernel(&q, &l);
		l.signal = b;
		put_kernel(&q, &l);
		ring_doorbell(&q);
		signal_wait(a, 0);
		signal_wait(b, 0);
		assert_true(a->end_ts == b->start_ts);
		assert_near(signal_ns(a), formula_ns(f, cases[i].workgroups, 1725, all_cus),
			    cases[i].workgroups > 1000 ? 0.0001 : 0.01);
		assert_near(signal_ns(b), formula_ns(f, cases[i].workgroups, 1725, all_cus),
			    cases[i].workgroups > 1000 ? 0.0001 : 0.01);
	}
	assert_int_equal(q.amd->read_dispatch_id, 2 * ARRAY_SIZE(cases));
	queue_close(&q);
}

static void test_stamps_are_in_the_time_of_the_host(void **state)
{
	struct fixture *f = *state;
	struct machine slow;
	struct device *d = NULL;
	struct test_queue q;
	amd_signal_t *done = signal_new(1);
	struct launch l = {.object = code_kernel(&f->code, 0),
			   .args = f->args,
			   .workgroups = 2400,
			   .signal = done};
	uint64_t system_ns, before, after;

	machine_setup(&slow, 3);
	assert_int_equal(device_new(slow.m, 0, 1, &d), 0);
	queue_open(d, &q);
	device_clocks(d, &system_ns, &before);
	put_kernel(&q, &l);
	ring_doorbell(&q);
	signal_wait(done, 0);
	device_clocks(d, &system_ns, &after);
	assert_true(before <= done->start_ts && done->end_ts <= after);
	assert_near(signal_ns(done), 3 * formula_ns(f, 2400, 1725, all_cus), 0.001);
	queue_close(&q);
	(void)device_free(d);
	sim_machine_unmap(slow.m);
	(void)unlink(slow.path);
	(void)rmdir(slow.folder);
	free(slow.profile);
}

/* Where a kernel runs: on a queue of its own. */
struct place {
	struct device *device;
	const uint32_t *words; /* of its mask */
};

/* Runs a kernel at each of two places at the same time. */
static void run_at_once(struct fixture *f, uint32_t workgroups, const struct place places[2],
			amd_signal_t *done[2])
{
	struct test_queue q[2];
	amd_signal_t *gate = signal_new(1);

	for (int i = 0; i < 2; i++) {
		struct launch l = {.object = code_kernel(&f->code, 0),
				   .args = f->args,
				   .workgroups = workgroups,
				   .signal = done[i] = signal_new(1)};

		queue_open(places[i].device, &q[i]);
		assert_int_equal(device_queue_set_mask(q[i].q, places[i].words, 64), 0);
		put_barrier(&q[i], HSA_PACKET_TYPE_BARRIER_AND, &gate, 1, NULL);
		put_kernel(&q[i], &l);
	}
	for (int i = 0; i < 2; i++)
		ring_doorbell(&q[i]);
	__atomic_store_n(&gate->value, 0, __ATOMIC_RELEASE);
	for (int i = 0; i < 2; i++)
		signal_wait(done[i], 0);
	for (int i = 0; i < 2; i++)
		queue_close(&q[i]);
}

/* ... on two queues of a process. */
static void run_two(struct fixture *f, const uint32_t *words_a, const uint32_t *words_b,
		    double *ret_a_ns, double *ret_b_ns)
{
	const struct place places[] = {{f->device, words_a}, {f->device, words_b}};
	amd_signal_t *done[2];

	run_at_once(f, 2400, places, done);
	*ret_a_ns = signal_ns(done[0]);
	*ret_b_ns = signal_ns(done[1]);
}

static void test_masks_slow_and_queues_share_by_mask(void **state)
{
	struct fixture *f = *state;
	double full = formula_ns(f, 2400, 1725, all_cus);
	double half = formula_ns(f, 2400, 1725, (struct cu_shape){2, 15});
	double a, b;

	run_two(f, ses_0_1, ses_2_3, &a, &b);
	assert_near(a, half, TOLERANCE);
	assert_near(b, half, TOLERANCE);
	run_two(f, full_words, full_words, &a, &b);
	assert_near(a, 2 * full, TOLERANCE);
	assert_near(b, 2 * full, TOLERANCE);
	run_two(f, ses_0_1, ses_0_1, &a, &b);
	assert_near(a, 2 * half, TOLERANCE);
	/* The full one has half of two SEs, which hold it back as a whole, until the other one is
	 * done; that one runs at half its rate from start to end. */
	run_two(f, full_words, ses_0_1, &a, &b);
	assert_near(b, full + half, TOLERANCE);
	assert_near(a, 2 * full, TOLERANCE);
}

/* Device time of a stamp, by the clocks of one moment: again if the host looked away in between. */
static double device_ns_of(struct fixture *f, uint64_t stamp)
{
	uint64_t before_ns, after_ns, system_ns, ticks;

	do {
		before_ns = machine_now_ns(&f->machine);
		device_clocks(f->device, &system_ns, &ticks);
		after_ns = machine_now_ns(&f->machine);
	} while (after_ns - before_ns > 50 * NSEC_PER_USEC);
	return (double)after_ns - ((double)ticks - (double)stamp) * TICK_NS;
}

static void test_a_clock_change_counts_from_when_it_happens(void **state)
{
	struct fixture *f = *state;
	struct test_queue q;
	amd_signal_t *done = signal_new(1);
	struct launch l = {.object = code_kernel(&f->code, 0),
			   .args = f->args,
			   .workgroups = 96000,
			   .signal = done};
	double fast = formula_ns(f, 96000, 1725, all_cus);
	double slow = formula_ns(f, 96000, 925, all_cus);
	uint64_t switch_ns;
	double before;

	queue_open(f->device, &q);
	put_kernel(&q, &l);
	ring_doorbell(&q);
	/* A kernel of 0.3 s, so that a busy host, too, comes back while it runs. */
	while (atomic_load(&f->machine.m->cards[0].slots[0].running_until_ns) == 0)
		(void)sched_yield();
	switch_ns = machine_now_ns(&f->machine) + 15 * NSEC_PER_MSEC;
	sim_card_set_clock(&f->machine.m->cards[0], switch_ns, 925);
	signal_wait(done, 0);
	before = (double)switch_ns - device_ns_of(f, done->start_ts);
	assert_near(signal_ns(done), before + (1 - before / fast) * slow, 0.005);
	queue_close(&q);
}

static void test_barriers_wait_for_kernels_and_signals(void **state)
{
	struct fixture *f = *state;
	struct test_queue q, other;
	amd_signal_t *gate[] = {signal_new(1), signal_new(1)}, *and = signal_new(1),
		     * or = signal_new(1), *kernel = signal_new(1), *last = signal_new(1);
	struct launch l = {.object = code_kernel(&f->code, 0),
			   .args = f->args,
			   .workgroups = 2400,
			   .no_barrier = true,
			   .signal = kernel};

	and->event_id = 3;
	queue_open(f->device, &q);
	queue_open(f->device, &other);
	put_kernel(&q, &l);
	put_barrier(&q, HSA_PACKET_TYPE_BARRIER_AND, NULL, 0, last);
	put_barrier(&q, HSA_PACKET_TYPE_BARRIER_OR, gate, 2, or);
	put_barrier(&q, HSA_PACKET_TYPE_BARRIER_AND, gate, 2, and);
	ring_doorbell(&q);
	signal_wait(last, 0);
	assert_int_equal(kernel->value, 0);
	assert_true(last->end_ts == kernel->end_ts);
	/* Another queue goes on meanwhile. */
	put_barrier(&other, HSA_PACKET_TYPE_BARRIER_AND, NULL, 0, (l.signal = signal_new(1)));
	ring_doorbell(&other);
	signal_wait(l.signal, 0);
	assert_int_equal(or->value, 1);
	__atomic_store_n(&gate[1]->value, 0, __ATOMIC_RELEASE);
	signal_wait(or, 0);
	assert_int_equal(and->value, 1);
	__atomic_store_n(&gate[0]->value, 0, __ATOMIC_RELEASE);
	signal_wait(and, 0);
	assert_int_equal(q.amd->read_dispatch_id, 4);
	queue_close(&q);
	queue_close(&other);
}

static void test_without_barrier_bit_kernels_of_a_queue_run_side_by_side(void **state)
{
	struct fixture *f = *state;
	struct test_queue q;
	amd_signal_t *a = signal_new(1), *b = signal_new(1);
	struct launch l = {.object = code_kernel(&f->code, 0),
			   .args = f->args,
			   .workgroups = 2400,
			   .no_barrier = true,
			   .signal = a};

	queue_open(f->device, &q);
	put_kernel(&q, &l);
	l.signal = b;
	put_kernel(&q, &l);
	ring_doorbell(&q);
	signal_wait(a, 0);
	signal_wait(b, 0);
	assert_true(a->start_ts == b->start_ts);
	assert_near(signal_ns(a), 2 * formula_ns(f, 2400, 1725, all_cus), TOLERANCE);
	queue_close(&q);
}

static void test_a_mask_without_cus_hangs_the_queue_until_another_comes(void **state)
{
	static const uint32_t none[2] = {0};
	struct fixture *f = *state;
	struct test_queue q, other;
	amd_signal_t *done = signal_new(1), *sign = signal_new(1);
	struct launch l = {.object = code_kernel(&f->code, 0),
			   .args = f->args,
			   .workgroups = 60,
			   .signal = done};

	queue_open(f->device, &q);
	queue_open(f->device, &other);
	assert_int_equal(device_queue_set_mask(q.q, none, 33), -EINVAL);
	assert_int_equal(device_queue_set_mask(q.q, none, 64), 0);
	put_kernel(&q, &l);
	ring_doorbell(&q);
	put_barrier(&other, HSA_PACKET_TYPE_BARRIER_AND, NULL, 0, sign);
	ring_doorbell(&other);
	signal_wait(sign, 0);
	assert_int_equal(done->value, 1);
	assert_int_equal(q.amd->read_dispatch_id, 0);
	assert_int_equal(device_queue_set_mask(q.q, full_words, 64), 0);
	signal_wait(done, 0);
	/* The same for a queue that was suspended. */
	device_queue_update(q.q, 0, 0);
	__atomic_store_n(&done->value, 1, __ATOMIC_RELEASE);
	put_kernel(&q, &l);
	ring_doorbell(&q);
	sign->value = 1;
	put_barrier(&other, HSA_PACKET_TYPE_BARRIER_AND, NULL, 0, sign);
	ring_doorbell(&other);
	signal_wait(sign, 0);
	assert_int_equal(done->value, 1);
	device_queue_update(q.q, 100, 0);
	signal_wait(done, 0);
	queue_close(&q);
	queue_close(&other);
}

static void test_a_queue_may_go_with_kernels_in_flight(void **state)
{
	struct fixture *f = *state;
	struct test_queue q;
	struct sim_slot *s = &f->machine.m->cards[0].slots[0];
	amd_signal_t *done = signal_new(1);
	struct launch l = {.object = code_kernel(&f->code, 0),
			   .args = f->args,
			   .workgroups = 4000000,
			   .signal = done};

	queue_open(f->device, &q);
	assert_int_equal(s->n_queues, 1);
	put_kernel(&q, &l);
	put_kernel(&q, &l);
	ring_doorbell(&q);
	while (s->running_until_ns == 0)
		(void)usleep(50);
	queue_close(&q);
	assert_int_equal(done->value, 1);
	assert_int_equal(s->n_queues, 0);
	assert_int_equal(s->running_until_ns, 0);
}

static void test_the_slot_adds_up_to_what_ran(void **state)
{
	struct fixture *f = *state;
	struct sim_slot *s = &f->machine.m->cards[0].slots[0];
	struct test_queue q;
	amd_signal_t *done = signal_new(20);
	struct launch l = {.object = code_kernel(&f->code, 0),
			   .args = f->args,
			   .workgroups = 240,
			   .signal = done};
	double alone = formula_ns(f, 240, 1725, all_cus);

	queue_open(f->device, &q);
	for (int i = 0; i < 20; i++)
		put_kernel(&q, &l);
	ring_doorbell(&q);
	signal_wait(done, 0);
	queue_close(&q);
	assert_near((double)s->busy_ns, 20 * alone, 0.001);
	assert_near((double)s->ungated_cu_ns, 60 * 20 * alone, 0.001);
	assert_near((double)s->flop_k, 20 * 240 * (double)f->args->flop / 1e3, 0.001);
	assert_near((double)s->bytes, 20 * 240 * (double)f->args->bytes, 0.001);
}

#define SHAPE(n_se, cus) ((uint32_t)(n_se) << 16 | (cus))

/* Signals come before the slot is written. */
static void wait_for_shape(struct sim_slot *s, uint32_t shape)
{
	for (int i = 0; i < 200000 && atomic_load(&s->shape) != shape; i++)
		(void)usleep(100);
	assert_int_equal(atomic_load(&s->shape), shape);
}

static void run_one(struct fixture *f, struct test_queue *q)
{
	amd_signal_t *done = signal_new(1);
	struct launch l = {.object = code_kernel(&f->code, 0),
			   .args = f->args,
			   .workgroups = 24,
			   .signal = done};

	put_kernel(q, &l);
	ring_doorbell(q);
	signal_wait(done, 0);
	card_free(done);
}

static void test_the_slot_shows_the_masks_of_what_runs(void **state)
{
	struct fixture *f = *state;
	struct sim_slot *s = &f->machine.m->cards[0].slots[0];
	amd_signal_t *blocks = signal_new(2);
	struct test_queue resting, masked, other;
	struct launch l = {.object = code_kernel(&f->code, 0),
			   .args = f->args,
			   .workgroups = 240000,
			   .signal = blocks};

	queue_open(f->device, &resting);
	queue_open(f->device, &masked);
	queue_open(f->device, &other);
	assert_int_equal(device_queue_set_mask(masked.q, ses_0_1, 64), 0);
	assert_int_equal(device_queue_set_mask(other.q, ses_2_3, 64), 0);
	assert_int_equal(atomic_load(&s->shape), 0);
	assert_int_equal(atomic_load(&s->n_queues), 3);
	/* A queue without a mask is beside it, but rests. */
	run_one(f, &masked);
	wait_for_shape(s, SHAPE(2, 15));
	run_one(f, &resting);
	wait_for_shape(s, 0);
	run_one(f, &masked);
	wait_for_shape(s, SHAPE(2, 15));
	/* The mask of what ran last has changed. */
	assert_int_equal(device_queue_set_mask(masked.q, (const uint32_t[]){0x11111111, 0}, 64), 0);
	wait_for_shape(s, SHAPE(1, 8));
	assert_int_equal(device_queue_set_mask(masked.q, ses_0_1, 64), 0);
	/* Two at a time hold what either does. */
	put_kernel(&masked, &l);
	put_kernel(&other, &l);
	ring_doorbell(&masked);
	ring_doorbell(&other);
	wait_for_shape(s, 0);
	queue_close(&other);
	wait_for_shape(s, SHAPE(2, 15));
	queue_close(&masked);
	queue_close(&resting);
	assert_int_equal(atomic_load(&s->n_queues), 0);
}

static void test_two_processes_share_as_two_queues_do(void **state)
{
	struct fixture *f = *state;
	amd_signal_t *done[2];
	double full = formula_ns(f, 24000, 1725, all_cus), offset;

	assert_int_equal(device_new(f->machine.m, 0, 1, &f->second), 0);
	run_at_once(f, 24000,
		    (const struct place[]){{f->device, full_words}, {f->second, full_words}}, done);
	/* Each thread sees the gate at its own time; the difference counts for both. */
	offset = fabs(signal_start_ns(done[0]) - signal_start_ns(done[1]));
	assert_near(signal_ns(done[0]), 2 * full - offset, TOLERANCE);
	assert_near(signal_ns(done[1]), 2 * full - offset, TOLERANCE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	static const struct CMUnitTest tests[] = {
		TEST(test_kernels_follow_each_other_and_take_what_the_plant_says),
		TEST(test_stamps_are_in_the_time_of_the_host),
		TEST(test_masks_slow_and_queues_share_by_mask),
		TEST(test_a_clock_change_counts_from_when_it_happens),
		TEST(test_barriers_wait_for_kernels_and_signals),
		TEST(test_without_barrier_bit_kernels_of_a_queue_run_side_by_side),
		TEST(test_a_mask_without_cus_hangs_the_queue_until_another_comes),
		TEST(test_a_queue_may_go_with_kernels_in_flight),
		TEST(test_the_slot_adds_up_to_what_ran),
		TEST(test_the_slot_shows_the_masks_of_what_runs),
		TEST(test_two_processes_share_as_two_queues_do),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
